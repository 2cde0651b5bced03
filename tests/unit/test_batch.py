import json
from collections.abc import Iterable
from dataclasses import replace
from threading import Barrier, Lock
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.rotation.attempt import Claim, Next, Outcome, Result, deferred
from rotator.rotation.batch import MAXIMUM_WAIT_SECONDS, BatchProcessor, Ensure
from rotator.rotation.delivery import FRESH_SECONDS, Delivery
from rotator.rotation.queues import CLAIM_SECONDS, FailedQueue, RequestQueue
from rotator.rotation.request import RotationRequest
from tests.unit.builders import body, delivery
from tests.unit.fakes import NOW, FakeSqs, Observed, VirtualClock, rotation_id

A, B, C = rotation_id(0xA), rotation_id(0xB), rotation_id(0xC)
HALF_A_DAY = 12 * 3600
VISIBILITY_TIMEOUT_SECONDS = 1080
MAXIMUM_RECEIVE_COUNT = 1000  # of template.yaml
MILLISECOND = 0.001
# Nobody waits for as long unless the test fails.
PATIENCE_SECONDS = 10

ROTATED = Outcome(Result.ROTATED, "Rotated", name="payments")
SKIPPED = Outcome(Result.SKIPPED, "AlreadyRotated", "it was rotated since", "payments")
REFUSED = Outcome(Result.REFUSED, "PreviousAttemptFailed", "a person looks", "payments")
FAILED = Outcome(Result.FAILED, "PermissionDenied", "Infisical answered 403", "payments")
UNCONFIRMED = Outcome(Result.UNCONFIRMED, "Uncertain", "no answer from Infisical", "payments", Next.RETURN_LATER_ONES)
DEFERRED = deferred("Unreachable", "no connection to Infisical", "payments")
LIMITED = deferred("RateLimited", "retry in 30 seconds", return_seconds=29.1)

# Attempts that the key guard will look at before there is another.
FAILED_ATTEMPT = Outcome(Result.FAILED, "AttemptFailed", "AccessDenied", "payments", Next.RETURN)
LOST_ATTEMPT = Outcome(Result.UNCONFIRMED, "Uncertain", "no answer from Infisical", "payments", Next.RETURN)

DONE = [ROTATED, SKIPPED]
CERTAINLY_FAILED = [REFUSED, FAILED]
FOR_A_PERSON = [*CERTAINLY_FAILED, UNCONFIRMED]
ENDED = [*DONE, *FOR_A_PERSON]
GUARDED = [FAILED_ATTEMPT, LOST_ATTEMPT]
COMING_BACK = [DEFERRED, LIMITED, *GUARDED]

EACH_ENDED = pytest.mark.parametrize("outcome", ENDED, ids=lambda outcome: outcome.result)
EACH_CERTAINLY_FAILED = pytest.mark.parametrize("outcome", CERTAINLY_FAILED, ids=lambda outcome: outcome.result)
EACH_FOR_A_PERSON = pytest.mark.parametrize("outcome", FOR_A_PERSON, ids=lambda outcome: outcome.result)
EACH_DEFERRED = pytest.mark.parametrize("outcome", [DEFERRED, LIMITED], ids=lambda outcome: outcome.reason)
EACH_GUARDED = pytest.mark.parametrize("outcome", GUARDED, ids=lambda outcome: outcome.result)
EACH_COMING_BACK = pytest.mark.parametrize("outcome", COMING_BACK, ids=lambda outcome: outcome.reason)


def waited_too_long(group: str, number: int = 1, *, receive_count: int = 99) -> Delivery:
    return delivery(group, number, receive_count=receive_count, age_seconds=HALF_A_DAY + MILLISECOND)


# What came back is held anew before it is worked.
HELD = ("receipt-a1", VISIBILITY_TIMEOUT_SECONDS)


class Stage:
    """A BatchProcessor with everything around it."""

    def __init__(self) -> None:
        self.requests, self.failed = FakeSqs(), FakeSqs()
        self.observed = Observed()
        self.clock = VirtualClock()
        self.worker = BatchProcessor(
            requests=RequestQueue(self.requests.client, "https://sqs.example.com/RotationRequests.fifo"),
            failed=FailedQueue(self.failed.client, "https://sqs.example.com/FailedRotations.fifo"),
            telemetry=self.observed.telemetry,
            clock=self.clock,
        )

    def work(self, deliveries: Iterable[Delivery], ensure: Ensure) -> list[str]:
        return self.worker.process(deliveries, ensure)


def always(outcome: Outcome) -> Ensure:
    return lambda *_: outcome


class Ensured:
    """Ends each request as its rotation, or one occurrence of it, is told to, and keeps the order."""

    def __init__(self, outcomes: dict[str, Outcome | Exception]) -> None:
        self._outcomes = outcomes
        self.messages: list[str] = []

    def __call__(self, request: RotationRequest, _: Claim) -> Outcome:
        message = request.rotation.id[-1] + request.correlation_id.removeprefix("correlation-")
        self.messages.append(message)
        outcome = self._outcomes.get(message, ROTATED)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def broken(_: RotationRequest, __: Claim) -> Outcome:
    raise RuntimeError("a mistake of ours")


