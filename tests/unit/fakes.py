"""What the unit tests put at the edges: a clock, queues that keep what they get, an Infisical, a stream of logs."""

import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import count
from typing import TYPE_CHECKING, Any, Unpack, cast
from uuid import UUID

import httpx
from botocore.exceptions import ClientError

from rotator.infisical.client import Infisical
from rotator.model import DEFAULT_TYPE
from rotator.outcomes.publisher import OutcomeEvents
from rotator.telemetry import Telemetry
from rotator.timestamps import format_timestamp

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import (
        ChangeMessageVisibilityRequestTypeDef,
        SendMessageBatchRequestEntryTypeDef,
        SendMessageBatchRequestTypeDef,
        SendMessageRequestTypeDef,
    )

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)

_service_numbers = count(1)


def rotation_id(number: int) -> str:
    return str(UUID(int=number))


class VirtualClock:
    """Stands still until it is told to sleep."""

    def __init__(self, now: datetime = NOW) -> None:
        self._start = now.timestamp()
        self._elapsed_seconds = 0.0

    def time(self) -> float:
        return self._start + self._elapsed_seconds

    def monotonic(self) -> float:
        return self._elapsed_seconds

    def sleep(self, seconds: float) -> None:
        self._elapsed_seconds += seconds


QUEUE_DOWN = ClientError({"Error": {"Code": "ServiceUnavailable", "Message": "try again"}}, "AnyOperation")


class FakeSqs:
    """Keeps what it is given.

    `refused_groups` are not accepted from a batch. While `down`, every call fails; a call about one of the
    `lost_receipts` always does, and so does each batch that begins with a group of the `failures`, with that error.
    """

    def __init__(self, refused_groups: Collection[str] = (), *, down: bool = False) -> None:
        self.refused_groups = refused_groups
        self.down = down
        self.lost_receipts: Collection[str] = ()
        self.failures: dict[str, Exception] = {}
        self.batches: list[list[SendMessageBatchRequestEntryTypeDef]] = []
        self.sent: list[SendMessageRequestTypeDef] = []
        self.changed: list[ChangeMessageVisibilityRequestTypeDef] = []

    @property
    def client(self) -> "SQSClient":
        return cast("SQSClient", self)

    @property
    def entries(self) -> "list[SendMessageBatchRequestEntryTypeDef]":
        return [entry for batch in self.batches for entry in batch]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(entry["MessageBody"]) for entry in self.entries]

    @property
    def reports(self) -> list[dict[str, Any]]:
        return [json.loads(message["MessageBody"]) for message in self.sent]

    @property
    def visibility(self) -> list[tuple[str, int]]:
        """Which messages were made invisible, and for how many seconds from then on."""
        return [(call["ReceiptHandle"], call["VisibilityTimeout"]) for call in self.changed]

    def send_message_batch(self, **call: Unpack["SendMessageBatchRequestTypeDef"]) -> dict[str, Any]:
        self._fail_while_down()
        entries = list(call["Entries"])
        self.batches.append(entries)
        if failure := self.failures.get(entries[0].get("MessageGroupId", "")):
            raise failure
        refused = [entry for entry in entries if entry.get("MessageGroupId") in self.refused_groups]
        return {"Failed": [{"Id": entry["Id"], "Code": "InternalError"} for entry in refused]} if refused else {}

    def send_message(self, **call: Unpack["SendMessageRequestTypeDef"]) -> None:
        self._fail_while_down()
        self.sent.append(call)

    def change_message_visibility(self, **call: Unpack["ChangeMessageVisibilityRequestTypeDef"]) -> None:
        self._fail_while_down()
        if call["ReceiptHandle"] in self.lost_receipts:
            raise QUEUE_DOWN
        self.changed.append(call)

    def _fail_while_down(self) -> None:
        if self.down:
            raise QUEUE_DOWN


