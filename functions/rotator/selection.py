"""What the entries of a trigger stand for: selectors are looked up in Infisical, one call a project and type."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rotator.model import ListedRotation, MappedRotation, RotationState, Selector

# One answer holds all rotations of a project: tens of megabytes for tens of thousands.
LIST_TIMEOUT_SECONDS = 45

ListRotations = Callable[[str, str], list[ListedRotation]]


class EmptySelectionError(LookupError):
    """A selector stands for no rotation at all: a silence, were it no error."""


class UnmappedRotationError(LookupError):
    """A direct invocation asks for a rotation that its trigger does not stand for."""


@dataclass(frozen=True, slots=True)
class Selected:
    """A rotation that a trigger stands for; its state where the look-up brought it along."""

    rotation: MappedRotation
    state: RotationState | None = None


def select(entries: Iterable[MappedRotation | Selector], list_rotations: ListRotations) -> list[Selected]:
    """Replace each selector by the rotations that it stands for, each rotation once; the first entry counts.

    `list_rotations` reads all rotations of a project and type, and may raise InfisicalError.
    Raises EmptySelectionError naming the selector.
    """
    listed: dict[tuple[str, str], list[ListedRotation]] = {}
    selected: dict[str, Selected] = {}
    for entry in entries:
        if isinstance(entry, MappedRotation):
            selected.setdefault(entry.id, Selected(entry))
            continue
        key = (entry.project, entry.type)
        if key not in listed:
            listed[key] = list_rotations(*key)
        matches = [each for each in listed[key] if _matches(entry, each)]
        if not matches:
            raise EmptySelectionError(
                f"{entry} stands for no rotation that the machine identity may read: correct the rotation map, or"
                " the identity's permissions in Infisical"
            )
        for each in matches:
            rotation = MappedRotation(each.state.id, each.type, entry.minimum_interval, entry.maximum_age, entry.guard)
            selected.setdefault(rotation.id, Selected(rotation, each.state))
    return list(selected.values())


def only(wanted: frozenset[str] | None, selected: Sequence[Selected]) -> Sequence[Selected]:
    """Keep those that a direct invocation asks for; all of them where it does not choose.

    Raises UnmappedRotationError naming the ids that the trigger does not stand for.
    """
    if wanted is None:
        return selected
    unmapped = wanted - {each.rotation.id for each in selected}
    if unmapped:
        raise UnmappedRotationError(
            f"the trigger does not stand for {', '.join(sorted(unmapped)):.500}; only can choose among its rotations"
        )
    return [each for each in selected if each.rotation.id in wanted]


def _matches(selector: Selector, listed: ListedRotation) -> bool:
    return (
        listed.project == selector.project
        and listed.type == selector.type
        and selector.environment in (None, listed.environment)
        and selector.path in (None, listed.path)
    )