# ---- the order of things ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [*ENDED, DEFERRED], ids=lambda outcome: outcome.result)
def test_ensure_is_asked_once_for_what_the_message_says(outcome: Outcome) -> None:
    asked = []

    def ensure(request: RotationRequest, __: Claim) -> Outcome:
        asked.append(request)
        return outcome

    Stage().work([delivery(A)], ensure)

    assert asked == [RotationRequest.from_message(body(A))]


def test_different_rotations_are_worked_at_the_same_time() -> None:
    together = Barrier(10)

    def ensure(_: RotationRequest, __: Claim) -> Outcome:
        together.wait(PATIENCE_SECONDS)  # raises, and so comes back, unless all ten are here at once
        return ROTATED

    assert Stage().work([delivery(rotation_id(number)) for number in range(10)], ensure) == []


def test_rotations_run_in_parallel_and_each_rotations_messages_in_turn() -> None:
    abreast = Barrier(2)
    working = {A: Lock(), B: Lock()}

    def ensure(request: RotationRequest, __: Claim) -> Outcome:
        alone = working[request.rotation.id].acquire(blocking=False)
        assert alone
        abreast.wait(PATIENCE_SECONDS)
        working[request.rotation.id].release()
        return ROTATED

    deliveries = [delivery(group, number) for number in range(5) for group in (A, B)]

    assert Stage().work(deliveries, ensure) == []


def test_one_rotation_is_worked_in_the_order_of_its_messages() -> None:
    ensured = Ensured({})

    Stage().work([delivery(A, number) for number in (3, 1, 4, 1, 5, 9, 2, 6)], ensured)

    assert ensured.messages == ["a3", "a1", "a4", "a1", "a5", "a9", "a2", "a6"]


# ---- what comes back -------------------------------------------------------------------------------------------------


@EACH_COMING_BACK
def test_a_returned_request_returns_all_later_ones_of_its_rotation_in_order(outcome: Outcome) -> None:
    deliveries = [delivery(A, number) for number in (1, 2, 3, 4)]

    assert Stage().work(deliveries, Ensured({"a2": outcome})) == ["a2", "a3", "a4"]


@EACH_COMING_BACK
def test_a_returned_request_is_not_reported_as_failed(outcome: Outcome) -> None:
    stage = Stage()

    stage.work([delivery(A, receive_count=949, age_seconds=HALF_A_DAY)], always(outcome))

    assert stage.failed.sent == []


# ---- what may still be under way -------------------------------------------------------------------------------------


def test_an_unconfirmed_attempt_is_acknowledged_and_returns_later_requests() -> None:
    deliveries = [delivery(A, number) for number in (1, 2, 3, 4)]

    assert Stage().work(deliveries, Ensured({"a2": UNCONFIRMED})) == ["a3", "a4"]


def test_requests_behind_an_unconfirmed_attempt_return_after_the_full_timeout() -> None:
    stage = Stage()

    stage.work([delivery(A, number) for number in (1, 2, 3)], Ensured({"a2": UNCONFIRMED}))

    assert stage.requests.visibility == []


@pytest.mark.parametrize("result", Result)
def test_no_request_follows_an_uncertain_outcome_of_any_name(result: Result) -> None:
    ensured = Ensured({"a1": Outcome(result, "Uncertain", next=Next.RETURN_LATER_ONES)})

    returned = Stage().work([delivery(A, 1), delivery(A, 2)], ensured)

    assert ensured.messages == ["a1"]
    assert returned[-1] == "a2"


OUTCOMES = st.sampled_from([*ENDED, *COMING_BACK])


@given(st.lists(st.tuples(st.sampled_from([A, B, C]), OUTCOMES), max_size=10))
def test_the_first_returned_message_returns_all_later_ones_of_its_rotation(
    batch: list[tuple[str, Outcome]],
) -> None:
    deliveries = [delivery(group, number) for number, (group, _) in enumerate(batch)]
    outcomes = [outcome for _, outcome in batch]
    held: set[str] = set()
    expected, tried = [], []
    for message, outcome in zip(deliveries, outcomes, strict=True):
        if message.group not in held:
            tried.append(message.message_id)
        if outcome in COMING_BACK or message.group in held:
            expected.append(message.message_id)
        if outcome in (*COMING_BACK, UNCONFIRMED):
            held.add(message.group)
    ensured = Ensured({message.message_id: outcome for message, outcome in zip(deliveries, outcomes, strict=True)})

    returned = Stage().work(deliveries, ensured)

    assert sorted(returned) == sorted(expected)
    assert sorted(ensured.messages) == sorted(tried)
    for group in (A, B, C):
        of_group = [message_id for message_id in returned if message_id.startswith(group[-1])]
        assert of_group == [message_id for message_id in expected if message_id.startswith(group[-1])]


# ---- messages that may be somebody else's by now ---------------------------------------------------------------------

NOT_FRESH = pytest.mark.parametrize(
    "received",
    [
        {"age_seconds": FRESH_SECONDS},
        {"age_seconds": FRESH_SECONDS + MILLISECOND},
        {"age_seconds": 1079.0},
        {"receive_count": 2},
    ],
    ids=["a minute ago", "more than that", "long ago", "again"],
)


