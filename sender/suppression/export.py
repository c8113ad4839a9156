"""The suppression list as a table, to carry it to another machine and back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sender.core.errors import InputError
from sender.core.lazy_modules import pl
from sender.core.outcomes import SkipReason
from sender.core.safe_tables import EXPORTED
from sender.suppression.entries import REASONS, EntrySource, SuppressionEntry, check_scope, is_number


def entries_to_frame(entries: Iterable[SuppressionEntry]) -> pl.DataFrame:
    """`entries` as a table that `entries_from_frame` reads back: EXPORTED, all String, `at` as ISO 8601 UTC.

    Those of people who were erased are not in it: their hashes mean nothing elsewhere.
    """
    rows = (
        (
            entry.number,
            entry.reason.value,
            entry.scope,
            entry.source.value,
            entry.via,
            entry.at.isoformat(),
            entry.note or "",
        )
        for entry in entries
        if not entry.is_erased
    )
    return pl.DataFrame(list(rows), schema=dict.fromkeys(EXPORTED, pl.String), orient="row")


def entries_from_frame(frame: pl.DataFrame) -> list[SuppressionEntry]:
    """The entries in a table that `entries_to_frame` made (all String). Raises InputError where it was changed.

    Programs up to version 0.1.0 wrote those of erased people, too.
    """
    entries = []
    for row, (number, reason, scope, source, via, at, note) in enumerate(frame.select(EXPORTED).iter_rows(), start=2):
        try:
            moment = datetime.fromisoformat(at)
            entry = SuppressionEntry(
                number, SkipReason(reason), EntrySource(source), via, check_scope(scope), moment, note or None
            )
        except (ValueError, TypeError, InputError) as error:
            raise InputError(f"not in the export format: {error}", where=f"row {row}", fix="export it again") from None
        if not (is_number(number) or entry.is_erased) or entry.reason not in REASONS or moment.tzinfo is None:
            raise InputError(
                "not in the export format: a number, a reason or a time", where=f"row {row}", fix="export it again"
            )
        entries.append(entry)
    return entries
