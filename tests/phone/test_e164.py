"""Numbers as people type, paste and export them. `phonenumbers` is the truth; caution stands on top of it."""

from __future__ import annotations

import phonenumbers
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.phone import e164
from sender.phone.cell import Reader, caution, region_ok
from sender.phone.e164 import normalize

US = "+12025550100"
COLUMNS = dict.fromkeys(["to", "region", "number_type", "reason", "detail", "repair"], pl.String)


@pytest.fixture(params=["cell by cell", "tables"], scope="module", autouse=True)
def way(request):
    """Everything here holds for both ways of reading; which one is taken depends on how many rows there are."""
    least_rows = 1 if request.param == "tables" else 1_000_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(e164, "_REGION_FROM_ROWS", least_rows)
        patch.setattr(e164, "_CODE_FROM_ROWS", least_rows)
        yield


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
        pytest.param(
            "+1 202 555 01", "DE", "too short for country code +1", id="digits missing after the country code"
        ),
        pytest.param("20255501001", "US", "too long for US", id="a digit too many"),
        pytest.param("2" * 30, "US", "too long for a phone number", id="thirty digits"),
        pytest.param("0" * 5000, "US", "`0000000000000000000000000000000000000000…`", id="a very long cell is cut"),
        pytest.param("1202555010", "US", "is not a number in use in US", id="shifted by one"),
        pytest.param(
            "+447700900123", None, "is not a number in use in country code +44", id="UK drama range is not assigned"
        ),
        pytest.param("+999123456", "US", "does not begin with a country code", id="country code that does not exist"),
        pytest.param("0", "US", "is not a phone number", id="zero"),
        pytest.param("-", "US", "is not a phone number", id="dash for nothing"),
        pytest.param("+", "US", "is not a phone number", id="plus alone"),
        pytest.param("988", "US", "too short", id="988 where the provider does not take it"),
        pytest.param("12345", "US", "too short", id="short code where the provider takes none"),
        # from here on libphonenumber would find some number, or nearly
        pytest.param("4.91512E12", "DE", "scientific notation", id="scientific notation"),
        pytest.param("1,20256E+10", "US", "scientific notation", id="scientific notation, decimal comma"),
        pytest.param("2.0255501E+09", "US", "has lost digits", id="scientific notation, zeros lost or not"),
        pytest.param("-2.025550100E9", "US", "scientific notation", id="scientific notation, negative"),
        pytest.param("4.915123456789E+12", "DE", "which may mean +4915123456789 or", id="complete, two readings"),
        pytest.param("1713920001.0", "DE", "may mean +491713920001 or +4917139200010", id="float, two readings in DE"),
        pytest.param("412345678.0", "FI", "may mean +358412345678 or", id="float, two readings in FI"),
        pytest.param("812345678.0", "ID", "may mean +62812345678 or", id="float, two readings in ID"),
        pytest.param("211234567.0", "NZ", "may mean +64211234567 or", id="float, two readings in NZ"),
        pytest.param("4915123456789.0", "DE", "which may mean", id="float of a number without its plus"),
        pytest.param("555010.0", "US", "which is too short for US", id="float of no number"),
        pytest.param("20255501001234567.0", "US", "decimals", id="float of more digits than floats keep"),
        pytest.param("'2024-01-15", "DE", "which looks like a date", id="text mark before a date"),
        pytest.param("=2025550100+1", "US", "`=`", id="formula that calculates"),
        pytest.param("2024-01-15", "DE", "date", id="ISO date"),
        pytest.param("2024-01-15 00:00:00", "DE", "date", id="ISO date and time"),
        pytest.param("2024-01-15T10:00:00Z", "DE", "date", id="ISO timestamp"),
        pytest.param("15.01.2024", "DE", "date", id="German date"),
        pytest.param("01/15/2024", "US", "date", id="US date"),
        pytest.param("20240115", "DE", "date", id="compact date"),
        pytest.param("20240115093000", "DE", "looks like a date and time", id="compact date and time"),
        pytest.param("20240115093000", "US", "looks like a date and time", id="compact date and time, too long anyway"),
        pytest.param("19991231235959", "AT", "looks like a date and time", id="the last second of a century"),
        pytest.param("20240115093000", None, "looks like a date and time", id="date and time without a region"),
        pytest.param("202401150930", "DE", "looks like a date and time", id="date and time to the minute"),
        pytest.param("20240115093000.0", "DE", "looks like a date and time", id="date and time as a float"),
        pytest.param("4915123456789", "DE", "may mean +4915123456789 or +494915123456789", id="49 read as national"),
        pytest.param("49 171 3920001", "DE", "may mean +491713920001 or", id="49 read as national, spaced"),
        pytest.param("38328999999", "XK", "may mean +38328999999 or +38338328999999", id="383 read as national"),
        pytest.param("621500499", "ID", "may mean +621500499 or +62621500499", id="62 read as national"),
        pytest.param("35819499", "FI", "may mean +35819499 or +35835819499", id="358 read as national"),
        pytest.param("270829999", "ZA", "may mean +27829999 or +27270829999", id="27 read as national"),
        pytest.param("12345678901234567", "US", "too long for US", id="17 digits"),
        pytest.param("9" * 20, "US", "too long for a phone number", id="more digits than an Int64 holds"),
        pytest.param("0000000001", "GB", "`0000000001`", id="zeros"),
        pytest.param("+0", "US", "`+0`", id="plus and zero"),
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
        pytest.param("N/A", "US", "letters", id="N/A"),
        pytest.param("*67 2025550100", "US", "`*`", id="star code"),
        pytest.param("🇺🇸 202 555 0100", "US", "`🇺", id="emoji"),
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
    assert row["repair"] is None
    assert "`" in row["detail"], "the sentence shows the cell"


