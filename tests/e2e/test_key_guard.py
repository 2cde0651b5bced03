"""The key guard on the deployed stack: keys of real users, roles that IAM enforces, and what a person does about it."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rotator.telemetry import Metric
from tests.e2e.assertions import delta, outcomes_of, posts_for, scheduled
from tests.sandbox.accounts import OTHER_ACCOUNT, iam_of
from tests.sandbox.deployment import wait_until
from tests.sandbox.sandbox import Sandbox
from tests.sandbox.standin.faults import Fails, Point
from tests.sandbox.standin.rotations import Rotation

WEEK = timedelta(days=7)
BACK_SECONDS = 10


@pytest.fixture
def rotated(deployed: Sandbox, rotation: Rotation) -> Rotation:
    """A rotation that was rotated by us a week ago: its user has two keys."""
    deployed.stack.send(scheduled())
    outcomes_of(deployed, rotation)
    deployed.age(rotation, WEEK)
    return rotation


@pytest.fixture
def soon_back(deployed: Sandbox) -> Iterator[None]:
    """What comes back comes back in seconds; no attempt of these tests takes as long."""
    url, sqs = deployed.stack.outputs["RotationRequestsUrl"], deployed.stack.sqs
    name: Any = "VisibilityTimeout"
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={name: str(BACK_SECONDS)})
    yield
    sqs.set_queue_attributes(QueueUrl=url, Attributes=before)


def previous_key(deployed: Sandbox, rotation: Rotation) -> str:
    """The id of the key that the next rotation deletes."""
    (key_id,) = deployed.valid_keys(rotation.name) - {deployed.published_key(rotation)}
    return key_id


def end_of_next(deployed: Sandbox, rotation: Rotation, count: int, trigger: str = "weekly") -> dict[str, Any]:
    """Send a trigger, and return how the rotation's `count`th request ended, not counting waits for a young key."""
    deployed.stack.send(scheduled(trigger))
    return outcomes_of(deployed, rotation, count=count, besides="UnsettledKey")[-1]


@pytest.mark.usefixtures("soon_back")
def test_an_orphan_is_found_when_the_request_returns_and_deleted_by_hand(deployed: Sandbox, rotation: Rotation) -> None:
    before, published = deployed.stack.metrics(), deployed.published_key(rotation)
    deployed.infisical.faults.add(rotation.id, Fails(Point.AFTER_CREATE))

    # when an attempt dies between creating a key and committing it, and its request comes back by itself
    deployed.stack.send(scheduled())
    outcomes_of(deployed, rotation)
    deployed.settle(rotation.name, previous_key(deployed, rotation))  # as it is after 18 minutes
    failed, refused = outcomes_of(deployed, rotation, count=2)

    # then nothing is revoked, and the reason names the key and what to do
    assert (failed["outcome"], failed["reason"], failed["comes_back"]) == ("failed", "AttemptFailed", True)
    assert (refused["outcome"], refused["reason"], refused["comes_back"]) == ("refused", "OrphanKey", False)
    assert failed["correlation_id"] == refused["correlation_id"]
    orphan = previous_key(deployed, rotation)
    assert deployed.valid_keys(rotation.name) == {published, orphan}
    assert posts_for(deployed, rotation) == 1
    (message,) = deployed.stack.take("FailedRotationsUrl")
    assert message["explanation"] == refused["explanation"]
    after = deployed.stack.metrics()
    assert delta(before, after, Metric.ROTATION_FAILED) == delta(before, after, Metric.ROTATION_REFUSED) == 1

    # and another trigger, or a forced one, is refused too
    assert end_of_next(deployed, rotation, 3, "monthly")["reason"] == "OrphanKey"
    deployed.stack.invoke({"trigger": "weekly", "force": True, "occurredAt": scheduled()["scheduledTime"]})
    assert outcomes_of(deployed, rotation, count=4, besides="UnsettledKey")[-1]["reason"] == "OrphanKey"
    deployed.stack.take("FailedRotationsUrl")

    # when a person does as told
    command = re.search(r"aws iam delete-access-key --user-name (\S+) --access-key-id (\w+)", refused["explanation"])
    assert command is not None
    assert command.groups() == (rotation.name, orphan)
    deployed.iam.delete_access_key(UserName=command[1], AccessKeyId=command[2])

    # then the next trigger rotates
    assert end_of_next(deployed, rotation, 5)["outcome"] == "rotated"
    assert deployed.valid_keys(rotation.name) == {published, deployed.published_key(rotation)}


def test_a_young_key_beside_the_published_one_only_defers_the_request(deployed: Sandbox, rotation: Rotation) -> None:
    made = deployed.iam.create_access_key(UserName=rotation.name)["AccessKey"]["AccessKeyId"]

    deployed.stack.send(scheduled())
    (end,) = outcomes_of(deployed, rotation)

    assert (end["outcome"], end["reason"], end["comes_back"]) == ("deferred", "UnsettledKey", True)
    assert made in end["explanation"]
    assert posts_for(deployed, rotation) == 0
    deployed.stack.sqs.purge_queue(QueueUrl=deployed.stack.outputs["RotationRequestsUrl"])


