"""When messages may leave: intervals over zones, days, holidays, and changes of clocks."""

from __future__ import annotations

import bisect
import struct
from datetime import UTC, date, datetime, time, timedelta
from importlib import resources
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.core.errors import InputError
from sender.rules.holiday_calendar import find_calendar
from sender.rules.hours import parse_days, parse_hours
from sender.rules.offsets import DAY_MS, find_offsets
from sender.rules.openings import LOOK_AHEAD_DAYS, Opening, Outside, closed_at, next_windows, open_intervals
from sender.rules.zones import zone_names
from tests.profiles import examples

HOUR_MS = 3_600_000
NEW_YORK, LOS_ANGELES = "America/New_York", "America/Los_Angeles"
ZONES = (
    "UTC",
    NEW_YORK,
    LOS_ANGELES,
    "America/Havana",  # falls back at 01:00 to midnight
    "America/Santiago",  # changes at midnight
    "America/St_Johns",  # half an hour
    "America/Scoresbysund",
    "Africa/Casablanca",  # changes with Ramadan
    "Africa/Cairo",  # midnight does not exist
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Australia/Lord_Howe",  # changes by half an hour
    "Pacific/Chatham",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Pacific/Kwajalein",
)


def opening(hours: str = "0-24", days: str = "all", holidays: object = None, *, zone: str | None = None) -> Opening:
    calendar = frozenset[date]() if holidays is None else find_calendar([holidays])
    return Opening.of(f"{days} {hours}", parse_hours(hours), parse_days(days), calendar, zone=zone)


def ms(text: str, zone: str = "UTC", *, fold: int = 0) -> int:
    at = datetime.fromisoformat(text).replace(tzinfo=_zone(zone), fold=fold)
    return round(at.timestamp() * 1000)


def shown(intervals: object, zone: str = "UTC") -> list[str]:
    """The intervals on the wall clock of the zone, with its offset."""
    pairs: list[tuple[int, int]] = list(intervals)  # type: ignore[call-overload]
    return [" - ".join(f"{local(at, zone):%Y-%m-%d %H:%M%z}" for at in pair) for pair in pairs]


def local(at_ms: int, zone: str) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)).astimezone(_zone(zone))


_ZONES: dict[str, ZoneInfo] = {}


def _zone(name: str) -> ZoneInfo:
    if name not in _ZONES:
        with (resources.files("tzdata") / "zoneinfo").joinpath(*name.split("/")).open("rb") as file:
            _ZONES[name] = ZoneInfo.from_file(file, key=name)
    return _ZONES[name]


def test_the_hours_count_in_every_zone() -> None:
    """Nine in the morning is the westernmost's, eight in the evening the easternmost's."""
    day = (ms("2026-12-01T00:00"), ms("2026-12-03T00:00"))
    assert shown(open_intervals([opening("9-20")], [NEW_YORK, LOS_ANGELES], *day)) == [
        "2026-12-01 00:00+0000 - 2026-12-01 01:00+0000",
        "2026-12-01 17:00+0000 - 2026-12-02 01:00+0000",
        "2026-12-02 17:00+0000 - 2026-12-03 00:00+0000",
    ]


def test_an_opening_with_a_zone_of_its_own_asks_no_other() -> None:
    day = (ms("2026-12-01T12:00"), ms("2026-12-02T12:00"))
    one_clock = opening("9-20", zone="Europe/Paris")
    assert shown(open_intervals([one_clock], [], *day)) == [
        "2026-12-01 12:00+0000 - 2026-12-01 19:00+0000",
        "2026-12-02 08:00+0000 - 2026-12-02 12:00+0000",
    ]
    both = open_intervals([one_clock, opening("8-21")], [NEW_YORK], *day)
    assert shown(both) == ["2026-12-01 13:00+0000 - 2026-12-01 19:00+0000"]


