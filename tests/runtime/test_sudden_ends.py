"""A function ends in the middle of its work, and the same event comes again, to a new process."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from rotator.model import MappedRotation
from rotator.rotation.request import RotationRequest
from rotator.timestamps import format_timestamp
from tests.runtime.conftest import HANGING_PROJECT, Mapped
from tests.runtime.emulator import Emulator, Invocation
from tests.runtime.world import World
from tests.sandbox.deployment import wait_until
from tests.sandbox.standin.faults import Slow
from tests.sandbox.standin.rotations import Rotation

# Time enough to kill the function; the latter is what the test waits for.
SLOW_READ, SLOW_ROTATION = Slow(8), Slow(3)


def delivered(world: World, rotation: Rotation) -> dict[str, Any]:
    """Wish for a rotation now, and return the message as it arrives."""
    request = RotationRequest(MappedRotation(rotation.id), "weekly", datetime.now(UTC), "correlation")
    world.send_request(request.to_message(), rotation.id)
    (record,) = world.receive()
    return record


def delivered_again(world: World, record: dict[str, Any]) -> dict[str, Any]:
    """Return the same message as it arrives once its visibility time-out is over."""
    world.return_at_once(record)
    (again,) = world.receive()
    assert again["messageId"] == record["messageId"]
    return again


def kill_at(world: World, rotate: Emulator, record: dict[str, Any], arrival: str) -> Invocation:
    """Let `rotate` work a message, and kill it while Infisical works on the request whose path ends so."""
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(rotate.invoke, {"Records": [record]})
        wait_until(arrival, lambda: any(entry.path.endswith(arrival) for entry in world.infisical.requests))
        rotate.kill_function()
        return working.result()


def outcome(invocation: Invocation) -> tuple[str, str]:
    (end,) = (record for record in invocation.records if "outcome" in record)
    return end["outcome"], end["reason"]


def test_a_function_killed_after_rotate_secrets_rotates_once(world: World, rotate: Emulator) -> None:
    rotation = world.add_rotation()
    world.infisical.faults.add(rotation.id, SLOW_ROTATION)
    record = delivered(world, rotation)

    killed = kill_at(world, rotate, record, f"/{rotation.id}/rotate-secrets")
    assert killed.answer["errorType"] == "Runtime.ExitError"
    made = wait_until("the commit that nobody waits for", lambda: len(rotation.slots) > 1 and rotation.last_rotated_at)
    again = rotate.invoke({"Records": [delivered_again(world, record)]})

    assert again.init_seconds is not None  # a new process, which remembers nothing
    assert again.answer == {"batchItemFailures": []}
    assert outcome(again) == ("skipped", "AlreadyRotated")
    assert world.posts_for(rotation) == 1
    assert rotation.last_rotated_at == made


def test_a_function_killed_before_rotate_secrets_rotates_once(world: World, rotate: Emulator) -> None:
    rotation = world.add_rotation()
    world.infisical.faults.add_read(rotation.id, SLOW_READ)
    record = delivered(world, rotation)

    killed = kill_at(world, rotate, record, rotation.id)
    assert killed.answer["errorType"] == "Runtime.ExitError"
    assert world.posts_for(rotation) == 0
    again = rotate.invoke({"Records": [delivered_again(world, record)]})

    assert again.answer == {"batchItemFailures": []}
    assert outcome(again) == ("rotated", "Rotated")
    assert world.posts_for(rotation) == 1


def test_a_dispatch_ended_by_its_time_out_dispatches_once(world: World, mapped: Mapped, dispatch: Emulator) -> None:
    world.infisical.faults.add_read(HANGING_PROJECT, Slow(20))
    event = {"trigger": "hanging", "scheduledTime": format_timestamp(datetime.now(UTC))}

    with world.running("DispatchFunction", timeout_seconds=4) as impatient:
        ended = impatient.invoke(event)
    assert ended.text == "Task timed out after 4.00 seconds"
    assert any(HANGING_PROJECT in entry.path for entry in world.infisical.requests)
    assert world.take() == []
    again = dispatch.invoke(event)

    assert again.answer["requests"] == 1
    assert [request["rotationId"] for request in world.take()] == [mapped.hanging.id]
