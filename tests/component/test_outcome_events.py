"""The events that dispatch, the hook and the audit put, and what dispatch does with an outcome event."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError

from audit import EVENTS_SECONDS
from rotator.mirror.value import HookError
from rotator.outcomes.event_bridge import LONGEST_CALL_SECONDS
from rotator.outcomes.keys import KeyEvents
from rotator.telemetry import Metric
from rotator.triggers.events import OutcomeEventError
from rotator.triggers.rotation_map import UnmappedTriggerError
from tests.component.hook_stage import HOOK_SECONDS, stage
from tests.component.secrets_manager import ARN
from tests.component.test_audit import Observer, another
from tests.component.test_retire import Retiring
from tests.component.world import World
from tests.unit.stages import DispatchStage
from tests.unit.test_outcomes import HOSTILE, OUTCOMES, denied, state, validate


def entries(events: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(entry["DetailType"], validate(entry)) for entry in events]


def test_a_refused_trigger_is_announced_with_its_reason() -> None:
    dispatch = DispatchStage()

    with pytest.raises(UnmappedTriggerError):
        dispatch.dispatch.handle({"trigger": "nobody"}, "invocation")

    ((kind, detail),) = entries(dispatch.bus.entries)
    assert kind == "Trigger Refused"
    assert (detail["trigger"], detail["reason"], detail["correlation_id"]) == (
        "nobody",
        "UnmappedTrigger",
        "invocation",
    )


def test_a_refused_dry_run_is_not_announced() -> None:
    dispatch = DispatchStage()

    with pytest.raises(UnmappedTriggerError):
        dispatch.dispatch.handle({"trigger": "nobody", "dryRun": True}, "invocation")

    assert dispatch.bus.entries == []


@pytest.mark.parametrize("path", sorted(OUTCOMES.glob("*.json")), ids=lambda path: path.stem)
def test_dispatch_refuses_an_outcome_event_and_tells_no_further_one(path: Path) -> None:
    dispatch = DispatchStage()

    with pytest.raises(OutcomeEventError, match="would trigger the next one"):
        dispatch.dispatch.handle(json.loads(path.read_text("utf-8")), "invocation")

    assert dispatch.bus.entries == []
    assert dispatch.requested == []


def test_a_mirror_that_was_rotated_is_announced() -> None:
    here = stage()
    here.world.clock.sleep(timedelta(days=1).total_seconds())

    token = here.rotate()

    ((kind, detail),) = entries(here.bus.entries)
    assert (kind, detail["secret_arn"], detail["correlation_id"]) == ("Mirror Rotated", ARN, token)


def test_a_hook_step_that_failed_is_announced() -> None:
    here = stage(value=lambda _: "not JSON")
    token = here.secrets.begin(None)

    with pytest.raises(HookError):
        here.step("createSecret", token)

    ((kind, detail),) = entries(here.bus.entries)
    assert (kind, detail["step"], detail["secret_arn"]) == ("Hook Step Failed", "createSecret", ARN)


@pytest.mark.parametrize("seconds", [HOOK_SECONDS - fewer for fewer in range(0, 15, 3)])  # it looks every 15 s
def test_a_hook_step_that_waited_ends_in_time_where_the_bus_hangs(seconds: float) -> None:
    here = stage()
    here.queue.asleep = True
    here.world.clock.sleep(timedelta(days=1).total_seconds())
    here.bus.called = lambda: here.world.clock.sleep(LONGEST_CALL_SECONDS)
    token, started = here.secrets.begin(None), here.world.clock.monotonic()

    with pytest.raises(HookError):
        here.hook.handle({"Step": "createSecret", "SecretId": ARN, "ClientRequestToken": token}, seconds)

    assert len(here.bus.entries) == 1
    assert here.world.clock.monotonic() - started <= seconds


def test_an_inactive_published_key_is_announced_by_each_audit_with_the_commands() -> None:
    world = World()
    world.iam.inactive.add(world.published_key)
    observer = Observer(world, {"triggers": {"weekly": world.rotation.id}})
    world.clock.sleep(timedelta(hours=12).total_seconds())

    for _ in range(2):
        observer.look()

    put = entries(observer.bus.entries)
    assert [(kind, detail["notify"]) for kind, detail in put] == [("Published Key Inactive", True)] * 2
    for _, detail in put:
        assert_says_how_to_reactivate(detail, world.published_key)


def test_an_audit_ends_in_time_where_the_bus_hangs() -> None:
    world = World()
    rotations = [another(world, 40).id for _ in range(100)]
    observer = Observer(world, {"triggers": {"weekly": rotations}})
    observer.bus.errors = [ConnectTimeoutError(endpoint_url="https://events")] * 10
    observer.bus.called = lambda: world.clock.sleep(10.0)
    started = world.clock.monotonic()

    assert observer.look()[Metric.OVERDUE_ROTATIONS] == len(rotations)

    assert world.clock.monotonic() - started <= EVENTS_SECONDS
    metrics = [line for line in map(json.loads, observer.logs.getvalue().splitlines()) if "_aws" in line]
    assert sum(line.get(Metric.OUTCOME_EVENTS_FAILED, [0])[0] for line in metrics) == len(rotations)


def test_a_deactivated_previous_key_is_announced_with_the_commands_that_undo_it() -> None:
    here = Retiring()

    here.run()
    here.run()

    ((kind, detail),) = entries(here.bus.entries)
    assert (kind, detail["notify"], detail["explanation"]) == (
        "Previous Key Deactivated",
        True,
        "IAM has recorded no use of it",
    )
    assert_says_how_to_reactivate(detail, here.previous)


def test_a_previous_key_in_use_is_announced_with_its_consumer() -> None:
    here = Retiring()
    here.use_previous(timedelta(days=1))

    here.run()

    ((kind, detail),) = entries(here.bus.entries)
    assert (kind, detail["notify"], detail["access_key_id"]) == ("Previous Key In Use", False, here.previous)
    assert detail["explanation"].endswith("for s3 in eu-central-1. CloudTrail names nightly-job")


def test_a_previous_key_that_is_left_is_not_announced() -> None:
    here = Retiring(10)

    here.run()

    assert here.bus.entries == []


def test_a_bus_that_denies_stops_no_deactivation_and_is_counted() -> None:
    here = Retiring()
    here.bus.errors = [denied("AccessDeniedException")]

    assert here.run()[Metric.PREVIOUS_KEY_DEACTIVATED] == 1

    assert here.world.iam.inactive == {here.previous}
    (line,) = here.lines("the outcome event could not be put")
    assert line["detail"]["access_key_id"] == here.previous


def test_a_run_about_many_keys_sends_five_messages() -> None:
    events = KeyEvents("stack", "correlation")

    put = [events.previous_key_deactivated(state(), f"AKIA{number}", HOSTILE).detail for number in range(7)]

    assert [detail["notify"] for detail in put] == [True] * 5 + [False] * 2
    assert "no more than 5 messages" in put[4]["message"]


def assert_says_how_to_reactivate(detail: dict[str, Any], key: str) -> None:
    command = f"aws iam update-access-key --user-name deployer --access-key-id {key} --status Active"
    assert (detail["access_key_id"], detail["iam_user"]) == (key, "deployer")
    assert detail["reactivate_with_aws"] == command
    assert detail["reactivate_with_make"] == f"make reactivate KEY={key} STACK=stack"
    assert command in detail["message"]


def test_an_overdue_rotation_is_announced_once_a_day() -> None:
    world = World()
    observer = Observer(world, {"triggers": {"weekly": world.rotation.id}}, maximum_age=timedelta(seconds=1))

    for _ in range(8):
        observer.look()
        world.clock.sleep(timedelta(hours=6).total_seconds())

    put = entries(observer.bus.entries)
    assert [kind for kind, _ in put] == ["Rotation Needs Attention"] * 2
    assert put[0][1]["issues"] == ["overdue", "rotates itself"]