def test_without_openings_everything_is_open() -> None:
    assert open_intervals([], [NEW_YORK], 5, 9) == [(5, 9)]
    assert open_intervals([], [NEW_YORK], 9, 9) == []
    assert next_windows([], [NEW_YORK], 5) == ((5, 5 + LOOK_AHEAD_DAYS * DAY_MS),)


def test_without_a_zone_the_recipients_hours_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="none is known"):
        open_intervals([opening("9-20")], [], 0, DAY_MS)


@pytest.mark.parametrize("name", ["Mars/Base", "", "../zoneinfo/UTC", "America", "tzdata.zi", "/etc/localtime", "A/\0"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="there is no time zone"):
        open_intervals([opening("9-20")], [name], 0, DAY_MS)


@pytest.mark.parametrize(
    ("zone", "hours", "day", "expected"),
    [
        # New York skips 02:00-03:00 on 8 March 2026.
        (NEW_YORK, "2:30-4", "2026-03-08", ["2026-03-08 03:00-0400 - 2026-03-08 04:00-0400"]),
        (NEW_YORK, "1-2:30", "2026-03-08", ["2026-03-08 01:00-0500 - 2026-03-08 03:00-0400"]),
        (NEW_YORK, "2:10-2:50", "2026-03-08", []),
        (NEW_YORK, "2-3", "2026-03-08", []),
        (NEW_YORK, "9-20", "2026-03-08", ["2026-03-08 09:00-0400 - 2026-03-08 20:00-0400"]),
        # It has 01:00-02:00 twice on 1 November 2026.
        (NEW_YORK, "1:30-4", "2026-11-01", ["2026-11-01 01:30-0500 - 2026-11-01 04:00-0500"]),
        (NEW_YORK, "0:30-1:30", "2026-11-01", ["2026-11-01 00:30-0400 - 2026-11-01 01:30-0400"]),
        (NEW_YORK, "1:10-1:50", "2026-11-01", []),
        (NEW_YORK, "0:30-4", "2026-11-01", ["2026-11-01 00:30-0400 - 2026-11-01 04:00-0500"]),
        # Lord Howe changes by half an hour.
        ("Australia/Lord_Howe", "2:15-4", "2026-10-04", ["2026-10-04 02:30+1100 - 2026-10-04 04:00+1100"]),
        ("Australia/Lord_Howe", "1:45-4", "2026-04-05", ["2026-04-05 01:45+1030 - 2026-04-05 04:00+1030"]),
        ("Australia/Lord_Howe", "1-1:45", "2026-04-05", ["2026-04-05 01:00+1100 - 2026-04-05 01:45+1100"]),
        ("Pacific/Chatham", "9-20", "2026-12-01", ["2026-12-01 09:00+1345 - 2026-12-01 20:00+1345"]),
        ("Asia/Kathmandu", "9-20", "2026-12-01", ["2026-12-01 09:00+0545 - 2026-12-01 20:00+0545"]),
        ("Pacific/Kiritimati", "9-20", "2026-12-01", ["2026-12-01 09:00+1400 - 2026-12-01 20:00+1400"]),
        # Midnight does not exist in Cairo on 24 April 2026: the day begins at one.
        ("Africa/Cairo", "0-2", "2026-04-24", ["2026-04-24 01:00+0300 - 2026-04-24 02:00+0300"]),
        # Midnight occurs twice in Havana on 3 November 2024.
        ("America/Havana", "0-2", "2024-11-03", ["2024-11-03 00:00-0500 - 2024-11-03 02:00-0500"]),
        ("America/Havana", "23-24", "2024-11-02", ["2024-11-02 23:00-0400 - 2024-11-03 00:00-0400"]),
        # Santiago repeats 23:00-24:00 on 4 April 2026.
        ("America/Santiago", "20-24", "2026-04-04", ["2026-04-04 20:00-0300 - 2026-04-05 00:00-0400"]),
        ("America/Santiago", "20-23:30", "2026-04-04", ["2026-04-04 20:00-0300 - 2026-04-04 23:30-0300"]),
        # Samoa left out 30 December 2011, and Kwajalein 21 August 1993.
        ("Pacific/Apia", "9-20", "2011-12-30", []),
        ("Pacific/Apia", "9-20", "2011-12-31", ["2011-12-31 09:00+1400 - 2011-12-31 20:00+1400"]),
        ("Pacific/Kwajalein", "9-20", "1993-08-21", []),
        ("Pacific/Kwajalein", "9-20", "1993-08-22", ["1993-08-22 09:00+1200 - 1993-08-22 20:00+1200"]),
    ],
)
def test_the_smaller_window_counts_when_clocks_change(zone: str, hours: str, day: str, expected: list[str]) -> None:
    noon = ms(f"{day}T12:00", zone)
    only = Opening.of("test", parse_hours(hours), frozenset({date.fromisoformat(day).weekday()}))
    assert shown(open_intervals([only], [zone], noon - 2 * DAY_MS, noon + 2 * DAY_MS), zone) == expected


def test_ranges_that_touch_over_midnight_are_one() -> None:
    """So that a day without hours has no hole where midnight occurs twice."""
    start, end = ms("2024-10-31T12:00"), ms("2024-11-05T12:00")
    assert open_intervals([opening("0-24")], ["America/Havana"], start, end) == [(start, end)]
    night = open_intervals([opening("20-24, 0-6")], [NEW_YORK], ms("2026-12-01T12:00"), ms("2026-12-02T12:00"))
    assert shown(night, NEW_YORK) == ["2026-12-01 20:00-0500 - 2026-12-02 06:00-0500"]


@pytest.mark.parametrize(
    ("now", "options", "expected"),
    [
        # Tuesday 1 December 2026 in New York; closed from 12 to 14, and on Sundays.
        ("2026-12-01T08:00", {}, ["01 09:00 - 01 12:00", "01 14:00 - 01 20:00"]),
        ("2026-12-01T10:00", {}, ["01 10:00 - 01 12:00", "01 14:00 - 01 20:00"]),
        ("2026-12-01T13:00", {}, ["01 14:00 - 01 20:00"]),
        ("2026-12-01T20:00", {}, ["02 09:00 - 02 12:00", "02 14:00 - 02 20:00"]),
        ("2026-12-05T19:59", {}, ["05 19:59 - 05 20:00"]),
        ("2026-12-05T20:00", {}, ["07 09:00 - 07 12:00", "07 14:00 - 07 20:00"]),
        ("2026-12-01T10:00", {"deadline": "2026-12-02T10:00"}, ["01 10:00 - 01 12:00", "01 14:00 - 01 20:00", "02 09:00 - 02 10:00"]),
        ("2026-12-01T10:00", {"deadline": "2026-12-01T11:00"}, ["01 10:00 - 01 11:00"]),
        ("2026-12-01T10:00", {"deadline": "2026-12-01T10:00"}, []),
        ("2026-12-01T10:00", {"deadline": "2026-11-30T10:00"}, []),
        ("2026-12-01T13:00", {"deadline": "2026-12-01T14:00"}, []),
        ("2026-12-01T10:00", {"outside": "skip"}, ["01 10:00 - 01 12:00"]),
        ("2026-12-01T10:00", {"outside": "skip", "deadline": "2026-12-01T11:00"}, ["01 10:00 - 01 11:00"]),
        ("2026-12-01T13:00", {"outside": "skip"}, []),
        ("2026-12-01T12:00", {"outside": "skip"}, []),
        ("2026-12-01T10:00", {"outside": "expire"}, ["01 10:00 - 01 12:00", "01 14:00 - 01 20:00"]),
        ("2026-12-01T06:00", {"outside": "expire"}, ["01 09:00 - 01 12:00", "01 14:00 - 01 20:00"]),
        ("2026-12-01T06:00", {"outside": "expire", "deadline": "2026-12-01T15:00"}, ["01 09:00 - 01 12:00", "01 14:00 - 01 15:00"]),
        ("2026-12-01T20:00", {"outside": "expire"}, []),
        ("2026-12-06T10:00", {"outside": "expire"}, []),
    ],
)  # fmt: skip
def test_the_windows_from_now_on(now: str, options: dict[str, str], expected: list[str]) -> None:
    deadline_ms = ms(options["deadline"], NEW_YORK) if "deadline" in options else None
    outside: Outside = options.get("outside", "hold")  # type: ignore[assignment]
    windows = next_windows(
        [opening("9-12, 14-20", "mon-sat")], [NEW_YORK], ms(now, NEW_YORK), deadline_ms=deadline_ms, outside=outside
    )
    assert [" - ".join(f"{local(at, NEW_YORK):%d %H:%M}" for at in window) for window in windows] == expected


def test_a_holiday_is_closed_and_named_by_the_opening_that_is_closed() -> None:
    shop, rule = opening("9-20", holidays="US"), opening("8-21")
    thanksgiving = ms("2026-11-26T10:00", NEW_YORK)
    assert shown(next_windows([shop, rule], [NEW_YORK], thanksgiving), NEW_YORK) == [
        "2026-11-27 09:00-0500 - 2026-11-27 20:00-0500"
    ]
    assert closed_at([shop, rule], [NEW_YORK], thanksgiving) == (shop,)
    assert closed_at([shop, rule], [NEW_YORK], ms("2026-11-27T08:30", NEW_YORK)) == (shop,)
    assert closed_at([shop, rule], [NEW_YORK], ms("2026-11-27T07:59", NEW_YORK)) == (shop, rule)
    assert closed_at([shop, rule], [NEW_YORK, LOS_ANGELES], ms("2026-11-27T10:30", NEW_YORK)) == (shop, rule)
    assert closed_at([shop, rule], [NEW_YORK, LOS_ANGELES], ms("2026-11-27T12:00", NEW_YORK)) == ()


def test_an_opening_counts_between_its_dates_only() -> None:
    rule = Opening(
        "no Sundays from 1 December", (parse_hours("9-20"),) * 6 + ((),), effective_from=date(2026, 12, 1),
        effective_to=date(2026, 12, 8),
    )  # fmt: skip
    days = (ms("2026-11-28T00:00"), ms("2026-12-14T00:00"))
    found = shown(open_intervals([rule], ["UTC"], *days))
    assert found[0] == "2026-11-28 00:00+0000 - 2026-12-01 00:00+0000"
    assert found[1] == "2026-12-01 09:00+0000 - 2026-12-01 20:00+0000"
    assert not [text for text in found if text.startswith("2026-12-06")]
    assert found[-1] == "2026-12-09 00:00+0000 - 2026-12-14 00:00+0000"


def test_a_window_that_never_opens_is_none_and_found_in_time() -> None:
    never = [opening("9-10", "mon"), opening("9-10", "tue")]
    assert next_windows(never, [NEW_YORK], 0) == ()
    assert next_windows([opening("9-13")], [NEW_YORK, "Asia/Tokyo"], 0) == ()
    once_a_year = Opening.of("fireworks", parse_hours("9-10"), holidays=frozenset(_all_days_but(date(1970, 12, 31))))
    (window,) = next_windows([once_a_year], ["UTC"], 0)
    assert shown([window]) == ["1970-12-31 09:00+0000 - 1970-12-31 10:00+0000"]


def _all_days_but(day: date) -> list[date]:
    return [each for each in (date(1970, 1, 1) + timedelta(days=n) for n in range(500)) if each != day]


def test_a_description_is_what_a_campaign_has() -> None:
    texas = Opening("TX", (parse_hours("9-21"),) * 6 + (parse_hours("12-21"),))
    assert texas.describe() == "mon-sat 09:00-21:00; sun 12:00-21:00"
    assert opening("9-12, 14-20").describe() == "09:00-12:00, 14:00-20:00"
    assert opening(days="mon-fri").describe() == "mon-fri"
    assert opening().describe() == "00:00-24:00"


@st.composite
def _openings(draw: st.DrawFn) -> Opening:
    minutes = draw(st.lists(st.integers(0, 48).map(lambda n: n * 30), min_size=2, max_size=4, unique=True).map(sorted))
    ranges = tuple(zip(minutes[::2], minutes[1::2], strict=False))
    days = draw(st.frozensets(st.integers(0, 6), min_size=1))
    holidays = frozenset(draw(st.lists(st.dates(date(2025, 12, 25), date(2027, 12, 31)), max_size=20)))
    fixed = draw(st.one_of(st.none(), st.none(), st.sampled_from(ZONES)))
    return Opening.of("drawn", ranges, days, holidays, zone=fixed)


def _around_changes() -> list[int]:
    """Instants at which a zone's clock changes, and ordinary ones."""
    changes = [
        start for zone in ZONES for start, _ in find_offsets(zone, ms("2026-01-01T00:00"), ms("2027-12-01T00:00"))[1:]
    ]
    return sorted({*changes, *(ms("2026-01-01T00:00") + day * DAY_MS for day in range(0, 700, 7))})


def _is_open(at_ms: int, openings: list[Opening], zones: list[str]) -> bool:
    """Whether the wall clocks say so; asks nothing of what is tested."""
    for each in openings:
        for zone in [each.zone] if each.zone else zones:
            at = local(at_ms, zone)
            minute = at.hour * 60 + at.minute
            if at.date() in each.holidays or not any(start <= minute < end for start, end in each.hours[at.weekday()]):  # type: ignore[operator]
                return False
    return True


def _is_repeated(at_ms: int, zones: set[str]) -> bool:
    """Whether a wall clock shows this time twice, or is about to: there the smaller window counts."""
    for zone in zones:
        offset = [local(at_ms + hours * HOUR_MS, zone).utcoffset() for hours in (-2, 0, 2)]
        if len(set(offset)) > 1:
            return True
    return False


_INSTANTS = _around_changes()


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(_openings(), min_size=1, max_size=3),
    st.lists(st.sampled_from(ZONES), min_size=1, max_size=4, unique=True),
    st.sampled_from(_INSTANTS),
    st.integers(-2 * DAY_MS, 2 * DAY_MS),
)
def test_no_instant_is_outside_of_the_hours_in_any_zone(
    openings: list[Opening], zones: list[str], around_ms: int, shift_ms: int
) -> None:
    start_ms = around_ms + shift_ms - DAY_MS
    end_ms = start_ms + 5 * DAY_MS
    intervals = open_intervals(openings, zones, start_ms, end_ms)
    clocks = {each.zone or zone for each in openings for zone in zones}
    assert all(before[1] < after[0] for before, after in pairwise(intervals)), "in order, and merged"
    for start, end in intervals:
        assert start_ms <= start < end <= end_ms
        assert start == start_ms or not _is_open(start - 1, openings, zones) or _is_repeated(start - 1, clocks)
        assert end == end_ms or not _is_open(end, openings, zones) or _is_repeated(end, clocks)
    ends = [end for _, end in intervals]
    for at_ms in range(start_ms, end_ms, 15 * 60_000):
        index = bisect.bisect_right(ends, at_ms)
        inside = index < len(intervals) and intervals[index][0] <= at_ms
        if inside:
            assert _is_open(at_ms, openings, zones)
        elif _is_open(at_ms, openings, zones):
            assert _is_repeated(at_ms, clocks), "an open instant is left out only in an hour that occurs twice"


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(_openings(), min_size=1, max_size=2),
    st.lists(st.sampled_from(ZONES), min_size=1, max_size=3, unique=True),
    st.sampled_from(_INSTANTS),
    st.integers(-2 * DAY_MS, 2 * DAY_MS),
    st.sampled_from(["hold", "skip", "expire"]),
    st.one_of(st.none(), st.integers(-HOUR_MS, 20 * DAY_MS)),
)
def test_the_windows_from_now_on_are_parts_of_the_openings(
    openings: list[Opening], zones: list[str], around_ms: int, shift_ms: int, outside: Outside, deadline: int | None
) -> None:
    now_ms = around_ms + shift_ms
    deadline_ms = None if deadline is None else now_ms + deadline
    windows = next_windows(openings, zones, now_ms, deadline_ms=deadline_ms, outside=outside)
    bound_ms = now_ms + LOOK_AHEAD_DAYS * DAY_MS if deadline_ms is None else deadline_ms
    everything = open_intervals(openings, zones, now_ms, bound_ms)
    assert all(any(start <= w[0] < w[1] <= end for start, end in everything) for w in windows)
    if outside == "hold":
        assert list(windows) == everything[: len(windows)], "none is left out"
        assert deadline_ms is None or len(windows) == len(everything)
        assert bool(windows) == bool(everything)
    if outside == "skip":
        assert list(windows) == [each for each in everything if each[0] == now_ms]
    clocks = {zone for each in openings for zone in ([each.zone] if each.zone else zones)}
    judged = set(zones) if any(each.zone is None for each in openings) else clocks
    if outside == "expire":
        assert all(local(w[1] - 1, z).date() == local(now_ms, z).date() for w in windows for z in judged)
    if outside == "hold" and deadline_ms is None:
        assert all(local(w[0], z).date() == local(windows[0][0], z).date() for w in windows for z in judged)


