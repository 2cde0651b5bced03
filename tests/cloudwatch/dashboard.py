"""The stack's dashboard after a week with incidents: the template's widgets, and what the real functions emitted."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from statistics import median
from typing import Any

from tests.cloudwatch.application import FAILED, HOUR, UNDELIVERED, Application
from tests.cloudwatch.evaluation import State, transitions
from tests.cloudwatch.metrics import STATISTICS, MetricName
from tests.cloudwatch.template import CHOSEN, Resolver, alarms
from tests.component.world import START
from tests.sandbox.standin.faults import Fails, Point
from tests.sandbox.translation import translated

DAY = 24 * HOUR
BEGIN, DAYS = 5, 7

# Keys and ids of the stand-in are random.
KEY, SAME_KEY = re.compile(r"AKIA[A-Z0-9]{16}"), "AKIAIOSFODNN7EXAMPLE"

# CloudWatch retrieves some data points more than an alarm evaluates: two, in AWS's example.
BEYOND = 2

FUNCTIONS: Mapping[str, Callable[[Sequence[float]], float]] = {**STATISTICS, "p50": median}


@dataclass(frozen=True)
class Line:
    """One metric and its value in each period, None where it has no data. The template may set its `color`."""

    label: str
    color: str | None
    values: Sequence[float | None]


@dataclass(frozen=True)
class Widget:
    """A place on the dashboard's grid of 24 columns, and a title."""

    x: int
    y: int
    width: int
    height: int
    title: str


@dataclass(frozen=True)
class Chart(Widget):
    period_minutes: int
    stacked: bool
    lines: Sequence[Line]
    limits: Mapping[str, float]


@dataclass(frozen=True)
class Alarms(Widget):
    """Each alarm by its name, and whether it is in ALARM."""

    alarms: Mapping[str, bool]


@dataclass(frozen=True)
class Table(Widget):
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def dashboard(application: Application) -> list[Widget]:
    """Every widget of the template's dashboard, with what it shows."""
    template = translated()
    body = Resolver(template, CHOSEN).value(template["Resources"]["Dashboard"]["Properties"]["DashboardBody"])
    return [_widget(each, application) for each in json.loads(body)["widgets"]]


def a_week_with_incidents() -> Application:
    """Three rotations each night, and one a quarter. From Tuesday to Saturday something goes wrong each day."""
    application = Application(created=BEGIN, log_level="INFO")
    world = application.world
    nightly = [world.rotation] + [
        world.server.add_rotation(
            name=name, user_name=name, last_rotated_at=START - timedelta(days=1), is_auto_rotation_enabled=False
        )
        for name in ("billing", "reports")
    ]
    quarterly = world.server.add_rotation(
        name="archive", user_name="archive", last_rotated_at=START - timedelta(days=22), is_auto_rotation_enabled=False
    )
    application.triggers = {"nightly": [each.id for each in nightly], "quarterly": quarterly.id}
    at, night = application.at, partial(application.trigger, "nightly")
    for day in range(DAYS):
        at(day * DAY + BEGIN + 5, night)
    at(1 * DAY + BEGIN + 6, night)  # delivered twice
    at(2 * DAY, lambda: _cut(application, is_cut=True))  # Infisical is out of reach for two hours
    at(2 * DAY + 2 * HOUR, lambda: _cut(application, is_cut=False))
    at(3 * DAY, lambda: world.server.faults.add(nightly[1].id, Fails(Point.AFTER_CREATE)))
    at(3 * DAY + 5 * HOUR, lambda: _delete_newest_key(application, "billing"))  # as the runbook says
    at(3 * DAY + 5 * HOUR, partial(application.waiting.__setitem__, FAILED, 0))
    at(4 * DAY, lambda: _use_oldest_key(application, "reports"))
    at(5 * DAY + 3 * HOUR, partial(application.trigger, "weekly"))  # which the map does not have
    at(5 * DAY + 9 * HOUR, partial(application.waiting.__setitem__, UNDELIVERED, 0))
    application.run(DAYS * DAY)
    return application


def _cut(application: Application, *, is_cut: bool) -> None:
    application.network.is_cut = is_cut


def _delete_newest_key(application: Application, user: str) -> None:
    keys = application.world.keys
    newest = max(keys.list_access_keys(user), key=lambda key: key.created_at)
    keys.delete_access_key(user, newest.id)


