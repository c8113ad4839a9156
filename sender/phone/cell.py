"""Reads a cell as E.164, or returns a reason why it cannot: by `phonenumbers`, with caution on top.

`phonenumbers`, the Python port of libphonenumber, decides what a number is: parse with the row's region, valid or not,
E.164. `caution` comes on top: a cell that libphonenumber reads as a number, although a person could not tell which
number is meant, is held. A wrong recipient is worse than a missed one. A spreadsheet's change to a number is undone
where only one number can be meant, and reported; nothing else is repaired, nothing is guessed.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata, PhoneNumber, PhoneNumberFormat, PhoneNumberType

from sender.core.errors import setting
from sender.core.outcomes import SkipReason
from sender.phone import countries
from sender.phone.numbering import FAULTS, NUMBER_TYPES, NumberVerdict
from sender.phone.old_plans import describe_change
from sender.phone.wrapped import SCHEME_REPAIR, takes_no_texts, unwrap

SHORT_CODE = "short_code"
FAULT_SENTENCES = {
    NumberVerdict.TOO_SHORT: "is too short for {place}; check for missing digits",
    NumberVerdict.LOCAL_ONLY: "lacks its area code in {place}; write the whole number",
    NumberVerdict.TOO_LONG: "is too long for {place}; check for extra digits or a missing + before the country code",
    NumberVerdict.ODD_LENGTH: "has a number of digits that {place} does not use",
    NumberVerdict.NOT_IN_USE: "is not a number in use in {place}; check the digits",
}
"""What is wrong with a number that is not valid, as a predicate. `{place}`: the region, or what `place_of` returns."""
HINT = " (is {number} meant?)"
BLANK = "the number cell is blank"
NO_REGION = "has no country code; write it with + and country code, or set " + setting("recipients.default_region")
BAD_REGION = "has no country code and {region} {fault}"
SHOWN_CHARS = 40
EXACT_DIGITS = 15  # what a spreadsheet and a 64-bit float keep; E.164 has no more either
TAIL_REPAIR = "dropped the decimals that a spreadsheet added"
MARK_REPAIR = "dropped the mark by which a spreadsheet keeps text"
EXPONENT_REPAIR = "wrote out the scientific notation"

_EXPONENT = re.compile(r"([+-]?\d+)(?:[.,](\d+))?[eE]([+-]?\d+)")
_DECIMAL_TAIL = re.compile(r"(\+?\d+)[.,]0+")
_TEXT_MARK = re.compile(r"'(?P<quoted>[0-9 +.()\[\]/-]+)|=\"(?P<formula>[0-9 +.()\[\]/-]+)\"|=(?P<sum>\+\d+)")
_DATE = re.compile(r"\d{4}([-/.])\d\d?\1\d\d?([T ].*)?|\d\d?([-/.])\d\d?\3(19|20)\d\d")
_BARE_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
# A date and time to the minute has 12 digits, as some phones have; with seconds 14, as no phone has.
BARE_DATE_MINUTE = r"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?:[01][0-9]|2[0-3])[0-5][0-9]"
_BETWEEN_NUMBERS = re.compile(r"[^\d\s+.()\[\]-]+")
_PLUS_AND_DIGIT = re.compile(r"\+\s*\d")
_LEADS_WITH_PLUS = re.compile(r"[^\d+＋]*[+＋]")
_TEL_URI = re.compile(r"\s*tel:", re.IGNORECASE)  # RFC 3966
_SHORT_CODE_CELL = re.compile(r"[1-9][0-9]{4,5}")
_ORDINARY = re.compile(r"[0-9 +.()\[\]/-]*")
_PUNCTUATION = frozenset("+-.()[]/\u2212")
_INVISIBLE_OR_DIGIT = frozenset({"Nd", "Zs", "Cf", "Pd"})  # Unicode categories
LOCAL_DIGITS = 7  # enough for a number of its own, without an area code


class Reading(NamedTuple):
    """What was read from a cell: a row of `sender.phone.normalize`."""

    to: str | None = None
    region: str | None = None
    number_type: str | None = None
    reason: str | None = None
    detail: str | None = None
    repair: str | None = None


def region_ok(region: str) -> bool:
    """Whether libphonenumber has numbers of this two-letter region (ISO 3166-1 alpha-2, upper case)."""
    return region in phonenumbers.SUPPORTED_REGIONS


def bad_region(text: str) -> str:
    """Return why a number without a country code is held whose region column says `text` (a predicate)."""
    return BAD_REGION.format(region=_shown(text), fault=countries.fault(text))


def caution(cell: str) -> str | None:
    """Return why a cell must not be read as a number (a predicate: `looks like a date`), or None.

    Looks at the text alone; what depends on the region is checked after parsing.
    """
    text = _plain(cell)
    if _EXPONENT.fullmatch(text):
        return "is in scientific notation and has lost digits; format the column as text and enter it again"
    if _DECIMAL_TAIL.fullmatch(text):
        return "ends in decimals that a spreadsheet added; write the digits without them"
    if _DATE.fullmatch(text):
        return "looks like a date; write the phone number"
    if re.fullmatch(BARE_DATE_MINUTE + "[0-5][0-9]", text):
        return "looks like a date and time; write the phone number"
    if _holds_two_numbers(text):
        return "seems to hold two numbers; keep one, or give each its own row"
    if _ORDINARY.fullmatch(text):
        return None
    if takes_no_texts(text):
        return "is labelled as a fax, pager or landline number; write the number to text"
    if any(character.isalpha() for character in text):
        return "has letters, which could stand for keypad digits or an extension; write digits only"
    strange = [
        character
        for character in text
        if character not in _PUNCTUATION and unicodedata.category(character) not in _INVISIBLE_OR_DIGIT
    ]
    return f"has a `{strange[0]}`, which cannot be part of a number; write digits only" if strange else None


def _plain(cell: str) -> str:
    """Return the text of a cell with plain characters for its look-alikes, without the scheme of a number."""
    return unicodedata.normalize("NFKC", _TEL_URI.sub("", cell)).strip()


def _holds_two_numbers(text: str) -> bool:
    if sum(map(str.isdigit, text)) < 2 * LOCAL_DIGITS:
        return False
    if len(_PLUS_AND_DIGIT.findall(text)) > 1:
        return True
    if _count_long(_BETWEEN_NUMBERS.split(text)) > 1:
        return True
    # `0049171 3920001` is one number in two groups.
    return _count_long(text.split()) > 1 and not text.startswith(("+", "00", "011"))


def _count_long(parts: list[str]) -> int:
    """Return how many of `parts` could be a number of their own."""
    return sum(sum(map(str.isdigit, part)) >= LOCAL_DIGITS for part in parts)


class Reader:
    """Reads cells under the rules of a `sender.phone.normalize` call."""

    def __init__(self, passthrough: frozenset[str], *, short_codes: bool, careful: bool) -> None:
        self._passthrough = passthrough
        self._short_codes = short_codes
        self._careful = careful

    def read(self, cell: str | None, asked: str | None) -> Reading:
        """Return what a cell without surrounding blanks (None: a blank cell) holds, in the region `asked`: a region of
        libphonenumber's, None, or a text that does not name a region."""
        if cell is None:
            return Reading(reason=SkipReason.MISSING_DATA.value, detail=BLANK)
        for short in (cell, cell.removeprefix("+")):
            if short in self._passthrough:
                return Reading(to=short, number_type=SHORT_CODE)
        why = caution(cell) if self._careful else None
        if why is not None:
            return self._repaired(cell, asked) or self._unwrapped(cell, asked) or _held(cell, why)
        region = asked
        international = _LEADS_WITH_PLUS.match(cell) is not None
        if region is not None and not region_ok(region):
            if not international:
                return _held(cell, bad_region(region))
            region = None
        number, error = _parsed(cell, region)
        kind = PhoneNumberType.UNKNOWN if number is None else phonenumbers.number_type(number)
        if number is not None and kind != PhoneNumberType.UNKNOWN:  # the same as is_valid_number, in one step
            why = self._doubt(cell, number, region) if self._careful and not international else None
            return _held(cell, why) if why else _good(number, kind)._replace(repair=self._link_repair(cell))
        if self._short_codes and _SHORT_CODE_CELL.fullmatch(cell):
            return Reading(to=cell, region=region, number_type=SHORT_CODE)
        unwrapped = self._unwrapped(cell, asked) if self._careful else None
        if unwrapped is not None:
            return unwrapped
        changed = None if number is None else describe_change(_digits_of(cell, number, international=international))
        if changed is not None:
            return _held(cell, changed)
        hint = _plus_hint(cell) if not international else ""
        return _held(cell, _fault(number, error, region, international=international) + hint)

    def _repaired(self, cell: str, asked: str | None) -> Reading | None:
        """Return the reading of a cell with a spreadsheet's change undone; None if there is nothing to undo."""
        undone = _undone(cell)
        if undone is None:
            return None
        text, repair = undone
        reading = self.read(text, asked)
        if reading.to is None:
            why = str(reading.detail).removeprefix(f"{_shown(text)} ")
            return _held(cell, f"is {_shown(text)} as a spreadsheet shows it, which {why}")
        if reading.number_type == SHORT_CODE:
            return None
        if _DECIMAL_TAIL.fullmatch(cell):  # it may also be a number with its zeros
            number, _ = _parsed(cell.replace(",", "."), asked if asked and region_ok(asked) else None)
            if number is not None and phonenumbers.is_valid_number(number):
                other = phonenumbers.format_number(number, PhoneNumberFormat.E164)
                if other != reading.to:
                    return _held(cell, f"may mean {reading.to} or {other}; write the one that is meant, with the +")
        return reading._replace(repair=repair)

    def _link_repair(self, cell: str) -> str | None:
        """Return what is said of a number written as a link, which libphonenumber reads without help."""
        return SCHEME_REPAIR.format("tel") if self._careful and _TEL_URI.match(cell) else None

    def _unwrapped(self, cell: str, asked: str | None) -> Reading | None:
        """Return the reading of the one number in a cell that holds more; None where it holds nothing more."""
        inside = unwrap(cell)
        if inside is None or not inside.text or takes_no_texts(cell) or _holds_two_numbers(_plain(cell)):
            return None
        if caution(inside.text) is not None and _undone(inside.text) is None:
            return None
        reading = self.read(inside.text, asked)
        if reading.to is None:
            why = str(reading.detail).removeprefix(f"{_shown(inside.text)} ")
            return _held(cell, f"holds {_shown(inside.text)}, which {why}")
        if reading.number_type == SHORT_CODE:
            return None
        return reading._replace(repair="; ".join(filter(None, (inside.repair, reading.repair))))

    def _doubt(self, cell: str, number: PhoneNumber, region: str | None) -> str | None:
        """Return why a valid national reading may not be the number that is meant, or None."""
        digits = phonenumbers.normalize_digits_only(cell)
        metadata = PhoneMetadata.metadata_for_region(region) if region else None
        lengths = metadata.mobile.possible_length if metadata and metadata.mobile else ()
        if _BARE_DATE.fullmatch(digits) and len(digits) not in lengths:
            return "looks like a date; if it is a number, write it with + and country code"
        own_code = digits.startswith(str(number.country_code))
        if re.fullmatch(BARE_DATE_MINUTE, digits) and len(digits) not in lengths and not own_code:
            return "looks like a date and time; if it is a number, write it with + and country code"
        if own_code:
            other = _valid_with_plus(digits)
            here = phonenumbers.format_number(number, PhoneNumberFormat.E164)
            if other is not None and other != here:
                return f"may mean {other} or {here}; write the one that is meant, with the +"
        return None


