"""Alarms and dashboard watch what the functions really emit: taken from the logs of this run, not from a list."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from samcli.yamlhelper import yaml_parse

from rotator.telemetry import Metric
from tests.cloudwatch.template import alarms as template_alarms
from tests.e2e.assertions import outcomes_of, scheduled
from tests.e2e.faults import Run
from tests.sandbox.deployment import embedded_metrics
from tests.sandbox.embedded_aws import ROOT
from tests.sandbox.outcome_queue import denied_events
from tests.sandbox.sandbox import Sandbox
from tests.sandbox.sqs_record import sqs_record
from tests.sandbox.standin.rotations import Rotation

Watched = tuple[str, str, frozenset[tuple[str, str]]]

# Metrics that AWS emits for the resources of the template, and the dimension that names the resource.
AWS_METRICS = {
    "AWS/Lambda": (
        "FunctionName",
        "AWS::Lambda::Function",
        {"Errors", "Throttles", "DestinationDeliveryFailures"},
    ),
    "AWS/SQS": (
        "QueueName",
        "AWS::SQS::Queue",
        {"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage", "NumberOfMessagesSent"},
    ),
}

# What tells that all is well, or how it is. Everything else that is emitted tells of a failure.
NO_FAILURES = {
    Metric.ROTATION_SUCCEEDED,
    Metric.ROTATION_SKIPPED,
    Metric.ROTATION_DEFERRED,  # nothing was done; RequestAge tells when it lasts
    Metric.ROTATION_DURATION,
    Metric.HOOK_STEP_SUCCEEDED,
    Metric.ROTATIONS_WATCHED,
    Metric.OLDEST_ROTATION_AGE,
    Metric.OLDEST_ACTIVE_KEY_AGE,
    Metric.PREVIOUS_KEY_DEACTIVATED,
}
# Emitted by a function that this stack does not have: test_least_privilege has it.
OF_RETIRE = {Metric.PREVIOUS_KEY_IN_USE, Metric.PREVIOUS_KEY_DEACTIVATED}
# What a metric of AWS says as well, or another one of ours did before.
TOLD_OTHERWISE = {
    Metric.UNMAPPED_TRIGGER,  # its event arrives in UndeliveredTriggers
    Metric.HOOK_STEP_FAILED,  # an error of the hook
    Metric.ROTATIONS_IN_FAILED_STATE,  # RotationFailed, or RotationRefused at the next trigger
}


@pytest.fixture(scope="module")
def emitted(deployed: Sandbox, run: Run) -> dict[Watched, float]:
    """Every metric of this run by what identifies it, with its largest value; all faults were caused by now."""
    assert run.ends
    stack = deployed.stack
    overdue, mirrored = (deployed.add_rotation(f"observed-{name}") for name in ("overdue", "mirrored"))
    arn = deployed.hook.add_secret("observed-mirrored", _published(mirrored))
    fresh = deployed.add_rotation("observed-fresh", datetime.now(UTC))
    mirror = deployed.hook.add_secret("observed-fresh", dict(_published(fresh)))
    failed = [rotation.id for name, rotation in run.rotations.items() if name == "failed before"]
    unknown = "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f00ff"
    stack.put_map(
        {"triggers": {"weekly": [overdue.id, unknown, *failed]}, "mirrors": {arn: mirrored.id, mirror: fresh.id}}
    )
    stack.lambda_.invoke(FunctionName=stack.outputs["AuditFunctionName"], Payload=b"{}")
    stack.invoke(scheduled("nobody-knows-me"))
    stack.invoke({"trigger": "weekly", "only": failed})
    deployed.hook.rotations.rotate(mirror)  # too soon
    deployed.hook.rotations.rotate(arn)
    for count in (1, 2):  # the second one is too soon
        stack.invoke({"trigger": "weekly", "only": [overdue.id]})
        outcomes_of(deployed, overdue, count=count)
    now = datetime.now(UTC)
    comes_back = _record("cannot-be-held", 10, now - timedelta(hours=3))
    with denied_events(stack):
        _deliver(deployed, _record("is-refused", 1, now), comes_back)
    largest: dict[Watched, float] = {}
    for line in stack.dispatch_logs() + stack.rotate_logs() + stack.hook_logs() + stack.audit_logs():
        for identity, value in _identified(line):
            largest[identity] = max(largest.get(identity, value), value)
    stack.take("FailedRotationsUrl")
    return largest


def _deliver(deployed: Sandbox, *records: dict[str, Any]) -> None:
    function = deployed.stack.outputs["RotateFunctionName"]
    deployed.stack.lambda_.invoke(FunctionName=function, Payload=json.dumps({"Records": records}).encode())


def _record(name: str, receive_count: int, first_received_at: datetime) -> dict[str, Any]:
    """A message without sense, which the queue does not have, or not any more."""
    return sqs_record(name, "", name, first_received_at=first_received_at.timestamp(), receive_count=receive_count)


def _published(rotation: Rotation) -> dict[str, str]:
    return {name: rotation.published[name] for name in ("accessKeyId", "secretAccessKey")}


def _identified(line: dict[str, Any]) -> Iterator[tuple[Watched, float]]:
    for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
        for names in directive["Dimensions"]:
            dimensions = frozenset((name, line[name]) for name in names)
            for metric, value in embedded_metrics(line).items():
                yield (directive["Namespace"], metric, dimensions), value


@pytest.fixture(scope="module")
def alarms(deployed: Sandbox) -> dict[str, dict[str, Any]]:
    """The stack's alarms by their logical ids."""
    described = deployed.stack.aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    by_name = {alarm["AlarmName"]: alarm for alarm in described}
    return {logical: by_name[name] for logical, name in deployed.stack.resources("AWS::CloudWatch::Alarm").items()}


