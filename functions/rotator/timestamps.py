"""Moments in UTC, as events, messages and Infisical write them: `2026-11-22T05:00:00.000Z`."""

from datetime import UTC, datetime, timedelta

from rotator.text import quote

# The clocks of senders, AWS, IAM and Infisical are assumed to differ by no more.
CLOCK_SKEW = timedelta(minutes=2)

# Tolerated clock skew. A later timestamp is rejected: until then every delivery would look due.
MAXIMUM_AHEAD = CLOCK_SKEW


def parse_timestamp(value: object, field: str) -> datetime:
    """Read an ISO 8601 moment that states its UTC offset.

    Raises ValueError naming `field` where the value is absent, not a string, an impossible date, or without offset.
    """
    if not isinstance(value, str):
        raise ValueError(f"{field} must be a date and time such as 2026-11-22T05:00:00Z, not {quote(value)}")
    try:
        timestamp = datetime.fromisoformat(value)
        if timestamp.tzinfo is not None:
            return timestamp.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(
        f"{field} must be a possible date and time with its UTC offset, such as 2026-11-22T05:00:00Z,"
        f" not {quote(value)}"
    )


def format_timestamp(timestamp: datetime) -> str:
    """Write a moment with milliseconds and `Z`."""
    return timestamp.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_epoch(epoch_seconds: float) -> datetime:
    """Convert the seconds of a clock's `time()`."""
    return datetime.fromtimestamp(epoch_seconds, UTC)
