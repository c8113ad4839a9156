"""Cells with one clear number inside are read, with a sentence; every other cell stays held."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender import phone
from sender.phone.wrapped import (
    BLANK_REPAIR,
    INVISIBLE_REPAIR,
    LABEL_REPAIR,
    QUOTE_REPAIR,
    SCHEME_REPAIR,
    SEPARATOR_REPAIR,
    SIGN_REPAIR,
    THOUSANDS_REPAIR,
    unwrap,
)

N = "+12125550123"


def read(cell: str, region: str | None = "US", *, rows: int = 1, **options: Any) -> dict[str, Any]:
    """Of many rows, which are read by tables, and of one."""
    frame = phone.normalize(pl.Series([cell] * rows), default_region=region, **options)
    return frame.row(rows - 1, named=True)


@pytest.mark.parametrize("rows", [1, 5_000], ids=["a cell", "a column"])
@pytest.mark.parametrize(
    ("cell", "repair"),
    [
        *[
            (cell, QUOTE_REPAIR)
            for cell in ['"2125550123"', "’2125550123", "‘2125550123’", "“2125550123”", "«2125550123»", "`2125550123",
                         "'212-555-0123'", '"+12125550123"', "'\"2125550123\"", "2125550123'", "„2125550123“"]
        ],
        *[
            (f"212{blank}555{blank}0123", BLANK_REPAIR)
            for blank in "\t\n\u2002\u2003\u2007\u2009\u200a\u202f\u205f"
        ],
        *[
            (f"212{unseen}5550123", INVISIBLE_REPAIR)
            for unseen in "\u200c\u200d\u200e\u200f\ufeff"
        ],
        ("sms:+12125550123", SCHEME_REPAIR.format("sms")),
        ("SMS:2125550123", SCHEME_REPAIR.format("sms")),
        ("tel:+1-212-555-0123", SCHEME_REPAIR.format("tel")),
        ("Tel:2125550123", SCHEME_REPAIR.format("tel")),
        ("whatsapp:+12125550123", SCHEME_REPAIR.format("whatsapp")),
        ("smsto:2125550123", SCHEME_REPAIR.format("smsto")),
        ("callto://2125550123", SCHEME_REPAIR.format("callto")),
        *[
            (cell, LABEL_REPAIR)
            for cell in ["Mobile: 212-555-0123", "mobile 212-555-0123", "Cell. 212-555-0123", "M: 212-555-0123",
                         "(m) 212-555-0123", "[Mobile] 212-555-0123", "Mobile Phone: 212-555-0123", "Cell #: 212-555-0123",
                         "Home (212) 555-0123", "212-555-0123 (mobile)", "212-555-0123 mobile", "212-555-0123 - cell",
                         "212-555-0123 (c)", "Mobile: 1 212 555 0123", "Handy: +1 212 555 0123", "Tél. : 212 555 0123",
                         "Móvil 212-555-0123", "Telefoon: 212-555-0123", "T. +1 212 555 0123", "Mobile=2125550123"]
        ],
        *[
            (cell, SIGN_REPAIR)
            for cell in ["212-555-0123,", "212-555-0123;", ":2125550123", "<212-555-0123>", "☎ 212-555-0123",
                         "📱2125550123", "+1 212 555 0123 📱"]
        ],
        *[(cell, SEPARATOR_REPAIR) for cell in ["212·555·0123", "212•555•0123", "212_555_0123", "212|555|0123"]],
        ("2,125,550,123", THOUSANDS_REPAIR),
        ("2'125'550'123", THOUSANDS_REPAIR),
        ("Mobile: 2125550123.0", f"{LABEL_REPAIR}; dropped the decimals that a spreadsheet added"),
        ('"Mobile: 212-555-0123"', f"{QUOTE_REPAIR}; {LABEL_REPAIR}"),
    ],
)  # fmt: skip
def test_one_number_can_be_meant(cell, repair, rows):
    row = read(cell, rows=rows)
    assert (row["to"], row["repair"], row["reason"]) == (N, repair, None)
    assert read(cell, careful=False)["repair"] is None


@pytest.mark.parametrize("rows", [1, 5_000], ids=["a cell", "a column"])
@pytest.mark.parametrize(
    ("cell", "says"),
    [
        pytest.param("Mobile: 212-555-0123, 212-555-0124", "two numbers", id="two numbers"),
        pytest.param("Home: 212-555-0123 Cell: 212-555-0124", "two numbers", id="two labels"),
        pytest.param("5550123|5550124", "two numbers", id="two with a sign between"),
        pytest.param('"2125550123" "2125550124"', "two numbers", id="two in quotes"),
        pytest.param("212-555-0123 ext 5", "letters", id="an extension"),
        pytest.param("Work: 212-555-0123 x5", "letters", id="an extension behind a label"),
        pytest.param("tel:+1-212-555-0123;ext=5", "letters", id="an extension in a link"),
        pytest.param("212 555 0123 John", "letters", id="a name"),
        pytest.param("212 555 0123 (no texts)", "letters", id="a remark"),
        pytest.param("wrong number 212 555 0123", "letters", id="a warning"),
        pytest.param("1-800-FLOWERS", "letters", id="keypad letters"),
        pytest.param("O2125550123", "letters", id="a letter for a digit"),
        pytest.param("Mobile 2: 212-555-0123", "letters", id="a numbered label"),
        pytest.param("Mobile 1 212 555 0123", "letters", id="a numbered label, or the country code"),
        pytest.param("Cell2125550123", "letters", id="a label without an end"),
        pytest.param("Fax: 212-555-0123", "fax", id="a fax"),
        pytest.param("212-555-0123 (fax)", "fax", id="a fax at the end"),
        pytest.param("Landline: 212-555-0123", "landline", id="a landline"),
        pytest.param("Mobile: 212-555-01", "holds `212-555-01`, which is too short", id="a number that is wrong"),
        pytest.param('"2024-01-15"', '`"`', id="a date in quotes"),
        pytest.param("2125550123,99", "`,`", id="decimals"),
        pytest.param("212*555*0123", "`*`", id="a dial code"),
        pytest.param("#2125550123", "`#`", id="a number sign"),
        pytest.param('""', '`"`', id="only quotes"),
        pytest.param("Mobile:", "letters", id="only a label"),
    ],
)  # fmt: skip
def test_anything_else_stays_held(cell, says, rows):
    row = read(cell, rows=rows)
    assert (row["to"], row["repair"], row["reason"]) == (None, None, "invalid_number")
    assert says in row["detail"]


def test_a_wrapped_number_may_be_as_doubtful_as_a_bare_one():
    assert "may mean" in read('"4915123456789"', "DE")["detail"]


def test_a_wrapped_short_code_is_no_number():
    options = {"short_codes": True, "passthrough": frozenset({"988"})}
    assert [read(cell, **options)["to"] for cell in ("12345", '"12345"', "988", '"988"')] == [
        "12345",
        None,
        "988",
        None,
    ]


@given(
    st.sampled_from(
        ["2125550123", "(212) 555-0123", "+44 7700 900123", "07700 900123", "12", "555-0123", "0152 28817386"]
    ),
    st.sampled_from(
        ["{}", '"{}"', "sms:{}", "tel:{}", "Mobile: {}", "{} (cell)", "\u2009{}\u200d", "“{}”", "<{}>", "{};"]
    ),
    st.sampled_from(["US", "DE", "GB", None]),
)
def test_what_stands_around_a_number_never_makes_it_another(number, around, region):
    """Whatever is dropped, the number is the one that the bare cell would be, or there is none."""
    assert read(around.format(number), region)["to"] in (read(number, region)["to"], None)


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_nothing_but_digits_plus_and_punctuation_of_the_cell_is_left(cell):
    inside = unwrap(cell)
    if inside is not None:
        digits = [character for character in inside.text if character.isdigit()]
        rest = iter(character for character in cell if character.isdigit())
        assert all(digit in rest for digit in digits)
