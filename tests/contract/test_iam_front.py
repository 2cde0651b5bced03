"""What everybody in the sandbox sees of IAM, on the embedded one."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.sandbox.accounts import OTHER_ACCOUNT
from tests.sandbox.embedded_aws import ACCOUNT, REGION, ROOT_SECRET, EmbeddedAws, embedded_aws
from tests.sandbox.iam_front import IamFront
from tests.sandbox.proxy import Server, proxy
from tests.sandbox.standin.keys import IamKeys

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

LONG_AGO = datetime(2026, 1, 5, 5, tzinfo=UTC)
LATER = datetime(2026, 2, 7, 12, 30, 15, tzinfo=UTC)
NEVER = {"ServiceName": "N/A", "Region": "N/A"}
LOOK = ["iam:ListAccessKeys", "iam:GetAccessKeyLastUsed"]
Statement = Mapping[str, object]

ONCE = Config(retries={"total_max_attempts": 1})


class Place(NamedTuple):
    aws: EmbeddedAws
    front: IamFront
    url: str

    def iam(self, account: str = ACCOUNT) -> "IAMClient":
        """For somebody who may do everything."""
        return self.iam_as({"AccessKeyId": account, "SecretAccessKey": ROOT_SECRET})

    def iam_as(self, credentials: Any) -> "IAMClient":  # noqa: ANN401 - of a key or of a session
        return boto3.client(
            "iam",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials.get("SessionToken"),
            config=ONCE,
        )

    def add_user(self, name: str, account: str = ACCOUNT, path: str = "/", statement: Statement | None = None) -> Any:  # noqa: ANN401 - boto3's
        """Create a user who may do what the statement says; return a key of it."""
        iam = self.iam(account)
        iam.create_user(UserName=name, Path=path)
        if statement:
            iam.put_user_policy(UserName=name, PolicyName="its", PolicyDocument=policy(statement))
        return iam.create_access_key(UserName=name)["AccessKey"]

    def assume(self, name: str, statement: Statement, account: str = ACCOUNT) -> "IAMClient":
        """Create a role that may do what the statement says; return IAM for a session of it."""
        iam = self.iam(account)
        trust = policy({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": ACCOUNT}})
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="its", PolicyDocument=policy(statement))
        sts = self.aws.client("sts")
        return self.iam_as(sts.assume_role(RoleArn=role, RoleSessionName="look")["Credentials"])


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with embedded_aws() as aws:
        front = IamFront(Server(), aws)
        with proxy(aws.endpoint, front) as url:
            yield Place(aws, front, url)


def policy(statement: Statement) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


def allow(action: str | list[str], user: str, account: str = ACCOUNT) -> Statement:
    return {"Effect": "Allow", "Action": action, "Resource": f"arn:aws:iam::{account}:user/{user}"}


def created(iam: "IAMClient", user: str) -> dict[str, datetime]:
    return {key["AccessKeyId"]: key["CreateDate"] for key in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]}


def last_use(iam: "IAMClient", key_id: str) -> Any:  # noqa: ANN401 - as boto3 has parsed it
    return iam.get_access_key_last_used(AccessKeyId=key_id)["AccessKeyLastUsed"]


def error_of(refusal: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    answer = refusal.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_a_key_that_was_dated_bears_its_date_and_others_theirs(place: Place) -> None:
    undated = place.add_user("dated")
    first, second = (place.iam().create_access_key(UserName="dated")["AccessKey"]["AccessKeyId"] for _ in range(2))

    place.front.date(first, LONG_AGO)
    place.front.date(second, LATER + timedelta(milliseconds=999))

    assert created(place.iam(), "dated") == {
        undated["AccessKeyId"]: undated["CreateDate"],
        first: LONG_AGO,
        second: LATER,
    }


def test_everything_else_of_a_dated_key_stays_as_it_is(place: Place) -> None:
    key = place.add_user("inactive")
    place.iam().update_access_key(UserName="inactive", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    place.front.date(key["AccessKeyId"], LONG_AGO)

    (listed,) = place.iam().list_access_keys(UserName="inactive")["AccessKeyMetadata"]

    assert (listed["UserName"], listed["Status"]) == ("inactive", "Inactive")


def test_a_key_was_never_used_until_a_use_is_declared(place: Place) -> None:
    key_id, other = (place.add_user(name)["AccessKeyId"] for name in ("used", "unused"))
    before = last_use(place.iam(), key_id)

    place.front.use(key_id, LATER, "dynamodb", "eu-central-1")

    answer = place.iam().get_access_key_last_used(AccessKeyId=key_id)
    assert answer["UserName"] == "used"
    assert answer["AccessKeyLastUsed"] == {
        "LastUsedDate": LATER,
        "ServiceName": "dynamodb",
        "Region": "eu-central-1",
    }
    assert before == last_use(place.iam(), other) == NEVER


def test_a_key_ages_and_its_last_use_with_it(place: Place) -> None:
    fresh = place.add_user("ages")
    dated = place.iam().create_access_key(UserName="ages")["AccessKey"]["AccessKeyId"]
    place.front.date(dated, LATER)
    place.front.use(dated, LATER, "s3", REGION)
    week = timedelta(days=7)

    for key in IamKeys(place.iam()).list_access_keys("ages"):
        place.front.age(key, week)

    assert created(place.iam(), "ages") == {fresh["AccessKeyId"]: fresh["CreateDate"] - week, dated: LATER - week}
    assert last_use(place.iam(), dated)["LastUsedDate"] == LATER - week
    assert last_use(place.iam(), fresh["AccessKeyId"]) == NEVER


def test_a_role_sees_the_last_use_of_the_users_that_it_may_look_at(place: Place) -> None:
    seen, hidden = (place.add_user(name)["AccessKeyId"] for name in ("seen-1", "hidden-1"))
    role = place.assume("looks-at-some", allow(LOOK, "seen-*"))
    place.front.use(seen, LATER, "s3", REGION)

    assert last_use(role, seen)["LastUsedDate"] == LATER
    for key_id in (hidden, "AKIA0000000000000000"):
        with pytest.raises(ClientError, match="assumed-role/looks-at-some/look is not authorized") as refusal:
            last_use(role, key_id)
        assert error_of(refusal) == (403, "AccessDenied")
    for user in ("hidden-1", "nobody"):
        with pytest.raises(ClientError, match="iam:ListAccessKeys") as refusal:
            created(role, user)
        assert error_of(refusal) == (403, "AccessDenied")


def test_a_user_in_a_path_is_judged_with_it(place: Place) -> None:
    key_id = place.add_user("deep", path="/deployers/")["AccessKeyId"]

    assert last_use(place.assume("looks-at-a-path", allow(LOOK, "deployers/*")), key_id) == NEVER
    with pytest.raises(ClientError, match="is not authorized"):
        last_use(place.assume("looks-at-a-name", allow(LOOK, "deep")), key_id)


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("lists-only", allow("iam:ListAccessKeys", "*")),
        ("of-another-account", allow(LOOK, "*", OTHER_ACCOUNT)),
    ],
)
def test_a_last_use_takes_its_own_permission(place: Place, name: str, statement: Statement) -> None:
    stranger = place.iam_as(place.add_user(name, statement=statement))
    key_id = place.add_user(f"{name}-looks")["AccessKeyId"]

    with pytest.raises(ClientError, match=f"user/{name} is not authorized") as refusal:
        last_use(stranger, key_id)
    assert error_of(refusal) == (403, "AccessDenied")


@pytest.mark.parametrize(("name", "resource"), [("denied-everything", "*"), ("denied-itself", "*:user/denied-itself")])
def test_an_explicit_denial_stays_one(place: Place, name: str, resource: str) -> None:
    key = place.add_user(name, statement=allow(LOOK, "*"))
    document = policy({"Effect": "Deny", "Action": "iam:*", "Resource": resource})
    place.iam().put_user_policy(UserName=name, PolicyName="no", PolicyDocument=document)

    with pytest.raises(ClientError) as refusal:
        last_use(place.iam_as(key), key["AccessKeyId"])
    assert error_of(refusal) == (403, "AccessDenied")


def test_a_wrong_signature_is_refused(place: Place) -> None:
    key = place.add_user("forged", statement=allow(LOOK, "*"))
    forger = place.iam_as({**key, "SecretAccessKey": "guessed"})

    assert created(place.iam_as(key), "forged")
    with pytest.raises(ClientError) as refusal:
        created(forger, "forged")
    assert error_of(refusal) == (403, "SignatureDoesNotMatch")
    with pytest.raises(ClientError) as refusal:
        last_use(forger, key["AccessKeyId"])
    assert error_of(refusal) == (403, "SignatureDoesNotMatch")


def test_a_user_that_does_not_exist_has_no_list_of_keys(place: Place) -> None:
    place.iam().create_user(UserName="without-keys")

    with pytest.raises(ClientError, match="The user with name nobody cannot be found") as refusal:
        created(place.iam(), "nobody")
    assert error_of(refusal) == (404, "NoSuchEntity")
    assert created(place.iam(), "without-keys") == {}


def test_a_key_that_does_not_exist_has_no_last_use(place: Place) -> None:
    with pytest.raises(ClientError) as refusal:
        last_use(place.iam(), "AKIA0000000000000000")

    assert error_of(refusal) == (404, "NoSuchEntity")


def test_each_account_has_its_own_users(place: Place) -> None:
    key_id = place.add_user("elsewhere", account=OTHER_ACCOUNT)["AccessKeyId"]
    place.front.date(key_id, LONG_AGO)
    place.front.use(key_id, LATER, "s3", REGION)
    from_there = place.assume("looks-there", allow(LOOK, "*", OTHER_ACCOUNT), OTHER_ACCOUNT)
    from_here = place.assume("looks-here", allow(LOOK, "*"))

    assert created(from_there, "elsewhere") == {key_id: LONG_AGO}
    assert last_use(from_there, key_id)["LastUsedDate"] == LATER
    with pytest.raises(ClientError) as refusal:
        created(from_here, "elsewhere")
    assert error_of(refusal) == (404, "NoSuchEntity")
    with pytest.raises(ClientError) as refusal:
        last_use(from_here, key_id)
    assert error_of(refusal) == (403, "AccessDenied")


def test_an_iam_that_is_down_refuses_everything_until_it_is_up(place: Place) -> None:
    key_id = place.add_user("waits")["AccessKeyId"]

    with place.front.down():
        for refused in (lambda: created(place.iam(), "waits"), lambda: last_use(place.iam(), key_id)):
            with pytest.raises(ClientError) as refusal:
                refused()
            assert error_of(refusal) == (503, "ServiceUnavailable")
        with pytest.raises(ClientError):
            place.iam().create_access_key(UserName="waits")

    assert created(place.iam(), "waits").keys() == {key_id}
