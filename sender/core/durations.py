"""Lengths of time as people write them: `90s`, `15m`, `1h`, `2d`."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_UNITS_S = {
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("w", "week", "weeks"), 604_800),
}


def read_duration_s(value: object) -> float:
    """Return the seconds of `90`, `90s`, `15m`, `1.5h`, `2d` or `1w`. Raises ValueError."""
    text = str(value).strip().lower()
    match = None if isinstance(value, bool) else _DURATION.fullmatch(text)
    if match is None or match[2] not in _UNITS_S:
        raise ValueError(f"{text!r} is not a duration: write 90s, 15m or 1h")
    return float(match[1]) * _UNITS_S[match[2]]


def describe_duration(seconds: float) -> str:
    """Return `3 d 4 h`, `2 h 5 min`, `15 min` or `40 s`."""
    whole = round(seconds)
    for size, unit, smaller, smaller_unit in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {smaller_unit}" if rest else "")
    return f"{whole} s"
