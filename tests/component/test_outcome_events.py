"""The events that dispatch, the hook and the audit put, and what dispatch does with an outcome event."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rotator.mirror.value import HookError
from rotator.triggers.events import OutcomeEventError
from rotator.triggers.rotation_map import UnmappedTriggerError
from tests.component.hook_stage import stage
from tests.component.secrets_manager import ARN
from tests.component.test_audit import Observer
from tests.component.world import World
from tests.unit.stages import DispatchStage
from tests.unit.test_outcomes import OUTCOMES, validate


def entries(events: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(entry["DetailType"], validate(entry)) for entry in events]


def test_a_refused_trigger_is_told_with_its_reason() -> None:
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


def test_a_refused_dry_run_is_not_told() -> None:
    dispatch = DispatchStage()

    with pytest.raises(UnmappedTriggerError):
        dispatch.dispatch.handle({"trigger": "nobody", "dryRun": True}, "invocation")

    assert dispatch.bus.entries == []


@pytest.mark.parametrize("path", sorted(OUTCOMES.glob("*.json")), ids=lambda path: path.stem)
def test_dispatch_refuses_an_outcome_event_and_tells_no_further_one(path: Path) -> None:
    dispatch = DispatchStage()

    with pytest.raises(OutcomeEventError, match="would rotate for ever"):
        dispatch.dispatch.handle(json.loads(path.read_text("utf-8")), "invocation")

    assert dispatch.bus.entries == []
    assert dispatch.requested == []


def test_a_mirror_that_was_rotated_is_told() -> None:
    here = stage()
    here.world.clock.sleep(timedelta(days=1).total_seconds())

    token = here.rotate()

    ((kind, detail),) = entries(here.bus.entries)
    assert (kind, detail["secret_arn"], detail["correlation_id"]) == ("Mirror Rotated", ARN, token)


def test_a_hook_step_that_failed_is_told() -> None:
    here = stage(value=lambda _: "not JSON")
    token = here.secrets.begin(None)

    with pytest.raises(HookError):
        here.step("createSecret", token)

    ((kind, detail),) = entries(here.bus.entries)
    assert (kind, detail["step"], detail["secret_arn"]) == ("Hook Step Failed", "createSecret", ARN)


def test_an_overdue_rotation_is_told_once_a_day() -> None:
    world = World()
    observer = Observer(world, {"triggers": {"weekly": world.rotation.id}}, maximum_age=timedelta(seconds=1))

    for _ in range(8):
        observer.look()
        world.clock.sleep(timedelta(hours=6).total_seconds())

    told = entries(observer.bus.entries)
    assert [kind for kind, _ in told] == ["Rotation Needs Attention"] * 2
    assert told[0][1]["issues"] == ["overdue", "rotates itself"]
