"""Checks a map file as the functions do: with their own parser, and by the size that SSM accepts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rotator.triggers.rotation_map import RotationMap, RotationMapError, parse_rotation_map

# https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
STANDARD, ADVANCED = "Standard", "Advanced"
MAXIMUM_BYTES = {STANDARD: 4096, ADVANCED: 8192}


class MapRefusedError(ValueError):
    """The map must not be put; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to a rotation, a mirror or a trigger."""

    kind: str
    group: str
    subject: str
    detail: str = ""

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.kind:8} {self.group}: {self.subject}{f'  {self.detail}' if self.detail else ''}"


@dataclass(frozen=True, slots=True)
class Report:
    """The result for one file."""

    file: str
    status: int
    message: str
    changes: Sequence[Change] = ()

    def to_json(self) -> dict[str, object]:
        """Return it for a pipeline."""
        changes = [
            {"kind": each.kind, "group": each.group, "subject": each.subject, "detail": each.detail}
            for each in self.changes
        ]
        return {"file": self.file, "status": self.status, "message": self.message, "changes": changes}


def check(path: Path) -> Report:
    """Check a file offline.

    Raises MapRefusedError, and OSError if the file cannot be read.
    """
    text, rotation_map = read(path)
    refuse_too_large(text, ADVANCED)
    size = len(text.encode())
    counts = f"{len(rotation_map.triggers)} triggers, {len(rotation_map.mirrors)} mirrors, {size} bytes"
    if size > MAXIMUM_BYTES[STANDARD]:
        counts += "; it needs a parameter of the advanced tier"
    return Report(str(path), 0, f"valid: {counts}")


def read(path: Path) -> tuple[str, RotationMap]:
    """Read a file, byte for byte.

    Raises MapRefusedError with the words of the functions, and OSError.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise MapRefusedError(f"the rotation map is not UTF-8: {error}. Save it as UTF-8") from None
    try:
        return text, parse_rotation_map(text)
    except RotationMapError as error:
        raise MapRefusedError(str(error)) from None


def refuse_too_large(text: str, tier: str) -> None:
    """Raise MapRefusedError if a parameter of this tier cannot hold the map. Intelligent-Tiering grows to advanced."""
    size, maximum = len(text.encode()), MAXIMUM_BYTES.get(tier, MAXIMUM_BYTES[ADVANCED])
    if size > maximum:
        advanced = "or make the parameter advanced (put-parameter --tier Advanced, which AWS charges for)"
        raise MapRefusedError(
            f"the map has {size} bytes, and an SSM parameter of the tier {tier} holds {maximum}: replace ids by a"
            f" selector, remove blanks{f', {advanced}' if tier == STANDARD else ''}"
        )
