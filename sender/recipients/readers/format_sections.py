"""Sections of number formats that show numbers: decimals, thousands, percent, currency, fractions, powers of ten."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from fractions import Fraction

import polars as pl

from sender.recipients.readers.format_tokens import Token, UnknownFormatError

_GROUP = 3
_FEWEST_CODE_DIGITS = 3
_FRACTION = re.compile(r"(?P<whole>[#0?]+ +)?(?P<over>[#0?]+)/(?P<under>[#0?]+|[1-9][0-9]*)")
_CODE_LITERALS = re.compile(r"[\d+() ./\-]*")
_GENERAL_DIGITS = 11  # that a cell shows
_PLAIN = re.compile(r"[x%]*(?P<digits>(?P<whole>#*0*)(?:\.(?P<decimals>0+))?)[x%]*")
_WORKBOOK = Context(prec=15, rounding=ROUND_HALF_UP)  # the digits of a number there
_MOST_PLAIN = Decimal(10) ** 15


@dataclass(frozen=True, slots=True)
class NumberSection:
    """A section for numbers.

    `tokens` are its parts without the commas and the condition; `grouped` puts a comma between thousands, `divided` is
    how many thousands the number is divided by. `plain` is the short way for most numbers, where there is one.
    """

    tokens: tuple[Token, ...]
    condition: tuple[str, Decimal] | None
    grouped: bool
    divided: int
    plain: PlainNumbers | None = None

    @property
    def is_code(self) -> bool:
        """Whether its digits stand for something other than an amount: a postcode, a phone number."""
        kinds = [token.kind for token in self.tokens]
        literals = "".join(token.text for token in self.tokens if token.kind == "literal")
        return (
            not self.grouped
            and not self.divided
            and ("+" in literals or sum(token.is_digit for token in self.tokens) >= _FEWEST_CODE_DIGITS)
            and all(kind in ("0", "#", "literal", ".", "/") for kind in kinds)
            and (kinds.count(".") != 1 or "literal" in kinds)
            and _CODE_LITERALS.fullmatch(literals) is not None
        )

    def show(self, value: Decimal) -> str:
        """Return the text for a number that is not negative."""
        value = value * 100 ** sum(token.kind == "%" for token in self.tokens) / 1000**self.divided
        if any(token.kind == "general" for token in self.tokens):
            return "".join(_general(value) if token.kind == "general" else token.text for token in self.tokens)
        if any(token.kind == "E" for token in self.tokens):
            return self._power(value)
        fraction = _FRACTION.fullmatch("".join(token.text for token in self.tokens).strip())
        if fraction is not None:
            return _show_fraction(fraction, value)
        return _lay_out(self.tokens, value, grouped=self.grouped)

    def _power(self, value: Decimal) -> str:
        at = next(place for place, token in enumerate(self.tokens) if token.kind == "E")
        mantissa, power = self.tokens[:at], self.tokens[at + 1 :]
        point = next((place for place, token in enumerate(mantissa) if token.kind == "."), len(mantissa))
        step = max(1, sum(token.is_digit for token in mantissa[:point]))
        exponent = value.adjusted() // step * step if value else 0
        places = Decimal(1).scaleb(-sum(token.is_digit for token in mantissa[point:]))
        if value.scaleb(-exponent).quantize(places, rounding=ROUND_HALF_UP) >= 10**step:
            exponent += step
        shown = _lay_out(mantissa, value.scaleb(-exponent), grouped=False)
        sign = "-" if exponent < 0 else "+" if self.tokens[at].text.endswith("+") else ""
        return f"{shown}E{sign}{_lay_out(power, Decimal(abs(exponent)), grouped=False)}"


@dataclass(frozen=True, slots=True)
class PlainNumbers:
    """The usual section in few steps: one run of digits with literals around it, and numbers above zero.

    `whole` and `places` are the least digits before and the digits after the point; `power` is the power of ten that
    the number is multiplied by. `is_code`: its digits are a code, and all of them are there.
    """

    before: str
    after: str
    whole: int
    places: Decimal
    power: int
    pattern: str
    is_code: bool

    def show_whole(self, numbers: pl.Series) -> pl.Series:
        """Return the texts of whole numbers (String) in a format without decimals and thousands; null for others."""
        if self.places != 1 or self.power or self.pattern != "f":
            return pl.repeat(None, numbers.len(), dtype=pl.String, eager=True)
        digits = pl.when(numbers.str.contains(r"^[1-9][0-9]{0,14}$")).then(numbers.str.zfill(self.whole))
        return pl.select(pl.concat_str(pl.lit(self.before), digits, pl.lit(self.after)).str.strip_chars()).to_series()

    def show(self, stored: str) -> str | None:
        """Return the text for a number; None where it is not above zero or is longer than any in a workbook."""
        try:
            value = _WORKBOOK.create_decimal(stored)
            if not 0 < value < _MOST_PLAIN:
                return None
            if self.power:
                value = value.scaleb(self.power)
            text = format(value.quantize(self.places, rounding=ROUND_HALF_UP), self.pattern)
        except InvalidOperation:
            return None
        if self.whole == 0 and text[0] == "0":
            text = text[1:]
        elif self.whole > 1 and self.places == 1:
            text = text.zfill(self.whole)
        return f"{self.before}{text}{self.after}".strip()


def _find_plain(section: NumberSection) -> PlainNumbers | None:
    kinds = "".join(token.kind if len(token.kind) == 1 else "x" for token in section.tokens)
    match = _PLAIN.fullmatch(kinds)
    if match is None or not match["digits"] or any(token.kind == "general" for token in section.tokens):
        return None
    whole = match["whole"].count("0")
    decimals = len(match["decimals"] or "")
    if whole > 1 and (section.grouped or decimals):
        return None
    texts = [token.text for token in section.tokens]
    after = "".join(texts[match.end("digits") :])
    return PlainNumbers(
        before="".join(texts[: match.start("digits")]),
        after=after,
        whole=whole,
        places=Decimal(1).scaleb(-decimals),
        power=2 * kinds.count("%") - 3 * section.divided,
        pattern=",f" if section.grouped else "f",
        is_code=section.is_code and not any(map(str.isdigit, after)),
    )


def parse_number_section(tokens: Sequence[Token]) -> NumberSection:
    """Return the section that `tokens` make. Raises UnknownFormatError."""
    condition = next((token.condition for token in tokens if token.kind == "condition"), None)
    parts = [token for token in tokens if token.kind not in ("condition", "locale")]
    kept: list[Token] = []
    grouped, divided = False, 0
    for place, token in enumerate(parts):
        if token.kind != ",":
            kept.append(token)
            continue
        rest = [after for after in parts[place + 1 :] if after.kind != ","]
        if not kept or not kept[-1].is_digit:
            kept.append(Token("literal", ","))
        elif rest and rest[0].is_digit and not any(before.kind == "." for before in kept):
            grouped = True
        else:
            divided += 1
    if any(token.kind == "E" for token in kept) and any(token.kind in ("/", "general") for token in kept):
        raise UnknownFormatError("")
    section = NumberSection(tuple(kept), condition, grouped, divided)
    return replace(section, plain=_find_plain(section))


def _lay_out(tokens: Sequence[Token], value: Decimal, *, grouped: bool) -> str:
    """Return the digits of `value` in the places of `tokens`, rounded half up as a spreadsheet does."""
    points = [place for place, token in enumerate(tokens) if token.kind == "."]
    is_dotted = len(points) > 1  # 000.000.0000: dots between digits, not a decimal point
    point = len(tokens) if not points or is_dotted else points[0]
    behind = [token for token in tokens[point + 1 :] if token.is_digit]
    rounded = value.quantize(Decimal(1).scaleb(-len(behind)), rounding=ROUND_HALF_UP)
    whole, _, decimals = f"{rounded:f}".partition(".")
    left = _whole_digits(tokens[:point], whole.lstrip("0"), grouped=grouped)
    if point == len(tokens):
        return left
    if not any(token.is_digit for token in tokens[:point]):
        left += whole.lstrip("0")
    return f"{left}.{_decimal_digits(tokens[point + 1 :], decimals)}"


def _whole_digits(tokens: Sequence[Token], digits: str, *, grouped: bool) -> str:
    places = sum(token.is_digit for token in tokens)
    shown: list[str] = []
    used = count = 0
    for token in reversed(tokens):
        if not token.is_digit:
            shown.append(token.text)
            continue
        used += 1
        if used == places:
            piece = digits or _filler(token)
        else:
            piece, digits = (digits[-1:], digits[:-1]) if digits else (_filler(token), "")
        for digit in reversed(piece):
            if grouped and count and count % _GROUP == 0 and digit.isdigit():
                shown.append(",")
            shown.append(digit)
            count += 1
    return "".join(reversed(shown))


def _decimal_digits(tokens: Sequence[Token], digits: str) -> str:
    significant = len(digits.rstrip("0"))
    shown: list[str] = []
    place = 0
    for token in tokens:
        if not token.is_digit:
            shown.append(token.text)
            continue
        shown.append(digits[place] if place < significant else _filler(token))
        place += 1
    return "".join(shown)


def _filler(token: Token) -> str:
    """What stands in a digit's place where the number has none."""
    return {"0": "0", "?": " ", "#": ""}[token.kind]


def _show_fraction(form: re.Match[str], value: Decimal) -> str:
    exact = Fraction(value)
    whole = exact.numerator // exact.denominator if form["whole"] else 0
    rest = exact - whole
    if form["under"].isdigit() and form["under"][0] != "0":
        under = int(form["under"])
        over = int(rest * under + Fraction(1, 2))
    else:
        near = rest.limit_denominator(10 ** len(form["under"]) - 1)
        over, under = near.numerator, near.denominator
    if form["whole"] and over == under:
        whole, over = whole + 1, 0
    if form["whole"] and not over:
        return str(whole)
    return f"{whole} {over}/{under}" if whole else f"{over}/{under}"


def _general(value: Decimal) -> str:
    if not value:
        return "0"
    places = max(0, _GENERAL_DIGITS - 1 - max(0, value.adjusted()))
    text = f"{value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
