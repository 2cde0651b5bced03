"""The health of rotations, as the audit reports it. Pure: from their states, their keys and the time."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.model import RotationState
from rotator.rotation.key_policy import UserKey, UserKeys, find_published
from rotator.rotation.policy import failed_since_commit
from rotator.telemetry import Metric


@dataclass(frozen=True, slots=True)
class RotationHealth:
    """One rotation as the audit sees it; `age` is the time since its last commit.

    `shares_user_with` are the ids of other rotations of the same IAM user: each deletes the others' published keys.
    `keys` are the IAM user's, if the rotation has key guard and IAM returned them.
    """

    state: RotationState
    age: timedelta
    limit: timedelta
    shares_user_with: tuple[str, ...] = ()
    keys: UserKeys | None = None

    @property
    def overdue(self) -> bool:
        """Whether the last rotation is too long ago, for any reason."""
        return self.age > self.limit

    @property
    def failed(self) -> bool:
        """Whether its last attempt failed. Without key guard, triggers are then refused until a person forces one."""
        return failed_since_commit(self.state)

    @property
    def inactive_published(self) -> UserKey | None:
        """The published key, if AWS refuses it: every consumer that has picked it up is down."""
        published = find_published(self.keys, self.state.last_rotated_at) if self.keys else None
        return published if published is not None and not published.active else None

    @property
    def oldest_active_key_age(self) -> timedelta:
        """The age of the oldest key that AWS accepts; zero where none is known."""
        oldest = self.keys.oldest_active if self.keys else None
        return self.age + (self.state.last_rotated_at - oldest.created_at) if oldest else timedelta()

    @property
    def issues(self) -> list[str]:
        """What needs attention; empty where all is well."""
        issues = {
            "overdue": self.overdue,
            "failed": self.failed,
            "rotates itself": self.state.auto_rotation,
            "shares its IAM user": bool(self.shares_user_with),
            "published key inactive": self.inactive_published is not None,
        }
        return [issue for issue, present in issues.items() if present]


def check(
    limits: Sequence[tuple[RotationState, timedelta]],
    now: datetime,
    keys: Mapping[str, UserKeys],
) -> list[RotationHealth]:
    """Check rotations, each with its maximum age. `keys` are those that IAM returned, by the rotation's id."""
    of_user: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for state, _ in limits:
        if user := iam_user(state):
            of_user[user].append(state.id)
    return [
        RotationHealth(state, now - state.last_rotated_at, limit, tuple(_others(state, of_user)), keys.get(state.id))
        for state, limit in limits
    ]


def iam_user(state: RotationState) -> tuple[str, str] | None:
    """Identify an IAM user across accounts, as far as Infisical shows: by the connection and the user's name."""
    return (state.connection_id, state.user_name) if state.connection_id and state.user_name else None


def _others(state: RotationState, of_user: Mapping[tuple[str, str], Sequence[str]]) -> Iterator[str]:
    user = iam_user(state)
    return (rotation_id for rotation_id in of_user[user] if rotation_id != state.id) if user else iter(())


def summarize(rotations: Sequence[RotationHealth], unreadable: int, lagging_mirrors: int) -> dict[Metric, float]:
    """The metrics of an audit. The oldest age is 0 where no rotation could be read."""
    return {
        Metric.ROTATIONS_WATCHED: len(rotations),
        Metric.OVERDUE_ROTATIONS: sum(rotation.overdue for rotation in rotations),
        Metric.ROTATIONS_IN_FAILED_STATE: sum(rotation.failed for rotation in rotations),
        Metric.AUTO_ROTATION_ENABLED: sum(rotation.state.auto_rotation for rotation in rotations),
        Metric.UNREADABLE_ROTATIONS: unreadable,
        Metric.LAGGING_MIRRORS: lagging_mirrors,
        Metric.SHARED_USERS: sum(bool(rotation.shares_user_with) for rotation in rotations),
        Metric.INACTIVE_PUBLISHED_KEYS: sum(rotation.inactive_published is not None for rotation in rotations),
        Metric.OLDEST_ROTATION_AGE: max((rotation.age.total_seconds() for rotation in rotations), default=0.0),
        Metric.OLDEST_ACTIVE_KEY_AGE: max((_days(rotation.oldest_active_key_age) for rotation in rotations), default=0),
    }


def _days(duration: timedelta) -> float:
    return round(duration / timedelta(days=1), 1)
