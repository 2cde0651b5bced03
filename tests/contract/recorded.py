"""Recorded exchanges with the real server, and a form in which two exchanges can be compared."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parent / "recordings"
COMPARED_HEADERS = re.compile(r"content-type|retry-after|x-ratelimit-.*", re.IGNORECASE)

# What differs from one run to the next. A next rotation (midnight) is computed, so it has to agree to the letter.
VARIABLE = {
    "date": re.compile(r"\d{4}-\d\d-\d\dT(?!00:00:00\.000Z)\d\d:\d\d:\d\d\.\d{3}Z"),
    "uuid": re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "request": re.compile(r"req-[0-9A-Za-z]{14}"),
    "key": re.compile(r"AKIA[0-9A-Z]{16}"),
    "secret": re.compile(r'(?<="secretAccessKey": ")[^"]+'),
}
# What an older server answered. The stand-in answers as a newer one does; our client has to understand both.
OLDER_SERVER = frozenset({"auth-ua-03-unknown-client-id", "body-08-get-instead-of-post", "err-09-unknown-type-slug"})

TOKEN = re.compile(r'(?<="accessToken": ")[^"]+')  # all alike in the recordings


@dataclass(frozen=True)
class Recording:
    """`status` is None where the server closed the connection without a response."""

    method: str
    path: str
    request_headers: Mapping[str, str]
    request_body: str
    seconds: float
    status: int | None
    headers: Mapping[str, str]
    body: Any

    @property
    def is_documented(self) -> bool:
        """The published contract speaks of one endpoint, and not of rate limits."""
        is_rotation = self.method == "POST" and "/aws-iam-user-secret/" in self.path
        return is_rotation and self.status is not None and self.status != HTTPStatus.TOO_MANY_REQUESTS


def names() -> set[str]:
    return {path.stem for path in RECORDINGS.glob("*.json")}


def load(name: str) -> Recording:
    exchange = json.loads((RECORDINGS / f"{name}.json").read_text())
    request, response = exchange["request"], exchange.get("response", {})
    headers = request["headers"] or {"Authorization": "Bearer <token>"}  # not kept where the connection was closed
    return Recording(
        request["method"],
        request["path"],
        {key: value for key, value in headers.items() if key != "Content-Length"},
        request["body"] or "",
        exchange["seconds"],
        response.get("status"),
        compared(response.get("headers", {})),
        response.get("body"),
    )


def compared(headers: Mapping[str, str]) -> dict[str, str]:
    return {key.lower(): value for key, value in headers.items() if COMPARED_HEADERS.fullmatch(key)}


class Symbols:
    """Numbers each date, id and key in the order of its appearance, so that what is equal, or new, stays visible."""

    def __init__(self) -> None:
        self._seen: defaultdict[str, dict[str, str]] = defaultdict(dict)

    def normal(self, body: object) -> str:
        text = TOKEN.sub("token", json.dumps(body, indent=1))
        for kind, pattern in VARIABLE.items():
            seen = self._seen[kind]
            text = pattern.sub(lambda match: seen.setdefault(match[0], f"{kind} {len(seen)}"), text)  # noqa: B023 - called at once
        return text
