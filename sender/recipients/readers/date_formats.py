"""Sections of number formats that show dates, times and durations, and the days that workbooks count."""

from __future__ import annotations

import datetime as dt
import locale
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cache

from babel import Locale, UnknownLocaleError

from sender.recipients.readers.format_tokens import Token, UnknownFormatError

_DAY_S = 24 * 60 * 60
_FIRST_1900, _FIRST_1904 = dt.date(1899, 12, 30), dt.date(1904, 1, 1)
_LEAP_DAY = 60  # 29 February 1900, which there never was: https://learn.microsoft.com/office/troubleshoot/excel
MOST_DAYS = 2_958_466  # the year 10000
_NOON = 12
_FULL_NAME = 4  # `mmmm`, `dddd`
_LETTER = 5  # `mmmmm`
_WESTERN = (0, 1)  # digits and calendar, in the upper bytes of a locale's number


@dataclass(frozen=True, slots=True)
class DateSection:
    """A section for dates, times or durations. `unnamed_language`: it has names of months or days, and no language."""

    tokens: tuple[Token, ...]
    condition: tuple[str, Decimal] | None
    language: str | None
    decimals: int

    @property
    def unnamed_language(self) -> bool:
        names = any(token.kind == "date" and token.text[0] in "md" and len(token.text) >= 3 for token in self.tokens)
        return names and self.language is None

    def show(self, days: Decimal, *, from_1904: bool) -> str | None:
        """Return the text for a number of days; None where a cell shows only `####`."""
        seconds = (days * _DAY_S).quantize(Decimal(1).scaleb(-self.decimals), rounding=ROUND_HALF_UP)
        if not 0 <= seconds < MOST_DAYS * _DAY_S:
            return None
        elapsed = any(token.kind == "elapsed" for token in self.tokens)
        day = None if elapsed else _find_day(seconds, from_1904=from_1904)
        return "".join(self._show_token(place, seconds, day) for place in range(len(self.tokens)))

    def duration(self, days: Decimal) -> str | None:
        """Return a duration as hours, minutes and seconds: `26:03:00`; None for a date or a time of day."""
        if not any(token.kind == "elapsed" for token in self.tokens):
            return None
        seconds = int((days * _DAY_S).quantize(Decimal(1), rounding=ROUND_HALF_UP))
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"

    def _show_token(self, place: int, seconds: Decimal, day: dt.date | None) -> str:
        token = self.tokens[place]
        letter, width = token.text[0], len(token.text)
        if token.kind == "elapsed":
            unit = {"h": 3600, "m": 60, "s": 1}[letter]
            return f"{int(seconds // unit):0{width}}"
        if token.kind == "half":
            return ("AM" if seconds % _DAY_S < _NOON * 3600 else "PM")[: 1 if width == 3 else 2]
        if token.kind == "decimals":
            return "." + f"{seconds % 1:f}".partition(".")[2][: width - 1].ljust(width - 1, "0")
        if token.kind in ("date", "minute"):
            return self._show_part(letter if token.kind == "date" else "minute", width, seconds, day)
        return token.text

    def _show_part(self, part: str, width: int, seconds: Decimal, day: dt.date | None) -> str:
        whole = int(seconds)
        two = min(width, 2)
        match part:
            case "minute":
                return f"{whole // 60 % 60:0{two}}"
            case "s":
                return f"{whole % 60:0{two}}"
            case "h":
                hour = whole // 3600 % 24
                if any(token.kind == "half" for token in self.tokens):
                    hour = hour % _NOON or _NOON
                return f"{hour:0{two}}"
        if day is None:
            raise ValueError("a duration has no date")
        if part == "y":
            return f"{day.year % 100:02}" if width < 3 else f"{day.year:04}"
        if width < 3:
            return f"{day.month if part == 'm' else day.day:0{width}}"
        return self._name(part, width, day)

    def _name(self, part: str, width: int, day: dt.date) -> str:
        cldr = Locale.parse(self.language or "en_US")
        wide = "wide" if width >= _FULL_NAME else "abbreviated"
        if part == "d":
            return str(cldr.days["format"][wide][day.weekday()])
        name = str(cldr.months["format"][wide][day.month])
        return name[:1] if width == _LETTER else name


def parse_date_section(tokens: Sequence[Token]) -> DateSection:
    """Return the section that `tokens` make. Raises UnknownFormatError."""
    condition = next((token.condition for token in tokens if token.kind == "condition"), None)
    language = next((_language(token.text) for token in tokens if token.kind == "locale"), None)
    parts = [token for token in tokens if token.kind not in ("condition", "locale")]
    parts = _join_decimals(parts)
    if any(token.kind in ("#", "?", "%", "E", "general") for token in parts):
        raise UnknownFormatError("")
    decimals = max((len(token.text) - 1 for token in parts if token.kind == "decimals"), default=0)
    return DateSection(tuple(_mark_minutes(parts)), condition, language, decimals)


def _join_decimals(parts: Sequence[Token]) -> list[Token]:
    """Return the parts with `.` and its zeros, which follow seconds, as one."""
    joined: list[Token] = []
    for token in parts:
        last = joined[-1] if joined else None
        if token.kind == "." and last is not None and last.is_date and last.text[0] == "s":
            joined.append(Token("decimals", "."))
        elif token.kind == "0" and last is not None and last.kind == "decimals":
            joined[-1] = Token("decimals", last.text + "0")
        elif token.kind == "0":
            raise UnknownFormatError("")
        else:
            joined.append(token)
    if any(token.kind == "decimals" and token.text == "." for token in joined):
        joined = [Token("literal", ".") if token.text == "." else token for token in joined]
    return joined


def _mark_minutes(parts: Sequence[Token]) -> list[Token]:
    """Return the parts with `m` as minutes where it follows hours or precedes seconds."""
    marked = list(parts)
    places = [place for place, token in enumerate(parts) if token.kind in ("date", "elapsed")]
    for index, place in enumerate(places):
        token = parts[place]
        if token.kind != "date" or token.text[0] != "m" or len(token.text) > 2:
            continue
        before = parts[places[index - 1]].text[0] if index else ""
        after = parts[places[index + 1]].text[0] if index + 1 < len(places) else ""
        if before == "h" or after == "s":
            marked[place] = Token("minute", token.text)
    return marked


@cache
def _language(tag: str) -> str:
    """Return the locale of a tag such as `407` or `de-DE`, as babel names it. Raises UnknownFormatError."""
    name = tag.partition(",")[0]
    try:
        number = int(name, 16)
        if number >> 24 not in _WESTERN or number >> 16 & 0xFF not in _WESTERN:
            raise UnknownFormatError(tag)  # digits of another script, or another calendar
        name = locale.windows_locale.get(number & 0xFFFF, "")
    except ValueError:
        pass
    try:
        return str(Locale.parse(name.replace("-", "_")))
    except (UnknownLocaleError, ValueError, TypeError):
        raise UnknownFormatError(tag) from None


def _find_day(seconds: Decimal, *, from_1904: bool) -> dt.date:
    """Return the date that is `seconds` after a workbook's first day. Raises ValueError where there is none.

    Day 60 of workbooks that count from 1900 is 29 February, and the days before it are one later than it would say.
    """
    day = int(seconds // _DAY_S)
    if from_1904:
        return _FIRST_1904 + dt.timedelta(days=day)
    if day == _LEAP_DAY:
        raise ValueError("there was no 29 February 1900")
    return _FIRST_1900 + dt.timedelta(days=day + (day < _LEAP_DAY))
