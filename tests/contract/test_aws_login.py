"""What the server makes of a login by AWS Auth, before and after it asks STS."""

import time
from hashlib import sha256
from uuid import uuid4

import pytest
from botocore.credentials import ReadOnlyCredentials

from tests.contract.aws_login import WHO_AM_I, login, signed
from tests.contract.stage import AWS_LOGIN, ROTATION, Stage, parsed, status_of
from tests.sandbox.standin.clock import VirtualClock
from tests.sandbox.standin.identities import Identity
from tests.sandbox.standin.sts import ForwardingSts, MemorySts

ACCOUNT = "arn:aws:iam::123456789012"
USER = f"{ACCOUNT}:user/deployer"


@pytest.fixture
def key(stage: Stage) -> ReadOnlyCredentials:
    return stage.memory_sts.issue(USER)


@pytest.fixture
def identity(stage: Stage) -> Identity:
    return stage.standin.add_identity({"read"}, allowed_principals=[USER])


def status(stage: Stage, body: object) -> int | None:
    return status_of(stage.send("POST", AWS_LOGIN, body))


def test_a_token_opens_what_its_identity_may(stage: Stage, key: ReadOnlyCredentials, identity: Identity) -> None:
    stage.token = stage.json("POST", AWS_LOGIN, login(identity.id, signed(key)))["accessToken"]

    assert status_of(stage.send("GET", ROTATION)) == 200
    assert status_of(stage.rotate()) == 403


def test_a_token_lives_as_long_as_configured(stage: Stage, key: ReadOnlyCredentials) -> None:
    identity = stage.standin.add_identity(allowed_principals=[USER], token_ttl_seconds=60)
    granted = stage.json("POST", AWS_LOGIN, login(identity.id, signed(key)))
    stage.token = granted["accessToken"]
    stage.clock.sleep(granted["expiresIn"])

    assert parsed(stage.send("GET", ROTATION))["error"] == "TokenError"


def test_an_identity_may_have_both_ways_to_log_in(stage: Stage, key: ReadOnlyCredentials, identity: Identity) -> None:
    assert stage.log_in(identity)
    assert status(stage, login(identity.id, signed(key))) == 200


def test_the_allow_list_can_change_between_logins(stage: Stage, key: ReadOnlyCredentials, identity: Identity) -> None:
    body = login(identity.id, signed(key))

    identity.allowed_principals = [f"{ACCOUNT}:user/other"]
    assert status(stage, body) == 401
    identity.allowed_principals = [f"{ACCOUNT}:user/other", USER]
    assert status(stage, body) == 200
    identity.allowed_principals = None
    assert status(stage, body) == 404


def test_an_empty_allow_list_allows_everybody(stage: Stage, key: ReadOnlyCredentials) -> None:
    anyone = stage.standin.add_identity(allowed_principals=[])

    assert status(stage, login(anyone.id, signed(key))) == 200
    assert status(stage, login(anyone.id, signed(key._replace(secret_key="wrong")))) == 500


def test_a_role_may_be_allowed_by_what_the_refusal_names(stage: Stage) -> None:
    role = "arn:aws:sts::123456789012:assumed-role/rotator"
    identity = stage.standin.add_identity(allowed_principals=[role])

    assert status(stage, login(identity.id, signed(stage.memory_sts.issue(f"{role}/rotate")))) == 200


@pytest.mark.parametrize("resource", ["root", "federated-user/somebody"])
def test_a_caller_that_is_neither_user_nor_role_fails(stage: Stage, resource: str) -> None:
    anyone = stage.standin.add_identity(allowed_principals=[])
    key = stage.memory_sts.issue(f"{ACCOUNT}:{resource}")

    assert status(stage, login(anyone.id, signed(key))) == 500


def test_an_unknown_identity_is_not_found(stage: Stage, key: ReadOnlyCredentials) -> None:
    assert status(stage, login(str(uuid4()), signed(key))) == 404


def test_every_missing_field_is_named(stage: Stage) -> None:
    outcome = stage.send("POST", AWS_LOGIN, {"iamHttpRequestMethod": 7})

    assert status_of(outcome) == 422
    assert [(issue["path"], issue["message"]) for issue in parsed(outcome)["message"]] == [
        (["identityId"], "Required"),
        (["iamHttpRequestMethod"], "Expected string, received number"),
        (["iamRequestBody"], "Required"),
        (["iamRequestHeaders"], "Required"),
    ]


def test_a_body_that_is_not_an_object_is_refused(stage: Stage) -> None:
    assert status(stage, []) == 422


def test_a_user_has_no_security_token(key: ReadOnlyCredentials) -> None:
    assert "X-Amz-Security-Token" not in signed(key)


