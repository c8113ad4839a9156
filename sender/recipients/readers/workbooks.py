"""Workbooks: XLSX, XLS, ODS. The cells are read by fastexcel, and of an XLSX what it does not say about them."""

from __future__ import annotations

import difflib
import io
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from xml.etree.ElementTree import ParseError

import polars as pl

from sender.core.errors import RecipientsError
from sender.core.lazy_modules import fastexcel
from sender.recipients.readers.ods_sheet import read_ods_facts
from sender.recipients.readers.source import ZIP, FileSource
from sender.recipients.readers.table import BLOCK_ROWS, HeadedRows, Table
from sender.recipients.readers.workbook_xml import SheetFacts, XlsxPackage
from sender.recipients.readers.xls_errors import read_xls_facts

_MOST_WORKBOOK_BYTES = 4 * 2**30  # a sheet of a million rows by 16 columns unpacks to less than 2 GiB
_NOT_CALCULATED = "(not calculated)"  # the text of a formula without a result
_ROWS_NAMED = 5
_UNKNOWN_ERROR = re.compile(r"Unsupported cell error value '([^']*)'")
_DURATION = r"^1900-0(?:1-(\d\d)|2-(\d\d)) (\d\d)(:\d\d:\d\d)(?:\.\d+)?$"


class _Workbook:
    """A workbook that is being read. `kind` is as a sentence names it; only an XLSX has a `package`."""

    def __init__(self, data: bytes, kind: str) -> None:
        self.kind = kind
        self._data = data
        self.package = XlsxPackage(data) if kind == "XLSX" else None
        self._book = fastexcel.read_excel(data)
        self._loaded: dict[str, fastexcel.ExcelSheet] = {}  # reading a sheet twice takes twice the time

    @property
    def sheet_names(self) -> list[str]:
        return self._book.sheet_names

    def read_sheet(self, name: str, *, header_row: int | None = None) -> Table:
        cells = self._load(name)
        first = min((column.absolute_index for column in cells.available_columns()), default=0)
        grid = cells.to_polars()
        if self.package is not None:
            facts = self.package.read_facts(name)
        elif self.kind == "ODS":
            grid, facts = _separate_times(grid), read_ods_facts(self._data, name, grid.height)
        elif self.kind == "XLS":
            grid, facts = _read_durations(grid), read_xls_facts(self._data, name)
        else:
            return _read_grid(_shorten_dates(_read_durations(grid)), {}, header_row)
        return _to_table(grid, first, facts, header_row)

    def has_cells(self, name: str) -> bool:
        try:
            return self._book.load_sheet(name, header_row=None, n_rows=1, dtypes="string").total_height > 0
        except fastexcel.FastExcelError:
            return False  # a chart

    def first_visible(self) -> str:
        """The name of the first sheet that a person sees in the workbook; the first of all where none is visible."""
        return next(filter(self.is_visible, self.sheet_names), self.sheet_names[0])

    def is_visible(self, name: str) -> bool:
        return self._load(name).visible == "visible"

    def _load(self, name: str) -> fastexcel.ExcelSheet:
        if name not in self._loaded:
            self._loaded = {name: self._book.load_sheet(name, header_row=None, skip_rows=0, dtypes="string")}
        return self._loaded[name]


def read_workbook(source: FileSource, sheet: str | None, where: str, *, header_row: int | None = None) -> Table:
    """Return the rows of a workbook's first sheet that is not hidden, or of the one called `sheet`.

    Rows above the number `header_row` are left out.
    """
    with _opened_workbook(source, where) as workbook:
        names = workbook.sheet_names
        if sheet is not None and sheet not in names:
            near = difflib.get_close_matches(sheet, names, n=1)
            raise RecipientsError(
                f"has no sheet `{sheet}`",
                where=where,
                fix=(f"did you mean `{near[0]}`? " if near else "") + f"its sheets: {', '.join(names)}",
            )
        name = workbook.first_visible() if sheet is None else sheet
        table = workbook.read_sheet(name, header_row=header_row)
        others = [other for other in names if other != name and sheet is None]
        return replace(
            table,
            notes=(*table.notes, *_note_sheet(workbook, name, chosen=sheet is not None)),
            other_sheets=tuple(other for other in others if workbook.has_cells(other)),
        )


