"""Each fault does to the answer, to the row and to the keys exactly what it says, once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from tests.contract.stage import CREDENTIALS, GARBAGE, ROTATION, ROTATION_ID, Stage, status_of
from tests.sandbox.standin.answers import Answer, Dropped, server_error
from tests.sandbox.standin.faults import (
    CommittedThenDropped,
    Dies,
    Fails,
    InProgress,
    LockRace,
    Point,
    RotateFault,
    Slow,
    plan_restriction,
)
from tests.sandbox.standin.limits import rate_limited


@dataclass(frozen=True)
class Effect:
    """`status` is None for a closed connection; the row's status is None where nothing was recorded."""

    status: int | None
    recorded: str | None = None
    committed: bool = False
    deleted: int = 0
    created: int = 0


PUBLISHED = Effect(200, "success", committed=True, deleted=1, created=1)

EFFECTS: Mapping[str, tuple[RotateFault, Effect]] = {
    "slow": (Slow(29), PUBLISHED),
    "committed, then dropped": (CommittedThenDropped(), replace(PUBLISHED, status=None)),
    "fails before": (Fails(Point.BEFORE), Effect(500, "failed")),
    "fails after delete": (Fails(Point.AFTER_DELETE), Effect(500, "failed", deleted=1)),
    "fails after create": (Fails(Point.AFTER_CREATE), Effect(500, "failed", deleted=1, created=1)),
    "fails after commit": (Fails(Point.AFTER_COMMIT), replace(PUBLISHED, status=500, recorded="failed")),
    "dies before": (Dies(Point.BEFORE), Effect(None)),
    "dies after delete": (Dies(Point.AFTER_DELETE), Effect(None, deleted=1)),
    "dies after create": (Dies(Point.AFTER_CREATE), Effect(None, deleted=1, created=1)),
    "dies after commit": (Dies(Point.AFTER_COMMIT), replace(PUBLISHED, status=None)),
    "in progress": (InProgress(), Effect(400)),
    "lost lock race": (LockRace(), Effect(500, "failed")),
    "lock race that both survive": (LockRace(rival_seconds=0.1), replace(PUBLISHED, deleted=2, created=2)),
    "dropped": (Dropped(), Effect(None)),
    "garbage": (GARBAGE, Effect(200)),
    "rate limited": (rate_limited(17), Effect(429)),
    "plan restriction": (plan_restriction(), Effect(400)),
    "server error": (server_error(), Effect(500)),
}


@pytest.mark.parametrize("title", EFFECTS)
def test_a_fault_has_its_effect(stage: Stage, title: str) -> None:
    fault, effect = EFFECTS[title]
    stage.rotated(1)
    stage.clock.sleep(60)
    keys, row = stage.key_ids(), stage.state()
    stage.standin.faults.add(ROTATION_ID, fault)

    outcome = stage.rotate()

    after = stage.state()
    attempted = after["lastRotationAttemptedAt"] > row["lastRotationAttemptedAt"]
    assert effect == Effect(
        status_of(outcome),
        after["rotationStatus"] if attempted else None,
        committed=after["lastRotatedAt"] > row["lastRotatedAt"] and after["activeIndex"] != row["activeIndex"],
        deleted=len(stage.keys.deleted),
        created=len(stage.key_ids()) + len(stage.keys.deleted) - len(keys),
    )


def test_faults_are_played_in_their_order_and_then_all_is_well(stage: Stage) -> None:
    stage.standin.faults.add(ROTATION_ID, rate_limited(5), Fails(Point.BEFORE))

    assert [status_of(stage.rotate()) for _ in range(3)] == [429, 500, 200]


def test_a_fault_is_one_rotation_s_own(stage: Stage) -> None:
    other = stage.standin.add_rotation(user_name="other")
    stage.standin.faults.add(other.id, Dropped())

    assert status_of(stage.rotate()) == 200


def test_a_failure_after_the_commit_is_recorded_later_than_the_commit(stage: Stage) -> None:
    stage.standin.faults.add(ROTATION_ID, Fails(Point.AFTER_COMMIT))

    stage.rotate()

    assert stage.state()["lastRotationAttemptedAt"] > stage.state()["lastRotatedAt"]
    assert stage.published_key_id() == stage.key_ids()[-1]


