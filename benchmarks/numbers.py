"""`python -m benchmarks.numbers`: a column of numbers beside `phonenumbers` row by row, in one run of one process.

The plain way is what a careful script does: parse with the row's region, is_valid_number, E.164, region and type. It
reads a sample; ours reads the whole list, tables built before (their cost is shown by itself). Every list has 1 % bad
cells. The numbers of the first and the last list are fictional ones; the others are made up, and go nowhere.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator

import phonenumbers
import polars as pl

from benchmarks.figures import Figure, rates, seconds, table
from sender.phone import ranges as number_ranges
from sender.phone.e164 import normalize

# Shares of a list: as spreadsheets, forms and other systems write numbers.
NANP = [
    lambda a, b, c: f"{a}{b}{c}",
    lambda a, b, c: f"({a}) {b}-{c}",
    lambda a, b, c: f"{a}-{b}-{c}",
    lambda a, b, c: f"{a}.{b}.{c}",
    lambda a, b, c: f"+1{a}{b}{c}",
    lambda a, b, c: f"1{a}{b}{c}",
    lambda a, b, c: f"+1 ({a}) {b}-{c}",
    lambda a, b, c: f" {a} {b} {c}",
]
BAD = ["n/a", "555-0100", "202555010", "", "2024-01-15", "12", "202555010012345", "(202) 555-0100 x12"]


AREAS = [str(area) for area in range(201, 990) if phonenumbers.is_valid_number(phonenumbers.parse(f"+1{area}5550100"))]


def american(rng: random.Random, _: str) -> str:
    return rng.choice(NANP)(rng.choice(AREAS), "555", f"01{rng.randint(0, 99):02}")  # all fictional


def bare(rng: random.Random, _: str) -> str:
    return f"{rng.choice(AREAS)}55501{rng.randint(0, 99):02}"


def european(rng: random.Random, region: str) -> str:
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    national = phonenumbers.national_significant_number(example)
    digits = national[:-6] + f"{rng.randint(0, 999_999):06}"
    trunk = phonenumbers.ndd_prefix_for_region(region, True) or ""
    code = example.country_code
    return rng.choice(
        [
            f"{trunk}{digits}",
            f"{trunk}{digits[:3]} {digits[3:]}",
            f"{trunk}{digits[:4]}-{digits[4:]}",
            f"{trunk}{digits[:3]}/{digits[3:]}",
            f"+{code}{digits}",
            f"+{code} {digits[:3]} {digits[3:]}",
            f"00{code}{digits}",
            f"+{code} ({trunk}){digits}",
        ]
    )


def a_list(rows: int, regions: list[str], make: Make) -> tuple[pl.Series, pl.Series]:
    rng = random.Random(1)
    wheres = [rng.choice(regions) for _ in range(rows)]
    cells = [rng.choice(BAD) if rng.random() < 0.01 else make(rng, where) for where in wheres]
    return pl.Series(cells), pl.Series(wheres)


def plain(cells: list[str], wheres: list[str]) -> int:
    good = 0
    for cell, where in zip(cells, wheres, strict=True):
        try:
            number = phonenumbers.parse(cell, where)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            phonenumbers.region_code_for_number(number)
            phonenumbers.number_type(number)
            good += 1
    return good


EUROPE_AND_MORE = ("DE", "GB", "FR", "AU", "IN", "BR")
Make = Callable[[random.Random, str], str]
LISTS: list[tuple[str, list[str], Make]] = [
    ("US, eight ways of writing", ["US"], american),
    ("six regions, by a column", ["US", "DE", "GB", "FR", "AU", "IN"], european),
    ("US, digits only", ["US"], bare),
    *[(f"{region}, eight ways of writing", [region], european) for region in EUROPE_AND_MORE],
    ("US, exported as floats (.0)", ["US"], lambda rng, _: f"{bare(rng, '')}.0"),
]
TYPICAL = LISTS[:2]  # what a run of all parts shows
WORTH_TABLES = 100_000  # rows; a short list is read cell by cell, which is quicker than building a region's table


def measure(rows: int, sample: int, what: str, regions: list[str], make: Make) -> Figure:
    cells, wheres = a_list(rows, regions, make)
    few = cells[:sample].to_list(), wheres[:sample].to_list()
    own = wheres if len(regions) > 1 else None

    def ours() -> pl.DataFrame:
        return normalize(cells, default_region=regions[0], regions=own)

    first = seconds(ours)
    fast, slow = rates(ours, rows, lambda: plain(*few), len(few[0]))
    note = f"{first:.2f} s the first time, with the tables to build"
    return Figure(
        "numbers", what, fast, "/s", slow, "phonenumbers row by row", 20 if rows >= WORTH_TABLES else None, note
    )


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """Two typical lists of `options.rows` numbers."""
    for one in TYPICAL:
        yield measure(options.rows, min(20_000, options.rows), *one)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--sample", type=int, default=20_000, help="rows for the plain way")
    options = parser.parse_args()
    print(f"{options.rows:,} rows; phonenumbers {phonenumbers.__version__}, polars {pl.__version__}")
    print(table(measure(options.rows, options.sample, *one) for one in LISTS))
    took = seconds(lambda: [number_ranges.region_table(region) for region in phonenumbers.SUPPORTED_REGIONS])
    print(f"the tables of all other regions: {took:.1f} s")


if __name__ == "__main__":
    main()
