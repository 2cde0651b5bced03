import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from rotator.model import DEFAULT_TYPE, GuardOptions, MappedRotation, RotationOptions, Selector
from rotator.triggers.rotation_map import (
    SCHEMA,
    SINGLE_PHASE,
    Entry,
    RotationMapError,
    UnmappedSecretError,
    UnmappedTriggerError,
    parse_rotation_map,
)
from tests.unit.fakes import rotation_id

A, B, C = rotation_id(0xA), rotation_id(0xB), rotation_id(0xC)


def map_of(**triggers: object) -> str:
    return json.dumps({"triggers": triggers})


def weekly(value: object) -> tuple[Entry, ...]:
    return parse_rotation_map(map_of(weekly=value)).entries_of("weekly")


def refusal(text: str) -> str:
    with pytest.raises(RotationMapError) as refused:
        parse_rotation_map(text)
    return str(refused.value)


# ---- what a trigger may stand for ------------------------------------------------------------------------------------


def test_an_id_is_one_rotation_of_the_default_type() -> None:
    assert weekly(A) == (MappedRotation(A, DEFAULT_TYPE),)


def test_a_list_is_several_rotations_in_its_order() -> None:
    assert weekly([B, A, C]) == (MappedRotation(B), MappedRotation(A), MappedRotation(C))


def test_an_object_may_name_a_type() -> None:
    assert weekly({"id": A, "type": "postgres-credentials"}) == (MappedRotation(A, "postgres-credentials"),)


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("1 minute", timedelta(minutes=1)),
        ("30 minutes", timedelta(minutes=30)),
        ("1 hour", timedelta(hours=1)),
        ("6 hours", timedelta(hours=6)),
        ("1 day", timedelta(days=1)),
        ("6 days", timedelta(days=6)),
        ("9999 days", timedelta(days=9999)),
    ],
)
def test_an_object_may_name_a_minimum_interval(text: str, interval: timedelta) -> None:
    assert weekly({"id": A, "minimumInterval": text}) == (MappedRotation(A, DEFAULT_TYPE, RotationOptions(interval)),)


def test_ids_and_objects_may_be_mixed() -> None:
    assert weekly([A, {"id": B, "type": "mysql-credentials"}]) == (
        MappedRotation(A),
        MappedRotation(B, "mysql-credentials"),
    )


def test_a_selector_may_name_a_project_alone() -> None:
    assert weekly({"project": "8f0d2a4e"}) == (Selector("8f0d2a4e", None, None, DEFAULT_TYPE),)


def test_a_selector_may_say_all_that_it_selects_by() -> None:
    selector = {
        "project": "8f0d2a4e",
        "environment": "prod",
        "path": "/payments",
        "type": "postgres-credentials",
        "minimumInterval": "6 days",
    }

    assert weekly(selector) == (
        Selector("8f0d2a4e", "prod", "/payments", "postgres-credentials", RotationOptions(timedelta(days=6))),
    )


@pytest.mark.parametrize(
    ("written", "folder"),
    [
        ("/payments/", "/payments"),
        ("//payments", "/payments"),
        ("/payments//eu/", "/payments/eu"),
        ("/", "/"),
        ("//", "/"),
        ("/payments", "/payments"),
        ("/ payments", "/ payments"),
    ],
)
def test_a_folder_may_be_written_with_more_slashes(written: str, folder: str) -> None:
    assert weekly({"project": "p", "path": written}) == (Selector("p", path=folder),)


def test_a_selector_may_say_how_many_rotations_it_matches_at_least() -> None:
    assert weekly({"project": "p", "atLeast": 3}) == (Selector("p", at_least=3),)


@pytest.mark.parametrize("value", [0, -1, 1.5, "3", None, True])
def test_at_least_must_be_a_number_of_rotations(value: object) -> None:
    assert refusal(map_of(weekly={"project": "p", "atLeast": value})).startswith(
        "the rotation map is wrong: triggers.weekly.atLeast must be "
    )


def test_selectors_may_stand_beside_ids_and_objects_in_their_order() -> None:
    assert weekly([A, {"project": "p"}, {"id": B}, {"project": "p", "path": "/"}]) == (
        MappedRotation(A),
        Selector("p"),
        MappedRotation(B),
        Selector("p", path="/"),
    )


def test_a_project_is_named_as_infisical_spells_it() -> None:
    assert weekly({"project": "8F0D-2a4e"}) == (Selector("8F0D-2a4e"),)


