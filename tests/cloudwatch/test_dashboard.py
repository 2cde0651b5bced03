"""The picture of the dashboard against the template's dashboard."""

import pytest

from tests.cloudwatch.dashboard import Alarms, Chart, Table, Widget, a_week_with_incidents, dashboard
from tools.pictures.svg import PICTURES


@pytest.fixture(scope="module")
def widgets() -> list[Widget]:
    return dashboard(a_week_with_incidents())


def test_the_picture_has_every_widget_line_and_alarm(widgets: list[Widget]) -> None:
    shown = [each.title for each in widgets]
    shown += [line.label for each in widgets if isinstance(each, Chart) for line in each.lines]
    shown += [name.removesuffix("Alarm") for each in widgets if isinstance(each, Alarms) for name in each.alarms]
    shown += [column for each in widgets if isinstance(each, Table) for column in each.columns]

    picture = (PICTURES / "dashboard.svg").read_text("utf-8")
    assert len(shown) > 50
    assert [name for name in shown if f">{name}<" not in picture] == []


def test_the_dashboard_shows_each_incident_of_the_week(widgets: list[Widget]) -> None:
    ends, why, errors = (
        {line.label: sum(value or 0 for value in line.values) for line in chart.lines}
        for chart in widgets
        if isinstance(chart, Chart)
        and chart.title in {"How requests ended", "Why requests were refused", "Errors of the functions"}
    )
    (table,) = (each for each in widgets if isinstance(each, Table))

    assert {end for end, number in ends.items() if number} >= {
        "RotationSucceeded",
        "RotationSkipped",
        "RotationDeferred",
        "RotationRefused",
        "RotationFailed",
    }
    assert {reason for reason, number in why.items() if number} == {"OrphanKey", "KeyInUse"}
    assert errors["DispatchFunction"] == 3
    assert table.rows[0][3:5] == ["refused", "KeyInUse"]
