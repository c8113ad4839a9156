"""Conditions on a row: what they see, what they may not do, and what is refused."""

from __future__ import annotations

import polars as pl
import pytest

from sender.core.errors import TemplateError
from sender.templating import compile_condition, evaluate

CELLS = pl.DataFrame({"Opt In?": ["Y", "N", "", " Y ", "y"], "Age": ["20", "x", "", "17", "30"]})
NAMES = {"opt_in": "Opt In?", "age": "Age", "Age": "Age"}


def holds(source: str) -> list[bool | None]:
    condition = compile_condition(source, where="recipients.where")
    columns = condition.find_columns(NAMES, tuple(CELLS.columns))
    return evaluate(condition, CELLS.select(columns), NAMES)["holds"].to_list()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("opt_in == 'Y'", [True, False, False, True, False], id="blanks around a cell do not count"),
        pytest.param("opt_in != 'N'", [True, False, True, True, True], id="a blank cell is an empty text"),
        pytest.param("opt_in | lower == 'y' and age | int >= 18", [True, False, False, False, True], id="two columns"),
        pytest.param('row["Opt In?"] in ("Y", "y")', [True, False, False, True, True], id="by its header"),
        pytest.param("row.Age == '20'", [True, False, False, False, False], id="by its header after a dot"),
        pytest.param("not opt_in", [False, False, True, False, False], id="blank only"),
        pytest.param("opt_in == '%}'", [False] * 5, id="what ends a block, in a text"),
        pytest.param("opt_in\n== 'Y'", [True, False, False, True, False], id="over lines"),
        pytest.param("opt_in is defined", [True] * 5, id="there is no undefined cell"),
        pytest.param("opt_in | default('Y') == 'Y'", [True, False, False, True, False], id="nor a default of one"),
        pytest.param("(age | int) + 1 > 20 or false", [True, False, False, False, True], id="numbers"),
        pytest.param("10 // (age | int(1)) > 0 or age == '17'", [False, True, True, True, False], id="division"),
    ],
)
def test_conditions(source, expected):
    assert holds(source) == expected


@pytest.mark.parametrize(
    ("source", "says"),
    [
        pytest.param("opt_in", "gives `Y`, which is neither true nor false", id="a bare column: `N` would be true"),
        pytest.param("opt_in == 'Y' and age", "gives `20`", id="a text at the end"),
        pytest.param("age | int", "gives `20`", id="a number"),
        pytest.param("age > 18", "fails for every row", id="text and number"),
        pytest.param("{{ opt_in == 'Y' }}", "is not an expression", id="a template"),
        pytest.param("opt_in = 'Y'", "is not an expression", id="an assignment"),
        pytest.param("opt_in == 'Y') or (true", "is not an expression", id="brackets that close too much"),
        pytest.param("true %}{% if opt_in", "is not an expression", id="a block that is closed"),
        pytest.param("(", "is not an expression", id="open"),
        pytest.param("'' ~ opt_in.__class__ == 'x'", "fails for every row", id="Python's insides"),
        pytest.param("('a' ~ opt_in) * 10**9 == 'b'", "fails for every row", id="memory"),
        pytest.param("range(10**8) | list == opt_in", "fails for every row", id="time"),
        pytest.param("opt_in | nosuch == 'Y'", "No filter named", id="a filter that does not exist" ),
    ],
)  # fmt: skip
def test_what_is_refused(source, says):
    with pytest.raises(TemplateError, match=says.replace("`", ".")) as caught:
        holds(source)
    assert caught.value.where.startswith("recipients.where")


def test_a_row_for_which_it_fails_is_neither_in_nor_out():
    condition = compile_condition("10 // (age | int) > 0", where="recipients.where")
    answers = evaluate(condition, CELLS.select("Age"), NAMES)
    assert answers["holds"].to_list() == [False, None, None, False, False]
    assert "ZeroDivisionError" in answers["detail"][1]


@pytest.mark.parametrize(
    ("source", "columns"),
    [
        ("age == '1'", ("Age",)),
        ('row["Age"] == opt_in', ("Opt In?", "Age")),
        ("row[age] == '1'", ("Opt In?", "Age")),
        ("row['Age'] | default('') == ''", ("Age",)),
        ("1 == 1", ()),
    ],
)
def test_the_columns_that_it_reads(source, columns):
    assert compile_condition(source, where="w").find_columns(NAMES, ("Opt In?", "Age")) == columns


def test_each_distinct_row_is_looked_at_once():
    """A million rows of consent cost two evaluations: else the budget of all texts would end."""
    cells = pl.DataFrame({"Age": ["1", "2"] * 400_000})
    condition = compile_condition("age == '1'", where="w")
    assert evaluate(condition, cells, {"age": "Age"})["holds"].sum() == 400_000


def test_a_placeholder_is_an_empty_text_as_a_blank_is():
    cells = pl.DataFrame({"Opted in": ["2026-01-05", "NULL", " NULL ", "", "Null"]})
    condition = compile_condition("opted_in != ''", where="w", placeholders=("NULL", "nan"))
    holds = evaluate(condition, cells, {"opted_in": "Opted in"})["holds"].to_list()
    assert holds == [True, False, False, False, True], "`Null` is a name"
    condition = compile_condition("prefs.sms != ''", where="w", placeholders=("NULL",))
    cells = pl.DataFrame({"prefs": ['{"sms": "NULL"}', '{"sms": "yes"}']})
    holds = evaluate(condition, cells, {"prefs": "prefs"}, cells)["holds"].to_list()
    assert holds == [False, True], "also within a mapping"


@pytest.mark.parametrize("source", ["age != 'NULL'", "age in ('', 'NULL')", "age | upper == 'NULL'"])
def test_a_condition_that_looks_for_a_placeholder_is_refused(source):
    """It was true of other rows than its author meant: the cell is blank here."""
    with pytest.raises(TemplateError, match="looks for `NULL`, which counts as blank") as caught:
        compile_condition(source, where="recipients.where", placeholders=("NULL", "nan"))
    assert "recipients.placeholders" in str(caught.value)
    assert compile_condition(source, where="recipients.where")
