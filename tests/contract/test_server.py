"""Over real sockets, in real time."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from tests.contract.stage import LOGIN
from tests.sandbox.standin.answers import Answer
from tests.sandbox.standin.core import StandIn
from tests.sandbox.standin.faults import CommittedThenDropped, Slow
from tests.sandbox.standin.keys import MemoryKeys
from tests.sandbox.standin.rotations import Rotation
from tests.sandbox.standin.server import serve


@pytest.fixture
def standin() -> StandIn:
    return StandIn(time, MemoryKeys(time), limit_seconds=0.5)


@pytest.fixture
def rotation(standin: StandIn) -> Rotation:
    return standin.add_rotation()


@pytest.fixture
def client(standin: StandIn, rotation: Rotation) -> Iterator[httpx.Client]:
    with serve(standin) as url, logged_in(url, standin, rotation) as client:
        yield client


@contextmanager
def logged_in(url: str, standin: StandIn, rotation: Rotation) -> Iterator[httpx.Client]:
    """With the rotation for a base."""
    identity = standin.add_identity()
    with httpx.Client(base_url=f"{url}/api/v2/secret-rotations/{rotation.type}/{rotation.id}") as client:
        credentials = {"clientId": identity.client_id, "clientSecret": identity.client_secret}
        token = client.post(url + LOGIN, json=credentials).json()["accessToken"]
        client.headers["authorization"] = f"Bearer {token}"
        yield client


def eventually(condition: Callable[[], object]) -> bool:
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_a_rotation_is_answered(client: httpx.Client) -> None:
    response = client.post("/rotate-secrets")

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.json()["secretRotation"]["activeIndex"] == 1


def test_a_lost_response_is_a_closed_connection(standin: StandIn, rotation: Rotation, client: httpx.Client) -> None:
    standin.faults.add(rotation.id, CommittedThenDropped())

    with pytest.raises(httpx.RemoteProtocolError, match="disconnected without sending a response"):
        client.post("/rotate-secrets")
    assert client.get("").json()["secretRotation"]["activeIndex"] == 1


def test_a_server_at_its_time_limit_hangs_up_and_still_commits(
    standin: StandIn, rotation: Rotation, client: httpx.Client
) -> None:
    standin.faults.add(rotation.id, Slow(0.8))

    with pytest.raises(httpx.RemoteProtocolError):
        client.post("/rotate-secrets")
    assert eventually(lambda: rotation.active_index == 1)


def test_a_client_that_leaves_cancels_nothing(standin: StandIn, rotation: Rotation, client: httpx.Client) -> None:
    standin.faults.add(rotation.id, Slow(0.4))

    with pytest.raises(httpx.ReadTimeout):
        client.post("/rotate-secrets", timeout=0.1)
    assert eventually(lambda: rotation.active_index == 1)


def test_a_raw_answer_arrives_as_it_is(standin: StandIn, rotation: Rotation, client: httpx.Client) -> None:
    standin.faults.add_read(rotation.id, Answer(503, {"content-type": "text/html"}, b"<h1>"))

    response = client.get("")

    assert (response.status_code, response.headers["content-type"], response.content) == (503, "text/html", b"<h1>")


def test_a_query_reaches_the_server(rotation: Rotation, client: httpx.Client) -> None:
    path = client.base_url.copy_with(path="/api/v2/secret-rotations")

    listed = client.get(path, params={"projectId": rotation.project_id}).json()

    assert [one["id"] for one in listed["secretRotations"]] == [rotation.id]


def test_a_slow_call_blocks_no_other_and_a_stop_cuts_it_off() -> None:
    standin = StandIn(time, MemoryKeys(time))
    rotation = standin.add_rotation()
    standin.faults.add(rotation.id, Slow(25))

    with ThreadPoolExecutor() as pool:
        with serve(standin) as url, logged_in(url, standin, rotation) as client:
            slow = pool.submit(client.post, "/rotate-secrets", timeout=30)
            assert eventually(lambda: standin.requests[-1].method == "POST" and len(standin.requests) == 2)
            assert client.get("").status_code == 200
            assert not slow.done()
        assert isinstance(slow.exception(), httpx.RemoteProtocolError | httpx.ReadError)


def test_a_stop_leaves_nothing_behind(standin: StandIn) -> None:
    before = set(threading.enumerate())  # servers of other tests may be among them
    with serve(standin) as url:
        port = int(url.rpartition(":")[2])
        httpx.get(url)
        started = set(threading.enumerate()) - before
        assert started

    assert started & set(threading.enumerate()) == set()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port))
