"""The key guard reads the user's access keys from IAM before a rotation revokes one of them. It only reads.

rotate-secrets deletes the older of a user's two access keys. If an attempt created a key and did not commit it, the
older key is the published one. Infisical's state does not show that.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from rotator.aws import GUARD_CONFIG, client
from rotator.infisical.errors import reason_of
from rotator.model import GuardOptions, RotationState
from rotator.rotation.consumer_lookup import LOOKUP_CONFIG, CloudTrailClient
from rotator.rotation.key_policy import MAX_KEYS_PER_USER, LastUse, UserKey, UserKeys, check_keys, name_keys
from rotator.rotation.policy import Decision, Verdict, check_due
from rotator.rotation.request import RotationRequest
from rotator.text import clip
from rotator.timestamps import from_epoch

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

    from rotator.clock import Clock

# Errors that last until a person changes something. All others are temporary, such as throttling or an outage.
# https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
_FINAL = frozenset({"AccessDenied", "AccessDeniedException", "NoSuchEntity", "ValidationError", "InvalidInput"})

# An assumed role's credentials last an hour; a batch that begins before this ends before they do.
ROLE_SECONDS = 1800
FAILURE_SECONDS = 60


class KeyGuard:
    """Decides by `policy.check_due`; if that says rotate, also by the user's keys. Thread-safe.

    `open_iam` makes a client for the function's own account, or as a role with its external id. `name_consumers` says
    in a sentence who has used a key since a moment.
    """

    def __init__(
        self,
        open_iam: "Callable[[str | None, str | None], IAMClient]",
        minimum_interval: timedelta,
        grace_period: timedelta,
        clock: "Clock",
        name_consumers: "Callable[[GuardOptions, str, LastUse, datetime], str] | None" = None,
    ) -> None:
        self._name_consumers = name_consumers
        self._open_iam = open_iam
        self._minimum_interval = minimum_interval
        self._grace_period = grace_period
        self._clock = clock

    def decide(self, state: RotationState, request: RotationRequest) -> Decision:
        """Ask IAM only if the rotation is due. If IAM does not answer, nothing is rotated."""
        decision = check_due(state, request, self._minimum_interval)
        options = request.rotation.options.guard
        if decision.verdict is not Verdict.ROTATE or options is None or not request.rotation.guarded:
            return decision
        if state.user_name is None:
            return _unreadable("Infisical names no IAM user")
        try:
            user = read_keys(self._open_iam(options.role, options.external_id), state.user_name)
        except (BotoCoreError, ClientError) as error:
            failure = f"IAM did not show the access keys of the user {state.user_name}: {_text(error)}"
            return _unreadable(failure) if _is_final(error) else Decision(Verdict.WAIT, "IamUnavailable", failure)
        grace_period = options.grace_period or self._grace_period
        now = from_epoch(self._clock.time())
        decision = name_keys(check_keys(state, request, user, grace_period, now), user, state.last_rotated_at)
        if decision.reason != "KeyInUse" or user.last_use is None or self._name_consumers is None:
            return decision
        consumers = self._name_consumers(options, user.oldest.id, user.last_use, now - grace_period)
        return replace(decision, explanation=f"{decision.explanation}. {consumers}")


def read_keys(iam: "IAMClient", user_name: str) -> UserKeys:
    """The user's keys. If there are two, also the last use of the one that a rotation deletes. Raises IAM's errors."""
    user = list_keys(iam, user_name)
    if len(user.keys) < MAX_KEYS_PER_USER:
        return user
    return replace(user, last_use=read_last_use(iam, user.oldest.id))


def read_last_use(iam: "IAMClient", key_id: str) -> LastUse | None:
    """What IAM says about a key's last use; None where it was never used. Raises what IAM's client raises."""
    use = iam.get_access_key_last_used(AccessKeyId=key_id)["AccessKeyLastUsed"]
    return LastUse(use["LastUsedDate"], use["ServiceName"], use["Region"]) if "LastUsedDate" in use else None


def list_keys(iam: "IAMClient", user_name: str) -> UserKeys:
    """The user's access keys, without their uses. Raises IAM's errors."""
    listed = iam.list_access_keys(UserName=user_name)["AccessKeyMetadata"]
    return UserKeys(tuple(UserKey(key["AccessKeyId"], key["CreateDate"], key["Status"] == "Active") for key in listed))


class IamClients:
    """IAM of the function's own account, or as a role in another one. A slow STS call blocks only its own role."""

    def __init__(self, own: "IAMClient", clock: "Clock") -> None:
        self._own = own
        self._clock = clock
        self._mutex = threading.Lock()
        self._roles: dict[tuple[str, str | None], _AssumedRole] = {}

    def __call__(self, role: str | None, external_id: str | None = None) -> "IAMClient":
        """A client as the role. Raises the errors of AssumeRole."""
        return self._own if role is None else self._assumed(role, external_id).iam()

    def cloudtrail(self, role: str | None, external_id: str | None, region: str) -> CloudTrailClient:
        """CloudTrail of the same account, in a region. Raises the errors of AssumeRole."""
        credentials = {} if role is None else self._assumed(role, external_id).credentials()
        made: CloudTrailClient = client("cloudtrail", LOOKUP_CONFIG, region_name=region, **credentials)
        return made

    def _assumed(self, role: str, external_id: str | None) -> "_AssumedRole":
        with self._mutex:
            return self._roles.setdefault((role, external_id), _AssumedRole(role, external_id, self._clock))


class _AssumedRole:
    """A role's credentials, and IAM with them. Caches both, and also a failed AssumeRole.

    Without that, each request of a batch would wait for an STS that hangs, one after the other.
    """

    def __init__(self, role: str, external_id: str | None, clock: "Clock") -> None:
        self._role = {"RoleArn": role} | ({"ExternalId": external_id} if external_id else {})
        self._clock = clock
        self._lock = threading.Lock()
        self._made: tuple[dict[str, str], IAMClient] | Exception | None = None
        self._good_until = 0.0

    def iam(self) -> "IAMClient":
        return self._assume()[1]

    def credentials(self) -> dict[str, str]:
        return self._assume()[0]

    def _assume(self) -> "tuple[dict[str, str], IAMClient]":
        with self._lock:
            if self._made is None or self._clock.time() > self._good_until:
                try:
                    credentials = _credentials_of(self._role)
                    self._made, seconds = (credentials, client("iam", GUARD_CONFIG, **credentials)), ROLE_SECONDS
                except (BotoCoreError, ClientError) as error:
                    self._made, seconds = error, FAILURE_SECONDS
                self._good_until = self._clock.time() + seconds
            made = self._made
        if isinstance(made, Exception):
            raise made
        return made


def _credentials_of(role: dict[str, str]) -> dict[str, str]:
    assumed = client("sts", GUARD_CONFIG).assume_role(**role, RoleSessionName="key-guard")["Credentials"]
    return {
        "aws_access_key_id": assumed["AccessKeyId"],
        "aws_secret_access_key": assumed["SecretAccessKey"],
        "aws_session_token": assumed["SessionToken"],
    }


def _is_final(error: Exception) -> bool:
    return isinstance(error, ParamValidationError) or reason_of(error) in _FINAL


def _text(error: Exception) -> str:
    return clip(str(error)).rstrip(".")


def _unreadable(what: str) -> Decision:
    return Decision(
        Verdict.REFUSE,
        "KeysUnreadable",
        f"{what}. So it is unknown which key a rotation would delete. Allow the functions' roles to read this user"
        " (KeyGuardUsers). If the user is in another account, set keyGuard.role of the entry in the rotation map to a"
        " role there",
    )