@pytest.mark.parametrize("seconds_ago", [0.0, 1.0, FRESH_SECONDS - MILLISECOND])
def test_a_fresh_message_is_processed_without_extending_its_visibility(seconds_ago: float) -> None:
    stage = Stage()

    stage.work([delivery(A, number, age_seconds=seconds_ago) for number in (1, 2)], always(ROTATED))

    assert stage.requests.visibility == []


@NOT_FRESH
def test_an_older_message_is_held_for_the_full_visibility_timeout(received: dict[str, Any]) -> None:
    stage = Stage()

    assert stage.work([delivery(A, **received)], always(ROTATED)) == []
    assert stage.requests.visibility == [HELD]


@NOT_FRESH
def test_a_message_is_held_before_its_rotation_is_attempted(received: dict[str, Any]) -> None:
    stage = Stage()
    held_before = []

    def ensure(_: RotationRequest, __: Claim) -> Outcome:
        held_before.append(list(stage.requests.visibility))
        return ROTATED

    stage.work([delivery(A, number, **received) for number in (1, 2)], ensure)

    assert held_before == [[("receipt-a1", VISIBILITY_TIMEOUT_SECONDS), ("receipt-a2", VISIBILITY_TIMEOUT_SECONDS)]] * 2


@NOT_FRESH
def test_one_message_that_is_not_fresh_holds_all_of_its_rotation(received: dict[str, Any]) -> None:
    stage = Stage()
    deliveries = [delivery(A, 1), delivery(A, 2, **received), delivery(A, 3), delivery(B)]

    stage.work(deliveries, always(ROTATED))

    assert [receipt for receipt, _ in stage.requests.visibility] == ["receipt-a1", "receipt-a2", "receipt-a3"]


@NOT_FRESH
@pytest.mark.parametrize("lost", ["receipt-a1", "receipt-a2"])
def test_a_message_that_cannot_be_held_returns_its_rotations_messages(received: dict[str, Any], lost: str) -> None:
    stage = Stage()
    stage.requests.lost_receipts = [lost]
    ensured = Ensured({})
    deliveries = [delivery(group, number, **received) for number in (1, 2) for group in (A, B)]

    assert stage.work(deliveries, ensured) == ["a1", "a2"]
    assert ensured.messages == ["b1", "b2"]


def test_a_message_that_cannot_be_held_is_logged_and_not_reported_as_failed() -> None:
    stage = Stage()
    stage.requests.down = True

    stage.work([delivery(A, receive_count=2)], broken)

    assert [(line["level"], line["message"]) for line in stage.observed.logs] == [
        ("ERROR", "the visibility time-out could not be extended; another invocation processes the messages")
    ]
    assert stage.failed.sent == []


def test_a_rate_limit_shortens_what_was_held() -> None:
    stage = Stage()

    stage.work([delivery(A, receive_count=2)], always(LIMITED))

    assert stage.requests.visibility == [("receipt-a1", VISIBILITY_TIMEOUT_SECONDS), ("receipt-a1", 30)]


# ---- when it comes back ----------------------------------------------------------------------------------------------


def test_a_rate_limit_sets_when_a_message_and_those_behind_it_return() -> None:
    stage = Stage()

    stage.work([delivery(A, number) for number in (1, 2, 3)], Ensured({"a2": LIMITED}))

    assert stage.requests.visibility == [("receipt-a2", 30), ("receipt-a3", 30)]


def test_a_deferred_message_returns_after_the_full_visibility_timeout() -> None:
    stage = Stage()

    stage.work([delivery(A)], always(DEFERRED))

    assert stage.requests.visibility == []


@EACH_GUARDED
def test_a_guarded_attempt_returns_after_the_full_visibility_timeout(
    outcome: Outcome,
) -> None:
    stage = Stage()

    stage.work([delivery(A, number) for number in (1, 2)], always(outcome))

    assert stage.requests.visibility == []


def test_a_queue_that_does_not_let_it_return_earlier_lets_it_return_later() -> None:
    stage = Stage()
    stage.requests.down = True

    assert stage.work([delivery(A, 1), delivery(A, 2)], always(LIMITED)) == ["a1", "a2"]


def test_a_failed_visibility_change_is_not_followed_by_another() -> None:
    stage = Stage()
    stage.requests.lost_receipts = ["receipt-a1"]

    assert stage.work([delivery(A, 1), delivery(A, 2)], always(LIMITED)) == ["a1", "a2"]
    assert stage.requests.visibility == []


@pytest.mark.parametrize(("receive_count", "seconds"), [(1, 2), (100, 2), (101, 60), (949, 60)])
def test_a_request_delivered_a_hundred_times_returns_after_a_minute_or_more(receive_count: int, seconds: int) -> None:
    stage = Stage()

    stage.work([delivery(A, receive_count=receive_count)], always(replace(LIMITED, return_seconds=1.1)))

    assert stage.requests.visibility[-1] == ("receipt-a1", seconds)


