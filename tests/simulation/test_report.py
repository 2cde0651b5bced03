"""What `make simulate` prints, and how it exits."""

import re
from collections import Counter

import pytest

from tests.simulation.__main__ import Totals, main, show
from tests.simulation.oracle import Invariant, Kind, Violation
from tests.simulation.schedule import Result


def test_the_last_line_sums_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--schedules", "3", "--seed", "7"]) == 0

    assert re.fullmatch(r"schedules 3, faults \d+, violations 0", capsys.readouterr().out.splitlines()[-1])


def test_one_schedule_is_shown_step_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--schedules", "1", "--seed", "7"])

    assert "rotate 1 is invoked" in capsys.readouterr().out


def test_a_violation_is_printed_with_its_seed_and_trace(capsys: pytest.CaptureFixture[str]) -> None:
    held, broken = (
        Violation(Invariant.PUBLISHED, Kind.UNGUARDED, "a figure"),
        Violation(Invariant.ONCE, Kind.UNGUARDED, "twice"),
    )
    result = Result(42, Counter({"killed": 2}), [held, broken], Counter(), Counter(), 0, "step by step")
    totals = Totals()

    show(result, totals, in_full=False)

    output = capsys.readouterr().out
    assert "step by step" in output
    assert "seed 42: one occurrence, one rotation. twice" in output
    assert "make simulate SCHEDULES=1 SEED=42" in output
    assert "a figure" not in output
    assert (totals.violations, totals.faults.total()) == (1, 2)
    assert totals.figures[Kind.UNGUARDED, Invariant.PUBLISHED] == 1