def test_a_key_that_was_not_committed_is_no_generated_credential(stage: Stage) -> None:
    before = stage.json("GET", CREDENTIALS)
    stage.standin.faults.add(ROTATION_ID, Fails(Point.AFTER_CREATE))

    stage.rotate()

    assert stage.json("GET", CREDENTIALS) == before


def test_a_failed_attempt_leaves_no_lock(stage: Stage) -> None:
    stage.standin.faults.add(ROTATION_ID, Fails(Point.AFTER_CREATE), CommittedThenDropped())

    assert [status_of(stage.rotate()) for _ in range(3)] == [500, None, 200]


def test_a_dead_attempt_leaves_its_lock_for_a_minute(stage: Stage) -> None:
    stage.standin.faults.add(ROTATION_ID, Dies(Point.BEFORE))
    stage.rotate()

    assert status_of(stage.rotate()) == 400
    stage.clock.sleep(60)
    assert status_of(stage.rotate()) == 200


def test_the_attempt_after_a_death_with_a_new_key_deletes_the_published_key(stage: Stage) -> None:
    stage.rotated(1)
    published = stage.published_key_id()
    stage.standin.faults.add(ROTATION_ID, Dies(Point.AFTER_CREATE))
    stage.rotate()
    stage.clock.sleep(60)

    stage.rotate()

    assert stage.keys.deleted[-1].id == published


def test_an_attempt_in_progress_commits_at_the_announced_time(stage: Stage) -> None:
    stage.standin.faults.add(ROTATION_ID, InProgress(seconds=20))
    stage.rotate()

    stage.clock.sleep(19)
    assert stage.state()["activeIndex"] == 0
    stage.clock.sleep(2)
    assert stage.state()["activeIndex"] == 1


def test_the_winner_of_a_lock_race_commits(stage: Stage) -> None:
    stage.standin.faults.add(ROTATION_ID, LockRace(rival_seconds=3))
    stage.rotate()

    stage.clock.sleep(3)

    assert stage.state()["rotationStatus"] == "success"
    assert stage.state()["activeIndex"] == 1


def test_a_slow_attempt_may_fail_after_its_client_has_left(stage: Stage) -> None:
    stage.standin.faults.add(ROTATION_ID, Slow(60, then=Fails(Point.AFTER_CREATE)))

    assert stage.rotate() == Dropped()
    assert stage.state()["rotationStatus"] == "success"

    stage.clock.sleep(300)
    assert stage.state()["rotationStatus"] == "failed"
    assert stage.state()["lastRotationAttemptedAt"] == "2026-11-22T03:57:48.005Z"


@pytest.mark.parametrize("path", [ROTATION, CREDENTIALS])
def test_a_read_is_disturbed_once(stage: Stage, path: str) -> None:
    stage.standin.faults.add_read(ROTATION_ID, server_error(503), Dropped(), GARBAGE, rate_limited(9))

    outcomes = [stage.send("GET", path) for _ in range(5)]

    assert [status_of(outcome) for outcome in outcomes] == [503, None, 200, 429, 200]
    assert outcomes[2] == GARBAGE


def test_a_list_is_disturbed_by_its_project(stage: Stage) -> None:
    project_id = stage.rotation.project_id
    stage.standin.faults.add_read(project_id, Dropped())
    path = f"/api/v2/secret-rotations?projectId={project_id}"

    assert [status_of(stage.send("GET", path)) for _ in range(2)] == [None, 200]


def test_a_slow_read_is_answered_late_and_with_what_is_true_then(stage: Stage) -> None:
    stage.standin.faults.add_read(ROTATION_ID, Slow(5))
    began = stage.clock.time()
    stage.standin.start_rotation(ROTATION_ID, seconds=3)

    assert stage.state()["activeIndex"] == 1
    assert stage.clock.time() == began + 5


def test_a_rate_limited_call_says_when_to_retry(stage: Stage) -> None:
    stage.standin.faults.add(ROTATION_ID, rate_limited(17))

    outcome = stage.rotate()

    assert isinstance(outcome, Answer)
    assert outcome.headers["retry-after"] == "17"
