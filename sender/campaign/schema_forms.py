"""What the JSON Schema says of texts that have a form of their own: rates, shares, times, durations, regions.

An editor is to accept what `load_campaign` accepts and to refuse what it refuses; a test holds the two together. JSON
Schema's regular expressions know no case folding, so letters stand in both cases.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from sender.phone import countries


def _word(text: str) -> str:
    """Return a pattern of the word in whatever case."""
    return "".join(f"[{letter.upper()}{letter.lower()}]" if letter.isalpha() else letter for letter in text)


def _words(*words: str) -> str:
    return "|".join(_word(word) for word in words)


def _whole(pattern: str) -> str:
    return rf"^\s*(?:{pattern})\s*$"


def _two_letters(codes: frozenset[str]) -> str:
    """Return a pattern of codes of two letters, grouped by the first."""
    groups = groupby(sorted(codes), key=lambda code: code[0])
    return "|".join(
        _word(first) + "[" + "".join(code[1] + code[1].lower() for code in same) + "]" for first, same in groups
    )


_UNITS = _words("seconds", "second", "secs", "sec", "s", "minutes", "minute", "mins", "min", "m")
_LONG_UNITS = _words("hours", "hour", "hrs", "hr", "h", "days", "day", "d", "weeks", "week", "w")
_POSITIVE = r"(?=[\d.]*[1-9])(?:\d+\.?\d*|\.\d+)"
_PER = rf"{_POSITIVE}\s*/\s*(?:{_words('second', 'sec', 's', 'minute', 'min', 'm', 'hour', 'h')})"
_CLOCK = rf"(?:\d{{1,2}}(?::\d{{2}}(?::\d{{2}}(?:\.0+)?)?)?\s*(?:[AaPp]\.?[Mm]\.?)?|{_words('noon', 'midnight')})"
_PLACE = rf"(?:[A-Za-z][\w+\-]*(?:/[\w+\-]+)+|{_words('utc', 'gmt', 'z')}|[+-]\d{{2}}(?::?\d{{2}})?)"
_NAME = r"[^0-9+]{3,}|[^0-9+]*[^\x00-\x7F0-9+][^0-9+]*"  # of three letters, or fewer of another script

RATE: dict[str, Any] = {
    "anyOf": [
        {
            "type": "string",
            "pattern": _whole(rf"{_words('auto', 'none')}|{_PER}|{_POSITIVE}(?:[eE][+-]?\d+)?"),
        },
        {"type": "number", "exclusiveMinimum": 0},
    ]
}
START: dict[str, Any] = {
    "type": "string",
    "pattern": _whole(rf"\d{{4}}-\d{{1,2}}-\d{{1,2}}[Tt ,]\s*{_CLOCK}\s*{_PLACE}"),
}
DURATION: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": _whole(rf"\d+(?:\.\d+)?\s*(?:{_UNITS}|{_LONG_UNITS})?")},
        {"type": "number", "minimum": 0},
    ]
}
REGION: dict[str, Any] = {
    "type": "string",
    "pattern": _whole(rf"{_two_letters(countries.two_letter_codes())}|\+ ?\d{{1,3}}|{_NAME}"),
}


def share(*, zero: bool) -> dict[str, Any]:
    """Return the form of a share such as `25%`, `0.25` or `none`: from 0 to below 1 (`zero`), else above 0 up to 1."""
    below_all = r"0*\d{0,2}(?:\.\d*)?\s*%|0*(?:\.\d*)?"
    percent = below_all if zero else rf"{below_all}|0*100(?:\.0*)?\s*%|0*1(?:\.0*)?"
    number = {"minimum": 0, "exclusiveMaximum": 1} if zero else {"exclusiveMinimum": 0, "maximum": 1}
    guard = r"(?=[.]?\d)" if zero else r"(?=[\d.]*[1-9])"  # there is a digit
    pattern = rf"^(?:none|\s*{guard}(?:{percent})\s*)$"
    return {"anyOf": [{"type": "string", "pattern": pattern}, {"type": "number", **number}]}
