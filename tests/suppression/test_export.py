"""The list as a table: what it was comes back, and what was changed is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
import pytest

from sender.core.errors import InputError
from sender.core.outcomes import SkipReason
from sender.core.safe_tables import EXPORTED
from sender.suppression.entries import EntrySource, SuppressionEntry
from sender.suppression.export import entries_from_frame, entries_to_frame

AT = datetime(2026, 11, 21, 12, 0, 0, 123_000, tzinfo=UTC)
ENTRIES = [
    SuppressionEntry("+12025550101", SkipReason.OPTED_OUT, EntrySource.REPLY, "+12025550150", "all", AT, "STOP"),
    SuppressionEntry("+12025550102", SkipReason.LANDLINE, EntrySource.PROVIDER_ERROR, "", "account:twilio", AT),
]


def test_entries_come_back_as_they_were() -> None:
    frame = entries_to_frame(ENTRIES)
    assert frame.schema == dict.fromkeys(EXPORTED, pl.String)
    assert entries_from_frame(frame) == ENTRIES
    assert entries_from_frame(frame.with_columns(more=pl.lit("x"))) == ENTRIES
    assert entries_to_frame([]).schema == dict.fromkeys(EXPORTED, pl.String)
    assert entries_from_frame(entries_to_frame([])) == []


def test_who_was_erased_is_not_in_it_and_stops_no_import() -> None:
    """Programs up to version 0.1.0 wrote their hashes, and refused the whole file afterwards."""
    erased = replace(ENTRIES[0], number="#00112233445566ff")
    assert entries_to_frame([erased]).is_empty()
    older = entries_to_frame(ENTRIES[:1]).with_columns(number=pl.lit(erased.number))
    assert entries_from_frame(older) == [erased]
    assert erased.is_erased


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("number", "2025550101x", "a number, a reason or a time"),
        ("reason", "duplicate", "a number, a reason or a time"),
        ("reason", "bored", "'bored' is not a valid SkipReason"),
        ("scope", "everywhere", "is not a scope"),
        ("source", "rumour", "is not a valid EntrySource"),
        ("at", "yesterday", "Invalid isoformat"),
        ("at", "2026-11-21T12:00:00", "a number, a reason or a time"),
        ("at", None, "not in the export format"),
    ],
)
def test_what_was_changed_is_refused_with_its_row(column: str, value: str | None, says: str) -> None:
    frame = entries_to_frame(ENTRIES)
    frame = frame.with_columns(
        pl.when(pl.int_range(pl.len()) == 1).then(pl.lit(value, pl.String)).otherwise(column).alias(column)
    )
    with pytest.raises(InputError, match=says) as caught:
        entries_from_frame(frame)
    assert caught.value.where == "row 3", "the header is row 1"
