"""Lambda function `rotate`: requests from RotationRequests.fifo → each rotation rotated once, or a reason why not."""

import os
import time
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import boto3
import httpx
from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

from rotator.aws import CLIENT_CONFIG
from rotator.identity import ClientCredentials, UniversalAuth, parse_client_credentials
from rotator.infisical import Infisical, UnreachableError
from rotator.queues import FailedQueue, RequestQueue
from rotator.rotation import Deadline, ensure_rotated
from rotator.settings import RotateSettings
from rotator.telemetry import Telemetry
from rotator.transport import BoundedTransport
from rotator.worker import Delivery, Worker

if TYPE_CHECKING:
    from datetime import timedelta

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from rotator.clock import Clock

# Left for reporting and for answering Lambda when all waiting has ended.
FINISH_SECONDS = 3.0

# A changed client secret is picked up after this long at the latest; it is only read to log in.
IDENTITY_CACHE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Rotate:
    """Works batches of requests within the time that Lambda gives."""

    worker: Worker
    infisical: Infisical
    minimum_interval: "timedelta"
    telemetry: Telemetry
    clock: "Clock"

    def __call__(self, event: dict[str, Any], request_id: str, remaining_seconds: float) -> dict[str, Any]:
        """Work the batch, and name the messages that have to come back, as `ReportBatchItemFailures` wants it."""
        self.telemetry.logger.append_keys(function_request_id=request_id)
        deadline = Deadline(self.clock.monotonic() + remaining_seconds - FINISH_SECONDS, self.clock)
        ensure = partial(ensure_rotated, self.infisical, minimum_interval=self.minimum_interval, deadline=deadline)
        returned = self.worker.work(map(Delivery.of, event["Records"]), ensure)
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in returned]}


@cache
def _rotate() -> Rotate:
    """Put the function together from its environment, once for each of Lambda's processes."""
    settings = RotateSettings.read(os.environ)
    secrets = SecretsProvider(boto_config=CLIENT_CONFIG)
    sqs = boto3.client("sqs", config=CLIENT_CONFIG)

    def credentials() -> ClientCredentials:
        try:
            secret = secrets.get(settings.machine_identity_secret, max_age=IDENTITY_CACHE_SECONDS)
            return parse_client_credentials(str(secret))
        except (GetParameterError, ValueError) as error:
            raise UnreachableError(f"the machine identity's secret is of no use: {error}") from None

    telemetry = Telemetry(settings.service, settings.log_level)
    infisical = Infisical(
        settings.infisical_url,
        UniversalAuth(settings.infisical_url, credentials, time.time),
        BoundedTransport(httpx.HTTPTransport(), time),
    )
    return Rotate(
        worker=Worker(
            requests=RequestQueue(sqs, settings.requests_queue_url),
            failed=FailedQueue(sqs, settings.failed_queue_url),
            maximum_receive_count=settings.maximum_receive_count,
            telemetry=telemetry,
            clock=time,
        ),
        infisical=infisical,
        minimum_interval=settings.minimum_interval,
        telemetry=telemetry,
        clock=time,
    )


def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """Answer one invocation."""
    return _rotate()(event, context.aws_request_id, context.get_remaining_time_in_millis() / 1000)


if "AWS_LAMBDA_RUNTIME_API" in os.environ:  # Lambda's init phase: what can be ready before the first event, is
    _rotate()
