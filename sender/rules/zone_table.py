"""The table of zones as columns: which zones and jurisdictions a number, a ZIP or a place has.

The files are in `sender/rules/table/`; their first line has their date and the versions of their sources. They are read
once, when they are first needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import polars as pl

_PREFIX_DIGITS = 7  # of an E.164 number: in +1 the country code, the area code and the exchange


class RangeTable:
    """Values of ranges of whole numbers that do not overlap; null between them."""

    def __init__(self, ranges: pl.DataFrame) -> None:
        """`ranges` has `first` and `last` (Int32, inclusive) and the columns of values."""
        gaps = ranges.select(first=pl.col("last") + 1).join(ranges, on="first", how="anti")
        before = pl.DataFrame({"first": [0]}, schema={"first": pl.Int32})
        rows = pl.concat([before, gaps, ranges.drop("last")], how="diagonal").sort("first")
        self._starts = rows["first"]
        self._values = rows.drop("first")

    def read(self, keys: pl.Series) -> pl.DataFrame:
        """Return the values of each key (Int32, not negative, null allowed), a row for each key."""
        at = self._starts.search_sorted(keys.fill_null(0), side="right") - 1
        return self._values.select(pl.all().gather(at))


@dataclass(frozen=True, slots=True)
class ZoneTable:
    """The table: `numbers` (`evidence`, `places`, `zones`) by the first seven digits, `zips` (`state`, `zones`) by ZIP,
    and the zones of each country, state and province. Zones and places are joined with `|`."""

    numbers: RangeTable
    zips: RangeTable
    zones_by_place: Mapping[str, str]
    about: str


@cache
def load() -> ZoneTable:
    regions, zips = _read("regions.csv"), _read("zips.csv")
    about = (files("sender.rules") / "table" / "numbers.csv").read_text(encoding="utf-8").partition("\n")[0]
    return ZoneTable(
        RangeTable(_number_ranges(_read("numbers.csv"))),
        RangeTable(zips.with_columns(pl.col("first", "last").cast(pl.Int32))),
        dict(zip(regions["place"], regions["zones"], strict=True)),
        about.removeprefix("# "),
    )


def number_key(to: pl.Expr) -> pl.Expr:
    """The key of E.164 numbers in `ZoneTable.numbers` (Int32); null for others."""
    digits = to.str.slice(1, _PREFIX_DIGITS).str.pad_end(_PREFIX_DIGITS, "0").cast(pl.Int32, strict=False)
    return pl.when(to.str.starts_with("+")).then(digits)


def _read(name: str) -> pl.DataFrame:
    return pl.read_csv((files("sender.rules") / "table" / name).read_bytes(), comment_prefix="#", infer_schema=False)


def _number_ranges(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the ranges of `rows` (`prefix`, `exchanges` such as `200-299 253`, `places`, `zones`), in order.

    An area code's row has no exchanges: it is for those that no other row has."""
    ranges: list[tuple[int, int, str, str, str]] = []
    for (prefix,), group in rows.group_by("prefix", maintain_order=True):
        room = 10 ** (_PREFIX_DIGITS - len(str(prefix)))
        base = int(str(prefix)) * room
        code, cuts = group.row(0), []
        for _, exchanges, places, zones in group.iter_rows():
            for part in (exchanges or "").split():
                first, _, last = part.partition("-")
                cuts.append((base + int(first), base + int(last or first), "exchange", places, zones))
        at = base
        for cut in [*sorted(cuts), None]:
            end = cut[0] if cut else base + room
            if at < end:
                ranges.append((at, end - 1, "area_code", *code[2:]))
            if cut:
                ranges.append(cut)
                at = cut[1] + 1
    names = ("first", "last", "evidence", "places", "zones")
    types = (pl.Int32, pl.Int32, pl.String, pl.String, pl.String)
    return pl.DataFrame(ranges, schema=dict(zip(names, types, strict=True)), orient="row")
