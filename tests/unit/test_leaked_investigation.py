"""What `make leaked` reads: whose key it is, and the rotation that keeps it, by dry runs of the deployed stack."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError

from infisical_rotation_triggers.leaked.investigation import Investigation, NotOwnedError, Owner, find_owner, find_user
from infisical_rotation_triggers.leaked.plan import Rotation
from infisical_rotation_triggers.preflight.checks import Problem
from infisical_rotation_triggers.preflight.functions import DeployedFunctions
from rotator.rotation.key_policy import UserKey, UserKeys
from rotator.triggers.rotation_map import parse_rotation_map
from tests.component.iam import FakeIam, refused
from tests.unit.dry_run_reports import SECRET, report, unreadable
from tests.unit.fakes import NOW, VirtualClock, rotation_id

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sts import STSClient

KEY, USER = "AKIALEAKED", "deployer"
A, B = rotation_id(0xA), rotation_id(0xB)
WEEK = timedelta(weeks=1)
KEYS = UserKeys((UserKey(KEY, NOW - WEEK),))
OTHERS = report(rotation_id=B, user_name="uploader")


@dataclass
class FakeDispatch:
    """Answers each invocation with the trigger's next report, the last one again and again. None is a failure."""

    reports: Mapping[str, Sequence[list[dict[str, Any]] | None]]
    invoked: list[dict[str, Any]] = field(default_factory=list)

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - boto3's names
        assert FunctionName == "dispatch"
        event = json.loads(Payload)
        answers = self.reports[event["trigger"]]
        answer = answers[min(sum(each["trigger"] == event["trigger"] for each in self.invoked), len(answers) - 1)]
        self.invoked.append(event)
        failure = {"errorType": "SettingsError", "errorMessage": "no MAP"}
        payload = failure if answer is None else {"rotations": answer}
        return {
            "Payload": io.BytesIO(json.dumps(payload).encode()),
            **({"FunctionError": "Unhandled"} if answer is None else {}),
        }

    @property
    def functions(self) -> DeployedFunctions:
        return DeployedFunctions(cast("LambdaClient", self), "dispatch", None)


def owner_of(reports: Mapping[str, list[dict[str, Any]] | None], user: UserKeys = KEYS) -> Owner:
    dispatch = FakeDispatch({trigger: [answer] for trigger, answer in reports.items()})
    document = {
        "triggers": {trigger: [A] for trigger in reports if trigger != SECRET},
        "mirrors": {SECRET: B} if SECRET in reports else {},
    }
    return find_owner(dispatch.functions, parse_rotation_map(json.dumps(document)), USER, user)


# ---- the owner -------------------------------------------------------------------------------------------------------


def test_the_rotation_of_the_user_is_found_among_all_triggers() -> None:
    owner = owner_of({"monthly": [OTHERS], "weekly": [OTHERS, report(rotation_id=A, grace_period_seconds=3600)]})

    assert owner == Owner(Rotation(A, "payments", "weekly", NOW - WEEK, timedelta(hours=1)))


def test_a_mirrored_rotation_is_known_as_one() -> None:
    owner = owner_of({"weekly": [OTHERS], SECRET: [report(rotation_id=A)]})

    assert owner.rotation is not None
    assert (owner.rotation.trigger, owner.rotation.mirrored) == (SECRET, True)


def test_a_user_of_no_rotation_is_an_error() -> None:
    with pytest.raises(NotOwnedError, match="no rotation of the map keeps"):
        owner_of({"weekly": [OTHERS]})


@pytest.mark.parametrize(
    ("reports", "says"),
    [
        ([unreadable("Unreachable")], "cannot read a rotation of the map (Unreachable): Infisical's words"),
        ([OTHERS, unreadable("NotFound"), {**unreadable("NotFound"), "rotation_id": B}], "read 2 rotations of the map"),
        (None, "cannot read a rotation of the map (Settings): no MAP"),
    ],
)
def test_the_rotation_is_unknown_while_something_cannot_be_read(
    reports: list[dict[str, Any]] | None, says: str
) -> None:
    owner = owner_of({"weekly": reports})

    assert owner.rotation is None
    assert says in owner.unread
    # but one that can be read is known, with the warning
    found = owner_of({"weekly": reports, "monthly": [report(rotation_id=A)]})
    assert found.rotation is not None
    assert says in found.unread


def test_a_map_that_cannot_be_read_leaves_the_rotation_unknown() -> None:
    owner = find_owner(FakeDispatch({}).functions, Problem("there is no rotation map", "put one"), USER, KEYS)

    assert owner == Owner(None, "The rotation map cannot be read: there is no rotation map")


