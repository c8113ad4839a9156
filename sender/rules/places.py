"""Where recipients may be: the time zones and jurisdictions of a block of rows, and the evidence that gave them.

Evidence, best first: a `timezone` cell, a ZIP, a state, the number's exchange, its area code, the zones of its region.
The first that gives a zone decides. Where it leaves several zones, all of them are candidates. Jurisdictions are not
narrowed down: a row is in each that its number or its address gives. Works on whole columns; the table is in
`sender/rules/table/`, whose header has its date and sources. Reads no other file and never asks the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import polars as pl

from sender.rules import zone_table
from sender.rules.addresses import read_distinct, read_states, read_zips
from sender.rules.zone_table import TERRITORIES, NumberedSets, ZoneTable, places_of_region
from sender.rules.zones import spellings, suggest_zone

_NORTH_AMERICA = ("US", "CA", *TERRITORIES)
_MOST_SUGGESTIONS = 50  # distinct cells; to find what one may mean takes 2 ms
_SHOWN_CHARS = 40
NOT_A_ZONE = "is not a time zone"


class ZoneSource(StrEnum):
    """What gave a row its zones, best first."""

    TIMEZONE = "timezone"
    ZIP = "zip"
    STATE = "state"
    EXCHANGE = "exchange"
    AREA_CODE = "area_code"
    LOOKUP = "lookup"  # a provider's; where the number's own country has that zone
    REGION = "region"
    UNKNOWN = "unknown"


def locate(
    to: pl.Series,
    region: pl.Series,
    *,
    timezone: pl.Series | None = None,
    zip_code: pl.Series | None = None,
    state: pl.Series | None = None,
) -> pl.DataFrame:
    """Return `zone`, `zone_source`, `places` and `problem` (all String), a row for each number of `to`.

    `to` holds E.164 numbers and `region` their two letters (String, null allowed). `timezone`, `zip_code` and `state`
    are cells of the rows, as they were written. `zone` has the names of the candidate zones, sorted and joined with
    `|`, and is null where nothing is known. `places` has the jurisdictions in the same form (`US|US-FL`, `JM`), and is
    null where no country is known. ZIP and state count only for numbers of the United States and Canada.

    `problem` is a sentence on filled cells that gave nothing, null for the others. After a ZIP or a state that is not
    known the next evidence decides. A `timezone` cell that does not name a zone is not passed over: `zone` is null and
    `zone_source` is `timezone`.
    """
    table = zone_table.load()
    rows = _by_number(to, region, table)
    readers: tuple[tuple[str, pl.Series | None, Callable[[pl.Series, ZoneTable], pl.DataFrame]], ...] = (
        ("timezone", timezone, _read_timezones),
        ("zip", zip_code, read_zips),
        ("state", state, read_states),
    )
    address = pl.col("to").str.starts_with("+1") & pl.col("region").is_in(_NORTH_AMERICA)
    elsewhere = ~rows.select(address).to_series().fill_null(value=False)
    for name, cells, read in readers:
        if cells is not None:
            text = cells.cast(pl.String)
            counted = text if name == "timezone" or not elsewhere.any() else text.set(elsewhere, None)
            rows = rows.hstack(read(counted, table).select(pl.all().name.prefix(f"{name}_")))
    return _decide(rows, table)


def _by_number(to: pl.Series, region: pl.Series, table: ZoneTable) -> pl.DataFrame:
    """Return `to`, `region`, and what the number says: `number_zones`, `exchange`, `number_places`, `region_zones`."""
    rows = pl.DataFrame({"to": to.cast(pl.String), "region": region.cast(pl.String)})
    if rows["region"].null_count():
        shared = pl.col("region").is_null() & pl.col("to").str.starts_with("+1")
        rows = rows.with_columns(region=pl.when(shared).then(pl.lit("US")).otherwise("region"))
    known = table.numbers.read(rows.select(zone_table.number_key(pl.col("to"))).to_series())
    rows = rows.hstack(known.select("exchange", number_zones="zones", number_places="places"))
    if not known["zones"].null_count():
        return rows.with_columns(region_zones=pl.lit(None, pl.Int16))
    places = {name: table.places.id(places_of_region(name)) for name in table.zones_by_place}
    of_region = pl.col("region").replace_strict(places, default=None, return_dtype=pl.Int16)
    return rows.with_columns(
        region_zones=pl.col("region").replace_strict(table.zones_by_place, default=None, return_dtype=pl.Int16),
        number_places=pl.coalesce("number_places", of_region),
    )


def _decide(rows: pl.DataFrame, table: ZoneTable) -> pl.DataFrame:
    """Return the columns of `locate` from what the number and each kind of cell say."""
    cells = [name for name in ("timezone", "zip", "state") if f"{name}_zones" in rows.columns]
    unread = pl.col("timezone_problem").is_not_null() if "timezone" in cells else pl.lit(value=False)
    of_number = pl.when("exchange").then(pl.lit(ZoneSource.EXCHANGE)).otherwise(pl.lit(ZoneSource.AREA_CODE))
    sources = [
        pl.when(unread).then(pl.lit(ZoneSource.TIMEZONE)),
        *(pl.when(pl.col(f"{name}_zones").is_not_null()).then(pl.lit(ZoneSource(name))) for name in cells),
        pl.when(pl.col("number_zones").is_not_null()).then(of_number),
        pl.when(pl.col("region_zones").is_not_null()).then(pl.lit(ZoneSource.REGION)),
        pl.lit(ZoneSource.UNKNOWN),
    ]
    zones = pl.coalesce(f"{name}_zones" for name in (*cells, "number", "region"))
    problems = [f"{name}_problem" for name in cells if rows[f"{name}_problem"].null_count() < rows.height]
    decided = rows.select(
        zone=pl.when(~unread).then(zones),
        zone_source=pl.coalesce(sources),
        problem=pl.concat_str(problems, separator="; ", ignore_nulls=True).replace("", None)
        if problems
        else pl.lit(None, pl.String),
    )
    return decided.select(
        table.zones.texts.gather(decided["zone"]).alias("zone"),
        "zone_source",
        _join_places(rows.select(f"{name}_places" for name in ("number", *cells) if name != "timezone"), table.places),
        "problem",
    )


def _join_places(parts: pl.DataFrame, names: NumberedSets) -> pl.Series:
    """Return `places` (String): the union of the sets of each row, whose numbers are in the columns of `parts`."""
    if parts.width == 1:
        return names.texts.gather(parts.to_series()).alias("places")
    size = names.texts.len() + 1
    keys = parts.select(
        pl.sum_horizontal(
            (pl.col(name).cast(pl.Int32) + 1).fill_null(0) * size**at for at, name in enumerate(parts.columns)
        )
    ).to_series()
    distinct = keys.unique()
    unions = []
    for key in distinct:
        ids = [key // size**at % size for at in range(parts.width)]
        unions.append("|".join(sorted({name for at in ids if at for name in names.sets[at - 1]})) or None)
    texts = pl.Series(unions, dtype=pl.String)
    at = keys.replace_strict(distinct, pl.Series(range(distinct.len()), dtype=pl.UInt32), return_dtype=pl.UInt32)
    return texts.gather(at).alias("places")


def _read_timezones(cells: pl.Series, table: ZoneTable) -> pl.DataFrame:
    """Return `zones` (Int16) and `problem` (String) of cells with a zone's name (String), a row for each."""
    ids = {spelling: table.zones.id(name) for spelling, name in spellings().items()}

    def read(distinct: pl.Series) -> pl.DataFrame:
        text = distinct.str.strip_chars()
        spelled = text.str.to_lowercase().str.replace_all(" ", "_", literal=True)
        zones = spelled.replace_strict(ids, default=None, return_dtype=pl.Int16)
        wrong = text.filter(zones.is_null() & (text != "")).unique().sort()
        fixes = {cell: suggest_zone(cell) for cell in (wrong if wrong.len() <= _MOST_SUGGESTIONS else ())}
        sentences = [
            f"`{cell[:_SHOWN_CHARS]}` {NOT_A_ZONE}; write it as {fixes.get(cell) or 'America/New_York'}"
            for cell in wrong
        ]
        problem = text.replace_strict(
            wrong, pl.Series(sentences, dtype=pl.String), default=None, return_dtype=pl.String
        )
        return pl.DataFrame({"zones": zones, "problem": problem})

    return read_distinct(cells, read)
