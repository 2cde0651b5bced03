"""The values that the other modules speak of."""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from rotator.text import shown
from rotator.timestamps import format_instant, parse_instant

DEFAULT_TYPE = "aws-iam-user-secret"

MAXIMUM_NAME_LENGTH = 2048  # no ARN and no trigger is longer

MAXIMUM_INTERVAL = timedelta(days=10_000)  # beyond any schedule, and within what dates can add

_KEY_ID = re.compile(r"\w{1,128}", re.ASCII)
_SECRET = re.compile(r"[!-~]{1,512}")
_TYPE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class GuardOptions:
    """How the key guard looks at an IAM user's keys: as `role`, in the user's own account, and how far back.

    `external_id` is what the role's trust policy may ask for.
    """

    role: str | None = None
    grace_period: timedelta | None = None
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class MappedRotation:
    """A rotation as the rotation map names it. `id` is a lower-case UUID: it is also the message group.

    Without `guard` the key guard is switched off.
    """

    id: str
    type: str = DEFAULT_TYPE
    minimum_interval: timedelta | None = None
    maximum_age: timedelta | None = None
    guard: GuardOptions | None = GuardOptions()

    @property
    def guarded(self) -> bool:
        """Whether the key guard vouches for the keys before each attempt; other types have no keys in IAM."""
        return self.guard is not None and self.type == DEFAULT_TYPE


@dataclass(frozen=True, slots=True)
class Selector:
    """Rotations of one type in a project, or in an environment or folder of it, as the rotation map describes them.

    There have to be `at_least` so many.
    """

    project: str
    environment: str | None = None
    path: str | None = None
    type: str = DEFAULT_TYPE
    minimum_interval: timedelta | None = None
    maximum_age: timedelta | None = None
    guard: GuardOptions | None = GuardOptions()
    at_least: int = 1

    def __str__(self) -> str:
        """What it selects by, as the rotation map says it."""
        named = {"project": self.project, "environment": self.environment, "path": self.path, "type": self.type}
        return json.dumps({name: value for name, value in named.items() if value not in (None, DEFAULT_TYPE)})


@dataclass(frozen=True, slots=True)
class RotationState:
    """What Infisical says about a rotation. Only `last_rotated_at` is written on commit alone: it is the truth.

    `rotates_itself` says that Infisical rotates beside us. `user_name` is the IAM user's; other types have none.
    `stale` says that a later read did not show this commit yet: Infisical reads from a replica that lags.
    `connection_id` is that of the connection by which Infisical reaches the user's account.
    """

    id: str
    name: str
    status: str
    last_rotated_at: datetime
    last_attempted_at: datetime
    last_message: str | None
    rotates_itself: bool = False
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


@dataclass(frozen=True, slots=True)
class UserKey:
    """An access key as IAM lists it, without its secret. `created_at` is by IAM's clock; AWS refuses inactive keys."""

    id: str
    created_at: datetime
    active: bool = True


@dataclass(frozen=True, slots=True)
class LastUse:
    """What IAM says about a key's last use, which may be some hours behind."""

    at: datetime
    service: str
    region: str


@dataclass(frozen=True, slots=True)
class UserKeys:
    """The access keys of an IAM user. `last_use` is that of the oldest, None where it was never used."""

    keys: tuple[UserKey, ...]
    last_use: LastUse | None = None

    @property
    def oldest(self) -> UserKey:
        """What a rotation deletes where there are two, whoever made it."""
        return min(self.keys, key=lambda key: key.created_at)


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


@dataclass(frozen=True, slots=True)
class RotationRequest:
    """A wish: `rotation` shall have been rotated at or after `occurred_at`, the moment when its trigger occurred.

    `forced` says that a person has looked: neither a failed attempt nor the minimum interval stands in the way.
    """

    rotation: MappedRotation
    trigger: str
    occurred_at: datetime
    correlation_id: str
    forced: bool = False

    def to_message(self) -> str:
        """Write the body of a message in RotationRequests.fifo."""
        interval = self.rotation.minimum_interval
        body: dict[str, object] = {
            "rotationId": self.rotation.id,
            "type": self.rotation.type,
            "trigger": self.trigger,
            "occurredAt": format_instant(self.occurred_at),
            "correlationId": self.correlation_id,
        }
        if interval is not None:
            body["minimumIntervalSeconds"] = int(interval.total_seconds())
        if self.forced:
            body["forced"] = True
        if self.rotation.guard != GuardOptions():
            body["keyGuard"] = _guard_to_message(self.rotation.guard)
        return json.dumps(body)

    @classmethod
    def from_message(cls, body: str) -> "RotationRequest":
        """Read a message of RotationRequests.fifo.

        Raises ValueError naming the field that is missing or wrong.
        """
        try:
            fields = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the message is no JSON: {error}") from None
        if not isinstance(fields, dict):
            raise ValueError("the message is no JSON object")
        return cls(
            rotation=MappedRotation(
                id=parse_rotation_id(fields.get("rotationId"), "rotationId"),
                type=parse_type(fields),
                minimum_interval=_interval(fields, "minimumIntervalSeconds"),
                guard=_guard_from_message(fields.get("keyGuard", {})),
            ),
            trigger=_text(fields, "trigger"),
            occurred_at=parse_instant(fields.get("occurredAt"), "occurredAt"),
            correlation_id=_text(fields, "correlationId"),
            forced=_flag(fields, "forced"),
        )


def is_key(key_id: str, secret: str) -> bool:
    """Whether a request could be signed with these."""
    return bool(_KEY_ID.fullmatch(key_id) and _SECRET.fullmatch(secret))


def parse_rotation_id(value: object, field: str) -> str:
    """Read a rotation id in the one spelling that message groups and comparisons use.

    Raises ValueError naming `field`.
    """
    try:
        return str(UUID(value if isinstance(value, str) else None))
    except (TypeError, ValueError):
        raise ValueError(f"{field} must be a rotation id (a UUID), not {shown(value)}") from None


def parse_type(fields: dict[str, object]) -> str:
    """Read a rotation's `type`, which becomes part of a path.

    Raises ValueError.
    """
    value = _text(fields, "type")
    if not _TYPE.fullmatch(value):
        raise ValueError(f"type must be the slug of a rotation type, such as {DEFAULT_TYPE}, not {shown(value)}")
    return value


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= MAXIMUM_NAME_LENGTH:
        raise ValueError(f"{name} must be a text of at most {MAXIMUM_NAME_LENGTH} characters, not {shown(value)}")
    return value


def _flag(fields: dict[str, object], name: str) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {shown(value)}")
    return value


def _interval(fields: dict[str, object], name: str) -> timedelta | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MAXIMUM_INTERVAL.total_seconds():
        raise ValueError(f"{name} must be a number of seconds, not {shown(value)}")
    return timedelta(seconds=value)


def _guard_to_message(guard: GuardOptions | None) -> object:
    if guard is None:
        return False
    seconds = int(guard.grace_period.total_seconds()) if guard.grace_period else None
    external_id = {"externalId": guard.external_id} if guard.external_id else {}
    return {"role": guard.role, "gracePeriodSeconds": seconds, **external_id}


def _guard_from_message(value: object) -> GuardOptions | None:
    if value is False:
        return None
    if not isinstance(value, dict):
        raise ValueError(f"keyGuard must be false or an object, not {shown(value)}")
    role, external_id = (None if value.get(name) is None else _text(value, name) for name in ("role", "externalId"))
    return GuardOptions(role, _interval(value, "gracePeriodSeconds"), external_id)
