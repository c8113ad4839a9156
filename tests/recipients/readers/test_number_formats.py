"""What a cell shows: the values of these tables are what spreadsheet programs show for the number and the format."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.recipients.readers.number_formats import BUILT_IN, parse_format

# Format, number as the workbook stores it, what the cell shows.
SHOWN = [
    ("0", "19.5", "20"),
    ("0", "-19.5", "-20"),
    ("0.00", "19.9", "19.90"),
    ("0.00", "2.675", "2.68"),
    ("0.00", "1.005", "1.01"),
    ("0.00", "-0.5", "-0.50"),
    ("0.0", "0.30000000000000004", "0.3"),
    ("#.##", "0.5", ".5"),
    ("0.##", "5", "5."),
    ("0.0#", "1.234", "1.23"),
    ("#", "0", ""),
    ("??0", "7", "7"),
    ("00000", "1067", "01067"),
    ("00000", "123456", "123456"),
    ("00000-0000", "10670042", "01067-0042"),
    ("000-00-0000", "1234567", "001-23-4567"),
    ("#,##0", "1234567.5", "1,234,568"),
    ("#,##0", "999", "999"),
    ("#,##0.00", "1234567.891", "1,234,567.89"),
    ("#,##0_);(#,##0)", "-1234", "(1,234)"),
    ("#,##0_);[Red](#,##0)", "1234", "1,234"),
    ("0,000", "12", "0,012"),
    ("0.0,", "12345", "12.3"),
    ('0.0,,"M"', "12345678", "12.3M"),
    ("0%", "0.25", "25%"),
    ("0%", "1", "100%"),
    ("0.00%", "0.12345", "12.35%"),
    ("0.0 %", "-0.05", "-5.0 %"),
    ('"$"#,##0.00', "19.9", "$19.90"),
    ("$#,##0.00", "1234.5", "$1,234.50"),
    ("$0.00;-$0.00", "-3", "-$3.00"),
    ('#,##0.00\\ "€"', "19.9", "19.90 €"),
    ("#,##0.00 €", "1234.5", "1,234.50 €"),
    ("[$€-407]#,##0.00", "19.9", "€19.90"),
    ("[$£-809]#,##0.00", "19.9", "£19.90"),
    ("[$USD] #,##0.00", "19.9", "USD 19.90"),
    ("#,##0.00\\ [$CHF-807]", "19.9", "19.90 CHF"),
    ('_("$"* #,##0.00_);_("$"* \\(#,##0.00\\);_("$"* "-"??_);_(@_)', "19.9", "$19.90"),
    ('_("$"* #,##0.00_);_("$"* \\(#,##0.00\\);_("$"* "-"??_);_(@_)', "-19.9", "$(19.90)"),
    ('_("$"* #,##0.00_);_("$"* \\(#,##0.00\\);_("$"* "-"??_);_(@_)', "0", "$-"),
    ('_-* #,##0.00\\ "€"_-;\\-* #,##0.00\\ "€"_-;_-* "-"??\\ "€"_-;_-@_-', "19.9", "19.90 €"),
    ("0.00E+00", "12345.678", "1.23E+04"),
    ("0.00E+00", "0.00012", "1.20E-04"),
    ("0.00E+00", "0", "0.00E+00"),
    ("0.0E+0", "99.99", "1.0E+2"),
    ("0.0E-0", "12345", "1.2E4"),
    ("##0.0E+0", "12345", "12.3E+3"),
    ("# ?/?", "1.5", "1 1/2"),
    ("# ?/?", "0.25", "1/4"),
    ("# ?/?", "3", "3"),
    ("# ??/??", "0.333333333333333", "1/3"),
    ("?/?", "1.5", "3/2"),
    ("# ?/8", "1.3", "1 2/8"),
    ("# ??/100", "1.25", "1 25/100"),
    ("(000) 000-0000", "2025550147", "(202) 555-0147"),
    ("000.000.0000", "2025550147", "202.555.0147"),
    ("[<=9999999]###-####;(###) ###-####", "2025550147", "(202) 555-0147"),
    ("[<=9999999]###-####;(###) ###-####", "5550147", "555-0147"),
    ("+0", "12025550147", "+12025550147"),
    ('"+1 "(000) 000-0000', "2025550147", "+1 (202) 555-0147"),
    ('0" km"', "12", "12 km"),
    ("0 \\k\\g", "12", "12 kg"),
    ('"No. "0', "7", "No. 7"),
    ('[=1]"yes";[=0]"no";0', "1", "yes"),
    ('[=1]"yes";[=0]"no";0', "0", "no"),
    ('[=1]"yes";[=0]"no";0', "2", "2"),
    ("[>=100]0;0.0", "99.5", "99.5"),
    ("[<0]0.0;0", "-3", "3.0"),
    ('"up";"down";"same"', "-3", "down"),
    ('"up";"down";"same"', "0", "same"),
    (";;;", "5", ""),
    ("0;-0;;@", "0", ""),
    ('General" x"', "0.1", "0.1 x"),
    ("[Red]General;[Blue]-General", "-1.5", "-1.5"),
    ("d/m/yyyy", "46357", "1/12/2026"),
    ("mm/dd/yy", "46357", "12/01/26"),
    ("dd.mm.yyyy", "46357", "01.12.2026"),
    ("dd\\.mm\\.yyyy;@", "46357.75", "01.12.2026"),
    ("yyyy-mm-dd", "46357.75", "2026-12-01"),
    ("[$-409]d-mmm-yy;@", "46357", "1-Dec-26"),
    ("[$-407]d. mmmm yyyy;@", "46357", "1. Dezember 2026"),
    ("[$-40C]dddd d mmmm yyyy", "46357", "mardi 1 décembre 2026"),
    ("[$-de-DE]mmmm", "46357", "Dezember"),
    ("[$-409]dddd, mmmm d, yyyy", "46357", "Tuesday, December 1, 2026"),
    ("ddd", "46357", "Tue"),
    ("[$-409]mmmmm", "46357", "D"),
    ("[$-F800]dddd, mmmm dd, yyyy", "46357.5", "2026-12-01"),
    ("[$-F400]h:mm:ss AM/PM", "0.3958333333333333", "09:30:00"),
    ("h:mm", "0.3958333333333333", "9:30"),
    ("hh:mm", "0.3958333333333333", "09:30"),
    ("h:mm", "1.0854166666666667", "2:03"),
    ("h:mm:ss", "0.395833333333333", "9:30:00"),
    ("h:mm AM/PM", "0.8958333333333334", "9:30 PM"),
    ("h:mm AM/PM", "0.02", "12:28 AM"),
    ("hh:mm A/P", "0.5", "12:00 P"),
    ("h AM/PM", "0.375", "9 AM"),
    ("m/d/yyyy h:mm", "46357.395833333336", "12/1/2026 9:30"),
    ("dd.mm.yyyy hh:mm", "46357.395833333336", "01.12.2026 09:30"),
    ("mm:ss", "0.0104166666666667", "15:00"),
    ("mm:ss.0", "0.0105", "15:07.2"),
    ("[h]:mm", "1.0854166666666667", "26:03"),
    ("[h]:mm:ss", "1.25", "30:00:00"),
    ("[hh]:mm", "0.0854166666666667", "02:03"),
    ("[mm]:ss", "0.5", "720:00"),
    ("[ss]", "0.001", "86"),
    ('[h]" h "mm" min"', "1.0854166666666667", "26 h 03 min"),
    ("d/m/yyyy", "1", "1/1/1900"),
    ("d/m/yyyy", "59", "28/2/1900"),
    ("d/m/yyyy", "61", "1/3/1900"),
]


@pytest.mark.parametrize(("code", "stored", "shown"), SHOWN, ids=[f"{code} of {stored}" for code, stored, _ in SHOWN])
def test_a_number_is_shown_as_its_format_says(code, stored, shown):
    form = parse_format(code)
    assert form is not None
    assert not form.is_plain
    number = form.show(stored)
    assert number is not None
    assert number.text == shown


@pytest.mark.parametrize(
    "code",
    ["General", "general", "@", "", "[Red]General", "yyyy-mm-dd hh:mm:ss", "YYYY-MM-DD HH:MM:SS", "yyyy\\-mm\\-dd h:mm:ss", "yyyy-mm-dd hh:mm", 'yyyy-mm-dd"T"hh:mm:ss'],
)  # fmt: skip
def test_a_format_that_shows_what_is_stored_needs_no_second_look(code):
    form = parse_format(code)
    assert form is not None
    assert form.is_plain


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("[DBNum1]0", id="digits of another script"),
        pytest.param("[$-1000000]0.00E+00 b", id="a Buddhist year"),
        pytest.param("ggge", id="an era"),
        pytest.param("[$-D000000]yyyy/mm/dd", id="digits by the locale's number"),
        pytest.param("[$-zz-QQ]mmmm", id="a language that there is not"),
        pytest.param('0"x', id="a quote that is not closed"),
        pytest.param("0.00 yyyy", id="a date and a number"),
        pytest.param("0.00x", id="a letter without quotes"),
    ],
)
def test_a_format_that_is_not_understood_is_not_guessed_at(code):
    assert parse_format(code) is None


@pytest.mark.parametrize(
    ("code", "stored"),
    [
        ("d/m/yyyy", "60"),
        ("d/m/yyyy", "-1"),
        ("d/m/yyyy", "2025550147"),
        ("h:mm", "-0.5"),
        ("0.00", "1E400"),
        ("0", "x"),
    ],
)
def test_what_no_cell_can_show_has_no_text(code, stored):
    form = parse_format(code)
    assert form is not None
    assert form.show(stored) is None


@pytest.mark.parametrize(
    ("code", "stored", "kept"),
    [
        pytest.param("00000", "1067", "01067", id="a postcode"),
        pytest.param("(000) 000-0000", "2025550147", "(202) 555-0147", id="a phone number"),
        pytest.param("[<=9999999]###-####;(###) ###-####", "2025550147", "(202) 555-0147", id="by its length"),
        pytest.param("00000", "1067.0", "01067", id="a whole number with a point"),
        pytest.param("000000000000", "7.700900123E9", "007700900123", id="a power of ten"),
        pytest.param("+0", "447700900123", "+447700900123", id="a plus"),
        pytest.param("000.000.0000", "2025550147", "202.555.0147", id="dots"),
        pytest.param("00000", "1067.5", None, id="rounded: not all of it is shown"),
        pytest.param("0.00E+00", "2025550147", None, id="digits are lost"),
        pytest.param("#,##0", "2025550147", None, id="an amount"),
        pytest.param("0.00", "2025550147", None, id="decimals"),
        pytest.param("0%", "2025550147", None, id="per cent"),
        pytest.param("0,", "2025550147", None, id="thousands"),
        pytest.param("[h]:mm", "1.0854166666666667", "26:03:00", id="a duration"),
        pytest.param("h:mm", "0.3958333333333333", None, id="a time of day"),
    ],
)
def test_what_is_used_where_the_number_itself_is_needed(code, stored, kept):
    """A code keeps its zeros, and no digit of a number is ever lost."""
    form = parse_format(code)
    assert form is not None
    number = form.show(stored)
    assert number is not None
    assert number.stored == kept


@given(
    st.sampled_from(["0", "00000", "#,##0", "0.00", "$#,##0.00", "0%", "0.0%", "0.0,", "#.##0", '"a"0"b"', "+0", "#"]),
    st.lists(st.one_of(st.integers(-(10**16), 10**16), st.floats(-(10**9), 10**9), st.just("x")), max_size=5),
)
def test_columns_are_shown_as_each_number_is(code, numbers):
    """The short way for many numbers and the long way for each give the same."""
    form = parse_format(code)
    texts = [repr(number) if isinstance(number, float) else str(number) for number in numbers]
    shown = form.show_column(pl.Series(texts, dtype=pl.String))
    slow = [form._show(text, from_1904=False) or (None, None) for text in texts]
    assert shown.rows() == [tuple(number) for number in slow]


def test_the_built_in_formats_are_understood():
    assert {number: code for number, code in BUILT_IN.items() if parse_format(code) is None} == {}


def test_days_may_be_counted_from_1904():
    form = parse_format("d/m/yyyy")
    assert form is not None
    assert (form.show("0", from_1904=True).text, form.show("44895", from_1904=True).text) == ("1/1/1904", "1/12/2026")


@pytest.mark.parametrize(
    ("code", "is_named"), [("d mmmm", False), ("[$-407]d mmmm", True), ("d.m.", True), ("0", True)]
)
def test_months_without_a_language_are_in_english(code, is_named):
    form = parse_format(code)
    assert form is not None
    assert form.is_in_english is not is_named


@given(
    st.integers(0, 10**14), st.sampled_from(["0", "#,##0", "0000000000", "(000) 000-0000", "0%", "0.00", "$#,##0.00"])
)
def test_a_whole_number_is_shown_with_all_its_digits(number, code):
    shown = parse_format(code).show(str(number)).text
    digits = re.sub(r"\D", "", shown.partition(".")[0])
    assert int(digits) == number * (100 if "%" in code else 1)


@given(st.decimals(-(10**9), 10**9, places=6, allow_nan=False), st.integers(0, 4))
def test_decimals_are_rounded_to_the_nearest(number, places):
    shown = parse_format("0." + "0" * places if places else "0").show(f"{number:f}").text
    assert abs(Decimal(shown) - number) <= Decimal(5).scaleb(-places - 1)


@given(st.datetimes(dt.datetime(1900, 3, 1), dt.datetime(9999, 12, 31)))
def test_a_moment_is_shown_to_the_second(moment):
    moment = moment.replace(microsecond=0)
    days = Decimal((moment - dt.datetime(1899, 12, 30)) // dt.timedelta(seconds=1)) / 86_400
    shown = parse_format("dd.mm.yyyy hh:mm:ss").show(f"{days:.12f}").text
    assert shown == f"{moment.day:02}.{moment.month:02}.{moment.year:04} {moment:%H:%M:%S}"


@given(st.text(st.sampled_from('0#?.,%/@E+-;"\\_*[]$dmyhsAPMGeneral<=>19 €'), max_size=12), st.floats(allow_nan=False))
def test_no_format_makes_the_reader_fail(code, number):
    form = parse_format(code)
    if form is not None and not form.is_plain:
        shown = form.show(repr(number))
        assert shown is None or isinstance(shown.text, str)
