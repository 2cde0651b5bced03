"""Logging in to Infisical as a machine identity, as a flow of `httpx.Auth`: log in, attach the token, log in again."""

import re
import threading
from collections.abc import Callable, Generator, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from rotator.infisical.errors import (
    ForeignAnswerError,
    InfisicalError,
    InvalidAnswerError,
    LoginRefusedError,
    RateLimitedError,
    RejectedError,
    TokenRefusedError,
    UnknownRouteError,
    UnreachableError,
    UntrustedIpError,
    json_object,
    raise_for_error,
)

if TYPE_CHECKING:
    from rotator.infisical.transport import CallTimeouts

LOGIN_TIMEOUT_SECONDS = 10.0

# A token this close to its expiry may expire before the request arrives.
EXPIRY_LEEWAY_SECONDS = 60

# Infisical allows lifetimes from 0, which means that the token does not expire, to 315,360,000 s (ten years).
LONGEST_LIFETIME_SECONDS = 10 * 365 * 86_400

# How long a token that does not expire is used. A refusal by the server ends it earlier.
ENDLESS_LIFETIME_SECONDS = 3600

# How long a failed login is cached for all threads. Infisical locks an identity for five minutes after three refusals
# within 30 s. A login without a response would delay one thread after the other.
REFUSAL_MEMORY_SECONDS = 300
LOCK_MEMORY_SECONDS = 60
FAILURE_MEMORY_SECONDS = 15

_LOCKED = "temporarily locked"
_TOKEN = re.compile(r"[!-~]{1,8192}")  # no server takes a longer header


@dataclass(frozen=True, slots=True)
class Login:
    """What an identity logs in with, and where.

    Two logins of equal `credentials` will both be refused if one is.
    """

    path: str
    body: Mapping[str, str] = field(repr=False)
    credentials: Hashable = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    expires_at: float


@dataclass(frozen=True, slots=True)
class _CachedFailure:
    """`credentials` None: it counts for all credentials."""

    error: InfisicalError
    credentials: Hashable | None = field(repr=False)
    until: float


