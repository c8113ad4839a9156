"""A frequency cap: how many messages a person may get in a rolling window of time."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CAP = re.compile(r"(?P<messages>\d{1,6})\s*(?:/|\bper\b)\s*(?P<n>\d+(?:\.\d+)?)?\s*(?P<unit>[a-z]+)", re.IGNORECASE)
_UNIT_S = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("h", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
    **dict.fromkeys(("w", "week", "weeks"), "w"),
}
_LONGEST_S = 366 * 86_400


@dataclass(frozen=True, slots=True)
class FrequencyCap:
    """At most `messages` in any `window_s` seconds. `text` is how a person writes it: `3/24h`."""

    messages: int
    window_s: int
    text: str

    def __str__(self) -> str:
        return self.text


def parse_cap(value: object) -> FrequencyCap:
    """Return the cap of `3/24h`, `1/day` or `5 per 7d`. Raises ValueError."""
    if isinstance(value, FrequencyCap):
        return value
    text = str(value).strip()
    match = _CAP.fullmatch(text)
    unit = _UNITS.get(match["unit"].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f"{text!r} is not a frequency cap: write 3/24h, 1/day or 10/30d")
    window_s = round(float(match["n"] or 1) * _UNIT_S[unit])
    if not int(match["messages"]) or not 1 <= window_s <= _LONGEST_S:
        raise ValueError(f"{text!r} is not a frequency cap: at least 1 message, in a second up to 366 days")
    return FrequencyCap(int(match["messages"]), window_s, f"{int(match['messages'])}/{match['n'] or ''}{match['unit']}")