def _watched(alarm: dict[str, Any]) -> Watched:
    dimensions = frozenset((each["Name"], each["Value"]) for each in alarm["Dimensions"])
    return alarm["Namespace"], alarm["MetricName"], dimensions


def _is_known(deployed: Sandbox, emitted: dict[Watched, float], watched: Watched) -> bool:
    namespace, metric, dimensions = watched
    if namespace not in AWS_METRICS:
        return watched in emitted
    dimension, kind, metrics = AWS_METRICS[namespace]
    ours = {name.rsplit("/", 1)[-1] for name in deployed.stack.resources(kind).values()}
    return metric in metrics and any(dimensions == {(dimension, name)} for name in ours)


def test_every_alarm_watches_an_emitted_metric(
    deployed: Sandbox, emitted: dict[Watched, float], alarms: dict[str, dict[str, Any]]
) -> None:
    watched = {logical: _watched(alarm) for logical, alarm in alarms.items()}

    assert len(watched) > 12
    assert {logical: each for logical, each in watched.items() if not _is_known(deployed, emitted, each)} == {}


def test_every_emitted_failure_has_an_alarm(emitted: dict[Watched, float]) -> None:
    watched = {metric.name for alarm in template_alarms() for metric in alarm.watches.metrics}

    assert {metric for _, metric, _ in emitted} == set(Metric) - OF_RETIRE, "every other one was emitted"
    assert set(Metric) - NO_FAILURES - TOLD_OTHERWISE <= watched


@pytest.mark.parametrize(
    "logical",
    [
        "RotationFailedAlarm",
        "RotationRefusedAlarm",
        "RotationUnconfirmedAlarm",
        "OverdueRotationsAlarm",
        "UnreadableRotationsAlarm",
        "AutoRotationAlarm",
    ],
)
def test_the_fault_that_should_raise_an_alarm_crosses_its_threshold(
    emitted: dict[Watched, float], alarms: dict[str, dict[str, Any]], logical: str
) -> None:
    alarm = alarms[logical]

    assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
    assert emitted[_watched(alarm)] >= alarm["Threshold"]


def test_a_request_that_keeps_returning_crosses_the_threshold_of_its_age(
    emitted: dict[Watched, float], alarms: dict[str, dict[str, Any]]
) -> None:
    ages = [value for (_, metric, _), value in emitted.items() if metric == Metric.REQUEST_AGE]

    assert max(ages) >= alarms["OldestRequestAlarm"]["Threshold"]


@pytest.fixture(scope="module")
def troubled(deployed: Sandbox, emitted: dict[Watched, float]) -> None:
    """Every function ends in an error, and is not allowed to run."""
    assert emitted
    stack = deployed.stack
    stack.put_map("{")
    for name in stack.resources("AWS::Lambda::Function").values():
        stack.lambda_.invoke(FunctionName=name, Payload=b'{"Records": [{}], "trigger": "weekly"}')
        stack.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        with suppress(ClientError):  # that is the throttle
            stack.aws.session().client(
                "lambda", endpoint_url=stack.aws.endpoint, config=Config(retries={"total_max_attempts": 1})
            ).invoke(FunctionName=name, Payload=b"{}")
        stack.lambda_.delete_function_concurrency(FunctionName=name)


