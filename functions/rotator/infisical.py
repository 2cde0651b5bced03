"""Infisical's secret rotations: typed calls on one HTTP client.

What can go wrong, and what it means for a rotation that was asked for:

    InfisicalError
    ├── UnreachableError      the request never left, or never got past logging in: nothing was done
    ├── RateLimitedError      not executed; Infisical says when to come back
    ├── RejectedError         a clear no: nothing was done, and asking again will not help
    │   └── LoginRefusedError the machine identity was not let in
    ├── RotationInProgressError  another attempt is under way
    └── UncertainError        sent, but no clear answer: it may have been done
        └── InvalidAnswerError   an answer that makes no sense, named by its field
"""

import json
from typing import Any

import httpx

from rotator.instant import parse_instant
from rotator.model import MappedRotation, RotationState

CONNECT_TIMEOUT_SECONDS = 5
# Infisical counts over a minute; a header that asks for more than an hour is no answer to plan with.
DEFAULT_RETRY_AFTER_SECONDS = 60.0
MAXIMUM_RETRY_AFTER_SECONDS = 3600.0

# Infisical's texts may hold ARNs, which operators need, and be long, which they do not.
MAXIMUM_TEXT_LENGTH = 400

_PREFIX = "/api/v2/secret-rotations"
_IN_PROGRESS = "A rotation is already in progress"


class InfisicalError(Exception):
    """Infisical did not do what was asked, or did not say that it did."""

    @property
    def reason(self) -> str:
        """A short name for logs and the dead-letter queue."""
        return type(self).__name__.removesuffix("Error")


class UnreachableError(InfisicalError):
    """Nothing was done: no connection, or no way through the login."""


class RateLimitedError(InfisicalError):
    """Nothing was done: too many requests from this address."""

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__(f"Infisical limits the rate: again in {retry_after_seconds:.0f} seconds")
        self.retry_after_seconds = retry_after_seconds


class RejectedError(InfisicalError):
    """Nothing was done, and the same request will be rejected again."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(f"Infisical answered {status} {error}: {message}")
        self.error = error
        self.text = message

    @property
    def reason(self) -> str:
        """Infisical's own name for the error where it is one word, such as PermissionDenied."""
        return self.error if self.error.isalpha() else super().reason


class LoginRefusedError(RejectedError):
    """The machine identity was not let in."""

    def __str__(self) -> str:
        return f"the login of the machine identity was refused. {super().__str__()}"

    @property
    def reason(self) -> str:
        """Not Infisical's word: NotFound would read as if the rotation were meant."""
        return "LoginRefused"


class RotationInProgressError(InfisicalError):
    """Another attempt holds the rotation's lock."""


class UncertainError(InfisicalError):
    """The request was sent, and no clear answer came: a rotation may have been made."""


class InvalidAnswerError(UncertainError):
    """The answer makes no sense; the text names the field."""


class Infisical:
    """The calls that a rotation needs, on one pool of connections.

    `auth` logs in; redirects are not followed, so that no token leaves for another host.
    """

    def __init__(self, base_url: str, auth: httpx.Auth, transport: httpx.BaseTransport) -> None:
        self._client = httpx.Client(
            base_url=base_url,
            auth=auth,
            transport=transport,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            follow_redirects=False,
            trust_env=False,
        )

    def state(self, rotation: MappedRotation, timeout_seconds: float) -> RotationState:
        """Read a rotation.

        Raises InfisicalError. Whichever it is, nothing was changed.
        """
        return self._rotation("GET", f"{_PREFIX}/{rotation.type}/{rotation.id}", rotation, timeout_seconds)

    def rotate(self, rotation: MappedRotation, timeout_seconds: float) -> RotationState:
        """Rotate, and return the state that was committed.

        Sends no body and no Content-Type: with a JSON one, the server answers 500 to an empty body.
        Raises InfisicalError; see the module for which of them mean that nothing was done.
        """
        path = f"{_PREFIX}/{rotation.type}/{rotation.id}/rotate-secrets"
        return self._rotation("POST", path, rotation, timeout_seconds)

    def _rotation(self, method: str, path: str, rotation: MappedRotation, timeout_seconds: float) -> RotationState:
        timeout = httpx.Timeout(timeout_seconds, connect=min(CONNECT_TIMEOUT_SECONDS, timeout_seconds))
        try:
            response = self._client.request(method, path, timeout=timeout)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise UnreachableError(f"no connection to Infisical: {error}") from error
        except httpx.TransportError as error:
            text = f"no answer from Infisical: {type(error).__name__} {error}"
            if not error.request.url.path.endswith(path):  # the login's, before the request itself was sent
                raise UnreachableError(text) from error
            raise UncertainError(text) from error
        raise_for_error(response)
        return _state(_json_object(response).get("secretRotation"), rotation)


def raise_for_error(response: httpx.Response) -> None:
    """Turn any answer but a success into the error that says what it means."""
    if response.is_success:
        return
    status = response.status_code
    error, message = _error_texts(response)
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise RateLimitedError(_retry_after_seconds(response))
    if status == httpx.codes.BAD_REQUEST and message.startswith(_IN_PROGRESS):
        raise RotationInProgressError(message)
    if response.is_server_error or status == httpx.codes.REQUEST_TIMEOUT:
        raise UncertainError(f"Infisical answered {status} {error}: {message}")
    if response.is_redirect:
        raise RejectedError(status, "Redirect", "redirects are not followed; correct Infisical's base URL")
    raise RejectedError(status, error, message)


def _state(fields: Any, rotation: MappedRotation) -> RotationState:  # noqa: ANN401 - JSON
    if not isinstance(fields, dict):
        raise InvalidAnswerError("Infisical's answer has no object secretRotation")
    if str(fields.get("id")).lower() != rotation.id:
        raise InvalidAnswerError(f"Infisical's answer is about another rotation: id is {fields.get('id')!r:.60}")
    try:
        return RotationState(
            id=rotation.id,
            name=_text(fields, "name"),
            status=_text(fields, "rotationStatus"),
            last_rotated_at=parse_instant(fields.get("lastRotatedAt"), "lastRotatedAt"),
            last_attempted_at=parse_instant(fields.get("lastRotationAttemptedAt"), "lastRotationAttemptedAt"),
            last_message=_capped(fields.get("lastRotationMessage")),
        )
    except ValueError as error:
        raise InvalidAnswerError(f"Infisical's answer is wrong: {error}") from None


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a text, not {value!r:.60}")
    return value


def _json_object(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError):
        raise InvalidAnswerError("Infisical's answer is no JSON; is the base URL Infisical's own?") from None
    if not isinstance(answer, dict):
        raise InvalidAnswerError("Infisical's answer is no JSON object")
    return answer


def _error_texts(response: httpx.Response) -> tuple[str, str]:
    """The `error` and `message` of an error answer; a proxy's page has neither."""
    try:
        answer = _json_object(response)
    except InvalidAnswerError:
        return "without a reason", "the answer is not Infisical's; is something between here and there?"
    return _capped(answer.get("error")) or "", _capped(answer.get("message")) or ""


def _capped(value: object) -> str | None:
    """Infisical's `message` is a text, or an array of objects for a request that fails validation."""
    if value is None:
        return None
    return (value if isinstance(value, str) else json.dumps(value))[:MAXIMUM_TEXT_LENGTH]


def _retry_after_seconds(response: httpx.Response) -> float:
    try:
        return min(max(1.0, float(response.headers["retry-after"])), MAXIMUM_RETRY_AFTER_SECONDS)
    except (KeyError, ValueError):
        return DEFAULT_RETRY_AFTER_SECONDS
