import threading
from typing import Protocol


class Clock(Protocol):
    """Epoch seconds. The `time` module is the real one."""

    def time(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


class VirtualClock:
    """Time that passes only where somebody sleeps; shared by threads, every sleep adds to it."""

    def __init__(self, now: float) -> None:
        self._now = now
        self._mutex = threading.Lock()

    def time(self) -> float:
        return self._now

    def sleep(self, seconds: float, /) -> None:
        with self._mutex:
            self._now += seconds
