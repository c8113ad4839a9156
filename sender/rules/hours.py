"""The hours and days of a window as people write them. Pure: reads no file and no clock."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

DAY_MIN = 1440
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Ranges = tuple[tuple[int, int], ...]  # minutes of the day: from, and up to but not including

ALL_DAY: Ranges = ((0, DAY_MIN),)
ALL_DAYS = frozenset(range(7))

_EXAMPLE = 'write hours: "09:00-20:00", or several ranges: "09:00-12:00, 14:00-20:00"'
_TIME = re.compile(r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))?\s*(?P<half>[ap]\.?m\.?)?", re.IGNORECASE)
_DASH = re.compile(r"\s*(?:-|\N{EN DASH}|\bto\b)\s*", re.IGNORECASE)
_FULL_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY_NAMES = {
    **{full[:length]: number for number, full in enumerate(_FULL_NAMES) for length in (2, 3, len(full))},
    "tues": 1,
    "weds": 2,
    "thur": 3,
    "thurs": 3,
}
_NONE = frozenset(("none", "off", "false", "no"))  # what people write who want no rules
_GROUPS = {
    **dict.fromkeys(("all", "daily", "every day"), ALL_DAYS),
    **dict.fromkeys(("weekday", "weekdays"), frozenset(range(5))),
    **dict.fromkeys(("weekend", "weekends"), frozenset((5, 6))),
}


def parse_hours(value: object) -> Ranges:
    """Return the ranges of `09:00-20:00`, `9-12, 14-20` or a list of them, in order. Raises ValueError."""
    if isinstance(value, str):
        texts = [text.strip() for text in value.split(",")]
    elif isinstance(value, Sequence) and all(isinstance(text, str) for text in value):
        texts = [part.strip() for text in value for part in text.split(",")]
    else:  # YAML makes a number of 09:00 and of 9
        raise ValueError(f"{value!r} is not a range of hours: {_EXAMPLE}, in quotes")
    ranges = sorted(_parse_range(text) for text in texts)
    for (start, end), (following, later) in itertools.pairwise(ranges):
        if following < end:
            both = f"{format_range(start, end)} and {format_range(following, later)}"
            whole = format_range(start, max(end, later))
            raise ValueError(f'the hours {both} overlap: write "{whole}" for both, or leave a gap')
    return tuple(ranges)


def format_range(start_min: int, end_min: int) -> str:
    """The range as a campaign has it: `09:00-20:00`."""
    return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in (start_min, end_min))


def format_hours(ranges: Ranges) -> str:
    """The ranges as a campaign has them: `09:00-12:00, 14:00-20:00`."""
    return ", ".join(format_range(*each) for each in ranges)


def _parse_range(text: str) -> tuple[int, int]:
    ends = _DASH.split(text)
    if len(ends) != 2:
        rules = "; `window: {rules: none}` leaves out the shipped rules" if text.casefold() in _NONE else ""
        raise ValueError(f"{text!r} is not a range of hours: {_EXAMPLE}{rules}")
    start, end = (_parse_time(each, text) for each in ends)
    if start == end:
        raise ValueError(f'the hours {text} are empty: write "00:00-24:00" for the whole day, or {_EXAMPLE[6:]}')
    if end == 0:
        raise ValueError(f'the hours {text} end at midnight: write "{format_range(start, DAY_MIN)}"')
    if start > end:
        halves = f"{format_range(start, DAY_MIN)}, {format_range(0, end)}"
        evening = end + DAY_MIN // 2
        other = f'"{format_range(start, evening)}" for the evening' if start < evening <= DAY_MIN else "turn them round"
        raise ValueError(
            f'the hours {text} run past midnight, but a range belongs to one day: write "{halves}", or {other}'
        )
    return start, end


def _parse_time(text: str, whole: str) -> int:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} in {whole!r} is not a time of day: {_EXAMPLE}")
    hour, minute, half = int(match["hour"]), int(match["minute"] or 0), (match["half"] or "")[:1].lower()
    if half and not 1 <= hour <= 12:
        raise ValueError(f"{text!r} in {whole!r} is not a time of day: write 8am-9pm or 08:00-21:00")
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    if minute > 59 or hour * 60 + minute > DAY_MIN:
        raise ValueError(f"{text!r} in {whole!r} is not a time of day: the times of a day are 00:00 to 24:00")
    return hour * 60 + minute


def parse_days(value: object) -> frozenset[int]:
    """Return the weekdays of `mon-sat`, `mon, wed-fri`, `weekdays` or `all`; Monday is 0. Raises ValueError."""
    days: set[int] = set()
    for part in _split(value):
        text = part.lower()
        if text in _GROUPS:
            days |= _GROUPS[text]
            continue
        ends = _DASH.split(text)
        numbers = [_DAY_NAMES.get(name) for name in ends]
        if len(ends) > 2 or None in numbers:
            unknown = next((name for name, number in zip(ends, numbers, strict=True) if number is None), text)
            raise ValueError(f"{unknown!r} is not a day of the week: write mon-sat, or mon, wed-fri, or all")
        first, last = numbers[0] or 0, numbers[-1] or 0
        days |= {(first + step) % 7 for step in range((last - first) % 7 + 1)}
    if not days:
        raise ValueError("no day is named, so nothing could ever leave: write mon-sat, or mon, wed-fri, or all")
    return frozenset(days)


def format_days(days: frozenset[int]) -> str:
    """The weekdays as a campaign has them: `mon-sat`, `mon, wed-fri`, `all`."""
    if len(days) == 7:
        return "all"
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ", ".join("-".join(WEEKDAYS[day] for day in sorted({run[0], run[-1]})) for run in runs)


def _split(value: object) -> list[str]:
    """The parts of a list, or of text with commas."""
    parts = value if isinstance(value, Iterable) and not isinstance(value, str) else str(value).split(",")
    return [str(part).strip() for part in parts]
