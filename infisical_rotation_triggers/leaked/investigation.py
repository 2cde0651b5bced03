"""Reads what is known of a leaked key: in IAM with the caller's credentials, in Infisical through the stack's dry runs.

The tool has no credentials of Infisical, and needs none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from infisical_rotation_triggers.leaked.plan import Facts, Rotation
from infisical_rotation_triggers.preflight.checks import Problem
from infisical_rotation_triggers.preflight.functions import DeployedFunctions, Failure
from rotator.rotation.key_guard import list_keys, read_last_use
from rotator.rotation.key_policy import UserKey, UserKeys, find_published
from rotator.timestamps import format_timestamp, from_epoch, parse_timestamp
from rotator.triggers.rotation_map import RotationMap

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_sts import STSClient

    from rotator.clock import Clock
    from rotator.dry_run.reports import RotationReport, UnreadableRotation

# Of a rotation without key guard, whose dry run has none. It is the template's default.
DEFAULT_GRACE_PERIOD = timedelta(hours=6)


class NotOwnedError(Exception):
    """The key is not one that a rotation of this stack keeps. Nothing was done."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The user's rotation, or why it is unknown. `unread` are rotations of the map that could not be read, with why."""

    rotation: Rotation | None
    unread: str = ""


@dataclass(frozen=True, slots=True)
class Investigation:
    """Looks again and again at one key, its user, and the rotation that keeps it."""

    iam: "IAMClient"
    functions: DeployedFunctions
    clock: "Clock"
    key_id: str
    user_name: str
    owner: Owner

    def look(self) -> Facts:
        """Read the keys and the state of now. Raises what boto3's clients raise."""
        rotation = self._read(self.owner.rotation) if self.owner.rotation else None
        # After the state: a key that is younger than the state is then seen, and not the other way round.
        user = list_keys(self.iam, self.user_name)
        uses = {key.id: use for key in user.keys if (use := read_last_use(self.iam, key.id))}
        return Facts(
            from_epoch(self.clock.time()), self.key_id, self.user_name, user, uses, rotation, self.owner.unread
        )

    def request_rotation(self, rotation: Rotation) -> str:
        """Force the rotation for its moment; return why that was not accepted, or nothing."""
        failure = self.functions.force(rotation.trigger, rotation.id, format_timestamp(rotation.moment))
        return f"The rotation was not requested ({failure.reason}): {failure.explanation}" if failure else ""

    def _read(self, rotation: Rotation) -> Rotation:
        """Ask for a dry run of a forced rotation; once more where it was rotated since it was last read."""
        read = self._forced(rotation)
        return read if read.last_rotated_at == rotation.last_rotated_at else self._forced(read)

    def _forced(self, rotation: Rotation) -> Rotation:
        # `dispatch` refuses a moment that has not come yet. The last one that has is too soon, and is skipped.
        moment = min(rotation.moment, from_epoch(self.clock.time()))
        report = self.functions.dry_run_forced(rotation.trigger, rotation.id, format_timestamp(moment))
        if isinstance(report, Failure):
            return replace(
                rotation,
                refusal=f"A rotation is not possible now: its dry run failed ({report.reason}): {report.explanation}",
            )
        if report["decision"] == "unreadable":
            return replace(rotation, refusal=_unreadable([report]))
        read = replace(rotation, last_rotated_at=parse_timestamp(report["last_rotated_at"], "last_rotated_at"))
        return replace(read, refusal=_refusal(report, read))


