"""A column against `phonenumbers`, row by row: random and damaged numbers of all regions, none may differ.

A fresh seed each time, printed; `SENDER_NUMBERS_SEED=N` repeats one. The profile (tests/profiles.py) says how
many rows; `--numbers-rows N` or `SENDER_NUMBERS_ROWS=N` overrides it. The numbers are made up and go nowhere.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterable, Iterator
from re import _parser
from typing import Any

import phonenumbers
import polars as pl
import pytest
from phonenumbers import PhoneMetadata, PhoneNumberFormat, PhoneNumberType

from sender import phone
from sender.phone import e164
from sender.phone.cell import Reader
from sender.phone.numbering import NUMBER_TYPES
from sender.phone.ranges import _after_plus, region_table

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


# What a region's metadata describes by an expression.
DESCRIBED = ["general_desc", "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost"]
DESCRIBED += ["personal_number", "voip", "pager", "uan", "voicemail"]


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


def edges_of_tables(rng: random.Random, most: int) -> Iterator[tuple[str, str]]:
    """Cell and region: first and last of ranges after a `+`, of all country codes, and of those without it. About
    `most` of each kind; all there are in a longer run."""
    codes = [one for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE for one in _after_plus(str(code))]
    for one in rng.sample(codes, k=min(most // 2, len(codes))):
        for key in (one.low, one.high):
            yield f"+{str(key)[1:]}", "US"
    starts = [(region, start) for region in REGIONS for start in region_table(region).starts]
    for region, start in rng.sample(starts, k=min(most // 2, len(starts))):
        for key in (start, start - 1):  # ranges leave no gaps: the one before ends there
            yield str(key)[1:], region


class Edges:
    """Edges that our tables know nothing of: the smallest and largest strings of the metadata's own expressions."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def rows(self, most: int) -> Iterator[tuple[str, str]]:
        """Cell and region: an edge, its neighbours in value and in length, with every kind of front."""
        patterns = list(self._patterns())
        made = 0
        while made < most:
            region, metadata, pattern = self.rng.choice(patterns)
            code = str(metadata.country_code)
            digits = self._edge(_parser.parse(pattern))
            for number in self._near(digits):
                front = self.rng.choice(
                    ["+" + code, "+" + code, "", metadata.national_prefix or "0", code, "00" + code]
                )
                if region is None:  # belongs to no country, so only a plus leads there
                    front = "+" + code
                yield front + number, region or "US"
                made += 1

    def _near(self, digits: str) -> Iterator[str]:
        yield digits
        for step in (-1, 1):
            near = f"{int(digits or '0') + step:0{len(digits)}}"
            if not near.startswith("-") and len(near) == len(digits):
                yield near
        yield digits[:-1]
        yield digits + self.rng.choice("09")

    @staticmethod
    def _patterns() -> Iterator[tuple[str | None, PhoneMetadata, str]]:
        for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items():
            for region in regions:
                metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
                for kind in DESCRIBED:
                    described = getattr(metadata, kind)
                    if described is not None and described.national_number_pattern:
                        yield None if region == "001" else region, metadata, described.national_number_pattern

    def _edge(self, pieces: Iterable[tuple[object, Any]]) -> str:
        return "".join(self._piece(str(kind), value) for kind, value in pieces)

    def _piece(self, kind: str, value: Any) -> str:
        """One of the parts that `re`'s own parser finds: at an end of what it can be."""
        match kind:
            case "LITERAL":
                return chr(value)
            case "RANGE":
                return chr(self.rng.choice(value))
            case "CATEGORY":  # a digit
                return self.rng.choice("09")
            case "IN":
                return self._edge([self.rng.choice([value[0], value[-1]])])
            case "BRANCH":
                return self._edge(self.rng.choice(value[1]))
            case "SUBPATTERN":
                return self._edge(value[-1])
            case "MAX_REPEAT":
                least, most, part = value
                return "".join(self._edge(part) for _ in range(self.rng.choice([least, most])))
        raise AssertionError(kind)


@pytest.fixture
def compiled(monkeypatch) -> Iterator[None]:
    """Tables for the smallest group of rows."""
    monkeypatch.setattr(e164, "_REGION_FROM_ROWS", 1)
    monkeypatch.setattr(e164, "_CODE_FROM_ROWS", 1)


@pytest.fixture
def seed(capsys) -> int:
    chosen = int(os.environ.get("SENDER_NUMBERS_SEED") or random.SystemRandom().getrandbits(32))
    with capsys.disabled():
        sys.stdout.write(f"\nnumbers: SENDER_NUMBERS_SEED={chosen}\n")
    return chosen


def valid_of(cells: list[str], regions: list[str], seed: int) -> int:
    """How many cells are valid numbers, after none was found to differ: without caution from `phonenumbers` itself;
    with it, sentence for sentence, from the reader of single cells."""
    reader = Reader(frozenset(), short_codes=True, careful=True)
    column, wheres = pl.Series(cells), pl.Series(regions)
    plain = phone.normalize(column, default_region=None, regions=wheres, careful=False)
    careful = phone.normalize(column, default_region=None, regions=wheres, short_codes=True)
    valid = 0
    for cell, region, ours, with_caution in zip(cells, regions, plain.iter_rows(), careful.iter_rows(), strict=True):
        text = cell.strip() or None
        expected = truth(text or "", region)
        assert ours[:3] == expected, (seed, cell, region)
        assert with_caution == reader.read(text, region), (seed, cell, region)
        valid += expected[0] is not None
    return valid


@pytest.mark.timeout(0)
def test_no_row_differs(compiled, numbers_rows, seed):
    make = Maker(random.Random(seed))
    valid = 0
    for start in range(0, numbers_rows, BLOCK):
        regions = [make.rng.choice(REGIONS) for _ in range(min(BLOCK, numbers_rows - start))]
        valid += valid_of([make.cell(region) for region in regions], regions, seed)
    assert valid > numbers_rows / 5, "the cells are near enough to real numbers to prove something"


@pytest.mark.timeout(0)
@pytest.mark.parametrize("whose", ["of the tables", "of the metadata"])
def test_no_edge_of_a_range_differs(whose, compiled, numbers_rows, seed):
    """First and last of the ranges of all country codes and one beside them; where a rule is off by one, it is here."""
    rng, most = random.Random(seed), numbers_rows // 5
    rows = list(edges_of_tables(rng, most) if whose == "of the tables" else Edges(rng).rows(most))
    valid = valid_of([cell for cell, _ in rows], [region for _, region in rows], seed)
    assert len(rows) / 20 < valid < len(rows)
