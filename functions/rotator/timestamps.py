"""Moments in UTC, as events, messages and Infisical write them: `2026-11-22T05:00:00.000Z`."""

from datetime import UTC, datetime, timedelta

from rotator.text import quote

# The clocks of senders, AWS, IAM and Infisical are assumed to differ by no more.
CLOCK_SKEW = timedelta(minutes=2)

# An occurrence further ahead is refused: it would count as not yet rotated for as long.
MAXIMUM_AHEAD = CLOCK_SKEW


def parse_instant(value: object, field: str) -> datetime:
    """Read an ISO 8601 moment that states its UTC offset.

    Raises ValueError naming `field` where the value is absent, no such text, an impossible date, or says no offset.
    """
    if not isinstance(value, str):
        raise ValueError(f"{field} must be a date and time such as 2026-11-22T05:00:00Z, not {quote(value)}")
    try:
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(
        f"{field} must be a possible date and time with its UTC offset, such as 2026-11-22T05:00:00Z,"
        f" not {quote(value)}"
    )


def format_instant(instant: datetime) -> str:
    """Write a moment with milliseconds and `Z`."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant_at(epoch_seconds: float) -> datetime:
    """The moment that a clock's `time()` means."""
    return datetime.fromtimestamp(epoch_seconds, UTC)
