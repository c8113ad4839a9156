"""Every trap of phone numbers, segments and templates that we know of, a row each.

What the plain way makes of the row stands beside what we make of it, and both are tested: a trap that is none any more
(a new `phonenumbers`) fails here. The rules themselves are tested in the files of their modules.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from unittest import mock

import phonenumbers
import polars as pl
import pytest
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from phonenumbers import NumberParseException, PhoneMetadata, PhoneNumberFormat, PhoneNumberType

from sender import build_plan, load_campaign, phone
from sender.phone import e164 as tables
from sender.segments.encoding import GSM_BASIC, GSM_EXTENSION, measure
from sender.templating import render_columns
from sender.templating.render_columns import render
from sender.templating.template import compile_template

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


def believed(cell: str, region: str | None) -> str | None:
    """What libphonenumber takes the cell for; None where it takes it for nothing valid."""
    try:
        number = phonenumbers.parse(cell, region)
    except NumberParseException:
        return None
    return phonenumbers.format_number(number, PhoneNumberFormat.E164) if phonenumbers.is_valid_number(number) else None


def both_ways(cells: list[str], regions: list[str], *, careful: bool) -> Iterator[dict[str, str | None]]:
    """The rows of `normalize`, which must be the same cell by cell and by tables."""
    column, wheres = pl.Series(cells), pl.Series(regions, dtype=pl.String)
    made = []
    for least in (1, 1_000_000):
        with mock.patch.multiple(tables, _REGION_FROM_ROWS=least, _CODE_FROM_ROWS=least):
            made.append(phone.normalize(column, default_region=None, regions=wheres, careful=careful))
    assert made[0].equals(made[1])
    yield from made[0].iter_rows(named=True)


@pytest.mark.parametrize(
    ("cell", "region", "plain", "ours"),
    [
        # where tables and regular expressions go wrong: we are libphonenumber's
        pytest.param("44002079460123", "GB", "+442079460123", "+442079460123", id="GB: a national prefix is stripped twice"),
        pytest.param("910091234567890", "IN", None, "not a number|too", id="IN: twice, and nothing is left that is valid"),
        pytest.param("4402079460123", "GB", "+442079460123", "+442079460123", id="stripped once, after the code"),
        pytest.param("12345678901234567", "US", None, "too long", id="17 digits and a leading 1 pass Int64's middle"),
        pytest.param("9" * 18, "DE", None, "too long", id="18 digits"),
        pytest.param("9" * 19, "DE", None, "too long", id="19 digits overflow Int64"),
        pytest.param("001491713920001", "KH", "+491713920001", "+491713920001", id="KH: an international prefix is a pattern"),
        pytest.param("002491713920001", "KH", None, "not a number|too", id="KH: 002 is not of it"),
        pytest.param("001491713920001", "KR", "+491713920001", "+491713920001", id="KR: a pattern with alternatives"),
        pytest.param("00700491713920001", "KR", "+491713920001", "+491713920001", id="KR: and longer ones"),
        pytest.param("007491713920001", "KR", None, "not a number|too", id="KR: 007 without two more digits is none"),
        pytest.param("1123456789", "AR", "+541123456789", "+541123456789", id="AR: an empty national prefix matches"),
        pytest.param("011 15 2345 6789", "AR", "+5491123456789", "+5491123456789", id="AR: 15 becomes a 9 in front"),
        pytest.param("0 15 11 96123 4567", "BR", "+5511961234567", "+5511961234567", id="BR: a carrier code"),
        pytest.param("0 21 11 96123 4567", "BR", "+5511961234567", "+5511961234567", id="BR: another carrier code"),
        pytest.param("015123456712", "DE", "+4915123456712", "+4915123456712", id="DE: regexes alone are wrong"),
        pytest.param("8 0152 450911", "BY", "+375152450911", "+375152450911", id="BY: regexes alone are wrong"),
        pytest.param("0664 123456", "AT", "+43664123456", "+43664123456", id="AT: regexes alone are wrong"),
        # characters: cleaned up as documented, or held
        pytest.param("+1\u00a0202\u00a0555\u00a00100", "US", "+12025550100", "+12025550100", id="NBSP"),
        pytest.param("٢٠٢٥٥٥٠١٠٠", "US", "+12025550100", "+12025550100", id="digits of another script"),
        pytest.param("2125550123,99", "US", "+12125550123", "`,`", id="an extension after a comma"),
        pytest.param("212-555-0123 x12", "US", "+12125550123", "letters", id="an extension after an x"),
        pytest.param("2125550123#12", "US", "+12125550123", "`#`", id="an extension after a hash"),
        pytest.param("(212) 555-0123~", "US", "+12125550123", "`~`", id="a tilde"),
        pytest.param("*2125550123", "US", "+12125550123", "`*`", id="a star"),
        pytest.param("1-800-FLOWERS", "US", "+18003569377", "letters", id="letters become keypad digits"),
        pytest.param("212555O123", "US", None, "letters", id="the letter O for a zero"),
        # where libphonenumber misleads a sender: repaired with one reading, else held
        pytest.param("4915123456789", "DE", "+494915123456789", "+4915123456789 or +494915123456789", id="DE: no plus"),
        pytest.param("38328999999", "XK", "+38338328999999", "+38328999999 or +38338328999999", id="XK: no plus"),
        pytest.param("621500499", "ID", "+62621500499", "+621500499 or +62621500499", id="ID: no plus"),
        pytest.param("35819499", "FI", "+35835819499", "+35819499 or +35835819499", id="FI: no plus"),
        pytest.param("270829999", "ZA", "+27270829999", "+27829999 or +27270829999", id="ZA: no plus"),
        pytest.param("2025550100.0", "US", None, "+12025550100", id="a float's tail"),
        pytest.param("1713920001.0", "DE", "+4917139200010", "+491713920001 or +4917139200010", id="DE: a float's tail"),
        pytest.param("4.91512E12", "DE", "+4949151212", "lost digits", id="scientific notation"),
        pytest.param("2024-01-15", "DE", "+4920240115", "date", id="a date"),
        pytest.param("20240115", "DE", "+4920240115", "date", id="a date without dashes"),
        pytest.param("5550100 5550101", "DE", "+4955501005550101", "two numbers", id="two numbers that read as one"),
        pytest.param("2125550123 / x2125550", "US", "+12125550123", "two numbers", id="two numbers, one is an extension"),
    ],
)  # fmt: skip
def test_numbers(cell: str, region: str, plain: str | None, ours: str) -> None:
    assert believed(cell, region) == plain
    (believing,) = both_ways([cell], [region], careful=False)
    assert believing["to"] == plain
    (careful,) = both_ways([cell], [region], careful=True)
    if ours.startswith("+") and " or " not in ours:
        assert careful["to"] == ours
    else:
        assert (careful["to"], careful["reason"]) == (None, "invalid_number")
        assert any(part in careful["detail"] for part in ours.split("|"))


def examples(kind: int = PhoneNumberType.MOBILE) -> Iterator[tuple[str, phonenumbers.PhoneNumber]]:
    for region in REGIONS:
        number = phonenumbers.example_number_for_type(region, kind)
        if number is not None:
            yield region, number


def e164(number: phonenumbers.PhoneNumber) -> str:
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


@pytest.mark.parametrize("kind", [PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE], ids=["mobile", "fixed"])
def test_a_floats_tail_makes_no_other_number_in_any_region(kind: int) -> None:
    """libphonenumber takes the zero for a digit; in some twenty regions that is a valid number of somebody else."""
    numbers = list(examples(kind))
    digits = [phonenumbers.national_significant_number(number) for _, number in numbers]
    rows = both_ways([f"{one}.0" for one in digits], [region for region, _ in numbers], careful=True)
    misled = 0
    for (region, number), one, row in zip(numbers, digits, rows, strict=True):
        assert row["to"] in (None, believed(one, region)), (region, row)
        misled += believed(f"{one}.0", region) not in (None, e164(number))
    assert misled >= 5


def test_a_country_code_without_its_plus_makes_no_other_number_in_any_region() -> None:
    numbers = [*examples(), *examples(PhoneNumberType.FIXED_LINE)]
    rows = both_ways([e164(number)[1:] for _, number in numbers], [region for region, _ in numbers], careful=True)
    for (region, number), row in zip(numbers, rows, strict=True):
        assert row["to"] in (None, e164(number)), (region, row)


def test_rules_that_rewrite_a_number_are_left_to_libphonenumber() -> None:
    """As AR's 15 and 9: a table of ranges cannot hold them. Every region that has one, with every front there is."""
    metadata = {region: PhoneMetadata.metadata_for_region(region) for region in REGIONS}
    rewriting = {region: one for region, one in metadata.items() if one.national_prefix_transform_rule}
    assert len(rewriting) > 30
    cells, wheres = [], []
    for region, one in rewriting.items():
        for kind in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE):
            number = phonenumbers.example_number_for_type(region, kind)
            whole = phonenumbers.national_significant_number(number) if number is not None else "2345678"
            fronts = ["", one.national_prefix or "0", str(one.country_code), f"{one.country_code}0", "0", "15", "9"]
            cells += [front + part for front in fronts for part in (whole, whole[3:], whole[-7:], whole[1:])]
            wheres += [region] * (len(cells) - len(wheres))
    rows = both_ways(cells, wheres, careful=False)
    for cell, where, row in zip(cells, wheres, rows, strict=True):
        assert row["to"] == believed(cell, where), (cell, where)


