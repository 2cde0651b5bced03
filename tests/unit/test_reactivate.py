"""`make reactivate`: a key is active again, whatever it was before."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from infisical_rotation_triggers.reactivate import reactivate
from rotator.rotation.key_policy import UserKey
from tests.component.iam import FakeIam, refused
from tests.unit.fakes import NOW


class NamingIam(FakeIam):
    """An account with one user, who is named with the last use of a key."""

    def get_access_key_last_used(self, *, AccessKeyId: str) -> dict[str, Any]:  # noqa: N803 - as boto3 has it
        if AccessKeyId not in {key.id for key in self._keys_of("deployer")}:
            raise refused("AccessDenied", "not authorized", "GetAccessKeyLastUsed")
        return {"UserName": "deployer", **super().get_access_key_last_used(AccessKeyId=AccessKeyId)}


@pytest.fixture
def iam() -> NamingIam:
    return NamingIam(lambda _: [UserKey("AKIAPREVIOUS", NOW), UserKey("AKIAPUBLISHED", NOW)])


def test_an_inactive_key_is_reactivated_once(iam: NamingIam) -> None:
    iam.inactive = {"AKIAPREVIOUS", "AKIAPUBLISHED"}

    said = [reactivate(iam.open(None), "AKIAPREVIOUS") for _ in range(2)]

    assert iam.inactive == {"AKIAPUBLISHED"}
    assert ["active again" in said[0], "active already" in said[1]] == [True, True]


def test_a_key_of_another_account_is_an_error(iam: NamingIam) -> None:
    with pytest.raises(ClientError):
        reactivate(iam.open(None), "AKIAELSEWHERE")
