"""The evaluation against the examples of AWS's documentation; each has its page."""

from dataclasses import replace

import pytest

from tests.cloudwatch.evaluation import Alarm, Missing, State, Transition, evaluate, transitions
from tests.cloudwatch.metrics import Filled, MetricName, Metrics, Statistic, filled

METRIC = MetricName("Example", "Value", frozenset())
ALARM = Alarm(
    name="example",
    watches=Statistic(METRIC, "Maximum"),
    period_minutes=1,
    evaluation_periods=3,
    datapoints_to_alarm=3,
    comparison="GreaterThanOrEqualToThreshold",
    threshold=3,
    missing=Missing.MISSING,
    actions=("topic",),
)
OK, RED, INSUFFICIENT = State.OK, State.ALARM, State.INSUFFICIENT_DATA
RETAINED = None
POINTS = {"0": False, "X": True, "-": None}
TREATMENTS = (Missing.MISSING, Missing.IGNORE, Missing.BREACHING, Missing.NOT_BREACHING)

# The two tables of https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html: data
# points, and the state for each treatment, in its order: missing, ignore, breaching, not breaching.
THREE_OF_THREE = {
    "0 - X - X": (OK, OK, OK, OK),
    "0 - - - -": (OK, OK, OK, OK),
    "- - - - -": (INSUFFICIENT, RETAINED, RED, OK),
    "0 X X - X": (RED, RED, RED, RED),
    "- - X - -": (RED, RETAINED, RED, OK),
}
TWO_OF_THREE = {
    "0 - X - X": (RED, RED, RED, RED),
    "0 0 X 0 X": (RED, RED, RED, RED),
    "0 - X - -": (OK, OK, RED, OK),
    "- - - - 0": (OK, OK, RED, OK),
    "- - - X -": (RED, RETAINED, RED, OK),
}
DOCUMENTED = [
    (needed, points, treatment, state)
    for needed, table in ((3, THREE_OF_THREE), (2, TWO_OF_THREE))
    for points, states in table.items()
    for treatment, state in zip(TREATMENTS, states, strict=True)
]


@pytest.mark.parametrize(("needed", "points", "treatment", "state"), DOCUMENTED)
def test_missing_data_is_treated_as_the_documented_tables_say(
    needed: int, points: str, treatment: Missing, state: State | None
) -> None:
    alarm = replace(ALARM, datapoints_to_alarm=needed, missing=treatment)

    for before in State:
        after = evaluate(alarm, [POINTS[point] for point in points.split()], before)
        assert after is (state or before)


def states(alarm: Alarm, *values: float | None, created: int = 0, beyond: int = 0, more: int = 0) -> list[str]:
    """When an alarm changes its state to what, with one value a minute from minute 0 on."""
    metrics = Metrics()
    for minute, value in enumerate(values):
        if value is not None:
            metrics.put(minute, METRIC, value)
    changes = transitions(alarm, metrics, created=created, until=len(values) + more, beyond=beyond)
    return [f"{each.minute} {each.state}" for each in changes]


def test_three_of_three_goes_to_alarm_with_the_third_breaching_period() -> None:
    """The first figure of alarm-evaluation.html: in ALARM in periods three to five, and not for the single ninth."""
    assert states(ALARM, 4, 4, 4, 4, 4, 2, 2, 2, 4, 2) == ["3 ALARM", "6 OK"]


def test_a_sliding_window_advances_every_minute() -> None:
    """alarm-evaluation.html: a period of five minutes is minutes 1 to 5, then 2 to 6."""
    alarm = replace(ALARM, period_minutes=5, evaluation_periods=1, datapoints_to_alarm=1, missing=Missing.NOT_BREACHING)

    assert states(alarm, None, None, 4, more=8) == ["1 OK", "3 ALARM", "8 OK"]


