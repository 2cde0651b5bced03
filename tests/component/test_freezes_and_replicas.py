"""What the world does between two looks: Lambda freezes the process, and Infisical reads from a replica that lags."""

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from rotator.infisical.errors import RateLimitedError
from rotator.rotation.attempt import Result
from tests.component.world import START, World
from tests.sandbox.standin.answers import Answer
from tests.sandbox.standin.limits import rate_limited
from tests.sandbox.standin.transport import StandInTransport


class Replica(httpx.BaseTransport):
    """Answers reads of one rotation as they were answered at first, for as long as it lags."""

    def __init__(self, world: World) -> None:
        self._inner = StandInTransport(world.server)
        self._old: dict[str, bytes] = {}
        self.lags = True

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        if request.method != "GET" or not response.is_success:
            return response
        body = self._old.setdefault(request.url.path, response.read())
        return httpx.Response(200, content=body if self.lags else response.content, request=request)


@pytest.fixture
def unguarded() -> World:
    return World(guarded=False)


def test_a_request_within_the_lag_is_skipped_by_the_commit_seen_before(unguarded: World) -> None:
    unguarded.use_transport(Replica(unguarded))
    first, second = unguarded.request(), unguarded.request()

    assert unguarded.ensure(first).result is Result.ROTATED
    unguarded.clock.sleep(0.01)

    assert unguarded.ensure(second).reason == "AlreadyRotated"
    assert unguarded.posts == 1


def test_a_due_request_waits_while_reads_are_older_than_the_last_commit(unguarded: World) -> None:
    replica = Replica(unguarded)
    unguarded.use_transport(replica)
    unguarded.ensure()
    unguarded.clock.sleep(7 * 86_400)
    due = unguarded.request()

    waiting = unguarded.ensure(due)
    replica.lags = False

    assert (waiting.result, waiting.reason) == (Result.DEFERRED, "StaleState")
    assert unguarded.ensure(due).result is Result.ROTATED
    assert unguarded.posts == 2


def test_the_key_guard_never_accuses_a_key_that_the_replica_lags_behind() -> None:
    world = World()
    replica = Replica(world)
    world.use_transport(replica)
    world.infisical.state(world.request().rotation, 10)
    world.server.start_rotation(world.rotation.id)  # by another process, or by a person
    world.clock.sleep(2.0)
    world.server.settle()
    request = world.request()

    waiting = world.ensure(request)

    assert (waiting.result, waiting.reason) == (Result.DEFERRED, "UnsettledKey")
    assert world.posts == 0
    replica.lags = False
    assert world.ensure(request).reason == "TooSoon"


def test_an_unguarded_message_returns_once_every_replica_shows_its_rotation(unguarded: World) -> None:
    request = unguarded.request()

    rotated = unguarded.ensure(request)

    assert (rotated.result, rotated.comes_back, rotated.return_seconds) == (Result.ROTATED, False, 600.0)
    assert unguarded.ensure(request).reason == "AlreadyRotated"


# ---- clocks ----------------------------------------------------------------------------------------------------------


class Frozen:
    """The clock of a process that Lambda freezes: wall time goes on, and the monotonic clock stands still."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._frozen_seconds = 0.0

    def time(self) -> float:
        return self._world.clock.time()

    def monotonic(self) -> float:
        return self._world.clock.time() - self._frozen_seconds

    def sleep(self, seconds: float, /) -> None:
        self._world.clock.sleep(seconds)

    def freeze(self, seconds: float) -> None:
        self._world.clock.sleep(seconds)
        self._frozen_seconds += seconds


def test_a_rate_limit_ends_by_the_wall_clock_despite_a_freeze() -> None:
    world = World()
    clock = Frozen(world)
    world.connect_by(clock)
    world.server.faults.add(world.rotation.id, rate_limited(60))
    request = world.request()
    assert world.ensure(request).reason == "RateLimited"

    clock.freeze(61)

    assert world.ensure(request).result is Result.ROTATED


def test_a_read_during_a_rate_limit_is_not_sent_however_long_the_process_runs() -> None:
    world = World()
    world.server.faults.add_read(world.rotation.id, rate_limited(100))
    world.ensure()
    sent = len(world.server.requests)

    for _ in range(3):
        world.clock.sleep(30)
        assert world.ensure().reason == "RateLimited"

    assert len(world.server.requests) == sent


def test_a_limit_of_reads_is_not_one_of_rotations_and_the_other_way_round() -> None:
    world = World()
    rotation = world.request().rotation
    world.server.faults.add_read(world.rotation.id, rate_limited(100))

    with pytest.raises(RateLimitedError):
        world.infisical.state(rotation, 10)
    world.infisical.check_rate_limit("POST")
    world.clock.sleep(100)
    world.server.faults.add(world.rotation.id, rate_limited(100))
    with pytest.raises(RateLimitedError):
        world.infisical.rotate(rotation, 10)
    assert world.infisical.state(rotation, 10).id == rotation.id


# ---- one deadline ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "slow", [lambda _: True, lambda request: request.url.path.endswith("/login")], ids=["everything", "logins"]
)
@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "unguarded"])
def test_confirmation_of_an_uncertain_attempt_ends_with_the_deadline(
    slow: Callable[[httpx.Request], bool],
    guarded: bool,  # noqa: FBT001 - a parameter
) -> None:
    class SlowAfterTheAttempt(httpx.BaseTransport):
        """Each phase of a connection takes as long as the client lets it, from rotate-secrets on."""

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/rotate-secrets"):
                world.server.revoke_tokens()
                self.is_slow = True
                raise httpx.ReadError("Connection reset by peer", request=request)
            if not (self.is_slow and slow(request)):
                return inner.handle_request(request)
            for phase in ("connect", "connect", "write", "read"):
                world.clock.sleep(request.extensions["timeout"].get(phase))
            raise httpx.ReadTimeout("The read operation timed out", request=request)

        is_slow = False

    world = World(guarded=guarded)
    inner = StandInTransport(world.server)
    world.use_transport(SlowAfterTheAttempt())

    outcome = world.ensure(seconds=166)

    assert outcome.result is Result.UNCONFIRMED
    assert world.clock.time() - START.timestamp() <= 166 + 1


def test_a_state_some_hours_ahead_is_a_clock_that_is_wrong_and_no_reason_to_fail(unguarded: World) -> None:
    unguarded.rotation.last_rotated_at = unguarded.clock.time() + 23 * 3600

    assert unguarded.ensure().reason == "AlreadyRotated"


def test_a_state_two_days_ahead_is_impossible(unguarded: World) -> None:
    ahead = {**unguarded.rotation.to_json(), "lastRotatedAt": "2026-11-18T05:00:00.001Z"}
    assert unguarded.clock.time() == START.timestamp()
    unguarded.server.faults.add_read(
        unguarded.rotation.id,
        Answer(200, {"content-type": "application/json"}, httpx.Response(200, json={"secretRotation": ahead}).content),
    )

    outcome = unguarded.ensure(unguarded.request(START + timedelta(seconds=1)))

    assert (outcome.result, outcome.reason) == (Result.FAILED, "InvalidAnswer")