def find_user(iam: "IAMClient", sts: "STSClient", key_id: str) -> str:
    """The name of the IAM user that has a key.

    Raises NotOwnedError where this account has no such key.
    """
    if key_id.startswith("ASIA"):
        raise NotOwnedError(
            f"{key_id} belongs to temporary credentials, which cannot be deactivated. Revoke the sessions of the role"
            " or user that they are of: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_disable-perms.html"
        )
    try:
        # It names the key's user, also of a key that was never used:
        # https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccessKeyLastUsed.html
        return iam.get_access_key_last_used(AccessKeyId=key_id)["UserName"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("AccessDenied", "NoSuchEntity"):
            raise
        raise NotOwnedError(f"IAM finds no key {key_id} in this account: {error}. {_account(sts, key_id)}") from None


def find_owner(
    functions: DeployedFunctions, rotation_map: RotationMap | Problem, user_name: str, user: UserKeys
) -> Owner:
    """Find the rotation that keeps a user's keys, by a dry run of everything in the rotation map.

    Raises NotOwnedError where everything could be read, and nothing is this user's.
    """
    if isinstance(rotation_map, Problem):
        return Owner(None, f"The rotation map cannot be read: {rotation_map.what}")
    owners: dict[str, Rotation] = {}
    unread: dict[str, UnreadableRotation | Failure] = {}  # by rotation, or by the trigger that failed
    for trigger, report in _reports(functions, rotation_map):
        if isinstance(report, Failure):
            unread[trigger] = report
        elif report["decision"] == "unreadable":
            unread[report["rotation_id"]] = report
        elif report["user_name"] == user_name:
            owners.setdefault(
                report["rotation_id"], _rotation(trigger, report, mirrored=trigger in rotation_map.mirrors)
            )
    said = _unreadable([*unread.values()]) if unread else ""
    if not owners and not unread:
        raise NotOwnedError(
            f"the key is of the IAM user {user_name}, and no rotation of the map keeps that user's keys. Deactivate it"
            " yourself, once you know who uses it"
        )
    # Users of two accounts may have one name. Then the rotations of one have left no key with the other.
    by_dates = [each for each in owners.values() if _has_left_a_key(each, user.keys)] or list(owners.values())
    if len(by_dates) > 1:
        return Owner(None, f"{len(by_dates)} rotations have an IAM user {user_name}: {', '.join(sorted(owners))}")
    return Owner(by_dates[0] if by_dates else None, said)


def _reports(
    functions: DeployedFunctions, rotation_map: RotationMap
) -> "Iterator[tuple[str, RotationReport | UnreadableRotation | Failure]]":
    for trigger in (*rotation_map.triggers, *rotation_map.mirrors):
        reports = functions.dry_run_trigger(trigger)
        for report in [reports] if isinstance(reports, Failure) else reports:
            yield trigger, report


def _rotation(trigger: str, report: "RotationReport", *, mirrored: bool) -> Rotation:
    seconds = report.get("grace_period_seconds")
    return Rotation(
        id=report["rotation_id"],
        name=report["rotation_name"],
        trigger=trigger,
        last_rotated_at=parse_timestamp(report["last_rotated_at"], "last_rotated_at"),
        grace_period=DEFAULT_GRACE_PERIOD if seconds is None else timedelta(seconds=seconds),
        mirrored=mirrored,
    )


def _has_left_a_key(rotation: Rotation, keys: Sequence[UserKey]) -> bool:
    return any(find_published(UserKeys((key,)), rotation.last_rotated_at) for key in keys)


def _refusal(report: "RotationReport", rotation: Rotation) -> str:
    """Why a forced rotation would not rotate now; empty where it would."""
    match report["decision"], report["reason"]:
        case "rotate", _:
            return ""
        case "skip", _:  # a moment that has not come yet cannot be asked for
            return (
                f"It was rotated at {report['last_rotated_at']}, too shortly ago to be rotated again: run this command"
                f" again after {format_timestamp(rotation.moment)}"
            )
        case _, reason:
            return f"A rotation is not possible now ({reason}): {report['explanation']}"


def _unreadable(unread: "Sequence[UnreadableRotation | Failure]") -> str:
    first = unread[0]
    reason, explanation = (
        (first.reason, first.explanation) if isinstance(first, Failure) else (first["reason"], first["explanation"])
    )
    what = "a rotation of the map" if len(unread) == 1 else f"{len(unread)} rotations of the map"
    return f"The stack cannot read {what} ({reason}): {explanation.rstrip('.')}"


def _account(sts: "STSClient", key_id: str) -> str:
    """Say which account a key belongs to, as far as AWS says it."""
    try:
        # https://docs.aws.amazon.com/STS/latest/APIReference/API_GetAccessKeyInfo.html
        account, own = sts.get_access_key_info(AccessKeyId=key_id)["Account"], sts.get_caller_identity()["Account"]
    except (BotoCoreError, ClientError):
        return "It may have been deleted already, or belong to another account, or you lack the permission"
    if account == own:
        return "It belongs to this account: it was deleted already, or you lack iam:GetAccessKeyLastUsed"
    return f"It belongs to the account {account}, and your credentials to {own}: deactivate it there by hand"
