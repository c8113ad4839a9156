"""Every number that a cell may mean: a table of cells, and laws that hold for all of libphonenumber's regions."""

from __future__ import annotations

import phonenumbers
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from sender import phone
from sender.phone.lenient import MOST_CHARS, LenientReader
from tests.profiles import examples

A, B = "+12025550101", "+12025550102"
READER = LenientReader(frozenset({"988"}), short_codes=True)

CELLS: dict[str, tuple[str, tuple[str, ...], set[str], bool]] = {
    "E.164": (A, (), {A}, False),
    "national": ("(202) 555-0101", ("US",), {A}, False),
    "national, no country": ("(202) 555-0101", (), set(), True),
    "in two countries": ("2075550123", ("US", "GB"), {"+12075550123", "+442075550123"}, False),
    "with a country code, in a country where it is a number": ("4930123456", ("DE",), {"+4930123456"}, False),
    "apart by a comma": (f"{A},{B}", (), {A, B}, False),
    "apart by a slash": ("202-555-0101 / 202-555-0102", ("US",), {A, B}, False),
    "apart by a word": ("2025550101 or 2025550102", ("US",), {A, B}, False),
    "apart by a line": ("2025550101\n2025550102", ("US",), {A, B}, False),
    "apart by a blank": ("2025550101 2025550102", ("US",), {A, B}, False),
    "apart by nothing but plus signs": (f"{A}{B}", (), {A, B}, False),
    "in groups": ("202 555 0101 202 555 0102", ("US",), {A, B}, False),
    "the other ending": ("202-555-0101/02", ("US",), {A, B}, False),
    "a label": ("Mobile: 202-555-0101", ("US",), {A}, False),
    "a label with digits": ("Line 2: 202-555-0101", ("US",), {A}, False),
    "an extension": ("202-555-0101 ext. 1234", ("US",), {A}, False),
    "an extension as x": ("202-555-0101x12", ("US",), {A}, False),
    "a note with a date": ("202-555-0101 since 2026-11-21", ("US",), {A}, False),
    "a date and then a number": ("2026-11-21 202-555-0101", ("US",), {A}, False),
    "a date with the day first": ("202-555-0101, 21.11.2026", ("US",), {A}, False),
    "groups that look like a date": ("x: +263-20-2012345", ("ZW",), {"+263202012345"}, False),
    "groups that look like a date, in full": ("+44 20-12-2012-34", ("GB",), {"+442012201234"}, False),
    "a tel URI": ("tel:+1-202-555-0101;ext=5", (), {A}, False),
    "a channel": (f"whatsapp:{A}", (), {A}, False),
    "invisible signs": ("\u202a+1\u200b202\u200e5550101\u202c", (), {A}, False),
    "no-break blanks and dashes": ("202\u00a0555\u20110101", ("US",), {A}, False),
    "full width": ("＋１２０２５５５０１０１", (), {A}, False),
    "Arabic digits": ("٢٠٢٥٥٥٠١٠١", ("US",), {A}, False),
    "a float": ("2025550101.0", ("US",), {A}, False),
    "an exponent with all digits": ("2.025550101E9", ("US",), {A}, False),
    "an exponent that lost some": ("2.0256E+09", ("US",), set(), True),
    "a text mark": ("'2025550101", ("US",), {A}, False),
    "a formula": ('="2025550101"', ("US",), {A}, False),
    "a trunk zero": ("+44 (0) 20 7946 0018", (), {"+442079460018"}, False),
    "a trunk zero without brackets": ("+44 020 7946 0018", (), {"+442079460018"}, False),
    "00": ("0044 20 7946 0018", (), {"+442079460018"}, False),
    "011": ("011 44 20 7946 0018", ("US",), {"+442079460018"}, False),
    "no plus": ("44 20 7946 0018", ("US",), {"+442079460018"}, False),
    "a plus too many": ("+202-555-0101", ("US",), {A}, False),
    "two plus signs": ("++1 202 555 0101", (), {A}, False),
    "letters": ("1-800-FLOWERS", ("US",), {"+18003569377"}, False),
    "passed through": ("988", ("US",), {"988"}, False),
    "a short code": ("72975", ("US",), {"72975"}, False),
    "one that cannot be read": ("202-555-0101, 555-0102", ("US",), {A}, True),
    "an unknown country": (A, ("Atlantis",), {A}, False),
    "all of an island's number": ("8999 (home)", ("TA",), {"+2908999"}, False),
    "too short": ("555-0101", ("US",), set(), True),
    "a word": ("nobody", ("US",), set(), True),
    "a date": ("2026-11-21", ("US",), set(), True),
    "a time": ("2026-11-21T16:42:00Z", ("US",), set(), True),
    "nothing": ("", ("US",), set(), True),
    "run together": ("20255501012025550102", ("US",), set(), True),
    "long": (f"{A} " * (MOST_CHARS // 12), (), set(), True),
}  # fmt: skip


@pytest.mark.parametrize(("cell", "regions", "numbers", "incomplete"), CELLS.values(), ids=CELLS)
def test_what_a_cell_may_mean(cell: str, regions: tuple[str, ...], numbers: set[str], incomplete: bool) -> None:
    meanings = READER.read(cell, regions)
    assert (set(meanings.numbers), meanings.incomplete) == (numbers, incomplete)


@pytest.mark.parametrize(
    ("cell", "keys"),
    [
        (A, set()),
        ("202-555-0101", {2025550101}),
        ("020 7946 0018", {2079460018}),
        ("00442079460018", {442079460018}),
        (f"{A}, 202-555-0102", {2025550102}),
        ("2025550101 2025550102", {2025550101, 2025550102}),
        ("nobody", set()),
        ("99912345678", {99912345678}),
    ],
)
def test_digits_without_a_plus_are_compared_with_other_countries(cell: str, keys: set[int]) -> None:
    assert READER.read(cell, ("US", "GB")).keys == keys


REGIONS = st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS))
FORMATS = st.sampled_from(
    [PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.NATIONAL, PhoneNumberFormat.RFC3966]
)
NOISE = st.sampled_from(
    ["{}", " {} ", "Tel. {}", "{} (home)", "{} ext. 12", "\u202a{}\u202c", "{}\u200b", "'{}", "{};", "x: {}, y", "{}\n"]
)


