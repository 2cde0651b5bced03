"""What happened to a secret in Secrets Manager, in the three families of events that tell of it."""

from typing import Any

from rotator.secret_arn import secret_name

SOURCE = "aws.secretsmanager"

# Calls that change what a secret holds. A refused call has an errorCode, and changed nothing.
CALLS = frozenset({"PutSecretValue", "UpdateSecret", "UpdateSecretVersionStage", "RotateSecret"})

# What Secrets Manager says about its own rotations. A failed one is no reason to rotate something else.
SERVICE_EVENTS = frozenset({"RotationStarted", "RotationSucceeded"})


def secret_of(event: dict[str, Any]) -> str:
    """Find the ARN of the secret, each family's in its own place; or its name, if that is all there is.

    Raises ValueError for an event of another kind, or without a secret where it belongs.
    """
    match event:
        case {"detail-type": "Secret Label Updated", "resources": [str(arn), *_]} if secret_name(arn):
            return arn
        case {"detail-type": "AWS API Call via CloudTrail", "detail": {"eventName": str(call)} as detail} if (
            call in CALLS
        ):
            return _called(detail)
        case {
            "detail-type": "AWS Service Event via CloudTrail",
            "detail": {"eventName": str(name), "additionalEventData": {"SecretId": str(arn)}},
        } if name in SERVICE_EVENTS and secret_name(arn):
            return arn
    raise ValueError("this event of Secrets Manager is not one that can name a trigger, or does not say which secret")


def _called(detail: dict[str, Any]) -> str:
    """The secret of a call: as the answer names it (in some until February 2024 as aRN), else as the caller did."""
    if "errorCode" in detail:
        raise ValueError("this call of Secrets Manager was refused")
    match detail:
        case {"responseElements": {"arn": str(arn)}} | {"responseElements": {"aRN": str(arn)}}:
            return arn
        case {"requestParameters": {"secretId": str(secret_id)}}:
            return secret_id
    raise ValueError("this call of Secrets Manager does not say which secret")
