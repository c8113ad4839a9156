"""Files of rows to columns of text: CSV and its kin, workbooks, Parquet, JSON lines, YAML, and rows from Python.

A file is read right or refused with one RecipientsError: file, line as an editor counts, way out. Every cell
is the text that stands in the file; no cell is null, and a row of nothing but blanks is counted and left out.
Knows nothing of recipients: which column means what is `sender.recipients`' business.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import datetime as dt
import difflib
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import fastexcel
import polars as pl

from sender import safe_yaml
from sender.errors import RecipientsError

SEPARATORS = ",;\t|"
_SAMPLE_CHARS = 65_536  # what the separator is guessed from
_HIDDEN = "\x02"  # stands for a quoted cell while structure is checked
_BOMS = (  # UTF-32 first: its little-endian mark begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")  # XLSX and ODS are zip files; XLS is OLE
_FOREIGN = (
    (b"\x1f\x8b", "a gzip file", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "unpack it first"),
    (b"%PDF", "a PDF", "export the table as CSV"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows read. `cells`: String columns without nulls, headers distinct. `row_numbers`: UInt32, one a row of `cells`.

    Row numbers are those a spreadsheet shows (the header is row 1) for CSV and workbooks, line numbers for
    JSON lines, and count from 1 for everything else. `blank_rows` were left out.
    """

    cells: pl.DataFrame
    row_numbers: pl.Series
    blank_rows: int


def read_table(
    data: bytes,
    *,
    where: str,
    sheet: str | None = None,
    separator: str | None = None,
    encoding: str | None = None,
) -> Table:
    """The rows in a file's bytes. `where` is its name: content tells workbooks and Parquet, the name JSON and YAML.

    A file without rows gives a table without rows. Raises RecipientsError for whatever cannot be read right.
    """
    for magic, what, fix in _FOREIGN:
        if data.startswith(magic):
            raise RecipientsError(f"is {what}, not a table", where=where, fix=fix)
    if data.startswith(_WORKBOOKS):
        return _headed(_workbook(data, sheet, where), first_row=1)
    if data.startswith(b"PAR1"):
        try:
            return table_of_frame(pl.read_parquet(io.BytesIO(data)))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise RecipientsError(
                f"cannot be read as Parquet: {_first_line(error)}", where=where, fix="write the file again"
            ) from None
    text = _decoded(data, encoding, where)
    match PurePath(where).suffix.lower():
        case ".jsonl" | ".ndjson" | ".json":
            return _json_lines(text, where)
        case ".yaml" | ".yml":
            return _yaml(text, where)
    return _delimited(text, separator, where)


def table_of_items(items: Iterable[Mapping[str, Any]]) -> Table:
    """The rows in mappings of header to value. A header that a row does not have is blank there."""
    rows = list(items)
    return _table(_columns(rows), range(1, len(rows) + 1))


def table_of_frame(frame: Any) -> Table:
    """The rows of a polars frame (eager or lazy) or a pandas one, as text; null, None, NaN and NaT are blank."""
    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect()
    if isinstance(frame, pl.DataFrame):
        cells = pl.DataFrame([_as_text(column) for column in frame.iter_columns()])
    else:  # pandas: its values one by one, since polars would need pyarrow to take them over
        values = {
            str(name): [
                "" if missing else cell_text(value)
                for value, missing in zip(frame[name].tolist(), frame[name].isna().tolist(), strict=True)
            ]
            for name in frame.columns
        }
        cells = pl.DataFrame(values, schema=dict.fromkeys(values, pl.String))
    return _table(cells, range(1, cells.height + 1))


