"""The rotation map: which rotations a trigger stands for. One JSON document, refused whole where anything is wrong."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema

from rotator.model import DEFAULT_TYPE, MappedRotation, Selector, parse_rotation_id

Entry = MappedRotation | Selector

SCHEMA = Path(__file__).with_name("rotation-map.schema.json")


class RotationMapError(ValueError):
    """The rotation map is wrong; the text names the entry and the reason. Nothing of it is used."""


class UnmappedTriggerError(LookupError):
    """The rotation map does not know the trigger."""


@dataclass(frozen=True, slots=True)
class RotationMap:
    """Trigger name → the entries that say what it stands for."""

    triggers: dict[str, tuple[Entry, ...]]

    def entries_of(self, trigger: str) -> tuple[Entry, ...]:
        """Look a trigger up.

        Raises UnmappedTriggerError naming the triggers that are mapped.
        """
        try:
            return self.triggers[trigger]
        except KeyError:
            known = ", ".join(sorted(self.triggers))
            raise UnmappedTriggerError(
                f"the rotation map has no trigger {trigger!r:.100}; it has: {known:.500}."
                " Add it to the map, or stop sending it"
            ) from None


def parse_rotation_map(text: str) -> RotationMap:
    """Read and check the whole map.

    Raises RotationMapError naming the first wrong entry.
    """
    try:
        document = json.loads(text, object_pairs_hook=_without_duplicates)
        _validator()(document)
    except json.JSONDecodeError as error:
        raise RotationMapError(f"the rotation map is no JSON: {error}") from None
    except fastjsonschema.JsonSchemaValueException as error:
        raise RotationMapError(f"the rotation map is wrong: {_located(error)}") from None
    return RotationMap({name: _entries(name, value) for name, value in document["triggers"].items()})


def _entries(trigger: str, value: Any) -> tuple[Entry, ...]:  # noqa: ANN401 - JSON that the schema has checked
    entries = tuple(_entry(each) for each in (value if isinstance(value, list) else [value]))
    for position, entry in enumerate(entries):
        if isinstance(entry, MappedRotation) and entry.id in _ids(entries[:position]):
            raise RotationMapError(
                f"the rotation map is wrong: triggers.{trigger}[{position}] names rotation {entry.id} again"
            )
    return entries


def _ids(entries: tuple[Entry, ...]) -> set[str]:
    return {entry.id for entry in entries if isinstance(entry, MappedRotation)}


def _entry(value: str | dict[str, str]) -> Entry:
    fields = {"id": value} if isinstance(value, str) else value
    rotation_type = fields.get("type", DEFAULT_TYPE)
    interval = _duration(fields["minimumInterval"]) if "minimumInterval" in fields else None
    if "id" in fields:
        return MappedRotation(parse_rotation_id(fields["id"], "id"), rotation_type, interval)
    return Selector(fields["project"], fields.get("environment"), fields.get("path"), rotation_type, interval)


def _duration(text: str) -> timedelta:
    """Read what the schema has let through: `6 days`, `1 hour`."""
    amount, unit = text.split()
    return timedelta(**{unit.removesuffix("s") + "s": int(amount)})


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that occurs twice: JSON would silently forget the first."""
    names = [name for name, _ in pairs]
    for position, name in enumerate(names):
        if name in names[:position]:
            raise RotationMapError(f"the rotation map is wrong: {name!r:.100} occurs twice in one object")
    return dict(pairs)


@cache
def _validator() -> Callable[[Any], Any]:
    """Compile the published schema, once."""
    compiled: Callable[[Any], Any] = fastjsonschema.compile(json.loads(SCHEMA.read_text("utf-8")), use_default=False)
    return compiled


def _located(error: fastjsonschema.JsonSchemaValueException) -> str:
    """The library calls the document `data`; name the entry as the map's author knows it."""
    return str(error.message).removeprefix("data.").replace("data ", "the map ", 1)[:500]
