"""Workbooks, Parquet, JSON lines and YAML."""

from __future__ import annotations

import difflib
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import fastexcel
import polars as pl

from sender.campaign import safe_yaml
from sender.campaign.cut_texts import note_on_cut_cells
from sender.core.errors import RecipientsError
from sender.recipients.readers.cells import ItemRows, cell_text, table_of_frame, table_of_items
from sender.recipients.readers.source import FileSource, TextStream
from sender.recipients.readers.table import BLOCK_ROWS, HeadedRows, Table

ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # XLSX and ODS are zip files; XLS is OLE
PARQUET = b"PAR1"
SCALARS = "number"  # the header of rows that are a value alone
_BLOCK_CHARS = 8 * 2**20
_MOST_WORKBOOK_BYTES = 4 * 2**30  # a sheet of a million rows by 16 columns unpacks to less than 2 GiB


def read_parquet(source: FileSource, where: str) -> Table:
    """Return the rows of a Parquet file; a block of them is in memory at a time."""
    whole = source.path if source.path is not None and source.packed is None else source.read_all()
    try:
        return table_of_frame(pl.scan_parquet(whole, glob=False, hive_partitioning=False))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise RecipientsError(
            f"cannot be read as Parquet: {_first_line(error)}", where=where, fix="write the file again"
        ) from None


def read_workbook(source: FileSource, sheet: str | None, where: str) -> Table:
    """Return the rows of a workbook's first sheet that is not hidden, or of the one called `sheet`."""
    with _opened_workbook(source, where) as book:
        if sheet is not None and sheet not in book.sheet_names:
            near = difflib.get_close_matches(sheet, book.sheet_names, n=1)
            raise RecipientsError(
                f"has no sheet `{sheet}`",
                where=where,
                fix=(f"did you mean `{near[0]}`? " if near else "") + f"its sheets: {', '.join(book.sheet_names)}",
            )
        name, grid = _read_sheet(book, sheet)
        others = [other for other in book.sheet_names if other != name and sheet is None]
        return replace(_to_table(grid), other_sheets=tuple(other for other in others if _has_cells(book, other)))


def read_sheets(source: FileSource, where: str) -> dict[str | None, Table]:
    """Return the rows of every sheet of a workbook that has cells, hidden ones too, by the sheet's name."""
    with _opened_workbook(source, where) as book:
        return {
            name: _to_table(book.load_sheet(name, header_row=None, skip_rows=0, dtypes="string").to_polars())
            for name in book.sheet_names
            if _has_cells(book, name)
        }


@contextmanager
def _opened_workbook(source: FileSource, where: str) -> Iterator[fastexcel.ExcelReader]:
    """Open a workbook to read its sheets. Raises RecipientsError where it cannot be read."""
    data = source.read_all()
    _refuse_other_archives(data, where)
    try:
        yield fastexcel.read_excel(data)
    except (fastexcel.FastExcelError, IndexError) as error:
        raise RecipientsError(
            f"cannot be read as a workbook: {_first_line(error)}",
            where=where,
            fix="open it and save it as .xlsx without a password, or as CSV",
        ) from None


def _to_table(grid: pl.DataFrame) -> Table:
    rows = HeadedRows(1, quotes=False)  # a workbook needs none
    for part in grid.iter_slices(BLOCK_ROWS):
        # A date without a time has midnight, and a time without a date has the day zero of spreadsheets.
        rows.add(
            part.select(
                pl.all()
                .str.replace(r"^(\d{4}-\d\d-\d\d) 00:00:00$", "$1")
                .str.replace(r"^1899-12-3[01] (\d\d:\d\d:\d\d)$", "$1")
            )
        )
    return rows.table()


def _read_sheet(book: fastexcel.ExcelReader, sheet: str | None) -> tuple[str, pl.DataFrame]:
    """Return the name and the cells of `sheet`, by default the first that a person sees in the workbook."""
    names = book.sheet_names if sheet is None else [sheet]
    for name in [*names, names[0]]:
        cells = book.load_sheet(name, header_row=None, skip_rows=0, dtypes="string")
        if sheet is not None or cells.visible == "visible":
            break
    return name, cells.to_polars()


