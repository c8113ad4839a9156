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
from sender.rules.addresses import join_zones, read_states, read_zips
from sender.rules.zone_table import ZoneTable
from sender.rules.zones import spellings, suggest_zone

TERRITORIES = ("AS", "GU", "MP", "PR", "VI")  # regions of their own whose people are under the United States' rules
_NORTH_AMERICA = ("US", "CA", *TERRITORIES)
_MOST_SUGGESTIONS = 50  # distinct cells; to find what one may mean takes 2 ms
_SHOWN_CHARS = 40


class ZoneSource(StrEnum):
    """What gave a row its zones, best first."""

    TIMEZONE = "timezone"
    ZIP = "zip"
    STATE = "state"
    EXCHANGE = "exchange"
    AREA_CODE = "area_code"
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
    address = pl.col("to").str.starts_with("+1") & pl.col("region").is_in(_NORTH_AMERICA)
    readers: tuple[tuple[str, pl.Series | None, Callable[[pl.Series, ZoneTable], pl.DataFrame], pl.Expr], ...] = (
        ("timezone", timezone, _read_timezones, pl.lit(value=True)),
        ("zip", zip_code, read_zips, address),
        ("state", state, read_states, address),
    )
    for name, cells, read, counts in readers:
        if cells is not None and cells.dtype != pl.Null:
            rows = rows.hstack(_read_distinct(cells.cast(pl.String), read, table, name))
            rows = rows.with_columns(pl.when(counts).then(pl.col(f"^{name}_.*$")))
    return _decide(rows)


def _by_number(to: pl.Series, region: pl.Series, table: ZoneTable) -> pl.DataFrame:
    """Return `to`, `region`, and what the number alone gives: `number_zones`, `evidence`, `number_places`,
    `region_zones`."""
    rows = pl.DataFrame({"to": to.cast(pl.String), "region": region.cast(pl.String)})
    toll_free = pl.col("region").is_null() & pl.col("to").str.starts_with("+1")
    rows = rows.with_columns(
        region=pl.when(toll_free).then(pl.lit("US")).otherwise("region"), key=zone_table.number_key(pl.col("to"))
    )
    known = table.numbers.read(rows["key"]).rename({"zones": "number_zones", "places": "number_places"})
    of_region = {name: f"US|US-{name}" for name in TERRITORIES}
    return rows.hstack(known).with_columns(
        region_zones=pl.col("region").replace_strict(table.zones_by_place, default=None, return_dtype=pl.String),
        number_places=pl.coalesce("number_places", pl.col("region").replace(of_region)),
    )


def _decide(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of `locate` from those of the number and of each kind of cell."""
    cells = [name for name in ("timezone", "zip", "state") if f"{name}_zones" in rows.columns]
    unread = pl.col("timezone_problem").is_not_null() if "timezone" in cells else pl.lit(value=False)
    sources = [
        pl.when(unread).then(pl.lit(ZoneSource.TIMEZONE.value)),
        *(pl.when(pl.col(f"{name}_zones").is_not_null()).then(pl.lit(name)) for name in cells),
        pl.when(pl.col("number_zones").is_not_null()).then("evidence"),
        pl.when(pl.col("region_zones").is_not_null()).then(pl.lit(ZoneSource.REGION.value)),
        pl.lit(ZoneSource.UNKNOWN.value),
    ]
    zones = [pl.col(f"{name}_zones") for name in (*cells, "number", "region")]
    places = [pl.col(f"{name}_places") for name in ("number", *cells) if f"{name}_places" in rows.columns]
    problems = [pl.col(f"{name}_problem") for name in cells] or [pl.lit(None, pl.String)]
    decided = rows.select(
        zone=pl.when(~unread).then(pl.coalesce(zones)),
        zone_source=pl.coalesce(sources),
        places=pl.concat_str(places, separator="|", ignore_nulls=True).replace("", None),
        problem=pl.concat_str(problems, separator="; ", ignore_nulls=True).replace("", None),
    )
    return decided if len(places) == 1 else decided.with_columns(_without_repeats(decided["places"]))


def _without_repeats(joined: pl.Series) -> pl.Series:
    """Return texts of names that are joined with `|` with each name once, in order."""
    distinct = joined.drop_nulls().unique()
    once = pl.Series([join_zones([text]) for text in distinct], dtype=pl.String)
    return joined.replace_strict(distinct, once, default=None, return_dtype=pl.String)


def _read_distinct(
    cells: pl.Series, read: Callable[[pl.Series, ZoneTable], pl.DataFrame], table: ZoneTable, name: str
) -> pl.DataFrame:
    """Return what `read` makes of each distinct cell, a row for each of `cells`; its columns begin with `name`."""
    distinct = cells.drop_nulls().unique()
    readings = read(distinct, table).select(pl.all().name.prefix(f"{name}_")).with_columns(cell=distinct)
    return cells.to_frame("cell").join(readings, on="cell", how="left", maintain_order="left").drop("cell")


def _read_timezones(cells: pl.Series, _: ZoneTable) -> pl.DataFrame:
    """Return `zones` and `problem` (String) of cells with a zone's name."""
    text = cells.str.strip_chars()
    zones = (
        text.str.to_lowercase()
        .str.replace_all(" ", "_", literal=True)
        .replace_strict(spellings(), default=None, return_dtype=pl.String)
    )
    wrong = text.filter(zones.is_null() & (text != "")).unique().sort()
    fixes = {cell: suggest_zone(cell) for cell in (wrong if wrong.len() <= _MOST_SUGGESTIONS else ())}
    sentences = {
        cell: f"`{cell[:_SHOWN_CHARS]}` is not a time zone; write it as {fixes.get(cell) or 'America/New_York'}"
        for cell in wrong
    }
    problem = text.replace_strict(sentences, default=None, return_dtype=pl.String)
    return pl.DataFrame({"zones": zones, "problem": problem})
