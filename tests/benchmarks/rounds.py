"""Measuring side by side: each side once a round, so that what else the machine does meets all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

ROUNDS = 5


@dataclass(frozen=True)
class Ratio:
    """How many times as much one side takes as the other: by the medians, and the extremes of single rounds."""

    value: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, one: Sequence[float], other: Sequence[float]) -> "Ratio":
        """Compare two sides that were measured in the same rounds."""
        single = [a / b for a, b in zip(one, other, strict=True)]
        return cls(median(one) / median(other), min(single), max(single))


def alternate(sides: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Measure each side once in every round, after one round that counts for nothing; return what each took."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for measure in sides.values():
        measure()
    for _ in range(rounds):
        for name, measure in sides.items():
            taken[name].append(measure())
    return taken
