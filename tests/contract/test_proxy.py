"""A proxy in front of the stand-in changes nothing that its callers could see."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.sandbox.deployment import wait_until
from tests.sandbox.proxy import Layer, Server, proxy
from tests.sandbox.standin.answers import Answer, Dropped
from tests.sandbox.standin.core import StandIn
from tests.sandbox.standin.faults import Slow
from tests.sandbox.standin.keys import MemoryKeys
from tests.sandbox.standin.rotations import Rotation
from tests.sandbox.standin.server import serve


class Journal(Layer):
    def __init__(self) -> None:
        super().__init__(Server())
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return await super().handle_async_request(request)


@pytest.fixture
def standin() -> StandIn:
    return StandIn(time, MemoryKeys(time))


@pytest.fixture
def rotation(standin: StandIn) -> Rotation:
    return standin.add_rotation()


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def client(standin: StandIn, rotation: Rotation, journal: Journal) -> Iterator[httpx.Client]:
    identity = standin.add_identity()
    with serve(standin) as url, proxy(url, journal) as front:
        credentials = {"clientId": identity.client_id, "clientSecret": identity.client_secret}
        token = httpx.post(f"{url}/api/v1/auth/universal-auth/login", json=credentials).json()["accessToken"]
        base = f"{front}/api/v2/secret-rotations/{rotation.type}/{rotation.id}"
        with httpx.Client(base_url=base, headers={"authorization": f"Bearer {token}"}) as client:
            yield client


def test_a_request_passes_as_it_is(standin: StandIn, client: httpx.Client, journal: Journal) -> None:
    response = client.post("?a=%2F&b=%20", content=b"\x00\xff", headers={"x-one": "1"})

    (passed,) = journal.requests
    sent = response.request
    assert (passed.method, passed.url.raw_path, passed.content) == ("POST", sent.url.raw_path, b"\x00\xff")
    assert {**passed.headers, "connection": "keep-alive"} == dict(sent.headers)
    assert standin.requests[-1].path == sent.url.raw_path.decode()


def test_an_answer_passes_as_it_is(standin: StandIn, rotation: Rotation, client: httpx.Client) -> None:
    standin.faults.add_read(rotation.id, Answer(429, {"content-type": "text/html", "retry-after": "7"}, b"<h1>"))

    response = client.get("")

    assert (response.status_code, response.content) == (429, b"<h1>")
    assert (response.headers["content-type"], response.headers["retry-after"]) == ("text/html", "7")


def test_no_body_and_no_content_type_stay_none(client: httpx.Client) -> None:
    assert client.post("/rotate-secrets").status_code == 200


def test_a_connection_that_is_closed_without_an_answer_is_closed(
    standin: StandIn, rotation: Rotation, client: httpx.Client
) -> None:
    standin.faults.add_read(rotation.id, Dropped())

    with pytest.raises(httpx.RemoteProtocolError, match="disconnected without sending a response"):
        client.get("")
    assert client.get("").status_code == 200


def test_a_server_that_is_not_there_is_a_closed_connection() -> None:
    with proxy("http://127.0.0.1:9", Server()) as url, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url)


def test_a_stop_does_not_wait_for_open_connections(standin: StandIn, rotation: Rotation) -> None:
    standin.faults.add_read(rotation.id, Slow(25))
    identity = standin.add_identity()

    with serve(standin) as url, ThreadPoolExecutor() as pool:
        credentials = {"clientId": identity.client_id, "clientSecret": identity.client_secret}
        token = httpx.post(f"{url}/api/v1/auth/universal-auth/login", json=credentials).json()["accessToken"]
        with proxy(url, Server()) as front:
            address = f"{front}/api/v2/secret-rotations/{rotation.type}/{rotation.id}"
            slow = pool.submit(httpx.get, address, headers={"authorization": f"Bearer {token}"}, timeout=20)
            wait_until("the call", lambda: len(standin.requests) == 2)
        assert isinstance(slow.exception(), httpx.RemoteProtocolError | httpx.ReadError)