@pytest.mark.parametrize("value", [A.upper(), [A.upper()], {"id": A.upper()}], ids=["id", "list", "object"])
def test_an_upper_case_id_is_the_same_rotation(value: object) -> None:
    assert weekly(value) == (MappedRotation(A),)


def test_triggers_may_share_a_rotation() -> None:
    rotation_map = parse_rotation_map(map_of(weekly=A, leaver=A))

    assert rotation_map.entries_of("weekly") == rotation_map.entries_of("leaver") == (MappedRotation(A),)


def test_the_map_may_say_where_its_schema_is() -> None:
    text = json.dumps({"$schema": "https://example.com/rotation-map.schema.json", "triggers": {"weekly": A}})

    assert parse_rotation_map(text).triggers == {"weekly": (MappedRotation(A),)}


@pytest.mark.parametrize("name", ["{", "{0}", "%s", "a.b[0]", "'", '"', "\\", "$ref", "__proto__", "п", "x" * 256])
def test_a_trigger_may_have_any_name(name: str) -> None:
    assert parse_rotation_map(map_of(**{name: A})).entries_of(name) == (MappedRotation(A),)


# ---- what is refused, whole ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "entry", "reason"),
    [
        ("", "triggers.weekly", "must match pattern ^[0-9a-fA-F]{8}"),
        ("payments", "triggers.weekly", "must match pattern ^[0-9a-fA-F]{8}"),
        (A.replace("-", ""), "triggers.weekly", "must match pattern ^[0-9a-fA-F]{8}"),
        ("{" + A + "}", "triggers.weekly", "must match pattern ^[0-9a-fA-F]{8}"),
        (f"urn:uuid:{A}", "triggers.weekly", "must match pattern ^[0-9a-fA-F]{8}"),
        (f"{A}\n", "triggers.weekly", "must match pattern ^[0-9a-fA-F]{8}"),
        (f" {A}", "triggers.weekly", "must match pattern ^[0-9a-fA-F]{8}"),
        (f"{A}/../x", "triggers.weekly", "must match pattern ^[0-9a-fA-F]{8}"),
        (A.replace("a", "\u0661"), "triggers.weekly", "must match pattern ^[0-9a-fA-F]{8}"),
        (None, "triggers.weekly", "must be string"),
        (7, "triggers.weekly", "must be string"),
        (True, "triggers.weekly", "must be string"),
        ([], "triggers.weekly", "must contain at least 1 items"),
        ([A, "payments"], "triggers.weekly[1]", "must match pattern ^[0-9a-fA-F]{8}"),
        ([A, None], "triggers.weekly[1]", "must be string"),
        ([[A]], "triggers.weekly[0]", "must be string"),
        ([A, B, A], "triggers.weekly[2]", f"names rotation {A} again"),
        ([A, A.upper()], "triggers.weekly[1]", f"names rotation {A} again"),
        ([A, {"id": A, "type": "mysql-credentials"}], "triggers.weekly[1]", f"names rotation {A} again"),
        ({}, "triggers.weekly", "must contain ['id'] properties"),
        ({"type": "mysql-credentials"}, "triggers.weekly", "must contain ['id'] properties"),
        ({"id": "payments"}, "triggers.weekly.id", "must match pattern ^[0-9a-fA-F]{8}"),
        ({"id": [A]}, "triggers.weekly.id", "must be string"),
        ({"id": A, "force": True}, "triggers.weekly", "must not contain {'force'} properties"),
        ([A, {"id": B, "Type": "x"}], "triggers.weekly[1]", "must not contain {'Type'} properties"),
        ({"id": A, "type": "../x"}, "triggers.weekly.type", "must match pattern ^[a-z0-9]+"),
        ({"id": A, "type": "AWS"}, "triggers.weekly.type", "must match pattern ^[a-z0-9]+"),
        ({"id": A, "type": ""}, "triggers.weekly.type", "must match pattern ^[a-z0-9]+"),
        ({"id": A, "type": "mysql\n"}, "triggers.weekly.type", "must match pattern ^[a-z0-9]+"),
        ({"id": A, "type": None}, "triggers.weekly.type", "must be string"),
        ({"id": A, "minimumInterval": 60}, "triggers.weekly.minimumInterval", "must be string"),
        ({"id": A, "minimumInterval": None}, "triggers.weekly.minimumInterval", "must be string"),
        ({"environment": "prod"}, "triggers.weekly", "must contain ['id'] properties"),
        ({"id": A, "environment": "prod"}, "triggers.weekly", "must not contain {'environment'} properties"),
        ({"id": A, "project": "p"}, "triggers.weekly", "must not contain {'id'} properties"),
        ([A, {"project": "p", "force": True}], "triggers.weekly[1]", "must not contain {'force'} properties"),
        ({"project": "p", "Path": "/"}, "triggers.weekly", "must not contain {'Path'} properties"),
        ({"project": None}, "triggers.weekly.project", "must be string"),
        ({"project": ["p"]}, "triggers.weekly.project", "must be string"),
        ({"project": ""}, "triggers.weekly.project", "must match pattern ^[0-9a-zA-Z-]{1,64}$"),
        ({"project": "p/q"}, "triggers.weekly.project", "must match pattern ^[0-9a-zA-Z-]{1,64}$"),
        ({"project": "p&type=x"}, "triggers.weekly.project", "must match pattern ^[0-9a-zA-Z-]{1,64}$"),
        ({"project": "p\n"}, "triggers.weekly.project", "must match pattern ^[0-9a-zA-Z-]{1,64}$"),
        ({"project": "p" * 65}, "triggers.weekly.project", "must match pattern ^[0-9a-zA-Z-]{1,64}$"),
        ({"project": "p", "environment": ""}, "triggers.weekly.environment", "must be longer than or equal to 1"),
        ({"project": "p", "environment": None}, "triggers.weekly.environment", "must be string"),
        ({"project": "p", "path": "payments"}, "triggers.weekly.path", "must match pattern ^/"),
        ({"project": "p", "path": ""}, "triggers.weekly.path", "must match pattern ^/"),
        ({"project": "p", "path": None}, "triggers.weekly.path", "must be string"),
        ({"project": "p", "type": "../x"}, "triggers.weekly.type", "must match pattern ^[a-z0-9]+"),
        ({"project": "p", "minimumInterval": 60}, "triggers.weekly.minimumInterval", "must be string"),
    ],
    ids=repr,
)
def test_a_wrong_value_of_a_trigger_is_refused_by_its_entry(value: object, entry: str, reason: str) -> None:
    text = refusal(map_of(yearly=B, weekly=value, daily=C))

    assert text.startswith(f"the rotation map is wrong: {entry} {reason}")


