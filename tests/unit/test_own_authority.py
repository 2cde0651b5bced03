"""An own certificate authority, as plain `openssl req -x509` makes it, under the strict default of Python 3.13."""

import ssl
from functools import cache
from pathlib import Path

import pytest

from rotator.infisical.connect import ssl_context
from tests.sandbox.authority import DAY, Authority

HOST = "infisical.corp.example"
STRICT = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN  # https://docs.python.org/3.13/whatsnew/3.13.html#ssl


@pytest.fixture(autouse=True)
def strict_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `ssl.create_default_context` makes since Python 3.13, which the functions run on."""
    original = ssl.create_default_context

    def strict(*arguments: str, **options: str) -> ssl.SSLContext:
        context = original(*arguments, **options)  # type: ignore[arg-type] # passed on as they are
        context.verify_flags |= STRICT
        return context

    ssl_context.cache_clear()  # one of another test may be as Python 3.11 makes it
    monkeypatch.setattr(ssl, "create_default_context", strict)


def server(folder: Path, pem: bytes) -> ssl.SSLContext:
    (folder / "server.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


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
    handshake(ssl_context(authority().pem), server(tmp_path, authority().server(HOST)))


def test_public_authorities_stay_strict() -> None:
    assert ssl_context("").verify_flags & STRICT == STRICT


@pytest.mark.parametrize(
    ("pem", "problem"),
    [
        (authority("Another CA").server(HOST), "unable to get local issuer certificate"),
        (authority().server(HOST, valid_for=-DAY), "certificate has expired"),
        (authority().server("elsewhere.example"), "Hostname mismatch"),
    ],
    ids=["an unknown authority", "an expired certificate", "a wrong host name"],
)
def test_a_certificate_is_still_refused_beside_an_own_authority_for(pem: bytes, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=problem):
        handshake(ssl_context(authority().pem), server(tmp_path, pem))
