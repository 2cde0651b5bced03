"""What one attempt, and what several, leave in the row and among the keys."""

from datetime import timedelta

import pytest

from tests.contract.stage import CREATED_AT, CREDENTIALS, ROTATE, ROTATION_ID, STARTS_AT, Stage, parsed, status_of
from tests.sandbox.standin.answers import Dropped
from tests.sandbox.standin.faults import Fails, Point, Slow

FAILURE = "Infisical encountered an issue while generating credentials with the configured inputs: "


def test_a_rotation_publishes_a_new_key_and_leaves_the_previous_one_alive(stage: Stage) -> None:
    first = stage.published_key_id()

    stage.rotate()

    assert stage.published_key_id() != first
    assert stage.key_ids() == [first, stage.published_key_id()]


def test_the_next_rotation_deletes_the_oldest_key_of_any_origin(stage: Stage) -> None:
    published = stage.published_key_id()
    stray, _ = stage.keys.create_access_key("app-user", CREATED_AT.timestamp() - 1)

    stage.rotate()

    assert [key.id for key in stage.keys.deleted] == [stray]
    assert stage.key_ids() == [published, stage.published_key_id()]


def test_a_success_writes_these_fields_and_no_others(stage: Stage) -> None:
    stage.rotation.is_last_rotation_manual = False
    stage.standin.faults.add(ROTATION_ID, Fails(Point.BEFORE))
    stage.rotate()
    before = stage.state()
    stage.clock.sleep(60)

    stage.rotate()

    now = "2026-11-22T03:58:08.040Z"
    assert changes(before, stage.state()) == {
        "rotationStatus": "success",
        "lastRotatedAt": now,
        "lastRotationAttemptedAt": now,
        "updatedAt": now,
        "isLastRotationManual": True,
        "lastRotationMessage": None,
        "activeIndex": 1,
        "nextRotationAt": "2026-12-23T00:00:00.000Z",
    }


def test_a_failure_writes_these_fields_and_no_others(stage: Stage) -> None:
    before = stage.state()
    stage.keys.missing_users.add("app-user")

    stage.rotate()

    now = "2026-11-22T03:57:08.015Z"
    assert changes(before, stage.state()) == {
        "rotationStatus": "failed",
        "lastRotationAttemptedAt": now,
        "updatedAt": now,
        "lastRotationMessage": f"{FAILURE}The user with name app-user cannot be found.",
        "nextRotationAt": "2026-11-23T00:00:00.000Z",
    }


def test_a_failure_sets_the_next_rotation_even_without_auto_rotation(stage: Stage) -> None:
    """Nothing rotates then: backend/src/ee/services/secret-rotation-v2/secret-rotation-v2-service.ts."""
    stage.rotation.is_auto_rotation_enabled = False
    stage.rotate()
    before = stage.state()["nextRotationAt"]
    stage.standin.faults.add(ROTATION_ID, Fails(Point.BEFORE))

    stage.rotate()

    assert (before, stage.state()["nextRotationAt"]) == (None, "2026-11-23T00:00:00.000Z")


def test_a_long_message_is_cut_in_the_row_and_in_the_answer(stage: Stage) -> None:
    """At 1024 characters: backend/src/ee/services/secret-rotation-v2/secret-rotation-v2-fns.ts."""
    stage.standin.faults.add(ROTATION_ID, Fails(Point.BEFORE, "x" * 2000))

    message = parsed(stage.rotate())["message"]

    assert stage.state()["lastRotationMessage"] == message == FAILURE + "x" * (1021 - len(FAILURE)) + "..."


def test_a_message_of_the_greatest_length_is_not_cut(stage: Stage) -> None:
    stage.standin.faults.add(ROTATION_ID, Fails(Point.BEFORE, "x" * (1024 - len(FAILURE))))

    stage.rotate()

    assert stage.state()["lastRotationMessage"] == FAILURE + "x" * (1024 - len(FAILURE))


@pytest.mark.parametrize(
    ("rotate_at_utc", "expected"),
    [
        ((3, 0), "2026-12-23T03:00:00.000Z"),
        ((4, 30), "2026-12-22T04:30:00.000Z"),
    ],
)
def test_the_next_rotation_is_the_first_slot_after_the_interval(
    stage: Stage, rotate_at_utc: tuple[int, int], expected: str
) -> None:
    rotation = stage.standin.add_rotation(user_name="other", rotate_at_utc=rotate_at_utc)

    assert rotation.to_json()["nextRotationAt"] == expected


def test_a_rotation_without_auto_rotation_has_no_next_one(stage: Stage) -> None:
    rotation = stage.standin.add_rotation(user_name="other", is_auto_rotation_enabled=False)

    assert rotation.to_json()["nextRotationAt"] is None


