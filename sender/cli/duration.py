"""Durations as people write and read them: `10m`, `3 min 20 s`."""

from __future__ import annotations

from datetime import timedelta

from sender.core.durations import read_duration_s
from sender.core.errors import InputError


def parse_duration_s(text: str, option: str) -> float:
    """Return the seconds of `90`, `90s`, `2m`, `1h`, `90d` or `2w`, the value of `option`. Raises InputError."""
    try:
        return read_duration_s(text)
    except ValueError:
        raise InputError(f"{option}: {text!r} is not a duration", fix="write 90, 90s, 10m or 1h") from None


def format_duration(seconds: float | None) -> str:
    """Return `3 d 04 h`, `1 h 02 min`, `3 min 20 s` or `12 s`; None is a duration without an estimate."""
    if seconds is None:
        return "as fast as possible"
    whole = timedelta(seconds=round(max(seconds, 0)))
    hours, rest = divmod(int(whole.total_seconds()), 3600)
    minutes, left = divmod(rest, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24:02} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {left:02} s" if minutes else f"{left} s"