def test_a_request_limited_for_twelve_hours_ends_before_sqs_moves_it() -> None:
    stage = Stage()
    started, receive_count, returned = stage.clock.time(), 0, ["a1"]
    while returned:
        receive_count += 1
        age_seconds = stage.clock.time() - started
        message = replace(delivery(A, receive_count=receive_count), first_received_at=started)
        returned = stage.work([message], always(replace(LIMITED, return_seconds=1.0)))
        stage.clock.sleep(stage.requests.visibility[-1][1] if returned else 0.0)

    assert age_seconds > MAXIMUM_WAIT_SECONDS
    assert receive_count < MAXIMUM_RECEIVE_COUNT
    assert [report["reason"] for report in stage.failed.reports] == ["RateLimited"]


def test_a_queue_that_does_not_let_it_return_earlier_is_logged() -> None:
    stage = Stage()
    stage.requests.down = True

    stage.work([delivery(A)], always(LIMITED))

    assert [line["message"] for line in stage.observed.logs if line["level"] == "ERROR"] == [
        "the visibility time-out could not be changed"
    ]


# ---- what a person has to look at ------------------------------------------------------------------------------------


@EACH_FOR_A_PERSON
def test_a_failed_request_is_kept_with_all_that_is_known(outcome: Outcome) -> None:
    stage = Stage()

    stage.work([delivery(A, receive_count=3)], always(outcome))

    assert stage.failed.reports == [
        {
            "outcome": outcome.result.value,
            "reason": outcome.reason,
            "explanation": outcome.explanation,
            "rotation_name": "payments",
            "duration_seconds": 0.0,
            "receive_count": 3,
            "comes_back": False,
            "correlation_id": "correlation-1",
            "rotation_id": A,
            "rotation_type": "aws-iam-user-secret",
            "trigger": "weekly",
            "occurred_at": "2026-11-21T06:00:00.000Z",
            "failed_at": "2026-11-22T05:00:00.000Z",
            "request": body(A),
        }
    ]


@EACH_FOR_A_PERSON
def test_a_report_is_kept_once_a_message_in_the_order_of_its_rotation(outcome: Outcome) -> None:
    stage = Stage()

    stage.work([delivery(A)], always(outcome))

    (sent,) = stage.failed.sent
    assert (sent.get("MessageGroupId"), sent.get("MessageDeduplicationId")) == (A, "a1")


@EACH_DEFERRED
def test_a_request_deferred_for_twelve_hours_ends_as_failed_with_its_reason(outcome: Outcome) -> None:
    stage = Stage()

    assert stage.work([waited_too_long(A, receive_count=60)], always(outcome)) == []

    (report,) = stage.failed.reports
    assert (report["outcome"], report["reason"]) == ("failed", outcome.reason)
    assert report["explanation"] == f"given up after 60 deliveries. {outcome.explanation}"


@EACH_DEFERRED
@pytest.mark.parametrize("age_seconds", [0.0, HALF_A_DAY - MILLISECOND, HALF_A_DAY])
def test_a_request_deferred_for_less_than_twelve_hours_is_returned(outcome: Outcome, age_seconds: float) -> None:
    message = delivery(A, receive_count=949, age_seconds=age_seconds)

    assert Stage().work([message], always(outcome)) == ["a1"]


@EACH_GUARDED
def test_attempts_that_fail_for_twelve_hours_end_with_their_own_outcome(outcome: Outcome) -> None:
    stage = Stage()

    assert stage.work([waited_too_long(A, receive_count=40)], always(outcome)) == []
    (report,) = stage.failed.reports
    assert (report["outcome"], report["reason"]) == (outcome.result.value, outcome.reason)
    assert report["explanation"] == f"given up after 40 deliveries. {outcome.explanation}"
    assert report["comes_back"] is False


@EACH_GUARDED
@pytest.mark.parametrize("age_seconds", [0.0, HALF_A_DAY - MILLISECOND, HALF_A_DAY])
def test_a_failed_attempt_is_retried_until_twelve_hours_have_passed(outcome: Outcome, age_seconds: float) -> None:
    stage = Stage()

    assert stage.work([delivery(A, receive_count=949, age_seconds=age_seconds)], always(outcome)) == ["a1"]
    assert stage.failed.sent == []


def test_a_failed_attempt_that_is_given_up_lets_the_next_request_pass() -> None:
    ensured = Ensured({"a1": FAILED_ATTEMPT})

    assert Stage().work([waited_too_long(A, 1), delivery(A, 2)], ensured) == []
    assert ensured.messages == ["a1", "a2"]


def test_an_uncertain_attempt_that_is_given_up_still_holds_later_requests() -> None:
    ensured = Ensured({"a1": LOST_ATTEMPT})

    assert Stage().work([waited_too_long(A, 1), delivery(A, 2)], ensured) == ["a2"]
    assert ensured.messages == ["a1"]


def test_the_twelve_hours_are_over_when_the_attempt_ends() -> None:
    stage = Stage()

    def ensure(_: RotationRequest, __: Claim) -> Outcome:
        stage.clock.sleep(10.0)
        return DEFERRED

    assert stage.work([delivery(A, age_seconds=HALF_A_DAY - 5.0)], ensure) == []


def test_the_twelve_hours_are_exactly_twelve_hours() -> None:
    assert MAXIMUM_WAIT_SECONDS == HALF_A_DAY


def test_a_request_that_is_given_up_lets_the_next_one_pass() -> None:
    ensured = Ensured({"a1": DEFERRED})

    Stage().work([waited_too_long(A, 1), delivery(A, 2)], ensured)

    assert ensured.messages == ["a1", "a2"]