def read_sheets(source: FileSource, where: str) -> dict[str | None, Table]:
    """Return the rows of every sheet of a workbook that has cells, hidden ones too, by the sheet's name.

    Cells are what they store, which for a number is all of its digits.
    """
    with _opened_workbook(source, where) as workbook:
        tables = {name: workbook.read_sheet(name) for name in workbook.sheet_names if workbook.has_cells(name)}
        return {name: table.with_stored(table.headers) for name, table in tables.items()}


@contextmanager
def _opened_workbook(source: FileSource, where: str) -> Iterator[_Workbook]:
    """Open a workbook to read its sheets. Raises RecipientsError where it cannot be read."""
    data = source.read_all()
    kind = _find_kind(data, where)
    try:
        yield _Workbook(data, kind)
    except fastexcel.FastExcelError as error:
        unknown = _UNKNOWN_ERROR.search(str(error))
        if unknown is None:
            raise _unreadable(error, where) from None
        raise RecipientsError(
            f"has a cell with the error {unknown[1]}, which cannot be read",
            where=where,
            fix="correct or clear that cell, or save the sheet as CSV",
        ) from None
    except (IndexError, KeyError, ValueError, ParseError, zipfile.BadZipFile) as error:
        raise _unreadable(error, where) from None


def _unreadable(error: BaseException, where: str) -> RecipientsError:
    return RecipientsError(
        f"cannot be read as a workbook: {first_line(error)}",
        where=where,
        fix="open it and save it as .xlsx without a password, or as CSV",
    )


def _find_kind(data: bytes, where: str) -> str:
    """Return `XLSX`, `XLSB`, `ODS` or `XLS`.

    Raises RecipientsError for a zip file that is not a workbook, or that would unpack to too much.
    """
    if not data.startswith(ZIP):
        return "XLS"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile:
        return "XLS"  # the reader of workbooks says what is wrong
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
    if "xl/workbook.bin" in names:
        return "XLSB"
    return "ODS" if "mimetype" in names and "content.xml" in names else "XLSX"


def _to_table(grid: pl.DataFrame, first_column: int, facts: SheetFacts, header_row: int | None) -> Table:
    """Return the table of a sheet whose cells are `grid`; its first column is `first_column` of the sheet, from 0."""
    broken = _in_grid(facts.broken, first_column, grid.width)
    shown = _in_grid(facts.shown, first_column, grid.width)
    last = int(broken["row"].max() or 0)  # type: ignore[arg-type]
    if last > grid.height:
        grid = pl.concat([grid, grid.clear(last - grid.height)])
    replaced = [
        shown.filter(pl.col("stored").is_not_null()).select("row", "column", text="stored"),
        broken.select("row", "column", text=pl.col("error").fill_null(_NOT_CALCULATED)),
    ]
    grid = _replace_cells(_shorten_dates(grid) if facts.has_dates else grid, pl.concat(replaced))
    by_column = {
        int(column): cells.select("row", "text")
        for (column,), cells in shown.filter(pl.col("row") <= grid.height).partition_by("column", as_dict=True).items()
    }
    table = _read_grid(grid, by_column, header_row)
    headers = table.places
    hidden = frozenset(headers[at] for column in facts.hidden_columns if (at := column - first_column) in headers)
    named = broken.select(
        row_number="row",
        header=pl.col("column").replace_strict(headers, default=None, return_dtype=pl.String),
        error="error",
    ).filter(pl.col("header").is_not_null())
    return replace(
        table,
        notes=(*table.notes, *_note_broken(named), *_note_formats(facts, headers, first_column)),
        hidden_rows=facts.hidden_rows.filter(facts.hidden_rows.is_in(table.row_numbers.implode())),
        hidden_headers=hidden,
        broken=named,
    )


def _in_grid(cells: pl.DataFrame, first_column: int, width: int) -> pl.DataFrame:
    """Return the cells of the sheet's columns that the grid has, with the grid's columns."""
    placed = cells.with_columns(pl.col("column").cast(pl.Int64) - first_column)
    return placed.filter(pl.col("column").is_between(0, width - 1))


def _replace_cells(grid: pl.DataFrame, cells: pl.DataFrame) -> pl.DataFrame:
    """Return `grid` with the text of `cells` (`row` from 1, `column`, `text`) in their places."""
    for (column,), part in cells.filter(pl.col("row") <= grid.height).partition_by("column", as_dict=True).items():
        grid = grid.with_columns(grid[:, int(column)].scatter(part["row"].cast(pl.Int64) - 1, part["text"]))
    return grid


