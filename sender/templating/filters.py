"""Filters for texts, in addition to jinja2's own: names, amounts, dates by locale, numbers, length in segments.

Each takes a cell as it is and returns a text. A cell it cannot read is a ValueError, which stays with its row: nothing
is guessed about money, dates or numbers. A blank passes through, so that `default` may follow. Where CLDR has a
no-break space there is a plain one here, because a no-break space would force UCS-2. Never asks the machine for its
locale, its time zone, its zone files or the time.
"""

from __future__ import annotations

import datetime as dt
import inspect
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import cache, lru_cache, wraps
from typing import Any
from zoneinfo import ZoneInfo

import phonenumbers
import polars as pl
from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime, format_time
from babel.numbers import format_currency, format_decimal, is_currency
from jinja2 import StrictUndefined, Undefined

from sender import segments as sms
from sender.core.errors import InputError
from sender.rules.zones import zone
from sender.templating.names import NOT_SAID, first_name, name_case

_CACHED = 20_000  # results that a filter caches: names and amounts repeat
_PATTERN_CHARS = 100
_MOST_DIGITS = 12
_MOST_SEGMENTS = 10

_NUMBER = re.compile(r"[+-]?\d{1,18}(\.\d{1,18})?")


def currency(value: str, code: str, locale: str = "en_US") -> str:
    """An amount such as `1234.5` as money: `currency('EUR', 'de_DE')` gives `1.234,50 €`."""
    code = code.upper()
    if not is_currency(code):
        raise ValueError(f"`{code}` is not a currency; write its three-letter code, such as USD")
    return _plain(format_currency(_decimal(value), code, locale=_locale(locale)))


def number(value: str, locale: str = "en_US", digits: int | None = None) -> str:
    """A number such as `1234.5` as the locale writes it; `digits` after the decimal mark, rounded half to even."""
    if digits is None:
        return _plain(format_decimal(_decimal(value), locale=_locale(locale), decimal_quantization=False))
    if not 0 <= digits <= _MOST_DIGITS:
        raise ValueError(f"`digits` must be from 0 to {_MOST_DIGITS}")
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    return _plain(format_decimal(_decimal(value), format=pattern, locale=_locale(locale)))


def date(value: str, format: str = "medium", locale: str = "en_US", tz: str | None = None) -> str:  # noqa: A002
    """The day in an ISO 8601 date or time, as `short`, `medium`, `long`, `full` or a CLDR pattern (`EEEE d MMM`).

    With `tz`, a time with an offset is converted to that zone first, as `time` does.
    """
    moment = _moment(value) if tz is None else _in_zone(value, _moment(value), tz)
    return _plain(format_date(moment.date(), format=_pattern(format), locale=_locale(locale)))


def time(value: str, format: str = "short", locale: str = "en_US", tz: str | None = None) -> str:  # noqa: A002
    """The time of day in `09:30` or an ISO 8601 time; with `tz`, a time with an offset is converted to that zone."""
    try:
        moment: dt.datetime | dt.time = dt.time.fromisoformat(value.strip())
    except ValueError:
        moment = _moment(value)
        if not re.search(r"[T ]\d", value.strip()):
            raise ValueError(f"`{value}` has no time of day; write it as 09:30 or 2026-03-01T09:30") from None
    if tz is not None:
        local = _in_zone(value, moment, tz)
        return _plain(format_datetime(local, _time_pattern(format, locale), locale=_locale(locale)))
    return _plain(format_time(moment.replace(tzinfo=None), format=_pattern(format), locale=_locale(locale)))


def phone(value: str, style: str = "national", region: str | None = None) -> str:
    """A phone number as `national`, `international`, `e164` or `rfc3966`; `region` for one without `+`."""
    styles = {
        "national": phonenumbers.PhoneNumberFormat.NATIONAL,
        "international": phonenumbers.PhoneNumberFormat.INTERNATIONAL,
        "e164": phonenumbers.PhoneNumberFormat.E164,
        "rfc3966": phonenumbers.PhoneNumberFormat.RFC3966,
    }
    if style not in styles:
        raise ValueError(f"`{style}` is not a style of phone numbers; write one of {', '.join(styles)}")
    try:
        parsed = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        parsed = None
    if parsed is None or not phonenumbers.is_valid_number(parsed):
        raise ValueError(f"`{value}` is not a phone number" + ("" if region else "; without `+` it needs a region"))
    return _plain(phonenumbers.format_number(parsed, styles[style]))


def truncate_sms(value: str, segments: int = 1, end: str = "...") -> str:
    """The text if it fits in `segments` segments, else as many whole words as fit, and `end`.

    Counts as `sender.segments` does: a GSM-7 text has 160 septets in one segment and 153 in each of several, any other
    text 70 and 67 units of UTF-16. A first word that is too long by itself is cut.
    """
    if not 1 <= segments <= _MOST_SEGMENTS:
        raise ValueError(f"`segments` must be from 1 to {_MOST_SEGMENTS}")
    if _fits(value, segments):
        return value
    text = value[: 160 * segments + 1]
    ends = [match.start() for match in re.finditer(r"(?<=\S)(?=\s)", text)]
    words = _longest(text, ends, end, segments)
    if words is None:
        # Not before a mark that modifies the previous character: accents, joiners, skin tones.
        cuts = [at for at in range(1, len(text)) if not _MARKS.match(text[at]) and text[at - 1] != "\u200d"]
        words = _longest(text, cuts, end, segments)
    if words is None:
        raise ValueError(f"`end` alone does not fit in {segments} segments")
    return words


