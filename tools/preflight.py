"""`make preflight STACK=…`: what would be decided for every rotation of the map, and what stands in its way.

It asks the deployed functions for dry runs, with the caller's own AWS credentials. Nothing is rotated or changed.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rotator.aws import PARAMETER_CACHE_SECONDS
from rotator.triggers.rotation_map import RotationMap, RotationMapError, parse_rotation_map
from tools.dry_runs import CLIENT_CONFIG, DryRuns, OutdatedError
from tools.judgement import Problem, of_map, spoken
from tools.one_line import one_line
from tools.schedule_period import UnknownPeriodError, shortest_period
from tools.survey import ASKED_ABOUT_ACCESS, Row, Stack, Survey, with_shared_users

if TYPE_CHECKING:
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_ssm import SSMClient

# A problem that many rotations share is told once, and names so many of them.
SUBJECTS = 8

# What the first rotation and the next audit tell.
NOT_ASKED = "Not asked: {}whether the machine identity may rotate."
NOT_LET_IN = "whether Infisical lets {} in (it takes a rotation to ask about, and the permission to invoke them); "


THE_MAP = "the rotation map"

Problems = Mapping[str, Sequence[Problem]]  # by what they are problems of


class PreflightError(Exception):
    """Nothing can be asked; the text says why."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The stack's own. `period` is the shortest distance of its occurrences, None where there is or is known none."""

    expression: str
    timezone: str
    enabled: bool
    period: timedelta | None
    rhythm: str


def find(stack: str) -> Stack:
    """Look a stack up.

    Raises PreflightError where it is not of this application.
    """
    description = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in description.get("Outputs", [])}
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in description.get("Parameters", [])}
    try:
        return Stack(
            dispatch=outputs["DispatchFunctionName"],
            dispatch_role=outputs["DispatchRoleArn"],
            rotate=outputs["RotateFunctionName"],
            rotate_role=outputs["RotateRoleArn"],
            audit=outputs["AuditFunctionName"],
            audit_role=outputs["AuditRoleArn"],
            hook=outputs.get("HookFunctionArn"),
            hook_role=outputs.get("HookRoleArn", ""),
            map_parameter=outputs["RotationMapParameterName"],
            schedule=outputs["ScheduleName"],
            schedule_trigger=parameters["ScheduleTrigger"],
            maximum_age=timedelta(days=float(parameters["MaximumAgeDays"])),
        )
    except KeyError as missing:
        raise PreflightError(
            f"the stack {stack} has no {missing}: is it one of this application, and of this version?"
        ) from None


def read_schedule(scheduler: "EventBridgeSchedulerClient", name: str, now: datetime) -> Schedule:
    """Read a schedule of the default group."""
    schedule = scheduler.get_schedule(Name=name)
    expression, timezone = schedule["ScheduleExpression"], schedule.get("ScheduleExpressionTimezone", "UTC")
    try:
        period = shortest_period(expression, timezone, now)
        rhythm = f"at least {spoken(period)} apart" if period else "not again after that"
    except UnknownPeriodError:
        period, rhythm = None, "how often is not understood here (compare intervals and ages with it yourself)"
    return Schedule(expression, timezone, schedule["State"] == "ENABLED", period, rhythm)


def read_map(ssm: "SSMClient", name: str) -> RotationMap | Problem:
    """Read the map, and wait until the functions, which keep it for some seconds, see the same."""
    cure = f"aws ssm put-parameter --name {name} --type String --overwrite --value file://map.json"
    try:
        parameter = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]
        rotation_map = parse_rotation_map(parameter["Value"])
    except ssm.exceptions.ParameterNotFound:
        return Problem(f"there is no rotation map in the SSM parameter {name}", cure)
    except RotationMapError as error:
        return Problem(str(error), f"correct it, then {cure}")
    age = (datetime.now(UTC) - parameter["LastModifiedDate"]).total_seconds()
    time.sleep(min(max(0, PARAMETER_CACHE_SECONDS + 1 - age), PARAMETER_CACHE_SECONDS + 1))
    return rotation_map


