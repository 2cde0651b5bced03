"""The server's checks of what a caller sends; the message of such a refusal is a list."""

import re
from collections.abc import Sequence

from tests.sandbox.standin.answers import Payload, Refusal

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
TYPE_NAMES = {str: "string", dict: "object", list: "array", bool: "boolean", int: "number", float: "number"}


def require_uuid(name: str, value: str) -> None:
    if not UUID.fullmatch(value):
        issue = {"validation": "uuid", "code": "invalid_string", "message": "Invalid uuid", "path": [name]}
        raise Refusal(422, [issue])


def require_texts(body: object, *names: str) -> list[str]:
    """Return these fields; the refusal lists every one that is missing or no text."""
    if not isinstance(body, dict):
        received = TYPE_NAMES.get(type(body), "null")
        raise Refusal(422, [_issue("object", received, [], f"Expected object, received {received}")])
    issues = [_text_issue(name, body) for name in names if not isinstance(body.get(name), str)]
    if issues:
        raise Refusal(422, issues)
    return [body[name] for name in names]


def optional_text(body: object, name: str) -> str | None:
    return require_texts(body, name)[0] if isinstance(body, dict) and name in body else None


def with_default(body: object, name: str, value: str) -> object:
    return {name: value, **body} if isinstance(body, dict) else body


def _text_issue(name: str, body: Payload) -> Payload:
    if name not in body:
        return _issue("string", "undefined", [name], "Required")
    received = TYPE_NAMES.get(type(body[name]), "null")
    return _issue("string", received, [name], f"Expected string, received {received}")


def _issue(expected: str, received: str, path: Sequence[str], message: str) -> Payload:
    return {"code": "invalid_type", "expected": expected, "received": received, "path": path, "message": message}
