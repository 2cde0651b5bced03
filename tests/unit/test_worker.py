import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from threading import Barrier, Lock
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.model import MappedRotation, RotationRequest
from rotator.queues import FailedQueue, RequestQueue
from rotator.rotation import Outcome, Result
from rotator.worker import Delivery, Worker
from tests.unit.fakes import NOW, FakeSqs, Observed, VirtualClock, rotation_id

A, B, C = rotation_id(0xA), rotation_id(0xB), rotation_id(0xC)
MAXIMUM_RECEIVE_COUNT = 10
# Nobody waits for as long unless the test fails.
PATIENCE_SECONDS = 10

Ensure = Callable[[RotationRequest], Outcome]

ROTATED = Outcome(Result.ROTATED, "Rotated", name="payments")
SKIPPED = Outcome(Result.SKIPPED, "AlreadyRotated", "it was rotated since", "payments")
REFUSED = Outcome(Result.REFUSED, "PreviousAttemptFailed", "a person looks", "payments")
FAILED = Outcome(Result.FAILED, "PermissionDenied", "Infisical answered 403", "payments")
UNCONFIRMED = Outcome(Result.UNCONFIRMED, "Uncertain", "no answer from Infisical", "payments")
DEFERRED = Outcome(Result.DEFERRED, "Unreachable", "no connection to Infisical", "payments")
LIMITED = Outcome(Result.DEFERRED, "RateLimited", "again in 30 seconds", retry_after_seconds=29.1)

DONE = [ROTATED, SKIPPED]
FOR_A_PERSON = [REFUSED, FAILED, UNCONFIRMED]
ENDED = [*DONE, *FOR_A_PERSON]

EACH_ENDED = pytest.mark.parametrize("outcome", ENDED, ids=lambda outcome: outcome.result)
EACH_FOR_A_PERSON = pytest.mark.parametrize("outcome", FOR_A_PERSON, ids=lambda outcome: outcome.result)
EACH_DEFERRED = pytest.mark.parametrize("outcome", [DEFERRED, LIMITED], ids=lambda outcome: outcome.reason)


def body(group: str, number: int = 1) -> str:
    """The request of the `number`th occurrence."""
    occurred_at = NOW + timedelta(hours=number)
    return RotationRequest(MappedRotation(group), "weekly", occurred_at, f"correlation-{number}").to_message()


def delivery(group: str, number: int = 1, *, receive_count: int = 1, text: str | None = None) -> Delivery:
    message = f"{group[-1]}{number}"
    return Delivery(message, f"receipt-{message}", text or body(group, number), group, receive_count)


class Stage:
    """A Worker with everything around it."""

    def __init__(self) -> None:
        self.requests, self.failed = FakeSqs(), FakeSqs()
        self.observed = Observed()
        self.clock = VirtualClock()
        self.worker = Worker(
            requests=RequestQueue(self.requests.client, "https://sqs.example.com/RotationRequests.fifo"),
            failed=FailedQueue(self.failed.client, "https://sqs.example.com/FailedRotations.fifo"),
            maximum_receive_count=MAXIMUM_RECEIVE_COUNT,
            telemetry=self.observed.telemetry,
            clock=self.clock,
        )

    def work(self, deliveries: Iterable[Delivery], ensure: Ensure) -> list[str]:
        return self.worker.work(deliveries, ensure)


def always(outcome: Outcome) -> Ensure:
    return lambda _: outcome


class Ensured:
    """Ends each request as its rotation, or one occurrence of it, is told to, and keeps the order."""

    def __init__(self, outcomes: dict[str, Outcome | Exception]) -> None:
        self._outcomes = outcomes
        self.messages: list[str] = []

    def __call__(self, request: RotationRequest) -> Outcome:
        message = request.rotation.id[-1] + request.correlation_id.removeprefix("correlation-")
        self.messages.append(message)
        outcome = self._outcomes.get(message, ROTATED)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def broken(_: RotationRequest) -> Outcome:
    raise RuntimeError("a mistake of ours")


# ---- the order of things ---------------------------------------------------------------------------------------------


def test_no_deliveries_are_no_work() -> None:
    assert Stage().work([], broken) == []


@pytest.mark.parametrize("outcome", [*ENDED, DEFERRED], ids=lambda outcome: outcome.result)
def test_ensure_is_asked_once_for_what_the_message_says(outcome: Outcome) -> None:
    asked = []

    def ensure(request: RotationRequest) -> Outcome:
        asked.append(request)
        return outcome

    Stage().work([delivery(A)], ensure)

    assert asked == [RotationRequest.from_message(body(A))]


