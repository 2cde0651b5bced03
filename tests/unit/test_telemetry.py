import json
from io import StringIO

import pytest

from rotator.telemetry import Metric, Telemetry
from tests.unit.fakes import Observed


class CountingStream(StringIO):
    """Knows how often it was written to and flushed."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.flushed_writes = 0

    def write(self, text: str, /) -> int:
        self.writes.append(text)
        return super().write(text)

    def flush(self) -> None:
        super().flush()
        self.flushed_writes = len(self.writes)


def without_timestamp(line: dict[str, object]) -> dict[str, object]:
    """CloudWatch wants the moment in milliseconds; which moment is no test's business."""
    embedded = line["_aws"]
    assert isinstance(embedded, dict)
    assert isinstance(embedded["Timestamp"], int)
    return {**line, "_aws": {name: value for name, value in embedded.items() if name != "Timestamp"}}


def test_a_metric_is_one_object_of_cloudwatchs_embedded_metric_format() -> None:
    observed = Observed()

    observed.telemetry.count(Metric.ROTATION_SKIPPED)

    (line,) = observed.lines
    assert without_timestamp(line) == {
        "_aws": {
            "CloudWatchMetrics": [
                {
                    "Namespace": "InfisicalRotation",
                    "Dimensions": [["service"]],
                    "Metrics": [{"Name": "RotationSkipped", "Unit": "Count"}],
                }
            ]
        },
        "service": observed.service,
        "RotationSkipped": [1.0],
    }


def test_a_duration_is_reported_in_milliseconds() -> None:
    observed = Observed()

    observed.telemetry.count(Metric.ROTATION_SUCCEEDED, duration_seconds=1.5)

    (line,) = observed.lines
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert {"Name": "RotationDuration", "Unit": "Milliseconds"} in directive["Metrics"]
    assert line["RotationDuration"] == [1500.0]


def test_a_duration_of_zero_is_reported_too() -> None:
    observed = Observed()

    observed.telemetry.count(Metric.ROTATION_SUCCEEDED, duration_seconds=0.0)

    assert observed.counted == ["RotationSucceeded", "RotationDuration"]


def test_properties_can_be_searched_for() -> None:
    observed = Observed()

    observed.telemetry.count(Metric.ROTATION_FAILED, trigger="weekly", reason="PermissionDenied")

    assert observed.lines[0].items() >= {"trigger": "weekly", "reason": "PermissionDenied"}.items()


def test_properties_are_not_dimensions() -> None:
    observed = Observed()

    observed.telemetry.count(Metric.ROTATION_FAILED, trigger="weekly", reason="PermissionDenied")

    assert observed.lines[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]


def test_refusals_are_counted_by_reason_too() -> None:
    observed = Observed()

    observed.telemetry.count(Metric.ROTATION_REFUSED, trigger="weekly", reason="OrphanKey")

    (line,) = observed.lines
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"], ["service", "reason"]]
    assert line["reason"] == "OrphanKey"


def test_a_refusal_without_a_reason_is_counted_all_the_same() -> None:
    observed = Observed()

    observed.telemetry.count(Metric.ROTATION_REFUSED)

    assert observed.lines[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]


def test_a_metric_is_not_emitted_again_with_the_next() -> None:
    observed = Observed()

    observed.telemetry.count(Metric.ROTATION_FAILED, duration_seconds=1.0, trigger="weekly")
    observed.telemetry.count(Metric.ROTATION_SKIPPED)

    assert set(observed.lines[1]) == {"_aws", "service", "RotationSkipped"}


@pytest.mark.parametrize("text", ["two\nlines", "carriage\rreturn", "\u2028", "é", "\ud800"], ids=ascii)
def test_a_line_is_one_flushed_write_with_any_properties(text: str) -> None:
    stream = CountingStream()

    Telemetry("stack-of-writes", "INFO", stream).count(Metric.UNMAPPED_TRIGGER, explanation=text)

    (written,) = stream.writes
    assert stream.flushed_writes == 1
    assert written.endswith("}\n")
    assert written[:-1].isprintable()
    assert json.loads(written)["explanation"] == text


@pytest.mark.parametrize("metric", Metric)
def test_every_metric_is_emitted_under_its_own_name(metric: Metric) -> None:
    observed = Observed()

    observed.telemetry.count(metric)

    assert observed.counted == [metric.value]


def test_a_log_line_is_one_object_with_its_service_level_and_fields() -> None:
    observed = Observed()

    observed.telemetry.logger.info("trigger dispatched", trigger="weekly", requests=2)

    (line,) = observed.lines
    expected = {
        "service": observed.service,
        "level": "INFO",
        "message": "trigger dispatched",
        "trigger": "weekly",
        "requests": 2,
    }
    assert line.items() >= expected.items()


def test_a_line_below_the_log_level_is_not_logged() -> None:
    observed = Observed("ERROR")

    observed.telemetry.logger.warning("rotation deferred")

    assert observed.lines == []


def test_metrics_are_emitted_at_any_log_level() -> None:
    observed = Observed("ERROR")

    observed.telemetry.count(Metric.ROTATION_DEFERRED)

    assert observed.counted == ["RotationDeferred"]
