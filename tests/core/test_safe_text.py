"""What is shown instead of being carried out, and that it can be taken back."""

from __future__ import annotations

import json
import re
import sys
import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.core.safe_text import (
    CONTROLS,
    escape_controls,
    escape_json,
    show_controls,
    to_json,
    unescape_controls,
)

BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
MARKS = {"\u061c", "\u200e", "\u200f"}


def is_dangerous(character: str) -> bool:
    """By Unicode's own tables."""
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in BIDIRECTIONAL
        or character in MARKS
    )


def test_every_dangerous_character_is_shown_and_every_letter_stays() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if character in "\t\n":
            assert show_controls(character) == character
        elif is_dangerous(character):
            assert show_controls(character) == (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
        elif unicodedata.category(character) != "Cf":
            assert show_controls(character) == character


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("Grüße, 世界 🎉", "Grüße, 世界 🎉"),
        ("a\r\nb\rc\n\r", "a\r\nb\\x0dc\n\\x0d"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("👨\u200d💻\ufe0f", "👨\u200d💻\ufe0f"),
    ],
)
def test_shown(text: str, shown: str) -> None:
    assert show_controls(text) == shown
    assert show_controls(shown) == shown


PIECES = st.text(st.characters() | st.sampled_from("\\\\\\xu12b0e\x1b\u202e\r\n"), max_size=30)


@given(PIECES)
def test_an_escaped_text_is_harmless_and_comes_back(text: str) -> None:
    escaped = escape_controls(text)
    assert show_controls(escaped) == escaped
    assert unescape_controls(escaped) == text


@given(PIECES, PIECES)
def test_two_texts_are_never_escaped_alike(a: str, b: str) -> None:
    assert (escape_controls(a) == escape_controls(b)) == (a == b)


@given(st.dictionaries(PIECES, PIECES))
def test_json_has_the_same_value(value: dict[str, str]) -> None:
    for document in (to_json(value), to_json(value, indent=2), escape_json(json.dumps(value, ensure_ascii=False))):
        assert json.loads(document) == value
        assert show_controls(document) == document


def test_json_shows_what_it_does_not_know_as_text() -> None:
    assert to_json({"a": {1}.pop, "b": "é"}).endswith('"b": "é"}')


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_polars_finds_what_python_finds(text: str) -> None:
    has = pl.Series([text]).str.contains(CONTROLS).item()
    assert has == bool(re.search(CONTROLS, text))
    assert has or show_controls(text) == text
