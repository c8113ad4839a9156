"""What people type for `--at`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sender.core.errors import InputError
from sender.schedule.at_times import parse_at

NOW = datetime(2026, 11, 29, 14, 10, tzinfo=UTC)  # a Sunday, 09:10 in New York
NEW_YORK = "America/New_York"


@pytest.mark.parametrize(
    ("text", "zone", "shown"),
    [
        ("9am", NEW_YORK, "Sun 2026-11-29 09:00 EST (America/New_York)"),  # ten minutes ago: it may be late
        ("09:00", NEW_YORK, "Sun 2026-11-29 09:00 EST (America/New_York)"),
        ("8:30", NEW_YORK, "Mon 2026-11-30 08:30 EST (America/New_York)"),
        ("10:00", NEW_YORK, "Sun 2026-11-29 10:00 EST (America/New_York)"),
        ("9:30 pm", NEW_YORK, "Sun 2026-11-29 21:30 EST (America/New_York)"),
        ("at noon", NEW_YORK, "Sun 2026-11-29 12:00 EST (America/New_York)"),
        ("tomorrow 9am", NEW_YORK, "Mon 2026-11-30 09:00 EST (America/New_York)"),
        ("tomorrow at 9am", NEW_YORK, "Mon 2026-11-30 09:00 EST (America/New_York)"),
        ("9am tomorrow", NEW_YORK, "Mon 2026-11-30 09:00 EST (America/New_York)"),
        ("today 8am", NEW_YORK, "Sun 2026-11-29 08:00 EST (America/New_York)"),  # too late, and it was meant
        ("mon 14:30", NEW_YORK, "Mon 2026-11-30 14:30 EST (America/New_York)"),
        ("Monday, 2:30pm", NEW_YORK, "Mon 2026-11-30 14:30 EST (America/New_York)"),
        ("sunday 10:00", NEW_YORK, "Sun 2026-11-29 10:00 EST (America/New_York)"),
        ("sunday 8:00", NEW_YORK, "Sun 2026-12-06 08:00 EST (America/New_York)"),
        ("in 2h", NEW_YORK, "Sun 2026-11-29 11:10 EST (America/New_York)"),
        ("in 90 min", None, "Sun 2026-11-29 15:40 UTC"),
        ("+15m", None, "Sun 2026-11-29 14:25 UTC"),
        ("2026-12-01 09:00", NEW_YORK, "Tue 2026-12-01 09:00 EST (America/New_York)"),
        ("2026-12-01T09:00", NEW_YORK, "Tue 2026-12-01 09:00 EST (America/New_York)"),
        ("2026-12-01 9am", NEW_YORK, "Tue 2026-12-01 09:00 EST (America/New_York)"),
        ("2026-12-01T09:00:00-05:00", None, "Tue 2026-12-01 09:00 UTC-05:00"),
        ("2026-12-01T14:00:00Z", NEW_YORK, "Tue 2026-12-01 09:00 EST (America/New_York)"),
        ("2026-12-01 09:00 Europe/Berlin", None, "Tue 2026-12-01 09:00 CET (Europe/Berlin)"),
        ("9am Europe/Berlin", None, "Mon 2026-11-30 09:00 CET (Europe/Berlin)"),
        ("9am America/New_York", NEW_YORK, "Sun 2026-11-29 09:00 EST (America/New_York)"),
        ("9am UTC", None, "Mon 2026-11-30 09:00 UTC"),
    ],
)
def test_a_time(text: str, zone: str | None, shown: str) -> None:
    assert str(parse_at(text, zone=zone, now=NOW, late_s=900)) == shown


def test_now_is_no_time() -> None:
    assert parse_at("now", zone=None, now=NOW, late_s=900) is None


@pytest.mark.parametrize(
    ("text", "zone", "says"),
    [
        ("9am", None, "local time without a zone; add --zone America/New_York"),
        ("tomorrow 9am", None, "local time without a zone; add --zone"),
        ("2026-12-01 09:00", None, "local time without a zone; add --zone"),
        ("9am PST", None, "there is no time zone `PST`: write it as America/Los_Angeles"),
        ("9am Europe/Berlin", NEW_YORK, "it names the zone Europe/Berlin, and --zone is America/New_York"),
        ("2026-12-01 09:00 Europe/Berlin", NEW_YORK, "keep one of them"),
        ("2026-12-01", NEW_YORK, "it has no time of day"),
        ("tomorrow", NEW_YORK, "it is not a time"),
        ("9", NEW_YORK, "'9' is not a time of day"),
        ("25:00", None, "'25:00' is not a time of day"),
        ("12/01/2026 9am", None, "is not a time of day"),
        ("mon tue 9am", NEW_YORK, "it is not a time"),
        ("in a while", NEW_YORK, "is not a duration"),
        ("", NEW_YORK, "it is not a time"),
        ("2026-02-30 09:00", NEW_YORK, "there is no such day"),
    ],
)
def test_what_is_no_time(text: str, zone: str | None, says: str) -> None:
    with pytest.raises(InputError) as failure:
        parse_at(text, zone=zone, now=NOW, late_s=900)
    assert says in str(failure.value)
    assert str(failure.value).startswith(f"--at {text}")


@pytest.mark.parametrize(
    ("text", "shown", "says"),
    [
        ("2027-03-14 02:30", "03:00 EDT", "does not exist"),
        ("2026-11-01 01:30", "01:30 EDT", "occurs twice"),
    ],
)
def test_what_clocks_do_to_it_is_said(text: str, shown: str, says: str) -> None:
    start = parse_at(text, zone=NEW_YORK, now=NOW, late_s=900)
    assert start is not None
    assert shown in str(start)
    assert says in str(start.note)
