from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.timestamps import format_timestamp, from_epoch, parse_timestamp

OFFSETS = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(
    lambda offset: timezone(timedelta(minutes=offset // timedelta(minutes=1)))
)
# A day from either end of the calendar: whatever the offset, the moment exists in UTC.
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=OFFSETS)  # noqa: DTZ001 - as hypothesis wants it
MILLISECOND = timedelta(milliseconds=1)


@given(MOMENTS)
def test_a_formatted_timestamp_is_parsed_as_the_same_millisecond(moment: datetime) -> None:
    read = parse_timestamp(format_timestamp(moment), "time")

    assert timedelta(0) <= moment - read < MILLISECOND


@given(MOMENTS)
def test_a_moment_is_read_the_same_from_any_offset(moment: datetime) -> None:
    read = parse_timestamp(moment.isoformat(), "time")

    assert (read, read.tzinfo) == (moment, UTC)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-11-22T05:00:00Z", datetime(2026, 11, 22, 5, 0, tzinfo=UTC)),
        ("2026-11-22T05:00:00.249Z", datetime(2026, 11, 22, 5, 0, 0, 249_000, tzinfo=UTC)),
        ("2026-11-22T06:00:00+01:00", datetime(2026, 11, 22, 5, 0, tzinfo=UTC)),
        ("2028-02-29T00:00:00Z", datetime(2028, 2, 29, tzinfo=UTC)),
    ],
)
def test_aws_and_infisical_write_moments_like_these(written: str, meant: datetime) -> None:
    assert parse_timestamp(written, "time") == meant


def test_moments_are_written_in_utc_with_milliseconds() -> None:
    berlin = timezone(timedelta(hours=1))

    assert format_timestamp(datetime(2026, 11, 22, 6, 0, 0, 249_999, tzinfo=berlin)) == "2026-11-22T05:00:00.249Z"


@pytest.mark.parametrize(
    "value",
    [
        None,
        1_795_000_000,
        1.5,
        True,
        [],
        ["2026-11-22T05:00:00Z"],
        {"time": "2026-11-22T05:00:00Z"},
        "",
        "now",
        "<aws.scheduler.scheduled-time>",
        "2026-11-22",
        "2026-11-22T05:00:00",
        "2026-02-29T05:00:00Z",
        "2026-13-01T05:00:00Z",
        "2026-11-31T05:00:00Z",
        "2026-11-22T25:00:00Z",
        "2026-11-22T05:00:60Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-11-22T05:00:00Z\n",
        "2026-11-22T05:00:00 Europe/Berlin",
    ],
    ids=repr,
)
def test_an_invalid_timestamp_is_refused_by_its_field_name(value: object) -> None:
    with pytest.raises(ValueError, match=r"^scheduledTime must be a .*date and time"):
        parse_timestamp(value, "scheduledTime")


@pytest.mark.parametrize("value", ["x" * 100_000, ["x" * 100_000]], ids=["text", "list"])
def test_a_long_value_is_shown_by_its_beginning_only(value: object) -> None:
    with pytest.raises(ValueError, match="xxxxx") as refusal:
        parse_timestamp(value, "time")

    assert len(str(refusal.value)) < 250


def test_the_epoch_is_utc() -> None:
    assert from_epoch(1.5) == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
