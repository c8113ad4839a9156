"""Where each recipient of a plan may be, as columns of the plan: `zone`, `zone_source` and `places`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from sender.core import clock
from sender.core.outcomes import SkipReason
from sender.planning.known_numbers import KnownNumbers
from sender.recipients.columns import Recipients
from sender.rules.offsets import DAY_MS, find_offsets
from sender.rules.places import ZoneSource, locate
from sender.rules.zones import zone_names

COLUMNS = ("zone", "zone_source", "places")
_A_YEAR_MS = 366 * DAY_MS  # for which clocks have to agree
# The argument of `locate` for each kind of column that says where a recipient is.
CELL_ARGUMENTS = {"timezone": "timezone", "zip": "zip_code", "state": "state"}


def add_places(frame: pl.DataFrame, recipients: Recipients, known: KnownNumbers | None = None) -> pl.DataFrame:
    """Return `frame` (columns `to, region, reason, detail`, a row for each recipient) with COLUMNS, `_place_problem`.

    A column of the list that names a time zone, a ZIP code or a state is better evidence than the number. A row whose
    time zone cannot be read is skipped: nobody knows when its recipient may be texted. `_place_problem` (String) is
    what is wrong with other cells. Where neither they nor the number name a zone, a lookup's counts (`known`).
    """
    cells = recipients.cells
    evidence = {CELL_ARGUMENTS[kind]: cells[header] for kind, header in recipients.places.items()}
    located = locate(frame["to"], frame["region"], **evidence)
    if known is not None:
        located = _narrow(located, known.zones(frame["to"]))
    frame = frame.with_columns(*(located[name] for name in COLUMNS), located["problem"].alias("_place_problem"))
    unread = (
        pl.col("reason").is_null() & pl.col("zone").is_null() & (pl.col("zone_source") == ZoneSource.TIMEZONE.value)
    )
    return frame.with_columns(
        reason=pl.when(unread).then(pl.lit(SkipReason.MISSING_DATA.value)).otherwise("reason"),
        detail=pl.when(unread).then("_place_problem").otherwise("detail"),
    )


def _narrow(located: pl.DataFrame, zones: pl.Series) -> pl.DataFrame:
    """Return `located` with the zones of lookups (String, joined with `|`) in rows that have their region's alone.

    A zone with a clock that the region does not have is passed over: providers' tables have those of other countries.
    """
    weak = located["zone_source"].is_in([ZoneSource.REGION.value, ZoneSource.UNKNOWN.value])
    if not (weak & zones.is_not_null()).any():
        return located
    pairs = pl.DataFrame({"zone": located["zone"], "said": zones})
    distinct = pairs.filter(weak & zones.is_not_null()).unique()
    now_ms = clock.time_of_day_ms()
    rows = [(zone, said, _common(zone, said, now_ms)) for zone, said in distinct.iter_rows()]
    schema = {"zone": pl.String, "said": pl.String, "narrow": pl.String}
    found = pl.DataFrame(rows, schema=schema, orient="row")
    narrow = pairs.join(found, on=["zone", "said"], how="left", maintain_order="left", nulls_equal=True)["narrow"]
    counts = weak & narrow.is_not_null()
    return located.with_columns(
        zone=pl.when(counts).then(narrow).otherwise("zone"),
        zone_source=pl.when(counts).then(pl.lit(ZoneSource.LOOKUP.value)).otherwise("zone_source"),
    )


def _common(zone: str | None, said: str, now_ms: int) -> str | None:
    """The zones that are `said` and have a clock of the region's (joined with `|`); None for none.

    Of a region without zones it is all that exist. Clocks are compared, not names: the region's list has one for each.
    """
    there = sorted(name for name in said.split("|") if name in zone_names())
    if zone is not None:
        clocks = {find_offsets(name, now_ms, now_ms + _A_YEAR_MS) for name in zone.split("|")}
        there = [name for name in there if find_offsets(name, now_ms, now_ms + _A_YEAR_MS) in clocks]
    return "|".join(there) or None


def without_places(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` with the columns, null in each row: no window and no rule asks where anybody is."""
    return frame.with_columns(*(pl.lit(None, pl.String).alias(name) for name in COLUMNS))


def note_place_problems(problems: Mapping[str, int]) -> Iterator[str]:
    """Yield a sentence for each kind of cell that does not say where its recipient is, for a person."""
    for problem, rows in sorted(problems.items()):
        yield f"{problem} ({rows:,} {'row' if rows == 1 else 'rows'}): weaker evidence was used"
