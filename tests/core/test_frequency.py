"""Frequency caps as people write them."""

from __future__ import annotations

import pytest

from sender.core.frequency import parse_cap

DAY_S = 86_400


@pytest.mark.parametrize(
    ("text", "messages", "window_s", "shown"),
    [
        ("3/24h", 3, DAY_S, "3/24h"),
        ("1/day", 1, DAY_S, "1/day"),
        ("1 / d", 1, DAY_S, "1/d"),
        ("5 per 7d", 5, 7 * DAY_S, "5/7d"),
        ("10/30d", 10, 30 * DAY_S, "10/30d"),
        ("2/week", 2, 7 * DAY_S, "2/week"),
        ("2/2W", 2, 14 * DAY_S, "2/2W"),
        ("4/h", 4, 3_600, "4/h"),
        ("1/90 m", 1, 5_400, "1/90m"),
        ("1/1.5h", 1, 5_400, "1/1.5h"),
        ("100/s", 100, 1, "100/s"),
        ("01/366d", 1, 366 * DAY_S, "1/366d"),
    ],
)
def test_what_people_write(text: str, messages: int, window_s: int, shown: str) -> None:
    cap = parse_cap(f" {text} ")
    assert (cap.messages, cap.window_s, str(cap)) == (messages, window_s, shown)
    assert parse_cap(cap) is cap
    assert parse_cap(cap.text) == cap, "as a manifest keeps it"


@pytest.mark.parametrize(
    "text",
    ["", "3", "3/", "/24h", "0/24h", "3/0h", "-1/24h", "3/24", "3/month", "3/mo", "3/367d", "1.5/24h", "3/24h/2"],
)
def test_what_is_no_cap_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a frequency cap"):
        parse_cap(text)
