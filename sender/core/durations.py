"""Lengths of time as people write them: `90s`, `15m`, `1h 30m`, `2d`."""

from __future__ import annotations

import re

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_UNITS_S = {
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("w", "week", "weeks"), 604_800),
}


def read_duration_s(value: object) -> float:
    """Return the seconds of `90`, `90s`, `15m`, `1h 30m`, `2d` or `1w`. Raises ValueError."""
    text = str(value).strip().lower()
    parts = list(_PART.finditer(text))
    rest = _PART.sub("", text).replace(" ", "")
    bare = len(parts) > 1 and any(not part[2] for part in parts)
    if isinstance(value, bool) or not parts or rest or bare or any(part[2] not in _UNITS_S for part in parts):
        raise ValueError(f"{text!r} is not a duration: write 90s, 15m or 1h")
    return sum(float(part[1]) * _UNITS_S[part[2]] for part in parts)
