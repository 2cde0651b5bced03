"""Environments and secrets that began as good ones: each is refused by the variable, or can be worked with."""

import json
import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.infisical.auth_methods import universal_auth
from rotator.infisical.connect import ssl_context
from rotator.model import MAXIMUM_INTERVAL
from rotator.settings import (
    AuditSettings,
    RequesterSettings,
    RotateSettings,
    SettingsError,
)
from tests.hostile.mutations import FUZZED, HUGE, LONE_SURROGATE, garbled, mutated, nested
from tests.hostile.readable import refused_readably
from tests.unit.environments import COMMON, DISPATCH, ROTATE, infisical_settings, with_url

# What a process is given where a variable's bytes are no UTF-8.
NO_UTF8 = b"\xff\xfe".decode("utf-8", "surrogateescape")

NUMBERS = ("1_0", "0x10", "1e3", "1e9", "1e-9", "٣", "½", "+5", "--5", "5 minutes", "1" * 400, "nan", "inf", "-1", "0")
URLS = (
    "https://us..infisical.com",
    "https://.",
    "https://.infisical.com",
    f"https://{'a' * 64}.com",
    f"https://{'a.' * 200}com",
    "https://us.infisical.com:0",
    "https://us.infisical.com:99999",
    "https://us.infisical.com:-1",
    "https://us.infisical.com:443:443",
    "https://us.infisical.com@elsewhere.test",
    "https://us.infisical.com\\@elsewhere.test",
    "https://us.infisical.com\r\nX-Injected: 1",
    "https://us.infisical.com\t.elsewhere.test",
    "https://elsewhere.test#us.infisical.com",
    "https://xn--",
    "https://xn--a",
    "https://\u202e.test",
    "https://[::1",
    "https://[::ffff:169.254.169.254]",
    "http://127.0.0.1.elsewhere.test",
    "http://2130706433",
    "http://127.1",
    "http://0",
    "http://[::]",
    "http://localhost.elsewhere.test",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:text/html,x",
    "https:\\\\us.infisical.com",
    "HTTPS://US.INFISICAL.COM/%2e%2e",
)
TEXTS = ("", " ", "\x00", "\n", NO_UTF8, LONE_SURROGATE, HUGE[:4000], "${X}", "é", "null", "{}", "../..")
FUNCTIONS: dict[str, tuple[Callable[[Mapping[str, str]], Any], dict[str, str]]] = {
    "dispatch": (RequesterSettings.read, DISPATCH),
    "rotate": (RotateSettings.read, ROTATE),
    "hook": (partial(RequesterSettings.read, identity_of="Hook"), DISPATCH),
    "audit": (AuditSettings.read, DISPATCH | {"MAXIMUM_AGE_DAYS": "35"}),
}


def is_https_or_here(url: str) -> bool:
    """Whether a token may go there. Read by another parser than the one that is used."""
    parts = urlsplit(url)
    is_here = (parts.hostname or "") in {"127.0.0.1", "::1", "localhost"}
    return (parts.scheme == "https" or is_here) and "@" not in parts.netloc


def can_be_asked(url: str) -> bool:
    """Whether a request to it could be sent, and to nobody but its host."""
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(204)

    with httpx.Client(base_url=url, transport=httpx.MockTransport(answer), trust_env=False) as client:
        client.get("/api/v2/secret-rotations")
    host, port = sent[0].url.host, sent[0].url.port
    host.encode("idna")  # as every look-up does, or raises UnicodeError
    return bool(host) and (port is None or 0 < port < 65_536) and host in url.lower()


