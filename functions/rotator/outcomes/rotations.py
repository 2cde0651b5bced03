"""The events of requests that have ended: how each is announced, and which return because their event failed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rotator.outcomes.message import MESSAGES_AN_HOUR, MessageLimiter, failure_message, one_line
from rotator.outcomes.publisher import MAXIMUM_EXPLANATION_LENGTH, DetailType, Event, OutcomeEvents, Put
from rotator.rotation.attempt import Next, Outcome, Result
from rotator.rotation.batch import Ended
from rotator.rotation.policy import CLOCK_MARGIN
from rotator.text import clip
from rotator.timestamps import format_timestamp, from_epoch

if TYPE_CHECKING:
    from rotator.clock import Clock, Deadline

MAXIMUM_NAME_LENGTH = 256
MAXIMUM_TRIGGER_LENGTH = 700  # a secret's ARN fits

# Without key guard a request returns once after it has rotated and was announced, at most this long after its commit:
# 10 min of replica lag + 15 min, the longest run of `rotate` + 2 min of clock skew = 27 min, rounded up.
ANNOUNCED_WITHIN = timedelta(minutes=30)

_FAILURES = frozenset({Result.REFUSED, Result.FAILED, Result.UNCONFIRMED})
_VERBS = {Result.REFUSED: "was refused", Result.FAILED: "failed", Result.UNCONFIRMED: "is unconfirmed"}


@dataclass(frozen=True, slots=True)
class Announcement:
    """How an ended request is announced. If it is `committed`, the request returns until its event is put."""

    result: Result
    reason: str
    committed: bool = False


def announcement_of(ended: Ended, now: datetime) -> Announcement | None:
    """Decide how a request is announced; None if it has not ended, or was announced before.

    A skipped request may have rotated in an earlier delivery: the function then died, or could not put the event. So it
    is announced as rotated if it was received before, and the commit is not older than its first receipt.
    """
    outcome = ended.outcome
    if outcome.result is Result.ROTATED:
        return Announcement(outcome.result, outcome.reason, committed=True)
    if outcome.next is Next.RETURN:
        return None
    if outcome.result is not Result.SKIPPED or not _may_have_committed(ended):
        return Announcement(outcome.result, outcome.reason)
    if _was_announced(ended, now):
        return None
    return Announcement(Result.ROTATED, "AlreadyRotated", committed=True)


def _may_have_committed(ended: Ended) -> bool:
    """Clocks may differ by CLOCK_MARGIN. That is safe: this soon after an earlier commit, no request is due."""
    state, delivery = ended.outcome.state, ended.delivery
    if state is None or delivery.receive_count == 1:
        return False
    return state.last_rotated_at >= from_epoch(delivery.first_received_at) - CLOCK_MARGIN


def _was_announced(ended: Ended, now: datetime) -> bool:
    """Without key guard, a request returns once after it was announced. With key guard it does not return."""
    request, state = ended.request, ended.outcome.state
    if request is None or state is None or request.rotation.guarded:
        return False
    return now - state.last_rotated_at < ANNOUNCED_WITHIN


class Announcer:
    """Puts the events of a batch in as few calls as possible."""

    def __init__(self, events: OutcomeEvents, clock: "Clock") -> None:
        self._events = events
        self._clock = clock
        self._limiter = MessageLimiter(clock)

    def announce(self, batch: Sequence[Ended], deadline: "Deadline") -> Collection[str]:
        """Put the events of a batch, and return the ids of the messages whose commit is not announced yet.

        These messages return. A message whose event the bus refuses for good does not.
        """
        if not self._events.enabled:
            return ()
        now = from_epoch(self._clock.time())
        announced = [(ended, announcement) for ended in batch if (announcement := announcement_of(ended, now))]
        puts = self._events.put(
            [Event(DetailType.ROTATION_ENDED, self._detail(ended, announcement)) for ended, announcement in announced],
            deadline,
        )
        return {
            ended.delivery.message_id
            for (ended, announcement), put in zip(announced, puts, strict=True)
            if announcement.committed and put is Put.LATER
        }

    def _detail(self, ended: Ended, announcement: Announcement) -> dict[str, object]:
        request, outcome, state = ended.request, ended.outcome, ended.outcome.state
        trigger = clip(request.trigger, MAXIMUM_TRIGGER_LENGTH) if request else None
        name = None if outcome.name is None else clip(outcome.name, MAXIMUM_NAME_LENGTH)
        user = state.user_name if state else None
        rotation_id = clip(ended.delivery.group, MAXIMUM_NAME_LENGTH)
        failures = self._limiter.count(trigger or rotation_id) if announcement.result in _FAILURES else 0
        return {
            "rotation_id": rotation_id,
            "rotation_name": name,
            "rotation_type": request.rotation.type if request else None,
            "iam_user": user,
            "trigger": trigger,
            "occurred_at": format_timestamp(request.occurred_at) if request else None,
            "outcome": announcement.result,
            "reason": announcement.reason,
            "explanation": clip(outcome.explanation, MAXIMUM_EXPLANATION_LENGTH),
            "last_rotated_at": format_timestamp(state.last_rotated_at) if state else None,
            "correlation_id": clip(request.correlation_id, MAXIMUM_NAME_LENGTH) if request else None,
            "published_key_before": outcome.published_key,
            "revoked_key": outcome.revoked_key if announcement.result is Result.ROTATED else None,
            "notify": 0 < failures <= MESSAGES_AN_HOUR,
            "message": _message(user or name or rotation_id, announcement, outcome, failures),
        }


def _message(subject: str, announcement: Announcement, outcome: Outcome, failures: int) -> str:
    if announcement.result in _FAILURES:
        last = failures >= MESSAGES_AN_HOUR
        return failure_message(
            subject, _VERBS[announcement.result], announcement.reason, outcome.explanation, last_of_flood=last
        )
    verb = "was rotated" if announcement.result is Result.ROTATED else "was skipped"
    return one_line(f"{one_line(subject, 128)} {verb} ({announcement.reason}).")
