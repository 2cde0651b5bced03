"""Answers that are not even HTTP, or only just, over a real network: each is an error of the application's own."""

import gzip
import json
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial

import pytest

from rotator.clock import Deadline
from rotator.infisical.errors import UncertainError
from rotator.model import MappedRotation
from rotator.rotation import policy
from rotator.rotation.attempt import Outcome, Result, ensure_rotated
from rotator.rotation.request import RotationRequest
from rotator.timestamps import format_timestamp
from tests.hostile.readable import refused_readably
from tests.hostile.wire import (
    CLIENT_SECRET,
    TOKEN,
    Answer,
    Server,
    SkippingClock,
    connected_to,
    cut_off,
    dripped,
    http,
    http_json,
    talking_to,
)
from tests.unit.fakes import NOW, described, rotation_id

ROTATION = MappedRotation(rotation_id(1))
GOOD_LOGIN = http_json({"accessToken": TOKEN, "expiresIn": 7200})
DUE = {"secretRotation": described(1)}
DUE_BODY = json.dumps(DUE).encode()
DONE = {
    "secretRotation": described(1, lastRotatedAt=format_timestamp(NOW), lastRotationAttemptedAt=format_timestamp(NOW))
}
EXPIRED = "max-age=" + "9" * 500
SHORT_SECONDS = 0.2

GOOD: dict[str, Answer] = {
    "login": GOOD_LOGIN,
    "state": http_json(DUE),
    "rotate": http_json(DONE),
    "list": http_json({"secretRotations": [described(1)]}),
    "keys": http_json(
        {
            "rotationId": rotation_id(1),
            "activeIndex": 0,
            "generatedCredentials": [{"accessKeyId": "AKIA0000000000000001", "secretAccessKey": "secret"}],
        }
    ),
}
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BOMB = zlib.compress(bytes(10_000_000))