@pytest.mark.parametrize(
    ("written", "region", "to"),
    [
        pytest.param("015123456712", "DE", "+4915123456712", id="octal to a YAML parser: another person's number"),
        pytest.param("+12025550123", "DE", "+12025550123", id="an integer without its plus to a YAML parser"),
        pytest.param("2025550123", "US", "+12025550123", id="an integer"),
    ],
)
@pytest.mark.parametrize("form", ["file", "in place"])
def test_numbers_in_yaml_without_quotes(form: str, written: str, region: str, to: str, tmp_path: Path) -> None:
    people = f"- phone: {written}\n"
    (tmp_path / "people.yaml").write_text(people, encoding="utf-8")
    rows = (
        f"file: people.yaml, default_region: {region}"
        if form == "file"
        else f"rows: [{{phone: {written}}}], default_region: {region}"
    )
    campaign = tmp_path / "c.yaml"
    campaign.write_text(
        f"provider: sandbox\nfrom: +12025550100\nmessage: Hi\nrecipients: {{{rows}}}\n", encoding="utf-8"
    )
    made = build_plan(load_campaign(campaign))
    assert made.messages["to"].to_list() == [to]
    assert made.manifest.senders == ("+12025550100",)


@pytest.mark.parametrize(
    ("text", "encoding", "units", "segments", "plain"),
    [
        *[pytest.param(one, "GSM-7", 1, 1, 1, id=f"U+{ord(one):04X} is in GSM-7") for one in GSM_BASIC],
        pytest.param("a" * 160, "GSM-7", 160, 1, 1, id="160 in one"),
        pytest.param("a" * 161, "GSM-7", 161, 2, 2, id="153 in each of several"),
        pytest.param("ж" * 70, "UCS-2", 70, 1, 1, id="70 in one"),
        pytest.param("ж" * 71, "UCS-2", 71, 2, 2, id="67 in each of several"),
        *[pytest.param(one, "GSM-7", 2, 1, 1, id=f"extension U+{ord(one):04X} counts two") for one in GSM_EXTENSION],
        *[
            pytest.param(one, "UCS-2", 1, 1, 1, id=f"U+{ord(one):04X} is not in GSM-7")
            for one in "`çáíóúê“”‘’–—…\u00a0\t\x1b"
        ],
        pytest.param("Çéèùìòàäöüñ", "GSM-7", 11, 1, 1, id="though these are"),
        pytest.param("\r\n", "GSM-7", 2, 1, 1, id="CRLF counts two"),
        pytest.param("a" * 152 + "€" + "a" * 152, "GSM-7", 306, 3, 2, id="an escape pair on the boundary"),
        pytest.param("ж" + "x" * 65 + "😀" + "x" * 66, "UCS-2", 134, 3, 2, id="a surrogate pair on the boundary"),
        pytest.param("ж" + "x" * 65 + "e\u0301" + "x" * 66, "UCS-2", 134, 3, 2, id="a letter and its accent"),
        pytest.param("ж" + "x" * 64 + "👩\u200d👧" + "x" * 64, "UCS-2", 134, 3, 2, id="a family"),
        pytest.param("ж" + "x" * 65 + "🇺🇸" + "x" * 64, "UCS-2", 134, 3, 2, id="a flag"),
        pytest.param("ж" + "x" * 65 + "क्ष" + "x" * 65, "UCS-2", 134, 3, 2, id="a conjunct"),
    ],
)
def test_segments(text: str, encoding: str, units: int, segments: int, plain: int) -> None:
    whole, part = (160, 153) if encoding == "GSM-7" else (70, 67)
    assert (1 if units <= whole else math.ceil(units / part)) == plain, "what division says"
    assert measure(pl.Series([text])).row(0) == (encoding, units, segments)


