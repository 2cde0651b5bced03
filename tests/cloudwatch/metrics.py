"""Metrics by the minute, their statistics over a period, and the metric math that the template uses."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Series = Callable[[int], float | None]  # the value of the period that ends with a minute; None where data is missing

STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Sum": sum,
    "Maximum": max,
    "Minimum": min,
    "SampleCount": len,
    "Average": lambda values: sum(values) / len(values),
}


@dataclass(frozen=True)
class MetricName:
    """What identifies a metric."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]


class Metrics:
    """Every sample that was emitted."""

    def __init__(self) -> None:
        self._samples: defaultdict[MetricName, defaultdict[int, list[float]]] = defaultdict(lambda: defaultdict(list))

    def put(self, minute: int, metric: MetricName, value: float) -> None:
        self._samples[metric][minute].append(value)

    @property
    def names(self) -> set[MetricName]:
        return set(self._samples)

    def samples(self, metric: MetricName) -> Mapping[int, Sequence[float]]:
        return self._samples.get(metric, {})


class Expression(Protocol):
    """What an alarm watches."""

    def series(self, metrics: Metrics, period_minutes: int) -> Series: ...

    @property
    def metrics(self) -> Sequence[MetricName]: ...


@dataclass(frozen=True)
class Statistic:
    """A statistic of one metric."""

    metric: MetricName
    name: str

    @property
    def metrics(self) -> Sequence[MetricName]:
        return [self.metric]

    def series(self, metrics: Metrics, period_minutes: int) -> Series:
        collected: defaultdict[int, list[float]] = defaultdict(list)
        for minute, values in metrics.samples(self.metric).items():
            for end in range(minute, minute + period_minutes):
                collected[end] += values
        found = {end: STATISTICS[self.name](values) for end, values in collected.items()}
        return found.get


@dataclass(frozen=True)
class Filled:
    """SUM(FILL(METRICS(), 0)) or MAX(FILL(METRICS(), 0)).

    FILL replaces missing values of each series, METRICS() is an array of all of them, and SUM and MAX of an array are a
    series: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
    """

    function: Callable[[Sequence[float]], float]
    of: Sequence[Statistic]

    @property
    def metrics(self) -> Sequence[MetricName]:
        return [each.metric for each in self.of]

    def series(self, metrics: Metrics, period_minutes: int) -> Series:
        filled = [each.series(metrics, period_minutes) for each in self.of]
        return lambda end: self.function([series(end) or 0.0 for series in filled])


FUNCTIONS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "SUM(FILL(METRICS(), 0))": sum,
    "MAX(FILL(METRICS(), 0))": max,
}


def filled(expression: str, of: Sequence[Statistic]) -> Filled:
    """Raises ValueError for every expression but the two that are known here."""
    if expression not in FUNCTIONS:
        raise ValueError(f"teach tests/cloudwatch/metrics.py the expression {expression}")
    return Filled(FUNCTIONS[expression], of)
