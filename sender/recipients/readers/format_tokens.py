"""The parts of a number format: sections, and the placeholders, literals, conditions and locales in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

_COLORS = re.compile(r"(?:black|blue|cyan|green|magenta|red|white|yellow|color ?\d{1,2})", re.IGNORECASE)
_CONDITION = re.compile(r"(<=|>=|<>|<|>|=)\s*(-?\d+(?:\.\d+)?)")
_CURRENCY = re.compile(r"\$([^\-\]]*)(?:-([^\]]*))?")
_TOKEN = re.compile(
    r"""
      "(?P<quoted>[^"]*)"
    | \\(?P<escaped>.)
    | _(?P<pad>.)
    | \*(?P<fill>.)
    | \[(?P<bracket>[^\]]*)\]
    | (?P<end>;)
    | (?P<general>general)
    | (?P<half>am/pm|a/p)
    | (?P<exponent>E[+-])
    | (?P<date>y+|m+|d+|h+|s+)
    | (?P<digit>[0\#?])
    | (?P<mark>[.,%/@])
    | (?P<literal>[\s$\-+():!^&'~{}<>=1-9]|[^\x00-\x7f])
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_ELAPSED = re.compile(r"(h+|m+|s+)", re.IGNORECASE)


class UnknownFormatError(ValueError):
    """The format has a part that is not understood."""


@dataclass(frozen=True, slots=True)
class Token:
    """A part of a section. `text` is the literal, or the part as it is written.

    `kind`: `literal`, `0` `#` `?` (digits), `.` `,` `%` `/` `@`, `E`, `general`, `condition`, `locale` (its text is a
    tag such as `407` or `de-DE`), `half` (AM/PM), `date` (y, m, d, h, s) and `elapsed` ([h], [m], [s]).
    """

    kind: str
    text: str

    @property
    def is_date(self) -> bool:
        return self.kind in ("date", "elapsed", "half")

    @property
    def is_digit(self) -> bool:
        return self.kind in ("0", "#", "?")

    @property
    def condition(self) -> tuple[str, Decimal]:
        """The comparison and the number of a `condition`."""
        comparison = self.text.rstrip("-.0123456789 ")
        return comparison, Decimal(self.text.removeprefix(comparison).strip())


def split_sections(code: str) -> list[tuple[Token, ...]]:
    """Return the sections of a number format. Raises UnknownFormatError."""
    sections: list[list[Token]] = [[]]
    at = 0
    while at < len(code):
        match = _TOKEN.match(code, at)
        if match is None:
            raise UnknownFormatError(code)
        at = match.end()
        if match["end"]:
            sections.append([])
        else:
            sections[-1].extend(_tokens(match))
    return [tuple(section) for section in sections]


def _tokens(match: re.Match[str]) -> list[Token]:
    kind, text = str(match.lastgroup), match[str(match.lastgroup)]
    match kind:
        case "quoted" | "escaped" | "literal":
            return [Token("literal", text)]
        case "pad":  # as wide as this character
            return [Token("literal", " ")]
        case "fill":  # repeated to the width of the cell
            return []
        case "bracket":
            return _bracket(text)
        case "exponent":
            return [Token("E", text)]
        case "general" | "half":
            return [Token(kind, text)]
        case "date":
            return [Token("date", text.lower())]
        case "digit" | "mark":
            return [Token(text, text)]
    raise UnknownFormatError(text)


def _bracket(text: str) -> list[Token]:
    """Return the meaning of `[...]`. Raises UnknownFormatError for digits of another script, eras, and what is new."""
    if _COLORS.fullmatch(text):
        return []
    if _CONDITION.fullmatch(text):
        return [Token("condition", text)]
    if _ELAPSED.fullmatch(text):
        return [Token("elapsed", text.lower())]
    currency = _CURRENCY.fullmatch(text)
    if currency is None:
        raise UnknownFormatError(text)
    symbol, tag = currency[1], currency[2]
    return [
        *([Token("literal", symbol)] if symbol else []),
        *([Token("locale", tag)] if tag else []),
    ]
