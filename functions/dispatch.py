"""Lambda function `dispatch`: an event → one request for each rotation that its trigger stands for."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools.utilities.parameters import SSMProvider

from rotator.aws import CLIENT_CONFIG
from rotator.instant import format_instant, instant_at
from rotator.model import RotationRequest
from rotator.queues import RequestQueue
from rotator.rotation_map import RotationMapError, UnmappedTriggerError, parse_rotation_map
from rotator.settings import DispatchSettings
from rotator.telemetry import Metric, Telemetry
from rotator.triggers import UnsupportedEventError, read_trigger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from rotator.clock import Clock

# Long enough for a burst of events, short enough that whoever changes the map sees the change.
MAP_CACHE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Turns events into requests.

    Whatever is wrong is raised: Lambda then tries again and at last keeps the event in UndeliveredTriggers.
    """

    read_map: Callable[[], str]
    requests: RequestQueue
    telemetry: Telemetry
    clock: "Clock"

    def __call__(self, event: object, correlation_id: str) -> dict[str, Any]:
        """Send one request for each mapped rotation, and return what was sent."""
        try:
            trigger = read_trigger(event, now=instant_at(self.clock.time()))
            rotations = parse_rotation_map(self.read_map()).rotations_of(trigger.name)
        except (UnsupportedEventError, RotationMapError, UnmappedTriggerError) as error:
            self._refuse(error, correlation_id)
            raise
        self.requests.send(
            [RotationRequest(rotation, trigger.name, trigger.occurred_at, correlation_id) for rotation in rotations]
        )
        summary: dict[str, Any] = {
            "trigger": trigger.name,
            "occurred_at": format_instant(trigger.occurred_at),
            "requests": len(rotations),
            "correlation_id": correlation_id,
        }
        self.telemetry.logger.info("trigger dispatched", **summary)
        return summary

    def _refuse(self, error: Exception, correlation_id: str) -> None:
        reason = type(error).__name__.removesuffix("Error")
        self.telemetry.logger.error(
            "trigger refused", reason=reason, explanation=str(error), correlation_id=correlation_id
        )
        if isinstance(error, UnmappedTriggerError):
            self.telemetry.count(Metric.UNMAPPED_TRIGGER, explanation=str(error))


@cache
def _dispatch() -> Dispatch:
    """Put the function together from its environment, once for each of Lambda's processes."""
    settings = DispatchSettings.read(os.environ)
    ssm = SSMProvider(boto_config=CLIENT_CONFIG)

    return Dispatch(
        read_map=lambda: str(ssm.get(settings.rotation_map_parameter, max_age=MAP_CACHE_SECONDS)),
        requests=RequestQueue(boto3.client("sqs", config=CLIENT_CONFIG), settings.requests_queue_url),
        telemetry=Telemetry(settings.service, settings.log_level),
        clock=time,
    )


def handler(event: object, context: "LambdaContext") -> dict[str, Any]:
    """Answer one invocation."""
    return _dispatch()(event, context.aws_request_id)


if "AWS_LAMBDA_RUNTIME_API" in os.environ:  # Lambda's init phase: what can be ready before the first event, is
    _dispatch()