@pytest.mark.parametrize("trouble", ["Errors", "Throttles"])
@pytest.mark.parametrize("function", ["Dispatch", "Rotate", "Hook", "Audit"])
@pytest.mark.usefixtures("troubled")
def test_a_function_in_trouble_is_counted_by_lambda(deployed: Sandbox, function: str, trouble: str) -> None:
    now = datetime.now(UTC)

    points = deployed.stack.aws.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName=trouble,
        Dimensions=[
            {
                "Name": "FunctionName",
                "Value": deployed.stack.resources("AWS::Lambda::Function")[f"{function}Function"],
            }
        ],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
        Period=300,
        Statistics=["Sum"],
    )["Datapoints"]

    assert max(point["Sum"] for point in points) >= 1


@pytest.mark.parametrize(
    ("logical", "queue"),
    [("UndeliveredTriggersAlarm", "UndeliveredTriggers"), ("MessagesWaitingAlarm", "FailedRotations")],
)
def test_a_message_in_a_dead_letter_queue_crosses_the_threshold_of_its_alarm(
    deployed: Sandbox, alarms: dict[str, dict[str, Any]], logical: str, queue: str
) -> None:
    """The embedded AWS has no metrics of queues; what the metric tells is this attribute."""
    url = deployed.stack.resources("AWS::SQS::Queue")[queue]
    fifo: Any = {"MessageGroupId": "g", "MessageDeduplicationId": "d"} if url.endswith(".fifo") else {}
    deployed.stack.sqs.send_message(QueueUrl=url, MessageBody="{}", **fifo)

    depth = deployed.stack.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])

    alarm = alarms[logical]
    assert int(depth["Attributes"]["ApproximateNumberOfMessages"]) >= alarm["Threshold"]
    assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": url.rsplit("/", 1)[-1]}]
    deployed.stack.sqs.purge_queue(QueueUrl=url)


def test_every_alarm_says_what_to_do_and_notifies_the_topic(
    deployed: Sandbox, alarms: dict[str, dict[str, Any]]
) -> None:
    for logical, alarm in alarms.items():
        assert re.search("Look at|Find out", alarm["AlarmDescription"]), logical
        assert "docs/runbook.md#" in alarm["AlarmDescription"], logical
        assert alarm["AlarmActions"] == [deployed.stack.outputs["AlarmTopic"]], logical


def test_every_dashboard_widget_shows_an_emitted_metric(deployed: Sandbox, emitted: dict[Watched, float]) -> None:
    (name,) = deployed.stack.resources("AWS::CloudWatch::Dashboard").values()
    body = json.loads(deployed.stack.aws.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"])
    shown = {watched for widget in body["widgets"] if widget["type"] == "metric" for watched in _metrics(widget)}

    assert len(shown) > 12
    # Which reasons a run has seen is up to its other tests.
    by_stack = {watched for watched in shown if "reason" not in dict(watched[2])}
    assert {watched for watched in by_stack if not _is_known(deployed, emitted, watched)} == set()


def _metrics(widget: dict[str, Any]) -> Iterator[Watched]:
    """What a widget shows, with the dashboard's shorthands written out."""
    previous: list[str] = []
    for row in widget["properties"]["metrics"]:
        words = [word for word in row if isinstance(word, str)]
        if not words:
            continue  # an expression
        if words[0] == "...":
            words = previous[: len(previous) - (len(words) - 1)] + words[1:]
        words = [before if word == "." else word for word, before in zip(words, previous or words, strict=False)]
        previous = words
        namespace, metric, *dimensions = words
        yield namespace, metric, frozenset(zip(dimensions[::2], dimensions[1::2], strict=True))


@pytest.mark.parametrize("query", ["QueryRotation", "QueryTrigger"])
def test_saved_queries_ask_for_fields_that_the_logs_have(
    deployed: Sandbox, emitted: dict[Watched, float], query: str
) -> None:
    assert emitted
    text = yaml_parse((ROOT / "template.yaml").read_text())["Resources"][query]["Properties"]["QueryString"]
    logged = {name for line in deployed.stack.dispatch_logs() + deployed.stack.rotate_logs() for name in line}
    fields = {word.strip() for word in text.split("|")[0].removeprefix("fields").split(",")}
    filtered = text.split("filter ")[1].split(" ")[0]

    assert fields - {"@timestamp"} <= logged
    assert filtered in logged
