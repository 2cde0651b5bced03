"""Secrets Manager as AWS runs it during a rotation, in front of the embedded one, which knows less of it."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from tests.sandbox.aws_calls import operation
from tests.sandbox.proxy import Layer

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

CURRENT, PENDING = "AWSCURRENT", "AWSPENDING"


@dataclass
class RotationState:
    """What the embedded Secrets Manager cannot keep, by the secrets' ARNs."""

    functions: dict[str, str] = field(default_factory=dict)
    """The name of the function that rotates it, also where rotation is switched off."""
    enabled: set[str] = field(default_factory=set)
    empty_versions: dict[str, str] = field(default_factory=dict)
    """The version that is labelled AWSPENDING and has no value yet."""


class RotatingSecretsManager(Layer):
    """Corrects the answers of the embedded one to that of AWS:

    - rotation is enabled where it was, and a version may be labelled AWSPENDING before it has a value;
    - the value of a version is written once: again the same is ignored, another one is refused;
    - a version is not found under a label that it does not bear.

    The embedded one is asked first, so that IAM judges; but not to write a value again, for it would. `secrets` is the
    embedded one, as somebody who may do everything.
    """

    def __init__(self, below: httpx.AsyncBaseTransport, state: RotationState, secrets: "SecretsManagerClient") -> None:
        super().__init__(below)
        self._state = state
        self._secrets = secrets
        self._writing = asyncio.Lock()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        match operation(request):
            case "secretsmanager:DescribeSecret":
                return self._described(await super().handle_async_request(request))
            case "secretsmanager:GetSecretValue":
                return _under_its_label(json.loads(request.content), await super().handle_async_request(request))
            case "secretsmanager:UpdateSecretVersionStage":
                return await self._relabelled(request)
            case "secretsmanager:PutSecretValue":
                async with self._writing:
                    return await self._written(request)
            case _:
                return await super().handle_async_request(request)

    def _described(self, answer: httpx.Response) -> httpx.Response:
        if answer.is_error:
            return answer
        secret = answer.json()
        arn = secret["ARN"]
        secret["RotationEnabled"] = arn in self._state.enabled
        if arn in self._state.functions:
            secret["RotationLambdaARN"] = self._state.functions[arn]
        if empty := self._state.empty_versions.get(arn):
            secret["VersionIdsToStages"][empty] = [PENDING]
        return _answer(200, secret)

    async def _relabelled(self, request: httpx.Request) -> httpx.Response:
        """Let the label be taken off a version that has no value, and that the embedded one hence does not find."""
        answer = await super().handle_async_request(request)
        asked = json.loads(request.content)
        if _error_of(answer) == "ResourceNotFoundException" and asked["VersionStage"] == PENDING:
            secret = await asyncio.to_thread(self._secrets.describe_secret, SecretId=asked["SecretId"])
            if asked.get("RemoveFromVersionId") == self._state.empty_versions.get(secret["ARN"], ""):
                del self._state.empty_versions[secret["ARN"]]
                return _answer(200, {"ARN": secret["ARN"], "Name": secret["Name"]})
        return answer

    async def _written(self, request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        there = await asyncio.to_thread(self._value, asked["SecretId"], asked["ClientRequestToken"])
        if there is None:
            answer = await super().handle_async_request(request)
            if answer.is_success:
                written = answer.json()
                if self._state.empty_versions.get(written["ARN"]) == written["VersionId"]:
                    del self._state.empty_versions[written["ARN"]]
            return answer
        if any(there.get(name) != asked.get(name) for name in ("SecretString", "SecretBinary")):
            text = "You can't modify the contents of a version: this one has a value already, and it is another one."
            return _refusal("ResourceExistsException", text)
        return _answer(200, {name: there[name] for name in ("ARN", "Name", "VersionId", "VersionStages")})

    def _value(self, secret_id: str, version_id: str) -> dict[str, Any] | None:
        try:
            return dict(self._secrets.get_secret_value(SecretId=secret_id, VersionId=version_id))
        except self._secrets.exceptions.ResourceNotFoundException:
            return None


def _under_its_label(asked: dict[str, str], answer: httpx.Response) -> httpx.Response:
    if answer.is_success and "VersionStage" in asked and asked["VersionStage"] not in answer.json()["VersionStages"]:
        text = "You provided a VersionStage that is not associated to the provided VersionId."
        return _refusal("InvalidRequestException", text)
    return answer


def _error_of(answer: httpx.Response) -> str:
    return str(answer.json()["__type"]) if answer.is_error else ""


def _answer(status: int, payload: object) -> httpx.Response:
    return httpx.Response(
        status, headers={"content-type": "application/x-amz-json-1.1"}, content=json.dumps(payload).encode()
    )


def _refusal(code: str, text: str) -> httpx.Response:
    return _answer(400, {"__type": code, "message": text})