def test_a_request_given_up_behind_a_rate_limit_is_not_returned_earlier() -> None:
    stage = Stage()

    stage.work([waited_too_long(A)], always(LIMITED))

    assert stage.requests.visibility == [HELD]


@pytest.mark.parametrize("outcome", DONE, ids=lambda outcome: outcome.result)
def test_a_request_older_than_twelve_hours_may_still_succeed(outcome: Outcome) -> None:
    stage = Stage()

    stage.work([waited_too_long(A)], always(outcome))

    assert stage.failed.sent == []


@EACH_FOR_A_PERSON
def test_a_request_older_than_twelve_hours_keeps_its_own_outcome(outcome: Outcome) -> None:
    stage = Stage()

    stage.work([waited_too_long(A)], always(outcome))

    (report,) = stage.failed.reports
    assert (report["outcome"], report["explanation"]) == (outcome.result.value, outcome.explanation)


@EACH_COMING_BACK
def test_a_request_that_sqs_would_soon_move_without_a_reason_ends_with_its_own(outcome: Outcome) -> None:
    stage = Stage()

    assert stage.work([delivery(A, receive_count=950)], always(outcome)) == []
    assert [report["reason"] for report in stage.failed.reports] == [outcome.reason]


def test_a_request_that_cut_every_function_off_ends_without_another_attempt() -> None:
    stage, ensured = Stage(), Ensured({})

    assert stage.work([delivery(A, receive_count=951), delivery(B)], ensured) == []

    assert ensured.messages == ["b1"]
    (report,) = stage.failed.reports
    assert (report["outcome"], report["reason"], report["comes_back"]) == ("unconfirmed", "AttemptLost", False)


# ---- requests without key guard: attempted at most once --------------------------------------------------------------

CLAIMED = ("receipt-a1", CLAIM_SECONDS)
OLDEST_CLAIM_SECONDS = 40_900


def claiming(outcome: Outcome | Exception) -> Ensure:
    """Claims the request, and where that is possible ends like this."""

    def ensure(_: RotationRequest, claim: Claim) -> Outcome:
        if unclaimed := claim():
            return unclaimed
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return ensure


def test_a_claimed_request_is_too_old_for_another_claim_when_redelivered() -> None:
    stage = Stage()
    stage.work([delivery(A)], claiming(ROTATED))

    (_, invisible_seconds) = stage.requests.visibility[0]
    killed = delivery(A, receive_count=2, age_seconds=invisible_seconds)
    assert Stage().work([killed], claiming(ROTATED)) == []
    assert invisible_seconds > OLDEST_CLAIM_SECONDS


def test_a_claim_stays_within_the_twelve_hours_that_sqs_allows() -> None:
    longest_before_seconds = VISIBILITY_TIMEOUT_SECONDS + 900

    assert CLAIM_SECONDS + longest_before_seconds <= 43_200


def test_a_request_that_may_have_been_attempted_ends_with_a_reason_and_a_report() -> None:
    stage = Stage()
    ensured = Ensured({})

    stage.work([delivery(A, receive_count=2, age_seconds=OLDEST_CLAIM_SECONDS + 1)], claiming(ROTATED))

    assert [(each["outcome"], each["reason"]) for each in stage.failed.reports] == [("failed", "AttemptLost")]
    assert stage.requests.visibility == [HELD]
    assert ensured.messages == []


def test_a_request_that_waited_for_less_may_still_be_claimed() -> None:
    stage = Stage()

    stage.work([delivery(A, receive_count=40, age_seconds=OLDEST_CLAIM_SECONDS)], claiming(ROTATED))

    assert stage.requests.visibility == [HELD, CLAIMED]


def test_a_request_that_cannot_be_claimed_returns_and_was_not_attempted() -> None:
    stage = Stage()
    stage.requests.down = True

    assert stage.work([delivery(A)], claiming(AssertionError("it was attempted"))) == ["a1"]
    assert stage.observed.counted == ["RotationDeferred", "RequestAge"]


@pytest.mark.parametrize(("outcome", "seconds"), [(DEFERRED, VISIBILITY_TIMEOUT_SECONDS), (LIMITED, 30)])
def test_a_claimed_request_that_was_not_executed_returns_normally(outcome: Outcome, seconds: int) -> None:
    stage = Stage()

    assert stage.work([delivery(A)], claiming(outcome)) == ["a1"]
    assert stage.requests.visibility == [CLAIMED, ("receipt-a1", seconds)]


def test_an_unexpected_error_after_the_claim_never_lets_the_request_return() -> None:
    stage = Stage()

    assert stage.work([delivery(A, 1), delivery(A, 2)], claiming(RuntimeError("a mistake of ours"))) == ["a2"]
    assert [(each["outcome"], each["reason"]) for each in stage.failed.reports] == [("unconfirmed", "UnexpectedError")]


def test_a_rotation_waiting_for_replicas_is_counted_once_and_holds_later_ones() -> None:
    stage = Stage()
    waits = replace(ROTATED, next=Next.RETURN, return_seconds=600.0)

    assert stage.work([delivery(A, 1), delivery(A, 2)], claiming(waits)) == ["a1", "a2"]
    assert stage.requests.visibility == [CLAIMED, ("receipt-a1", 600), ("receipt-a2", 600)]
    assert stage.observed.counted == ["RotationSucceeded", "RotationDuration"]
    assert stage.failed.sent == []


