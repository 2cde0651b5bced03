"""The three families of events about a secret in Secrets Manager."""

import re
from typing import Any

from rotator.text import quote

SOURCE = "aws.secretsmanager"

CURRENT = "AWSCURRENT"

# Calls after which the secret may have another current value. A refused call has an errorCode, and changed nothing.
CALLS = frozenset({"PutSecretValue", "UpdateSecret", "UpdateSecretVersionStage"})


# The ARN of a secret ends in a dash and six random characters, which are not part of its name.
_SECRET_ARN = re.compile(r"arn:[^:]+:secretsmanager:[^:]+:[0-9]{12}:secret:(?P<name>.+)-[a-zA-Z0-9]{6}")


def why_ignored(event: object) -> str:
    """Why an event of a secret is ignored: the secret's current value has not changed. Empty for all other events.

    CloudTrail leaves the values out of its records, or writes a placeholder for them. So an UpdateSecret
    whose record shows no value may still have changed it. Then a Secret Label Updated arrives too, as after each change
    of the current value:
    https://docs.aws.amazon.com/secretsmanager/latest/userguide/monitoring-eventbridge.html
    """
    match event:
        case {
            "source": "aws.secretsmanager",
            "detail-type": "Secret Label Updated",
            "detail": {"labelUpdated": str(label)},
        } if label != CURRENT:
            return _of_label(label)
        case {"source": "aws.secretsmanager", "detail": {"eventName": "RotationStarted" | "RotateSecret"}}:
            return "the rotation of the secret has only begun; its end has its own event, RotationSucceeded"
        case {
            "source": "aws.secretsmanager",
            "detail-type": "AWS API Call via CloudTrail",
            "detail": {"eventName": str(call), **detail},
        } if call in CALLS:
            return _why_unchanged(call, detail)
    return ""


def _why_unchanged(call: str, detail: dict[Any, Any]) -> str:
    """By the parameters of a call. A PutSecretValue without versionStages moves AWSCURRENT."""
    if "errorCode" in detail:
        return f"Secrets Manager refused {call} ({quote(detail['errorCode'])}): nothing was changed"
    parameters = detail.get("requestParameters")
    match call, parameters if isinstance(parameters, dict) else {}:
        case ("PutSecretValue", {"versionStages": [*labels]}) if CURRENT not in labels:
            return f"PutSecretValue gave the new version the labels {quote(labels)}, not {CURRENT}"
        case ("UpdateSecret", shows) if not shows.keys() & {"secretString", "secretBinary"}:
            return "UpdateSecret changed the secret's description or key, not its value"
        case ("UpdateSecretVersionStage", {**moved}) if moved.get("versionStage") != CURRENT:
            return _of_label(moved.get("versionStage"))
    return ""


def _of_label(label: object) -> str:
    return f"the label {quote(label)} was moved, not {CURRENT}"


def secret_of(event: dict[str, Any]) -> str:
    """Find the ARN of the secret, or its name if the event has no ARN.

    Raises ValueError for an event of another kind, one that is ignored, or one without the secret.
    """
    if why := why_ignored(event):
        raise ValueError(why)
    match event:
        case {
            "detail-type": "Secret Label Updated",
            "detail": {"labelUpdated": "AWSCURRENT"},
            "resources": [str(arn), *_],
        } if secret_name(arn):
            return arn
        case {"detail-type": "AWS API Call via CloudTrail", "detail": {"eventName": str(call)} as detail} if (
            call in CALLS
        ):
            return _called(detail)
        case {
            "detail-type": "AWS Service Event via CloudTrail",
            "detail": {"eventName": "RotationSucceeded", "additionalEventData": {"SecretId": str(arn)}},
        } if secret_name(arn):
            return arn
    raise ValueError("this event of Secrets Manager cannot be a trigger, or does not say which secret it is about")


def _called(detail: dict[str, Any]) -> str:
    """The secret of a call: the ARN in its answer (before March 2024 perhaps aRN), or the id that the caller gave."""
    match detail:
        case {"responseElements": {"arn": str(arn)}} | {"responseElements": {"aRN": str(arn)}}:
            return arn
        case {"requestParameters": {"secretId": str(secret_id)}}:
            return secret_id
    raise ValueError("this event about a call of Secrets Manager does not say which secret was called")


def secret_name(arn: str) -> str:
    """The name in a secret's full ARN; empty for anything else, so that nothing is guessed from a partial ARN."""
    match = _SECRET_ARN.fullmatch(arn)
    return match["name"] if match else ""
