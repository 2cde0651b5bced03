"""Lambda function `rotate`: requests from RotationRequests.fifo → each rotation rotated once, or a reason why not."""

import os
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from rotator.aws import GUARD_CONFIG, REPORT_CONFIG, LazyClient, client
from rotator.clock import Deadline
from rotator.dry_run.access import check_access
from rotator.infisical.client import Infisical
from rotator.infisical.connect import connect
from rotator.lambda_init import finish
from rotator.outcomes.event_bridge import EventBridge
from rotator.outcomes.publisher import OutcomeEvents
from rotator.outcomes.rotations import Announcer
from rotator.rotation.attempt import Claim, Outcome, ensure_rotated
from rotator.rotation.batch import BatchProcessor, Ended
from rotator.rotation.consumer_lookup import ConsumerLookup
from rotator.rotation.delivery import Delivery
from rotator.rotation.key_guard import IamClients, KeyGuard
from rotator.rotation.policy import Decider
from rotator.rotation.queues import FailedQueue, RequestQueue
from rotator.rotation.request import RotationRequest
from rotator.settings import RotateSettings
from rotator.telemetry import Telemetry

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from rotator.clock import Clock

# How long a request with key guard may take. After an ambiguous attempt another one is safe, so longer is not needed.
# Without key guard a request may take all of Lambda's 900 s: 110 s for the attempt + 600 s of replica lag fit. By then
# every replica shows the commit, and the next request of the rotation is decided on a current state.
GUARDED_SECONDS = 180.0

# Left for reporting after all waiting: one call of SQS and one of EventBridge that both hang.
# 11 s (REPORT_CONFIG's 10 s + 1 s of pause) + 10 s (LONGEST_CALL_SECONDS) + 7 s of slack = 28 s.
FINISH_SECONDS = 28.0


@dataclass(frozen=True, slots=True)
class Rotate:
    """Processes batches of requests within the time that Lambda gives."""

    batch: BatchProcessor
    infisical: Infisical
    decide: Decider
    telemetry: Telemetry
    clock: "Clock"
    announcer: Announcer

    def handle(self, event: dict[str, Any], request_id: str, remaining_seconds: float) -> dict[str, Any]:
        """Process the batch, and return the messages that SQS has to redeliver, as `ReportBatchItemFailures` defines.

        Answers a dry run instead.
        """
        if report := check_access(event, self.infisical):
            return dict(report)
        self.telemetry.logger.append_keys(function_request_id=request_id)
        started = self.clock.monotonic()

        def ensure(request: RotationRequest, claim: Claim) -> Outcome:
            seconds = min(remaining_seconds, GUARDED_SECONDS) if request.rotation.guarded else remaining_seconds
            deadline = Deadline(started + seconds - FINISH_SECONDS, self.clock)
            return ensure_rotated(self.infisical, self.decide, request, claim, deadline)

        def announce(ended: Sequence[Ended]) -> Collection[str]:
            return self.announcer.announce(ended, Deadline(started + remaining_seconds, self.clock))

        returned = self.batch.process(map(Delivery.of, event["Records"]), ensure, announce)
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in returned]}


@cache
def compose() -> Rotate:
    """Put the function together from its environment, once for each of Lambda's processes."""
    settings = RotateSettings.read(os.environ)
    # Only messages that return or fail need it. Making it later shortens a cold start by 5 %.
    sqs: Any = LazyClient("sqs", REPORT_CONFIG)
    telemetry = Telemetry(settings.service, settings.log_level)
    bus = EventBridge(time)
    events = OutcomeEvents(
        bus, settings.outcome_event_bus_name, settings.outcome_event_source, settings.service, telemetry
    )
    clients = IamClients(client("iam", GUARD_CONFIG), time)
    name_consumers = ConsumerLookup(clients.cloudtrail, time) if settings.name_consumers else None
    return Rotate(
        batch=BatchProcessor(
            requests=RequestQueue(sqs, settings.requests_queue_url),
            failed=FailedQueue(sqs, settings.failed_queue_url),
            telemetry=telemetry,
            clock=time,
        ),
        infisical=connect(settings.infisical, time),
        decide=KeyGuard(clients, settings.minimum_interval, settings.grace_period, time, name_consumers).decide,
        telemetry=telemetry,
        clock=time,
        announcer=Announcer(events, time),
    )


def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """Answer one invocation."""
    return compose().handle(event, context.aws_request_id, context.get_remaining_time_in_millis() / 1000)


finish(compose)
