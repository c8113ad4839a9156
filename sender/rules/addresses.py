"""Reads the ZIP and state cells of addresses in the United States and Canada, column-wise.

A ZIP that a spreadsheet took for a number is read as it was: `2134` is 02134, `601` is 00601. A Canadian postal code
gives its province. Never takes a ZIP without its zeros for the beginning of another.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import polars as pl

from sender.rules.zone_table import ZoneTable

_ZIP = r"^([0-9]{3,5})(?:-[0-9]{4}|\.0+)?$"
_ZIP_WITHOUT_DASH = r"^([0-9]{3,5})[0-9]{4}(?:\.0+)?$"
_CANADIAN = r"^([ABCEGHJKLMNPRSTVXY])[0-9][ABCEGHJ-NPRSTV-Z][ -]?(?:[0-9][ABCEGHJ-NPRSTV-Z][0-9])?$"
_SHOWN_CHARS = 40

# Canada Post's first letters.
_PROVINCES = {
    "A": "NL",
    "B": "NS",
    "C": "PE",
    "E": "NB",
    "G": "QC",
    "H": "QC",
    "J": "QC",
    "K": "ON",
    "L": "ON",
    "M": "ON",
    "N": "ON",
    "P": "ON",
    "R": "MB",
    "S": "SK",
    "T": "AB",
    "V": "BC",
    "X": "NT NU",
    "Y": "YT",
}
_MILITARY = ("AA", "AE", "AP")  # addresses of the armed forces, whose place is not known
_FREELY_ASSOCIATED = ("FM", "MH", "PW")
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
    """Return `zones`, `places` and `problem` (String) of ZIP cells (String, not null), a row for each."""
    text = cells.str.strip_chars().str.to_uppercase()
    digits = pl.coalesce(pl.col("text").str.extract(_ZIP, 1), pl.col("text").str.extract(_ZIP_WITHOUT_DASH, 1))
    letter = pl.col("text").str.extract(_CANADIAN, 1)
    read = text.to_frame("text").select("text", digits.cast(pl.Int32).alias("zip"), letter.alias("letter"))
    rows = read.hstack(table.zips.read(read["zip"]))
    provinces = {key: tuple(f"CA-{name}" for name in names.split()) for key, names in _PROVINCES.items()}
    zones = {key: join_zones(table.zones_by_place[place] for place in names) for key, names in provinces.items()}
    return rows.select(
        zones=pl.coalesce("zones", pl.col("letter").replace_strict(zones, default=None, return_dtype=pl.String)),
        places=pl.coalesce(
            pl.col("state").replace_strict(_jurisdictions(), default=None, return_dtype=pl.String),
            pl.when(pl.col("letter").is_not_null()).then(pl.lit("CA")),
        ),
        military=pl.col("state").is_in(_MILITARY),
        text=_shown(cells),
    ).select("zones", "places", problem=_problem("a ZIP"))


def read_states(cells: pl.Series, table: ZoneTable) -> pl.DataFrame:
    """Return `zones`, `places` and `problem` (String) of state cells (String, not null), a row for each."""
    key = cells.str.to_lowercase().str.replace_all(r"[.,]", "").str.replace_all(r"\s+", " ").str.strip_chars()
    place = key.str.replace(r"^(?:us|ca)-([a-z]{2})$", "${1}").replace_strict(_place_names(), default=None)
    rows = place.cast(pl.String).to_frame("place").with_columns(state=pl.col("place").str.slice(3), text=_shown(cells))
    return rows.select(
        zones=pl.col("place").replace_strict(table.zones_by_place, default=None, return_dtype=pl.String),
        places=pl.when(pl.col("place").str.starts_with("CA-"))
        .then(pl.lit("CA"))
        .otherwise(pl.col("state").replace_strict(_jurisdictions(), default=None, return_dtype=pl.String)),
        military=pl.col("place").str.starts_with("US-") & pl.col("state").is_in(_MILITARY),
        text="text",
    ).select("zones", "places", problem=_problem("a state, a territory or a province"))


def join_zones(parts: Iterable[str]) -> str:
    """Return the names in all `parts`, each joined with `|`, in the same form: sorted and once."""
    return "|".join(sorted({name for part in parts for name in part.split("|")}))


def _problem(what: str) -> pl.Expr:
    """What is wrong with the cell in `text`; null where its zones are known or it is blank."""
    blank = pl.col("text").str.strip_chars() == ""
    return (
        pl.when(pl.col("zones").is_not_null() | blank)
        .then(None)
        .when("military")
        .then(pl.format("`{}` is a military address, whose time zone is not known", "text"))
        .otherwise(pl.format(f"`{{}}` is not {what} that we know", "text"))
    )


def _shown(cells: pl.Series) -> pl.Series:
    return cells.str.strip_chars().str.slice(0, _SHOWN_CHARS)


@cache
def _place_names() -> dict[str, str]:
    """The place of each state, territory and province, by its letters and names in lower case without points."""
    names = {name.lower(): name for name in _MILITARY}
    place_of = {name: f"US-{letters}" for name, letters in names.items()}
    for country, text in (("US", _NAMES), ("CA", _CANADIAN_NAMES)):
        for entry in text.replace("\n", " ").split(";"):
            letters, _, name = entry.strip().partition(" ")
            place_of |= {letters.lower(): f"{country}-{letters}", name.lower(): f"{country}-{letters}"}
    return place_of


@cache
def _jurisdictions() -> dict[str, str]:
    """The places of an address in each state or territory: the freely associated states are countries of their own."""
    letters = {place[3:] for place in _place_names().values() if place.startswith("US-")}
    places = {state: f"US|US-{state}" for state in letters}
    return places | dict.fromkeys(_MILITARY, "US") | {state: state for state in _FREELY_ASSOCIATED}
