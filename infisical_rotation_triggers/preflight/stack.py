"""Reads the deployed stack: its outputs, its schedule and its rotation map."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from infisical_rotation_triggers.preflight.checks import Problem, format_duration
from infisical_rotation_triggers.preflight.schedule import UnknownPeriodError, shortest_period
from rotator.aws import PARAMETER_CACHE_SECONDS
from rotator.triggers.rotation_map import RotationMap, RotationMapError, parse_rotation_map

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_ssm import SSMClient


class PreflightError(Exception):
    """Preflight cannot run; the message says why."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The outputs and parameters that preflight needs. `hook` is a function's ARN.

    `hook` and `retire` are None in a stack without that function.
    """

    dispatch: str
    dispatch_role: str
    rotate: str
    rotate_role: str
    audit: str
    audit_role: str
    hook: str | None
    hook_role: str
    retire: str | None
    retire_role: str
    map_parameter: str
    schedule: str
    schedule_group: str
    alarm_topic: str
    failure_messages: bool
    schedule_trigger: str
    maximum_age: timedelta


@dataclass(frozen=True, slots=True)
class Schedule:
    """The stack's schedule.

    `period` is the shortest time between two occurrences; None if there is no second occurrence or it is unknown.
    """

    expression: str
    timezone: str
    enabled: bool
    period: timedelta | None
    rhythm: str


def find_stack(cloudformation: "CloudFormationClient", name: str) -> Stack:
    """Read the outputs and parameters of a stack.

    Raises PreflightError if it is a stack of another application or version.
    """
    description = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
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
            retire=outputs.get("RetireFunctionName"),
            retire_role=outputs.get("RetireRoleArn", ""),
            map_parameter=outputs["RotationMapParameterName"],
            schedule=outputs["ScheduleName"],
            schedule_group=outputs["ScheduleGroupName"],
            alarm_topic=outputs["AlarmTopic"],
            failure_messages="OutcomeEventBusName" in outputs or parameters.get("ExposedKeyMessages") == "ENABLED",
            schedule_trigger=parameters["ScheduleTrigger"],
            maximum_age=timedelta(days=float(parameters["MaximumAgeDays"])),
        )
    except KeyError as missing:
        raise PreflightError(
            f"the stack {name} has no {missing}: check that it is a stack of this application, and deploy this version"
        ) from None


def read_schedule(scheduler: "EventBridgeSchedulerClient", group: str, name: str, now: datetime) -> Schedule:
    """Read a schedule."""
    schedule = scheduler.get_schedule(GroupName=group, Name=name)
    expression, timezone = schedule["ScheduleExpression"], schedule.get("ScheduleExpressionTimezone", "UTC")
    try:
        period = shortest_period(expression, timezone, now)
        rhythm = f"at least {format_duration(period)} apart" if period else "at most one more occurrence"
    except UnknownPeriodError:
        period = None
        rhythm = "an expression that preflight cannot read (compare intervals and ages with it yourself)"
    return Schedule(expression, timezone, schedule["State"] == "ENABLED", period, rhythm)


def read_map(ssm: "SSMClient", name: str) -> RotationMap | Problem:
    """Read the map, and wait until the functions, which cache it for some seconds, see the same one."""
    put_map = f"aws ssm put-parameter --name {name} --type String --overwrite --value file://map.json"
    try:
        parameter = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]
        rotation_map = parse_rotation_map(parameter["Value"])
    except ssm.exceptions.ParameterNotFound:
        return Problem(f"there is no rotation map in the SSM parameter {name}", put_map)
    except RotationMapError as error:
        return Problem(str(error), f"correct it, then {put_map}")
    age = (datetime.now(UTC) - parameter["LastModifiedDate"]).total_seconds()
    time.sleep(min(max(0, PARAMETER_CACHE_SECONDS + 1 - age), PARAMETER_CACHE_SECONDS + 1))
    return rotation_map
