"""Compares a map with a stack's, and puts it. Everything that a check does not need is imported here."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infisical_rotation_triggers.map.check import STANDARD, MapRefusedError, Report, read, refuse_too_large
from infisical_rotation_triggers.map.difference import UNKNOWN, Resolve, Resolved, Unresolved, changes, limits_of
from infisical_rotation_triggers.one_line import one_line
from infisical_rotation_triggers.preflight.functions import CLIENT_CONFIG, DeployedFunctions, Failure, OutdatedError
from infisical_rotation_triggers.preflight.stack import PreflightError, find_stack
from rotator.triggers.rotation_map import RotationMap, RotationMapError, parse_rotation_map

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

PUT, REFUSED, CANNOT_RUN, NOT_PUT = 0, 1, 2, 3


class ChangedMeanwhileError(MapRefusedError):
    """Somebody else put the parameter at the same time."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """The parameter with the stack's map, as it was read. Version 0 is one that does not exist yet."""

    name: str
    text: str = ""
    version: int = 0
    type: str = "String"
    tier: str = STANDARD
    key_id: str | None = None

    @property
    def rotation_map(self) -> RotationMap:
        """The map; an empty one where there is none, or one that the functions refuse."""
        try:
            return parse_rotation_map(self.text)
        except RotationMapError:
            return RotationMap({}, {})


def deploy(path: Path, stack_name: str, *, yes: bool, quiet: bool) -> Report:
    """Show the difference, ask, and put the map. `quiet` prints nothing and asks nothing.

    Raises MapRefusedError, and OSError if the file cannot be read.
    """
    text, new = read(path)
    try:
        stack = find_stack(boto3.client("cloudformation"), stack_name)
        ssm = boto3.client("ssm")
        parameter = read_parameter(ssm, stack.map_parameter)
        refuse_too_large(text, parameter.tier)
        functions = DeployedFunctions(boto3.client("lambda", config=CLIENT_CONFIG), stack.dispatch, stack.hook)
        found = list(
            changes(parameter.rotation_map, new, resolver(functions, parameter.text), resolver(functions, text))
        )
        if not quiet:
            for change in found:
                print(one_line(str(change)))
        if any(change.kind == UNKNOWN for change in found):
            message = "dispatch would refuse a trigger of this map: nothing was put. Correct the map"
            return Report(str(path), REFUSED, message, found)
        if text == parameter.text:
            return Report(str(path), PUT, f"{parameter.name} has this map already, version {parameter.version}", found)
        if not (yes or (not quiet and _asked(f"Put the map into {parameter.name}?"))):
            message = f"it differs from version {parameter.version} of {parameter.name}; nothing was put"
            return Report(str(path), NOT_PUT, message, found)
        version = put(ssm, parameter, text)
    except (PreflightError, OutdatedError, BotoCoreError, ClientError) as error:
        return Report(str(path), CANNOT_RUN, str(error))
    message = f"put into {parameter.name}, version {version}; the functions use it within seconds"
    return Report(str(path), PUT, message, found)


def read_parameter(ssm: "SSMClient", name: str) -> Parameter:
    """Read the parameter and what a put has to keep: its type, tier and key."""
    try:
        parameter = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]
    except ssm.exceptions.ParameterNotFound:
        return Parameter(name)
    filters: Any = [{"Key": "Name", "Option": "Equals", "Values": [name]}]
    described = ssm.describe_parameters(ParameterFilters=filters)["Parameters"]
    metadata: Any = described[0] if described else {}
    return Parameter(
        name,
        parameter["Value"],
        parameter["Version"],
        parameter["Type"],
        metadata.get("Tier", STANDARD),
        metadata.get("KeyId"),
    )


def put(ssm: "SSMClient", read_before: Parameter, text: str) -> int:
    """Put the map unless the parameter has changed since it was read; return the new version.

    SSM has no conditional put for a parameter that exists:
    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
    So a change between the check and the put, some milliseconds, is overwritten. The new version shows that, and the
    error names the version that was lost. A parameter that does not exist yet is created without overwriting.
    Raises ChangedMeanwhileError.
    """
    name = read_before.name
    now = read_parameter(ssm, name)
    if now.version != read_before.version:
        raise ChangedMeanwhileError(
            f"somebody changed {name} meanwhile, from version {read_before.version} to {now.version}: nothing was put."
            " Run it again to see the new difference"
        )
    kept: Any = {"Type": now.type, "Tier": now.tier} | ({"KeyId": now.key_id} if now.key_id else {})
    try:
        version = ssm.put_parameter(Name=name, Value=text, Overwrite=now.version > 0, **kept)["Version"]
    except ssm.exceptions.ParameterAlreadyExists:
        raise ChangedMeanwhileError(f"somebody created {name} meanwhile: nothing was put. Run it again") from None
    if version != now.version + 1:
        raise ChangedMeanwhileError(
            f"this map is version {version} of {name} and has overwritten version {version - 1}, which somebody put at"
            f" the same moment. Compare them: aws ssm get-parameter --with-decryption --name {name}:{version - 1}"
        )
    return version


def resolver(functions: DeployedFunctions, text: str) -> Resolve:
    """Return what resolves the triggers of a map by dry runs, whether the map is put or not."""

    def resolve(trigger: str) -> Resolved | Unresolved:
        reports = functions.dry_run_trigger(trigger, text)
        if isinstance(reports, Failure):
            if reports.reason == "UnsupportedEvent":  # a dispatch that does not know `map` yet
                raise OutdatedError
            return Unresolved(f"{reports.reason}: {reports.explanation}")
        return {
            each["rotation_id"]: ("" if each["decision"] == "unreadable" else each["rotation_name"], limits_of(each))
            for each in reports
        }

    return resolve


def _asked(question: str) -> bool:
    """Ask a person; nobody is asked where the input is not a terminal."""
    return sys.stdin.isatty() and input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
