"""Numbers as people type, paste and export them. `phonenumbers` is the truth; caution stands on top of it."""

from __future__ import annotations

import phonenumbers
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.phone import caution, normalize, region_ok

US = "+12025550100"


def read(cell: str | None, region: str | None = "US", **options) -> dict[str, str | None]:
    return normalize(pl.Series([cell], dtype=pl.String), default_region=region, **options).row(0, named=True)


@pytest.mark.parametrize(
    ("cell", "region", "expected"),
    [
        pytest.param("+12025550100", None, US, id="E.164 needs no region"),
        pytest.param("+12025550100", "DE", US, id="E.164 in another region"),
        pytest.param("2025550100", "US", US, id="ten digits"),
        pytest.param("12025550100", "US", US, id="country code without plus, one reading"),
        pytest.param("(202) 555-0100", "US", US, id="brackets and dash"),
        pytest.param("202.555.0100", "US", US, id="dots"),
        pytest.param("  202 555 0100\t", "US", US, id="blanks around"),
        pytest.param("202\u00a0555\u00a00100", "US", US, id="no-break spaces"),
        pytest.param("202–555—0100", "US", US, id="en and em dash"),
        pytest.param("202‑555‑0100", "US", US, id="no-break hyphen"),
        pytest.param("+1 (202) 555‒0100", None, US, id="figure dash"),
        pytest.param("\u202a+1 202 555 0100\u202c", None, US, id="direction marks of a pasted contact"),
        pytest.param("\ufeff2025550100", "US", US, id="byte order mark left in the cell"),
        pytest.param("２０２５５５０１００", "US", US, id="fullwidth digits"),
        pytest.param("＋１２０２５５５０１００", None, US, id="fullwidth plus"),
        pytest.param("٢٠٢٥٥٥٠١٠٠", "US", US, id="Arabic-Indic digits"),
        pytest.param("tel:+12025550100", None, US, id="tel URI"),
        pytest.param("TEL:2025550100", "US", US, id="tel URI, national"),
        pytest.param("++12025550100", "US", US, id="plus twice"),
        pytest.param("0012025550100", "GB", US, id="00 before the country code"),
        pytest.param("011 1 202 555 0100", "US", US, id="011 before the country code"),
        pytest.param("+44 (0)20 7946 0123", None, "+442079460123", id="trunk zero in brackets"),
        pytest.param("020 7946 0123", "GB", "+442079460123", id="trunk zero"),
        pytest.param("0171/392 00 01", "DE", "+491713920001", id="slash after the area code"),
        pytest.param("0049171 3920001", "DE", "+491713920001", id="two long groups of one number"),
        pytest.param("+33 1 99 00 00 01", "US", "+33199000001", id="international in a national list"),
        pytest.param("0491 570 006", "AU", "+61491570006", id="Australia"),
        pytest.param("20240115", "DK", "+4520240115", id="eight digits are a number where numbers have eight"),
    ],
)
def test_accepted(cell, region, expected):
    row = read(cell, region)
    assert (row["to"], row["reason"], row["detail"]) == (expected, None, None)


