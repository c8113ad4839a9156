"""When a message may leave: openings, and the intervals in which all are open. Pure; UTC milliseconds in and out.

Wall clocks are not continuous. The policy is the smaller window: an opening begins when its time has come for the last
time and ends when its time has come first. So one that begins in an hour that occurs twice begins at the later
occurrence, one that ends in it ends at the earlier, and a time that the clock skips stands for the instant at which it
jumps. Ranges that touch, also over midnight, are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Literal

from sender.rules.holiday_calendar import HolidayCalendar
from sender.rules.hours import ALL_DAY, ALL_DAYS, Ranges, format_days, format_hours
from sender.rules.offsets import DAY_MS, Offsets, find_offsets

LOOK_AHEAD_DAYS = 400
Outside = Literal["hold", "skip", "expire"]
Interval = tuple[int, int]  # UTC milliseconds: from, and up to but not including

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_MINUTE_MS = 60_000
_HORIZONS_DAYS = (9, 60, LOOK_AHEAD_DAYS)  # most windows are found in the first
_NO_DATES: frozenset[date] = frozenset()


@dataclass(frozen=True, slots=True)
class Opening:
    """Hours of the week in which messages may leave, on the recipient's clock or on that of `zone`.

    `hours` has the ranges of each weekday, Monday first. Holidays are closed all day. On days before `effective_from`
    and after `effective_to` it closes nothing. `name` says which rule it is, `source` where that is written.
    """

    name: str
    hours: tuple[Ranges, ...]
    holidays: HolidayCalendar | frozenset[date] = _NO_DATES
    zone: str | None = None
    source: str = ""
    effective_from: date | None = None
    effective_to: date | None = None

    @classmethod
    def of(
        cls,
        name: str,
        hours: Ranges = ALL_DAY,
        days: frozenset[int] = ALL_DAYS,
        holidays: HolidayCalendar | frozenset[date] = _NO_DATES,
        *,
        zone: str | None = None,
    ) -> Opening:
        """An opening with the same hours on each of `days`."""
        return cls(name, tuple(hours if day in days else () for day in range(7)), holidays, zone)

    def ranges_on(self, day: date) -> Ranges:
        """The ranges of minutes of that local day in which it is open."""
        if (self.effective_from and day < self.effective_from) or (self.effective_to and day > self.effective_to):
            return ALL_DAY
        holidays = self.holidays if isinstance(self.holidays, frozenset) else self.holidays.in_year(day.year)
        return () if day in holidays else self.hours[day.weekday()]

    def describe(self) -> str:
        """The hours and days as a campaign has them: `mon-sat 09:00-21:00; sun 12:00-21:00`."""
        groups: dict[Ranges, set[int]] = {}
        for day, ranges in enumerate(self.hours):
            if ranges:
                groups.setdefault(ranges, set()).add(day)
        texts = []
        for ranges, days in groups.items():
            names = [format_days(frozenset(days))] if len(days) < 7 else []
            hours = [format_hours(ranges)] if ranges != ALL_DAY or not names else []
            texts.append(" ".join(names + hours))
        return "; ".join(texts)


def open_intervals(openings: Iterable[Opening], zones: Iterable[str], start_ms: int, end_ms: int) -> list[Interval]:
    """The intervals from `start_ms` to before `end_ms` in which each opening is open in each of its zones, in order.

    An opening without a zone of its own has to be open in all of `zones`, the recipient's candidates. Raises ValueError
    without any, and InputError for a zone that does not exist.
    """
    intervals = [(start_ms, end_ms)] if start_ms < end_ms else []
    for clock, openings_there in _clocks(openings, zones, start_ms, end_ms):
        if not intervals:
            break
        days = (start_ms // DAY_MS - 1, end_ms // DAY_MS + 2)
        intervals = intersect(intervals, _to_utc(_wall_ranges(openings_there, *days), clock))
    return intervals


def next_windows(
    openings: Iterable[Opening],
    zones: Iterable[str],
    now_ms: int,
    *,
    deadline_ms: int | None = None,
    outside: Outside = "hold",
) -> tuple[Interval, ...]:
    """The intervals in which a message may leave from now on; none says that it never may.

    `hold`: up to the deadline, every one, cut there; without a deadline the first, and those that begin later on its
    local day: what has not left by then has missed its window. `skip`: the one that is open now. `expire`: what the
    current local day still has. Where a recipient has several zones, a day is what their days have in common. Looks
    `LOOK_AHEAD_DAYS` ahead; with no openings all of that is one interval. Raises as `open_intervals` does.
    """
    openings, zones = tuple(openings), tuple(zones)
    bound_ms = now_ms + LOOK_AHEAD_DAYS * DAY_MS
    if deadline_ms is not None:
        bound_ms = min(bound_ms, deadline_ms)
    if outside == "hold" and deadline_ms is not None:
        return tuple(open_intervals(openings, zones, now_ms, bound_ms))
    if outside == "expire":
        bound_ms = min(bound_ms, _local_day(openings, zones, now_ms)[1])
        return tuple(open_intervals(openings, zones, now_ms, bound_ms))
    for horizon_days in _HORIZONS_DAYS:
        end_ms = min(bound_ms, now_ms + horizon_days * DAY_MS)
        intervals = open_intervals(openings, zones, now_ms, end_ms)
        if outside == "skip" and not (intervals and intervals[0][0] == now_ms):
            return ()
        if intervals:
            day_end_ms = _local_day(openings, zones, intervals[0][0])[1]
            if end_ms == bound_ms or max(intervals[0][1], day_end_ms) < end_ms:
                same_day = [each for each in intervals[1:] if each[0] < day_end_ms and outside == "hold"]
                return (intervals[0], *same_day)
        if end_ms == bound_ms:
            break
    return ()


def closed_at(openings: Iterable[Opening], zones: Iterable[str], at_ms: int) -> tuple[Opening, ...]:
    """Those of the openings that are closed at that instant in any of their zones: what holds a message back."""
    zones = tuple(zones)
    return tuple(each for each in openings if not open_intervals((each,), zones, at_ms, at_ms + 1))


def intersect(some: Sequence[Interval], others: Sequence[Interval]) -> list[Interval]:
    """What two lists of intervals, each in order and without overlaps, have in common."""
    common: list[Interval] = []
    i = j = 0
    while i < len(some) and j < len(others):
        start, end = max(some[i][0], others[j][0]), min(some[i][1], others[j][1])
        if start < end:
            common.append((start, end))
        if some[i][1] < others[j][1]:
            i += 1
        else:
            j += 1
    return common


def _clocks(
    openings: Iterable[Opening], zones: Iterable[str], start_ms: int, end_ms: int
) -> set[tuple[Offsets, tuple[Opening, ...]]]:
    """The different clocks by which openings are judged, each with its openings. Zones that agree are one."""
    by_zone: dict[str, list[Opening]] = {}
    recipients = tuple(zones)
    for opening in openings:
        own = recipients if opening.zone is None else (opening.zone,)
        if not own:
            raise ValueError(f"{opening.name} counts in the recipient's zone, and none is known: give at least one")
        for zone in own:
            by_zone.setdefault(zone, []).append(opening)
    return {(find_offsets(zone, start_ms, end_ms), tuple(there)) for zone, there in by_zone.items()}


@lru_cache(maxsize=1024)
def _wall_ranges(openings: tuple[Opening, ...], first_day: int, end_day: int) -> tuple[Interval, ...]:
    """The ranges in which all are open, on the wall clock, as if it were UTC; days count from 1970-01-01."""
    common: list[Interval] = [(first_day * DAY_MS, end_day * DAY_MS)]
    for opening in openings:
        ranges: list[Interval] = []
        for number in range(first_day, end_day):
            for start, end in opening.ranges_on(date.fromordinal(_EPOCH_ORDINAL + number)):
                start_ms, end_ms = (number * DAY_MS + minute * _MINUTE_MS for minute in (start, end))
                if ranges and ranges[-1][1] == start_ms:
                    ranges[-1] = (ranges[-1][0], end_ms)
                else:
                    ranges.append((start_ms, end_ms))
        common = intersect(common, ranges)
    return tuple(common)


def _to_utc(ranges: Sequence[Interval], clock: Offsets) -> list[Interval]:
    if len(clock) == 1:
        ((_, offset_ms),) = clock
        return [(start - offset_ms, end - offset_ms) for start, end in ranges]
    intervals = ((_instants(start, clock)[-1], _instants(end, clock)[0]) for start, end in ranges)
    return [(start, end) for start, end in intervals if start < end]


def _instants(wall_ms: int, clock: Offsets) -> list[int]:
    """When the clock shows that time, in order; where it skips it, the instant at which it jumps."""
    starts = [start for start, _ in clock]
    found = []
    for (start, offset), following in zip(clock, [*starts[1:], None], strict=True):
        at_ms = wall_ms - offset
        if at_ms >= start and (following is None or at_ms < following):
            found.append(at_ms)
    if found:
        return found
    return [next(start for start, offset in clock if wall_ms - offset < start)]


def _local_day(openings: Iterable[Opening], zones: Iterable[str], at_ms: int) -> Interval:
    """What the local days that contain the instant have in common, on all clocks."""
    first, end = at_ms - LOOK_AHEAD_DAYS * DAY_MS, at_ms + LOOK_AHEAD_DAYS * DAY_MS
    recipients = any(opening.zone is None for opening in openings)
    own = {opening.zone for opening in openings if opening.zone is not None}
    for zone in dict.fromkeys(zones) if recipients else own:
        clock = find_offsets(zone, at_ms - 2 * DAY_MS, at_ms + 3 * DAY_MS)
        offset_ms = [offset for start, offset in clock if start <= at_ms][-1]
        day_ms = (at_ms + offset_ms) // DAY_MS * DAY_MS
        first = max(first, _instants(day_ms, clock)[0])
        end = min(end, _instants(day_ms + DAY_MS, clock)[-1])
    return first, end
