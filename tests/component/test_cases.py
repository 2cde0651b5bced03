"""Situations from public bug reports, in virtual time. The sources are in docs/cases.md."""

import json
from datetime import timedelta

import pytest

from rotator.rotation.attempt import Result
from rotator.timestamps import format_timestamp, from_epoch
from rotator.triggers.events import Trigger, read_trigger
from tests.component.iam import refused
from tests.component.world import World
from tests.sandbox.standin.answers import Refusal
from tests.sandbox.standin.faults import Fails, Point

SECRET = "arn:aws:secretsmanager:{region}:123456789012:secret:payments/deployer-AbCdEf"


@pytest.fixture
def world() -> World:
    return World()


def occurrence(world: World, *, region: str = "us-east-1", **fields: str) -> Trigger:
    """A secret's value has changed, now; or as the event says."""
    now = from_epoch(world.clock.time())
    event = {
        "source": "aws.secretsmanager",
        "detail-type": "Secret Label Updated",
        "time": format_timestamp(now),
        "resources": [SECRET.format(region=region)],
        "detail": {"labelUpdated": "AWSCURRENT"},
        **fields,
    }
    return read_trigger(json.loads(json.dumps(event)), now)


def test_a_replay_of_last_months_events_rotates_nothing_that_was_rotated_since(world: World) -> None:
    first = occurrence(world)
    time = format_timestamp(first.occurred_at)
    assert world.ensure(world.request(first.occurred_at)).result is Result.ROTATED
    world.clock.sleep(30 * 86_400)

    replayed = occurrence(world, **{"time": time, "replay-name": "november"})
    outcome = world.ensure(world.request(replayed.occurred_at))

    assert (outcome.result, outcome.reason, world.posts) == (Result.SKIPPED, "AlreadyRotated", 1)


def test_the_event_of_a_replica_in_another_region_rotates_nothing_more(world: World) -> None:
    """Both have the secret's name for an alias, and the replica's arrives later."""
    primary = occurrence(world)
    assert world.ensure(world.request(primary.occurred_at)).result is Result.ROTATED
    world.clock.sleep(90)

    replica = occurrence(world, region="eu-west-1")
    outcome = world.ensure(world.request(replica.occurred_at))

    assert (primary.name != replica.name, primary.alias) == (True, replica.alias)
    assert (outcome.result, outcome.reason, world.posts) == (Result.SKIPPED, "TooSoon", 1)


def test_a_user_with_a_single_key_gets_a_second_one_and_loses_none(world: World) -> None:
    only = world.valid_keys

    assert world.ensure().result is Result.ROTATED
    assert world.valid_keys == only | {world.published_key}


@pytest.mark.parametrize("keys", [0, 1, 2])
def test_a_recreated_user_loses_none_of_its_keys(world: World, keys: int) -> None:
    """Same name, other keys: the published one is gone, and nobody knows who uses the others."""
    world.ensure()
    for key in world.keys.list_access_keys("deployer"):
        world.keys.delete_access_key("deployer", key.id)
    for _ in range(keys):
        world.clock.sleep(timedelta(days=1).total_seconds())
        world.keys.create_access_key("deployer")
    world.clock.sleep(timedelta(days=7).total_seconds())
    strangers = world.valid_keys

    outcome = world.ensure()

    assert (outcome.result, outcome.reason) == (Result.REFUSED, "PublishedKeyMissing")
    assert world.valid_keys == strangers


def test_a_service_control_policy_that_denies_is_quoted(world: World) -> None:
    text = (
        "User: arn:aws:sts::123456789012:assumed-role/rotate/f is not authorized to perform: iam:ListAccessKeys on"
        " resource: user deployer with an explicit deny in a service control policy"
    )
    world.iam.down = refused("AccessDenied", text, "ListAccessKeys")

    outcome = world.ensure()

    assert (outcome.result, world.posts) == (Result.REFUSED, 0)
    assert "explicit deny in a service control policy" in outcome.explanation


@pytest.mark.parametrize(
    "message", ["Access denied due to expired client secret", "Access denied due to client secret usage limit reached"]
)
def test_an_expired_client_secret_is_tried_once_and_reported_literally(world: World, message: str) -> None:
    """These are in backend/src/services/identity-ua/identity-ua-service.ts."""
    world.server.refuse_logins(*[Refusal(401, message)] * 5)

    outcomes = [world.ensure() for _ in range(3)]

    assert {(outcome.result, outcome.reason) for outcome in outcomes} == {(Result.FAILED, "LoginRefused")}
    assert all(message in outcome.explanation for outcome in outcomes)
    assert len(world.server.logins) == 1


def test_a_quota_of_access_keys_that_is_used_up_is_called_a_probable_orphan() -> None:
    world = World()
    world.server.faults.add(
        world.rotation.id, Fails(Point.BEFORE, message="Cannot exceed quota for AccessKeysPerUser: 2")
    )

    outcome = world.ensure()

    assert outcome.reason == "AttemptFailed"
    assert "probably left a key that Infisical does not know: find it among the user's keys" in outcome.explanation