@pytest.mark.parametrize("entry", [{"id": A}, {"project": "p"}], ids=["rotation", "selector"])
@pytest.mark.parametrize(
    "interval",
    [
        "",
        "0 days",
        "01 days",
        "-1 days",
        "+1 days",
        "1.5 hours",
        "6",
        "days",
        "6days",
        "6  days",
        "6\tdays",
        " 6 days",
        "6 days ",
        "6 days\n",
        "6 Days",
        "6 weeks",
        "6 seconds",
        "6 d",
        "10000 days",
        "1 day 6 hours",
        "P6D",
        "\u0666 days",
    ],
    ids=repr,
)
def test_an_interval_in_another_notation_is_refused(entry: dict[str, str], interval: str) -> None:
    text = refusal(map_of(weekly={**entry, "minimumInterval": interval}))

    assert text.startswith("the rotation map is wrong: triggers.weekly.minimumInterval must match pattern")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (None, "the map must be object"),
        ([], "the map must be object"),
        ("weekly", "the map must be object"),
        (7, "the map must be object"),
        ({}, "the map must contain ['triggers'] properties"),
        ({"weekly": A}, "the map must contain ['triggers'] properties"),
        ({"triggers": {"weekly": A}, "selectors": {}}, "the map must not contain {'selectors'} properties"),
        ({"$schema": 7, "triggers": {"weekly": A}}, "$schema must be string"),
        ({"triggers": None}, "triggers must be object"),
        ({"triggers": [A]}, "triggers must be object"),
        ({"triggers": A}, "triggers must be object"),
        ({"triggers": {"": A}}, "triggers must not contain"),
        ({"triggers": {"x" * 257: A}}, "triggers must not contain"),
    ],
    ids=repr,
)
def test_a_document_of_another_shape_is_refused(document: object, reason: str) -> None:
    assert refusal(json.dumps(document)).startswith(f"the rotation map is wrong: {reason}")


