"""What can go wrong with a call to Infisical, and what it means for what was asked.

InfisicalError
├── UnreachableError         the request never left, or never got past logging in: nothing was done
├── RateLimitedError         not executed; Infisical says when to come back
├── RejectedError            a clear no: nothing was done, and asking again will not help
│   └── LoginRefusedError    the machine identity was not let in
├── RotationInProgressError  another attempt is under way
└── UncertainError           sent, but no clear answer: it may have been done
    └── InvalidAnswerError   an answer that makes no sense, named by its field
"""

import json
from typing import Any

import httpx
from botocore.exceptions import ClientError

from rotator.shown import readable

# Infisical counts over a minute; a header that asks for more than an hour is no answer to plan with.
DEFAULT_RETRY_AFTER_SECONDS = 60.0
MAXIMUM_RETRY_AFTER_SECONDS = 3600.0

# Infisical's texts may hold ARNs, which operators need, and be long, which they do not.
MAXIMUM_TEXT_LENGTH = 400

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


def reason_of(error: Exception) -> str:
    """A short name for logs and metrics, of whatever error; of AWS's, its own."""
    if isinstance(error, InfisicalError):
        return error.reason
    if isinstance(error, ClientError):
        return error.response["Error"]["Code"]
    return type(error).__name__.removesuffix("Error")


def raise_for_error(response: httpx.Response) -> None:
    """Turn any answer but a success into the error that says what it means."""
    if response.is_success:
        return
    status = response.status_code
    error, message = _texts(response)
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise RateLimitedError(_retry_after_seconds(response))
    if status == httpx.codes.BAD_REQUEST and message.startswith(_IN_PROGRESS):
        raise RotationInProgressError(message)
    if response.is_redirect:
        raise RejectedError(status, "Redirect", "redirects are not followed; correct Infisical's base URL")
    if response.is_client_error and status != httpx.codes.REQUEST_TIMEOUT:
        raise RejectedError(status, error, message)
    raise UncertainError(f"Infisical answered {status} {error}: {message}")


def json_object(response: httpx.Response) -> dict[str, Any]:
    """Read the JSON object that every answer of Infisical is.

    Raises InvalidAnswerError where it is none: some proxies answer 200 with a page of their own.
    """
    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError):
        raise InvalidAnswerError("Infisical's answer is no JSON; is the base URL Infisical's own?") from None
    if not isinstance(answer, dict):
        raise InvalidAnswerError("Infisical's answer is no JSON object")
    return answer


def capped_text(value: object) -> str | None:
    """Cap a text of Infisical's; its `message` may also be an array, where a request fails validation."""
    if value is None:
        return None
    return readable((value if isinstance(value, str) else json.dumps(value))[:MAXIMUM_TEXT_LENGTH])


def _texts(response: httpx.Response) -> tuple[str, str]:
    """The `error` and `message` of an error answer; a proxy's page has neither."""
    try:
        answer = json_object(response)
    except InvalidAnswerError:
        return "without a reason", "the answer is not Infisical's; is something between here and there?"
    return capped_text(answer.get("error")) or "", capped_text(answer.get("message")) or ""


def _retry_after_seconds(response: httpx.Response) -> float:
    try:
        return min(max(1.0, float(response.headers["retry-after"])), MAXIMUM_RETRY_AFTER_SECONDS)
    except (KeyError, ValueError):
        return DEFAULT_RETRY_AFTER_SECONDS
