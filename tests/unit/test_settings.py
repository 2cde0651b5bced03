from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from rotator.settings import (
    InfisicalSettings,
    RequesterSettings,
    RotateSettings,
    SettingsError,
)
from tests.unit.environments import (
    COMMON,
    DISPATCH,
    FAILED_URL,
    IDENTITY_ID,
    IDENTITY_SECRET,
    KEY_GUARD,
    QUEUE_URL,
    ROTATE,
    infisical_settings,
    with_url,
)

# What the template sets to nothing where it is not used.
UNUSED = {"MACHINE_IDENTITY_SECRET_ARN": "", "CA_CERTIFICATE_PARAMETER": ""}


@dataclass(frozen=True)
class Function:
    """A function of template.yaml, what reads its environment, and an environment that is right."""

    resource: str
    read: Callable[[Mapping[str, str]], object]
    environment: dict[str, str]


FUNCTIONS = [
    Function("DispatchFunction", RequesterSettings.read, DISPATCH),
    Function("RotateFunction", RotateSettings.read, ROTATE),
]
EACH_FUNCTION = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.resource)
EACH_VARIABLE = pytest.mark.parametrize(
    ("function", "variable"),
    [
        (function, variable)
        for function in FUNCTIONS
        for variable in function.environment
        if variable not in {"MACHINE_IDENTITY_ID", "OUTCOME_EVENT_BUS_NAME"}  # may be empty
    ],
)


# ---- what is read ----------------------------------------------------------------------------------------------------


INFISICAL = InfisicalSettings("https://eu.infisical.com", IDENTITY_ID, "", "")


def test_dispatch_reads_its_environment() -> None:
    assert RequesterSettings.read(DISPATCH) == RequesterSettings(
        infisical=INFISICAL,
        minimum_interval=timedelta(hours=1),
        grace_period=timedelta(hours=6),
        name_consumers=True,
        requests_queue_url=QUEUE_URL,
        rotation_map_parameter="/infisical-rotation/map",
        outcome_event_bus_name="default",
        outcome_event_source="infisical-rotation",
        service="stack",
        log_level="INFO",
    )


def test_rotate_reads_its_environment() -> None:
    assert RotateSettings.read(ROTATE) == RotateSettings(
        infisical=INFISICAL,
        minimum_interval=timedelta(hours=1),
        grace_period=timedelta(hours=6),
        name_consumers=True,
        requests_queue_url=QUEUE_URL,
        failed_queue_url=FAILED_URL,
        outcome_event_bus_name="default",
        outcome_event_source="infisical-rotation",
        service="stack",
        log_level="INFO",
    )


@EACH_FUNCTION
def test_an_empty_variable_counts_as_unset(function: Function) -> None:
    assert function.read(function.environment | UNUSED) == function.read(function.environment)


def test_universal_auth_takes_the_identity_from_a_secret() -> None:
    environment = COMMON | {"MACHINE_IDENTITY_ID": "", "MACHINE_IDENTITY_SECRET_ARN": f" {IDENTITY_SECRET}\n"}

    read = infisical_settings(environment)

    assert (read.identity_id, read.identity_secret_arn) == ("", IDENTITY_SECRET)


def test_a_certificate_authority_of_ones_own_is_named_by_its_parameter() -> None:
    environment = COMMON | {"CA_CERTIFICATE_PARAMETER": "/infisical/ca"}

    assert infisical_settings(environment).ca_certificate_parameter == "/infisical/ca"


@pytest.mark.parametrize(
    ("written", "interval"),
    [
        ("5", timedelta(minutes=5)),
        (" 60\n", timedelta(hours=1)),
        ("60.0", timedelta(hours=1)),
        ("0.5", timedelta(seconds=30)),
        ("525600", timedelta(days=365)),
    ],
)
def test_minutes_may_be_fractional_as_cloudformations_numbers_may(written: str, interval: timedelta) -> None:
    assert RotateSettings.read(ROTATE | {"MINIMUM_INTERVAL_MINUTES": written}).minimum_interval == interval


