"""Composed letters: as Unicode's NFC has them, except for the characters that would look different."""

from __future__ import annotations

import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.core.composed_text import compose_columns, compose_text, describe_composed


@pytest.mark.parametrize(
    ("text", "composed"),
    [
        pytest.param("Andre\u0301", "Andr\u00e9", id="an accent"),
        pytest.param("Nguye\u0302\u0303n Va\u0306n An", "Nguy\u1ec5n V\u0103n An", id="two accents"),
        pytest.param("\u1112\u1161\u11ab", "\ud55c", id="a syllable"),
        pytest.param("\u212bsa, 5 \u2126", "\u00c5sa, 5 \u03a9", id="signs that are letters"),
        pytest.param("\u0438\u0306", "\u0439", id="Cyrillic"),
        pytest.param("x\u0301", "x\u0301", id="no such letter"),
        pytest.param("\ufa19\u7530 e\u0301", "\ufa19\u7530 \u00e9", id="an older character of a name stays"),
        pytest.param("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469", id="emoji"),
        pytest.param("plain", "plain", id="ASCII"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_texts(text: str, composed: str) -> None:
    assert compose_text(text) == composed
    cells, changed = compose_columns(pl.DataFrame({"a": ["x", text], "b": ["y", "z"]}))
    assert cells.to_dict(as_series=False) == {"a": ["x", composed], "b": ["y", "z"]}
    assert changed == (text != composed)


@given(st.lists(st.text(st.characters(max_codepoint=0x3FFF, exclude_categories=["Cs"])), max_size=5))
def test_columns_are_read_as_texts(texts: list[str]) -> None:
    cells, changed = compose_columns(pl.DataFrame({"a": texts}, schema={"a": pl.String}))
    expected = [unicodedata.normalize("NFC", text) for text in texts]
    assert cells["a"].to_list() == [compose_text(text) for text in texts] == expected
    assert changed == sum(old != new for old, new in zip(texts, expected, strict=True))
    assert [compose_text(text) for text in expected] == expected


def test_what_is_said() -> None:
    assert describe_composed(0, 0) == ()
    assert describe_composed(1) == (
        "1 cell was written with separate accents, which were joined to their letters (NFC)",
    )
    assert describe_composed(1200, 1)[0].startswith("1,200 cells and 1 header were written")


@pytest.mark.parametrize("width", [1, 2, 15, 16, 17, 300])
def test_a_column_is_found_among_many(width):
    for places in ([], [0], [width - 1], [width // 2, width - 1]):
        cells = pl.DataFrame({str(at): ["Jose\u0301" if at in places else "Ann", None] for at in range(width)})
        composed, count = compose_columns(cells)
        assert count == len(set(places))
        assert composed.row(0) == tuple("Jos\u00e9" if at in places else "Ann" for at in range(width))
