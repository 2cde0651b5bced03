"""The environment of each function, read once, typed. template.yaml sets it from its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address

import httpx

from rotator.model import MAXIMUM_INTERVAL

MAP_SOURCE = "RotationMapParameter"  # of the template

_PORTS = {None, *range(1, 65_536)}
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class SettingsError(ValueError):
    """The environment lacks a variable or holds a wrong one; the text names it and the template's parameter."""


@dataclass(frozen=True, slots=True)
class InfisicalSettings:
    """Where Infisical is, and who logs in. What is not used is empty.

    Of `identity_id` (AWS Auth) and `identity_secret` (Universal Auth: the ARN of the secret) exactly one is set.
    `ca_parameter` names an SSM parameter with certificate authorities beside the public ones.
    """

    url: str
    identity_id: str
    identity_secret: str
    ca_parameter: str

    @classmethod
    def read(cls, environment: Mapping[str, str], identity_of: str = "") -> "InfisicalSettings":
        """Raise SettingsError where a variable is missing or wrong.

        The hook has a machine identity of its own: `identity_of` begins the names of the template's parameters for it.
        """
        identity_id, identity_secret = (
            _optional(environment, name) for name in ("MACHINE_IDENTITY_ID", "MACHINE_IDENTITY_SECRET")
        )
        if bool(identity_id) == bool(identity_secret):
            raise SettingsError(
                "exactly one of MACHINE_IDENTITY_ID (AWS Auth) and MACHINE_IDENTITY_SECRET (Universal Auth) has to be"
                f" set; set the template's parameter {identity_of}MachineIdentityId or"
                f" {identity_of}MachineIdentitySecretArn"
            )
        return cls(
            url=_base_url(environment, "INFISICAL_URL", "InfisicalUrl"),
            identity_id=identity_id,
            identity_secret=identity_secret,
            ca_parameter=_optional(environment, "CA_PARAMETER"),
        )


@dataclass(frozen=True, slots=True)
class CommonSettings:
    """What every function needs to know."""

    infisical: InfisicalSettings
    minimum_interval: timedelta
    requests_queue_url: str
    service: str
    log_level: str

    @classmethod
    def read(cls, environment: Mapping[str, str], identity_of: str = "") -> "CommonSettings":
        """Raise SettingsError where a variable is missing or wrong."""
        return cls(
            infisical=InfisicalSettings.read(environment, identity_of),
            minimum_interval=_duration(environment, "MINIMUM_INTERVAL_MINUTES", "MinimumIntervalMinutes", "minutes"),
            requests_queue_url=_text(environment, "REQUESTS_QUEUE_URL"),
            service=_text(environment, "POWERTOOLS_SERVICE_NAME"),
            log_level=_log_level(environment, "POWERTOOLS_LOG_LEVEL", "LogLevel"),
        )


@dataclass(frozen=True, slots=True)
class MappedSettings:
    """What the functions that read the rotation map need to know."""

    common: CommonSettings
    rotation_map_parameter: str

    @classmethod
    def read(cls, environment: Mapping[str, str], identity_of: str = "") -> "MappedSettings":
        """Raise SettingsError where a variable is missing or wrong."""
        return cls(
            common=CommonSettings.read(environment, identity_of),
            rotation_map_parameter=_text(environment, "ROTATION_MAP_PARAMETER", MAP_SOURCE),
        )


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """What `dispatch` needs to know. `grace_period` is the key guard's, for a dry run."""

    mapped: MappedSettings
    grace_period: timedelta

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "DispatchSettings":
        """Raise SettingsError where a variable is missing or wrong."""
        return cls(mapped=MappedSettings.read(environment), grace_period=_grace_period(environment))


@dataclass(frozen=True, slots=True)
class HookSettings:
    """What the hook needs to know. `grace_period` is the key guard's, which it asks before it asks for a rotation."""

    mapped: MappedSettings
    grace_period: timedelta

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "HookSettings":
        """Raise SettingsError where a variable is missing or wrong."""
        return cls(mapped=MappedSettings.read(environment, "Hook"), grace_period=_grace_period(environment))


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """What `audit` needs to know. `hook_function` is the hook's name; empty where the stack has none."""

    mapped: MappedSettings
    maximum_age: timedelta
    hook_function: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "AuditSettings":
        """Raise SettingsError where a variable is missing or wrong."""
        days = _duration(environment, "MAXIMUM_AGE_DAYS", "MaximumAgeDays", "days")
        hook = _optional(environment, "HOOK_FUNCTION")
        return cls(mapped=MappedSettings.read(environment), maximum_age=days, hook_function=hook)


@dataclass(frozen=True, slots=True)
class RotateSettings:
    """What `rotate` needs to know. `grace_period` is the key guard's."""

    common: CommonSettings
    failed_queue_url: str
    grace_period: timedelta

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "RotateSettings":
        """Raise SettingsError where a variable is missing or wrong."""
        return cls(
            common=CommonSettings.read(environment),
            failed_queue_url=_text(environment, "FAILED_QUEUE_URL"),
            grace_period=_grace_period(environment),
        )


def _optional(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if not value.isprintable():
        raise SettingsError(f"{name} holds characters that cannot be printed; deploy the stack again")
    return value


def _text(environment: Mapping[str, str], name: str, parameter: str = "") -> str:
    value = _optional(environment, name)
    if not value:
        raise SettingsError(f"the environment variable {name} is not set; {_source(parameter)}")
    return value


def _log_level(environment: Mapping[str, str], name: str, parameter: str) -> str:
    value = _text(environment, name, parameter)
    if value not in _LOG_LEVELS:
        raise SettingsError(f"{name} must be one of {', '.join(_LOG_LEVELS)}, not {value!r:.60}; {_source(parameter)}")
    return value


def _duration(environment: Mapping[str, str], name: str, parameter: str, unit: str) -> timedelta:
    value = _text(environment, name, parameter)
    try:
        duration = timedelta(**{unit: float(value)})
    except (ValueError, OverflowError):
        duration = timedelta()
    if not timedelta() < duration <= MAXIMUM_INTERVAL:
        raise SettingsError(f"{name} must be a number of {unit}, not {value!r:.60}; {_source(parameter)}")
    return duration


def _grace_period(environment: Mapping[str, str]) -> timedelta:
    return _duration(environment, "GRACE_PERIOD_HOURS", "GracePeriodHours", "hours")


def _base_url(environment: Mapping[str, str], name: str, parameter: str) -> str:
    """Read a URL that tokens may be sent to: https, but for a server on this very machine."""
    value = _text(environment, name, parameter)
    try:
        url = httpx.URL(value)
        host = url.host
        host.encode("idna")
    except (httpx.InvalidURL, ValueError):  # the latter of names that are no domain names
        url, host = httpx.URL(""), ""
    if not host or url.port not in _PORTS or url.query or url.fragment or url.userinfo:
        raise SettingsError(f"{name} must be a plain base URL such as https://us.infisical.com; {_source(parameter)}")
    if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(host)):
        raise SettingsError(f"{name} must begin with https://, not {url.scheme!r:.20}; {_source(parameter)}")
    # Infisical's CLI is given the URL of its API, in INFISICAL_API_URL: https://infisical.com/docs/cli/usage
    return value.rstrip("/").removesuffix("/api").rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _source(parameter: str) -> str:
    return f"set the template's parameter {parameter}" if parameter else "template.yaml sets it: deploy the stack again"
