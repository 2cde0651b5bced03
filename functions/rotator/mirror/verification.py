"""Verifies that an access key works: AWS answers with its owner."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from rotator.aws import client
from rotator.clock import Deadline
from rotator.mirror.value import HookError
from rotator.model import AccessKey

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient

PAUSE_SECONDS = 2.0

# IAM is eventually consistent: for a new key, these errors may be temporary.
_NOT_YET = frozenset({"InvalidClientTokenId", "SignatureDoesNotMatch"})


class KeyNotAcceptedError(Exception):
    """AWS does not accept the key, perhaps not yet."""


def get_caller_arn(key: AccessKey) -> str:
    """Ask AWS, with the key, whose it is.

    Raises KeyNotAcceptedError, or ClientError where AWS could not be asked.
    """
    sts: STSClient = client("sts", aws_access_key_id=key.id, aws_secret_access_key=key.secret, aws_session_token="")
    try:
        return sts.get_caller_identity()["Arn"]
    except ClientError as error:
        if error.response["Error"]["Code"] in _NOT_YET:
            raise KeyNotAcceptedError(error.response["Error"]["Code"]) from None
        raise


def is_accepted(key: AccessKey, ask: Callable[[AccessKey], str]) -> bool:
    """Whether AWS accepts a key now. One that was just created may not be known everywhere yet."""
    try:
        ask(key)
    except KeyNotAcceptedError:
        return False
    return True


def wait_until_accepted(key: AccessKey, user_name: str, ask: Callable[[AccessKey], str], deadline: Deadline) -> None:
    """Make sure that a key works and is the user's. Waits while a new key spreads through IAM.

    Raises HookError.
    """
    while True:
        try:
            arn = ask(key)
        except KeyNotAcceptedError as error:
            if deadline.remaining_seconds() < PAUSE_SECONDS:
                raise HookError(
                    f"AWS does not accept the key {key.id} yet ({error}); Secrets Manager tries again. If it stays so,"
                    " look at the key in IAM"
                ) from None
            deadline.clock.sleep(PAUSE_SECONDS)
        else:
            break
    if arn.rsplit("/", 1)[-1] != user_name or ":user/" not in arn:
        raise HookError(f"the key {key.id} is not the IAM user {user_name}'s: AWS says {arn}")
