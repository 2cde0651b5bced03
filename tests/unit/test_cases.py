"""Inputs from public bug reports, each with the behaviour that is right here. The sources are in docs/cases.md."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rotator.mirror.value import HookError, key_in, with_key
from rotator.model import AccessKey, MappedRotation, Mirror
from rotator.timestamps import parse_timestamp
from rotator.triggers.events import UnsupportedEventError, read_trigger
from rotator.triggers.rotation_map import RotationMapError, parse_rotation_map
from tests.unit.fakes import rotation_id

NOW = datetime(2026, 11, 16, 5, 0, 10, tzinfo=UTC)
OCCURRED_AT = datetime(2026, 11, 16, 5, tzinfo=UTC)
MAP = json.dumps({"triggers": {"weekly": rotation_id(1)}})
MIRROR = Mirror(MappedRotation(rotation_id(1)))
KEY = AccessKey("AKIA0000000000000000", "not a real secret".replace(" ", "-"))
EVENT = {
    "source": "aws.events",
    "detail-type": "Scheduled Event",
    "account": "123456789012",
    "time": "2026-11-16T05:00:00Z",
    "resources": ["arn:aws:events:us-east-1:123456789012:rule/weekly"],
    "detail": {},
}


# ---- events ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"replay-name": "after-the-outage"},
        {"account": "999999999999", "resources": ["arn:aws:events:eu-west-1:999999999999:rule/shared/weekly"]},
    ],
    ids=["replayed from an archive", "forwarded from another account"],
)
def test_an_event_that_took_a_detour_names_its_trigger_and_its_own_time(changed: dict[str, object]) -> None:
    trigger = read_trigger(EVENT | changed, NOW)

    assert (trigger.name, trigger.occurred_at) == ("weekly", OCCURRED_AT)


@pytest.mark.parametrize(
    ("event", "seen"),
    [
        ({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": json.dumps(EVENT)}}]}, "'Records'"),
        ({"Records": [{"eventSource": "aws:sqs", "body": json.dumps(EVENT)}]}, "'Records'"),
        ([EVENT], "Seen: a list"),
        (json.dumps(EVENT), "Seen: a str"),
        ({"version": "2.0", "routeKey": "$default", "body": json.dumps({"trigger": "weekly"})}, "'body'"),
    ],
    ids=["SNS", "SQS", "Pipes", "encoded twice", "function URL"],
)
def test_a_wrapped_event_is_refused_and_its_wrapping_is_shown(event: object, seen: str) -> None:
    with pytest.raises(UnsupportedEventError, match="Supported") as refused:
        read_trigger(event, NOW)

    assert seen in str(refused.value)


@pytest.mark.parametrize(
    "time",
    ["2026-11-16T05:00:00.123456789Z", "2026-11-16T06:00:00.123456+01:00", "2026-11-15T21:00:00.123456-08:00"],
)
def test_a_time_with_any_fraction_and_offset_is_the_same_moment(time: str) -> None:
    assert parse_timestamp(time, "time") == OCCURRED_AT.replace(microsecond=123_456)


@pytest.mark.parametrize("time", ["2026-11-16T05:00:00", "2026-11-16", "1763269200", 1_763_269_200])
def test_a_time_that_does_not_say_its_offset_is_refused(time: object) -> None:
    """A local time taken for UTC would be hours off, and a trigger would find itself fulfilled."""
    with pytest.raises(ValueError, match=r"time must be .* such as 2026-11-22T05:00:00Z"):
        parse_timestamp(time, "time")


# ---- documents -------------------------------------------------------------------------------------------------------


def test_a_map_may_begin_with_a_byte_order_mark() -> None:
    assert parse_rotation_map("\ufeff" + MAP) == parse_rotation_map(MAP)


def test_a_map_may_have_windows_line_ends() -> None:
    assert parse_rotation_map(MAP.replace(" ", "\r\n") + "\r\n") == parse_rotation_map(MAP)


@pytest.mark.parametrize(
    "text",
    ["// nightly\n" + MAP, MAP + " // weekly", MAP.replace("}}", ",}}"), MAP.replace('"', "“"), "file://map.json"],
    ids=["comment before", "comment after", "trailing comma", "typographic quotes", "file name"],
)
def test_a_map_that_is_almost_json_is_refused_by_its_place(text: str) -> None:
    with pytest.raises(RotationMapError, match=r"line 1 column \d+"):
        parse_rotation_map(text)


def test_a_mirror_may_begin_with_a_byte_order_mark() -> None:
    assert json.loads(with_key('\ufeff{"host": "db"}', MIRROR, KEY))["host"] == "db"


@pytest.mark.parametrize("value", ["", "not JSON", '["a"]'])
def test_a_mirror_that_is_not_a_json_object_is_not_advised_to_be_emptied(value: str) -> None:
    """An empty string is what Secrets Manager shows of a binary secret."""
    with pytest.raises(HookError) as refused:
        key_in(value, MIRROR)

    assert "make it {}" not in str(refused.value)


@pytest.mark.parametrize("name", ["AccessKeyId", "access_key_id", "ACCESSKEYID"])
def test_a_mirror_with_a_misspelled_field_is_refused_by_the_field(name: str) -> None:
    """Readers would go on with the old key, and lose it at the second rotation."""
    with pytest.raises(HookError, match=f"{name}.*accessKeyIdField"):
        with_key(json.dumps({name: "AKIAOLD0000000000000", "host": "db"}), MIRROR, KEY)


# ---- the page --------------------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]


def test_the_page_of_cases_names_tests_that_exist() -> None:
    named = re.findall(r"`(tests/[^`]+)::([^`]+)`", (ROOT / "docs/cases.md").read_text("utf-8"))

    missing = [name for path, name in named if f"def {name}(" not in (ROOT / path).read_text("utf-8")]
    assert (len(named) > 20, missing) == (True, [])
