"""Secrets Manager, as far as a rotation touches it: versions, staging labels, and the four steps."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:mirror/deployer-AbCdEf"
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class ResourceNotFoundException(Exception):  # noqa: N818 - the name that Secrets Manager gives it
    pass


class Exceptions:
    ResourceNotFoundException = ResourceNotFoundException


@dataclass
class FakeSecretsManager:
    """One secret. A version that a rotation has just begun has a label and no value."""

    value: str | None = None
    enabled: bool | None = True  # None: it is not told
    arn: str = ARN
    exceptions: Exceptions = field(default_factory=Exceptions)
    now: Callable[[], datetime] = lambda: LONG_AGO

    def __post_init__(self) -> None:
        first = str(uuid4())
        self.values: dict[str, str] = {} if self.value is None else {first: self.value}
        self.created: dict[str, datetime] = {first: LONG_AGO}
        self.labels: dict[str, set[str]] = {} if self.value is None else {first: {"AWSCURRENT"}}

    @property
    def current(self) -> str | None:
        return self.values.get(self._labelled("AWSCURRENT") or "")

    def begin(self, token: str | None = None) -> str:
        """Start a rotation: label a new version, without a value, as pending."""
        token = token or str(uuid4())
        self._move("AWSPENDING", token)
        return token

    def describe_secret(self, SecretId: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        assert SecretId == self.arn
        labels = {version: sorted(labels) for version, labels in self.labels.items() if labels}
        enabled = {} if self.enabled is None else {"RotationEnabled": self.enabled}
        return {"ARN": self.arn, "VersionIdsToStages": labels, **enabled}

    def get_secret_value(self, SecretId: str, VersionId: str = "", VersionStage: str = "") -> dict[str, Any]:  # noqa: N803 - boto3's names
        assert SecretId == self.arn
        version = VersionId or self._labelled(VersionStage)
        if version not in self.values:
            raise ResourceNotFoundException
        return {"SecretString": self.values[version], "CreatedDate": self.created.get(version, LONG_AGO)}

    def put_secret_value(
        self,
        SecretId: str,  # noqa: N803 - boto3's names
        ClientRequestToken: str,  # noqa: N803
        SecretString: str,  # noqa: N803
        VersionStages: list[str],  # noqa: N803
    ) -> None:
        assert SecretId == self.arn
        assert self.values.get(ClientRequestToken, SecretString) == SecretString, "a version keeps its value"
        self.values[ClientRequestToken] = SecretString
        self.created.setdefault(ClientRequestToken, self.now())
        for label in VersionStages:
            self._move(label, ClientRequestToken)

    def update_secret_version_stage(
        self,
        SecretId: str,  # noqa: N803 - boto3's names
        VersionStage: str,  # noqa: N803
        MoveToVersionId: str,  # noqa: N803
        RemoveFromVersionId: str = "",  # noqa: N803
    ) -> None:
        assert SecretId == self.arn
        assert (self._labelled(VersionStage) or "") == RemoveFromVersionId
        self._move(VersionStage, MoveToVersionId)

    def _labelled(self, label: str) -> str | None:
        return next((version for version, labels in self.labels.items() if label in labels), None)

    def _move(self, label: str, version: str) -> None:
        for labels in self.labels.values():
            labels.discard(label)
        self.labels.setdefault(version, set()).add(label)


def run_steps(invoke: Callable[[dict[str, str]], None], arn: str, token: str) -> None:
    """Call the four steps in order; whatever one raises ends the rotation, to be begun again with the same token."""
    for step in STEPS:
        invoke({"Step": step, "SecretId": arn, "ClientRequestToken": token})
