"""One attempt at a rotation, step by step in the server's own order."""

from collections.abc import Generator
from dataclasses import dataclass

from tests.sandbox.standin.answers import Dropped, Payload, Refusal
from tests.sandbox.standin.faults import Dies, Fails, Point, RotateFault, rotation_in_progress
from tests.sandbox.standin.keys import ProviderError
from tests.sandbox.standin.replicas import Replicas
from tests.sandbox.standin.rotations import Rotation

MESSAGE_LIMIT = 1024
LOCK_RETRIES = 2
LOCK_RETRY_SECONDS = 0.2


@dataclass(frozen=True)
class Pace:
    """How long the steps of an attempt take.

    Two calls that start within the race window both pass the check for a rotation in progress. The provider's time is
    spent in thirds: until the oldest key is deleted, until the new one exists, until the commit.
    """

    race_window_seconds: float = 0.005
    provider_seconds: float = 0.03
    aftermath_seconds: float = 0.005


@dataclass(frozen=True)
class Occasion:
    """Why there is an attempt: somebody asked for it (`manual`), or a job did, which records its `final` failure only.

    A job does not look whether a rotation is in progress; the lock alone holds it up.
    """

    manual: bool = True
    final: bool = True


class _Died(Exception):  # noqa: N818 - an event of the model, not an error
    pass


def attempt(
    rotation: Rotation,
    replicas: Replicas,
    pace: Pace,
    fault: RotateFault | None,
    at: float,
    *,
    occasion: Occasion = Occasion(),
) -> Generator[float, float, Payload | Dropped]:
    """Return the row as committed; raise Refusal where the server answers with an error."""
    if occasion.manual and rotation.lock.held(at):
        raise rotation_in_progress()
    # Read before the lock is taken, and from a replica: whoever gets the lock next may go by the same row.
    (row,) = replicas.read(rotation, at=at)
    slot, slots = 1 - row.active_index, list(row.slots)
    at = yield pace.race_window_seconds
    owner, retries = object(), LOCK_RETRIES
    third = pace.provider_seconds / 3
    try:
        while not rotation.lock.acquire(owner, at):
            if not retries:
                raise ProviderError("Failed to acquire rotation lock.")  # noqa: TRY301 - ends like any failure
            retries -= 1
            at = yield LOCK_RETRY_SECONDS
        _strike(fault, Point.BEFORE)
        at = yield third
        rotation.provider.make_room()
        _strike(fault, Point.AFTER_DELETE)
        at = yield third
        slots[slot : slot + 1] = [rotation.issue(slot, at)]  # replaces, or appends the second
        _strike(fault, Point.AFTER_CREATE)
        at = yield third
        rotation.commit(at, slot, slots, manual=occasion.manual)
        committed = rotation.to_json()
        at = yield pace.aftermath_seconds
        _strike(fault, Point.AFTER_COMMIT)
    except ProviderError as error:
        message = _failure(error)
        if occasion.final:
            rotation.fail(at, message)
        rotation.lock.release(owner)
        raise Refusal(500, message) from error
    except _Died:
        return Dropped()
    rotation.lock.release(owner)
    return {"secretRotation": committed}


def _failure(error: ProviderError) -> str:
    message = f"Infisical encountered an issue while generating credentials with the configured inputs: {error}"
    return message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 3] + "..."


def _strike(fault: RotateFault | None, point: Point) -> None:
    match fault:
        case Fails(point=where, message=message) if where is point:
            raise ProviderError(message)
        case Dies(point=where) if where is point:
            raise _Died
