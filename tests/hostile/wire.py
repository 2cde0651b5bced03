"""Servers on this machine that answer whatever bytes a test gives them, and one that should never be asked."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, BinaryIO

import httpx

from rotator.infisical.auth_methods import universal_auth
from rotator.infisical.client import Infisical
from rotator.infisical.connect import connect
from rotator.infisical.login import Login, MachineIdentity
from rotator.infisical.transport import BoundedTransport
from rotator.settings import InfisicalSettings
from tests.unit.fakes import NOW

LOOPBACK = "127.0.0.1"
TOKEN = "s3cr3t-token-of-the-test"
CLIENT_SECRET = "s3cr3t-client-secret"

# A client makes one anyhow, which costs more than all that a test does here.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

Answer = bytes | Callable[[socket.socket], None]

_CALLS = {b"/login": "login", b"/rotate-secrets": "rotate", b"/generated-credentials": "keys", b"?projectId": "list"}


def http(body: bytes, *headers: bytes, status: int = 200) -> bytes:
    """A whole answer. `headers` come first."""
    lines = [b"HTTP/1.1 %d Whatever" % status, *headers, b"Content-Length: %d" % len(body), b"", body]
    return b"\r\n".join(lines)


def http_json(value: Any) -> bytes:  # noqa: ANN401 - JSON
    return http(json.dumps(value).encode(), b"Content-Type: application/json")


class Server:
    """Answers each kind of call (login, state, rotate, keys, list) with the bytes that `answers` hold for it.

    Where that is a function, it writes to the connection itself, which is closed then. `received` are the requests,
    `connections` how often somebody connected.
    """

    def __init__(self, **answers: Answer) -> None:
        self.answers = answers
        self.received: list[tuple[str, bytes]] = []
        self.connections = 0
        self._listening = socket.create_server((LOOPBACK, 0))
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def calls(self, kind: str) -> int:
        return sum(each == kind for each, _ in self.received)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                connection, _ = self._listening.accept()
                self.connections += 1
                self._open.add(connection)
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream, suppress(OSError):  # the client has had enough
            while head := _head(stream):
                size = next(
                    (line[15:] for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), b"0"
                )
                request = head + stream.read(int(size))
                path = head.split(b" ")[1]
                kind = next((kind for mark, kind in _CALLS.items() if mark in path), "state")
                self.received.append((kind, request))
                answer = self.answers[kind]
                if not isinstance(answer, bytes):
                    answer(connection)
                    break
                connection.sendall(answer)
        self._open.discard(connection)


def _head(stream: BinaryIO) -> bytes:
    """Read a request's first line and headers; nothing where the client has hung up."""
    head = b""
    while (line := stream.readline()).strip():
        head += line
    return head if line else b""


def dripped(*pieces: bytes, seconds: float = 0.05) -> Callable[[socket.socket], None]:
    """What sends one piece after the other, slowly, for as long as somebody listens."""

    def write(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(seconds)

    return write


def cut_off(content: bytes) -> Callable[[socket.socket], None]:
    """What sends this and hangs up."""
    return lambda connection: connection.sendall(content)


class SkippingClock:
    """Real time, but for sleeping, which costs none."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def time(self) -> float:
        return NOW.timestamp() + self.monotonic()

    def monotonic(self) -> float:
        return time.monotonic() - self._started

    def sleep(self, seconds: float) -> None:
        self._started -= seconds


def login() -> Login:
    return universal_auth(json.dumps({"clientId": "client", "clientSecret": CLIENT_SECRET}))


@contextmanager
def talking_to(server: Server, clock: SkippingClock) -> Iterator[Infisical]:
    """The application's client over a real network."""
    with closing(httpx.HTTPTransport(verify=NO_TLS)) as transport:
        identity = MachineIdentity(server.url, login, clock.time)
        yield Infisical(server.url, identity, BoundedTransport(transport, clock), clock)


@contextmanager
def connected_to(server: Server) -> Iterator[Infisical]:
    """The same as the functions put it together, which takes longer; the environment needs credentials of AWS."""
    infisical = connect(InfisicalSettings(server.url, "identity", "", ""), SkippingClock())
    yield infisical
    infisical._client.close()  # noqa: SLF001 - Lambda never closes it
