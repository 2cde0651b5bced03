import hashlib
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import TYPE_CHECKING, Any, Unpack

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from rotator.model import MappedRotation
from rotator.rotation.queues import VISIBILITY_TIMEOUT_SECONDS, FailedQueue, RequestQueue, UndeliveredRequestsError
from rotator.rotation.request import RotationRequest
from tests.unit.fakes import NOW, QUEUE_DOWN, FakeSqs, rotation_id

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestTypeDef

REQUESTS_URL = "https://sqs.us-east-1.amazonaws.com/123456789012/RotationRequests.fifo"
FAILED_URL = "https://sqs.us-east-1.amazonaws.com/123456789012/FailedRotations.fifo"


def request(number: int) -> RotationRequest:
    return RotationRequest(MappedRotation(rotation_id(number)), "weekly", NOW, "correlation")


def deduplication_id(sent: RotationRequest) -> str:
    sqs = FakeSqs()
    RequestQueue(sqs.client, REQUESTS_URL).send([sent])
    return sqs.entries[0].get("MessageDeduplicationId", "")


def sent_to(sqs: FakeSqs) -> list[RotationRequest]:
    """In the order of their ids: calls are made at the same time."""
    sent = [RotationRequest.from_message(entry["MessageBody"]) for entry in sqs.entries]
    return sorted(sent, key=lambda each: each.rotation.id)


# ---- RotationRequests.fifo -------------------------------------------------------------------------------------------


@given(st.integers(0, 45))
def test_every_request_is_sent_once(number: int) -> None:
    sqs = FakeSqs()
    requests = [request(index) for index in range(number)]

    RequestQueue(sqs.client, REQUESTS_URL).send(requests)

    assert sent_to(sqs) == requests


def test_ten_calls_are_made_at_the_same_time() -> None:
    together = Barrier(10)

    class Slow(FakeSqs):
        def send_message_batch(self, **call: Unpack["SendMessageBatchRequestTypeDef"]) -> dict[str, Any]:
            together.wait(10)  # raises unless all ten are here at once
            return super().send_message_batch(**call)

    sqs = Slow()

    RequestQueue(sqs.client, REQUESTS_URL).send([request(index) for index in range(100)])

    assert len(sqs.batches) == 10


@given(st.integers(0, 45))
def test_each_batch_call_holds_one_to_ten_messages(number: int) -> None:
    sqs = FakeSqs()

    RequestQueue(sqs.client, REQUESTS_URL).send([request(index) for index in range(number)])

    assert all(1 <= len(batch) <= 10 for batch in sqs.batches)