@given(REGIONS, FORMATS, NOISE, st.sampled_from([PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE]))
@settings(max_examples=examples(400))
def test_a_number_is_read_however_it_is_written(region: str, form: int, noise: str, kind: int) -> None:
    number = phonenumbers.example_number_for_type(region, kind)
    if number is None:
        return
    written = noise.format(phonenumbers.format_number(number, form))
    meanings = READER.read(written, (region,))
    assert phonenumbers.format_number(number, PhoneNumberFormat.E164) in meanings.numbers, written


@given(REGIONS, REGIONS)
@settings(max_examples=examples(300))
def test_digits_alone_are_read_with_and_without_the_country_code(region: str, other: str) -> None:
    number = phonenumbers.example_number_for_type(region, PhoneNumberType.MOBILE)
    if number is None:
        return
    e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    assert e164 in READER.read(e164[1:], (other,)).numbers
    assert e164 in READER.read(f"00{e164[1:]}", (other,)).numbers
    national = phonenumbers.national_significant_number(number)
    keys = READER.read(e164[1:], (other,)).keys
    assert int(e164[1:]) in keys
    if READER.read(national, (other, region)).numbers:
        assert int(national) in READER.read(national, (other, region)).keys or len(national.lstrip("0")) < 7


CHARACTERS = st.text(st.sampled_from("0123456789+-() ./,;xX\u00a0\u200b\u202aeE'=tl:"), max_size=24)


@given(CHARACTERS, st.sampled_from(["US", "GB", "DE", "IT", "DK", "BR", None]), st.booleans())
@settings(max_examples=examples(1_500))
def test_whatever_is_read_as_a_recipient_is_among_the_meanings(cell: str, region: str | None, careful: bool) -> None:
    """A list of people to text and a list of people not to text may have the same cell."""
    row = phone.normalize(
        pl.Series([cell]),
        default_region=region,
        passthrough=frozenset({"988"}),
        short_codes=True,
        careful=careful,
    )
    if (number := row["to"][0]) is not None:
        assert number in READER.read(cell, () if region is None else (region,)).numbers