@pytest.mark.parametrize("text", ["", " ", "{", "weekly", "{'triggers': {}}", f'{{"triggers": {{"weekly": "{A}"}},}}'])
def test_invalid_json_is_refused_by_its_place(text: str) -> None:
    assert "line 1 column" in refusal(text).removeprefix("the rotation map is not valid JSON: ")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f'{{"triggers": {{"weekly": "{A}", "daily": "{C}", "weekly": "{B}"}}}}', "weekly"),
        (f'{{"triggers": {{"weekly": "{A}", "weekly": "{A}"}}}}', "weekly"),
        (f'{{"triggers": {{"weekly": "{A}", "\\u0077eekly": "{B}"}}}}', "weekly"),
        (f'{{"triggers": {{"weekly": {{"id": "{A}", "id": "{B}"}}}}}}', "id"),
        (f'{{"triggers": {{"weekly": "{A}"}}, "triggers": {{"weekly": "{B}"}}}}', "triggers"),
    ],
)
def test_a_name_that_occurs_twice_in_the_text_is_refused(text: str, name: str) -> None:
    assert refusal(text) == f"the rotation map is wrong: '{name}' occurs twice in one object"


@pytest.mark.parametrize(
    "text",
    [
        "x" * 100_000,
        map_of(**{"x" * 100_000: A}),
        map_of(weekly="x" * 100_000),
        map_of(weekly={"id": A, "x" * 100_000: 1}),
        map_of(weekly={"project": "x" * 100_000}),
        map_of(weekly={f"field-{number}": 1 for number in range(999)} | {"id": A}),
        '{"triggers": {' + f'"{"x" * 100_000}": 1,' * 2 + '"weekly": 1}}',
    ],
    ids=["text", "trigger", "id", "property", "project", "properties", "twice"],
)
def test_a_huge_wrong_map_is_refused_in_a_text_that_a_log_can_hold(text: str) -> None:
    assert len(refusal(text)) < 1000


# ---- the key guard ---------------------------------------------------------------------------------------------------

ROLE = "arn:aws:iam::123456789012:role/guards/key-guard"
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:mirror-AbCdEf"
LONGEST_ROLE = "arn:aws:iam::123456789012:role/".ljust(2048, "x")
OPTIONS = [
    (False, None),
    ({}, GuardOptions()),
    ({"role": ROLE}, GuardOptions(ROLE)),
    ({"role": "arn:aws-us-gov:iam::123456789012:role/x"}, GuardOptions("arn:aws-us-gov:iam::123456789012:role/x")),
    ({"gracePeriod": "1 hour"}, GuardOptions(grace_period=timedelta(hours=1))),
    ({"role": ROLE, "gracePeriod": "2 days"}, GuardOptions(ROLE, timedelta(days=2))),
    ({"role": ROLE, "externalId": "Payments_1+=,.@:/-"}, GuardOptions(ROLE, external_id="Payments_1+=,.@:/-")),
    ({"role": LONGEST_ROLE}, GuardOptions(LONGEST_ROLE)),
]


def with_guard(where: str, key_guard: object) -> str:
    """A map with this keyGuard at one of the places where it may stand."""
    return {
        "rotation": map_of(weekly=[B, {"id": A, "keyGuard": key_guard}]),
        "selector": map_of(weekly=[B, {"project": "p", "keyGuard": key_guard}]),
        "mirror": json.dumps({"triggers": {}, "mirrors": {ARN: {"id": A, "keyGuard": key_guard}}}),
    }[where]


def guard_in(where: str, text: str) -> GuardOptions | None:
    rotation_map = parse_rotation_map(text)
    return (
        rotation_map.mirror_of(ARN).rotation.options.guard
        if where == "mirror"
        else rotation_map.entries_of("weekly")[-1].options.guard
    )


EACH_PLACE = pytest.mark.parametrize("where", ["rotation", "selector", "mirror"])


def test_a_mirror_may_have_an_interval_and_an_age_of_its_own() -> None:
    value = {"id": A, "minimumInterval": "6 days", "maximumAge": "40 days"}

    rotation = parse_rotation_map(json.dumps({"triggers": {}, "mirrors": {ARN: value}})).mirror_of(ARN).rotation

    assert rotation == MappedRotation(
        A, options=RotationOptions(minimum_interval=timedelta(days=6), maximum_age=timedelta(days=40))
    )


@EACH_PLACE
@pytest.mark.parametrize(("key_guard", "options"), OPTIONS, ids=repr)
def test_every_entry_may_set_key_guard_options(where: str, key_guard: object, options: GuardOptions | None) -> None:
    assert guard_in(where, with_guard(where, key_guard)) == options