def _undone(cell: str) -> tuple[str, str] | None:
    """Return a cell as it was before a spreadsheet changed it, and what was undone; None where digits are lost."""
    if tail := _DECIMAL_TAIL.fullmatch(cell):
        return (tail[1], TAIL_REPAIR) if len(tail[1].removeprefix("+")) <= EXACT_DIGITS else None
    if mark := _TEXT_MARK.fullmatch(cell):
        return str(mark[mark.lastgroup or 0]), MARK_REPAIR
    written = _EXPONENT.fullmatch(cell)
    if written is None or written[1].startswith("-"):
        return None
    digits = written[1] + (written[2] or "")
    complete = len(written[2] or "") == int(written[3][-3:]) and "-" not in written[3]
    if not complete or len(digits.removeprefix("+")) > EXACT_DIGITS:
        return None
    return digits, EXPONENT_REPAIR


def _digits_of(cell: str, number: PhoneNumber, *, international: bool) -> str:
    """Return the digits after a cell's plus as they are written, else the country code and the national number."""
    if international:
        return str(phonenumbers.normalize_digits_only(cell))
    return f"{number.country_code}{phonenumbers.national_significant_number(number)}"


def _held(cell: str, predicate: str) -> Reading:
    return Reading(reason=SkipReason.INVALID_NUMBER.value, detail=f"{_shown(cell)} {predicate}")


