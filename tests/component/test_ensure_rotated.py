"""What becomes of a request under every answer that Infisical may give."""

import json
from datetime import timedelta

import httpx
import pytest

from rotator.rotation.attempt import ATTEMPT_SECONDS, Next, Result
from rotator.timestamps import format_timestamp
from tests.component.world import INVOCATION_SECONDS, START, World
from tests.sandbox.standin.answers import Answer, Dropped, Refusal, server_error
from tests.sandbox.standin.faults import (
    CommittedThenDropped,
    Dies,
    Fails,
    InProgress,
    LockRace,
    Point,
    Slow,
    plan_restriction,
)
from tests.sandbox.standin.limits import rate_limited
from tests.sandbox.standin.transport import StandInTransport


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def unguarded() -> World:
    return World(guarded=False)


BOTH_WAYS = pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "unguarded"])


def test_a_due_rotation_is_rotated_with_two_requests_and_keeps_the_previous_key(world: World) -> None:
    old = world.published_key

    outcome = world.ensure()

    assert (outcome.result, outcome.reason, outcome.name) == (Result.ROTATED, "Rotated", "aws-iam-rotation")
    assert world.valid_keys == {old, world.published_key}
    assert [entry.method for entry in world.server.requests] == ["POST", "GET", "POST"], "login, read, rotate"


def test_a_duplicate_costs_one_request_and_rotates_nothing(world: World) -> None:
    request = world.request()
    world.ensure(request)
    keys, requests = world.valid_keys, len(world.server.requests)

    outcome = world.ensure(request)

    assert (outcome.result, outcome.reason) == (Result.SKIPPED, "AlreadyRotated")
    assert world.valid_keys == keys
    assert len(world.server.requests) == requests + 1


def test_another_trigger_shortly_after_a_rotation_is_too_soon(world: World) -> None:
    world.ensure()
    world.clock.sleep(59 * 60)

    outcome = world.ensure()

    assert (outcome.result, outcome.reason) == (Result.SKIPPED, "TooSoon")
    assert world.posts == 1


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(CommittedThenDropped(), id="committed, then dropped"),
        pytest.param(Fails(Point.AFTER_COMMIT), id="500 after the commit"),
        pytest.param(Slow(34), id="closed at the server's limit, committed later"),
        pytest.param(Slow(80), id="closed at the server's limit, committed much later"),
    ],
)
def test_a_commit_is_found_after_any_answer(world: World, fault: CommittedThenDropped | Fails | Slow) -> None:
    old = world.published_key
    world.server.faults.add(world.rotation.id, fault)

    outcome = world.ensure()

    assert (outcome.result, outcome.reason) == (Result.ROTATED, "Confirmed")
    assert world.posts == 1
    assert world.valid_keys == {old, world.published_key}


@BOTH_WAYS
@pytest.mark.parametrize("point", [Point.BEFORE, Point.AFTER_DELETE, Point.AFTER_CREATE])
def test_a_recorded_failure_is_retried_only_with_a_key_guard(
    point: Point,
    guarded: bool,  # noqa: FBT001 - a parameter
) -> None:
    world = World(guarded=guarded)
    world.server.faults.add(world.rotation.id, Fails(point, message="no such luck"))

    outcome = world.ensure()

    assert (outcome.result, outcome.reason) == (Result.FAILED, "AttemptFailed")
    assert "no such luck" in outcome.explanation
    assert (outcome.comes_back, outcome.return_seconds) == (guarded, None)
    assert world.posts == 1


def test_a_failure_that_infisical_does_not_explain_is_still_reported(world: World) -> None:
    attempted_at = format_timestamp(START + timedelta(seconds=1))
    failed = {"rotationStatus": "failed", "lastRotationAttemptedAt": attempted_at, "lastRotationMessage": None}
    world.server.faults.add(world.rotation.id, server_error())
    world.server.faults.add_read(world.rotation.id, Slow(0), answer_with(rotation_json(world, **failed)))

    assert world.ensure().explanation.endswith("The rotation's state says: nothing")