def is_refused_or_makes_sense(function: str, variable: str, value: str) -> None:
    read, environment = FUNCTIONS[function]
    with refused_readably() as refusal:
        settings = read({**environment, variable: value})
    if refusal.text:
        assert variable in refusal.text
        return
    periods = [getattr(settings, name, None) for name in ("minimum_interval", "grace_period", "maximum_age")]
    assert all(each is None or timedelta() < each <= MAXIMUM_INTERVAL for each in periods)
    assert is_https_or_here(settings.infisical.url)
    assert can_be_asked(settings.infisical.url)
    json.dumps(settings.infisical.identity_id, ensure_ascii=False).encode()  # as a login sends it
    assert settings.log_level in {"DEBUG", "INFO", "WARNING", "ERROR"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_hostile_variable_is_refused_by_its_name_or_makes_sense(function: str) -> None:
    for variable in FUNCTIONS[function][1]:
        for value in (*NUMBERS, *URLS, *TEXTS):
            is_refused_or_makes_sense(function, variable, value)


@FUZZED
@given(st.sampled_from(sorted(FUNCTIONS)), st.data())
def test_a_mutated_environment_is_refused_by_its_variable_or_makes_sense(function: str, data: st.DataObject) -> None:
    variable = data.draw(st.sampled_from(sorted(FUNCTIONS[function][1])))
    right = FUNCTIONS[function][1][variable]
    is_refused_or_makes_sense(function, variable, data.draw(garbled(right) | st.text(max_size=9)))


@pytest.mark.parametrize(
    "url",
    [
        "https://us..infisical.com",
        "https://.",
        "https://.infisical.com",
        f"https://{'a' * 64}.com",
        "https://us.infisical.com:99999",
        "https://us.infisical.com:-1",
    ],
)
def test_a_url_that_no_look_up_can_find_is_refused_by_its_variable(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^INFISICAL_URL"):
        infisical_settings(with_url(url))


def test_an_identity_that_no_login_can_send_is_refused_by_its_variable() -> None:
    with pytest.raises(SettingsError, match="MACHINE_IDENTITY_ID"):
        infisical_settings(COMMON | {"MACHINE_IDENTITY_ID": NO_UTF8})


@pytest.mark.parametrize("number", ["1_0", "+5", "1e1"])
def test_a_number_in_an_unusual_spelling_is_what_it_says(number: str) -> None:
    days = AuditSettings.read(DISPATCH | {"MAXIMUM_AGE_DAYS": number}).maximum_age

    assert math.isclose(days / timedelta(days=1), float(number))


# ---- the machine identity's secret -----------------------------------------------------------------------------------

CLIENT_SECRET = "s3cr3t-of-a-client"
IDENTITY = {"clientId": "0fd5ae17-c5d1-4bf2-8ac8-25572406eee1", "clientSecret": CLIENT_SECRET, "note": ["x"]}


@FUZZED
@given(mutated(IDENTITY).map(json.dumps) | garbled(json.dumps(IDENTITY)))
def test_a_mutated_secret_is_refused_without_showing_it_or_can_log_in(secret: str) -> None:
    with refused_readably(ValueError) as refusal:
        login = universal_auth(secret)

    assert CLIENT_SECRET not in refusal.text
    if not refusal.text:
        httpx.Request("POST", "https://infisical.test", json=login.body)


@pytest.mark.parametrize("name", ["clientId", "clientSecret"])
def test_a_secret_with_half_a_character_is_refused_by_its_field(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^the {name} in the machine identity's secret holds"):
        universal_auth(json.dumps({**IDENTITY, name: f"x{LONE_SURROGATE}"}))


@pytest.mark.parametrize("secret", [json.dumps(nested(900)), json.dumps({**IDENTITY, "deep": nested(900)}), HUGE])
def test_a_secret_that_is_deep_or_huge_is_refused_or_read(secret: str) -> None:
    with refused_readably(ValueError):
        universal_auth(secret)


# ---- certificates ----------------------------------------------------------------------------------------------------

PEM = trustme.CA().cert_pem.bytes().decode()


@settings(FUZZED, max_examples=20)  # each reads all public authorities
@given(garbled(PEM) | garbled(PEM + PEM) | st.text(max_size=40))
def test_mutated_certificates_are_refused_by_the_templates_parameter_or_trusted(authorities: str) -> None:
    with refused_readably() as refusal:
        assert ssl_context(authorities).get_ca_certs()

    assert not refusal.text or "CaCertificateParameter" in refusal.text
