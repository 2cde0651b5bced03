"""The rotation map: the rotations of each trigger, as one JSON document. Any error refuses all of it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema

from rotator.fields import parse_rotation_id
from rotator.model import DEFAULT_TYPE, NEVER, GuardOptions, MappedRotation, Mirror, RotationOptions, Selector
from rotator.text import BYTE_ORDER_MARK, clip, quote
from rotator.triggers.secret_events import secret_name

Entry = MappedRotation | Selector

# The endings of types whose rotation replaces the only credential.
SINGLE_PHASE = ("-password", "-local-account")

_SUFFIX_LENGTH = len("-AbCdEf")
_LONGEST_ARN = 700  # of a secret, whose name has 512 characters at most

SCHEMA = Path(__file__).parents[1] / "rotation-map.schema.json"


class RotationMapError(ValueError):
    """The rotation map is wrong; the text names the entry and the reason. No part of the map is used."""


class UnmappedTriggerError(LookupError):
    """The rotation map does not have the trigger."""


class UnmappedSecretError(LookupError):
    """The rotation map does not say which rotation a secret mirrors."""


@dataclass(frozen=True, slots=True)
class RotationMap:
    """Trigger name → its entries; ARN of a secret → what it mirrors."""

    triggers: dict[str, tuple[Entry, ...]]
    mirrors: dict[str, Mirror]

    def entries_of(self, trigger: str, alias: str = "") -> tuple[Entry, ...]:
        """Look a trigger up by its name, then by its alias.

        Raises UnmappedTriggerError naming the triggers that are mapped.
        """
        for name in (trigger, alias):
            if name in self.triggers:
                return self.triggers[name]
        known = ", ".join(sorted(self.triggers))
        raise UnmappedTriggerError(
            f"the rotation map has no trigger {quote(trigger, 200)}{f' or {quote(alias)}' if alias else ''};"
            f" it has: {clip(known, 500)}. Add it to the map, or stop sending it"
        )

    def groups(self) -> Iterator[tuple[Entry, ...]]:
        """The entries of each trigger, and those of the mirrors. Groups may name the same rotation."""
        yield from self.triggers.values()
        yield tuple(mirror.rotation for mirror in self.mirrors.values())

    @property
    def mirrored_ids(self) -> frozenset[str]:
        """The rotations that a secret mirrors: only their secret's own rotation rotates them."""
        return frozenset(mirror.rotation.id for mirror in self.mirrors.values())

    def mirror_of(self, secret_arn: str) -> Mirror:
        """Look up what a secret mirrors.

        Raises UnmappedSecretError.
        """
        try:
            return self.mirrors[secret_arn]
        except KeyError:
            arn = clip(secret_arn, _LONGEST_ARN)
            text = f"the rotation map's mirrors do not have {arn}: add it, or detach the rotation from the secret"
            if secret_arn[:-_SUFFIX_LENGTH] in self.mirrors:
                text = (
                    f"the rotation map has {arn[:-_SUFFIX_LENGTH]} without its suffix of a dash and six characters: the"
                    f" full ARN is {arn}. Correct the map"
                )
            raise UnmappedSecretError(text) from None


def parse_rotation_map(text: str) -> RotationMap:
    """Read and check the whole map.

    Raises RotationMapError naming a wrong entry.
    """
    try:
        document = json.loads(text.removeprefix(BYTE_ORDER_MARK), object_pairs_hook=_without_duplicates)
        json.dumps(document, ensure_ascii=False).encode()  # reject lone surrogates: no log could encode them
        _validator()(document)
    except RotationMapError:
        raise
    except fastjsonschema.JsonSchemaValueException as error:
        raise RotationMapError(f"the rotation map is wrong: {_partial_arns(error) or _located(error)}") from None
    except (ValueError, RecursionError) as error:
        raise RotationMapError(f"the rotation map is not valid JSON: {error}") from None
    triggers = {name: _entries(name, value) for name, value in document["triggers"].items()}
    mirrors = {arn: _mirror(value) for arn, value in document.get("mirrors", {}).items()}
    for arn in mirrors:
        if looping := {arn, secret_name(arn)} & triggers.keys():
            raise RotationMapError(
                f"the rotation map is wrong: {looping.pop()} is both a trigger and a mirror. Each update of the"
                " mirror would trigger another rotation. Remove one of them"
            )
    _refuse_mirrored(triggers, mirrors)
    return RotationMap(triggers, mirrors)


def _refuse_mirrored(triggers: dict[str, tuple[Entry, ...]], mirrors: dict[str, Mirror]) -> None:
    """Refuse a trigger that names a rotation which a secret mirrors."""
    secrets = {mirror.rotation.id: arn for arn, mirror in mirrors.items()}
    for trigger, entries in triggers.items():
        for position, entry in enumerate(entries):
            if isinstance(entry, MappedRotation) and (arn := secrets.get(entry.id)):
                raise RotationMapError(
                    f"the rotation map is wrong: triggers.{clip(trigger, 256)}[{position}] names rotation {entry.id},"
                    f" which mirrors.{clip(arn, _LONGEST_ARN)} mirrors. A trigger does not update the secret, and its"
                    " second rotation would delete the key that the secret still holds. Remove the rotation from the"
                    " trigger, and let Secrets Manager rotate the secret on its own schedule; to rotate it now: aws"
                    f" secretsmanager rotate-secret --secret-id {clip(arn, _LONGEST_ARN)}"
                )


