"""A message of a FIFO queue as Lambda delivers it, with what a function may read of it."""

from typing import Any


def sqs_record(
    message_id: str,
    body: str,
    group: str,
    *,
    first_received_at: float,
    receive_count: int = 1,
    sent_at: float | None = None,
    receipt: str = "",
) -> dict[str, Any]:
    """Both moments are in epoch seconds; unless told, it was sent just when it was first received."""
    return {
        "messageId": message_id,
        "receiptHandle": receipt or message_id,
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": str(receive_count),
            "ApproximateFirstReceiveTimestamp": str(int(first_received_at * 1000)),
            "SentTimestamp": str(int((first_received_at if sent_at is None else sent_at) * 1000)),
            "MessageGroupId": group,
        },
    }
