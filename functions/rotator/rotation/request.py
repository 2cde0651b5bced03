"""A request to rotate, and its message in RotationRequests.fifo."""

import json
from dataclasses import dataclass
from datetime import datetime

from rotator.fields import parse_rotation_id, parse_type, read_flag, read_name, read_seconds
from rotator.model import GuardOptions, MappedRotation, RotationOptions
from rotator.text import quote
from rotator.timestamps import format_timestamp, parse_timestamp


@dataclass(frozen=True, slots=True)
class RotationRequest:
    """`rotation` must have been rotated at or after `occurred_at`, the moment when its trigger occurred.

    `forced`: a person has checked, so a failed attempt or the minimum interval does not prevent the rotation.
    """

    rotation: MappedRotation
    trigger: str
    occurred_at: datetime
    correlation_id: str
    forced: bool = False

    def to_message(self) -> str:
        """Write the body of a message in RotationRequests.fifo."""
        options = self.rotation.options
        body: dict[str, object] = {
            "rotationId": self.rotation.id,
            "type": self.rotation.type,
            "trigger": self.trigger,
            "occurredAt": format_timestamp(self.occurred_at),
            "correlationId": self.correlation_id,
        }
        if options.minimum_interval is not None:
            body["minimumIntervalSeconds"] = int(options.minimum_interval.total_seconds())
        if self.forced:
            body["forced"] = True
        if options.guard != GuardOptions():
            body["keyGuard"] = _guard_to_message(options.guard)
        return json.dumps(body)

    @classmethod
    def from_message(cls, body: str) -> "RotationRequest":
        """Read a message of RotationRequests.fifo.

        Raises ValueError naming the field that is missing or wrong.
        """
        try:
            fields = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the message is not valid JSON: {error}") from None
        if not isinstance(fields, dict):
            raise ValueError("the message is not a JSON object")
        return cls(
            rotation=MappedRotation(
                id=parse_rotation_id(fields.get("rotationId"), "rotationId"),
                type=parse_type(fields),
                options=RotationOptions(
                    minimum_interval=read_seconds(fields, "minimumIntervalSeconds"),
                    guard=_guard_from_message(fields.get("keyGuard", {})),
                ),
            ),
            trigger=read_name(fields, "trigger"),
            occurred_at=parse_timestamp(fields.get("occurredAt"), "occurredAt"),
            correlation_id=read_name(fields, "correlationId"),
            forced=read_flag(fields, "forced"),
        )


def _guard_to_message(guard: GuardOptions | None) -> object:
    if guard is None:
        return False
    seconds = int(guard.grace_period.total_seconds()) if guard.grace_period else None
    external_id = {"externalId": guard.external_id} if guard.external_id else {}
    return {"role": guard.role, "gracePeriodSeconds": seconds, **external_id}


def _guard_from_message(value: object) -> GuardOptions | None:
    if value is False:
        return None
    if not isinstance(value, dict):
        raise ValueError(f"keyGuard must be false or an object, not {quote(value)}")
    role, external_id = (None if value.get(name) is None else read_name(value, name) for name in ("role", "externalId"))
    return GuardOptions(role, read_seconds(value, "gracePeriodSeconds"), external_id)