def test_two_simultaneous_calls_both_succeed_and_leave_an_untracked_key(stage: Stage) -> None:
    stage.rotated(1)
    published = stage.published_key_id()

    calls = [stage.begin_rotation(), stage.begin_rotation()]
    outcomes = [stage.standin.wait_for(call) for call in calls]

    assert [status_of(outcome) for outcome in outcomes] == [200, 200]
    assert stage.state()["activeIndex"] == 0
    assert published in [key.id for key in stage.keys.deleted]
    untracked, now_published = stage.key_ids()
    assert now_published == stage.published_key_id()
    assert untracked not in [credential["accessKeyId"] for credential in stage.rotation.slots]


def test_the_loser_of_the_lock_writes_a_failure_that_the_winner_overwrites(stage: Stage) -> None:
    stage.standin.faults.add(ROTATION_ID, Slow(3))
    winner, loser = stage.begin_rotation(), stage.begin_rotation()

    lost = stage.standin.wait_for(loser)
    between = stage.state()
    won = stage.standin.wait_for(winner)

    assert (status_of(lost), status_of(won)) == (500, 200)
    assert (between["rotationStatus"], between["lastRotationMessage"]) == (
        "failed",
        f"{FAILURE}Failed to acquire rotation lock.",
    )
    assert stage.state()["rotationStatus"] == "success"


def test_the_server_hangs_up_at_thirty_seconds_and_commits_later(stage: Stage) -> None:
    stage.standin.faults.add(ROTATION_ID, Slow(35))

    assert stage.rotate() == Dropped()
    assert stage.clock.time() == STARTS_AT.timestamp() + 30
    assert stage.state()["lastRotatedAt"] == "2026-11-22T03:54:39.249Z"

    stage.clock.sleep(300)
    assert stage.state()["lastRotatedAt"] == "2026-11-22T03:57:43.005Z"
    assert stage.keys.list_access_keys("app-user")[1].created_at - STARTS_AT < timedelta(seconds=24)


def test_a_lock_that_outlives_its_minute_lets_the_next_one_in(stage: Stage) -> None:
    stage.standin.faults.add(ROTATION_ID, Slow(100))
    stage.walk_out(59)
    assert status_of(stage.rotate()) == 400

    stage.clock.sleep(2)
    assert status_of(stage.rotate()) == 200


def test_an_attempt_that_lost_its_lock_does_not_release_another(stage: Stage) -> None:
    stage.standin.faults.add(ROTATION_ID, Slow(100), Slow(50))
    stage.walk_out(61)
    stage.walk_out(40)

    assert status_of(stage.rotate()) == 400


def test_an_answer_after_the_time_limit_is_never_delivered(stage: Stage) -> None:
    stage.standin.faults.add(ROTATION_ID, Slow(35))
    call = stage.begin_rotation()
    stage.clock.sleep(60)

    assert stage.standin.poll(call) == Dropped()


def test_an_attempts_outcome_does_not_depend_on_when_it_is_settled() -> None:
    def rows(settled_every: float) -> list[object]:
        stage = Stage()
        stage.standin.faults.add(ROTATION_ID, Slow(20), Slow(1))
        stage.begin_rotation()
        stage.clock.sleep(0.004)
        stage.begin_rotation()
        while stage.clock.time() < STARTS_AT.timestamp() + 60:
            stage.clock.sleep(settled_every)
            stage.standin.settle()
        return [stage.state(), [key.created_at for key in stage.keys.list_access_keys("app-user")]]

    assert rows(settled_every=0.5) == rows(settled_every=60)


def test_every_secret_that_was_handed_out_is_known(stage: Stage) -> None:
    stage.standin.faults.add(ROTATION_ID, Fails(Point.AFTER_CREATE))
    first = stage.json("GET", CREDENTIALS)["generatedCredentials"]
    stage.rotate()
    stage.rotate()
    stage.rotate()
    now = stage.json("GET", CREDENTIALS)["generatedCredentials"]

    assert stage.standin.secrets >= {stage.token, stage.identity.client_secret}
    assert stage.standin.secrets >= {credential["secretAccessKey"] for credential in (*first, *now)}
    assert len(stage.standin.secrets) == 2 + 4  # one of the keys was never committed


def test_the_journal_lists_every_request_and_its_end(stage: Stage) -> None:
    stage.standin.requests.clear()
    stage.standin.faults.add(ROTATION_ID, Dropped())

    stage.rotate()
    stage.rotate()

    assert [(entry.method, entry.path, entry.status) for entry in stage.standin.requests] == [
        ("POST", ROTATE, None),
        ("POST", ROTATE, 200),
    ]
    assert stage.token not in repr(stage.standin.requests)


def changes(before: dict[str, object], after: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in after.items() if value != before[name]}
