"""What Infisical says is checked before anything is decided on it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.infisical.answers import parse_list, parse_state
from rotator.infisical.errors import ForeignAnswerError, InvalidAnswerError
from rotator.model import ListedRotation, RotationState
from rotator.text import MAXIMUM_TEXT_LENGTH
from tests.unit.fakes import described, rotation_id

ROTATED_AT = datetime(2026, 11, 15, 5, 0, 1, 249_000, tzinfo=UTC)
ATTEMPTED_AT = datetime(2026, 11, 16, 5, 0, tzinfo=UTC)
STATE_FIELDS = ["id", "name", "rotationStatus", "lastRotatedAt", "lastRotationAttemptedAt"]
LIST_FIELDS = [*STATE_FIELDS, "type", "projectId", "environment", "folder"]


def rotation(**fields: object) -> dict[str, Any]:
    told = {
        "lastRotatedAt": "2026-11-15T05:00:01.249Z",
        "lastRotationAttemptedAt": "2026-11-16T06:00:00.000+01:00",
        "rotationStatus": "failed",
        "lastRotationMessage": "no such luck",
    }
    return described(1, **told) | fields


def of_one(fields: object) -> RotationState:
    return parse_state({"secretRotation": fields}, rotation_id(1))


def of_list(fields: object) -> RotationState:
    """The state in a list; the error of one that cannot be read, as if there were no others beside it."""
    (listed,) = parse_list({"secretRotations": [fields]})
    if isinstance(listed, InvalidAnswerError):
        raise listed
    return listed.state or of_one(fields)


EACH_ANSWER = pytest.mark.parametrize("parse", [of_one, of_list], ids=["one", "list"])
Parse = Callable[[object], RotationState]


# ---- what makes sense ------------------------------------------------------------------------------------------------


@EACH_ANSWER
def test_a_state_is_read_as_infisical_writes_it(parse: Parse) -> None:
    state = parse(rotation())

    assert (state.id, state.name, state.status) == (rotation_id(1), "rotation-1", "failed")
    assert (state.last_rotated_at, state.last_attempted_at) == (ROTATED_AT, ATTEMPTED_AT)
    assert state.last_message == "no such luck"


@EACH_ANSWER
def test_unknown_fields_are_ignored(parse: Parse) -> None:
    assert parse(rotation(isLastRotationManual=True, rotateAtUtc={"hours": 0})) == parse(rotation())


@EACH_ANSWER
def test_an_unknown_status_is_accepted(parse: Parse) -> None:
    assert parse(rotation(rotationStatus="paused")).status == "paused"


@EACH_ANSWER
@pytest.mark.parametrize("fields", [{"lastRotationMessage": None}, {}], ids=["null", "missing"])
def test_infisical_need_not_say_anything(parse: Parse, fields: dict[str, object]) -> None:
    without_message = {name: value for name, value in rotation().items() if name != "lastRotationMessage"}

    assert parse(without_message | fields).last_message is None


@EACH_ANSWER
@pytest.mark.parametrize("message", ["x" * 100_000, ["x" * 100_000]], ids=["text", "list"])
def test_infisicals_texts_are_capped(parse: Parse, message: object) -> None:
    told = parse(rotation(lastRotationMessage=message)).last_message

    assert told is not None
    assert len(told) == MAXIMUM_TEXT_LENGTH


@EACH_ANSWER
@pytest.mark.parametrize(
    ("connection", "read"),
    [({"id": "c1", "app": "aws"}, "c1"), (None, None), ({}, None), ("c1", None), ({"id": 7}, None)],
    ids=repr,
)
def test_a_state_says_which_connection_it_rotates_by(parse: Parse, connection: object, read: str | None) -> None:
    assert parse(rotation(connection=connection)).connection_id == read


@EACH_ANSWER
def test_an_id_in_another_spelling_is_the_same_rotation(parse: Parse) -> None:
    assert parse(rotation(id=rotation_id(1).upper())).id == rotation_id(1)


def test_a_listed_rotation_says_what_selectors_select_by() -> None:
    folder, environment = {"id": "f", "path": "/payments/eu"}, {"id": "e", "slug": "prod", "name": "Production"}
    fields = rotation(type="mysql-credentials", projectId="p", environment=environment, folder=folder)

    (listed,) = parse_list({"secretRotations": [fields]})

    assert isinstance(listed, ListedRotation)
    assert (listed.type, listed.project, listed.environment, listed.path) == (
        "mysql-credentials",
        "p",
        "prod",
        "/payments/eu",
    )


@given(st.lists(st.integers(1, 99)))
def test_a_list_is_read_whole_and_in_its_order(numbers: list[int]) -> None:
    listed = parse_list({"secretRotations": [described(number) for number in numbers]})

    assert [each.id for each in listed if isinstance(each, ListedRotation)] == [rotation_id(n) for n in numbers]


def test_a_list_and_a_single_answer_say_the_same_of_a_rotation() -> None:
    assert of_list(rotation()) == of_one(rotation())


# ---- what makes no sense ---------------------------------------------------------------------------------------------

IMPOSSIBLE: list[object] = [None, 7, True, [], ["x"], {"x": "y"}]


def refusal(parse: Callable[[], object]) -> str:
    with pytest.raises(InvalidAnswerError) as refused:
        parse()
    return str(refused.value)


@EACH_ANSWER
@pytest.mark.parametrize("field", STATE_FIELDS)
@pytest.mark.parametrize("value", IMPOSSIBLE, ids=repr)
def test_an_impossible_field_of_a_state_is_named(parse: Parse, field: str, value: object) -> None:
    text = refusal(lambda: parse(rotation(**{field: value})))

    assert text.startswith("Infisical's answer is wrong: ")
    assert f" {field} must be " in text


@EACH_ANSWER
@pytest.mark.parametrize("field", STATE_FIELDS)
def test_a_missing_field_of_a_state_is_named(parse: Parse, field: str) -> None:
    fields = {name: value for name, value in rotation().items() if name != field}

    assert f" {field} must be " in refusal(lambda: parse(fields))


@pytest.mark.parametrize("field", ["type", "projectId", "environment", "folder"])
@pytest.mark.parametrize("value", [None, 7, True, [], ["x"]], ids=repr)
def test_an_impossible_field_of_a_listed_rotation_is_named(field: str, value: object) -> None:
    text = refusal(lambda: of_list(rotation(**{field: value})))

    assert text.startswith(f"Infisical's answer is wrong: secretRotations[0] ({rotation_id(1)}): {field} must be ")


@pytest.mark.parametrize(("field", "inner"), [("environment", "slug"), ("folder", "path")])
@pytest.mark.parametrize("value", IMPOSSIBLE, ids=repr)
def test_an_impossible_field_within_a_listed_rotation_is_named(field: str, inner: str, value: object) -> None:
    texts = [
        refusal(lambda: of_list(rotation(**{field: {inner: value}}))),
        refusal(lambda: of_list(rotation(**{field: {}}))),
    ]

    assert all(f"secretRotations[0] ({rotation_id(1)}): {inner} must be " in text for text in texts)


@EACH_ANSWER
@pytest.mark.parametrize("field", ["lastRotatedAt", "lastRotationAttemptedAt"])
@pytest.mark.parametrize("moment", ["2026-02-30T00:00:00.000Z", "2026-11-15T05:00:00", "2026-11-15", "yesterday", ""])
def test_a_moment_that_is_not_possible_is_named(parse: Parse, field: str, moment: str) -> None:
    text = refusal(lambda: parse(rotation(**{field: moment})))

    assert text.startswith(f"Infisical's answer is wrong: {field} must be a possible date and time")


NO_OBJECTS: list[object] = [None, "x", 7, [], [{}]]
NO_LISTS: list[object] = [None, "x", 7, {}]


@pytest.mark.parametrize("answer", [{}, *({"secretRotation": value} for value in NO_OBJECTS)], ids=repr)
def test_an_answer_about_no_rotation_is_foreign(answer: dict[str, Any]) -> None:
    with pytest.raises(ForeignAnswerError):
        parse_state(answer, rotation_id(1))


def test_an_answer_about_another_rotation_is_refused() -> None:
    text = refusal(lambda: parse_state({"secretRotation": rotation()}, rotation_id(2)))

    assert text == f"Infisical's answer is wrong: its id is another rotation's, {rotation_id(1)}"


@pytest.mark.parametrize("answer", [{}, *({"secretRotations": value} for value in NO_LISTS)], ids=repr)
def test_an_answer_without_a_list_is_foreign(answer: dict[str, Any]) -> None:
    with pytest.raises(ForeignAnswerError):
        parse_list(answer)


@pytest.mark.parametrize("entry", [None, "x", 7, [], [{}]], ids=repr)
def test_an_invalid_entry_of_a_list_is_an_error_in_its_place(entry: object) -> None:
    first, odd, last = parse_list({"secretRotations": [rotation(), entry, described(2)]})

    assert isinstance(odd, InvalidAnswerError)
    assert str(odd).startswith("Infisical's answer is wrong: secretRotations[1] (")
    assert [each.id for each in (first, last) if isinstance(each, ListedRotation)] == [rotation_id(1), rotation_id(2)]


@pytest.mark.parametrize(
    "fields",
    [{"rotationStatus": None}, {"name": 7}, {"lastRotatedAt": None}, {"lastRotationAttemptedAt": "x"}],
    ids=repr,
)
def test_a_listed_rotation_whose_state_makes_no_sense_is_listed_without_it(fields: dict[str, object]) -> None:
    (listed,) = parse_list({"secretRotations": [rotation(**fields)]})

    assert isinstance(listed, ListedRotation)
    assert (listed.id, listed.state, listed.path) == (rotation_id(1), None, "/")


@pytest.mark.parametrize("field", LIST_FIELDS)
def test_a_long_wrong_value_is_shown_by_its_beginning_only(field: str) -> None:
    assert len(refusal(lambda: of_list(rotation(**{field: ["x" * 100_000]})))) < 250


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(LIST_FIELDS), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([*LIST_FIELDS, "lastRotationMessage"]), JSON)
def test_any_answer_of_infisical_is_read_or_refused(field: str, value: object) -> None:
    fields = json.loads(json.dumps(rotation(**{field: value})))

    try:
        state = of_list(fields)
    except InvalidAnswerError as error:
        assert len(str(error)) < 250  # noqa: PT017 - it may as well be read
        return

    assert state.id == rotation_id(1) or field == "id"
