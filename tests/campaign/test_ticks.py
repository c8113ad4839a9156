"""The times of a cron expression, above all where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.campaign.cron_ticks import read_ticks
from sender.campaign.start_time import find_zone
from tests.profiles import examples

NEW_YORK, LORD_HOWE = find_zone("America/New_York"), find_zone("Australia/Lord_Howe")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "cron", "after", "times"),
    [
        pytest.param(NEW_YORK, "0 9 * * mon", "2026-11-29 00:00", ["2026-11-30T09:00-05:00", "2026-12-07T09:00-05:00"], id="weekly"),
        pytest.param(NEW_YORK, "30 1 * * *", "2026-11-01 00:00", ["2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"], id="once-in-an-overlap"),
        pytest.param(NEW_YORK, "30 1 * * *", "2026-11-01 06:10", ["2026-11-02T01:30-05:00"], id="not-again-in-its-second-hour"),
        pytest.param(NEW_YORK, "30 2 * * *", "2027-03-14 00:00", ["2027-03-14T03:00-04:00", "2027-03-15T02:30-04:00"], id="after-a-gap"),
        pytest.param(NEW_YORK, "0,30 2,3 * * *", "2027-03-14 05:00", ["2027-03-14T03:00-04:00", "2027-03-14T03:30-04:00", "2027-03-15T02:00-04:00"], id="once-after-a-gap"),
        pytest.param(NEW_YORK, "*/30 * * * *", "2026-11-01 05:15", ["2026-11-01T01:30-04:00", "2026-11-01T01:00-05:00", "2026-11-01T01:30-05:00", "2026-11-01T02:00-05:00"], id="steps-follow-the-time-that-passes"),
        pytest.param(LORD_HOWE, "15 2 * * *", "2026-10-03 00:00", ["2026-10-04T02:30+11:00", "2026-10-05T02:15+11:00"], id="half-hour-gap"),
        pytest.param(LORD_HOWE, "45 1 * * *", "2027-04-03 00:00", ["2027-04-04T01:45+11:00", "2027-04-05T01:45+10:30"], id="half-hour-overlap"),
        pytest.param(LORD_HOWE, "45 1 * * *", "2027-04-03 15:00", ["2027-04-05T01:45+10:30"], id="within-a-half-hour-overlap"),
        pytest.param(NEW_YORK, "0 0 29 2 *", "2026-01-01 00:00", ["2028-02-29T00:00-05:00", "2032-02-29T00:00-05:00"], id="leap-day"),
        pytest.param(NEW_YORK, "@daily", "2026-12-01 12:00", ["2026-12-02T00:00-05:00"], id="a-name"),
        pytest.param(NEW_YORK, "0 9 L * *", "2026-12-01 12:00", ["2026-12-31T09:00-05:00"], id="last-day"),
        pytest.param(NEW_YORK, "0 9 * * mon#1", "2026-12-08 12:00", ["2027-01-04T09:00-05:00"], id="first-monday"),
    ],
)  # fmt: skip
def test_times(zone: object, cron: str, after: str, times: list[str]) -> None:
    ticks = read_ticks(cron, zone)  # type: ignore[arg-type]
    found = list(islice(ticks.after(utc(after)), len(times)))
    assert [tick.isoformat(timespec="minutes") for tick in found] == times


@pytest.mark.parametrize(
    ("zone", "cron", "at", "last"),
    [
        pytest.param(NEW_YORK, "0 9 * * mon", "2026-12-01 00:00", "2026-11-30T09:00-05:00", id="yesterday"),
        pytest.param(NEW_YORK, "0 9 * * mon", "2026-11-30 14:00", "2026-11-30T09:00-05:00", id="this-very-minute"),
        pytest.param(NEW_YORK, "30 1 * * *", "2026-11-01 06:40", "2026-11-01T01:30-04:00", id="in-the-second-hour"),
        pytest.param(NEW_YORK, "30 2 * * *", "2027-03-14 07:00", "2027-03-14T03:00-04:00", id="moved-by-a-gap"),
        pytest.param(NEW_YORK, "0 0 29 2 *", "2027-03-14 07:00", "2024-02-29T00:00-05:00", id="leap-day"),
        pytest.param(LORD_HOWE, "15 2 * * *", "2026-10-03 15:30", "2026-10-04T02:30+11:00", id="half-hour-gap"),
    ],
)
def test_the_last_time(zone: object, cron: str, at: str, last: str) -> None:
    found = read_ticks(cron, zone).last(utc(at))  # type: ignore[arg-type]
    assert found is not None
    assert found.isoformat(timespec="minutes") == last


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "0 0 31 2,4,6 *", "0 0 31 9 *"])
def test_what_never_occurs(cron: str) -> None:
    with pytest.raises(ValueError, match="never occurs"):
        read_ticks(cron, UTC)


FIELDS = st.tuples(
    st.sampled_from(["0", "30", "*/15", "59", "0,30"]),
    st.sampled_from(["*", "1", "2", "1-3", "*/6", "9", "23"]),
    st.sampled_from(["*", "1", "31", "L"]),
    st.sampled_from(["*", "3", "4,10", "11"]),
    st.sampled_from(["*", "sun", "mon-fri"]),
)
ZONES = st.sampled_from(["America/New_York", "Australia/Lord_Howe", "Europe/London", "Asia/Kolkata", "UTC"])


@settings(max_examples=examples(60), deadline=None)
@given(FIELDS, ZONES, st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)))
def test_the_next_is_after_and_the_last_is_not(fields: tuple[str, ...], zone: str, moment: datetime) -> None:
    try:
        ticks = read_ticks(" ".join(fields), find_zone(zone))
    except ValueError:
        return
    now = moment.replace(tzinfo=UTC)
    first, second = islice(ticks.after(now), 2)
    assert now < first.astimezone(UTC) < second.astimezone(UTC)
    assert ticks.last(first) == first
    assert ticks.last(first.astimezone(UTC) + timedelta(seconds=1)) == first
    last = ticks.last(now)
    assert last is not None
    assert last.astimezone(UTC) <= now
    assert ticks.next(last) == first