def cell_text(value: Any) -> str:
    """A Python value as a cell: whole numbers as digits, dates in ISO form, None and NaN blank, a list spaced out."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return str(value).lower()
        case float():
            if math.isnan(value):
                return ""
            return str(int(value)) if value.is_integer() else str(value)
        case dt.datetime():
            return value.isoformat(sep=" ")
        case dt.date() | dt.time():
            return value.isoformat()
        case list() | tuple():
            return " ".join(map(cell_text, value))  # several media URLs; a blank cannot stand in one
        case bytes():
            return value.decode(errors="replace")  # shows damage where it is no text
        case Mapping():
            return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _as_text(column: pl.Series) -> pl.Series:
    """`cell_text` of a typed column."""
    dtype = column.dtype
    if dtype.is_nested() or dtype in (pl.Object, pl.Binary):
        return pl.Series(column.name, map(cell_text, column.to_list()), dtype=pl.String)
    if dtype.is_float():
        whole = column.is_finite() & (column == column.round()) & (column.abs() < 2.0**63)
        digits = column.set(~whole, None).cast(pl.Int64).cast(pl.String)
        text = digits.fill_null(column.fill_nan(None).cast(pl.String))
    elif dtype.is_temporal():
        text = column.cast(pl.String).str.replace(r"\.0+(\D|$)", "$1")  # no seconds in fractions
    else:
        text = column.cast(pl.String)
    return text.fill_null("")


def _table(cells: pl.DataFrame, numbers: Sequence[int]) -> Table:
    """A Table of these cells without the blank rows."""
    row_numbers = pl.Series("row_number", numbers, dtype=pl.UInt32)
    if not cells.width:
        return Table(pl.DataFrame(), row_numbers.clear(), len(row_numbers))
    filled = cells.select(pl.any_horizontal(pl.all().str.strip_chars() != "")).to_series()
    return Table(cells.filter(filled), row_numbers.filter(filled), int((~filled).sum()))


def _headed(grid: pl.DataFrame, *, first_row: int) -> Table:
    """A Table of a grid of text, whose first row that is not blank is the header. `first_row` numbers the first."""
    if not grid.width:
        return Table(grid, pl.Series("row_number", [], dtype=pl.UInt32), 0)
    grid = grid.select(pl.all().fill_null(""))
    filled = grid.select(pl.any_horizontal(pl.all().str.strip_chars() != "")).to_series().arg_true()
    if not len(filled):
        return Table(pl.DataFrame(), pl.Series("row_number", [], dtype=pl.UInt32), grid.height)
    top = int(filled[0])
    headers, body = grid.row(top), grid[top + 1 :]
    # Exports leave columns without name or content; one with content keeps it under a made-up name.
    kept = [
        index
        for index, header in enumerate(headers)
        if header.strip() or body.select((pl.nth(index).str.strip_chars() != "").any()).item()
    ]
    names = _distinct([headers[index] if headers[index].strip() else f"column {index + 1}" for index in kept])
    cells = body.select(pl.nth(index).alias(name) for index, name in zip(kept, names, strict=True))
    return _table(cells, range(first_row + top + 1, first_row + grid.height))


def _distinct(headers: Sequence[str]) -> list[str]:
    """The headers, a repeated one with a number: `Phone`, `Phone (2)`."""
    taken: set[str] = set(headers)
    seen: set[str] = set()
    result = []
    for header in headers:
        name, count = header, 1
        while name in seen or (count > 1 and name in taken):
            count += 1
            name = f"{header} ({count})"
        seen.add(name)
        result.append(name)
    return result


def _columns(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    headers = dict.fromkeys(str(key) for row in rows for key in row)
    data = {header: [cell_text(row.get(header)) for row in rows] for header in headers}
    return pl.DataFrame(data, schema=dict.fromkeys(headers, pl.String))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _decoded(data: bytes, encoding: str | None, where: str) -> str:
    name = encoding or next((name for mark, name in _BOMS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(name).removeprefix("\ufeff")
    except LookupError:
        raise RecipientsError(
            f"there is no encoding `{name}`", where=where, fix="`recipients.encoding` is utf-8, cp1252, utf-16-le, ..."
        ) from None
    except UnicodeDecodeError as error:
        raise RecipientsError(
            f"is not {name.upper()}: byte 0x{data[error.start]:02X} cannot be read",
            where=_at_line(where, data.count(b"\n", 0, error.start)),
            fix="save it as UTF-8, or say what it is: `recipients.encoding: cp1252` (Windows) or latin-1, ...",
        ) from None
    except UnicodeError as error:
        raise RecipientsError(f"is not {name}: {error}", where=where, fix="mend `recipients.encoding`") from None
    nul = text.find("\0")
    if nul >= 0:
        raise RecipientsError(
            "holds a NUL byte, which no text does",
            where=_at_line(where, text.count("\n", 0, nul)),
            fix="save it as UTF-8 again; if it is UTF-16 without its mark, set `recipients.encoding: utf-16-le`",
        )
    return text


def _at_line(where: str, lines_before: int) -> str:
    return f"{where}, line {lines_before + 1}"


def _workbook(data: bytes, sheet: str | None, where: str) -> pl.DataFrame:
    try:
        book = fastexcel.read_excel(data)
        if sheet is not None and sheet not in book.sheet_names:
            near = difflib.get_close_matches(sheet, book.sheet_names, n=1)
            raise RecipientsError(
                f"has no sheet `{sheet}`",
                where=where,
                fix=(f"did you mean `{near[0]}`? " if near else "") + f"its sheets: {', '.join(book.sheet_names)}",
            )
        name = book.sheet_names[0] if sheet is None else sheet
        grid = book.load_sheet(name, header_row=None, skip_rows=0, dtypes="string").to_polars()
    except (fastexcel.FastExcelError, IndexError) as error:
        raise RecipientsError(
            f"cannot be read as a workbook: {_first_line(error)}",
            where=where,
            fix="open it and save it as .xlsx without a password, or as CSV",
        ) from None
    # A date without time carries midnight, and a time without date the day zero of spreadsheets.
    return grid.select(
        pl.all()
        .str.replace(r"^(\d{4}-\d\d-\d\d) 00:00:00$", "$1")
        .str.replace(r"^1899-12-3[01] (\d\d:\d\d:\d\d)$", "$1")
    )


def _json_lines(text: str, where: str) -> Table:
    lines = text.split("\n")  # not splitlines: U+2028 may stand inside a JSON string
    if not lines[-1].strip():
        lines.pop()
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{where}, line {number}"
        try:
            # Numbers stay as written: 1e5 and 0.10 are text to us.
            row = json.loads(
                line, parse_int=str, parse_float=str, parse_constant=lambda _: None, object_pairs_hook=_once
            )
        except (ValueError, RecursionError) as error:
            raise RecipientsError(f"is not JSON: {error}", where=place, fix="write one JSON object a line") from None
        if not isinstance(row, dict):
            raise RecipientsError(
                "is not a JSON object", where=place, fix='write one a line: {"phone": "+12025550100"}'
            )
        rows.append(row)
        numbers.append(number)
    table = _table(_columns(rows), numbers)
    return Table(table.cells, table.row_numbers, table.blank_rows + len(lines) - len(rows))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key stands twice")
    return row


def _yaml(text: str, where: str) -> Table:
    try:
        document = safe_yaml.load(text)
    except safe_yaml.YamlError as error:
        line = f", line {error.problem.line}" if error.problem.line else ""
        raise RecipientsError(error.problem.what, where=where + line, fix=error.problem.fix) from None
    if document.value is None:
        return table_of_items([])
    if not isinstance(document.value, list):
        raise RecipientsError("is not a list of rows", where=where, fix="write each row as `- phone: '+12025550100'`")
    for index, item in enumerate(document.value):
        if not isinstance(item, dict):
            raise RecipientsError(
                f"item {index + 1} is not a mapping",
                where=f"{where}, line {document.line((index,))}",
                fix="write each row as `- phone: '+12025550100'`",
            )
    return table_of_items(document.value)


def _delimited(text: str, separator: str | None, where: str) -> Table:
    """CSV, TSV and the like. Plain files take polars' way; any doubt takes the strict one, which names the line."""
    if "\n" not in text:
        text = text.replace("\r", "\n")  # line ends of old Macs
    if text.lstrip()[:9].lower().startswith(("<!doctype", "<html", "<table", "<?xml")):
        raise RecipientsError("is a web page or XML, not a table", where=where, fix="export it as CSV or XLSX")
    told = re.match(r'"?sep=(.)"?\r?\n', text, re.IGNORECASE)  # a spreadsheet's own note, not shown as a row
    first_line = 1
    if told:
        separator, text, first_line = separator or told[1], text[told.end() :], 2
    leading = re.match(r"(?:[ \t]*\r?\n)*", text)
    blank_lines = leading[0].count("\n") if leading else 0
    text = text[leading.end() :] if leading else text
    if not text.strip():
        return _headed(pl.DataFrame(), first_row=1)
    separator = separator or _guessed_separator(text)
    grid = _quickly(text, separator)
    if grid is None:
        grid = _strictly(text, separator, where, first_line + blank_lines)
    return _headed(grid, first_row=1 + blank_lines)


