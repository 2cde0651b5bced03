"""What can go wrong with one request; a test queues it and the stand-in plays it.

Queue any of these for a rotate call:

    Answer(...), Dropped()          exactly that, nothing executed
    Refusal                         the same in the server's own words: server_error(), rate_limited(),
                                    plan_restriction(), rotation_in_progress()
    Slow(seconds)                   succeeds late; beyond the server's limit the socket closes and the commit follows
    CommittedThenDropped            succeeds, but the response is lost
    Fails(point)                    answers 500 and records the failure
    answer_lost()                   creates a key, does not learn of it, and fails on the quota for keys: an orphan
    Dies(point)                     closes the connection, records nothing, leaves the lock to time out
    InProgress                      somebody else's attempt is under way: 400
    LockRace                        somebody else's attempt starts in the same instant and takes the lock first

and an Answer, Dropped(), a Refusal or Slow for a read.
"""

from collections import defaultdict, deque
from dataclasses import dataclass
from enum import Enum, auto

from tests.sandbox.standin.answers import Answer, Dropped, Refusal
from tests.sandbox.standin.routes import Endpoint

# What the server says that the plan does not allow, and what to upgrade it for.
PLAN_ACTIONS = {
    Endpoint.LIST: ("access secret rotations", "access secret rotations"),
    Endpoint.READ: ("access secret rotation", "access secret rotations"),
    Endpoint.READ_CREDENTIALS: ("access secret rotation credentials", "access secret rotations credentials"),
    Endpoint.ROTATE: ("rotate secret rotation secrets", "rotate secret rotation secrets"),
}

DENIED = (
    "User: arn:aws:iam::123456789012:user/infisical is not authorized to perform: iam:CreateAccessKey on resource: "
    "user app-user because no identity-based policy allows the iam:CreateAccessKey action"
)


# The SDK inside the server repeats CreateAccessKey when an answer is lost. The first key exists then, and is nobody's.
QUOTA_EXCEEDED = "Cannot exceed quota for AccessKeysPerUser: 2"


class Point(Enum):
    """How far an attempt gets."""

    BEFORE = auto()
    AFTER_DELETE = auto()
    AFTER_CREATE = auto()
    AFTER_COMMIT = auto()


@dataclass(frozen=True)
class CommittedThenDropped:
    pass


@dataclass(frozen=True)
class Fails:
    point: Point
    message: str = DENIED


@dataclass(frozen=True)
class Dies:
    point: Point


@dataclass(frozen=True)
class Slow:
    """`then` is how a slow attempt ends, where it does not end well; a read only comes late."""

    seconds: float
    then: CommittedThenDropped | Fails | Dies | None = None


@dataclass(frozen=True)
class InProgress:
    """The other attempt commits `seconds` from now."""

    seconds: float = 3


@dataclass(frozen=True)
class LockRace:
    """A rival that takes longer than the retries for the lock leaves a 500; a faster one lets both commit."""

    rival_seconds: float = 3


ReadFault = Answer | Dropped | Refusal | Slow
RotateFault = ReadFault | CommittedThenDropped | Fails | Dies | InProgress | LockRace


class Faults:
    """Each call of a rotation takes the next fault of its queue; an empty queue means health."""

    def __init__(self) -> None:
        self._rotates: defaultdict[str, deque[RotateFault]] = defaultdict(deque)
        self._reads: defaultdict[str, deque[ReadFault]] = defaultdict(deque)

    def add(self, rotation_id: str, *faults: RotateFault) -> None:
        self._rotates[rotation_id].extend(faults)

    def add_read(self, subject_id: str, *faults: ReadFault) -> None:
        """`subject_id` is a rotation's, for its state and its credentials, or a project's, for its lists."""
        self._reads[subject_id].extend(faults)

    def next_rotate(self, rotation_id: str) -> RotateFault | None:
        queue = self._rotates[rotation_id]
        return queue.popleft() if queue else None

    def next_read(self, subject_id: str) -> ReadFault | None:
        queue = self._reads[subject_id]
        return queue.popleft() if queue else None


def answer_lost() -> Fails:
    return Fails(Point.AFTER_CREATE, QUOTA_EXCEEDED)


def plan_restriction(endpoint: Endpoint = Endpoint.ROTATE) -> Refusal:
    """The server looks at the plan before anything else: backend/src/ee/services/secret-rotation-v2/…-service.ts."""
    denied, upgrade_to = PLAN_ACTIONS[endpoint]
    return Refusal(400, f"Failed to {denied} due to plan restriction. Upgrade plan to {upgrade_to}.")


def rotation_in_progress() -> Refusal:
    return Refusal(400, "A rotation is already in progress. Please try again shortly.")
