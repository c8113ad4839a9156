"""A column against `phonenumbers`, row by row: random and damaged numbers of all regions, none may differ.

A fresh seed each time, printed; `SENDER_NUMBERS_SEED=N` repeats one. 100,000 rows; `--numbers-rows N` or
`SENDER_NUMBERS_ROWS=N` for a longer run. The numbers are made up and go nowhere.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator

import phonenumbers
import polars as pl
import pytest
from phonenumbers import PhoneMetadata, PhoneNumberFormat, PhoneNumberType

from sender import phone
from sender.number_ranges import NUMBER_TYPES, region_table
from sender.phone_cell import Reader

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
BLOCK = 100_000
DIGITS = "0123456789"
SEPARATORS = [
    " ",
    "-",
    ".",
    "/",
    "",
    "",
    "",
    "\u00a0",
    "–",
    "  ",
    " - ",
    "-",
    " ",
    "x",
    "~",
    "\u200b",
    ",",
    "\t",
    "E",
    "*",
]
INTERNATIONAL = ["00", "011", "010", "0011", "810", "001", "119", "000", "0014", "002", "09"]


def national_numbers() -> dict[str, list[str]]:
    """For each region an example of each type."""
    found = {}
    for region in REGIONS:
        examples = [phonenumbers.example_number_for_type(region, kind) for kind in PhoneNumberType.values()]
        found[region] = [phonenumbers.national_significant_number(one) for one in examples if one is not None]
    return found


class Maker:
    """Makes cells: near-valid, at the edges of the tables' ranges, and of nothing but digits."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.examples = national_numbers()
        self.edges: dict[str, list[int]] = {}

    def cell(self, region: str) -> str:
        rng = self.rng
        metadata = PhoneMetadata.metadata_for_region(region)
        kind = rng.random()
        if kind < 0.15:
            digits = self._edge(region)
        elif kind < 0.25:
            digits = "".join(rng.choices(DIGITS, k=rng.randint(1, 19)))
        else:
            other = region if kind < 0.8 else rng.choice(REGIONS)
            digits = self._damaged(rng.choice(self.examples[other]))
            code = str(PhoneMetadata.metadata_for_region(other).country_code)
            trunk = metadata.national_prefix or rng.choice(["", "0", "1"])
            front = rng.choice(
                ["", "", trunk, code, code + trunk, rng.choice(INTERNATIONAL) + code, "0", trunk + trunk]
            )
            digits = front + digits
        plus = rng.choice(["", "", "", "+", "+", "(+", "+ ", "++", "＋"]) if rng.random() < 0.5 else ""
        return plus + self._written(digits)

    def _edge(self, region: str) -> str:
        if region not in self.edges:
            self.edges[region] = region_table(region).starts.to_list()
        key = self.rng.choice(self.edges[region]) - self.rng.choice([0, 0, 1])
        return str(key)[1:] if str(key)[0] == "1" else "0"

    def _damaged(self, number: str) -> str:
        rng, digits = self.rng, list(number)
        for _ in range(rng.choice([0, 1, 2, 3, 6])):
            digits[rng.randrange(len(digits))] = rng.choice(DIGITS)
        match rng.random():
            case chance if chance < 0.05:
                digits.pop()
            case chance if chance < 0.1:
                digits.append(rng.choice(DIGITS))
        return "".join(digits)

    def _written(self, digits: str) -> str:
        rng = self.rng
        if rng.random() < 0.4:
            return digits
        cuts = sorted(rng.sample(range(len(digits) + 1), k=min(rng.randint(1, 3), len(digits) + 1)))
        parts = [digits[low:high] for low, high in zip([0, *cuts], [*cuts, None], strict=True)]
        text = parts[0] + "".join(rng.choice(SEPARATORS) + part for part in parts[1:])
        match rng.random():
            case chance if chance < 0.1:
                return f"({text[:3]}) {text[3:]}"
            case chance if chance < 0.13:
                return text + rng.choice([".0", ".00", ",0", " x12", "#", " ", ")", ";ext=7"])
        return text


def truth(cell: str, region: str) -> tuple[str | None, str | None, str | None]:
    try:
        number = phonenumbers.parse(cell, region)
    except phonenumbers.NumberParseException:
        return None, None, None
    if not phonenumbers.is_valid_number(number):
        return None, None, None
    return (
        phonenumbers.format_number(number, PhoneNumberFormat.E164),
        phonenumbers.region_code_for_number(number),
        NUMBER_TYPES[phonenumbers.number_type(number)],
    )


@pytest.fixture
def compiled(monkeypatch) -> Iterator[None]:
    """Tables for the smallest group of rows."""
    monkeypatch.setattr(phone, "_REGION_FROM_ROWS", 1)
    monkeypatch.setattr(phone, "_CODE_FROM_ROWS", 1)


@pytest.mark.timeout(0)
def test_no_row_differs(compiled, numbers_rows, capsys):
    """Without caution from `phonenumbers` itself; with it, sentence for sentence, from the reader of single cells."""
    seed = int(os.environ.get("SENDER_NUMBERS_SEED") or random.SystemRandom().getrandbits(32))
    with capsys.disabled():
        sys.stdout.write(f"\nnumbers: {numbers_rows:,} rows, SENDER_NUMBERS_SEED={seed}\n")
    make = Maker(random.Random(seed))
    reader = Reader(frozenset(), short_codes=True, careful=True)
    accepted = 0
    for start in range(0, numbers_rows, BLOCK):
        regions = [make.rng.choice(REGIONS) for _ in range(min(BLOCK, numbers_rows - start))]
        cells = [make.cell(region) for region in regions]
        column, wheres = pl.Series(cells), pl.Series(regions)
        plain = phone.normalize(column, default_region=None, regions=wheres, careful=False)
        careful = phone.normalize(column, default_region=None, regions=wheres, short_codes=True)
        rows = zip(cells, regions, plain.iter_rows(), careful.iter_rows(), strict=True)
        for cell, region, ours, with_caution in rows:
            text = cell.strip() or None
            expected = truth(text or "", region)
            assert ours[:3] == expected, (seed, cell, region)
            assert with_caution == reader.read(text, region), (seed, cell, region)
            accepted += expected[0] is not None
    assert accepted > numbers_rows / 5, "the cells are near enough to real numbers to prove something"
