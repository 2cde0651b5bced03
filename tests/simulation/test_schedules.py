"""The promise against everything that can go wrong, thousands of times, each time the same."""

import re

import pytest

from tests.simulation.__main__ import Totals
from tests.simulation.oracle import Invariant, Kind
from tests.simulation.program import Parts
from tests.simulation.schedule import Schedule, run

SCHEDULES, SCHEDULES_A_TEST = 400, 100  # `make simulate` runs more

KEY_ID = re.compile(r"AKIA\w{16}")  # drawn by the stand-in, and different each time


@pytest.mark.parametrize("first", range(0, SCHEDULES, SCHEDULES_A_TEST))
def test_the_invariants_hold_in_every_schedule(first: int) -> None:
    totals = Totals()
    for seed in range(first, first + SCHEDULES_A_TEST):
        result = run(seed)
        totals.add(result)
        assert totals.violations == 0, f"make simulate SCHEDULES=1 SEED={seed}\n{result.trace}"

    # Where little happens, nothing is proven.
    assert len(totals.faults) > 80
    assert totals.ends[Kind.GUARDED, "rotated"] > 50
    assert totals.ends[Kind.GUARDED, "refused"] > 0


def test_unguarded_rotations_lose_published_keys() -> None:
    """The figure that the guard brings down to nothing. Were it nothing without a guard, nothing would be tested."""
    assert deletes_published_keys(Kind.UNGUARDED)


def test_two_rotations_of_one_user_destroy_each_others_keys() -> None:
    """No promise can hold there, so preflight and audit report it. That it shows here proves that it is tried."""
    assert deletes_published_keys(Kind.SHARED)


def deletes_published_keys(kind: Kind) -> bool:
    schedules = (Schedule(seed, Parts()) for seed in range(5 * SCHEDULES))
    return any(
        violation.kind is kind and violation.invariant is Invariant.PUBLISHED
        for schedule in schedules
        if kind in schedule.kinds
        for violation in schedule.run().violations
    )


def test_a_schedule_is_the_same_each_time_it_is_run() -> None:
    for seed in range(10):
        one, other = (KEY_ID.sub("AKIA", run(seed).trace) for _ in range(2))
        assert one == other