@pytest.mark.parametrize("value", [A, {"id": A}, {"project": "p"}, {"id": A, "type": "mysql-credentials"}], ids=repr)
def test_an_entry_that_says_nothing_of_the_key_guard_is_the_stacks(value: object) -> None:
    (entry,) = weekly(value)

    assert entry.options.guard == GuardOptions()


@pytest.mark.parametrize("value", [A, {"id": A}], ids=repr)
def test_a_mirror_that_says_nothing_of_the_key_guard_is_the_stacks(value: object) -> None:
    rotation_map = parse_rotation_map(json.dumps({"triggers": {}, "mirrors": {ARN: value}}))

    assert rotation_map.mirror_of(ARN).rotation.options.guard == GuardOptions()


@EACH_PLACE
@pytest.mark.parametrize(
    ("key_guard", "field", "reason"),
    [
        (True, "", "must be "),
        (None, "", "must be "),
        (0, "", "must be "),
        ("off", "", "must be "),
        ([], "", "must be "),
        ({"role": None}, ".role", "must be string"),
        ({"role": ""}, ".role", "must match pattern ^arn:"),
        ({"role": "key-guard"}, ".role", "must match pattern ^arn:"),
        ({"role": "arn:aws:iam::123456789012:user/key-guard"}, ".role", "must match pattern ^arn:"),
        ({"role": "arn:aws:iam::12345678901:role/key-guard"}, ".role", "must match pattern ^arn:"),
        ({"role": "arn:aws:iam::*:role/key-guard"}, ".role", "must match pattern ^arn:"),
        ({"role": "arn:aws:sts::123456789012:assumed-role/a/b"}, ".role", "must match pattern ^arn:"),
        ({"role": "arn:aws:iam::123456789012:role/"}, ".role", "must match pattern ^arn:"),
        ({"role": LONGEST_ROLE + "x"}, ".role", "must be shorter than or equal to 2048 characters"),
        ({"externalId": "payments"}, "", "missing dependency role for externalId"),
        ({"role": ROLE, "externalId": "p"}, ".externalId", "must be longer than or equal to 2 characters"),
        ({"role": ROLE, "externalId": "p" * 1225}, ".externalId", "must be shorter than or equal to 1224 characters"),
        ({"role": ROLE, "externalId": "two words"}, ".externalId", "must match pattern"),
        ({"role": ROLE, "externalId": 7}, ".externalId", "must be string"),
        ({"role": f" {ROLE}"}, ".role", "must match pattern ^arn:"),
        ({"role": f"{ROLE}\n"}, ".role", "must match pattern ^arn:"),
        ({"gracePeriod": 6}, ".gracePeriod", "must be string"),
        ({"gracePeriod": None}, ".gracePeriod", "must be string"),
        ({"gracePeriod": "6"}, ".gracePeriod", "must match pattern ^[1-9]"),
        ({"gracePeriod": "0 hours"}, ".gracePeriod", "must match pattern ^[1-9]"),
        ({"gracePeriod": "2 weeks"}, ".gracePeriod", "must match pattern ^[1-9]"),
        ({"gracePeriod": "6 hours\n"}, ".gracePeriod", "must match pattern ^[1-9]"),
        ({"Role": ROLE}, "", "must not contain {'Role'} properties"),
        ({"enabled": True}, "", "must not contain {'enabled'} properties"),
        ({"role": ROLE, "force": True}, "", "must not contain {'force'} properties"),
    ],
    ids=repr,
)
def test_a_wrong_key_guard_is_refused_by_its_entry(where: str, key_guard: object, field: str, reason: str) -> None:
    place = f"mirrors.{ARN}" if where == "mirror" else "triggers.weekly[1]"

    text = refusal(with_guard(where, key_guard))

    assert text.startswith(f"the rotation map is wrong: {place}.keyGuard{field} {reason}")


@pytest.mark.parametrize("named", [{"id": A}, {"project": "p"}], ids=["rotation", "selector"])
@pytest.mark.parametrize("key_guard", [False, {}, {"role": ROLE}], ids=repr)
def test_a_key_guard_of_what_has_no_keys_in_iam_is_refused_by_its_entry(
    named: dict[str, str], key_guard: object
) -> None:
    entry = {**named, "type": "postgres-credentials", "keyGuard": key_guard}

    text = refusal(map_of(weekly=[B, entry]))

    assert text.startswith("the rotation map is wrong: triggers.weekly[1]")
    assert "keyGuard is for rotations of aws-iam-user-secret, not of postgres-credentials" in text