@pytest.mark.parametrize(
    ("cell", "region", "says"),
    [
        pytest.param("2025550100", None, "recipients.default_region", id="no country code and no region"),
        pytest.param("12025550100", None, "is +12025550100 meant?", id="hint where a plus would mend it"),
        pytest.param("442079460123", "US", "is +442079460123 meant?", id="another country's code without plus"),
        pytest.param("555-0100", "US", "lacks its area code in US", id="local number"),
        pytest.param("20255501", "US", "too short for US", id="digits missing"),
        pytest.param("+1 202 555 01", "DE", "too short for +1", id="digits missing after the country code"),
        pytest.param("20255501001", "US", "too long for US", id="a digit too many"),
        pytest.param("2" * 30, "US", "too long for a phone number", id="thirty digits"),
        pytest.param("0" * 5000, "US", "`0000000000000000000000000000000000000000…`", id="a very long cell is cut"),
        pytest.param("1202555010", "US", "no number in use in US", id="shifted by one"),
        pytest.param("+447700900123", None, "no number in use in +44", id="UK drama range is not assigned"),
        pytest.param("+999123456", "US", "no country code there is", id="country code that does not exist"),
        pytest.param("0", "US", "is no phone number", id="zero"),
        pytest.param("202\u2009555\u20090100", "US", "is no phone number", id="thin spaces, as libphonenumber has it"),
        pytest.param("-", "US", "is no phone number", id="dash for nothing"),
        pytest.param("+", "US", "is no phone number", id="plus alone"),
        pytest.param("988", "US", "too short", id="988 where the provider does not take it"),
        pytest.param("12345", "US", "too short", id="short code where the provider takes none"),
        # from here on libphonenumber would find some number, or nearly
        pytest.param("4.91512E12", "DE", "scientific notation", id="scientific notation"),
        pytest.param("1,20256E+10", "US", "scientific notation", id="scientific notation, decimal comma"),
        pytest.param("2025550100.0", "US", "decimals", id="float"),
        pytest.param("+12025550100,00", "US", "decimals", id="float with a comma"),
        pytest.param("2024-01-15", "DE", "date", id="ISO date"),
        pytest.param("2024-01-15 00:00:00", "DE", "date", id="ISO date and time"),
        pytest.param("2024-01-15T10:00:00Z", "DE", "date", id="ISO timestamp"),
        pytest.param("15.01.2024", "DE", "date", id="German date"),
        pytest.param("01/15/2024", "US", "date", id="US date"),
        pytest.param("20240115", "DE", "date", id="compact date"),
        pytest.param("4915123456789", "DE", "may mean +4915123456789 or +494915123456789", id="49 read as national"),
        pytest.param("49 171 3920001", "DE", "may mean +491713920001 or", id="49 read as national, spaced"),
        pytest.param("2025550100/2025550101", "US", "two numbers", id="two numbers, slash"),
        pytest.param("2025550100, 2025550101", "US", "two numbers", id="two numbers, comma"),
        pytest.param("(202) 555-0100 / (202) 555-0101", "US", "two numbers", id="two formatted numbers"),
        pytest.param("+1 202 555 0100 +1 202 555 0101", None, "two numbers", id="two numbers, blank"),
        pytest.param("5550100 5550101", "DE", "two numbers", id="two local numbers that read as one"),
        pytest.param("2025550100\n2025550101", "US", "two numbers", id="two numbers, line break"),
        pytest.param("2025550100 or 2025550101", "US", "two numbers", id="two numbers, or"),
        pytest.param("2025550100,99", "US", "`,`", id="comma and extension"),
        pytest.param("2025550100;ext=99", "US", "letters", id="RFC 3966 extension"),
        pytest.param("(202) 555-0100 x12", "US", "letters", id="extension with x"),
        pytest.param("202-555-0100 ext. 12", "US", "letters", id="extension spelled out"),
        pytest.param("2025550100#12", "US", "`#`", id="extension with a hash"),
        pytest.param("1-800-FLOWERS", "US", "letters", id="vanity number"),
        pytest.param("2O25550100", "US", "letters", id="the letter O for a zero"),
        pytest.param("mobile: 2025550100", "US", "letters", id="label"),
        pytest.param("whatsapp:+12025550100", "US", "letters", id="another channel"),
        pytest.param("N/A", "US", "letters", id="N/A"),
        pytest.param("*67 2025550100", "US", "`*`", id="star code"),
        pytest.param("'+12025550100", None, "`'`", id="spreadsheet's text mark"),
        pytest.param("=+12025550100", None, "`=`", id="formula"),
        pytest.param("+1 202 555 0100 📱", None, "`📱`", id="emoji"),
        pytest.param("~12025550100", "US", "`~`", id="about"),
        pytest.param("202\ufffd5550100", "US", "`\ufffd`", id="damaged text"),
    ],
)
def test_held(cell, region, says):
    row = read(cell, region)
    assert row["to"] is None
    assert row["region"] is None
    assert row["number_type"] is None
    assert row["reason"] == "invalid_number"
    assert says in row["detail"]
    assert "`" in row["detail"], "the sentence shows the cell"


@pytest.mark.parametrize("cell", [None, "", "  ", "\u00a0", "\t\n"], ids=["null", "empty", "spaces", "NBSP", "white"])
def test_blank(cell):
    assert read(cell) == dict.fromkeys(["to", "region", "number_type"]) | {
        "reason": "missing_data",
        "detail": "the number cell is blank",
    }


@pytest.mark.parametrize(
    ("cell", "to"),
    [
        pytest.param("4915123456789", "+494915123456789", id="country code read as national"),
        pytest.param("4.91512E12", "+4949151212", id="scientific notation"),
        pytest.param("2024-01-15", "+4920240115", id="date"),
        pytest.param("5550100 5550101", "+4955501005550101", id="two numbers"),
    ],
)
def test_with_caution_off_libphonenumber_is_believed(cell, to):
    """What the recipients would have been: the reason that caution is on."""
    assert read(cell, "DE", careful=False)["to"] == to
    assert read(cell, "DE")["to"] is None


@pytest.mark.parametrize(
    ("cell", "region", "kind", "where"),
    [
        pytest.param("+12025550100", None, "fixed_line_or_mobile", "US", id="US"),
        pytest.param("+14165550123", None, "fixed_line_or_mobile", "CA", id="Canada shares +1"),
        pytest.param("+18005550123", None, "toll_free", "US", id="toll-free"),
        pytest.param("+491713920001", None, "mobile", "DE", id="mobile"),
        pytest.param("+442079460123", None, "fixed_line", "GB", id="fixed line"),
        pytest.param("+80012345678", None, "toll_free", "001", id="no country"),
    ],
)
def test_region_and_type(cell, region, kind, where):
    row = read(cell, region)
    assert (row["number_type"], row["region"]) == (kind, where)


