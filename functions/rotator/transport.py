"""What an answer may cost: its size, and the time that its body takes. httpx itself bounds neither, only each read."""

from collections.abc import Iterator

import httpx

from rotator.clock import Clock

MAXIMUM_ANSWER_BYTES = 64 * 1024 * 1024


class BoundedTransport(httpx.BaseTransport):
    """Ends answers that are too large, or that still arrive when the request's read time-out is over.

    Both raise httpx.TransportError. Compressed answers are ended too: how large they are shows only once they are
    unpacked. Send `Accept-Encoding: identity`.
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
            raise httpx.RemoteProtocolError("the answer is compressed, which was not asked for")
        response.stream = _BoundedStream(stream, end, self._clock)
        return response

    def close(self) -> None:
        """Close the inner transport."""
        self._inner.close()


class _BoundedStream(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream, end: float, clock: Clock) -> None:
        self._inner = inner
        self._end = end
        self._clock = clock

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self._inner:
            size += len(chunk)
            if size > MAXIMUM_ANSWER_BYTES:
                raise httpx.RemoteProtocolError(f"the answer is larger than {MAXIMUM_ANSWER_BYTES:,} bytes")
            if self._clock.monotonic() > self._end:
                raise httpx.ReadTimeout("the answer did not end in time")
            yield chunk

    def close(self) -> None:
        self._inner.close()
