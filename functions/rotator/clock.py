"""The clock that all code receives, and deadlines on it. It is `time` in Lambda, and a virtual one in tests."""

from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Three functions of the `time` module; all in seconds."""

    def time(self) -> float:
        """Wall time since the epoch, which goes on while Lambda freezes the process."""

    def monotonic(self) -> float:
        """Time for measuring, from an arbitrary start."""

    def sleep(self, seconds: float, /) -> None:
        """Wait."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment by which all waiting has to end, on a clock's `monotonic()`."""

    at: float
    clock: Clock

    def remaining_seconds(self) -> float:
        """Seconds left, negative once it is past."""
        return self.at - self.clock.monotonic()