def _guessed_separator(text: str) -> str:
    """The separator that splits the header, and the rows after it most evenly; a comma where none does."""
    sample = text[:_SAMPLE_CHARS]
    best, best_score = ",", (0.0, 1)
    for candidate in SEPARATORS:
        widths: list[int] = []
        rows = csv.reader(io.StringIO(sample, newline=""), delimiter=candidate)
        with contextlib.suppress(csv.Error):  # a cell beyond the limit: judge by what came before
            widths.extend(len(row) for row in rows if row)
        if len(sample) < len(text):
            widths = widths[:-1] or widths  # the last is cut
        if not widths or widths[0] == 1:
            continue
        even = sum(width == widths[0] for width in widths) / len(widths)
        best, best_score = max((best, best_score), (candidate, (even, widths[0])), key=lambda one: one[1])
    return best


def _quickly(text: str, separator: str) -> pl.DataFrame | None:
    """The grid by polars, which would fill short rows up in silence; None unless every row is as long as the first."""
    quoted = '"' in text
    bare = pl.Series([text])
    if quoted:
        if _HIDDEN in text:
            return None
        bare = bare.str.replace_all('"[^"]*"', _HIDDEN)
        edge = rf"[^{_HIDDEN}\r\n{re.escape(separator)}]"
        if bare.str.contains(rf'"|{_HIDDEN}{edge}|{edge}{_HIDDEN}').item():
            return None
    lines = bare.str.strip_suffix("\n").str.split("\n").explode().str.strip_suffix("\r")
    separators = lines.str.count_matches(separator, literal=True)
    uneven = (separators != separators[0]) & (lines.str.strip_chars() != "")
    if uneven.any() or lines.str.contains("\r", literal=True).any():
        return None
    schema = {f"column_{index}": pl.String for index in range(int(separators[0]) + 1)}
    try:
        grid = pl.read_csv(
            text.encode(),
            has_header=False,
            schema=schema,
            separator=separator,
            quote_char='"' if quoted else None,
        )
    except pl.exceptions.PolarsError:
        return None
    return grid if grid.height == len(lines) else None


