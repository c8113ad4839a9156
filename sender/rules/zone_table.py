"""The table of zones as columns: which zones and jurisdictions a number, a ZIP or a place has.

The files are in `sender/rules/table/`; their first line has their date and the versions of their sources. They are read
once, when they are first needed. Sets of zones and of places are numbered, because whole columns of small numbers cost
a fraction of columns of text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import polars as pl

from sender.rules.zones import zone_names

TERRITORIES = ("AS", "GU", "MP", "PR", "VI")  # regions of their own whose people are under the United States' rules
MILITARY = ("AA", "AE", "AP")  # states of the armed forces' addresses, whose place is not known
_FREELY_ASSOCIATED = ("FM", "MH", "PW")  # countries of their own with ZIPs
_PREFIX_DIGITS = 7  # of an E.164 number: in +1 the country code, the area code and the exchange


class NumberedSets:
    """Sets of names, each as a text of names joined with `|`, and as a number."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = pl.Series(sorted(set(texts)), dtype=pl.String)
        self._ids = {text: at for at, text in enumerate(self.texts)}

        self.sets = [frozenset(text.split("|")) for text in self.texts]

    def id(self, text: str) -> int:
        return self._ids[text]

    def ids(self, texts: pl.Series) -> pl.Series:
        """Return the numbers of `texts` (Int16), null for null."""
        return texts.replace_strict(self._ids, default=None, return_dtype=pl.Int16)


class RangeTable:
    """Values of ranges of whole numbers that do not overlap; null between them."""

    def __init__(self, ranges: pl.DataFrame, *, below: int | None = None) -> None:
        """`ranges` has `first` and `last` (Int32, inclusive) and the columns of values.

        With `below`, all keys are less than that, and each has a place in memory, which is ten times as fast.
        """
        gaps = ranges.select(first=pl.col("last") + 1).join(ranges, on="first", how="anti")
        before = pl.DataFrame({"first": [0]}, schema={"first": pl.Int32})
        rows = pl.concat([before, gaps, ranges.drop("last")], how="diagonal").sort("first")
        self._starts = rows["first"]
        self._values = rows.drop("first")
        self._rows = None if below is None else self._find(pl.Series(range(below), dtype=pl.Int32)).cast(pl.UInt32)

    def read(self, keys: pl.Series) -> pl.DataFrame:
        """Return the values of each key (Int32, not negative, null allowed), a row for each key."""
        at = self._find(keys.fill_null(0)) if self._rows is None else self._rows.gather(keys)
        return self._values.select(pl.all().gather(at))

    def _find(self, keys: pl.Series) -> pl.Series:
        return self._starts.search_sorted(keys, side="right") - 1


@dataclass(frozen=True, slots=True)
class ZoneTable:
    """What a number, a ZIP and a place say, as numbers of `zones` and of `places`.

    `numbers` has `zones`, `places` and `exchange` (whether the row is the exchange's own) by the first seven digits;
    `zips` has `zones`, `places` and `military` by ZIP. `zones_by_place` is for countries, states and provinces,
    `zones_by_district` for the first two characters of Canadian postal codes; both hold numbers. `about` has the
    table's date and the versions of its sources.
    """

    zones: NumberedSets
    places: NumberedSets
    numbers: RangeTable
    zips: RangeTable
    zones_by_place: Mapping[str, int]
    zones_by_district: Mapping[str, int]
    about: str


@cache
def load() -> ZoneTable:
    numbers, zips = _number_ranges(_read("numbers.csv")), _zip_ranges(_read("zips.csv"))
    regions, districts = _read("regions.csv"), _read("postal_codes.csv")
    texts = pl.concat(frame["zones"].drop_nulls() for frame in (numbers, zips, regions, districts))
    zones = NumberedSets({*texts, *zone_names()})
    places = NumberedSets({*numbers["places"], *zips["places"], *map(places_of_region, regions["place"])})
    numbers, zips = (
        frame.with_columns(zones=zones.ids(frame["zones"]), places=places.ids(frame["places"]))
        for frame in (numbers, zips)
    )
    about = (files("sender.rules") / "table" / "numbers.csv").read_text(encoding="utf-8").partition("\n")[0]
    return ZoneTable(
        zones,
        places,
        RangeTable(numbers),
        RangeTable(zips, below=100_000),
        dict(zip(regions["place"], zones.ids(regions["zones"]), strict=True)),
        dict(zip(districts["start"], zones.ids(districts["zones"]), strict=True)),
        about.removeprefix("# "),
    )


def number_key(to: pl.Expr) -> pl.Expr:
    """The key of E.164 numbers in `ZoneTable.numbers` (Int32). Other texts get one that has no row there, or null."""
    return to.str.slice(1, _PREFIX_DIGITS).cast(pl.Int32, strict=False)


def places_of_region(region: str) -> str:
    """The jurisdictions of a number of that region, or of an address in that state (`US-FL`) or province (`CA-ON`)."""
    country, _, part = region.partition("-")
    if country == "CA":
        return "CA"
    if country == "US" and part in _FREELY_ASSOCIATED:
        return part
    if country == "US" and part in MILITARY:
        return "US"
    if region in TERRITORIES:
        return f"US|US-{region}"
    return f"US|{region}" if part else region


def _read(name: str) -> pl.DataFrame:
    return pl.read_csv((files("sender.rules") / "table" / name).read_bytes(), comment_prefix="#", infer_schema=False)


def _zip_ranges(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        pl.col("first", "last").cast(pl.Int32),
        "zones",
        places=pl.Series([places_of_region(f"US-{state}") for state in rows["state"]]),
        military=pl.col("state").is_in(MILITARY),
    )


def _number_ranges(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the ranges of `rows` (`prefix`, `exchanges` such as `200-299 253`, `places`, `zones`), in order.

    An area code's row has no exchanges: it is for those that no other row has.
    """
    ranges: list[tuple[int, int, bool, str, str]] = []
    for (prefix,), group in rows.group_by("prefix", maintain_order=True):
        room = 10 ** (_PREFIX_DIGITS - len(str(prefix)))
        base = int(str(prefix)) * room
        _, _, places, code_zones = group.row(0)
        cuts = []
        for _, exchanges, _, zones in group.iter_rows():
            for part in (exchanges or "").split():
                first, _, last = part.partition("-")
                cuts.append((base + int(first), base + int(last or first), zones))
        at = base
        for first, last, zones in [*sorted(cuts), (base + room, base + room, "")]:
            if at < first:
                ranges.append((at, first - 1, False, places, code_zones))
            if zones:
                ranges.append((first, last, True, places, zones))
            at = last + 1
    schema = {"first": pl.Int32, "last": pl.Int32, "exchange": pl.Boolean, "places": pl.String, "zones": pl.String}
    return pl.DataFrame(ranges, schema=schema, orient="row")
