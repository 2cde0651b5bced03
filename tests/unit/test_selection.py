"""What a trigger's entries stand for: for every map and every list that Infisical may answer with."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.infisical.errors import InvalidAnswerError, RejectedError
from rotator.model import GuardOptions, ListedRotation, MappedRotation, RotationOptions, RotationState, Selector
from rotator.triggers.selection import (
    EmptySelectionError,
    SelectedRotation,
    Selection,
    ShortSelectionError,
    UnmappedRotationError,
    restrict_to,
    select,
)
from tests.unit.fakes import NOW, rotation_id

Listed = list[ListedRotation | InvalidAnswerError]

IAM, MYSQL = "aws-iam-user-secret", "mysql-credentials"
SIX_DAYS = timedelta(days=6)
ROLE = GuardOptions("arn:aws:iam::123456789012:role/key-guard")


def listed(
    number: int, *, kind: str = IAM, project: str = "p", environment: str = "prod", path: str = "/"
) -> ListedRotation:
    state = RotationState(rotation_id(number), f"rotation-{number}", "success", NOW, NOW, None)
    return ListedRotation(state.id, state, kind, project, environment, path)


class Project:
    """What Infisical lists, and what it was asked for. As Infisical does, it answers for one project and type."""

    def __init__(self, *rotations: ListedRotation) -> None:
        self.rotations = rotations
        self.asked: list[tuple[str, str]] = []

    def list(self, project: str, rotation_type: str) -> Listed:
        self.asked.append((project, rotation_type))
        return [each for each in self.rotations if (each.project, each.type) == (project, rotation_type)]


def nothing_is_listed(project: str, rotation_type: str) -> Listed:
    raise AssertionError(f"nobody asked for {project} {rotation_type}")


def ids(selection: Selection) -> list[str]:
    return [each.rotation.id for each in selection.rotations]


# ---- select ----------------------------------------------------------------------------------------------------------


def test_a_mapped_rotation_is_selected_without_asking_infisical() -> None:
    mapped = MappedRotation(rotation_id(1), MYSQL, RotationOptions(SIX_DAYS))

    assert select([mapped], nothing_is_listed) == Selection((SelectedRotation(mapped, None),))


def test_a_selected_rotation_has_its_selectors_interval_and_its_state() -> None:
    project = Project(listed(1, kind=MYSQL))

    selection = select([Selector("p", type=MYSQL, options=RotationOptions(minimum_interval=SIX_DAYS))], project.list)

    assert selection == Selection(
        (
            SelectedRotation(
                MappedRotation(rotation_id(1), MYSQL, RotationOptions(SIX_DAYS)), project.rotations[0].state
            ),
        )
    )


@pytest.mark.parametrize("guard", [None, GuardOptions(), ROLE], ids=repr)
def test_every_selected_rotation_is_guarded_as_its_selector_says(guard: GuardOptions | None) -> None:
    project = Project(listed(1), listed(2))

    selection = select([Selector("p", options=RotationOptions(guard=guard))], project.list)

    assert [each.rotation.options.guard for each in selection.rotations] == [guard, guard]


@pytest.mark.parametrize(
    ("selector", "numbers"),
    [
        (Selector("p"), [1, 2, 3, 4]),
        (Selector("p", environment="prod"), [1, 2]),
        (Selector("p", environment="dev"), [3, 4]),
        (Selector("p", path="/"), [1, 3]),
        (Selector("p", path="/payments"), [2, 4]),
        (Selector("p", environment="dev", path="/payments"), [4]),
        (Selector("p", type=MYSQL), [5]),
        (Selector("q"), [6]),
    ],
    ids=repr,
)
def test_a_selector_selects_by_all_that_it_names(selector: Selector, numbers: list[int]) -> None:
    project = Project(
        listed(1),
        listed(2, path="/payments"),
        listed(3, environment="dev"),
        listed(4, environment="dev", path="/payments"),
        listed(5, kind=MYSQL),
        listed(6, project="q"),
    )

    assert ids(select([selector], project.list)) == [rotation_id(number) for number in numbers]


@pytest.mark.parametrize("other", ["/payments/eu", "/pay", "/Payments", "/payments/", "payments"])
def test_a_path_is_one_folder_without_those_below_it_or_named_like_it(other: str) -> None:
    project = Project(listed(1, path="/payments"), listed(2, path=other))

    assert ids(select([Selector("p", path="/payments")], project.list)) == [rotation_id(1)]


def test_a_listed_rotation_outside_the_selector_is_not_selected() -> None:
    def list_more(_project: str, _type: str) -> Listed:
        return [listed(1), listed(2, project="q"), listed(3, kind=MYSQL)]

    assert ids(select([Selector("p")], list_more)) == [rotation_id(1)]


def test_selectors_of_one_project_and_type_share_a_look_up() -> None:
    project = Project(listed(1), listed(2, environment="dev"), listed(3, kind=MYSQL), listed(4, project="q"))
    selectors = [
        Selector("p", environment="prod"),
        Selector("p", type=MYSQL),
        Selector("p", environment="dev"),
        Selector("q"),
    ]

    select(selectors, project.list)

    assert project.asked == [("p", IAM), ("p", MYSQL), ("q", IAM)]


def test_an_entry_by_id_counts_before_a_selector_wherever_it_stands() -> None:
    project = Project(listed(1), listed(2))
    mapped = MappedRotation(rotation_id(1), IAM, RotationOptions(SIX_DAYS, guard=ROLE))
    weaker = Selector("p", options=RotationOptions(guard=None))

    orders: list[list[MappedRotation | Selector]] = [[mapped, weaker], [weaker, mapped]]
    for entries in orders:
        selection = select(entries, project.list)

        assert {each.rotation.id: each.rotation for each in selection.rotations} == {
            rotation_id(1): mapped,
            rotation_id(2): MappedRotation(rotation_id(2), options=RotationOptions(guard=None)),
        }


def test_the_first_of_two_matching_selectors_counts() -> None:
    selectors = [Selector("p", path="/", options=RotationOptions(minimum_interval=SIX_DAYS)), Selector("p")]

    selection = select(selectors, Project(listed(1), listed(2, path="/payments")).list)

    assert [each.rotation.options.minimum_interval for each in selection.rotations] == [SIX_DAYS, None]


@pytest.mark.parametrize(("at_least", "mirrored"), [(1, []), (3, []), (3, [rotation_id(2)])], ids=repr)
def test_a_selector_with_enough_matches_is_selected(at_least: int, mirrored: list[str]) -> None:
    selection = select([Selector("p", at_least=at_least)], Project(listed(1), listed(2), listed(3)).list, mirrored)

    assert len(selection.rotations) == 3 - len(mirrored)


def test_a_selector_below_at_least_is_an_error_with_both_numbers() -> None:
    with pytest.raises(ShortSelectionError, match="matches 2 rotations, but atLeast is 3"):
        select([Selector("p", at_least=3)], Project(listed(1), listed(2)).list)


@pytest.mark.parametrize(
    "selector",
    [Selector("q"), Selector("p", environment="Prod"), Selector("p", path="/payments"), Selector("p", type=MYSQL)],
    ids=repr,
)
def test_a_selector_without_matches_is_an_error_that_names_it(selector: Selector) -> None:
    entries: list[MappedRotation | Selector] = [MappedRotation(rotation_id(1)), Selector("p"), selector]

    with pytest.raises(EmptySelectionError) as empty:
        select(entries, Project(listed(1)).list)

    assert str(empty.value).startswith(f"{selector} matches no rotation ")


def test_a_refusal_by_infisical_is_raised_unchanged() -> None:
    def refuse(_project: str, _type: str) -> Listed:
        raise RejectedError(403, "PermissionDenied", "you may not")

    with pytest.raises(RejectedError, match="you may not"):
        select([Selector("p")], refuse)


NUMBERS = st.integers(1, 6)
KINDS = st.sampled_from([IAM, MYSQL])
PROJECTS = st.sampled_from(["p", "q"])
ENVIRONMENTS = st.sampled_from(["prod", "dev"])
PATHS = st.sampled_from(["/", "/payments"])
INTERVALS = st.none() | st.just(SIX_DAYS)
GUARDS = st.sampled_from([GuardOptions(), None, ROLE])
OPTIONS = st.builds(RotationOptions, INTERVALS, guard=GUARDS)
LISTED = st.lists(
    st.builds(listed, NUMBERS, kind=KINDS, project=PROJECTS, environment=ENVIRONMENTS, path=PATHS), max_size=8
)
ENTRIES = st.lists(
    st.builds(MappedRotation, NUMBERS.map(rotation_id), KINDS, OPTIONS)
    | st.builds(Selector, PROJECTS, st.none() | ENVIRONMENTS, st.none() | PATHS, KINDS, OPTIONS),
    max_size=5,
)


def stands_for(entry: MappedRotation | Selector, rotations: Sequence[ListedRotation]) -> list[MappedRotation]:
    """What one entry stands for, in other words."""
    if isinstance(entry, MappedRotation):
        return [entry]
    wanted = {"project": entry.project, "type": entry.type, "environment": entry.environment, "path": entry.path}
    named = {name: value for name, value in wanted.items() if value is not None}
    return [
        MappedRotation(each.id, each.type, entry.options)
        for each in rotations
        if all(getattr(each, name) == value for name, value in named.items())
    ]


@given(ENTRIES, LISTED)
def test_the_selection_is_each_matching_rotation_once_by_its_first_entry(
    entries: list[MappedRotation | Selector], rotations: list[ListedRotation]
) -> None:
    meant = [stands_for(entry, rotations) for entry in entries]
    first = {entry.id: entry for entry in reversed(entries) if isinstance(entry, MappedRotation)}
    for each in (rotation for of_entry in meant for rotation in of_entry):
        first.setdefault(each.id, each)

    try:
        selection = select(entries, Project(*rotations).list)
    except EmptySelectionError:
        assert [] in meant
        return

    assert [] not in meant
    assert {each.rotation.id: each.rotation for each in selection.rotations} == first
    assert len(selection.rotations) == len(first)


@given(ENTRIES, LISTED)
def test_a_selected_state_is_the_one_that_infisical_listed(
    entries: list[MappedRotation | Selector], rotations: list[ListedRotation]
) -> None:
    try:
        selection = select(entries, Project(*rotations).list)
    except EmptySelectionError:
        return

    for each in selection.rotations:
        assert each.state is None or each.state.id == each.rotation.id
        assert each.state is None or each.state in [rotation.state for rotation in rotations]


@given(ENTRIES, LISTED)
def test_each_project_and_type_is_listed_once_and_only_if_needed(
    entries: list[MappedRotation | Selector], rotations: list[ListedRotation]
) -> None:
    project = Project(*rotations)

    try:
        select(entries, project.list)
    except EmptySelectionError:
        return

    assert len(project.asked) == len(set(project.asked))
    assert set(project.asked) == {(each.project, each.type) for each in entries if isinstance(each, Selector)}


# ---- what Infisical lists and nobody can read ------------------------------------------------------------------------

ODD = InvalidAnswerError("Infisical's answer is wrong: secretRotations[1]")


def test_a_listed_rotation_that_cannot_be_read_stops_no_other_and_is_named_once() -> None:
    def list_with_an_odd_one(_project: str, _type: str) -> Listed:
        return [listed(1), ODD, listed(2)]

    selection = select([Selector("p"), Selector("p", path="/")], list_with_an_odd_one)

    assert (ids(selection), selection.unreadable) == ([rotation_id(1), rotation_id(2)], (ODD,))


def test_a_selector_without_matches_counts_the_unreadable_ones() -> None:
    with pytest.raises(EmptySelectionError, match=r"1 rotations that Infisical lists cannot be read.*secretRotations"):
        select([Selector("p")], lambda _project, _type: [ODD])


def test_a_selected_rotation_without_a_state_is_selected_all_the_same() -> None:
    without = ListedRotation(rotation_id(1), None, IAM, "p", "prod", "/")

    selection = select([Selector("p")], lambda _project, _type: [without])

    assert selection.rotations == (SelectedRotation(MappedRotation(rotation_id(1)), None),)


# ---- mirrored --------------------------------------------------------------------------------------------------------


def test_a_selector_leaves_mirrored_rotations_out_and_names_them() -> None:
    project = Project(listed(1), listed(2), listed(3))
    selectors = [Selector("p"), Selector("p", environment="prod")]

    selection = select(selectors, project.list, {rotation_id(2), rotation_id(7)})

    assert ids(selection) == [rotation_id(1), rotation_id(3)]
    assert selection.mirrored == (rotation_id(2),)


def test_a_selector_of_mirrored_rotations_only_is_an_error() -> None:
    with pytest.raises(EmptySelectionError, match=r"matches only rotations that a secret mirrors \(2 of them\)"):
        select([Selector("p")], Project(listed(1), listed(2)).list, {rotation_id(1), rotation_id(2)})


def test_choosing_a_mirrored_rotation_explains_how_to_rotate_it() -> None:
    with pytest.raises(UnmappedRotationError, match=f"mirrors {rotation_id(9)}.*rotate-secret"):
        restrict_to(frozenset({rotation_id(1), rotation_id(9)}), SELECTED)


# ---- only ------------------------------------------------------------------------------------------------------------

SELECTED = Selection(
    tuple(SelectedRotation(MappedRotation(rotation_id(number))) for number in (3, 1, 2)), (rotation_id(9),)
)


def test_an_event_without_only_selects_every_rotation() -> None:
    assert restrict_to(None, SELECTED) == SELECTED


def test_chosen_rotations_keep_the_order_of_the_map() -> None:
    chosen = restrict_to(frozenset({rotation_id(2), rotation_id(3)}), SELECTED)

    assert chosen == Selection((SELECTED.rotations[0], SELECTED.rotations[2]))


def test_choosing_a_rotation_outside_the_trigger_is_refused() -> None:
    wanted = frozenset({rotation_id(1), rotation_id(5), rotation_id(4)})

    with pytest.raises(UnmappedRotationError) as unmapped:
        restrict_to(wanted, SELECTED)

    assert str(unmapped.value).startswith(
        f"the trigger does not have {rotation_id(4)}, {rotation_id(5)}: name rotations of the trigger in only"
    )


def test_a_thousand_strangers_are_named_in_a_text_that_a_log_can_hold() -> None:
    with pytest.raises(UnmappedRotationError) as unmapped:
        restrict_to(frozenset(rotation_id(number) for number in range(1000)), SELECTED)

    assert len(str(unmapped.value)) < 700


@given(st.frozensets(NUMBERS.map(rotation_id)) | st.none(), st.lists(NUMBERS, unique=True))
def test_a_choice_never_exceeds_the_trigger(wanted: frozenset[str] | None, numbers: list[int]) -> None:
    selected = Selection(tuple(SelectedRotation(MappedRotation(rotation_id(number))) for number in numbers))

    try:
        chosen = restrict_to(wanted, selected)
    except UnmappedRotationError:
        assert wanted is not None
        assert not wanted <= set(ids(selected))
        return

    assert ids(chosen) == [each for each in ids(selected) if wanted is None or each in wanted]
