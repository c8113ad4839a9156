"""The shipped table of zones, against its sources and against the zones that exist."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from functools import cache
from importlib.metadata import version

import phonenumbers
import polars as pl
import pytest

from sender.rules import zone_table as table
from sender.rules.places import locate
from sender.rules.zones import zone_names
from tests.rules import zone_table as built
from tests.rules.zone_table import zipcodes

FILES = ("numbers.csv", "postal_codes.csv", "regions.csv", "zips.csv")


def shipped(name: str) -> str:
    return (built.TABLE / name).read_text(encoding="utf-8")


def test_the_header_has_the_date_and_the_sources() -> None:
    header = r"as_of \d{4}-\d\d-\d\d; phonenumbers [\d.]+, tzdata [\d.]+, zipcodes [\d.]+"
    assert re.fullmatch(header, table.load().about)
    for name in FILES:
        assert shipped(name).startswith(f"# {table.load().about}\n")
        assert "MIT, Copyright" in shipped(name)


def test_it_is_small() -> None:
    assert sum(len(shipped(name)) for name in FILES) < 100_000


@pytest.mark.long
def test_it_is_what_the_script_builds() -> None:
    """With the releases it was built from; of others, what they change is looked at when the table is built anew."""
    if table.load().about.partition("; ")[2] == ", ".join(f"{name} {version(name)}" for name in built.SOURCES):
        assert {name: shipped(name) for name in FILES} == built.tables()


def test_every_zone_exists() -> None:
    names = {name for text in table.load().zones.texts for name in text.split("|")}
    assert names <= zone_names()


def test_each_region_of_phonenumbers_has_zones() -> None:
    assert table.load().zones_by_place.keys() >= phonenumbers.SUPPORTED_REGIONS


def test_no_set_has_two_names_of_one_clock() -> None:
    """So a list of zones is as long as the number of clocks. In Guadeloupe and the rest, one name is all there is."""
    sets = [text.split("|") for text in table.load().zones.texts if "|" in text]
    assert sets
    for names in sets:
        assert len(built.clocks(names)) == len(names), names


@cache
def numbers() -> pl.DataFrame:
    """A number of every exchange of every possible area code, and what is known of it."""
    to = pl.Series([f"+1{code}{exchange}0100" for code in range(200, 1000) for exchange in range(200, 1000)])
    rows = locate(to, pl.Series([None] * to.len(), dtype=pl.String))
    return rows.with_columns(to=to, code=to.str.slice(2, 3))


def test_a_fictional_number_of_any_code_is_an_unlisted_exchange() -> None:
    fictional = numbers().filter(pl.col("to").str.slice(5, 3) == "555")
    assert set(fictional["zone_source"]) == {"area_code", "region"}


@pytest.mark.parametrize("code", ["219", "270", "364", "423", "448", "689", "850"])
def test_where_libphonenumber_errs_most_the_most_frequent_zone_of_the_zips_is_there(code: str) -> None:
    """Unlisted exchanges have it, and a listed one has what its own town has."""
    most = Counter(
        place["timezone"]
        for place in zipcodes.list_all()
        if code in place["area_codes"] and place["timezone"] in zone_names()
    ).most_common(1)[0][0]
    clocks = clocks_of(numbers().filter((pl.col("code") == code) & (pl.col("zone_source") == "area_code")))
    assert clocks
    assert all(built.clock(most) in of_row for of_row in clocks)


def clocks_of(rows: pl.DataFrame) -> list[frozenset[tuple[int, ...]]]:
    return [built.clocks(text.split("|")) for text in rows["zone"]]


def test_every_number_has_the_zone_of_most_zips() -> None:
    """Of its code's in its code's state where only the code is known, and else of the town that its exchange is in."""
    from phonenumbers import geocoder  # its table of places takes half a second

    of_code: defaultdict[str, Counter[tuple[int, ...]]] = defaultdict(Counter)
    of_town: defaultdict[str, Counter[tuple[int, ...]]] = defaultdict(Counter)
    for place in zipcodes.list_all():
        if place["timezone"] in zone_names():
            clock = built.clock(place["timezone"])
            of_town[f"{place['city']}, {place['state']}".lower()][clock] += 1
            for code in place["area_codes"]:
                if built.state_of(code) == place["state"]:
                    of_code[code][clock] += 1
    checked = 0
    for source, code, text, group in _groups():
        clocks = built.clocks(text.split("|"))
        if source == "area_code" and of_code[code]:
            assert of_code[code].most_common(1)[0][0] in clocks, code
            checked += 1
        for number in group if source == "exchange" else ():
            town = geocoder.description_for_number(phonenumbers.parse(number), "en").lower()
            if of_town[town] and town != "west wendover, nv":  # `built.ZIP_ZONES` says why
                assert of_town[town].most_common(1)[0][0] in clocks, (number, town)
                checked += 1
    assert checked > 1_000


def _groups() -> list[tuple[str, str, str, list[str]]]:
    rows = numbers().filter(pl.col("zone_source") != "region")
    return rows.group_by("zone_source", "code", "zone").agg("to").rows()


def test_every_zip_has_the_zone_of_its_town() -> None:
    places = [place for place in zipcodes.list_all() if place["timezone"] in zone_names()]
    known = table.load()
    zones = known.zips.read(pl.Series([int(place["zip_code"]) for place in places], dtype=pl.Int32))
    texts = known.zones.texts.gather(zones["zones"])
    wrong = [
        place["zip_code"]
        for place, text in zip(places, texts, strict=True)
        if place["timezone"] not in text.split("|") and place["state"] != "FM"
    ]
    assert wrong == ["89883"]  # West Wendover


def test_the_zip_of_a_gap_is_its_neighbours() -> None:
    """USPS adds ZIPs each year. One between two of a prefix with the same state and zone is there, and no other."""
    known = table.load()
    missing = sorted({*range(100_000)} - {int(place["zip_code"]) for place in zipcodes.list_all()})
    rows = known.zips.read(pl.Series(missing, dtype=pl.Int32)).with_columns(zip=pl.Series(missing))
    prefixes = {place["zip_code"][:3] for place in zipcodes.list_all()}
    assert {f"{number:05}"[:3] for number in rows.drop_nulls("zones")["zip"]} <= prefixes
    assert rows.drop_nulls("zones").height < 30_000
