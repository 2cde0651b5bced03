"""`dispatch` is killed half way through the requests of one trigger, and Lambda delivers the event once more."""

import io
import json
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from dispatch import Dispatch
from rotator.dry_run.rotations import Preview
from rotator.rotation.queues import MESSAGES_A_CALL, RequestQueue
from rotator.telemetry import Telemetry
from tests.component.world import GRACE_PERIOD, MINIMUM_INTERVAL, World
from tests.simulation.fifo import Fifo
from tests.simulation.ports import REQUESTS_URL, Sqs
from tests.unit.fakes import FakeEventBus

PROJECT = "d17eeab6-9bb7-4255-9168-ccac2028bfd4"
ROTATIONS = 95
BATCHES = 10
EVENT = {"trigger": "weekly", "scheduledTime": "2026-11-16T05:00:00Z"}
LAMBDAS_FIRST_RETRY_SECONDS = 60


class Killed(BaseException):
    """The process ends, whatever it was about to do."""


class LastCalls:
    """SQS, as a process reaches it that lives for so many more batches, and never sees the last one's answer."""

    def __init__(self, sqs: Sqs, calls: int) -> None:
        self._sqs = sqs
        self._mutex = threading.Lock()
        self._left = calls

    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[dict[str, str]]) -> dict[str, Any]:  # noqa: N803 - as boto3 has it
        with self._mutex:
            if self._left == 0:
                raise Killed
            self._left -= 1
            answer = self._sqs.send_message_batch(QueueUrl=QueueUrl, Entries=Entries)
            if self._left == 0:
                raise Killed
            return answer


@pytest.fixture
def world() -> World:
    world = World()
    for number in range(1, ROTATIONS + 1):
        rotation_id = str(UUID(int=number))
        world.server.add_rotation(rotation_id=rotation_id, user_name=rotation_id, project_id=PROJECT, path="/payments")
    return world


@pytest.fixture
def queue(world: World) -> Fifo:
    return Fifo(world.clock.time)


def dispatch(world: World, sqs: object) -> dict[str, Any]:
    """Deliver the event to a new process."""
    rotation_map = json.dumps({"triggers": {"weekly": {"project": PROJECT, "path": "/payments"}}})
    telemetry = Telemetry(str(uuid4()), "INFO", io.StringIO())  # loggers of one name share their stream
    function = Dispatch(
        read_map=lambda: rotation_map,
        infisical=world.infisical,
        preview=Preview(world.guard.decide, MINIMUM_INTERVAL, GRACE_PERIOD),
        requests=RequestQueue(cast("Any", sqs), REQUESTS_URL),
        events=FakeEventBus().events(telemetry),
        telemetry=telemetry,
        clock=world.clock,
    )
    return function.handle(EVENT, "invocation")  # Lambda's retries have the same request id


@pytest.mark.parametrize("calls", range(BATCHES))
def test_the_retry_sends_the_rest_and_nothing_twice(world: World, queue: Fifo, calls: int) -> None:
    sqs = Sqs({REQUESTS_URL: queue})
    with pytest.raises(Killed):
        dispatch(world, LastCalls(sqs, calls))
    # One batch is smaller than the others.
    assert len(queue.messages) in {calls * MESSAGES_A_CALL, calls * MESSAGES_A_CALL - 5}

    world.clock.sleep(LAMBDAS_FIRST_RETRY_SECONDS)
    summary = dispatch(world, sqs)

    assert summary["requests"] == ROTATIONS
    expected = {str(UUID(int=number)) for number in range(1, ROTATIONS + 1)}
    assert Counter(message.group for message in queue.messages) == Counter(expected)
    assert {json.loads(message.body)["occurredAt"] for message in queue.messages} == {"2026-11-16T05:00:00.000Z"}
