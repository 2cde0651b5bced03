"""What people store as certificate authorities. The sources of these cases are in docs/cases.md."""

import ssl

import pytest

from rotator.infisical.authorities import parse_authorities
from tests.unit.builders import OWN_AUTHORITY

TWO = OWN_AUTHORITY * 2
DER = ssl.PEM_cert_to_DER_cert(OWN_AUTHORITY)


@pytest.mark.parametrize(
    "text",
    [
        TWO,
        TWO.replace("\n", "\r\n"),
        "\ufeff" + TWO,
        TWO.replace("\n", " "),
        TWO.replace("\n", "\\n"),
        TWO.replace("\n", "\\r\\n"),
        OWN_AUTHORITY.strip() + OWN_AUTHORITY.strip(),
        "".join(f"    {line}  \n" for line in TWO.splitlines()),
        f"# Größe\n{OWN_AUTHORITY}issuer=CN = x\n{OWN_AUTHORITY}",
    ],
    ids=["as openssl writes it", "CRLF", "BOM", "console", "escaped", "escaped CRLF", "joined", "indented", "comments"],
)
def test_certificates_are_read_however_their_lines_end(text: str) -> None:
    assert parse_authorities(text) == DER + DER


def test_certificates_read_from_a_text_are_accepted_by_openssl() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    context.load_verify_locations(cadata=parse_authorities(OWN_AUTHORITY.replace("\n", " ")))

    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize(
    "second",
    [
        OWN_AUTHORITY.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
        OWN_AUTHORITY.replace("CERTIFICATE", "X509 CRL"),
        OWN_AUTHORITY.replace("CERTIFICATE", "EC PRIVATE KEY"),
        OWN_AUTHORITY[:400],
        OWN_AUTHORITY.replace("MIIBmz", "MIIBm"),
        OWN_AUTHORITY.replace("MIIBmz", "MIIBm*"),
        OWN_AUTHORITY.replace("-----END", "----END"),
        "-----BEGIN CERTIFICATE----------END CERTIFICATE-----",
    ],
    ids=["trusted", "revocation list", "key", "cut", "a character less", "a wrong character", "bad end", "empty"],
)
def test_a_block_that_is_not_a_certificate_is_refused_and_not_skipped(second: str) -> None:
    with pytest.raises(ValueError, match=r"^block 2 is not a certificate in PEM form$"):
        parse_authorities(OWN_AUTHORITY + second)


@pytest.mark.parametrize("text", ["", " ", "x", "{}", "/infisical/ca", "MIIBmzCCAUGgAwIBAgIUM"])
def test_a_text_without_certificates_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no -----BEGIN CERTIFICATE-----"):
        parse_authorities(text)