@pytest.mark.parametrize("headers", ["", "e30", "W10", "bm90IEpTT04=", "eyJhIjogMX0=", "é"])
def test_headers_that_are_none_fail(stage: Stage, identity: Identity, headers: str) -> None:
    assert status(stage, {**login(identity.id, {}), "iamRequestHeaders": headers}) == 500


@pytest.mark.parametrize("region", ["", "US-EAST-1", "us.east.1", "r" * 21])
def test_a_weird_region_is_refused(stage: Stage, identity: Identity, key: ReadOnlyCredentials, region: str) -> None:
    outcome = stage.send("POST", AWS_LOGIN, login(identity.id, signed(key, region)))

    assert (status_of(outcome), parsed(outcome)["message"]) == (400, "Invalid AWS region")


@pytest.mark.parametrize("authorization", ["", "Basic dXNlcjpwYXNz", "AWS4-HMAC-SHA256 Credential=AKIA/20261122"])
def test_a_request_without_a_region_is_refused(
    stage: Stage, identity: Identity, key: ReadOnlyCredentials, authorization: str
) -> None:
    headers = {**signed(key), "Authorization": authorization}

    assert status(stage, login(identity.id, headers)) == 400


@pytest.mark.parametrize("region", ["ap-southeast-2", "r" * 20])
def test_the_region_is_the_caller_s_choice(
    stage: Stage, identity: Identity, key: ReadOnlyCredentials, region: str
) -> None:
    assert status(stage, login(identity.id, signed(key, region))) == 200


def test_a_url_is_ignored(stage: Stage, identity: Identity, key: ReadOnlyCredentials) -> None:
    body = login(identity.id, signed(key))

    assert status(stage, {**body, "iamRequestUrl": "aHR0cDovL2Vsc2V3aGVyZS8="}) == 200


@pytest.mark.parametrize(("accept", "expected"), [("application/json", 200), ("*/*", 500), ("text/xml", 500)])
def test_sts_has_to_be_asked_for_json(
    stage: Stage, identity: Identity, key: ReadOnlyCredentials, accept: str, expected: int
) -> None:
    is_signed = login(identity.id, signed(key, extra_headers={"accept": accept}))
    is_not = login(identity.id, {**signed(key), "ACCEPT": accept})

    assert [status(stage, body) for body in (is_signed, is_not)] == [expected, expected]


def test_an_sts_out_of_reach_fails_the_login(key: ReadOnlyCredentials) -> None:
    stage = Stage(sts=ForwardingSts("http://127.0.0.1:9"))  # where nobody listens
    anyone = stage.standin.add_identity(allowed_principals=[])

    assert status(stage, login(anyone.id, signed(key))) == 500


@pytest.mark.parametrize(("seconds", "expected"), [(-890, 200), (890, 200), (-910, 500), (910, 500)])
def test_a_signature_is_good_for_a_quarter_of_an_hour(seconds: float, expected: int) -> None:
    sts = MemorySts(VirtualClock(time.time() + seconds))
    stage = Stage(sts=sts)
    anyone = stage.standin.add_identity(allowed_principals=[])

    assert status(stage, login(anyone.id, signed(sts.issue(USER)))) == expected


def test_a_header_for_aws_that_is_not_signed_fails(stage: Stage, identity: Identity, key: ReadOnlyCredentials) -> None:
    headers = {"X-Amz-Meta": "1"}

    assert status(stage, login(identity.id, signed(key, extra_headers=headers))) == 200
    assert status(stage, login(identity.id, {**signed(key), **headers})) == 500


def test_a_content_hash_does_not_speak_for_another_body(
    stage: Stage, identity: Identity, key: ReadOnlyCredentials
) -> None:
    headers = signed(key, extra_headers={"X-Amz-Content-SHA256": sha256(WHO_AM_I).hexdigest()})

    assert status(stage, login(identity.id, headers)) == 200
    assert status(stage, login(identity.id, headers, WHO_AM_I + b"&Tampered=1")) == 500


def test_tokens_that_were_handed_out_or_shown_are_secrets(stage: Stage) -> None:
    anyone = stage.standin.add_identity(allowed_principals=[])
    session = stage.memory_sts.issue("arn:aws:sts::123456789012:assumed-role/rotator/rotate")

    granted = stage.json("POST", AWS_LOGIN, login(anyone.id, signed(session)))["accessToken"]

    assert {granted, session.token} <= stage.standin.secrets


def test_the_journal_knows_the_logins(stage: Stage, identity: Identity, key: ReadOnlyCredentials) -> None:
    status(stage, login(identity.id, signed(key)))
    status(stage, login(identity.id, {}))

    assert [(entry.path, entry.status) for entry in stage.standin.logins[1:]] == [(AWS_LOGIN, 200), (AWS_LOGIN, 400)]
