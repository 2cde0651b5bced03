"""What a person hears: of each fault in time, at most twice a day, and of nothing else."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial

import pytest

from tests.cloudwatch.application import FAILED, HOUR, Application
from tests.cloudwatch.evaluation import Alarm, transitions
from tests.cloudwatch.incidents import (
    BEYOND,
    DAY,
    INCIDENTS,
    UNKNOWN,
    Cause,
    Incident,
    listen,
    of_trigger,
    refused,
    unmapped,
)
from tests.cloudwatch.metrics import MetricName, Statistic
from tests.cloudwatch.runbook import PAGE, hearings, renewed
from tests.cloudwatch.template import CHOSEN, alarms
from tests.sandbox.embedded_aws import ROOT

WEEK = 7 * DAY


@cache
def deployed() -> Sequence[Alarm]:
    return alarms()


def problems(incident: Incident, watching: Sequence[Alarm]) -> list[str]:
    """What is not as it has to be of an incident."""
    found = []
    for (at, _), heard in hearings(incident, watching).items():
        pages = [each.alarm for each in heard.of_a_day] if heard.pages else []
        if sorted(pages) != sorted(incident.hears):
            found.append(f"{pages} instead of {incident.hears}")
        elif heard.pages[0].minute - at > incident.within:
            found.append(f"the first after {heard.pages[0].minute - at} minutes")
    return found


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda incident: incident.fault)
def test_a_fault_is_heard_in_time_and_once_or_twice_with_a_reason(incident: Incident) -> None:
    assert problems(incident, deployed()) == []
    assert 1 <= len(incident.hears) <= 2
    assert bool(incident.reason) == (len(incident.hears) == 2)


def test_every_alarm_tells_of_some_fault() -> None:
    assert {name for incident in INCIDENTS for name in incident.hears} == {alarm.name for alarm in deployed()}


def test_every_alarm_writes_to_the_topic_and_nothing_when_it_returns_to_ok() -> None:
    assert {alarm.name: alarm.actions for alarm in deployed()} == {alarm.name: ("AlarmTopic",) for alarm in deployed()}


def test_a_rule_on_another_bus_is_watched_with_its_bus() -> None:
    """eb-monitoring.html: without EventBusName, the dimension RuleName means a rule of the default bus."""
    (lost,) = (alarm for alarm in alarms(CHOSEN | {"CustomEventBusName": "ours"}) if alarm.name == "TriggerLost")
    rule = ("RuleName", "DispatchFunctionCustomEvents")

    assert frozenset({("EventBusName", "ours"), rule}) in {metric.dimensions for metric in lost.watches.metrics}


# ---- no other message ------------------------------------------------------------------------------------------------


@cache
def week() -> Application:
    """A healthy week with a weekly schedule."""
    application = Application(created=17)
    application.at(2 * DAY, application.trigger)
    application.run(WEEK)
    return application


@pytest.mark.parametrize("beyond", BEYOND)
def test_a_healthy_week_with_a_weekly_schedule_is_silent(beyond: int) -> None:
    succeeded = MetricName("InfisicalRotation", "RotationSucceeded", frozenset({("service", "infisical-rotation")}))

    assert sum(sum(values) for values in week().metrics.samples(succeeded).values()) == 1
    assert listen(week(), beyond, deployed()).pages == []


def deployed_at(minute: int, watching: Sequence[Alarm]) -> list[str]:
    """Who writes within a day of a deployment, the first audit being ten minutes late."""
    application = Application(created=minute)
    application.run(minute + 2)
    late = Application(created=minute)
    late.metrics = type(late.metrics)()
    for metric in application.metrics.names:
        for values in application.metrics.samples(metric).values():
            for at in range(minute + 10, minute + 10 + 2 * DAY, 6 * HOUR):
                for value in values:
                    late.metrics.put(at, metric, value)
    late.minute = minute + DAY
    return [page.alarm for beyond in BEYOND for page in listen(late, beyond, watching).pages]


@pytest.mark.parametrize("minute", [0, 17, 49, 50, 58, 59])
def test_a_deployment_is_silent_at_any_minute_of_an_hour(minute: int) -> None:
    assert deployed_at(minute, deployed()) == []


def test_an_update_that_makes_every_alarm_anew_is_silent() -> None:
    """CloudWatch then looks at the data from before, too."""
    for created in range(3 * DAY, 3 * DAY + 6 * HOUR, 37):
        for alarm in deployed():
            changes = transitions(alarm, week().metrics, created=created, until=created + DAY, beyond=2)
            assert [each for each in changes if each.actions] == []


# ---- the second failure ----------------------------------------------------------------------------------------------


def twice(cause: Cause) -> Application:
    """The same failure happens again 12 hours later, while the first message still waits."""
    application = Application(created=17)
    for minute in (4 * HOUR, 16 * HOUR):
        application.at(minute, partial(cause, application))
    application.run(DAY)
    return application


SECOND = {
    "RotationFailed": of_trigger(UNKNOWN),
    "RotationRefused": refused,
    "UndeliveredTriggers": unmapped,
}


def of_alarm(name: str, application: Application, watching: Sequence[Alarm]) -> list[int]:
    """How often an alarm writes, by each assumption."""
    return [sum(page.alarm == name for page in listen(application, beyond, watching).pages) for beyond in BEYOND]


@pytest.mark.parametrize("name", SECOND)
def test_a_second_failure_is_heard_while_the_message_of_the_first_one_still_waits(name: str) -> None:
    application = twice(SECOND[name])

    assert sum(application.waiting.values()) == 2
    assert of_alarm(name, application, deployed()) == [2, 2]


# ---- the tables ------------------------------------------------------------------------------------------------------


def test_the_runbook_says_what_a_person_hears() -> None:
    """Renew it with `python -m tests.cloudwatch`."""
    assert renewed(deployed()) == PAGE.read_text("utf-8")


def test_operations_page_says_how_many_metrics_the_alarms_watch() -> None:
    """CloudWatch bills an alarm for each of them."""
    watched = sum(len(alarm.watches.metrics) for alarm in deployed())

    costs = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert re.findall(r"(\d+) metrics that they watch", costs) == [str(watched)]


# ---- planted mistakes ------------------------------------------------------------------------------------------------


def planted(name: str, change: Callable[[Alarm], Alarm]) -> list[Alarm]:
    assert name in {alarm.name for alarm in deployed()}
    return [change(alarm) if alarm.name == name else alarm for alarm in deployed()]


def incident(fault: str) -> Incident:
    (found,) = (each for each in INCIDENTS if each.fault == fault)
    return found


def test_an_alarm_that_forgets_after_five_minutes_is_found() -> None:
    forgetful = planted("RotationFailed", partial(replace, evaluation_periods=1))

    (first, *_) = problems(incident("a rotation fails again and again, with key guard"), forgetful)

    assert first.count("RotationFailed") > 30


def test_an_alarm_on_a_metric_that_nothing_emits_is_found() -> None:
    renamed = MetricName("InfisicalRotation", "RotationsFailed", frozenset({("service", "infisical-rotation")}))
    deaf = planted("RotationFailed", partial(replace, watches=Statistic(renamed, "Sum")))

    assert problems(incident("a rotation fails, without key guard"), deaf)


def test_an_alarm_on_silence_without_a_warm_up_is_found() -> None:
    assert "AuditSilent" in deployed_at(59, planted("AuditSilent", partial(replace, warm_up_minutes=0)))


def test_an_alarm_without_an_action_is_found() -> None:
    assert problems(
        incident("the key guard refuses a rotation"), planted("RotationRefused", partial(replace, actions=()))
    )


def test_a_dead_letter_queues_depth_as_the_only_alarm_is_found() -> None:
    depth = MetricName("AWS/SQS", "ApproximateNumberOfMessagesVisible", frozenset({("QueueName", FAILED)}))
    only_depth = planted("RotationRefused", partial(replace, watches=Statistic(depth, "Maximum"), evaluation_periods=1))

    assert of_alarm("RotationRefused", twice(refused), only_depth) == [1, 1]
