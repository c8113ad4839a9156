"""Where each recipient of a plan may be, as columns of the plan: `zone`, `zone_source` and `places`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from sender.core.outcomes import SkipReason
from sender.recipients.columns import Recipients
from sender.rules.places import ZoneSource, locate

COLUMNS = ("zone", "zone_source", "places")
# The argument of `locate` for each kind of column that says where a recipient is.
CELL_ARGUMENTS = {"timezone": "timezone", "zip": "zip_code", "state": "state"}


def add_places(frame: pl.DataFrame, recipients: Recipients) -> pl.DataFrame:
    """Return `frame` (columns `to, region, reason, detail`, a row for each recipient) with COLUMNS, `_place_problem`.

    A column of the list that names a time zone, a ZIP code or a state is better evidence than the number. A row whose
    time zone cannot be read is skipped: nobody knows when its recipient may be texted. `_place_problem` (String) is
    what is wrong with other cells.
    """
    cells = recipients.cells
    evidence = {CELL_ARGUMENTS[kind]: cells[header] for kind, header in recipients.places.items()}
    located = locate(frame["to"], frame["region"], **evidence)
    frame = frame.with_columns(*(located[name] for name in COLUMNS), located["problem"].alias("_place_problem"))
    unread = (
        pl.col("reason").is_null() & pl.col("zone").is_null() & (pl.col("zone_source") == ZoneSource.TIMEZONE.value)
    )
    return frame.with_columns(
        reason=pl.when(unread).then(pl.lit(SkipReason.MISSING_DATA.value)).otherwise("reason"),
        detail=pl.when(unread).then("_place_problem").otherwise("detail"),
    )


def without_places(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` with the columns, null in each row: no window and no rule asks where anybody is."""
    return frame.with_columns(*(pl.lit(None, pl.String).alias(name) for name in COLUMNS))


def note_place_problems(problems: Mapping[str, int]) -> Iterator[str]:
    """Yield a sentence for each kind of cell that does not say where its recipient is, for a person."""
    for problem, rows in sorted(problems.items()):
        yield f"{problem} ({rows:,} {'row' if rows == 1 else 'rows'}): weaker evidence was used"
