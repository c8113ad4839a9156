"""Reads the ZIP and state cells of addresses in the United States and Canada, column-wise.

A ZIP that a spreadsheet took for a number is read as it was: `2134` is 02134, `601` is 00601. A Canadian postal code
gives its province. Never takes a ZIP without its zeros for the beginning of another.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import polars as pl

from sender.rules.zone_table import MILITARY, ZoneTable, places_of_region

_PLAIN_ZIP = r"^[0-9]{5}$"
_ZIP = r"^([0-9]{3,5})(?:-[0-9]{4}|\.0+)?$"
_ZIP_WITHOUT_DASH = r"^([0-9]{3,5})[0-9]{4}(?:\.0+)?$"
_CANADIAN = r"^([ABCEGHJKLMNPRSTVXY][0-9])[ABCEGHJ-NPRSTV-Z][ -]?(?:[0-9][ABCEGHJ-NPRSTV-Z][0-9])?$"
_SHOWN_CHARS = 40

_NAMES = """
AL Alabama; AK Alaska; AZ Arizona; AR Arkansas; CA California; CO Colorado; CT Connecticut; DE Delaware;
DC District of Columbia; DC Washington DC; FL Florida; GA Georgia; HI Hawaii; ID Idaho; IL Illinois; IN Indiana;
IA Iowa; KS Kansas; KY Kentucky; LA Louisiana; ME Maine; MD Maryland; MA Massachusetts; MI Michigan;
MN Minnesota; MS Mississippi; MO Missouri; MT Montana; NE Nebraska; NV Nevada; NH New Hampshire; NJ New Jersey;
NM New Mexico; NY New York; NC North Carolina; ND North Dakota; OH Ohio; OK Oklahoma; OR Oregon; PA Pennsylvania;
RI Rhode Island; SC South Carolina; SD South Dakota; TN Tennessee; TX Texas; UT Utah; VT Vermont; VA Virginia;
WA Washington; WA Washington State; WV West Virginia; WI Wisconsin; WY Wyoming; AS American Samoa; GU Guam;
MP Northern Mariana Islands; PR Puerto Rico; VI Virgin Islands; VI US Virgin Islands; FM Micronesia;
FM Federated States of Micronesia; MH Marshall Islands; PW Palau
"""
_CANADIAN_NAMES = """
AB Alberta; BC British Columbia; MB Manitoba; NB New Brunswick; NL Newfoundland and Labrador; NL Newfoundland;
NS Nova Scotia; NT Northwest Territories; NU Nunavut; ON Ontario; PE Prince Edward Island; QC Quebec; QC Québec;
SK Saskatchewan; YT Yukon
"""


def read_zips(cells: pl.Series, table: ZoneTable) -> pl.DataFrame:
    """Return `zones`, `places` (Int16, numbers of the table) and `problem` (String) of ZIP cells, a row for each."""
    plain = pl.when(pl.col("zip").str.contains(_PLAIN_ZIP)).then(pl.col("zip").cast(pl.Int32, strict=False))
    rows = table.zips.read(cells.to_frame("zip").select(plain).to_series())
    others = cells.set(rows["zones"].is_not_null(), None)
    if others.null_count() == others.len():
        return rows.select("zones", "places", problem=pl.lit(None, pl.String))
    readings = read_distinct(others, lambda distinct: _read_other_zips(distinct, table))
    return rows.hstack(readings.select(pl.all().name.prefix("other_"))).select(
        *(pl.coalesce(name, f"other_{name}") for name in ("zones", "places")), problem="other_problem"
    )


def read_states(cells: pl.Series, table: ZoneTable) -> pl.DataFrame:
    """Return `zones`, `places` (Int16, numbers of the table) and `problem` (String) of state cells, a row for each."""
    return read_distinct(cells, lambda distinct: _read_distinct_states(distinct, table))


def read_distinct(cells: pl.Series, read: Callable[[pl.Series], pl.DataFrame]) -> pl.DataFrame:
    """Return what `read` makes of each distinct cell that is not null, a row for each of `cells`."""
    distinct = cells.drop_nulls().unique()
    readings = read(distinct).with_columns(cell=distinct)
    return cells.to_frame("cell").join(readings, on="cell", how="left", maintain_order="left").drop("cell")


def _read_other_zips(cells: pl.Series, table: ZoneTable) -> pl.DataFrame:
    """As `read_zips`, for every spelling."""
    text = cells.str.strip_chars().str.to_uppercase()
    digits = pl.coalesce(pl.col("text").str.extract(_ZIP, 1), pl.col("text").str.extract(_ZIP_WITHOUT_DASH, 1))
    district = pl.col("text").str.extract(_CANADIAN, 1)
    read = text.to_frame("text").select("text", digits.cast(pl.Int32).alias("zip"), district.alias("district"))
    rows = read.hstack(table.zips.read(read["zip"]))
    canadian = pl.col("district").replace_strict(table.zones_by_district, default=None, return_dtype=pl.Int16)
    in_canada = pl.when(pl.col("district").is_not_null()).then(pl.lit(table.places.id("CA"), pl.Int16))
    return rows.select(
        zones=pl.coalesce("zones", canadian),
        places=pl.coalesce("places", in_canada),
        military=pl.col("military").fill_null(value=False),
        text=_shown(cells),
    ).select("zones", "places", problem=_problem("a ZIP"))


def _read_distinct_states(cells: pl.Series, table: ZoneTable) -> pl.DataFrame:
    key = cells.str.to_lowercase().str.replace_all(r"[.,]", "").str.replace_all(r"\s+", " ").str.strip_chars()
    states = key.str.replace(r"^(?:us|ca)-([a-z]{2})$", "${1}").replace_strict(
        _state_names(), default=None, return_dtype=pl.String
    )
    places = {state: table.places.id(places_of_region(state)) for state in set(_state_names().values())}
    return (
        pl.DataFrame({"state": states, "text": _shown(cells)})
        .select(
            zones=pl.col("state").replace_strict(table.zones_by_place, default=None, return_dtype=pl.Int16),
            places=pl.col("state").replace_strict(places, default=None, return_dtype=pl.Int16),
            military=pl.col("state").str.slice(3).is_in(MILITARY).fill_null(value=False),
            text="text",
        )
        .select("zones", "places", problem=_problem("a state, a territory or a province"))
    )


def _problem(what: str) -> pl.Expr:
    """What is wrong with the cell in `text`; null where its zones are known or it is blank."""
    return (
        pl.when(pl.col("zones").is_not_null() | (pl.col("text") == ""))
        .then(None)
        .when("military")
        .then(pl.format("`{}` is a military address, whose time zone is not known", "text"))
        .otherwise(pl.format(f"`{{}}` is not {what} that we know", "text"))
    )


def _shown(cells: pl.Series) -> pl.Series:
    return cells.str.strip_chars().str.slice(0, _SHOWN_CHARS)


@cache
def _state_names() -> dict[str, str]:
    """The place of each state, territory and province, by its letters and names in lower case without points."""
    places = {letters.lower(): f"US-{letters}" for letters in MILITARY}
    for country, text in (("US", _NAMES), ("CA", _CANADIAN_NAMES)):
        for entry in text.replace("\n", " ").split(";"):
            letters, _, name = entry.strip().partition(" ")
            places |= {letters.lower(): f"{country}-{letters}", name.lower(): f"{country}-{letters}"}
    return places
