"""A dry run of the hook: whether it could keep a mirror, and whether the mirror is in step. It only reads."""

from enum import StrEnum
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from rotator.infisical.client import Infisical
from rotator.infisical.errors import InfisicalError, reason_of
from rotator.mirror.value import HookError, key_in
from rotator.mirror.versions import CURRENT
from rotator.model import AccessKey, Mirror
from rotator.text import clip

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import DescribeSecretResponseTypeDef

    from rotator.dry_run.reports import MirrorReport, SecretRotation, UnreadableSide


class MirrorState(StrEnum):
    """What a secret holds, compared with what Infisical publishes."""

    IN_STEP = "in step"
    LAGS = "lags"
    NO_VALUE = "no value yet"
    NO_JSON = "not a JSON object"
    UNKNOWN = "unknown"


def preview_mirror(
    secrets: "SecretsManagerClient", infisical: Infisical, secret_arn: str, mirror: Mirror
) -> "MirrorReport":
    """Report what can be read of the secret and of Infisical, and why the rest cannot. It has no key material."""
    unreadable: list[UnreadableSide] = []
    attachment: SecretRotation = {}
    published: AccessKey | None = None
    try:
        published = infisical.credentials(mirror.rotation).published
    except InfisicalError as error:
        unreadable.append({"what": "credentials", "reason": error.reason, "explanation": str(error)})
    state = MirrorState.UNKNOWN
    try:
        attachment = _attachment(secrets.describe_secret(SecretId=secret_arn))
        state = _state(_value(secrets, secret_arn), mirror, published)
    except (BotoCoreError, ClientError) as error:
        explanation = clip(str(error))
        unreadable.append({"what": "secret", "reason": reason_of(error), "explanation": explanation})
    return {
        "secret": secret_arn,
        "rotation_id": mirror.rotation.id,
        "dry_run": True,
        **attachment,
        "state": state,
        "unreadable": unreadable,
    }


def _attachment(secret: "DescribeSecretResponseTypeDef") -> "SecretRotation":
    """Whether rotation of the secret is switched on, which function does it, and when."""
    rules = secret.get("RotationRules", {})
    days = rules.get("AutomaticallyAfterDays")
    return {
        "rotation_enabled": secret.get("RotationEnabled", False),
        "rotation_function": secret.get("RotationLambdaARN"),
        "rotation_schedule": rules.get("ScheduleExpression") or (f"rate({days} days)" if days else None),
    }


def _value(secrets: "SecretsManagerClient", secret_arn: str) -> str | None:
    try:
        return secrets.get_secret_value(SecretId=secret_arn, VersionStage=CURRENT).get("SecretString", "")
    except secrets.exceptions.ResourceNotFoundException:
        return None


def _state(value: str | None, mirror: Mirror, published: AccessKey | None) -> MirrorState:
    if value is None:
        return MirrorState.NO_VALUE
    try:
        held = key_in(value, mirror)
    except HookError:
        return MirrorState.NO_JSON
    if published is None:
        return MirrorState.UNKNOWN
    return MirrorState.IN_STEP if held == published else MirrorState.LAGS