@pytest.mark.parametrize("point", [Point.BEFORE, Point.AFTER_DELETE, Point.AFTER_CREATE])
def test_a_failure_without_key_guard_makes_the_next_trigger_be_refused(unguarded: World, point: Point) -> None:
    unguarded.server.faults.add(unguarded.rotation.id, Fails(point, message="no such luck"))
    unguarded.ensure()
    unguarded.clock.sleep(7 * 86400)

    outcome = unguarded.ensure()

    assert (outcome.result, outcome.reason) == (Result.REFUSED, "PreviousAttemptFailed")
    assert "no such luck" in outcome.explanation
    assert unguarded.posts == 1


@BOTH_WAYS
def test_a_failure_after_the_commit_does_not_block_the_next_trigger(guarded: bool) -> None:  # noqa: FBT001 - a parameter
    world = World(guarded=guarded)
    world.server.faults.add(world.rotation.id, Fails(Point.AFTER_COMMIT))
    world.ensure()
    world.clock.sleep(7 * 86400)

    assert world.ensure().result is Result.ROTATED


@BOTH_WAYS
@pytest.mark.parametrize("point", [Point.BEFORE, Point.AFTER_DELETE, Point.AFTER_CREATE])
def test_an_attempt_that_died_silently_is_unconfirmed_by_the_deadline(
    point: Point,
    guarded: bool,  # noqa: FBT001 - a parameter
) -> None:
    world = World(guarded=guarded)
    world.server.faults.add(world.rotation.id, Dies(point))

    outcome = world.ensure()

    assert outcome.result is Result.UNCONFIRMED
    assert (outcome.next, outcome.return_seconds) == (Next.RETURN if guarded else Next.RETURN_LATER_ONES, None)
    assert "did not show in time how it ended" in outcome.explanation
    assert world.posts == 1
    assert world.clock.time() - START.timestamp() <= INVOCATION_SECONDS


def test_a_foreign_attempt_that_commits_in_time_fulfils_the_request(world: World) -> None:
    world.server.faults.add(world.rotation.id, InProgress(seconds=20))

    outcome = world.ensure()

    assert (outcome.result, outcome.reason) == (Result.ROTATED, "Confirmed")


def test_a_foreign_attempt_that_outlasts_the_invocation_defers_the_request(world: World) -> None:
    world.server.faults.add(world.rotation.id, InProgress(seconds=600))

    outcome = world.ensure()

    assert (outcome.result, outcome.reason) == (Result.DEFERRED, "RotationInProgress")
    assert (outcome.comes_back, outcome.return_seconds) == (True, None)


def test_a_lost_lock_race_is_not_repeated(world: World) -> None:
    world.server.faults.add(world.rotation.id, LockRace(rival_seconds=3))

    outcome = world.ensure()

    assert outcome.result in (Result.FAILED, Result.ROTATED), "the loser's record, or the winner's commit"
    assert world.posts == 1


@pytest.mark.parametrize("seconds", [1, 40, 100])
def test_a_rate_limit_is_waited_for_in_the_queue_as_infisical_says(world: World, seconds: int) -> None:
    world.server.faults.add(world.rotation.id, rate_limited(seconds))

    outcome = world.ensure()

    assert (outcome.result, outcome.reason, outcome.return_seconds) == (Result.DEFERRED, "RateLimited", seconds)
    assert world.clock.time() - START.timestamp() < 1, "no worker burns its time"
    world.clock.sleep(seconds)
    assert world.ensure().result is Result.ROTATED
    assert world.posts == 2


def test_a_foreign_rotation_during_a_rate_limit_is_noticed(world: World) -> None:
    request = world.request()
    world.server.faults.add(world.rotation.id, rate_limited(40))
    world.ensure(request)
    world.server.start_rotation(world.rotation.id, seconds=20)
    world.clock.sleep(40)

    assert world.ensure(request).result is Result.SKIPPED
    assert world.posts == 1


def test_a_rate_limit_that_is_known_costs_the_others_no_request(world: World) -> None:
    world.server.faults.add_read(world.rotation.id, rate_limited(100))
    world.ensure()
    requests = len(world.server.requests)

    outcome = world.ensure()

    assert (outcome.reason, outcome.return_seconds) == ("RateLimited", 100)
    assert len(world.server.requests) == requests


@pytest.mark.parametrize("header", ["soon", "nan", "-5", "1e99", ""])
def test_a_rate_limit_with_a_senseless_header_still_has_a_sensible_wait(world: World, header: str) -> None:
    world.server.faults.add(world.rotation.id, Refusal(429, "Slow down", headers={"retry-after": header}))

    outcome = world.ensure(seconds=ATTEMPT_SECONDS)

    assert outcome.result is Result.DEFERRED
    assert outcome.return_seconds is not None
    assert 1 <= outcome.return_seconds <= 3600


