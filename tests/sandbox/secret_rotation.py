"""The rotation of a secret as Secrets Manager drives it: the embedded one has a stub for it that calls nobody."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from tests.sandbox.secrets_manager import CURRENT, PENDING, RotationState

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_secretsmanager import SecretsManagerClient

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")

SECRETS_MANAGER = "secretsmanager.amazonaws.com"

# Version id → staging labels.
Labels = Mapping[str, list[str]]

# Invoke a function, by its name, with a payload, and wait; return the text of its error, or None.
Invoke = Callable[[str, Mapping[str, str]], str | None]


class RotationRefused(Exception):  # noqa: N818 - what Secrets Manager does, not what went wrong here
    """Secrets Manager does not start, in its own words where they are known."""


@dataclass(frozen=True)
class StepResult:
    """`error` is the function's errorMessage; None where it returned."""

    step: str
    error: str | None
    before: Labels
    after: Labels


@dataclass(frozen=True)
class RotationResult:
    """The steps that ran. The last one is the one that failed, if any did."""

    token: str
    steps: tuple[StepResult, ...]

    @property
    def error(self) -> str | None:
        return self.steps[-1].error

    @property
    def failed_step(self) -> str | None:
        return self.steps[-1].step if self.error is not None else None

    @property
    def before(self) -> Labels:
        return self.steps[0].before

    @property
    def after(self) -> Labels:
        return self.steps[-1].after


class SecretRotations:
    """`secrets` shows what `state` adds: it is a client of RotatingSecretsManager that may do everything.

    Secrets go by their full ARNs. Different secrets may be rotated at the same moment.
    """

    def __init__(self, secrets: "SecretsManagerClient", state: RotationState, invoke: Invoke) -> None:
        self._secrets = secrets
        self._state = state
        self._invoke = invoke

    def attach(self, secret_arn: str, function_name: str) -> None:
        """Switch rotation on, without rotating."""
        for version in self.labels(secret_arn):
            if not self._has_value(secret_arn, version):
                self._unlabel(secret_arn, CURRENT, version)  # in AWS, a secret without a value has no version
        self._state.functions[secret_arn] = function_name
        self._state.enabled.add(secret_arn)

    def cancel(self, secret_arn: str) -> None:
        """Switch rotation off, as CancelRotateSecret does; versions and labels stay as they are."""
        self._state.enabled.discard(secret_arn)

    def labels(self, secret_arn: str) -> Labels:
        """The staging labels now; versions without any are not shown."""
        return self._secrets.describe_secret(SecretId=secret_arn)["VersionIdsToStages"]

    def rotate(self, secret_arn: str, token: str | None = None) -> RotationResult:
        """Rotate immediately. Whatever fails, the version stays labelled AWSPENDING, with or without a value.

        Raises RotationRefused while another version is.
        """
        token = token or str(uuid4())
        self._make_way(secret_arn, token)
        self._state.enabled.add(secret_arn)
        if token not in self.labels(secret_arn):
            self._state.empty_versions[secret_arn] = token
        return self._run(secret_arn, token, STEPS)

    def retry(self, secret_arn: str, token: str) -> RotationResult:
        """The whole process again, with the same token: what Secrets Manager does by itself after a failure.

        Raises RotationRefused where there is nothing left of that rotation to be tried again.
        """
        if not {PENDING, CURRENT} & set(self.labels(secret_arn).get(token, [])):
            raise RotationRefused(f"no rotation with the token {token} is under way")
        return self._run(secret_arn, token, STEPS)

    def test_only(self, secret_arn: str) -> RotationResult:
        """RotateImmediately=false: only testSecret, on a version with the current value that is there only for it."""
        token = str(uuid4())
        self._make_way(secret_arn, token)
        value = self._secrets.get_secret_value(SecretId=secret_arn)["SecretString"]
        self._secrets.put_secret_value(
            SecretId=secret_arn, ClientRequestToken=token, SecretString=value, VersionStages=[PENDING]
        )
        try:
            return self._run(secret_arn, token, ("testSecret",))
        finally:
            self._unlabel(secret_arn, PENDING, token)

    def step(self, secret_arn: str, step: str, token: str) -> StepResult:
        """One invocation, whatever the token is and whether or not rotation is switched on."""
        before = self.labels(secret_arn)
        payload = {"Step": step, "SecretId": secret_arn, "ClientRequestToken": token}
        error = self._invoke(self._state.functions[secret_arn], payload)
        return StepResult(step, error, before, self.labels(secret_arn))

    def _run(self, secret_arn: str, token: str, steps: tuple[str, ...]) -> RotationResult:
        results: list[StepResult] = []
        for step in steps:
            results.append(self.step(secret_arn, step, token))
            if results[-1].error is not None:
                break
        return RotationResult(token, tuple(results))

    def _make_way(self, secret_arn: str, token: str) -> None:
        """A rotation that has ended may have left AWSPENDING beside AWSCURRENT; one that has not keeps others out."""
        for version, labels in self.labels(secret_arn).items():
            if PENDING in labels and version != token:
                if CURRENT not in labels:
                    raise RotationRefused("A previous rotation isn't complete. That rotation will be reattempted.")
                self._unlabel(secret_arn, PENDING, version)

    def _unlabel(self, secret_arn: str, label: str, version: str) -> None:
        self._secrets.update_secret_version_stage(SecretId=secret_arn, VersionStage=label, RemoveFromVersionId=version)

    def _has_value(self, secret_arn: str, version: str) -> bool:
        value: Mapping[str, object] = self._secrets.get_secret_value(SecretId=secret_arn, VersionId=version)
        return "SecretString" in value or "SecretBinary" in value


def invoking(functions: "LambdaClient") -> Invoke:
    """Invoke as Secrets Manager does, which needs the function's permission and gets RotationRefused without.

    The client must be patient, and must not invoke twice what it lost the answer of.
    """

    def invoke(function_name: str, payload: Mapping[str, str]) -> str | None:
        if not _admits_secrets_manager(functions, function_name):
            raise RotationRefused(
                "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy grants"
                f" access to the principal {SECRETS_MANAGER}."
            )
        answer = functions.invoke(FunctionName=function_name, Payload=json.dumps(payload).encode())
        body = json.loads(answer["Payload"].read() or "null")
        return str(body["errorMessage"]) if answer.get("FunctionError") else None

    return invoke


def _admits_secrets_manager(functions: "LambdaClient", function_name: str) -> bool:
    """Nobody evaluates a function's policy for a service here, so look for the one statement that it takes."""
    try:
        policy = json.loads(functions.get_policy(FunctionName=function_name)["Policy"])
    except functions.exceptions.ResourceNotFoundException:
        return False
    return any(
        (each["Effect"], each["Principal"], each["Action"])
        == ("Allow", {"Service": SECRETS_MANAGER}, "lambda:InvokeFunction")
        for each in policy["Statement"]
    )
