"""Each method of rendering gives what plain jinja2 gives for each row, with the reason and the sentence of failures."""

from __future__ import annotations

import traceback
from unittest import mock

import jinja2
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sender.templating import render_columns
from sender.templating.budget import MAX_CHARS
from sender.templating.filters import FILTERS
from sender.templating.render_columns import render
from sender.templating.template import compile_template
from tests.profiles import examples

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

# Conditions on cells, for which a template is still evaluated by columns.
TEXTS = ["'a'", "'Ann'", "'ANN'", "''", "' '", "'ß'", "'SS'", "'1'", "'N/A'", "'é'", "'ada byron'"]
SHOWN = st.one_of(
    st.sampled_from(["a", "b", "row['A a']", "row.B", "row['B']"]),
    st.sampled_from(
        ["a | upper", "b | lower", "a | trim", "row.B | trim | upper", "b | default('')", "a | d('x')", "row['A a'] | d('')",
         "b | d(' ß ') | trim | upper", "a | default('') | lower"]
    ),
)  # fmt: skip
LISTS = st.lists(st.sampled_from(TEXTS), min_size=1, max_size=3).map(
    lambda texts: f"[{', '.join(texts)}]" if len(texts) != 2 else f"({', '.join(texts)})"
)
PLAIN_TESTS = st.one_of(
    SHOWN,
    st.builds("{} {} {}".format, SHOWN, st.sampled_from(["==", "!="]), st.sampled_from(TEXTS)),
    st.builds("{} {} {}".format, SHOWN, st.sampled_from(["in", "not in"]), LISTS),
    st.builds(
        "{} is {}defined".format,
        st.sampled_from(["a", "b", "row.B", "row['A a']"]),
        st.sampled_from(["", "not ", "un"]),
    ),
)
TESTS = st.recursive(
    PLAIN_TESTS,
    lambda tests: st.one_of(
        st.builds("not {}".format, tests),
        st.builds("{} {} {}".format, tests, st.sampled_from(["and", "or"]), tests),
        st.builds("({} {} {})".format, tests, st.sampled_from(["and", "or"]), tests),
        st.builds("not ({} {} {})".format, tests, st.sampled_from(["and", "or"]), tests),
    ),
    max_leaves=5,
)
INLINE = st.recursive(
    st.one_of(SHOWN, st.sampled_from(TEXTS)),
    lambda values: st.builds("({} if {} else {})".format, values, TESTS, values),
    max_leaves=3,
)
BODIES = st.recursive(
    st.one_of(
        st.sampled_from(["", "Hi ", "\n", "é😀", "x\n\n", "{{ 'y' }}", "{# note #}"]),
        INLINE.map("{{{{ {} }}}}".format),
        INLINE.map("{{{{\n{} }}}}".format),
    ),
    lambda bodies: st.one_of(
        st.builds("{}{}".format, bodies, bodies),
        st.builds("{{% if {} %}}{}{{% endif %}}".format, TESTS, bodies),
        st.builds("{{%- if\n{} -%}}\n{}{{% else %}}{}{{% endif %}}".format, TESTS, bodies, bodies),
        st.builds("{{% if {} %}}{}{{% elif {} %}}{}{{% endif %}}".format, TESTS, bodies, TESTS, bodies),
        st.builds(
            "{{% if {} %}}{}{{% elif\n{} %}}{}\n{{% elif {} %}}{}{{% else %}}{}{{% endif %}}".format,
            TESTS, bodies, TESTS, bodies, TESTS, bodies, bodies,
        ),
    ),
    max_leaves=6,
)  # fmt: skip

