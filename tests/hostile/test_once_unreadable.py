"""Input that once ended in an error that nobody could read, or in none at all."""

import json

import pytest
import trustme

from rotator.infisical.auth_methods import universal_auth
from rotator.infisical.connect import ssl_context
from rotator.rotation.request import RotationRequest
from rotator.settings import RotateSettings, SettingsError
from rotator.triggers.events import UnsupportedEventError, read_trigger
from rotator.triggers.rotation_map import RotationMapError, parse_rotation_map
from tests.unit.builders import message
from tests.unit.environments import with_url
from tests.unit.fakes import NOW, rotation_id

A = rotation_id(0xA)


def test_a_url_whose_host_is_not_a_domain_name_names_the_variable() -> None:
    with pytest.raises(SettingsError, match="INFISICAL_URL"):
        RotateSettings.read(with_url("https://xn--"))


@pytest.mark.parametrize("seconds", [86_400_000_000_000, 10**30, 864_000_001])
def test_a_requests_interval_beyond_what_dates_can_add_is_refused(seconds: int) -> None:
    with pytest.raises(ValueError, match=r"^minimumIntervalSeconds"):
        RotationRequest.from_message(message("minimumIntervalSeconds", seconds))


@pytest.mark.parametrize("text", ["[" * 4000, '{"triggers": ' + "1" * 5000 + "}"], ids=["deep", "long number"])
def test_a_map_that_the_parser_gives_up_on_is_refused(text: str) -> None:
    with pytest.raises(RotationMapError, match="not valid JSON"):
        parse_rotation_map(text)


@pytest.mark.parametrize("text", ["[" * 4000, '{"rotationId": ' + "1" * 5000 + "}"], ids=["deep", "long number"])
def test_a_message_that_the_parser_gives_up_on_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not valid JSON"):
        RotationRequest.from_message(text)


def test_a_trigger_whose_name_holds_the_librarys_word_is_named_as_it_is() -> None:
    with pytest.raises(RotationMapError, match=r"triggers\.customer data import must"):
        parse_rotation_map(json.dumps({"triggers": {"customer data import": []}}))


def test_a_trigger_name_that_is_too_long_is_named() -> None:
    with pytest.raises(RotationMapError, match="xxxx"):
        parse_rotation_map(json.dumps({"triggers": {"weekly": A, "x" * 257: A}}))


def test_an_event_that_is_nested_too_deeply_to_show_is_refused() -> None:
    deep: list[object] = []
    for _ in range(960):
        deep = [deep]

    with pytest.raises(UnsupportedEventError, match="scheduledTime must be"):
        read_trigger({"trigger": "weekly", "scheduledTime": deep}, NOW)


def test_an_empty_choice_is_not_everything() -> None:
    with pytest.raises(UnsupportedEventError, match="only must be a list"):
        read_trigger({"trigger": "weekly", "only": None}, NOW)


def test_a_secret_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(ValueError, match="must be JSON"):
        universal_auth("[" * 100_000)


def test_certificates_may_have_comments_in_any_language() -> None:
    certificate = trustme.CA().cert_pem.bytes().decode()

    assert ssl_context(f"\ufeff# Autorité Müller\n{certificate}").get_ca_certs()


def test_an_interval_beyond_what_dates_can_add_is_refused() -> None:
    with pytest.raises(SettingsError, match="MINIMUM_INTERVAL_MINUTES"):
        RotateSettings.read({**with_url("https://us.infisical.com"), "MINIMUM_INTERVAL_MINUTES": "1e10"})
