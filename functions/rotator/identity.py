"""Logging in to Infisical as a machine identity, as a flow of `httpx.Auth`: log in, attach the token, log in again."""

import json
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import httpx

from rotator.infisical import (
    InfisicalError,
    LoginRefusedError,
    RateLimitedError,
    RejectedError,
    UnreachableError,
    raise_for_error,
)

LOGIN_PATH = "/api/v1/auth/universal-auth/login"
LOGIN_TIMEOUT_SECONDS = 10

# A token this close to its end may end on the way.
EXPIRY_LEEWAY_SECONDS = 60

# Infisical locks an identity for this long after three refused logins within half a minute.
REFUSAL_MEMORY_SECONDS = 300


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """The client id and client secret of Universal Auth."""

    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    expires_at: float


@dataclass(frozen=True, slots=True)
class _Refusal:
    credentials: ClientCredentials
    answer: tuple[int, str, str]
    until: float


def parse_client_credentials(secret: str) -> ClientCredentials:
    """Read the JSON of the machine identity's secret: `{"clientId": "…", "clientSecret": "…"}`.

    White space around the values is dropped: pasted line ends are a known cause of refused logins.
    Raises ValueError that names what is missing and holds nothing of the secret.
    """
    try:
        fields = json.loads(secret)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise ValueError('the machine identity\'s secret must be JSON: {"clientId": "…", "clientSecret": "…"}')
    return ClientCredentials(_credential(fields, "clientId"), _credential(fields, "clientSecret"))


def _credential(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"the machine identity's secret has no {name}")
    return value.strip()


class UniversalAuth(httpx.Auth):
    """Logs in with client credentials, once for however many threads ask.

    The token lives in this object only, until shortly before it expires. A request that is answered 401, or 403 with
    `TokenError`, was not executed: it is sent once more with a new token. Refused credentials are not tried again for
    as long as Infisical might count the refusals, unless they have changed.

    `credentials` reads them anew at each login and may raise InfisicalError; `now` is a clock in epoch seconds (wall
    time goes on while Lambda freezes the process). Requests raise LoginRefusedError, RateLimitedError, or
    UnreachableError where the login fails.
    """

    def __init__(self, base_url: str, credentials: Callable[[], ClientCredentials], now: Callable[[], float]) -> None:
        self._login_url = base_url.rstrip("/") + LOGIN_PATH
        self._credentials = credentials
        self._now = now
        self._lock = threading.Lock()
        self._token: _Token | None = None
        self._refusal: _Refusal | None = None

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Attach a token, logging in where there is none or where it is not accepted."""
        token = yield from self._current_token(rejected=None)
        request.headers["Authorization"] = f"Bearer {token.value}"
        response = yield request
        if _token_rejected(response):
            token = yield from self._current_token(rejected=token)
            request.headers["Authorization"] = f"Bearer {token.value}"
            yield request

    def _current_token(self, rejected: _Token | None) -> Generator[httpx.Request, httpx.Response, _Token]:
        # The lock is held while httpx sends the login that is yielded here; whoever waits finds the new token.
        with self._lock:
            token = self._token
            if token is None or token is rejected or token.expires_at <= self._now():
                self._token = None
                token = self._token = yield from self._log_in()
            return token

    def _log_in(self) -> Generator[httpx.Request, httpx.Response, _Token]:
        credentials = self._credentials()
        refusal = self._refusal
        if refusal and refusal.credentials == credentials and self._now() < refusal.until:
            raise LoginRefusedError(*refusal.answer)
        request = httpx.Request(
            "POST",
            self._login_url,
            json={"clientId": credentials.client_id, "clientSecret": credentials.client_secret},
            extensions={"timeout": httpx.Timeout(LOGIN_TIMEOUT_SECONDS).as_dict()},
        )
        response = yield request
        response.read()
        try:
            raise_for_error(response)
        except RateLimitedError:
            raise
        except RejectedError as error:
            answer = (response.status_code, error.error, error.text)
            self._refusal = _Refusal(credentials, answer, self._now() + REFUSAL_MEMORY_SECONDS)
            raise LoginRefusedError(*answer) from None
        except InfisicalError as error:
            raise UnreachableError(f"the login failed: {error}") from error
        return self._parse_token(response)

    def _parse_token(self, response: httpx.Response) -> _Token:
        """Read a login's answer, from which nothing may reach an error's text."""
        try:
            answer = response.json()
            value, lifetime_seconds = answer["accessToken"], float(answer["expiresIn"])
        except (ValueError, KeyError, TypeError):
            value, lifetime_seconds = None, 0.0
        if not isinstance(value, str) or not value:
            raise UnreachableError(
                "the login's answer has no accessToken or no expiresIn; is the base URL Infisical's own?"
            ) from None
        leeway = min(EXPIRY_LEEWAY_SECONDS, lifetime_seconds / 10)
        return _Token(value, self._now() + lifetime_seconds - leeway)


def _token_rejected(response: httpx.Response) -> bool:
    """Whether the answer is about the token: expired and malformed ones are 403, not 401."""
    if response.status_code == httpx.codes.UNAUTHORIZED:
        return True
    if response.status_code != httpx.codes.FORBIDDEN:
        return False
    response.read()
    try:
        return bool(response.json().get("error") == "TokenError")
    except (ValueError, AttributeError):
        return False
