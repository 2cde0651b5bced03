"""The key guard in virtual time: whatever attempts leave behind, the published key stays."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.model import MappedRotation
from rotator.rotation.attempt import Outcome, Result
from rotator.rotation.key_policy import SETTLED_AFTER, UserKey
from rotator.rotation.request import RotationRequest
from rotator.timestamps import from_epoch
from tests.component.iam import FakeIam, refused
from tests.component.world import GRACE_PERIOD, INVOCATION_SECONDS, START, World
from tests.sandbox.standin.faults import CommittedThenDropped, Dies, Fails, Point, RotateFault, Slow
from tests.sandbox.standin.keys import AccessKey, ProviderError
from tests.sandbox.standin.limits import rate_limited

VISIBILITY_TIMEOUT_SECONDS = 1080
TWO_MINUTES = timedelta(minutes=2)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def unguarded() -> World:
    return World(guarded=False)


def after(world: World, time: timedelta) -> World:
    """The same world, later."""
    world.clock.sleep(time.total_seconds())
    return world


def again(world: World, request: RotationRequest) -> Outcome:
    """The request is delivered again, after the full visibility time-out."""
    world.clock.sleep(VISIBILITY_TIMEOUT_SECONDS)
    return world.ensure(request)


def untracked(world: World) -> set[str]:
    """The keys that Infisical does not know."""
    return world.valid_keys - {str(slot["accessKeyId"]) for slot in world.rotation.slots}


# ---- keys that nobody tracks -----------------------------------------------------------------------------------------


def test_deleting_the_orphan_of_a_dead_attempt_recovers_without_losing_a_key(
    world: World,
) -> None:
    published = world.published_key
    world.server.faults.add(world.rotation.id, Dies(Point.AFTER_CREATE))
    request = world.request()

    lost = world.ensure(request)

    assert (lost.result, lost.comes_back) == (Result.UNCONFIRMED, True)
    (orphan,) = untracked(world)

    noticed = again(world, request)

    assert (noticed.result, noticed.reason, noticed.comes_back) == (Result.REFUSED, "OrphanKey", False)
    assert f"--access-key-id {orphan} " in noticed.explanation
    assert world.posts == 1
    assert published in world.valid_keys

    world.keys.delete_access_key("deployer", orphan)

    assert after(world, WEEK).ensure().result is Result.ROTATED
    assert world.valid_keys == {published, world.published_key}


@pytest.mark.parametrize("fault", [Dies(Point.AFTER_CREATE), Slow(85, Dies(Point.AFTER_CREATE))], ids=["fast", "slow"])
def test_an_orphan_blocks_every_rotation_even_a_forced_one(world: World, fault: RotateFault) -> None:
    world.server.faults.add(world.rotation.id, fault)
    published = world.published_key
    world.ensure()

    for forced in (False, True):
        occurred_at = from_epoch(after(world, WEEK).clock.time())
        request = RotationRequest(MappedRotation(world.rotation.id), "weekly", occurred_at, "c", forced)
        assert world.ensure(request).reason == "OrphanKey"

    assert published in world.valid_keys
    assert world.posts == 1


def test_an_unguarded_rotation_beside_an_orphan_deletes_the_published_key(unguarded: World) -> None:
    unguarded.server.faults.add(unguarded.rotation.id, Dies(Point.AFTER_CREATE))
    published = unguarded.published_key
    unguarded.ensure()

    assert after(unguarded, WEEK).ensure().result is Result.ROTATED
    assert published not in unguarded.valid_keys
    assert unguarded.iam.calls == []


def test_a_foreign_key_newer_than_the_published_one_blocks_until_deleted(world: World) -> None:
    published = world.published_key
    stranger, _ = after(world, DAY).keys.create_access_key("deployer")

    outcome = after(world, DAY).ensure()

    assert (outcome.result, outcome.reason) == (Result.REFUSED, "OrphanKey")
    assert stranger in outcome.explanation
    world.keys.delete_access_key("deployer", stranger)
    assert after(world, DAY).ensure().result is Result.ROTATED
    assert published in world.valid_keys


def test_a_key_that_appears_while_the_rate_is_limited_is_noticed(world: World) -> None:
    world.server.faults.add(world.rotation.id, rate_limited(40))
    request = world.request()

    assert world.ensure(request).reason == "RateLimited"
    world.clock.sleep(40)
    world.keys.create_access_key("deployer")

    assert world.ensure(request).reason == "UnsettledKey"
    world.clock.sleep(SETTLED_AFTER.total_seconds())
    assert world.ensure(request).reason == "OrphanKey"
    assert world.posts == 1


def test_a_foreign_rotation_that_commits_during_the_check_is_not_accused(world: World) -> None:
    def keys_of(user: str) -> list[AccessKey]:
        if len(world.valid_keys) == 1:
            world.server.start_rotation(world.rotation.id)
            after(world, timedelta(seconds=1)).server.settle()
        return world.keys.list_access_keys(user)

    world.look_at(FakeIam(keys_of))

    request = world.request()

    waiting = world.ensure(request)

    assert (waiting.result, waiting.reason) == (Result.DEFERRED, "UnsettledKey")
    assert "delete" not in waiting.explanation
    assert world.ensure(request).reason == "AlreadyRotated"
    assert world.posts == 0


# ---- attempts that failed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fails(Point.BEFORE), Fails(Point.AFTER_DELETE)], ids=["before", "after delete"])
def test_a_failed_attempt_is_followed_by_one_that_succeeds(world: World, fault: Fails) -> None:
    published = world.published_key
    world.server.faults.add(world.rotation.id, fault)
    request = world.request()

    failed = world.ensure(request)
    second = again(world, request)

    assert (failed.result, failed.comes_back) == (Result.FAILED, True)
    assert (second.result, second.comes_back) == (Result.ROTATED, False)
    assert world.posts == 2
    assert world.valid_keys == {published, world.published_key}


@pytest.mark.parametrize("fault", [Dies(Point.BEFORE), Dies(Point.AFTER_DELETE)], ids=["before", "after delete"])
def test_an_attempt_that_died_before_creating_a_key_is_retried(world: World, fault: Dies) -> None:
    published = world.published_key
    world.server.faults.add(world.rotation.id, fault)
    request = world.request()

    assert world.ensure(request).comes_back
    assert again(world, request).result is Result.ROTATED
    assert world.valid_keys == {published, world.published_key}


def test_a_failed_attempt_that_left_a_key_is_noticed(world: World) -> None:
    world.server.faults.add(world.rotation.id, Fails(Point.AFTER_CREATE))
    request = world.request()

    assert world.ensure(request).comes_back
    assert again(world, request).reason == "OrphanKey"
    assert world.posts == 1


def test_an_unseen_commit_is_found_when_its_request_returns(world: World) -> None:
    world.server.faults.add(world.rotation.id, Slow(INVOCATION_SECONDS + 1))
    request = world.request()

    assert world.ensure(request).result is Result.UNCONFIRMED
    assert again(world, request).reason == "AlreadyRotated"
    assert world.posts == 1


def test_every_trigger_rotates_in_the_end_despite_failed_attempts(world: World) -> None:
    world.server.faults.add(world.rotation.id, *[Fails(Point.BEFORE)] * 20)
    request = world.request()

    results = [world.ensure(request).result]
    results += [again(world, request).result for _ in range(20)]

    assert results == [Result.FAILED] * 20 + [Result.ROTATED]


# ---- keys in use -----------------------------------------------------------------------------------------------------


def test_a_previous_key_in_use_stays_until_unused_or_forced(world: World) -> None:
    in_use = world.published_key
    world.ensure()
    after(world, WEEK)
    world.iam.last_used[in_use] = from_epoch(world.clock.time()) - HOUR

    outcome = world.ensure()

    assert (outcome.result, outcome.reason) == (Result.REFUSED, "KeyInUse")
    assert in_use in outcome.explanation
    assert in_use in world.valid_keys
    assert after(world, GRACE_PERIOD).ensure().result is Result.ROTATED
    assert in_use not in world.valid_keys


def test_a_key_in_use_that_has_to_go_goes_by_force(world: World) -> None:
    stolen = world.published_key
    world.ensure()
    now = from_epoch(after(world, HOUR).clock.time())
    world.iam.last_used[stolen] = now

    forced = RotationRequest(MappedRotation(world.rotation.id), "leaver", now, "c", forced=True)

    assert world.ensure(forced).result is Result.ROTATED
    assert stolen not in world.valid_keys


# ---- clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 25, 85], ids=["fast", "slow", "slowest"])
@pytest.mark.parametrize("trigger_ahead", [-TWO_MINUTES, timedelta(), TWO_MINUTES], ids=str)
@pytest.mark.parametrize("iam_ahead", [-TWO_MINUTES, timedelta(), TWO_MINUTES], ids=str)
def test_rotations_go_on_week_after_week_though_every_clock_is_two_minutes_off(
    world: World, iam_ahead: timedelta, trigger_ahead: timedelta, seconds: int
) -> None:
    world.iam.ahead = iam_ahead
    for _ in range(5):
        published = world.published_key
        world.server.faults.add(world.rotation.id, Slow(seconds))

        outcome = world.ensure(world.request(from_epoch(world.clock.time()) + trigger_ahead))

        assert outcome.result is Result.ROTATED, outcome
        assert world.valid_keys == {published, world.published_key}
        after(world, WEEK)


# ---- what IAM does not show ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (refused("AccessDenied", "not you", "ListAccessKeys"), (Result.REFUSED, "KeysUnreadable")),
        (EndpointConnectionError(endpoint_url="https://iam.test"), (Result.DEFERRED, "IamUnavailable")),
    ],
    ids=["denied", "not connected"],
)
def test_an_unanswered_iam_call_stops_the_rotation(world: World, error: Exception, end: tuple[Result, str]) -> None:
    keys = world.valid_keys
    world.iam.down = error

    outcome = world.ensure()

    assert (outcome.result, outcome.reason) == end
    assert outcome.name == "aws-iam-rotation"
    assert (world.posts, world.valid_keys) == (0, keys)
    world.iam.down = None
    assert after(world, HOUR).ensure().result is Result.ROTATED


def test_a_user_of_the_same_name_in_another_account_does_not_vouch_for_ours(world: World) -> None:
    theirs = [UserKey("AKIATHEIRS", START - 400 * DAY), UserKey("AKIATHEIRSTOO", START - 30 * DAY)]
    world.look_at(FakeIam(lambda _: theirs))

    outcome = world.ensure()

    assert (outcome.result, outcome.reason) == (Result.REFUSED, "PublishedKeyMissing")
    assert world.posts == 0


def test_an_account_without_such_a_user_does_not_vouch_for_ours(world: World) -> None:
    def nobody(user: str) -> Sequence[UserKey]:
        raise ProviderError(f"The user with name {user} cannot be found.")

    world.look_at(FakeIam(nobody))

    outcome = world.ensure()

    assert outcome.reason == "KeysUnreadable"
    assert "deployer cannot be found" in outcome.explanation
    assert world.posts == 0


# ---- what it costs ---------------------------------------------------------------------------------------------------


def test_a_rotation_costs_two_calls_and_the_first_one_of_all_one(world: World) -> None:
    world.ensure()
    assert [name for name, _ in world.iam.calls] == ["ListAccessKeys"]

    after(world, WEEK).ensure()
    assert [name for name, _ in world.iam.calls[1:]] == ["ListAccessKeys", "GetAccessKeyLastUsed"]


def test_duplicates_and_what_comes_too_soon_cost_no_call(world: World) -> None:
    request = world.request()
    world.ensure(request)
    calls = list(world.iam.calls)

    assert world.ensure(request).reason == "AlreadyRotated"
    assert after(world, HOUR / 2).ensure().reason == "TooSoon"
    assert world.iam.calls == calls


# ---- years of everything ---------------------------------------------------------------------------------------------

FAULTS = st.sampled_from(
    [
        Slow(0),
        Slow(45),
        CommittedThenDropped(),
        *(Fails(point) for point in Point),
        *(Dies(point) for point in Point),
        *(Slow(80, Dies(point)) for point in Point),
    ]
)
OFF = st.sampled_from([-TWO_MINUTES, timedelta(), TWO_MINUTES])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.lists(FAULTS, max_size=3), OFF), min_size=1, max_size=6), OFF)
def test_weekly_faults_never_cost_a_rotation_or_a_published_key(
    weeks: list[tuple[list[RotateFault], timedelta]], iam_ahead: timedelta
) -> None:
    world = World()
    world.iam.ahead = iam_ahead
    for faults, trigger_ahead in weeks:
        world.server.faults.add(world.rotation.id, *faults)
        published = world.published_key
        request = world.request(from_epoch(world.clock.time()) + trigger_ahead)

        outcome = world.ensure(request)
        while outcome.comes_back or outcome.result is Result.REFUSED:
            assert published in world.valid_keys
            for orphan in untracked(world) if outcome.result is Result.REFUSED else ():
                assert outcome.reason == "OrphanKey"
                world.keys.delete_access_key("deployer", orphan)
            outcome = again(world, request)

        assert outcome.result in (Result.ROTATED, Result.SKIPPED), outcome
        assert world.valid_keys == {published, world.published_key}
        assert published != world.published_key
        after(world, WEEK)
