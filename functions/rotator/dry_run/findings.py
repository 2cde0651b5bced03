"""What an audit finds out about rotations: pure, by their states and the moment."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.model import RotationState
from rotator.rotation.policy import failed_since
from rotator.telemetry import Metric


@dataclass(frozen=True, slots=True)
class Finding:
    """One rotation as the audit sees it; `age` is the time since its last commit.

    `shares_user_with` are the ids of other rotations of the same IAM user: each deletes the others' published keys.
    """

    state: RotationState
    age: timedelta
    limit: timedelta
    shares_user_with: tuple[str, ...] = ()

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
        remarks = {
            "overdue": self.overdue,
            "failed": self.failed,
            "rotates itself": self.state.rotates_itself,
            "shares its IAM user": bool(self.shares_user_with),
        }
        return [remark for remark, holds in remarks.items() if holds]


def examine(limits: Sequence[tuple[RotationState, timedelta]], now: datetime) -> list[Finding]:
    """Look at rotations, each with its maximum age."""
    of_user: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for state, _ in limits:
        if user := iam_user(state):
            of_user[user].append(state.id)
    return [
        Finding(state, now - state.last_rotated_at, limit, tuple(_others(state, of_user))) for state, limit in limits
    ]


def iam_user(state: RotationState) -> tuple[str, str] | None:
    """What tells IAM users of all accounts apart, as far as Infisical says it: the connection and the user's name."""
    return (state.connection_id, state.user_name) if state.connection_id and state.user_name else None


def _others(state: RotationState, of_user: Mapping[tuple[str, str], Sequence[str]]) -> Iterator[str]:
    user = iam_user(state)
    return (each for each in of_user[user] if each != state.id) if user else iter(())


def summarize(findings: Sequence[Finding], unreadable: int, lagging_mirrors: int) -> dict[Metric, float]:
    """The metrics of an audit. The oldest age is that of nothing where nothing could be read."""
    return {
        Metric.ROTATIONS_WATCHED: len(findings),
        Metric.OVERDUE_ROTATIONS: sum(finding.overdue for finding in findings),
        Metric.FAILED_ROTATIONS: sum(finding.failed for finding in findings),
        Metric.AUTO_ROTATION_ENABLED: sum(finding.state.rotates_itself for finding in findings),
        Metric.UNREADABLE_ROTATIONS: unreadable,
        Metric.LAGGING_MIRRORS: lagging_mirrors,
        Metric.SHARED_USERS: sum(bool(finding.shares_user_with) for finding in findings),
        Metric.OLDEST_ROTATION_AGE: max((finding.age.total_seconds() for finding in findings), default=0.0),
    }
