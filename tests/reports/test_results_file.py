"""The formats of results: what is written is read back as it was, and nothing becomes a formula."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import stat
import sys
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.core.composed_text import compose_text
from sender.core.errors import InputError
from sender.core.safe_tables import restore_text
from sender.recipients.readers.read import read_table
from sender.reports import results_file, spreadsheet
from sender.reports.results import COLUMNS, results_frame
from sender.reports.table_files import FORMATS
from tests.reports.runs import AT, RUN, make_journal, make_plan, one_result


@pytest.mark.parametrize(
    ("originals", "renamed"),
    [
        pytest.param(["Phone"], {}, id="none"),
        pytest.param(["status"], {"status": "sender_status"}, id="one"),
        pytest.param(["to", "row_number"], {"to": "sender_to", "row_number": "sender_row_number"}, id="two"),
        pytest.param(["Status", "TO"], {}, id="another case is another name"),
        pytest.param(["to", "sender_to"], {"to": "sender_sender_to"}, id="the prefixed name is taken too"),
        pytest.param(["sender_to"], {}, id="only the prefixed name"),
    ],
)
@pytest.mark.parametrize("form", FORMATS)
def test_a_clash_renames_our_column_and_never_theirs(
    originals: list[str], renamed: dict[str, str], form: str, tmp_path: Path
):
    plan = make_plan([{}], {name: [f"=their {name}"] for name in originals})
    frame = results_frame(plan, make_journal({"seq": 0, "state": "rejected", "error_message": "=x"}), RUN)
    ours = [renamed.get(name, name) for name in COLUMNS]
    assert frame.columns == [ours[0], *originals, *ours[1:]]
    path = tmp_path / f"out.{form}"
    results_file.write_results(frame, path)
    read = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet, "xlsx": pl.read_excel}
    back = read[form](path)
    assert back.columns == frame.columns
    guard = "'" if form == "csv" else ""
    assert [back[name].item() for name in originals] == [f"{guard}=their {name}" for name in originals]
    assert back[renamed.get("status", "status")].item() == "rejected"


def test_a_frame_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"results_frame\(\)"):
        results_file.dump_results(pl.DataFrame({"a": [1]}), io.BytesIO(), "csv")


# Any text as lists are read, with its letters composed, and often what is guarded.
ANY_TEXT = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("=+-@'\\x1b\x1b\u202e\r\n\t01"), max_size=20
).map(compose_text)


def formula_like(cell: str) -> bool:
    return (
        re.match(r"[=+\-@\t\r]", cell) is not None and re.fullmatch(r"[+-]?\d[\d.]*|\+[\d ().\-/\xa0]*\d", cell) is None
    )


@given(st.lists(st.tuples(ANY_TEXT | st.none(), ANY_TEXT, st.booleans()), min_size=1, max_size=20))
def test_every_row_comes_back_once_in_order_and_unchanged(rows: list[tuple[str | None, str, bool]]):
    cells = {'a,\n"b': [row[0] for row in rows], "=name": [row[1] for row in rows]}
    plan = make_plan([{} if row[2] else {"reason": "duplicate", "detail": "of row 2"} for row in rows], cells)
    messages = sum(row[2] for row in rows)
    journal = make_journal(*({"seq": seq, "state": "accepted"} for seq in range(0, messages, 2)))
    frame = results_frame(plan, journal, RUN)
    assert frame["row_number"].to_list() == list(range(2, len(rows) + 2))
    assert frame.select(list(cells)).to_dict(as_series=False) == cells
    assert frame["ref"].drop_nulls().to_list() == [f"{RUN}.{seq}" for seq in range(messages)]

    text = io.BytesIO()
    results_file.dump_results(frame, text, "csv")
    header, *lines = csv.reader(io.StringIO(text.getvalue().decode(), newline=""))
    assert [restore_text(name) for name in header] == frame.columns
    assert [tuple(map(restore_text, line[1:3])) for line in lines] == [(row[0] or "", row[1]) for row in rows]
    assert not any(formula_like(cell) for line in (header, *lines) for cell in line)

    for form in ("csv", "xlsx"):
        file = io.BytesIO()
        results_file.dump_results(frame, file, form)
        again = read_table(file.getvalue(), where=f"out.{form}").cells
        assert again.select(list(cells)).rows() == [(row[0] or "", row[1]) for row in rows], form

    objects = io.BytesIO()
    results_file.dump_results(frame, objects, "jsonl")
    back = [json.loads(line) for line in objects.getvalue().decode().split("\n") if line]
    assert [tuple(entry[name] for name in cells) for entry in back] == [row[:2] for row in rows]
    assert list(back[0]) == frame.columns


def test_numbers_are_read_back_as_the_document_says(tmp_path: Path):
    """As text, with their plus: the two calls are those of docs/results.md."""
    file = tmp_path / "results.csv"
    cells = {"code": ["007"], "name": ["None"]}
    journal = make_journal({"seq": 0, "state": "accepted", "status": "sent"})
    results_file.write_results(results_frame(make_plan([{"to": "+12025550101"}], cells), journal, RUN), file)
    document = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    for call in re.findall(r"`((?:pd|pl)\.read_csv\(.*?\))`", document):
        row = eval(call.replace("results.csv", str(file)), {"pd": pd, "pl": pl})
        assert [str(row[name][0]) for name in ("to", "code", "name")] == ["+12025550101", "007", "None"], call
    assert pd.read_csv(file)["to"][0] == 12025550101, "which is why the document says so"


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_times_are_iso_8601_utc_in_text(form: str, tmp_path: Path):
    path = tmp_path / f"out.{form}"
    results_file.write_results(one_result(), path)
    back = {"csv": pl.read_csv, "jsonl": pl.read_ndjson}[form](path)
    assert back["created_at"].to_list() == ["2025-11-21T09:30:00.120Z"]


def test_times_are_dates_in_a_workbook(tmp_path: Path):
    results_file.write_results(one_result(), tmp_path / "out.xlsx")
    assert pl.read_excel(tmp_path / "out.xlsx")["created_at"].to_list() == [AT.replace(tzinfo=None)]


def test_a_workbook_can_be_read_as_it_opens(tmp_path: Path):
    """Each column is as wide as its texts up to a limit, long texts wrap, times are dates, the heading stays."""
    results_file.write_results(one_result(error_message="x " * 500, provider_status="sent"), tmp_path / "out.xlsx")
    sheet, styles = _parts(tmp_path / "out.xlsx")
    columns = one_result().columns
    spans = re.findall(r'<col min="(\d+)" max="(\d+)" width="([\d.]+)"', sheet)
    widths = [float(width) for first, last, width in spans for _ in range(int(first), int(last) + 1)]
    by_name = dict(zip(columns, widths, strict=True))
    assert 12 < by_name["to"] < 16
    assert 60 <= by_name["error_message"] <= 61
    assert 23 < by_name["created_at"] < 27
    assert all(width > len(name) for name, width in by_name.items())
    assert 'state="frozen"' in sheet
    assert 'ySplit="1"' in sheet
    assert "<autoFilter" in sheet
    assert _style_of(sheet, styles, columns.index("error_message"))["wrap"]
    assert not _style_of(sheet, styles, columns.index("to"))["wrap"]
    assert "UTC" in _style_of(sheet, styles, columns.index("created_at"))["format"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param("short", 1, id="short"),
        pytest.param("x" * 60, 1, id="as wide as the column"),
        pytest.param("word " * 20, 2, id="two lines"),
        pytest.param("word " * 20 + "\n\n", 4, id="its own line ends"),
        pytest.param("漢字" * 40, 4, id="letters of double width"),
        pytest.param("x" * 32_000, 27, id="no row is taller than Excel's tallest"),
    ],
)
def test_a_row_is_as_tall_as_its_wrapped_text(text: str, lines: int, tmp_path: Path):
    """Neither Excel nor LibreOffice fits the rows of a file that it opens to their texts."""
    results_file.write_results(one_result(error_message=text), tmp_path / "out.xlsx")
    sheet, _ = _parts(tmp_path / "out.xlsx")
    height = re.search(r'<row r="2"[^>]* ht="(\d+)"', sheet)
    assert (1 if height is None else int(height[1]) / 15) == lines


def _parts(path: Path) -> tuple[str, str]:
    with zipfile.ZipFile(path) as archive:
        return archive.read("xl/worksheets/sheet1.xml").decode(), archive.read("xl/styles.xml").decode()


def _style_of(sheet: str, styles: str, column: int) -> dict[str, Any]:
    """Whether the cell below the heading of `column` wraps, and its number format."""
    letter = chr(ord("A") + column)
    index = re.search(rf'<c r="{letter}2" s="(\d+)"', sheet)
    assert index is not None
    cell = re.findall(r"<xf .*?(?:/>|</xf>)", styles.partition("<cellXfs")[2])[int(index[1])]
    formats = dict(re.findall(r'<numFmt numFmtId="(\d+)" formatCode="([^"]*)"', styles))
    number_format = re.search(r'numFmtId="(\d+)"', cell)
    assert number_format is not None
    return {"wrap": 'wrapText="1"' in cell, "format": formats.get(number_format[1], "")}


def test_parquet_is_the_frame_itself(tmp_path: Path):
    results_file.write_results(one_result(error_message="=1+1"), tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet").equals(one_result(error_message="=1+1"))


def test_csv_has_no_byte_order_mark_so_that_the_first_header_is_its_name():
    file = io.BytesIO()
    results_file.dump_results(one_result(error_message="Número no válido"), file, "csv")
    assert file.getvalue().startswith(b"row_number,to,")
    assert "Número no válido".encode() in file.getvalue()


FORMULAS = [
    pytest.param("=HYPERLINK(1)", True, id="equals"),
    pytest.param("+cmd|' /C calc'!A0", True, id="plus"),
    pytest.param("-2+3+cmd", True, id="minus"),
    pytest.param("@SUM(1)", True, id="at"),
    pytest.param("\t=1", True, id="tab"),
    pytest.param("\r\n=1", True, id="carriage return and line feed"),
    pytest.param("\n=1", True, id="line feed"),
    pytest.param("＝1+1", True, id="full-width equals"),
    pytest.param("-0.0075", False, id="negative price"),
    pytest.param("+12025550100", False, id="E.164"),
    pytest.param("-", True, id="sign alone"),
    pytest.param("+1 (202) 555-0100", False, id="punctuated number"),
    pytest.param("+1-202-555-0100", False, id="number with dashes"),
    pytest.param("+44\u00a020 7946 0000", False, id="number with a no-break space"),
    pytest.param("+1 202 555 0100 x=1", True, id="number and more"),
    pytest.param("+1+1", True, id="sum"),
    pytest.param("'+12025550100", False, id="number with a text mark"),
    pytest.param("'tis", False, id="apostrophe"),
    pytest.param("-1\n=1", True, id="number and more"),
    pytest.param("1=1", False, id="equals inside"),
    pytest.param("The number is +1", False, id="sentence"),
    pytest.param("", False, id="empty"),
]


QUOTED = [pytest.param("'=1", True, id="guarded already"), pytest.param("''@a", True, id="guarded twice")]


@pytest.mark.parametrize(("text", "guarded"), [*FORMULAS, *QUOTED])
@pytest.mark.parametrize("column", ["error_message", "provider_status", "message_id", "price"])
def test_csv_guards_what_a_spreadsheet_takes_for_a_formula(text: str, guarded: bool, column: str):
    file = io.BytesIO()
    results_file.dump_results(one_result(**{column: text}), file, "csv")
    row = next(csv.DictReader(io.StringIO(file.getvalue().decode(), newline="")))
    assert row[column] == ("'" if guarded else "") + text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("\x1b[31mred", r"\x1b[31mred", id="terminal escape"),
        pytest.param("a\x9b2Jb", r"a\x9b2Jb", id="C1"),
        pytest.param("\rover", r"\x0dover", id="carriage return"),
        pytest.param("\u202egpj", r"\u202egpj", id="right-to-left override"),
        pytest.param("\u202a+12025550100\u202c", r"\u202a+12025550100\u202c", id="a number as Windows copies it"),
        pytest.param(r"\x1b[31m", r"\\x1b[31m", id="the code itself"),
        pytest.param("\\\x1b", r"\\\x1b", id="a backslash before one"),
        pytest.param(r"C:\users\x41", r"C:\users\x41", id="other backslashes"),
        pytest.param("=\x07", r"'=\x07", id="both"),
        pytest.param("a\tb\r\nc\n", "a\tb\r\nc\n", id="white space"),
        pytest.param("\U0001f468\u200d\U0001f4bb \u0645\u06cc\u200c\u062e", None, id="joiners of emoji and Persian"),
    ],
)
@pytest.mark.parametrize("form", ["csv", "xlsx", "jsonl"])
def test_control_characters_are_shown_and_come_back(text: str, shown: str | None, form: str):
    """In their column and in its header."""
    frame = results_frame(make_plan([{}], {text: [text]}), make_journal({"seq": 0, "error_message": text}), RUN)
    file = io.BytesIO()
    results_file.dump_results(frame, file, form)
    if form == "jsonl":
        raw = file.getvalue().decode()
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", raw)
        assert json.loads(raw)[text] == text
        return
    if form == "csv":
        header, row = csv.reader(io.StringIO(file.getvalue().decode(), newline=""))
        expected = text if shown is None else shown
        assert (header[1], row[1], row[-15]) == (expected, expected, expected)
    table = read_table(file.getvalue(), where=f"out.{form}")
    assert (table.headers[1], table.cells.row(0)[1]) == (text, text)


@pytest.mark.parametrize(("text", "marked"), FORMULAS)
def test_a_workbook_keeps_every_text_a_text(text: str, marked: bool, tmp_path: Path):
    plan = make_plan([{}], {"their": [text], "number": ["007"], "link": ["https://example.com"]})
    journal = make_journal({"seq": 0, "state": "rejected", "error_message": text, "price": "-0.0075"})
    results_file.write_results(results_frame(plan, journal, RUN), tmp_path / "out.xlsx")
    with zipfile.ZipFile(tmp_path / "out.xlsx") as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
        assert not any("hyperlink" in archive.read(name).decode() for name in archive.namelist())
        assert ("quotePrefix" in archive.read("xl/styles.xml").decode()) == marked
    assert "<f>" not in sheet
    back = pl.read_excel(tmp_path / "out.xlsx").row(0, named=True)
    assert (back["their"], back["error_message"]) == (text, text)
    assert (back["number"], back["link"]) == ("007", "https://example.com")
    assert (back["row_number"], back["price"]) == (2, -0.0075)


@pytest.mark.parametrize(
    ("text", "limits", "what"),
    [
        pytest.param("x" * 32_768, {}, "32768 characters", id="long cell"),
        pytest.param("\N{PARTY POPPER}" * 16_384, {}, "32768 characters", id="long cell in UTF-16"),
        pytest.param("x", {"_XLSX_ROWS": 1}, "do not fit", id="rows"),
        pytest.param("x", {"_XLSX_COLUMNS": 20}, "do not fit", id="columns"),
    ],
)
def test_a_workbook_that_would_lose_something_is_not_written(
    text: str, limits: dict[str, int], what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, value in limits.items():
        monkeypatch.setattr(spreadsheet, name, value)
    frame = results_frame(make_plan([{}], {"note": [text]}), make_journal(), RUN)
    with pytest.raises(InputError, match=what) as caught:
        results_file.write_results(frame, tmp_path / "out.xlsx")
    assert caught.value.fix == "write csv, jsonl or parquet"
    assert list(tmp_path.iterdir()) == []


def test_a_workbook_of_no_rows(tmp_path: Path):
    results_file.write_results(results_frame(make_plan([]), make_journal(), RUN), tmp_path / "out.xlsx")
    assert pl.read_excel(tmp_path / "out.xlsx", raise_if_empty=False).height == 0


@pytest.mark.parametrize(
    ("name", "form", "starts"),
    [
        pytest.param("out.csv", None, b"row_number", id="csv"),
        pytest.param("out.CSV", None, b"row_number", id="upper case"),
        pytest.param("out.jsonl", None, b"{", id="jsonl"),
        pytest.param("out.ndjson", None, b"{", id="ndjson"),
        pytest.param("out.parquet", None, b"PAR1", id="parquet"),
        pytest.param("out.xlsx", None, b"PK", id="xlsx"),
        pytest.param("out.txt", "csv", b"row_number", id="format over suffix"),
        pytest.param("out", "jsonl", b"{", id="format without suffix"),
    ],
)
def test_write_replaces_the_file_whole_for_its_owner_only(name: str, form: str | None, starts: bytes, tmp_path: Path):
    path = tmp_path / name
    path.write_text("what was there before")
    results_file.write_results(one_result(), path, form, force=True)
    assert path.read_bytes().startswith(starts)
    assert list(tmp_path.iterdir()) == [path]
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_write_goes_through_a_link_to_the_file_it_names(tmp_path: Path):
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    results_file.write_results(one_result(), tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_bytes().startswith(b"row_number")


@pytest.mark.parametrize(
    ("path", "form", "what", "fix"),
    [
        pytest.param("out.pdf", None, "'.pdf' is not", "csv, jsonl, parquet, xlsx", id="suffix"),
        pytest.param("out", None, "no suffix", "csv, jsonl, parquet, xlsx", id="no suffix"),
        pytest.param("out.csv", "yaml", "'yaml' is not", "csv, jsonl, parquet, xlsx", id="format"),
        pytest.param("no/such/out.csv", None, "there is no folder", "create the folder", id="folder"),
        pytest.param("file/out.csv", None, "there is no folder", "create the folder", id="folder is a file"),
        pytest.param("folder.csv", None, "not a file", "name a file", id="target is a folder"),
    ],
)
def test_write_refuses_in_a_sentence(path: str, form: str | None, what: str, fix: str, tmp_path: Path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError) as caught:
        results_file.write_results(one_result(), tmp_path / path, form)
    assert what in caught.value.what
    assert fix in (caught.value.fix or "")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder.csv"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes there")
def test_write_never_replaces_what_is_not_a_file(tmp_path: Path):
    """As the superuser, a plain replace would turn /dev/null into the results."""
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="not a file"):
        results_file.write_results(one_result(), tmp_path / "pipe.csv")
    assert (tmp_path / "pipe.csv").is_fifo()


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(OSError(errno.ENOSPC, "No space left on device"), id="text"),
        pytest.param(pl.exceptions.ComputeError("No space left on device"), id="parquet"),
    ],
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def half_written(frame: pl.DataFrame, file: Any, form: str) -> None:
        file.write(b"row_nu")
        raise error

    monkeypatch.setattr(results_file, "dump_results", half_written)
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        results_file.write_results(one_result(), tmp_path / "out.csv", force=True)
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"out.csv": "old"}


def test_nothing_is_replaced_before_the_new_file_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(InputError, match="Input/output error"):
        results_file.write_results(one_result(), tmp_path / "out.csv", force=True)
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"out.csv": "old"}