def test_different_rotations_are_worked_at_the_same_time() -> None:
    together = Barrier(10)

    def ensure(_: RotationRequest) -> Outcome:
        together.wait(PATIENCE_SECONDS)  # raises, and so comes back, unless all ten are here at once
        return ROTATED

    assert Stage().work([delivery(rotation_id(number)) for number in range(10)], ensure) == []


def test_one_rotation_is_worked_one_by_one_while_another_is_worked_beside_it() -> None:
    abreast = Barrier(2)
    working = {A: Lock(), B: Lock()}

    def ensure(request: RotationRequest) -> Outcome:
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


@EACH_ENDED
def test_what_has_ended_is_acknowledged(outcome: Outcome) -> None:
    assert Stage().work([delivery(A)], always(outcome)) == []


@EACH_ENDED
def test_what_has_ended_lets_the_next_one_of_its_rotation_pass(outcome: Outcome) -> None:
    ensured = Ensured({"a1": outcome})

    Stage().work([delivery(A, 1), delivery(A, 2)], ensured)

    assert ensured.messages == ["a1", "a2"]


@EACH_DEFERRED
def test_what_is_deferred_comes_back(outcome: Outcome) -> None:
    assert Stage().work([delivery(A)], always(outcome)) == ["a1"]


@EACH_DEFERRED
def test_what_is_deferred_takes_all_later_ones_of_its_rotation_with_it_in_order(outcome: Outcome) -> None:
    deliveries = [delivery(A, number) for number in (1, 2, 3, 4)]

    assert Stage().work(deliveries, Ensured({"a2": outcome})) == ["a2", "a3", "a4"]


@EACH_DEFERRED
def test_what_is_held_is_not_tried(outcome: Outcome) -> None:
    ensured = Ensured({"a2": outcome})

    Stage().work([delivery(A, number) for number in (1, 2, 3)], ensured)

    assert ensured.messages == ["a1", "a2"]


@EACH_DEFERRED
def test_what_is_deferred_does_not_hold_other_rotations(outcome: Outcome) -> None:
    ensured = Ensured({"b1": outcome})
    deliveries = [delivery(group, number) for number in (1, 2) for group in (A, B, C)]

    assert Stage().work(deliveries, ensured) == ["b1", "b2"]
    assert sorted(ensured.messages) == ["a1", "a2", "b1", "c1", "c2"]


@EACH_DEFERRED
def test_what_is_deferred_is_not_for_a_person_yet(outcome: Outcome) -> None:
    stage = Stage()

    stage.work([delivery(A, receive_count=MAXIMUM_RECEIVE_COUNT - 1)], always(outcome))

    assert stage.failed.sent == []


OUTCOMES = st.sampled_from([ROTATED, FAILED, DEFERRED])


@given(st.lists(st.tuples(st.sampled_from([A, B, C]), OUTCOMES), max_size=10))
def test_in_any_batch_each_rotation_returns_from_its_first_deferred_message_on(
    batch: list[tuple[str, Outcome]],
) -> None:
    deliveries = [delivery(group, number) for number, (group, _) in enumerate(batch)]
    outcomes = [outcome for _, outcome in batch]
    held: set[str] = set()
    expected = []
    for message, outcome in zip(deliveries, outcomes, strict=True):
        if outcome is DEFERRED or message.group in held:
            held.add(message.group)
            expected.append(message.message_id)

    returned = Stage().work(
        deliveries,
        Ensured({message.message_id: outcome for message, outcome in zip(deliveries, outcomes, strict=True)}),
    )

    assert sorted(returned) == sorted(expected)
    for group in (A, B, C):
        of_group = [message_id for message_id in returned if message_id.startswith(group[-1])]
        assert of_group == [message_id for message_id in expected if message_id.startswith(group[-1])]


# ---- when it comes back ----------------------------------------------------------------------------------------------


def test_infisicals_rate_limit_says_when_the_message_and_those_that_it_holds_come_back() -> None:
    stage = Stage()

    stage.work([delivery(A, number) for number in (1, 2, 3)], Ensured({"a2": LIMITED}))

    assert [(call["ReceiptHandle"], call["VisibilityTimeout"]) for call in stage.requests.returned] == [
        ("receipt-a2", 30),
        ("receipt-a3", 30),
    ]