def survey(stack: Stack, schedule: Schedule, now: datetime) -> tuple[list[Row], Problems]:
    """Ask about everything; return the rows, and what is wrong beside them."""
    rotation_map = read_map(boto3.client("ssm"), stack.map_parameter)
    if isinstance(rotation_map, Problem):
        return [], {THE_MAP: [rotation_map]}
    triggers, mirrors = rotation_map.triggers, rotation_map.mirrors
    problems = of_map(triggers, mirrors, stack.schedule_trigger, enabled=schedule.enabled)
    dry_runs = DryRuns(boto3.client("lambda", config=CLIENT_CONFIG), stack.dispatch, stack.hook)
    survey = Survey(stack, dry_runs, schedule.period, now)
    rows = with_shared_users(list(survey.rows(rotation_map)))
    return rows, {THE_MAP: problems, **survey.access(rows)}


def show(console: Console, trigger: str, schedule: Schedule, rows: Sequence[Row], beside: Problems) -> int:
    """Print what was found; return how many problems there are."""
    state = "on" if schedule.enabled else "off"
    when = f"{schedule.expression}, {schedule.timezone}, {schedule.rhythm}"
    _line(console, f"The schedule names {trigger}: {when}. It is {state}.")
    if rows:
        console.print(_table(rows))
    problems: dict[Problem, list[str]] = {}
    of_rows = ((f"{row.of}: {row.rotation}" if row.rotation else row.of, row.problems) for row in rows)
    for subject, found in (*beside.items(), *of_rows):
        for each in found:
            problems.setdefault(each, []).append(subject)
    for problem, subjects in problems.items():
        more = [f"{len(subjects) - SUBJECTS} more"] if len(subjects) > SUBJECTS else []
        whose = ", ".join([*map(one_line, subjects[:SUBJECTS]), *more])
        what, next_step = one_line(problem.what).rstrip("."), one_line(problem.next_step)
        _line(console, f"✗ {whose}: {what}. Next: {next_step}", "red")
    if problems:
        _line(console, f"{len(problems)} to see to. Then run this again.")
    else:
        _line(console, "✓ Nothing stands in the way.", "green")
        if not schedule.enabled:
            _line(console, "Next: switch the schedule on, by deploying with ScheduleState=ENABLED.")
    unasked = " and ".join(name for name in ASKED_ABOUT_ACCESS if name not in beside)
    _line(console, NOT_ASKED.format(NOT_LET_IN.format(unasked) if unasked else ""), "dim")
    return len(problems)


def _table(rows: Sequence[Row]) -> Table:
    """A table with a heading for each trigger and each mirror."""
    table = Table(box=SIMPLE, pad_edge=False)
    for column in ("", "Rotation", "Last rotated\n(UTC)", "Now", "Key guard", "Auto-\nrotation"):
        table.add_column(column, overflow="fold")
    for (name, mirror), group in groupby(rows, lambda row: (row.of, row.mirror)):
        table.add_row("", Text(one_line(name), "bold"), "", f"mirror: {mirror}" if mirror else "")
        for row in group:
            table.add_row(
                Text("✗", "red") if row.problems else Text("✓", "green"),
                Text("\n".join(one_line(each) for each in (row.rotation, row.kind) if each)),
                row.last_rotated_at[:16].replace("T", " "),
                Text(one_line(row.decision if row.decision == "rotate" else f"{row.decision}: {row.reason}")),
                row.key_guard,
                row.auto_rotation,
            )
        table.add_section()
    return table


def _line(console: Console, text: str, style: str = "") -> None:
    """One line, however long, in which nothing is markup."""
    console.print(Text(text, style), soft_wrap=True)


def main() -> int:
    """Return the exit status: 0 where all is well, 1 where something needs attention, 2 where it cannot be asked."""
    parser = argparse.ArgumentParser(prog="make preflight", description=__doc__)
    parser.add_argument("--stack", required=True)
    name = parser.parse_args().stack
    console, now = Console(highlight=False), datetime.now(UTC)
    try:
        with console.status("Asking the deployed functions"):
            stack = find(name)
            schedule = read_schedule(boto3.client("scheduler"), stack.schedule, now)
            rows, beside = survey(stack, schedule, now)
    except (PreflightError, OutdatedError, BotoCoreError, ClientError) as error:
        print(one_line(str(error)), file=sys.stderr)
        return 2
    return 1 if show(console, stack.schedule_trigger, schedule, rows, beside) else 0


if __name__ == "__main__":
    sys.exit(main())
