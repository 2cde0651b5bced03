"""What a month costs, from what was measured. Prices are those of us-east-1 without any free tier, in US dollars."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rotator.telemetry import Metric
from tests.benchmarks.figures import Figure
from tests.benchmarks.rate_limit import WRITES
from tests.benchmarks.template import Built

WEEKLY = (10, 1000, 10_000)

A_GIGABYTE_SECOND = 0.0000133334  # arm64
AN_INVOCATION = 0.20 / 1e6
AN_SQS_REQUEST = 0.50 / 1e6  # FIFO
AN_ALARM, A_METRIC, A_DASHBOARD = 0.10, 0.30, 3.00  # an alarm: each metric that it watches
A_LOGGED_BYTE = 0.50 / 1e9

WEEKS = 365.25 / 7 / 12
DAYS = 365.25 / 12

# Assumed, not measured: what Infisical and AWS themselves take for a rotation.
ROTATION_SECONDS = 2.0
# Lambda gives a function so much of a processor for each gigabyte; here it had a whole one.
GIGABYTES_OF_A_PROCESSOR = 1769 / 1024
# Lambda's pollers wait for messages twenty seconds at a time, five of them, day and night.
POLLS = 5 * 3 * 60 * 24 * DAYS
AUDITS = 4 * DAYS
AUDITED = 50_000


@dataclass(frozen=True)
class Month:
    """A month of `rotations` a week."""

    rotations: int
    compute: float
    queues: float
    logs: float
    watching: float

    @property
    def total(self) -> float:
        """Everything together."""
        return self.compute + self.queues + self.logs + self.watching


def months(built: Built, measured: Mapping[str, float]) -> list[Month]:
    """Work it out for each number of `WEEKLY`, behind the rate limit of Infisical Cloud's smallest plan."""
    return [_month(built, measured, rotations) for rotations in WEEKLY]


def figures(found: list[Month]) -> Iterator[Figure]:
    """As figures among the others."""
    for month in found:
        what = f"A month of {month.rotations:,} rotations a week"
        yield Figure(f"month_usd_{month.rotations}", what, month.total, "USD")


def _month(built: Built, measured: Mapping[str, float], rotations: int) -> Month:
    size = built.batch_size
    deliveries = _deliveries(rotations)
    deferred = deliveries - rotations
    batches, empty_batches = math.ceil(rotations / size), math.ceil(deferred / size)
    own = measured["batch_of_ten_seconds"] - measured["batch_server_seconds"]
    starts = min(built.maximum_concurrency, batches)
    rotate = _billed(built, "RotateFunction", own) + built.memory_gigabytes("RotateFunction") * ROTATION_SECONDS
    defer = _billed(built, "RotateFunction", own)
    start = _billed(built, "RotateFunction", measured["first_rotation_seconds_ours"])
    dispatch = _billed(built, "DispatchFunction", _dispatch_seconds(measured, rotations))
    audit = _billed(built, "AuditFunction", measured["audit_seconds"] * max(0.02, rotations / AUDITED))
    gigabyte_seconds = (batches * rotate + empty_batches * defer + starts * start + dispatch) * WEEKS + audit * AUDITS
    invocations = (batches + empty_batches + 1) * WEEKS + AUDITS
    # Sent and deleted ten at a time, received so, and put back one by one.
    requests = (2 * batches + (batches + empty_batches) + deferred) * WEEKS + POLLS
    return Month(
        rotations=rotations,
        compute=gigabyte_seconds * A_GIGABYTE_SECOND + invocations * AN_INVOCATION,
        queues=requests * AN_SQS_REQUEST,
        logs=deliveries * WEEKS * measured["log_bytes_a_rotation"] * A_LOGGED_BYTE,
        watching=_watching(built),
    )


def _deliveries(rotations: int) -> int:
    """Each minute lets so many through; all others are delivered once in it, in vain."""
    return sum(range(rotations, 0, -WRITES))


def _billed(built: Built, function: str, seconds: float) -> float:
    """The gigabyte-seconds of an invocation that takes a whole processor so long."""
    gigabytes = built.memory_gigabytes(function)
    return gigabytes * seconds * max(1.0, GIGABYTES_OF_A_PROCESSOR / gigabytes)


def _dispatch_seconds(measured: Mapping[str, float], rotations: int) -> float:
    size = min(each for each in (100, 1000, 10_000) if each >= rotations)
    return measured[f"dispatch_seconds_{size}"]


def _watching(built: Built) -> float:
    """What does not depend on the rotations: alarms, metrics, the dashboard; each of them all month."""
    alarms = built.alarmed_metrics * AN_ALARM
    dashboards = built.count("AWS::CloudWatch::Dashboard") * A_DASHBOARD
    return alarms + dashboards + len(Metric) * A_METRIC
