import ssl
from typing import Any

import pytest

from rotator.infisical.connect import ssl_context
from rotator.settings import SettingsError
from tests.unit.builders import OWN_AUTHORITY


def authorities(context: ssl.SSLContext) -> list[str]:
    """The common names of those whose certificates are trusted."""
    certificates: list[dict[str, Any]] = context.get_ca_certs()
    names = [dict(pair for part in each["subject"] for pair in part) for each in certificates]
    return [name.get("commonName", "") for name in names]


def test_the_public_authorities_are_trusted_and_names_are_checked() -> None:
    context = ssl_context("")

    assert len(authorities(context)) > 100
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_an_authority_of_ones_own_is_trusted_beside_the_public_ones() -> None:
    context = ssl_context(OWN_AUTHORITY)

    assert set(authorities(context)) - set(authorities(ssl_context(""))) == {"An authority of our own"}
    assert len(authorities(context)) == len(authorities(ssl_context(""))) + 1
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("around", ["{}", "\n{}\n", "# our own authority\n{}", "{}{}"], ids=ascii)
def test_certificates_may_be_commented_and_repeated(around: str) -> None:
    assert "An authority of our own" in authorities(ssl_context(around.format(OWN_AUTHORITY, OWN_AUTHORITY)))


@pytest.mark.parametrize("text", ["x", " ", "-----BEGIN CERTIFICATE-----", "/infisical/ca", "{}"], ids=repr)
def test_a_text_that_is_not_a_certificate_is_refused_by_its_parameter(text: str) -> None:
    with pytest.raises(SettingsError, match=r"the template's parameter CaCertificateParameter names must hold"):
        ssl_context(text)


def test_a_broken_certificate_is_refused() -> None:
    lines = OWN_AUTHORITY.splitlines()

    with pytest.raises(SettingsError, match="CaCertificateParameter"):
        ssl_context("\n".join([*lines[:3], *lines[4:]]))
