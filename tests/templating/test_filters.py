"""The filters for texts: what they make, what they refuse, and the examples of docs/templates.md."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender import segments
from sender.core.errors import TemplateError
from sender.templating.filters import FILTERS
from sender.templating.render_columns import render
from sender.templating.template import compile_template

DOCS = Path(__file__).parents[2] / "docs" / "templates.md"


def examples() -> list[object]:
    found = []
    for fence in re.findall(r"^```text\n(.*?)^```", DOCS.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        for example in fence.strip("\n").split("\n\n"):
            *cells, source, text = example.split("\n")
            assert text.startswith("= "), example
            row = dict(re.fullmatch(r"([^:{}]+):\s?(.*)", cell).groups() for cell in cells)
            found.append(pytest.param(row, source, text[2:], id=f"{source} {' '.join(row.values())}"))
    return found


@pytest.mark.parametrize(("row", "source", "text"), examples())
def test_the_examples_of_the_documents(row, source, text):
    template = compile_template(source, where="docs")
    template.check(row.keys(), row.keys())
    assert render(template, pl.DataFrame([row]), {name: name for name in row}).row(0) == (text, None, None)


def test_every_filter_is_documented():
    titles = re.findall(r"^### (.*)$", DOCS.read_text("utf-8"), re.MULTILINE)
    assert {re.sub(r"\W.*", "", name) for title in titles for name in re.findall(r"`([^`]+)`", title)} == FILTERS.keys()


@pytest.mark.parametrize(
    ("full", "first"),
    [
        ("Ada", "Ada"), ("ADA", "Ada"), ("ada", "Ada"), ("  ADA  LOVELACE ", "Ada"), ("LOVELACE, ADA", "Ada"),
        ("Mrs. Ada Lovelace", "Ada"), ("PROF. DR. ADA KING", "Ada"), ("Lovelace, Dr. Ada", "Ada"),
        ("MARY-JANE WATSON", "Mary-Jane"), ("JEAN-LUC", "Jean-Luc"), ("ANNE-MARIE O'NEILL", "Anne-Marie"),
        ("O'BRIEN", "O'Brien"), ("O’BRIEN", "O’Brien"), ("D'ARCY", "D'Arcy"), ("NA'OMI", "Na'omi"),
        ("DeShawn Jones", "DeShawn"), ("McKenzie", "McKenzie"), ("MCKENZIE", "McKenzie"), ("MACK", "Mack"),
        ("ÉLODIE", "Élodie"), ("ŁUCJA", "Łucja"), ("ÅSE", "Åse"), ("ΝΙΚΟΣ", "Νικος"), ("МАРИЯ ИВАНОВА", "Мария"),
        ("李小龙", "李小龙"), ("Lovelace,", "Lovelace"),
    ],
)  # fmt: skip
def test_first_name(full, first):
    assert FILTERS["first_name"](full) == first


@pytest.mark.parametrize(
    ("written", "cased"),
    [
        ("LUDWIG VAN BEETHOVEN", "Ludwig van Beethoven"), ("VAN DER BERG", "Van der Berg"),
        ("maria de los angeles", "Maria de los Angeles"), ("OSCAR DE LA HOYA", "Oscar de la Hoya"),
        ("SMITH-JONES", "Smith-Jones"), ("SINEAD O'CONNOR", "Sinead O'Connor"), ("GEORGE'S", "George's"),
        ("J. R. R. TOLKIEN", "J. R. R. Tolkien"), ("A.-M. LAGRANGE", "A.-M. Lagrange"), ("Ada LOVELACE", "Ada LOVELACE"),
        ("MARTIN LUTHER KING JR.", "Martin Luther King Jr."), ("ROBERT (BOB) SMITH", "Robert (Bob) Smith"), ("“ann”", "“Ann”"), ("", ""), ("123", "123"),
    ],
)  # fmt: skip
def test_name_case(written, cased):
    assert FILTERS["name_case"](written) == cased


@given(st.text(max_size=30))
def test_name_case_changes_nothing_but_case_and_spaces(name):
    cased = FILTERS["name_case"](name)
    assert cased.casefold().split() == name.casefold().split()
    assert FILTERS["name_case"](cased).split() == cased.split() or not name.isascii()


def one(source: str, cell: str) -> tuple[str | None, str | None, str | None]:
    return render(compile_template(source, where="t"), pl.DataFrame({"a": [cell]}), {"a": "a"}).row(0)


@pytest.mark.parametrize(
    ("source", "cell", "says"),
    [
        pytest.param("{{ a | currency('USD') }}", "1,234.50", "`1,234.50` is not a plain number", id="separators"),
        pytest.param("{{ a | currency('EUR') }}", "1.234,50", "is not a plain number", id="the other separators"),
        pytest.param("{{ a | currency('USD') }}", "$5", "is not a plain number", id="a sign of currency"),
        pytest.param("{{ a | currency('USD') }}", "nan", "is not a plain number", id="nan"),
        pytest.param("{{ a | currency('USD') }}", "1e5", "is not a plain number", id="exponent"),
        pytest.param("{{ a | currency('USD') }}", "٣", "is not a plain number", id="other digits"),
        pytest.param("{{ a | currency('USD') }}", "9" * 40, "is not a plain number", id="too long"),
        pytest.param("{{ a | currency('XYQ') }}", "5", "`XYQ` is not a currency", id="no currency"),
        pytest.param("{{ a | number(digits=99) }}", "5", "from 0 to 12", id="digits"),
        pytest.param("{{ a | date }}", "03/01/26", "not an ISO 8601 date", id="ambiguous date"),
        pytest.param("{{ a | date }}", "20260301", "not an ISO 8601 date", id="digits are no date"),
        pytest.param("{{ a | date }}", "2026-02-30", "2026-02-30", id="no such day"),
        pytest.param("{{ a | date('x' * 200) }}", "2026-02-03", "at most 100", id="long pattern"),
        pytest.param("{{ a | time }}", "9.30", "9.30", id="no time"),
        pytest.param("{{ a | time }}", "2026-03-01", "has no time of day", id="only a day"),
        pytest.param("{{ a | time(tz='Europe/Berlin') }}", "09:30", "has no UTC offset", id="no offset"),
        pytest.param("{{ a | time(tz='Europe/Berlin') }}", "2026-03-01T09:30", "has no UTC offset", id="no offset either"),
        pytest.param("{{ a | date(tz='Europe/Berlin') }}", "2026-03-01T09:30", "has no UTC offset", id="date, no offset"),
        pytest.param("{{ a | date(tz='Europe/Berlin') }}", "2026-03-01", "has no UTC offset", id="a day has no zone"),
        pytest.param("{{ a | date(tz=a) }}", "2026-03-01T09:30Z", "there is no time zone", id="a zone from the row"),
        pytest.param("{{ a | phone }}", "202 555 0100", "without `+` it needs a region", id="no region"),
        pytest.param("{{ a | phone(region='US') }}", "555 01", "is not a phone number", id="no number"),
        pytest.param("{{ a | phone('loud') }}", "+12025550100", "`loud` is not a style", id="no style"),
        pytest.param("{{ a | truncate_sms(0) }}", "x", "from 1 to 10", id="no segments"),
        pytest.param("{{ a | truncate_sms(1, 'é́' * 99) }}", "x" * 200, "`end` alone", id="long end"),
        pytest.param("{{ a | first_name }}", "", "`a` is blank", id="a blank goes through"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_stays_with_its_row(source, cell, says):
    text, reason, detail = one(source, cell)
    assert (text, reason) == (None, "render_error")
    assert says in detail


@pytest.mark.parametrize(
    ("source", "says"),
    [
        pytest.param("x\n{{ a | currency }}", ["t, line 2", "missing a required argument: 'code'"], id="argument missing"),
        pytest.param("{{ a | currency('EUR', 'xx_YY') }}", ["there is no locale `xx_YY`"], id="locale"),
        pytest.param("{{ a | date(locale='german') }}", ["there is no locale `german`"], id="locale by name"),
        pytest.param("{{ a | time(tz='Berlin') }}", ["there is no time zone `Berlin`"], id="zone"),
        *(
            pytest.param(f"{{{{ a | {name}(tz='{zone}') }}}}", [f"there is no time zone `{zone}`"], id=f"{name} {zone}")
            for name in ("date", "time")
            for zone in ("localtime", "posixrules", "right/Europe/Berlin", "posix/UTC", "Factory", "", "../UTC", "zone.tab")
        ),
        pytest.param("{{ a | date(tz='Europe/Berln') }}", ["`Europe/Berln`; write it as Europe/Berlin"], id="a slip"),
        pytest.param("{{ a | number(decimals=2) }}", ["unexpected keyword argument 'decimals'"], id="unknown argument"),
    ],
)  # fmt: skip
def test_misuse_is_refused_before_the_first_row(source, says):
    with pytest.raises(TemplateError) as caught:
        compile_template(source, where="t")
    for part in says:
        assert part in str(caught.value)


@pytest.mark.parametrize("locale", ["en_US", "de-DE", "fr_FR", "pt_BR", "sv_SE", "ja_JP"])
def test_no_filter_writes_a_no_break_space(locale):
    source = f"{{{{ a | currency('EUR', '{locale}') }}}}{{{{ a | number('{locale}') }}}}{{{{ '2026-03-01T21:05' | time('medium', '{locale}') }}}}"
    assert not set(one(source, "1234567.8")[0]) & set("\u00a0\u202f\u2009")


def test_the_default_follows_any_filter_of_ours():
    for name, function in FILTERS.items():
        arguments = "('USD')" if name == "currency" else ""
        assert one(f"{{{{ a | {name}{arguments} | default('-') }}}}", "") == ("-", None, None), function
        assert not compile_template(f"{{{{ a | {name}{arguments} | default('-') }}}}", where="t").needs


WORDS = st.lists(
    st.one_of(
        st.text("abcé€[ \n", max_size=12),
        st.text(max_size=8),
        st.sampled_from(["😀", "👍🏽", "é́", "ж" * 60, "x" * 170]),
    ),
    max_size=40,
).map(" ".join)


@given(WORDS.filter(lambda text: text.isprintable() or "\n" in text), st.integers(1, 3))
def test_truncate_sms_fits_and_takes_no_more_than_needed(text, most):
    cut = FILTERS["truncate_sms"](text, most)
    count, whole = segments.measure(pl.Series([cut, text]))["segments"]
    assert count <= most
    if whole <= most:
        assert cut == text
        return
    assert cut.endswith("...")
    kept = cut.removesuffix("...")
    assert text.startswith(kept)
    words = [found.start() for found in re.finditer(r"(?<=\S)(?=\s)", text)]
    more = [at for at in words if at > len(kept)]
    if more:  # one word more would not have fitted
        assert segments.measure(pl.Series([text[: more[0]] + "..."]))["segments"].item() > most


@pytest.mark.parametrize(
    ("cell", "zone", "text"),
    [
        ("2026-07-01T23:30:00Z", "Europe/Berlin", "Jul 2, 2026 1:30 AM"),
        ("2026-07-01T02:30:00Z", "America/New_York", "Jun 30, 2026 10:30 PM"),
        ("2026-12-31T23:30:00-08:00", "UTC", "Jan 1, 2027 7:30 AM"),
        ("2026-12-01T20:00:00+00:00", "Pacific/Kiritimati", "Dec 2, 2026 10:00 AM"),
        ("2026-12-01T09:00:00Z", "Pacific/Pago_Pago", "Nov 30, 2026 10:00 PM"),
        ("2026-12-01T12:00:00Z", "America/Vancouver", "Dec 1, 2026 5:00 AM"),
        ("2026-11-01T05:30:00Z", "America/New_York", "Nov 1, 2026 1:30 AM"),
        ("2026-11-01T06:30:00Z", "America/New_York", "Nov 1, 2026 1:30 AM"),
        ("2026-12-01T12:00:00Z", "Asia/Calcutta", "Dec 1, 2026 5:30 PM"),
    ],
)
def test_a_day_and_its_time_are_of_one_zone(cell, zone, text):
    """Vancouver keeps summer time from 2026 on: so the zones of the `tzdata` package have it, and older systems do not."""
    assert one(f"{{{{ a | date(tz='{zone}') }}}} {{{{ a | time(tz='{zone}') }}}}", cell)[0] == text


def test_the_day_in_another_zone_by_pattern_and_locale():
    shown = one("{{ a | date('EEEE d MMMM', 'fr_FR', tz='Australia/Sydney') }}", "2026-03-01T20:00Z")[0]
    assert shown == "lundi 2 mars"