def test_without_a_rate_limit_a_message_comes_back_after_the_full_visibility_timeout() -> None:
    stage = Stage()

    stage.work([delivery(A)], always(DEFERRED))

    assert stage.requests.returned == []


def test_a_queue_that_does_not_let_it_return_earlier_lets_it_return_later() -> None:
    stage = Stage()
    stage.requests.down = True

    assert stage.work([delivery(A, 1), delivery(A, 2)], always(LIMITED)) == ["a1", "a2"]


def test_a_queue_that_does_not_let_it_return_earlier_is_logged() -> None:
    stage = Stage()
    stage.requests.down = True

    stage.work([delivery(A)], always(LIMITED))

    assert [line["message"] for line in stage.observed.logs if line["level"] == "ERROR"] == [
        "the visibility time-out could not be shortened"
    ]


# ---- what a person has to look at ------------------------------------------------------------------------------------


@EACH_FOR_A_PERSON
def test_what_a_person_has_to_look_at_is_kept_with_all_that_is_known(outcome: Outcome) -> None:
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
            "correlation_id": "correlation-1",
            "rotation_id": A,
            "rotation_type": "aws-iam-user-secret",
            "trigger": "weekly",
            "occurred_at": "2026-11-22T06:00:00.000Z",
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


@pytest.mark.parametrize("outcome", DONE, ids=lambda outcome: outcome.result)
def test_what_is_done_is_not_for_a_person(outcome: Outcome) -> None:
    stage = Stage()

    stage.work([delivery(A)], always(outcome))

    assert stage.failed.sent == []


@EACH_DEFERRED
def test_the_last_delivery_of_a_deferred_request_is_acknowledged(outcome: Outcome) -> None:
    assert Stage().work([delivery(A, receive_count=MAXIMUM_RECEIVE_COUNT)], always(outcome)) == []


@EACH_DEFERRED
def test_the_last_delivery_of_a_deferred_request_ends_as_failed_with_its_reason(outcome: Outcome) -> None:
    stage = Stage()

    stage.work([delivery(A, receive_count=MAXIMUM_RECEIVE_COUNT)], always(outcome))

    (report,) = stage.failed.reports
    assert (report["outcome"], report["reason"]) == ("failed", outcome.reason)
    assert report["explanation"] == f"given up after 10 deliveries. {outcome.explanation}"


def test_the_last_delivery_lets_the_next_one_of_its_rotation_pass() -> None:
    ensured = Ensured({"a1": DEFERRED})

    Stage().work([delivery(A, 1, receive_count=MAXIMUM_RECEIVE_COUNT), delivery(A, 2)], ensured)

    assert ensured.messages == ["a1", "a2"]


@pytest.mark.parametrize("outcome", DONE, ids=lambda outcome: outcome.result)
def test_a_last_delivery_may_still_succeed(outcome: Outcome) -> None:
    stage = Stage()

    stage.work([delivery(A, receive_count=MAXIMUM_RECEIVE_COUNT)], always(outcome))

    assert stage.failed.sent == []


# ---- messages that are no requests -----------------------------------------------------------------------------------

INVALID = pytest.mark.parametrize(
    ("text", "explanation"),
    [
        ("weekly", "the message is no JSON: "),
        ("[]", "the message is no JSON object"),
        ("{}", "rotationId must be a rotation id (a UUID), not None"),
        (body(A).replace("aws-iam-user-secret", "../x"), "type must be the slug of a rotation type"),
        (body(B), f"the message group '{A}' is not the rotation {B}"),
    ],
    ids=["no JSON", "no object", "nothing", "hostile type", "another group"],
)


@INVALID
def test_an_invalid_message_is_refused_and_kept_as_it_is(text: str, explanation: str) -> None:
    stage = Stage()

    stage.work([delivery(A, text=text)], broken)

    (report,) = stage.failed.reports
    assert (report["outcome"], report["reason"], report["request"]) == ("refused", "InvalidRequest", text)
    assert report["explanation"].startswith(explanation)


@INVALID
def test_an_invalid_message_is_acknowledged_because_it_would_be_no_better_next_time(
    text: str, explanation: str
) -> None:
    del explanation

    assert Stage().work([delivery(A, text=text)], broken) == []


def test_an_invalid_message_does_not_hold_the_next_one_of_its_group() -> None:
    ensured = Ensured({})

    Stage().work([delivery(A, 1, text="{}"), delivery(A, 2)], ensured)

    assert ensured.messages == ["a2"]


