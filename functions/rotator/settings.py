"""The environment of each function, read once, typed. template.yaml sets it from its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address

import httpx


class SettingsError(ValueError):
    """The environment lacks a variable or holds a wrong one; the text names it and the template's parameter."""


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """What `dispatch` needs to know."""

    rotation_map_parameter: str
    requests_queue_url: str
    service: str
    log_level: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "DispatchSettings":
        """Raise SettingsError where a variable is missing."""
        return cls(
            rotation_map_parameter=_text(environment, "ROTATION_MAP_PARAMETER", "RotationMapParameter"),
            requests_queue_url=_text(environment, "REQUESTS_QUEUE_URL"),
            service=_text(environment, "POWERTOOLS_SERVICE_NAME"),
            log_level=_text(environment, "POWERTOOLS_LOG_LEVEL", "LogLevel"),
        )


@dataclass(frozen=True, slots=True)
class RotateSettings:
    """What `rotate` needs to know."""

    infisical_url: str
    machine_identity_secret: str
    minimum_interval: timedelta
    requests_queue_url: str
    failed_queue_url: str
    maximum_receive_count: int
    service: str
    log_level: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "RotateSettings":
        """Raise SettingsError where a variable is missing or wrong."""
        return cls(
            infisical_url=_base_url(environment, "INFISICAL_URL", "InfisicalUrl"),
            machine_identity_secret=_text(environment, "MACHINE_IDENTITY_SECRET", "MachineIdentitySecretArn"),
            minimum_interval=timedelta(
                minutes=_number(environment, "MINIMUM_INTERVAL_MINUTES", "MinimumIntervalMinutes")
            ),
            requests_queue_url=_text(environment, "REQUESTS_QUEUE_URL"),
            failed_queue_url=_text(environment, "FAILED_QUEUE_URL"),
            maximum_receive_count=_number(environment, "MAXIMUM_RECEIVE_COUNT"),
            service=_text(environment, "POWERTOOLS_SERVICE_NAME"),
            log_level=_text(environment, "POWERTOOLS_LOG_LEVEL", "LogLevel"),
        )


def _text(environment: Mapping[str, str], name: str, parameter: str = "") -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise SettingsError(f"the environment variable {name} is not set; {_source(parameter)}")
    return value


def _number(environment: Mapping[str, str], name: str, parameter: str = "") -> int:
    value = _text(environment, name, parameter)
    if not value.isascii() or not value.isdigit() or len(value) > 9:  # noqa: PLR2004 - nothing we count needs more digits
        raise SettingsError(f"{name} must be a whole number, not {value!r:.60}; {_source(parameter)}")
    return int(value)


def _base_url(environment: Mapping[str, str], name: str, parameter: str) -> str:
    """Read a URL that tokens may be sent to: https, but for a server on this very machine."""
    value = _text(environment, name, parameter)
    try:
        url = httpx.URL(value)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if not url.host or url.query or url.fragment or url.userinfo:
        raise SettingsError(f"{name} must be a plain base URL such as https://us.infisical.com; {_source(parameter)}")
    if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(url.host)):
        raise SettingsError(f"{name} must begin with https://, not {url.scheme!r:.20}; {_source(parameter)}")
    return value.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _source(parameter: str) -> str:
    return f"set the template's parameter {parameter}" if parameter else "template.yaml sets it: deploy the stack again"