HOSTILE: dict[str, Answer] = {
    "hung up": cut_off(b""),
    "half a status line": cut_off(b"HTTP/1.1 2"),
    "half a header": cut_off(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "half a body": cut_off(http(DUE_BODY)[:-20]),
    "half a chunk": cut_off(CHUNKED + b"ff\r\n{"),
    "no last chunk": cut_off(CHUNKED + b"2\r\n{}\r\n"),
    "another protocol": cut_off(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "TLS where none is": cut_off(b"\x15\x03\x01\x00\x02\x02\x46"),
    "HTTP/2": cut_off(b"HTTP/2 200\r\n\r\n"),
    "HTTP/0.9": cut_off(b"<html>hello</html>"),
    "an echo": cut_off(b"GET /api HTTP/1.1\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"),
    "a long status line": cut_off(b"x" * 90_000 + b"\r\n\r\n"),
    "a long line that is no header": cut_off(b"HTTP/1.1 200 OK\r\n" + b"x" * 90_000 + b"\r\n\r\n"),
    "a header with the token and a NUL": cut_off(b"HTTP/1.1 200 OK\r\nX: \x00" + TOKEN.encode() + b"\r\n\r\n"),
    "a header of a megabyte": cut_off(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n"),
    "megabytes of headers": cut_off(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500_000 + b"\r\n"),
    "a length that is none": http(b"").replace(b": 0", b": many"),
    "a negative length": http(b"").replace(b": 0", b": -1"),
    "a length of thousands of digits": http(b"").replace(b": 0", b": " + b"9" * 5000),
    "two lengths": http(DUE_BODY, b"Content-Length: 5"),
    "a chunk that is none": cut_off(CHUNKED + b"zz" + b"q" * 5000 + b"\r\n"),
    "a chunk larger than any memory": cut_off(CHUNKED + b"f" * 20 + b"\r\nx"),
    "an unknown transfer encoding": cut_off(CHUNKED.replace(b"chunked", b"gzip, chunked")),
    "compressed": http(gzip.compress(DUE_BODY), b"Content-Encoding: gzip"),
    "compressed and said twice": http(zlib.compress(DUE_BODY), b"Content-Encoding: identity, deflate"),
    "compressed by what nobody knows": http(DUE_BODY, b"Content-Encoding: zzz"),
    "compressed and not said": http(gzip.compress(DUE_BODY)),
    "a bomb": http(BOMB, b"Content-Encoding: deflate"),
    "a page": http(b"<html>Sign in</html>", b"Content-Type: text/html"),
    "a page that calls itself JSON": http(b"<html>Sign in</html>", b"Content-Type: application/json"),
    "no content": http(b"", status=204),
    "a part of the content": http(DUE_BODY[:40], b"Content-Range: bytes 0-39/999", status=206),
    "not modified": http(b"", status=304),
    "early hints and nothing else": cut_off(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 99),
    "another protocol from here on": http(b"", b"Upgrade: h2c", b"Connection: Upgrade", status=101),
    "a status of nobody's": http(b"", status=999),
    "a status of zero": http(b"", status=0).replace(b" 0 ", b" 000 "),
    "deep": http(b"[" * 100_000),
    "deep in the message": http(b'{"error": "x", "message": ' + b"[" * 900 + b"]" * 900 + b"}", status=400),
    "a number of thousands of digits": http(b'{"secretRotation": ' + b"1" * 5000 + b"}"),
    "NaN": http(b'{"secretRotation": NaN}'),
    "UTF-16 that is none": http(b"\xff\xfe" + b"\xd8" * 33),
    "NULs": http(bytes(1000)),
    "to nowhere": http(b"", status=302),
    "to no host": http(b"", b"Location: https://xn--/", status=302),
    "to a script": http(b"", b"Location: javascript:alert(1)", status=302),
    "to no address": http(b"", b"Location: https://[::1", status=307),
    "to half a character": http(b"", b"Location: \xed\xa0\x80", status=308),
    "to far too long an address": http(b"", b"Location: /" + b"x" * 90_000, status=301),
    "proxy authentication": http(b"", b"Proxy-Authenticate: Basic", status=407),
}


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server(**GOOD)) as server:
        yield server


def read(server: Server, kind: str, clock: SkippingClock, *answers: Answer, seconds: float = 5) -> str:
    """Make a call that gets each answer, and then a good one; return what was told of the last bad one."""
    calls: dict[str, Callable[[], object]] = {}
    text = ""
    with talking_to(server, clock) as infisical:
        calls = {
            "state": lambda: infisical.state(ROTATION, seconds),
            "list": lambda: infisical.rotations("payments", ROTATION.type, seconds),
            "keys": lambda: infisical.credentials(ROTATION, seconds),
        }
        call = calls.get(kind, calls["state"])
        for answer in answers:
            server.answers[kind] = answer
            with refused_readably() as refusal:
                call()
            text = refusal.text
            server.answers[kind] = GOOD[kind]
            clock.sleep(301)  # a refused login is remembered for so long
        assert call()
    return text


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["state", "login"])
def test_a_hostile_answer_is_refused_readably_and_the_next_call_is_answered(
    server: Server, kind: str, name: str
) -> None:
    text = read(server, kind, SkippingClock(), HOSTILE[name])

    assert text
    assert TOKEN not in text
    assert CLIENT_SECRET not in text


@pytest.mark.parametrize("kind", ["list", "keys"])
def test_hostile_answers_to_other_calls_are_refused_readably(server: Server, kind: str) -> None:
    for name, answer in HOSTILE.items():
        assert read(server, kind, SkippingClock(), answer), name


@pytest.mark.parametrize("name", ["compressed", "half a body", "megabytes of headers", "to a script", "a bomb"])
def test_hostile_answers_use_up_no_connections(server: Server, name: str) -> None:
    assert read(server, "state", SkippingClock(), *[HOSTILE[name]] * 101)


def ensure(server: Server, clock: SkippingClock) -> Outcome:
    """Work a request of which every answer counts, in virtual time but for the network."""
    decide = partial(policy.check_due, minimum_interval=timedelta(hours=1))
    request = RotationRequest(ROTATION, "weekly", NOW, "correlation")
    with talking_to(server, clock) as infisical:
        return ensure_rotated(infisical, decide, request, lambda: None, Deadline(clock.monotonic() + 170, clock))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_broken_answer_to_rotate_secrets_is_confirmed_and_never_repeated(server: Server, name: str) -> None:
    hostile, clock = HOSTILE[name], SkippingClock()

    def committed(connection: socket.socket) -> None:
        server.answers["state"] = http_json(DONE)
        if isinstance(hostile, bytes):
            connection.sendall(hostile)
        else:
            hostile(connection)

    server.answers["rotate"] = committed
    outcome, again = ensure(server, clock), ensure(server, clock)

    is_clear_no = isinstance(hostile, bytes) and hostile.split(b" ")[1][:1] in b"34"
    assert outcome.result in (Result.ROTATED, Result.FAILED) if is_clear_no else outcome.result is Result.ROTATED
    assert (again.result, server.calls("rotate")) == (Result.SKIPPED, 1)
    assert TOKEN not in outcome.explanation


# ---- nothing goes anywhere else --------------------------------------------------------------------------------------

PLACES = [
    b"Location: http://127.0.0.1:%d/api",
    b"Location: //127.0.0.1:%d/",
    b"Location: http://user:password@127.0.0.1:%d/",
    b"Refresh: 0; url=http://127.0.0.1:%d/",
    b'Alt-Svc: h2="127.0.0.1:%d", http/1.1=":%d"',
    b"Content-Location: http://127.0.0.1:%d/",
    b"Link: <http://127.0.0.1:%d/>; rel=preload",
    b"Set-Cookie: session=1; Domain=127.0.0.1; Port=%d",
]
STATUSES = [200, 300, 301, 302, 303, 305, 307, 308, 401, 407]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("kind", ["login", "state", "list", "keys", "rotate"])
def test_a_redirect_is_never_followed(server: Server, kind: str, status: int) -> None:
    with closing(Server()) as elsewhere:
        for place in PLACES:
            pointing = place.replace(b"%d", str(elsewhere.port).encode())
            server.answers[kind] = http(b"", pointing, status=status)
            if kind == "rotate":
                ensure(server, SkippingClock())
            else:
                read(server, kind, SkippingClock(), server.answers[kind])

        assert elsewhere.connections == 0


# ---- what stays behind -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cookie",
    ["a=" + "x" * 50_000, f"a=b; {EXPIRED}", "a=b; expires=Thu, 01 Jan 99999 00:00:00 GMT", "=; =; ;", '"', "a=\xff"],
    ids=["large", "for ever", "for thousands of years", "empty", "open", "binary"],
)
def test_cookies_are_never_kept(server: Server, cookie: str) -> None:
    server.answers["state"] = http(DUE_BODY, b"Set-Cookie: " + cookie.encode("latin-1"))
    with talking_to(server, SkippingClock()) as infisical:
        for _ in range(3):
            infisical.state(ROTATION, 5)

    requests = [request for kind, request in server.received if kind == "state"]
    assert len(requests) == 3
    assert [request for request in requests if b"cookie" in request.lower()] == []


# ---- slow ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(
    "pieces",
    [
        [http(DUE_BODY)[: -len(DUE_BODY)], *(bytes([byte]) for byte in DUE_BODY[:40])],
        [CHUNKED, *[b"1\r\n \r\n"] * 40],
    ],
    ids=["bytes", "chunks"],
)
def test_a_body_that_drips_is_ended_with_the_time_that_the_call_has(pieces: list[bytes]) -> None:
    dripped_whole: list[bool] = []

    def drip(connection: socket.socket) -> None:
        dripped_whole.append(False)
        dripped(*pieces)(connection)
        dripped_whole[:] = [True]

    with (
        closing(Server(**{**GOOD, "state": drip})) as server,
        connected_to(server) as infisical,
        pytest.raises(UncertainError, match="did not end in time"),
    ):
        infisical.state(ROTATION, SHORT_SECONDS)

    assert dripped_whole == [False], "somebody listened to the end"


@pytest.mark.usefixtures("credentials")
def test_proxies_of_the_environment_are_ignored(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Server()) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.lower(), proxy.url)

        with connected_to(server) as infisical:
            infisical.state(ROTATION, 5)

        assert proxy.connections == 0
