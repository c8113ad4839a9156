"""Tables as files: the format that a name asks for, the headers that a file has, a plain table written whole.

Never prints, never opens a ledger.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import IO

from sender.core.errors import InputError
from sender.core.lazy_modules import fastexcel, pl
from sender.core.output_files import NOTHING_PROTECTED, OutputKind, Protected, check_output, not_writable, write_beside
from sender.core.safe_tables import guard_table, has_controls
from sender.core.safe_text import escape_json
from sender.reports.spreadsheet import write_workbook

FORMATS: tuple[str, ...] = ("csv", "jsonl", "parquet", "xlsx")

_SUFFIXES = {f".{name}": name for name in FORMATS} | {".ndjson": "jsonl"}
_ROWS_ESCAPED_AT_ONCE = 10_000
_SHEET = "rows"  # the worksheet of a plain table
_LONGEST_HEAD = 4 << 20  # bytes that hold a header or a first object: those of a real table are shorter


def find_format(path: Path, asked_for: str | None = None) -> str:
    """The format named, or else that of the file's suffix. Raises InputError when it is none of FORMATS."""
    name = _SUFFIXES.get(path.suffix.lower()) if asked_for is None else asked_for
    if name not in FORMATS:
        raise unknown_format(asked_for or path.suffix, None if asked_for else str(path))
    return name


def unknown_format(name: str, where: str | None) -> InputError:
    """The error for a format that is none of FORMATS."""
    what = (
        f"{name!r} is not a format that can be written"
        if name
        else "the file's name has no suffix that shows the format"
    )
    return InputError(what, where=where, fix=f"choose one of {', '.join(FORMATS)}")


def read_headers(path: Path) -> list[str]:
    """The headers of a CSV, JSONL, Parquet or XLSX file, recognised by content.

    Of a workbook those of its first sheet, of JSON lines the first object's keys. Raises OSError, and ValueError for
    a file that is none of them.
    """
    with path.open("rb") as file:
        head = file.read(_LONGEST_HEAD)
    try:
        if head.startswith(b"PAR1"):
            return list(pl.read_parquet_schema(path))
        if head.startswith(b"PK\x03\x04"):
            sheet = fastexcel.read_excel(str(path)).load_sheet(0, n_rows=0)
            return [column.name for column in sheet.available_columns()]
        text = head.decode("utf-8-sig", errors="replace")  # it may end within a character
        return (
            list(json.loads(text.partition("\n")[0])) if text.startswith("{") else next(csv.reader(StringIO(text)), [])
        )
    except (pl.exceptions.PolarsError, fastexcel.FastExcelError, csv.Error) as error:
        raise ValueError(str(error)) from error


def write_table(
    frame: pl.DataFrame,
    path: str | Path,
    kind: OutputKind,
    protected: Protected = NOTHING_PROTECTED,
    *,
    force: bool = False,
) -> None:
    """Write a frame to a CSV, JSONL, Parquet or Excel file of `kind`, whole or not at all, readable by its owner only.

    No text becomes a formula. Raises InputError as `check_output`, for another format, where a workbook cannot hold the
    frame, and when the file cannot be written.
    """
    target = check_output(path, kind, protected, force=force)
    chosen = find_format(target)

    def fill(file: IO[bytes]) -> None:
        match chosen:
            case "csv":
                dump_csv(frame.with_columns(pl.col(pl.String).replace("", None)), file)
            case "jsonl":
                dump_json_lines(frame, file)
            case "xlsx":
                write_workbook(frame, file, sheet=_SHEET)
            case _:
                frame.write_parquet(file, compression="zstd")

    try:
        write_beside(target, fill, where=str(path))
    except pl.exceptions.ComputeError as error:  # polars' Parquet writer wraps a full disk
        raise not_writable(str(path), error) from None


def dump_csv(frame: pl.DataFrame, file: IO[bytes], *, header: bool = True, time_format: str | None = None) -> None:
    """Write a frame as CSV whose cells are no formulas, and hold nothing that a terminal would carry out."""
    guard_table(frame).write_csv(file, include_header=header, datetime_format=time_format)


def dump_json_lines(frame: pl.DataFrame, file: IO[bytes]) -> None:
    """Write a frame as JSON lines in which control and bidirectional characters are JSON's escapes."""
    if not has_controls(frame):
        frame.write_ndjson(file)
        return
    for block in frame.iter_slices(_ROWS_ESCAPED_AT_ONCE):
        file.write(escape_json(block.write_ndjson()).encode())


def has_headers(path: Path, headers: Sequence[str]) -> bool:
    """Whether the file is a table with exactly these headers. Raises OSError and ValueError as `read_headers`."""
    return read_headers(path) == list(headers)
