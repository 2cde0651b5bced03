from collections.abc import Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from tests.sandbox.standin.answers import Answer, Dropped, Outcome, Payload, Refusal
from tests.sandbox.standin.attempts import Pace, attempt
from tests.sandbox.standin.auto_rotation import auto_rotation
from tests.sandbox.standin.faults import (
    CommittedThenDropped,
    Dies,
    Fails,
    Faults,
    InProgress,
    LockRace,
    Slow,
    plan_restriction,
    rotation_in_progress,
)
from tests.sandbox.standin.identities import Identity, Permission
from tests.sandbox.standin.replicas import Replicas
from tests.sandbox.standin.requests import Request
from tests.sandbox.standin.rotation_types import ROTATION_TYPES
from tests.sandbox.standin.rotations import Rotation
from tests.sandbox.standin.routes import Endpoint
from tests.sandbox.standin.timeline import Process, Timeline
from tests.sandbox.standin.validation import require_texts, require_uuid

Response = Generator[float, float, Payload | Outcome]


class RotationEndpoints:
    """Everything under secret-rotations. Checks come in the server's order: it decides which refusal a caller sees."""

    def __init__(self, timeline: Timeline, pace: Pace) -> None:
        self._timeline = timeline
        self._pace = pace
        self.rotations: dict[str, Rotation] = {}
        self.faults = Faults()
        self.plan_has_rotations = True
        self.replicas = Replicas()

    def respond(self, endpoint: Endpoint, request: Request, named: Mapping[str, str], caller: Identity) -> Response:
        if endpoint is Endpoint.LIST:
            return self._list(request, named.get("type"), caller)
        require_uuid("rotationId", named["id"])
        self._require_plan(endpoint)
        if endpoint is Endpoint.READ:
            return self._read(self._find(named, caller, "read"), request.at)
        if endpoint is Endpoint.READ_CREDENTIALS:
            return self._read_credentials(self._find(named, caller, "read-generated-credentials"), request.at)
        return self._rotate(self._find(named, caller, "rotate-secrets"), request.at)

    def start(self, rotation: Rotation, at: float, seconds: float) -> None:
        """Begin an attempt that nobody here asked for: the server's own scheduler, its UI, another client."""
        pace = replace(self._pace, provider_seconds=seconds)
        self._timeline.start(_unattended(attempt(rotation, self.replicas, pace, None, at)), at)

    def start_auto_rotation(self, rotation: Rotation, at: float, faults: Iterable[Fails | Dies]) -> None:
        self._timeline.start(auto_rotation(rotation, self.replicas, self._pace, faults, at), at)

    def _require_plan(self, endpoint: Endpoint) -> None:
        if not self.plan_has_rotations:
            raise plan_restriction(endpoint)

    def _find(self, named: Mapping[str, str], caller: Identity, permission: Permission) -> Rotation:
        title, rotation_id = ROTATION_TYPES[named["type"]].title, named["id"]
        rotation = self.rotations.get(rotation_id)
        if rotation is None:
            raise Refusal(404, f'Could not find {title} Rotation with ID "{rotation_id}"')
        caller.require_member(rotation.project_id)
        caller.require(permission, rotation)
        if rotation.type != named["type"]:
            raise Refusal(400, f'Secret Rotation with ID "{rotation_id}" is not configured for {title}')
        return rotation

    def _list(self, request: Request, only_type: str | None, caller: Identity) -> Response:
        (project_id,) = require_texts(request.query, "projectId")
        self._require_plan(Endpoint.LIST)
        caller.require_member(project_id)
        caller.require("read")
        if disturbance := (yield from self._disturbance(project_id)):
            return disturbance
        rows = [
            rotation
            for rotation in self.rotations.values()
            if rotation.project_id == project_id and only_type in (None, rotation.type) and caller.covers(rotation)
        ]
        return {"secretRotations": [row.to_json() for row in self.replicas.read(*rows, at=request.at)]}

    def _read(self, rotation: Rotation, at: float) -> Response:
        if disturbance := (yield from self._disturbance(rotation.id)):
            return disturbance
        (row,) = self.replicas.read(rotation, at=at)
        return {"secretRotation": row.to_json()}

    def _read_credentials(self, rotation: Rotation, at: float) -> Response:
        if disturbance := (yield from self._disturbance(rotation.id)):
            return disturbance
        (row,) = self.replicas.read(rotation, at=at)
        return {
            "generatedCredentials": row.slots,
            "activeIndex": row.active_index,
            "rotationId": row.id,
            "type": row.type,
        }

    def _disturbance(self, subject_id: str) -> Generator[float, float, Outcome | None]:
        match self.faults.next_read(subject_id):
            case Refusal() as refusal:
                raise refusal
            case Slow(seconds=seconds):
                yield seconds
                return None
            case outcome:
                return outcome

    def _rotate(self, rotation: Rotation, at: float) -> Response:
        fault, pace = self.faults.next_rotate(rotation.id), self._pace
        match fault:
            case Answer() | Dropped():
                return fault
            case Refusal():
                raise fault
            case InProgress(seconds=seconds):
                self.start(rotation, at, seconds)
                raise rotation_in_progress()
            case LockRace(rival_seconds=seconds):
                self.start(rotation, at, seconds)
            case Slow(seconds=seconds, then=then):
                fault, pace = then, replace(pace, provider_seconds=seconds)
        result = yield from attempt(rotation, self.replicas, pace, fault, at)
        return Dropped() if isinstance(fault, CommittedThenDropped) else result


def _unattended(process: Generator[float, float, Payload | Outcome]) -> Process:
    with suppress(Refusal):
        yield from process
    return Dropped()
