"""What a request to an AWS service says about itself."""

import re
from urllib.parse import parse_qs

import httpx

SCOPE = re.compile(r"Credential=(?P<key_id>[^/]+)/\d{8}/[^/]+/(?P<service>[^/]+)/")


def operation(request: httpx.Request) -> str:
    """Return `service:Operation` as IAM writes it; for what is no call of AWS, the method and the path."""
    scope = SCOPE.search(request.headers.get("authorization", ""))
    if scope is None:
        return f"{request.method} {request.url.raw_path.decode()}"
    target = request.headers.get("x-amz-target", "").rpartition(".")[2]
    (action,) = parse_qs(request.content.decode()).get("Action", [target]) if not target else [target]
    return f"{scope['service']}:{action or request.method}"


def signer(request: httpx.Request) -> str:
    """Return the id of the access key that it is signed with, or nothing."""
    scope = SCOPE.search(request.headers.get("authorization", ""))
    return scope["key_id"] if scope else ""