def test_a_plan_restriction_may_pass_so_the_request_returns(world: World) -> None:
    world.server.faults.add(world.rotation.id, plan_restriction())
    request = world.request()

    outcome = world.ensure(request)

    assert (outcome.result, outcome.reason, outcome.next) == (Result.DEFERRED, "PlanRestricted", Next.RETURN)
    assert "plan restriction" in outcome.explanation
    assert world.ensure(request).result is Result.ROTATED


def test_an_unknown_rotation_is_a_clear_no(world: World) -> None:
    stranger = World().rotation

    outcome = world.ensure(world.request(rotation=stranger))

    assert (outcome.result, outcome.reason, outcome.comes_back) == (Result.FAILED, "NotFound", False)
    assert stranger.id in outcome.explanation
    assert world.posts == 0


def test_an_identity_that_may_not_rotate_is_a_clear_no(world: World) -> None:
    world.identity.permissions = {"read"}

    outcome = world.ensure()

    assert (outcome.result, outcome.reason, outcome.comes_back) == (Result.FAILED, "PermissionDenied", False)
    assert "rotate-secrets" in outcome.explanation


@pytest.mark.parametrize("answer", [server_error(500), server_error(503), Dropped(), Slow(60)])
def test_an_unreadable_state_returns_the_request(world: World, answer: Refusal | Dropped | Slow) -> None:
    world.server.faults.add_read(world.rotation.id, answer)

    outcome = world.ensure()

    assert (outcome.result, outcome.return_seconds) == (Result.DEFERRED, None)
    assert world.posts == 0


def test_reads_that_fail_while_confirming_do_not_end_the_watch(world: World) -> None:
    world.server.faults.add(world.rotation.id, CommittedThenDropped())
    healthy_first_read = Slow(0)
    world.server.faults.add_read(
        world.rotation.id, healthy_first_read, server_error(503), Dropped(), rate_limited(7), Slow(60)
    )

    outcome = world.ensure()

    assert (outcome.result, outcome.reason) == (Result.ROTATED, "Confirmed")
    assert world.posts == 1


def test_too_little_time_sends_nothing_that_could_be_cut_off(world: World) -> None:
    outcome = world.ensure(seconds=ATTEMPT_SECONDS - 1)

    assert (outcome.result, outcome.reason) == (Result.DEFERRED, "OutOfTime")
    assert world.posts == 0


def test_a_duplicate_is_recognised_even_with_little_time(world: World) -> None:
    request = world.request()
    world.ensure(request)

    assert world.ensure(request, seconds=5).result is Result.SKIPPED


def test_iam_is_not_asked_when_too_little_time_remains(world: World) -> None:
    """A batch that waits for it again and again would be cut off, and what ended in it would come back."""
    assert world.ensure(seconds=100).reason == "OutOfTime"
    assert world.iam.calls == []


def test_an_attempt_without_any_time_left_sends_nothing(world: World) -> None:
    assert world.ensure(seconds=0).reason == "OutOfTime"
    assert world.server.requests == []


def answer_with(body: str, content_type: str = "application/json") -> Answer:
    return Answer(200, {"content-type": content_type}, body.encode())


def rotation_json(world: World, **fields: object) -> str:
    return json.dumps({"secretRotation": {**world.rotation.to_json(), **fields}})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"lastRotatedAt": None}, "lastRotatedAt"),
        ({"lastRotatedAt": "2026-02-30T00:00:00.000Z"}, "lastRotatedAt"),
        ({"lastRotatedAt": "2026-02-20T00:00:00"}, "lastRotatedAt"),
        ({"lastRotatedAt": 1763856000}, "lastRotatedAt"),
        ({"lastRotationAttemptedAt": "yesterday"}, "lastRotationAttemptedAt"),
        ({"rotationStatus": None}, "rotationStatus"),
        ({"name": 7}, "name"),
        ({"id": "3c90c3cc-0d44-4b50-8888-8dd25736052a"}, "id"),
        ({"id": None}, "id"),
    ],
)
def test_a_state_that_makes_no_sense_is_an_error_that_names_the_field(
    world: World, fields: dict[str, object], named: str
) -> None:
    world.server.faults.add_read(world.rotation.id, answer_with(rotation_json(world, **fields)))

    outcome = world.ensure()

    assert (outcome.result, outcome.reason, outcome.comes_back) == (Result.FAILED, "InvalidAnswer", False)
    assert named in outcome.explanation
    assert world.posts == 0


