"""The environment of each function, read once, typed. template.yaml sets it from its parameters.

An empty `outcome_event_bus_name` switches outcome events off.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address

import httpx

from rotator.model import MAXIMUM_INTERVAL
from rotator.text import quote

MAP_SOURCE = "RotationMapParameter"  # of the template

_PORTS = {None, *range(1, 65_536)}
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_DEPLOY_AGAIN = "template.yaml sets it: deploy the stack again"


class SettingsError(ValueError):
    """The environment lacks a variable or holds a wrong one; the text names it and the template's parameter."""


class Environment:
    """Reads environment variables. Every method raises SettingsError where a variable is missing or wrong.

    The template's parameter has the variable's name, in its own style: MaximumAgeDays sets MAXIMUM_AGE_DAYS. The log
    level is the exception: AWS's runtime emulator reads LOG_LEVEL itself, so the variable has Powertools' prefix.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def optional(self, name: str) -> str:
        """Read a variable that may be empty."""
        value = self._variables.get(name, "").strip()
        if not value.isprintable():
            raise SettingsError(f"{name} has characters that cannot be printed; correct it and deploy the stack again")
        return value

    def text(self, name: str) -> str:
        """Read a variable that a parameter sets."""
        return self._required(name, _set_parameter(name))

    def resource(self, name: str) -> str:
        """Read a variable that the template sets from the stack itself, not from a parameter."""
        return self._required(name, _DEPLOY_AGAIN)

    def duration(self, name: str) -> timedelta:
        """Read a number of minutes, hours or days. The last word of `name` is the unit."""
        value, unit = self.text(name), name.rpartition("_")[2].lower()
        try:
            duration = timedelta(**{unit: float(value)})
        except (ValueError, OverflowError):
            duration = timedelta()
        if not timedelta() < duration <= MAXIMUM_INTERVAL:
            raise SettingsError(f"{name} must be a number of {unit}, not {quote(value, 60)}; {_set_parameter(name)}")
        return duration

    def switch(self, name: str) -> bool:
        """Read whether something is switched on."""
        value = self.text(name)
        if value not in {"ENABLED", "DISABLED"}:
            raise SettingsError(f"{name} must be ENABLED or DISABLED, not {quote(value, 60)}; {_set_parameter(name)}")
        return value == "ENABLED"

    def log_level(self, name: str) -> str:
        """Read the name of a log level."""
        value = self.text(name)
        if value not in _LOG_LEVELS:
            levels = ", ".join(_LOG_LEVELS)
            raise SettingsError(f"{name} must be one of {levels}, not {quote(value, 60)}; {_set_parameter(name)}")
        return value

    def base_url(self, name: str) -> str:
        """Read a URL that tokens may be sent to: https, except for a server on this machine."""
        value = self.text(name)
        try:
            url = httpx.URL(value)
            host = url.host
            host.encode("idna")
        except (httpx.InvalidURL, ValueError):  # the latter where the host is not a domain name
            url, host = httpx.URL(""), ""
        if not host or url.port not in _PORTS or url.query or url.fragment or url.userinfo:
            raise SettingsError(
                f"{name} must be a plain base URL such as https://us.infisical.com; {_set_parameter(name)}"
            )
        if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(host)):
            raise SettingsError(f"{name} must begin with https://, not {quote(url.scheme, 20)}; {_set_parameter(name)}")
        # Infisical's CLI is given the URL of its API, in INFISICAL_API_URL: https://infisical.com/docs/cli/usage
        return value.rstrip("/").removesuffix("/api").rstrip("/")

    def _required(self, name: str, next_step: str) -> str:
        value = self.optional(name)
        if not value:
            raise SettingsError(f"the environment variable {name} is not set; {next_step}")
        return value


@dataclass(frozen=True, slots=True)
class InfisicalSettings:
    """Where Infisical is, and who logs in. Unused fields are empty strings.

    Exactly one of `identity_id` (AWS Auth) and `identity_secret_arn` (Universal Auth) is set.
    `ca_certificate_parameter` names an SSM parameter with certificate authorities to trust besides the public ones.
    """

    url: str
    identity_id: str
    identity_secret_arn: str
    ca_certificate_parameter: str

    @classmethod
    def read(cls, environment: Environment, identity_of: str = "") -> "InfisicalSettings":
        """Read the settings that all functions share.

        `identity_of` begins the names of the template's parameters for the hook, which has its own machine identity.
        """
        identity_id = environment.optional("MACHINE_IDENTITY_ID")
        identity_secret_arn = environment.optional("MACHINE_IDENTITY_SECRET_ARN")
        if bool(identity_id) == bool(identity_secret_arn):
            raise SettingsError(
                "exactly one of MACHINE_IDENTITY_ID (AWS Auth) and MACHINE_IDENTITY_SECRET_ARN (Universal Auth) has to"
                f" be set; set the template's parameter {identity_of}MachineIdentityId or"
                f" {identity_of}MachineIdentitySecretArn"
            )
        return cls(
            url=environment.base_url("INFISICAL_URL"),
            identity_id=identity_id,
            identity_secret_arn=identity_secret_arn,
            ca_certificate_parameter=environment.optional("CA_CERTIFICATE_PARAMETER"),
        )


@dataclass(frozen=True, slots=True)
class RequesterSettings:
    """What `dispatch` and the hook need: both send requests. `grace_period` is the key guard's."""

    infisical: InfisicalSettings
    minimum_interval: timedelta
    grace_period: timedelta
    name_consumers: bool
    requests_queue_url: str
    rotation_map_parameter: str
    outcome_event_bus_name: str
    outcome_event_source: str
    service: str
    log_level: str

    @classmethod
    def read(cls, variables: Mapping[str, str], identity_of: str = "") -> "RequesterSettings":
        """Raise SettingsError where a variable is missing or wrong. `identity_of` is as in InfisicalSettings."""
        environment = Environment(variables)
        return cls(
            infisical=InfisicalSettings.read(environment, identity_of),
            minimum_interval=environment.duration("MINIMUM_INTERVAL_MINUTES"),
            grace_period=environment.duration("GRACE_PERIOD_HOURS"),
            name_consumers=environment.switch("NAME_CONSUMERS"),
            requests_queue_url=environment.resource("REQUESTS_QUEUE_URL"),
            rotation_map_parameter=environment.text("ROTATION_MAP_PARAMETER"),
            outcome_event_bus_name=environment.optional("OUTCOME_EVENT_BUS_NAME"),
            outcome_event_source=environment.text("OUTCOME_EVENT_SOURCE"),
            service=environment.resource("POWERTOOLS_SERVICE_NAME"),
            log_level=environment.log_level("POWERTOOLS_LOG_LEVEL"),
        )


