"""Events through the deployed stack: real roles, real queues, keys that AWS really accepts or refuses."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rotator.telemetry import Metric
from rotator.timestamps import format_timestamp
from tests.e2e.assertions import delta, outcomes_of, posts_for, scheduled
from tests.sandbox.deployment import wait_until
from tests.sandbox.embedded_aws import ROOT
from tests.sandbox.sandbox import Sandbox
from tests.sandbox.standin.faults import CommittedThenDropped, Fails, Point, Slow
from tests.sandbox.standin.rotations import Rotation

EVENTS = sorted((ROOT / "events").glob("*.json"))
IGNORED = sorted((ROOT / "events" / "ignored").glob("*.json"))


@pytest.mark.parametrize("event", EVENTS, ids=lambda path: path.stem)
def test_every_sample_event_rotates_its_mapped_rotation_once(
    deployed: Sandbox, rotation: Rotation, event: Path
) -> None:
    old = deployed.published_key(rotation)

    deployed.stack.send(json.loads(event.read_text()))

    assert [end["outcome"] for end in outcomes_of(deployed, rotation)] == ["rotated"]
    assert deployed.valid_keys(rotation.name) == {old, deployed.published_key(rotation)}
    assert deployed.published_key(rotation) != old
    assert posts_for(deployed, rotation) == 1


@pytest.mark.parametrize("event", IGNORED, ids=lambda path: path.stem)
def test_an_event_that_leaves_the_current_value_as_it_was_rotates_nothing(
    deployed: Sandbox, rotation: Rotation, event: Path
) -> None:
    before = deployed.stack.metrics()

    answer = deployed.stack.invoke(json.loads(event.read_text()))

    assert answer["requests"] == 0
    assert answer["ignored"]
    assert posts_for(deployed, rotation) == 0
    assert deployed.stack.metrics() == before, "no alarm hears of it"


def test_the_deployed_schedule_fires_and_rotates(deployed: Sandbox, rotation: Rotation) -> None:
    """The embedded Scheduler fires the deployed schedule, under the schedule's own role.

    It does not substitute context attributes, so its Input gets here what AWS would put there.
    """
    stack = deployed.stack
    name: Any = {"GroupName": stack.outputs["ScheduleGroupName"], "Name": stack.outputs["ScheduleName"]}
    schedule = stack.scheduler.get_schedule(**name)
    assert schedule["State"] == "DISABLED"
    now = datetime.now(UTC)
    fires_at = (now + timedelta(seconds=1)).replace(microsecond=0)
    target: Any = {**schedule["Target"]}
    target["Input"] = target["Input"].replace("<aws.scheduler.scheduled-time>", format_timestamp(fires_at))

    stack.scheduler.update_schedule(
        **name,
        ScheduleExpression=f"at({fires_at:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow=schedule["FlexibleTimeWindow"],
        Target=target,
        State="ENABLED",
    )

    (end,) = outcomes_of(deployed, rotation)
    stack.scheduler.update_schedule(
        **name,
        ScheduleExpression=schedule["ScheduleExpression"],
        FlexibleTimeWindow=schedule["FlexibleTimeWindow"],
        Target=schedule["Target"],
        State=schedule["State"],
    )
    assert (end["outcome"], end["trigger"]) == ("rotated", "weekly")
    assert end["occurred_at"] == format_timestamp(fires_at)


def test_one_event_five_times_at_once_rotates_once(deployed: Sandbox, rotation: Rotation) -> None:
    old, event = deployed.published_key(rotation), scheduled()
    dispatched = len(deployed.stack.ends_of_triggers())

    for _ in range(5):
        deployed.stack.send(event)

    outcomes_of(deployed, rotation)
    wait_until("five dispatches", lambda: len(deployed.stack.ends_of_triggers()) == dispatched + 5)
    wait_until("an empty queue", lambda: deployed.stack.depth("RotationRequestsUrl") == 0)
    assert posts_for(deployed, rotation) == 1
    assert deployed.valid_keys(rotation.name) == {old, deployed.published_key(rotation)}


def test_two_triggers_for_one_rotation_in_one_batch_rotate_once_and_skip_once(
    deployed: Sandbox, rotation: Rotation, new_rotation: Callable[..., Rotation]
) -> None:
    # given a worker that is busy with another rotation, so that both requests wait and arrive together
    busy = new_rotation()
    deployed.infisical.faults.add(busy.id, Slow(8))
    deployed.stack.put_map({"triggers": {"busy": busy.id, "weekly": rotation.id, "monthly": rotation.id}})
    deployed.stack.send(scheduled("busy"))
    wait_until("the busy worker", lambda: posts_for(deployed, busy))

    now = datetime.now(UTC)
    deployed.stack.send(scheduled("weekly", now))
    deployed.stack.send(scheduled("monthly", now + timedelta(seconds=1)))

    ends = outcomes_of(deployed, rotation, count=2)
    assert sorted((end["outcome"], end["reason"]) for end in ends) in (
        [("rotated", "Rotated"), ("skipped", "AlreadyRotated")],
        [("rotated", "Rotated"), ("skipped", "TooSoon")],
    )
    assert {end["trigger"] for end in ends} == {"weekly", "monthly"}
    assert ends[0]["function_request_id"] == ends[1]["function_request_id"]
    assert posts_for(deployed, rotation) == 1


def test_a_commit_whose_answer_is_lost_is_one_rotation_and_a_success(deployed: Sandbox, rotation: Rotation) -> None:
    before, old = deployed.stack.metrics(), deployed.published_key(rotation)
    deployed.infisical.faults.add(rotation.id, CommittedThenDropped())

    deployed.stack.send(scheduled())

    (end,) = outcomes_of(deployed, rotation)
    assert (end["outcome"], end["reason"]) == ("rotated", "Confirmed")
    assert posts_for(deployed, rotation) == 1
    assert deployed.valid_keys(rotation.name) == {old, deployed.published_key(rotation)}
    assert delta(before, deployed.stack.metrics(), Metric.ROTATION_SUCCEEDED) == 1
    assert deployed.stack.depth("FailedRotationsUrl") == 0


def test_a_500_before_the_commit_is_not_retried_at_once_and_is_counted(deployed: Sandbox, rotation: Rotation) -> None:
    before, old = deployed.stack.metrics(), deployed.published_key(rotation)
    deployed.infisical.faults.add(rotation.id, Fails(Point.BEFORE))

    deployed.stack.send(scheduled("weekly"))

    (end,) = outcomes_of(deployed, rotation)
    assert (end["outcome"], end["reason"], end["comes_back"]) == ("failed", "AttemptFailed", True)
    assert "iam:CreateAccessKey" in end["explanation"]
    assert posts_for(deployed, rotation) == 1
    assert deployed.valid_keys(rotation.name) == {old}
    assert delta(before, deployed.stack.metrics(), Metric.ROTATION_FAILED) == 1
    assert deployed.stack.depth("RotationRequestsUrl") == 1, "it comes back, after the full visibility time-out"
    assert deployed.stack.depth("FailedRotationsUrl") == 0
    deployed.stack.sqs.purge_queue(QueueUrl=deployed.stack.outputs["RotationRequestsUrl"])


@pytest.mark.parametrize("lose", ["expire_tokens", "revoke_tokens"])
def test_a_token_that_is_no_longer_accepted_costs_one_login(
    deployed: Sandbox, rotation: Rotation, new_rotation: Callable[..., Rotation], lose: str
) -> None:
    warm_up = new_rotation()
    deployed.stack.put_map({"triggers": {"warm-up": warm_up.id, "weekly": rotation.id}})
    deployed.stack.send(scheduled("warm-up"))
    outcomes_of(deployed, warm_up)
    logins = len(deployed.infisical.logins)
    lose_tokens: Callable[[], None] = getattr(deployed.infisical, lose)
    lose_tokens()

    deployed.stack.send(scheduled("weekly"))

    assert [end["outcome"] for end in outcomes_of(deployed, rotation)] == ["rotated"]
    assert len(deployed.infisical.logins) == logins + 1


def test_an_unmapped_trigger_is_an_error_a_metric_and_kept(deployed: Sandbox, rotation: Rotation) -> None:
    before = deployed.stack.metrics()
    event = scheduled("nobody-knows-me")

    deployed.stack.send(event)

    wait_until("the undelivered trigger", lambda: deployed.stack.depth("UndeliveredTriggersUrl"))
    (record,) = deployed.stack.take("UndeliveredTriggersUrl")
    assert record["requestPayload"] == event
    assert "nobody-knows-me" in record["responsePayload"]["errorMessage"]
    assert delta(before, deployed.stack.metrics(), Metric.UNMAPPED_TRIGGER) >= 1
    assert posts_for(deployed, rotation) == 0


def test_a_broken_map_is_refused_whole(deployed: Sandbox, rotation: Rotation) -> None:
    deployed.stack.put_map({"triggers": {"weekly": rotation.id, "monthly": ["not-a-rotation-id"]}})

    answer = deployed.stack.invoke(scheduled("weekly"))

    assert "triggers.monthly[0]" in answer["errorMessage"]
    assert posts_for(deployed, rotation) == 0
    assert deployed.published_key(rotation) in deployed.valid_keys(rotation.name)


@pytest.mark.parametrize(
    ("role", "statement", "denied"),
    [("DispatchRole", "ReadTheMap", "ssm:GetParameter"), ("DispatchRole", "SendRequests", "sqs:SendMessage")],
)
def test_dispatch_runs_under_its_own_role_alone(
    deployed: Sandbox, rotation: Rotation, role: str, statement: str, denied: str
) -> None:
    with deployed.stack.without(role, statement):
        answer = deployed.stack.invoke(scheduled())

    assert denied in answer["errorMessage"]
    assert f"assumed-role/{deployed.stack.resources('AWS::IAM::Role')[role]}/" in answer["errorMessage"]
    assert posts_for(deployed, rotation) == 0


def test_rotate_runs_under_its_own_role_alone(deployed: Sandbox, rotation: Rotation) -> None:
    """The role that Infisical allows is the function's own; what it logs in with is verified by AWS."""
    role = deployed.stack.outputs["RotateRoleArn"]
    allowed, deployed.identity.allowed_principals = deployed.identity.allowed_principals, ["arn:aws:iam::1:role/other"]
    deployed.stack.restart("RotateFunction")
    try:
        deployed.stack.send(scheduled())
        (end,) = outcomes_of(deployed, rotation)
    finally:
        deployed.identity.allowed_principals = allowed
        deployed.stack.restart("RotateFunction")

    assert (end["outcome"], end["reason"]) == ("failed", "LoginRefused")
    assert f"assumed-role/{role.rsplit('/')[-1]}" in end["explanation"]
    assert posts_for(deployed, rotation) == 0
    deployed.stack.take("FailedRotationsUrl")
