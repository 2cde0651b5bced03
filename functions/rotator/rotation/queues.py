"""RotationRequests.fifo and FailedRotations.fifo. The message group is the rotation: one at a time, in order."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from rotator.rotation.request import RotationRequest
from rotator.text import clip

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

MESSAGES_A_CALL = 10
CONCURRENT_CALLS = 10  # as many as an AWS client has connections

# As template.yaml sets it: 6 x the 180 s that a request with key guard may take, and above the function's 900 s.
VISIBILITY_TIMEOUT_SECONDS = 1080


# How long a claimed request stays invisible. SQS allows 12 h from the receipt of a message, which was at most one
# visibility time-out and one run of `rotate` ago: 43,200 - 1,080 - 900 s = 41,220 s, rounded down.
CLAIM_SECONDS = 41_200


class UndeliveredRequestsError(Exception):
    """Some requests did not reach the queue. Sending all of them again is safe: duplicates do nothing."""


class RequestQueue:
    """RotationRequests.fifo: `dispatch` and the hook write it; `rotate` sets when a message returns."""

    def __init__(self, sqs: "SQSClient", url: str) -> None:
        self._sqs = sqs
        self._url = url

    def send(self, requests: Sequence[RotationRequest], occurrence: str = "") -> None:
        """Send every request, deduplicated for each occurrence of its trigger.

        `occurrence` identifies the occurrence. By default its moment does, but a direct invocation may have none.

        Raises UndeliveredRequestsError after all were tried, naming the rotations that the queue did not accept.
        """
        with ThreadPoolExecutor(CONCURRENT_CALLS) as pool:
            batches = pool.map(partial(self._send_batch, occurrence=occurrence), _batched(requests, MESSAGES_A_CALL))
            refused = [request for batch in batches for request in batch]
        if refused:
            raise UndeliveredRequestsError(
                f"the queue did not accept {len(refused)} of {len(requests)} requests: {clip(', '.join(refused), 1000)}"
            )

    def _send_batch(self, batch: Sequence[RotationRequest], occurrence: str) -> list[str]:
        """Send up to ten requests, and return those that the queue did not accept, each with the reason."""
        entries = [_entry(index, request, occurrence) for index, request in enumerate(batch)]
        try:
            failures = self._sqs.send_message_batch(QueueUrl=self._url, Entries=entries).get("Failed", [])
        except (BotoCoreError, ClientError) as error:
            return [f"{request.rotation.id} ({error})" for request in batch]
        return [f"{batch[int(failure['Id'])].rotation.id} ({failure['Code']})" for failure in failures]

    def extend_visibility(self, receipt_handles: Sequence[str]) -> None:
        """Start the full visibility time-out of messages anew.

        Raises ClientError where another invocation has received one of them.
        """
        for receipt_handle in receipt_handles:
            self.return_in(receipt_handle, VISIBILITY_TIMEOUT_SECONDS)

    def claim(self, receipt_handle: str) -> None:
        """Hide a message for nearly twelve hours, the longest that SQS allows.

        Raises ClientError where another invocation has received it.
        """
        self.return_in(receipt_handle, CLAIM_SECONDS)

    def return_in(self, receipt_handle: str, seconds: int) -> None:
        """Let a received message return to the queue after some seconds."""
        self._sqs.change_message_visibility(QueueUrl=self._url, ReceiptHandle=receipt_handle, VisibilityTimeout=seconds)


class FailedQueue:
    """FailedRotations.fifo: requests that a person has to look at, each with its reason."""

    def __init__(self, sqs: "SQSClient", url: str) -> None:
        self._sqs = sqs
        self._url = url

    def send(self, message_id: str, group: str, report: dict[str, Any]) -> None:
        """Send one report; `message_id` is the request's, so that a repeated report of it is dropped."""
        self._sqs.send_message(
            QueueUrl=self._url,
            MessageGroupId=group,
            MessageDeduplicationId=message_id,
            MessageBody=json.dumps(report),
        )


def _entry(index: int, request: RotationRequest, occurrence: str) -> "SendMessageBatchRequestEntryTypeDef":
    # The trigger is part of a message's identity: two triggers at one moment are two requests, and the second has to
    # end as a skip that is logged and counted.
    moment = occurrence or request.occurred_at.isoformat()
    identity = json.dumps([request.trigger, moment, request.rotation.id, request.forced])
    return {
        "Id": str(index),
        "MessageGroupId": request.rotation.id,
        "MessageDeduplicationId": hashlib.sha256(identity.encode()).hexdigest(),
        "MessageBody": request.to_message(),
    }


def _batched(requests: Iterable[RotationRequest], size: int) -> Iterable[list[RotationRequest]]:
    rest = iter(requests)
    while batch := list(islice(rest, size)):
        yield batch
