"""Files of rows to columns of text: CSV and its kin, workbooks, Parquet, JSON lines, YAML, and rows from Python.

A file is read right or refused with one RecipientsError: file, line as an editor counts, way out. Every cell
is the text that stands in the file; no cell is null, and a row of nothing but blanks is counted and left out.
What can be large (CSV, JSON lines, Parquet, compressed or not) is read a block at a time, and put aside in blocks.
Knows nothing of recipients: which column means what is `sender.recipients.columns`' business.
"""

from __future__ import annotations

import json
from pathlib import PurePath

from sender.core.errors import RecipientsError
from sender.recipients.readers.delimited import read_delimited
from sender.recipients.readers.documents import (
    OLE,
    PARQUET,
    ZIP,
    read_json_lines,
    read_parquet,
    read_workbook,
    read_yaml,
)
from sender.recipients.readers.source import FileSource, TextStream
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
    digits_matter: bool = False,
) -> Table:
    """The rows of a file. `where` is its name.

    Content tells workbooks, Parquet and compression, the name JSON and YAML; what else there is, is CSV or its kin.
    A file without rows gives a table without rows. With `digits_matter`, as in a list of numbers, text that is no UTF-8
    is no fault: its letters may come out wrong. Raises RecipientsError for whatever cannot be read right.
    """
    if isinstance(source, bytes):
        source = FileSource(source, where=where)
    head = source.head
    for magic, what, fix in _FOREIGN:
        if head.startswith(magic):
            raise RecipientsError(f"is {what}, not a table", where=where, fix=fix)
    if head.startswith((ZIP, OLE)):
        return read_workbook(source, sheet, where)
    if head.startswith(PARQUET):
        return read_parquet(source, where)
    suffix = _suffix(where)
    stream = TextStream(source, encoding, digits_matter=digits_matter)
    if suffix in _BINARY:
        _refuse_false_name(stream, suffix, where)
    match suffix:
        case ".jsonl" | ".ndjson" | ".json":
            return read_json_lines(stream, where)
        case ".yaml" | ".yml":
            return read_yaml(stream, where)
    return read_delimited(stream, separator, where)


def _suffix(where: str) -> str:
    """What the name says of the format; `.csv` for `people.csv.gz`."""
    path = PurePath(where)
    suffix = path.suffix.lower()
    return PurePath(path.stem).suffix.lower() if suffix in _PACKED else suffix


def _refuse_false_name(stream: TextStream, suffix: str, where: str) -> None:
    """Raises RecipientsError for text that is named as a workbook or Parquet: somebody expects something else of it."""
    named = _BINARY[suffix]
    try:
        stream.fill(1)
    except RecipientsError:
        raise RecipientsError(
            f"is named {suffix}, but it is no {named}, and no text either",
            where=where,
            fix="it may be damaged: copy or export it again",
        ) from None
    text = stream.text.lstrip()
    if not text:
        raise RecipientsError("there is nothing in it", where=where, fix="copy or export it again")
    if text[:9].lower().startswith(("<!doctype", "<html", "<table", "<?xml")):
        what, fix = "a web page or XML", f"open it in a spreadsheet program and save it as {suffix}, or as CSV"
    elif _is_json(text):
        what, fix = "JSON", "name it .jsonl, with one object a line"
    else:
        what, fix = "text, as CSV is", "name it .csv if that is what it is, or export it again"
    raise RecipientsError(f"is named {suffix}, but it is no {named}: it is {what}", where=where, fix=fix)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text.partition("\n")[0]), dict | list)
    except (ValueError, RecursionError):
        return text.startswith("[{")
