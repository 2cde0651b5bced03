"""Prints what preflight found: a table of rotations, then one line for each problem. Or describes it for JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any, TextIO

from rich.box import SIMPLE
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from infisical_rotation_triggers.one_line import one_line
from infisical_rotation_triggers.preflight.checks import Problem
from infisical_rotation_triggers.preflight.collect import ACCESS_CHECKED, Row
from infisical_rotation_triggers.preflight.stack import Schedule

# A problem that many rotations share is printed once, with at most this many subjects.
MAX_SUBJECTS = 8

# Wider than any row: a name of an IAM user has at most 64 characters. The table takes only what its content needs.
PIPE_WIDTH = 2000

NOT_CHECKED = "Not checked: {}whether the machine identity may rotate."
ACCESS_NOT_CHECKED = "whether {} can log in to Infisical (this needs a rotation in the map and lambda:InvokeFunction); "

Problems = Mapping[str, Sequence[Problem]]  # by subject


def open_console(file: TextIO) -> Console:
    """Open a console that prints to a stream. Only a terminal breaks long rows; a pipe or a log gets them whole."""
    return Console(file=file, highlight=False, width=None if file.isatty() else PIPE_WIDTH)


def show(console: Console, trigger: str, schedule: Schedule, rows: Sequence[Row], other_problems: Problems) -> int:
    """Print the rows and all problems; return the number of problems."""
    _print(
        console,
        f"Schedule: trigger {trigger}, {schedule.expression} in {schedule.timezone}, {schedule.rhythm}. It is"
        f" {'on' if schedule.enabled else 'off'}.",
    )
    if rows:
        _print_rows(console, rows)
    problems = _subjects_by_problem(rows, other_problems)
    for problem, subjects in problems.items():
        _print(console, _problem_line(problem, subjects), "red")
    if problems:
        _print(console, _count(len(problems)))
    else:
        _print(console, "✓ No problems found.", "green")
        if not schedule.enabled:
            _print(console, "Next: deploy with ScheduleState=ENABLED to switch the schedule on.")
    *names, last = _unchecked(other_problems) or [""]
    unchecked = f"{', '.join(names)} and {last}" if names else last
    _print(console, NOT_CHECKED.format(ACCESS_NOT_CHECKED.format(unchecked) if unchecked else ""), "dim")
    return len(problems)


def describe(trigger: str, schedule: Schedule, rows: Sequence[Row], other_problems: Problems) -> dict[str, Any]:
    """Return all that `show` prints, for JSON."""
    return {
        "schedule": {
            "trigger": trigger,
            "expression": schedule.expression,
            "timezone": schedule.timezone,
            "enabled": schedule.enabled,
            "shortest_period_seconds": schedule.period.total_seconds() if schedule.period else None,
        },
        "rotations": [asdict(row) for row in rows],
        "problems": [
            {"subjects": subjects, **asdict(problem)}
            for problem, subjects in _subjects_by_problem(rows, other_problems).items()
        ],
        "access_not_checked": _unchecked(other_problems),
    }


def _unchecked(other_problems: Problems) -> list[str]:
    return [name for name in ACCESS_CHECKED if name not in other_problems]


def _subjects_by_problem(rows: Sequence[Row], other_problems: Problems) -> dict[Problem, list[str]]:
    subjects: dict[Problem, list[str]] = {}
    of_rows = ((f"{row.group}: {row.rotation}" if row.rotation else row.group, row.problems) for row in rows)
    for subject, problems in (*other_problems.items(), *of_rows):
        for problem in problems:
            subjects.setdefault(problem, []).append(subject)
    return subjects


def _problem_line(problem: Problem, subjects: Sequence[str]) -> str:
    more = [f"{len(subjects) - MAX_SUBJECTS} more"] if len(subjects) > MAX_SUBJECTS else []
    subject = ", ".join([*map(one_line, subjects[:MAX_SUBJECTS]), *more])
    return f"✗ {subject}: {one_line(problem.what).rstrip('.')}. Next: {one_line(problem.next_step)}"


def _count(problems: int) -> str:
    if problems == 1:
        return "1 problem found. Fix it, then run preflight again."
    return f"{problems} problems found. Fix them, then run preflight again."


def _print_rows(console: Console, rows: Sequence[Row]) -> None:
    """Print a table or, where it would break a word, lines."""
    table = _table(rows)
    unlimited = console.options.update(width=PIPE_WIDTH)
    if Measurement.get(console, unlimited, table).minimum <= console.width:
        console.print(table)
        return
    for (name, mirror), group in groupby(rows, lambda row: (row.group, row.mirror)):
        _print(console, f"\n{one_line(name)}{f'  mirror: {mirror}' if mirror else ''}", "bold")
        for row in group:
            _print(console, f"{'✗' if row.problems else '✓'} {one_line(row.rotation)}")
            facts = {
                "": one_line(row.detail),
                "last rotated ": _minute(row),
                "now ": _decision(row),
                "key guard ": row.key_guard,
                "auto-rotation ": row.auto_rotation,
            }
            line = Text("; ".join(f"{label}{fact}" for label, fact in facts.items() if fact))
            console.print(Padding(line, (0, 0, 0, 2)))
    console.print()


def _minute(row: Row) -> str:
    return row.last_rotated_at[:16].replace("T", " ")


def _decision(row: Row) -> str:
    return one_line(row.decision if row.decision == "rotate" else f"{row.decision}: {row.reason}")


def _table(rows: Sequence[Row]) -> Table:
    """Make a table with a heading for each trigger and each mirror."""
    table = Table(box=SIMPLE, pad_edge=False)
    for column in ("", "Rotation", "Last rotated\n(UTC)", "Now", "Key guard", "Auto-\nrotation"):
        table.add_column(column, overflow="fold")
    for (name, mirror), group in groupby(rows, lambda row: (row.group, row.mirror)):
        table.add_row("", Text(one_line(name), "bold"), "", f"mirror: {mirror}" if mirror else "")
        for row in group:
            table.add_row(
                Text("✗", "red") if row.problems else Text("✓", "green"),
                Text("\n".join(one_line(text) for text in (row.rotation, row.detail) if text)),
                _minute(row),
                Text(_decision(row)),
                row.key_guard,
                row.auto_rotation,
            )
        table.add_section()
    return table


def _print(console: Console, text: str, style: str = "") -> None:
    """Print one line, however long, in which nothing is markup."""
    console.print(Text(text, style), soft_wrap=True)
