"""Dead letters come back: `make redrive` as a person runs it, against the deployed stack."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from rotator.timestamps import format_timestamp, parse_timestamp
from tests.e2e.assertions import outcomes_of, posts_for, scheduled
from tests.e2e.tools import Run, run_tool
from tests.sandbox.deployment import STACK, wait_until
from tests.sandbox.embedded_aws import ROOT
from tests.sandbox.sandbox import Sandbox
from tests.sandbox.standin.rotations import Rotation

QUEUE = "UndeliveredTriggersUrl"


def redrive(deployed: Sandbox, *arguments: str, stack: str = STACK) -> Run:
    """What `make redrive` runs."""
    return run_tool(deployed, "redrive", "--stack", stack, *arguments)


def keep(deployed: Sandbox, body: str, **attributes: str) -> None:
    """Put a message where EventBridge and its Scheduler put what they could not deliver."""
    attached: Any = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    deployed.stack.sqs.send_message(
        QueueUrl=deployed.stack.outputs[QUEUE], MessageBody=body, MessageAttributes=attached
    )


def fail(deployed: Sandbox, event: dict[str, str]) -> None:
    """Send an event that the map does not know, and wait until Lambda has given it up."""
    depth = deployed.stack.depth(QUEUE)
    deployed.stack.send(event)
    wait_until("the undelivered trigger", lambda: deployed.stack.depth(QUEUE) > depth)


def map_to(deployed: Sandbox, rotation: Rotation, *names: str) -> None:
    deployed.stack.put_map({"triggers": dict.fromkeys(names, rotation.id)})


@pytest.fixture(autouse=True)
def queue(deployed: Sandbox) -> Iterator[None]:
    """Begin and end with an empty queue."""
    deployed.stack.take(QUEUE)
    yield
    deployed.stack.sqs.purge_queue(QueueUrl=deployed.stack.outputs[QUEUE])


def test_an_unmapped_trigger_is_replayed_once_it_is_mapped(deployed: Sandbox, rotation: Rotation) -> None:
    # given a trigger that the map did not know
    event, old = scheduled(), deployed.published_key(rotation)
    map_to(deployed, rotation, "monthly")
    fail(deployed, event)

    # when the map is still broken, then the message stays and the reason is told
    still_broken = redrive(deployed)
    assert still_broken.status == 1
    assert still_broken.lines[0].startswith(f"weekly  {event['scheduledTime']}  refused, left: ")
    assert "no trigger 'weekly'" in still_broken.lines[0]
    assert still_broken.lines[1:] == ["0 replayed, 1 left in UndeliveredTriggers"]
    assert deployed.stack.depth(QUEUE) == 1

    # when it is corrected, then it rotates once, for the moment when the trigger occurred
    map_to(deployed, rotation, "weekly")
    corrected = redrive(deployed)
    assert corrected.status == 0
    assert corrected.lines[0].startswith(f"weekly  {event['scheduledTime']}  accepted: requests 1, correlation_id ")
    assert corrected.lines[1:] == ["1 replayed, 0 left in UndeliveredTriggers"]
    (end,) = outcomes_of(deployed, rotation)
    assert (end["outcome"], end["occurred_at"]) == ("rotated", event["scheduledTime"])
    assert end["correlation_id"] == corrected.lines[0].split()[-1]
    assert deployed.valid_keys(rotation.name) == {old, deployed.published_key(rotation)}
    assert deployed.stack.depth(QUEUE) == 0

    # and again there is nothing to do
    again = redrive(deployed)
    assert (again.status, again.lines) == (0, ["0 replayed, 0 left in UndeliveredTriggers"])
    assert posts_for(deployed, rotation) == 1


def test_a_trigger_whose_rotation_happened_meanwhile_rotates_nothing(deployed: Sandbox, rotation: Rotation) -> None:
    map_to(deployed, rotation, "monthly")
    fail(deployed, scheduled("weekly"))
    deployed.stack.send(scheduled("monthly"))
    outcomes_of(deployed, rotation)
    map_to(deployed, rotation, "weekly")

    assert redrive(deployed).status == 0

    _, end = outcomes_of(deployed, rotation, count=2)
    assert (end["outcome"], end["reason"], end["trigger"]) == ("skipped", "AlreadyRotated", "weekly")
    assert posts_for(deployed, rotation) == 1


def test_a_replayed_trigger_older_than_the_last_rotation_rotates_nothing(deployed: Sandbox, rotation: Rotation) -> None:
    """As a wish of the moment of its replay it would come too soon today, and rotate tomorrow."""
    map_to(deployed, rotation, "monthly")
    fail(deployed, {"trigger": "weekly"})
    deployed.stack.send(scheduled("monthly"))
    outcomes_of(deployed, rotation)
    map_to(deployed, rotation, "weekly")

    assert redrive(deployed).status == 0

    _, end = outcomes_of(deployed, rotation, count=2)
    assert (end["outcome"], end["reason"]) == ("skipped", "AlreadyRotated")


@pytest.mark.parametrize("sample", ["scheduler-input", "scheduler-default", "rule-scheduled", "custom"])
def test_undelivered_events_of_schedules_and_rules_are_replayed(
    deployed: Sandbox, rotation: Rotation, sample: str
) -> None:
    keep(deployed, (ROOT / "events" / f"{sample}.json").read_text())

    run = redrive(deployed)

    assert run.status == 0
    assert run.lines[0].startswith("weekly  2026-11-16T05:00:00.000Z  accepted: ")
    (end,) = outcomes_of(deployed, rotation)
    assert (end["outcome"], end["occurred_at"]) == ("rotated", "2026-11-16T05:00:00.000Z")
    assert deployed.stack.depth(QUEUE) == 0


def test_a_schedules_input_is_replayed_only_with_its_due_time(deployed: Sandbox, rotation: Rotation) -> None:
    outputs = deployed.stack.outputs
    schedule = deployed.stack.scheduler.get_schedule(
        GroupName=outputs["ScheduleGroupName"], Name=outputs["ScheduleName"]
    )
    keep(deployed, schedule["Target"]["Input"])
    keep(deployed, schedule["Target"]["Input"], SCHEDULED_TIME="2026-11-16T05:00:00Z")

    run = redrive(deployed)

    (left,) = [line for line in run.lines if line.startswith("message ")]
    assert "no attribute SCHEDULED_TIME to replace it. Invoke dispatch with " in left
    assert run.lines[-1] == "1 replayed, 1 left in UndeliveredTriggers"
    (end,) = outcomes_of(deployed, rotation)
    assert (end["outcome"], end["occurred_at"]) == ("rotated", "2026-11-16T05:00:00.000Z")


def test_a_trigger_without_a_time_means_the_moment_when_it_was_kept(deployed: Sandbox, rotation: Rotation) -> None:
    before = datetime.now(UTC)
    keep(deployed, '{"trigger": "weekly"}')
    after = datetime.now(UTC)

    assert redrive(deployed).status == 0

    (end,) = outcomes_of(deployed, rotation)
    assert end["outcome"] == "rotated"
    assert format_timestamp(before) <= end["occurred_at"] <= format_timestamp(after)
    assert parse_timestamp(end["occurred_at"], "occurred_at") < after


def test_a_body_of_unknown_shape_is_left_and_named_and_holds_up_nothing(deployed: Sandbox, rotation: Rotation) -> None:
    keep(deployed, "hello")
    keep(deployed, json.dumps(scheduled()))

    run = redrive(deployed)

    assert run.status == 1
    (left,) = [line for line in run.lines if line.startswith("message ")]
    assert left.endswith("left: the body is not valid JSON")
    assert run.lines[-1] == "1 replayed, 1 left in UndeliveredTriggers"
    assert [end["outcome"] for end in outcomes_of(deployed, rotation)] == ["rotated"]
    assert deployed.stack.depth(QUEUE) == 1


def test_a_dry_run_only_shows(deployed: Sandbox, rotation: Rotation) -> None:
    event = scheduled()
    map_to(deployed, rotation, "monthly")
    fail(deployed, event)
    map_to(deployed, rotation, "weekly")
    triggers = len(deployed.stack.ends_of_triggers())

    runs = [redrive(deployed, "--dry-run") for _ in range(2)]

    for run in runs:
        assert run.status == 0
        assert run.lines[0].startswith(
            f"weekly  {event['scheduledTime']}  would be replayed; kept because: the rotation"
        )
        assert run.lines[1:] == ["1 to replay, 0 left in UndeliveredTriggers"]
    assert len(deployed.stack.ends_of_triggers()) == triggers
    assert deployed.stack.depth(QUEUE) == 1


def test_messages_held_by_a_killed_redrive_are_reported_and_return(deployed: Sandbox, rotation: Rotation) -> None:
    url, sqs = deployed.stack.outputs[QUEUE], deployed.stack.sqs
    keep(deployed, json.dumps(scheduled()))
    (held,) = sqs.receive_message(QueueUrl=url, VisibilityTimeout=900)["Messages"]

    run = redrive(deployed)

    assert run.status == 1
    assert run.lines[0].startswith("held by another run, or by one that was killed: 1;")
    assert posts_for(deployed, rotation) == 0
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=held["ReceiptHandle"], VisibilityTimeout=0)
    assert redrive(deployed).status == 0
    assert [end["outcome"] for end in outcomes_of(deployed, rotation)] == ["rotated"]


def test_a_missing_stack_is_reported(deployed: Sandbox) -> None:
    run = redrive(deployed, stack="nobody-has-deployed-me")

    assert (run.status, run.lines) == (2, [])
    assert "nobody-has-deployed-me does not exist" in run.errors