def _strictly(text: str, separator: str, where: str, first_line: int) -> pl.DataFrame:
    """The grid by Python's csv. Raises RecipientsError at the first row that is not as the first one is."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    line = first_line
    try:
        for row in reader:
            width = len(rows[0]) if rows else len(row)
            if len(row) != width:
                if any(map(str.strip, row)):
                    raise RecipientsError(
                        f"{_counted(len(row))} where the first row has {width}",
                        where=f"{where}, line {line}",
                        fix=_ragged_fix(len(row), width, separator),
                    )
                row = [*row, *[""] * width][:width]  # noqa: PLW2901 (a blank row, of whatever length)
            rows.append(row)
            line = first_line + reader.line_num
    except csv.Error as error:
        unclosed = "end of data" in str(error) or "limit" in str(error)
        raise RecipientsError(
            "a quote is opened and never closed" if unclosed else f"broken quotes: {error}",
            where=f"{where}, line {line}",
            fix='close the quote; one inside a quoted cell is written twice ("")',
        ) from None
    return pl.DataFrame(rows, schema=[(f"column_{index}", pl.String) for index in range(len(rows[0]))], orient="row")


def _counted(cells: int) -> str:
    return "1 cell" if cells == 1 else f"{cells} cells"


def _ragged_fix(cells: int, width: int, separator: str) -> str:
    shown = {"\t": "a tab"}.get(separator, f"`{separator}`")
    if width == 1:
        return f"the header must be the first row; if {shown} is not the separator, set `recipients.separator`"
    if cells > width:
        return f"put a cell that holds {shown} in quotes, or set `recipients.separator`"
    return "write out the missing cells, or set `recipients.separator`"