@pytest.mark.parametrize("zone", ZONES)
def test_offsets_are_those_of_the_zone(zone: str) -> None:
    start, end = ms("2025-12-01T00:00"), ms("2028-02-01T00:00")
    offsets = find_offsets(zone, start, end)
    for at_ms in range(start, end, 7 * HOUR_MS):
        offset = [ahead for since, ahead in offsets if since <= at_ms][-1]
        assert timedelta(milliseconds=offset) == local(at_ms, zone).utcoffset()
    for since, ahead in offsets[1:]:
        assert local(since, zone).utcoffset() == timedelta(milliseconds=ahead) != local(since - 1, zone).utcoffset()


def test_no_zone_changes_twice_within_a_few_days() -> None:
    """On which the offsets rest: they are looked at once a day."""
    assert {name: days for name in zone_names() if (days := min(_days_between_changes(name), default=99)) < 6} == {}


def _days_between_changes(name: str) -> list[float]:
    """The days between the changes of a zone's offset, as its file has them (RFC 8536)."""
    data = resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
    counts = struct.unpack(">20x6l", data[:44])  # of indicators, leap seconds, times, types, and characters
    utc, standard, leaps, times, types, characters = counts
    second = 44 + 5 * times + 6 * types + characters + 8 * leaps + standard + utc
    _, _, _, times, types, _ = struct.unpack(">20x6l", data[second : second + 44])
    at = second + 44
    changes = struct.unpack(f">{times}q", data[at : at + 8 * times])
    kinds, first_kind = data[at + 8 * times : at + 9 * times], at + 9 * times
    offsets = [struct.unpack(">l", data[first_kind + 6 * kind :][:4])[0] for kind in range(types)]
    before = [0, *kinds][:-1]
    real = [change for change, old, new in zip(changes, before, kinds, strict=True) if offsets[old] != offsets[new]]
    return [(later - earlier) / 86_400 for earlier, later in pairwise(real)]


def test_the_hours_of_a_day_are_local_ones_in_every_zone_of_the_world() -> None:
    """Every zone has one interval a day, of eleven hours, nine in the morning to eight in the evening."""
    rule = opening("9-20")
    for name in zone_names():
        start = ms("2026-12-01T00:00", name)
        (interval,) = open_intervals([rule], [name], start, start + DAY_MS)
        assert [local(at, name).time() for at in interval] == [time(9), time(20)], name
