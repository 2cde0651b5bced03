"""Over httpx in virtual time: what a client sees, and what goes on without it."""

from collections.abc import Iterator

import httpx
import pytest

from tests.contract.stage import ROTATE, ROTATION, ROTATION_ID, STARTS_AT, Stage
from tests.sandbox.standin.answers import Answer
from tests.sandbox.standin.faults import CommittedThenDropped, Slow
from tests.sandbox.standin.transport import StandInTransport


@pytest.fixture
def client(stage: Stage) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {stage.token}"}
    with httpx.Client(
        base_url="http://infisical", headers=headers, transport=StandInTransport(stage.standin)
    ) as client:
        yield client


def test_a_client_that_times_out_leaves_the_rotation_running(stage: Stage, client: httpx.Client) -> None:
    stage.standin.faults.add(ROTATION_ID, Slow(20))

    with pytest.raises(httpx.ReadTimeout):
        client.post(ROTATE, timeout=5)
    assert stage.clock.time() == STARTS_AT.timestamp() + 5
    assert stage.standin.requests[-1].status is None

    stage.clock.sleep(16)
    assert client.get(ROTATION).json()["secretRotation"]["lastRotatedAt"] == "2026-11-22T03:57:28.005Z"


@pytest.mark.parametrize("timeout", [21, None])
def test_a_client_with_patience_gets_its_answer(stage: Stage, client: httpx.Client, timeout: float | None) -> None:
    stage.standin.faults.add(ROTATION_ID, Slow(20))

    assert client.post(ROTATE, timeout=timeout).json()["secretRotation"]["activeIndex"] == 1


def test_a_dropped_connection_is_a_protocol_error(stage: Stage, client: httpx.Client) -> None:
    stage.standin.faults.add(ROTATION_ID, CommittedThenDropped())

    with pytest.raises(httpx.RemoteProtocolError):
        client.post(ROTATE)


def test_a_query_reaches_the_server(stage: Stage, client: httpx.Client) -> None:
    listed = client.get("/api/v2/secret-rotations", params={"projectId": stage.rotation.project_id})

    assert [rotation["id"] for rotation in listed.json()["secretRotations"]] == [ROTATION_ID]


def test_a_raw_answer_arrives_as_it_is(stage: Stage, client: httpx.Client) -> None:
    stage.standin.faults.add_read(ROTATION_ID, Answer(502, {"content-type": "text/html"}, b"<h1>Bad gateway"))

    response = client.get(ROTATION)

    assert (response.status_code, response.headers["content-type"], response.content) == (
        502,
        "text/html",
        b"<h1>Bad gateway",
    )
