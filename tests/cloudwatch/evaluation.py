"""CloudWatch's evaluation of metric alarms, in virtual time, as AWS documents it.

Times are whole minutes since some full hour: no alarm of an application with standard resolution sees more.

- Periods, M of N, states: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
- The sliding window: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation-window.html
- Missing data: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
- The warm-up: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-warm-up.html
- Actions on transitions alone: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-actions.html
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import ge, gt, le, lt

from tests.cloudwatch.metrics import Expression, Metrics

MINUTES_A_DAY = 1440

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": ge,
    "GreaterThanThreshold": gt,
    "LessThanThreshold": lt,
    "LessThanOrEqualToThreshold": le,
}


class State(StrEnum):
    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


class Missing(StrEnum):
    """How an alarm treats missing data."""

    MISSING = "missing"
    IGNORE = "ignore"
    BREACHING = "breaching"
    NOT_BREACHING = "notBreaching"


@dataclass(frozen=True)
class Alarm:
    """What of an alarm counts for its evaluation."""

    name: str
    watches: Expression
    period_minutes: int
    evaluation_periods: int
    datapoints_to_alarm: int
    comparison: str
    threshold: float
    missing: Missing
    warm_up_minutes: int = 0
    actions: tuple[str, ...] = ()

    @property
    def window_minutes(self) -> int:
        return self.period_minutes * self.evaluation_periods

    def breaches(self, value: float) -> bool:
        return COMPARISONS[self.comparison](value, self.threshold)


@dataclass(frozen=True)
class Transition:
    minute: int
    alarm: str
    state: State
    actions: tuple[str, ...]  # what CloudWatch does because of it


def evaluate(alarm: Alarm, points: Sequence[bool | None], state: State) -> State:
    """The state after these data points of the evaluation range, the oldest first: breaching, not, or missing (None).

    CloudWatch retrieves more points than it evaluates. Where enough are there, the latest count. Where too few are, all
    that are there count, and as few missing ones as possible.
    """
    wanted, needed = alarm.evaluation_periods, alarm.datapoints_to_alarm
    there = [point for point in points if point is not None]
    if len(there) >= wanted:
        return State.ALARM if sum(there[-wanted:]) >= needed else State.OK
    match alarm.missing:
        case Missing.NOT_BREACHING:
            return State.ALARM if sum(there) >= needed else State.OK
        case Missing.BREACHING:
            return State.ALARM if sum(there) + wanted - len(there) >= needed else State.OK
    if not all(there):
        return State.ALARM if sum(there) >= needed else State.OK
    if alarm.missing is Missing.IGNORE:
        return State.ALARM if sum(there) >= needed else state
    return State.ALARM if _oldest_age(points) >= needed else State.INSUFFICIENT_DATA


def _oldest_age(points: Sequence[bool | None]) -> int:
    """How many periods ago the oldest data point was, the latest period being the first; 0 where there is none."""
    return next((len(points) - index for index, point in enumerate(points) if point is not None), 0)


def transitions(alarm: Alarm, metrics: Metrics, *, created: int, until: int, beyond: int) -> Iterator[Transition]:
    """Evaluate an alarm every minute from its creation on.

    `beyond` is the number of data points that CloudWatch retrieves beside those it evaluates. AWS gives an example (two
    for three periods of five minutes) and no number: what has to hold should hold for several.
    """
    state, warming = State.INSUFFICIENT_DATA, alarm.warm_up_minutes > 0
    series = alarm.watches.series(metrics, alarm.period_minutes)
    for minute in _decisive(alarm, metrics, created, until, beyond):
        last = minute - 1  # the minute that has just ended
        periods = alarm.evaluation_periods + beyond
        values = [series(last - alarm.period_minutes * ago) for ago in reversed(range(periods))]
        if warming:
            filled = all(value is not None for value in values[beyond:])
            warming = minute - created < alarm.warm_up_minutes and not filled
            if warming:
                continue
        after = evaluate(alarm, [None if value is None else alarm.breaches(value) for value in values], state)
        if after is not state:
            yield Transition(minute, alarm.name, after, alarm.actions if after is State.ALARM else ())
        state = after


def _decisive(alarm: Alarm, metrics: Metrics, created: int, until: int, beyond: int) -> list[int]:
    """The minutes at which an evaluation may end otherwise than the one before: a sample enters or leaves a period."""
    every = 60 if alarm.window_minutes > MINUTES_A_DAY else 1  # then with data up to the full hour
    moments = {created + 1, created + alarm.warm_up_minutes}
    for metric in alarm.watches.metrics:
        for sampled in metrics.samples(metric):
            moments |= {
                sampled + 1 + alarm.period_minutes * ago for ago in range(alarm.evaluation_periods + beyond + 1)
            }
    evaluated = {-(-moment // every) * every for moment in moments}
    return sorted(minute for minute in evaluated if created < minute <= until)