FOREIGN_ANSWERS = [
    *[
        Answer(200, {"content-type": "text/html"}, body.encode())
        for body in ("", "<html>Sign in</html>", "[]", "{}", '{"secretRotation": null}', '{"secretRotation": {')
    ],
    Answer(200, {"content-type": "application/json"}, b"[" * 100_000),
    Answer(404, {"content-type": "text/plain"}, b"default backend - 404"),
    Answer(403, {"content-type": "text/html"}, b"<html>Request blocked</html>"),
    Answer(405, {}, b""),
    Answer(421, {}, b"Misdirected Request"),
    Answer(302, {"location": "https://elsewhere.test/"}, b""),
]


@pytest.mark.parametrize("answer", FOREIGN_ANSWERS, ids=lambda answer: f"{answer.status} {answer.body[:20]!r}")
def test_a_read_that_a_proxy_answers_defers_the_request(world: World, answer: Answer) -> None:
    world.server.faults.add_read(world.rotation.id, answer)
    request = world.request()

    outcome = world.ensure(request)

    assert (outcome.result, outcome.reason) == (Result.DEFERRED, "ForeignAnswer")
    assert world.posts == 0
    assert world.ensure(request).result is Result.ROTATED


@pytest.mark.parametrize("answer", FOREIGN_ANSWERS, ids=lambda answer: f"{answer.status} {answer.body[:20]!r}")
def test_a_rotation_whose_answer_a_proxy_replaces_is_confirmed_from_the_state(world: World, answer: Answer) -> None:
    class ContentFilter(httpx.BaseTransport):
        """Lets every request through, and replaces what rotate-secrets answers."""

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = server.handle_request(request)
            if not request.url.path.endswith("/rotate-secrets"):
                return response
            return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body, request=request)

    server = StandInTransport(world.server)
    world.use_transport(ContentFilter())

    outcome = world.ensure()

    assert (outcome.result, outcome.reason) == (Result.ROTATED, "Confirmed")
    assert world.posts == 1


@pytest.mark.parametrize("body", ["<html>Sign in</html>", '{"message": "Unauthorized"}', '{"statusCode": 200}'])
def test_a_proxys_401_on_the_answer_never_sends_rotate_secrets_again(world: World, body: str) -> None:
    class Proxy(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = server.handle_request(request)
            is_rotation = request.url.path.endswith("/rotate-secrets")
            return httpx.Response(401, text=body, request=request) if is_rotation else response

    server = StandInTransport(world.server)
    world.use_transport(Proxy())

    assert world.ensure().result is Result.ROTATED
    assert world.posts == 1


def test_a_rotate_answer_that_makes_no_sense_is_confirmed_from_the_state(world: World) -> None:
    world.server.faults.add(world.rotation.id, answer_with(rotation_json(world, lastRotatedAt=None)))

    outcome = world.ensure()

    assert outcome.result is Result.UNCONFIRMED
    assert "lastRotatedAt" in outcome.explanation
    assert world.posts == 1


def test_a_rotate_answer_whose_state_has_not_advanced_is_no_success(world: World) -> None:
    world.server.faults.add(world.rotation.id, answer_with(rotation_json(world)))

    assert world.ensure().result is Result.UNCONFIRMED


def test_infisicals_texts_are_capped(world: World) -> None:
    world.server.faults.add(world.rotation.id, Fails(Point.BEFORE, message="x" * 5000))

    assert len(world.ensure().explanation) < 1200


def test_one_occurrence_redelivered_for_a_week_rotates_once(world: World) -> None:
    request = world.request()
    for _ in range(7 * 24):
        world.ensure(request)
        world.clock.sleep(3600)

    assert world.posts == 1


def test_an_occurrence_before_the_last_rotation_is_fulfilled_already(world: World) -> None:
    outcome = world.ensure(world.request(START - timedelta(days=30)))

    assert (outcome.result, outcome.reason) == (Result.SKIPPED, "AlreadyRotated")
