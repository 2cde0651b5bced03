"""An SQS FIFO queue: groups, visibility, receipts, duplicates within five minutes, receive counts, dead letters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.sandbox.sqs_record import sqs_record

DEDUPLICATION_SECONDS = 300

# "An Amazon SQS message's visibility timeout can be extended to a maximum of 12 hours from the time it is received"
# (API reference, ChangeMessageVisibility).
MAXIMUM_VISIBILITY_SECONDS = 43_200


class NotInFlightError(Exception):
    """The receipt handle is an old one: its message is gone, or visible again."""


class TooLongError(Exception):
    """The message would be invisible for more than 12 hours since it was received."""


@dataclass(eq=False)
class Message:
    """`visible_at` lies in the future while somebody works it, and `receipt` is that worker's."""

    id: str
    group: str
    body: str
    sent_at: float
    deduplication_id: str = ""
    receive_count: int = 0
    first_received_at: float = 0.0
    received_at: float = 0.0
    visible_at: float = 0.0
    receipt: str = ""

    def record(self) -> dict[str, Any]:
        """The message as Lambda delivers it."""
        return sqs_record(
            self.id,
            self.body,
            self.group,
            first_received_at=self.first_received_at,
            receive_count=self.receive_count,
            sent_at=self.sent_at,
            receipt=self.receipt,
        )


class Fifo:
    """`messages` are those that wait or are being worked, `accepted` all that ever came.

    `arrived` is told each of them, and `changed` whenever one may be received at another moment than before.

    What was received more than `maximum_receives` times goes to `dead_letters` instead. Queues of AWS are `exclusive`:
    while a message is in flight, no other of its group is received.
    """

    def __init__(
        self,
        now: Callable[[], float],
        *,
        visibility_seconds: float = 1080,
        maximum_receives: int = 1000,
        exclusive: bool = True,
    ) -> None:
        self.now = now
        self._visibility_seconds = visibility_seconds
        self._maximum_receives = maximum_receives
        self.exclusive = exclusive
        self._seen: dict[tuple[str, str], float] = {}
        self._numbers = 0
        self.messages: list[Message] = []
        self.accepted: list[Message] = []
        self.changed: Callable[[], None] = lambda: None
        self.arrived: Callable[[Message], None] = lambda _: None
        self.dead_letters: Callable[[Message], None] = lambda _: None

    def send(self, group: str, deduplication_id: str, body: str) -> Message | None:
        """Accept a message; None where it repeats one of the last five minutes, which counts as accepted."""
        now, key = self.now(), (group, deduplication_id)
        if now < self._seen.get(key, 0.0):
            return None
        self._seen[key] = now + DEDUPLICATION_SECONDS
        self._numbers += 1
        message = Message(f"message-{self._numbers}", group, body, now, deduplication_id)
        self.messages.append(message)
        self.accepted.append(message)
        self.arrived(message)
        self.changed()
        return message

    def available(self) -> dict[str, list[Message]]:
        """What may be received now, by group and in order."""
        now, groups = self.now(), self._groups()
        if self.exclusive:
            return {name: group for name, group in groups.items() if all(each.visible_at <= now for each in group)}
        visible = {name: [each for each in group if each.visible_at <= now] for name, group in groups.items()}
        return {name: group for name, group in visible.items() if group}

    def due_at(self) -> float | None:
        """When something may be received next."""
        groups = self._groups().values()
        if self.exclusive:
            return min((max(each.visible_at for each in group) for group in groups), default=None)
        return min((each.visible_at for group in groups for each in group), default=None)

    def receive(self, messages: Sequence[Message]) -> list[Message]:
        """Receive these, which have to be `available`."""
        now, received = self.now(), []
        for message in messages:
            message.receive_count += 1
            if message.receive_count > self._maximum_receives:
                self.messages.remove(message)
                self.dead_letters(message)
                continue
            message.first_received_at = message.first_received_at or now
            message.received_at = now
            message.visible_at = now + self._visibility_seconds
            message.receipt = f"{message.id}#{message.receive_count}"
            received.append(message)
        self.changed()
        return received

    def change_visibility(self, receipt: str, seconds: float) -> None:
        message, until = self._in_flight(receipt), self.now() + seconds
        if until > message.received_at + MAXIMUM_VISIBILITY_SECONDS:
            raise TooLongError(receipt)
        message.visible_at = until
        self.changed()

    def delete(self, receipt: str) -> Message:
        message = self._in_flight(receipt)
        self.messages.remove(message)
        self.changed()
        return message

    def _in_flight(self, receipt: str) -> Message:
        for message in self.messages:
            if message.receipt == receipt and message.visible_at > self.now():
                return message
        raise NotInFlightError(receipt)

    def _groups(self) -> dict[str, list[Message]]:
        groups: dict[str, list[Message]] = {}
        for message in self.messages:
            groups.setdefault(message.group, []).append(message)
        return groups