def test_the_alphabet_is_of_127_characters_and_10_of_two_septets() -> None:
    assert len(set(GSM_BASIC)) == 127, "ESC is no character"
    assert set(GSM_EXTENSION) == set("^{}\\[~]|€\f")
    assert not set(GSM_BASIC) & set(GSM_EXTENSION)


def test_phonenumbers_is_the_whole_one() -> None:
    """`phonenumberslite` installs into the same folder; whichever comes last wins."""
    assert packages_distributions()["phonenumbers"] == ["phonenumbers"]


SEPARATOR = render_columns._SEPARATOR


@pytest.mark.parametrize(
    ("source", "cells"),
    [
        pytest.param("Hi {{ name }}\n", ["Ann", "Bob"], id="one final newline is stripped, of the whole and of each"),
        pytest.param("Hi {{ name }}\n\n", ["Ann", "Bob"], id="only one"),
        pytest.param("{{ name }}", [f"a{SEPARATOR}b", "c", SEPARATOR], id="the separator of a block in the data"),
        pytest.param("{{ name | replace('b', 'c') }}", [f"a{SEPARATOR}b", SEPARATOR * 3], id="and through a filter"),
        pytest.param("{% if name == 'b' %}" + SEPARATOR + "{% endif %}{{ name }}", ["a", "b"], id="and in the source"),
        pytest.param("{% block x %}{{ name }}{% endblock %}", ["a", "b"], id="a block, which a loop may not hold"),
        pytest.param("{{ loop is defined }}{{ name }}", ["a", "b"], id="`loop`, which a template has not"),
        pytest.param("{% for x in name %}{{ loop.index }}{{ loop.last }}{% endfor %}", ["ab", "c"], id="a loop of its own"),
        pytest.param("{% set n = name %}{{ n }}", ["a", "b"], id="a name that is set"),
        pytest.param("{% if name == 'a' %}{% set n = 1 %}{% endif %}{{ n is defined }}", ["a", "b"], id="set for one row, not for the next"),
        pytest.param("{{ name | truncate(5) }}{{ name | wordwrap(3) }}", ["a long one", "b"], id="what other engines do otherwise"),
        pytest.param("{{ name }}", ["{{ 7 * 7 }}", "{% endfor %}"], id="a template in a cell"),
        pytest.param("{# {% endfor %} #}{{ name }}", ["a", "b"], id="a comment that looks like an end"),
        pytest.param("{% raw %}{% endfor %}{% endraw %}{{ name }}", ["a", "b"], id="raw text that looks like an end"),
    ],
)  # fmt: skip
def test_templates(source: str, cells: list[str]) -> None:
    """A column is what plain jinja2 makes of each row alone."""
    plain = ImmutableSandboxedEnvironment(undefined=StrictUndefined).from_string(source)
    frame = pl.DataFrame({"name": cells * 3})
    made = render(compile_template(source, where="t.j2"), frame, {"name": "name"})
    assert made["text"].to_list() == [plain.render(name=one) for one in cells] * 3
    assert made["reason"].null_count() == made.height


