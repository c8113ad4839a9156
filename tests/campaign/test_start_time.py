"""`start` and `late` in a campaign: what is read, and what each fault says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from sender.campaign.load import load_campaign
from sender.campaign.start_time import find_zone, parse_start
from sender.core.errors import CampaignError

NEW_YORK = "America/New_York"


@pytest.mark.parametrize(
    ("text", "utc", "zone"),
    [
        ("2026-12-01T09:00 America/New_York", "2026-12-01 14:00", NEW_YORK),
        ("2026-12-01 09:00 America/New_York", "2026-12-01 14:00", NEW_YORK),
        ("2026-12-01  9:00   America/New_York", "2026-12-01 14:00", NEW_YORK),
        ("2026-12-01 9am America/New_York", "2026-12-01 14:00", NEW_YORK),
        ("2026-12-01, 9:30 p.m. Europe/Berlin", "2026-12-01 20:30", "Europe/Berlin"),
        ("2026-12-01T09:00:30 America/New_York", "2026-12-01 14:00:30", NEW_YORK),
        ("2026-12-01T09:00-05:00", "2026-12-01 14:00", None),
        ("2026-12-01T09:00:00.000-0500", "2026-12-01 14:00", None),
        ("2026-12-01T09:00+05:30", "2026-12-01 03:30", None),
        ("2026-12-01 09:00 +05:30", "2026-12-01 03:30", None),
        ("2026-12-01T14:00Z", "2026-12-01 14:00", None),
        ("2026-12-01 14:00 UTC", "2026-12-01 14:00", None),
        ("2026-12-01 noon UTC", "2026-12-01 12:00", None),
        ("2026-12-01 12am UTC", "2026-12-01 00:00", None),
        ("2026-12-01 12pm UTC", "2026-12-01 12:00", None),
    ],
)
def test_a_start(text: str, utc: str, zone: str | None) -> None:
    start = parse_start(text)
    assert start.at.astimezone(UTC) == datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert start.zone == zone
    assert start.note is None


def test_a_start_from_python() -> None:
    assert parse_start(datetime(2026, 12, 1, 9, tzinfo=find_zone(NEW_YORK))).zone == NEW_YORK
    assert parse_start(datetime(2026, 12, 1, 9, tzinfo=timezone(timedelta(hours=-5)))).zone is None
    with pytest.raises(ValueError, match="has no zone"):
        parse_start(datetime(2026, 12, 1, 9))


@pytest.mark.parametrize(
    ("keys", "line", "key", "says"),
    [
        ("start: 2026-12-01T09:00", 4, "start", "without a zone: write `2026-12-01T09:00 America/New_York`"),
        ("start: 2026-12-01", 4, "start", "no time of day"),
        ("start: 9am", 4, "start", "is not a time: write"),
        ("start: tomorrow 9am America/New_York", 4, "start", "is not a time: write"),
        ("start: 2026-02-30T09:00Z", 4, "start", "there is no such day"),
        ("start: 2026-12-01T24:00Z", 4, "start", "00:00 of the next"),
        ("start: 2026-12-01T09:60Z", 4, "start", "is not a time of day"),
        ("start: 2026-12-01 13pm UTC", 4, "start", "is not a time of day"),
        ("start: 2026-12-01T09:00 PST", 4, "start", "there is no time zone `PST`: write it as America/Los_Angeles"),
        ("start: 2026-12-01T09:00 America/Newyork", 4, "start", "there is no time zone `America/Newyork`: write it as America/New_York"),
        ("start: 2026-12-01T09:00 ../../etc/passwd", 4, "start", "there is no time zone"),
        ("start: 2026-12-01T09:00+25:00", 4, "start", "is not an offset"),
        ("start: 2026-12-01T09:00Z\nlate: soon", 5, "late", "is not a duration"),
        ("start: 2026-12-01T09:00Z\nlate: 5s", 5, "late", "by 1m to 7d"),
        ("start: 2026-12-01T09:00Z\nlate: 8d", 5, "late", "by 1m to 7d"),
        ("schedule: {cron: 0 0 30 2 *, zone: America/New_York}", 4, "schedule.cron", "never occurs"),
        ("schedule:\n  cron: 0 9 * *\n  zone: America/New_York", 5, "schedule.cron", "has 4 fields"),
        ("schedule:\n  cron: 61 * * * *\n  zone: America/New_York", 5, "schedule.cron", "the minute cannot be read"),
        ("schedule:\n  cron: '@reboot'\n  zone: America/New_York", 5, "schedule.cron", "@daily"),
        ("schedule:\n  cron: 0 9 * * mon\n  zone: right/UTC", 6, "schedule.zone", "there is no time zone"),
        ("schedule:\n  cron: 0 9 * * mon", 4, "schedule.zone", "is missing"),
        ("schedule: 0 9 * * mon", 4, "schedule", "should be a mapping"),
        ("schedule: {cron: 0 9 * * mon, zone: UTC, latest: 1h}", 4, "schedule.latest", "did you mean `late`?"),
    ],
)  # fmt: skip
def test_a_fault_has_file_line_key_and_fix(tmp_path: Path, keys: str, line: int, key: str, says: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"provider: sandbox\nrecipients: people.csv\nmessage: Hi\n{keys}\n", encoding="utf-8")
    with pytest.raises(CampaignError) as failure:
        load_campaign(file)
    text = str(failure.value)
    assert f"{file}, line {line}, key `{key}`" in text
    assert says in text


def test_a_start_and_a_schedule_are_two_things(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "provider: sandbox\nrecipients: people.csv\nmessage: Hi\nstart: 2026-12-01T09:00Z\n"
        "schedule: {cron: 0 9 * * mon, zone: UTC}\n",
        encoding="utf-8",
    )
    with pytest.raises(CampaignError, match="both `start` and `schedule` are given"):
        load_campaign(file)
