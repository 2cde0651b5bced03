"""The values that several packages share."""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

DEFAULT_TYPE = "aws-iam-user-secret"

MAXIMUM_INTERVAL = timedelta(days=10_000)  # longer than any schedule, and small enough to add to a date

NEVER = timedelta.max

_KEY_ID = re.compile(r"\w{1,128}", re.ASCII)
_SECRET = re.compile(r"[!-~]{1,512}")


@dataclass(frozen=True, slots=True)
class GuardOptions:
    """How the key guard reads an IAM user's keys, and how recent a use may be.

    `role` is a role in the user's account, if that is not the stack's own. Its trust policy may require `external_id`.
    """

    role: str | None = None
    grace_period: timedelta | None = None
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class RotationOptions:
    """What an entry of the rotation map sets for its rotations. None means the stack's default.

    `guard` is the exception: None switches the key guard off. `retire_after` NEVER keeps the previous key active until
    the next rotation deletes it.
    """

    minimum_interval: timedelta | None = None
    maximum_age: timedelta | None = None
    guard: GuardOptions | None = GuardOptions()
    retire_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class MappedRotation:
    """A rotation as the rotation map names it. `id` is a lower-case UUID, and also the message group."""

    id: str
    type: str = DEFAULT_TYPE
    options: RotationOptions = RotationOptions()

    @property
    def guarded(self) -> bool:
        """Whether the key guard checks the keys before each attempt. Other types have no keys in IAM."""
        return self.options.guard is not None and self.type == DEFAULT_TYPE


@dataclass(frozen=True, slots=True)
class Selector:
    """Rotations of one type in a project, or in an environment or folder of it, as the rotation map describes them.

    It must match at least `at_least` rotations.
    """

    project: str
    environment: str | None = None
    path: str | None = None
    type: str = DEFAULT_TYPE
    options: RotationOptions = RotationOptions()
    at_least: int = 1

    def __str__(self) -> str:
        """The selector as the rotation map writes it, without options."""
        named = {"project": self.project, "environment": self.environment, "path": self.path, "type": self.type}
        return json.dumps({name: value for name, value in named.items() if value not in (None, DEFAULT_TYPE)})


@dataclass(frozen=True, slots=True)
class RotationState:
    """A rotation's state in Infisical. Decisions rest on `last_rotated_at`, which is written only by a commit.

    `auto_rotation`: Infisical's own schedule rotates it too. `user_name` is the IAM user's; other types have none.
    `stale`: a later read did not show this commit, because it came from a database replica that lags.
    `connection_id` is the app connection by which Infisical reaches the user's account.
    """

    id: str
    name: str
    status: str
    last_rotated_at: datetime
    last_attempted_at: datetime
    last_message: str | None
    auto_rotation: bool = False
    user_name: str | None = None
    stale: bool = False
    connection_id: str | None = None

    @property
    def failed(self) -> bool:
        """Whether the last attempt is recorded as failed. It may have failed after its commit."""
        return self.status == "failed"

    def committed_after(self, before: "RotationState") -> bool:
        """Whether a rotation was committed since an earlier look."""
        return self.last_rotated_at > before.last_rotated_at

    def failed_after(self, before: "RotationState") -> bool:
        """Whether an attempt was recorded as failed since an earlier look."""
        return self.failed and self.last_attempted_at > before.last_attempted_at


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An IAM access key."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def parse(cls, key_id: object, secret: object) -> "AccessKey | None":
        """Read a key; None if the values cannot be those of an access key."""
        if not isinstance(key_id, str) or not isinstance(secret, str):
            return None
        return cls(key_id, secret) if _KEY_ID.fullmatch(key_id) and _SECRET.fullmatch(secret) else None


@dataclass(frozen=True, slots=True)
class GeneratedCredentials:
    """The keys that Infisical keeps for a rotation: the one that it publishes, and the ids of all that are valid."""

    published: AccessKey
    valid_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Mirror:
    """A secret in Secrets Manager that holds a rotation's published key, in two fields of its JSON."""

    rotation: MappedRotation
    access_key_id_field: str = "accessKeyId"
    secret_access_key_field: str = "secretAccessKey"  # noqa: S105 - a field's name


@dataclass(frozen=True, slots=True)
class ListedRotation:
    """A rotation as Infisical lists it, with what selectors select by. `environment` is a slug, `path` a folder.

    `state` is None if the list shows an invalid one.
    """

    id: str
    state: RotationState | None
    type: str
    project: str
    environment: str
    path: str