class MachineIdentity(httpx.Auth):
    """Logs in, once for all threads.

    The token lives in this object only, until shortly before it expires. A request that is answered 401, or 403 with
    `TokenError`, was not executed. It is sent once more with a new token; if that is refused too, it raises
    TokenRefusedError. A failed login is cached for a while. Refused credentials are cached for as long as Infisical may
    count the refusals, or until they change.

    `login` is called for each login and may raise InfisicalError. `now` is a clock in epoch seconds: wall time goes on
    while Lambda freezes the process. If the login fails, requests raise LoginRefusedError, UntrustedIpError,
    UnknownRouteError, RateLimitedError or UnreachableError.
    """

    def __init__(self, base_url: str, login: Callable[[], Login], now: Callable[[], float]) -> None:
        self._base_url = base_url.rstrip("/")
        self._login = login
        self._now = now
        self._lock = threading.Lock()
        self._token: _Token | None = None
        self._failure: _CachedFailure | None = None

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Attach a token, logging in where there is none or where it is not accepted."""
        token = yield from self._current_token(request, rejected=None)
        request.headers["Authorization"] = f"Bearer {token.value}"
        response = yield request
        if _token_rejected(response):
            token = yield from self._current_token(request, rejected=token)
            request.headers["Authorization"] = f"Bearer {token.value}"
            response = yield request
            if _token_rejected(response):
                raise TokenRefusedError(f"Infisical refused ({response.status_code}) a token that it had just issued")

    def _current_token(
        self, request: httpx.Request, rejected: _Token | None
    ) -> Generator[httpx.Request, httpx.Response, _Token]:
        # The lock is held while httpx sends the login that is yielded here; waiting threads use its result.
        with self._lock:
            token = self._token
            if token is None or token is rejected or token.expires_at <= self._now():
                self._token = None
                token = self._token = yield from self._log_in(request)
            return token

    def _log_in(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, _Token]:
        self._raise_cached_failure(None)
        try:
            login = self._login()
        except InfisicalError as error:
            raise self._cache_failure(error, None, FAILURE_MEMORY_SECONDS) from None
        self._raise_cached_failure(login.credentials)
        try:
            response = yield self._login_request(login, request)
            response.read()
        except (GeneratorExit, httpx.TransportError):  # no answer: httpx closes the flow, or its body breaks off
            self._cache_failure(UnreachableError("the login got no answer"), None, FAILURE_MEMORY_SECONDS)
            raise
        try:
            raise_for_error(response)
            return self._parse_token(response)
        except RateLimitedError as error:
            raise self._cache_failure(error, login.credentials, error.retry_after_seconds) from None
        except RejectedError as error:
            if _LOCKED in error.text:  # perhaps by another client's refusals; the lock ends by itself
                locked = UnreachableError(f"the login failed: {error}")
                raise self._cache_failure(locked, login.credentials, LOCK_MEMORY_SECONDS) from None
            if not isinstance(error, UntrustedIpError | UnknownRouteError):
                error = LoginRefusedError(response.status_code, error.error, error.text)
            raise self._cache_failure(error, login.credentials, REFUSAL_MEMORY_SECONDS) from None
        except InfisicalError as error:
            failed = UnreachableError(f"the login failed: {error}")
            raise self._cache_failure(failed, None, FAILURE_MEMORY_SECONDS) from None

    def _login_request(self, login: Login, request: httpx.Request) -> httpx.Request:
        """The login's time is part of the call's."""
        timeouts: CallTimeouts = request.extensions["timeout"]
        extensions = {"timeout": timeouts.within(LOGIN_TIMEOUT_SECONDS), "repeatable": True}
        headers = {"User-Agent": request.headers["User-Agent"]}
        url = self._base_url + login.path
        return httpx.Request("POST", url, json=login.body, headers=headers, extensions=extensions)

    def _cache_failure(self, error: InfisicalError, credentials: Hashable | None, seconds: float) -> InfisicalError:
        self._failure = _CachedFailure(error, credentials, self._now() + seconds)
        return error

    def _raise_cached_failure(self, credentials: Hashable | None) -> None:
        failure = self._failure
        if failure and failure.credentials == credentials and self._now() < failure.until:
            raise failure.error

    def _parse_token(self, response: httpx.Response) -> _Token:
        """Read a login's answer. No error's text may contain any of it.

        Raises InvalidAnswerError, also for a token that cannot be in a header: httpx's own error would show it.
        """
        answer = json_object(response)
        value, lifetime_seconds = answer.get("accessToken"), answer.get("expiresIn")
        if not isinstance(value, str) or not _TOKEN.fullmatch(value) or not isinstance(lifetime_seconds, int | float):
            raise InvalidAnswerError(
                "Infisical's answer has no accessToken or no expiresIn; check that InfisicalUrl is Infisical's base URL"
            )
        if not 0 <= lifetime_seconds <= LONGEST_LIFETIME_SECONDS:
            raise InvalidAnswerError("expiresIn in Infisical's answer is not a lifetime in seconds")
        lifetime_seconds = lifetime_seconds or ENDLESS_LIFETIME_SECONDS
        leeway = min(EXPIRY_LEEWAY_SECONDS, lifetime_seconds / 10)
        return _Token(value, self._now() + lifetime_seconds - leeway)


def _token_rejected(response: httpx.Response) -> bool:
    """Whether Infisical itself refused the token, and so did nothing: expired and malformed ones are 403, not 401.

    A proxy's 401 or 403 may replace Infisical's answer to a request that it executed.
    """
    if response.status_code not in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return False
    response.read()
    try:
        answer = json_object(response)
    except ForeignAnswerError:
        return False
    if answer.get("statusCode") != response.status_code:
        return False
    return response.status_code == httpx.codes.UNAUTHORIZED or answer.get("error") == "TokenError"