def _good(number: PhoneNumber, kind: int) -> Reading:
    return Reading(
        to=phonenumbers.format_number(number, PhoneNumberFormat.E164),
        region=phonenumbers.region_code_for_number(number),
        number_type=NUMBER_TYPES[kind],
    )


def _shown(text: str) -> str:
    return f"`{text}`" if len(text) <= SHOWN_CHARS else f"`{text[:SHOWN_CHARS]}…`"


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
    return HINT.format(number=number) if number else ""


def _fault(number: PhoneNumber | None, error: int | None, region: str | None, *, international: bool) -> str:
    """Return what is wrong with a number that is not valid, as a predicate."""
    if number is None:
        if error == NumberParseException.INVALID_COUNTRY_CODE and international:
            return "does not begin with a country code; write + and the country code first"
        if error == NumberParseException.INVALID_COUNTRY_CODE:
            return NO_REGION
        if error == NumberParseException.TOO_LONG:
            return "is too long for a phone number"
        if error in (NumberParseException.TOO_SHORT_NSN, NumberParseException.TOO_SHORT_AFTER_IDD):
            return "is too short for a phone number"
        return "is not a phone number"
    national = region is not None and phonenumbers.country_code_for_region(region) == number.country_code
    place = region if national and not international else countries.place_of(number.country_code or 0)
    return FAULT_SENTENCES[FAULTS[phonenumbers.is_possible_number_with_reason(number)]].format(place=place)
