"""Bounds on the time and size of a call, and replacement of connections that may be dead.

httpx bounds only each phase of a request. It expires connections by a clock that may stand still while Lambda freezes
the process.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx

from rotator.clock import Clock

# A list holds all rotations of a project. An answer about one has a few kilobytes, and ten are read at once.
MAXIMUM_LIST_BYTES = 64 * 1024 * 1024
MAXIMUM_ANSWER_BYTES = 512 * 1024

CONNECT_TIMEOUT_SECONDS = 5.0

# httpx has the same limit on the monotonic clock; this one is on the wall clock.
IDLE_SECONDS = 5.0

_SHORTEST_TIMEOUT_SECONDS = 0.001  # 0 would mean not to wait at all, which httpx does not expect

# Headers that this client never uses, and that httpx would store or follow.
_UNWANTED = ("location", "set-cookie")

# The errors of a dead connection, before the first byte of an answer.
_NO_BYTE = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadTimeout)


@dataclass(frozen=True, slots=True)
class CallTimeouts:
    """The `timeout` extension of the requests of one call: all phases together end at `end`.

    httpcore asks for a phase's time-out when the phase begins, and gets the time that is left. `end` is on the clock's
    `monotonic()`.
    """

    end: float
    clock: Clock

    def within(self, seconds: float) -> "CallTimeouts":
        """Those of a part of the call that may take no longer than `seconds` from now."""
        return CallTimeouts(min(self.end, self.clock.monotonic() + seconds), self.clock)

    def get(self, phase: str, _: object = None) -> float:
        """Seconds for `pool`, `connect`, `write` or `read`. TCP and TLS each get the time-out of `connect`."""
        remaining = max(_SHORTEST_TIMEOUT_SECONDS, self.end - self.clock.monotonic())
        return min(CONNECT_TIMEOUT_SECONDS, remaining / 2) if phase == "connect" else remaining


class BoundedTransport(httpx.BaseTransport):
    """Aborts answers that are too large, or that still arrive when the request's time is over.

    A request's extension `timeout` is a CallTimeouts, and `maximum_bytes` overrides the bound of its size. Both raise
    httpx.TransportError. Compressed answers are aborted too: their size is known only after unpacking. Send
    `Accept-Encoding: identity`.
    """

    def __init__(self, inner: httpx.BaseTransport, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Pass the request on and bound the response."""
        timeouts: CallTimeouts = request.extensions["timeout"]
        response = self._inner.handle_request(request)
        stream = response.stream
        if not isinstance(stream, httpx.SyncByteStream):
            raise TypeError("the inner transport answers with a stream that cannot be read synchronously")
        if response.headers.get("content-encoding", "identity") != "identity":
            stream.close()
            raise httpx.ReadError("the answer is compressed, which was not asked for")
        for name in _UNWANTED:
            response.headers.pop(name, None)
        maximum_bytes = request.extensions.get("maximum_bytes", MAXIMUM_ANSWER_BYTES)
        response.stream = _BoundedStream(stream, timeouts.end, maximum_bytes, self._clock)
        return response

    def close(self) -> None:
        """Close the inner transport."""
        self._inner.close()


class _BoundedStream(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream, end: float, maximum_bytes: int, clock: Clock) -> None:
        self._inner = inner
        self._end = end
        self._maximum_bytes = maximum_bytes
        self._clock = clock

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self._inner:
            size += len(chunk)
            if size > self._maximum_bytes:
                raise httpx.ReadError(f"the answer is larger than {self._maximum_bytes:,} bytes")
            if self._clock.monotonic() > self._end:
                raise httpx.ReadTimeout("the answer did not end in time")
            yield chunk

    def close(self) -> None:
        self._inner.close()


class RenewedTransport(httpx.BaseTransport):
    """Connections from `connect`, which are replaced once they may be dead. Safe to use from several threads.

    They may be dead after an idle time on the wall clock, as after a freeze, and after one has broken before the first
    byte of an answer. A request with the extension `repeatable` is then sent once more, on a new connection.
    """

    def __init__(self, connect: Callable[[], httpx.BaseTransport], clock: Clock) -> None:
        self._connect = connect
        self._clock = clock
        self._lock = threading.Lock()
        self._pool = _Pool(connect())
        self._used_at = clock.time()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, perhaps twice."""
        pool = self._take()
        try:
            return self._send(pool, request)
        except _NO_BYTE:
            self._replace(pool)
            if not request.extensions.get("repeatable"):
                raise
        return self._send(self._take(), request)

    def close(self) -> None:
        """Close all connections."""
        self._pool.transport.close()

    def _send(self, pool: "_Pool", request: httpx.Request) -> httpx.Response:
        try:
            response = pool.transport.handle_request(request)
        except BaseException:
            self._give_back(pool)
            raise
        response.stream = _HeldStream(response.stream, lambda: self._give_back(pool))
        return response

    def _take(self) -> "_Pool":
        with self._lock:
            if self._pool.users == 0 and self._clock.time() - self._used_at > IDLE_SECONDS:
                self._retire(self._pool)
            self._pool.users += 1
            return self._pool

    def _give_back(self, pool: "_Pool") -> None:
        with self._lock:
            pool.users -= 1
            self._used_at = self._clock.time()
            if pool is not self._pool and pool.users == 0:
                pool.transport.close()

    def _replace(self, pool: "_Pool") -> None:
        with self._lock:
            if pool is self._pool:
                self._retire(pool)

    def _retire(self, pool: "_Pool") -> None:
        """Let further requests use new connections; the last user of the old ones closes them."""
        self._pool = _Pool(self._connect())
        if pool.users == 0:
            pool.transport.close()


@dataclass(slots=True, eq=False)
class _Pool:
    transport: httpx.BaseTransport
    users: int = 0


class _HeldStream(httpx.SyncByteStream):
    """Calls `released` when the answer has been read or abandoned."""

    def __init__(self, inner: object, released: Callable[[], None]) -> None:
        if not isinstance(inner, httpx.SyncByteStream):
            raise TypeError("the inner transport answers with a stream that cannot be read synchronously")
        self._inner = inner
        self._released = released

    def __iter__(self) -> Iterator[bytes]:
        yield from self._inner

    def close(self) -> None:
        self._inner.close()
        released, self._released = self._released, lambda: None
        released()
