"""Infisical's own rotation of a rotation that has isAutoRotationEnabled: a job that is tried again within seconds.

Only the last attempt writes `failed` to the row: see rotateSecretsFns and isFinalAttempt in the files of
backend/src/ee/services/secret-rotation-v2/.
"""

from collections.abc import Iterable

from tests.sandbox.standin.answers import Dropped, Refusal
from tests.sandbox.standin.attempts import Occasion, Pace, attempt
from tests.sandbox.standin.faults import Dies, Fails
from tests.sandbox.standin.replicas import Replicas
from tests.sandbox.standin.rotations import Rotation
from tests.sandbox.standin.timeline import Process

RETRY_SECONDS = (2.0, 4.0, 7.0)  # four attempts within 2 + 4 + 7 = 13 s, as observed


def auto_rotation(
    rotation: Rotation, replicas: Replicas, pace: Pace, faults: Iterable[Fails | Dies], at: float
) -> Process:
    """Run the job that was queued at `at`. Each attempt takes the next fault; without one it succeeds."""
    queued_at, ahead = at, iter(faults)
    for wait in (*RETRY_SECONDS, None):
        if rotation.last_rotated_at >= queued_at:
            break  # somebody else has rotated since
        try:
            occasion = Occasion(manual=False, final=wait is None)
            yield from attempt(rotation, replicas, pace, next(ahead, None), at, occasion=occasion)
            break
        except Refusal:
            if wait is not None:
                at = yield wait
    return Dropped()  # nobody waits for it
