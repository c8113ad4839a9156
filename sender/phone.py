"""A column of raw numbers to E.164, or a reason why not.

The truth about numbers is `phonenumbers`, the Python port of libphonenumber: parse with the row's region,
valid or not, E.164. On top stands `caution`: a cell that libphonenumber reads as some number although a
person could not say which one is meant is held. A wrong recipient is worse than a missed one. Never guesses,
never repairs.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

import phonenumbers
import polars as pl
from phonenumbers import (
    NumberParseException,
    PhoneMetadata,
    PhoneNumber,
    PhoneNumberFormat,
    PhoneNumberType,
    ValidationResult,
)

from sender.outcomes import SkipReason

_TYPES = {
    PhoneNumberType.FIXED_LINE: "fixed_line",
    PhoneNumberType.MOBILE: "mobile",
    PhoneNumberType.FIXED_LINE_OR_MOBILE: "fixed_line_or_mobile",
    PhoneNumberType.TOLL_FREE: "toll_free",
    PhoneNumberType.PREMIUM_RATE: "premium_rate",
    PhoneNumberType.SHARED_COST: "shared_cost",
    PhoneNumberType.VOIP: "voip",
    PhoneNumberType.PERSONAL_NUMBER: "personal_number",
    PhoneNumberType.PAGER: "pager",
    PhoneNumberType.UAN: "uan",
    PhoneNumberType.VOICEMAIL: "voicemail",
}
_SHORT_CODE = "short_code"
_REGION_SPELLINGS = {"UK": "GB", "USA": "US"}  # common, and not ISO 3166-1 alpha-2

_EXPONENT = re.compile(r"[+-]?\d+([.,]\d+)?[eE][+-]?\d+")
_DECIMAL_TAIL = re.compile(r"\+?\d+[.,]0+")
_DATE = re.compile(r"\d{4}([-/.])\d\d?\1\d\d?([T ].*)?|\d\d?([-/.])\d\d?\3(19|20)\d\d")
_BARE_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_BETWEEN_NUMBERS = re.compile(r"[^\d\s+.()\[\]-]+")
_PLUS_AND_DIGIT = re.compile(r"\+\s*\d")
_LEADS_WITH_PLUS = re.compile(r"[^\d+＋]*[+＋]")
_TEL_URI = re.compile(r"\s*tel:", re.IGNORECASE)  # RFC 3966
_SHORT_CODE_CELL = re.compile(r"[1-9][0-9]{4,5}")
_ORDINARY = re.compile(r"[0-9 +.()\[\]/-]*")
_PUNCTUATION = frozenset("+-.()[]/\u2212")
_INVISIBLE_OR_DIGIT = frozenset({"Nd", "Zs", "Cf", "Pd"})  # Unicode categories
_LOCAL_DIGITS = 7  # enough for a number of its own, without an area code
_SHOWN_CHARS = 40


class _Reading(NamedTuple):
    """What one cell comes to: a row of `normalize`."""

    to: str | None = None
    region: str | None = None
    number_type: str | None = None
    reason: str | None = None
    detail: str | None = None


_COLUMNS = dict.fromkeys(_Reading._fields, pl.String)


def region_ok(region: str) -> bool:
    """Whether libphonenumber has numbers of this two-letter region (ISO 3166-1 alpha-2, upper case)."""
    return region in phonenumbers.SUPPORTED_REGIONS


def normalize(
    raw: pl.Series,
    *,
    default_region: str | None,
    regions: pl.Series | None = None,
    passthrough: frozenset[str] = frozenset(),
    short_codes: bool = False,
    careful: bool = True,
) -> pl.DataFrame:
    """Columns `to`, `region`, `number_type`, `reason`, `detail` (all String), a row a cell.

    A good row has `to` (E.164 or a short code), `number_type` and, where the number has one, `region`. Any
    other has a `reason` (`missing_data` for a blank cell, else `invalid_number`) and in `detail` what was
    seen and what to write.

    `regions` holds each row's own two-letter region; where it is blank `default_region` counts. One that is
    not a region holds the row, unless its number begins with `+` and so needs none.

    `passthrough` are recipients that the provider takes as they stand (`988`); a `+` before one is dropped,
    so that both spellings are one recipient. With `short_codes`, a cell of exactly 5 or 6 digits without a
    leading zero that is no valid number of its region is a short code. (There are shorter and longer ones,
    but 3, 4, 7 and 8 digits are more often a local number without its area code.) `careful=False` switches
    `caution` off.
    """
    nothing = pl.lit(None, dtype=pl.String)
    cells = pl.DataFrame({"raw": raw.cast(pl.String)}).with_columns(
        asked=nothing if regions is None else regions.cast(pl.String).str.to_uppercase()
    )
    stripped = [
        pl.when(pl.col(name).str.strip_chars() != "").then(pl.col(name).str.strip_chars()).alias(name)
        for name in cells.columns
    ]
    cells = cells.select(stripped).with_columns(pl.col("asked").fill_null(pl.lit(default_region, dtype=pl.String)))
    distinct = cells.unique(maintain_order=True)
    reader = _Reader(passthrough, short_codes=short_codes, careful=careful)
    readings = [reader.read(cell, region) for cell, region in distinct.iter_rows()]
    answers = distinct.hstack(pl.DataFrame(readings, schema=_COLUMNS, orient="row"))
    return cells.join(answers, on=["raw", "asked"], how="left", nulls_equal=True, maintain_order="left").select(
        *_COLUMNS
    )


def caution(cell: str) -> str | None:
    """Why a cell must not be read as one number (a predicate: `looks like a date`), or None.

    Judges the text alone; what depends on the region is judged after parsing.
    """
    text = unicodedata.normalize("NFKC", _TEL_URI.sub("", cell)).strip()
    if _EXPONENT.fullmatch(text):
        return "is in scientific notation and has lost digits; format the column as text and enter it again"
    if _DECIMAL_TAIL.fullmatch(text):
        return "ends in decimals that a spreadsheet added; write the digits without them"
    if _DATE.fullmatch(text):
        return "looks like a date; write the phone number"
    if _holds_two_numbers(text):
        return "seems to hold two numbers; keep one, or give each its own row"
    if _ORDINARY.fullmatch(text):
        return None
    if any(character.isalpha() for character in text):
        return "has letters, which could stand for keypad digits or an extension; write digits only"
    strange = [
        character
        for character in text
        if character not in _PUNCTUATION and unicodedata.category(character) not in _INVISIBLE_OR_DIGIT
    ]
    return f"has a `{strange[0]}`, which is no part of a number; write digits only" if strange else None


def _holds_two_numbers(text: str) -> bool:
    if sum(map(str.isdigit, text)) < 2 * _LOCAL_DIGITS:
        return False
    if len(_PLUS_AND_DIGIT.findall(text)) > 1:
        return True
    if _count_long(_BETWEEN_NUMBERS.split(text)) > 1:
        return True
    # `0049171 3920001` is one number in two groups.
    return _count_long(text.split()) > 1 and not text.startswith(("+", "00", "011"))


def _count_long(parts: list[str]) -> int:
    """How many of these could be a number of their own."""
    return sum(sum(map(str.isdigit, part)) >= _LOCAL_DIGITS for part in parts)


class _Reader:
    """Reads one cell after the other under one set of rules."""

    def __init__(self, passthrough: frozenset[str], *, short_codes: bool, careful: bool) -> None:
        self._passthrough = passthrough
        self._short_codes = short_codes
        self._careful = careful

    def read(self, cell: str | None, asked: str | None) -> _Reading:
        if cell is None:
            return _Reading(reason=SkipReason.MISSING_DATA.value, detail="the number cell is blank")
        for short in (cell, cell.removeprefix("+")):
            if short in self._passthrough:
                return _Reading(to=short, number_type=_SHORT_CODE)
        why = caution(cell) if self._careful else None
        if why is not None:
            return _held(cell, why)
        region = None if asked is None else _REGION_SPELLINGS.get(asked, asked)
        international = _LEADS_WITH_PLUS.match(cell) is not None
        if region is not None and not region_ok(region):
            if not international:
                return _held(cell, f"has no country code and {_shown(region)} is no two-letter region such as US or GB")
            region = None
        number, error = _parsed(cell, region)
        kind = PhoneNumberType.UNKNOWN if number is None else phonenumbers.number_type(number)
        if number is not None and kind != PhoneNumberType.UNKNOWN:  # which is what is_valid_number asks, at once
            why = self._doubt(cell, number, region) if self._careful and not international else None
            return _held(cell, why) if why else _good(number, kind)
        if self._short_codes and _SHORT_CODE_CELL.fullmatch(cell):
            return _Reading(to=cell, region=region, number_type=_SHORT_CODE)
        hint = _plus_hint(cell) if not international else ""
        return _held(cell, _fault(number, error, region, international=international) + hint)

    def _doubt(self, cell: str, number: PhoneNumber, region: str | None) -> str | None:
        """Why a valid national reading may not be the number that was meant."""
        digits = phonenumbers.normalize_digits_only(cell)
        metadata = PhoneMetadata.metadata_for_region(region) if region else None
        lengths = metadata.mobile.possible_length if metadata and metadata.mobile else ()
        if _BARE_DATE.fullmatch(digits) and len(digits) not in lengths:
            return "looks like a date; if it is a number, write it with + and country code"
        if digits.startswith(str(number.country_code)):
            other = _valid_with_plus(digits)
            here = phonenumbers.format_number(number, PhoneNumberFormat.E164)
            if other is not None and other != here:
                return f"may mean {other} or {here}; write the one that is meant, with the +"
        return None


def _held(cell: str, predicate: str) -> _Reading:
    return _Reading(reason=SkipReason.INVALID_NUMBER.value, detail=f"{_shown(cell)} {predicate}")


def _good(number: PhoneNumber, kind: int) -> _Reading:
    return _Reading(
        to=phonenumbers.format_number(number, PhoneNumberFormat.E164),
        region=phonenumbers.region_code_for_number(number),
        number_type=_TYPES[kind],
    )


def _shown(text: str) -> str:
    return f"`{text}`" if len(text) <= _SHOWN_CHARS else f"`{text[:_SHOWN_CHARS]}…`"


def _parsed(cell: str, region: str | None) -> tuple[PhoneNumber | None, int | None]:
    try:
        return phonenumbers.parse(cell, region), None
    except NumberParseException as error:
        return None, error.error_type


@lru_cache(maxsize=1024)
def _valid_with_plus(digits: str) -> str | None:
    number, _ = _parsed(f"+{digits}", None)
    if number is None or not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def _plus_hint(cell: str) -> str:
    number = _valid_with_plus(phonenumbers.normalize_digits_only(cell))
    return f" (is {number} meant?)" if number else ""


def _fault(number: PhoneNumber | None, error: int | None, region: str | None, *, international: bool) -> str:
    """What is wrong with a number that is not valid, as a predicate."""
    if number is None:
        if error == NumberParseException.INVALID_COUNTRY_CODE and international:
            return "begins with no country code there is; write + and the country code first"
        if error == NumberParseException.INVALID_COUNTRY_CODE:
            return "has no country code; write it with + and country code, or set `recipients.default_region`"
        if error == NumberParseException.TOO_LONG:
            return "is too long for a phone number"
        if error in (NumberParseException.TOO_SHORT_NSN, NumberParseException.TOO_SHORT_AFTER_IDD):
            return "is too short for a phone number"
        return "is no phone number"
    place = region if region and not international else f"+{number.country_code}"
    match phonenumbers.is_possible_number_with_reason(number):
        case ValidationResult.TOO_SHORT:
            return f"is too short for {place}; check for missing digits"
        case ValidationResult.IS_POSSIBLE_LOCAL_ONLY:
            return f"lacks its area code in {place}; write the whole number"
        case ValidationResult.TOO_LONG:
            return f"is too long for {place}; check for extra digits or a missing + before the country code"
        case ValidationResult.INVALID_LENGTH:
            return f"has a number of digits that {place} does not use"
    return f"is no number in use in {place}; check its digits"
