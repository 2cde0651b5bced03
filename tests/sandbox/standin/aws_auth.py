"""AWS Auth: the caller signs the question who it is, the server puts it to STS, and STS's answer is who logs in."""

import base64
import json
import re
from collections.abc import Collection

import httpx

from tests.sandbox.standin.answers import Refusal, server_error
from tests.sandbox.standin.sts import Sts, StsError

JSON = "application/json"
SCOPE = re.compile(r"(?:^| )Credential=[^/ ]*/[^/ ]*/(?P<region>[a-z0-9-]{1,20})(?:[/ ]|$)")
USER = re.compile(r"arn:[^:]+:iam::(?P<account>\d+):user/(?:.+/)?(?P<name>[^/]+)")
ASSUMED_ROLE = re.compile(r"arn:[^:]+:sts::(?P<account>\d+):assumed-role/(?P<name>[^/]+)/[^/]+")


def signed_request(method: str, body: str, headers: str) -> httpx.Request:
    """Return the request that these Base64 texts hold, addressed to the STS of the region that it is signed for."""
    try:
        forwarded = httpx.Headers(json.loads(base64.b64decode(headers)))
        content = base64.b64decode(body)
    except (ValueError, TypeError):
        raise server_error() from None
    scope = SCOPE.search(forwarded.get("authorization", ""))
    if scope is None:
        raise Refusal(400, "Invalid AWS region")
    host = f"sts.{scope['region']}.amazonaws.com"
    forwarded["host"] = host
    forwarded.setdefault("accept", JSON)
    return httpx.Request(method, f"https://{host}/", headers=forwarded, content=content)


def get_caller_arn(request: httpx.Request, sts: Sts) -> str:
    if request.headers["accept"] != JSON:
        raise server_error()  # STS answers XML then, which the server cannot read
    try:
        return sts.get_caller_arn(request)
    except StsError as error:
        raise server_error() from error


def require_allowed(arn: str, allowed_principals: Collection[str]) -> None:
    """Where none is named, everybody is allowed whom STS knows."""
    principal, *aliases = _names(arn)
    if allowed_principals and not {principal, *aliases} & set(allowed_principals):
        raise Refusal(401, f"Access denied: AWS principal ARN not allowed. [principal-arn={principal}]")


def _names(arn: str) -> list[str]:
    """What a principal may be called: without its path, and without the name of its session."""
    if user := USER.fullmatch(arn):
        return ["arn:aws:iam::{account}:user/{name}".format_map(user.groupdict())]
    if role := ASSUMED_ROLE.fullmatch(arn):
        forms = ("arn:aws:sts::{account}:assumed-role/{name}", "arn:aws:iam::{account}:role/{name}")
        return [form.format_map(role.groupdict()) for form in forms]
    raise server_error()  # the account's root, for one