@pytest.mark.parametrize("named", [{"id": A}, {"project": "p"}], ids=["rotation", "selector"])
def test_a_key_guard_beside_the_default_type_is_accepted(named: dict[str, str]) -> None:
    (entry,) = weekly({**named, "type": DEFAULT_TYPE, "keyGuard": False})

    assert entry.options.guard is None


# ---- looking up ------------------------------------------------------------------------------------------------------


def test_an_unmapped_trigger_is_an_error_that_names_the_mapped_ones() -> None:
    rotation_map = parse_rotation_map(map_of(weekly=A, daily=B))

    with pytest.raises(
        UnmappedTriggerError, match=r"^the rotation map has no trigger 'Weekly'; it has: daily, weekly\."
    ):
        rotation_map.entries_of("Weekly")


def test_an_unmapped_trigger_is_an_error_that_a_log_can_hold() -> None:
    rotation_map = parse_rotation_map(map_of(**{f"{number:0256}": A for number in range(99)}))

    with pytest.raises(UnmappedTriggerError) as refused:
        rotation_map.entries_of("x" * 100_000)

    assert len(str(refused.value)) < 1000


# ---- the published schema --------------------------------------------------------------------------------------------

PUBLISHED = json.loads(SCHEMA.read_text("utf-8"))


def as_editors_read_it(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """Say in Python's regular expressions what JSON Schema's `$` means: the end, not the last line end before it."""
    if isinstance(schema, list):
        return [as_editors_read_it(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {name: as_editors_read_it(value) for name, value in schema.items()}
    return converted | ({"pattern": schema["pattern"].replace("$", r"\Z")} if "pattern" in schema else {})


EDITOR = Draft7Validator(as_editors_read_it(PUBLISHED))


def test_the_published_schema_is_a_draft_07_schema() -> None:
    assert PUBLISHED["$schema"] == "http://json-schema.org/draft-07/schema#"
    Draft7Validator.check_schema(PUBLISHED)


IDS = st.uuids().map(str) | st.uuids().map(lambda value: str(value).upper())
TYPES = st.from_regex(r"[a-z0-9]{1,5}(-[a-z0-9]{1,5}){0,3}", fullmatch=True)
DURATIONS = st.builds(
    "{} {}".format, st.integers(1, 9999), st.sampled_from(["minute", "minutes", "hour", "hours", "day", "days"])
)
ROLES = st.from_regex(r"arn:aws:iam::[0-9]{12}:role/[a-z/]{1,9}", fullmatch=True)
GUARDS = st.just(False) | st.fixed_dictionaries({}, optional={"role": ROLES, "gracePeriod": DURATIONS})  # noqa: FBT003 - JSON
ROTATIONS = (
    IDS
    | st.fixed_dictionaries({"id": IDS}, optional={"type": TYPES, "minimumInterval": DURATIONS})
    | st.fixed_dictionaries({"id": IDS}, optional={"type": st.just(DEFAULT_TYPE), "keyGuard": GUARDS})
)
PROJECTS = st.uuids().map(str) | st.from_regex(r"[0-9a-zA-Z-]{1,64}", fullmatch=True)
PATHS = st.text(max_size=9).map(lambda path: f"/{path}")
SELECTORS = st.fixed_dictionaries(
    {"project": PROJECTS},
    optional={
        "environment": st.text(min_size=1),
        "path": PATHS,
        "type": TYPES,
        "minimumInterval": DURATIONS,
        "atLeast": st.integers(1, 9),
    },
)
ENTRIES = ROTATIONS | SELECTORS | st.fixed_dictionaries({"project": PROJECTS, "keyGuard": GUARDS})
NAMES = st.text(min_size=1, max_size=256)
MAPS = st.fixed_dictionaries(
    {"triggers": st.dictionaries(NAMES, ENTRIES | st.lists(ENTRIES, min_size=1, max_size=3), min_size=1, max_size=4)},
    optional={"$schema": st.text()},
)

# One part in several is wrong, or merely unusual.
ODD = st.sampled_from(
    [None, True, 0, 1.5, "", "x", [], {}, A, f"{A}\n", A[1:], f"{A}0", [A, "x"], {"id": A}, {"project": "p"}]
)
ODD_TYPES = st.sampled_from(["", "A", "a--b", "-a", "a-", "a\n", "../x", "é"]) | ODD
ODD_DURATIONS = st.sampled_from(["0 days", "01 day", "10000 days", "1 week", "1 day\n", "1  day", "\u0661 day"]) | ODD
ODD_GUARDS = ODD | st.fixed_dictionaries(
    {},
    optional={
        "role": ROLES | st.sampled_from(["arn:aws:iam::1:role/x", "arn:aws:iam::123456789012:role/x\n"]) | ODD,
        "gracePeriod": DURATIONS | ODD_DURATIONS,
        "externalId": st.sampled_from(["payments", "p", "two words", "p" * 1225]) | ODD,
        "grace": DURATIONS,
    },
)
ODD_PROJECTS = st.sampled_from(["", "p\n", "p/q", "p?", "x" * 64, "x" * 65, "\u0661"]) | ODD
ODD_ENTRIES = ODD | st.fixed_dictionaries(
    {},
    optional={
        "id": IDS | ODD,
        "type": TYPES | ODD_TYPES,
        "minimumInterval": DURATIONS | ODD_DURATIONS,
        "project": PROJECTS | ODD_PROJECTS,
        "environment": ODD,
        "path": PATHS | ODD,
        "atLeast": ODD,
        "keyGuard": GUARDS | ODD_GUARDS,
    },
)
ODD_MAPS = st.fixed_dictionaries(
    {},
    optional={
        "triggers": ODD
        | st.dictionaries(
            NAMES | st.sampled_from(["", "x" * 256, "x" * 257]),
            ENTRIES | ODD_ENTRIES | st.lists(ENTRIES | ODD_ENTRIES, max_size=3),
            max_size=3,
        ),
        "$schema": st.text() | ODD,
        "mirrors": ODD,
    },
)


def named(entry: Any) -> str:  # noqa: ANN401 - JSON
    """The rotation or project that a valid entry names."""
    if isinstance(entry, str):
        return entry.lower()
    return entry["id"].lower() if "id" in entry else f"project {entry['project']}"


def guards_what_has_no_keys(document: Any) -> bool:  # noqa: ANN401 - JSON
    """A rule that the schema does not state: only IAM users have keys that the guard could look at."""
    entries = [
        entry
        for value in document["triggers"].values()
        for entry in (value if isinstance(value, list) else [value])
        if isinstance(entry, dict)
    ]
    return any("keyGuard" in entry and entry.get("type", DEFAULT_TYPE) != DEFAULT_TYPE for entry in entries)


def replaces_the_only_credential(document: Any) -> bool:  # noqa: ANN401 - JSON
    """A rule that the schema does not state: its error would not say what the consent is about."""
    values = [value if isinstance(value, list) else [value] for value in document["triggers"].values()]
    entries = [entry for of_one in values for entry in of_one if isinstance(entry, dict)]
    return any(entry.get("type", "").endswith(SINGLE_PHASE) and "singlePhase" not in entry for entry in entries)


def names_a_rotation_twice(document: Any) -> bool:  # noqa: ANN401 - JSON
    """A rule that JSON Schema cannot state. Two selectors may overlap: each rotation is requested once."""
    lists = [value for value in document["triggers"].values() if isinstance(value, list)]
    ids = [[named(entry) for entry in entries if "project" not in entry] for entries in lists]
    return any(len(set(of_one)) < len(of_one) for of_one in ids)


def is_accepted(document: object) -> bool:
    try:
        parse_rotation_map(json.dumps(document))
    except RotationMapError:
        return False
    return True


def what_is_named(entry: Entry) -> str:
    return entry.id if isinstance(entry, MappedRotation) else f"project {entry.project}"


@given(MAPS)
def test_every_map_that_the_schema_accepts_is_read_entry_by_entry(document: dict[str, Any]) -> None:
    entries = {name: value if isinstance(value, list) else [value] for name, value in document["triggers"].items()}
    assume(not names_a_rotation_twice(document) and not replaces_the_only_credential(document))

    read = parse_rotation_map(json.dumps(document)).triggers

    assert {name: [what_is_named(entry) for entry in of_one] for name, of_one in read.items()} == {
        name: [named(entry) for entry in value] for name, value in entries.items()
    }


@given(MAPS | ODD_MAPS | ODD)
@example({"triggers": {"weekly": f"{A}\n"}})
@example({"triggers": {"weekly": [A, A]}})
@example({"triggers": {"weekly": [{"project": "p"}, {"project": "p"}]}})
@example({"triggers": {"weekly": {"project": "p", "id": A}}})
@example({"triggers": {"weekly": {"project": "p\n"}}})
@example({"triggers": {"weekly": {"id": A, "keyGuard": 0}}})
@example({"triggers": {"weekly": {"id": A, "keyGuard": False, "type": "x"}}})
@example({"triggers": {"x" * 257: A}})
@example({"triggers": {"weekly": {"id": A, "type": "x-password"}}})
@example({"triggers": {"weekly": {"id": A, "type": "x-password", "singlePhase": True}}})
def test_the_parser_and_an_editor_that_knows_the_schema_agree(document: object) -> None:
    editor_accepts = (
        EDITOR.is_valid(document)
        and not names_a_rotation_twice(document)
        and not guards_what_has_no_keys(document)
        and not replaces_the_only_credential(document)
    )

    assert is_accepted(document) == editor_accepts


@given(st.text())
def test_any_text_is_read_as_a_map_or_refused(text: str) -> None:
    try:
        parse_rotation_map(text)
    except RotationMapError as error:
        assert str(error).startswith("the rotation map is ")  # noqa: PT017 - a text may as well be a map


# ---- types that replace the only credential --------------------------------------------------------------------------

SINGLE = ["ldap-password", "unix-linux-local-account", "windows-local-account", "hp-ilo-local-account"]


@pytest.mark.parametrize("named", [{"id": A}, {"project": "p"}], ids=["rotation", "selector"])
@pytest.mark.parametrize("kind", SINGLE)
def test_a_type_that_replaces_the_only_credential_needs_consent(named: dict[str, str], kind: str) -> None:
    text = refusal(map_of(weekly=[B, {**named, "type": kind}]))

    assert text.startswith(f"the rotation map is wrong: triggers.weekly[1] rotates {kind}")
    assert 'set "singlePhase": true there' in text
    (entry,) = weekly({**named, "type": kind, "singlePhase": True})
    assert entry.type == kind


@pytest.mark.parametrize("value", [False, None, "true", 1])
def test_consent_is_true_and_nothing_else(value: object) -> None:
    text = refusal(map_of(weekly={"id": A, "type": "ldap-password", "singlePhase": value}))

    assert text.startswith("the rotation map is wrong: triggers.weekly.singlePhase must be ")


# ---- partial ARNs ----------------------------------------------------------------------------------------------------


def test_a_mirror_without_its_suffix_is_refused_with_its_whole_arn() -> None:
    partial = "arn:aws:secretsmanager:us-east-1:123456789012:secret:" + "x" * 300

    text = refusal(json.dumps({"triggers": {}, "mirrors": {ARN: A, partial: B}}))

    assert text.startswith("the rotation map is wrong: mirrors must have the full ARNs of secrets")
    assert partial in text
    assert ARN not in text


def test_a_partial_arn_that_looks_full_is_answered_with_the_full_one() -> None:
    """A secret's name may itself end in a dash and six characters."""
    partial = "arn:aws:secretsmanager:us-east-1:123456789012:secret:payments-secret"
    rotation_map = parse_rotation_map(json.dumps({"triggers": {}, "mirrors": {partial: A}}))

    with pytest.raises(UnmappedSecretError) as unmapped:
        rotation_map.mirror_of(f"{partial}-AbCdEf")

    assert f"has {partial} without its suffix" in str(unmapped.value)
    assert f"the full ARN is {partial}-AbCdEf" in str(unmapped.value)


def test_a_secret_that_is_not_mirrored_is_named_whole() -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:" + "x" * 500 + "-AbCdEf"

    with pytest.raises(UnmappedSecretError) as unmapped:
        parse_rotation_map(map_of(weekly=A)).mirror_of(arn)

    assert f"do not have {arn}:" in str(unmapped.value)


# ---- mirrored rotations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [A, A.upper(), {"id": A}], ids=["id", "upper case", "object"])
def test_a_trigger_for_a_mirrored_rotation_is_refused_with_both_places(value: object) -> None:
    text = refusal(json.dumps({"triggers": {"daily": B, "weekly": [C, value]}, "mirrors": {ARN: {"id": A}}}))

    assert text.startswith("the rotation map is wrong: triggers.weekly[1] names rotation ")
    assert f"mirrors.{ARN}" in text
    assert f"aws secretsmanager rotate-secret --secret-id {ARN}" in text


def test_a_selector_may_stand_beside_mirrors() -> None:
    rotation_map = parse_rotation_map(json.dumps({"triggers": {"weekly": {"project": "p"}}, "mirrors": {ARN: A}}))

    assert rotation_map.mirrored_ids == {A}
