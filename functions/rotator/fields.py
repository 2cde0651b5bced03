"""Typed reading of the fields of a JSON object. Each error names the field, what it must be, and what it is."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from rotator.model import DEFAULT_TYPE, MAXIMUM_INTERVAL
from rotator.text import printable, quote

Fields = Mapping[str, Any]

MAXIMUM_NAME_LENGTH = 2048  # no ARN and no trigger is longer

_TYPE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def read_object(fields: Fields, name: str) -> Fields:
    """Read an object.

    Raises ValueError.
    """
    value = fields.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object, not {quote(value)}")
    return value


def read_string(fields: Fields, name: str) -> str:
    """Read a string of any length. What UTF-8 cannot encode is replaced.

    Raises ValueError.
    """
    value = fields.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string, not {quote(value)}")
    return printable(value)


def read_name(fields: Fields, name: str) -> str:
    """Read a string that is not empty and as long as names may be.

    Raises ValueError.
    """
    value = fields.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= MAXIMUM_NAME_LENGTH:
        raise ValueError(f"{name} must be a string of 1 to {MAXIMUM_NAME_LENGTH} characters, not {quote(value)}")
    return value


def read_flag(fields: Fields, name: str) -> bool:
    """Read true or false, by default false.

    Raises ValueError.
    """
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {quote(value)}")
    return value


def read_seconds(fields: Fields, name: str) -> timedelta | None:
    """Read a number of seconds; None where there is none.

    Raises ValueError.
    """
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MAXIMUM_INTERVAL.total_seconds():
        most = int(MAXIMUM_INTERVAL.total_seconds())
        raise ValueError(f"{name} must be a whole number of seconds from 1 to {most}, not {quote(value)}")
    return timedelta(seconds=value)


def parse_rotation_id(value: object, field: str) -> str:
    """Read a rotation id in the one spelling that message groups and comparisons use.

    Raises ValueError naming `field`.
    """
    try:
        return str(UUID(value if isinstance(value, str) else None))
    except (TypeError, ValueError):
        raise ValueError(f"{field} must be a rotation id (a UUID), not {quote(value)}") from None


def parse_type(fields: Fields) -> str:
    """Read a rotation's `type`, which becomes part of a path.

    Raises ValueError.
    """
    value = read_name(fields, "type")
    if not _TYPE.fullmatch(value):
        raise ValueError(f"type must be the slug of a rotation type, such as {DEFAULT_TYPE}, not {quote(value)}")
    return value
