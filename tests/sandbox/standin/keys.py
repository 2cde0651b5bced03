"""Where the access keys live: in memory, or in an IAM that a boto3 client reaches."""

import secrets
import string
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from tests.sandbox.standin.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

KEYS_PER_USER = 2  # IAM's own quota
ALPHABET = string.ascii_uppercase + string.digits


class ProviderError(Exception):
    """What the provider of a rotation's credentials said when it refused or could not be reached."""


@dataclass(frozen=True)
class AccessKey:
    id: str
    created_at: datetime


class KeyStore(Protocol):
    """Every call raises ProviderError where IAM would refuse."""

    def list_access_keys(self, user: str) -> list[AccessKey]: ...

    def create_access_key(self, user: str, at: float | None = None) -> tuple[str, str]:
        """Return id and secret. `at` dates the key where the store can choose; IAM stamps its own."""

    def delete_access_key(self, user: str, key_id: str) -> None: ...


class MemoryKeys:
    """Every user exists but the `missing_users`; `deleted` keeps what was taken away, in order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: defaultdict[str, list[AccessKey]] = defaultdict(list)
        self.missing_users: set[str] = set()
        self.deleted: list[AccessKey] = []

    def list_access_keys(self, user: str) -> list[AccessKey]:
        if user in self.missing_users:
            raise ProviderError(f"The user with name {user} cannot be found.")
        return list(self._keys[user])

    def create_access_key(self, user: str, at: float | None = None) -> tuple[str, str]:
        if len(self.list_access_keys(user)) == KEYS_PER_USER:
            raise ProviderError(f"Cannot exceed quota for AccessKeysPerUser: {KEYS_PER_USER}")
        key_id = "AKIA" + "".join(secrets.choice(ALPHABET) for _ in range(16))
        created_at = datetime.fromtimestamp(self._clock.time() if at is None else at, UTC)
        self._keys[user].append(AccessKey(key_id, created_at))
        return key_id, secrets.token_urlsafe(30)

    def delete_access_key(self, user: str, key_id: str) -> None:
        for key in self.list_access_keys(user):
            if key.id == key_id:
                self._keys[user].remove(key)
                self.deleted.append(key)
                return
        raise ProviderError(f"The Access Key with id {key_id} cannot be found.")


class IamKeys:
    def __init__(self, iam: "IAMClient") -> None:
        self._iam = iam

    def list_access_keys(self, user: str) -> list[AccessKey]:
        with _provider_errors():
            found = self._iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
        return [AccessKey(key["AccessKeyId"], key["CreateDate"]) for key in found]

    def create_access_key(self, user: str, at: float | None = None) -> tuple[str, str]:  # noqa: ARG002 - IAM's own clock
        with _provider_errors():
            key = self._iam.create_access_key(UserName=user)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def delete_access_key(self, user: str, key_id: str) -> None:
        with _provider_errors():
            self._iam.delete_access_key(UserName=user, AccessKeyId=key_id)


@contextmanager
def _provider_errors() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise ProviderError(error.response["Error"]["Message"]) from error
    except BotoCoreError as error:
        raise ProviderError(str(error)) from error
