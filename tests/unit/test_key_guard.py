"""The shell of the key guard: when it asks IAM and as whom, what it makes of the answer, and of none."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import boto3
import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    ParamValidationError,
    ReadTimeoutError,
)

from rotator.aws import client, session
from rotator.model import GuardOptions, MappedRotation, RotationOptions, RotationState
from rotator.rotation.key_guard import ROLE_SECONDS, IamClients, KeyGuard
from rotator.rotation.key_policy import LastUse, UserKey
from rotator.rotation.policy import Decision, Verdict
from rotator.rotation.request import RotationRequest
from rotator.text import MAXIMUM_TEXT_LENGTH
from tests.component.iam import FakeIam, refused
from tests.unit.fakes import NOW, VirtualClock, rotation_id

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
WEEK = timedelta(days=7)
GRACE_PERIOD = timedelta(hours=6)
ROLE = "arn:aws:iam::210987654321:role/key-guard"

PREVIOUS = UserKey("AKIAPREVIOUS", NOW - 2 * WEEK)
PUBLISHED = UserKey("AKIAPUBLISHED", NOW - WEEK - SECOND)
ORPHAN = UserKey("AKIAORPHAN", NOW - HOUR)
BOTH = (PREVIOUS, PUBLISHED)

MAPPED = MappedRotation(rotation_id(1))


def state(
    rotated_at: datetime = NOW - WEEK, *, status: str = "success", user: str | None = "deployer"
) -> RotationState:
    return RotationState(rotation_id(1), "payments", status, rotated_at, NOW - HOUR, "no such luck", user_name=user)


def request(rotation: MappedRotation = MAPPED, *, forced: bool = False) -> RotationRequest:
    return RotationRequest(rotation, "weekly", NOW, "c", forced)


def guarded(role: str | None = None, grace_period: timedelta | None = None) -> MappedRotation:
    return replace(MAPPED, options=RotationOptions(guard=GuardOptions(role, grace_period)))


class Stage:
    """A key guard before an IAM whose user `deployer` has these keys, in this order."""

    def __init__(self, *keys: UserKey) -> None:
        self.keys: dict[str, Sequence[UserKey]] = {"deployer": keys}
        self.iam = FakeIam(self.keys.__getitem__)
        self.clock = VirtualClock()
        self.decide = self.opened_by(self.iam.open).decide

    def opened_by(self, open_iam: "Callable[[str | None, str | None], IAMClient]") -> KeyGuard:
        return KeyGuard(open_iam, minimum_interval=HOUR, grace_period=GRACE_PERIOD, clock=self.clock)


# ---- when IAM is asked -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "rotation", "verdict", "reason"),
    [
        (state(NOW + SECOND), MAPPED, Verdict.SKIP, "AlreadyRotated"),
        (state(NOW - HOUR), MAPPED, Verdict.SKIP, "TooSoon"),
        (state(), replace(MAPPED, options=RotationOptions(guard=None)), Verdict.ROTATE, "Due"),
        (state(user=None), replace(MAPPED, options=RotationOptions(guard=None)), Verdict.ROTATE, "Due"),
        (
            state(status="failed"),
            replace(MAPPED, options=RotationOptions(guard=None)),
            Verdict.REFUSE,
            "PreviousAttemptFailed",
        ),
        (state(user=None), replace(MAPPED, type="postgres-credentials"), Verdict.ROTATE, "Due"),
        (
            state(),
            replace(MAPPED, type="postgres-credentials", options=RotationOptions(guard=GuardOptions(ROLE))),
            Verdict.ROTATE,
            "Due",
        ),
        (
            state(status="failed"),
            replace(MAPPED, type="postgres-credentials"),
            Verdict.REFUSE,
            "PreviousAttemptFailed",
        ),
    ],
    ids=[
        "rotated since",
        "too soon",
        "switched off",
        "switched off, no user",
        "switched off, failed",
        "another type",
        "another type, with a role",
        "another type, failed",
    ],
)
def test_a_decision_without_keys_opens_no_iam_client(
    known: RotationState, rotation: MappedRotation, verdict: Verdict, reason: str
) -> None:
    stage = Stage(PUBLISHED, ORPHAN)

    decision = stage.decide(known, request(rotation))

    assert (decision.verdict, decision.reason) == (verdict, reason)
    assert (stage.iam.roles, stage.iam.calls) == ([], [])


def test_the_stacks_interval_counts() -> None:
    stage = Stage(PREVIOUS, UserKey("AKIAPUBLISHED", NOW - HOUR - SECOND))

    reasons = [stage.decide(state(rotated_at), request()).reason for rotated_at in (NOW - HOUR - SECOND, NOW - HOUR)]

    assert reasons == ["Due", "TooSoon"]


@pytest.mark.parametrize("keys", [(), (PUBLISHED,)], ids=["none", "one"])
def test_a_rotation_that_deletes_no_key_needs_one_iam_call(keys: tuple[UserKey, ...]) -> None:
    stage = Stage(*keys)

    stage.decide(state(), request())

    assert stage.iam.calls == [("ListAccessKeys", "deployer")]


@pytest.mark.parametrize("keys", [BOTH, BOTH[::-1]], ids=["as created", "reversed"])
def test_a_key_to_be_deleted_has_its_last_use_read_too(keys: tuple[UserKey, ...]) -> None:
    stage = Stage(*keys)

    decision = Decision(Verdict.ROTATE, "Due", published_key=PUBLISHED.id, revoked_key=PREVIOUS.id)
    assert stage.decide(state(), request()) == decision
    assert stage.iam.calls == [("ListAccessKeys", "deployer"), ("GetAccessKeyLastUsed", PREVIOUS.id)]


def test_a_failed_attempt_stands_in_nobodys_way_where_the_keys_are_in_order() -> None:
    assert Stage(*BOTH).decide(state(status="failed"), request()).verdict is Verdict.ROTATE


# ---- what IAM says ---------------------------------------------------------------------------------------------------


def test_an_orphan_is_refused() -> None:
    decision = Stage(PUBLISHED, ORPHAN).decide(state(), request())

    assert (decision.verdict, decision.reason) == (Verdict.REFUSE, "OrphanKey")
    assert ORPHAN.id in decision.explanation


def test_a_forced_rotation_asks_iam_too() -> None:
    assert Stage(PUBLISHED, ORPHAN).decide(state(), request(forced=True)).reason == "OrphanKey"


def test_a_key_in_use_is_refused_with_what_iam_knows_of_it() -> None:
    stage = Stage(*BOTH)
    stage.iam.last_used = {PREVIOUS.id: NOW - HOUR, PUBLISHED.id: NOW}

    decision = stage.decide(state(), request())

    assert (decision.verdict, decision.reason) == (Verdict.REFUSE, "KeyInUse")
    assert f"{PREVIOUS.id} of the IAM user deployer" in decision.explanation
    assert "at 2026-11-22T04:00:00.000Z for s3 in eu-central-1" in decision.explanation


def test_a_user_without_keys_is_not_an_unexpected_error() -> None:
    assert Stage().decide(state(), request()).reason == "PublishedKeyMissing"


@pytest.mark.parametrize(
    ("own", "used_ago", "reason"),
    [
        (None, GRACE_PERIOD - SECOND, "KeyInUse"),
        (None, GRACE_PERIOD, "Due"),
        (HOUR, HOUR - SECOND, "KeyInUse"),
        (HOUR, HOUR, "Due"),
        (WEEK, WEEK - SECOND, "KeyInUse"),
        (WEEK, WEEK, "Due"),
    ],
    ids=["the stack's", "after the stack's", "shorter", "after the shorter", "longer", "after the longer"],
)
def test_the_grace_period_of_the_map_counts_before_the_stacks(
    own: timedelta | None, used_ago: timedelta, reason: str
) -> None:
    stage = Stage(*BOTH)
    stage.iam.last_used[PREVIOUS.id] = NOW - used_ago

    assert stage.decide(state(), request(guarded(grace_period=own))).reason == reason


def test_the_grace_period_passes_by_the_clock() -> None:
    stage = Stage(*BOTH)
    stage.iam.last_used[PREVIOUS.id] = NOW

    reasons = []
    for _ in range(2):
        reasons.append(stage.decide(state(), request()).reason)
        stage.clock.sleep(GRACE_PERIOD.total_seconds())

    assert reasons == ["KeyInUse", "Due"]


def test_the_consumers_of_a_key_in_use_are_named_in_the_refusal() -> None:
    stage = Stage(*BOTH)
    stage.iam.last_used[PREVIOUS.id] = NOW - HOUR
    options = GuardOptions(ROLE, grace_period=2 * HOUR)
    asked = []

    def name_consumers(*question: object) -> str:
        asked.append(question)
        return "CloudTrail names nightly-job"

    guard = KeyGuard(stage.iam.open, HOUR, GRACE_PERIOD, stage.clock, name_consumers)
    decision = guard.decide(state(), request(replace(MAPPED, options=RotationOptions(guard=options))))

    assert (decision.reason, decision.explanation.endswith(". CloudTrail names nightly-job")) == ("KeyInUse", True)
    assert asked == [(options, PREVIOUS.id, LastUse(NOW - HOUR, "s3", "eu-central-1"), NOW - 2 * HOUR)]


@pytest.mark.parametrize("keys", [BOTH, (PUBLISHED, ORPHAN), (ORPHAN,)], ids=["due", "orphan", "missing"])
def test_consumers_are_looked_up_for_no_other_decision(keys: tuple[UserKey, ...]) -> None:
    def name_consumers(*_: object) -> str:
        raise AssertionError("the key is not in use")

    stage = Stage(*keys)
    KeyGuard(stage.iam.open, HOUR, GRACE_PERIOD, stage.clock, name_consumers).decide(state(), request())


# ---- as whom it is asked ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [None, ROLE], ids=["own account", "role"])
def test_iam_is_asked_as_the_role_of_the_map(role: str | None) -> None:
    stage = Stage(*BOTH)

    stage.decide(state(), request(guarded(role)))

    assert stage.iam.roles == [role]


# ---- what IAM does not show ------------------------------------------------------------------------------------------

DENIED = refused("AccessDenied", "User: arn:aws:sts::123456789012:assumed-role/x is not authorized", "ListAccessKeys")
NO_SUCH_USER = refused("NoSuchEntity", "The user with name deployer cannot be found.", "ListAccessKeys")
THROTTLED = refused("Throttling", "Rate exceeded", "ListAccessKeys")
NOBODY_LISTENS = EndpointConnectionError(endpoint_url="https://iam.amazonaws.com/")
NO_NAME = ParamValidationError(report="Invalid length for parameter UserName, value: 0, valid min length: 1")

SERVICE_UNAVAILABLE = refused("ServiceUnavailable", "Service is unavailable", "ListAccessKeys")
EXPIRED = refused("ExpiredToken", "The security token included in the request is expired", "ListAccessKeys")
TIMED_OUT = ReadTimeoutError(endpoint_url="https://iam.amazonaws.com/")

FINAL: dict[str, tuple[Exception, str]] = {
    "denied": (DENIED, "is not authorized"),
    "no such user": (NO_SUCH_USER, "deployer cannot be found"),
    "no name": (NO_NAME, "Invalid length for parameter UserName"),
}
PASSING: dict[str, tuple[Exception, str]] = {
    "throttled": (THROTTLED, "Rate exceeded"),
    "unavailable": (SERVICE_UNAVAILABLE, "Service is unavailable"),
    "expired": (EXPIRED, "is expired"),
    "timed out": (TIMED_OUT, "Read timeout on endpoint URL"),
    "not connected": (NOBODY_LISTENS, 'Could not connect to the endpoint URL: "https://iam.amazonaws.com/"'),
    "an error that AWS adds one day": (refused("NewError", "surprise", "ListAccessKeys"), "surprise"),
}
EACH_ERROR = pytest.mark.parametrize(
    ("error", "words", "verdict"),
    [
        *[(error, words, Verdict.REFUSE) for error, words in FINAL.values()],
        *[(error, words, Verdict.WAIT) for error, words in PASSING.values()],
    ],
    ids=[*FINAL, *PASSING],
)


def assert_not_rotated(decision: Decision, words: str, verdict: Verdict) -> None:
    reasons = {Verdict.REFUSE: "KeysUnreadable", Verdict.WAIT: "IamUnavailable"}
    assert (decision.verdict, decision.reason) == (verdict, reasons[verdict])
    assert decision.explanation.startswith("IAM did not show the access keys of the user deployer: ")
    assert words in decision.explanation
    assert ".." not in decision.explanation
    assert '"keyGuard": false' not in decision.explanation  # to switch the guard off is no cure


@EACH_ERROR
@pytest.mark.parametrize("forced", [False, True], ids=["unforced", "forced"])
def test_keys_that_iam_does_not_list_are_refused_only_where_its_no_is_definite(
    error: Exception,
    words: str,
    verdict: Verdict,
    forced: bool,  # noqa: FBT001 - a parameter
) -> None:
    stage = Stage(*BOTH)
    stage.iam.down = error

    assert_not_rotated(stage.decide(state(), request(forced=forced)), words, verdict)


@EACH_ERROR
def test_an_unreadable_last_use_refuses_only_after_a_definite_denial(
    error: Exception, words: str, verdict: Verdict
) -> None:
    stage = Stage(*BOTH)

    class Forgetful(FakeIam):
        def get_access_key_last_used(self, *, AccessKeyId: str) -> dict[str, object]:  # noqa: ARG002, N803 - as boto3 has it
            raise error

    guard = stage.opened_by(Forgetful(stage.keys.__getitem__).open)

    assert_not_rotated(guard.decide(state(), request()), words, verdict)


@EACH_ERROR
def test_a_role_that_cannot_be_assumed_is_refused_only_where_the_no_is_definite(
    error: Exception, words: str, verdict: Verdict
) -> None:
    def open_iam(_role: str | None, _external_id: str | None) -> "IAMClient":
        raise error

    assert_not_rotated(Stage().opened_by(open_iam).decide(state(), request(guarded(ROLE))), words, verdict)


@pytest.mark.parametrize(
    "error",
    [refused("AccessDenied", "x" * 5000, "ListAccessKeys"), EndpointConnectionError(endpoint_url="x" * 5000)],
    ids=["AWS's words", "botocore's words"],
)
def test_awss_words_are_capped(error: ClientError | BotoCoreError) -> None:
    stage = Stage(*BOTH)
    stage.iam.down = error

    explanation = stage.decide(state(), request()).explanation

    assert explanation.count("x") < MAXIMUM_TEXT_LENGTH
    assert len(explanation) < 1000


@pytest.mark.parametrize("forced", [False, True], ids=["unforced", "forced"])
def test_a_rotation_without_a_user_name_is_refused_without_asking_iam(forced: bool) -> None:  # noqa: FBT001 - a parameter
    stage = Stage(*BOTH)

    decision = stage.decide(state(user=None), request(forced=forced))

    assert (decision.verdict, decision.reason) == (Verdict.REFUSE, "KeysUnreadable")
    assert decision.explanation.startswith("Infisical names no IAM user. ")
    assert stage.iam.calls == []


def test_a_bug_is_not_reported_as_a_refusal() -> None:
    stage = Stage(*BOTH)
    stage.iam.down = ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError):
        stage.decide(state(), request())


# ---- clients of IAM --------------------------------------------------------------------------------------------------

OWN_KEY, ROLES_KEY = "AKIAOWN", "ASIAROLES"
ASSUMED = """
<AssumeRoleResponse><AssumeRoleResult><Credentials>
<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>{token}</SessionToken>
<Expiration>2026-11-22T06:00:00Z</Expiration>
</Credentials></AssumeRoleResult></AssumeRoleResponse>
"""
LISTED = (
    "<ListAccessKeysResponse><ListAccessKeysResult><AccessKeyMetadata/></ListAccessKeysResult></ListAccessKeysResponse>"
)
REFUSED = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>"


class Aws:
    """STS and IAM on loopback, which hand out credentials and look at the signed ones.

    `assumed` are the roles that were assumed, with the names of their sessions, and `external_ids` with which.
    `listed_as` are the access key and the session token of each call to IAM. While `refuses`, no role may be assumed;
    who assumes the role that it `hangs_for` waits until it may `go_on`.
    """

    def __init__(self) -> None:
        self.assumed: list[tuple[str, str]] = []
        self.external_ids: list[str | None] = []
        self.listed_as: list[tuple[str, str | None]] = []
        self.refuses = False
        self.hangs_for: str | None = None
        self.hanging, self.go_on = threading.Event(), threading.Event()

    def answer(self, call: dict[str, list[str]], key: str, token: str | None) -> tuple[int, str]:
        if call["Action"] == ["ListAccessKeys"]:
            self.listed_as.append((key, token))
            return 200, LISTED
        assert call["Action"] == ["AssumeRole"]
        if call["RoleArn"] == [self.hangs_for]:
            self.hanging.set()
            self.go_on.wait(10)
        self.assumed.append((call["RoleArn"][0], call["RoleSessionName"][0]))
        self.external_ids.append(call.get("ExternalId", [None])[0])
        return (403, REFUSED) if self.refuses else (200, ASSUMED.format(key=ROLES_KEY, token=len(self.assumed)))


@contextmanager
def serving(aws: Aws) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            key = self.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
            status, text = aws.answer(parse_qs(body), key, self.headers["X-Amz-Security-Token"])
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    session.cache_clear()  # which keeps the credentials of whoever asked first
    """What boto3 finds in Lambda's environment: credentials of the function's own role, and where AWS is."""
    aws = Aws()
    with serving(aws) as url, monkeypatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", url)
        environment.setenv("AWS_ACCESS_KEY_ID", OWN_KEY)
        environment.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        boto3.setup_default_session()
        yield aws
    boto3.setup_default_session()


def list_keys(client: "IAMClient") -> None:
    client.list_access_keys(UserName="deployer")


def test_iam_is_asked_with_the_functions_credentials_by_default(aws: Aws) -> None:
    list_keys(IamClients(client("iam"), VirtualClock())(None))

    assert (aws.assumed, aws.listed_as) == ([], [(OWN_KEY, None)])


def test_iam_is_asked_with_the_configured_roles_credentials(aws: Aws) -> None:
    list_keys(IamClients(client("iam"), VirtualClock())(ROLE))

    assert aws.assumed == [(ROLE, "key-guard")]
    assert aws.listed_as == [(ROLES_KEY, "1")]


def test_a_role_is_assumed_with_the_external_id_that_its_trust_policy_asks_for(aws: Aws) -> None:
    clients = IamClients(client("iam"), VirtualClock())

    for external_id in ("payments-1", "payments-2", "payments-1", None):
        list_keys(clients(ROLE, external_id))

    assert aws.external_ids == ["payments-1", "payments-2", None]


def test_a_role_is_assumed_once_for_half_of_its_credentials_lifetime(aws: Aws) -> None:
    clock = VirtualClock()
    clients = IamClients(client("iam"), clock)

    list_keys(clients(ROLE))
    clock.sleep(ROLE_SECONDS)
    list_keys(clients(ROLE))
    clock.sleep(1)
    list_keys(clients(ROLE))

    assert ROLE_SECONDS == 1800
    assert aws.listed_as == [(ROLES_KEY, "1"), (ROLES_KEY, "1"), (ROLES_KEY, "2")]


def test_each_role_has_its_own_client(aws: Aws) -> None:
    clients = IamClients(client("iam"), VirtualClock())
    other = ROLE.replace("210987654321", "345678901234")

    for role in (ROLE, other, None, ROLE, other, None):
        list_keys(clients(role))

    assert [role for role, _ in aws.assumed] == [ROLE, other]
    assert aws.listed_as == [(ROLES_KEY, "1"), (ROLES_KEY, "2"), (OWN_KEY, None)] * 2


def test_rotations_that_are_worked_at_the_same_time_assume_their_role_once(aws: Aws) -> None:
    clients = IamClients(client("iam"), VirtualClock())
    together = threading.Barrier(10)

    def open_iam(_: int) -> "IAMClient":
        together.wait(10)
        return clients(ROLE)

    with ThreadPoolExecutor(10) as pool:
        opened = list(pool.map(open_iam, range(10)))

    assert len(aws.assumed) == 1
    assert len(set(map(id, opened))) == 1


def test_a_request_does_not_wait_for_the_role_of_another(aws: Aws) -> None:
    clients = IamClients(client("iam"), VirtualClock())
    aws.hangs_for, other = ROLE, ROLE.replace("210987654321", "345678901234")

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(clients, ROLE)
        assert aws.hanging.wait(10)
        for role in (None, other):
            list_keys(clients(role))
        assert not waiting.done()
        aws.go_on.set()
        list_keys(waiting.result())

    assert len(aws.listed_as) == 3


def test_a_role_that_is_refused_is_tried_again_after_a_minute(aws: Aws) -> None:
    clock = VirtualClock()
    clients = IamClients(client("iam"), clock)
    aws.refuses = True
    with pytest.raises(ClientError, match="AssumeRole operation: not you"):
        clients(ROLE)
    aws.refuses = False

    clock.sleep(60)
    with pytest.raises(ClientError, match="AssumeRole operation: not you"):  # STS is not asked again meanwhile
        clients(ROLE)
    clock.sleep(1)
    list_keys(clients(ROLE))

    assert aws.listed_as == [(ROLES_KEY, "2")]