def _entries(trigger: str, value: Any) -> tuple[Entry, ...]:  # noqa: ANN401 - JSON that the schema has checked
    values = value if isinstance(value, list) else [value]
    entries = tuple(_entry(entry, f"triggers.{trigger}[{position}]") for position, entry in enumerate(values))
    for position, entry in enumerate(entries):
        if isinstance(entry, MappedRotation) and entry.id in _ids(entries[:position]):
            raise RotationMapError(
                f"the rotation map is wrong: triggers.{trigger}[{position}] names rotation {entry.id} again;"
                " remove one of them"
            )
    return entries


def _ids(entries: tuple[Entry, ...]) -> set[str]:
    return {entry.id for entry in entries if isinstance(entry, MappedRotation)}


def _entry(value: str | dict[str, Any], place: str) -> Entry:
    fields: dict[str, Any] = {"id": value} if isinstance(value, str) else value
    rotation_type = fields.get("type", DEFAULT_TYPE)
    if "keyGuard" in fields and rotation_type != DEFAULT_TYPE:
        raise RotationMapError(
            f"the rotation map is wrong: {place}.keyGuard is for rotations of {DEFAULT_TYPE}, not of"
            f" {clip(rotation_type, 60)}"
        )
    _refuse_single_phase(fields, rotation_type, place)
    if "id" in fields:
        return MappedRotation(parse_rotation_id(fields["id"], "id"), rotation_type, _options(fields))
    return Selector(
        project=fields["project"],
        environment=fields.get("environment"),
        path=_folder(fields.get("path")),
        type=rotation_type,
        options=_options(fields),
        at_least=fields.get("atLeast", 1),
    )


def _refuse_single_phase(fields: dict[str, Any], rotation_type: str, place: str) -> None:
    """Refuse a type that cuts consumers off, except where the map accepts that.

    Infisical's documentation calls these types single-phase: ldap-password and the …-local-account ones, at
    https://infisical.com/docs/documentation/platform/secret-rotation/overview#single-phase-rotation
    """
    if rotation_type.endswith(SINGLE_PHASE) and not fields.get("singlePhase"):
        raise RotationMapError(
            f"the rotation map is wrong: {place} rotates {clip(rotation_type, 60)}, a type with a single credential."
            " Each rotation replaces it, and cuts off every consumer until it reads the new one. If that is what you"
            ' want, set "singlePhase": true there'
        )


def _folder(path: str | None) -> str | None:
    """A folder as Infisical writes it: `/payments`, and `/` for the root."""
    return None if path is None else "/" + "/".join(part for part in path.split("/") if part)


def _options(fields: dict[str, Any]) -> RotationOptions:
    return RotationOptions(
        minimum_interval=_duration(fields.get("minimumInterval")),
        maximum_age=_duration(fields.get("maximumAge")),
        guard=_guard(fields),
        retire_after=NEVER if fields.get("retireAfter") is False else _duration(fields.get("retireAfter")),
    )


def _guard(fields: dict[str, Any]) -> GuardOptions | None:
    value = fields.get("keyGuard", {})
    if value is False:
        return None
    return GuardOptions(value.get("role"), _duration(value.get("gracePeriod")), value.get("externalId"))


def _mirror(value: str | dict[str, Any]) -> Mirror:
    fields = {"id": value} if isinstance(value, str) else value
    names = {
        attribute: fields[name]
        for name, attribute in (
            ("accessKeyIdField", "access_key_id_field"),
            ("secretAccessKeyField", "secret_access_key_field"),
        )
        if name in fields
    }
    rotation = MappedRotation(parse_rotation_id(fields["id"], "id"), options=_options(fields))
    mirror = Mirror(rotation, **names)
    if mirror.access_key_id_field == mirror.secret_access_key_field:
        raise RotationMapError(
            f"the rotation map is wrong: the mirror of {fields['id']} has one field for both values. Give"
            " accessKeyIdField and secretAccessKeyField different names"
        )
    return mirror


def _duration(text: str | None) -> timedelta | None:
    """Read a duration that the schema has checked: `6 days`, `1 hour`."""
    if text is None:
        return None
    amount, unit = text.split()
    return timedelta(**{unit.removesuffix("s") + "s": int(amount)})


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that occurs twice: JSON would silently forget the first."""
    names = [name for name, _ in pairs]
    for position, name in enumerate(names):
        if name in names[:position]:
            raise RotationMapError(f"the rotation map is wrong: {quote(name)} occurs twice in one object")
    return dict(pairs)


@cache
def _validator() -> Callable[[Any], Any]:
    """Compile the published schema, once."""
    compiled: Callable[[Any], Any] = fastjsonschema.compile(json.loads(SCHEMA.read_text("utf-8")), use_default=False)
    return compiled


def _partial_arns(error: fastjsonschema.JsonSchemaValueException) -> str:
    """Explain mirrors that are not full ARNs. Empty for any other error."""
    if error.name != "data.mirrors" or error.rule != "additionalProperties":
        return ""
    wrong = ", ".join(arn for arn in error.value if not secret_name(arn))
    return (
        "mirrors must have the full ARNs of secrets, which end in a dash and six characters, unlike"
        f" {clip(wrong, _LONGEST_ARN)}. For the full ARN: aws secretsmanager describe-secret --secret-id … --query ARN"
    )


def _located(error: fastjsonschema.JsonSchemaValueException) -> str:
    """The library calls the document `data`; the map's author does not."""
    text = str(error.message)
    return (f"the map {text.removeprefix('data ')}" if error.name == "data" else text.removeprefix("data."))[:500]