@pytest.mark.usefixtures("soon_back")
def test_a_failure_that_left_nothing_behind_is_retried(deployed: Sandbox, rotation: Rotation) -> None:
    old = deployed.published_key(rotation)
    deployed.infisical.faults.add(rotation.id, Fails(Point.BEFORE))

    deployed.stack.send(scheduled())
    failed, rotated = outcomes_of(deployed, rotation, count=2)

    assert (failed["outcome"], failed["comes_back"], rotated["outcome"]) == ("failed", True, "rotated")
    assert deployed.valid_keys(rotation.name) == {old, deployed.published_key(rotation)}
    wait_until("an empty queue", lambda: deployed.stack.depth("RotationRequestsUrl") == 0)
    assert deployed.stack.depth("FailedRotationsUrl") == 0


def test_a_key_that_was_used_an_hour_ago_is_not_revoked(deployed: Sandbox, rotated: Rotation) -> None:
    keys, previous = deployed.valid_keys(rotated.name), previous_key(deployed, rotated)
    used_at = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    deployed.use_key(previous, used_at, service="dynamodb", region="eu-west-1")

    end = end_of_next(deployed, rotated, 2)

    assert (end["outcome"], end["reason"]) == ("refused", "KeyInUse")
    for named in (previous, rotated.name, "dynamodb", "eu-west-1", f"{used_at:%Y-%m-%dT%H:%M:%S}"):
        assert named in end["explanation"]
    assert deployed.valid_keys(rotated.name) == keys
    (message,) = deployed.stack.take("FailedRotationsUrl")
    assert message["reason"] == "KeyInUse"

    # and a person who has looked may still say that it has to go
    deployed.stack.invoke({"trigger": "weekly", "force": True, "occurredAt": scheduled()["scheduledTime"]})
    assert outcomes_of(deployed, rotated, count=3)[-1]["outcome"] == "rotated"
    assert previous not in deployed.valid_keys(rotated.name)


@pytest.mark.parametrize("hours_ago", [7, 7 * 24, None], ids=["beyond the grace period", "last week", "never"])
def test_a_key_that_is_no_longer_used_is_revoked(deployed: Sandbox, rotated: Rotation, hours_ago: int | None) -> None:
    published, previous = deployed.published_key(rotated), previous_key(deployed, rotated)
    if hours_ago:
        deployed.use_key(previous, datetime.now(UTC) - timedelta(hours=hours_ago))

    assert end_of_next(deployed, rotated, 2)["outcome"] == "rotated"

    assert deployed.valid_keys(rotated.name) == {published, deployed.published_key(rotated)}


def test_the_map_may_give_an_entry_a_longer_grace_period(deployed: Sandbox, rotated: Rotation) -> None:
    deployed.use_key(previous_key(deployed, rotated), datetime.now(UTC) - timedelta(days=1))
    entry = {"id": rotated.id, "keyGuard": {"gracePeriod": "2 days"}}
    deployed.stack.put_map({"triggers": {"weekly": entry}})

    assert end_of_next(deployed, rotated, 2)["reason"] == "KeyInUse"

    deployed.stack.take("FailedRotationsUrl")


def test_a_foreign_key_newer_than_the_published_one_is_named(deployed: Sandbox, rotation: Rotation) -> None:
    made = deployed.iam.create_access_key(UserName=rotation.name)["AccessKey"]["AccessKeyId"]
    deployed.settle(rotation.name, made)

    end = end_of_next(deployed, rotation, 1)

    assert (end["outcome"], end["reason"]) == ("refused", "OrphanKey")
    assert made in end["explanation"]
    assert deployed.valid_keys(rotation.name) == {deployed.published_key(rotation), made}
    deployed.stack.take("FailedRotationsUrl")


@pytest.mark.parametrize("minutes", [2, -2])
def test_clocks_that_differ_by_two_minutes_change_nothing(deployed: Sandbox, rotated: Rotation, minutes: int) -> None:
    for key in deployed.connections.list_access_keys(rotated.name):
        deployed.iam_front.age(key, timedelta(minutes=minutes))

    assert end_of_next(deployed, rotated, 2)["outcome"] == "rotated"


def test_an_outage_of_iam_revokes_nothing(deployed: Sandbox, rotated: Rotation) -> None:
    keys = deployed.valid_keys(rotated.name)

    with deployed.iam_front.down():
        end = end_of_next(deployed, rotated, 2)

    assert (end["outcome"], end["reason"]) == ("deferred", "IamUnavailable")
    assert "ServiceUnavailable" in end["explanation"]
    assert deployed.valid_keys(rotated.name) == keys
    assert posts_for(deployed, rotated) == 1


