"""Outcome events of the deployed functions, as a rule and a queue of a consumer receive them."""

import json
from functools import partial

import pytest

from rotator.telemetry import Metric
from tests.e2e.assertions import delta, outcomes_of, scheduled
from tests.sandbox.alarm_listener import AlarmListener
from tests.sandbox.deployment import wait_until
from tests.sandbox.outcome_queue import OutcomeQueue, denied_events
from tests.sandbox.sandbox import Sandbox
from tests.sandbox.standin.faults import CommittedThenDropped, Fails, Point
from tests.sandbox.standin.rotations import Rotation
from tests.unit.test_outcomes import validate_event

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


def test_a_rotation_that_is_triggered_twice_is_told_once_by_ids_alone(
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
    for told in outcomes.events():
        validate_event(told)


def test_a_commit_whose_answer_was_dropped_is_told(
    deployed: Sandbox, rotation: Rotation, outcomes: OutcomeQueue
) -> None:
    deployed.infisical.faults.add(rotation.id, CommittedThenDropped())

    deployed.stack.send(scheduled())

    wait_until("the event", lambda: outcomes.ends_of(rotation.id))
    assert [(end["outcome"], end["reason"]) for end in outcomes.ends_of(rotation.id)] == [("rotated", "Confirmed")]


def test_a_failed_request_is_told_and_one_that_returns_is_not(
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
