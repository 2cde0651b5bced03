"""A function that is set up wrongly ends before its first event, and says which of the template's parameters it was."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.runtime.emulator import Invocation
from tests.runtime.world import World

NOBODY = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
MISSING_PARAMETER, WRONG_PARAMETER = "/runtime/nowhere", "/runtime/no-certificate"

# Each variable of the environment, where it comes from, and a function that needs it.
REQUIRED = {
    "INFISICAL_URL": ("InfisicalUrl", "DispatchFunction"),
    "MACHINE_IDENTITY_ID": ("MachineIdentityId or MachineIdentitySecretArn", "DispatchFunction"),
    "MINIMUM_INTERVAL_MINUTES": ("MinimumIntervalMinutes", "HookFunction"),
    "REQUESTS_QUEUE_URL": ("deploy the stack again", "HookFunction"),
    "POWERTOOLS_SERVICE_NAME": ("deploy the stack again", "AuditFunction"),
    "POWERTOOLS_LOG_LEVEL": ("LogLevel", "RotateFunction"),
    "ROTATION_MAP_PARAMETER": ("RotationMapParameter", "AuditFunction"),
    "NAME_CONSUMERS": ("NameConsumers", "RotateFunction"),
    "GRACE_PERIOD_HOURS": ("GracePeriodHours", "RotateFunction"),
    "FAILED_QUEUE_URL": ("deploy the stack again", "RotateFunction"),
    "RETIRE_AFTER_DAYS": ("RetireAfterDays", "RetireFunction"),
    "RETIRE_QUIET_DAYS": ("RetireQuietDays", "RetireFunction"),
    "OUTCOME_EVENT_SOURCE": ("OutcomeEventSource", "DispatchFunction"),
    "MAXIMUM_AGE_DAYS": ("MaximumAgeDays", "AuditFunction"),
}
OPTIONAL = {"MACHINE_IDENTITY_SECRET_ARN", "CA_CERTIFICATE_PARAMETER", "HOOK_FUNCTION", "OUTCOME_EVENT_BUS_NAME"}


class Case(NamedTuple):
    function: str
    variables: Mapping[str, str]
    says: tuple[str, ...]


CASES = {
    **{f"no {name}": Case(each[1], {name: ""}, (name, each[0])) for name, each in REQUIRED.items()},
    # There is the function only where RetireAfterDays is not 0, its default.
    "no RETIRE_QUIET_DAYS": Case(
        "RetireFunction", {"RETIRE_AFTER_DAYS": "14", "RETIRE_QUIET_DAYS": ""}, ("RETIRE_QUIET_DAYS", "RetireQuietDays")
    ),
    "two machine identities": Case(
        "RotateFunction",
        {"MACHINE_IDENTITY_ID": NOBODY, "MACHINE_IDENTITY_SECRET_ARN": "arn"},
        ("MACHINE_IDENTITY_SECRET_ARN", "MachineIdentityId or MachineIdentitySecretArn"),
    ),
    "no machine identity of the hook": Case(
        "HookFunction", {"MACHINE_IDENTITY_ID": ""}, ("HookMachineIdentityId or HookMachineIdentitySecretArn",)
    ),
    "no https": Case("AuditFunction", {"INFISICAL_URL": "http://infisical.example"}, ("INFISICAL_URL", "InfisicalUrl")),
    "no URL": Case("HookFunction", {"INFISICAL_URL": "https://"}, ("INFISICAL_URL", "InfisicalUrl")),
    "no interval": Case(
        "DispatchFunction",
        {"MINIMUM_INTERVAL_MINUTES": "an hour"},
        ("MINIMUM_INTERVAL_MINUTES", "MinimumIntervalMinutes", "an hour"),
    ),
    "no age": Case("AuditFunction", {"MAXIMUM_AGE_DAYS": "0"}, ("MAXIMUM_AGE_DAYS", "MaximumAgeDays")),
    "no grace period": Case(
        "DispatchFunction", {"GRACE_PERIOD_HOURS": "-1"}, ("GRACE_PERIOD_HOURS", "GracePeriodHours")
    ),
    "no log level": Case("RotateFunction", {"POWERTOOLS_LOG_LEVEL": "LOUD"}, ("POWERTOOLS_LOG_LEVEL", "LogLevel")),
    "no certificate": Case(
        "RotateFunction", {"CA_CERTIFICATE_PARAMETER": WRONG_PARAMETER}, ("CaCertificateParameter", "PEM")
    ),
    "no parameter with certificates": Case(
        "HookFunction", {"CA_CERTIFICATE_PARAMETER": MISSING_PARAMETER}, ("CaCertificateParameter", MISSING_PARAMETER)
    ),
}


@pytest.fixture(scope="module")
def ends(world: World) -> dict[str, Invocation]:
    """How the first invocation ended, of each case."""
    world.put_parameter(WRONG_PARAMETER, "-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")

    def run(case: Case) -> Invocation:
        with world.running(case.function, {"HookMachineIdentityId": NOBODY}, variables=case.variables) as function:
            return function.invoke({})

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(CASES, pool.map(run, CASES.values()), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_the_error_names_what_to_correct(ends: dict[str, Invocation], name: str) -> None:
    answer, error = ends[name].answer, ends[name].error or ""

    assert answer["errorType"] == "SettingsError"
    assert [text for text in CASES[name].says if text not in error] == []


@pytest.mark.parametrize("name", CASES)
def test_the_error_is_logged_once_without_library_frames(ends: dict[str, Invocation], name: str) -> None:
    (warning, error), trace = ends[name].printed, ends[name].answer["stackTrace"]

    assert "LAMBDA_WARNING: Unhandled exception" in warning
    assert error.startswith(f"[ERROR] SettingsError: {ends[name].error}")
    ours = [frame for frame in trace if "importlib" not in frame]
    assert [frame for frame in ours if "Function/" not in frame] == []


def test_every_variable_of_the_template_is_tried(world: World) -> None:
    assert {name for function in world.functions.values() for name in function.variables} == REQUIRED.keys() | OPTIONAL


def test_a_map_that_is_not_there_is_missed_by_the_first_event(world: World) -> None:
    with world.running("DispatchFunction", {"RotationMapParameter": MISSING_PARAMETER}) as dispatch:
        error = dispatch.invoke({"trigger": "weekly"}).error or ""

    assert MISSING_PARAMETER in error
    assert "RotationMapParameter" in error
