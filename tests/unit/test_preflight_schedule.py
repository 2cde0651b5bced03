from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infisical_rotation_triggers.preflight.schedule import UnknownPeriodError, shortest_period

NOW = datetime(2026, 11, 22, 5, tzinfo=UTC)  # a Sunday
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("expression", "period"),
    [
        ("rate(1 minute)", timedelta(minutes=1)),
        ("rate(12 hours)", 12 * HOUR),
        ("rate(1 day)", DAY),
        ("rate(30 days)", 30 * DAY),
        ("cron(0 5 ? * MON *)", 7 * DAY),
        ("cron(0 5 ? * 2 *)", 7 * DAY),
        ("cron(0 5 ? * MON,THU *)", 3 * DAY),
        ("cron(0 5 ? * MON-FRI *)", DAY),
        ("cron(0 5 * * ? *)", DAY),
        ("cron(0 5,6 ? * MON *)", HOUR),
        ("cron(30 5,23 * * ? *)", 6 * HOUR),
        ("cron(0/20 * * * ? *)", timedelta(minutes=20)),
        ("cron(5/40 * * * ? *)", timedelta(minutes=20)),
        ("cron(0 8-18/4 ? * * *)", 4 * HOUR),
        ("cron(0 5 1 * ? *)", 28 * DAY),
        ("cron(0 5 1,15 * ? *)", 14 * DAY),
        ("cron(0 5 31 * ? *)", 31 * DAY),
        ("cron(0 5 L * ? *)", 28 * DAY),
        ("cron(0 5 1 JAN,APR,JUL,OCT ? *)", 90 * DAY),
        ("cron(0 5 1 1/6 ? *)", 181 * DAY),
        ("cron(0 5 ? * MON#1 *)", 28 * DAY),
        ("cron(0 5 ? * mon#1 *)", 28 * DAY),
        ("cron(0 5 ? * 6L *)", 28 * DAY),
        ("cron(0 5 1 1 ? *)", 365 * DAY),
        (" cron(0  5 ? * MON *) ", 7 * DAY),
    ],
)
def test_the_period_is_the_shortest_distance_of_occurrences(expression: str, period: timedelta) -> None:
    assert shortest_period(expression, "UTC", NOW) == period


@pytest.mark.parametrize(
    ("expression", "days"),
    [
        ("cron(0 5 ? 5,6 MON#1 2027)", ["2027-05-03", "2027-06-07"]),
        ("cron(0 5 ? 6,7 2#1 2027)", ["2027-06-07", "2027-07-05"]),
        ("cron(0 5 ? 3,5 MON#5 2027)", ["2027-03-29", "2027-05-31"]),
        ("cron(0 5 ? 4,5 2L 2027)", ["2027-04-26", "2027-05-31"]),
        ("cron(0 5 ? 5,6 MONL 2027)", ["2027-05-31", "2027-06-28"]),
    ],
)
def test_the_first_and_the_last_of_a_weekday_are_those_of_the_calendar(expression: str, days: list[str]) -> None:
    first, second = (datetime.fromisoformat(day) for day in days)

    assert shortest_period(expression, "UTC", NOW) == second - first


@pytest.mark.parametrize(
    "expression",
    [
        "at(2026-11-30T05:00:00)",
        "cron(0 5 1 1 ? 2027)",
        "cron(0 5 ? * MON 2025)",
        "cron(0 5 31 2 ? *)",
        "cron(0 4 22 11 ? 2026-2027)",
    ],
)
def test_a_schedule_without_a_second_occurrence_has_no_period(expression: str) -> None:
    assert shortest_period(expression, "UTC", NOW) is None


@pytest.mark.parametrize(
    ("expression", "timezone"),
    [
        ("", "UTC"),
        ("weekly", "UTC"),
        ("rate(5 weeks)", "UTC"),
        ("rate(a day)", "UTC"),
        ("rate(5)", "UTC"),
        ("cron(0 5 ? * MON)", "UTC"),
        ("cron(0 5 ? * MON * *)", "UTC"),
        ("cron(0 5 15W * ? *)", "UTC"),
        ("cron(0 5 LW * ? *)", "UTC"),
        ("cron(0 5 ? * L *)", "UTC"),
        ("cron(0 5 ? * FRI-MON *)", "UTC"),
        ("cron(0 5 ? * SOMEDAY *)", "UTC"),
        ("cron(60 5 ? * MON *)", "UTC"),
        ("cron(0 24 ? * MON *)", "UTC"),
        ("cron(0/0 5 ? * MON *)", "UTC"),
        ("cron(, 5 ? * MON *)", "UTC"),
        ("cron(0 5 ? * MON *)", "Atlantis/Capital"),
        ("cron(0 5 ? * MON *)", ""),
    ],
)
def test_an_unknown_schedule_expression_is_reported_and_not_guessed(expression: str, timezone: str) -> None:
    with pytest.raises(UnknownPeriodError, match="cannot read the schedule expression"):
        shortest_period(expression, timezone, NOW)


def test_a_day_may_be_an_hour_shorter_when_the_clocks_change() -> None:
    assert shortest_period("cron(0 5 * * ? *)", "Europe/Berlin", NOW) == 23 * HOUR


def test_a_time_that_the_clocks_leave_out_does_not_occur() -> None:
    """Half past two is no time on the last Sunday in March. Were it one, the next would follow after 23 hours."""
    assert shortest_period("cron(30 2 * * ? *)", "Europe/Berlin", NOW) == DAY


def test_days_are_those_of_the_schedules_time_zone() -> None:
    """It is still Saturday, the 21st, in Honolulu."""
    assert shortest_period("cron(0 20 21,22 11 ? 2026)", "Pacific/Honolulu", NOW) == DAY
    assert shortest_period("cron(0 20 21,22 11 ? 2026)", "UTC", NOW) is None


NUMBERS = st.sets(st.integers(0, 59), min_size=1, max_size=2)


@settings(max_examples=10)
@given(NUMBERS, st.sets(st.integers(0, 23), min_size=1, max_size=2), st.sets(st.integers(1, 7), min_size=1, max_size=3))
def test_the_period_is_what_looking_at_every_minute_of_two_weeks_finds(
    minutes: set[int], hours: set[int], weekdays: set[int]
) -> None:
    fields = (",".join(map(str, each)) for each in (minutes, hours, weekdays))
    expression = "cron({} {} ? * {} *)".format(*fields)
    every_minute = (NOW + timedelta(minutes=minute) for minute in range(1, 15 * 24 * 60))

    occurrences = [
        each
        for each in every_minute
        if each.minute in minutes and each.hour in hours and each.isoweekday() % 7 + 1 in weekdays
    ]

    expected = min(later - earlier for earlier, later in pairwise(occurrences))
    assert shortest_period(expression, "UTC", NOW) == expected
