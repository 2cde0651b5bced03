"""Who in AWS may log in. An STS in memory and the STS of an embedded AWS have to agree about it."""

import base64
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from uuid import uuid4

import pytest
from botocore.credentials import ReadOnlyCredentials

from tests.contract.accounts import Account, AccountInMemory, EmbeddedAccount
from tests.contract.aws_login import WHO_AM_I, encoded, login, signed
from tests.contract.stage import AWS_LOGIN, ROTATION, Stage, parsed, status_of
from tests.sandbox.embedded_aws import ACCOUNT, ROOT_SECRET, EmbeddedAws, embedded_aws
from tests.sandbox.standin.aws_auth import signed_request
from tests.sandbox.standin.sts import ForwardingSts, StsError

ARN = f"arn:aws:iam::{ACCOUNT}"
ANOTHER_QUESTION = b"Action=GetSessionToken&Version=2011-06-15"

FAILED = (500, "Something went wrong")

Headers = dict[str, str]


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedAws]:
    with embedded_aws() as aws:
        yield aws


@pytest.fixture(scope="module", params=["in memory", "embedded"])
def account(request: pytest.FixtureRequest) -> Account:
    return AccountInMemory() if request.param == "in memory" else EmbeddedAccount(request.getfixturevalue("embedded"))


@pytest.fixture
def stage(account: Account) -> Stage:
    return Stage(sts=account.sts)


@pytest.fixture
def name() -> str:
    """A name that no other test gives to anything in the embedded account."""
    return f"name-{uuid4()}"


def log_in(stage: Stage, headers: Mapping[str, str], *allowed: str, body: bytes = WHO_AM_I) -> tuple[int | None, str]:
    """As an identity that admits `allowed`; return the status, and the message or the token."""
    identity = stage.standin.add_identity(allowed_principals=allowed)
    return answer(stage, login(identity.id, headers, body))


def answer(stage: Stage, body: Mapping[str, str]) -> tuple[int | None, str]:
    outcome = stage.send("POST", AWS_LOGIN, body)
    payload = parsed(outcome)
    return status_of(outcome), payload.get("accessToken") or payload["message"]


def why(account: Account, headers: Mapping[str, str]) -> str:
    """What STS says, which the server keeps to itself."""
    with pytest.raises(StsError) as refusal:
        account.sts.get_caller_arn(signed_request("POST", base64.b64encode(WHO_AM_I).decode(), encoded(headers)))
    return str(refusal.value)


def denied(principal: str) -> tuple[int, str]:
    return 401, f"Access denied: AWS principal ARN not allowed. [principal-arn={principal}]"


def test_a_user_logs_in_with_an_access_key(stage: Stage, account: Account, name: str) -> None:
    key = account.create_user(name, "/staff/on-call/")

    status, stage.token = log_in(stage, signed(key), f"{ARN}:user/{name}")

    assert status == 200
    assert status_of(stage.send("GET", ROTATION)) == 200


def test_a_role_session_logs_in_with_any_role_path(stage: Stage, account: Account, name: str) -> None:
    session = account.create_session(name, "/service-role/")

    status, stage.token = log_in(stage, signed(session, "eu-west-1"), f"{ARN}:role/other", f"{ARN}:role/{name}")

    assert status == 200
    assert status_of(stage.send("GET", ROTATION)) == 200


def test_another_role_is_denied(stage: Stage, account: Account, name: str) -> None:
    session = account.create_session(name, "/service-role/")

    allowed = (f"{ARN}:role/{name}-2", f"{ARN}:role/service-role/{name}", f"{ARN}:user/{name}")

    assert log_in(stage, signed(session), *allowed) == denied(f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}")


def test_another_user_is_denied(stage: Stage, account: Account, name: str) -> None:
    key = account.create_user(name, "/staff/")

    allowed = (f"{ARN}:user/{name}-2", f"{ARN}:user/staff/{name}", f"{ARN}:role/{name}")

    assert log_in(stage, signed(key), *allowed) == denied(f"{ARN}:user/{name}")


def test_a_wrong_secret_fails(stage: Stage, account: Account, name: str) -> None:
    key = account.create_user(name)
    headers = signed(key._replace(secret_key="wrong"))

    assert log_in(stage, headers) == FAILED
    assert "SignatureDoesNotMatch" in why(account, headers)


@pytest.mark.parametrize("token", [None, "another"])
def test_a_session_is_nothing_without_its_token(stage: Stage, account: Account, name: str, token: str | None) -> None:
    session = account.create_session(name)

    assert log_in(stage, signed(session._replace(token=token))) == FAILED


