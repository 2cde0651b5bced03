"""What a caller gets back: an answer, a refusal in the server's own form, or a closed connection."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

ERROR_NAMES = {
    400: "BadRequest",
    401: "UnauthorizedError",
    403: "ForbiddenError",
    404: "NotFound",
    422: "ValidationFailure",
    429: "RateLimitExceeded",
    500: "InternalServerError",
    503: "ServiceUnavailable",
}

Payload = Mapping[str, object]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Dropped:
    """The connection is closed without a response."""


Outcome = Answer | Dropped


def json_answer(status: int, payload: Payload, headers: Mapping[str, str]) -> Answer:
    body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
    return Answer(status, {**headers, "content-type": "application/json; charset=utf-8"}, body)


class Refusal(Exception):  # noqa: N818 - what the server does, not what went wrong here
    """An error as the server words it; `error` defaults to the name that the server gives the status."""

    def __init__(
        self,
        status: int,
        message: object,
        error: str | None = None,
        *,
        details: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.error = error or ERROR_NAMES[status]
        self.details = details
        self.headers = headers or {}

    def payload(self, request_id: str) -> Payload:
        details = {} if self.details is None else {"details": self.details}
        return {
            "reqId": request_id,
            "statusCode": self.status,
            **details,
            "message": self.message,
            "error": self.error,
        }


def route_not_found(method: str, path: str) -> Refusal:
    """Its `error` is not the NotFound of a missing rotation. An older server leaves out the reqId."""
    return Refusal(404, f"Route {method}:{path} not found", "Not Found")


def server_error(status: int = 500) -> Refusal:
    """Whatever the server has no better words for."""
    return Refusal(status, "Something went wrong")
