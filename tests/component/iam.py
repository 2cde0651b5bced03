"""IAM as the key guard sees it."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, cast

from botocore.exceptions import ClientError

from tests.sandbox.standin.keys import ProviderError

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient


class Key(Protocol):
    """An access key, whoever keeps it."""

    @property
    def id(self) -> str: ...

    @property
    def created_at(self) -> datetime: ...


class FakeIam:
    """One account, whose users' keys are those of `keys_of`, in any order.

    `last_used` dates keys by their id, and AWS refuses those of `inactive`. IAM's clock is `ahead` of everybody else's,
    and it dates in whole seconds. `down` is what every call raises; `roles` are those that were assumed, and
    `calls` the calls with what they were about. `deactivated` hears each deactivation.
    """

    def __init__(self, keys_of: Callable[[str], Sequence[Key]]) -> None:
        self._keys_of = keys_of
        self.last_used: dict[str, datetime] = {}
        self.inactive: set[str] = set()
        self.ahead = timedelta()
        self.deactivated: Callable[[str, str], None] = lambda *_: None
        self.down: Exception | None = None
        self.roles: list[str | None] = []
        self.calls: list[tuple[str, str]] = []

    def open(self, role: str | None, external_id: str | None = None) -> "IAMClient":  # noqa: ARG002 - not looked at
        self.roles.append(role)
        return cast("IAMClient", self)

    def list_access_keys(self, *, UserName: str) -> dict[str, Any]:  # noqa: N803 - as boto3 has it
        self._call("ListAccessKeys", UserName)
        try:
            keys = self._keys_of(UserName)
        except ProviderError as error:
            raise refused("NoSuchEntity", str(error), "ListAccessKeys") from None
        listed = [
            {
                "AccessKeyId": key.id,
                "Status": "Inactive" if key.id in self.inactive else "Active",
                "CreateDate": self._dated(key.created_at),
            }
            for key in keys
        ]
        return {"AccessKeyMetadata": listed}

    def get_access_key_last_used(self, *, AccessKeyId: str) -> dict[str, Any]:  # noqa: N803 - as boto3 has it
        self._call("GetAccessKeyLastUsed", AccessKeyId)
        if AccessKeyId not in self.last_used:
            return {"AccessKeyLastUsed": {"ServiceName": "N/A", "Region": "N/A"}}
        at = self._dated(self.last_used[AccessKeyId])
        return {"AccessKeyLastUsed": {"LastUsedDate": at, "ServiceName": "s3", "Region": "eu-central-1"}}

    def update_access_key(self, *, UserName: str, AccessKeyId: str, Status: str) -> None:  # noqa: N803 - as boto3 has it
        self._call("UpdateAccessKey", AccessKeyId)
        if AccessKeyId not in {key.id for key in self._keys_of(UserName)}:
            raise refused("NoSuchEntity", f"The Access Key with id {AccessKeyId} cannot be found", "UpdateAccessKey")
        if Status == "Active":
            self.inactive.discard(AccessKeyId)
            return
        self.inactive.add(AccessKeyId)
        self.deactivated(UserName, AccessKeyId)

    def _call(self, name: str, about: str) -> None:
        self.calls.append((name, about))
        if self.down is not None:
            raise self.down

    def _dated(self, moment: datetime) -> datetime:
        return (moment + self.ahead).replace(microsecond=0)


def refused(code: str, message: str, operation: str) -> ClientError:
    """What boto3 raises where AWS answers with an error."""
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)
