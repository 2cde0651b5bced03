"""Maps that began as good ones: each is refused whole, with a text that names the entry, or is one that makes sense."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.fields import parse_rotation_id
from rotator.model import MAXIMUM_INTERVAL, GuardOptions, MappedRotation
from rotator.triggers.rotation_map import Entry, RotationMapError, parse_rotation_map
from tests.hostile.mutations import (
    FUZZED,
    HUGE,
    LONE_SURROGATE,
    Json,
    Path,
    damaged_at,
    dotted,
    garbled,
    mutated,
    paths_of,
    with_duplicate_name,
    written,
)
from tests.hostile.readable import readable, refused_readably
from tests.unit.fakes import rotation_id
from tests.unit.stages import DispatchStage

A, B, C, D, E, F = (rotation_id(number) for number in (0xA, 0xB, 0xC, 0xD, 0xE, 0xF))
ROLE = "arn:aws:iam::210987654321:role/infisical-key-guard"
MIRROR = "arn:aws:secretsmanager:us-east-1:123456789012:secret:mirror/{}-AbCdEf"
VALID: Json = {
    "$schema": "functions/rotator/rotation-map.schema.json",
    "triggers": {
        "weekly": {"project": "payments", "environment": "prod", "path": "/", "keyGuard": {"gracePeriod": "2 days"}},
        "monthly": [
            A,
            {"id": B, "type": "postgres-credentials", "minimumInterval": "6 days", "maximumAge": "40 days"},
            {"id": C, "keyGuard": {"role": ROLE, "externalId": "payments-1"}},
            {"project": "payments", "type": "mysql-credentials", "atLeast": 2},
            {"project": "payments", "type": "ldap-password", "singlePhase": True},
        ],
        "daily": {"id": D, "keyGuard": False},
    },
    "mirrors": {
        MIRROR.format("deployer"): E,
        MIRROR.format("uploader"): {
            "id": F,
            "accessKeyIdField": "AWS_ACCESS_KEY_ID",
            "secretAccessKeyField": "AWS_SECRET_ACCESS_KEY",
            "maximumAge": "8 days",
            "keyGuard": {"role": ROLE},
        },
    },
}
TEXT = json.dumps(VALID)
SPOILED = mutated(VALID).map(json.dumps) | garbled(TEXT)


def makes_sense(entry: Entry) -> bool:
    guard = entry.options.guard or GuardOptions()
    durations = [entry.options.minimum_interval, entry.options.maximum_age, guard.grace_period]
    return (
        all(each is None or timedelta() < each <= MAXIMUM_INTERVAL for each in durations)
        and (guard.role is None or ":role/" in guard.role)
        and (guard.external_id is None or guard.role is not None)
        and (isinstance(entry, MappedRotation) or entry.at_least >= 1)
        and re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", entry.type) is not None
        and (parse_rotation_id(entry.id, "") == entry.id if isinstance(entry, MappedRotation) else entry.project != "")
    )


def is_refused_or_makes_sense(text: str) -> None:
    with refused_readably() as refusal:
        rotation_map = parse_rotation_map(text)
    if refusal.text:
        assert refusal.text.startswith("the rotation map is ")
    else:
        assert [entry for entries in rotation_map.groups() for entry in entries if not makes_sense(entry)] == []


@pytest.mark.parametrize("path", paths_of(VALID), ids=dotted)
def test_a_map_with_one_part_damaged_is_refused_readably_or_makes_sense(path: Path) -> None:
    for damaged in damaged_at(VALID, path):
        is_refused_or_makes_sense(json.dumps(damaged))


@FUZZED
@given(SPOILED)
def test_a_mutated_map_is_refused_readably_or_makes_sense(text: str) -> None:
    is_refused_or_makes_sense(text)


@FUZZED
@given(SPOILED)
def test_a_refused_map_sends_nothing_and_a_corrected_one_counts_at_once(text: str) -> None:
    here = DispatchStage(text=text)

    with refused_readably() as refusal:
        here.dispatch.handle({"trigger": "daily"}, "correlation")

    sent = here.requested
    here.text = TEXT
    here.dispatch.handle({"trigger": "daily"}, "correlation")
    assert sent == [] if refusal.text else sent != []
    assert here.requested == [*sent, D]


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("name", ["triggers", "monthly", "id", "type", "keyGuard", "mirrors"])
def test_a_name_that_occurs_twice_is_refused_wherever_it_is(name: str, last: bool) -> None:  # noqa: FBT001 - a parameter
    with pytest.raises(RotationMapError, match=f"'{name}' occurs twice in one object"):
        parse_rotation_map(with_duplicate_name(TEXT, name, B, last=last))


@pytest.mark.parametrize(
    "triggers",
    [
        {"weekly": {"id": A, "type": HUGE, "keyGuard": {}}},
        {"weekly": {"id": A, "type": "x" * 2000, "keyGuard": False}},
        {"weekly": [A, A], "x" * 256: A},
        {LONE_SURROGATE: [A, A]},
        {LONE_SURROGATE: {"id": "x"}},
        {LONE_SURROGATE: {"id": A, "type": "mysql-credentials", "keyGuard": {}}},
    ],
    ids=["huge type", "long type", "twice", "half a name, twice", "half a name, wrong", "half a name, no keys"],
)
def test_a_refusal_of_a_map_is_short_and_can_be_written(triggers: Json) -> None:
    with pytest.raises(RotationMapError) as refused:
        parse_rotation_map(json.dumps({"triggers": triggers}))

    readable(str(refused.value))


def test_a_refusal_of_an_unmapped_trigger_can_always_be_written() -> None:
    here = DispatchStage(triggers={LONE_SURROGATE: A})

    with refused_readably() as refusal:
        here.dispatch.handle({"trigger": "weekly"}, "correlation")

    assert refusal.text


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_map_that_was_saved_in_another_encoding_is_refused_readably(encoding: str) -> None:
    text = json.dumps({**VALID, "$schema": "Schlüssel"}, ensure_ascii=False).encode(encoding).decode("utf-8", "replace")

    with refused_readably() as refusal:
        parse_rotation_map(text)

    assert refusal.text.startswith("the rotation map is not valid JSON: ") or encoding == "latin-1"


@FUZZED
@given(st.recursive(st.none() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3), max_leaves=5))
def test_json_that_is_not_a_map_is_refused_readably(value: Any) -> None:  # noqa: ANN401 - JSON
    with pytest.raises(RotationMapError) as refused:
        parse_rotation_map(written(value).decode())

    readable(str(refused.value))
