"""The error cells of an XLS workbook, which fastexcel reads as blank: found in the file's records.

Of an XLS nothing else is looked for: hidden rows and number formats are left to a note. What cannot be followed (a file
that is damaged, encrypted or older than Excel 5) has no errors here; fastexcel decides whether it can be read.

The container is Microsoft's Compound File Binary, [MS-CFB]; the records are those of [MS-XLS], both read on 2026-11-29.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import polars as pl

from sender.recipients.readers.workbook_xml import BROKEN, SHOWN, SheetFacts

_BOF, _EOF, _BOUND_SHEET, _FORMULA, _BOOL_ERR = 0x809, 0x0A, 0x85, 0x06, 0x205
_ERRORS = {0: "#NULL!", 7: "#DIV/0!", 15: "#VALUE!", 23: "#REF!", 29: "#NAME?", 36: "#NUM!", 42: "#N/A"}
_BIFF8 = 0x600
_END_OF_CHAIN = 0xFFFFFFFA  # and above: no sector
_HEADER_BYTES = 512
_ENTRY_BYTES = 128
_MINI_BYTES = 64  # a sector of small streams


def read_xls_facts(data: bytes, sheet: str) -> SheetFacts:
    """Return what is known of a sheet: its errors."""
    try:
        broken = list(_find_errors(_workbook_stream(data), sheet))
    except (struct.error, IndexError, ValueError, UnicodeDecodeError):
        broken = []
    return SheetFacts(
        hidden_rows=pl.Series(dtype=pl.UInt32),
        hidden_columns=frozenset(),
        broken=pl.DataFrame(broken, schema=BROKEN, orient="row"),
        shown=pl.DataFrame(schema=SHOWN),
        unknown_formats={},
        english=frozenset(),
        has_dates=True,
    )


def _find_errors(stream: bytes, sheet: str) -> Iterator[tuple[int, int, str]]:
    """Yield row (from 1), column (from 0) and error of each cell that is one, or a formula whose result is one."""
    depth = 0
    for kind, start, size in _records(stream, _sheet_offset(stream, sheet)):
        depth += (kind == _BOF) - (kind == _EOF)
        if depth <= 0:
            return
        code = None
        if kind == _BOOL_ERR and size >= 8 and stream[start + 7]:
            code = stream[start + 6]
        elif (
            kind == _FORMULA
            and size >= 14
            and stream[start + 6] == 2
            and stream[start + 12 : start + 14] == b"\xff\xff"
        ):
            code = stream[start + 8]
        if code is not None and depth == 1:  # a chart within the sheet has records of its own
            row, column = struct.unpack_from("<HH", stream, start)
            yield row + 1, column, _ERRORS.get(code, "#ERROR!")


def _sheet_offset(stream: bytes, sheet: str) -> int:
    """Return where the records of the sheet begin. Raises ValueError where there is no such sheet."""
    is_new = True
    for kind, start, size in _records(stream, 0):
        if kind == _BOF:
            is_new = struct.unpack_from("<H", stream, start)[0] == _BIFF8
        elif kind == _EOF:
            break
        elif kind == _BOUND_SHEET:
            (offset,) = struct.unpack_from("<I", stream, start)
            name = stream[start + (8 if is_new else 7) : start + size]
            wide = is_new and stream[start + 7] & 1
            if name.decode("utf-16-le" if wide else "latin-1" if is_new else "cp1252") == sheet:
                return int(offset)
    raise ValueError(sheet)


def _records(stream: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Yield the kind of each record, where its content begins, and its size."""
    while at + 4 <= len(stream):
        kind, size = struct.unpack_from("<HH", stream, at)
        yield kind, at + 4, size
        at += 4 + size


def _workbook_stream(data: bytes) -> bytes:
    """Return the stream of the workbook in a compound file. Raises ValueError where there is none."""
    sector_bytes = 1 << struct.unpack_from("<H", data, 30)[0]
    fat_sectors, first_directory = struct.unpack_from("<I", data, 44)[0], struct.unpack_from("<I", data, 48)[0]
    cutoff, first_mini_fat = struct.unpack_from("<II", data, 56)
    (first_more,) = struct.unpack_from("<I", data, 68)

    def sector(number: int) -> bytes:
        return data[(number + 1) * sector_bytes : (number + 2) * sector_bytes]  # the header has the place of one

    def numbers(content: bytes) -> tuple[int, ...]:
        return struct.unpack(f"<{len(content) // 4}I", content[: len(content) // 4 * 4])

    located = [number for number in numbers(data[76:_HEADER_BYTES]) if number < _END_OF_CHAIN]
    for _ in range(len(data) // sector_bytes):
        if first_more >= _END_OF_CHAIN:
            break
        *more, first_more = numbers(sector(first_more))
        located += [number for number in more if number < _END_OF_CHAIN]
    fat = numbers(b"".join(map(sector, located[:fat_sectors])))

    def content(first: int) -> bytes:
        return b"".join(map(sector, _chain(first, fat)))

    directory = content(first_directory)
    entries = [directory[at : at + _ENTRY_BYTES] for at in range(0, len(directory), _ENTRY_BYTES)]
    for entry in entries:
        name = entry[: max(0, struct.unpack_from("<H", entry, 64)[0] - 2)].decode("utf-16-le")
        if name in ("Workbook", "Book"):
            first, size = struct.unpack_from("<II", entry, 116)
            if size >= cutoff:
                return content(first)[:size]
            small = content(struct.unpack_from("<I", entries[0], 116)[0])
            places = _chain(first, numbers(content(first_mini_fat)))
            return b"".join(small[at * _MINI_BYTES : (at + 1) * _MINI_BYTES] for at in places)[:size]
    raise ValueError("there is no stream of a workbook")


def _chain(first: int, table: Sequence[int]) -> Iterator[int]:
    """Yield the sectors of a chain. Raises ValueError for one that never ends."""
    number = first
    for _ in range(len(table) + 1):
        if number >= _END_OF_CHAIN:
            return
        yield number
        number = table[number]
    raise ValueError("a chain of sectors has no end")
