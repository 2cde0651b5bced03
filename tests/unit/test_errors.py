"""Which answer means what: above all, whether anything may have been done."""

import json

import httpx
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from rotator.infisical.errors import (
    ForeignAnswerError,
    InfisicalError,
    InvalidAnswerError,
    LoginRefusedError,
    PlanRestrictedError,
    RateLimitedError,
    RejectedError,
    RotationInProgressError,
    TokenRefusedError,
    UncertainError,
    UnknownRouteError,
    UnreachableError,
    UntrustedIpError,
    json_object,
    message_text,
    raise_for_error,
    reason_of,
)
from rotator.text import MAXIMUM_TEXT_LENGTH

IN_PROGRESS = "A rotation is already in progress for this secret"
PLAN_RESTRICTION = "Failed to get secret rotation due to plan restriction. Upgrade plan to get secret rotation."
UNTRUSTED_IP = "You are not allowed to access this resource from the current IP address"


def error_of(response: httpx.Response) -> InfisicalError:
    with pytest.raises(InfisicalError) as raised:
        raise_for_error(response)
    return raised.value


def refusal(status: int, message: object = "no", error: object = "SomeError") -> httpx.Response:
    """An error in Infisical's own shape."""
    return httpx.Response(status, json={"statusCode": status, "error": error, "message": message})


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_success_raises_no_error(status: int) -> None:
    raise_for_error(httpx.Response(status))


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (refusal(429), RateLimitedError),
        (refusal(400, IN_PROGRESS), RotationInProgressError),
        (refusal(400, "Bad input"), RejectedError),
        (refusal(400, [IN_PROGRESS]), RejectedError),
        (refusal(401), RejectedError),
        (refusal(403, IN_PROGRESS), RejectedError),
        (refusal(404), RejectedError),
        (refusal(422), RejectedError),
        (refusal(408), UncertainError),
        (refusal(500), UncertainError),
        (refusal(503, IN_PROGRESS), UncertainError),
        (refusal(400, PLAN_RESTRICTION), PlanRestrictedError),
        (refusal(403, UNTRUSTED_IP, "ForbiddenError"), UntrustedIpError),
        (refusal(403, "You are not allowed to access this resource", "ForbiddenError"), RejectedError),
        (refusal(404, "Route GET:/api/api/v2/secret-rotations not found", "Not Found"), UnknownRouteError),
        (httpx.Response(502, text="<html>Bad gateway</html>"), ForeignAnswerError),
        (httpx.Response(504), ForeignAnswerError),
        (httpx.Response(302, headers={"location": "https://elsewhere.test/"}), ForeignAnswerError),
        (httpx.Response(404, text="default backend - 404"), ForeignAnswerError),
        (httpx.Response(403, text="<html>Blocked by the firewall</html>"), ForeignAnswerError),
        (httpx.Response(405, json={"message": "Method Not Allowed"}), ForeignAnswerError),
        (httpx.Response(421, text="Misdirected Request"), ForeignAnswerError),
        (httpx.Response(403, json={"statusCode": 404, "error": "NotFound", "message": "x"}), ForeignAnswerError),
        (httpx.Response(400, json=[]), ForeignAnswerError),
    ],
    ids=lambda value: str(value.status_code) if isinstance(value, httpx.Response) else "",
)
def test_every_answer_means_one_thing(response: httpx.Response, error: type[InfisicalError]) -> None:
    assert type(error_of(response)) is error


@given(st.integers(300, 599), st.text(max_size=20) | st.none(), st.text(max_size=20) | st.none())
def test_only_a_definite_rejection_means_that_nothing_was_done(
    status: int, error: str | None, message: str | None
) -> None:
    raised = error_of(refusal(status, message, error))

    has_infisicals_shape = error is not None and message is not None
    may_have_been_done = status != 429 and (status >= 500 or status < 400 or status == 408 or not has_infisicals_shape)
    assert isinstance(raised, UncertainError) == may_have_been_done


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30.0),
        ("1.5", 1.5),
        ("0", 1.0),
        ("-5", 1.0),
        ("86400", 3600.0),
        ("inf", 3600.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 60.0),
        ("soon", 60.0),
        ("", 60.0),
        (None, 60.0),
    ],
)
def test_a_rate_limits_wait_is_between_a_second_and_an_hour(header: str | None, seconds: float) -> None:
    limited = error_of(httpx.Response(429, headers={} if header is None else {"retry-after": header}))

    assert isinstance(limited, RateLimitedError)
    assert limited.retry_after_seconds == seconds


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=9) | st.floats().map(str))
def test_any_retry_after_header_gives_a_usable_wait(header: str) -> None:
    limited = error_of(httpx.Response(429, headers={"retry-after": header}))

    assert isinstance(limited, RateLimitedError)
    assert 1.0 <= limited.retry_after_seconds <= 3600.0


