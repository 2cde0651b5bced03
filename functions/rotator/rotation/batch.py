"""A batch of requests: processed concurrently across rotations, strictly one after the other within one."""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rotator.rotation.attempt import Claim, Next, Outcome, Result, deferred
from rotator.rotation.delivery import Delivery
from rotator.rotation.queues import VISIBILITY_TIMEOUT_SECONDS
from rotator.rotation.reporting import Reporter
from rotator.rotation.request import RotationRequest
from rotator.telemetry import Metric, Telemetry
from rotator.timestamps import MAXIMUM_AHEAD, from_epoch

if TYPE_CHECKING:
    from rotator.clock import Clock
    from rotator.rotation.queues import FailedQueue, RequestQueue

# A request ends with its reason after 12 hours, or after so many deliveries that SQS would soon move it to
# FailedRotations.fifo without a reason: template.yaml's maxReceiveCount is 1,000.
MAXIMUM_WAIT_SECONDS = 12 * 3600
MAXIMUM_DELIVERIES = 950

# From this delivery on a request returns after a minute at the earliest, so that the time ends it before the count:
# 100 + 12 h / 60 s = 820 deliveries.
HASTY_DELIVERIES = 100
SLOW_RETURN_SECONDS = 60.0

# If a function is killed, its claimed message returns by itself, at least CLAIM_SECONDS (41,200 s) old. So a request
# this old may have been attempted, and without key guard it is not attempted again.
LATEST_CLAIM_SECONDS = 40_900

# How soon a message returns if its commit could not be announced. An announced one returns within 30 minutes of its
# commit, so the two are not confused.
UNANNOUNCED_SECONDS = 3600.0

Ensure = Callable[[RotationRequest, Claim], Outcome]


@dataclass(frozen=True, slots=True)
class Ended:
    """One delivery and how it ended. `request` is None where the message is not a valid one."""

    delivery: Delivery
    request: RotationRequest | None
    outcome: Outcome


# Announces how the requests of a batch ended, and returns the ids of the messages whose commit is not announced yet.
Announce = Callable[[Sequence[Ended]], Collection[str]]


@dataclass(slots=True)
class _Group:
    """How the deliveries of one rotation ended. `settling` are those that return once more after they rotated."""

    ended: list[Ended] = field(default_factory=list)
    returned: Sequence[Delivery] = ()
    settling: Sequence[Delivery] = ()