@pytest.mark.parametrize("source", ["{{ name }}{% endfor %}", "{% endfor %}{% for x in name %}", "{% endif %}"])
def test_a_template_that_would_close_the_loop_around_it(source: str) -> None:
    with pytest.raises(Exception, match=r"endfor|endif"):
        compile_template(source, where="t.j2")


@pytest.mark.parametrize(
    ("source", "bad", "says"),
    [
        pytest.param("{{ 100 // name | int }}", "0", "ZeroDivisionError", id="a failing row in a block"),
        pytest.param("{{ name }}", "", "blank", id="a blank cell"),
        pytest.param("{{ name if name != 'bad' else name.__class__.__mro__ }}", "bad", "unsafe", id="a way out of the sandbox"),
        pytest.param("{{ 'a' * name | int }}", "1000000000", "more than a message", id="memory: 'a' * 10**9"),
        pytest.param("{% for i in range(name | int) %}{% for j in range(name | int) %}{% for k in range(9000) %}{% endfor %}{% endfor %}{% endfor %}x", "9000", "steps", id="time: loops in loops"),
    ],
)  # fmt: skip
def test_a_row_that_fails_stops_no_other(source: str, bad: str, says: str) -> None:
    plain = ImmutableSandboxedEnvironment(undefined=StrictUndefined).from_string(source)
    made = render(compile_template(source, where="t.j2"), pl.DataFrame({"name": ["1", bad, "2"]}), {"name": "name"})
    assert made["text"].to_list() == [plain.render(name="1"), None, plain.render(name="2")]
    assert made["reason"].to_list() == [None, "render_error", None]
    assert says in made["detail"][1]
