"""Dry runs of the deployed functions: what they report, or why they failed."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

    from rotator.dry_run.reports import (
        AccessReport,
        MirrorReport,
        RotationReport,
        TriggerReport,
        UnreadableRotation,
    )

# Longer than dispatch (60 s) and the hook (300 s) may run, so that the client always receives the answer.
READ_TIMEOUT_SECONDS = 310
CLIENT_CONFIG = Config(
    read_timeout=READ_TIMEOUT_SECONDS, tcp_keepalive=True, retries={"mode": "standard", "total_max_attempts": 3}
)

TIMED_OUT = "Sandbox.Timedout"

_THROTTLED = 429
_SERVER_ERROR = 500


class OutdatedError(Exception):
    """The deployed functions are older than this tool."""

    def __init__(self) -> None:
        super().__init__("the deployed stack is older than this tool; deploy this version first")


@dataclass(frozen=True, slots=True)
class Failure:
    """A function that failed, or did not answer."""

    reason: str
    explanation: str


class DeployedFunctions:
    """The functions of a stack. `hook` is None in a stack without mirrors."""

    def __init__(self, lambda_: "LambdaClient", dispatch: str, hook: str | None) -> None:
        self._lambda = lambda_
        self._dispatch = dispatch
        self._hook = hook

    def dry_run_trigger(
        self, trigger: str, rotation_map: str | None = None
    ) -> "list[RotationReport | UnreadableRotation] | Failure":
        """Report the decision for each rotation of a trigger. The ARN of a mirror's secret is a trigger too.

        By default the deployed rotation map counts. Raises OutdatedError.
        """
        event = {"trigger": trigger, "dryRun": True}
        answer = self._invoke(self._dispatch, event if rotation_map is None else {**event, "map": rotation_map})
        if isinstance(answer, Failure):
            return answer
        rotations = answer["rotations"]
        if any(each["decision"] != "unreadable" and "minimum_interval_seconds" not in each for each in rotations):
            raise OutdatedError
        report: TriggerReport = answer
        return report["rotations"]

    def dry_run_forced(
        self, trigger: str, rotation_id: str, moment: str
    ) -> "RotationReport | UnreadableRotation | Failure":
        """Report what would be decided if one rotation of a trigger were forced for a moment."""
        answer = self._invoke(self._dispatch, {**_forced(trigger, rotation_id, moment), "dryRun": True})
        if isinstance(answer, Failure):
            return answer
        report: TriggerReport = answer
        return report["rotations"][0]

    def force(self, trigger: str, rotation_id: str, moment: str) -> Failure | None:
        """Request that one rotation of a trigger is rotated at or after a moment; return why it was not requested."""
        answer = self._invoke(self._dispatch, _forced(trigger, rotation_id, moment))
        return answer if isinstance(answer, Failure) else None

    def dry_run_mirror(self, secret_arn: str) -> "MirrorReport | Failure | None":
        """Report whether the hook could keep a mirror; None without a hook."""
        return self._invoke(self._hook, {"dryRun": True, "SecretId": secret_arn}) if self._hook else None

    def dry_run_access(self, function: str, rotation_id: str, rotation_type: str) -> "AccessReport | Failure | None":
        """Report whether `rotate` or the audit can read a rotation; None if the caller may not invoke the function.

        Raises OutdatedError.
        """
        try:
            answer = self._invoke(function, {"dryRun": True, "rotationId": rotation_id, "type": rotation_type})
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDeniedException":
                raise
            return None
        if not isinstance(answer, Failure) and "readable" not in answer:
            raise OutdatedError
        return answer

    def _invoke(self, function: str, event: object) -> Any:  # noqa: ANN401 - a Failure, or JSON
        """Invoke a function.

        Raises ClientError if the caller may not. Any other error concerns this invocation alone: it is a Failure.
        """
        try:
            answer = self._lambda.invoke(FunctionName=function, Payload=json.dumps(event).encode())
            payload = json.loads(answer["Payload"].read())
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status != _THROTTLED and status < _SERVER_ERROR:
                raise
            return Failure(error.response["Error"]["Code"], str(error))
        except BotoCoreError as error:
            return Failure(type(error).__name__, str(error))
        return _failure(payload) if answer.get("FunctionError") else payload


def _forced(trigger: str, rotation_id: str, moment: str) -> dict[str, object]:
    return {"trigger": trigger, "only": [rotation_id], "force": True, "occurredAt": moment}


def _failure(payload: dict[str, Any]) -> Failure:
    """Read what Lambda answers when a function failed. Not every runtime gives a time-out an errorType."""
    explanation = str(payload.get("errorMessage") or "Lambda gave no error message; see the function's log")
    if "Task timed out" in explanation:
        return Failure(TIMED_OUT, explanation)
    return Failure(str(payload.get("errorType") or "Unhandled").removesuffix("Error"), explanation)
