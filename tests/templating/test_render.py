"""A text is what plain jinja2 makes of its row; what cannot be sent stays with the row as a reason."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.core.errors import TemplateError
from sender.templating.budget import MAX_CHARS
from sender.templating.render_columns import render
from sender.templating.template import compile_template
from sender.templating.text_column import verbatim

HEADERS = ["First Name", "amount", "Prénom d'usage"]
NAMES = {"first_name": "First Name", "amount": "amount"}


def one(source: str, *row: str, names: dict[str, str] = NAMES) -> tuple[str | None, str | None, str | None]:
    """The text, reason and detail of a row of HEADERS."""
    cells = pl.DataFrame([(*row, *[""] * (3 - len(row)))], schema=dict.fromkeys(HEADERS, pl.String), orient="row")
    return render(compile_template(source, where="t.j2"), cells, names).row(0)


@pytest.mark.parametrize(
    ("source", "row", "text"),
    [
        pytest.param("Hi {{ first_name }}!", ["Ann"], "Hi Ann!", id="a name"),
        pytest.param("Hi {{ first_name | default('there') }}!", [""], "Hi there!", id="default acts on a blank"),
        pytest.param("Hi {{ first_name | d('there') }}!", [" \u00a0"], "Hi there!", id="blank is white space too"),
        pytest.param("{% if first_name is defined %}x{% else %}y{% endif %}", [""], "y", id="a blank is undefined"),
        pytest.param("{{ row['Prénom d\\'usage'] }}", ["", "", "Zoé"], "Zoé", id="any header through row"),
        pytest.param("{{ row['First Name'] | default('you') }}", [""], "you", id="blank through row"),
        pytest.param("{{ row.amount }}", ["", "5"], "5", id="row with a dot"),
        pytest.param("{{ amount }}", ["", " 007 "], " 007 ", id="cells stand as written"),
        pytest.param("{{ amount | int * 2 }}", ["", "21"], "42", id="arithmetic"),
        pytest.param("{{ first_name }}", ["{{ amount }}"], "{{ amount }}", id="template code in a cell is text"),
        pytest.param("{{ first_name }}", ["{% raw %}"], "{% raw %}", id="a tag in a cell is text"),
        pytest.param("{{ first_name }}", ["<b>&amp;"], "<b>&amp;", id="nothing is escaped"),
        pytest.param("{{ first_name }}", ["=1+1"], "=1+1", id="a formula is text"),
        pytest.param("{{ first_name }}", ["None"], "None", id="a person called None"),
        pytest.param("a\nb\n", [], "a\nb", id="one final newline is dropped"),
        pytest.param("a\n\n", [], "a\n", id="but only one"),
        pytest.param("a\r\nb", [], "a\nb", id="line breaks of the source become line feeds"),
        pytest.param("{{ first_name }}", ["a\r\nb"], "a\r\nb", id="those of a cell do not"),
        pytest.param("", [], "", id="empty template"),
        pytest.param("{{ 'ab' * 3 }}{{ [1] * 2 }}{{ 2 ** 10 }}", [], "ababab[1, 1]1024", id="small repetitions"),
        pytest.param("{% for i in range(3) %}{{ i }}{% endfor %}", [], "012", id="range"),
    ],
)
def test_render(source, row, text):
    assert one(source, *row) == (text, None, None)


@pytest.mark.parametrize(
    ("source", "row", "says"),
    [
        pytest.param("a\nHi {{ first_name }}", [""], "template line 2: `first_name` is blank", id="blank name"),
        pytest.param("{{ row['First Name'] }}", [""], 'row["First Name"] is blank', id="blank through row"),
        pytest.param("{% if first_name %}x{% endif %}", [""], "`first_name` is blank", id="if asks a blank"),
        pytest.param("{{ row['a' ~ amount] }}", ["", "b"], 'row["ab"] is blank', id="header made up at run time"),
        pytest.param("{{ row.get('nope') }}", [], "`None`", id="None never shows"),
        pytest.param("{{ none }}", [], "`None`", id="nor when written"),
        pytest.param("{{ amount | float * 0 }}", ["", "inf"], "`nan`", id="nan never shows"),
        pytest.param("a\n\n{{ 1 / 0 }}", [], "template line 3: ZeroDivisionError", id="arithmetic"),
        pytest.param("{{ amount + 1 }}", ["", "5"], "TypeError", id="cells are text"),
        pytest.param("{{ ''.__class__.__mro__ }}", [], "unsafe", id="sandbox"),
        pytest.param("{{ row.update({'a': 1}) }}", [], "unsafe", id="immutable"),
        pytest.param("{{ '\\ud83d' }}", [], "surrogates", id="half an emoji"),
        pytest.param("{{ 'a' * 10**9 }}", [], "more than a message", id="repeated text"),
        pytest.param("{{ 10**9 * 'a' }}", [], "more than a message", id="repeated text, the other way"),
        pytest.param("{{ [0] * 10**9 }}", [], "more than a message", id="repeated list"),
        pytest.param("{{ 9 ** 9999 }}", [], "more than a message", id="power"),
        pytest.param("{{ first_name * 2000 }}", ["a" * 99], "more than a message", id="a long cell repeated"),
        pytest.param("{% for i in range(10**6) %}{% endfor %}", [], "Range too big", id="range"),
        pytest.param("{% for i in range(9999) %}{{ 'a' * 99 }}{% endfor %}", [], "longer than", id="long output"),
        pytest.param("{{ first_name }}", ["a" * (MAX_CHARS + 1)], "longer than 100,000", id="long cell"),
        pytest.param("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", [], "RecursionError", id="recursion"),
        pytest.param("{{ first_name }}", ["Ren\ufffde"], "damaged characters (\ufffd)", id="lost character"),
        pytest.param("{{ first_name }}", ["RenÃ©e"], "damaged characters (Ã©)", id="UTF-8 read as Latin-1"),
        pytest.param("{{ first_name }}", ["Itâ€™s"], "damaged characters", id="apostrophe"),
        pytest.param("{{ first_name }}", ["5 â‚¬"], "damaged characters", id="euro"),
        pytest.param("{{ first_name }}", ["ðŸ˜€"], "damaged characters", id="emoji"),
        pytest.param("{{ first_name }}", ["ÐŸÑ€Ð¸Ð²ÐµÑ‚"], "damaged characters", id="Cyrillic"),
        pytest.param("{{ first_name }}", ["ï»¿Ann"], "damaged characters", id="byte order mark"),
        pytest.param("{{ first_name }}", ["Ã–sterreich"], "damaged characters", id="O umlaut"),
        pytest.param("{{ first_name }}", ["10Â\u00a0£"], "damaged characters", id="no-break space"),
    ],
)
def test_a_row_that_fails_says_why(source, row, says):
    text, reason, detail = one(source, *row)
    assert (text, reason) == (None, "render_error")
    assert says in detail


@pytest.mark.parametrize(
    "text",
    [
        "“MANHÃ”",
        "Ângela",
        "« été »",
        "Spaß“",
        "CAFÉ…",
        "Ålesund",
        "Œuvre – 5 €",
        "Ð",
        "señor Ñ",
        "İstanbul",
        "Привет",
        "😀",
    ],
)
def test_real_languages_are_not_damaged(text):
    assert verbatim(pl.Series([text])).row(0) == (text, None, None)


def test_verbatim_holds_damage_and_keeps_the_rest():
    frame = verbatim(pl.Series(["{{ x }}", "RenÃ©e", None, ""]))
    assert frame["text"].to_list() == ["{{ x }}", None, None, ""]
    assert frame["reason"].to_list() == [None, "render_error", None, None]


def test_a_failing_row_stops_no_other():
    cells = pl.DataFrame({"n": [str(i) for i in range(25_001)]})
    frame = render(compile_template("{{ 10 // (n | int - 7) }}", where="t"), cells, {"n": "n"})
    assert frame.height == 25_001
    assert frame["reason"].is_not_null().arg_true().to_list() == [7]


@pytest.mark.parametrize(("source", "text"), [("Hi", "Hi"), ("{{ x | d('y') }}", "y")], ids=["constant", "default"])
def test_no_columns(source, text):
    template = compile_template(source, where="t")
    assert render(template, pl.DataFrame(), {}, n=3)["text"].to_list() == [text] * 3
    assert render(template, pl.DataFrame(), {}).height == 0
    assert render(template, pl.DataFrame({"a": ["1", "2"]}), {"a": "a"})["text"].to_list() == [text] * 2


def test_no_rows():
    frame = render(
        compile_template("{{ a }}", where="t"), pl.DataFrame({"a": pl.Series([], dtype=pl.String)}), {"a": "a"}
    )
    assert frame.schema == {"text": pl.String, "reason": pl.String, "detail": pl.String}


@pytest.mark.parametrize(
    ("source", "names", "headers"),
    [
        pytest.param("{{ a }}", {"a"}, set(), id="plain"),
        pytest.param("{{ a | first_name | d('x') }}", set(), set(), id="a filter of ours lets a blank through"),
        pytest.param("{{ a | truncate_sms(end=b) | d('x') }}", {"b"}, set(), id="but not its arguments"),
        pytest.param("{{ a | default('x') }}", set(), set(), id="default"),
        pytest.param("{{ a | d('x') | upper }}", set(), set(), id="default inside"),
        pytest.param("{{ a | upper | d('x') }}", {"a"}, set(), id="default too late"),
        pytest.param("{{ a | default(b) }}", {"b"}, set(), id="the default itself is needed"),
        pytest.param("{{ a | default(b) | default('c') }}", set(), set(), id="unless it has one too"),
        pytest.param("{{ a | d('x') }}{{ a }}", {"a"}, set(), id="once without"),
        pytest.param("{% if a is defined %}{{ a }}{% endif %}", set(), set(), id="is defined"),
        pytest.param("{% if a is defined %}{% else %}{{ a }}{% endif %}", {"a"}, set(), id="in the other branch"),
        pytest.param("{% if a is undefined %}{% else %}{{ a }}{% endif %}", set(), set(), id="is undefined"),
        pytest.param("{% if not a is defined %}{% elif b %}{{ a }}{% endif %}", {"b"}, set(), id="not, then elif"),
        pytest.param("{% if a is defined and a == b %}{{ a }}{% endif %}", {"b"}, set(), id="and"),
        pytest.param("{% if a is undefined or a == 'x' %}{% endif %}", set(), set(), id="or"),
        pytest.param("{% if a is defined or b %}{{ a }}{% endif %}", {"a", "b"}, set(), id="or proves nothing"),
        pytest.param("{{ a if a is defined else b }}", {"b"}, set(), id="inline if"),
        pytest.param("{% if a %}{% endif %}", {"a"}, set(), id="if alone needs it"),
        pytest.param("{% for a in b %}{{ a }}{{ loop.index }}{% endfor %}", {"b"}, set(), id="loop variables"),
        pytest.param("{% set a = b %}{{ a }}", {"b"}, set(), id="set"),
        pytest.param("{{ a }}{% set a = 1 %}", {"a"}, set(), id="set too late"),
        pytest.param("{% macro m(x) %}{{ x }}{{ y }}{% endmacro %}{{ m(1) }}", {"y"}, set(), id="macro"),
        pytest.param("{{ range(3) | list }}{{ namespace(a=1).a }}", set(), set(), id="jinja2's own names"),
        pytest.param("{{ row['A b'] }}{{ row.c }}", set(), {"A b", "c"}, id="row"),
        pytest.param(
            "{{ row['A b'] | d('') }}{% if row.c is defined %}{{ row.c }}{% endif %}", set(), set(), id="row, guarded"
        ),
        pytest.param("{% for k, v in row.items() %}{{ k }}{% endfor %}", set(), set(), id="row's own methods"),
        pytest.param("{% for row in rows %}{{ row }}{% endfor %}", {"rows"}, set(), id="a row of theirs"),
        pytest.param("{# {{ a }} #}{% raw %}{{ b }}{% endraw %}", set(), set(), id="comment and raw"),
    ],
)
def test_needs(source, names, headers):
    template = compile_template(source, where="t")
    assert (template.needs, template.needs_headers) == (names, headers)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        pytest.param("Hi\n{{ frist_name }}", ["t.j2, line 2", "`frist_name`", "did you mean `first_name`"], id="typo"),
        pytest.param("{{ Amount }}", ["`Amount`", "did you mean `amount`"], id="case"),
        pytest.param("{{ zip }}", ["line 1", "`zip`", "columns here: `first_name`, `amount`"], id="nothing near"),
        pytest.param("{{ zip }}\n{{ city }}", ["line 1", "column `zip` (nor `city`)"], id="several"),
        pytest.param("\n{{ row['Firstname'] }}", ["line 2", 'row["Firstname"]', "did you mean `First Name`"], id="row"),
    ],
)
def test_check_names_what_is_missing(source, says):
    with pytest.raises(TemplateError) as caught:
        compile_template(source, where="t.j2").check(NAMES, HEADERS)
    for part in says:
        assert part in str(caught.value)


def test_check_passes():
    template = compile_template("{{ first_name }}{{ row['First Name'] }}{{ zip | d('') }}", where="t")
    template.check(NAMES, HEADERS)
    compile_template("{{ row['Nope'] }}", where="t").check(NAMES)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        pytest.param("a\n{{ b", ["t.j2, line 2", "unexpected end"], id="unclosed"),
        pytest.param("a\n{% if %}", ["line 2"], id="if without a test"),
        pytest.param("{% for x in y %}", ["end of template"], id="for without end"),
        pytest.param("{{ a | uper }}", ["uper", "did you mean `upper`"], id="unknown filter"),
        pytest.param("{{ a is defind }}", ["defind", "did you mean `defined`"], id="unknown test"),
        pytest.param("{{ [1, 2] | random }}", ["random"], id="no chance"),
        pytest.param("\n{% include 'x' %}", ["line 2", "include, extends and import are not available"], id="include"),
        pytest.param("{% extends 'x' %}", ["are not available"], id="extends"),
        pytest.param("{% import 'x' as y %}", ["are not available"], id="import"),
        pytest.param("a\n\n{{ row }}", ["line 3", 'row["Header"]'], id="the whole row"),
        pytest.param("a\nRenÃ©e", ["line 2", "damaged"], id="damaged source"),
        pytest.param("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", ["nested too deeply"], id="nested brackets"),
        pytest.param("{% for x in a %}" * 30 + "{% endfor %}" * 30, ["nested too deeply"], id="nested loops"),
    ],
)
def test_a_broken_template_is_refused(source, says):
    with pytest.raises(TemplateError) as caught:
        compile_template(source, where="t.j2")
    for part in says:
        assert part in str(caught.value)


def test_what_a_row_leaves_behind_is_not_there_for_the_next():
    cells = pl.DataFrame({"a": ["x", "", "y"]})
    source = "{% if a is defined %}{% set seen = a %}{% endif %}{{ seen | d('nothing') }}{{ cycler('1', '2').next() }}"
    assert render(compile_template(source, where="t"), cells, {"a": "a"})["text"].to_list() == ["x1", "nothing1", "y1"]


SHARDS = st.sampled_from(
    ["{{", "}}", "{%", "%}", "{#", "#}", " a ", "b", "row", "['h']", ".c", "|", "d", "('x')", "(", ")", ",", "'", "\n", "1",
     " is defined ", " is undefined ", " if ", " else ", " elif ", " endif ", " for x in ", " endfor ", " not ", " and ",
     " or ", " set x = ", "~", "*", "\0", "é"]
)  # fmt: skip


@given(st.lists(SHARDS, max_size=25).map("".join))
def test_any_source_is_compiled_or_refused(source):
    try:
        template = compile_template(source, where="t")
    except TemplateError:
        return
    assert template.needs <= template.uses
    frame = render(template, pl.DataFrame({"h": ["1"]}), {"a": "h"})
    assert frame["text"].is_null().equals(frame["reason"].is_not_null())
