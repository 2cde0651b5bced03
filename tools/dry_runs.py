"""Dry runs of the deployed functions: what they answer, or why they do not."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

# Longer than either function may run, so that its end is heard.
READ_TIMEOUT_SECONDS = 310
CLIENT_CONFIG = Config(
    read_timeout=READ_TIMEOUT_SECONDS, tcp_keepalive=True, retries={"mode": "standard", "total_max_attempts": 3}
)

TIMED_OUT = "Sandbox.Timedout"
OUTDATED = "the deployed functions do not tell enough yet: deploy this version first"

_THROTTLED = 429
_SERVER_ERROR = 500

Report = dict[str, Any]


class OutdatedError(Exception):
    """The deployed functions are older than this program."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A function answered with an error, or not at all."""

    reason: str
    explanation: str


class DryRuns:
    """Asks the functions of a stack, of which the hook may be missing."""

    def __init__(self, lambda_: "LambdaClient", dispatch: str, hook: str | None) -> None:
        self._lambda = lambda_
        self._dispatch = dispatch
        self._hook = hook

    def of_trigger(self, trigger: str) -> list[Report] | Failure:
        """What would be decided for each rotation of a trigger; of a mirror, by the ARN of its secret.

        Raises OutdatedError.
        """
        answer = self._ask(self._dispatch, {"trigger": trigger, "dryRun": True})
        if isinstance(answer, Failure):
            return answer
        reports: list[Report] = answer["rotations"]
        if any(each["decision"] != "unreadable" and "minimum_interval_seconds" not in each for each in reports):
            raise OutdatedError(OUTDATED)
        return reports

    def of_mirror(self, secret_arn: str) -> Report | Failure | None:
        """Whether the hook could keep a mirror; None where there is no hook."""
        return self._ask(self._hook, {"dryRun": True, "SecretId": secret_arn}) if self._hook else None

    def of_access(self, function: str, rotation_id: str, rotation_type: str) -> Report | Failure | None:
        """Whether `rotate` or the audit can read a rotation; None where the caller may not invoke it.

        Raises OutdatedError.
        """
        try:
            answer = self._ask(function, {"dryRun": True, "rotationId": rotation_id, "type": rotation_type})
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDeniedException":
                raise
            return None
        if not isinstance(answer, Failure) and "readable" not in answer:
            raise OutdatedError(OUTDATED)
        return answer

    def _ask(self, function: str, event: object) -> Report | Failure:
        """Invoke a function.

        Raises ClientError where the caller may not. What else keeps this answer away may let the next one through.
        """
        try:
            answer = self._lambda.invoke(FunctionName=function, Payload=json.dumps(event).encode())
            payload: Report = json.loads(answer["Payload"].read())
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status != _THROTTLED and status < _SERVER_ERROR:
                raise
            return Failure(error.response["Error"]["Code"], str(error))
        except BotoCoreError as error:
            return Failure(type(error).__name__, str(error))
        return _failure(payload) if answer.get("FunctionError") else payload


def _failure(payload: Report) -> Failure:
    """What Lambda says of a function that failed. Of a time-out not every runtime says the type."""
    explanation = str(payload.get("errorMessage") or "it does not say why")
    if "Task timed out" in explanation:
        return Failure(TIMED_OUT, explanation)
    return Failure(str(payload.get("errorType") or "Unhandled").removesuffix("Error"), explanation)