@pytest.mark.parametrize(
    ("response", "reason", "next_step"),
    [
        (httpx.Response(307, headers={"location": "https://elsewhere.test/"}), "ForeignAnswer", "check InfisicalUrl"),
        (httpx.Response(404, text="default backend - 404"), "ForeignAnswer", "a proxy, a firewall or a maintenance"),
        (refusal(403, UNTRUSTED_IP, "ForbiddenError"), "UntrustedIp", "trusted IPs of the machine identity"),
        (refusal(404, "Route POST:/api/api/v1 not found", "Not Found"), "UnknownRoute", "Correct InfisicalUrl"),
        (refusal(400, PLAN_RESTRICTION), "PlanRestricted", "Upgrade plan"),
    ],
)
def test_an_error_that_an_operator_can_fix_names_the_next_step(
    response: httpx.Response, reason: str, next_step: str
) -> None:
    error = error_of(response)

    assert error.reason == reason
    assert next_step in str(error)


# ---- what is told ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnreachableError("x"), "Unreachable"),
        (RateLimitedError(30.0), "RateLimited"),
        (RejectedError(403, "PermissionDenied", "x"), "PermissionDenied"),
        (RejectedError(400, "Bad Request", "x"), "Rejected"),
        (RejectedError(400, "", "x"), "Rejected"),
        (RejectedError(404, "without a reason", "x"), "Rejected"),
        (LoginRefusedError(404, "NotFound", "x"), "LoginRefused"),
        (RotationInProgressError("x"), "RotationInProgress"),
        (UncertainError("x"), "Uncertain"),
        (InvalidAnswerError("x"), "InvalidAnswer"),
        (TokenRefusedError("x"), "TokenRefused"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_every_error_has_a_short_name(error: InfisicalError, reason: str) -> None:
    assert error.reason == reason


def test_a_refused_login_is_not_taken_for_a_refused_rotation() -> None:
    assert str(LoginRefusedError(404, "NotFound", "no identity")).startswith("the login of the machine identity was ")


@pytest.mark.parametrize("status", [400, 403, 500])
def test_infisicals_message_is_quoted_and_capped(status: int) -> None:
    text = str(error_of(refusal(status, "no such luck " + "x" * 100_000, "y" * 100_000)))

    assert "no such luck" in text
    assert len(text) < 2 * MAXIMUM_TEXT_LENGTH + 50


def test_a_validation_error_whose_message_is_a_list_is_quoted() -> None:
    assert "Required" in str(error_of(refusal(422, [{"path": ["projectId"], "message": "Required"}])))


def test_a_proxys_page_is_not_quoted_as_infisicals() -> None:
    text = str(error_of(httpx.Response(403, text="<html>s3cr3t</html>")))

    assert "did not come from Infisical" in text
    assert "s3cr3t" not in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, None), ("", ""), ("x", "x"), ([], "[]"), ({"a": 1}, '{"a": 1}'), (7, "7"), ("x" * 401, "x" * 400)],
    ids=repr,
)
def test_any_text_is_capped(value: object, text: str | None) -> None:
    assert message_text(value) == text


@pytest.mark.parametrize("body", ["", "<html>", "{", "[]", "7", "null", '"x"', "[" * 100_000, "{'a': 1}"])
def test_an_answer_that_is_not_a_json_object_is_foreign(body: str) -> None:
    with pytest.raises(ForeignAnswerError, match="did not come from Infisical"):
        json_object(httpx.Response(200, text=body))


@given(st.dictionaries(st.text(), st.integers()))
def test_an_answer_that_is_an_object_is_read(fields: dict[str, int]) -> None:
    assert json_object(httpx.Response(200, content=json.dumps(fields).encode())) == fields


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnreachableError("no connection"), "Unreachable"),
        (ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, "Get"), "AccessDeniedException"),
        (EndpointConnectionError(endpoint_url="https://ssm"), "EndpointConnection"),
        (ValueError("x"), "Value"),
    ],
    ids=["Infisical's", "AWS's", "of the way to AWS", "any"],
)
def test_logs_and_metrics_name_any_error_shortly(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