class BatchProcessor:
    """Ends each delivery: acknowledged, back in the queue, or in FailedRotations.fifo."""

    def __init__(
        self,
        *,
        requests: "RequestQueue",
        failed: "FailedQueue",
        telemetry: Telemetry,
        clock: "Clock",
    ) -> None:
        self._requests = requests
        self._reporter = Reporter(failed, telemetry, clock)
        self._telemetry = telemetry
        self._clock = clock

    def process(self, deliveries: Iterable[Delivery], ensure: Ensure, announce: Announce = lambda _: ()) -> list[str]:
        """Call `ensure` for each delivery and return the ids of the messages that SQS has to redeliver.

        A message that returns takes all later ones of its rotation with it, in order. `announce` is called once, when
        all have ended. If it cannot announce a commit, that message returns too: a later delivery announces it.
        """
        groups: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            groups.setdefault(delivery.group, []).append(delivery)
        if not groups:
            return []
        with ThreadPoolExecutor(max_workers=len(groups)) as pool:
            worked = list(pool.map(lambda group: self._in_order(group, ensure), groups.values()))
        unannounced = announce([ended for group in worked for ended in group.ended])
        return [message_id for group in worked for message_id in self._returned(group, unannounced)]

    def _returned(self, group: _Group, unannounced: Collection[str]) -> list[str]:
        """The messages of a rotation that return, in order: also those whose commit is not announced yet.

        Without key guard, a request stays claimed until its commit is announced. If the function is killed before, the
        message returns hours later, so that the next delivery does not take the commit for announced.
        """
        if group.settling:
            ended = group.ended[-1]
            is_unannounced = ended.delivery.message_id in unannounced
            self._return_in(
                group.settling, UNANNOUNCED_SECONDS if is_unannounced else ended.outcome.return_seconds or 0.0
            )
        now = self._clock.time()
        kept = {delivery.message_id for delivery in group.returned}
        return [
            *(
                ended.delivery.message_id
                for ended in group.ended
                if ended.delivery.message_id in unannounced
                and ended.delivery.message_id not in kept
                and not _is_too_late(ended.delivery, ended.delivery.age_seconds(now))
            ),
            *(delivery.message_id for delivery in group.returned),
        ]

    def _in_order(self, deliveries: Sequence[Delivery], ensure: Ensure) -> _Group:
        group = _Group()
        if not self._extend_visibility(deliveries):
            group.returned = deliveries
            return group
        for position, delivery in enumerate(deliveries):
            ended = self._process_one(delivery, ensure)
            group.ended.append(ended)
            outcome, later = ended.outcome, deliveries[position + 1 :]
            match outcome.next:
                case Next.RETURN:
                    group.returned = [delivery, *later]
                    if outcome.result is Result.ROTATED:
                        group.settling = group.returned
                    elif outcome.return_seconds is not None:
                        self._return_in(group.returned, outcome.return_seconds)
                    return group
                case Next.RETURN_LATER_ONES:
                    group.returned = later
                    return group
                case Next.ACKNOWLEDGE:
                    pass
        return group

    def _process_one(self, delivery: Delivery, ensure: Ensure) -> Ended:
        started = self._clock.monotonic()
        request: RotationRequest | None = None
        try:
            request = delivery.request(latest=from_epoch(self._clock.time()) + MAXIMUM_AHEAD)
        except ValueError as error:
            outcome = Outcome(Result.REFUSED, "InvalidRequest", str(error))
        else:
            has_to_end = delivery.receive_count > MAXIMUM_DELIVERIES
            outcome = _lost(delivery) if has_to_end else self._ended(ensure, request, delivery)
        if outcome.next is Next.RETURN and _is_too_late(delivery, delivery.age_seconds(self._clock.time())):
            outcome = _given_up(outcome, delivery)
        is_reported = self._reporter.report(delivery, request, outcome, self._clock.monotonic() - started)
        if not is_reported and outcome.next is not Next.RETURN_LATER_ONES:
            outcome = deferred("ReportNotKept", outcome.explanation)
        return Ended(delivery, request, outcome)

    def _ended(self, ensure: Ensure, request: RotationRequest, delivery: Delivery) -> Outcome:
        claims: list[bool] = []  # also of claims that failed: only the answer may have been lost

        def claim() -> Outcome | None:
            unclaimed = self._claim(delivery)
            claims.append(unclaimed is None)
            return unclaimed

        try:
            outcome = ensure(request, claim)
        except Exception as error:  # the other rotations of the batch go on
            self._telemetry.logger.exception("unexpected error", correlation_id=request.correlation_id)
            if any(claims):
                return Outcome(Result.UNCONFIRMED, "UnexpectedError", type(error).__name__, next=Next.RETURN_LATER_ONES)
            return deferred("UnexpectedError", type(error).__name__)
        if claims and outcome.next is Next.RETURN and outcome.return_seconds is None:
            return replace(outcome, return_seconds=VISIBILITY_TIMEOUT_SECONDS)
        return outcome

    def _claim(self, delivery: Delivery) -> Outcome | None:
        """Hide a message until it is too old for a second attempt."""
        age_seconds = delivery.age_seconds(self._clock.time())
        if age_seconds > LATEST_CLAIM_SECONDS:
            return Outcome(
                Result.FAILED,
                "AttemptLost",
                f"the request was first received {age_seconds / 3600:.1f} hours ago. A function that was killed may"
                " have sent rotate-secrets for it, which without key guard is never sent twice. Look at the"
                " credentials, then force a rotation",
            )
        try:
            self._requests.claim(delivery.receipt_handle)
        except Exception as error:
            self._telemetry.logger.exception("the message could not be claimed; nothing was sent to Infisical")
            return deferred("NotClaimed", f"SQS did not make the request invisible: {type(error).__name__}")
        return None

    def _extend_visibility(self, group: Sequence[Delivery]) -> bool:
        """Make sure that SQS delivers these messages to no other invocation meanwhile.

        Their visibility time-out began when they were received, and a throttled function may be invoked much later.
        Only the first delivery of a message has the moment of its receipt.
        """
        if all(delivery.is_fresh(self._clock.time()) for delivery in group):
            return True
        try:
            self._requests.extend_visibility([delivery.receipt_handle for delivery in group])
        except Exception:  # SQS has delivered them to another invocation, or will
            self._telemetry.logger.exception(
                "the visibility time-out could not be extended; another invocation processes the messages"
            )
            self._telemetry.emit(
                {Metric.REQUEST_AGE: group[0].age_seconds(self._clock.time())}, message_id=group[0].message_id
            )
            return False
        return True

    def _return_in(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        """Let messages return then. If that call fails, they return when their visibility time-out ends."""
        if deliveries[0].receive_count > HASTY_DELIVERIES:
            seconds = max(seconds, SLOW_RETURN_SECONDS)
        try:
            for delivery in deliveries:
                self._requests.return_in(delivery.receipt_handle, math.ceil(seconds))
        except Exception:  # the messages are safe: they only return later. The function's time is nearly over
            self._telemetry.logger.exception("the visibility time-out could not be changed")


def _lost(delivery: Delivery) -> Outcome:
    """A request that has cut the function off again and again, also at the delivery that had to be its last.

    SQS would soon move it to FailedRotations.fifo without a reason, and no event would report it.
    """
    return Outcome(
        Result.UNCONFIRMED,
        "AttemptLost",
        f"the request was delivered {delivery.receive_count} times, and each time the function was killed, or could"
        " not keep its report. It is not attempted again. Look at the errors in the rotate function's log and at the"
        " credentials, then send a new trigger",
    )


def _is_too_late(delivery: Delivery, age_seconds: float) -> bool:
    return age_seconds > MAXIMUM_WAIT_SECONDS or delivery.receive_count >= MAXIMUM_DELIVERIES


def _given_up(outcome: Outcome, delivery: Delivery) -> Outcome:
    """The same outcome, without another delivery. After a rotation, only the wait for lagging replicas ends."""
    if outcome.result is Result.ROTATED:
        return replace(outcome, next=Next.ACKNOWLEDGE)
    return replace(
        outcome,
        result=Result.FAILED if outcome.result is Result.DEFERRED else outcome.result,
        explanation=f"given up after {delivery.receive_count} deliveries. {outcome.explanation}",
        next=Next.RETURN_LATER_ONES if outcome.result is Result.UNCONFIRMED else Next.ACKNOWLEDGE,
        return_seconds=None,
    )
