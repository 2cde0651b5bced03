"""The call that is signed for AWS Auth, signed once more by the book: nothing here shares a line with botocore."""

import base64
import hmac
import json
import re
from hashlib import sha256

import pytest
from botocore.credentials import Credentials, ReadOnlyCredentials

from rotator.infisical.auth_methods import aws_auth

IDENTITY_ID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
BODY = b"Action=GetCallerIdentity&Version=2011-06-15"
KEY_ID, SECRET_KEY = "ASIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SESSION = ReadOnlyCredentials(KEY_ID, SECRET_KEY, "FwoGZXIvYXdzEXAMPLE//token==")
USER = ReadOnlyCredentials("AKIAIOSFODNN7EXAMPLE", SECRET_KEY, None)

EACH_REGION = pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "us-gov-west-1", "ap-southeast-2"])
EACH_CREDENTIALS = pytest.mark.parametrize("credentials", [SESSION, USER], ids=["role", "user"])


def signed(credentials: ReadOnlyCredentials | Credentials = SESSION, region: str = "eu-central-1") -> dict[str, str]:
    """The headers that Infisical is shown."""
    headers = aws_auth(IDENTITY_ID, credentials, region).body["iamRequestHeaders"]
    shown: dict[str, str] = json.loads(base64.b64decode(headers, validate=True))
    return shown


def keyed(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def signature(headers: dict[str, str], secret_key: str, region: str) -> str:
    """Signature Version 4 of a POST of BODY to /, with all of these headers but Authorization."""
    lower = {name.lower(): value for name, value in headers.items() if name != "Authorization"}
    names = ";".join(sorted(lower))
    canonical = "\n".join(
        ["POST", "/", "", *(f"{name}:{lower[name]}" for name in sorted(lower)), "", names, sha256(BODY).hexdigest()]
    )
    moment = headers["X-Amz-Date"]
    scope = f"{moment[:8]}/{region}/sts/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", moment, scope, sha256(canonical.encode()).hexdigest()])
    key = keyed(keyed(keyed(keyed(f"AWS4{secret_key}".encode(), moment[:8]), region), "sts"), "aws4_request")
    return keyed(key, to_sign).hex()


def test_the_login_names_the_identity_and_shows_a_signed_question() -> None:
    login = aws_auth(IDENTITY_ID, SESSION, "eu-central-1")

    assert login.path == "/api/v1/auth/aws-auth/login"
    assert {name: value for name, value in login.body.items() if name != "iamRequestHeaders"} == {
        "identityId": IDENTITY_ID,
        "iamHttpRequestMethod": "POST",
        "iamRequestBody": base64.b64encode(BODY).decode(),
    }


def test_a_role_shows_exactly_these_headers() -> None:
    assert set(signed(SESSION)) == {
        "Authorization",
        "Content-Length",
        "Content-Type",
        "Host",
        "X-Amz-Date",
        "X-Amz-Security-Token",
    }


def test_a_user_has_no_security_token() -> None:
    assert set(signed(USER)) == {"Authorization", "Content-Length", "Content-Type", "Host", "X-Amz-Date"}


@EACH_CREDENTIALS
def test_the_login_asks_sts_for_json_only(credentials: ReadOnlyCredentials) -> None:
    assert "accept" not in {name.lower() for name in signed(credentials)}


def test_the_security_token_is_shown_as_it_is() -> None:
    assert signed(SESSION)["X-Amz-Security-Token"] == SESSION.token


def test_the_content_is_what_infisical_will_send() -> None:
    headers = signed()

    assert headers["Content-Length"] == str(len(BODY))
    assert headers["Content-Type"] == "application/x-www-form-urlencoded; charset=utf-8"


@EACH_REGION
def test_the_host_is_the_sts_of_the_region(region: str) -> None:
    assert signed(region=region)["Host"] == f"sts.{region}.amazonaws.com"


@EACH_CREDENTIALS
@EACH_REGION
def test_the_signature_is_aws_s_for_all_of_these_headers(credentials: ReadOnlyCredentials, region: str) -> None:
    headers = signed(credentials, region)

    names = ";".join(sorted(name.lower() for name in headers if name != "Authorization"))
    scope = f"{headers['X-Amz-Date'][:8]}/{region}/sts/aws4_request"
    assert headers["Authorization"] == (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={names},"
        f" Signature={signature(headers, SECRET_KEY, region)}"
    )


def test_the_moment_is_signed_as_aws_writes_it() -> None:
    assert re.fullmatch(r"\d{8}T\d{6}Z", signed()["X-Amz-Date"])


def test_credentials_that_boto3_keeps_fresh_sign_as_well() -> None:
    headers = signed(Credentials(KEY_ID, SECRET_KEY, SESSION.token))

    assert headers["X-Amz-Security-Token"] == SESSION.token
    assert headers["Authorization"].endswith(signature(headers, SECRET_KEY, "eu-central-1"))


def test_the_secret_key_is_never_shown() -> None:
    login = aws_auth(IDENTITY_ID, SESSION, "eu-central-1")
    headers = base64.b64decode(login.body["iamRequestHeaders"]).decode()

    assert SECRET_KEY not in headers + repr(login) + repr(login.body) + repr(login.credentials)
    assert str(SESSION.token) not in repr(login)


def test_a_refusal_is_of_the_identity_whichever_session_signed() -> None:
    first, second = (aws_auth(IDENTITY_ID, credentials, "eu-central-1") for credentials in (SESSION, USER))
    other = aws_auth("0fd5ae17-c5d1-4bf2-8ac8-25572406eee1", SESSION, "eu-central-1")

    assert first.credentials == second.credentials
    assert first.credentials != other.credentials
