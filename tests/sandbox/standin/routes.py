"""Which endpoint a request means."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache

from tests.sandbox.standin.answers import route_not_found
from tests.sandbox.standin.requests import Request
from tests.sandbox.standin.rotation_types import ROTATION_TYPES

ROTATIONS = "/api/v2/secret-rotations"
ONE_TYPE = f"{ROTATIONS}/(?P<type>{'|'.join(ROTATION_TYPES)})"
ONE = f"{ONE_TYPE}/(?P<id>[^/]+)"


class Endpoint(Enum):
    UNIVERSAL_AUTH_LOGIN = auto()
    AWS_AUTH_LOGIN = auto()
    RENEW = auto()
    REVOKE = auto()
    LIST = auto()
    READ = auto()
    READ_CREDENTIALS = auto()
    ROTATE = auto()


@dataclass(frozen=True)
class Route:
    endpoint: Endpoint
    method: str
    pattern: str
    needs_token: bool = True


ROUTES = [
    Route(Endpoint.UNIVERSAL_AUTH_LOGIN, "POST", "/api/v1/auth/universal-auth/login", needs_token=False),
    Route(Endpoint.AWS_AUTH_LOGIN, "POST", "/api/v1/auth/aws-auth/login", needs_token=False),
    Route(Endpoint.RENEW, "POST", "/api/v1/auth/token/renew", needs_token=False),
    Route(Endpoint.REVOKE, "POST", "/api/v1/auth/token/revoke", needs_token=False),
    Route(Endpoint.LIST, "GET", ROTATIONS),
    Route(Endpoint.LIST, "GET", ONE_TYPE),
    Route(Endpoint.READ, "GET", ONE),
    Route(Endpoint.READ_CREDENTIALS, "GET", f"{ONE}/generated-credentials"),
    Route(Endpoint.ROTATE, "POST", f"{ONE}/rotate-secrets"),
]


def find(request: Request) -> tuple[Route, Mapping[str, str]]:
    """Return the route and what its path names; raise Refusal."""
    found = _find(request.method, request.path)
    if found is None:
        raise route_not_found(request.method, request.target)
    return found


@cache
def _find(method: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
    for route in ROUTES:
        match = re.fullmatch(route.pattern, path)
        if match and route.method == method:
            return route, match.groupdict()
    return None