def test_a_point_is_held_for_longer_by_the_evaluation_range() -> None:
    alarm = replace(ALARM, period_minutes=5, evaluation_periods=1, datapoints_to_alarm=1, missing=Missing.NOT_BREACHING)

    assert states(alarm, None, None, 4, beyond=2, more=20) == ["1 OK", "3 ALARM", "18 OK"]


def test_a_window_longer_than_a_day_is_evaluated_at_the_full_hour_alone() -> None:
    """alarm-evaluation.html: once an hour, and with metrics up to the current hour."""
    alarm = replace(ALARM, period_minutes=360, evaluation_periods=5, datapoints_to_alarm=5, missing=Missing.BREACHING)

    assert states(alarm, *[None] * 90, 1, created=30, more=100) == ["60 ALARM", "120 OK"]


def test_a_window_of_a_day_is_evaluated_every_minute() -> None:
    alarm = replace(ALARM, period_minutes=60, evaluation_periods=24, datapoints_to_alarm=24, missing=Missing.BREACHING)

    assert states(alarm, *[None] * 90, 1, created=30, more=100) == ["31 ALARM", "91 OK"]


def test_no_action_is_taken_during_the_warm_up() -> None:
    """alarm-warm-up.html: INSUFFICIENT_DATA until it has passed."""
    alarm = replace(ALARM, missing=Missing.BREACHING, warm_up_minutes=30)

    assert states(alarm, created=0, more=40) == ["30 ALARM"]


def test_a_warm_up_ends_early_with_the_data_of_a_whole_window() -> None:
    alarm = replace(ALARM, missing=Missing.BREACHING, warm_up_minutes=30)

    assert states(alarm, 4, 4, 4, created=0, more=10) == ["3 ALARM"]


def test_actions_are_taken_when_the_state_changes_to_alarm_and_at_no_other_time() -> None:
    """alarm-actions.html: an SNS action is not repeated while the state lasts."""
    metrics = Metrics()
    for minute in range(2, 9):
        metrics.put(minute, METRIC, 4)
    alarm = replace(ALARM, missing=Missing.NOT_BREACHING)

    changes = list(transitions(alarm, metrics, created=0, until=20, beyond=0))

    assert changes == [
        Transition(1, "example", OK, ()),
        Transition(5, "example", RED, ("topic",)),
        Transition(10, "example", OK, ()),
    ]


@pytest.mark.parametrize(
    ("statistic", "value"), [("Sum", 7), ("Maximum", 4), ("Minimum", 1), ("SampleCount", 3), ("Average", 7 / 3)]
)
def test_a_statistic_is_that_of_all_samples_of_its_period(statistic: str, value: float) -> None:
    metrics = Metrics()
    for minute, sample in ((10, 1), (10, 2), (12, 4), (15, 9)):
        metrics.put(minute, METRIC, sample)

    series = Statistic(METRIC, statistic).series(metrics, 5)

    assert (series(14), series(9), series(99)) == (value, None, None)


def test_fill_gives_each_missing_value_a_zero_and_sum_and_max_go_over_all_metrics() -> None:
    """using-metric-math.html: a sum of series has no value where one of them has none, so each is filled before."""
    other = MetricName("Example", "Other", frozenset())
    metrics = Metrics()
    metrics.put(3, METRIC, 2)
    metrics.put(3, other, 5)
    metrics.put(8, other, 7)
    both = [Statistic(METRIC, "Sum"), Statistic(other, "Sum")]

    added, largest = (filled(f"{name}(FILL(METRICS(), 0))", both).series(metrics, 1) for name in ("SUM", "MAX"))

    assert [added(minute) for minute in (3, 8, 9)] == [7, 7, 0]
    assert [largest(minute) for minute in (3, 8, 9)] == [5, 7, 0]


def test_an_expression_that_is_not_known_here_is_an_error() -> None:
    with pytest.raises(ValueError, match="teach"):
        filled("m1 / m2", [])
    assert isinstance(filled("SUM(FILL(METRICS(), 0))", []), Filled)