NAMES = {"a": "A a", "b": "B"}
PLACEHOLDERS = frozenset({"N/A", "null"})
CELLS = st.one_of(
    st.sampled_from(
        ["", " ", "1", "a", "Ann", "O'Brien", "{{ b }}", "<b>", "é", "x\ny", "None", "\x1e", "a\x1eb", "ß", "İ", "ΑΣ", "ŉ", "ǆ",
         "ﬁ", "\u00a0x ", "straße 'x'", "\x1fa\x1c", "\x1c", "ADA BYRON"]
    ),
    st.sampled_from(["", "a", "1", "N/A", "N/A ", "null", "\tnull"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\ufffdÃÂâðïÐÑ"), max_size=6),
)  # fmt: skip
ROWS = st.lists(st.tuples(CELLS, CELLS), max_size=6)
PLAIN = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)
PLAIN.filters.update(FILTERS)


class HeldError(jinja2.UndefinedError):
    """What plain jinja2 raises for a cell that holds a placeholder."""


class PlainRow(dict[str, str]):
    """`row` of plain jinja2: the cells that have a value."""

    held: frozenset[str] = frozenset()

    def __missing__(self, header: str) -> jinja2.StrictUndefined:
        if header in self.held:
            return jinja2.StrictUndefined(name=header, exc=HeldError)
        raise KeyError(header)


def render_plain(template: jinja2.Template, row: dict[str, str], names: dict[str, str]):
    """The text of a row, its reason, and how its detail begins, from plain jinja2."""
    held = frozenset(header for header, cell in row.items() if is_placeholder(cell))
    filled = PlainRow({header: cell for header, cell in row.items() if header not in held and not blank(cell)})
    filled.held = held
    variables = {
        name: filled.get(header, jinja2.StrictUndefined(name=name, exc=HeldError if header in held else jinja2.UndefinedError))
        for name, header in names.items()
    }  # fmt: skip
    try:
        text = template.render(**variables, row=filled)
        text.encode()
    except jinja2.UndefinedError as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
        return None, "missing_data" if isinstance(error, HeldError) else "render_error", f"template line {lines[-1]}: "
    except Exception:  # noqa: BLE001 (whatever plain jinja2 raises)
        return None, "render_error", ""
    return text, None, None


def blank(cell: str) -> bool:
    """Blank as Unicode has it: to Python, \\x1c to \\x1f are white space too."""
    return not cell.strip() and not set(cell) & set("\x1c\x1d\x1e\x1f")


def is_placeholder(cell: str) -> bool:
    ends = ("", " ", "\t")
    return any(cell == before + word + after for word in PLACEHOLDERS for before in ends for after in ends)


def check_methods(source: str, rows: list[tuple[str, str]], names: dict[str, str] = NAMES) -> None:
    """Texts equal jinja2's own; and the three methods agree on every text, reason and sentence."""
    try:
        plain = PLAIN.from_string(source)
    except jinja2.TemplateSyntaxError:  # a block of the same name again
        return
    cells = pl.DataFrame(rows, schema={"A a": pl.String, "B": pl.String}, orient="row")
    template = compile_template(source, where="t", placeholders=PLACEHOLDERS)
    frames = []
    for without in ([], ["compile_pieces"], ["compile_pieces", "_compile_block"]):
        with mock.patch.multiple(
            render_columns, _SEPARATOR=render_columns._SEPARATOR, **{way: lambda *_: None for way in without}
        ):
            frames.append(render(template, cells, names))
    assert frames[0].rows() == frames[1].rows() == frames[2].rows()
    assert frames[0].height == len(rows)
    for row, (text, reason, detail) in zip(cells.iter_rows(named=True), frames[0].iter_rows(), strict=True):
        expected_text, expected_reason, begin = render_plain(plain, row, names)
        assert (text, reason) == (expected_text, expected_reason)
        assert detail is None if begin is None else detail.startswith(begin)


@settings(max_examples=examples(300))
@given(st.lists(PIECES | BODIES, max_size=6).map("".join), ROWS, st.sampled_from(["b", "range"]))
def test_every_method_equals_plain_jinja2(source, rows, second):
    source = source if second == "b" else source.replace("b |", "range |").replace("{{ b", "{{ range")
    check_methods(source, rows, {"a": "A a", second: "B"})


@settings(max_examples=examples(300))
@given(BODIES, ROWS)
def test_conditions_by_columns_equal_plain_jinja2(source, rows):
    assert way_of(source) == "columns"
    check_methods(source, rows)


CONDITIONS = [
    "{% if a %}x{% endif %}",
    "{% if a %}{{ a }}{% else %}-{% endif %}",
    "{% if not a %}x{% else %}y{{ b }}{% endif %}",
    "{% if a == 'Ann' %}x{% elif b == '1' %}{{ b }}{% elif a | upper in ['BOB', 'EVE'] %}z{% else %}{{ a }}{% endif %}",
    "{% if a != 'Ann' %}{% if b %}{{ b }}{% endif %}{% else %}{{ b | d('-') }}{% endif %}",
    "{% if a in ['Ann', 'Bob'] %}x{% endif %}{% if a not in ('Ann', 'Bob') %}y{% endif %}",
    "{% if a is defined %}{{ a }}{% endif %}{% if b is not defined %}none{% endif %}{% if a is undefined %}!{% endif %}",
    "{% if a is defined and a == 'Ann' %}x{% endif %}",
    "{% if a is undefined or a == 'Ann' %}x{% endif %}",
    "{% if a == 'Ann' and b == '1' %}x{% endif %}",
    "{% if b == '1' and a == 'Ann' %}x{% endif %}",
    "{% if a == 'Ann' or b == '1' %}x{% endif %}",
    "{% if b == '1' or a == 'Ann' %}x{% endif %}",
    "{% if not (a == 'Ann' or b) and (b or a) %}x{% else %}y{% endif %}",
    "{% if not (a is defined and b is defined) %}{{ a | d('q') }}{% else %}{{ a }}{{ b }}{% endif %}",
    "{% if a | default('') %}Hi {{ a }}, {% endif %}you",
    "{% if a | default('') | trim == '' %}x{% endif %}",
    "{% if a | d('Ann') | lower == 'ann' %}x{% endif %}",
    "{% if a | trim %}x{% else %}blank to Python{% endif %}",
    "{% if a | upper == 'STRASSE' %}x{% endif %}{% if a | lower in ['ß'] %}y{% endif %}",
    "{{ 'a' if a else 'b' }}",
    "{{ a if a is defined else b }}",
    "{{ a | upper if b == '1' else b | default('n') }}",
    "{{ 'x' if a == 'Ann' else ('y' if b else 'z') }}{{ 'x' if a == 'Ann' else 'y' if b is defined else 'z' }}",
    "{% if row['A a'] == 'Ann' %}{{ row.B }}{% endif %}",
    "{{ 'x' if row.B in ['1'] else row['A a'] }}",
    "1\n2\n{% if a %}\n{{ b }}\n\n{% elif b %}{{ a }}{% endif %}\n{{ b }}",
    "{% if b is defined %}\n{{\nb }}{% elif\na == 'x' %}\n\n{% elif\nb %}{% endif %}",
    "{{ 'x' if\na == 'Ann' else\nb }}",
    "{% if a %}{% endif %}",
    "{% if a %}{# note #}{% else %}\n{% endif %}",
    "{{ 'x' }}{% if a is defined %}{{ 'y' }}{% endif %}",
    "{% if a == '' %}never{% endif %}{% if a == ' ' %}never{% endif %}",
    "{% if a == '\U0001f600' %}x{% endif %}",
    "{% if " + "a and " * 40 + "b %}x{% endif %}",
    "{% if " + "not " * 41 + "b %}x{% endif %}",
    "{% if a %}" * 60 + "{{ b }}" + "{% endif %}" * 60,
    "{{ " + "'x' if b == '2' else " * 40 + "a }}",
    "{% if a == '0' %}0" + "".join(f"{{% elif a == 'A{n}' %}}{{{{ b }}}}{n}" for n in range(200)) + "{% endif %}",
]  # fmt: skip
FILLINGS = [
    "Ann", "ANN", "Bob", "eve", "A7", "1", "2", "", " ", "\u00a0", "\x1c", "\x1d \x1f", "ß", "straße", "İ", "N/A", " N/A", "null\t", "n/a",
    "\U0001f600", "x\x1ey",
]  # fmt: skip


@pytest.mark.parametrize("source", CONDITIONS, ids=lambda source: source[:60])
def test_a_condition_by_columns(source):
    assert way_of(source) == "columns"
    check_methods(source, [(first, second) for first in FILLINGS for second in ("1", "2", "", "N/A")])


BLANK_A = "`a` is blank; give it a value, or write {{ a | default('...') }}"
HELD_B = "`b` holds `N/A`, which stands for a missing value; give it a value, or write {{ b | default('...') }}"


@pytest.mark.parametrize(
    ("source", "row", "expected"),
    [
        pytest.param("{% if a %}x{% endif %}", ("", ""), ("render_error", f"template line 1: {BLANK_A}"), id="blank"),
        pytest.param("\n{% if b %}x{% endif %}", ("", "N/A "), ("missing_data", f"template line 2: {HELD_B}"), id="held"),
        pytest.param("{% if a or b %}x{% endif %}", ("", "N/A"), ("render_error", f"template line 1: {BLANK_A}"), id="first"),
        pytest.param("{% if b and a %}x{% endif %}", ("", "N/A"), ("missing_data", f"template line 1: {HELD_B}"), id="or-first"),
        pytest.param("{% if b == '1' and a %}x{% endif %}", ("", "2"), "", id="and-stops"),
        pytest.param("{% if b == '2' or a %}x{% endif %}", ("", "2"), "x", id="or-stops"),
        pytest.param("{% if b == '2' %}y{% elif a %}x{% endif %}", ("", "2"), "y", id="elif-not-reached"),
        pytest.param(
            "{% if b == '1' %}\ny\n{% elif a %}\nx{% endif %}", ("", "2"), ("render_error", f"template line 3: {BLANK_A}"), id="elif"
        ),
        pytest.param(
            "{% if b == '2' %}\n{{\na }}{% endif %}{{ b }}", ("", "2"), ("render_error", f"template line 3: {BLANK_A}"), id="branch"
        ),
        pytest.param(
            "{{ 'x' if b == '1' else\na }}", ("", "2"), ("render_error", f"template line 1: {BLANK_A}"), id="inline-begins-before"
        ),
        pytest.param("{{ a if a is defined else b | d('-') }}", ("", "N/A"), "-", id="inline-default"),
        pytest.param("{% if b != '2' %}{{ a }}{% endif %}.", ("", "2"), ".", id="blank-where-nobody-looks"),
    ],
)  # fmt: skip
def test_what_a_condition_needs(source, row, expected):
    cells = pl.DataFrame([row], schema={"A a": pl.String, "B": pl.String}, orient="row")
    frame = render(compile_template(source, where="t", placeholders=PLACEHOLDERS), cells, NAMES)
    assert frame.row(0) == ((expected, None, None) if isinstance(expected, str) else (None, *expected))


def test_conditions_on_more_rows_than_are_rendered_at_once():
    cells = pl.DataFrame(
        {"*": [("x", "", "N/A", "y")[n % 4] for n in range(1_000)], "^n.*$": [str(n) for n in range(1_000)]}
    )
    template = compile_template(
        "{% if row['*'] == 'x' %}{{ n }}{% else %}-{{ n }}{% endif %}", where="t", placeholders=PLACEHOLDERS
    )
    with mock.patch.object(render_columns, "_COLUMN_ROWS", 7):
        frame = render(template, cells, {"n": "^n.*$"})
    assert frame["text"].to_list() == [{0: f"{n}", 3: f"-{n}"}.get(n % 4) for n in range(1_000)]
    assert frame["reason"].to_list() == [None, "render_error", "missing_data", None] * 250


def test_a_text_of_a_branch_may_be_too_long():
    cells = pl.DataFrame({"A a": ["x" * (MAX_CHARS + 1), "x" * MAX_CHARS], "B": ["1", "1"]})
    frame = render(compile_template("{% if b == '1' %}{{ a }}{% endif %}", where="t"), cells, NAMES)
    assert frame["detail"].to_list() == ["the text is longer than 100,000 characters", None]


@pytest.mark.parametrize(
    ("source", "way"),
    [
        pytest.param("Hi", "columns", id="text"),
        pytest.param("Hi {{ a }}{{ b | d('x') | upper }}{{ row['A a'] | trim }}", "columns", id="cells"),
        pytest.param("{{ a | title }}", "block", id="another-filter"),
        pytest.param("{{ a | d('\\ud83d') }}", "block", id="half-an-emoji-as-default"),
        pytest.param("{{ '\\ud83d' if a == '1' else 'x' }}", "block", id="half-an-emoji-as-text"),
        pytest.param("{% if a == '\\ud83d' %}x{% endif %}", "block", id="half-an-emoji-in-a-test"),
        pytest.param("{% if a %}x{{ a | title }}{% endif %}", "block", id="another-filter-in-a-branch"),
        pytest.param("{% if a | title %}x{% endif %}", "block", id="another-filter-in-a-test"),
        pytest.param("{% if a | upper | d('x') %}x{% endif %}", "block", id="default-too-late"),
        pytest.param("{% if a | d('', true) %}x{% endif %}", "block", id="default-of-what-is-false"),
        pytest.param("{% if a | d(b) %}x{% endif %}", "block", id="default-by-another-cell"),
        pytest.param("{% if a == b %}x{% endif %}", "block", id="two-cells"),
        pytest.param("{% if a == 1 %}x{% endif %}", "block", id="a-number"),
        pytest.param("{% if a > '1' %}x{% endif %}", "block", id="another-comparison"),
        pytest.param("{% if a == '1' == '1' %}x{% endif %}", "block", id="two-comparisons"),
        pytest.param("{% if a in '12' %}x{% endif %}", "block", id="part-of-a-text"),
        pytest.param("{% if a in ('12') %}x{% endif %}", "block", id="no-tuple"),
        pytest.param("{% if '1' in a %}x{% endif %}", "block", id="part-of-a-cell"),
        pytest.param("{% if a in [] %}x{% endif %}", "block", id="an-empty-list"),
        pytest.param("{% if a in ['1', b] %}x{% endif %}", "block", id="a-list-with-a-cell"),
        pytest.param("{% if (a or b) == '1' %}x{% endif %}", "block", id="the-value-of-or"),
        pytest.param("{{ a or b }}", "block", id="or-as-a-text"),
        pytest.param("{% if a | upper is defined %}x{% endif %}", "block", id="a-filter-is-defined"),
        pytest.param("{% if (a or b) is defined %}x{% endif %}", "block", id="or-is-defined"),
        pytest.param("{% if a is string %}x{% endif %}", "block", id="another-test"),
        pytest.param("{% if nowhere is defined %}x{% endif %}{{ a }}", "block", id="no-column"),
        pytest.param("{% if true %}x{% endif %}{{ a }}", "block", id="a-constant"),
        pytest.param("{{ 'x' if a }}", "block", id="inline-without-else"),
        pytest.param("{{ ('x' if a else 'y') | upper }}", "block", id="a-filter-of-a-condition"),
        pytest.param("{{ 1 if a else 2 }}", "block", id="numbers"),
        pytest.param("{% if a %}{% set b = a %}{% endif %}{{ b }}", "block", id="set"),
        pytest.param("{% for c in a %}{{ loop.index }}{% endfor %}", "block", id="a-loop-of-its-own"),
        pytest.param("{{ row.items() | list | length }}{{ row[a] | d('') }}", "block", id="the-whole-row"),
        pytest.param("{% if row[a] %}x{% endif %}", "block", id="the-whole-row-in-a-test"),
        pytest.param("{% if row.keys %}x{% endif %}", "block", id="a-method-of-row"),
        pytest.param("{{ range | d('x') }}", "block", id="a-name-of-jinja2"),
        pytest.param("{% block k %}{{ a }}{% endblock %}", "row", id="block"),
        pytest.param("{{ loop is defined }}{{ a }}", "row", id="loop-outside-a-loop"),
        pytest.param("{% for x in a %}" * 20 + "{% endfor %}" * 20, "row", id="as-deep-as-python-goes"),
    ],
)  # fmt: skip
def test_which_way_a_template_goes(source, way):
    assert way_of(source) == way
    if way != "row":
        check_methods(source, [("Ann", "1"), ("1", "1"), ("", "1"), ("N/A", ""), ("\x1c", "2"), ("B", "2")])


def way_of(source: str) -> str:
    """The method that renders a template."""
    template = compile_template(source, where="t")
    given = (template, (("a", "A a"), ("b", "B"), ("range", "C")), ("A a", "B", "C"))
    if render_columns.compile_pieces(*given) is not None:
        return "columns"
    return "row" if render_columns._compile_block(*given) is None else "block"


def test_a_separator_in_a_cell_and_many_failing_rows_in_blocks():
    cells = pl.DataFrame({"a": ["\x1e" if n % 7_000 == 1 else "" if n % 3 == 2 else f"n{n}" for n in range(12_000)]})
    template = compile_template("a\n{{ a | title }}.", where="t")
    frame = render(template, cells, {"a": "a"})
    with mock.patch.multiple(render_columns, _SEPARATOR=render_columns._SEPARATOR, _compile_block=lambda *_: None):
        assert frame.equals(render(template, cells, {"a": "a"}))
    assert frame["reason"].is_not_null().sum() == 3_999  # row 7001 is a separator instead
    assert frame["detail"].drop_nulls().unique().item().startswith("template line 2: `a` is blank")
