"""What Infisical's own rotations do to the row and to the keys."""

from tests.contract.stage import ROTATION_ID, Stage
from tests.sandbox.standin.faults import QUOTA_EXCEEDED, Fails, Point, Slow, answer_lost

ORPHAN = Fails(Point.AFTER_CREATE, "the transaction was rolled back")


def test_auto_rotation_rotates_and_is_not_manual(stage: Stage) -> None:
    stage.standin.start_auto_rotation(ROTATION_ID)
    stage.clock.sleep(1)

    row = stage.state()
    assert (row["rotationStatus"], row["activeIndex"], row["isLastRotationManual"]) == ("success", 1, False)


def test_auto_rotation_makes_four_attempts_in_13_s_and_records_the_last(stage: Stage) -> None:
    stage.rotated(1)
    before = stage.state()
    stage.standin.start_auto_rotation(ROTATION_ID, *[Fails(Point.BEFORE)] * 4)

    stage.clock.sleep(12.9)
    assert stage.state() == before
    stage.clock.sleep(0.3)
    after = stage.state()
    assert (after["rotationStatus"], after["lastRotatedAt"]) == ("failed", before["lastRotatedAt"])


def test_a_second_auto_rotation_attempt_deletes_the_published_key(
    stage: Stage,
) -> None:
    stage.rotated(1)
    published, before = stage.published_key_id(), stage.state()
    stage.standin.start_auto_rotation(ROTATION_ID, *[ORPHAN] * 4)
    stage.clock.sleep(1)
    stage.standin.settle()
    assert published in stage.key_ids()

    stage.clock.sleep(2)
    stage.standin.settle()

    assert published not in stage.key_ids()
    assert (stage.published_key_id(), stage.state()) == (published, before)


def test_auto_rotation_that_succeeds_at_last_leaves_no_trace_of_its_failures(stage: Stage) -> None:
    stage.standin.start_auto_rotation(ROTATION_ID, Fails(Point.BEFORE), Fails(Point.BEFORE))

    stage.clock.sleep(10)

    row = stage.state()
    assert (row["rotationStatus"], row["lastRotationMessage"], row["activeIndex"]) == ("success", None, 1)


def test_auto_rotation_stops_once_another_client_has_rotated(stage: Stage) -> None:
    stage.standin.start_auto_rotation(ROTATION_ID, Fails(Point.BEFORE))
    stage.clock.sleep(1)
    stage.rotate()
    rotated = stage.state()

    stage.clock.sleep(60)

    assert stage.state() == rotated


def test_auto_rotation_does_not_wait_for_a_rotation_that_is_in_progress(stage: Stage) -> None:
    stage.standin.faults.add(ROTATION_ID, Slow(5))
    stage.walk_out(1)
    stage.standin.start_auto_rotation(ROTATION_ID)

    stage.clock.sleep(60)

    assert stage.state()["isLastRotationManual"] is True
    assert len(stage.rotation.issued) == 2


def test_a_lost_answer_of_iam_leaves_an_orphan_and_names_the_quota(stage: Stage) -> None:
    stage.rotated(1)
    published = stage.published_key_id()
    stage.standin.faults.add(ROTATION_ID, answer_lost())

    stage.rotate()

    assert stage.state()["lastRotationMessage"].endswith(QUOTA_EXCEEDED)
    assert (stage.key_ids()[0], stage.published_key_id()) == (published, published)
    assert len(stage.key_ids()) == 2


def test_a_rotation_commits_however_long_it_takes(stage: Stage) -> None:
    stage.standin.faults.add(ROTATION_ID, Slow(140))
    stage.rotate()

    stage.clock.sleep(109)
    assert stage.state()["activeIndex"] == 0
    stage.clock.sleep(2)
    assert stage.state()["activeIndex"] == 1
