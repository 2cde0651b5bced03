from typing import TYPE_CHECKING

from tests.sandbox.standin import routes
from tests.sandbox.standin.answers import Answer, Dropped, Refusal, json_answer
from tests.sandbox.standin.limits import RateLimits
from tests.sandbox.standin.login_endpoints import LoginEndpoints
from tests.sandbox.standin.requests import Request
from tests.sandbox.standin.rotation_endpoints import RotationEndpoints
from tests.sandbox.standin.timeline import Process
from tests.sandbox.standin.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Mapping


class Pipeline:
    """What every request passes through, in the server's order: route, token, body, rate limit, endpoint."""

    def __init__(
        self, tokens: Tokens, logins: LoginEndpoints, rotations: RotationEndpoints, rate_limits: RateLimits | None
    ) -> None:
        self._tokens = tokens
        self._logins = logins
        self._rotations = rotations
        self._rate_limits = rate_limits

    def answer(self, request: Request, request_id: str) -> Process:
        headers: Mapping[str, str] = {}
        try:
            route, named = routes.find(request)
            token = request.header("authorization")
            caller = self._tokens.authenticate(token, request.at) if route.needs_token else None
            body = request.body()
            if self._rate_limits:
                headers = self._rate_limits.count(route.method, route.pattern, request.at)
            if caller:
                result = yield from self._rotations.respond(route.endpoint, request, named, caller)
            else:
                result = self._logins.respond(route.endpoint, body, request.at)
        except Refusal as refusal:
            return json_answer(refusal.status, refusal.payload(request_id), {**headers, **refusal.headers})
        return result if isinstance(result, Answer | Dropped) else json_answer(200, result, headers)
