"""Where recipients may be: which cells count, who is skipped for one, and what lookups narrow."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sender
from sender.planning.whereabouts import COLUMNS, note_place_problems
from sender.state.number_facts import LOOKUP, NumberFacts
from sender.state.open import open_numbers

NEW_YORK, AUSTRALIAN, SATELLITE = "+12125550101", "+61491570006", "+881612345678"


def planned(known_in: Path | None = None, /, *, window: bool = True, **cells: Any) -> list[dict[str, Any]]:
    """The rows of the plan for a list with these columns."""
    keys: dict[str, Any] = {"window": "09:00-20:00"} if window else {}
    campaign = sender.load_campaign(
        recipients=pl.DataFrame(cells), provider="twilio", from_="+12025550100", message="Hi", name="offer", **keys
    )
    return sender.build_plan(campaign, state_dir=known_in).frame.to_dicts()


@pytest.mark.parametrize(
    ("cells", "zone", "source"),
    [
        pytest.param({}, "America/New_York", {"exchange", "area_code"}, id="the number alone"),
        pytest.param({"state": ["CA"]}, "America/Los_Angeles", {"state"}, id="a state"),
        pytest.param({"zip": ["80202"], "state": ["CA"]}, "America/Denver", {"zip"}, id="a ZIP code before a state"),
        pytest.param({"timezone": ["America/Chicago"], "zip": ["80202"]}, "America/Chicago", {"timezone"}, id="a time zone before both"),
        pytest.param({"timezone": [""], "state": ["CA"]}, "America/Los_Angeles", {"state"}, id="an empty cell says nothing"),
        pytest.param({"state": ["Atlantis"]}, "America/New_York", {"exchange", "area_code"}, id="one that says nothing"),
    ],
)  # fmt: skip
def test_what_a_list_says_of_places_goes_before_the_number(cells: dict[str, Any], zone: str, source: set[str]) -> None:
    (row,) = planned(phone=[NEW_YORK], **cells)
    assert row["zone"] == zone
    assert row["zone_source"] in source
    assert row["reason"] is None


def test_a_row_whose_time_zone_cannot_be_read_is_skipped_unless_it_is_already() -> None:
    """Nobody knows when its recipient may be texted."""
    zones = ["Mars/Olympus", "America/Chicago", "Mars/Olympus"]
    unread, read, invalid = planned(phone=[NEW_YORK, "+12125550102", "12"], timezone=zones)
    assert (unread["reason"], unread["zone"], unread["zone_source"]) == ("missing_data", None, "timezone")
    assert "Mars/Olympus" in unread["detail"]
    assert (read["reason"], read["detail"]) == (None, None)
    assert invalid["reason"] == "invalid_number"
    assert "Mars" not in invalid["detail"]


def test_without_a_window_nobody_is_asked_where_they_are() -> None:
    (row,) = planned(window=False, phone=[NEW_YORK], timezone=["Mars/Olympus"])
    assert [row[name] for name in COLUMNS] == [None] * 3
    assert row["reason"] is None


@pytest.mark.parametrize(
    ("number", "said", "zone", "source"),
    [
        pytest.param(AUSTRALIAN, "Australia/Perth|Australia/Darwin", "Australia/Darwin|Australia/Perth", "lookup", id="two of the country's"),
        pytest.param(AUSTRALIAN, "Australia/Perth|Australia/Sydney", "Australia/Perth|Australia/Sydney", "lookup", id="one that the region's list has by another name"),
        pytest.param(AUSTRALIAN, "Australia/Sydney", "Australia/Sydney", "lookup", id="it alone"),
        pytest.param(AUSTRALIAN, "Australia/Perth|Pacific/Auckland", "Australia/Perth", "lookup", id="not one of another country's clock"),
        pytest.param(SATELLITE, "Europe/Paris|Mars/Olympus", "Europe/Paris", "lookup", id="of no country, any that there is"),
        pytest.param(SATELLITE, "Mars/Olympus", None, "unknown", id="of no country, and no zone"),
    ],
)  # fmt: skip
def test_what_a_lookup_leaves_of_the_zones(
    tmp_path: Path, number: str, said: str, zone: str | None, source: str
) -> None:
    """In the row that it is about, and in no other."""
    with closing(open_numbers(tmp_path)) as known:
        known.put([NumberFacts(number, False, LOOKUP, "twilio", 1_764_000_000_000)._replace(zone=said)])
    others = [NEW_YORK, "+61491570156"]
    rows = planned(tmp_path, phone=[others[0], number, others[1]])
    assert (rows[1]["zone"], rows[1]["zone_source"], rows[1]["reason"]) == (zone, source, None)
    alone = planned(phone=others)
    names = ("zone", "zone_source", "places")
    assert [[row[name] for name in names] for row in (rows[0], rows[2])] == [
        [row[name] for name in names] for row in alone
    ]


def test_cells_that_say_nothing_are_counted_by_what_is_wrong() -> None:
    assert list(note_place_problems({"b is not a state": 1_200, "a is not a ZIP code": 1})) == [
        "a is not a ZIP code (1 row): weaker evidence was used",
        "b is not a state (1,200 rows): weaker evidence was used",
    ]
    assert list(note_place_problems({})) == []
