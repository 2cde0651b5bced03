"""The values that several packages share."""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

DEFAULT_TYPE = "aws-iam-user-secret"

MAXIMUM_INTERVAL = timedelta(days=10_000)  # beyond any schedule, and within what dates can add

NEVER = timedelta.max

_KEY_ID = re.compile(r"\w{1,128}", re.ASCII)
_SECRET = re.compile(r"[!-~]{1,512}")


@dataclass(frozen=True, slots=True)
class GuardOptions:
    """How the key guard looks at an IAM user's keys: as `role`, in the user's own account, and how far back.

    `external_id` is what the role's trust policy may ask for.
    """

    role: str | None = None
    grace_period: timedelta | None = None
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class RotationOptions:
    """What an entry of the rotation map sets for its rotations. None means the stack's default.

    `guard` is the exception: without it the key guard is switched off. `retire_after` is NEVER where the previous key
    stays active until the next rotation deletes it.
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

    It must match `at_least` that many.
    """

    project: str
    environment: str | None = None
    path: str | None = None
    type: str = DEFAULT_TYPE
    options: RotationOptions = RotationOptions()
    at_least: int = 1

    def __str__(self) -> str:
        """What it selects by, as the rotation map says it."""
        named = {"project": self.project, "environment": self.environment, "path": self.path, "type": self.type}
        return json.dumps({name: value for name, value in named.items() if value not in (None, DEFAULT_TYPE)})


@dataclass(frozen=True, slots=True)
class RotationState:
    """What Infisical says about a rotation. Only `last_rotated_at` is written on commit alone: it is the truth.

    `auto_rotation` says that Infisical rotates beside us. `user_name` is the IAM user's; other types have none.
    `stale` says that a later read did not show this commit yet: Infisical reads from a replica that lags.
    `connection_id` is that of the connection by which Infisical reaches the user's account.
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
        """Whether the last attempt was recorded as failed, which may have happened after a commit."""
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
        """Read a key; None where no request could be signed with these."""
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

    `state` is None where the list shows one that makes no sense.
    """

    id: str
    state: RotationState | None
    type: str
    project: str
    environment: str
    path: str
