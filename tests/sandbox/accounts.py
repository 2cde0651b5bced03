"""The accounts of AWS: how Infisical is connected to each, and the roles that the key guard assumes in others.

The embedded AWS is as many accounts as are asked for: an access key id of twelve digits is the root of that one.
"""

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from tests.sandbox.embedded_aws import ACCOUNT, EmbeddedAws
from tests.sandbox.standin.keys import AccessKey, IamKeys, KeyStore

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

OTHER_ACCOUNT = "210987654321"
GUARD_ROLE = "key-guard"
GUARD_ROLE_ARNS = f"arn:aws:iam::{OTHER_ACCOUNT}:role/{GUARD_ROLE}*"

# What Infisical's own connection to AWS may do: exactly what a rotation needs.
ROTATION_ACTIONS = ["iam:ListAccessKeys", "iam:CreateAccessKey", "iam:DeleteAccessKey"]
GUARD_ACTIONS = ["iam:ListAccessKeys", "iam:GetAccessKeyLastUsed"]


class Connections:
    """The keys of all users that Infisical can rotate: those of `home`, but for the ones that are `elsewhere`."""

    def __init__(self, home: KeyStore) -> None:
        self._home = home
        self.elsewhere: dict[str, KeyStore] = {}

    def list_access_keys(self, user: str) -> list[AccessKey]:
        return self._of(user).list_access_keys(user)

    def create_access_key(self, user: str, at: float | None = None) -> tuple[str, str]:
        return self._of(user).create_access_key(user, at)

    def delete_access_key(self, user: str, key_id: str) -> None:
        self._of(user).delete_access_key(user, key_id)

    def _of(self, user: str) -> KeyStore:
        return self.elsewhere.get(user, self._home)


def iam_of(aws: EmbeddedAws, url: str, account: str = ACCOUNT) -> "IAMClient":
    """IAM at a URL, for somebody who may do everything in an account."""
    return aws.session(account).client("iam", endpoint_url=url)


def connect(aws: EmbeddedAws, url: str, user: str, account: str = ACCOUNT) -> IamKeys:
    """Return IAM as the stand-in reaches it: as a new user that may do what a rotation needs and nothing else."""
    iam = iam_of(aws, url, account)
    iam.create_user(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="rotate", PolicyDocument=_for_users_of(account, ROTATION_ACTIONS))
    key = iam.create_access_key(UserName=user)["AccessKey"]
    session = aws.session(key["AccessKeyId"], key["SecretAccessKey"])
    return IamKeys(session.client("iam", endpoint_url=url))


def add_guard_role(iam: "IAMClient", account: str, name: str, trusted: Collection[str]) -> str:
    """Create a role for the key guard of docs/key-guard.md, which the `trusted` may assume; return its ARN."""
    trust = {"Effect": "Allow", "Principal": {"AWS": [*trusted]}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(trust))["Role"]
    iam.put_role_policy(RoleName=name, PolicyName="look", PolicyDocument=_for_users_of(account, GUARD_ACTIONS))
    return role["Arn"]


def _for_users_of(account: str, actions: list[str]) -> str:
    return _policy({"Effect": "Allow", "Action": actions, "Resource": f"arn:aws:iam::{account}:user/*"})


def _policy(statement: Mapping[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statement})