def described(number: int, **fields: object) -> dict[str, Any]:
    """A rotation as Infisical lists it: rotated a week ago, unless told."""
    a_week_ago = format_timestamp(NOW - timedelta(days=7))
    return {
        "id": rotation_id(number),
        "name": f"rotation-{number}",
        "type": DEFAULT_TYPE,
        "projectId": "payments",
        "environment": {"id": rotation_id(0xE), "name": "Production", "slug": "prod"},
        "folder": {"id": rotation_id(0xF), "path": "/"},
        "rotationStatus": "success",
        "lastRotatedAt": a_week_ago,
        "lastRotationAttemptedAt": a_week_ago,
        "lastRotationMessage": None,
    } | fields


class FakeInfisical:
    """Answers for the rotations that it holds, and keeps what it was asked.

    `disturb` may answer a request instead, or take its time.
    """

    def __init__(
        self,
        *rotations: dict[str, Any],
        disturb: Callable[[httpx.Request], httpx.Response | None] = lambda _: None,
        clock: VirtualClock | None = None,
    ) -> None:
        self.rotations = list(rotations)
        self.disturb = disturb
        self.requests: list[httpx.Request] = []
        transport = httpx.MockTransport(self._answer)
        self.client = Infisical("https://infisical.test", httpx.Auth(), transport, clock or VirtualClock())

    @property
    def asked(self) -> list[str]:
        """Methods and what follows the common path."""
        return [f"{each.method} {str(each.url).partition('/secret-rotations/')[2]}" for each in self.requests]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.disturb(request) or self._of_rotation(request)

    def _of_rotation(self, request: httpx.Request) -> httpx.Response:
        _, _, rest = request.url.path.partition("/secret-rotations/")
        kind, _, wanted = rest.partition("/")
        of_kind = [each for each in self.rotations if each["type"] == kind]
        if not wanted:
            project = request.url.params["projectId"]
            return httpx.Response(
                200, json={"secretRotations": [each for each in of_kind if each["projectId"] == project]}
            )
        for each in of_kind:
            if each["id"] == wanted:
                return httpx.Response(200, json={"secretRotation": each})
        return httpx.Response(404, json={"statusCode": 404, "error": "NotFound", "message": f"no rotation {wanted}"})


class Observed:
    """A Telemetry, and what it wrote. Loggers of one service share their stream: each is a service of its own."""

    def __init__(self, log_level: str = "INFO") -> None:
        self.service = f"stack-{next(_service_numbers)}"
        self.stream = StringIO()
        self.telemetry = Telemetry(self.service, log_level, self.stream)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    @property
    def logs(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if "_aws" not in line]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if "_aws" in line]

    @property
    def counted(self) -> list[str]:
        """The names of the metrics that were emitted, in order."""
        directives = [directive for line in self.metrics for directive in line["_aws"]["CloudWatchMetrics"]]
        return [metric["Name"] for directive in directives for metric in directive["Metrics"]]


class FakeEventBus:
    """Keeps the entries that it accepts, and the calls.

    Each call begins with the next of `errors`: an exception is raised, and a set of indices is refused as throttled.
    """

    def __init__(self, *errors: Exception | Collection[int], refusal: str = "ThrottlingException") -> None:
        self.errors = list(errors)
        self.refusal = refusal
        self.called: Callable[[], object] = lambda: None
        self.calls: list[int] = []
        self.entries: list[dict[str, Any]] = []

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - AWS's name
        self.called()
        self.calls.append(len(Entries))
        error = self.errors.pop(0) if self.errors else ()
        if isinstance(error, Exception):
            raise error
        self.entries += [entry for index, entry in enumerate(Entries) if index not in error]
        refused = {"ErrorCode": self.refusal, "ErrorMessage": "no"}
        results = [refused if index in error else {"EventId": str(index)} for index in range(len(Entries))]
        return {"FailedEntryCount": len(error), "Entries": results}

    @property
    def details(self) -> list[dict[str, Any]]:
        return [json.loads(entry["Detail"]) for entry in self.entries]

    def events(self, telemetry: Telemetry, name: str = "default") -> OutcomeEvents:
        client: Any = self
        return OutcomeEvents(client, name, "infisical-rotation", "stack", telemetry)
