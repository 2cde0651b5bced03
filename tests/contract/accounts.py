"""An AWS account with people in it: in memory, and on an embedded AWS."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from botocore.credentials import ReadOnlyCredentials

from tests.sandbox.embedded_aws import ACCOUNT, EmbeddedAws
from tests.sandbox.standin.sts import ForwardingSts, MemorySts, Sts

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

SESSION_NAME = "rotate"


class Account(Protocol):
    """Paths begin and end with a slash."""

    @property
    def sts(self) -> Sts: ...

    def create_user(self, name: str, path: str = "/") -> ReadOnlyCredentials:
        """Return an access key of a new user."""

    def create_session(self, role: str, path: str = "/") -> ReadOnlyCredentials:
        """Return what somebody has who assumes a new role."""

    def delete_key(self, user: str, key_id: str) -> None: ...


class AccountInMemory:
    def __init__(self) -> None:
        self.sts = MemorySts()

    def create_user(self, name: str, path: str = "/") -> ReadOnlyCredentials:
        return self.sts.issue(f"arn:aws:iam::{ACCOUNT}:user{path}{name}")

    def create_session(self, role: str, path: str = "/") -> ReadOnlyCredentials:  # noqa: ARG002 - STS drops it
        return self.sts.issue(f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{SESSION_NAME}")

    def delete_key(self, user: str, key_id: str) -> None:  # noqa: ARG002 - the id says it all
        del self.sts.callers[key_id]


class EmbeddedAccount:
    def __init__(self, aws: EmbeddedAws) -> None:
        self._aws = aws
        self._iam: IAMClient = aws.session().client("iam", endpoint_url=aws.endpoint)
        self.sts = ForwardingSts(aws.endpoint)

    def create_user(self, name: str, path: str = "/") -> ReadOnlyCredentials:
        self._iam.create_user(UserName=name, Path=path)
        key = self._iam.create_access_key(UserName=name)["AccessKey"]
        return ReadOnlyCredentials(key["AccessKeyId"], key["SecretAccessKey"], None)

    def create_session(self, role: str, path: str = "/") -> ReadOnlyCredentials:
        user = self._iam.create_user(UserName=f"assumes-{role}")["User"]
        key = self._iam.create_access_key(UserName=user["UserName"])["AccessKey"]
        assume = {"Effect": "Allow", "Action": "sts:AssumeRole"}
        trust = _policy({**assume, "Principal": {"AWS": user["Arn"]}})
        arn = self._iam.create_role(RoleName=role, Path=path, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        # Trust alone does in AWS, but not in the embedded one.
        policy = _policy({**assume, "Resource": arn})
        self._iam.put_user_policy(UserName=user["UserName"], PolicyName="assume", PolicyDocument=policy)
        session = self._aws.session(key["AccessKeyId"], key["SecretAccessKey"])
        assumed = session.client("sts", endpoint_url=self._aws.endpoint).assume_role(
            RoleArn=arn, RoleSessionName=SESSION_NAME
        )["Credentials"]
        return ReadOnlyCredentials(assumed["AccessKeyId"], assumed["SecretAccessKey"], assumed["SessionToken"])

    def delete_key(self, user: str, key_id: str) -> None:
        self._iam.delete_access_key(UserName=user, AccessKeyId=key_id)


def _policy(statement: Mapping[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statement})