def _shorten_dates(grid: pl.DataFrame) -> pl.DataFrame:
    """A date without a time has midnight, and a time without a date has the day zero of spreadsheets."""
    zero = ("1899-12-3", "1904-01-01 ")
    dates = [
        column.name
        for column in grid.iter_columns()
        if column.str.ends_with(" 00:00:00").any() or any(column.str.starts_with(day).any() for day in zero)
    ]
    return grid.with_columns(
        pl.col(dates)
        .str.replace(r"^(\d{4}-\d\d-\d\d) 00:00:00$", "$1")
        .str.replace(r"^(?:1899-12-3[01]|1904-01-01) (\d\d:\d\d:\d\d)$", "$1")
    )


def _read_grid(grid: pl.DataFrame, shown: Mapping[int, pl.DataFrame], header_row: int | None) -> Table:
    rows = HeadedRows(1, quotes=False, header_row=header_row, shown=shown)  # a workbook needs no quotes
    for part in grid.iter_slices(BLOCK_ROWS):
        rows.add(part)
    return rows.table()


def _separate_times(grid: pl.DataFrame) -> pl.DataFrame:
    """A blank between a date and its time, where an ODS has a T."""
    return grid.select(pl.all().str.replace(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d(?:\.\d+)?)$", "$1 $2"))


def _read_durations(grid: pl.DataFrame) -> pl.DataFrame:
    """Return durations of a day and more in hours: without the number format they are times in January 1900."""
    doubtful = [column.name for column in grid.iter_columns() if column.str.starts_with("1900-0").any()]
    if not doubtful:
        return grid

    def as_hours(name: str) -> pl.Expr:
        january, february, hour, rest = (pl.col(name).str.extract(_DURATION, group) for group in (1, 2, 3, 4))
        days = pl.coalesce(january.cast(pl.Int64), february.cast(pl.Int64) + 31)
        hours = (days * 24 + hour.cast(pl.Int64)).cast(pl.String)
        is_duration = (hour + rest) != "00:00:00"
        return pl.when(is_duration).then(pl.concat_str(hours, rest)).otherwise(pl.col(name)).alias(name)

    return grid.with_columns(map(as_hours, doubtful))


def _note_sheet(workbook: _Workbook, name: str, *, chosen: bool) -> Iterator[str]:
    if not chosen and not workbook.is_visible(name):
        yield f"the sheet `{name}` is hidden in the workbook"
    if workbook.package is None:
        what = "hidden rows, number formats and errors" if workbook.kind == "XLSB" else "hidden rows and number formats"
        yield f"{what} of an {workbook.kind} workbook are ignored; save it as XLSX if it has any"


def _note_broken(broken: pl.DataFrame) -> Iterator[str]:
    """Yield a sentence for each column with errors, and for each with formulas that have no result."""
    for (header,), cells in broken.partition_by("header", as_dict=True, maintain_order=True).items():
        errors, formulas = cells.filter(pl.col("error").is_not_null()), cells.filter(pl.col("error").is_null())
        if errors.height:
            kinds = ", ".join(errors["error"].unique(maintain_order=True).head(_ROWS_NAMED))
            what = "1 cell is an error" if errors.height == 1 else f"{errors.height:,} cells are errors"
            yield f"`{header}`: {what} ({kinds}), in {_name_rows(errors['row_number'].to_list())}"
        if formulas.height:
            what = "1 formula has" if formulas.height == 1 else f"{formulas.height:,} formulas have"
            yield (
                f"`{header}`: {what} never been calculated, in {_name_rows(formulas['row_number'].to_list())};"
                " open the workbook in a spreadsheet program and save it"
            )


def _note_formats(facts: SheetFacts, headers: Mapping[int, str], first_column: int) -> Iterator[str]:
    for column, code in facts.unknown_formats.items():
        if header := headers.get(column - first_column):
            yield f"`{header}`: the number format {code} is not supported, so its cells are used as they are stored"
    for column in sorted(facts.english):
        if header := headers.get(column - first_column):
            yield f"`{header}`: names of months and days are in English, since the workbook does not name a language"


def _name_rows(rows: Sequence[int]) -> str:
    """Return `row 3`, or `rows 3, 4, 5 and 9 more`."""
    numbers = sorted(rows)
    if len(numbers) == 1:
        return f"row {numbers[0]}"
    more = len(numbers) - _ROWS_NAMED
    return f"rows {', '.join(map(str, numbers[:_ROWS_NAMED]))}" + (f" and {more:,} more" if more > 0 else "")


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says; its class where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
