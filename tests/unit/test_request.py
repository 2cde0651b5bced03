import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.fields import parse_rotation_id
from rotator.model import DEFAULT_TYPE, GuardOptions, MappedRotation, RotationOptions, RotationState, Selector
from rotator.rotation.key_policy import UserKey, UserKeys
from rotator.rotation.request import RotationRequest
from tests.unit.builders import MISSING, REQUEST, message
from tests.unit.fakes import NOW, rotation_id

INTERVALS = st.integers(1, 9999 * 24 * 60 * 60).map(lambda seconds: timedelta(seconds=seconds))
MILLISECONDS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001 - as hypothesis wants it
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
ROLES = st.from_regex(r"arn:aws:iam::[0-9]{12}:role/.{1,20}", fullmatch=True)
GUARDS = st.none() | st.builds(GuardOptions, st.none() | ROLES, st.none() | INTERVALS, st.none() | st.just("payments"))
REQUESTS = st.builds(
    RotationRequest,
    rotation=st.builds(
        MappedRotation,
        id=st.uuids().map(str),
        type=st.from_regex(r"[a-z0-9]{1,9}(-[a-z0-9]{1,9}){0,4}", fullmatch=True),
        options=st.builds(RotationOptions, minimum_interval=st.none() | INTERVALS, guard=GUARDS),
    ),
    trigger=st.text(min_size=1),
    occurred_at=MILLISECONDS,
    correlation_id=st.text(min_size=1),
    forced=st.booleans(),
)


@given(REQUESTS)
def test_a_request_survives_the_queue(request: RotationRequest) -> None:
    assert RotationRequest.from_message(request.to_message()) == request


@given(REQUESTS)
def test_a_message_is_one_line_of_ascii_that_sqs_accepts(request: RotationRequest) -> None:
    body = request.to_message()

    assert body.isascii()
    assert body.isprintable()


def test_a_message_in_the_wording_of_the_queue() -> None:
    request = RotationRequest(
        MappedRotation(rotation_id(1), "postgres-credentials", RotationOptions(timedelta(days=6))),
        "weekly",
        NOW,
        "correlation",
    )

    assert json.loads(request.to_message()) == {
        "rotationId": "00000000-0000-0000-0000-000000000001",
        "type": "postgres-credentials",
        "trigger": "weekly",
        "occurredAt": "2026-11-22T05:00:00.000Z",
        "correlationId": "correlation",
        "minimumIntervalSeconds": 518_400,
    }


def test_a_mapping_without_an_interval_sends_none() -> None:
    assert "minimumIntervalSeconds" not in json.loads(REQUEST.to_message())


def test_a_forced_request_says_so() -> None:
    assert json.loads(replace(REQUEST, forced=True).to_message())["forced"] is True


def test_an_unforced_request_has_no_force_field() -> None:
    assert "forced" not in json.loads(REQUEST.to_message())


def test_a_message_that_says_nothing_of_force_is_not_forced() -> None:
    assert RotationRequest.from_message(message("forced", MISSING)).forced is False


@pytest.mark.parametrize("value", [None, "", 0, 1, "true", "false", [], [True], {}], ids=repr)
def test_force_is_never_guessed(value: object) -> None:
    with pytest.raises(ValueError, match=r"^forced must be true or false, not "):
        RotationRequest.from_message(message("forced", value))


# ---- the key guard ---------------------------------------------------------------------------------------------------

ROLE = "arn:aws:iam::123456789012:role/key-guard"


@pytest.mark.parametrize(
    ("guard", "sent"),
    [
        (None, False),
        (GuardOptions(ROLE), {"role": ROLE, "gracePeriodSeconds": None}),
        (GuardOptions(grace_period=timedelta(days=2)), {"role": None, "gracePeriodSeconds": 172_800}),
        (GuardOptions(ROLE, timedelta(hours=1)), {"role": ROLE, "gracePeriodSeconds": 3600}),
        (GuardOptions(ROLE, None, "p-1"), {"role": ROLE, "gracePeriodSeconds": None, "externalId": "p-1"}),
    ],
    ids=["switched off", "role", "grace period", "both", "external id"],
)
def test_the_key_guard_in_the_wording_of_the_queue(guard: GuardOptions | None, sent: object) -> None:
    request = replace(REQUEST, rotation=MappedRotation(rotation_id(1), options=RotationOptions(guard=guard)))

    assert json.loads(request.to_message())["keyGuard"] == sent


def test_a_request_that_says_nothing_of_the_key_guard_is_guarded() -> None:
    assert "keyGuard" not in json.loads(REQUEST.to_message())
    assert RotationRequest.from_message(message()).rotation.options.guard == GuardOptions()


def test_a_key_guard_that_says_nothing_is_the_stacks() -> None:
    assert RotationRequest.from_message(message("keyGuard", {})).rotation.options.guard == GuardOptions()


@pytest.mark.parametrize("value", [None, True, 0, 1, "", "false", [], [False]], ids=repr)
def test_the_key_guard_is_never_switched_off_by_guessing(value: object) -> None:
    with pytest.raises(ValueError, match=r"^keyGuard must be false or an object, not "):
        RotationRequest.from_message(message("keyGuard", value))


@pytest.mark.parametrize("role", ["", 0, True, [], {}, [ROLE]], ids=repr)
def test_a_role_that_is_not_a_string_is_named(role: object) -> None:
    with pytest.raises(ValueError, match=r"^role must be a string"):
        RotationRequest.from_message(message("keyGuard", {"role": role}))


