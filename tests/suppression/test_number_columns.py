"""Which columns of a file of numbers count: by their headers, and by what is in them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from sender.core.errors import RecipientsError
from sender.recipients.readers import delimited
from sender.suppression import number_columns
from sender.suppression.number_list import ListRules
from tests.suppression.list_files import NO_REGION, US, A, B, C, D, read, workbook

ALLOWED = ListRules(("US",), unreadable=9)

COLUMNS: dict[str, tuple[str, ListRules, list[str]]] = {
    "customer ids that are numbers somewhere": ("Id,Phone\n20255501,+4520255501\n20255502,+4520255502\n", ListRules(("DK",)), ["Id", "Phone"]),
    "customer ids that are none": (f"Id,Phone\n1001,{A}\n1002,{B}\n", US, ["Phone"]),
    "dates and amounts": (f"Date,Amount,Phone\n2026-11-21,19.99,{A}\n2026-11-22,20.00,{B}\n", US, ["Phone"]),
    "moments": (f"Created,Phone\n2026-11-21T16:42:00.123Z,{A}\n1764000000123456,{B}\n", US, ["Phone"]),
    "ZIP codes": (f"Zip,Phone\n20001,{A}\n20001-1234,{B}\n", US, ["Phone"]),
    "a few numbers among texts": (f"Note,Phone\ncall,{A}\nsee {C},{B}\nno,{D}\n", US, ["Phone"]),
    "a header that may be a count": (f"Number,Phone\n1,{A}\n2,{B}\n", US, ["Phone"]),
    "a header that is one": (f"Number,Name\n{A},Ann\n{B},Bob\n", US, ["Number"]),
    "years": (f"Phone,2025,2026\n{A},1,2\n{B},3,4\n", US, ["Phone"]),
    "a phone's type": (f"Phone,Phone Type,Opt In Phone\n{A},mobile,yes\n{B},landline,no\n", US, ["Phone"]),
    "half of the cells": (f"Note,Phone\n{C},{A}\nno,{B}\n", US, ["Phone"]),
    "more than half of the cells": (f"Note,Phone\n{C},{A}\nno,{B}\n{D},{B}\n", ALLOWED, ["Note", "Phone"]),
    "tables in `Cell` and people in `To`": (f"Cell,To,Phone\nB2,Ann,{A}\nB3,Bob,{B}\n", US, ["Phone"]),
    "a home phone that one row has": (f"Phone,Home Phone\n{A},yes\n{B},no\n{C},{D}\n", ALLOWED, ["Phone", "Home Phone"]),
    "a home phone with a long label": (f"Phone,Home Phone\n{A},call my assistant at the desk {B}\n{C},no\n", ALLOWED, ["Phone", "Home Phone"]),
    "a note about the home phone": (f"Phone,Home Phone\n{A},call my assistants at the desk {B}\n{C},no\n", US, ["Phone"]),
    "half a home phone": (f"Phone,Home Phone\n{A},55-0101\n{B},no\n", US, ["Phone"]),
    "the country of a phone": ("Phone,Phone Country\n020 7946 0018,GB\n", NO_REGION, ["Phone"]),
    "a phone of another country": (f"Phone,Other Country Mobile\n{A},{B}\n", US, ["Phone", "Other Country Mobile"]),
    "numbers that need their country": ("Phone,Handset,Country\n020 7946 0018,020 7946 0019,GB\n", NO_REGION, ["Phone", "Handset"]),
    "numbers that need their calling code": ("Phone,Handset,Code Country\n020 7946 0018,020 7946 0019,44\n", NO_REGION, ["Phone", "Handset"]),
    "one column and its country": ("opted out,country\n020 7946 0018,GB\n,\n", NO_REGION, ["opted out"]),
    "no header, and a name": (f"Ann,{A}\nBob,{B}\n", US, ["column 2"]),
    "a second phone": (f"Phone,Phone 2,Home Phone\n{A},{B},\n{C},,{D}\n", US, ["Phone", "Phone 2", "Home Phone"]),
}  # fmt: skip


@pytest.mark.parametrize(("content", "rules", "columns"), COLUMNS.values(), ids=COLUMNS)
def test_which_columns_count(tmp_path: Path, content: str, rules: ListRules, columns: list[str]) -> None:
    listed = read(tmp_path, "a.csv", content, rules)
    assert [column.name for column in listed.columns] == columns
    listed.check("a.csv")


def test_a_column_that_is_mostly_blank_and_late_counts(tmp_path: Path) -> None:
    """A sample from the beginning would miss it."""
    rows = [f"{A},"] * 5_000 + [f"{B},{C}"] * 3
    listed = read(tmp_path, "a.csv", "phone,other\n" + "\n".join(rows) + "\n")
    assert set(listed.numbers) == {A, B, C}


SURE = ["phone", "Phone Number", "mobile", "mobile_number", "Cell Phone", "MSISDN", "tel", "Telephone"]
VAGUE = ["To", "Number", "Cell"]  # of a count, a table's cell or a name as well


@pytest.mark.parametrize("header", [*SURE, *VAGUE])
def test_a_header_that_names_a_phone_number(tmp_path: Path, header: str) -> None:
    """A sure one counts whatever is in it, and a vague one where most cells are numbers; both are named."""
    listed = read(tmp_path, "a.csv", f"{header},other\n{A},{B}\n")
    assert [(column.name, column.named) for column in listed.columns] == [(header, True), ("other", False)]
    listed = read(tmp_path, "a.csv", f"{header},other\nx,{A}\ny,{B}\n{C},{D}\n")
    assert [column.name for column in listed.columns] == ([header, "other"] if header in SURE else ["other"])


# Where no column is sure: what is read then, and the rows that stop.
LIKELY: dict[str, tuple[str, ListRules, str, list[int]]] = {
    "a vague header": ("To,Name\nx,Ann\n", US, "To", [2]),
    "the only column": ("opted out\nnobody\n", US, "opted out", [2]),
    "the only column but for the country": ("opted out,country\nnobody,GB\n", US, "opted out", [2]),
    "numbers without an area code": ("Name,Contact\nAnn,555-0101\n", US, "Contact", [2]),
    "mostly such numbers": ("Name,Contact\nAnn,555-0101\nBob,x\nCy,555-0102\n", US, "Contact", [2, 3, 4]),
    "numbers without a country": ("Name,Contact\nAnn,202-555-0101\n", NO_REGION, "Contact", [2]),
}  # fmt: skip


@pytest.mark.parametrize(("content", "rules", "column", "rows"), LIKELY.values(), ids=LIKELY)
def test_a_column_that_is_only_likely_stops(
    tmp_path: Path, content: str, rules: ListRules, column: str, rows: list[int]
) -> None:
    listed = read(tmp_path, "a.csv", content, rules)
    assert [each.name for each in listed.columns] == [column]
    assert listed.unreadable["row"].to_list() == rows


def test_the_blocks_in_which_a_file_is_read_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = [(content, rules) for content, rules, _ in COLUMNS.values()]
    tables += [(content, rules) for content, rules, *_ in LIKELY.values()]
    tables.append((f"Phone,Handset\n{A},{B}\n{A},2.03E+09\n{A},x\n{A},2.03E+09\n{A},x\n", US))
    columns = [[column.name for column in read(tmp_path, "a.csv", *table).columns] for table in tables]
    assert columns[-1] == ["Phone", "Handset"]
    monkeypatch.setattr(delimited, "BLOCK_CHARS", 20)
    for table, names in zip(tables, columns, strict=True):
        assert [column.name for column in read(tmp_path, "a.csv", *table).columns] == names, table
    with pytest.raises(RecipientsError, match="no column for the phone number"):
        read(tmp_path, "a.csv", "Name,Contact\nAnn,555-0101\nBob,x\nCy,y\nDan,555-0102\n")


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        pytest.param("Name,Contact\nAnn,555-0101\nBob,x\n", "`Name`, `Contact`", id="half of it could be numbers"),
        pytest.param("Name,Zip\nAnn,20001\n", "`Name`, `Zip`", id="too few digits"),
        pytest.param("Name,Email,Note\nAnn,a@example.com,\n", "`Name`, `Email`, `Note`", id="a blank column"),
    ],
)
def test_a_file_without_a_likely_column_is_refused(tmp_path: Path, content: str, headers: str) -> None:
    with pytest.raises(RecipientsError, match="no column for the phone number") as caught:
        read(tmp_path, "a.csv", content)
    assert str(caught.value.fix).endswith(f"headers here: {headers}")


def test_a_file_with_nothing_but_other_headers_is_an_empty_list(tmp_path: Path) -> None:
    listed = read(tmp_path, "a.csv", "name,email\n")
    assert (listed.columns, listed.rows, listed.size) == ((), 0, 0)
    listed.check("a.csv")


@pytest.mark.parametrize(
    ("cell", "counts"),
    [
        *[(cell, True) for cell in ("2.03E+09", "2e9", "'2,03E+09'", "+1.2E+10", "2.03E+14", "###", "#########")],
        *[(cell, False) for cell in ("2.03E+08", "2.03E+15", "2.03E-09", "##", "2.03E+0", "#1", "12E+09")],
    ],
)
def test_what_a_spreadsheet_leaves_of_a_number_is_not_passed_over(tmp_path: Path, cell: str, counts: bool) -> None:
    content = f"Phone\tHandset\tHome Phone\n{A}\t{cell}\t{cell}\n{B}\t\tno\n{C}\t\tno\n".replace("'", "")
    listed = read(tmp_path, "a.tsv", content)
    assert [column.name for column in listed.columns[1:]] == (["Handset", "Home Phone"] if counts else [])
    assert listed.unreadable["row"].to_list() == ([2, 2, 3, 4] if counts else [])


@pytest.mark.parametrize(
    ("sampled", "others", "counts"),
    [
        pytest.param([C, "x", "x", "x", "x"], [C] * 5, True, id="few of the sample and most of all"),
        pytest.param([C, C, C, C, "x"], ["x"] * 5, False, id="most of the sample and few of all"),
        pytest.param([C, C, C, C, "x"], [C, "x", "x", "x", "x"], False, id="most of the sample and half of all"),
    ],
)
def test_a_sample_that_is_not_clear_is_followed_by_all_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampled: list[str], others: list[str], counts: bool
) -> None:
    """Every second cell of ten is in the sample; a share from a fifth to four fifths is not clear."""
    monkeypatch.setattr(number_columns, "_SAMPLED", 5)
    rows = "".join(f"{A},{one}\n{B},{other}\n" for one, other in zip(sampled, others, strict=True))
    listed = read(tmp_path, "a.csv", f"Phone,Note\n{rows}", ALLOWED)
    assert [column.name for column in listed.columns] == (["Phone", "Note"] if counts else ["Phone"])


# -- columns that the rules name, sheets and types ---------------------------------------------------------------------


def test_a_named_column_is_read_whatever_it_is_called_and_holds(tmp_path: Path) -> None:
    content = f"Phone,Contact,Country\n{A},{B},US\n{C},x,US\n"
    listed = read(tmp_path, "a.csv", content, ListRules(("US",), columns=("CONTACT",)))
    assert [(column.name, column.numbers.to_list()) for column in listed.columns] == [("Contact", [B])]
    assert listed.unreadable["row"].to_list() == [3]
    with pytest.raises(RecipientsError, match=r"has no column `cell`\n.*`Phone`, `Contact`, `Country`"):
        read(tmp_path, "a.csv", content, ListRules(("US",), columns=("Contact", "cell")))


def test_a_named_column_may_be_on_one_sheet_and_missing_in_an_empty_file(tmp_path: Path) -> None:
    sheets = workbook(x=[["Tel", "Name"], [A, "Ann"]], y=[["Mobile", "Name"], [B, "Bob"]])
    assert set(read(tmp_path, "a.xlsx", sheets, ListRules(("US",), columns=("mobile",))).numbers) == {B}
    assert read(tmp_path, "a.csv", "", ListRules(("US",), columns=("mobile",))).columns == ()


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        pytest.param({"old": [["Tel"], [A]], "new": [["Name", "Tel"], ["Bob", B]]}, ["old: Tel", "new: Tel"], id="two"),
        pytest.param({"old": [["Tel"], [A]], "notes": [["Note"], ["x"]]}, ["old: Tel"], id="one of two"),
        pytest.param({"old": [["Tel"], [A]]}, ["Tel"], id="one"),
    ],
)
def test_of_several_sheets_a_column_is_named_with_its_own(
    tmp_path: Path, content: dict[str, list[list[str]]], columns: list[str]
) -> None:
    assert [column.name for column in read(tmp_path, "a.xlsx", workbook(**content)).columns] == columns


def test_a_column_that_cannot_hold_a_number_is_refused_where_it_counts(tmp_path: Path) -> None:
    frame = pl.DataFrame({"phone": [A], "score": [0.5]}, schema_overrides={"score": pl.Float32})
    assert set(read(tmp_path, "a.parquet", frame).numbers) == {A}
    narrow = pl.DataFrame({"name": ["Ann"], "phone": [2025550147.0]}, schema_overrides={"phone": pl.Float32})
    with pytest.raises(RecipientsError, match="the column `phone` has floating point numbers of 32 bits"):
        read(tmp_path, "a.parquet", narrow)
