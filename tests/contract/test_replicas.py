"""Reads from a replica that is behind, the one that rotate-secrets begins with included."""

from collections.abc import Iterator

from tests.contract.stage import CREDENTIALS, ROTATION_ID, Stage, status_of
from tests.sandbox.standin.faults import Fails, Point

LIST = "/api/v2/secret-rotations/aws-iam-user-secret?projectId=d17eeab6-9bb7-4255-9168-ccac2028bfd4"


def test_reads_show_the_row_from_before_the_commit_until_the_replica_catches_up(stage: Stage) -> None:
    stage.standin.replicas.lag = lambda: 4.0
    before = stage.state(), stage.json("GET", LIST), stage.json("GET", CREDENTIALS)

    stage.rotate()
    stage.clock.sleep(3)
    assert (stage.state(), stage.json("GET", LIST), stage.json("GET", CREDENTIALS)) == before

    stage.clock.sleep(2)
    assert stage.state()["activeIndex"] == 1
    assert stage.json("GET", LIST)["secretRotations"] == [stage.state()]
    assert stage.published_key_id() == stage.key_ids()[1]


def test_the_answer_of_a_rotation_shows_its_commit_however_late_the_replica_is(stage: Stage) -> None:
    stage.standin.replicas.lag = lambda: 600.0

    stage.rotate()

    assert stage.rotation.as_of(stage.clock.time()).active_index == 1
    assert stage.state()["activeIndex"] == 0


def test_a_failure_is_shown_as_late_as_a_commit(stage: Stage) -> None:
    stage.standin.replicas.lag = lambda: 4.0
    stage.standin.faults.add(ROTATION_ID, Fails(Point.BEFORE))

    stage.rotate()
    assert stage.state()["rotationStatus"] == "success"

    stage.clock.sleep(5)
    assert stage.state()["rotationStatus"] == "failed"


def test_a_rotation_that_reads_a_stale_row_writes_the_previous_slot(stage: Stage) -> None:
    stage.rotated(1)
    stage.clock.sleep(60)
    stage.standin.replicas.lag = lambda: 4.0
    stage.rotate()
    first = stage.rotation.published["accessKeyId"]

    assert status_of(stage.rotate()) == 200

    second = stage.rotation.published["accessKeyId"]
    assert stage.rotation.active_index == 0
    assert stage.key_ids() == [first, second]
    assert first not in [credential["accessKeyId"] for credential in stage.rotation.slots]


def test_each_read_may_meet_another_replica(stage: Stage) -> None:
    lags: Iterator[float] = iter((0.0, 4.0, 0.0))
    stage.standin.replicas.lag = lambda: next(lags, 0.0)

    stage.rotate()

    assert [stage.state()["activeIndex"] for _ in range(3)] == [0, 1, 1]


def test_a_stale_read_is_reported_and_one_that_misses_nothing_is_not(stage: Stage) -> None:
    stale = list[tuple[str, float]]()
    stage.standin.replicas.stale = lambda rotation, lag: stale.append((rotation.id, lag))
    stage.standin.replicas.lag = lambda: 4.0

    stage.state()
    stage.rotate()
    stage.state()

    assert stale == [(ROTATION_ID, 4.0)]
