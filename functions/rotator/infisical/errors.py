"""What can go wrong with a call to Infisical, and what it means for what was asked.

InfisicalError
├── UnreachableError         the request never left, or never got past logging in: nothing was done
│   ├── TokenRefusedError    a token that was just issued was refused
│   └── PlanRestrictedError  the plan does not allow it now; on the cloud that can be a temporary error
├── RateLimitedError         not executed; Infisical says when to retry
├── RejectedError            a definite no: nothing was done, and asking again will not help
│   ├── LoginRefusedError    the machine identity may not log in
│   ├── UntrustedIpError     the request came from an address that the identity does not trust
│   └── UnknownRouteError    the server does not have this route: a wrong base URL, or an older release
├── RotationInProgressError  another attempt is under way
└── UncertainError           sent, but no clear answer: it may have been done
    ├── ForeignAnswerError   the answer is not Infisical's own: a proxy or firewall in between gave it
    └── InvalidAnswerError   Infisical's own answer with an impossible field, named by the text

An answer is a definite no only in Infisical's own shape: a JSON object whose `statusCode` is the status, with `error`
and `message`. Ingresses, firewalls and maintenance pages answer 403, 404 or 200 too, and such errors are temporary.
"""

import json
from typing import Any

import httpx
from botocore.exceptions import ClientError

from rotator.text import clip

# Infisical counts requests by the minute. A header that asks for more than an hour is not credible.
DEFAULT_RETRY_AFTER_SECONDS = 60.0
MAXIMUM_RETRY_AFTER_SECONDS = 3600.0

_IN_PROGRESS = "A rotation is already in progress"
_PLAN_RESTRICTION = "due to plan restriction"
_UNTRUSTED_IP = "from the current IP address"
_UNKNOWN_ROUTE = "Not Found"  # two words: an unknown rotation is NotFound


class InfisicalError(Exception):
    """Infisical did not do what was asked, or did not say that it did."""

    @property
    def reason(self) -> str:
        """A short name for logs and the dead-letter queue."""
        return type(self).__name__.removesuffix("Error")


class UnreachableError(InfisicalError):
    """Nothing was done: no connection, or no way through the login."""


class TokenRefusedError(UnreachableError):
    """Nothing was done: a token was refused right after a login. A lagging replica does not know it yet."""


class PlanRestrictedError(UnreachableError):
    """Nothing was done: the plan does not include secret rotation, or the licence could not be checked."""


class RateLimitedError(InfisicalError):
    """Nothing was done: too many requests from this address."""

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__(f"Infisical rate limit reached; retry in {retry_after_seconds:.0f} seconds")
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
    """The machine identity may not log in."""

    def __str__(self) -> str:
        return f"the login of the machine identity was refused. {super().__str__()}"

    @property
    def reason(self) -> str:
        """Infisical's own word is NotFound, which would seem to mean the rotation."""
        return "LoginRefused"


class UntrustedIpError(RejectedError):
    """The machine identity may not be used from the address that the functions call from."""

    def __str__(self) -> str:
        return (
            f"{super().__str__()}. Add the address that the functions call from (the NAT gateway's, say) to the trusted"
            " IPs of the machine identity in Infisical"
        )

    @property
    def reason(self) -> str:
        """Infisical's own word is ForbiddenError, for other refusals too."""
        return "UntrustedIp"


class UnknownRouteError(RejectedError):
    """The server does not have the route that was called."""

    def __str__(self) -> str:
        return (
            f"{super().__str__()}. Correct InfisicalUrl (only the base URL, without a path) or"
            " the entry's type, or update a self-hosted Infisical to a release that has this type of rotation"
        )

    @property
    def reason(self) -> str:
        """Infisical's own words would seem to mean that the rotation is missing."""
        return "UnknownRoute"


class RotationInProgressError(InfisicalError):
    """Another attempt holds the rotation's lock."""


class UncertainError(InfisicalError):
    """The request was sent, and no clear answer came: a rotation may have been made."""


class ForeignAnswerError(UncertainError):
    """The answer is not Infisical's own. What Infisical did, if the request reached it, is unknown."""

    def __init__(self, status: int) -> None:
        super().__init__(
            f"the answer ({status}) did not come from Infisical; check InfisicalUrl, and for a proxy, a firewall or a"
            " maintenance page in between"
        )


class InvalidAnswerError(UncertainError):
    """A field of Infisical's answer is missing or impossible; the text names it."""


def reason_of(error: Exception) -> str:
    """A short name for logs and metrics. An error of AWS keeps AWS's name."""
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
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise RateLimitedError(_retry_after_seconds(response))
    answer = json_object(response)
    error, message = message_text(answer.get("error")), message_text(answer.get("message"))
    if answer.get("statusCode") != status or error is None or message is None:
        raise ForeignAnswerError(status)
    if response.is_client_error and status != httpx.codes.REQUEST_TIMEOUT:
        raise _refusal(status, error, message)
    raise UncertainError(f"Infisical answered {status} {error}: {message}")


def _refusal(status: int, error: str, message: str) -> InfisicalError:
    """What a client error in Infisical's own shape means."""
    if status == httpx.codes.BAD_REQUEST and message.startswith(_IN_PROGRESS):
        return RotationInProgressError(message)
    if status == httpx.codes.BAD_REQUEST and _PLAN_RESTRICTION in message:
        return PlanRestrictedError(f"Infisical answered {status} {error}: {message}")
    if status == httpx.codes.FORBIDDEN and _UNTRUSTED_IP in message:
        return UntrustedIpError(status, error, message)
    if status == httpx.codes.NOT_FOUND and error == _UNKNOWN_ROUTE:
        return UnknownRouteError(status, error, message)
    return RejectedError(status, error, message)


def json_object(response: httpx.Response) -> dict[str, Any]:
    """Read the JSON object that every answer of Infisical is.

    Raises ForeignAnswerError where it is not one: some proxies answer 200 with a page of their own.
    """
    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise ForeignAnswerError(response.status_code)
    return answer


def message_text(value: object) -> str | None:
    """Clip a message of Infisical's. It may also be an array, where a request fails validation."""
    if value is None:
        return None
    return clip(value if isinstance(value, str) else json.dumps(value))


def _retry_after_seconds(response: httpx.Response) -> float:
    try:
        return min(max(1.0, float(response.headers["retry-after"])), MAXIMUM_RETRY_AFTER_SECONDS)
    except (KeyError, ValueError):
        return DEFAULT_RETRY_AFTER_SECONDS
