"""What an answer costs in memory, whatever it holds: a few times its size, and its size is bounded."""

import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from samcli.yamlhelper import yaml_parse

from rotator.infisical.client import Infisical
from rotator.infisical.errors import UncertainError
from rotator.infisical.transport import MAXIMUM_LIST_BYTES, BoundedTransport
from rotator.model import MappedRotation
from tests.hostile.mutations import written
from tests.hostile.readable import refused_readably
from tests.unit.fakes import VirtualClock, described, rotation_id

MEBIBYTE = 1024 * 1024
ROTATION = MappedRotation(rotation_id(1))

# What Python makes of JSON: of `[[[[…]]]]`, two bytes each, a list of 88 bytes.
MOST_A_BYTE = 48
THREADS = 10  # that read answers at the same time: a batch of `rotate`, the states that `dispatch` reads


class Body(httpx.SyncByteStream):
    """So many chunks; how many were read is known afterwards."""

    def __init__(self, chunk: bytes, count: int) -> None:
        self._chunk = chunk
        self._count = count
        self.read_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self._count):
            self.read_bytes += len(self._chunk)
            yield self._chunk


def answering(body: httpx.SyncByteStream, *headers: tuple[str, str]) -> Infisical:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, headers=list(headers), stream=body))
    clock = VirtualClock()
    return Infisical("https://infisical.test", httpx.Auth(), BoundedTransport(transport, clock), clock)


def read_state(infisical: Infisical) -> object:
    return infisical.state(ROTATION, 10)


def read_keys(infisical: Infisical) -> object:
    return infisical.credentials(ROTATION, 10)


def read_list(infisical: Infisical) -> object:
    return infisical.rotations("payments", ROTATION.type, 45)


@contextmanager
def measured() -> Iterator[Callable[[], int]]:
    """Tell the most memory that was in use at any time so far, in bytes."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("read", [read_state, read_keys], ids=["state", "keys"])
def test_ten_endless_answers_at_once_fit_into_the_smallest_function(
    read: Callable[[Infisical], object],
) -> None:
    template = yaml_parse((Path(__file__).parents[2] / "template.yaml").read_text("utf-8"))
    smallest = template["Globals"]["Function"]["MemorySize"] * MEBIBYTE
    body = Body(b"[]," * 10_000, 100_000)

    with pytest.raises(UncertainError, match="larger than"):
        read(answering(body))

    assert THREADS * MOST_A_BYTE * body.read_bytes < smallest / 2


def test_an_endless_list_is_read_only_up_to_its_bound() -> None:
    body = Body(b" " * MEBIBYTE, 1_000_000)

    with measured() as peak:
        with pytest.raises(UncertainError, match="larger than"):
            read_list(answering(body))
        cost = peak()

    assert body.read_bytes == MAXIMUM_LIST_BYTES + MEBIBYTE
    assert cost < 1.1 * MAXIMUM_LIST_BYTES


def test_a_bomb_is_not_unpacked_and_not_even_read() -> None:
    bomb = zlib.compress(bytes(100 * MEBIBYTE))
    body = Body(bomb, 1)

    with measured() as peak:
        with pytest.raises(UncertainError, match="compressed"):
            read_list(answering(body, ("content-encoding", "deflate")))
        cost = peak()

    assert body.read_bytes == 0
    assert cost < MEBIBYTE


SIZE = 300_000
COSTLY = {
    "objects": b"{},",
    "lists": b"[],",
    "nested lists": b"[" * 90 + b"]" * 90 + b",",
    "objects of one": b'{"":0},',
    "nested objects": b'{"a":{"a":{"a":0}}},',
    "numbers": b"1e9,",
    "small numbers": b"0,",
    "texts": b'"","abc",',
    "characters beyond the BMP": "\U0001f600".encode(),
}


@pytest.mark.parametrize("name", COSTLY)
def test_the_memory_that_an_answer_costs_is_bounded_by_its_size(name: str) -> None:
    part = COSTLY[name]
    around = (b'{"a":"', b'"}') if name.startswith("characters") else (b'{"a":[', b"0]}")
    content = around[0] + part * (SIZE // len(part)) + around[1]
    infisical = answering(Body(content, 1))

    with measured() as peak:
        with refused_readably() as refusal:
            read_state(infisical)
        cost = peak()

    assert refusal.text
    assert cost / len(content) < MOST_A_BYTE


def test_a_list_of_rotations_costs_a_few_times_its_size() -> None:
    content = written({"secretRotations": [described(number) for number in range(1000)]})

    with measured() as peak:
        read_list(answering(Body(content, 1)))
        cost = peak()

    assert cost / len(content) < 8
