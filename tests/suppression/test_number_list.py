"""Files of numbers that get nothing, in every form they come in: no number may be missed, none passed over in silence."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import polars as pl
import pytest

from sender.core.errors import RecipientsError
from sender.suppression.number_list import ListRules, read_number_list
from sender.suppression.number_match import People
from tests.profiles import pairs
from tests.suppression.list_files import LONDON, MANCHESTER, NO_REGION, US, A, B, C, D, read, workbook

# Twilio's, Telnyx' and SignalWire's exports, with the headers that they have.
TWILIO_LOG = (
    "From,To,Body,Status,SentDate,ApiVersion,NumSegments,ErrorCode,AccountSid,Sid,Direction,Price,PriceUnit\n"
    f"{A},{LONDON},STOP,received,2026-11-21T16:42:00Z,2010-04-01,1,,AC0123456789,SM0123456789abcdef,inbound,-0.00750,USD\n"
    f"{B},{LONDON},stop please,received,2026-11-22T16:42:00Z,2010-04-01,1,,AC0123456789,SM1123456789abcdef,inbound,-0.00750,USD\n"
)
TELNYX_OPT_OUTS = (
    "to,from,keyword,created_at,messaging_profile_id\n"
    f'{LONDON},{A},STOP,2026-11-21T16:42:00.123456Z,"4001767e-ce0f-4cae-9d5f-0d5e636e7809"\n'
    f'{LONDON},{B},UNSUBSCRIBE,2026-11-22T16:42:00.123456Z,"4001767e-ce0f-4cae-9d5f-0d5e636e7809"\n'
)
SIGNALWIRE_LOG = (
    "Id,From,To,Status,Direction,Kind,Source,Type,Charge,Created At\n"
    f"6b1d9f4e-7a3c-4d61-9a52-3f4f0a1c2b3d,{A},{LONDON},received,inbound,sms,laml,message,0.0025,2026-11-21 16:42:00 UTC\n"
    f"7b1d9f4e-7a3c-4d61-9a52-3f4f0a1c2b3d,{B},{LONDON},received,inbound,sms,laml,message,0.0025,2026-11-21 16:43:00 UTC\n"
)
CRM = (
    "Contact ID,First Name,Phone,MobilePhone,Email,Created\n"
    "10000001,Ann,202-555-0101,(202) 555-0102,ann@example.com,2026-01-02\n"
    "10000002,Bob,,202.555.0103,bob@example.com,2026-01-03\n"
    "10000003,Cy,+12025550104,,cy@example.com,2026-01-04\n"
)

FILES: dict[str, tuple[str, str | bytes | pl.DataFrame, ListRules, set[str]]] = {
    "a header": ("a.csv", f"phone\n{A}\n\n{B}\n", US, {A, B}),
    "a header among others": ("a.csv", f"name,Phone Number\nAnn,{A}\n,{B}\n", US, {A, B}),
    "a plain list": ("a.txt", f"{A}\n{B}\n", US, {A, B}),
    "a plain list without a line end": ("a", f"{A}\r\n{B}", US, {A, B}),
    "a plain list without plus signs": ("a.txt", "12025550101\n2025550102\n", US, {A, B}),
    "a plain list, formatted": ("a.txt", f"(202) 555-0101\n{B}\n", US, {A, B}),
    "a plain list of one": ("a.txt", A, US, {A}),
    "a plain list whose first number is labelled": ("a.txt", f"Tel. {A}\n{B}\n", US, {A, B}),
    "a plain list, repeated numbers": ("a.csv", f"{A},{A}\n{B},{C}\n", US, {A, B, C}),
    "no header, several columns": ("a.csv", f"{A},Ann\n{B},Bob\n", US, {A, B}),
    "no header, the number last": ("a.csv", f"Ann,{A}\nBob,{B}\n", US, {A, B}),
    "another header, one column": ("a.csv", f"opted out\n{A}\n", US, {A}),
    "another header, several columns": ("a.csv", f"name,contact\nAnn,{A}\nBob,{B}\n", US, {A, B}),
    "every column with numbers": ("a.csv", f"phone,mobile\n{A},{B}\n{C},\n", US, {A, B, C}),
    "a CRM's export": ("a.csv", CRM, US, {A, B, C, D}),
    "Twilio's inbound log": ("a.csv", TWILIO_LOG, NO_REGION, {A, B, LONDON}),
    "Telnyx' opt-outs": ("a.csv", TELNYX_OPT_OUTS, NO_REGION, {A, B, LONDON}),
    "SignalWire's log": ("a.csv", SIGNALWIRE_LOG, NO_REGION, {A, B, LONDON}),
    "TSV": ("a.tsv", f"name\tphone\nAnn\t{A}\nBob\t{B}\n", US, {A, B}),
    "semicolons": ("a.csv", f"name;phone\nAnn;{A}\nBob;{B}\n", US, {A, B}),
    "a spreadsheet's own first line": ("a.csv", f"sep=;\nname;phone\nAnn;{A}\n", US, {A}),
    "compressed": ("a.csv.gz", gzip.compress(f"phone\n{A}\n".encode()), US, {A}),
    "cp1252": ("a.csv", f"name,phone\nZo\xeb,{A}\n".encode("cp1252"), US, {A}),
    "a byte order mark": ("a.csv", b"\xef\xbb\xbf" + f"{A}\n{B}\n".encode(), US, {A, B}),
    "UTF-16": ("a.csv", f"phone\n{A}\n".encode("utf-16"), US, {A}),
    "JSON lines": ("a.jsonl", f'{{"phone": "{A}"}}\n{{"phone": 12025550102}}\n', US, {A, B}),
    "JSON lines with lists": ("a.jsonl", f'{{"phones": ["{A}", "{B}"]}}\n{{"phones": ["{C}"]}}\n', US, {A, B, C}),
    "JSON lines of values": ("a.jsonl", f'"{A}"\n12025550102\n', US, {A, B}),
    "YAML": ("a.yaml", f"- phone: '{A}'\n- phone: {B}\n", US, {A, B}),
    "YAML of values": ("a.yaml", f"- '{A}'\n- {B}\n- 202-555-0103\n", US, {A, B, C}),
    "Parquet": ("a.parquet", pl.DataFrame({"msisdn": [A, B, None]}), US, {A, B}),
    "Parquet, whole numbers": ("a.parquet", pl.DataFrame({"phone": [12025550101, 12025550102]}), US, {A, B}),
    "Parquet, fractions": ("a.parquet", pl.DataFrame({"phone": [2025550101.0, None, 2025550102.0]}), US, {A, B}),
    "Parquet, lists": ("a.parquet", pl.DataFrame({"phones": [[A, B], [C]]}), US, {A, B, C}),
    "XLSX": ("a.xlsx", workbook(x=[["Tel"], [12025550101], [B]]), US, {A, B}),
    "XLSX without a header": ("a.xlsx", workbook(x=[[2025550101], [2025550102]]), US, {A, B}),
    "XLSX, several sheets": ("a.xlsx", workbook(y2025=[["Tel"], [A]], y2026=[["Name", "Mobile"], ["Bob", B]]), US, {A, B}),
    "XLSX, a hidden sheet": ("a.xlsx", workbook(x=[["Tel"], [A]], hidden=[["Tel"], [B]]), US, {A, B}),
    "XLSX, a sheet of notes": ("a.xlsx", workbook(x=[["Tel"], [A]], notes=[["Note"], ["from 2026"]]), US, {A}),
    "XLSX, numbers on the second sheet": ("a.xlsx", workbook(notes=[["Note"], ["x"]], x=[["Tel"], [A]]), US, {A}),
    "a country column": ("a.csv", f"phone,country\n020 7946 0018,GB\n{A},\n", NO_REGION, {LONDON, A}),
    "a country column of names": ("a.csv", "phone,Country\n020 7946 0018,United Kingdom\n202-555-0101,USA\n", NO_REGION, {LONDON, A}),
    "a country column of calling codes": ("a.csv", "Country Code,phone\n44,020 7946 0018\n1,202-555-0101\n", NO_REGION, {LONDON, A}),
    "calling codes of three digits, and with zeros": ("a.csv", "phone,country\n01 234 5678,353\n020 7946 0018,0044\n", NO_REGION, {"+35312345678", LONDON}),
    "a mailing country": ("a.csv", "MailingCountry,phone\nGreat Britain,020 7946 0018\n", NO_REGION, {LONDON}),
    "a country that is not known": ("a.csv", f"phone,country\n202-555-0101,Atlantis\n{B},\n", US, {A, B}),
    "a country that may be another": ("a.csv", "phone,country\n202-555-0101,GB\n", US, {A}),
    "one of two countries": ("a.csv", "phone,country\n2075550123,US or GB\n", NO_REGION, {"+12075550123", "+442075550123"}),
    "both the country and the default": ("a.csv", "phone,country\n2075550123,GB\n", US, {"+12075550123", "+442075550123"}),
    "a country for numbers that name theirs": ("a.csv", f"phone,country\n{A},GB\n", NO_REGION, {A}),
    "numbers of another country without a plus": ("a.csv", "phone\n442079460018\n", US, {LONDON}),
    "numbers without a plus and no country": ("a.csv", "phone\n442079460018\n12025550101\n", NO_REGION, {LONDON, A}),
    "international prefixes": ("a.csv", "phone\n00442079460018\n011441614960018\n", US, {LONDON, MANCHESTER}),
    "two countries": ("a.csv", "phone\n020 7946 0018\n202-555-0101\n", ListRules(regions=("GB", "US")), {LONDON, A}),
    "two numbers in a cell": ("a.csv", 'phone\n"202-555-0101, 202-555-0102"\n202-555-0103 / 202-555-0104\n', US, {A, B, C, D}),
    "two numbers in a cell, one blank apart": ("a.csv", f"phone\n{A} {B}\n2025550103 2025550104\n", US, {A, B, C, D}),
    "two numbers, only the endings": ("a.csv", "phone\n202-555-0101/02\n202-555-0103\\04\n", US, {A, B, C, D}),
    "labels and extensions": ("a.csv", "phone\nTel: 202-555-0101 ext. 4\n202-555-0102 (work)\n+1 202 555 0103 x12\n", US, {A, B, C}),
    "addresses": ("a.csv", f"contact\ntel:{A}\nwhatsapp:{B}\nsip:{C}@example.com\n", NO_REGION, {A, B, C}),
    "invisible characters": ("a.csv", "phone\n\u202a+1202\u200b5550101\u202c\n\ufeff+1\u00a0202\u2011555\u20110102\n", US, {A, B}),
    "digits of other scripts": ("a.csv", "phone\n２０２５５５０１０１\n٢٠٢٥٥٥٠١٠٢\n", US, {A, B}),
    "what spreadsheets do": ("a.csv", "phone\n2025550101.0\n'+12025550102\n=\"2025550103\"\n2.025550104E9\n", US, {A, B, C, D}),
    "a trunk zero in brackets": ("a.csv", "phone\n+44 (0)20 7946 0018\n", NO_REGION, {LONDON}),
    "a plus that should not be there": ("a.csv", "phone\n+2025550101\n", US, {A}),
    "letters for digits": ("a.csv", "phone\n1-800-FLOWERS\n", US, {"+18003569377"}),
    "numbers by their column": ("a.csv", CRM, ListRules(("US",), columns=("mobile phone",)), {B, C}),
    "short codes": ("a.csv", f"phone\n988\n12345\n{A}\n", ListRules(("US",), frozenset({"988"}), short_codes=True), {"988", "12345", A}),
    "empty": ("a.csv", "", US, set()),
    "a header only": ("a.csv", "phone\n", US, set()),
    "an empty workbook": ("a.xlsx", workbook(x=[]), US, set()),
    "an empty list": ("a.yaml", "", US, set()),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "rules", "numbers"), FILES.values(), ids=FILES)
def test_every_number_is_read(
    tmp_path: Path, name: str, content: str | bytes | pl.DataFrame, rules: ListRules, numbers: set[str]
) -> None:
    listed = read(tmp_path, name, content, rules)
    assert set(listed.numbers) == numbers
    assert listed.unreadable.is_empty(), listed.describe_unreadable()
    listed.check(name)
    assert (listed.file.role, listed.file.bytes) == ("suppress", (tmp_path / name).stat().st_size)


# What stops: the rows that cannot be read, and how many rows have no number.
STOPS: dict[str, tuple[str, str | bytes | pl.DataFrame, ListRules, list[int], int]] = {
    "a word": ("a.csv", f"phone\n{A}\nnobody\n", US, [3], 0),
    "a number without its area code": ("a.csv", f"phone\n555-0101\n{A}\n", US, [2], 0),
    "a number that lost its digits": ("a.csv", f"phone\n2.03E+09\n{A}\n", US, [2], 0),
    "a cell that is too narrow": ("a.csv", f"phone\n#########\n{A}\n", US, [2], 0),
    "a mobile phone that lost its digits": ("a.csv", f"Phone,MobilePhone\n{A},2.03E+09\n{B},2.03E+09\n", US, [2, 3], 0),
    "another column that lost its digits": ("a.csv", f"Phone,Handset\n{A},2.03E+09\n{B},2.03E+09\n", US, [2, 3], 0),
    "the second of two numbers": ("a.csv", f'phone\n"202-555-0101, 555-0102"\n{B}\n', US, [2], 0),
    "two numbers run together": ("a.csv", f"phone\n20255501012025550102\n{B}\n", US, [2], 0),
    "no country": ("a.csv", f"phone\n202-555-0101\n{B}\n", NO_REGION, [2], 0),
    "an unknown country": ("a.csv", f"phone,country\n202-555-0101,Atlantis\n{B},US\n", NO_REGION, [2], 0),
    "a letter O": ("a.csv", f"phone\n2O25550101\n{B}\n", US, [2], 0),
    "a date": ("a.csv", f"phone\n2026-11-21\n{B}\n", US, [2], 0),
    "a long text": ("a.csv", f"phone\n{'1' * 500}\n{B}\n", US, [2], 0),
    "the first number of a plain list": ("a.txt", f"202555010\n{A}\n", US, [1], 0),
    "a number in a column with others": ("a.csv", f"name,contact\nAnn,{A}\nBob,{B}\nCy,x\n", US, [4], 0),
    "one number a row of two": ("a.csv", f"phone,mobile\n{A},555-0101\n{B},\n", US, [2], 0),
    "nothing but such cells": ("a.csv", "phone\nx\ny\n", US, [2, 3], 0),
    "blank rows count apart": ("a.csv", f"name,phone\nAnn,\nBob,n/a\nCy,NULL\nDan,-\nEve,{A}\nFay,x\n", US, [7], 4),
    "the same digits in another country": ("a.csv", "phone,country\n020 7946 0018,Atlantis\n020 7946 0018,US or GB\n", NO_REGION, [2], 0),
    "seven digits above several columns": ("a.csv", f"5550101,Ann\n{A},Bob\n", US, [1], 0),
    "the same cell twice": ("a.csv", f"phone\nnobody\n{A}\nnobody\n", US, [2, 4], 0),
    "blanks of several kinds": ("a.tsv", f"phone\tname\n  \tAnn\n N/A \tBob\n—\tCy\n#N/A\tDan\nNone\tEve\n{A}\tFay\nx\tGus\n", US, [8], 5),
    "blanks on both sheets": ("a.xlsx", workbook(x=[["Tel", "Name"], ["", "Ann"], [A, "Bob"]], y=[["Tel", "Name"], ["x", "Cy"], ["", "Dan"], ["-", "Eve"]]), US, [2], 3),
    "on the second sheet": ("a.xlsx", workbook(x=[["Tel"], [A]], y=[["Tel"], ["x"], [B]]), US, [2], 0),
    "the same row of two sheets": ("a.xlsx", workbook(x=[["Tel"], ["x"]], y=[["Tel"], ["y"], [B]]), US, [2, 2], 0),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "rules", "rows", "blank"), STOPS.values(), ids=STOPS)
def test_what_cannot_be_read_stops(
    tmp_path: Path, name: str, content: str | bytes | pl.DataFrame, rules: ListRules, rows: list[int], blank: int
) -> None:
    listed = read(tmp_path, name, content, rules)
    assert listed.unreadable["row"].to_list() == rows
    assert (listed.unreadable_rows, listed.blank_rows) == (len(rows), blank)
    with pytest.raises(RecipientsError, match=rf"(?s)row.*{rows[0]}.*`unreadable: {len(rows)}`"):
        listed.check(name)
    allowed = ListRules(rules.regions, unreadable=len(rows))
    if listed.size:
        read(tmp_path, name, content, allowed).check(name)


def test_a_cell_that_cannot_be_read_is_named_with_its_column_and_sheet(tmp_path: Path) -> None:
    listed = read(tmp_path, "a.csv", f"phone,mobile\n{A},x\ny,{B}\n")
    cells = listed.unreadable.sort("row").select("sheet", "column", "row", "cell").rows()
    assert cells == [(None, "mobile", 2, "x"), (None, "phone", 3, "y")]
    assert re.findall(r"row (\d+), `(\w+)`", listed.describe_unreadable()) == [("3", "phone"), ("2", "mobile")]
    listed = read(tmp_path, "a.xlsx", workbook(one=[["Tel"], [A]], two=[["Tel"], [B], ["x"]]))
    assert listed.unreadable.select("sheet", "column", "row", "cell").rows() == [("two", "Tel", 3, "x")]


def test_the_cells_that_cannot_be_read_are_a_table_of_the_same_columns(tmp_path: Path) -> None:
    """Whether there are any, and whether the file has sheets: several can be put together."""
    contents: dict[str, str | bytes] = {
        "a.csv": f"phone\n{A}\nx\n",
        "b.csv": f"phone\n{A}\n",
        "c.csv": "",
        "d.xlsx": workbook(x=[["Tel"], ["x"]]),
    }
    cells = [read(tmp_path, name, content).unreadable for name, content in contents.items()]
    texts = dict.fromkeys(("column", "cell", "detail", "sheet"), pl.String())
    assert all(dict(each.schema) == {**texts, "row": pl.UInt32()} for each in cells)
    assert pl.concat(cells).select("sheet", "row").rows() == [(None, 3), ("x", 2)]


@pytest.mark.parametrize(
    ("cells", "sentences"),
    [
        pytest.param(["x"], ["1 row has a cell that is not a number", "row 2, `phone`: `x`", "`unreadable: 1`"], id="1"),
        pytest.param(["x", "y"], ["2 rows have cells that are not numbers", "; row 3, `phone`: `y`", "--unreadable 2"], id="2"),
        pytest.param(list("vwxyz"), ["5 rows have cells that", "; row 4, `phone`: `x`", "; and 2 more\n"], id="5"),
        pytest.param(["202/555-0101//"], ["`202/555-0101//` holds a second number that cannot be read"], id="a second number"),
    ],
)  # fmt: skip
def test_the_error_says_which_cells_and_how_many(tmp_path: Path, cells: list[str], sentences: list[str]) -> None:
    with pytest.raises(RecipientsError) as caught:
        read(tmp_path, "a.csv", "\n".join(["phone", *cells, A])).check("a.csv")
    assert [sentence for sentence in sentences if sentence not in str(caught.value)] == []
    assert str(caught.value).count("`phone`") == min(len(cells), 3)


def test_of_several_sheets_the_error_names_the_one_with_the_cell(tmp_path: Path) -> None:
    several = workbook(one=[["Tel"], ["x"]], two=[["Tel"], [B], ["y"]])
    listed = read(tmp_path, "a.xlsx", several)
    assert re.findall(r"row (\d+), `([\w: ]+)`", listed.describe_unreadable()) == [("2", "one: Tel"), ("3", "two: Tel")]
    assert listed.list_unreadable(1)[0].startswith("row 2, `one: Tel`: `x` has letters")
    listed = read(tmp_path, "a.xlsx", workbook(one=[["Tel"], ["x"]]))
    assert listed.describe_unreadable().startswith("row 2, `Tel`: `x`"), "there is one only"


def test_the_first_row_counts_where_it_is_no_header(tmp_path: Path) -> None:
    def rows(name: str, content: str | bytes) -> int:
        return read(tmp_path, name, content).rows

    assert [rows("a.csv", content) for content in (A, f"{A}\n{B}\n", f"{A},{B}\n{C},{D}\n")] == [1, 2, 2]
    assert rows("a.csv", f"phone\n{A}\n{B}\n") == 2
    assert rows("a.xlsx", workbook(x=[[A], [B]], y=[[C], [D]], z=[["Tel"], [A]])) == 5


def test_a_plain_list_without_a_number_is_refused_though_its_rows_are_allowed(tmp_path: Path) -> None:
    listed = read(tmp_path, "a.txt", "202555010\nn/a\n", ListRules(("US",), unreadable=1))
    with pytest.raises(RecipientsError, match="not one phone number"):
        listed.check("a.txt")


def test_a_repeated_number_counts_as_often_as_it_is_there_and_is_one_number(tmp_path: Path) -> None:
    listed = read(tmp_path, "a.csv", f"phone,mobile\n{B},{A}\n{C},{B}\n{B},\n")
    assert (listed.size, listed.numbers.to_list()) == (5, [B, C, A])


def test_a_file_has_the_name_that_a_plan_gives_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"phone\n{A}\n")
    names = [read_number_list(tmp_path / "a.csv", US, name=name).file.path for name in (None, "lists/a.csv")]
    assert names == [str(tmp_path / "a.csv"), "lists/a.csv"]


def test_blank_cells_are_counted_and_are_no_error(tmp_path: Path) -> None:
    listed = read(tmp_path, "a.csv", f"name,phone,mobile\nAnn,,\nBob,{A},\nCy,,{B}\nDan,N/A,none\n")
    assert (listed.rows, listed.blank_rows, listed.unreadable_rows) == (4, 2, 0)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        pytest.param("a.csv", "name,email\nAnn,a@example.com\n", r"no column for the phone number.*`name`, `email`", id="no column"),
        pytest.param("a.csv", "name,phone\nAnn,\nBob,\n", "not one phone number", id="only blank cells"),
        pytest.param("a.csv", "phone\nn/a\n", "not one phone number", id="a placeholder"),
        pytest.param("a.csv", f"phone\n{A}\n".encode("utf-16-le"), "NUL", id="UTF-16 without a mark"),
        pytest.param("a.jsonl", "[1, 2]\n", "is not a JSON object", id="JSON lines of lists"),
        pytest.param("a.yaml", "phone: 1\n", "is not a list of rows", id="YAML mapping"),
        pytest.param("a.csv", f"phone,name\n{A}\n{B},Bob,x\n", "line 2", id="ragged"),
        pytest.param("a.xlsx", b"PK\x03\x04 and no more", "cannot be read as a workbook", id="a damaged workbook"),
        pytest.param("a.pdf", b"%PDF-1.7", "is a PDF", id="a PDF"),
    ],
)  # fmt: skip
def test_a_file_without_numbers_is_refused(
    tmp_path: Path, name: str, content: str | bytes | pl.DataFrame, sentence: str
) -> None:
    with pytest.raises(RecipientsError, match=rf"(?s){sentence}"):
        read(tmp_path, name, content).check(name)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipientsError, match="no such file"):
        read_number_list(tmp_path / "a.csv", US)
    (tmp_path / "a.csv").write_text(f"phone\n{A}\n")
    with pytest.raises(RecipientsError, match=r"(?s)no column `cell`.*`phone`"):
        read_number_list(tmp_path / "a.csv", ListRules(columns=("cell",)))


# -- whom they match -----------------------------------------------------------------------------------------------


MATCHES: dict[str, tuple[str, ListRules, list[str], list[str]]] = {
    "the number": (f"phone\n{A}\n", US, [A, B], [A]),
    "a national number": ("phone\n202-555-0101\n", US, [A, B, "+442025550101"], [A, "+442025550101"]),
    "a national number under another country": ("phone\n2075550123\n", ListRules(("GB",)), ["+12075550123", B], ["+12075550123"]),
    "digits with a country code": ("phone\n442079460018\n", US, [LONDON, A], [LONDON]),
    "digits with a country code, no country": ("phone\n12025550101\n", NO_REGION, [A, LONDON], [A]),
    "a trunk zero under another country": ("phone\n020 7946 0018\n", ListRules(("DE", "GB")), [LONDON, A], [LONDON]),
    "a national number under others' country codes": ("phone\n202-555-0101\n", US, ["+72025550101", "+452025550101", "+3532025550101"], ["+72025550101", "+452025550101", "+3532025550101"]),
    "not a part of the digits": ("phone\n202-555-0101\n", US, ["+442025550", "+4492025550101", "+4420255501019"], []),
    "a spreadsheet's fraction, another country": ('phone\n2025550101.0\n"2025550102,00"\n', US, ["+442025550101", "+442025550102"], ["+442025550101", "+442025550102"]),
    "digits of other scripts, another country": ("phone\n２０２５５５０１０１\n٢٠٢٥٥٥٠١٠٢\n", US, ["+442025550101", "+442025550102"], ["+442025550101", "+442025550102"]),
    "one column with country codes and one without": (f"phone,mobile\n202-555-0101,{B}\n", US, ["+442025550101", B, C], ["+442025550101", B]),
    "an empty file": ("", US, [A], []),
    "nobody": (f"phone\n{C}\n", US, [A, LONDON, "988"], []),
    "a short code": ("phone\n988\n", ListRules(("US",), frozenset({"988"})), ["988", A], ["988"]),
    "numbers and short codes": (f"phone\n{A}\n988\n{B}\n", ListRules(("US",), frozenset({"988"})), [A, "988", C, B], [A, "988", B]),
    "nothing in the file": ("phone\n", US, [A, B], []),
    "two countries with the same digits": ("phone\n+4520255501\n", ListRules(("DK",)), ["+4520255501", "+4720255501"], ["+4520255501"]),
}  # fmt: skip


@pytest.mark.parametrize(("content", "rules", "people", "held"), MATCHES.values(), ids=MATCHES)
def test_whom_a_file_matches(
    tmp_path: Path, content: str, rules: ListRules, people: list[str], held: list[str]
) -> None:
    listed = read(tmp_path, "a.csv", content, rules)
    to = pl.Series([*people, None], dtype=pl.String)
    matches = People(to).match(listed)
    assert to.filter(matches.held).to_list() == held
    assert matches.held.null_count() == 0


def test_each_column_says_whom_it_alone_holds_back(tmp_path: Path) -> None:
    listed = read(tmp_path, "a.csv", f"Phone,Mobile\n{A},{B}\n{C},{C}\n,{D}\n")
    matches = People(pl.Series([A, B, C, D, LONDON])).match(listed)
    assert matches.alone == {"Phone": 1, "Mobile": 2}
    assert matches.held.to_list() == [True] * 4 + [False]
    matches = People(pl.Series([A, B, C, LONDON])).match(read(tmp_path, "b.csv", f"Phone\n{A}\n{C}\n{C}\n"))
    assert matches.alone == {"Phone": 2}


@pytest.mark.parametrize("at_once", [1, 3, 1_000_000])
def test_parts_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr("sender.suppression.number_list._AT_ONCE", at_once)
    for name, content, rules, numbers in FILES.values():
        assert set(read(tmp_path, name, content, rules).numbers) == numbers


@pytest.mark.parametrize(
    ("cell", "default"),
    pairs(
        ["202-555-0101", "2075550123", "020 7946 0018", "442079460018", "+12025550102", "030 123456", "20255501"],
        [None, "US", "GB", "DE", "DK"],
    ),
)
def test_a_wrong_country_never_suppresses_less(tmp_path: Path, cell: str, default: str | None) -> None:
    """Whatever the country column and the default say, those are held who are without it."""
    to = pl.Series([A, B, "+12075550123", "+442075550123", LONDON, "+4930123456", "+4520255501", "+33123456789"])
    rules = ListRules(() if default is None else (default,), unreadable=99)
    without = People(to).match(read(tmp_path, "a.csv", f"phone\n{cell}\n", rules)).held
    for country in ("US", "GB", "DE", "Atlantis", "Congo", "44", "+1", ""):
        listed = read(tmp_path, "a.csv", f"phone,country\n{cell},{country}\n", rules)
        held = People(to).match(listed).held
        assert (held | ~without).all(), country
