"""Lambda function `dispatch`: an event → one request for each rotation of its trigger."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from rotator.aws import LazyClient, client, parameter_reader
from rotator.dry_run.rotations import Preview
from rotator.infisical.client import Infisical
from rotator.infisical.connect import connect
from rotator.infisical.errors import reason_of
from rotator.lambda_init import finish
from rotator.outcomes.event_bridge import EventBridge
from rotator.outcomes.others import trigger_refused
from rotator.outcomes.publisher import OutcomeEvents
from rotator.rotation.consumer_lookup import ConsumerLookup
from rotator.rotation.key_guard import IamClients, KeyGuard
from rotator.rotation.queues import RequestQueue
from rotator.rotation.request import RotationRequest
from rotator.settings import MAP_SOURCE, RequesterSettings
from rotator.telemetry import Metric, Telemetry
from rotator.timestamps import format_timestamp, from_epoch
from rotator.triggers.events import OutcomeEventError, Trigger, read_trigger
from rotator.triggers.rotation_map import UnmappedTriggerError, parse_rotation_map
from rotator.triggers.secret_events import why_ignored
from rotator.triggers.selection import (
    CONCURRENT_READS,
    SelectedRotation,
    Selection,
    read_rotation_states,
    restrict_to,
    select,
)

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from rotator.clock import Clock
    from rotator.dry_run.reports import DispatchReport, IgnoredReport, TriggerReport, TriggerSummary


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Turns events into requests.

    Every error is raised: Lambda retries, and finally keeps the event in UndeliveredTriggers.
    """

    read_map: Callable[[], str]
    infisical: Infisical
    preview: Preview
    requests: RequestQueue
    events: OutcomeEvents
    telemetry: Telemetry
    clock: "Clock"

    def handle(self, event: object, correlation_id: str) -> dict[str, Any]:
        """Send one request for each rotation, or preview them for a dry run, and return what was done.

        An event that leaves a secret's value unchanged is ignored, which is not an error.
        """
        if why := why_ignored(event):
            self.telemetry.logger.info("event ignored", explanation=why, correlation_id=correlation_id)
            ignored: IgnoredReport = {"ignored": why, "requests": 0, "correlation_id": correlation_id}
            return dict(ignored)
        trigger: Trigger | None = None
        try:
            trigger = read_trigger(event, now=from_epoch(self.clock.time()))
            return dict(self._send_requests(trigger, self._select(trigger), correlation_id))
        except Exception as error:
            self._refuse(error, trigger, correlation_id)
            raise

    def _send_requests(
        self, trigger: Trigger, selection: Selection, correlation_id: str
    ) -> "TriggerReport | DispatchReport":
        summary: TriggerSummary = {
            "trigger": trigger.name,
            "occurred_at": format_timestamp(trigger.occurred_at),
            "correlation_id": correlation_id,
        }
        if selection.mirrored:  # the report names the ones that are left out
            summary["mirrored"] = list(selection.mirrored)
        for unreadable in selection.unreadable:
            self.telemetry.logger.warning("rotation unreadable", explanation=str(unreadable), **summary)
        requests = [
            RotationRequest(selected.rotation, trigger.name, trigger.occurred_at, correlation_id, trigger.forced)
            for selected in selection.rotations
        ]
        if trigger.dry_run:
            states = read_rotation_states(self.infisical, selection.rotations)
            with ThreadPoolExecutor(CONCURRENT_READS) as pool:
                previews = list(pool.map(self.preview, requests, states))
            self.telemetry.logger.info("trigger previewed", **summary)
            return {**summary, "dry_run": True, "rotations": previews}
        # A manual retry must not be deduplicated against the first invocation, so it has an id of its own.
        self.requests.send(requests, occurrence=correlation_id if trigger.direct else "")
        report: DispatchReport = {**summary, "requests": len(requests)}
        self.telemetry.logger.info("trigger dispatched", **report)
        return report

    def _select(self, trigger: Trigger) -> Selection:
        rotation_map = parse_rotation_map(self.read_map() if trigger.rotation_map is None else trigger.rotation_map)
        if trigger.dry_run and (mirror := rotation_map.mirrors.get(trigger.name)):  # whose rotation the hook asks for
            return restrict_to(trigger.only, Selection((SelectedRotation(mirror.rotation),)))
        entries = rotation_map.entries_of(trigger.name, trigger.alias)
        return restrict_to(trigger.only, select(entries, self.infisical.rotations, rotation_map.mirrored_ids))

    def _refuse(self, error: Exception, trigger: Trigger | None, correlation_id: str) -> None:
        reason = reason_of(error)
        self.telemetry.logger.error(
            "trigger refused", reason=reason, explanation=str(error), correlation_id=correlation_id
        )
        if isinstance(error, UnmappedTriggerError):
            self.telemetry.count(Metric.UNMAPPED_TRIGGER, explanation=str(error))
        # An event about a refused outcome event would arrive here too, and be refused for ever.
        if not isinstance(error, OutcomeEventError) and not (trigger and trigger.dry_run):
            name = trigger.name if trigger else None
            self.events.put([trigger_refused(name, reason, str(error), correlation_id)])


@cache
def compose() -> Dispatch:
    """Put the function together from its environment, once for each of Lambda's processes."""
    settings = RequesterSettings.read(os.environ)
    minimum_interval, grace_period = settings.minimum_interval, settings.grace_period
    own_iam: Any = LazyClient("iam")  # for dry runs
    clients = IamClients(own_iam, time)
    name_consumers = ConsumerLookup(clients.cloudtrail, time) if settings.name_consumers else None
    guard = KeyGuard(clients, minimum_interval, grace_period, time, name_consumers)
    telemetry = Telemetry(settings.service, settings.log_level)
    bus = EventBridge(time)
    return Dispatch(
        read_map=parameter_reader(settings.rotation_map_parameter, MAP_SOURCE),
        infisical=connect(settings.infisical, time),
        preview=Preview(guard.decide, minimum_interval, grace_period),
        requests=RequestQueue(client("sqs"), settings.requests_queue_url),
        events=OutcomeEvents(
            bus, settings.outcome_event_bus_name, settings.outcome_event_source, settings.service, telemetry
        ),
        telemetry=telemetry,
        clock=time,
    )


def handler(event: object, context: "LambdaContext") -> dict[str, Any]:
    """Answer one invocation."""
    return compose().handle(event, context.aws_request_id)


finish(compose)
