"""Outcome events of the deployed functions, as a rule and a queue of a consumer receive them."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from rotator.telemetry import Metric
from rotator.timestamps import format_timestamp, from_epoch
from tests.e2e.assertions import delta, outcomes_of, posts_for, scheduled
from tests.e2e.killing import KilledAtFirstCall, calling_through, paused, short_visibility
from tests.sandbox.alarm_listener import AlarmListener
from tests.sandbox.deployment import wait_until
from tests.sandbox.outcome_queue import OutcomeQueue, denied_events
from tests.sandbox.sandbox import LONG_AGO, Sandbox
from tests.sandbox.sqs_record import sqs_record
from tests.sandbox.standin.faults import CommittedThenDropped, Fails, Point
from tests.sandbox.standin.rotations import Rotation
from tests.unit.test_outcomes import validate_event

BACK_SECONDS = 3  # instead of 18 minutes

UNKNOWN = "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f00fe"
UNKNOWN_ONES = ("1b1f0f5e-3a52-4a5e-9b35-6f1f2f0f00fe", "2b1f0f5e-3a52-4a5e-9b35-6f1f2f0f00fe")


@pytest.fixture(scope="module")
def listener(deployed: Sandbox) -> AlarmListener:
    return AlarmListener(deployed.stack)


@pytest.fixture(scope="module")
def outcomes(deployed: Sandbox) -> OutcomeQueue:
    # Requests of other tests may still wait there, until they would return.
    deployed.stack.sqs.purge_queue(QueueUrl=deployed.stack.outputs["RotationRequestsUrl"])
    return OutcomeQueue(deployed.stack)


def test_a_rotation_that_is_triggered_twice_is_announced_once(
    deployed: Sandbox, rotation: Rotation, outcomes: OutcomeQueue
) -> None:
    event, old = scheduled(), deployed.published_key(rotation)
    for _ in range(2):
        deployed.stack.send(event)

    wait_until("the event", lambda: outcomes.ends_of(rotation.id))
    wait_until("an empty queue", lambda: deployed.stack.depth("RotationRequestsUrl") == 0)
    (detail,) = outcomes.ends_of(rotation.id)
    assert (detail["outcome"], detail["reason"], detail["iam_user"]) == ("rotated", "Rotated", rotation.name)
    assert detail["published_key_before"] == old
    for put in outcomes.events():
        validate_event(put)


def test_a_commit_whose_answer_was_dropped_is_announced(
    deployed: Sandbox, rotation: Rotation, outcomes: OutcomeQueue
) -> None:
    deployed.infisical.faults.add(rotation.id, CommittedThenDropped())

    deployed.stack.send(scheduled())

    wait_until("the event", lambda: outcomes.ends_of(rotation.id))
    assert [(end["outcome"], end["reason"]) for end in outcomes.ends_of(rotation.id)] == [("rotated", "Confirmed")]


def test_a_failed_request_is_announced_and_one_that_returns_is_not(
    deployed: Sandbox, rotation: Rotation, outcomes: OutcomeQueue
) -> None:
    deployed.stack.put_map({"triggers": {"weekly": [rotation.id, UNKNOWN]}})
    deployed.infisical.faults.add(rotation.id, Fails(Point.BEFORE))

    deployed.stack.send(scheduled())

    (end,) = outcomes_of(deployed, rotation)
    wait_until("the event", lambda: outcomes.ends_of(UNKNOWN))
    (failed,) = outcomes.ends_of(UNKNOWN)
    assert (failed["outcome"], failed["notify"]) == ("failed", True)
    assert end["comes_back"]
    assert outcomes.ends_of(rotation.id) == []
    deployed.stack.take("FailedRotationsUrl")
    deployed.stack.sqs.purge_queue(QueueUrl=deployed.stack.outputs["RotationRequestsUrl"])


def test_a_refused_request_is_announced_with_the_key_that_is_in_use(
    deployed: Sandbox, rotation: Rotation, outcomes: OutcomeQueue
) -> None:
    previous = deployed.iam.create_access_key(UserName=rotation.name)["AccessKey"]["AccessKeyId"]
    deployed.iam_front.date(previous, LONG_AGO - timedelta(days=7))
    deployed.use_key(previous, datetime.now(UTC))

    deployed.stack.send(scheduled())

    wait_until("the event", lambda: outcomes.ends_of(rotation.id))
    (end,) = outcomes.ends_of(rotation.id)
    assert (end["outcome"], end["reason"], end["notify"]) == ("refused", "KeyInUse", True)
    assert previous in end["message"]
    deployed.stack.take("FailedRotationsUrl")


def test_a_request_that_is_given_up_is_announced_and_kept_as_a_dead_letter(
    deployed: Sandbox, rotation: Rotation, outcomes: OutcomeQueue
) -> None:
    stack, queue = deployed.stack, deployed.stack.outputs["RotationRequestsUrl"]
    deployed.infisical.faults.add(rotation.id, Fails(Point.BEFORE))
    with paused(stack):
        stack.send(scheduled())
        (message,) = wait_until("the request", lambda: stack.sqs.receive_message(QueueUrl=queue).get("Messages")) or []
        thirteen_hours_ago = (datetime.now(UTC) - timedelta(hours=13)).timestamp()
        record = sqs_record(
            message["MessageId"],
            message["Body"],
            rotation.id,
            first_received_at=thirteen_hours_ago,
            receive_count=43,
            receipt=message["ReceiptHandle"],
        )
        worker = stack.resources("AWS::Lambda::Function")["RotateFunction"]
        stack.lambda_.invoke(FunctionName=worker, Payload=json.dumps({"Records": [record]}).encode())
        stack.sqs.purge_queue(QueueUrl=queue)

    (dead,) = stack.take("FailedRotationsUrl")
    (end,) = wait_until("the event", lambda: outcomes.ends_of(rotation.id)) or []
    assert (dead["rotation_id"], dead["outcome"]) == (rotation.id, "failed")
    assert {name: end[name] for name in ("outcome", "reason")} == {name: dead[name] for name in ("outcome", "reason")}
    assert end["explanation"].startswith("given up after 43 deliveries")
    assert end["notify"]


def test_a_commit_whose_function_was_killed_is_announced_after_redelivery(
    deployed: Sandbox, rotation: Rotation, outcomes: OutcomeQueue
) -> None:
    killer = KilledAtFirstCall(deployed.stack)
    with short_visibility(deployed.stack, BACK_SECONDS), calling_through(deployed.stack, "EVENTBRIDGE", killer):
        deployed.stack.send(scheduled())

        wait_until("the event", lambda: outcomes.ends_of(rotation.id))
        wait_until("an empty queue", lambda: deployed.stack.depth("RotationRequestsUrl") == 0)

    (end,) = outcomes.ends_of(rotation.id)
    assert (killer.kills, posts_for(deployed, rotation)) == (1, 1)
    assert (end["outcome"], end["reason"]) == ("rotated", "AlreadyRotated")
    assert end["last_rotated_at"] == format_timestamp(from_epoch(rotation.last_rotated_at))


def test_each_of_two_failures_is_a_message_that_names_it(deployed: Sandbox, listener: AlarmListener) -> None:
    for rotation_id in UNKNOWN_ONES:
        deployed.stack.put_map({"triggers": {"weekly": rotation_id}})
        deployed.stack.send(scheduled())
        wait_until("the message", partial(listener.about, rotation_id))

    messages = [json.loads(message) for rotation_id in UNKNOWN_ONES for message in listener.about(rotation_id)]
    assert len(messages) == len(UNKNOWN_ONES)
    assert all("failed" in message and "docs/runbook.md" in message for message in messages)
    deployed.stack.take("FailedRotationsUrl")


def test_a_bus_that_denies_stops_no_rotation_and_is_counted(deployed: Sandbox, rotation: Rotation) -> None:
    stack = deployed.stack
    before = stack.metrics()
    with denied_events(stack):
        stack.send(scheduled())

        assert [end["outcome"] for end in outcomes_of(deployed, rotation)] == ["rotated"]
        wait_until("the metric", lambda: delta(before, stack.metrics(), Metric.OUTCOME_EVENTS_FAILED))
    assert stack.depth("RotationRequestsUrl") == 0