@pytest.mark.parametrize(
    ("cell", "region", "repair"),
    [
        pytest.param("2025550100.0", "US", "dropped the decimals", id="float"),
        pytest.param("12025550100.00", "US", "dropped the decimals", id="float with country code"),
        pytest.param("+12025550100,00", "US", "dropped the decimals", id="float with a comma"),
        pytest.param("1.2025550100E10", "US", "scientific notation", id="all digits there"),
        pytest.param("1,2025550100e+10", "US", "scientific notation", id="all digits, decimal comma"),
        pytest.param("+1.2025550100E+10", None, "scientific notation", id="all digits, plus"),
        pytest.param("'+12025550100", None, "keeps text", id="spreadsheet's text mark"),
        pytest.param("'(202) 555-0100", "US", "keeps text", id="text mark before a national number"),
        pytest.param("=+12025550100", None, "keeps text", id="plus read as a formula"),
        pytest.param('="2025550100"', "US", "keeps text", id="formula that holds text"),
    ],
)
def test_repaired(cell, region, repair):
    """Only what a spreadsheet did, only where one number can have been meant, and never unsaid."""
    row = read(cell, region)
    assert (row["to"], row["reason"], row["detail"]) == (US, None, None)
    assert repair in row["repair"]
    assert read(cell, region, careful=False)["repair"] is None


@pytest.mark.parametrize(
    ("cell", "region"),
    [
        pytest.param("00442079460123", "GB", id="GB: trunk zero looks like the prefix"),
        pytest.param("4402079460123", "GB", id="country code, then the national prefix"),
        pytest.param("44002079460123", "GB", id="the national prefix stripped twice"),
        pytest.param("910091234567890", "IN", id="twice, IN"),
        pytest.param("00491713920001", "KR", id="KR: the international prefix is a pattern"),
        pytest.param("00101713920001", "KR", id="KR: not of that pattern"),
        pytest.param("001441713920001", "AU", id="AU: 0011 or 14xx0011"),
        pytest.param("14110011442079460123", "AU", id="AU: carrier and prefix"),
        pytest.param("1123456789", "AR", id="AR: the prefix may be empty"),
        pytest.param("01115 2345 6789", "AR", id="AR: 15 becomes a 9 in front"),
        pytest.param("3435551212", "AR", id="AR: no prefix"),
        pytest.param("0 15 11 96123 4567", "BR", id="BR: a carrier code is dropped"),
        pytest.param("011 96123 4567", "BR", id="BR: prefix without carrier"),
        pytest.param("2345678", "BS", id="BS: seven digits get their area code"),
        pytest.param("12423456789", "BS", id="BS: 1 is a prefix there"),
        pytest.param("7012345", "GG", id="GG: area code added"),
        pytest.param("0549886377", "SM", id="SM: area code there"),
        pytest.param("886377", "SM", id="SM: area code added"),
        pytest.param("0003768012345678", "JP", id="JP: three prefixes"),
        pytest.param("17951 13812345678", "CN", id="CN: carrier code of five digits"),
        pytest.param("08213012345678", "KR", id="KR: carrier code of three digits"),
        pytest.param("0289991234", "IT", id="IT: the zero belongs to the number"),
        pytest.param("+39 06 6988 4857", "VA", id="VA shares +39"),
        pytest.param("88001234567", "KZ", id="KZ: 8 is the prefix and +7 the code"),
        pytest.param("+7 8 701 123 4567", "KZ", id="KZ: prefix after the country code"),
        pytest.param("+0171 3920001", "DE", id="a plus before a national number"),
        pytest.param("+800 1234 5678", None, id="no country"),
        pytest.param("0491713920001", "DE", id="DE: prefix and country code"),
        pytest.param("015123456712", "DE", id="DE: as YAML must leave it"),
        pytest.param("0151234567", "BY", id="BY"),
        pytest.param("80 29 491 19 11", "BY", id="BY: 80 as the prefix"),
        pytest.param("0664 123456", "AT", id="AT: many lengths"),
    ],
)
def test_traps_of_the_metadata(cell, region):
    """Whatever `phonenumbers` says; the rest of the row as the reader of single cells has it."""
    try:
        number = phonenumbers.parse(cell, region)
    except phonenumbers.NumberParseException:
        number = None
    valid = number is not None and phonenumbers.is_valid_number(number)
    expected = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) if valid else None
    assert read(cell, region, careful=False)["to"] == expected
    alone = Reader(frozenset(), short_codes=False, careful=True).read(cell, region)
    assert read(cell, region) == alone._asdict()