def _longest(text: str, ends: list[int], end: str, segments: int) -> str | None:
    """Return the longest text up to one of `ends`, with `end`, that fits; None if none does."""
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        if _fits(text[: ends[middle]] + end, segments):
            low = middle + 1
        else:
            high = middle
    return text[: ends[low - 1]] + end if low else None


_ONE_SEPTET = frozenset(sms.GSM_BASIC)
_TWO_SEPTETS = frozenset(sms.GSM_EXTENSION)
_SEPTETS = _ONE_SEPTET | _TWO_SEPTETS
# Characters that must not be separated from their neighbours: a text with one is counted by `measure`.
_TOGETHER = re.compile(
    r"[^\u0000-\u02ff\u0370-\u0482\u048a-\u0590\u1e00-\u1fff\u2010-\u2027\u2030-\u205e\u20a0-\u20c0"
    r"\u3001-\u3029\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3]"
)
_MARKS = re.compile(r"[\u0300-\u036f\u200d\ufe0f\U0001f3fb-\U0001f3ff]")


def _fits(text: str, segments: int) -> bool:
    if _ONE_SEPTET.issuperset(text) and "\r" not in text:
        return len(text) <= (160 if segments == 1 else 153 * segments)
    if _SEPTETS.issuperset(text) and len(text) + sum(map(_TWO_SEPTETS.__contains__, text)) <= 160:
        return True
    if _SEPTETS.issuperset(text) or _TOGETHER.search(text) or "\r" in text:
        return int(sms.measure(pl.Series([text]))["segments"].item()) <= segments
    return len(text) <= (70 if segments == 1 else 67 * segments)


def _decimal(value: str) -> Decimal:
    text = value.strip()
    if not _NUMBER.fullmatch(text) or not text.isascii():
        raise ValueError(f"`{value}` is not a plain number; write it as 1234.50, without separators or currency signs")
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"`{value}` is not a number") from None


def _moment(value: str) -> dt.datetime:
    text = value.strip()
    if not re.match(r"\d{4}-\d\d-\d\d(?!\d)", text):
        raise ValueError(f"`{value}` is not an ISO 8601 date; write it as 2026-03-01 or 2026-03-01T09:30")
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"`{value}`: {error}; write it as 2026-03-01 or 2026-03-01T09:30") from None


@cache
def _locale(name: str) -> Locale:
    try:
        return Locale.parse(name, sep="-" if "-" in name else "_")
    except (UnknownLocaleError, ValueError, TypeError):
        raise ValueError(f"there is no locale `{name}`; write it as en_US or de_DE") from None


def _in_zone(value: str, moment: dt.datetime | dt.time, tz: str) -> dt.datetime:
    """Return `moment`, which `value` was read as, on the clock of a zone."""
    local = _zone(tz)
    if not isinstance(moment, dt.datetime) or moment.tzinfo is None:
        raise ValueError(
            f"`{value}` has no UTC offset, so it cannot be converted to {tz}; write it as 2026-03-01T09:30Z"
        )
    return moment.astimezone(local)


def _zone(name: str) -> ZoneInfo:
    try:
        return zone(name)
    except InputError as error:
        raise ValueError(f"{error.what}; {error.fix}") from None


def _pattern(text: str) -> str:
    if len(text) > _PATTERN_CHARS:
        raise ValueError(f"a pattern may have at most {_PATTERN_CHARS} characters")
    return text


def _time_pattern(text: str, locale: str) -> str:
    styles = _locale(locale).time_formats
    return str(styles[text].pattern) if text in styles else _pattern(text)


def _plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u202f", " ").replace("\u2009", " ")


def _filter(function: Callable[..., str | None]) -> Callable[..., Any]:
    """Return `function` as a filter: a blank passes through, numbers are taken as text, results are cached.

    None becomes a blank, on which `default` acts.
    """
    cached = lru_cache(_CACHED)(function)

    @wraps(function)
    def filtered(value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, Undefined):
            return value
        text = str(value)
        result = cached(text, *args, **kwargs)
        return StrictUndefined(f"`{text}` {NOT_SAID}") if result is None else result

    return filtered


FILTERS: Mapping[str, Callable[..., Any]] = {
    function.__name__: _filter(function)
    for function in (currency, date, first_name, name_case, number, phone, time, truncate_sms)
}


def find_misuse(name: str, args: list[Any], kwargs: dict[str, Any]) -> str | None:
    """Return what is wrong with a filter's constant arguments, or None. An argument that depends on the row is None."""
    try:
        bound = inspect.signature(FILTERS[name]).bind("", *args, **kwargs).arguments
        if bound.get("locale") is not None:
            _locale(bound["locale"])
        if bound.get("tz") is not None:
            _zone(bound["tz"])
    except (TypeError, ValueError) as error:
        return f"`{name}`: {error}"
    return None