# ---- messages that are no requests -----------------------------------------------------------------------------------

INVALID = pytest.mark.parametrize(
    ("text", "explanation"),
    [
        ("weekly", "the message is not valid JSON: "),
        ("[]", "the message is not a JSON object"),
        ("{}", "rotationId must be a rotation id (a UUID), not nothing"),
        (body(A).replace("aws-iam-user-secret", "../x"), "type must be the slug of a rotation type"),
        (body(B), f"the message group '{A}' is not the rotation {B}"),
    ],
    ids=["no JSON", "no object", "nothing", "hostile type", "another group"],
)


@INVALID
def test_an_invalid_message_is_refused_and_kept_as_it_is(text: str, explanation: str) -> None:
    stage = Stage()

    assert stage.work([delivery(A, text=text)], broken) == []
    (report,) = stage.failed.reports
    assert (report["outcome"], report["reason"], report["request"]) == ("refused", "InvalidRequest", text)
    assert report["explanation"].startswith(explanation)


def test_an_invalid_message_does_not_hold_the_next_one_of_its_group() -> None:
    ensured = Ensured({})

    Stage().work([delivery(A, 1, text="{}"), delivery(A, 2)], ensured)

    assert ensured.messages == ["a2"]


def test_a_group_in_another_spelling_is_another_group() -> None:
    stage = Stage()

    stage.work([delivery(A.upper(), text=body(A))], broken)

    assert [report["reason"] for report in stage.failed.reports] == ["InvalidRequest"]


# ---- what nobody expected --------------------------------------------------------------------------------------------


def test_an_unexpected_error_returns_its_request_and_later_ones() -> None:
    ensured = Ensured({"a1": RuntimeError("a mistake of ours")})

    assert Stage().work([delivery(A, 1), delivery(A, 2), delivery(B)], ensured) == ["a1", "a2"]


def test_an_unexpected_error_returns_after_the_full_visibility_timeout() -> None:
    stage = Stage()

    stage.work([delivery(A)], broken)

    assert stage.requests.visibility == []


def test_an_unexpected_error_is_counted_as_deferred() -> None:
    stage = Stage()

    stage.work([delivery(A)], broken)

    (line,) = stage.observed.metrics
    assert (stage.observed.counted, line["reason"]) == (["RotationDeferred", "RequestAge"], "UnexpectedError")


def test_an_unexpected_error_is_logged_with_its_traceback_and_as_an_outcome() -> None:
    stage = Stage()

    stage.work([delivery(A)], broken)

    unexpected, outcome = stage.observed.logs
    assert unexpected.items() >= {"level": "ERROR", "correlation_id": "correlation-1"}.items()
    assert unexpected["exception_name"] == "RuntimeError"
    expected = {
        "level": "WARNING",
        "message": "rotation deferred",
        "reason": "UnexpectedError",
        "explanation": "RuntimeError",
        "correlation_id": "correlation-1",
        "rotation_id": A,
    }
    assert outcome.items() >= expected.items()


def test_an_unexpected_error_for_twelve_hours_ends_as_failed() -> None:
    stage = Stage()

    assert stage.work([waited_too_long(A)], broken) == []
    (report,) = stage.failed.reports
    assert (report["outcome"], report["reason"], report["rotation_id"]) == ("failed", "UnexpectedError", A)
    assert stage.observed.counted == ["RotationFailed"]


def test_an_error_that_ends_the_process_is_not_caught() -> None:
    def ended(_: RotationRequest, __: Claim) -> Outcome:
        raise SystemExit

    with pytest.raises(SystemExit):
        Stage().work([delivery(A)], ended)


# ---- reports that cannot be kept -------------------------------------------------------------------------------------


@EACH_CERTAINLY_FAILED
def test_a_report_that_cannot_be_kept_returns_its_request(outcome: Outcome) -> None:
    stage = Stage()
    stage.failed.down = True

    ensured = Ensured({"a1": outcome})

    assert stage.work([delivery(A, 1), delivery(A, 2)], ensured) == ["a1", "a2"]
    assert ensured.messages == ["a1"]


def test_a_possible_rotation_never_returns_even_if_its_report_is_lost() -> None:
    stage = Stage()
    stage.failed.down = True

    assert stage.work([delivery(A, 1), delivery(A, 2)], Ensured({"a1": UNCONFIRMED})) == ["a2"]


@pytest.mark.parametrize("outcome", [LIMITED, FAILED_ATTEMPT], ids=lambda outcome: outcome.reason)
def test_a_given_up_request_returns_if_its_report_cannot_be_kept(outcome: Outcome) -> None:
    stage = Stage()
    stage.failed.down = True

    assert stage.work([waited_too_long(A)], always(outcome)) == ["a1"]
    assert stage.requests.visibility == [HELD]


def test_a_given_up_uncertain_attempt_never_returns_if_its_report_is_lost() -> None:
    stage = Stage()
    stage.failed.down = True

    assert stage.work([waited_too_long(A, 1), delivery(A, 2)], Ensured({"a1": LOST_ATTEMPT})) == ["a2"]