@pytest.mark.parametrize("seconds", [0, -1, 10**15, 1.5, True, "3600", []], ids=repr)
def test_a_grace_period_that_is_out_of_range_is_named(seconds: object) -> None:
    with pytest.raises(ValueError, match=r"^gracePeriodSeconds must be a whole number of seconds"):
        RotationRequest.from_message(message("keyGuard", {"gracePeriodSeconds": seconds}))


@pytest.mark.parametrize(
    ("rotation", "guarded"),
    [
        (MappedRotation(rotation_id(1)), True),
        (MappedRotation(rotation_id(1), options=RotationOptions(guard=GuardOptions(ROLE))), True),
        (MappedRotation(rotation_id(1), options=RotationOptions(guard=None)), False),
        (MappedRotation(rotation_id(1), "postgres-credentials"), False),
        (MappedRotation(rotation_id(1), "postgres-credentials", options=RotationOptions(guard=None)), False),
    ],
    ids=["left out", "in its own way", "switched off", "another type", "another type, switched off"],
)
def test_a_rotation_is_guarded_unless_the_guard_is_off_or_it_has_no_keys_in_iam(
    rotation: MappedRotation,
    guarded: bool,  # noqa: FBT001 - a parameter
) -> None:
    assert rotation.guarded is guarded


@pytest.mark.parametrize("order", [1, -1])
def test_the_oldest_key_is_found_in_any_order(order: int) -> None:
    older, newer = UserKey("AKIAOLDER", NOW - timedelta(seconds=1)), UserKey("AKIANEWER", NOW)

    assert UserKeys((older, newer)[::order]).oldest == older


# ---- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["rotationId", "type", "trigger", "occurredAt", "correlationId"])
@pytest.mark.parametrize("value", [MISSING, None, "", 0, 7, True, [], ["x"], {}], ids=repr)
def test_a_missing_or_wrong_field_is_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{field} must be "):
        RotationRequest.from_message(message(field, value))


@pytest.mark.parametrize("value", [0, -1, -(10**30), 10**15, 10**400, True, False, 1.5, 1e300, "3600", "", [], {}])
def test_an_interval_that_is_out_of_range_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^minimumIntervalSeconds must be a whole number of seconds"):
        RotationRequest.from_message(message("minimumIntervalSeconds", value))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_an_interval_that_only_python_calls_json_is_refused(value: str) -> None:
    body = message("minimumIntervalSeconds", 5).replace(": 5}", f": {value}}}")

    with pytest.raises(ValueError, match=r"^minimumIntervalSeconds must be a whole number of seconds"):
        RotationRequest.from_message(body)


def test_an_interval_that_is_null_is_none() -> None:
    request = RotationRequest.from_message(message("minimumIntervalSeconds", None))

    assert request.rotation.options.minimum_interval is None


@pytest.mark.parametrize(
    "slug",
    [
        "../x",
        "..",
        "a/b",
        "aws-iam-user-secret/../../v1/identities",
        "aws-iam-user-secret?x",
        "aws-iam-user-secret#x",
        "%2e%2e",
        "aws iam",
        "AWS",
        "-a",
        "a-",
        "a--b",
        "a\n",
        "\n",
        "é",
        "\u0661",
    ],
    ids=repr,
)
def test_a_type_that_would_change_the_path_is_refused(slug: str) -> None:
    with pytest.raises(ValueError, match=r"^type must be the slug of a rotation type"):
        RotationRequest.from_message(message("type", slug))


@pytest.mark.parametrize("value", ["../x", "00000000-0000-0000-0000-00000000000", f"{rotation_id(1)}/x", "x" * 36])
def test_an_id_that_is_not_a_uuid_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"^rotationId must be a rotation id \(a UUID\)"):
        RotationRequest.from_message(message("rotationId", value))


@given(st.uuids().map(str))
def test_every_spelling_of_an_id_becomes_one(spelling: str) -> None:
    assert parse_rotation_id(spelling.upper(), "id") == spelling


@pytest.mark.parametrize("body", ["", "{", "weekly", "'{}'", "\ufeff{}"])
def test_a_message_that_is_not_json_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match=r"^the message is not valid JSON: "):
        RotationRequest.from_message(body)


@pytest.mark.parametrize("body", ["null", "[]", '"weekly"', "7", "[{}]"])
def test_a_message_that_is_not_an_object_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match=r"^the message is not a JSON object"):
        RotationRequest.from_message(body)


@pytest.mark.parametrize("field", ["rotationId", "type", "occurredAt", "minimumIntervalSeconds", "forced", "keyGuard"])
def test_a_long_wrong_value_is_shown_by_its_beginning_only(field: str) -> None:
    with pytest.raises(ValueError, match=field) as refusal:
        RotationRequest.from_message(message(field, "X" * 100_000))

    assert len(str(refusal.value)) < 250


def test_the_default_type_is_aws_iam_user_secret() -> None:
    assert MappedRotation(rotation_id(1)).type == Selector("payments").type == DEFAULT_TYPE == "aws-iam-user-secret"


@pytest.mark.parametrize(("status", "failed"), [("failed", True), ("success", False), ("Failed", False), ("", False)])
def test_a_state_is_failed_where_infisical_says_failed(status: str, failed: bool) -> None:  # noqa: FBT001 - a parameter
    assert RotationState(rotation_id(1), "payments", status, NOW, NOW, None).failed is failed
