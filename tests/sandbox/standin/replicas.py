"""The database's read replicas: what they show of a rotation's row may be older than the last commit."""

from collections.abc import Callable

from tests.sandbox.standin.rotations import Rotation

# How many seconds the replica that answers the next read is behind the primary; the caller may draw one of several.
Lag = Callable[[], float]


class Replicas:
    """The server reads rows from here: GET, list, generated credentials, and rotate-secrets before it takes the lock.

    `stale` is called for every read that shows an older row, with the rotation and the lag.
    """

    def __init__(self) -> None:
        self.lag: Lag = lambda: 0.0
        self.stale: Callable[[Rotation, float], None] = lambda *_: None

    def read(self, *rotations: Rotation, at: float) -> list[Rotation]:
        """Read all rows from one replica."""
        lag = self.lag()
        if not lag:
            return list(rotations)
        rows = [rotation.as_of(at - lag) for rotation in rotations]
        for row, rotation in zip(rows, rotations, strict=True):
            if row is not rotation:
                self.stale(rotation, lag)
        return rows
