"""Answers of Infisical that began as good ones: none makes a rotation, hides one, or ends in an error of nobody's."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import boto3
import httpx
import pytest
from botocore.config import Config
from hypothesis import example, given
from hypothesis import strategies as st

from rotator.infisical.client import Infisical
from rotator.infisical.errors import InfisicalError, InvalidAnswerError
from rotator.infisical.login import REFUSAL_MEMORY_SECONDS
from rotator.model import MappedRotation
from rotator.rotation.attempt import Outcome, Result
from rotator.rotation.key_guard import KeyGuard
from tests.component.world import GRACE_PERIOD, MINIMUM_INTERVAL, START, World
from tests.hostile.mutations import (
    FUZZED,
    LONE_SURROGATE,
    Json,
    Path,
    damaged_at,
    dotted,
    garbled,
    mutated,
    nested,
    paths_of,
    with_duplicate_name,
    written,
)
from tests.hostile.readable import readable, refused_readably
from tests.sandbox.standin.rotations import Rotation
from tests.sandbox.standin.transport import StandInTransport
from tests.unit.fakes import FakeInfisical, VirtualClock, described, rotation_id
from tests.unit.stages import DispatchStage

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

ID = "77a93bca-52ca-4ceb-9bf4-04cfefb102e6"
A_DAY = timedelta(days=1)
A_WEEK_AGO = START - timedelta(days=7)
LONGEST_NAME = 1000

Spoil = Callable[[httpx.Response], httpx.Response]


def login(request: httpx.Request) -> bool:
    return request.url.path.endswith("/login")


def rotate(request: httpx.Request) -> bool:
    return request.url.path.endswith("/rotate-secrets")


def state(request: httpx.Request) -> bool:
    return not login(request) and not rotate(request)


class Spoiling(httpx.BaseTransport):
    """Infisical does what it is asked to; the answers to calls of one kind arrive spoiled, while there is a `spoil`."""

    def __init__(self, world: World, kind: Callable[[httpx.Request], bool], spoil: Spoil) -> None:
        self._inner = StandInTransport(world.server)
        self._kind = kind
        self.spoil: Spoil | None = spoil

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        return self.spoil(response) if self.spoil and self._kind(request) else response


def answered(content: bytes, status: int = 200) -> Spoil:
    return lambda _: httpx.Response(status, content=content)


class Stage:
    """A rotation that is due, and a network that spoils one kind of answers."""

    def __init__(self, kind: Callable[[httpx.Request], bool], spoil: Spoil) -> None:
        self.world = World()
        self.world.rotation = self.world.server.add_rotation(
            rotation_id=ID, user_name="uploader", last_rotated_at=A_WEEK_AGO
        )
        self._network = Spoiling(self.world, kind, spoil)
        self.world.use_transport(self._network)
        self.request = self.world.request()

    def ensure(self) -> Outcome:
        """Work the request. What is told of its end can be read, and kept in FailedRotations.fifo."""
        outcome = self.world.ensure(self.request)
        assert outcome.name is None or len(outcome.name) <= LONGEST_NAME
        if outcome.explanation:
            readable(outcome.explanation)
        shown = [secret for secret in self.world.server.secrets if secret in outcome.explanation + str(outcome.name)]
        assert shown == []
        return outcome

    def recover(self, seconds: float = 2 * MINIMUM_INTERVAL.total_seconds()) -> Outcome:
        """Let everything be as it should for so long, and work the next occurrence."""
        self._network.spoil = None
        self.world.clock.sleep(seconds)
        self.request = self.world.request()
        return self.ensure()


def rotation_json() -> Json:
    """What Infisical says about the rotation of a stage."""
    rotation: Rotation = Stage(state, answered(b"")).world.rotation
    return {"secretRotation": rotation.to_json()}


VALID = rotation_json()
TEXT = json.dumps(VALID)
STATES = (
    mutated(VALID).map(written)
    | garbled(TEXT).map(str.encode)
    | st.builds(
        with_duplicate_name,
        st.just(TEXT),
        st.sampled_from(sorted(VALID["secretRotation"])),
        mutated("x"),
        last=st.booleans(),
    ).map(str.encode)
)
ANY = STATES | st.binary(max_size=40)


def said_age(content: bytes) -> timedelta | None:
    """How long ago an answer says, of this very rotation and in so many words, that it was rotated.

    Read as the parser does not.
    """
    try:
        fields = json.loads(content)["secretRotation"]
        moments = [datetime.fromisoformat(fields[name]) for name in ("lastRotatedAt", "lastRotationAttemptedAt")]
        texts = [fields["name"], fields["rotationStatus"]]
        is_said = UUID(fields["id"]) == UUID(ID) and all(moment.tzinfo for moment in moments)
        return START - moments[0] if is_said and all(isinstance(text, str) for text in texts) else None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError):
        return None


def is_of_its_user(content: bytes) -> bool:
    return b'"userName": "uploader"' in content


def rotates_only_what_is_due(content: bytes) -> None:
    here = Stage(state, answered(content))

    outcome = here.ensure()

    age = said_age(content)
    if age is None or age < -A_DAY:
        assert outcome.result in (Result.FAILED, Result.REFUSED, Result.DEFERRED), content
    elif age <= MINIMUM_INTERVAL:
        assert outcome.result is Result.SKIPPED, content
    assert here.world.posts <= (age is not None and age > MINIMUM_INTERVAL and is_of_its_user(content))
    assert here.recover().result is Result.ROTATED


def is_read(path: Path) -> bool:
    read = {"id", "name", "rotationStatus", "lastRotatedAt", "lastRotationAttemptedAt", "parameters", "userName"}
    return not path or path[-1] in {"secretRotation", "lastRotationMessage", *read}


@pytest.mark.parametrize("path", [path for path in paths_of(VALID) if is_read(path)], ids=dotted)
def test_a_state_with_one_part_damaged_rotates_nothing_and_blocks_nothing(path: Path) -> None:
    for damaged in damaged_at(VALID, path):
        rotates_only_what_is_due(written(damaged))


@FUZZED
@given(ANY)
@example(TEXT.encode())
def test_a_mutated_state_rotates_nothing_and_blocks_nothing(content: bytes) -> None:
    rotates_only_what_is_due(content)


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59.999Z", "2027-11-16T05:00:00.000Z"])
def test_a_last_rotation_in_the_future_is_reported_and_not_skipped(moment: str) -> None:
    later = {"lastRotatedAt": moment, "lastRotationAttemptedAt": moment}
    here = Stage(state, answered(written({"secretRotation": {**VALID["secretRotation"], **later}})))

    outcome = here.ensure()

    assert (outcome.result, outcome.reason) == (Result.FAILED, "InvalidAnswer")
    assert "lastRotatedAt" in outcome.explanation


@FUZZED
@given(ANY)
@example(TEXT.encode())
def test_a_mutated_answer_to_rotate_secrets_hides_and_repeats_no_commit(content: bytes) -> None:
    here = Stage(rotate, answered(content))

    outcome, again = here.ensure(), here.ensure()

    assert (outcome.result, again.result, again.reason) == (Result.ROTATED, Result.SKIPPED, "AlreadyRotated")
    assert here.world.posts == 1
    assert here.recover().result is Result.ROTATED


STATUSES = st.integers(100, 999).filter(lambda status: status not in range(200, 300))
REFUSAL = {"reqId": "req-1", "statusCode": 400, "error": "BadRequest", "message": "no such luck"}
BODIES = (
    mutated(REFUSAL).map(written)
    | garbled(json.dumps(REFUSAL)).map(str.encode)
    | st.sampled_from([b"", b"<html>Sign in</html>", b"{", written(nested(900))])
)


@FUZZED
@given(STATUSES, BODIES)
def test_a_committed_rotation_is_not_repeated_after_any_refusal(status: int, body: bytes) -> None:
    here = Stage(rotate, answered(body, status))

    here.ensure()
    here.world.clock.sleep(3600)  # however long a rate limit is, Infisical's word for it is no more than an hour
    here.ensure()

    assert here.world.posts == 1
    assert here.recover().result is Result.ROTATED


@pytest.mark.parametrize("status", [500, 599, 600, 999])
def test_a_status_that_says_no_clear_no_leaves_the_last_word_to_the_state(status: int) -> None:
    here = Stage(rotate, answered(b"", status))

    assert here.ensure().result is Result.ROTATED


@FUZZED
@given(STATUSES, BODIES)
def test_a_refused_state_rotates_nothing(status: int, body: bytes) -> None:
    here = Stage(state, answered(body, status))

    outcome = here.ensure()

    assert outcome.result in (Result.FAILED, Result.DEFERRED)
    assert here.world.posts == 0
    assert here.recover().result is Result.ROTATED


LOGIN = {"accessToken": "a-token-of-nobody", "expiresIn": 7200, "accessTokenMaxTTL": 7200, "tokenType": "Bearer"}
LOGINS = mutated(LOGIN).map(written) | garbled(json.dumps(LOGIN)).map(str.encode)


def lets_nobody_in(content: bytes, status: int) -> None:
    here = Stage(login, answered(content, status))

    outcome = here.ensure()

    is_clear_no = outcome.reason == "LoginRefused" and status in range(300, 500)
    assert outcome.result is Result.DEFERRED or is_clear_no or outcome.reason == "TokenError"
    assert (here.world.posts, "a-token-of-nobody" in outcome.explanation) == (0, False)
    assert here.recover(REFUSAL_MEMORY_SECONDS).result is Result.ROTATED


@pytest.mark.parametrize("path", paths_of(LOGIN), ids=dotted)
def test_a_login_with_one_part_damaged_rotates_nothing_and_is_retried(path: Path) -> None:
    for damaged in damaged_at(LOGIN, path):
        lets_nobody_in(written(damaged), 200)


@FUZZED
@given(LOGINS, st.sampled_from([200, 201, 204, 206]) | STATUSES.filter(lambda status: status != 429))
def test_a_mutated_login_rotates_nothing_and_is_retried(content: bytes, status: int) -> None:
    lets_nobody_in(content, status)


def with_lifetime(written_lifetime: str) -> Spoil:
    """A right login, but for how long it says that its token lives."""

    def spoil(response: httpx.Response) -> httpx.Response:
        answer = json.loads(response.read())
        return httpx.Response(200, text=json.dumps({**answer, "expiresIn": None}).replace("null", written_lifetime))

    return spoil


@pytest.mark.parametrize("lifetime", ["-1", "-1e308", "1e308", "NaN", "Infinity", "-Infinity", "1" + "0" * 400])
def test_a_token_of_an_impossible_lifetime_is_refused(lifetime: str) -> None:
    here = Stage(login, with_lifetime(lifetime))

    assert here.ensure().result is Result.DEFERRED
    assert here.recover(REFUSAL_MEMORY_SECONDS).result is Result.ROTATED


@pytest.mark.parametrize("lifetime", ["5e-324", "0.001", "1"])
def test_a_token_that_hardly_lives_costs_no_more_than_a_login_a_call(lifetime: str) -> None:
    here = Stage(login, with_lifetime(lifetime))

    outcome = here.ensure()

    paths = [entry.path for entry in here.world.server.requests]
    logins = sum(path.endswith("/login") for path in paths)
    assert (outcome.result, logins <= len(paths) - logins) == (Result.ROTATED, True)


@pytest.mark.parametrize("size", [100_000, 10_000_000])
def test_a_token_that_is_larger_than_any_server_takes_is_none(size: int) -> None:
    here = Stage(login, answered(written({**LOGIN, "accessToken": "x" * size})))

    here.ensure()

    assert {entry.path for entry in here.world.server.requests} == {"/api/v1/auth/universal-auth/login"}


# ---- what texts are told of ------------------------------------------------------------------------------------------

TOLD = ["name", "lastRotationMessage", "rotationStatus", "id"]


@pytest.mark.parametrize("field", TOLD)
@pytest.mark.parametrize(
    "value",
    ["x" * 1_000_000, "\ud800", ["\ud800"], {"\ud800": 1}, nested(300)],
    ids=["huge", "half a character", "half a character in a list", "half a name", "nested"],
)
def test_a_failed_rotations_refusal_can_be_kept_and_logged(field: str, value: Json) -> None:
    failed = {"rotationStatus": "failed", "lastRotationAttemptedAt": "2026-11-15T05:00:00.000Z", field: value}
    here = Stage(state, answered(written({"secretRotation": {**VALID["secretRotation"], **failed}})))
    here.request = here.world.request()
    here.world.guarded = False
    here.request = here.world.request()

    outcome = here.ensure()

    readable(f"{outcome.explanation} {outcome.name}")
    assert here.world.posts == int(field == "rotationStatus" and isinstance(value, str))


@pytest.fixture(scope="module")
def closed_iam() -> "IAMClient":
    """An IAM that nobody is behind, so that each call ends once it would be sent."""
    return boto3.client(
        "iam",
        endpoint_url="http://127.0.0.1:1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.mark.parametrize(
    "user_name",
    ["\ud800", "x" * 100_000, "", "x\ny", "x; rm -rf /", "$(id)", "\x00", "../x", "é"],
    ids=lambda name: ascii(name[:9]),
)
def test_the_key_guard_refuses_readably_for_any_user_name(closed_iam: "IAMClient", user_name: str) -> None:
    parameters = {"parameters": {"userName": user_name}}
    here = Stage(state, answered(written({"secretRotation": {**VALID["secretRotation"], **parameters}})))
    here.world.guard = KeyGuard(lambda *_: closed_iam, MINIMUM_INTERVAL, GRACE_PERIOD, here.world.clock)

    outcome = here.ensure()

    assert (outcome.result, outcome.reason, here.world.posts) == (Result.REFUSED, "KeysUnreadable", 0)


# ---- lists -----------------------------------------------------------------------------------------------------------

LISTED: Json = {"secretRotations": [described(1), described(2)]}


def listing(content: bytes) -> Infisical:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=content))
    return Infisical("https://infisical.test", httpx.Auth(), transport, VirtualClock())


def is_refused_or_makes_sense(content: bytes) -> None:
    with refused_readably() as refusal:
        listed = listing(content).rotations("payments", "aws-iam-user-secret", 45)
    if not refusal.text:
        for each, fields in zip(listed, json.loads(content)["secretRotations"], strict=True):
            if isinstance(each, InvalidAnswerError):
                readable(str(each))
                continue
            assert UUID(each.id) == UUID(fields["id"])
            said = [fields["type"], fields["projectId"], fields["environment"]["slug"], fields["folder"]["path"]]
            read = [each.type, each.project, each.environment, each.path]
            assert read == [text.replace(LONE_SURROGATE, "?") for text in said]
            if each.state is None:
                continue
            assert UUID(each.state.id) == UUID(fields["id"])
            assert each.state.last_rotated_at == datetime.fromisoformat(fields["lastRotatedAt"])
            assert all(isinstance(fields[name], str) for name in ("name", "rotationStatus"))


def test_a_list_with_one_part_damaged_yields_valid_rotations_or_errors() -> None:
    for path in paths_of(LISTED):
        if len(path) < 2 or path[1] == 1:  # the other rotation is read in the same way
            for damaged in damaged_at(LISTED, path):
                is_refused_or_makes_sense(written(damaged))


@FUZZED
@given(mutated(LISTED).map(written) | garbled(json.dumps(LISTED)).map(str.encode))
def test_a_mutated_list_yields_valid_rotations_or_errors(content: bytes) -> None:
    is_refused_or_makes_sense(content)


def test_a_folder_that_only_begins_like_the_selected_one_is_another() -> None:
    path = "/" + "x" * 399
    listed = [described(1, folder={"path": path}), described(2, folder={"path": f"{path}/and-deeper"})]
    here = DispatchStage(triggers={"weekly": {"project": "payments", "path": path}}, infisical=FakeInfisical(*listed))

    here.dispatch.handle({"trigger": "weekly"}, "correlation")

    assert here.requested == [rotation_id(1)]


# ---- keys ------------------------------------------------------------------------------------------------------------

SECRET = "s3cr3t-access-key"
CREDENTIALS: Json = {
    "type": "aws-iam-user-secret",
    "rotationId": rotation_id(1),
    "activeIndex": 1,
    "generatedCredentials": [
        {"accessKeyId": "AKIA0000000000000001", "secretAccessKey": f"{SECRET}-1"},
        {"accessKeyId": "AKIA0000000000000002", "secretAccessKey": f"{SECRET}-2"},
    ],
}


def are_refused_or_what_was_sent(content: bytes) -> None:
    with refused_readably() as refusal:
        keys = listing(content).credentials(MappedRotation(rotation_id(1)), 10)
    assert SECRET not in refusal.text
    if not refusal.text:
        answer: Any = json.loads(content)
        assert (answer["rotationId"], type(answer["activeIndex"])) == (rotation_id(1), int)
        sent = answer["generatedCredentials"][answer["activeIndex"]]
        assert (keys.published.id, keys.published.secret) == (sent["accessKeyId"], sent["secretAccessKey"])
        assert f"{keys.published.id}{keys.published.secret}".isprintable()


@pytest.mark.parametrize("path", paths_of(CREDENTIALS), ids=dotted)
def test_damaged_keys_are_refused_unseen_or_read_as_sent(path: Path) -> None:
    for damaged in damaged_at(CREDENTIALS, path):
        are_refused_or_what_was_sent(written(damaged))


@FUZZED
@given(mutated(CREDENTIALS).map(written) | garbled(json.dumps(CREDENTIALS)).map(str.encode))
def test_mutated_keys_are_refused_unseen_or_read_as_sent(content: bytes) -> None:
    are_refused_or_what_was_sent(content)


@pytest.mark.parametrize("index", ["true", "NaN", "1.0", "-1", "2", "1" + "0" * 400, "null", '"1"'])
def test_an_index_that_is_none_publishes_no_key(index: str) -> None:
    content = json.dumps({**CREDENTIALS, "activeIndex": None}).replace("null", index).encode()

    with pytest.raises(InfisicalError, match="activeIndex"):
        listing(content).credentials(MappedRotation(rotation_id(1)), 10)