@EACH_GUARDED
def test_a_failing_report_queue_does_not_affect_returned_requests(outcome: Outcome) -> None:
    stage = Stage()
    stage.failed.down = True

    assert stage.work([delivery(A)], always(outcome)) == ["a1"]
    assert [line["message"] for line in stage.observed.logs] == [f"rotation {outcome.result.value}"]


@EACH_FOR_A_PERSON
def test_a_report_that_cannot_be_kept_is_in_the_log_whole(outcome: Outcome) -> None:
    stage = Stage()
    stage.failed.down = True

    stage.work([delivery(A)], always(outcome))

    told, not_kept = stage.observed.logs
    assert (not_kept["level"], not_kept["message"]) == (
        "ERROR",
        "the report could not be kept in FailedRotations.fifo",
    )
    assert not_kept["exception_name"] == "ClientError"
    for key in ("outcome", "reason", "explanation", "correlation_id", "rotation_id", "trigger", "occurred_at"):
        assert not_kept[key] == told[key]


@EACH_FOR_A_PERSON
def test_a_report_that_cannot_be_kept_is_counted_once_as_what_it_is(outcome: Outcome) -> None:
    stage = Stage()
    stage.failed.down = True

    stage.work([delivery(A)], always(outcome))

    assert stage.observed.counted[0] == f"Rotation{outcome.result.value.capitalize()}"


def test_an_invalid_message_that_cannot_be_kept_is_returned() -> None:
    stage = Stage()
    stage.failed.down = True

    assert stage.work([delivery(A, text="{}")], broken) == ["a1"]


# ---- never a silence -------------------------------------------------------------------------------------------------

EACH_METRIC = pytest.mark.parametrize(
    ("outcome", "level", "metrics"),
    [
        (ROTATED, "INFO", ["RotationSucceeded", "RotationDuration"]),
        (SKIPPED, "INFO", ["RotationSkipped"]),
        (REFUSED, "ERROR", ["RotationRefused"]),
        (FAILED, "ERROR", ["RotationFailed"]),
        (UNCONFIRMED, "ERROR", ["RotationUnconfirmed"]),
        (DEFERRED, "WARNING", ["RotationDeferred", "RequestAge"]),
    ],
    ids=[outcome.result for outcome in [*ENDED, DEFERRED]],
)


@EACH_GUARDED
@pytest.mark.parametrize("message", [delivery(A), waited_too_long(A)], ids=["tried again", "given up"])
def test_every_unsuccessful_attempt_is_counted_and_logged_by_its_outcome(outcome: Outcome, message: Delivery) -> None:
    stage = Stage()

    stage.work([message], always(outcome))

    assert stage.observed.counted[0] == f"Rotation{outcome.result.value.capitalize()}"
    assert [(line["level"], line["message"]) for line in stage.observed.logs] == [
        ("ERROR", f"rotation {outcome.result.value}")
    ]


def ages(stage: Stage) -> list[float]:
    """In seconds, of the requests that come back."""
    return [line["RequestAge"][0] for line in stage.observed.metrics if "RequestAge" in line]


@EACH_COMING_BACK
@pytest.mark.parametrize("age_seconds", [0.0, 7200.0, HALF_A_DAY])
def test_a_returned_request_reports_its_age(outcome: Outcome, age_seconds: float) -> None:
    stage = Stage()

    stage.work([delivery(A, receive_count=2, age_seconds=age_seconds)], always(outcome))

    assert ages(stage) == [age_seconds]


def test_a_failed_visibility_extension_reports_the_requests_age() -> None:
    """Nobody works it, so nobody gives it up."""
    stage = Stage()
    stage.requests.down = True

    stage.work([delivery(A, receive_count=2, age_seconds=HALF_A_DAY)], broken)

    assert ages(stage) == [HALF_A_DAY]


@EACH_ENDED
def test_an_ended_request_has_no_age(outcome: Outcome) -> None:
    stage = Stage()

    stage.work([delivery(A, receive_count=2, age_seconds=HALF_A_DAY)], always(outcome))

    assert ages(stage) == []


def test_a_clock_that_is_behind_the_queues_makes_nothing_younger_than_new() -> None:
    stage = Stage()

    stage.work([delivery(A, age_seconds=-120.0)], always(DEFERRED))

    assert ages(stage) == [0.0]


def test_a_requests_age_begins_when_it_is_first_received() -> None:
    """Whoever stops the queue for a day, and lets it go on, gives none of its requests up."""
    stage = Stage()
    day_before = str(round((NOW.timestamp() - 2 * HALF_A_DAY) * 1000))
    now = str(round(NOW.timestamp() * 1000))
    record = with_attributes(
        ApproximateReceiveCount="1", SentTimestamp=day_before, ApproximateFirstReceiveTimestamp=now
    )

    assert stage.work([Delivery.of(record)], always(DEFERRED)) == [RECORD["messageId"]]
    assert stage.failed.sent == []


