"""The tables of docs/runbook.md that say what a person hears, made by running the incidents."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.cloudwatch.application import HOUR
from tests.cloudwatch.evaluation import Alarm, transitions
from tests.cloudwatch.incidents import AT, BEYOND, DAY, INCIDENTS, JUST_BEFORE_AN_AUDIT, Heard, Incident, listen, run
from tests.cloudwatch.metrics import Metrics
from tests.sandbox.embedded_aws import ROOT

PAGE = ROOT / "docs" / "runbook.md"
BEGIN, END = "<!-- pages: written by python -m tests.cloudwatch -->", "<!-- end of pages -->"


def hearings(incident: Incident, alarms: Sequence[Alarm]) -> Mapping[tuple[int, int], Heard]:
    """What is heard of an incident, by the moment of its fault and by what is assumed of CloudWatch."""
    found: dict[tuple[int, int], Heard] = {}
    for at in (AT, JUST_BEFORE_AN_AUDIT):
        application = run(incident, at)
        found |= {(at, beyond): listen(application, beyond, alarms) for beyond in BEYOND}
    return found


def renewed(alarms: Sequence[Alarm], page: Path = PAGE) -> str:
    """The page with its tables made anew."""
    table = "\n".join([*_faults(alarms), "", "Each alarm returns to OK by itself:", "", *_ends(alarms)])
    place = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    text, places = place.subn(lambda _: f"{BEGIN}\n{table}\n{END}", page.read_text("utf-8"))
    assert places == 1
    return text


def _faults(alarms: Sequence[Alarm]) -> Iterable[str]:
    yield "| fault | alarms | first message after | messages in 24 h |"
    yield "| --- | --- | ---: | --- |"
    for incident in INCIDENTS:
        heard = hearings(incident, alarms)
        first = max((each.pages[0].minute - at for (at, _), each in heard.items() if each.pages), default=0)
        number = max(len(each.of_a_day) for each in heard.values() if each.pages)
        why = f": {incident.reason}" if incident.reason else ""
        links = ", ".join(f"[{name}](#{_section(name)})" for name in incident.hears)
        yield f"| {incident.fault} | {links} | {spoken(first)} | {number}{why} |"


def _ends(alarms: Sequence[Alarm]) -> Iterable[str]:
    yield "| alarm | OK within | after |"
    yield "| --- | ---: | --- |"
    for alarm in alarms:
        after = AFTER.get(alarm.name, "the last failure that it counts")
        yield f"| [{alarm.name}](#{_section(alarm.name)}) | {spoken(ok_after(alarm))} | {after} |"


AFTER = {
    **dict.fromkeys(
        (
            "OverdueRotations",
            "UnreadableRotations",
            "LaggingMirrors",
            "InactivePublishedKeys",
            "SharedUsers",
            "AutoRotation",
        ),
        "the first audit without the problem",
    ),
    "PreviousKeyInUse": "the first run of retire without such a key",
    "AuditSilent": "the next audit",
    "MessagesWaiting": "both queues are empty",
}
SECTIONS = {"FunctionErrors": "errors", "FunctionThrottles": "throttles", "AutoRotation": "autorotationenabled"}


def _section(alarm: str) -> str:
    return SECTIONS.get(alarm, alarm.lower())


def ok_after(alarm: Alarm) -> int:
    """The longest time, in minutes, from the end of an incident until its alarm is OK."""
    longest = 0
    for beyond in BEYOND:
        metrics, ended = Metrics(), CLEAN_AT
        silent = alarm.name == "AuditSilent"
        if alarm.name in AFTER and alarm.name != "MessagesWaiting":
            # A person starts the audit that finds nothing ten minutes after one that did.
            minutes = [] if silent else range(CLEAN_AT - 10 - 8 * 6 * HOUR, CLEAN_AT, 6 * HOUR)
            _put(metrics, alarm, {**dict.fromkeys(minutes, alarm.threshold), CLEAN_AT: 0.0, CLEAN_AT + 6 * HOUR: 0.0})
        else:  # every minute of two days
            ended = CLEAN_AT - 1
            _put(metrics, alarm, dict.fromkeys(range(CLEAN_AT - 2 * DAY, CLEAN_AT), alarm.threshold))
        changes = transitions(alarm, metrics, created=0, until=CLEAN_AT + 36 * HOUR, beyond=beyond)
        heard = Heard(list(changes))
        assert heard.pages
        longest = max(longest, heard.returns_to_ok(alarm.name) - ended)
    return longest


CLEAN_AT = 3 * DAY + 7


def _put(metrics: Metrics, alarm: Alarm, values: Mapping[int, float]) -> None:
    for minute, value in values.items():
        metrics.put(minute, alarm.watches.metrics[0], value)


def spoken(minutes: int) -> str:
    """5 min, 2 h, 6 h 5 min."""
    hours, rest = divmod(minutes, HOUR)
    return " ".join(
        part for part in (f"{hours} h" if hours else "", f"{rest} min" if rest or not hours else "") if part
    )
