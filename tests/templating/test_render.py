"""A text is what plain jinja2 makes of its row; what cannot be sent stays with the row as a reason."""

from __future__ import annotations

from unittest import mock

import jinja2
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sender.core.errors import TemplateError
from sender.templating import render_columns
from sender.templating.budget import MAX_CHARS
from sender.templating.filters import FILTERS
from sender.templating.render_columns import render
from sender.templating.template import compile_template
from sender.templating.text_column import verbatim
from tests.profiles import examples

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


# Each stands where the others may have left names, loops and blanks behind.
PIECES = st.sampled_from(
    [
        "Hi ", "\n", "\r\n", "é😀", "\x1e", "{# note #}", "{{ '{{' }}",
        "{{ a }}", "{{ b | default('x') }}", "{{ b | d(a) | title }}", "{{ a | d('y') | upper }}", "{{ a | upper }}",
        "{{ b | lower }}", "{{ a | trim | upper }}", "{{ b | d(' ß ') | trim }}", "{{ nowhere | d('q') }}", "{{ nowhere }}",
        "{{ row['A a'] }}", "{{ row['B'] | d('none') }}", "{{ row.B | upper }}", "{{ row['nope'] | d('n') }}",
        "{{ row.get('B', 'q') }}", "{{ row.items() | list | length }}", "{{ row['ite' ~ 'ms'] is defined }}",
        "{% if a is defined and a | length > 1 %}{{ a }}{% else %}-{% endif %}", "{% if b == '1' %}one{% endif %}",
        " {%- if a %} y {% endif -%} ", "{{ a if b is defined else 'no' }}", "{{ a if b is defined }}",
        "{% for c in a %}{{ c }}{{ loop.index }}{% endfor %}", "{% for a in 'pq' %}{{ a }}{% endfor %}{{ a }}",
        "{% for c in a if c != 'a' %}{{ c }}{% else %}none{% endfor %}", "{% for row in 'x' %}{{ row.x | d('-') }}{% endfor %}",
        "{% for x in [[1, [2]], [3]] recursive %}{{ x if x is number else loop(x) }}{% endfor %}", "{{ loop is defined }}",
        "{% set x = a %}{{ x }}", "{% set a = a ~ '!' %}{{ a }}", "{% if b is defined %}{% set a = 'z' %}{% endif %}{{ a }}",
        "{% if b is defined %}{% set y = 'z' %}{% endif %}{{ y is defined }}", "{% set a, c = 'x', 'y' %}{{ a }}{{ c }}",
        "{% set z %}{{ a }}{{ b | d('') }}{% endset %}{{ z | length }}", "{% with t = a %}{{ t }}{{ b | d('') }}{% endwith %}",
        "{% set ns = namespace(n=0) %}{% for c in a %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
        "{% macro m(q, r='d') %}[{{ q }}{{ a }}{{ r }}]{% endmacro %}{{ m(1) }}{{ m(b, r=a) }}", "{{ m(2) }}",
        "{% macro n(q) %}{{ caller(q) }}{% endmacro %}{% call(u) n(a) %}<{{ u }}{{ b | d('-') }}>{% endcall %}",
        "{% filter upper %}{{ a }}q{% endfilter %}", "{% block k %}{{ a }}{% endblock %}", "{{ self.k() }}",
        "{{ a ~ b }}", "{{ a | int + 1 }}", "{{ 'x' * (a | length) }}", "{{ (a ~ 'b') | upper }}", "{{ a + b }}", "{{ 1 / 0 }}",
        "{{ a[0] }}", "{{ 'ab'[0:1] }}", "{{ 'a' in a }}", "{{ [a, b | d('')] | join('-') }}", "{{ {'k': a}.k }}", "{{ (a, 1) }}",
        "{{ a | replace('a', b) | truncate(5) }}", "{{ a | replace('a', 'bb') | upper | replace('B', 'ccc') }}", "{{ a | wordwrap(3) }}",
        "{{ b | d('q') | string | indent(2) }}", "{{ a | center(9) }}", "{{ '%s-%05d' | format(a, 7) }}", "{{ '%s' % a }}",
        "{{ a.upper() }}{{ a.replace('a', 'bb') }}", "{{ '{:>5}'.format(a) }}", "{{ a | list }}", "{{ a | first }}{{ a | last }}",
        "{{ a | map('upper') | join }}", "{{ a | select('in', 'abc') | list }}", "{{ a | e }}{{ a | urlize }}", "{{ a | tojson }}",
        "{{ range(3) | join(',') }}", "{{ cycler('a', 'b').next() }}", "{{ dict(a=b | d('')) }}", "{{ 7.0 }}{{ true }}", "{{ '\\ud83d' }}",
        "{{ a | first_name }}", "{{ b | name_case | d('nn') }}", "{{ a | truncate_sms }}",
    ]
)  # fmt: skip
CELLS = st.one_of(
    st.sampled_from(
        ["", " ", "1", "a", "Ann", "O'Brien", "{{ b }}", "<b>", "é", "x\ny", "None", "\x1e", "a\x1eb", "ß", "İ", "ΑΣ", "ŉ", "ǆ",
         "ﬁ", "\u00a0x ", "straße 'x'", "\x1fa\x1c", "ADA BYRON"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\ufffdÃÂâðïÐÑ"), max_size=6),
)  # fmt: skip
PLAIN = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)
PLAIN.filters.update(FILTERS)


@settings(max_examples=examples(300))
@given(
    st.lists(PIECES, max_size=6).map("".join),
    st.lists(st.tuples(CELLS, CELLS), max_size=6),
    st.sampled_from(["b", "range"]),
)
def test_every_way_equals_plain_jinja2(source, rows, second):
    """Texts equal jinja2's own; and the three ways agree on every text, reason and sentence."""
    names = {"a": "A a", second: "B"}
    source = source if second == "b" else source.replace("b |", "range |").replace("{{ b", "{{ range")
    try:
        plain = PLAIN.from_string(source)
    except jinja2.TemplateSyntaxError:  # a block of the same name again
        return
    cells = pl.DataFrame(rows, schema={"A a": pl.String, "B": pl.String}, orient="row")
    frames = []
    for ways in ([], ["_compile_pieces"], ["_compile_pieces", "_compile_block"]):
        with mock.patch.multiple(
            render_columns, _SEPARATOR=render_columns._SEPARATOR, **{way: lambda *_: None for way in ways}
        ):
            frames.append(render(compile_template(source, where="t"), cells, names))
    assert frames[0].rows() == frames[1].rows() == frames[2].rows()
    assert frames[0].height == len(rows)
    for row, (text, reason, _) in zip(rows, frames[0].iter_rows(), strict=True):
        filled = {header: cell for header, cell in zip(cells.columns, row, strict=True) if not blank(cell)}
        variables = {name: filled.get(header, jinja2.StrictUndefined(name=name)) for name, header in names.items()}
        try:
            expected = plain.render(**variables, row=filled)
            expected.encode()
        except Exception:  # noqa: BLE001 (whatever plain jinja2 raises)
            assert (text, reason) == (None, "render_error")
        else:
            assert (text, reason) == (expected, None)


def blank(cell: str) -> bool:
    """Blank as Unicode has it: to Python, \\x1c to \\x1f are white space too."""
    return not cell.strip() and not set(cell) & set("\x1c\x1d\x1e\x1f")


@pytest.mark.parametrize(
    ("source", "way"),
    [
        pytest.param("Hi", "columns", id="text"),
        pytest.param("Hi {{ a }}{{ b | d('x') | upper }}{{ row['A a'] | trim }}", "columns", id="cells"),
        pytest.param("{{ a | title }}", "block", id="another-filter"),
        pytest.param("{% if a %}x{% endif %}", "block", id="if"),
        pytest.param("{% for c in a %}{{ loop.index }}{% endfor %}", "block", id="a-loop-of-its-own"),
        pytest.param("{{ row.get('B') | d('x') }}{{ row[a] | d('') }}", "block", id="the-whole-row"),
        pytest.param("{{ range | d('x') }}", "block", id="a-name-of-jinja2"),
        pytest.param("{% block k %}{{ a }}{% endblock %}", "row", id="block"),
        pytest.param("{{ loop is defined }}{{ a }}", "row", id="loop-outside-a-loop"),
        pytest.param("{% for x in a %}" * 20 + "{% endfor %}" * 20, "row", id="as-deep-as-python-goes"),
    ],
)  # fmt: skip
def test_which_way_a_template_goes(source, way):
    template = compile_template(source, where="t")
    given = (template, (("a", "A a"), ("b", "B"), ("range", "C")), ("A a", "B", "C"))
    ways = [
        name
        for name, made in (
            ("columns", render_columns._compile_pieces(*given)),
            ("block", render_columns._compile_block(*given)),
        )
        if made is not None
    ]
    assert (ways or ["row"])[0] == way


def test_a_separator_in_a_cell_and_many_failing_rows_in_blocks():
    cells = pl.DataFrame({"a": ["\x1e" if n % 7_000 == 1 else "" if n % 3 == 2 else f"n{n}" for n in range(12_000)]})
    template = compile_template("a\n{{ a | title }}.", where="t")
    frame = render(template, cells, {"a": "a"})
    with mock.patch.multiple(render_columns, _SEPARATOR=render_columns._SEPARATOR, _compile_block=lambda *_: None):
        assert frame.equals(render(template, cells, {"a": "a"}))
    assert frame["reason"].is_not_null().sum() == 3_999  # row 7001 is a separator instead
    assert frame["detail"].drop_nulls().unique().item().startswith("template line 2: `a` is blank")


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