def test_a_deleted_key_fails(stage: Stage, account: Account, name: str) -> None:
    key = account.create_user(name)
    headers = signed(key)
    assert log_in(stage, headers)[0] == 200

    account.delete_key(name, str(key.access_key))

    assert log_in(stage, headers) == FAILED
    assert "InvalidClientTokenId" in why(account, headers)


def replaced(name: str, pattern: str, replacement: str) -> Callable[[Headers], Headers]:
    def tamper(headers: Headers) -> Headers:
        value, count = re.subn(pattern, replacement, headers[name])
        assert count == 1
        return {**headers, name: value}

    return tamper


def without(name: str, headers: Headers) -> Headers:
    return {key: value for key, value in headers.items() if key != name}


TAMPERINGS: Mapping[str, Callable[[Headers], Headers]] = {
    "day": replaced("X-Amz-Date", r"^\d{8}", "20200229"),
    "no date": replaced("X-Amz-Date", r"^.+$", "now"),
    "no date anywhere": lambda headers: without("X-Amz-Date", replaced("Authorization", "x-amz-date;", "")(headers)),
    "content type": replaced("Content-Type", "utf-8", "latin-1"),
    "no content type": lambda headers: without("Content-Type", headers),
    "signature": replaced("Authorization", "Signature=.{8}", "Signature=00000000"),
    "key id": replaced("Authorization", "Credential=[^/]+", "Credential=ASIA0000000000000000"),
    "scope's day": replaced("Authorization", r"/\d{8}/", "/20200229/"),
    "scope's region": replaced("Authorization", "us-east-1", "eu-west-1"),
    "scope's service": replaced("Authorization", "/sts/", "/iam/"),
    "what is signed": replaced("Authorization", "content-type;", ""),
    "security token": replaced("X-Amz-Security-Token", "^.{8}", "00000000"),
    "no security token": lambda headers: without("X-Amz-Security-Token", headers),
}


@pytest.mark.parametrize("title", TAMPERINGS)
def test_a_header_that_was_tampered_with_fails(stage: Stage, account: Account, name: str, title: str) -> None:
    headers = signed(account.create_session(name))
    assert log_in(stage, headers)[0] == 200

    assert log_in(stage, TAMPERINGS[title](headers)) == FAILED


def test_a_request_that_is_signed_for_another_host_fails(stage: Stage, account: Account, name: str) -> None:
    headers = signed(account.create_user(name), extra_headers={"Host": "sts.amazonaws.com"})

    assert log_in(stage, headers) == FAILED
    assert "SignatureDoesNotMatch" in why(account, headers)


def test_a_changed_body_fails(stage: Stage, account: Account, name: str) -> None:
    assert log_in(stage, signed(account.create_user(name)), body=WHO_AM_I.swapcase()) == FAILED


def test_a_signed_request_for_another_action_fails(stage: Stage, account: Account, name: str) -> None:
    key = account.create_user(name)

    assert log_in(stage, signed(key, body=ANOTHER_QUESTION), body=ANOTHER_QUESTION) == FAILED


def test_an_arn_in_another_answer_is_not_the_callers(embedded: EmbeddedAws) -> None:
    question = b"Action=GetFederationToken&Name=somebody&Version=2011-06-15"
    headers = signed(ReadOnlyCredentials(ACCOUNT, ROOT_SECRET, None), body=question)
    request = signed_request("POST", base64.b64encode(question).decode(), encoded(headers))

    with pytest.raises(StsError, match=r"<FederatedUser>.*<Arn>"):
        ForwardingSts(embedded.endpoint).get_caller_arn(request)


def test_a_changed_method_fails(stage: Stage, account: Account, name: str) -> None:
    body = login(stage.standin.add_identity(allowed_principals=()).id, signed(account.create_user(name)))

    assert answer(stage, body)[0] == 200
    assert answer(stage, {**body, "iamHttpRequestMethod": "PUT"}) == FAILED


def test_no_secret_of_a_caller_is_logged(embedded: EmbeddedAws, name: str, caplog: pytest.LogCaptureFixture) -> None:
    account = EmbeddedAccount(embedded)
    stage, session = Stage(sts=account.sts), account.create_session(name)
    headers = signed(session)
    caplog.set_level(logging.DEBUG)

    assert log_in(stage, headers)[0] == 200
    assert log_in(stage, headers, f"{ARN}:role/other")[0] == 401
    assert log_in(stage, {**headers, "X-Amz-Date": "20200229T000000Z"})[0] == 500

    logged = caplog.text + embedded.log.read_text() + repr(stage.standin.requests)
    assert AWS_LOGIN in logged
    assert "POST" in caplog.text
    assert [part for part in (session.token, session.secret_key, headers["Authorization"]) if str(part) in logged] == []
