"""Which rotations the entries of a trigger mean, and their states.

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

CONCURRENT_READS = 10

ListRotations = Callable[[str, str], list[ListedRotation | InvalidAnswerError]]


class EmptySelectionError(LookupError):
    """A selector matches no rotation that its trigger may rotate. This is an error, or nobody would notice."""


class ShortSelectionError(LookupError):
    """A selector matches fewer rotations than it has to."""


class UnmappedRotationError(LookupError):
    """A direct invocation asks for a rotation that its trigger does not stand for."""


@dataclass(frozen=True, slots=True)
class Selected:
    """A rotation that a trigger stands for; its state where the look-up brought it along."""

    rotation: MappedRotation
    state: RotationState | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What a trigger stands for.

    `mirrored` are the ids that its selectors match and leave out, because a secret mirrors them. `unreadable` says
    which rotations of the projects could not be read, so that nobody knows whether a selector means them.
    """

    rotations: tuple[Selected, ...]
    mirrored: tuple[str, ...] = ()
    unreadable: tuple[InvalidAnswerError, ...] = ()


def select(
    entries: Sequence[MappedRotation | Selector],
    list_rotations: ListRotations,
    mirrored: Collection[str] = (),
) -> Selection:
    """Replace each selector by the rotations that it stands for, each rotation once.

    Where several entries match one rotation, an entry by id counts, and of selectors the first.

    `list_rotations` reads all rotations of a project and type, and may raise InfisicalError. `mirrored` are the ids of
    rotations that a secret mirrors: only the secret's own rotation may rotate them, so selectors leave them out.
    Raises EmptySelectionError and ShortSelectionError, naming the selector.
    """
    named = {entry.id for entry in entries if isinstance(entry, MappedRotation)}
    listed: dict[tuple[str, str], list[ListedRotation]] = {}
    unreadable: dict[tuple[str, str], list[InvalidAnswerError]] = {}
    selected: dict[str, Selected] = {}
    left_out: dict[str, None] = {}
    for entry in entries:
        if isinstance(entry, MappedRotation):
            selected.setdefault(entry.id, Selected(entry))
            continue
        key = (entry.project, entry.type)
        if key not in listed:
            answer = list_rotations(*key)
            listed[key] = [each for each in answer if isinstance(each, ListedRotation)]
            unreadable[key] = [each for each in answer if isinstance(each, InvalidAnswerError)]
        matches = [each for each in listed[key] if _matches(entry, each)]
        if matches and len(matches) < entry.at_least:
            raise ShortSelectionError(
                f"{entry} matches {len(matches)} rotations, and atLeast says {entry.at_least}: see whether a folder or"
                " an environment was moved, or the machine identity's role was narrowed; or lower atLeast"
            )
        allowed = [each for each in matches if each.id not in mirrored]
        if not allowed:
            raise EmptySelectionError(_why_empty(entry, len(matches), unreadable[key]))
        left_out |= dict.fromkeys(each.id for each in matches if each.id in mirrored)
        for each in allowed:
            rotation = MappedRotation(each.id, each.type, entry.options)
            if rotation.id not in named:
                selected.setdefault(rotation.id, Selected(rotation, each.state))
    return Selection(tuple(selected.values()), tuple(left_out), tuple(chain(*unreadable.values())))


def only(wanted: frozenset[str] | None, selection: Selection) -> Selection:
    """Keep those that a direct invocation asks for; all of them where it does not choose.

    Raises UnmappedRotationError naming the ids that the trigger does not stand for.
    """
    if wanted is None:
        return selection
    unmapped = wanted - {each.rotation.id for each in selection.rotations}
    if mirrored := sorted(unmapped & set(selection.mirrored)):
        raise UnmappedRotationError(
            f"a secret mirrors {clip(', '.join(mirrored), 500)}, and only the secret's own rotation may rotate that:"
            " aws secretsmanager rotate-secret --secret-id with the ARN that the rotation map's mirrors have for it"
        )
    if unmapped:
        raise UnmappedRotationError(
            f"the trigger does not stand for {clip(', '.join(sorted(unmapped)), 500)}; only can choose among its"
            " rotations"
        )
    return Selection(tuple(each for each in selection.rotations if each.rotation.id in wanted))


def read_rotation_states(infisical: Infisical, selected: Sequence[Selected]) -> list[RotationState | InfisicalError]:
    """Read concurrently the states that the look-up of a selector has not brought along.

    The error stands in the place of a state that cannot be read. It stops no other.
    """

    def read(each: Selected) -> RotationState | InfisicalError:
        try:
            return each.state or infisical.state(each.rotation)
        except InfisicalError as error:
            return error

    with ThreadPoolExecutor(CONCURRENT_READS) as pool:
        return list(pool.map(read, selected))


def _why_empty(selector: Selector, mirrored: int, unreadable: Sequence[InvalidAnswerError]) -> str:
    if mirrored:
        return (
            f"{selector} matches only rotations that a secret mirrors ({mirrored} of them), and only their secrets' own"
            " rotation may rotate these: remove the selector from the rotation map, or correct it"
        )
    odd = f" {len(unreadable)} rotations that Infisical lists cannot be read: {unreadable[0]}" if unreadable else ""
    return (
        f"{selector} stands for no rotation that the machine identity may read: correct the rotation map, or"
        f" the identity's permissions in Infisical.{odd}"
    )


def _matches(selector: Selector, listed: ListedRotation) -> bool:
    return (
        listed.project == selector.project
        and listed.type == selector.type
        and selector.environment in (None, listed.environment)
        and selector.path in (None, listed.path)
    )
