"""The secret that mirrors a rotation's key: which key it holds, and how it looks with another one."""

import json
from typing import Any

from rotator.model import AccessKey, Mirror, is_key


class MirrorError(Exception):
    """A step of a rotation hook cannot be done; the text says why and what to do next. Nothing was half done."""


def key_in(value: str | None, mirror: Mirror) -> AccessKey | None:
    """Read the key that a secret's value holds; None where it holds none yet.

    Raises MirrorError where the value is no JSON object.
    """
    fields = _fields(value)
    key_id, secret = fields.get(mirror.access_key_id_field), fields.get(mirror.secret_access_key_field)
    if isinstance(key_id, str) and isinstance(secret, str) and is_key(key_id, secret):
        return AccessKey(key_id, secret)
    return None


def with_key(value: str | None, mirror: Mirror, key: AccessKey) -> str:
    """Write a secret's value with another key, its other fields kept.

    Raises MirrorError where the value is no JSON object.
    """
    fields = {mirror.access_key_id_field: key.id, mirror.secret_access_key_field: key.secret}
    return json.dumps({**_fields(value), **fields})


def _fields(value: str | None) -> dict[str, Any]:
    """The JSON object in a value, none of which may reach an error's text."""
    if value is None:
        return {}
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise MirrorError(
            "the secret's value is no JSON object, which a mirror has to be; make it {}, and the next rotation fills it"
        )
    return fields