def _use_oldest_key(application: Application, user: str) -> None:
    oldest = min(application.world.keys.list_access_keys(user), key=lambda key: key.created_at)
    application.world.iam.last_used[oldest.id] = START + timedelta(minutes=application.minute - HOUR)


def _widget(body: Mapping[str, Any], application: Application) -> Widget:
    properties = body["properties"]
    place = (body["x"], body["y"], body["width"], body["height"], properties["title"])
    match body["type"]:
        case "metric":
            return Chart(
                *place,
                period_minutes=properties["period"] // 60,
                stacked=properties.get("stacked", False),
                lines=list(_lines(properties, application)),
                limits={
                    each["label"]: each["value"] for each in properties.get("annotations", {}).get("horizontal", ())
                },
            )
        case "alarm":
            shown = {arn.rpartition(":")[2] for arn in properties["alarms"]}
            return Alarms(*place, {name: state for name, state in _states(application).items() if name in shown})
        case "log":
            return Table(*place, *_table(properties["query"], application.logs))
    raise ValueError(f"teach tests/cloudwatch/dashboard.py widgets of type {body['type']}")


def _states(application: Application) -> dict[str, bool]:
    """Whether each alarm is in ALARM at the end."""
    states = {}
    for alarm in alarms():
        state = State.INSUFFICIENT_DATA
        changes = transitions(
            alarm, application.metrics, created=application.created, until=application.minute, beyond=BEYOND
        )
        for change in changes:
            state = change.state
        states[f"{alarm.name}Alarm"] = state is State.ALARM
    return states


def _lines(properties: Mapping[str, Any], application: Application) -> Iterator[Line]:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html."""
    period = properties["period"] // 60
    by_id: dict[str, list[float | None]] = {}
    expressions: list[Mapping[str, Any]] = []
    drawn: list[tuple[list[str], Mapping[str, Any], list[float | None]]] = []
    names: list[str] = []
    for entry in properties["metrics"]:
        options: Mapping[str, Any] = entry[-1] if isinstance(entry[-1], dict) else {}
        if "expression" in options:
            expressions.append(options)
            continue
        names = _spelled_out([each for each in entry if isinstance(each, str)], names)
        namespace, metric, *dimensions = names
        name = MetricName(namespace, metric, frozenset(zip(dimensions[::2], dimensions[1::2], strict=True)))
        values = _values(application, name, options.get("stat", properties.get("stat", "Average")), period)
        by_id[options.get("id", "")] = values
        if options.get("visible", True):
            drawn.append((names, options, values))
    same = len({metric for (_, metric, *_), *_ in drawn}) == 1
    for (_, metric, *dimensions), options, values in drawn:
        label = options.get("stat") or dimensions[-1] if same else metric
        yield Line(label, options.get("color"), values)
    for options in expressions:
        name_, divisor = options["expression"].split(" / ")
        yield Line(options["label"], None, [None if each is None else each / float(divisor) for each in by_id[name_]])


def _spelled_out(names: list[str], before: list[str]) -> list[str]:
    """A dot repeats the name at its place in the line before; three dots, all names up to those that follow."""
    if names and names[0] == "...":
        return before[: len(before) - len(names[1:])] + names[1:]
    return [before[place] if name == "." else name for place, name in enumerate(names)]


def _values(application: Application, name: MetricName, statistic: str, period_minutes: int) -> list[float | None]:
    """The statistic of each period."""
    collected: defaultdict[int, list[float]] = defaultdict(list)
    for minute, values in application.metrics.samples(name).items():
        collected[minute // period_minutes] += values
    function = FUNCTIONS[statistic]
    return [
        function(collected[period]) if period in collected else None for period in range(DAYS * DAY // period_minutes)
    ]


def _table(query: str, logs: Sequence[tuple[datetime, Mapping[str, Any]]]) -> tuple[list[str], list[list[str]]]:
    """Answer the widget's query, as far as it filters outcomes, sorts by time and limits."""
    fields, limit = re.search(r"fields (.+?) \|", query), re.search(r"limit (\d+)", query)
    shown = re.search(r"outcome in (\[.+?\])", query)
    assert fields
    assert limit
    assert shown
    columns, outcomes = fields[1].split(", "), json.loads(shown[1].replace("'", '"'))
    found = [(at, line) for at, line in logs if line.get("outcome") in outcomes]
    rows = [
        [f"{at:%m-%d %H:%M}", *(KEY.sub(SAME_KEY, str(line.get(column) or "")) for column in columns[1:])]
        for at, line in reversed(found)
    ]
    return columns, rows[: int(limit[1])]
