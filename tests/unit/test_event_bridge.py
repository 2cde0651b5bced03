"""PutEvents as this application sends it: what botocore's client would send, and what becomes of the answers."""

import io
import json
from collections.abc import Iterator
from typing import Any

import boto3
import httpx
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from rotator import aws
from rotator.outcomes.event_bridge import EventBridge
from rotator.outcomes.publisher import DetailType, Event, OutcomeEvents, Put
from tests.unit.fakes import Observed, VirtualClock

ENTRY: Any = {"Source": "s", "DetailType": "d", "Detail": '{"a": "é"}', "EventBusName": "default"}
ACCEPTED = {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
        monkeypatch.setenv(f"AWS_{name}", "example")
    in_region(monkeypatch, "us-east-1")


def in_region(monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    monkeypatch.setenv("AWS_REGION", region)
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    aws.session.cache_clear()


class Server:
    """Answers each request with the next of `answers`, the last one for all that follow."""

    def __init__(self, *answers: "httpx.Response | Exception") -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.bus = EventBridge(VirtualClock(), lambda: httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Raw(io.BytesIO):
    """A body as urllib3 hands it to botocore."""

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield self.read()


def sent_by_botocore() -> Any:  # noqa: ANN401 - botocore's prepared request
    sent: list[Any] = []

    def answer(request: Any, **_: object) -> AWSResponse:  # noqa: ANN401 - as above
        sent.append(request)
        raw: Any = Raw(json.dumps(ACCEPTED).encode())
        headers: Any = {}
        return AWSResponse(request.url, 200, headers, raw)

    client: Any = boto3.Session().client("events")
    client.meta.events.register("before-send.events.PutEvents", answer)
    client.put_events(Entries=[ENTRY])
    return sent[0]


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1"])
def test_a_call_is_what_botocore_would_send(monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    in_region(monkeypatch, region)
    server, theirs = Server(httpx.Response(200, json=ACCEPTED)), sent_by_botocore()

    assert server.bus.put_events(Entries=[ENTRY]) == ACCEPTED

    (ours,) = server.requests
    assert str(ours.url) == theirs.url
    assert json.loads(ours.content) == json.loads(theirs.body)
    for name in ("Content-Type", "X-Amz-Target", "X-Amz-Security-Token"):
        assert ours.headers[name] == _text(theirs.headers[name])
    scope = f"/{region}/events/aws4_request"
    assert scope in ours.headers["Authorization"]
    assert scope in _text(theirs.headers["Authorization"])


def _text(value: "str | bytes") -> str:
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EVENTBRIDGE"])
def test_a_configured_endpoint_is_called(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:4566")
    server = Server(httpx.Response(200, json=ACCEPTED))

    server.bus.put_events(Entries=[ENTRY])

    assert str(server.requests[0].url) == "http://127.0.0.1:4566/"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (
            httpx.Response(400, json={"__type": "com.amazonaws.events#InternalException"}),
            "InternalException",
        ),
        (httpx.Response(400, json={"__type": "AccessDeniedException", "Message": "no"}), "AccessDeniedException"),
        (httpx.Response(502, text="<html>"), "Http502"),
        (httpx.Response(500, json=["InternalFailure"]), "Http500"),
    ],
)
def test_an_error_has_its_code(answer: httpx.Response, code: str) -> None:
    with pytest.raises(ClientError) as raised:
        Server(answer).bus.put_events(Entries=[ENTRY])

    assert raised.value.response["Error"]["Code"] == code


@pytest.mark.parametrize(
    ("answers", "put", "calls"),
    [
        ([httpx.Response(500, text=""), httpx.Response(200, json=ACCEPTED)], Put.ACCEPTED, 2),
        ([httpx.ReadError("gone"), httpx.Response(200, json=ACCEPTED)], Put.ACCEPTED, 2),
        ([httpx.ConnectError("no route")], Put.LATER, 1),
        ([httpx.Response(200, text="not JSON")], Put.LATER, 1),
        ([httpx.Response(200, json={"Entries": []})], Put.LATER, 1),
        ([httpx.Response(400, json={"__type": "AccessDeniedException"})], Put.NEVER, 1),
    ],
    ids=["a passing error", "a dead connection", "out of reach", "no JSON", "no entries", "denied"],
)
def test_what_becomes_of_an_event(answers: list[httpx.Response | Exception], put: Put, calls: int) -> None:
    server = Server(*answers)
    events = OutcomeEvents(server.bus, "default", "infisical-rotation", "stack", Observed().telemetry)

    assert events.put([Event(DetailType.ROTATION_ENDED, {})]) == [put]
    assert len(server.requests) == calls
