"""Workbooks as people and programs leave them: what is shown is read, and what is missing or hidden is known."""

from __future__ import annotations

import datetime as dt
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.core.errors import RecipientsError
from sender.recipients.readers.read import read_table, read_tables
from sender.recipients.readers.source import FileSource
from sender.recipients.readers.table import Table
from sender.recipients.readers.workbooks import _find_kind
from tests.profiles import examples

SAMPLES = Path(__file__).parents[2] / "samples" / "lists"
XLS_NOTE = "hidden rows and number formats of an XLS workbook are ignored; save it as XLSX if it has any"
ODS_NOTE = "hidden rows and number formats of an ODS workbook are ignored; save it as XLSX if it has any"


def sample(name: str) -> Table:
    return read_table((SAMPLES / name).read_bytes(), where=name)


def write(fill: Callable[[Any, Any], None], **options: Any) -> bytes:
    """A workbook whose one sheet `fill` writes; it gets the workbook and the sheet."""
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True, **options}) as book:
        fill(book, book.add_worksheet())
    return buffer.getvalue()


def write_cells(*cells: tuple[Any, str | None], **options: Any) -> bytes:
    """A workbook with the column `v`, and its cells with their number formats."""

    def fill(book: Any, sheet: Any) -> None:
        sheet.write(0, 0, "v")
        for row, (value, code) in enumerate(cells, 1):
            sheet.write(row, 0, value, None if code is None else book.add_format({"num_format": code}))

    return write(fill, **options)


