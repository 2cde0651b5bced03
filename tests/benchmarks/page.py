"""docs/performance.md: the tables between its markers, and its plot, renewed from a run."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.costs import Month
from tests.benchmarks.figures import Figure
from tests.benchmarks.plot import svg
from tests.sandbox.embedded_aws import ROOT

PAGE = ROOT / "docs" / "performance.md"
PLOT = PAGE.with_suffix(".svg")


def renew(figures: Sequence[Figure], months: Iterable[Month], page: Path = PAGE, plot: Path = PLOT) -> None:
    """Put what was measured into the page, whose own text stays as it is."""
    text = _replaced(page.read_text("utf-8"), "figures", _figures(figures))
    page.write_text(_replaced(text, "costs", _costs(months)), "utf-8")
    plot.write_text(svg({figure.key: figure.value for figure in figures}), "utf-8")


def _replaced(text: str, name: str, table: str) -> str:
    begin, end = f"<!-- {name}: written by make bench -->", f"<!-- end of {name} -->"
    place = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not place.search(text):
        raise ValueError(f"the page has no place for its {name}")
    return place.sub(lambda _: f"{begin}\n{table}\n{end}", text)


def _figures(figures: Sequence[Figure]) -> str:
    with_goals = [each for each in figures if each.shown_goal]
    summary = f"<summary>All that was measured, {datetime.now(UTC):%Y-%m-%d}</summary>"
    return "\n".join([*_table(with_goals), "", "<details>", summary, "", *_table(figures), "", "</details>"])


def _table(figures: Iterable[Figure]) -> list[str]:
    rows = [f"| {each.what} | {each.shown} | {each.shown_spread} | {each.shown_goal} |" for each in figures]
    return ["| | median | single rounds | goal |", "| --- | ---: | ---: | ---: |", *rows]


def _costs(months: Iterable[Month]) -> str:
    head = [
        "| rotations a week | Lambda | SQS | logs | alarms, metrics, dashboard | a month, USD |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    rows = [
        f"| {each.rotations:,} | {each.compute:.2f} | {each.queues:.2f} | {each.logs:.2f} | {each.watching:.2f}"
        f" | **{each.total:.2f}** |"
        for each in months
    ]
    return "\n".join([*head, *rows])
