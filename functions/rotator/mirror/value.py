"""The secret that mirrors a rotation's key: reading its key, and writing another one."""

import json
import re
from collections.abc import Iterator
from typing import Any

from rotator.model import AccessKey, Mirror
from rotator.text import BYTE_ORDER_MARK, clip

# Numbers are not parsed, so any size and precision is accepted.
_DECODER = json.JSONDecoder(parse_int=lambda _: None, parse_float=lambda _: None, parse_constant=lambda _: None)


_DEFAULT_NAMES = {
    "access_key_id_field": ("accessKeyId", "accessKeyIdField"),
    "secret_access_key_field": ("secretAccessKey", "secretAccessKeyField"),
}


class HookError(Exception):
    """A step of the hook cannot be done; the text says why and what to do next. The step changed nothing."""


def key_in(value: str | None, mirror: Mirror) -> AccessKey | None:
    """Read the key that a secret's value holds; None where it holds none yet.

    Raises HookError where the value is not a JSON object.
    """
    fields = _fields(value)
    return AccessKey.parse(fields.get(mirror.access_key_id_field), fields.get(mirror.secret_access_key_field))


def with_key(value: str | None, mirror: Mirror, key: AccessKey) -> str:
    """Write a secret's value with another key. All other text keeps every byte.

    Parsing and writing it again would change escapes, and numbers such as 1E400 or 1.10.
    Raises HookError if the value is not a JSON object, or has the key's fields in another spelling.
    """
    text = "{}" if value is None else value.removeprefix(BYTE_ORDER_MARK)
    _refuse_other_spellings(_fields(text), mirror)
    new = {mirror.access_key_id_field: key.id, mirror.secret_access_key_field: key.secret}
    members = list(_members(text))
    names = {name for name, *_ in members}
    edits = [(start, end, json.dumps(new[name])) for name, start, end in members if name in new]
    missing = [f"{json.dumps(name)}: {json.dumps(new[name])}" for name in new if name not in names]
    last = members[-1][2] if members else text.index("{") + 1
    edits.append((last, last, ", ".join([""] * bool(members) + missing)))
    written, copied = "", 0
    for start, end, replacement in edits:
        written += text[copied:start] + replacement
        copied = end
    return written + text[copied:]


def _refuse_other_spellings(fields: dict[str, Any], mirror: Mirror) -> None:
    """Refuse to write a second pair of fields beside the one that readers use.

    Those readers would keep the old key, and lose it at the second rotation. Names that the map sets are intended.
    """
    for name, (default, option) in _DEFAULT_NAMES.items():
        if getattr(mirror, name) != default or default in fields:
            continue
        for other in fields:
            if _spelling(other) == _spelling(default):
                raise HookError(
                    f"the secret has a field {clip(other, 100)}, and the mirror would write {default} beside it:"
                    f' set "{option}" of the mirror in the rotation map to the field that the secret\'s readers use'
                )


def _spelling(name: str) -> str:
    """A field's name without its style: AWS_ACCESS_KEY_ID, access-key-id and AccessKeyId are the same."""
    return re.sub("[^a-z]", "", name.lower()).removeprefix("aws")


def _members(text: str) -> Iterator[tuple[str, int, int]]:
    """Name of each member of the object in a valid JSON text, and where its value begins and ends."""
    at = _after_space(text, text.index("{") + 1)
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, at)
        start = _after_space(text, _after_space(text, at) + 1)  # over the colon
        _, end = _DECODER.raw_decode(text, start)
        yield name, start, end
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)


def _after_space(text: str, at: int) -> int:
    while text[at] in " \t\n\r":
        at += 1
    return at


def _fields(value: str | None) -> dict[str, Any]:
    """The JSON object in a value, without its numbers; none of it may reach an error's text."""
    if value is None:
        return {}
    try:
        fields = _DECODER.decode(value.removeprefix(BYTE_ORDER_MARK))
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise HookError(
            "the secret's value is not a JSON object, as a mirror needs (a binary value never is). Replace it by a JSON"
            " object with all other fields that its readers need; the next rotation adds the key"
        )
    return fields
