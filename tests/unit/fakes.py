"""What the unit tests put at the edges: a clock, queues that keep what they get, a stream to read logs from."""

import json
from collections.abc import Collection
from datetime import UTC, datetime
from io import StringIO
from itertools import count
from typing import TYPE_CHECKING, Any, Unpack, cast
from uuid import UUID

from rotator.telemetry import Telemetry

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


class QueueDownError(Exception):
    pass


class FakeSqs:
    """Keeps what it is given. `refused_groups` are not accepted from a batch; while `down`, every call fails."""

    def __init__(self, refused_groups: Collection[str] = (), *, down: bool = False) -> None:
        self.refused_groups = refused_groups
        self.down = down
        self.batches: list[list[SendMessageBatchRequestEntryTypeDef]] = []
        self.sent: list[SendMessageRequestTypeDef] = []
        self.returned: list[ChangeMessageVisibilityRequestTypeDef] = []

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

    def send_message_batch(self, **call: Unpack["SendMessageBatchRequestTypeDef"]) -> dict[str, Any]:
        self._fail_while_down()
        entries = list(call["Entries"])
        self.batches.append(entries)
        refused = [entry for entry in entries if entry.get("MessageGroupId") in self.refused_groups]
        return {"Failed": [{"Id": entry["Id"], "Code": "InternalError"} for entry in refused]} if refused else {}

    def send_message(self, **call: Unpack["SendMessageRequestTypeDef"]) -> None:
        self._fail_while_down()
        self.sent.append(call)

    def change_message_visibility(self, **call: Unpack["ChangeMessageVisibilityRequestTypeDef"]) -> None:
        self._fail_while_down()
        self.returned.append(call)

    def _fail_while_down(self) -> None:
        if self.down:
            raise QueueDownError


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
