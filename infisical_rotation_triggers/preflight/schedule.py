"""The shortest time between two occurrences of a schedule, from its expression in EventBridge Scheduler.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html describes the expressions. Why no library
reads them: docs/decisions/0014-preflight-reads-cron-expressions-itself.md.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise, product
from zoneinfo import ZoneInfo

# Enough for an irregular calendar to show its shortest period, including a February of a leap year (5 * 366 days).
OCCURRENCES = 1000
DAYS = 5 * 366

_UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_WEEK = timedelta(weeks=1)

OnDay = Callable[[date], bool]


class UnknownPeriodError(ValueError):
    """This module cannot read the expression. AWS may accept it all the same."""


def shortest_period(expression: str, timezone: str, now: datetime) -> timedelta | None:
    """Return the shortest time between two of the next occurrences; None if there is at most one more.

    Raises UnknownPeriodError.
    """
    kind, _, rest = expression.strip().removesuffix(")").partition("(")
    try:
        match kind, rest.split():
            case "rate", [amount, unit]:
                return int(amount) * _UNITS[unit.removesuffix("s")]
            case "at", [_]:
                return None
            case "cron", [minutes, hours, *days] if len(days) == 4:  # noqa: PLR2004 - day, month, weekday and year
                times = list(product(sorted(_values(hours, 0, 23)), sorted(_values(minutes, 0, 59))))
                moments = _moments(_days(*days), times, ZoneInfo(timezone), now)
                distances = (later - earlier for earlier, later in pairwise(islice(moments, OCCURRENCES)))
                return min(distances, default=None)
    except (ValueError, LookupError):
        pass
    raise UnknownPeriodError(f"cannot read the schedule expression {expression} in the time zone {timezone}")


def _moments(on_day: OnDay, times: list[tuple[int, int]], zone: ZoneInfo, now: datetime) -> Iterator[datetime]:
    """Yield the next occurrences: none at a local time that a clock change skips, one at a time that it repeats."""
    today = now.astimezone(zone).date()
    for day in (today + timedelta(ahead) for ahead in range(DAYS)):
        if on_day(day):
            for hour, minute in times:
                local = datetime.combine(day, time(hour, minute), zone)
                moment = local.astimezone(UTC)
                if moment > now and moment.astimezone(zone).time() == local.time():
                    yield moment


def _days(day_of_month: str, month: str, day_of_week: str, year: str) -> OnDay:
    months, years = _values(month, 1, 12, _MONTHS), _values(year, 1970, 2199)
    in_month, in_week = _in_month(day_of_month), _in_week(day_of_week)
    return lambda day: day.month in months and day.year in years and in_month(day) and in_week(day)


def _in_month(field: str) -> OnDay:
    if field == "L":
        return lambda day: (day + timedelta(1)).day == 1
    days = _values(field, 1, 31)
    return lambda day: day.day in days


def _in_week(field: str) -> OnDay:
    """Read `FRI`, `MON#1` (the first Monday of the month), `6L` (its last Friday). # and L take a single day."""
    name, _, nth = field.partition("#")
    weekdays = _values(name.removesuffix("L"), 1, 7, _WEEKDAYS)
    if nth:
        count = int(nth)
        return lambda day: _weekday(day) in weekdays and (day.day - 1) // 7 + 1 == count
    if name.endswith("L"):
        return lambda day: _weekday(day) in weekdays and (day + _WEEK).month != day.month
    return lambda day: _weekday(day) in weekdays


def _weekday(day: date) -> int:
    """Sunday is 1, Saturday 7."""
    return day.isoweekday() % 7 + 1


def _values(field: str, lowest: int, highest: int, names: Sequence[str] = ()) -> frozenset[int]:
    """Read `*`, `?`, `5`, `MON`, `1-5`, `0/15`, and lists of these.

    Raises ValueError for anything else.
    """
    values: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span in ("*", "?"):
            begin, end = lowest, highest
        else:
            begin = _number(first, names)
            end = _number(last, names) if dash else highest if step else begin
        if not lowest <= begin <= end <= highest:
            raise ValueError(f"{part} is not a value from {lowest} to {highest}")
        values.update(range(begin, end + 1, int(step or 1)))
    return frozenset(values)


def _number(text: str, names: Sequence[str]) -> int:
    """Names count from one, months and weekdays alike."""
    return names.index(text.upper()) + 1 if text.upper() in names else int(text)
