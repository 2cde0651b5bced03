"""The rotation types that the stand-in knows, by their slug, and how each one comes by new credentials."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tests.sandbox.standin.answers import Payload
from tests.sandbox.standin.keys import KEYS_PER_USER, KeyStore

AWS_IAM_USER_SECRET = "aws-iam-user-secret"

Credential = Mapping[str, str]


@dataclass(frozen=True)
class RotationType:
    title: str
    app: str
    secrets_mapping: Mapping[str, str]


DATABASE_SECRETS = {"username": "DB_USERNAME", "password": "DB_PASSWORD"}

ROTATION_TYPES = {
    AWS_IAM_USER_SECRET: RotationType(
        "AWS IAM User Secret",
        "aws",
        {"accessKeyId": "AWS_ACCESS_KEY_ID", "secretAccessKey": "AWS_SECRET_ACCESS_KEY"},
    ),
    "mysql-credentials": RotationType("MySQL Credentials", "mysql", DATABASE_SECRETS),
    "postgres-credentials": RotationType("PostgreSQL Credentials", "postgres", DATABASE_SECRETS),
}


class Provider(Protocol):
    """The system whose credentials are rotated, as one rotation sees it."""

    @property
    def parameters(self) -> Payload: ...

    def make_room(self) -> None: ...

    def issue(self, slot: int, at: float) -> Credential: ...


@dataclass(frozen=True)
class IamUser:
    keys: KeyStore
    user_name: str
    region: str

    @property
    def parameters(self) -> Payload:
        return {"userName": self.user_name, "region": self.region}

    def make_room(self) -> None:
        """Delete the oldest of two keys, whoever made it and whoever uses it."""
        keys = self.keys.list_access_keys(self.user_name)
        if len(keys) == KEYS_PER_USER:
            self.keys.delete_access_key(self.user_name, min(keys, key=lambda key: key.created_at).id)

    def issue(self, slot: int, at: float) -> Credential:  # noqa: ARG002 - IAM knows no slots
        key_id, secret = self.keys.create_access_key(self.user_name, at)
        return {"accessKeyId": key_id, "secretAccessKey": secret}


@dataclass(frozen=True)
class DatabaseUsers:
    """A user per slot, whose password is set anew."""

    user_name: str

    @property
    def parameters(self) -> Payload:
        return {"username1": self._user(0), "username2": self._user(1)}

    def make_room(self) -> None:
        """Nothing has to go before a password is set."""

    def issue(self, slot: int, at: float) -> Credential:  # noqa: ARG002 - a password bears no date
        return {"username": self._user(slot), "password": secrets.token_urlsafe(24)}

    def _user(self, slot: int) -> str:
        return f"{self.user_name}_{slot + 1}"
