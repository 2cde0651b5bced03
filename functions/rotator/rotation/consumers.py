"""Who uses an access key, by its events in CloudTrail. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rotator.text import quote

MAX_CONSUMERS = 3

_TEXT_LENGTH = 100  # of a user agent, which its caller chooses


@dataclass(frozen=True, slots=True)
class Consumer:
    """A caller, with its latest call. Every text is quoted: one printable line of bounded length."""

    user_agent: str
    source: str
    call: str
    last_seen: str
    error: str

    def __str__(self) -> str:
        """Write it for an operator."""
        failed = f", which failed with {self.error}" if self.error else ""
        return f"{self.user_agent} from {self.source}, last at {self.last_seen} for {self.call}{failed}"


def distinct_consumers(events: Iterable[str]) -> list[Consumer]:
    """The latest callers, at most three, told apart by user agent and source. `events` are the newest first.

    Skips what is not an event, as CloudTrail describes it:
    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
    """
    found: dict[tuple[str, str], Consumer] = {}
    for event in events:
        consumer = _parse(event)
        if consumer is not None and len(found) < MAX_CONSUMERS:
            found.setdefault((consumer.user_agent, consumer.source), consumer)
    return list(found.values())


def _parse(event: str) -> Consumer | None:
    try:
        fields: dict[str, Any] = json.loads(event)
        service = str(fields["eventSource"]).partition(".")[0]
        return Consumer(
            user_agent=quote(fields.get("userAgent"), _TEXT_LENGTH),
            source=_plain(fields.get("vpcEndpointId") or fields.get("sourceIPAddress")),
            call=_plain(f"{service}:{fields['eventName']}"),
            last_seen=_plain(fields["eventTime"]),
            error=_plain(fields["errorCode"]) if fields.get("errorCode") else "",
        )
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None


def _plain(value: object) -> str:
    """Quote a string, without quotation marks if nothing had to be escaped."""
    quoted = quote(value, _TEXT_LENGTH)
    return quoted[1:-1] if quoted[1:-1] == value else quoted
