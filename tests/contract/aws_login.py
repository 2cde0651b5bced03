"""What somebody in AWS shows to log in, signed by botocore."""

import base64
import json
from collections.abc import Mapping

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

WHO_AM_I = b"Action=GetCallerIdentity&Version=2011-06-15"


def signed(
    credentials: ReadOnlyCredentials,
    region: str = "us-east-1",
    extra_headers: Mapping[str, str] | None = None,
    body: bytes = WHO_AM_I,
) -> dict[str, str]:
    """Return the headers of a call of STS; `extra_headers` add to what is signed, or replace it."""
    host = f"sts.{region}.amazonaws.com"
    headers = {
        "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
        "Host": host,
        "Content-Length": str(len(body)),
        **(extra_headers or {}),
    }
    request = AWSRequest("POST", f"https://{host}/", headers=headers, data=body)
    SigV4Auth(credentials, "sts", region).add_auth(request)
    return dict(request.headers)


def encoded(headers: Mapping[str, str]) -> str:
    return base64.b64encode(json.dumps(headers).encode()).decode()


def login(identity_id: str, headers: Mapping[str, str], body: bytes = WHO_AM_I) -> dict[str, str]:
    return {
        "identityId": identity_id,
        "iamRequestBody": base64.b64encode(body).decode(),
        "iamRequestHeaders": encoded(headers),
    }
