"""Durations as people write them, and as the program shows them."""

from __future__ import annotations

import pytest

from sender.cli.duration import format_duration, parse_duration_s
from sender.core.errors import InputError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        (" 1.5 M ", 90),
        ("10m", 600),
        ("2 min", 120),
        ("1h", 3600),
        ("0", 0),
        ("90d", 7_776_000),
        ("2w", 1_209_600),
    ],
)
def test_a_duration(text: str, seconds: float) -> None:
    assert parse_duration_s(text, "--wait") == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "1y", "1h30m", "m", "1,5m"])
def test_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(InputError, match=r"--wait: .* is not a duration") as failure:
        parse_duration_s(text, "--wait")
    assert failure.value.fix == "write 90, 90s, 10m or 1h"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "as fast as possible"),
        (-3, "0 s"),
        (0.4, "0 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3600, "1 h 00 min"),
        (47.9 * 3600, "47 h 54 min"),
        (48 * 3600, "2 d 00 h"),
    ],
)
def test_how_a_duration_is_shown(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text
