"""An own certificate authority, as plain `openssl req -x509` makes it, under the strict default of Python 3.13."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from rotator.connection import trust

HOST = "infisical.corp.example"
DAY = timedelta(days=1)
STRICT = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN  # https://docs.python.org/3.13/whatsnew/3.13.html#ssl


@pytest.fixture(autouse=True)
def strict_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `ssl.create_default_context` makes since Python 3.13, which the functions run on."""
    original = ssl.create_default_context

    def strict(*arguments: str, **options: str) -> ssl.SSLContext:
        context = original(*arguments, **options)  # type: ignore[arg-type] # passed on as they are
        context.verify_flags |= STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)


class Authority:
    """Has a subject and an authority key identifier and basic constraints, and no key usage."""

    def __init__(self, name: str) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = self._builder(self._name, self._key, 3650 * DAY).add_extension(constraints, critical=True)
        self.pem = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def server(self, folder: Path, host: str = HOST, *, valid_for: timedelta = 30 * DAY) -> ssl.SSLContext:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        certificate = self._builder(subject, key, valid_for).add_extension(names, critical=False)
        pem = certificate.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / "server.pem").write_bytes(pem + secret)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")
        return context

    def _builder(self, subject: x509.Name, key: rsa.RSAPrivateKey, valid_for: timedelta) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 60 * DAY)
            .not_valid_after(now + valid_for)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )


@cache
def authority(name: str = "Corp CA") -> Authority:
    return Authority(name)


def handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """Let both ends talk in memory until they agree, or one of them raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=HOST),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    agreed = [False, False]
    while not all(agreed):
        for number, end in enumerate(ends):
            try:
                end.do_handshake()
                agreed[number] = True
            except ssl.SSLWantReadError:
                pass


def test_an_own_authority_without_a_key_usage_connects_as_it_does_with_curl(tmp_path: Path) -> None:
    handshake(trust(authority().pem), authority().server(tmp_path))


def test_public_authorities_stay_strict() -> None:
    assert trust("").verify_flags & STRICT == STRICT


@pytest.mark.parametrize(
    ("serve", "problem"),
    [
        (lambda folder: authority("Another CA").server(folder), "unable to get local issuer certificate"),
        (lambda folder: authority().server(folder, valid_for=-DAY), "certificate has expired"),
        (lambda folder: authority().server(folder, "elsewhere.example"), "Hostname mismatch"),
    ],
    ids=["an unknown authority", "an expired certificate", "a wrong host name"],
)
def test_beside_an_own_authority_a_certificate_is_still_refused_for(
    serve: Callable[[Path], ssl.SSLContext], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=problem):
        handshake(trust(authority().pem), serve(tmp_path))