def test_a_role_that_may_not_look_is_a_refusal_that_says_so(deployed: Sandbox, rotation: Rotation) -> None:
    with deployed.stack.without("RotateRole", "LookAtKeys"):
        end = end_of_next(deployed, rotation, 1)

    assert (end["outcome"], end["reason"]) == ("refused", "KeysUnreadable")
    assert "iam:ListAccessKeys" in end["explanation"]
    assert "KeyGuardUsers" in end["explanation"]
    assert posts_for(deployed, rotation) == 0
    deployed.stack.take("FailedRotationsUrl")


def test_a_user_of_another_account_is_looked_at_through_a_role_there(
    deployed: Sandbox, new_rotation: Callable[..., Rotation]
) -> None:
    rotation, role = new_rotation(account=OTHER_ACCOUNT), deployed.add_guard_role()
    old = deployed.published_key(rotation)
    deployed.stack.put_map({"triggers": {"weekly": rotation.id}})

    # without the role the user is nobody
    assert end_of_next(deployed, rotation, 1)["reason"] == "KeysUnreadable"

    # and through it, its keys are seen
    deployed.stack.put_map({"triggers": {"weekly": {"id": rotation.id, "keyGuard": {"role": role}}}})
    assert end_of_next(deployed, rotation, 2)["outcome"] == "rotated"
    deployed.age(rotation, WEEK)
    stranger = iam_of(deployed.stack.aws, deployed.iam_url, OTHER_ACCOUNT)
    stranger.delete_access_key(UserName=rotation.name, AccessKeyId=old)
    made = stranger.create_access_key(UserName=rotation.name)["AccessKey"]["AccessKeyId"]
    deployed.settle(rotation.name, made)
    end = end_of_next(deployed, rotation, 3)
    assert end["reason"] == "OrphanKey"
    assert made in end["explanation"]
    deployed.stack.take("FailedRotationsUrl")


def test_a_user_of_the_same_name_in_the_wrong_account_vouches_for_nothing(
    deployed: Sandbox, new_rotation: Callable[..., Rotation]
) -> None:
    rotation = new_rotation(account=OTHER_ACCOUNT)
    deployed.iam.create_user(UserName=rotation.name)
    namesake = deployed.iam.create_access_key(UserName=rotation.name)["AccessKey"]["AccessKeyId"]
    deployed.iam_front.date(namesake, datetime.now(UTC) - WEEK)
    deployed.stack.put_map({"triggers": {"weekly": rotation.id}})

    end = end_of_next(deployed, rotation, 1)

    assert (end["outcome"], end["reason"]) == ("refused", "PublishedKeyMissing")
    assert posts_for(deployed, rotation) == 0
    deployed.stack.take("FailedRotationsUrl")


def test_a_role_that_was_not_given_cannot_be_assumed(deployed: Sandbox, rotation: Rotation) -> None:
    role = deployed.add_guard_role("somebody-elses")
    deployed.stack.put_map({"triggers": {"weekly": {"id": rotation.id, "keyGuard": {"role": role}}}})

    end = end_of_next(deployed, rotation, 1)

    assert (end["outcome"], end["reason"]) == ("refused", "KeysUnreadable")
    assert "sts:AssumeRole" in end["explanation"]
    deployed.stack.take("FailedRotationsUrl")


def test_a_dry_run_says_what_the_key_guard_would_say(deployed: Sandbox, rotated: Rotation) -> None:
    deployed.use_key(previous_key(deployed, rotated), datetime.now(UTC) - timedelta(minutes=5))

    (refused,) = deployed.stack.invoke({"trigger": "weekly", "dryRun": True})["rotations"]
    deployed.stack.put_map({"triggers": {"weekly": {"id": rotated.id, "keyGuard": False}}})
    (unguarded,) = deployed.stack.invoke({"trigger": "weekly", "dryRun": True})["rotations"]

    assert (refused["decision"], refused["reason"], refused["key_guard"]) == ("refuse", "KeyInUse", True)
    assert (unguarded["decision"], unguarded["reason"], unguarded["key_guard"]) == ("rotate", "Due", False)
    assert posts_for(deployed, rotated) == 1


def test_a_failed_attempt_without_key_guard_refuses_the_next_trigger(deployed: Sandbox, rotation: Rotation) -> None:
    deployed.stack.put_map({"triggers": {"weekly": {"id": rotation.id, "keyGuard": False}}})
    deployed.infisical.faults.add(rotation.id, Fails(Point.BEFORE))

    failed = end_of_next(deployed, rotation, 1)
    refused = end_of_next(deployed, rotation, 2)

    assert (failed["outcome"], failed["comes_back"]) == ("failed", False)
    assert (refused["outcome"], refused["reason"]) == ("refused", "PreviousAttemptFailed")
    reasons = [message["reason"] for message in deployed.stack.take("FailedRotationsUrl")]
    assert sorted(reasons) == ["AttemptFailed", "PreviousAttemptFailed"]
    assert posts_for(deployed, rotation) == 1
