"""Our client against what the real server was recorded to answer."""

import json
import time
from collections.abc import Callable

import httpx
import pytest

from rotator.infisical.auth_methods import universal_auth
from rotator.infisical.client import Infisical
from rotator.infisical.errors import (
    InfisicalError,
    LoginRefusedError,
    PlanRestrictedError,
    RateLimitedError,
    RejectedError,
    RotationInProgressError,
    TokenRefusedError,
    UncertainError,
    UnknownRouteError,
    UntrustedIpError,
)
from rotator.infisical.login import MachineIdentity
from rotator.model import MappedRotation
from rotator.timestamps import format_timestamp
from tests.contract.recorded import Recording, load, names

TOKEN = {"accessToken": "a.b.c", "expiresIn": 7200, "accessTokenMaxTTL": 7200, "tokenType": "Bearer"}

# What each answer of rotate-secrets means to us: the error, its short reason.
ERRORS: dict[str, tuple[type[InfisicalError], str]] = {
    "abort-02-rotate-while-orphan-runs": (RotationInProgressError, "RotationInProgress"),
    "body-01-json-content-type-empty-body": (UncertainError, "Uncertain"),
    "conc-d-lock-race-1": (UncertainError, "Uncertain"),
    "err-01-unknown-uuid": (RejectedError, "NotFound"),
    "err-02-not-a-uuid": (RejectedError, "ValidationFailure"),
    "err-06-no-permission-viewer": (RejectedError, "PermissionDenied"),
    "err-07-identity-not-in-project": (RejectedError, "Rejected"),
    "err-08-wrong-rotation-type-slug": (RejectedError, "BadRequest"),
    "err-09-unknown-type-slug": (UnknownRouteError, "UnknownRoute"),
    "err-09b-unknown-type-slug-newer-server": (UnknownRouteError, "UnknownRoute"),
    "err-13-expired-token": (TokenRefusedError, "TokenRefused"),
    "err-14-revoked-token": (TokenRefusedError, "TokenRefused"),
    "err-15-plan-restriction": (PlanRestrictedError, "PlanRestricted"),
    "err-16-rotation-in-progress": (RotationInProgressError, "RotationInProgress"),
    "err-18-untrusted-address-rotate": (UntrustedIpError, "UntrustedIp"),
    "limit-02-rate-limited-429": (RateLimitedError, "RateLimited"),
    "prov-01-iam-user-deleted": (UncertainError, "Uncertain"),
    "plan-04-unknown-uuid": (PlanRestrictedError, "PlanRestricted"),
    "prov-06-provider-unreachable": (UncertainError, "Uncertain"),
}

# The same for a read.
READ_ERRORS: dict[str, tuple[type[InfisicalError], str]] = {
    "err-17-untrusted-address-get": (UntrustedIpError, "UntrustedIp"),
    "plan-01-get": (PlanRestrictedError, "PlanRestricted"),
}


def client(answer: Callable[[httpx.Request], httpx.Response], login: Recording | None = None) -> Infisical:
    """Our client, whose rotation calls get `answer`; its logins succeed, or get `login`, a recorded response."""

    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/login"):
            return replay(login) if login else httpx.Response(200, json=TOKEN)
        return answer(request)

    secret = '{"clientId": "id", "clientSecret": "secret"}'
    auth = MachineIdentity("https://infisical.test", lambda: universal_auth(secret), time.time)
    return Infisical("https://infisical.test", auth, httpx.MockTransport(respond), time)


def replay(recording: Recording) -> httpx.Response:
    assert recording.status
    return httpx.Response(
        recording.status, headers=dict(recording.headers), content=json.dumps(recording.body).encode()
    )


def recorded_states() -> list[str]:
    return sorted(name for name in names() if isinstance(load(name).body, dict) and "secretRotation" in load(name).body)


