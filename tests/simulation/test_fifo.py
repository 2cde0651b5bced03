"""The queue: what SQS promises of a FIFO queue, and no more."""

import pytest

from tests.simulation.fifo import Fifo, Message, NotInFlightError, TooLongError


class Clock:
    now = 1000.0

    def time(self) -> float:
        return self.now


def queue_of(*bodies: str, group: str = "a", **settings: float) -> tuple[Fifo, Clock]:
    clock = Clock()
    queue = Fifo(clock.time, visibility_seconds=settings.get("visibility_seconds", 100))
    for body in bodies:
        queue.send(group, body, body)
    return queue, clock


def receive(queue: Fifo) -> list[Message]:
    return queue.receive([each for group in queue.available().values() for each in group])


def test_a_group_is_received_in_order_and_blocked_while_one_of_it_is_in_flight() -> None:
    queue, _ = queue_of("1", "2", "3")
    queue.send("b", "other", "other")

    first, *_ = queue.available()["a"]
    queue.receive([first])

    assert first.body == "1"
    assert list(queue.available()) == ["b"]
    queue.delete(first.receipt)
    assert [each.body for each in queue.available()["a"]] == ["2", "3"]


def test_a_message_returns_when_its_time_is_up() -> None:
    queue, clock = queue_of("1")
    receive(queue)

    assert queue.due_at() == 1100
    clock.now = 1099.9
    assert receive(queue) == []
    clock.now = 1100
    (again,) = receive(queue)
    assert (again.receive_count, again.first_received_at) == (2, 1000)


def test_the_visibility_of_a_message_in_flight_can_be_changed() -> None:
    queue, clock = queue_of("1")
    (message,) = receive(queue)
    queue.change_visibility(message.receipt, 5)
    clock.now = 1005

    with pytest.raises(NotInFlightError):
        queue.change_visibility(message.receipt, 5)
    with pytest.raises(NotInFlightError):
        queue.delete(message.receipt)


def test_a_message_is_invisible_for_12_hours_since_it_was_received_and_no_longer() -> None:
    queue, clock = queue_of("1")
    (message,) = receive(queue)
    queue.change_visibility(message.receipt, 43_200)
    clock.now = 1500

    with pytest.raises(TooLongError):
        queue.change_visibility(message.receipt, 42_701)
    queue.change_visibility(message.receipt, 42_700)

    assert queue.due_at() == 1000 + 43_200


def test_the_receipt_of_an_earlier_delivery_is_no_longer_good() -> None:
    queue, clock = queue_of("1")
    (first,) = receive(queue)
    old = first.receipt
    clock.now = 1100
    receive(queue)

    with pytest.raises(NotInFlightError):
        queue.delete(old)


def test_a_message_repeated_within_five_minutes_is_dropped() -> None:
    queue, clock = queue_of("1")
    (message,) = receive(queue)
    queue.delete(message.receipt)

    clock.now = 1299
    assert queue.send("a", "1", "1") is None
    assert queue.send("b", "1", "1") is not None
    clock.now = 1300
    assert queue.send("a", "1", "1") is not None


def test_a_message_received_too_often_becomes_a_dead_letter() -> None:
    clock, dead = Clock(), list[Message]()
    queue = Fifo(clock.time, visibility_seconds=10, maximum_receives=2)
    queue.dead_letters = dead.append
    queue.send("a", "1", "1")
    for _ in range(3):
        receive(queue)
        clock.now += 10

    assert [each.body for each in dead] == ["1"]
    assert queue.messages == []


def test_a_record_has_the_fields_that_lambda_sends() -> None:
    queue, clock = queue_of("1")
    clock.now = 1001.5
    (message,) = receive(queue)

    assert message.record() == {
        "messageId": "message-1",
        "receiptHandle": "message-1#1",
        "body": "1",
        "attributes": {
            "ApproximateReceiveCount": "1",
            "ApproximateFirstReceiveTimestamp": "1001500",
            "SentTimestamp": "1000000",
            "MessageGroupId": "a",
        },
    }
