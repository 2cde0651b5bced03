"""Events through the deployed stack: real roles, real queues, keys that AWS really accepts or refuses."""

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rotator.instant import format_instant
from rotator.telemetry import Metric
from tests.sandbox.deployment import wait_until
from tests.sandbox.embedded_aws import ROOT
from tests.sandbox.run import published_key
from tests.sandbox.sandbox import Sandbox
from tests.sandbox.standin.faults import CommittedThenDropped, Fails, Point, Slow
from tests.sandbox.standin.rotations import Rotation

EVENTS = sorted((ROOT / "events").glob("*.json"))

_names = (f"user-{number}" for number in itertools.count())


@pytest.fixture
def rotation(deployed: Sandbox) -> Rotation:
    """A rotation of this test alone, mapped to the trigger that the sample events name."""
    rotation = deployed.add_rotation(next(_names))
    deployed.stack.put_map({"triggers": {"weekly": rotation.id, "monthly": rotation.id}})
    return rotation


def outcomes_of(deployed: Sandbox, rotation: Rotation, count: int = 1) -> list[dict[str, Any]]:
    """Wait until so many requests for a rotation have ended, and return how."""

    def ended() -> list[dict[str, Any]] | None:
        ends = [end for end in deployed.stack.outcomes() if end.get("rotation_id") == rotation.id]
        return ends if len(ends) >= count else None

    return wait_until(f"{count} outcomes of {rotation.name}", ended) or []


def posts_for(deployed: Sandbox, rotation: Rotation) -> int:
    path = f"/{rotation.id}/rotate-secrets"
    return sum(entry.path.endswith(path) for entry in deployed.infisical.requests)


def scheduled(trigger: str = "weekly", at: datetime | None = None) -> dict[str, str]:
    """A schedule's input as it arrives."""
    return {"trigger": trigger, "scheduledTime": format_instant(at or datetime.now(UTC))}


def delta(before: dict[str, float], after: dict[str, float], metric: Metric) -> float:
    return after.get(metric, 0.0) - before.get(metric, 0.0)


@pytest.mark.parametrize("event", EVENTS, ids=lambda path: path.stem)
def test_every_sample_event_rotates_its_mapped_rotation_once(
    deployed: Sandbox, rotation: Rotation, event: Path
) -> None:
    old = published_key(rotation)

    deployed.stack.send(json.loads(event.read_text()))

    assert [end["outcome"] for end in outcomes_of(deployed, rotation)] == ["rotated"]
    assert deployed.valid_keys(rotation.name) == {old, published_key(rotation)}
    assert published_key(rotation) != old
    assert posts_for(deployed, rotation) == 1


def test_the_deployed_schedule_fires_and_rotates(deployed: Sandbox, rotation: Rotation) -> None:
    """The embedded Scheduler fires the deployed schedule, under the schedule's own role.

    It does not substitute context attributes, so its Input gets here what AWS would put there.
    """
    stack = deployed.stack
    name = stack.outputs["ScheduleName"]
    schedule = stack.scheduler.get_schedule(Name=name)
    assert schedule["State"] == "DISABLED"
    now = datetime.now(UTC)
    fires_at = (now + timedelta(seconds=1)).replace(microsecond=0)
    target = schedule["Target"]
    target["Input"] = target["Input"].replace("<aws.scheduler.scheduled-time>", format_instant(fires_at))

    stack.scheduler.update_schedule(
        Name=name,
        ScheduleExpression=f"at({fires_at:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow=schedule["FlexibleTimeWindow"],
        Target=target,
        State="ENABLED",
    )

    (end,) = outcomes_of(deployed, rotation)
    assert (end["outcome"], end["trigger"]) == ("rotated", "weekly")
    assert end["occurred_at"] == format_instant(fires_at)


def test_one_event_five_times_at_once_rotates_once(deployed: Sandbox, rotation: Rotation) -> None:
    old, event = published_key(rotation), scheduled()
    dispatched = len(deployed.stack.ends_of_triggers())

    for _ in range(5):
        deployed.stack.send(event)

    outcomes_of(deployed, rotation)
    wait_until("five dispatches", lambda: len(deployed.stack.ends_of_triggers()) == dispatched + 5)
    wait_until("an empty queue", lambda: deployed.stack.depth("RotationRequestsUrl") == 0)
    assert posts_for(deployed, rotation) == 1
    assert deployed.valid_keys(rotation.name) == {old, published_key(rotation)}