def test_rotations_of_users_of_one_name_are_told_apart_by_the_keys_dates() -> None:
    ours = report(rotation_id=A)
    namesake = report(rotation_id=B, last_rotated_at="2026-11-10T05:00:00.000Z")

    assert owner_of({"weekly": [namesake, ours]}).rotation == owner_of({"weekly": [ours]}).rotation
    # and both may be ours where both have left a key
    two = UserKeys((*KEYS.keys, UserKey("AKIAOTHER", NOW - timedelta(days=12))))
    shared = owner_of({"weekly": [namesake, ours]}, two)
    assert shared == Owner(None, f"2 rotations have an IAM user {USER}: {A}, {B}")


# ---- the user --------------------------------------------------------------------------------------------------------


@dataclass
class FakeSts:
    account: str = ""

    def get_access_key_info(self, *, AccessKeyId: str) -> dict[str, str]:  # noqa: N803 - as boto3 has it
        if not self.account:
            raise refused("AccessDenied", f"no {AccessKeyId}", "GetAccessKeyInfo")
        return {"Account": self.account}

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": "123456789012"}


class Iam:
    def __init__(self, code: str) -> None:
        self.code = code

    def get_access_key_last_used(self, *, AccessKeyId: str) -> dict[str, Any]:  # noqa: N803 - as boto3 has it
        raise refused(self.code, f"no {AccessKeyId}", "GetAccessKeyLastUsed")


def user_of(key_id: str, code: str, account: str = "") -> str:
    return find_user(cast("IAMClient", Iam(code)), cast("STSClient", FakeSts(account)), key_id)


@pytest.mark.parametrize(
    ("account", "says"),
    [
        ("", "may have been deleted already, or belong to another account"),
        ("123456789012", "belongs to this account: it was deleted already"),
        ("210987654321", "belongs to the account 210987654321, and your credentials to 123456789012"),
    ],
)
@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchEntity"])
def test_a_key_that_iam_does_not_know_is_an_error_that_names_its_account(code: str, account: str, says: str) -> None:
    with pytest.raises(NotOwnedError, match=says):
        user_of(KEY, code, account)


def test_temporary_credentials_are_refused() -> None:
    with pytest.raises(NotOwnedError, match="temporary credentials"):
        user_of("ASIATEMPORARY", "NoSuchEntity")


def test_other_errors_of_iam_do_not_mean_that_the_key_is_unknown() -> None:
    with pytest.raises(ClientError, match="Throttling"):
        user_of(KEY, "Throttling")


# ---- looking again ---------------------------------------------------------------------------------------------------


def investigation(dispatch: FakeDispatch) -> Investigation:
    iam = FakeIam(lambda _: KEYS.keys)
    iam.last_used = {KEY: NOW - WEEK}
    found = Rotation(A, "payments", "weekly", NOW - WEEK, timedelta(hours=6))
    return Investigation(iam.open(None), dispatch.functions, VirtualClock(), KEY, USER, Owner(found))


def looked(*answers: list[dict[str, Any]] | None) -> tuple[Rotation, FakeDispatch]:
    dispatch = FakeDispatch({"weekly": answers})
    facts = investigation(dispatch).look()
    assert facts.rotation is not None
    assert (facts.at, facts.key, set(facts.uses)) == (NOW, KEYS.keys[0], {KEY})
    return facts.rotation, dispatch


def test_a_look_asks_for_a_dry_run_of_the_forced_rotation() -> None:
    rotation, dispatch = looked([report()])

    forced = {"trigger": "weekly", "only": [A], "force": True, "occurredAt": "2026-11-15T05:05:00.001Z"}
    assert dispatch.invoked == [{**forced, "dryRun": True}]
    assert rotation.refusal == ""
    # and the request means the same moment
    investigation(dispatch).request_rotation(rotation)
    assert dispatch.invoked[-1] == forced


def test_a_look_after_a_rotation_asks_about_the_next_one() -> None:
    newer = report(last_rotated_at="2026-11-22T04:58:00.000Z", decision="skip", reason="TooSoon")

    rotation, dispatch = looked([report(last_rotated_at="2026-11-22T04:58:00.000Z")], [newer])

    # the moment has not come yet
    assert [event["occurredAt"] for event in dispatch.invoked] == [
        "2026-11-15T05:05:00.001Z",
        "2026-11-22T05:00:00.000Z",
    ]
    assert rotation.last_rotated_at == NOW - timedelta(minutes=2)
    assert rotation.refusal.endswith("again after 2026-11-22T05:03:00.001Z")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ([report(decision="refuse", reason="OrphanKey", explanation="a second key")], "(OrphanKey): a second key"),
        ([unreadable("Unreachable")], "(Unreachable): Infisical's words"),
        (None, "its dry run failed (Settings): no MAP"),
    ],
)
def test_a_rotation_that_is_not_possible_says_why(answer: list[dict[str, Any]] | None, says: str) -> None:
    rotation, dispatch = looked(answer)

    assert says in rotation.refusal
    assert rotation.last_rotated_at == NOW - WEEK
    if answer is None:
        assert investigation(dispatch).request_rotation(rotation) == "The rotation was not requested (Settings): no MAP"
