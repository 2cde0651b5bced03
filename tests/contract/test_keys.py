from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from tests.sandbox.standin.clock import VirtualClock
from tests.sandbox.standin.keys import AccessKey, IamKeys, MemoryKeys, ProviderError

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

CREATED_AT = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def memory() -> MemoryKeys:
    return MemoryKeys(VirtualClock(CREATED_AT.timestamp()))


def test_a_user_has_two_keys_at_most(memory: MemoryKeys) -> None:
    ids = [memory.create_access_key("ada")[0] for _ in range(2)]

    with pytest.raises(ProviderError, match="Cannot exceed quota for AccessKeysPerUser: 2"):
        memory.create_access_key("ada")
    assert memory.list_access_keys("ada") == [AccessKey(key_id, CREATED_AT) for key_id in ids]


def test_a_deleted_key_is_remembered(memory: MemoryKeys) -> None:
    key_id, _ = memory.create_access_key("ada")

    memory.delete_access_key("ada", key_id)

    assert memory.list_access_keys("ada") == []
    assert [key.id for key in memory.deleted] == [key_id]
    with pytest.raises(ProviderError, match=f"The Access Key with id {key_id} cannot be found"):
        memory.delete_access_key("ada", key_id)


@pytest.fixture
def iam() -> "IAMClient":
    return boto3.client(
        "iam",
        region_name="us-east-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
        endpoint_url="http://127.0.0.1:9",  # where nobody listens
        config=Config(retries={"max_attempts": 0}),
    )


@pytest.fixture
def stubber(iam: "IAMClient") -> Iterator[Stubber]:
    with Stubber(iam) as stubber:
        yield stubber


def test_iam_is_asked_for_everything(iam: "IAMClient", stubber: Stubber) -> None:
    keys = IamKeys(iam)
    metadata = {"UserName": "ada", "AccessKeyId": "AKIA0000000000000001", "Status": "Active"}
    key = {**metadata, "SecretAccessKey": "secret"}
    stubber.add_response("create_access_key", {"AccessKey": key}, {"UserName": "ada"})
    stubber.add_response(
        "list_access_keys", {"AccessKeyMetadata": [{**metadata, "CreateDate": CREATED_AT}]}, {"UserName": "ada"}
    )
    stubber.add_response("delete_access_key", {}, {"UserName": "ada", "AccessKeyId": key["AccessKeyId"]})

    assert keys.create_access_key("ada") == (key["AccessKeyId"], "secret")
    assert keys.list_access_keys("ada") == [AccessKey(key["AccessKeyId"], CREATED_AT)]
    keys.delete_access_key("ada", key["AccessKeyId"])
    stubber.assert_no_pending_responses()


def test_a_refusal_by_iam_is_reported_in_its_words(iam: "IAMClient", stubber: Stubber) -> None:
    stubber.add_client_error("list_access_keys", "NoSuchEntity", "The user with name ada cannot be found.")

    with pytest.raises(ProviderError, match=r"^The user with name ada cannot be found\.$"):
        IamKeys(iam).list_access_keys("ada")


def test_an_iam_out_of_reach_is_reported_too(iam: "IAMClient") -> None:
    with pytest.raises(ProviderError, match="Could not connect"):
        IamKeys(iam).list_access_keys("ada")