@dataclass(frozen=True, slots=True)
class RotateSettings:
    """What `rotate` needs. `grace_period` is the key guard's."""

    infisical: InfisicalSettings
    minimum_interval: timedelta
    grace_period: timedelta
    name_consumers: bool
    requests_queue_url: str
    failed_queue_url: str
    outcome_event_bus_name: str
    outcome_event_source: str
    service: str
    log_level: str

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> "RotateSettings":
        """Raise SettingsError where a variable is missing or wrong."""
        environment = Environment(variables)
        return cls(
            infisical=InfisicalSettings.read(environment),
            minimum_interval=environment.duration("MINIMUM_INTERVAL_MINUTES"),
            grace_period=environment.duration("GRACE_PERIOD_HOURS"),
            name_consumers=environment.switch("NAME_CONSUMERS"),
            requests_queue_url=environment.resource("REQUESTS_QUEUE_URL"),
            failed_queue_url=environment.resource("FAILED_QUEUE_URL"),
            outcome_event_bus_name=environment.optional("OUTCOME_EVENT_BUS_NAME"),
            outcome_event_source=environment.text("OUTCOME_EVENT_SOURCE"),
            service=environment.resource("POWERTOOLS_SERVICE_NAME"),
            log_level=environment.log_level("POWERTOOLS_LOG_LEVEL"),
        )


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """What `audit` needs. `hook_function` is the hook's name; empty where the stack has none."""

    infisical: InfisicalSettings
    maximum_age: timedelta
    rotation_map_parameter: str
    hook_function: str
    outcome_event_bus_name: str
    outcome_event_source: str
    service: str
    log_level: str

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> "AuditSettings":
        """Raise SettingsError where a variable is missing or wrong."""
        environment = Environment(variables)
        return cls(
            infisical=InfisicalSettings.read(environment),
            maximum_age=environment.duration("MAXIMUM_AGE_DAYS"),
            rotation_map_parameter=environment.text("ROTATION_MAP_PARAMETER"),
            hook_function=environment.optional("HOOK_FUNCTION"),
            outcome_event_bus_name=environment.optional("OUTCOME_EVENT_BUS_NAME"),
            outcome_event_source=environment.text("OUTCOME_EVENT_SOURCE"),
            service=environment.resource("POWERTOOLS_SERVICE_NAME"),
            log_level=environment.log_level("POWERTOOLS_LOG_LEVEL"),
        )


@dataclass(frozen=True, slots=True)
class RetireSettings:
    """What `retire` needs. `hook_function` is the hook's name; empty where the stack has none."""

    infisical: InfisicalSettings
    retire_after: timedelta
    retire_quiet: timedelta
    name_consumers: bool
    rotation_map_parameter: str
    hook_function: str
    outcome_event_bus_name: str
    outcome_event_source: str
    service: str
    log_level: str

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> "RetireSettings":
        """Raise SettingsError where a variable is missing or wrong."""
        environment = Environment(variables)
        return cls(
            infisical=InfisicalSettings.read(environment),
            retire_after=environment.duration("RETIRE_AFTER_DAYS"),
            retire_quiet=environment.duration("RETIRE_QUIET_DAYS"),
            name_consumers=environment.switch("NAME_CONSUMERS"),
            rotation_map_parameter=environment.text("ROTATION_MAP_PARAMETER"),
            hook_function=environment.optional("HOOK_FUNCTION"),
            outcome_event_bus_name=environment.optional("OUTCOME_EVENT_BUS_NAME"),
            outcome_event_source=environment.text("OUTCOME_EVENT_SOURCE"),
            service=environment.resource("POWERTOOLS_SERVICE_NAME"),
            log_level=environment.log_level("POWERTOOLS_LOG_LEVEL"),
        )


def _set_parameter(name: str) -> str:
    return f"set the template's parameter {name.removeprefix('POWERTOOLS_').title().replace('_', '')}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
