"""The lock that keeps attempts of one rotation apart, as long as it lasts."""

LOCK_SECONDS = 60


class RotationLock:
    """Ends by itself after a minute: a server that died in the middle holds it until then, no longer."""

    def __init__(self) -> None:
        self._owner: object = None
        self._until = 0.0

    def held(self, at: float) -> bool:
        return self._owner is not None and at < self._until

    def acquire(self, owner: object, at: float) -> bool:
        if self.held(at):
            return False
        self._owner, self._until = owner, at + LOCK_SECONDS
        return True

    def release(self, owner: object) -> None:
        if self._owner is owner:
            self._owner = None
