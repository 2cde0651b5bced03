import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.model import MappedRotation, RotationRequest
from rotator.queues import FailedQueue, RequestQueue, UndeliveredRequestsError
from tests.unit.fakes import NOW, FakeSqs, rotation_id

REQUESTS_URL = "https://sqs.us-east-1.amazonaws.com/123456789012/RotationRequests.fifo"
FAILED_URL = "https://sqs.us-east-1.amazonaws.com/123456789012/FailedRotations.fifo"


def request(number: int) -> RotationRequest:
    return RotationRequest(MappedRotation(rotation_id(number)), "weekly", NOW, "correlation")


def deduplication_id(sent: RotationRequest) -> str:
    sqs = FakeSqs()
    RequestQueue(sqs.client, REQUESTS_URL).send([sent])
    return sqs.entries[0].get("MessageDeduplicationId", "")


# ---- RotationRequests.fifo -------------------------------------------------------------------------------------------


@given(st.integers(0, 45))
def test_every_request_is_sent_once_and_in_order(number: int) -> None:
    sqs = FakeSqs()
    requests = [request(index) for index in range(number)]

    RequestQueue(sqs.client, REQUESTS_URL).send(requests)

    assert [RotationRequest.from_message(entry["MessageBody"]) for entry in sqs.entries] == requests


@given(st.integers(0, 45))
def test_no_call_holds_none_or_more_than_ten_messages(number: int) -> None:
    sqs = FakeSqs()

    RequestQueue(sqs.client, REQUESTS_URL).send([request(index) for index in range(number)])

    assert all(1 <= len(batch) <= 10 for batch in sqs.batches)


@given(st.integers(0, 45))
def test_no_more_calls_are_made_than_needed(number: int) -> None:
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

    assert [entry.get("MessageGroupId") for entry in sqs.entries] == [rotation_id(index) for index in range(number)]


def test_a_second_delivery_of_an_occurrence_is_recognised_whoever_dispatched_it() -> None:
    again = replace(request(1), correlation_id="another invocation")

    assert deduplication_id(again) == deduplication_id(request(1))


@pytest.mark.parametrize(
    "other",
    [
        replace(request(1), trigger="leaver"),
        replace(request(1), occurred_at=NOW + timedelta(milliseconds=1)),
        replace(request(1), rotation=MappedRotation(rotation_id(2))),
    ],
    ids=["trigger", "time", "rotation"],
)
def test_another_occurrence_is_another_wish(other: RotationRequest) -> None:
    assert deduplication_id(other) != deduplication_id(request(1))


# Short ones that are alike, and any.
TRIGGERS = st.text("ab", min_size=1, max_size=2) | st.text(min_size=1)


@given(TRIGGERS, TRIGGERS)
def test_a_deduplication_id_is_what_sqs_accepts_whatever_the_trigger_is_called(trigger: str, other: str) -> None:
    first, second = (deduplication_id(replace(request(1), trigger=name)) for name in (trigger, other))

    assert {len(first), len(second)} == {len(hashlib.sha256().hexdigest())}
    assert first.isalnum()
    assert first.isascii()
    assert (first == second) == (trigger == other)


def test_what_the_queue_does_not_accept_is_named() -> None:
    sqs = FakeSqs(refused_groups=[rotation_id(2), rotation_id(13)])

    with pytest.raises(UndeliveredRequestsError) as undelivered:
        RequestQueue(sqs.client, REQUESTS_URL).send([request(index) for index in range(25)])

    assert str(undelivered.value) == (
        "2 of 25 requests were not accepted by the queue:"
        f" {rotation_id(2)} (InternalError), {rotation_id(13)} (InternalError)"
    )


def test_a_message_that_is_not_accepted_does_not_keep_the_later_ones_from_being_tried() -> None:
    sqs = FakeSqs(refused_groups=[rotation_id(2)])

    with pytest.raises(UndeliveredRequestsError):
        RequestQueue(sqs.client, REQUESTS_URL).send([request(index) for index in range(25)])

    assert len(sqs.entries) == 25


def test_a_thousand_messages_that_are_not_accepted_are_named_in_a_text_that_a_log_can_hold() -> None:
    sqs = FakeSqs(refused_groups=[rotation_id(index) for index in range(1000)])

    with pytest.raises(UndeliveredRequestsError) as undelivered:
        RequestQueue(sqs.client, REQUESTS_URL).send([request(index) for index in range(1000)])

    assert len(str(undelivered.value)) < 1200


def test_a_message_returns_when_it_shall() -> None:
    sqs = FakeSqs()

    RequestQueue(sqs.client, REQUESTS_URL).return_after("receipt", 30)

    assert sqs.returned == [{"QueueUrl": REQUESTS_URL, "ReceiptHandle": "receipt", "VisibilityTimeout": 30}]


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
