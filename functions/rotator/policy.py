"""The decision whether a rotation is due: pure, without I/O and without a clock of its own.

A delivery is no order to rotate now. It is a wish about a state: rotated at or after the moment T when the trigger
occurred. Infisical keeps the one fact that decides it, so duplicates, retries and redrives of one trigger all find
their wish fulfilled.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from rotator.model import RotationRequest, RotationState

# T was read from one clock and lastRotatedAt from another: the two may differ by this much and a duplicate is still
# recognised.
CLOCK_MARGIN = timedelta(minutes=5)

# A failure that is recorded this shortly after a commit belongs to that commit (Infisical's audit log or a secret
# sync failed): the credentials themselves are sound.
AFTERMATH_OF_COMMIT = timedelta(seconds=5)


class Verdict(StrEnum):
    """What shall be done about a request."""

    ROTATE = "rotate"
    SKIP = "skip"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, and the reason that logs, metrics and the dead-letter queue give for it."""

    verdict: Verdict
    reason: str
    explanation: str = ""


def decide(state: RotationState, request: RotationRequest, minimum_interval: timedelta) -> Decision:
    """Compare T with lastRotatedAt, once.

    `minimum_interval` is the default of a rotation whose mapping names none. What is forced still happens once: a
    repeated delivery of it finds the rotation rotated.
    """
    if state.last_rotated_at >= request.occurred_at:
        return Decision(Verdict.SKIP, "AlreadyRotated", "it was rotated since the trigger occurred")
    if request.occurred_at <= allowed_from(state, request, minimum_interval):
        return Decision(
            Verdict.SKIP, "TooSoon", "it was rotated shortly before: consumers may still hold the previous credentials"
        )
    if failed_since(state) and not request.forced:
        return Decision(
            Verdict.REFUSE,
            "PreviousAttemptFailed",
            "the previous attempt failed and may have left credentials that nobody tracks; a further one could revoke"
            f" the published ones. Infisical said: {state.last_message or 'nothing'}",
        )
    return Decision(Verdict.ROTATE, "Due")


def failed_since(state: RotationState) -> bool:
    """Whether an attempt has failed since the last commit, other than in its aftermath."""
    return state.failed and state.last_attempted_at > state.last_rotated_at + AFTERMATH_OF_COMMIT


def allowed_from(state: RotationState, request: RotationRequest, minimum_interval: timedelta) -> datetime:
    """The last moment of an occurrence that comes too soon after the last rotation."""
    interval = request.rotation.minimum_interval or minimum_interval
    return state.last_rotated_at + (CLOCK_MARGIN if request.forced else max(CLOCK_MARGIN, interval))
