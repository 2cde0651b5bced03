"""What an audit finds out about rotations: pure, by their states and the moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.model import RotationState
from rotator.policy import failed_since
from rotator.telemetry import Metric


@dataclass(frozen=True, slots=True)
class Finding:
    """One rotation as the audit sees it; `age` is the time since its last commit."""

    state: RotationState
    age: timedelta
    limit: timedelta

    @property
    def overdue(self) -> bool:
        """Whether it has not been rotated for too long, whatever the reason."""
        return self.age > self.limit

    @property
    def failed(self) -> bool:
        """Whether its last attempt failed; without key guard, further triggers wait for a person."""
        return failed_since(self.state)

    @property
    def remarks(self) -> list[str]:
        """What a person should know of it; nothing where all is well."""
        remarks = {"overdue": self.overdue, "failed": self.failed, "rotates itself": self.state.rotates_itself}
        return [remark for remark, holds in remarks.items() if holds]


def examine(state: RotationState, limit: timedelta, now: datetime) -> Finding:
    """Look at one rotation."""
    return Finding(state, now - state.last_rotated_at, limit)


def summarize(findings: Sequence[Finding], unreadable: int, lagging_mirrors: int) -> dict[Metric, float]:
    """The metrics of an audit. The oldest age is that of nothing where nothing could be read."""
    return {
        Metric.ROTATIONS_WATCHED: len(findings),
        Metric.OVERDUE_ROTATIONS: sum(finding.overdue for finding in findings),
        Metric.FAILED_ROTATIONS: sum(finding.failed for finding in findings),
        Metric.AUTO_ROTATION_ENABLED: sum(finding.state.rotates_itself for finding in findings),
        Metric.UNREADABLE_ROTATIONS: unreadable,
        Metric.LAGGING_MIRRORS: lagging_mirrors,
        Metric.OLDEST_ROTATION_AGE: max((finding.age.total_seconds() for finding in findings), default=0.0),
    }
