"""The clock that everything is given: the `time` module in Lambda, a virtual one in tests."""

from typing import Protocol


class Clock(Protocol):
    """Three functions of the `time` module; all in seconds."""

    def time(self) -> float:
        """Wall time since the epoch, which goes on while Lambda freezes the process."""

    def monotonic(self) -> float:
        """Time for measuring, from an arbitrary start."""

    def sleep(self, seconds: float, /) -> None:
        """Wait."""
