"""One attempt: read the state, decide, rotate, and confirm from the state."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum, StrEnum, auto

from rotator.clock import Deadline
from rotator.infisical.client import READ_TIMEOUT_SECONDS, Infisical
from rotator.infisical.errors import (
    InfisicalError,
    InvalidAnswerError,
    RateLimitedError,
    RejectedError,
    RotationInProgressError,
    UncertainError,
    UnreachableError,
)
from rotator.model import RotationState
from rotator.rotation import policy
from rotator.rotation.policy import REPLICA_LAG, Decider, Decision, Verdict
from rotator.rotation.request import RotationRequest

# No rotate-secrets is sent with less time left. Infisical sets no limit to a rotation, so 90 s are assumed.
# 90 s + 20 s for the reads around it = 110 s. An attempt that takes longer ends as unconfirmed.
ATTEMPT_SECONDS = 110.0

# IAM's error where a user has two keys already. Infisical's AWS SDK retries a creation whose response was lost.
_KEY_QUOTA = "AccessKeysPerUser"

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 5.0


class Result(StrEnum):
    """How a request ended."""

    ROTATED = "rotated"
    SKIPPED = "skipped"
    REFUSED = "refused"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"
    DEFERRED = "deferred"


class Next(Enum):
    """What becomes of the request's message."""

    ACKNOWLEDGE = auto()
    RETURN = auto()  # to the queue, with all later messages of the rotation, which are processed after it
    RETURN_LATER_ONES = auto()  # only these: the attempt may still be under way, and nothing may follow it early


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one delivery of a request.

    `name` is the rotation's, None if it could not be read, and `state` the last that was read. The keys are the
    decision's. A message returns after `return_seconds`, by default after the full visibility time-out.
    """

    result: Result
    reason: str
    explanation: str = ""
    name: str | None = None
    next: Next = Next.ACKNOWLEDGE
    return_seconds: float | None = None
    state: RotationState | None = None
    published_key: str | None = None
    revoked_key: str | None = None

    @property
    def comes_back(self) -> bool:
        """Whether the request is processed again. A rotated one has ended, even if its message returns once."""
        return self.next is Next.RETURN and self.result is not Result.ROTATED


# Makes sure that a request without key guard is attempted at most once. Returns an outcome if that is impossible.
Claim = Callable[[], Outcome | None]

_UNTOUCHED = {Verdict.SKIP: Result.SKIPPED, Verdict.REFUSE: Result.REFUSED}


def deferred(reason: str, explanation: str, name: str | None = None, return_seconds: float | None = None) -> Outcome:
    """Nothing was done, and the request returns to the queue."""
    return Outcome(Result.DEFERRED, reason, explanation, name, Next.RETURN, return_seconds)


_OUT_OF_TIME = deferred("OutOfTime", "too little of the function's time was left to rotate")


def ensure_rotated(
    infisical: Infisical, decide: Decider, request: RotationRequest, claim: Claim, deadline: Deadline
) -> Outcome:
    """Make sure that the rotation has been rotated at or after the moment when its trigger occurred.

    Sends at most one rotate-secrets, and without key guard only after `claim`. While Infisical limits the rate, the
    request waits in the queue, which costs nothing. The next delivery decides anew.
    """
    if (remaining := deadline.remaining_seconds()) <= 0:
        return _OUT_OF_TIME
    try:
        infisical.check_rate_limit("POST")  # before the read, which would be wasted
        before = infisical.state(request.rotation, min(READ_TIMEOUT_SECONDS, remaining))
        return _act(infisical, decide, request, before, claim, deadline)
    except RateLimitedError as limited:
        return deferred(limited.reason, str(limited), return_seconds=limited.retry_after_seconds)
    except (RejectedError, InvalidAnswerError) as error:
        return Outcome(Result.FAILED, error.reason, str(error))
    except (UnreachableError, UncertainError) as error:
        return deferred(error.reason, str(error))


def _act(  # noqa: PLR0913, PLR0917 - what it acts with, on, and for how long
    infisical: Infisical,
    decide: Decider,
    request: RotationRequest,
    before: RotationState,
    claim: Claim,
    deadline: Deadline,
) -> Outcome:
    """Decide, and act on the decision. Raises RateLimitedError, and no other InfisicalError."""
    if deadline.remaining_seconds() < ATTEMPT_SECONDS:  # too late for an attempt: do not ask IAM
        decide = _without_asking
    decision = decide(before, request)
    outcome = _carry_out(infisical, decision, request, before, claim, deadline)
    return replace(
        outcome,
        state=outcome.state or before,
        published_key=decision.published_key,
        revoked_key=decision.revoked_key,
    )


def _carry_out(  # noqa: PLR0913, PLR0917 - what it acts with, on, and for how long
    infisical: Infisical,
    decision: Decision,
    request: RotationRequest,
    before: RotationState,
    claim: Claim,
    deadline: Deadline,
) -> Outcome:
    if decision.verdict is Verdict.WAIT:
        return deferred(decision.reason, decision.explanation, before.name)
    if decision.verdict is not Verdict.ROTATE:
        return Outcome(_UNTOUCHED[decision.verdict], decision.reason, decision.explanation, before.name)
    if deadline.remaining_seconds() < ATTEMPT_SECONDS:
        return _OUT_OF_TIME
    if request.rotation.guarded:
        return _send_rotate_secrets(infisical, request, before, deadline)
    unclaimed = claim()
    return unclaimed or _settled(_send_rotate_secrets(infisical, request, before, deadline))


def _settled(outcome: Outcome) -> Outcome:
    """Without key guard, keep the rotation's next request away until every database replica shows this rotation.

    Its own message returns then, finds the rotation done, and ends.
    """
    if outcome.result is not Result.ROTATED:
        return outcome
    return replace(outcome, next=Next.RETURN, return_seconds=REPLICA_LAG.total_seconds())


def _without_asking(state: RotationState, request: RotationRequest) -> Decision:
    """Recognise a request that is already fulfilled, without asking IAM."""
    return policy.check_due(state, request, minimum_interval=timedelta())


def _send_rotate_secrets(
    infisical: Infisical, request: RotationRequest, before: RotationState, deadline: Deadline
) -> Outcome:
    try:
        after = infisical.rotate(request.rotation)
    except RejectedError as error:
        return Outcome(Result.FAILED, error.reason, str(error), before.name)
    except UnreachableError as error:
        return deferred(error.reason, str(error), before.name)
    except (RotationInProgressError, UncertainError) as error:
        return _confirm(infisical, request, before, error, deadline)
    except RateLimitedError:
        raise
    except Exception as error:  # noqa: BLE001 - it may have been sent: only the state shows what happened
        unexpected = UncertainError(f"unexpected {type(error).__name__} while rotating")
        return _confirm(infisical, request, before, unexpected, deadline)
    if after.committed_after(before):
        return Outcome(Result.ROTATED, "Rotated", name=after.name, state=after)
    unchanged = UncertainError("Infisical answered with success, but lastRotatedAt has not advanced")
    return _confirm(infisical, request, before, unchanged, deadline)


def _confirm(
    infisical: Infisical,
    request: RotationRequest,
    before: RotationState,
    cause: InfisicalError,
    deadline: Deadline,
) -> Outcome:
    """Poll the state after an ambiguous answer, until it shows what happened or the time is over."""
    pause = _FIRST_PAUSE_SECONDS
    # With key guard another attempt is safe: the guard first checks which keys this one left behind.
    after_failure = Next.RETURN if request.rotation.guarded else Next.ACKNOWLEDGE
    unread: InfisicalError | None = None
    while (remaining := deadline.remaining_seconds()) > 0:
        try:
            now = infisical.state(request.rotation, min(READ_TIMEOUT_SECONDS, remaining))
        except RateLimitedError as limited:
            pause = max(pause, limited.retry_after_seconds)
        except InfisicalError as error:
            unread = error
        else:
            if now.committed_after(before):
                explanation = f"Infisical committed the rotation in spite of this error: {cause}"
                return Outcome(Result.ROTATED, "Confirmed", explanation, now.name, state=now)
            if now.failed_after(before):
                explanation = f"{cause}. The rotation's state says: {_failure(now)}"
                return Outcome(Result.FAILED, "AttemptFailed", explanation, now.name, after_failure, state=now)
        deadline.clock.sleep(max(0.0, min(pause, deadline.remaining_seconds())))
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
    if isinstance(cause, RotationInProgressError):
        return deferred(cause.reason, str(cause), before.name)
    state = f"could not be read: {unread}" if unread else "did not show in time how it ended"
    explanation = f"{cause}. The rotation's state {state}"
    after_loss = Next.RETURN if request.rotation.guarded else Next.RETURN_LATER_ONES
    return Outcome(Result.UNCONFIRMED, cause.reason, explanation, before.name, after_loss)


def _failure(state: RotationState) -> str:
    """Infisical's message, with its meaning for the keys where that is known."""
    message = state.last_message or "nothing"
    if _KEY_QUOTA not in message:
        return message
    return (
        f"{message}. An earlier attempt probably left a key that Infisical does not know: find it among the user's keys"
        " and delete it"
    )
