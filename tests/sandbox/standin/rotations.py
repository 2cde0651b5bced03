"""A rotation's row, and what a commit and a failure write to it."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from uuid import NAMESPACE_URL, uuid5

from tests.sandbox.standin.answers import Payload
from tests.sandbox.standin.locks import RotationLock
from tests.sandbox.standin.rotation_types import ROTATION_TYPES, Credential, Provider

ENVIRONMENT_NAMES = {"dev": "Development", "staging": "Staging", "prod": "Production"}


@dataclass(kw_only=True)
class Rotation:
    """Moments are epoch seconds. `slots` holds one or two credentials, `active_index` is the published one; `issued`
    holds every credential that ever was, committed or not. `after_commit` is told the moment of every commit.
    `earlier` holds the row as it was before each write, with the moment of that write.
    """

    id: str
    type: str
    name: str
    description: str | None
    project_id: str
    environment: str
    path: str
    provider: Provider
    is_auto_rotation_enabled: bool
    is_last_rotation_manual: bool
    rotation_interval_days: int
    rotate_at_utc: tuple[int, int]
    last_rotated_at: float
    slots: list[Credential] = field(init=False)
    issued: list[Credential] = field(default_factory=list)
    active_index: int = 0
    status: str = "success"
    message: str | None = None
    lock: RotationLock = field(default_factory=RotationLock)
    last_attempted_at: float = field(init=False)
    created_at: float = field(init=False)
    updated_at: float = field(init=False)
    next_rotation_at: datetime | None = field(init=False)
    after_commit: list[Callable[[float], object]] = field(default_factory=list)
    earlier: "list[tuple[float, Rotation]]" = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.slots = [self.issue(0, self.last_rotated_at)]
        self.last_attempted_at = self.last_rotated_at
        self.created_at = self.updated_at = self.last_rotated_at + 0.001  # the row follows its first credentials
        self.next_rotation_at = self._slot_after_interval(self.last_rotated_at)

    @property
    def published(self) -> Credential:
        """What consumers are handed now."""
        return self.slots[self.active_index]

    def issue(self, slot: int, at: float) -> Credential:
        credential = self.provider.issue(slot, at)
        self.issued.append(credential)
        return credential

    def as_of(self, moment: float) -> "Rotation":
        """The row as it was then; this very row where nothing was written since."""
        return next((row for written_at, row in self.earlier if moment < written_at), self)

    def commit(self, at: float, active_index: int, slots: list[Credential], *, manual: bool = True) -> None:
        self._remember(at)
        self.active_index, self.slots = active_index, slots
        self.last_rotated_at = at
        self.is_last_rotation_manual = manual
        self._attempted(at, "success", None)
        self.next_rotation_at = self._slot_after_interval(at)
        for tell in self.after_commit:
            tell(at)

    def fail(self, at: float, message: str) -> None:
        """Set the next rotation to tomorrow's slot, even where auto-rotation is off and nothing will rotate then."""
        self._remember(at)
        self._attempted(at, "failed", message)
        self.next_rotation_at = self._slot(_moment(at) + timedelta(days=1))

    def _remember(self, at: float) -> None:
        self.earlier.append((at, copy(self)))

    def _attempted(self, at: float, status: str, message: str | None) -> None:
        self.last_attempted_at = self.updated_at = at
        self.status, self.message = status, message

    def _slot_after_interval(self, at: float) -> datetime | None:
        if not self.is_auto_rotation_enabled:
            return None
        earliest = _moment(at) + timedelta(days=self.rotation_interval_days)
        slot = self._slot(earliest)
        return slot + timedelta(days=1) if slot < earliest else slot

    def _slot(self, day: datetime) -> datetime:
        """When auto-rotation would come round on that day."""
        hours, minutes = self.rotate_at_utc
        return day.replace(hour=hours, minute=minutes, second=0, microsecond=0)

    def to_json(self) -> Payload:
        kind = ROTATION_TYPES[self.type]
        folder_id, connection_id = _id(self.project_id, self.environment, self.path), _id(self.project_id, kind.app)
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "isAutoRotationEnabled": self.is_auto_rotation_enabled,
            "activeIndex": self.active_index,
            "folderId": folder_id,
            "connectionId": connection_id,
            "createdAt": _iso(_moment(self.created_at)),
            "updatedAt": _iso(_moment(self.updated_at)),
            "rotationInterval": self.rotation_interval_days,
            "rotationStatus": self.status,
            "lastRotationAttemptedAt": _iso(_moment(self.last_attempted_at)),
            "lastRotatedAt": _iso(_moment(self.last_rotated_at)),
            "lastRotationJobId": None,
            "nextRotationAt": self.next_rotation_at and _iso(self.next_rotation_at),
            "isLastRotationManual": self.is_last_rotation_manual,
            "connection": {"app": kind.app, "name": f"{kind.app}-prod", "id": connection_id},
            "environment": {
                "slug": self.environment,
                "name": ENVIRONMENT_NAMES.get(self.environment, self.environment),
                "id": _id(self.project_id, self.environment),
            },
            "projectId": self.project_id,
            "folder": {"id": folder_id, "path": self.path},
            "rotateAtUtc": {"hours": self.rotate_at_utc[0], "minutes": self.rotate_at_utc[1]},
            "lastRotationMessage": self.message,
            "type": self.type,
            "parameters": self.provider.parameters,
            "secretsMapping": kind.secrets_mapping,
        }


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@cache
def _id(*names: str) -> str:
    """Give the same thing the same id in every rotation."""
    return str(uuid5(NAMESPACE_URL, "/".join(names)))
