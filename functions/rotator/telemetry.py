"""Logger and metrics. Every metric's name is here, and nowhere else in the code."""

import json
import sys
from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from typing import TextIO

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

NAMESPACE = "InfisicalRotation"


class Metric(StrEnum):
    """The metrics of this application, each with the dimension `service`, the stack's name, and no other by default."""

    ROTATION_SUCCEEDED = "RotationSucceeded"
    ROTATION_SKIPPED = "RotationSkipped"
    ROTATION_REFUSED = "RotationRefused"
    ROTATION_FAILED = "RotationFailed"
    ROTATION_UNCONFIRMED = "RotationUnconfirmed"
    ROTATION_DEFERRED = "RotationDeferred"
    ROTATION_DURATION = "RotationDuration"
    REQUEST_AGE = "RequestAge"
    UNMAPPED_TRIGGER = "UnmappedTrigger"
    OUTCOME_EVENTS_FAILED = "OutcomeEventsFailed"
    HOOK_STEP_SUCCEEDED = "HookStepSucceeded"
    HOOK_STEP_FAILED = "HookStepFailed"
    ROTATIONS_WATCHED = "RotationsWatched"
    OVERDUE_ROTATIONS = "OverdueRotations"
    ROTATIONS_IN_FAILED_STATE = "RotationsInFailedState"
    UNREADABLE_ROTATIONS = "UnreadableRotations"
    LAGGING_MIRRORS = "LaggingMirrors"
    SHARED_USERS = "SharedUsers"
    AUTO_ROTATION_ENABLED = "AutoRotationEnabled"
    OLDEST_ROTATION_AGE = "OldestRotationAge"
    OLDEST_ACTIVE_KEY_AGE = "OldestActiveKeyAge"
    PREVIOUS_KEY_IN_USE = "PreviousKeyInUse"
    PREVIOUS_KEY_DEACTIVATED = "PreviousKeyDeactivated"
    INACTIVE_PUBLISHED_KEYS = "InactivePublishedKeys"


# All others are counts; OldestActiveKeyAge counts days.
_UNITS = {
    Metric.ROTATION_DURATION: MetricUnit.Milliseconds,
    Metric.REQUEST_AGE: MetricUnit.Seconds,
    Metric.OLDEST_ROTATION_AGE: MetricUnit.Seconds,
}


# Metrics with a property as a second dimension. Each value is one more metric to pay for, so it has few values.
_ALSO_BY = {Metric.ROTATION_REFUSED: "reason"}


class Telemetry:
    """Structured logs, and metrics in CloudWatch's embedded metric format.

    `service` is the stack's name. Safe to use from several threads.
    """

    def __init__(self, service: str, log_level: str, stream: TextIO | None = None) -> None:
        self._service = service
        self._stream = stream or sys.stdout
        # ASCII, because UTF-8 cannot encode a lone surrogate: one in foreign text would lose the whole line.
        serialize = partial(json.dumps, default=str, separators=(",", ":"))
        self.logger = Logger(service=service, level=log_level, stream=self._stream, json_serializer=serialize)

    def count(
        self,
        metric: Metric,
        *,
        duration_seconds: float | None = None,
        age_seconds: float | None = None,
        **properties: str,
    ) -> None:
        """Count `metric` once, together with RotationDuration and RequestAge if their values are given.

        `properties` are as in `emit`.
        """
        values = {metric: 1.0}
        if duration_seconds is not None:
            values[Metric.ROTATION_DURATION] = duration_seconds * 1000
        if age_seconds is not None:
            values[Metric.REQUEST_AGE] = age_seconds
        self.emit(values, **properties)

    def emit(self, values: Mapping[Metric, float], **properties: str) -> None:
        """Emit metrics in one line.

        Logs can be searched by `properties`. As dimensions, each of their values would be one more metric to pay for.
        """
        metrics = EphemeralMetrics(namespace=NAMESPACE, service=self._service)
        for metric, value in values.items():
            metrics.add_metric(metric, _UNITS.get(metric, MetricUnit.Count), value)
        for name, text in properties.items():
            metrics.add_metadata(name, text)
        embedded = metrics.serialize_metric_set()
        (directive,) = embedded["_aws"]["CloudWatchMetrics"]
        directive["Dimensions"] += [
            [*directive["Dimensions"][0], _ALSO_BY[metric]] for metric in values if _ALSO_BY.get(metric) in properties
        ]
        # One write for each line: print writes the line end separately, and threads would mix them.
        self._stream.write(json.dumps(embedded) + "\n")
        self._stream.flush()