@given(st.integers(0, 45))
def test_batches_are_filled_before_another_call(number: int) -> None:
    sqs = FakeSqs()

    RequestQueue(sqs.client, REQUESTS_URL).send([request(index) for index in range(number)])

    assert len(sqs.batches) == -(-number // 10)


@given(st.integers(1, 45))
def test_messages_of_one_call_have_different_ids(number: int) -> None:
    sqs = FakeSqs()

    RequestQueue(sqs.client, REQUESTS_URL).send([request(index) for index in range(number)])

    assert all(len({entry["Id"] for entry in batch}) == len(batch) for batch in sqs.batches)


@given(st.integers(1, 45))
def test_the_message_group_is_the_rotation(number: int) -> None:
    sqs = FakeSqs()

    RequestQueue(sqs.client, REQUESTS_URL).send([request(index) for index in range(number)])

    assert {entry.get("MessageGroupId") for entry in sqs.entries} == {rotation_id(index) for index in range(number)}
    for entry in sqs.entries:
        assert entry.get("MessageGroupId") == RotationRequest.from_message(entry["MessageBody"]).rotation.id


def test_a_second_delivery_of_an_occurrence_is_always_recognised() -> None:
    again = replace(request(1), correlation_id="another invocation")

    assert deduplication_id(again) == deduplication_id(request(1))


@pytest.mark.parametrize(
    "other",
    [
        replace(request(1), trigger="leaver"),
        replace(request(1), occurred_at=NOW + timedelta(milliseconds=1)),
        replace(request(1), rotation=MappedRotation(rotation_id(2))),
        replace(request(1), forced=True),
    ],
    ids=["trigger", "time", "rotation", "force"],
)
def test_another_occurrence_is_not_deduplicated(other: RotationRequest) -> None:
    assert deduplication_id(other) != deduplication_id(request(1))


# Short ones that are alike, and any.
TRIGGERS = st.text("ab", min_size=1, max_size=2) | st.text(min_size=1)


@given(TRIGGERS, TRIGGERS)
def test_a_deduplication_id_is_valid_for_any_trigger_name(trigger: str, other: str) -> None:
    first, second = (deduplication_id(replace(request(1), trigger=name)) for name in (trigger, other))

    assert {len(first), len(second)} == {len(hashlib.sha256().hexdigest())}
    assert first.isalnum()
    assert first.isascii()
    assert (first == second) == (trigger == other)


def test_a_refused_message_is_named() -> None:
    sqs = FakeSqs(refused_groups=[rotation_id(2), rotation_id(13)])

    with pytest.raises(UndeliveredRequestsError) as undelivered:
        RequestQueue(sqs.client, REQUESTS_URL).send([request(index) for index in range(25)])

    assert str(undelivered.value) == (
        "the queue did not accept 2 of 25 requests:"
        f" {rotation_id(2)} (InternalError), {rotation_id(13)} (InternalError)"
    )


def test_a_refused_message_does_not_stop_the_later_ones() -> None:
    sqs = FakeSqs(refused_groups=[rotation_id(2)])

    with pytest.raises(UndeliveredRequestsError):
        RequestQueue(sqs.client, REQUESTS_URL).send([request(index) for index in range(25)])

    assert len(sqs.entries) == 25


def first_of(call: int) -> str:
    """The rotation that the `call`th call begins with."""
    return rotation_id(10 * (call - 1))


FAILURES: list[Exception] = [QUEUE_DOWN, EndpointConnectionError(endpoint_url="https://sqs.example.com")]


@given(failure=st.sampled_from(FAILURES), number=st.integers(1, 45), failing=st.sets(st.integers(1, 5)))
def test_a_call_that_fails_does_not_keep_the_later_ones_from_being_tried(
    failure: Exception, number: int, failing: set[int]
) -> None:
    sqs = FakeSqs()
    sqs.failures = {first_of(call): failure for call in failing}
    requests = [request(index) for index in range(number)]

    with suppress(UndeliveredRequestsError):
        RequestQueue(sqs.client, REQUESTS_URL).send(requests)

    assert sent_to(sqs) == requests


@given(
    failure=st.sampled_from(FAILURES),
    number=st.integers(1, 25),
    failing=st.sets(st.integers(1, 3)),
    refused=st.sets(st.integers(0, 24)),
)
def test_exactly_the_refused_messages_are_named(
    failure: Exception, number: int, failing: set[int], refused: set[int]
) -> None:
    sqs = FakeSqs(refused_groups=[rotation_id(index) for index in refused])
    sqs.failures = {first_of(call): failure for call in failing}
    lost = [index for index in range(number) if index in refused or index // 10 + 1 in failing]
    told = ""

    try:
        RequestQueue(sqs.client, REQUESTS_URL).send([request(index) for index in range(number)])
    except UndeliveredRequestsError as error:
        told = str(error)

    # The text is cut where it gets long: the first few are named in any case.
    assert told.startswith(f"the queue did not accept {len(lost)} of {number} requests" if lost else "")
    assert bool(told) == bool(lost)
    for index in range(number):
        assert (rotation_id(index) in told) == (index in lost) or index in lost[5:]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_the_requests_of_a_call_that_fails_are_named_with_its_reason(failure: Exception) -> None:
    sqs = FakeSqs()
    sqs.failures = {first_of(2): failure}

    with pytest.raises(UndeliveredRequestsError) as undelivered:
        RequestQueue(sqs.client, REQUESTS_URL).send([request(index) for index in range(12)])

    assert str(undelivered.value) == (
        f"the queue did not accept 2 of 12 requests: {rotation_id(10)} ({failure}), {rotation_id(11)} ({failure})"
    )


def test_a_mistake_of_ours_is_not_taken_for_a_queue_that_does_not_accept() -> None:
    sqs = FakeSqs()
    sqs.failures = {first_of(1): TypeError("a mistake of ours")}

    with pytest.raises(TypeError):
        RequestQueue(sqs.client, REQUESTS_URL).send([request(0)])


def test_a_thousand_refused_messages_fit_into_a_log_line() -> None:
    sqs = FakeSqs(refused_groups=[rotation_id(index) for index in range(1000)])

    with pytest.raises(UndeliveredRequestsError) as undelivered:
        RequestQueue(sqs.client, REQUESTS_URL).send([request(index) for index in range(1000)])

    assert len(str(undelivered.value)) < 1200


def test_a_message_returns_when_it_shall() -> None:
    sqs = FakeSqs()

    RequestQueue(sqs.client, REQUESTS_URL).return_in("receipt", 30)

    assert sqs.changed == [{"QueueUrl": REQUESTS_URL, "ReceiptHandle": "receipt", "VisibilityTimeout": 30}]


def test_a_held_message_is_invisible_for_the_full_visibility_timeout() -> None:
    sqs = FakeSqs()

    RequestQueue(sqs.client, REQUESTS_URL).extend_visibility(["receipt-1", "receipt-2"])

    assert sqs.changed == [
        {"QueueUrl": REQUESTS_URL, "ReceiptHandle": receipt, "VisibilityTimeout": VISIBILITY_TIMEOUT_SECONDS}
        for receipt in ("receipt-1", "receipt-2")
    ]


def test_a_message_that_cannot_be_held_is_reported_to_the_caller() -> None:
    sqs = FakeSqs()
    sqs.lost_receipts = ["receipt-2"]

    with pytest.raises(ClientError):
        RequestQueue(sqs.client, REQUESTS_URL).extend_visibility(["receipt-1", "receipt-2"])


# ---- FailedRotations.fifo --------------------------------------------------------------------------------------------


def test_a_report_is_kept_once_a_message_in_the_order_of_its_rotation() -> None:
    sqs = FakeSqs()

    FailedQueue(sqs.client, FAILED_URL).send("message", rotation_id(1), {"reason": "PermissionDenied"})

    assert sqs.sent == [
        {
            "QueueUrl": FAILED_URL,
            "MessageGroupId": rotation_id(1),
            "MessageDeduplicationId": "message",
            "MessageBody": '{"reason": "PermissionDenied"}',
        }
    ]
