"""When a campaign begins: an exact time with its zone, as the key `start` has it.

A file is read again and again, so nothing in it is relative: `9am` and `tomorrow` are for the command's `--at`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, WithJsonSchema

from sender.campaign import schema_forms
from sender.core.durations import read_duration_s
from sender.core.errors import InputError
from sender.core.local_time import format_local, resolve_local
from sender.rules import zones

_CLOCK = re.compile(r"(\d{1,2})(?::(\d{2})(?::(\d{2})(?:\.0+)?)?)?\s*([ap])\.?m\.?", re.IGNORECASE)
_CLOCK_24 = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.0+)?)?")
_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})?")
_WRITTEN = re.compile(r"(?P<date>\d{4}-\d{1,2}-\d{1,2})(?:[Tt ,]\s*(?P<rest>.*))?", re.DOTALL)
SHORTEST_LATE_S, LONGEST_LATE_S = 60.0, 7 * 86_400.0
DEFAULT_LATE_S = 900.0


@dataclass(frozen=True, slots=True)
class StartTime:
    """An exact time. `text` is as it was written, `zone` the IANA name it was written with, if there was one.

    `note` says what a change of the clocks makes of it.
    """

    at: datetime
    text: str
    zone: str | None = None
    note: str | None = None

    def __str__(self) -> str:
        return format_local(self.at, self.zone)


@dataclass(frozen=True, slots=True)
class Late:
    """How late something may begin, in seconds, and as it was written."""

    seconds: float
    text: str

    def __str__(self) -> str:
        return self.text


def parse_start(value: object) -> StartTime:
    """Return the time of `2026-12-01T09:00 America/New_York` or of ISO 8601 with an offset. Raises ValueError."""
    if isinstance(value, StartTime):
        return value
    if isinstance(value, datetime):
        return start_of(value)
    text = " ".join(str(value).split())
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time: write 2026-12-01T09:00 America/New_York")
    clock, place = split_place(match["rest"] or "")
    if not clock:
        raise ValueError(f"{text!r} has no time of day: write 2026-12-01T09:00 America/New_York")
    if place is None:
        raise ValueError(
            f"{text!r} is a local time without a zone: write `{text} America/New_York`, or an offset: `{text}-05:00`"
        )
    return resolve_start(datetime.fromisoformat(_iso_date(match["date"])), clock, place, text)


def start_of(moment: datetime) -> StartTime:
    """Return the time of a datetime with a zone or an offset. Raises ValueError for one without."""
    if moment.utcoffset() is None:
        raise ValueError(f"{moment.isoformat()} has no zone: use a datetime with a tzinfo")
    return StartTime(moment, moment.isoformat(), getattr(moment.tzinfo, "key", None))


def resolve_start(day: datetime, clock: str, place: str, text: str) -> StartTime:
    """Return the time of `clock` on the date `day` at `place`, a zone or an offset. Raises ValueError."""
    hour, minute, second = read_clock(clock)
    local = day.replace(hour=hour, minute=minute, second=second)
    offset = read_offset(place)
    if offset is not None:
        return StartTime(local.replace(tzinfo=offset), text)
    zone = find_zone(place)
    moment = resolve_local(local, zone)
    return StartTime(moment.at, text, zone.key, moment.note)


def read_clock(text: str) -> tuple[int, int, int]:
    """Return hour, minute and second of `09:00`, `21:30:15`, `9am`, `9:30 pm` or `noon`. Raises ValueError."""
    named = {"noon": (12, 0, 0), "midnight": (0, 0, 0)}.get(text.lower())
    if named is not None:
        return named
    match = _CLOCK.fullmatch(text) or _CLOCK_24.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time of day: write 09:00, 21:30 or 9am")
    hour, minute, second = int(match[1]), int(match[2] or 0), int(match[3] or 0)
    if match.re is _CLOCK:
        if not 1 <= hour <= 12:
            raise ValueError(f"{text!r} is not a time of day: write 9am, 9:30pm or 21:30")
        hour = hour % 12 + (12 if match[4].lower() == "p" else 0)
    if hour > 23 or minute > 59 or second > 59:
        more = "; the end of the day is 00:00 of the next" if hour == 24 else ""
        raise ValueError(f"{text!r} is not a time of day: write 09:00, 21:30 or 9am{more}")
    return hour, minute, second


def split_place(text: str) -> tuple[str, str | None]:
    """Return the time of day in `09:00 America/New_York` or `09:00-05:00`, and its zone or offset, or None."""
    words = text.split()
    if words and is_place(words[-1]):
        return " ".join(words[:-1]), words[-1]
    match = re.fullmatch(r"(.*[\dm])\s*([Zz]|[+-]\d{2}(?::?\d{2})?)", text.strip())
    return (match[1].strip(), match[2]) if match else (text.strip(), None)


def is_place(word: str) -> bool:
    """Whether a word stands where a zone or an offset does."""
    return (
        "/" in word or word.upper() in ("UTC", "GMT", "Z") or _OFFSET.fullmatch(word) is not None or _is_letters(word)
    )


def _is_letters(word: str) -> bool:
    """Whether it can only be meant as a zone: `PST`, `Eastern`; `find_zone` says what to write."""
    return word.isalpha() and word.lower() not in ("am", "pm", "noon", "midnight", "at", "on")


def read_offset(place: str) -> timezone | None:
    """Return the offset of `-05:00`, `Z` or `UTC`; None where it is a zone. Raises ValueError."""
    if place.upper() in ("UTC", "GMT", "Z"):
        return UTC
    match = _OFFSET.fullmatch(place)
    if match is None:
        return None
    hours, minutes = int(match[2]), int(match[3] or 0)
    if hours > 14 or minutes > 59:
        raise ValueError(f"{place!r} is not an offset from UTC: write -05:00")
    return timezone((1 if match[1] == "+" else -1) * timedelta(hours=hours, minutes=minutes))


def find_zone(name: str) -> ZoneInfo:
    """Return the zone of an IANA name. Raises ValueError, also for `EST`: few people mean the one of IANA."""
    if "/" in name or name == "UTC":
        try:
            return zones.zone(name)
        except InputError as error:
            raise ValueError(f"{error.what}: {error.fix}") from None
    near = zones.suggest_zone(name)
    fix = near if near is not None and "/" in near else "America/New_York"
    raise ValueError(f"there is no time zone `{name}`: write it as {fix}")


def parse_late(value: object) -> Late:
    """Return how late a start may be: `15m`, `1h`. Raises ValueError."""
    if isinstance(value, Late):
        return value
    seconds = read_duration_s(value)
    if not SHORTEST_LATE_S <= seconds <= LONGEST_LATE_S:
        raise ValueError(f"{str(value)!r} is out of range: a start may be late by 1m to 7d")
    return Late(seconds, str(value).strip())


def _iso_date(text: str) -> str:
    year, month, day = (int(part) for part in text.split("-"))
    try:
        return datetime(year, month, day).date().isoformat()  # noqa: DTZ001 (a date of the zone, which comes next)
    except ValueError:
        raise ValueError(f"{text} is not a date: there is no such day") from None


StartText = Annotated[StartTime, BeforeValidator(parse_start), WithJsonSchema(schema_forms.START)]
LateText = Annotated[
    Late,
    BeforeValidator(parse_late),
    WithJsonSchema(schema_forms.DURATION),
]
DEFAULT_LATE = Late(DEFAULT_LATE_S, "15m")
