"""What a spreadsheet shows for a number under a cell's number format.

Formats are those of ECMA-376 part 1, 18.8.30 and 18.8.31. Separators are those of a spreadsheet in English; a date
whose form depends on the reader's own system is ISO 8601, and so is a time with a date that is written in that order.
A format that is not understood is never guessed at.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation, localcontext
from functools import lru_cache
from typing import NamedTuple

import polars as pl

from sender.recipients.readers.date_formats import MOST_DAYS, DateSection, parse_date_section
from sender.recipients.readers.format_sections import NumberSection, parse_number_section
from sender.recipients.readers.format_tokens import Token, UnknownFormatError, split_sections

# The formats that a workbook names by number alone. 5 to 8, 42 and 44 have the currency of the reader's own system,
# and 27 to 36 and 50 to 58 depend on its language: they are not here, and a workbook that uses them writes them out.
BUILT_IN: Mapping[int, str] = {
    0: "General",
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    12: "# ?/?",
    13: "# ??/??",
    14: "yyyy-mm-dd",  # the short date of the reader's own system
    15: "d-mmm-yy",
    16: "d-mmm",
    17: "mmm-yy",
    18: "h:mm AM/PM",
    19: "h:mm:ss AM/PM",
    20: "h:mm",
    21: "h:mm:ss",
    22: "yyyy-mm-dd hh:mm",  # the same, with the time
    37: "#,##0_);(#,##0)",
    38: "#,##0_);(#,##0)",
    39: "#,##0.00_);(#,##0.00)",
    40: "#,##0.00_);(#,##0.00)",
    41: '_(* #,##0_);_(* (#,##0);_(* "-"_);_(@_)',
    43: '_(* #,##0.00_);_(* (#,##0.00);_(* "-"??_);_(@_)',
    45: "mm:ss",
    46: "[h]:mm:ss",
    47: "mm:ss.0",
    48: "##0.0E+0",
    49: "@",
}
_SYSTEM_DATE = re.compile(r"\[\$-(?:F800|x-sysdate)\]", re.IGNORECASE)
_SYSTEM_TIME = re.compile(r"\[\$-(?:F400|x-systime)\]", re.IGNORECASE)
_ISO_DAY = re.compile(r"yyyy-mm-dd", re.IGNORECASE)
_ISO_TIME = re.compile(r"yyyy-mm-dd[ T]hh?:mm(?::ss)?", re.IGNORECASE)  # `h` too: openpyxl and pandas write it so
_PLAIN = re.compile(r"(?:general|@|)", re.IGNORECASE)
_MOST_DIGITS = 15  # of a number in a workbook
_LARGEST = Decimal(10) ** 300

_COMPARE: Mapping[str, Callable[[Decimal, Decimal], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "<>": operator.ne,
}


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """A number format. `is_plain`: it shows what is stored; `whole_is_plain`: it does for whole numbers.

    `is_date` says that the numbers are days since the workbook's first.
    """

    code: str
    is_plain: bool = False
    whole_is_plain: bool = False
    is_date: bool = False
    sections: tuple[NumberSection | DateSection, ...] = ()

    @property
    def is_in_english(self) -> bool:
        """Whether it shows names of months or days in a language that it does not name."""
        return any(isinstance(section, DateSection) and section.unnamed_language for section in self.sections)

    def show(self, stored: str, *, from_1904: bool = False) -> ShownNumber | None:
        """Return what a cell shows that stores the number `stored`; None where it cannot show it.

        `from_1904` says that the workbook's days are counted from 1904.
        """
        text, kept = self.show_column(pl.Series([stored]), from_1904=from_1904).row(0)
        return None if text is None else ShownNumber(text, kept)

    def show_column(self, numbers: pl.Series, *, from_1904: bool = False) -> pl.DataFrame:
        """Return `text` and `stored` (String) for each of `numbers` (String): what `show` returns, or nulls.

        Usual formats take a fraction of the time.
        """
        first = self.sections[0] if self.sections else None
        plain = first.plain if isinstance(first, NumberSection) and first.condition is None else None
        if plain is None:
            return _shown_frame([self._show(number, from_1904=from_1904) for number in numbers])
        texts = plain.show_whole(numbers)
        others = texts.is_null().arg_true()
        shown = [
            ShownNumber(text, text if plain.is_code and float(number).is_integer() else None)
            if (text := plain.show(number)) is not None
            else self._show(number, from_1904=from_1904)
            for number in numbers.gather(others)
        ]
        frame = pl.DataFrame({"text": texts, "stored": texts if plain.is_code else texts.clear(texts.len())})
        rest = _shown_frame(shown)
        return pl.DataFrame([frame[name].scatter(others, rest[name]) for name in frame.columns])

    def _show(self, stored: str, *, from_1904: bool) -> ShownNumber | None:
        try:
            with localcontext(prec=40):
                value = +Decimal(stored)
                if not value.is_finite() or abs(value) >= _LARGEST:
                    return None
                if not self.sections:
                    return None
                section, signed = self._choose(value)
                if isinstance(section, DateSection):
                    text = section.show(value, from_1904=from_1904)
                    return None if text is None else ShownNumber(text.strip(), section.duration(value))
                text = (("-" if signed else "") + section.show(_rounded(abs(value)))).strip()
                return ShownNumber(text, text if section.is_code and _has_all_digits(text, value) else None)
        except (InvalidOperation, OverflowError, ValueError):
            return None

    def _choose(self, value: Decimal) -> tuple[NumberSection | DateSection, bool]:
        """Return the section for `value`, and whether a minus is to be put before it."""
        first, *others = self.sections
        conditions = any(section.condition is not None for section in self.sections)
        if conditions:
            for section in self.sections:
                if section.condition is None or _COMPARE[section.condition[0]](value, section.condition[1]):
                    return section, value < 0 and not _is_for_negatives(section.condition)
            raise ValueError("no section is for it")
        if value < 0 and others:
            return others[0], False
        if value == 0 and len(others) > 1:
            return others[1], False
        return first, value < 0


def is_day(stored: str) -> bool:
    """Whether the number `stored` can be the day of a date, up to the year 9999."""
    try:
        return abs(Decimal(stored)) < MOST_DAYS
    except InvalidOperation:
        return False


class ShownNumber(NamedTuple):
    """What a cell shows, and what stands for the number it stores; None: the number itself.

    That is the same text for digits that are a code (`01067`), and hours, minutes and seconds for a duration.
    """

    text: str
    stored: str | None


@lru_cache(1024)
def parse_format(code: str) -> NumberFormat | None:
    """Return the number format `code`; None where it is not understood."""
    if _SYSTEM_DATE.search(code):
        code = BUILT_IN[14]
    elif _SYSTEM_TIME.search(code):
        code = "hh:mm:ss"
    try:
        sections = split_sections(code)
        numeric = [tokens for tokens in sections[:3] if not _is_text(tokens)]
        if not numeric or (len(numeric) == 1 and _PLAIN.fullmatch(_written(numeric[0]))):
            return NumberFormat(code, is_plain=True)
        if len(numeric) == 1 and _ISO_TIME.fullmatch(_written(numeric[0])):
            return NumberFormat(code, is_plain=True, is_date=True)
        parsed = tuple(_parse_section(tokens) for tokens in numeric)
    except UnknownFormatError:
        return None
    alone = _written(numeric[0]) if len(numeric) == 1 else ""
    return NumberFormat(
        code,
        whole_is_plain=alone == "0" or _ISO_DAY.fullmatch(alone) is not None,
        is_date=any(isinstance(section, DateSection) for section in parsed),
        sections=parsed,
    )


def _shown_frame(shown: Sequence[ShownNumber | None]) -> pl.DataFrame:
    texts = [(None, None) if number is None else number for number in shown]
    return pl.DataFrame(texts, schema={"text": pl.String, "stored": pl.String}, orient="row")


def _parse_section(tokens: tuple[Token, ...]) -> NumberSection | DateSection:
    return parse_date_section(tokens) if any(token.is_date for token in tokens) else parse_number_section(tokens)


def _is_text(tokens: tuple[Token, ...]) -> bool:
    return any(token.kind == "@" for token in tokens)


def _written(tokens: tuple[Token, ...]) -> str:
    return "".join(token.text for token in tokens)


def _is_for_negatives(condition: tuple[str, Decimal] | None) -> bool:
    """Whether a section is for negative numbers only; it then has its own minus, or none."""
    return condition is not None and condition[0] in ("<", "<=") and condition[1] <= 0


def _has_all_digits(text: str, value: Decimal) -> bool:
    """Whether the digits in `text` end with all digits of a whole number."""
    if value != value.to_integral_value():
        return False
    return re.sub(r"\D", "", text).endswith(f"{value:.0f}")


def _rounded(value: Decimal) -> Decimal:
    """Return the number with the digits that a workbook has: 0.1 + 0.2 is 0.3 there."""
    if not value:
        return value
    places = _MOST_DIGITS - 1 - value.adjusted()
    return value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)
