from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import repeat

import httpx
import pytest

from rotator.infisical.transport import (
    IDLE_SECONDS,
    MAXIMUM_ANSWER_BYTES,
    BoundedTransport,
    CallTimeouts,
    RenewedTransport,
)
from tests.unit.fakes import VirtualClock

SIXTY_FOURTH = b"x" * (512 * 1024 // 64)
READ_TIMEOUT_SECONDS = 10.0


class Chunks(httpx.SyncByteStream):
    """An answer that arrives chunk by chunk, while it is read; before each chunk, time passes."""

    def __init__(self, chunks: Iterable[bytes], clock: VirtualClock, seconds_a_chunk: float = 0.0) -> None:
        self._chunks = chunks
        self._clock = clock
        self._seconds_a_chunk = seconds_a_chunk
        self.read = 0
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._clock.sleep(self._seconds_a_chunk)
            self.read += 1
            yield chunk

    def close(self) -> None:
        self.closed = True


class AsynchronousChunks(httpx.AsyncByteStream):
    def __aiter__(self) -> AsyncIterator[bytes]:
        raise NotImplementedError


class FakeNetwork(httpx.BaseTransport):
    def __init__(self, answer: Callable[[], httpx.Response]) -> None:
        self._answer = answer
        self.requests: list[httpx.Request] = []
        self.closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answer()

    def close(self) -> None:
        self.closed = True


def client(network: httpx.BaseTransport, clock: VirtualClock) -> httpx.Client:
    return httpx.Client(transport=BoundedTransport(network, clock), base_url="https://infisical.example.com")


def within(clock: VirtualClock, seconds: float = READ_TIMEOUT_SECONDS, **extensions: object) -> dict[str, object]:
    """The extensions of a call that may take so long from now."""
    return {"timeout": CallTimeouts(clock.monotonic() + seconds, clock), **extensions}


def size_read(stream: Chunks, clock: VirtualClock, *, connect_seconds: float = 0.0) -> int:
    """Read an answer to its end without keeping it."""

    def answer() -> httpx.Response:
        clock.sleep(connect_seconds)
        return httpx.Response(200, stream=stream)

    with client(FakeNetwork(answer), clock) as http, http.stream("GET", "/", extensions=within(clock)) as response:
        return sum(len(chunk) for chunk in response.iter_raw())


# ---- passed on -------------------------------------------------------------------------------------------------------


def test_an_answer_is_passed_on_as_it_is() -> None:
    clock = VirtualClock()
    stream = Chunks([b'{"id"', b": 1}"], clock)
    network = FakeNetwork(lambda: httpx.Response(418, headers={"x-limit": "7"}, stream=stream))

    response = client(network, clock).get("/", extensions=within(clock))

    assert (response.status_code, response.headers["x-limit"], response.json()) == (418, "7", {"id": 1})


def test_an_answer_that_says_that_it_is_not_compressed_is_passed_on() -> None:
    clock = VirtualClock()
    stream = Chunks([b"{}"], clock)
    network = FakeNetwork(lambda: httpx.Response(200, headers={"content-encoding": "identity"}, stream=stream))

    assert client(network, clock).get("/", extensions=within(clock)).content == b"{}"


def test_a_request_is_passed_on_as_it_is() -> None:
    clock = VirtualClock()
    network = FakeNetwork(lambda: httpx.Response(204))

    client(network, clock).post("/rotate", extensions=within(clock), headers={"Authorization": "Bearer token"})

    (request,) = network.requests
    assert (request.method, request.url.path, request.headers["authorization"]) == ("POST", "/rotate", "Bearer token")


def test_an_answer_that_was_read_is_closed() -> None:
    clock = VirtualClock()
    stream = Chunks([b"{}"], clock)

    size_read(stream, clock)

    assert stream.closed


def test_closing_closes_the_connections() -> None:
    network = FakeNetwork(lambda: httpx.Response(204))

    client(network, VirtualClock()).close()

    assert network.closed


# ---- too large -------------------------------------------------------------------------------------------------------


def test_an_answer_as_large_as_allowed_is_read_whole() -> None:
    clock = VirtualClock()
    stream = Chunks(repeat(SIXTY_FOURTH, 64), clock)

    assert size_read(stream, clock) == MAXIMUM_ANSWER_BYTES == 512 * 1024


def test_an_answer_one_byte_larger_is_ended() -> None:
    clock = VirtualClock()
    stream = Chunks([*repeat(SIXTY_FOURTH, 64), b"x"], clock)

    with pytest.raises(httpx.ReadError, match="larger than 524,288 bytes"):
        size_read(stream, clock)


def test_a_much_larger_answer_is_read_no_further_than_allowed() -> None:
    clock = VirtualClock()
    stream = Chunks(repeat(SIXTY_FOURTH, 99), clock)

    with pytest.raises(httpx.ReadError):
        size_read(stream, clock)

    assert stream.read == 65


def test_an_answer_that_is_too_large_is_closed() -> None:
    clock = VirtualClock()
    stream = Chunks(repeat(SIXTY_FOURTH, 99), clock)

    with pytest.raises(httpx.ReadError):
        size_read(stream, clock)

    assert stream.closed


# ---- too slow --------------------------------------------------------------------------------------------------------


def test_an_answer_that_ends_with_the_read_timeout_is_read_whole() -> None:
    clock = VirtualClock()
    stream = Chunks(repeat(b"x", 10), clock, seconds_a_chunk=READ_TIMEOUT_SECONDS / 10)

    assert size_read(stream, clock) == 10


def test_an_answer_that_drips_past_the_read_timeout_is_ended() -> None:
    clock = VirtualClock()
    stream = Chunks(repeat(b"x", 99), clock, seconds_a_chunk=1.0)

    with pytest.raises(httpx.ReadTimeout, match="did not end in time"):
        size_read(stream, clock)


def test_an_answer_that_drips_is_waited_for_no_longer_than_its_next_byte() -> None:
    clock = VirtualClock()
    stream = Chunks(repeat(b"x", 99), clock, seconds_a_chunk=1.0)

    with pytest.raises(httpx.ReadTimeout):
        size_read(stream, clock)

    assert clock.monotonic() == READ_TIMEOUT_SECONDS + 1.0


def test_the_time_until_the_first_byte_counts() -> None:
    clock = VirtualClock()
    stream = Chunks([b"x"], clock, seconds_a_chunk=1.0)

    with pytest.raises(httpx.ReadTimeout):
        size_read(stream, clock, connect_seconds=READ_TIMEOUT_SECONDS)


def test_each_response_has_its_own_time_limit() -> None:
    clock = VirtualClock()
    network = FakeNetwork(
        lambda: httpx.Response(200, stream=Chunks([b"x"], clock, seconds_a_chunk=READ_TIMEOUT_SECONDS))
    )

    with client(network, clock) as http:
        assert [http.get("/", extensions=within(clock)).content, http.get("/", extensions=within(clock)).content] == [
            b"x",
            b"x",
        ]


# ---- not to be trusted -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate", "gzip, identity"])
def test_a_compressed_answer_is_ended_because_its_size_would_show_too_late(encoding: str) -> None:
    clock = VirtualClock()
    stream = Chunks([b"x"], clock)
    network = FakeNetwork(lambda: httpx.Response(200, headers={"content-encoding": encoding}, stream=stream))

    with pytest.raises(httpx.ReadError, match="compressed, which was not asked for"):
        client(network, clock).get("/", extensions=within(clock))


def test_a_compressed_answer_is_closed_unread() -> None:
    clock = VirtualClock()
    stream = Chunks([b"x"], clock)
    network = FakeNetwork(lambda: httpx.Response(200, headers={"content-encoding": "gzip"}, stream=stream))

    with pytest.raises(httpx.ReadError):
        client(network, clock).get("/", extensions=within(clock))

    assert (stream.read, stream.closed) == (0, True)


def test_a_network_that_cannot_be_read_synchronously_is_a_mistake_of_ours() -> None:
    clock = VirtualClock()
    network = FakeNetwork(lambda: httpx.Response(200, stream=AsynchronousChunks()))

    with pytest.raises(TypeError, match="cannot be read synchronously"):
        client(network, clock).get("/", extensions=within(clock))


# ---- time-outs of a whole call ---------------------------------------------------------------------------------------


def test_each_phase_of_a_call_gets_the_remaining_time() -> None:
    clock = VirtualClock()
    timeouts = CallTimeouts(clock.monotonic() + 35.0, clock)

    assert [timeouts.get(phase) for phase in ("pool", "write", "read")] == [35.0] * 3
    clock.sleep(20.0)
    assert timeouts.get("read") == 15.0


def test_tcp_and_tls_together_end_with_the_call() -> None:
    clock = VirtualClock()
    timeouts = CallTimeouts(clock.monotonic() + 35.0, clock)

    assert timeouts.get("connect") == 5.0
    clock.sleep(31.0)
    assert 2 * timeouts.get("connect") == 4.0


def test_a_part_of_a_call_ends_with_the_call() -> None:
    clock = VirtualClock()
    timeouts = CallTimeouts(clock.monotonic() + 35.0, clock)

    assert timeouts.within(10.0).get("read") == 10.0
    clock.sleep(30.0)
    assert timeouts.within(10.0).get("read") == 5.0


def test_a_phase_after_the_end_of_the_call_fails_at_once() -> None:
    clock = VirtualClock()
    timeouts = CallTimeouts(clock.monotonic() - 1.0, clock)

    assert 0.0 < timeouts.get("read") < 0.01


# ---- connections that may have died ----------------------------------------------------------------------------------


class Networks:
    """Makes one network after the other: each request on one that has `died` ends like this."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.made: list[FakeNetwork] = []
        self.died: dict[int, Exception] = {}
        self.http = client(RenewedTransport(self._connect, self.clock), self.clock)

    def send(self, method: str = "GET", *, repeatable: bool = True) -> httpx.Response:
        return self.http.request(method, "/", extensions=within(self.clock, repeatable=repeatable))

    @property
    def used(self) -> list[int]:
        return [len(network.requests) for network in self.made]

    def _connect(self) -> httpx.BaseTransport:
        number = len(self.made)

        def answer() -> httpx.Response:
            if number in self.died:
                raise self.died[number]
            return httpx.Response(200, stream=Chunks([b"x"], self.clock))

        self.made.append(FakeNetwork(answer))
        return self.made[-1]


DEAD = [
    httpx.ReadError("Connection reset by peer"),
    httpx.WriteError("Broken pipe"),
    httpx.RemoteProtocolError("Server disconnected without sending a response."),
    httpx.ReadTimeout("The read operation timed out"),
]
EACH_DEATH = pytest.mark.parametrize("death", DEAD, ids=lambda death: type(death).__name__)


@EACH_DEATH
def test_a_read_that_got_no_byte_is_sent_once_more_on_a_new_connection(death: Exception) -> None:
    networks = Networks()
    networks.died[0] = death

    assert networks.send().content == b"x"
    assert networks.used == [1, 1]
    assert networks.made[0].closed


@EACH_DEATH
def test_a_rotation_that_got_no_byte_is_never_sent_again(death: Exception) -> None:
    networks = Networks()
    networks.died[0] = death

    with pytest.raises(type(death)):
        networks.send("POST", repeatable=False)

    assert networks.used == [1, 0]


def test_a_read_is_repeated_once_only() -> None:
    networks = Networks()
    networks.died = {0: DEAD[0], 1: DEAD[0]}

    with pytest.raises(httpx.ReadError):
        networks.send()

    assert networks.used[:2] == [1, 1]


def test_no_request_uses_a_connection_from_before_a_freeze() -> None:
    networks = Networks()
    networks.send()
    networks.died[0] = DEAD[3]

    networks.clock.sleep(IDLE_SECONDS + 0.001)

    assert networks.send("POST", repeatable=False).content == b"x"
    assert [network.closed for network in networks.made] == [True, False]


def test_connections_in_use_are_kept() -> None:
    networks = Networks()

    for _ in range(3):
        networks.send()
        networks.clock.sleep(IDLE_SECONDS)

    assert networks.used == [3]


def test_connections_whose_answer_is_still_read_are_closed_when_it_has_been() -> None:
    networks = Networks()
    with networks.http.stream("GET", "/", extensions=within(networks.clock)) as response:
        networks.died[0] = DEAD[0]
        networks.send()
        assert not networks.made[0].closed
        assert b"".join(response.iter_raw()) == b"x"

    assert networks.made[0].closed
