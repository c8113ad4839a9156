"""How far a zone's wall clock is from UTC, as a few numbers instead of a lookup for each instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from sender.rules import zones

DAY_MS = 86_400_000

Offsets = tuple[tuple[int, int], ...]  # (from when, in UTC milliseconds; milliseconds ahead of UTC), in order

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MARGIN_MS = 2 * DAY_MS  # the wall clocks of an interval's ends are in other days, at most these
_LONG_AGO = -(2**62)


def find_offsets(zone: str, start_ms: int, end_ms: int) -> Offsets:
    """The offsets of the zone around that interval; the first holds from long ago. Raises InputError for none."""
    first, last = _year(start_ms - _MARGIN_MS), _year(end_ms + _MARGIN_MS)
    offsets: list[tuple[int, int]] = []
    for year in range(first, last + 1):
        for start, offset in _offsets_in(zone, year):
            if start >= end_ms + _MARGIN_MS:
                break
            if start <= start_ms - _MARGIN_MS or not offsets:
                offsets = [(_LONG_AGO, offset)]
            elif offsets[-1][1] != offset:
                offsets.append((start, offset))
    return tuple(offsets)


@cache
def _offsets_in(zone: str, year: int) -> Offsets:
    """The offset at the beginning of the year (UTC) and each change in it.

    One look a day sees every change: no zone changes twice within six days, in the tables up to 2087.
    """
    info = zones.zone(zone)
    day = _to_ms(datetime(year, 1, 1, tzinfo=UTC))
    end = _to_ms(datetime(year + 1, 1, 1, tzinfo=UTC))
    offsets = [(day, _offset_ms(info, day))]
    while day < end:
        following = min(day + DAY_MS, end - 1)
        if _offset_ms(info, following) != offsets[-1][1]:
            before, after = day, following
            while after - before > 1000:  # changes are at whole seconds
                middle = (before + after) // 2000 * 1000
                middle = middle if middle > before else middle + 1000
                if _offset_ms(info, middle) == offsets[-1][1]:
                    before = middle
                else:
                    after = middle
            offsets.append((after // 1000 * 1000, _offset_ms(info, after)))
        day = following if following < end - 1 else end
    return tuple(offsets)


def _offset_ms(info: ZoneInfo, at_ms: int) -> int:
    offset = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(info).utcoffset()
    return 0 if offset is None else offset // timedelta(milliseconds=1)


def _to_ms(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _year(at_ms: int) -> int:
    return (_EPOCH + timedelta(milliseconds=at_ms)).year
