"""Rotating, once: the shell that reads the state, has it decided, acts, and confirms from the state."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from rotator import policy
from rotator.clock import Deadline
from rotator.errors import (
    InfisicalError,
    InvalidAnswerError,
    RateLimitedError,
    RejectedError,
    RotationInProgressError,
    UncertainError,
    UnreachableError,
)
from rotator.infisical import Infisical
from rotator.model import RotationRequest, RotationState
from rotator.policy import Decide, Decision, Verdict

READ_TIMEOUT_SECONDS = 10.0

# Infisical closes the connection after 30 s (90 s on some deployments) while the rotation goes on: whoever waits
# longer than the 30 s learns what the server has to say.
ROTATE_TIMEOUT_SECONDS = 35.0

# No rotate-secrets is sent with less time left: Infisical works for up to 90 s, and an attempt is watched until it has
# ended, or the next request of the rotation would meet one that is still under way.
ATTEMPT_SECONDS = 110.0

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


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one request.

    `name` is the rotation's, None where it could not be read. `uncertain` says that an attempt may still be under way
    or may have left what the state does not show: nothing may follow it early. `guarded` says of an attempt that the
    key guard will look at what it has left behind before there is another.
    """

    result: Result
    reason: str
    explanation: str = ""
    name: str | None = None
    uncertain: bool = False
    guarded: bool = False
    retry_after_seconds: float | None = None

    @property
    def comes_back(self) -> bool:
        """Whether the request is worked again, because it did nothing or because the key guard will look.

        That is after `retry_after_seconds` where Infisical named them, else after the full visibility time-out.
        """
        return self.result is Result.DEFERRED or self.guarded


_UNTOUCHED = {Verdict.SKIP: Result.SKIPPED, Verdict.REFUSE: Result.REFUSED}
_OUT_OF_TIME = Outcome(Result.DEFERRED, "OutOfTime", "too little of the function's time was left to rotate")


def ensure_rotated(infisical: Infisical, decide: Decide, request: RotationRequest, deadline: Deadline) -> Outcome:
    """Make sure that the rotation has been rotated at or after the moment when its trigger occurred.

    Sends at most one rotate-secrets that is executed. While Infisical limits the rate, the queue does the waiting: it
    costs nothing there, and what is decided afterwards is decided anew.
    """
    try:
        return _attempt(infisical, decide, request, deadline)
    except RateLimitedError as limited:
        return Outcome(Result.DEFERRED, limited.reason, str(limited), retry_after_seconds=limited.retry_after_seconds)


def _attempt(infisical: Infisical, decide: Decide, request: RotationRequest, deadline: Deadline) -> Outcome:
    if (remaining := deadline.remaining_seconds()) <= 0:
        return _OUT_OF_TIME
    infisical.raise_if_limited()
    try:
        before = infisical.state(request.rotation, min(READ_TIMEOUT_SECONDS, remaining))
        if deadline.remaining_seconds() < ATTEMPT_SECONDS:  # nobody waits for IAM in vain
            decide = _without_asking
        decision = decide(before, request)
        if decision.verdict is Verdict.REFUSE and request.rotation.guarded:
            # The key of a rotation that was committed while IAM was asked looks like an orphan.
            now = infisical.state(request.rotation, READ_TIMEOUT_SECONDS)
            if now.committed_after(before):
                before, decision = now, decide(now, request)
    except (RejectedError, InvalidAnswerError) as error:
        return Outcome(Result.FAILED, error.reason, str(error))
    except (UnreachableError, UncertainError) as error:
        return Outcome(Result.DEFERRED, error.reason, str(error))

    if decision.verdict is not Verdict.ROTATE:
        return Outcome(_UNTOUCHED[decision.verdict], decision.reason, decision.explanation, before.name)
    if deadline.remaining_seconds() < ATTEMPT_SECONDS:
        return _OUT_OF_TIME
    return _rotate(infisical, request, before, deadline)


def _without_asking(state: RotationState, request: RotationRequest) -> Decision:
    """Recognise what is fulfilled, whatever the interval."""
    return policy.decide(state, request, minimum_interval=timedelta())


def _rotate(infisical: Infisical, request: RotationRequest, before: RotationState, deadline: Deadline) -> Outcome:
    try:
        after = infisical.rotate(request.rotation, ROTATE_TIMEOUT_SECONDS)
    except RejectedError as error:
        return Outcome(Result.FAILED, error.reason, str(error), before.name)
    except UnreachableError as error:
        return Outcome(Result.DEFERRED, error.reason, str(error), before.name)
    except (RotationInProgressError, UncertainError) as error:
        return _confirm(infisical, request, before, error, deadline)
    except RateLimitedError:
        raise
    except Exception as error:  # noqa: BLE001 - once it may have been sent, only the state tells what happened
        unexpected = UncertainError(f"unexpected {type(error).__name__} while rotating")
        return _confirm(infisical, request, before, unexpected, deadline)
    if after.committed_after(before):
        return Outcome(Result.ROTATED, "Rotated", name=after.name)
    unchanged = UncertainError("Infisical answered with success, but lastRotatedAt has not advanced")
    return _confirm(infisical, request, before, unchanged, deadline)


def _confirm(
    infisical: Infisical,
    request: RotationRequest,
    before: RotationState,
    cause: InfisicalError,
    deadline: Deadline,
) -> Outcome:
    """Watch the state after an answer that says nothing certain, until it tells or the time is up."""
    pause = _FIRST_PAUSE_SECONDS
    guarded = request.rotation.guarded
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
                return Outcome(Result.ROTATED, "Confirmed", f"it was committed, although: {cause}", now.name)
            if now.failed_after(before):
                explanation = f"{cause}. The rotation's state says: {now.last_message or 'nothing'}"
                return Outcome(Result.FAILED, "AttemptFailed", explanation, now.name, guarded=guarded)
        deadline.clock.sleep(max(0.0, min(pause, deadline.remaining_seconds())))
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
    if isinstance(cause, RotationInProgressError):
        return Outcome(Result.DEFERRED, cause.reason, str(cause), before.name)
    state = f"could not be read: {unread}" if unread else "did not tell in time"
    explanation = f"{cause}. The rotation's state {state}"
    return Outcome(Result.UNCONFIRMED, cause.reason, explanation, before.name, uncertain=True, guarded=guarded)
