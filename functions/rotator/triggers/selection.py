"""The rotations of a trigger's entries, and their states.

Selectors are looked up in Infisical, one call for each project and type.
"""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

from rotator.infisical.client import Infisical
from rotator.infisical.errors import InfisicalError, InvalidAnswerError
from rotator.model import ListedRotation, MappedRotation, RotationState, Selector
from rotator.text import clip
from rotator.triggers.rotation_map import Entry, RotationMap

CONCURRENT_READS = 10

ListRotations = Callable[[str, str], list[ListedRotation | InvalidAnswerError]]


class EmptySelectionError(LookupError):
    """A selector matches no rotation that its trigger may rotate. It is an error so that somebody notices."""


class ShortSelectionError(LookupError):
    """A selector matches fewer rotations than its `atLeast`."""


class UnmappedRotationError(LookupError):
    """A direct invocation asks for a rotation that its trigger does not have."""


@dataclass(frozen=True, slots=True)
class SelectedRotation:
    """A rotation of a trigger, with its state if the look-up returned it."""

    rotation: MappedRotation
    state: RotationState | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The rotations of a trigger.

    `mirrored` are the ids that its selectors match and leave out, because a secret mirrors them. `unreadable` are the
    rotations of the projects that could not be read: a selector may match them or not.
    """

    rotations: tuple[SelectedRotation, ...]
    mirrored: tuple[str, ...] = ()
    unreadable: tuple[InvalidAnswerError, ...] = ()


def select(
    entries: Sequence[MappedRotation | Selector],
    list_rotations: ListRotations,
    mirrored: Collection[str] = (),
) -> Selection:
    """Replace each selector by the rotations that it matches, each rotation once.

    Where several entries match one rotation, an entry by id counts, and of selectors the first.

    `list_rotations` reads all rotations of a project and type, and may raise InfisicalError. `mirrored` are the ids of
    rotations that a secret mirrors: only the secret's own rotation may rotate them, so selectors leave them out.
    Raises EmptySelectionError and ShortSelectionError, naming the selector.
    """
    named = {entry.id for entry in entries if isinstance(entry, MappedRotation)}
    listed: dict[tuple[str, str], list[ListedRotation]] = {}
    unreadable: dict[tuple[str, str], list[InvalidAnswerError]] = {}
    selected: dict[str, SelectedRotation] = {}
    left_out: dict[str, None] = {}
    for entry in entries:
        if isinstance(entry, MappedRotation):
            selected.setdefault(entry.id, SelectedRotation(entry))
            continue
        key = (entry.project, entry.type)
        if key not in listed:
            answer = list_rotations(*key)
            listed[key] = [rotation for rotation in answer if isinstance(rotation, ListedRotation)]
            unreadable[key] = [error for error in answer if isinstance(error, InvalidAnswerError)]
        matches = [rotation for rotation in listed[key] if _matches(entry, rotation)]
        if matches and len(matches) < entry.at_least:
            raise ShortSelectionError(
                f"{entry} matches {len(matches)} rotations, but atLeast is {entry.at_least}. Check whether a folder or"
                " an environment was moved, or the machine identity lost permissions; otherwise lower atLeast"
            )
        allowed = [rotation for rotation in matches if rotation.id not in mirrored]
        if not allowed:
            raise EmptySelectionError(_why_empty(entry, len(matches), unreadable[key]))
        left_out |= dict.fromkeys(rotation.id for rotation in matches if rotation.id in mirrored)
        for rotation in allowed:
            if rotation.id not in named:
                mapped = MappedRotation(rotation.id, rotation.type, entry.options)
                selected.setdefault(rotation.id, SelectedRotation(mapped, rotation.state))
    return Selection(tuple(selected.values()), tuple(left_out), tuple(chain(*unreadable.values())))


def select_all(
    rotation_map: RotationMap, list_rotations: ListRotations
) -> tuple[dict[str, list[SelectedRotation]], dict[Entry | str, Exception]]:
    """Every rotation of the map by its id, once for each of its entries; and what could not be read, with the error.

    Entry by entry: a selector that matches nothing must not hide the others.
    """
    selected: dict[str, list[SelectedRotation]] = {}
    unreadable: dict[Entry | str, Exception] = {}
    for entries in rotation_map.groups():
        named = [entry for entry in entries if isinstance(entry, MappedRotation)]
        for entry in entries:
            try:
                selection = select([*named, entry], list_rotations, rotation_map.mirrored_ids)
                unreadable |= {str(error): error for error in selection.unreadable}
                for rotation in selection.rotations:
                    selected.setdefault(rotation.rotation.id, []).append(rotation)
            except (InfisicalError, EmptySelectionError, ShortSelectionError) as error:
                unreadable[entry] = error
    return selected, unreadable


def restrict_to(ids: frozenset[str] | None, selection: Selection) -> Selection:
    """Keep the rotations that a direct invocation names; all of them where it names none.

    Raises UnmappedRotationError naming the ids that the trigger does not have.
    """
    if ids is None:
        return selection
    unmapped = ids - {selected.rotation.id for selected in selection.rotations}
    if mirrored := sorted(unmapped & set(selection.mirrored)):
        raise UnmappedRotationError(
            f"a secret mirrors {clip(', '.join(mirrored), 500)}, so only the secret's own rotation may rotate it:"
            " aws secretsmanager rotate-secret --secret-id … with its ARN from the rotation map's mirrors"
        )
    if unmapped:
        raise UnmappedRotationError(
            f"the trigger does not have {clip(', '.join(sorted(unmapped)), 500)}: name rotations of the trigger in only"
        )
    return Selection(tuple(selected for selected in selection.rotations if selected.rotation.id in ids))


def read_rotation_states(
    infisical: Infisical, rotations: Sequence[SelectedRotation]
) -> list[RotationState | InfisicalError]:
    """Read concurrently the states that the look-up of a selector did not return.

    An error replaces a state that cannot be read. The others are read all the same.
    """

    def read(selected: SelectedRotation) -> RotationState | InfisicalError:
        try:
            return selected.state or infisical.state(selected.rotation)
        except InfisicalError as error:
            return error

    with ThreadPoolExecutor(CONCURRENT_READS) as pool:
        return list(pool.map(read, rotations))


def _why_empty(selector: Selector, mirrored: int, unreadable: Sequence[InvalidAnswerError]) -> str:
    if mirrored:
        return (
            f"{selector} matches only rotations that a secret mirrors ({mirrored} of them). Only the secrets' own"
            " rotation may rotate these: remove the selector from the rotation map, or correct it"
        )
    odd = f" {len(unreadable)} rotations that Infisical lists cannot be read: {unreadable[0]}" if unreadable else ""
    return (
        f"{selector} matches no rotation that the machine identity may read: correct the rotation map, or"
        f" the identity's permissions in Infisical.{odd}"
    )


def _matches(selector: Selector, listed: ListedRotation) -> bool:
    return (
        listed.project == selector.project
        and listed.type == selector.type
        and selector.environment in (None, listed.environment)
        and selector.path in (None, listed.path)
    )
