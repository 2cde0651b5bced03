"""What was measured: a table for a person, and a flat object for a program."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from tests.benchmarks.rounds import Ratio

TIMES = "\N{MULTIPLICATION SIGN}"

WIDTH = 120  # of a file or a pipe, which have none

# What every run says; there may be more.
KEYS = (
    "first_rotation_vs_imports",
    "first_rotation_vs_plain",
    "warm_cpu_vs_httpx",
    "warm_cpu_vs_http_client",
    "batch_of_ten_vs_one",
    "gb_seconds_saved_vs_one_each",
    "dispatch_time_10k_vs_1k",
    "dispatch_memory_10k_vs_1k",
    "rate_limited_vs_ideal",
    "artifact_zip_bytes",
)


@dataclass(frozen=True)
class Figure:
    """One of the flat object's values. `at_most` or `at_least` is the goal, where there is one."""

    key: str
    what: str
    value: float
    unit: str = TIMES
    spread: tuple[float, float] | None = None
    at_most: float | None = None
    at_least: float | None = None

    @classmethod
    def ratio(
        cls, key: str, what: str, ratio: Ratio, *, at_most: float | None = None, at_least: float | None = None
    ) -> "Figure":
        """Make a figure of two sides that were measured in turns."""
        spread = (ratio.lowest, ratio.highest)
        return cls(key, what, ratio.value, spread=spread, at_most=at_most, at_least=at_least)

    @classmethod
    def seconds(cls, key: str, what: str, taken: Sequence[float], unit: str = "s") -> "Figure":
        """Make a figure of what one side took in each round."""
        return cls(key, what, median(taken), unit, (min(taken), max(taken)))

    @property
    def shown(self) -> str:
        """The value as the table has it."""
        return _shown(self.value, self.unit)

    @property
    def shown_spread(self) -> str:
        """The extremes of single rounds, where there were rounds."""
        return " to ".join(_shown(value, self.unit) for value in self.spread) if self.spread else ""

    @property
    def shown_goal(self) -> str:
        """The goal, and whether it was reached."""
        if self.at_most is not None:
            return f"≤ {_shown(self.at_most, self.unit)} {'✓' if self.value <= self.at_most else '✗'}"
        if self.at_least is not None:
            return f"≥ {_shown(self.at_least, self.unit)} {'✓' if self.value >= self.at_least else '✗'}"
        return ""


def show(figures: Iterable[Figure]) -> None:
    """Print the table."""
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("Measured", overflow="fold")
    for column in ("Value", "Single rounds", "Goal"):
        table.add_column(column, justify="right", no_wrap=True)
    for figure in figures:
        goal = figure.shown_goal
        table.add_row(figure.what, figure.shown, figure.shown_spread, f"[red]{goal}[/]" if "✗" in goal else goal)
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    console.print(table)


def write(figures: Sequence[Figure], path: Path) -> None:
    """Write the flat object. Raises ValueError where one of `KEYS` is missing."""
    values = {figure.key: figure.value for figure in figures}
    if missing := [key for key in KEYS if key not in values]:
        raise ValueError(f"not measured: {', '.join(missing)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    rounded = {key: round(value, 4) for key, value in values.items()}
    path.write_text(json.dumps(rounded, indent=2) + "\n")


def _shown(value: float, unit: str) -> str:
    if unit == "MB":
        return f"{value / 1e6:.2f} MB"
    if not unit:
        return f"{value:,.4g}"
    digits = 2 if value < 100 else 0
    return f"{value:,.{digits}f} {unit}"
