"""What would be decided for every rotation of the map, and which problems there are.

It asks the deployed functions for dry runs, with the caller's own AWS credentials. Nothing is rotated or changed.
"""

import json
import sys
from datetime import UTC, datetime

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infisical_rotation_triggers.one_line import one_line
from infisical_rotation_triggers.preflight.alarm_topic import THE_ALARMS, check_alarm_topic, publish_test
from infisical_rotation_triggers.preflight.checks import Problem, check_map
from infisical_rotation_triggers.preflight.collect import Preflight, Row, with_shared_users
from infisical_rotation_triggers.preflight.display import Problems, describe, open_console, show
from infisical_rotation_triggers.preflight.functions import CLIENT_CONFIG, DeployedFunctions, OutdatedError
from infisical_rotation_triggers.preflight.stack import (
    PreflightError,
    Schedule,
    Stack,
    find_stack,
    read_map,
    read_schedule,
)

THE_MAP = "the rotation map"


def run(name: str, *, test_alarm: bool, as_json: bool) -> int:
    """Return the exit status: 0 without problems, 1 with problems, 2 if preflight cannot run."""
    console, now = open_console(sys.stdout), datetime.now(UTC)
    try:
        with console.status("Asking the deployed functions"):
            stack = find_stack(boto3.client("cloudformation"), name)
            schedule = read_schedule(boto3.client("scheduler"), stack.schedule_group, stack.schedule, now)
            rows, other_problems = collect(stack, schedule, now)
            sns = boto3.client("sns")
            heard = check_alarm_topic(sns, stack.alarm_topic, failure_messages=stack.failure_messages)
            other_problems = {THE_ALARMS: heard, **other_problems}
            if test_alarm:
                publish_test(sns, stack.alarm_topic, name)
    except (PreflightError, OutdatedError, BotoCoreError, ClientError) as error:
        print(one_line(str(error)), file=sys.stderr)
        return 2
    if as_json:
        report = describe(stack.schedule_trigger, schedule, rows, other_problems)
        print(json.dumps(report, indent=2))
        return 1 if report["problems"] else 0
    problems = show(console, stack.schedule_trigger, schedule, rows, other_problems)
    if test_alarm:
        console.print(f"Published a test message to {stack.alarm_topic}. Check that it arrives.", soft_wrap=True)
    return 1 if problems else 0


def collect(stack: Stack, schedule: Schedule, now: datetime) -> tuple[list[Row], Problems]:
    """Return a row for each rotation, and the problems that belong to no row."""
    rotation_map = read_map(boto3.client("ssm"), stack.map_parameter)
    if isinstance(rotation_map, Problem):
        return [], {THE_MAP: [rotation_map]}
    functions = DeployedFunctions(boto3.client("lambda", config=CLIENT_CONFIG), stack.dispatch, stack.hook)
    preflight = Preflight(stack, functions, schedule.period, now)
    rows = with_shared_users(list(preflight.collect_rows(rotation_map)))
    return rows, {
        THE_MAP: check_map(
            rotation_map.triggers, rotation_map.mirrors, stack.schedule_trigger, enabled=schedule.enabled
        ),
        **preflight.check_access(rows),
    }
