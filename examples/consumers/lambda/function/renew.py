"""Gives a Lambda function new execution environments when it was last changed before a rotation."""

import json
import logging
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

# An environment that starts this soon after a rotation may still read the old key: a sync copies it, and clocks differ.
SETTLE = timedelta(seconds=60)

# The function need not read it. With a new value, later invocations get new execution environments.
VARIABLE = "KEY_PICKED_UP_AT"

log = logging.getLogger(__name__)


def handler(event: dict[str, Any], _context: object) -> None:
    """Handle a batch of the queue: all rotations in it are in the one change that follows."""
    renew(boto3.client("lambda"), os.environ["FUNCTION"], newest_rotation(event), datetime.now(UTC))


def newest_rotation(event: dict[str, Any]) -> datetime:
    """Return when the newest rotation of a batch was committed."""
    return max(datetime.fromisoformat(json.loads(record["body"])["last_rotated_at"]) for record in event["Records"])


def renew(client: "LambdaClient", function: str, rotated_at: datetime, now: datetime) -> None:
    """Change a variable of the function's environment, unless the function was changed after the rotation.

    Raises ValueError if the other variables cannot be read: they must be written back. SQS then redelivers the batch.
    """
    configuration: Any = client.get_function_configuration(FunctionName=function)
    if changed_after(configuration, rotated_at):
        log.info("skipped: %s was changed at %s, after the rotation", function, configuration["LastModified"])
        return
    environment = configuration.get("Environment", {})
    if "Error" in environment:
        raise ValueError(
            f"the environment of {function} cannot be read: {environment['Error'].get('Message')}. "
            "Allow the role of this consumer to use the KMS key of the function."
        )
    client.update_function_configuration(
        FunctionName=function,
        Environment={"Variables": {**environment.get("Variables", {}), VARIABLE: now.isoformat()}},
        RevisionId=configuration["RevisionId"],  # fails if somebody changed the function after it was read
    )
    log.info("renewed: %s gets new execution environments for the rotation of %s", function, rotated_at)


def changed_after(configuration: dict[str, Any], rotated_at: datetime) -> bool:
    """Tell whether the function's environments have read the key of this rotation. A failed change starts none."""
    modified_at = datetime.fromisoformat(configuration["LastModified"])
    return configuration.get("LastUpdateStatus") != "Failed" and modified_at >= rotated_at + SETTLE
