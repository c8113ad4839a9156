"""Every number that a cell may mean: for lists of people who must not be texted.

A number too many does less harm there than one too few. So nothing is held for being ambiguous: each reading counts, in
each country that may be meant; two numbers in a cell are two numbers; labels, extensions and invisible characters do
not matter. `sender.phone.normalize` is the opposite: it reads whom to text, and holds what is ambiguous.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

from sender.phone.cell import EXACT_DIGITS, LOCAL_DIGITS, Reader, region_ok

SHORTEST_NUMBER = 4  # digits: Niue, Tokelau and Tristan da Cunha have such
MOST_CHARS = 400  # of a cell; what is longer is a text, not a number
_INVISIBLE = frozenset({"Cf", "Cc", "Cs", "Co", "Cn", "Mn", "Me"})  # Unicode categories
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u30fc\uff0d"), "-")
_TRUNK_ZERO = re.compile(r"\(\s*0\s*\)")
_PIECE = re.compile(r"[+\d(][\d\s+.()\[\]-]*")
_GROUP = re.compile(r"\S+")
_INTERNATIONAL_PREFIX = re.compile(r"^(?:00|011)(?=[1-9])")
_OTHER_ENDING = re.compile(r"(\d)\s*[/\\]\s*(\d{1,4})(?![\s.()-]*\d)")  # 202-555-0147/48
# Alone, and with a day and a month that exist: +263-20-2012345 holds no date.
_DATE = re.compile(
    r"(?<![\d+])(?<!\d[-/. ])(?:"
    r"(?:19|20)\d\d([-/.])(?:0?[1-9]|[12]\d|3[01])\1(?:0?[1-9]|[12]\d|3[01])"
    r"(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
    r"|(?:0?[1-9]|[12]\d|3[01])([-/.])(?:0?[1-9]|[12]\d|3[01])\2(?:19|20)\d\d"
    r")(?![-/.]?\d)"
)
_EXPONENT = re.compile(r"\d[.,]\d+[eE]\+?\d+|\d[eE]\+\d+")
_MOST_GROUPS = 24

# What programs write into a cell that has nothing in it, in lower case. A dash says the same by hand.
PLACEHOLDERS = ("null", "#n/a", "n/a", "nan", "none", "undefined", "-", "\u2013", "\u2014")


class Meanings(NamedTuple):
    """What a cell may mean.

    `numbers` are E.164 numbers and short codes. `keys` are the digits of what was written without a country code, read
    or not: the whole number, or the national part, of somebody in another country than was assumed. With `incomplete`,
    the cell has digits that could be a number and were not read as one; so has a cell without `numbers`.
    """

    numbers: frozenset[str]
    keys: frozenset[int]
    incomplete: bool


class LenientReader:
    """Reads cells under the options of a `sender.phone.normalize` call; `regions` may be several for each cell."""

    def __init__(self, passthrough: frozenset[str], *, short_codes: bool) -> None:
        self._passthrough = passthrough
        self._careful = Reader(passthrough, short_codes=short_codes, careful=True)
        self._careless = Reader(passthrough, short_codes=short_codes, careful=False)

    def read(self, cell: str, regions: tuple[str, ...]) -> Meanings:
        """Return what `cell` may mean in any of `regions` (two letters; unknown ones are left out)."""
        if len(cell) > MOST_CHARS:
            return Meanings(frozenset(), frozenset(), incomplete=True)
        regions = tuple(region for region in dict.fromkeys(regions) if region_ok(region))
        text = clean(cell)
        numbers: set[str] = set()
        keys: set[int] = set()
        for reader in (self._careful, self._careless):
            for version in dict.fromkeys((cell.strip(), text)):
                for region in regions or (None,):
                    reading = reader.read(version or None, region)
                    if reading.to is not None:
                        numbers.add(reading.to)
        is_exact = bool(numbers) and numbers <= self._passthrough
        if is_exact or _EXPONENT.search(text):  # digits are lost, unless the careful reader could write them out
            return Meanings(frozenset(numbers), frozenset(), incomplete=not numbers)
        incomplete = False
        for piece in _pieces(_DATE.sub(" ; ", text)):
            parts, rest = _read_piece(piece, regions)
            incomplete |= rest
            for read in parts.values():
                numbers |= read
            for part in (piece, *parts):
                keys |= _keys(part)
        numbers |= _other_endings(text, regions)
        return Meanings(frozenset(numbers), frozenset(keys), incomplete=incomplete or not numbers)


def clean(cell: str) -> str:
    """Return `cell` without invisible characters, its digits and punctuation as plain ones, tails and marks removed."""
    text = unicodedata.normalize("NFKC", cell).translate(_DASHES)
    text = "".join(
        character if character in "\t\n\r" or unicodedata.category(character) not in _INVISIBLE else ""
        for character in text
    )
    text = "".join(str(unicodedata.digit(char)) if char.isdigit() and not char.isascii() else char for char in text)
    text = re.sub(r"^=?[\"']|[\"']$", "", text.strip())
    text = re.sub(r"^=(?=\+?\d)", "", text)
    text = re.sub(r"^(\+?\d{5,})[.,]0+$", r"\1", text)
    return _TRUNK_ZERO.sub("", text).strip()


def _pieces(text: str) -> Iterator[str]:
    """Yield the parts of a text that could each be a number: apart by letters, signs, and each `+`."""
    for found in _PIECE.findall(text):
        for part in re.split(r"(?=\+)", found):
            if sum(map(str.isdigit, part)) >= 3:
                yield part.strip(" .-()[]\t\n\r")


def _read_piece(piece: str, regions: tuple[str, ...]) -> tuple[dict[str, frozenset[str]], bool]:
    """Return the parts of a piece that may be numbers, each with those, and whether digits are left that could be one.

    Without a sign between them, two numbers may look like one; then both readings count.
    """
    whole = _meanings(piece, regions)
    parts = {piece: whole} if whole else {}
    digits = sum(map(str.isdigit, piece))
    if digits < LOCAL_DIGITS or (whole and digits < 2 * LOCAL_DIGITS):
        return parts, False
    groups = [match.span() for match in _GROUP.finditer(piece)]
    if not 1 < len(groups) <= _MOST_GROUPS:
        return parts, not whole
    ranges = {
        (first, last): (text, read)
        for first in range(len(groups))
        for last in range(first, len(groups))
        if last - first + 1 < len(groups)
        and (read := _meanings(text := piece[groups[first][0] : groups[last][1]], regions))
    }
    widest = [
        (first, last)
        for first, last in ranges
        if not any((start, end) != (first, last) and start <= first and last <= end for start, end in ranges)
    ]
    covered = {group for first, last in widest for group in range(first, last + 1)}
    left = [piece[start:end] for group, (start, end) in enumerate(groups) if group not in covered]
    rest = sum(sum(map(str.isdigit, text)) for text in left) >= LOCAL_DIGITS
    if not (whole and rest):
        parts |= {ranges[key][0]: ranges[key][1] for key in widest}
    return parts, not whole and (rest or not widest)


@lru_cache(maxsize=100_000)
def _meanings(piece: str, regions: tuple[str, ...]) -> frozenset[str]:
    """Return each number that the whole of `piece` may mean: with its `+`, without one, in each region."""
    digits = phonenumbers.normalize_digits_only(piece)
    if not SHORTEST_NUMBER <= len(digits) <= 20:
        return frozenset()
    numbers: set[str | None] = set()
    if "+" in piece:
        numbers.add(_parsed("+" + digits, None))
        if any(numbers):
            return frozenset(number for number in numbers if number)
    elif prefix := _INTERNATIONAL_PREFIX.match(digits):
        numbers.add(_parsed("+" + digits[prefix.end() :], None))
    else:
        numbers.add(_parsed("+" + digits, None))
    numbers |= {_parsed(text, region) for region in regions for text in (piece.replace("+", ""), digits)}
    return frozenset(number for number in numbers if number)


def _parsed(text: str, region: str | None) -> str | None:
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return str(phonenumbers.format_number(number, PhoneNumberFormat.E164))


def _keys(part: str) -> set[int]:
    """Return the digits of a part without a `+`, as they are compared with numbers of other countries."""
    digits = "" if "+" in part else phonenumbers.normalize_digits_only(part).lstrip("0")
    return {int(digits)} if LOCAL_DIGITS <= len(digits) <= EXACT_DIGITS else set()


def _other_endings(text: str, regions: tuple[str, ...]) -> set[str]:
    """Return the numbers whose last digits alone are written: the second in `202-555-0147/48`."""
    numbers: set[str] = set()
    for match in _OTHER_ENDING.finditer(text):
        before = list(_pieces(text[: match.end(1)]))
        if before:
            ending = match[2]
            for number in _meanings(before[-1], regions):
                other = _parsed(number[: -len(ending)] + ending, None)
                numbers |= {other} if other else set()
    return numbers
