"""One message of RotationRequests.fifo, as Lambda delivers it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rotator.rotation.request import RotationRequest
from rotator.text import quote
from rotator.timestamps import format_timestamp

# Messages that were received this recently stay invisible for longer than the function may run.
FRESH_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Delivery:
    """One record of an SQS event. `first_received_at` is in epoch seconds; SQS does not report later receipts."""

    message_id: str
    receipt_handle: str
    body: str
    group: str
    receive_count: int
    first_received_at: float

    @classmethod
    def of(cls, record: dict[str, Any]) -> "Delivery":
        """Read a record as Lambda delivers it from a FIFO queue."""
        attributes = record["attributes"]
        return cls(
            message_id=record["messageId"],
            receipt_handle=record["receiptHandle"],
            body=record["body"],
            group=attributes["MessageGroupId"],
            receive_count=int(attributes["ApproximateReceiveCount"]),
            first_received_at=int(attributes["ApproximateFirstReceiveTimestamp"]) / 1000,
        )

    def is_fresh(self, now: float) -> bool:
        """Whether it was received just now. Only a first delivery has the moment of its receipt."""
        return self.receive_count == 1 and now - self.first_received_at < FRESH_SECONDS

    def age_seconds(self, now: float) -> float:
        """How long ago the request was first received. `now` is in epoch seconds."""
        return max(0.0, now - self.first_received_at)

    def request(self, latest: datetime) -> RotationRequest:
        """Read the request.

        Raises ValueError where the message is not one, its group is another rotation, or it occurred after `latest`.
        """
        request = RotationRequest.from_message(self.body)
        if request.occurred_at > latest:  # each delivery until then would rotate
            raise ValueError(f"occurredAt must not be in the future, but it is {format_timestamp(request.occurred_at)}")
        if request.rotation.id != self.group:
            raise ValueError(f"the message group {quote(self.group, 60)} is not the rotation {request.rotation.id}")
        return request
