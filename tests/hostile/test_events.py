"""Events that began as good ones: `dispatch` sends what the map says for the trigger that they name, or nothing."""

import json
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.timestamps import parse_timestamp
from rotator.triggers.events import Trigger, read_trigger
from tests.hostile.mutations import FUZZED, LONE_SURROGATE, Json, damaged_at, mutated, paths_of
from tests.hostile.readable import readable, refused_readably
from tests.unit.fakes import NOW, FakeInfisical, described, rotation_id
from tests.unit.stages import DispatchStage

A, B, C = (rotation_id(number) for number in (0xA, 0xB, 0xC))
DIRECT = {
    "trigger": "weekly",
    "occurredAt": "2026-11-22T04:00:00Z",
    "only": [A],
    "force": True,
    "dryRun": True,
}
SAMPLES: dict[str, Json] = {
    path.stem: json.loads(path.read_text()) for path in (Path(__file__).parents[2] / "events").glob("*.json")
} | {"direct-options": DIRECT, "direct-forced": {**DIRECT, "dryRun": False}}
STANDS_FOR = {"weekly": [A, B], "payments/deployer": [C]}
TRIGGERS: dict[str, Json] = {"weekly": [A, {"id": B, "minimumInterval": "2 hours"}], "payments/deployer": [C]}
GOOD = {"trigger": "weekly"}


def stage() -> DispatchStage:
    return DispatchStage(triggers=TRIGGERS, infisical=FakeInfisical(*(described(number) for number in (0xA, 0xB, 0xC))))


def dispatched(here: DispatchStage, event: object) -> Json:
    """What Lambda writes of the answer, None where the event was refused readably."""
    with refused_readably() as refusal:
        answer = here.dispatch.handle(event, "correlation")
    if refusal.text:
        return None
    return json.loads(json.dumps(answer, ensure_ascii=False).encode())


@FUZZED
@given(st.sampled_from(sorted(SAMPLES)).flatmap(lambda name: mutated(SAMPLES[name])))
def test_a_mutated_event_is_refused_readably_or_requests_what_the_map_says(
    event: Json,
) -> None:
    here = stage()

    answer = dispatched(here, event)

    bodies, asked = here.sqs.bodies, here.infisical.asked
    if answer is None or answer.get("dry_run"):
        assert bodies == []
    else:
        wanted = STANDS_FOR["payments/deployer" if "payments/deployer" in answer["trigger"] else answer["trigger"]]
        chosen = event.get("only", wanted)
        assert [body["rotationId"] for body in bodies] == [each for each in wanted if each in str(chosen).lower()]
        assert {body.get("forced", False) for body in bodies} <= {False, event.get("force", False)}
        assert all(parse_timestamp(body["occurredAt"], "") <= NOW + timedelta(minutes=5) for body in bodies)
    assert [each for each in asked if not each.startswith("GET ")] == []
    assert dispatched(here, GOOD)["requests"] == 2


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_an_event_with_one_part_damaged_is_refused_or_means_what_it_says(name: str) -> None:
    for path in paths_of(SAMPLES[name]):
        for event in damaged_at(SAMPLES[name], path):
            with refused_readably() as refusal:
                trigger = read_trigger(event, NOW)
            if not refusal.text:
                means_what_it_says(trigger, event)


def means_what_it_says(trigger: Trigger, event: Json) -> None:
    is_direct = "detail-type" not in event
    chosen: Json = event.get("only")
    assert trigger.occurred_at <= NOW + timedelta(minutes=5)
    assert trigger.forced is (event.get("force") is True)
    assert trigger.dry_run is (event.get("dryRun") is True)
    assert {event.get("force", False), event.get("dryRun", False)} <= {True, False}
    assert not trigger.forced or (is_direct and "occurredAt" in event)
    assert (trigger.only is None) is ("only" not in event)
    assert trigger.only is None or (trigger.only and trigger.only == {str(UUID(each)) for each in chosen})


@pytest.mark.parametrize(
    "mutations",
    [{"name": LONE_SURROGATE}, {"rotationStatus": "failed", "lastRotationMessage": LONE_SURROGATE}],
    ids=["name", "message"],
)
def test_a_dry_run_with_a_lone_surrogate_can_be_written_by_lambda(
    mutations: dict[str, object],
) -> None:
    later = {"type": "mysql-credentials", "lastRotationAttemptedAt": "2026-11-20T05:00:00.000Z"}
    told = json.dumps({"secretRotation": described(0xA, **later, **mutations)}).encode()
    infisical = FakeInfisical(disturb=lambda _: httpx.Response(200, content=told))
    here = DispatchStage(triggers={"weekly": {"id": A, "type": "mysql-credentials"}}, infisical=infisical)

    answer = here.dispatch.handle({**GOOD, "dryRun": True}, "correlation")

    readable(json.dumps(answer, ensure_ascii=False))


@pytest.mark.parametrize("field", ["error", "message"])
def test_a_refusal_with_a_lone_surrogate_can_be_written_by_lambda(field: str) -> None:
    answer = {"error": "Forbidden", "message": "no", field: LONE_SURROGATE}
    infisical = FakeInfisical(disturb=lambda _: httpx.Response(403, content=json.dumps(answer).encode()))
    here = DispatchStage(triggers={"weekly": {"project": "payments"}}, infisical=infisical)

    assert dispatched(here, GOOD) is None