@pytest.mark.parametrize(
    ("written", "base_url"),
    [
        ("https://us.infisical.com", "https://us.infisical.com"),
        ("https://us.infisical.com/", "https://us.infisical.com"),
        (" https://us.infisical.com\n", "https://us.infisical.com"),
        ("https://infisical.example.com:8443", "https://infisical.example.com:8443"),
        ("https://example.com/infisical", "https://example.com/infisical"),
        ("https://infisical.example.com/api", "https://infisical.example.com"),
        ("https://infisical.example.com/api/", "https://infisical.example.com"),
        ("https://example.com/infisical/api", "https://example.com/infisical"),
        ("https://example.com/my-api", "https://example.com/my-api"),
        ("https://example.com/api/v1", "https://example.com/api/v1"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.255.0.1", "http://127.255.0.1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://localhost:8080", "http://localhost:8080"),
    ],
)
def test_a_base_url_is_https_or_on_this_very_machine(written: str, base_url: str) -> None:
    assert infisical_settings(with_url(written)).url == base_url


# ---- what is refused -------------------------------------------------------------------------------------------------


@EACH_VARIABLE
@pytest.mark.parametrize("nothing", [None, "", " "], ids=repr)
def test_a_variable_that_is_not_set_is_named(function: Function, variable: str, nothing: str | None) -> None:
    environment = {name: value for name, value in function.environment.items() if name != variable}
    if nothing is not None:
        environment[variable] = nothing

    with pytest.raises(SettingsError, match=rf"^the environment variable {variable} is not set; "):
        function.read(environment)


@pytest.mark.parametrize(
    "identities",
    [
        {},
        {"MACHINE_IDENTITY_ID": "", "MACHINE_IDENTITY_SECRET_ARN": ""},
        {"MACHINE_IDENTITY_ID": " ", "MACHINE_IDENTITY_SECRET_ARN": "\n"},
        {"MACHINE_IDENTITY_ID": IDENTITY_ID, "MACHINE_IDENTITY_SECRET_ARN": IDENTITY_SECRET},
    ],
    ids=["not set", "nothing", "white space", "both"],
)
@EACH_FUNCTION
def test_a_missing_or_double_identity_is_refused_by_both_parameters(
    function: Function, identities: dict[str, str]
) -> None:
    environment = {name: value for name, value in function.environment.items() if name != "MACHINE_IDENTITY_ID"}

    with pytest.raises(
        SettingsError, match=r"^exactly one of MACHINE_IDENTITY_ID .* and MACHINE_IDENTITY_SECRET_ARN"
    ) as no:
        function.read(environment | identities)

    assert "MachineIdentityId or MachineIdentitySecretArn" in str(no.value)
    assert set(TEMPLATE["Parameters"]) >= {"MachineIdentityId", "MachineIdentitySecretArn"}


@EACH_FUNCTION
def test_a_switch_is_either_enabled_or_disabled(function: Function) -> None:
    with pytest.raises(SettingsError, match=r"^NAME_CONSUMERS must be ENABLED .* not 'yes'; .* NameConsumers$"):
        function.read(function.environment | {"NAME_CONSUMERS": "yes"})


NO_NUMBERS = pytest.mark.parametrize(
    "value",
    ["x", "0", "-0", "0.0", "-1", "1e-12", "0x10", "²", "1 0", "1,5", "True", "nan", "inf", "-inf", "1e300", "9" * 400],
)


@NO_NUMBERS
@EACH_FUNCTION
def test_a_number_of_hours_that_is_none_is_named_with_its_parameter(function: Function, value: str) -> None:
    with pytest.raises(SettingsError, match=r"^GRACE_PERIOD_HOURS must be a number of hours, not ") as refused:
        function.read(function.environment | {"GRACE_PERIOD_HOURS": value})

    assert str(refused.value).endswith("; set the template's parameter GracePeriodHours")


@NO_NUMBERS
def test_a_number_of_minutes_that_is_none_is_named(value: str) -> None:
    with pytest.raises(SettingsError, match=r"^MINIMUM_INTERVAL_MINUTES must be a number of minutes, not ") as refused:
        RotateSettings.read(ROTATE | {"MINIMUM_INTERVAL_MINUTES": value})

    assert len(str(refused.value)) < 250


@pytest.mark.parametrize(
    "url",
    [
        "http://us.infisical.com",
        "HTTP://us.infisical.com",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://169.254.169.254",
        "http://128.0.0.1",
        "http://[::2]",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://mylocalhost",
        "ftp://us.infisical.com",
        "ftp://127.0.0.1",
        "//us.infisical.com",
    ],
)
def test_tokens_are_not_sent_in_the_clear(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^INFISICAL_URL must begin with https://, not "):
        infisical_settings(with_url(url))


NO_BASE_URL = [
    "us.infisical.com",
    "/api",
    "https://",
    "https:///api",
    "https:us.infisical.com",
    "https://us.infisical.com:port",
    "https://[::1",
    "https://user:hidden@us.infisical.com",
    "https://hidden@us.infisical.com",
    "http://user:hidden@127.0.0.1",
    "https://us.infisical.com?token=hidden",
    "https://us.infisical.com/?token=hidden",
    "https://us.infisical.com#hidden",
]


@pytest.mark.parametrize("url", NO_BASE_URL)
def test_a_url_that_says_more_than_where_infisical_is_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^INFISICAL_URL must be a plain base URL such as https://"):
        infisical_settings(with_url(url))


@pytest.mark.parametrize("url", [*NO_BASE_URL, "http://us.infisical.com/hidden", "ftp://us.infisical.com/hidden"])
def test_a_refused_url_is_not_logged(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        infisical_settings(with_url(url))

    assert "hidden" not in str(refused.value)


# ---- template.yaml ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Intrinsic:
    """A CloudFormation function, such as `!Ref X`."""

    tag: str
    argument: Any


class TemplateLoader(yaml.SafeLoader):
    """Reads CloudFormation's tags as what they are."""


def _intrinsic(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> Intrinsic:
    if isinstance(node, yaml.MappingNode):
        return Intrinsic(tag, loader.construct_mapping(node, deep=True))
    if isinstance(node, yaml.SequenceNode):
        return Intrinsic(tag, loader.construct_sequence(node, deep=True))
    assert isinstance(node, yaml.ScalarNode)
    return Intrinsic(tag, loader.construct_scalar(node))


TemplateLoader.add_multi_constructor("!", _intrinsic)
TEMPLATE = TemplateLoader((Path(__file__).parents[2] / "template.yaml").read_text("utf-8")).get_single_data()


def variables_of(function: Function) -> dict[str, Any]:
    """What the template sets on a function, its globals included."""
    own = TEMPLATE["Resources"][function.resource]["Properties"]["Environment"]["Variables"]
    return {**TEMPLATE["Globals"]["Function"]["Environment"]["Variables"], **own}


class WatchedEnvironment(Mapping[str, str]):
    """Knows which of its variables were asked for."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


@EACH_FUNCTION
def test_the_template_sets_what_a_function_reads_and_nothing_else(function: Function) -> None:
    environment = WatchedEnvironment(function.environment)

    function.read(environment)

    assert set(variables_of(function)) == environment.asked


@EACH_VARIABLE
def test_a_missing_variable_names_its_template_parameter(function: Function, variable: str) -> None:
    value = variables_of(function)[variable]
    is_parameter = isinstance(value, Intrinsic) and value.argument in TEMPLATE["Parameters"]
    cure = (
        f"set the template's parameter {value.argument}" if is_parameter else "template.yaml sets it: deploy the stack"
    )

    with pytest.raises(SettingsError, match=cure):
        function.read(function.environment | {variable: ""})


def test_an_invalid_variable_names_its_template_parameter() -> None:
    with pytest.raises(SettingsError, match=r"; set the template's parameter MinimumIntervalMinutes$"):
        RotateSettings.read(ROTATE | {"MINIMUM_INTERVAL_MINUTES": "x"})


def test_the_templates_defaults_are_accepted_with_an_identity() -> None:
    defaults = {name: str(parameter.get("Default", "")) for name, parameter in TEMPLATE["Parameters"].items()}
    variables = {
        name: defaults[value.argument]
        for name, value in variables_of(FUNCTIONS[1]).items()
        if isinstance(value, Intrinsic) and value.argument in defaults
    }

    read = RotateSettings.read(ROTATE | variables | {"MACHINE_IDENTITY_ID": IDENTITY_ID})

    assert read.infisical == InfisicalSettings("https://us.infisical.com", IDENTITY_ID, "", "")
    assert read.minimum_interval == timedelta(hours=1)
    assert read.grace_period == timedelta(hours=6)


@pytest.mark.parametrize("bound", ["MinValue", "MaxValue"])
@EACH_FUNCTION
def test_the_grace_periods_that_the_template_allows_are_accepted(function: Function, bound: str) -> None:
    hours = TEMPLATE["Parameters"]["GracePeriodHours"][bound]

    read = function.read(function.environment | {"GRACE_PERIOD_HOURS": str(hours)})

    assert isinstance(read, RequesterSettings | RotateSettings)
    assert read.grace_period == timedelta(hours=hours)


@pytest.mark.parametrize("bound", ["MinValue", "MaxValue"])
def test_the_intervals_that_the_template_allows_are_accepted(bound: str) -> None:
    minutes = TEMPLATE["Parameters"]["MinimumIntervalMinutes"][bound]

    read = RotateSettings.read(ROTATE | {"MINIMUM_INTERVAL_MINUTES": str(minutes)})

    assert read.minimum_interval == timedelta(minutes=minutes)


def test_the_hook_names_its_own_parameters_for_its_machine_identity() -> None:
    environment = {name: value for name, value in COMMON.items() if not name.startswith("MACHINE_IDENTITY")}
    mapped = {"ROTATION_MAP_PARAMETER": "/map", **KEY_GUARD}

    with pytest.raises(SettingsError, match="HookMachineIdentityId or HookMachineIdentitySecretArn"):
        RequesterSettings.read(environment | mapped, identity_of="Hook")