@pytest.mark.parametrize("name", recorded_states())
def test_every_recorded_state_is_understood(name: str) -> None:
    recording = load(name)
    fields = recording.body["secretRotation"]
    infisical = client(lambda _: replay(recording))

    state = infisical.state(MappedRotation(fields["id"]), 10)

    assert (state.id, state.name, state.status) == (fields["id"], fields["name"], fields["rotationStatus"])
    assert format_timestamp(state.last_rotated_at) == fields["lastRotatedAt"]
    assert format_timestamp(state.last_attempted_at) == fields["lastRotationAttemptedAt"]
    assert state.last_message == fields["lastRotationMessage"]


@pytest.mark.parametrize(("name", "meaning"), ERRORS.items(), ids=ERRORS)
def test_every_recorded_error_has_its_meaning(name: str, meaning: tuple[type[InfisicalError], str]) -> None:
    kind, reason = meaning
    infisical = client(lambda _: replay(load(name)))

    with pytest.raises(kind) as raised:
        infisical.rotate(MappedRotation("77a93bca-52ca-4ceb-9bf4-04cfefb102e6"), 35)

    assert (type(raised.value), raised.value.reason) == (kind, reason)


@pytest.mark.parametrize(("name", "meaning"), READ_ERRORS.items(), ids=READ_ERRORS)
def test_every_recorded_error_of_a_read_has_its_meaning(name: str, meaning: tuple[type[InfisicalError], str]) -> None:
    kind, reason = meaning
    infisical = client(lambda _: replay(load(name)))

    with pytest.raises(kind) as raised:
        infisical.state(MappedRotation("77a93bca-52ca-4ceb-9bf4-04cfefb102e6"), 10)

    assert (type(raised.value), raised.value.reason) == (kind, reason)


def test_a_rate_limit_says_when_to_retry() -> None:
    infisical = client(lambda _: replay(load("limit-02-rate-limited-429")))

    with pytest.raises(RateLimitedError) as raised:
        infisical.rotate(MappedRotation("77a93bca-52ca-4ceb-9bf4-04cfefb102e6"), 35)

    assert raised.value.retry_after_seconds == 59


def test_a_rate_limited_login_without_headers_is_tried_again_in_a_minute() -> None:
    infisical = client(lambda _: httpx.Response(500), login=load("limit-05-login-429-without-headers"))

    with pytest.raises(RateLimitedError) as raised:
        infisical.state(MappedRotation("77a93bca-52ca-4ceb-9bf4-04cfefb102e6"), 10)

    assert raised.value.retry_after_seconds == 60


@pytest.mark.parametrize(
    "name",
    [
        "auth-ua-02-wrong-secret",
        "auth-ua-03-unknown-client-id",
        "auth-ua-03b-unknown-client-id-newer-server",
        "auth-ua-04-missing-fields",
        "auth-ua-11-unknown-organization",
    ],
)
def test_every_recorded_refusal_of_a_login_is_a_refusal(name: str) -> None:
    infisical = client(lambda _: httpx.Response(500), login=load(name))

    with pytest.raises(LoginRefusedError):
        infisical.state(MappedRotation("77a93bca-52ca-4ceb-9bf4-04cfefb102e6"), 10)


def test_a_recorded_login_from_an_address_that_is_not_trusted_has_its_own_reason() -> None:
    infisical = client(lambda _: httpx.Response(500), login=load("auth-ua-08-untrusted-address"))

    with pytest.raises(UntrustedIpError):
        infisical.state(MappedRotation("77a93bca-52ca-4ceb-9bf4-04cfefb102e6"), 10)


def test_a_recorded_token_that_does_not_expire_is_used() -> None:
    recording = load("rot-01-get-before")
    infisical = client(lambda _: replay(recording), login=load("auth-ua-09-token-without-end"))

    assert infisical.state(MappedRotation(recording.body["secretRotation"]["id"]), 10).name == "aws-iam-rotation"


def test_rotate_sends_only_what_was_recorded_to_succeed() -> None:
    sent: list[httpx.Request] = []
    recording = load("rot-06-rotate-success-2")

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return replay(recording)

    client(answer).rotate(MappedRotation(recording.body["secretRotation"]["id"]), 35)

    (request,) = sent
    assert (request.method, request.url.path) == (recording.method, recording.path)
    assert request.content == b""
    assert "content-type" not in request.headers
    assert request.headers["content-length"] == "0"
