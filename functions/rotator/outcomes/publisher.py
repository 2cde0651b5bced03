"""Puts outcome events on the event bus, up to ten a call, and repeats only the entries that were not accepted."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Any, Protocol

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from rotator.telemetry import Metric, Telemetry
from rotator.text import clip

if TYPE_CHECKING:
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef, PutEventsResultEntryTypeDef

    from rotator.clock import Deadline

VERSION = "1"  # of the details: it changes only if consumers have to change

MAXIMUM_EXPLANATION_LENGTH = 1000

ENTRIES_A_CALL = 10
CALLS_FOR_ONE_ENTRY = 3

# The longest that a call takes (10 s), and a second to spare. No call begins with less time left.
CALL_SECONDS = 11.0

# Errors that last until a person changes something. All others are temporary, such as throttling or an outage.
# https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html
# https://docs.aws.amazon.com/eventbridge/latest/APIReference/CommonErrors.html
_FINAL = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "InvalidAccountIdException",
        "InvalidArgument",
        "MalformedDetail",
        "NotAuthorized",
        "NotAuthorizedForDetailTypeException",
        "NotAuthorizedForSourceException",
        "OptInRequired",
        "RedactionFailure",
        "ResourceNotFoundException",
        "ValidationError",
        "ValidationException",
    }
)


class DetailType(StrEnum):
    """The detail-types of outcome events. `dispatch` refuses them as triggers."""

    ROTATION_ENDED = "Rotation Ended"
    TRIGGER_REFUSED = "Trigger Refused"
    MIRROR_ROTATED = "Mirror Rotated"
    HOOK_STEP_FAILED = "Hook Step Failed"
    ROTATION_NEEDS_ATTENTION = "Rotation Needs Attention"
    PUBLISHED_KEY_INACTIVE = "Published Key Inactive"
    PREVIOUS_KEY_IN_USE = "Previous Key In Use"
    PREVIOUS_KEY_DEACTIVATED = "Previous Key Deactivated"


@dataclass(frozen=True, slots=True)
class Event:
    """One event to put: its detail-type, and its detail without the fields that all details share."""

    detail_type: DetailType
    detail: dict[str, Any]


class Put(Enum):
    """What became of an event."""

    ACCEPTED = auto()
    LATER = auto()  # a temporary error: a later call may succeed
    NEVER = auto()  # refused until a person changes something


class Bus(Protocol):
    """What puts up to ten entries, as boto3's client does."""

    def put_events(self, *, Entries: "Sequence[PutEventsRequestEntryTypeDef]") -> dict[str, Any]:  # noqa: N803 - AWS's name
        """Return the answer, or raise."""


class OutcomeEvents:
    """The event bus. Without a name nothing is put, and all events count as accepted."""

    def __init__(self, client: Bus, bus_name: str, source: str, stack: str, telemetry: Telemetry) -> None:
        self._client = client
        self._bus_name = bus_name
        self._source = source
        self.stack = stack
        self._telemetry = telemetry

    @property
    def enabled(self) -> bool:
        """Whether there is a bus."""
        return bool(self._bus_name)

    def put(self, events: Sequence[Event], deadline: "Deadline | None" = None) -> list[Put]:
        """Put events, and return what became of each. Raises nothing: a failed event must not fail a rotation.

        If single entries fail, only these are repeated, while the deadline allows it. An event that could not be put is
        counted, and the log has all of it.
        """
        if not self.enabled:
            return [Put.ACCEPTED] * len(events)
        return [
            put
            for begin in range(0, len(events), ENTRIES_A_CALL)
            for put in self._put_batch(events[begin : begin + ENTRIES_A_CALL], deadline)
        ]

    def _put_batch(self, events: Sequence[Event], deadline: "Deadline | None") -> list[Put]:
        errors: dict[int, str] = dict.fromkeys(range(len(events)), "")
        for _ in range(CALLS_FOR_ONE_ENTRY):
            waiting = [index for index, error in errors.items() if error not in _FINAL]
            if not waiting or (deadline is not None and deadline.remaining_seconds() < CALL_SECONDS):
                break
            if not self._call(events, waiting, errors):
                break
        puts = [_put(errors[index]) if index in errors else Put.ACCEPTED for index in range(len(events))]
        for index, error in errors.items():
            self._report(events[index], error or "OutOfTime", puts[index])
        return puts

    def _call(self, events: Sequence[Event], waiting: Sequence[int], errors: dict[int, str]) -> bool:
        """Put the waiting events, and note their errors. Returns False if EventBridge gave no usable answer."""
        try:
            answer = self._client.put_events(Entries=[self._entry(events[index]) for index in waiting])
            results: list[PutEventsResultEntryTypeDef] = answer["Entries"]
            answered = list(zip(waiting, results, strict=True))
        except Exception as error:  # noqa: BLE001 - whatever it is, the rotations have ended
            errors |= dict.fromkeys(waiting, _code(error))
            return isinstance(error, ClientError)
        for index, result in answered:
            if code := result.get("ErrorCode"):
                errors[index] = code
            else:
                del errors[index]
        return True

    def _entry(self, event: Event) -> "PutEventsRequestEntryTypeDef":
        detail = {"version": VERSION, "stack": self.stack, **event.detail}
        return {
            "Source": self._source,
            "DetailType": event.detail_type,
            "Detail": json.dumps(detail),
            "EventBusName": self._bus_name,
        }

    def _report(self, event: Event, error: str, put: Put) -> None:
        self._telemetry.logger.error(
            "the outcome event could not be put",
            detail_type=event.detail_type,
            detail=event.detail,
            bus=self._bus_name,
            reason=error,
            explanation="the bus does not exist, or this function may not put events on it: correct OutcomeEventBusName"
            if put is Put.NEVER
            else "a temporary error of EventBridge, or too little time was left",
        )
        self._telemetry.count(Metric.OUTCOME_EVENTS_FAILED, reason=error)


def _put(error: str) -> Put:
    return Put.NEVER if error in _FINAL else Put.LATER


def _code(error: Exception) -> str:
    if isinstance(error, ClientError):
        return clip(str(error.response.get("Error", {}).get("Code", "Unknown")), 100)
    name = type(error).__name__
    return name if isinstance(error, BotoCoreError | httpx.TransportError) else f"Unexpected{name}"