def test_two_triggers_for_one_rotation_in_one_batch_rotate_once_and_skip_once(
    deployed: Sandbox, rotation: Rotation
) -> None:
    # given a worker that is busy with another rotation, so that both requests wait and arrive together
    busy = deployed.add_rotation(next(_names))
    deployed.infisical.faults.add(busy.id, Slow(3))
    deployed.stack.put_map({"triggers": {"busy": busy.id, "weekly": rotation.id, "monthly": rotation.id}})
    deployed.stack.send(scheduled("busy"))
    wait_until("the busy worker", lambda: posts_for(deployed, busy))

    now = datetime.now(UTC)
    deployed.stack.send(scheduled("weekly", now))
    deployed.stack.send(scheduled("monthly", now + timedelta(seconds=1)))

    ends = outcomes_of(deployed, rotation, 2)
    assert sorted((end["outcome"], end["reason"]) for end in ends) in (
        [("rotated", "Rotated"), ("skipped", "AlreadyRotated")],
        [("rotated", "Rotated"), ("skipped", "TooSoon")],
    )
    assert {end["trigger"] for end in ends} == {"weekly", "monthly"}
    assert ends[0]["function_request_id"] == ends[1]["function_request_id"]
    assert posts_for(deployed, rotation) == 1


def test_a_commit_whose_answer_is_lost_is_one_rotation_and_a_success(deployed: Sandbox, rotation: Rotation) -> None:
    before, old = deployed.stack.metrics(), published_key(rotation)
    deployed.infisical.faults.add(rotation.id, CommittedThenDropped())

    deployed.stack.send(scheduled())

    (end,) = outcomes_of(deployed, rotation)
    assert (end["outcome"], end["reason"]) == ("rotated", "Confirmed")
    assert posts_for(deployed, rotation) == 1
    assert deployed.valid_keys(rotation.name) == {old, published_key(rotation)}
    assert delta(before, deployed.stack.metrics(), Metric.ROTATION_SUCCEEDED) == 1
    assert deployed.stack.depth("FailedRotationsUrl") == 0


def test_a_500_before_the_commit_is_not_repeated_and_waits_for_a_person(deployed: Sandbox, rotation: Rotation) -> None:
    before, old = deployed.stack.metrics(), published_key(rotation)
    deployed.infisical.faults.add(rotation.id, Fails(Point.BEFORE))

    deployed.stack.send(scheduled("weekly"))

    # then it failed once, the old key lives, and the message says why
    (end,) = outcomes_of(deployed, rotation)
    assert (end["outcome"], end["reason"]) == ("failed", "AttemptFailed")
    assert "iam:CreateAccessKey" in end["explanation"]
    assert posts_for(deployed, rotation) == 1
    assert deployed.valid_keys(rotation.name) == {old}
    (message,) = deployed.stack.take("FailedRotationsUrl")
    assert message["rotation_id"] == rotation.id
    assert message["explanation"] == end["explanation"]
    assert json.loads(message["request"])["trigger"] == "weekly"
    assert delta(before, deployed.stack.metrics(), Metric.ROTATION_FAILED) == 1

    # and the group is not blocked: another trigger is decided at once, without another attempt
    deployed.stack.send(scheduled("monthly"))
    ends = outcomes_of(deployed, rotation, 2)
    assert (ends[1]["outcome"], ends[1]["reason"]) == ("refused", "PreviousAttemptFailed")
    assert posts_for(deployed, rotation) == 1
    assert deployed.stack.depth("RotationRequestsUrl") == 0
    deployed.stack.take("FailedRotationsUrl")


@pytest.mark.parametrize("lose", ["expire_tokens", "revoke_tokens"])
def test_a_token_that_is_no_longer_accepted_costs_one_login(deployed: Sandbox, rotation: Rotation, lose: str) -> None:
    warm_up = deployed.add_rotation(next(_names))
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
    assert published_key(rotation) in deployed.valid_keys(rotation.name)


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


def test_rotate_runs_under_its_own_role_alone(deployed: Sandbox) -> None:
    role = deployed.stack.resources("AWS::IAM::Role")["RotateRole"]
    deployed.stack.restart("RotateFunction")
    with deployed.stack.without("RotateRole", "LogInToInfisical"):
        rotation = deployed.add_rotation(next(_names))
        deployed.stack.put_map({"triggers": {"weekly": rotation.id}})
        deployed.stack.send(scheduled())
        (end,) = outcomes_of(deployed, rotation)

    assert (end["outcome"], end["reason"]) == ("deferred", "Unreachable")
    assert f"assumed-role/{role}/" in end["explanation"]
    assert "secretsmanager:GetSecretValue" in end["explanation"]
    assert posts_for(deployed, rotation) == 0
    deployed.stack.sqs.purge_queue(QueueUrl=deployed.stack.outputs["RotationRequestsUrl"])


@pytest.mark.last
def test_no_secret_reached_a_log_or_a_queue(deployed: Sandbox) -> None:
    logs = deployed.stack.raw_logs() + deployed.stack.aws.log.read_text()
    queued = json.dumps([deployed.stack.take(f"{queue}Url") for queue in ("FailedRotations", "UndeliveredTriggers")])
    secrets = deployed.infisical.secrets

    assert len(secrets) > 20, "the run used tokens, client secrets and secret access keys"
    assert "rotation rotated" in logs
    assert [secret for secret in secrets if secret in logs or secret in queued] == []
