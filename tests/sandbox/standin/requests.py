"""A request as the endpoints see it, and what remains of it in the journal."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from tests.sandbox.standin.answers import server_error


def _request_id() -> str:
    return "req-" + secrets.token_hex(7)  # 14 characters


@dataclass
class JournalEntry:
    """`status` is None until there is an answer, and for good where the connection is closed or the client left."""

    at: float
    method: str
    path: str
    request_id: str = field(default_factory=_request_id)
    status: int | None = None


@dataclass(frozen=True)
class Request:
    at: float
    method: str
    target: str
    headers: Mapping[str, str]
    raw_body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path.rstrip("/")

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers.items() if key.lower() == name), None)

    def body(self) -> object:
        """Make of it what its content type says; the server has no good words for one that it cannot parse."""
        content_type = self.header("content-type")
        if self.method == "GET" or (content_type is None and not self.raw_body):
            return None
        match (content_type or "").partition(";")[0].strip().lower():
            case "application/json":
                return _json(self.raw_body)
            case "application/x-www-form-urlencoded":
                return dict(parse_qsl(self.raw_body.decode(errors="replace")))
            case "text/plain":
                return self.raw_body.decode(errors="replace")
            case _:
                raise server_error()


def _json(body: bytes) -> object:
    try:
        parsed: object = json.loads(body)
    except ValueError:
        raise server_error() from None
    return parsed
