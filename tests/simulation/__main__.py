"""Run random schedules and report what held: `python -m tests.simulation --schedules 2000 --seed 0`.

This is deterministic simulation testing: seeds, virtual time, an oracle, planted bugs.
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, field

from tests.simulation.oracle import FIGURES, Invariant, Kind
from tests.simulation.schedule import Result
from tests.simulation.workers import run_all

ENDS = ("rotated", "skipped", "refused", "failed", "unconfirmed")


@dataclass
class Totals:
    schedules: int = 0
    indistinct: int = 0
    rotations: Counter[Kind] = field(default_factory=Counter)
    ends: Counter[tuple[Kind, str]] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    figures: Counter[tuple[Kind, Invariant]] = field(default_factory=Counter)
    violations: int = 0

    def add(self, result: Result) -> None:
        self.schedules += 1
        self.indistinct += result.indistinct
        self.rotations += result.rotations
        self.ends += result.ends
        self.faults += result.faults
        self.figures.update((each.kind, each.invariant) for each in result.violations if not each.counts)
        self.violations += sum(each.counts for each in result.violations)

    def __str__(self) -> str:
        width = max(map(len, Kind)) + 2
        lines = [f"{'rotations':<{width}}{'number':>9}" + "".join(f"{end:>13}" for end in ENDS)]
        for kind in Kind:
            ends = "".join(f"{self.ends[kind, end]:>13,}" for end in ENDS)
            lines.append(f"{kind:<{width}}{self.rotations[kind]:>9,}{ends}")
        lines += ["", "Not promised, and so no violations:"]
        lines += [f"  {self.figures[kind, each]:>6,}  not: {each}, {kind}" for kind in Kind for each in FIGURES[kind]]
        lines += [f"  {self.indistinct:>6,}  refused without need, because rotations were close and clocks differ", ""]
        lines += [f"Faults, of {len(self.faults)} kinds:"]
        lines += [f"  {count:>6,}  {kind}" for kind, count in self.faults.most_common()]
        return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.simulation", description="Run random schedules and report what held.")
    parser.add_argument("--schedules", type=int, default=2000, help="how many; one alone is shown step by step")
    parser.add_argument("--seed", type=int, default=0, help="of the first; the next ones count up")
    options = parser.parse_args(arguments)
    totals = Totals()
    for result in run_all(range(options.seed, options.seed + options.schedules)):
        show(result, totals, in_full=options.schedules == 1)
    print(f"\n{totals}\n")
    print(f"schedules {totals.schedules}, faults {totals.faults.total()}, violations {totals.violations}")
    return 1 if totals.violations else 0


def show(result: Result, totals: Totals, *, in_full: bool) -> None:
    """Count a result and print its violations, with the trace of the first one."""
    violations = [each for each in result.violations if each.counts]
    if in_full or (violations and not totals.violations):
        print(f"\n{result.trace}\n")
    for each in violations:
        print(f"seed {result.seed}: {each}")
    if violations:
        print(f"    again, step by step: make simulate SCHEDULES=1 SEED={result.seed}")
    totals.add(result)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
