"""What functions have logged so far, without reading it all again each time."""

import json
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

# The embedded AWS notes the time of an event a moment before the event.
LATE_MILLISECONDS = 2_000
MOST_EVENTS = 10_000  # in an answer of the embedded AWS, which does not say that there are more


class _Event(NamedTuple):
    timestamp: int
    message: str
    line: dict[str, Any] | None


class LogGroup:
    """A group of CloudWatch Logs. It may be read by several threads."""

    def __init__(self, client: "CloudWatchLogsClient", name: str) -> None:
        self._client = client
        self._name = name
        self._mutex = threading.Lock()
        self._events: list[_Event] = []

    def messages(self) -> list[str]:
        """Everything, oldest first."""
        return [event.message for event in self._read()]

    def lines(self) -> list[dict[str, Any]]:
        """The structured lines, oldest first, metrics among them."""
        return [event.line for event in self._read() if event.line is not None]

    def _read(self) -> list[_Event]:
        with self._mutex:
            since = max(0, self._events[-1].timestamp - LATE_MILLISECONDS) if self._events else 0
            answer = self._client.filter_log_events(logGroupName=self._name, startTime=since)
            if len(answer["events"]) >= MOST_EVENTS:
                raise RuntimeError(f"{self._name}: more was logged since it was last read than can be read at once")
            while self._events and self._events[-1].timestamp >= since:
                self._events.pop()
            self._events += [_event(each["timestamp"], each["message"]) for each in answer["events"]]
            return list(self._events)


def _event(timestamp: int, message: str) -> _Event:
    return _Event(timestamp, message, json.loads(message) if message.startswith("{") else None)
