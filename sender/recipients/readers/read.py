"""Reads a file of rows, in any format, to columns of text.

A file is read correctly or refused with one RecipientsError: file, line as an editor counts, what to do. Every cell is
the text in the file; no cell is null, and a blank row is counted and left out. Files that can be large (CSV, JSON
lines, Parquet, compressed or not) are read a block at a time and kept in blocks.
"""

from __future__ import annotations

import json
from pathlib import PurePath

from sender.core.errors import RecipientsError, setting
from sender.recipients.readers.delimited import read_delimited
from sender.recipients.readers.documents import read_json_lines, read_yaml
from sender.recipients.readers.source import OLE, PARQUET, ZIP, FileSource, TextStream
from sender.recipients.readers.table import Table

_FOREIGN = (
    (b"\x1f\x8b", "a gzip file inside another", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd file inside another", "unpack it first"),
    (b"BZh", "a bzip2 file", "unpack it first, or pack it with gzip or zstd"),
    (b"\xfd7zXZ\x00", "an xz file", "unpack it first, or pack it with gzip or zstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it and name the file in it"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it and name the file in it"),
    (b"%PDF", "a PDF", "export the table as CSV"),
    (b"{\\rtf", "a text document (RTF)", "export the table as CSV"),
    (b"\x89PNG", "a picture (PNG)", "export the table as CSV"),
    (b"\xff\xd8\xff", "a picture (JPEG)", "export the table as CSV"),
    (b"ARROW1", "an Arrow file", "write it as Parquet"),
    (b"Obj\x01", "an Avro file", "write it as Parquet or CSV"),
    (b"SQLite format 3\x00", "a SQLite database", "export the table as CSV"),
)
_WITHOUT_HEADER_ROW = frozenset({".jsonl", ".ndjson", ".json", ".yaml", ".yml"})
_PACKED = frozenset({".gz", ".gzip", ".zst", ".zstd"})
_BINARY = {".xlsx": "workbook", ".xlsm": "workbook", ".xlsb": "workbook", ".xls": "workbook", ".ods": "workbook"} | {
    ".parquet": "Parquet file",
    ".pq": "Parquet file",
}


def read_table(
    source: FileSource | bytes,
    *,
    where: str,
    sheet: str | None = None,
    separator: str | None = None,
    encoding: str | None = None,
    header_row: int | None = None,
    digits_matter: bool = False,
) -> Table:
    """Return the rows of a file. `where` is its name.

    Workbooks, Parquet and compression are recognised by content, JSON and YAML by name; everything else is read as CSV
    or similar. A file without rows gives a table without rows. The header is the row with the number `header_row`, or
    the first that is not blank. With `digits_matter`, as in a list of numbers, text that
    is not UTF-8 is accepted, though its letters may be wrong. Raises RecipientsError for what cannot be read correctly.
    """
    if isinstance(source, bytes):
        source = FileSource(source, where=where)
    head = source.head
    for magic, what, fix in _FOREIGN:
        if head.startswith(magic):
            raise RecipientsError(f"is {what}, not a table", where=where, fix=fix)
    if head.startswith((ZIP, OLE)):
        from sender.recipients.readers.workbooks import read_workbook  # noqa: PLC0415 (most lists are text)

        return read_workbook(source, sheet, where, header_row=header_row)
    suffix = _suffix(where)
    if header_row is not None and (head.startswith(PARQUET) or suffix in _WITHOUT_HEADER_ROW):
        raise RecipientsError(
            f"has no header row, and {setting('recipients.header_row')} names one",
            where=where,
            fix="remove that key: it is for CSV files and workbooks",
        )
    if head.startswith(PARQUET):
        from sender.recipients.readers.parquet import read_parquet  # noqa: PLC0415

        return read_parquet(source, where)
    stream = TextStream(source, encoding, digits_matter=digits_matter)
    if suffix in _BINARY:
        _refuse_false_name(stream, suffix, where)
    match suffix:
        case ".jsonl" | ".ndjson" | ".json":
            return read_json_lines(stream, where, scalars=digits_matter)
        case ".yaml" | ".yml":
            return read_yaml(stream, where, scalars=digits_matter)
    return read_delimited(stream, separator, where, header_row=header_row)


def read_tables(source: FileSource, *, where: str) -> dict[str | None, Table]:
    """Return the rows of a list of numbers, of every sheet of a workbook by its name; else of the file, under None.

    Text that is not UTF-8 is accepted, and so are lists of values. Raises RecipientsError as `read_table` does.
    """
    if source.head.startswith((ZIP, OLE)):
        from sender.recipients.readers.workbooks import read_sheets  # noqa: PLC0415

        return read_sheets(source, where)
    return {None: read_table(source, where=where, digits_matter=True)}


def _suffix(where: str) -> str:
    """Return the suffix that names the format: `.csv` for `people.csv.gz`."""
    path = PurePath(where)
    suffix = path.suffix.lower()
    return PurePath(path.stem).suffix.lower() if suffix in _PACKED else suffix


def _refuse_false_name(stream: TextStream, suffix: str, where: str) -> None:
    """Raise RecipientsError for text that is named as a workbook or Parquet: its author expects something else."""
    named = _BINARY[suffix]
    try:
        stream.fill(1)
    except RecipientsError:
        raise RecipientsError(
            f"is named {suffix}, but it is neither a {named} nor text",
            where=where,
            fix="it may be damaged: copy or export it again",
        ) from None
    text = stream.text.lstrip()
    if not text:
        raise RecipientsError("is empty", where=where, fix="copy or export it again")
    if text[:9].lower().startswith(("<!doctype", "<html", "<table", "<?xml")):
        what, fix = "a web page or XML", f"open it in a spreadsheet program and save it as {suffix}, or as CSV"
    elif _is_json(text):
        what, fix = "JSON", "name it .jsonl, with one object a line"
    else:
        what, fix = "text, such as CSV", "name it .csv if it is CSV, or export it again"
    raise RecipientsError(f"is named {suffix}, but it is not a {named}: it is {what}", where=where, fix=fix)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text.partition("\n")[0]), dict | list)
    except (ValueError, RecursionError):
        return text.startswith("[{")
