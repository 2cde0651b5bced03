"""What becomes of a previous key: by the keys' dates, their status and the last use."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.model import RotationState
from rotator.old_keys.policy import MINIMUM_QUIET, SWITCH_OVER, Action, Assessment, assess
from rotator.rotation.key_policy import LastUse, UserKey, UserKeys, find_published
from tests.unit.fakes import NOW, rotation_id

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
ROTATED_AT = NOW - 30 * DAY
STATE = RotationState(rotation_id(1), "payments", "success", ROTATED_AT, ROTATED_AT, None, user_name="deployer")
PREVIOUS = UserKey("AKIAPREVIOUS", NOW - 60 * DAY)
PUBLISHED = UserKey("AKIAPUBLISHED", ROTATED_AT - SECOND)
ORPHAN = UserKey("AKIAORPHAN", NOW - DAY)
QUIET = 7 * DAY


def judged(
    *keys: UserKey, used_ago: timedelta | None = None, state: RotationState = STATE, quiet: timedelta = QUIET
) -> Assessment:
    last_use = None if used_ago is None else LastUse(NOW - used_ago, "s3", "eu-central-1")
    return assess(state, UserKeys(keys, last_use), retire_after=14 * DAY, quiet=quiet, now=NOW)


@pytest.mark.parametrize("used_ago", [None, QUIET, 40 * DAY], ids=["never", "a week ago", "before the rotation"])
def test_a_silent_previous_key_is_deactivated(used_ago: timedelta | None) -> None:
    assert judged(PUBLISHED, PREVIOUS, used_ago=used_ago) == Assessment(Action.DEACTIVATE, "Silent", PREVIOUS)


@pytest.mark.parametrize("used_ago", [QUIET - SECOND, HOUR, -HOUR], ids=["within a week", "now", "ahead"])
def test_a_previous_key_in_use_is_reported_and_left(used_ago: timedelta) -> None:
    assert judged(PREVIOUS, PUBLISHED, used_ago=used_ago) == Assessment(Action.WARN, "PreviousKeyInUse", PREVIOUS)


def test_use_while_consumers_switch_over_is_no_warning() -> None:
    state = replace(STATE, last_rotated_at=NOW - DAY)
    keys = (PREVIOUS, UserKey("AKIAPUBLISHED", NOW - DAY))

    assert judged(*keys, used_ago=DAY - SWITCH_OVER, state=state).action is Action.LEAVE


def test_no_key_is_deactivated_before_its_time() -> None:
    state = replace(STATE, last_rotated_at=NOW - 14 * DAY + SECOND)

    assert judged(PREVIOUS, UserKey("AKIAPUBLISHED", NOW - 14 * DAY), state=state).reason == "TooEarly"


def test_a_silence_of_less_than_two_days_proves_nothing() -> None:
    assert judged(PREVIOUS, PUBLISHED, used_ago=MINIMUM_QUIET - SECOND, quiet=HOUR).action is Action.WARN


@pytest.mark.parametrize(
    "keys",
    [
        (),
        (PUBLISHED,),
        (PREVIOUS,),
        (PUBLISHED, ORPHAN),
        (PREVIOUS, ORPHAN),
        (PUBLISHED, UserKey("AKIATWIN", ROTATED_AT)),
    ],
    ids=["none", "published", "previous", "orphan", "no published", "two that may be published"],
)
def test_an_unclear_case_is_left_alone(keys: tuple[UserKey, ...]) -> None:
    assert judged(*keys) == Assessment(Action.LEAVE, "Unclear")


def test_a_state_from_a_lagging_replica_is_left_alone() -> None:
    assert judged(PREVIOUS, PUBLISHED, state=replace(STATE, stale=True)).reason == "Unclear"


@pytest.mark.parametrize("inactive", [PREVIOUS, PUBLISHED], ids=lambda key: key.id)
def test_the_only_active_key_is_never_deactivated(inactive: UserKey) -> None:
    keys = [replace(key, active=key != inactive) for key in (PREVIOUS, PUBLISHED)]

    assert judged(*keys).reason == "Inactive"


MOMENTS = st.timedeltas(-DAY, 60 * DAY).map(lambda ago: NOW - ago)


@given(st.lists(MOMENTS, max_size=3), MOMENTS, st.none() | MOMENTS, st.sets(st.integers(0, 2)))
def test_only_a_key_older_than_the_published_one_is_ever_deactivated(
    created: list[datetime], rotated_at: datetime, used: datetime | None, inactive: set[int]
) -> None:
    keys = tuple(UserKey(f"AKIA{n}", at, n not in inactive) for n, at in enumerate(created))
    user = UserKeys(keys, LastUse(used, "s3", "eu-central-1") if used else None)
    assessment = assess(replace(STATE, last_rotated_at=rotated_at), user, DAY, QUIET, NOW)

    if assessment.action is Action.DEACTIVATE:
        published = find_published(user, rotated_at)
        assert published is not None
        assert assessment.key is not None
        assert published.active
        assert assessment.key.created_at < published.created_at
