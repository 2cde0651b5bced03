"""A secret's versions and their staging labels, as a rotation moves them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotator.mirror.value import HookError
from rotator.text import clip

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from mypy_boto3_secretsmanager import SecretsManagerClient

CURRENT = "AWSCURRENT"
PENDING = "AWSPENDING"


@dataclass(frozen=True, slots=True)
class StagedSecret:
    """A secret as it is when a step begins, and the version (`token`) that the rotation makes current."""

    client: "SecretsManagerClient"
    token: str
    arn: str
    rotation_enabled: bool
    labels: "Mapping[str, Sequence[str]]"

    @classmethod
    def describe(cls, client: "SecretsManagerClient", secret_id: str, token: str) -> "StagedSecret":
        """Look at a secret. `labels` are the staging labels of each version."""
        secret = client.describe_secret(SecretId=secret_id)
        return cls(
            client, token, secret["ARN"], secret.get("RotationEnabled", True), secret.get("VersionIdsToStages", {})
        )

    def needs_promotion(self) -> bool:
        """Whether the version has yet to become current. False where it is current already.

        Raises HookError where Secrets Manager is not rotating the secret to this version.
        """
        labels = self.labels.get(self.token)
        if not self.rotation_enabled:
            raise HookError(f"rotation is not enabled for {self.arn}")
        if labels is None:
            raise HookError(f"{self.arn} has no version {clip(self.token, 64)} to rotate to")
        if CURRENT in labels:
            return False
        if PENDING not in labels:
            raise HookError(f"version {clip(self.token, 64)} of {self.arn} is not labelled {PENDING}")
        return True

    def fetch_current(self) -> "Version":
        """The current version."""
        return self._version(VersionStage=CURRENT)

    def fetch_pending(self) -> "Version":
        """The version to make current."""
        return self._version(VersionId=self.token)

    def put_pending(self, value: str) -> None:
        """Give the version its value. The same value again changes nothing, another one is refused."""
        self.client.put_secret_value(
            SecretId=self.arn, ClientRequestToken=self.token, SecretString=value, VersionStages=[PENDING]
        )

    def promote(self) -> None:
        """Move AWSCURRENT to the version."""
        previous = next((version for version, labels in self.labels.items() if CURRENT in labels), None)
        source = {"RemoveFromVersionId": previous} if previous else {}
        self.client.update_secret_version_stage(
            SecretId=self.arn, VersionStage=CURRENT, MoveToVersionId=self.token, **source
        )

    def _version(self, **which: str) -> "Version":
        try:
            answer = self.client.get_secret_value(SecretId=self.arn, **which)
        except self.client.exceptions.ResourceNotFoundException:
            return Version()
        return Version(answer.get("SecretString", ""), answer.get("CreatedDate"))


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a secret. `value` is None where it has none yet."""

    value: str | None = None
    created_at: "datetime | None" = None