def _has_cells(book: fastexcel.ExcelReader, name: str) -> bool:
    try:
        return book.load_sheet(name, header_row=None, n_rows=1, dtypes="string").total_height > 0
    except fastexcel.FastExcelError:
        return False  # a chart


def _refuse_other_archives(data: bytes, where: str) -> None:
    """Raise RecipientsError for a zip file that is not a workbook, or that would unpack to too much."""
    if not data.startswith(ZIP):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile:
        return  # the reader of workbooks says what is wrong
    names = [member.filename for member in members]
    if not any(name == "mimetype" or name.startswith("xl/") for name in names):
        files = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise RecipientsError(
            f"is a zip archive (of {files}), not a table", where=where, fix="unpack it and name the file in it"
        )
    unpacked = sum(member.file_size for member in members)
    if unpacked > _MOST_WORKBOOK_BYTES:
        raise RecipientsError(
            f"is a workbook that unpacks to {unpacked:,} bytes, more than any list has",
            where=where,
            fix="save the sheet as CSV",
        )


def read_json_lines(stream: TextStream, where: str, *, scalars: bool = False) -> Table:
    """Return the rows of a file with a JSON object on each line; with `scalars`, a text or a number is a row, too."""
    builder = ItemRows(where)
    items: list[dict[str, Any]] = []
    numbers: list[int] = []
    chars = 0
    for number, line in enumerate(_lines(stream), 1):
        if not line.strip():
            builder.rows.blank_rows += 1
            continue
        items.append(_json_object(line, f"{where}, line {number}", scalars=scalars))
        numbers.append(number)
        chars += len(line)
        if chars > _BLOCK_CHARS:
            builder.add(items, numbers)
            items, numbers, chars = [], [], 0
    if items:
        builder.add(items, numbers)
    return builder.table()


def _lines(stream: TextStream) -> Iterator[str]:
    """Yield the lines without line ends. Not by splitlines, since U+2028 may be inside a JSON string."""
    while stream.fill(_BLOCK_CHARS):
        end = len(stream.text) if stream.ended else stream.text.rfind("\n") + 1
        if not end:
            stream.more()
            continue
        lines = stream.text[:end].split("\n")
        stream.position = end
        if not lines[-1].strip():
            lines.pop()  # the rest after the last line end
        yield from lines


def _json_object(line: str, place: str, *, scalars: bool) -> dict[str, Any]:
    try:
        # Numbers stay as written: 1e5 and 0.10 are text here.
        row = json.loads(
            line, parse_int=str, parse_float=str, parse_constant=lambda _: None, object_pairs_hook=_refuse_repeated
        )
        if isinstance(row, dict):
            for nested in row.values():
                if isinstance(nested, list | dict):
                    cell_text(nested)  # raises RecursionError here, where the line is known
    except (ValueError, RecursionError) as error:
        raise RecipientsError(
            f"is not JSON: {str(error)[:200]}", where=place, fix="write one JSON object a line"
        ) from None
    if scalars and isinstance(row, str):
        return {SCALARS: row}
    if not isinstance(row, dict):
        raise RecipientsError("is not a JSON object", where=place, fix='write one a line: {"phone": "+12025550100"}')
    return row


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key is repeated")
    return row


def read_yaml(stream: TextStream, where: str, *, scalars: bool = False) -> Table:
    """Return the rows of a YAML list of mappings; values as they are written. With `scalars`, a value is a row, too."""
    try:
        document = safe_yaml.load(stream.all())
    except safe_yaml.YamlError as error:
        line = f", line {error.problem.line}" if error.problem.line else ""
        raise RecipientsError(error.problem.what, where=where + line, fix=error.problem.fix) from None
    if document.value is None:
        return table_of_items([])
    if not isinstance(document.value, list):
        raise RecipientsError("is not a list of rows", where=where, fix="write each row as `- phone: '+12025550100'`")
    rows = [{SCALARS: item} if scalars and isinstance(item, str) else item for item in document.value]
    for index, item in enumerate(rows):
        if not isinstance(item, dict):
            raise RecipientsError(
                f"item {index + 1} is not a mapping",
                where=f"{where}, line {document.line((index,))}",
                fix="write each row as `- phone: '+12025550100'`",
            )
    table = table_of_items(rows, where)
    return replace(table, notes=(*table.notes, *note_on_cut_cells(document, PurePath(where).name)))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
