"""Lets AWS accept an access key again that `retire`, or a person, has deactivated.

It can be run again at any time: an active key stays active.
"""

import sys
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infisical_rotation_triggers.one_line import one_line

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient


def reactivate(iam: "IAMClient", key_id: str) -> str:
    """Make a key active, and say whose it is. Raises what IAM's client raises."""
    # It names the key's user, also of a key that was never used:
    # https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccessKeyLastUsed.html
    user_name = iam.get_access_key_last_used(AccessKeyId=key_id)["UserName"]
    keys = iam.list_access_keys(UserName=user_name)["AccessKeyMetadata"]
    if any(key["AccessKeyId"] == key_id and key["Status"] == "Active" for key in keys):
        return f"{key_id} of the IAM user {user_name} is active already"
    iam.update_access_key(UserName=user_name, AccessKeyId=key_id, Status="Active")
    return f"{key_id} of the IAM user {user_name} is active again; give its consumer the new key"


def run(key_id: str, stack: str) -> int:
    """Return the exit status, 1 if IAM refuses, and run with the caller's own AWS credentials."""
    try:
        print(one_line(reactivate(boto3.client("iam"), key_id)))
    except (BotoCoreError, ClientError) as error:
        print(one_line(f"{key_id} was not reactivated: {error}"), file=sys.stderr)
        print(
            f"If its IAM user is another account's, the log of {stack}'s retire function (output"
            " RetireLogGroupName) has the command to run there: the line 'previous key deactivated'",
            file=sys.stderr,
        )
        return 1
    return 0
