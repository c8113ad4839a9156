"""Times as people type them for `--at`: `9am`, `tomorrow 9am`, `mon 14:30`, `in 2h`, `2026-12-01 09:00`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, tzinfo

from sender.campaign.start_time import (
    StartTime,
    find_zone,
    parse_start,
    read_clock,
    read_offset,
    resolve_start,
    split_place,
)
from sender.core.durations import read_duration_s
from sender.core.errors import InputError

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = re.compile(
    r"mon(day)?|tue(s(day)?)?|wed(nesday)?|thu(r(s(day)?)?)?|fri(day)?|sat(urday)?|sun(day)?|today|tomorrow",
    re.IGNORECASE,
)
_IN = re.compile(r"(?:in\s+|\+\s*)(?P<duration>.+)", re.IGNORECASE)
_DATED = re.compile(r"(?P<date>\d{4}-\d{1,2}-\d{1,2})(?:[Tt ]\s*(?P<rest>.*))?")
_FILLERS = {"at", "on"}
_EXAMPLES = "write 9am, 'tomorrow 9am', 'mon 14:30', 'in 2h', '2026-12-01 09:00' or now"


def parse_at(text: str, *, zone: str | None, now: datetime, late_s: float) -> StartTime | None:
    """Return the time that `text` means `now` (a time with a zone); None for the text `now`.

    `zone` is the IANA name of a local time that names none. A time of day alone is the next one; that of today if it
    is at most `late_s` seconds ago. Raises InputError.
    """
    written = " ".join(text.replace(",", " ").split())
    if written.lower() == "now":
        return None
    try:
        return _parse(written, None if zone is None else find_zone(zone).key, now, late_s)
    except ValueError as error:
        raise InputError(f"--at {text}: {error}") from None


def _parse(text: str, zone: str | None, now: datetime, late_s: float) -> StartTime:
    if after := _IN.fullmatch(text):
        moment = (now + timedelta(seconds=read_duration_s(after["duration"]))).replace(microsecond=0)
        return StartTime(moment if zone is None else moment.astimezone(find_zone(zone)), text, zone)
    if dated := _DATED.fullmatch(text):
        return _parse_dated(text, dated["rest"] or "", zone)
    words = [word for word in text.split() if word.lower() not in _FILLERS]
    days = [word.lower() for word in words if _DAY.fullmatch(word)]
    clock, written = split_place(" ".join(word for word in words if not _DAY.fullmatch(word)))
    if len(days) > 1 or not clock:
        raise ValueError(f"it is not a time: {_EXAMPLES}")
    read_clock(clock)  # what is wrong with the time comes before the zone that it lacks
    place = _choose_place(text, written, zone)
    today = now.astimezone(_zone_of(place))
    starts = [_on_day(today, ahead, clock, place, text) for ahead in _days_ahead(days, today)]
    ahead = (start for start in starts if start.at.timestamp() + late_s >= now.timestamp())
    return next(ahead, starts[-1])


def _parse_dated(text: str, rest: str, zone: str | None) -> StartTime:
    clock, written = split_place(rest)
    if not clock:
        raise ValueError("it has no time of day: write '2026-12-01 09:00'")
    place = _choose_place(text, written, zone)
    start = parse_start(text if written else f"{text} {place}")
    if zone is None or start.zone is not None:
        return start
    return StartTime(start.at.astimezone(find_zone(zone)), text, zone)  # by its offset, and shown in that zone


def _on_day(today: datetime, ahead: int, clock: str, place: str, text: str) -> StartTime:
    day = datetime.combine(today.date() + timedelta(days=ahead), datetime.min.time())
    return resolve_start(day, clock, place, text)


def _days_ahead(days: list[str], today: datetime) -> tuple[int, ...]:
    """The days that may be meant, by their distance from today, the nearest first."""
    if not days:
        return 0, 1
    if days[0] in ("today", "tomorrow"):
        return (int(days[0] == "tomorrow"),)
    distance = (_WEEKDAYS.index(days[0][:3]) - today.weekday()) % 7
    return distance, distance + 7


def _zone_of(place: str) -> tzinfo:
    return read_offset(place) or find_zone(place)


def _choose_place(text: str, written: str | None, zone: str | None) -> str:
    """Return the zone, or the offset, of a time. Raises ValueError where there is none, or two that differ."""
    if written is None and zone is None:
        raise ValueError(f"it is a local time without a zone; add --zone America/New_York, or write '{text} UTC'")
    if written is not None and zone is not None and "/" in written and written != zone:
        raise ValueError(f"it names the zone {written}, and --zone is {zone}; keep one of them")
    return written or zone or ""
