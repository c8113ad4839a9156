"""Local times as moments, where clocks change and where they do not."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.campaign.start_time import find_zone
from sender.core.local_time import format_utc_and_local, resolve_local
from tests.profiles import examples

ZONES = (
    "America/New_York",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Africa/Casablanca",
    "Europe/Dublin",
    "America/Scoresbysund",
    "Asia/Beirut",
)


@pytest.mark.parametrize(
    ("zone", "local", "utc", "says"),
    [
        pytest.param("America/New_York", "2026-12-01 09:00", "2026-12-01 14:00", None, id="winter"),
        pytest.param("America/New_York", "2026-07-01 09:00", "2026-07-01 13:00", None, id="summer"),
        pytest.param("America/New_York", "2027-03-14 02:30", "2027-03-14 07:00", "03:00 is used instead", id="gap"),
        pytest.param("America/New_York", "2027-03-14 03:00", "2027-03-14 07:00", None, id="right-after-the-gap"),
        pytest.param("America/New_York", "2026-11-01 01:30", "2026-11-01 05:30", "the first one is used", id="overlap"),
        pytest.param("America/New_York", "2026-11-01 02:00", "2026-11-01 07:00", None, id="right-after-the-overlap"),
        pytest.param(
            "Australia/Lord_Howe", "2026-10-04 02:15", "2026-10-03 15:30", "02:30 is used instead", id="half-hour-gap"
        ),
        pytest.param(
            "Australia/Lord_Howe", "2027-04-04 01:45", "2027-04-03 14:45", "the first", id="half-hour-overlap"
        ),
        pytest.param(
            "Pacific/Apia", "2011-12-30 10:00", "2011-12-30 10:00", "00:00 is used instead", id="a-day-that-was-not"
        ),
        pytest.param("Asia/Beirut", "2027-03-28 00:00", "2027-03-27 22:00", "01:00 is used instead", id="no-midnight"),
        pytest.param("Asia/Kathmandu", "2026-12-01 09:00", "2026-12-01 03:15", None, id="quarter-hour"),
        pytest.param("Pacific/Kiritimati", "2026-12-01 09:00", "2026-11-30 19:00", None, id="yesterday-in-utc"),
    ],
)
def test_the_moment_of_a_local_time(zone: str, local: str, utc: str, says: str | None) -> None:
    moment = resolve_local(datetime.fromisoformat(local), find_zone(zone))
    assert moment.at.astimezone(UTC) == datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert (moment.note is None) is (says is None)
    assert says is None or says in str(moment.note)


@settings(max_examples=examples(100))
@given(st.sampled_from(ZONES), st.datetimes(datetime(2005, 1, 1), datetime(2040, 1, 1)))
def test_a_local_time_is_itself_or_the_first_that_exists_after_it(zone: str, local: datetime) -> None:
    moment = resolve_local(local, find_zone(zone))
    shown = moment.at.astimezone(UTC).astimezone(find_zone(zone)).replace(tzinfo=None)
    assert local <= shown <= local + timedelta(hours=25)
    if shown == local:
        earlier = moment.at.astimezone(UTC) - timedelta(hours=1)
        assert earlier.astimezone(find_zone(zone)).replace(tzinfo=None) < local, "of two, the first"
    else:
        assert moment.note is not None
        assert "does not exist" in moment.note


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone of a process cannot be set")
@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        pytest.param("UTC", "2026-11-29 01:05 UTC", id="UTC"),
        pytest.param("Etc/GMT", "2026-11-29 01:05 UTC", id="the same clock"),
        pytest.param("Europe/Berlin", "2026-11-29 01:05 UTC (02:05 CET)", id="the same day"),
        pytest.param("America/New_York", "2026-11-29 01:05 UTC (2026-11-28 20:05 EST)", id="the day before"),
        pytest.param("Asia/Kathmandu", "2026-11-29 01:05 UTC (06:50 +0545)", id="a zone without letters"),
    ],
)
def test_a_time_by_both_clocks(zone: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert format_utc_and_local(datetime(2026, 11, 29, 1, 5, tzinfo=UTC), seconds=False) == shown
    finally:
        monkeypatch.undo()
        time.tzset()
