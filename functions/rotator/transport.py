"""What an answer may cost: its size, and the time that its body takes. httpx itself bounds neither, only each read."""

from collections.abc import Iterator

import httpx

from rotator.clock import Clock

# A list holds all rotations of a project, an answer about one some kilobytes; ten of these are read at once.
MAXIMUM_LIST_BYTES = 64 * 1024 * 1024
MAXIMUM_ANSWER_BYTES = 512 * 1024

# What is never used and would be kept, or looked into, by httpx.
_UNWANTED = ("location", "set-cookie")


class BoundedTransport(httpx.BaseTransport):
    """Ends answers that are too large, or that still arrive when the request's read time-out is over.

    A request's extension `maximum_bytes` overrides the bound. Both raise httpx.TransportError. Compressed answers are
    ended too: how large they are shows only once they are unpacked. Send `Accept-Encoding: identity`.
    """

    def __init__(self, inner: httpx.BaseTransport, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Pass the request on and bound what comes back."""
        end = self._clock.monotonic() + request.extensions["timeout"]["read"]
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
        response.stream = _BoundedStream(stream, end, maximum_bytes, self._clock)
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