@pytest.mark.parametrize(
    ("cell", "own", "to"),
    [
        pytest.param("020 7946 0123", "GB", "+442079460123", id="the row's own region"),
        pytest.param("020 7946 0123", " gb ", "+442079460123", id="in any case, with blanks"),
        pytest.param("020 7946 0123", "UK", "+442079460123", id="UK"),
        pytest.param("2025550100", "USA", US, id="USA"),
        pytest.param("2025550100", None, US, id="none: the default region"),
        pytest.param("2025550100", " ", US, id="blank: the default region"),
        pytest.param("+12025550100", "Narnia", US, id="no region is needed after a plus"),
        pytest.param("2025550100", "Germany", None, id="no two-letter region: held, not guessed"),
        pytest.param("2025550100", "ZZ", None, id="two letters that are no region"),
    ],
)
def test_region_column(cell, own, to):
    row = read(cell, "US", regions=pl.Series([own], dtype=pl.String))
    assert row["to"] == to
    assert (row["reason"] is None) is (to is not None)
    if to is None:
        assert "no two-letter region" in row["detail"]


@pytest.mark.parametrize(
    ("cell", "to"),
    [
        pytest.param("988", "988", id="as it stands"),
        pytest.param("+988", "988", id="with plus: the same recipient"),
        pytest.param(" 988 ", "988", id="with blanks"),
        pytest.param("9 88", None, id="not with blanks inside"),
        pytest.param("989", None, id="only what is listed"),
    ],
)
def test_passthrough(cell, to):
    row = read(cell, "US", passthrough=frozenset({"988"}))
    assert row["to"] == to
    assert row["number_type"] == ("short_code" if to else None)


@pytest.mark.parametrize(
    ("cell", "region", "to"),
    [
        pytest.param("12345", "US", "12345", id="five digits"),
        pytest.param("123456", "US", "123456", id="six digits"),
        pytest.param("1234", "US", None, id="four could be the end of a number"),
        pytest.param("5550100", "US", None, id="seven are a local number"),
        pytest.param("20255501", "US", None, id="eight are a number cut short"),
        pytest.param("012345", "US", None, id="leading zero"),
        pytest.param("12-345", "US", None, id="punctuation"),
        pytest.param("+12345", "US", None, id="plus"),
        pytest.param("１２３４５", "US", None, id="other digits than ASCII"),
        pytest.param("30123", "DE", "+4930123", id="a valid number of its region is that number"),
        pytest.param("12345", None, "12345", id="without a region"),
    ],
)
def test_short_codes(cell, region, to):
    assert read(cell, region, short_codes=True)["to"] == to


def test_rows_keep_their_order_and_number():
    cells = ["+12025550101", None, "nonsense", "+12025550101", "2025550102", ""]
    regions = pl.Series(["US", None, "US", "GB", "US", None])
    frame = normalize(pl.Series(cells), default_region=None, regions=regions)
    assert frame["to"].to_list() == ["+12025550101", None, None, "+12025550101", "+12025550102", None]
    assert frame.schema == dict.fromkeys(["to", "region", "number_type", "reason", "detail"], pl.String)


@pytest.mark.parametrize("dtype", [pl.String, pl.Null], ids=str)
def test_no_rows(dtype):
    frame = normalize(pl.Series([], dtype=dtype), default_region="US")
    assert frame.schema == dict.fromkeys(["to", "region", "number_type", "reason", "detail"], pl.String)
    assert frame.height == 0


@pytest.mark.parametrize(("region", "known"), [("US", True), ("GB", True), ("UK", False), ("us", False), ("ZZ", False)])
def test_region_ok(region, known):
    assert region_ok(region) is known


REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
DIRT = st.text(st.sampled_from("0123456789 -.()/+xe,;\u00a0０\ufffdA"), max_size=20)


@given(st.lists(st.tuples(st.sampled_from(REGIONS), st.integers(0, 99)), max_size=10), DIRT, st.booleans())
def test_what_is_accepted_is_what_phonenumbers_says(picks, dirt, careful):
    """Real numbers of all regions with other last digits, as national text, and plain dirt beside them."""
    cells, regions = [dirt], ["US"]
    for region, tail in picks:
        example = phonenumbers.example_number(region)
        if example is not None:
            national = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)
            cells.append(f"{national[:-2]}{tail:02}")
            regions.append(region)
    frame = normalize(pl.Series(cells), default_region=None, regions=pl.Series(regions), careful=careful)
    for cell, region, row in zip(cells, regions, frame.iter_rows(named=True), strict=True):
        try:
            number = phonenumbers.parse(cell, region)
        except phonenumbers.NumberParseException:
            number = None
        valid = number is not None and phonenumbers.is_valid_number(number)
        if row["to"] is not None:
            assert valid
            assert row["to"] == phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            assert row["region"] == phonenumbers.region_code_for_number(number)
        elif valid:
            assert careful, "only caution may hold a valid number"
        assert (row["to"] is None) is (row["reason"] is not None) is (row["detail"] is not None)


@given(st.text(max_size=30))
def test_any_text_gets_an_answer(cell):
    row = read(cell)
    assert (row["to"] is None) is (row["reason"] is not None)
    assert caution(cell) is None or row["to"] is None
