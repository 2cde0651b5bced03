"""The decision whether a rotation is due: pure, without I/O and without a clock of its own.

A delivery is not an order to rotate now. It is a request about a state: rotated at or after T, the moment when the
trigger occurred. Infisical keeps the one fact that decides this, lastRotatedAt. So duplicates, retries and redrives of
one trigger find their request already fulfilled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from rotator.model import RotationState
from rotator.rotation.request import RotationRequest
from rotator.timestamps import format_timestamp

# A read of Infisical is assumed to be ten minutes old at most: it may come from a database replica that lags.
REPLICA_LAG = timedelta(minutes=10)

# T and lastRotatedAt come from different clocks: 120 s of clock skew + 180 s of slack = 5 min. (A T in the future is
# replaced by its arrival.) The margin also separates the keys of two rotations, so that the key guard can assign each
# key to its commit. If two keys seem nearer to each other, the guard refuses.
CLOCK_MARGIN = timedelta(minutes=5)

# A failure that is recorded this shortly after a commit belongs to that commit (Infisical's audit log or a secret
# sync failed): the credentials themselves are sound.
POST_COMMIT_FAILURE_WINDOW = timedelta(seconds=5)


class Verdict(StrEnum):
    """What to do about a request."""

    ROTATE = "rotate"
    SKIP = "skip"
    REFUSE = "refuse"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, and its reason for logs, metrics and the dead-letter queue.

    If the key guard looked: the ids of the published key, and of the key that a rotation revokes.
    """

    verdict: Verdict
    reason: str
    explanation: str = ""
    published_key: str | None = None
    revoked_key: str | None = None


Decider = Callable[[RotationState, RotationRequest], Decision]


def check_due(state: RotationState, request: RotationRequest, minimum_interval: timedelta) -> Decision:
    """Compare T with lastRotatedAt, once.

    `minimum_interval` is the default for a rotation whose entry sets none. A forced request still rotates once: its
    repeated delivery is skipped. After a failed attempt without key guard, it is unknown which keys are left: refuse.
    """
    if state.last_rotated_at >= request.occurred_at:
        return Decision(Verdict.SKIP, "AlreadyRotated", "it was rotated since the trigger occurred")
    if request.occurred_at <= too_soon_until(state, request, minimum_interval):
        return Decision(
            Verdict.SKIP, "TooSoon", "it was rotated shortly before: consumers may still hold the previous credentials"
        )
    if state.stale:
        return Decision(
            Verdict.WAIT,
            "StaleState",
            "Infisical's answer is older than the last commit that this function has seen, at"
            f" {format_timestamp(state.last_rotated_at)}: its database replica lags, or its database was restored",
        )
    if failed_since_commit(state) and not request.forced and not request.rotation.guarded:
        return Decision(
            Verdict.REFUSE,
            "PreviousAttemptFailed",
            "the previous attempt failed and may have left credentials that Infisical does not know; another one could"
            f" revoke the published ones. Infisical said: {state.last_message or 'nothing'}",
        )
    return Decision(Verdict.ROTATE, "Due")


def failed_since_commit(state: RotationState) -> bool:
    """Whether an attempt has failed since the last commit. A failure right after the commit belongs to it."""
    return state.failed and state.last_attempted_at > state.last_rotated_at + POST_COMMIT_FAILURE_WINDOW


def too_soon_until(state: RotationState, request: RotationRequest, minimum_interval: timedelta) -> datetime:
    """The last moment at which an occurrence is too soon after the last rotation."""
    interval = request.rotation.options.minimum_interval or minimum_interval
    return state.last_rotated_at + (CLOCK_MARGIN if request.forced else max(CLOCK_MARGIN, interval))