def test_a_message_in_a_group_of_another_rotation_never_rotates_because_it_would_not_be_alone() -> None:
    ensured = Ensured({})

    Stage().work([delivery(A, text=body(B))], ensured)

    assert ensured.messages == []


def test_a_group_in_another_spelling_is_another_group() -> None:
    stage = Stage()

    stage.work([delivery(A.upper(), text=body(A))], broken)

    assert [report["reason"] for report in stage.failed.reports] == ["InvalidRequest"]


# ---- what nobody expected --------------------------------------------------------------------------------------------


def test_what_nobody_expected_comes_back_with_what_it_holds() -> None:
    ensured = Ensured({"a1": RuntimeError("a mistake of ours")})

    assert Stage().work([delivery(A, 1), delivery(A, 2), delivery(B)], ensured) == ["a1", "a2"]


def test_what_nobody_expected_does_not_hold_other_rotations() -> None:
    ensured = Ensured({"a1": RuntimeError("a mistake of ours")})

    Stage().work([delivery(A, 1), delivery(B, 1), delivery(B, 2)], ensured)

    assert sorted(ensured.messages) == ["a1", "b1", "b2"]


def test_what_nobody_expected_comes_back_after_the_full_visibility_timeout() -> None:
    stage = Stage()

    stage.work([delivery(A)], broken)

    assert stage.requests.returned == []


def test_what_nobody_expected_counts_as_a_failure() -> None:
    stage = Stage()

    stage.work([delivery(A)], broken)

    (line,) = stage.observed.metrics
    assert (stage.observed.counted, line["reason"]) == (["RotationFailed"], "UnexpectedError")


def test_what_nobody_expected_is_logged_with_its_traceback() -> None:
    stage = Stage()

    stage.work([delivery(A)], broken)

    (line,) = stage.observed.logs
    assert (line["level"], line["message_id"], line["exception_name"]) == ("ERROR", "a1", "RuntimeError")


@EACH_FOR_A_PERSON
def test_a_report_that_cannot_be_kept_lets_its_request_come_back(outcome: Outcome) -> None:
    stage = Stage()
    stage.failed.down = True

    assert stage.work([delivery(A, 1), delivery(A, 2)], Ensured({"a1": outcome})) == ["a1", "a2"]


def test_an_invalid_message_that_cannot_be_kept_comes_back() -> None:
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
        (DEFERRED, "WARNING", ["RotationDeferred"]),
    ],
    ids=[outcome.result for outcome in [*ENDED, DEFERRED]],
)


def test_every_result_is_spoken_of_here() -> None:
    assert {outcome.result for outcome in [*ENDED, DEFERRED]} == set(Result)


@EACH_METRIC
def test_every_end_is_counted(outcome: Outcome, level: str, metrics: list[str]) -> None:
    del level
    stage = Stage()

    stage.work([delivery(A)], always(outcome))

    assert stage.observed.counted == metrics


@EACH_METRIC
def test_every_end_is_logged_in_one_line_that_leads_back_to_its_event(
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
        "occurred_at": "2026-11-22T06:00:00.000Z",
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

    def ensure(_: RotationRequest) -> Outcome:
        stage.clock.sleep(2.5)
        return ROTATED

    stage.work([delivery(A)], ensure)

    assert stage.observed.metrics[0]["RotationDuration"] == [2500.0]


def test_an_invalid_message_is_counted_as_refused() -> None:
    stage = Stage()

    stage.work([delivery(A, text="{}")], broken)

    assert stage.observed.counted == ["RotationRefused"]


def test_what_is_given_up_is_counted_as_failed_and_not_as_deferred() -> None:
    stage = Stage()

    stage.work([delivery(A, receive_count=MAXIMUM_RECEIVE_COUNT)], always(DEFERRED))

    assert stage.observed.counted == ["RotationFailed"]


def test_lines_of_rotations_that_are_worked_at_the_same_time_do_not_mix() -> None:
    stage = Stage()
    together = Barrier(10)

    def ensure(_: RotationRequest) -> Outcome:
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


def test_a_record_is_read_as_lambda_delivers_it() -> None:
    assert Delivery.of(RECORD) == Delivery(RECORD["messageId"], RECORD["receiptHandle"], body(A), A, 3)


def test_a_record_that_lambda_would_not_deliver_fails_the_batch_instead_of_losing_it() -> None:
    without_group = json.loads(json.dumps(RECORD))
    del without_group["attributes"]["MessageGroupId"]

    with pytest.raises(KeyError):
        Stage().work(map(Delivery.of, [RECORD, without_group]), always(ROTATED))
