"""Infisical writes what it publishes into Secrets Manager, and Secrets Manager tells EventBridge."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.contract.stage import ROTATION_ID, Stage
from tests.sandbox.embedded_aws import ACCOUNT, REGION, EmbeddedAws, embedded_aws
from tests.sandbox.secret_sync import syncing_to
from tests.sandbox.standin.faults import CommittedThenDropped, Dies, Fails, Point, RotateFault
from tests.sandbox.standin.rotation_types import Credential


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAws]:
    with embedded_aws() as running:
        yield running


@pytest.fixture
def secret(aws: EmbeddedAws) -> Iterator[str]:
    secrets = aws.client("secretsmanager")
    arn = secrets.create_secret(Name="synced", SecretString="{}")["ARN"]
    yield arn
    secrets.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)


@pytest.fixture
def written(stage: Stage) -> list[Credential]:
    """What a sync of the stage's rotation writes, ten seconds after a commit."""
    written: list[Credential] = []
    stage.standin.add_sync(ROTATION_ID, lambda rotation: written.append(rotation.published), seconds=10)
    return written


def test_a_sync_comes_at_its_own_time_after_the_commit(stage: Stage, written: list[Credential]) -> None:
    stage.rotate()
    before = list(written)
    stage.clock.sleep(10)
    stage.standin.settle()

    assert before == []
    assert [credential["accessKeyId"] for credential in written] == [stage.published_key_id()]


@pytest.mark.parametrize("fault", [CommittedThenDropped(), Fails(Point.AFTER_COMMIT), Dies(Point.AFTER_COMMIT)])
def test_every_commit_is_synced(stage: Stage, written: list[Credential], fault: RotateFault) -> None:
    stage.standin.faults.add(ROTATION_ID, fault)
    stage.rotate()
    stage.clock.sleep(60)
    stage.standin.settle()

    assert [credential["accessKeyId"] for credential in written] == [stage.published_key_id()]


@pytest.mark.parametrize("point", [Point.BEFORE, Point.AFTER_DELETE, Point.AFTER_CREATE])
def test_an_uncommitted_rotation_is_not_synced(stage: Stage, written: list[Credential], point: Point) -> None:
    stage.standin.faults.add(ROTATION_ID, Fails(point))
    stage.rotate()
    stage.clock.sleep(60)
    stage.standin.settle()

    assert written == []


def test_an_auto_rotation_is_synced(stage: Stage, written: list[Credential]) -> None:
    stage.rotated(2)
    stage.clock.sleep(10)
    stage.standin.settle()

    assert len(written) == 2
    assert written[-1] == stage.rotation.published


def test_a_sync_is_a_native_event_that_reaches_its_target(aws: EmbeddedAws, stage: Stage, secret: str) -> None:
    queue = queue_of_events(aws, {"source": ["aws.secretsmanager"], "detail-type": ["Secret Label Updated"]})
    stage.standin.add_sync(ROTATION_ID, syncing_to(aws, secret, "syncs"), seconds=0)

    stage.rotate()

    version = aws.client("secretsmanager").get_secret_value(SecretId=secret)
    credential = stage.rotation.published
    assert json.loads(version["SecretString"]) == {
        "AWS_ACCESS_KEY_ID": credential["accessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credential["secretAccessKey"],
    }
    (event,) = received(aws, queue)
    assert (event["source"], event["account"], event["region"]) == ("aws.secretsmanager", ACCOUNT, REGION)
    assert event["resources"] == [secret]
    assert event["detail"] == {"name": "synced", "labelUpdated": "AWSCURRENT", "versionId": version["VersionId"]}


def test_a_sync_writes_as_a_user_of_its_own(aws: EmbeddedAws, stage: Stage, secret: str) -> None:
    write = syncing_to(aws, secret, "writes-one")
    write(stage.rotation)
    aws.client("iam").delete_user_policy(UserName="writes-one", PolicyName="sync")

    with pytest.raises(ClientError, match="user/writes-one is not authorized"):
        write(stage.rotation)


def queue_of_events(aws: EmbeddedAws, pattern: object) -> str:
    """Return the URL of a queue that a rule on the default bus sends to."""
    events, sqs = aws.client("events"), aws.client("sqs")
    url: str = sqs.create_queue(QueueName="events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="to-queue", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="to-queue", Targets=[{"Id": "queue", "Arn": arn}])
    return url


def received(aws: EmbeddedAws, queue: str) -> list[Any]:
    messages = aws.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=2)
    return [json.loads(message["Body"]) for message in messages.get("Messages", [])]
