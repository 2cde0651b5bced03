"""Logs and counts how a delivery ended, and keeps failures in FailedRotations.fifo."""

from typing import TYPE_CHECKING, Any

from rotator.rotation.attempt import Outcome, Result
from rotator.rotation.delivery import Delivery
from rotator.rotation.request import RotationRequest
from rotator.telemetry import Metric, Telemetry
from rotator.timestamps import format_timestamp, from_epoch

if TYPE_CHECKING:
    from rotator.clock import Clock
    from rotator.rotation.queues import FailedQueue

METRICS = {
    Result.ROTATED: Metric.ROTATION_SUCCEEDED,
    Result.SKIPPED: Metric.ROTATION_SKIPPED,
    Result.REFUSED: Metric.ROTATION_REFUSED,
    Result.FAILED: Metric.ROTATION_FAILED,
    Result.UNCONFIRMED: Metric.ROTATION_UNCONFIRMED,
    Result.DEFERRED: Metric.ROTATION_DEFERRED,
}

# An invalid request may be long. Only its beginning is kept, so that the report fits into one message.
MAXIMUM_KEPT_LENGTH = 16_000

# If these do not return, a person has to fix something and send a new trigger.
FINAL_FAILURES = frozenset({Result.REFUSED, Result.FAILED, Result.UNCONFIRMED})


class Reporter:
    """Reports each outcome, and keeps those that a person has to look at in FailedRotations.fifo."""

    def __init__(self, failed: "FailedQueue", telemetry: Telemetry, clock: "Clock") -> None:
        self._failed = failed
        self._telemetry = telemetry
        self._clock = clock

    def report(
        self, delivery: Delivery, request: RotationRequest | None, outcome: Outcome, duration_seconds: float
    ) -> bool:
        """Log and count an outcome. Returns False if FailedRotations.fifo did not take a report that it needs."""
        report = _report(delivery, request, outcome, duration_seconds)
        self._log_and_count(outcome, duration_seconds, delivery.age_seconds(self._clock.time()), report)
        if outcome.result not in FINAL_FAILURES or outcome.comes_back:
            return True
        return self._keep(delivery, report)

    def _keep(self, delivery: Delivery, report: dict[str, Any]) -> bool:
        """Send a report to FailedRotations.fifo.

        If that fails, the log has the report, and a request that did nothing returns to the queue. A request that may
        have rotated must not return.
        """
        failed_at = format_timestamp(from_epoch(self._clock.time()))
        try:
            self._failed.send(
                delivery.message_id,
                delivery.group,
                {**report, "failed_at": failed_at, "request": delivery.body[:MAXIMUM_KEPT_LENGTH]},
            )
        except Exception:
            self._telemetry.logger.exception("the report could not be kept in FailedRotations.fifo", **report)
            return False
        return True

    def _log_and_count(
        self, outcome: Outcome, duration_seconds: float, age_seconds: float, report: dict[str, Any]
    ) -> None:
        log = self._telemetry.logger
        if outcome.result in FINAL_FAILURES:
            level = log.error
        elif outcome.result is Result.DEFERRED:
            level = log.warning
        else:
            level = log.info
        level(f"rotation {outcome.result}", **report)
        searchable = {key: report[key] for key in ("rotation_id", "trigger", "reason") if key in report}
        self._telemetry.count(
            METRICS[outcome.result],
            duration_seconds=duration_seconds if outcome.result is Result.ROTATED else None,
            age_seconds=age_seconds if outcome.comes_back else None,
            **searchable,
        )


def _report(
    delivery: Delivery, request: RotationRequest | None, outcome: Outcome, duration_seconds: float
) -> dict[str, Any]:
    """The fields of an outcome, the same in logs and dead-letter queue."""
    report: dict[str, Any] = {
        "outcome": outcome.result,
        "reason": outcome.reason,
        "explanation": outcome.explanation,
        "rotation_name": outcome.name,
        "duration_seconds": round(duration_seconds, 3),
        "receive_count": delivery.receive_count,
        "comes_back": outcome.comes_back,
    }
    if request is not None:
        report |= {
            "correlation_id": request.correlation_id,
            "rotation_id": request.rotation.id,
            "rotation_type": request.rotation.type,
            "trigger": request.trigger,
            "occurred_at": format_timestamp(request.occurred_at),
        }
    return report