@pytest.mark.parametrize("cell", [None, "", "  ", "\u00a0", "\t\n"], ids=["null", "empty", "spaces", "NBSP", "white"])
def test_blank(cell):
    assert read(cell) == dict.fromkeys(["to", "region", "number_type", "repair"]) | {
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
        pytest.param("030 1234567", "Germany", "+49301234567", id="a country's name"),
        pytest.param("030 1234567", "DEUTSCHLAND", "+49301234567", id="in its own language"),
        pytest.param("030 1234567", "Allemagne", "+49301234567", id="in another"),
        pytest.param("030 1234567", "DEU", "+49301234567", id="ISO's three letters"),
        pytest.param("030 1234567", "+49", "+49301234567", id="calling code"),
        pytest.param("020 7946 0123", "England", "+442079460123", id="a part of a country"),
        pytest.param("+12025550100", "Congo", US, id="nor one of two"),
    ],
)
def test_region_column(cell, own, to):
    row = read(cell, "US", regions=pl.Series([own], dtype=pl.String))
    assert (row["to"], row["detail"]) == (to, None)


@pytest.mark.parametrize(
    ("own", "says"),
    [
        pytest.param("Narnia", "`Narnia` is not a country name or code that we know", id="no country"),
        pytest.param("ZZ", "`ZZ` is not a country name or code that we know", id="two letters that are no region"),
        pytest.param(
            "49", "`49` is not a country name or code that we know", id="digits: a calling code or ISO's number"
        ),
        pytest.param("Congo", "`Congo` may mean CD or CG; write the one that is meant", id="two countries"),
        pytest.param("Antarctica", "`Antarctica` is not a country", id="a country without numbers"),
    ],
)
def test_a_region_that_cannot_be_told_holds_the_row(own, says):
    row = read("2025550100", "US", regions=pl.Series([own], dtype=pl.String))
    assert (row["to"], row["reason"]) == (None, "invalid_number")
    assert row["detail"].startswith("`2025550100` has no country code and ")
    assert says in row["detail"]


def test_many_texts_that_name_no_region():
    """Each row's sentence shows its own."""
    cells, wheres = ["2025550100", "030 1234567", "2025550100", "x"], ["Atlantis", "Germany", "Narnia", "Oz"]
    frame = normalize(pl.Series(cells), default_region="US", regions=pl.Series(wheres))
    assert frame["to"].to_list() == [None, "+49301234567", None, None]
    assert ["`Atlantis`" in frame["detail"][0], "`Narnia`" in frame["detail"][2]] == [True, True]


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
    assert frame.schema == COLUMNS


@pytest.mark.parametrize("cell", ["40000", "+40000", "+12025550100", "12025550100"])
def test_passthrough_of_any_length(cell):
    """Also where the same digits would be a number, or go with a plus."""
    row = read(cell, "US", passthrough=frozenset({"40000", "12025550100"}))
    assert (row["to"], row["number_type"]) == (cell.removeprefix("+"), "short_code")


def test_a_long_list_is_read_as_a_short_one(monkeypatch):
    """Whatever way and in how many blocks: blank, held, repaired and valid rows stay in place."""
    monkeypatch.setattr(e164, "_BLOCK_ROWS", 5_003)
    kinds = [
        "(202) 555-0100",
        None,
        "n/a",
        "2025550100.0",
        "+491713920001",
        "555-0100",
        "2025550100.0 ",
        "442079460123",
    ]
    few = normalize(pl.Series(kinds), default_region="US")
    assert few["reason"].null_count() == 4
    assert normalize(pl.Series(kinds * 2_000), default_region="US").equals(pl.concat([few] * 2_000))


@pytest.mark.parametrize("dtype", [pl.String, pl.Null], ids=str)
def test_no_rows(dtype):
    frame = normalize(pl.Series([], dtype=dtype), default_region="US")
    assert frame.schema == COLUMNS
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


@given(st.text(max_size=30) | DIRT)
def test_any_text_gets_an_answer(cell):
    row = read(cell)
    stripped = pl.Series([cell]).str.strip_chars()[0] or None
    alone = Reader(frozenset(), short_codes=False, careful=True).read(stripped, "US")
    assert row == alone._asdict()
    assert (row["to"] is None) is (row["reason"] is not None)
    assert caution(cell) is None or row["to"] is None or row["repair"] is not None