def rewrite(data: bytes, change: Callable[[str], str], part: str = "xl/worksheets/sheet1.xml") -> bytes:
    """The workbook with another XML of a part, as another program would have written it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content.decode()) if name == part else content)
    return buffer.getvalue()


def read(data: bytes, where: str = "x.xlsx", **options: Any) -> Table:
    return read_table(data, where=where, **options)


def shown(table: Table) -> list[str]:
    return table.cells["v"].to_list()


def stored(table: Table) -> list[str]:
    return table.with_stored(["v"]).cells["v"].to_list()


@pytest.mark.parametrize(
    ("value", "code", "is_shown", "is_stored"),
    [
        (1067, "00000", "01067", "01067"),
        (0.25, "0%", "25%", "0.25"),
        (19.9, '"$"#,##0.00', "$19.90", "19.9"),
        (19.9, 2, "19.90", "19.9"),
        (dt.timedelta(hours=26, minutes=3), "[h]:mm", "26:03", "26:03:00"),
        (dt.timedelta(hours=2, minutes=3), "[h]:mm", "2:03", "02:03:00"),
        (dt.time(9, 30), "h:mm", "9:30", "09:30:00"),
        (dt.time(21, 30), "h:mm AM/PM", "9:30 PM", "21:30:00"),
        (dt.datetime(2026, 12, 1), "dd.mm.yyyy", "01.12.2026", "2026-12-01"),
        (dt.datetime(2026, 12, 1), 14, "2026-12-01", "2026-12-01"),
        (dt.datetime(2026, 12, 1, 9, 30), 14, "2026-12-01", "2026-12-01 09:30:00"),
        (dt.datetime(2026, 12, 1, 9, 30), 22, "2026-12-01 09:30:00", "2026-12-01 09:30:00"),
        (dt.datetime(2026, 12, 1, 9, 30), "yyyy-mm-dd hh:mm:ss", "2026-12-01 09:30:00", "2026-12-01 09:30:00"),
        (dt.datetime(2026, 12, 1, 9, 30), "d/m/yy h:mm", "1/12/26 9:30", "2026-12-01 09:30:00"),
        (2025550147, "(000) 000-0000", "(202) 555-0147", "(202) 555-0147"),
        (2025550147, "0.00E+00", "2.03E+09", "2025550147"),
        (2025550147, "#,##0", "2,025,550,147", "2025550147"),
        (2025550147, "0.00", "2025550147.00", "2025550147"),
        (2025550147, "$#,##0.00", "$2,025,550,147.00", "2025550147"),
        (2025550147, "dd.mm.yyyy", "2025550147", "2025550147"),
        (2025550147, 14, "2025550147", "2025550147"),
        (12025550147, 22, "12025550147", "12025550147"),
        (2025550147, "yyyy-mm-dd hh:mm:ss", "2025550147", "2025550147"),
        (2025550147, "[h]:mm", "2025550147", "2025550147"),
        (2025550147, None, "2025550147", "2025550147"),
        (2025550147, "0", "2025550147", "2025550147"),
        (12025550147, "+0", "+12025550147", "+12025550147"),
        (1.5, "# ?/?", "1 1/2", "1.5"),
        (7, '"No. "0', "No. 7", "7"),
        (5, ";;;", "", "5"),
        ("007", "@", "007", "007"),
        ("text", "0.00", "text", "text"),
        (True, "0.00", "true", "true"),
        (True, None, "true", "true"),
    ],
)
def test_a_cell_is_what_it_shows_and_for_computing_what_it_stores(value, code, is_shown, is_stored):
    table = read(write_cells(("above", None), (value, code), ("below", None)))
    assert (shown(table), stored(table)) == (["above", is_shown, "below"], ["above", is_stored, "below"])


def test_what_writers_leave_in_a_workbook_of_openpyxl():
    table = sample("openpyxl.xlsx")
    when = ("01.12.2026", "2026-12-01 09:30:00")
    first = ("2025550101", "Name 1", "01067", "25%", "$19.90", "26:03", "9:30", *when, "false", "3.00", "4.00")
    assert table.cells.row(0) == first
    assert table.with_stored(table.headers).cells.row(0) == (
        "2025550101", "Name 1", "01067", "0.25", "19.9", "26:03:00", "09:30:00", "2026-12-01", "2026-12-01 09:30:00",
        "false", "3", "4",
    )  # fmt: skip
    assert (table.hidden_rows.to_list(), table.hidden_headers) == ([3, 6], {"Phone"})
    assert table.broken.rows() == [(4, "Bonus", "#N/A"), (5, "Total", None)]
    assert table.notes == (
        "`Bonus`: 1 cell is an error (#N/A), in row 4",
        "`Total`: 1 formula has never been calculated, in row 5; open the workbook in a spreadsheet program and save it",
    )


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("openpyxl.xlsx", ("Hours", "At", "Day", "Moment", "Paid", "Bonus")),
        ("xlwt.xls", ("Hours", "At", "Day", "Moment", "Paid", "Bonus")),
        ("odfpy.ods", ("Hours", "At", "Day", "Moment", "Paid", "Bonus")),
        ("duckdb.parquet", ("hours", "at", "day", "moment", "paid")),
    ],
)
def test_times_and_truth_values_are_alike_in_all_formats(name, headers):
    cells = sample(name).with_stored(headers).cells.select(headers)
    alike = ("26:03:00", "09:30:00", "2026-12-01", "2026-12-01 09:30:00", "true", "3")
    assert cells.row(1) == alike[: len(headers)]


def test_an_ods_workbook_says_what_is_not_looked_at():
    table = sample("odfpy.ods")
    assert table.broken.rows() == [(4, "Bonus", "#DIV/0!"), (5, "Total", None)]
    assert table.cells["Bonus"].to_list() == ["3", "3", "#DIV/0!", "3"]
    assert table.cells["Total"].to_list() == ["4", "4", "4", "(not calculated)"]
    assert table.hidden_rows.to_list() == []
    assert table.notes[-1] == ODS_NOTE


def test_an_xls_workbook_says_what_is_not_looked_at():
    table = sample("xlwt.xls")
    assert table.broken.rows() == [(4, "Bonus", "#N/A")]
    assert table.notes == ("`Bonus`: 1 cell is an error (#N/A), in row 4", XLS_NOTE)


def test_rows_columns_and_sheets_that_are_hidden():
    def fill(book: Any, sheet: Any) -> None:
        for row in range(8):
            sheet.write_row(row, 1, [f"h{c}" if not row else f"{row}{c}" for c in range(4)])
        sheet.set_row(2, None, None, {"hidden": True})
        sheet.set_row(5, None, None, {"level": 1, "hidden": True})
        sheet.set_row(20, None, None, {"hidden": True})  # a blank one
        sheet.set_column("C:D", None, None, {"hidden": True})

    table = read(write(fill))
    assert (table.hidden_rows.to_list(), table.hidden_headers) == ([3, 6], {"h1", "h2"})
    assert [part.hidden_rows.to_list() for part in table.blocks()] == [[3, 6]]


def test_a_filter_hides_rows():
    def fill(book: Any, sheet: Any) -> None:
        sheet.write_column(0, 0, ["v", "a", "b", "a", "b"])
        sheet.autofilter(0, 0, 4, 0)
        sheet.filter_column(0, "x == a")
        for row in (2, 4):
            sheet.set_row(row, options={"hidden": True})

    table = read(write(fill))
    assert (shown(table), table.hidden_rows.to_list()) == (["a", "b", "a", "b"], [3, 5])


def test_where_all_sheets_are_hidden_it_is_told():
    def fill(book: Any, sheet: Any) -> None:
        sheet.write_column(0, 0, ["v", "a"])

    data = rewrite(
        write(fill), lambda xml: xml.replace("<sheet name", '<sheet state="veryHidden" name'), "xl/workbook.xml"
    )
    assert read(data).notes == ("the sheet `Sheet1` is hidden in the workbook",)
    assert read(data, sheet="Sheet1").notes == ()


@pytest.mark.parametrize("error", ["#N/A", "#REF!", "#DIV/0!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!"])
def test_an_error_is_known_by_its_row(error):
    data = write_cells(("a", None), (1, "00000"), ("b", None))
    broken = rewrite(data, lambda xml: re.sub(r'(<c r="A3"[^>]*)><v>1</v>', rf'\1 t="e"><v>{error}</v>', xml))
    table = read(broken)
    assert (table.broken.rows(), shown(table)) == ([(3, "v", error)], ["a", error, "b"])
    assert table.notes == (f"`v`: 1 cell is an error ({error}), in row 3",)


@pytest.mark.parametrize("error", ["#SPILL!", "#CALC!", "#FIELD!"])
def test_an_error_that_the_reader_does_not_know_is_refused_by_its_name(error):
    data = write_cells(("a", None), (1, None))
    broken = rewrite(data, lambda xml: re.sub(r'(<c r="A3"[^>]*)><v>1</v>', rf'\1 t="e"><v>{error}</v>', xml))
    with pytest.raises(RecipientsError, match=rf"x\.xlsx: has a cell with the error {error}"):
        read(broken)


@pytest.mark.parametrize(
    ("cell", "is_broken"),
    [
        pytest.param("<c r='A3'><f>1+1</f></c>", True, id="no value"),
        pytest.param('<c r="A3"><f>1+1</f></c>', True, id="no value, double quotes"),
        pytest.param('<c r="A3"><f>1+1</f><v></v></c>', True, id="an empty value"),
        pytest.param('<c r="A3"><f>1+1</f><v/></c>', True, id="an empty element"),
        pytest.param('<c r="A3" s="1"><f>1+1</f><v /></c>', True, id="with a style"),
        pytest.param('<c r="A3" t="n"><f>1+1</f><v /></c>', True, id="a number"),
        pytest.param('<c r="A3" t="str"><f>B1</f></c>', True, id="a text without a value"),
        pytest.param('<c r="A3" t="str"><f>""</f><v></v></c>', False, id="an empty text is a result"),
        pytest.param('<c r="A3"><f>1+1</f><v>2</v></c>', False, id="calculated"),
        pytest.param('<c r="A3"><f t="shared" ref="A3:A9" si="0">B1</f><v/></c>', True, id="shared by several cells"),
        pytest.param('<c r="A3" t="b"><f>TRUE()</f><v>1</v></c>', False, id="a truth value"),
    ],
)
@pytest.mark.parametrize("usual", [True, False], ids=["by search", "cell by cell"])
def test_a_formula_without_a_result_is_known_by_its_row(cell, is_broken, usual):
    data = rewrite(write_cells(("a", None), (1, None), ("b", None)), lambda xml: re.sub(r'<c r="A3".*?</c>', cell, xml))
    if not usual:
        data = rewrite(data, lambda xml: xml.replace('<c r="A2"', "<c r='A2'"))
    table = read(data)
    assert table.broken.rows() == ([(3, "v", None)] if is_broken else [])
    assert (shown(table)[1] == "(not calculated)") is is_broken


@pytest.mark.parametrize("calculated", [True, False])
def test_the_zero_of_a_writer_without_a_calculator_is_no_result(calculated):
    """xlsxwriter gives each formula the result 0, and asks for a calculation when the workbook is opened."""

    def fill(book: Any, sheet: Any) -> None:
        sheet.write(0, 0, "v")
        sheet.write_formula(1, 0, "=1+1")
        sheet.write_formula(2, 0, "=1+1", None, 2)
        sheet.write(3, 0, 0)

    data = write(fill)
    if calculated:
        data = rewrite(data, lambda xml: xml.replace(' fullCalcOnLoad="1"', ""), "xl/workbook.xml")
    table = read(data)
    assert shown(table) == (["0", "2", "0"] if calculated else ["(not calculated)", "2", "0"])
    assert table.broken["row_number"].to_list() == ([] if calculated else [2])


def test_a_row_of_nothing_but_formulas_is_not_lost():
    data = rewrite(
        write_cells(("a", None)),
        lambda xml: xml.replace("</sheetData>", '<row r="7"><c r="A7"><f>1+1</f></c></row></sheetData>'),
    )
    table = read(data)
    assert list(zip(table.row_numbers, shown(table), strict=True)) == [(2, "a"), (7, "(not calculated)")]


def test_a_format_that_is_not_understood_is_told_once_a_column():
    table = read(write_cells((5, "[DBNum1]0"), (6, "[DBNum1]0"), (7, "0.00")))
    assert shown(table) == ["5", "6", "7.00"]
    assert table.notes == (
        "`v`: the number format [DBNum1]0 is not supported, so its cells are used as they are stored",
    )


def test_months_in_a_language_that_is_not_named_are_told():
    table = read(write_cells((dt.datetime(2026, 12, 1), "d mmmm yyyy")))
    assert shown(table) == ["1 December 2026"]
    assert table.notes == ("`v`: names of months and days are in English, since the workbook does not name a language",)


def test_days_counted_from_1904():
    table = read(write_cells((dt.datetime(2026, 12, 1), "dd.mm.yyyy"), date_1904=True))
    assert (shown(table), stored(table)) == (["01.12.2026"], ["2026-12-01"])


def test_the_places_are_those_of_the_sheet():
    """The first rows and columns are blank, and so is a column between."""

    def fill(book: Any, sheet: Any) -> None:
        code = book.add_format({"num_format": "00000"})
        sheet.write_row(3, 2, ["phone", "v"])
        sheet.write(5, 3, 42, code)
        sheet.write(5, 2, "x")
        sheet.write_blank(9, 8, None, code)
        sheet.set_row(5, options={"hidden": True})

    table = read(write(fill))
    assert (shown(table), table.row_numbers.to_list(), table.hidden_rows.to_list()) == (["00042"], [6], [6])


def test_a_header_is_what_it_shows():
    def fill(book: Any, sheet: Any) -> None:
        sheet.write(0, 0, 7, book.add_format({"num_format": '"Week "0'}))
        sheet.write(1, 0, "x")

    assert read(write(fill)).headers == ("Week 7",)


# The same sheet as other programs write it.
DIALECTS = {
    "as it is": lambda xml: xml,
    "single quotes": lambda xml: re.sub(r"(<c|<row)([^>]*)", lambda found: found[0].replace('"', "'"), xml),
    "a prefix": lambda xml: re.sub(r"<(/?)(\w)", r"<\1x:\2", xml.partition("?>")[2]).replace("xmlns=", "xmlns:x="),
    "no references": lambda xml: re.sub(r'(<c|<row) r="\w+"', r"\1", xml),
    "another order": lambda xml: re.sub(r'<c r="(\w+)" s="(\d+)"', r'<c s="\2" r="\1"', xml),
    "the type first": lambda xml: re.sub(r'<c r="(\w+)" s="(\d+)"><v>', r'<c r="\1" t="n" s="\2"><v>', xml),
    "blanks": lambda xml: xml.replace("<v>", "<v >").replace("</row>", "\n</row>\n"),
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_sheets_of_any_program_are_read_alike(dialect):
    def fill(book: Any, sheet: Any) -> None:
        sheet.write_row(0, 0, ["v", "w"])
        code = book.add_format({"num_format": "00000"})
        for row in range(1, 6):
            sheet.write(row, 0, row, code)
            sheet.write(row, 1, f"row>{row}")
        sheet.write_formula(4, 0, "=1+1", code, "#N/A")
        sheet.write_formula(5, 0, "=1+1", code)
        sheet.set_row(2, options={"hidden": True})

    table = read(rewrite(write(fill), DIALECTS[dialect]))
    assert shown(table) == ["00001", "00002", "00003", "#N/A", "(not calculated)"]
    assert table.hidden_rows.to_list() == [3]
    assert table.broken.rows() == [(5, "v", "#N/A"), (6, "v", None)]


def test_suppression_files_keep_hidden_rows_and_all_digits():
    def fill(book: Any, sheet: Any) -> None:
        sheet.write(0, 0, "phone")
        sheet.write(1, 0, 2025550147, book.add_format({"num_format": "0.00E+00"}))
        sheet.write(2, 0, 2025550148, book.add_format({"num_format": "(000) 000-0000"}))
        sheet.set_row(1, options={"hidden": True})

    tables = read_tables(FileSource(write(fill), where="stop.xlsx"), where="stop.xlsx")
    assert tables["Sheet1"].cells["phone"].to_list() == ["2025550147", "(202) 555-0148"]


@pytest.mark.parametrize(
    ("part", "change"),
    [
        pytest.param("xl/styles.xml", lambda xml: xml[:-40], id="the styles are cut off"),
        pytest.param("xl/_rels/workbook.xml.rels", lambda xml: "<a", id="the relations are not XML"),
        pytest.param(
            "xl/styles.xml", lambda xml: xml.replace('numFmtId="0"', 'numFmtId="x"'), id="a style without number"
        ),
    ],
)
def test_a_damaged_workbook_is_refused_with_one_sentence(part, change):
    with pytest.raises(RecipientsError, match="cannot be read as a workbook"):
        read(rewrite(write_cells((1, "00000")), change, part))


@pytest.mark.parametrize(
    ("name", "kind"), [("openpyxl.xlsx", "XLSX"), ("odfpy.ods", "ODS"), ("xlwt.xls", "XLS"), ("duckdb.parquet", "XLS")]
)
def test_the_kind_of_a_workbook_is_known_by_its_content(name, kind):
    assert _find_kind((SAMPLES / name).read_bytes(), name) == kind


CELL = st.one_of(
    st.tuples(st.integers(-(10**12), 10**12), st.sampled_from([None, "0", "00000", "#,##0", "0.00E+00", "0%"])),
    st.tuples(st.floats(-(10**9), 10**9), st.sampled_from([None, "0.00", "0%", "[h]:mm", "# ?/?", "dd.mm.yyyy"])),
    st.tuples(st.sampled_from(["x", "#N/A", "<v>1</v>", "row>", 'a"b']), st.sampled_from([None, "00000", "@"])),
)


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(CELL, min_size=1, max_size=8), st.sampled_from(list(DIALECTS)), st.sets(st.integers(2, 9)))
def test_the_search_and_the_slow_way_give_the_same(cells, dialect, hidden):
    def hide(xml: str) -> str:
        return re.sub(r'<row r="(\d+)"', lambda row: row[0] + (' hidden="1"' if int(row[1]) in hidden else ""), xml)

    usual = rewrite(write_cells(*cells), hide)
    first, second = read(usual), read(rewrite(usual, DIALECTS[dialect]))
    assert (shown(first), stored(first)) == (shown(second), stored(second))
    assert first.hidden_rows.to_list() == second.hidden_rows.to_list()
    assert first.hidden_rows.to_list() == sorted(hidden & set(first.row_numbers.to_list()))