@pytest.mark.parametrize(
    ("message", "outcome", "comes_back"),
    [
        (delivery(A), FAILED_ATTEMPT, True),
        (delivery(A), LOST_ATTEMPT, True),
        (delivery(A), DEFERRED, True),
        (delivery(A), FAILED, False),
        (delivery(A), UNCONFIRMED, False),
        (delivery(A), ROTATED, False),
        (waited_too_long(A), FAILED_ATTEMPT, False),
        (waited_too_long(A), LOST_ATTEMPT, False),
        (waited_too_long(A), DEFERRED, False),
    ],
    ids=[
        "failed attempt",
        "lost attempt",
        "deferred",
        "failed",
        "unconfirmed",
        "rotated",
        "failed attempt, given up",
        "lost attempt, given up",
        "deferred, given up",
    ],
)
def test_the_log_says_whether_the_request_is_returned(
    message: Delivery,
    outcome: Outcome,
    comes_back: bool,  # noqa: FBT001 - a parameter
) -> None:
    stage = Stage()

    stage.work([message], always(outcome))

    assert [line["comes_back"] for line in stage.observed.logs] == [comes_back]


def test_every_result_is_covered_by_these_tests() -> None:
    assert {outcome.result for outcome in [*ENDED, DEFERRED]} == set(Result)


@EACH_METRIC
def test_every_outcome_is_counted(outcome: Outcome, level: str, metrics: list[str]) -> None:
    del level
    stage = Stage()

    stage.work([delivery(A)], always(outcome))

    assert stage.observed.counted == metrics


@EACH_METRIC
def test_every_outcome_is_logged_in_one_line_that_names_its_event(
    outcome: Outcome, level: str, metrics: list[str]
) -> None:
    del metrics
    stage = Stage()

    stage.work([delivery(A)], always(outcome))

    (line,) = stage.observed.logs
    expected = {
        "level": level,
        "message": f"rotation {outcome.result.value}",
        "outcome": outcome.result.value,
        "reason": outcome.reason,
        "explanation": outcome.explanation,
        "correlation_id": "correlation-1",
        "rotation_id": A,
        "rotation_name": outcome.name,
        "rotation_type": "aws-iam-user-secret",
        "trigger": "weekly",
        "occurred_at": "2026-11-21T06:00:00.000Z",
        "receive_count": 1,
    }
    assert line.items() >= expected.items()


@EACH_METRIC
def test_every_metric_can_be_searched_by_rotation_trigger_and_reason(
    outcome: Outcome, level: str, metrics: list[str]
) -> None:
    del level, metrics
    stage = Stage()

    stage.work([delivery(A)], always(outcome))

    (line,) = stage.observed.metrics
    assert line.items() >= {"rotation_id": A, "trigger": "weekly", "reason": outcome.reason}.items()


def test_a_rotation_says_how_long_it_took() -> None:
    stage = Stage()

    def ensure(_: RotationRequest, __: Claim) -> Outcome:
        stage.clock.sleep(2.5)
        return ROTATED

    stage.work([delivery(A)], ensure)

    assert stage.observed.metrics[0]["RotationDuration"] == [2500.0]


def test_an_invalid_message_is_counted_as_refused() -> None:
    stage = Stage()

    stage.work([delivery(A, text="{}")], broken)

    assert stage.observed.counted == ["RotationRefused"]


def test_a_given_up_request_is_counted_as_failed_and_not_as_deferred() -> None:
    stage = Stage()

    stage.work([waited_too_long(A)], always(DEFERRED))

    assert stage.observed.counted == ["RotationFailed"]


def test_lines_of_rotations_that_are_worked_at_the_same_time_do_not_mix() -> None:
    stage = Stage()
    together = Barrier(10)

    def ensure(_: RotationRequest, __: Claim) -> Outcome:
        together.wait(PATIENCE_SECONDS)
        return SKIPPED

    stage.work([delivery(rotation_id(number)) for number in range(10)], ensure)

    assert (len(stage.observed.logs), len(stage.observed.metrics)) == (10, 10)


# ---- what Lambda delivers --------------------------------------------------------------------------------------------

RECORD: dict[str, Any] = {
    "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
    "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
    "body": body(A),
    "attributes": {
        "ApproximateReceiveCount": "3",
        "SentTimestamp": "1795323600000",
        "SequenceNumber": "18849496460467696128",
        "MessageGroupId": A,
        "SenderId": "AROA:dispatch",
        "MessageDeduplicationId": "deduplication",
        "ApproximateFirstReceiveTimestamp": "1795323600001",
    },
    "messageAttributes": {},
    "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
    "eventSource": "aws:sqs",
    "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:RotationRequests.fifo",
    "awsRegion": "us-east-1",
}


def with_attributes(**attributes: str) -> dict[str, Any]:
    return {**RECORD, "attributes": {**RECORD["attributes"], **attributes}}


def test_a_delivery_is_read_as_lambda_delivers_it() -> None:
    assert Delivery.of(RECORD) == Delivery(
        message_id="059f36b4-87a3-44ab-83d2-661975830a7d",
        receipt_handle="AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
        body=body(A),
        group=A,
        receive_count=3,
        first_received_at=1795323600.001,
    )


def test_an_invalid_sqs_record_fails_the_whole_batch() -> None:
    without_group = json.loads(json.dumps(RECORD))
    del without_group["attributes"]["MessageGroupId"]

    with pytest.raises(KeyError):
        Stage().work(map(Delivery.of, [RECORD, without_group]), always(ROTATED))
