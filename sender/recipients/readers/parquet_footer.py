"""The types in a Parquet file's footer, which polars does not keep or stops at.

The footer is Thrift's compact protocol (https://github.com/apache/parquet-format, parquet.thrift, of 2026-11-29). Only
the schema is looked at; everything else in it stays as it is, byte for byte.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_MAGIC = b"PAR1"
_TAIL_BYTES = 8  # the footer's length and the magic
_MOST_FOOTER_BYTES = 256 * 2**20
_MOST_POLARS_DIGITS = 38
_MOST_DEPTH = 64

_ARROW_SCHEMA = b"ARROW:schema"
_UNUSED_SCHEMA = b"arrow:unused"  # as long

# Types of the compact protocol.
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT, _UUID = range(14)
_VARINTS = (_I16, _I32, _I64)

# Fields of FileMetaData and SchemaElement.
_SCHEMA, _METADATA = 2, 5
_TYPE, _NAME, _CHILDREN, _CONVERTED, _SCALE, _PRECISION, _LOGICAL = 1, 4, 5, 6, 7, 8, 10
_ANNOTATIONS = (_CONVERTED, _SCALE, _PRECISION, _LOGICAL)
_INTERVAL = 21  # of ConvertedType
_LOGICAL_NAMES = {14: "UUID", 16: "VARIANT", 17: "GEOMETRY", 18: "GEOGRAPHY"}
_NEWEST_KNOWN = 15  # of LogicalType, to polars


class FooterError(ValueError):
    """The footer cannot be read."""


@dataclass(frozen=True, slots=True)
class OddColumn:
    """A column whose type polars does not keep. `type` is as a person names it; `scale` is that of a decimal.

    `nested`: it is only inside the column. `stops_polars`: polars reads nothing of a file with such a column.
    """

    type: str
    scale: int
    nested: bool
    stops_polars: bool


@dataclass(frozen=True, slots=True)
class _Element:
    """A column, or a part of one. `fields` are the id, type and bytes of its fields, `start` and `end` its place."""

    start: int
    end: int
    fields: tuple[tuple[int, int, bytes], ...]

    def number(self, field: int, default: int = 0) -> int:
        value = next((value for name, _, value in self.fields if name == field), None)
        return default if value is None else _ThriftReader(value).signed()

    @property
    def name(self) -> str:
        value = next((value for name, _, value in self.fields if name == _NAME), b"\0")
        return _ThriftReader(value).binary().decode(errors="replace")

    def odd_type(self) -> tuple[str, bool] | None:
        """Its type's name, and whether it stops polars; None for a type that polars keeps."""
        logical = next((_ThriftReader(value).first_field() for name, _, value in self.fields if name == _LOGICAL), 0)
        if logical in _LOGICAL_NAMES or logical > _NEWEST_KNOWN:
            return _LOGICAL_NAMES.get(logical, f"number {logical}"), logical > _NEWEST_KNOWN
        if self.number(_CONVERTED, -1) == _INTERVAL:
            return "INTERVAL", True
        if self.number(_PRECISION) > _MOST_POLARS_DIGITS:
            return f"DECIMAL({self.number(_PRECISION)}, {self.number(_SCALE)})", True
        return None


def read_odd_columns(file: Path | bytes) -> dict[str, OddColumn]:
    """Return the columns with a type that polars does not keep, by name. Raises FooterError and OSError."""
    elements = _read_schema(_read_footer(file))
    odd: dict[str, OddColumn] = {}
    for top, parts in _columns(elements):
        for part in parts:
            kind = part.odd_type()
            if kind is None:
                continue
            earlier = odd.get(top.name)
            odd[top.name] = OddColumn(
                earlier.type if earlier is not None else kind[0] if part is top else f"{kind[0]} inside another",
                part.number(_SCALE),
                nested=part is not top,
                stops_polars=kind[1] or (earlier is not None and earlier.stops_polars),
            )
    return odd


def without_odd_types(file: Path | bytes) -> bytes:
    """Return the file with plain bytes where polars would stop at a type. Raises FooterError and OSError."""
    data = file.read_bytes() if isinstance(file, Path) else file
    footer = _read_footer(data)
    changed = bytearray()
    at = 0
    for element in _read_schema(footer):
        kind = element.odd_type()
        if kind is not None and kind[1]:
            changed += footer[at : element.start] + _write_struct(
                [field for field in element.fields if field[0] not in _ANNOTATIONS]
            )
            at = element.end
    changed += footer[at:]
    # Arrow's own schema, which some writers add, has the types too: under another key it is not looked at.
    footer = bytes(changed).replace(_ARROW_SCHEMA, _UNUSED_SCHEMA)
    content = data[: -_TAIL_BYTES - int.from_bytes(data[-8:-4], "little")]
    return content + footer + len(footer).to_bytes(4, "little") + _MAGIC


def read_arrow_schema(file: Path | bytes) -> bytes | None:
    """Return Arrow's own schema, which some writers add, as a message of Arrow's IPC format; None without one.

    It has what the types of Parquet do not say: durations, and time zones. Raises FooterError and OSError.
    """
    reader = _ThriftReader(_read_footer(file))
    for field, kind in reader.fields():
        if field != _METADATA or kind != _LIST:
            reader.skip(kind)
            continue
        for _ in range(reader.list_size()):
            pair = {name: _ThriftReader(value).binary() for name, _, value in reader.element().fields}
            if pair.get(1) == _ARROW_SCHEMA:
                try:
                    return base64.b64decode(pair.get(2, b""))
                except binascii.Error:
                    return None
    return None


def _columns(elements: Sequence[_Element]) -> Iterator[tuple[_Element, list[_Element]]]:
    """Yield each column of the table with its parts, itself among them."""
    at = 1  # after the root
    while at < len(elements):
        first, open_parts = at, 1
        while open_parts and at < len(elements):
            open_parts += elements[at].number(_CHILDREN) - 1
            at += 1
        yield elements[first], list(elements[first:at])


def _read_footer(file: Path | bytes) -> bytes:
    if isinstance(file, bytes):
        return _cut_footer(file, len(file), 0)
    with file.open("rb") as opened:
        size = opened.seek(0, 2)
        opened.seek(max(0, size - _TAIL_BYTES))
        length = int.from_bytes(opened.read(4), "little")
        start = max(0, size - _TAIL_BYTES - length)
        opened.seek(start)
        return _cut_footer(opened.read(), size, start)


def _cut_footer(data: bytes, size: int, start: int) -> bytes:
    """Return the footer in `data`, which are the bytes of a file of `size` bytes from `start` on."""
    length = int.from_bytes(data[-8:-4], "little")
    if data[-4:] != _MAGIC or length + _TAIL_BYTES > size or length > _MOST_FOOTER_BYTES:
        raise FooterError("the file has no footer: it may be cut off")
    return data[size - start - _TAIL_BYTES - length : size - start - _TAIL_BYTES]


def _read_schema(footer: bytes) -> list[_Element]:
    reader = _ThriftReader(footer)
    for field, kind in reader.fields():
        if field == _SCHEMA and kind == _LIST:
            return [reader.element() for _ in range(reader.list_size())]
        reader.skip(kind)
    raise FooterError("the footer has no schema")


def _write_struct(fields: Sequence[tuple[int, int, bytes]]) -> bytes:
    written = bytearray()
    last = 0
    for field, kind, value in fields:
        written += bytes([(field - last) << 4 | kind]) + value
        last = field
    return bytes(written) + b"\0"


class _ThriftReader:
    """Reads the compact protocol from some bytes on."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def fields(self) -> Iterator[tuple[int, int]]:
        """Yield id and type of each field of a struct; the caller reads or skips its value."""
        field = 0
        while (head := self._byte()) & 0x0F != _STOP:
            delta = head >> 4
            field = field + delta if delta else self.signed()
            yield field, head & 0x0F

    def element(self) -> _Element:
        start = self._at
        fields = []
        for field, kind in self.fields():
            value_start = self._at
            self.skip(kind)
            fields.append((field, kind, self._data[value_start : self._at]))
        return _Element(start, self._at, tuple(fields))

    def first_field(self) -> int:
        """Return the id of the first field of a struct: which of a union it is."""
        return next((field for field, _ in self.fields()), 0)

    def signed(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def binary(self) -> bytes:
        size = self._varint()
        return self._take(size)

    def list_size(self) -> int:
        head = self._byte()
        return head >> 4 if head >> 4 < 15 else self._varint()

    def skip(self, kind: int, depth: int = 0) -> None:
        """Pass over a value."""
        if depth > _MOST_DEPTH:
            raise FooterError("the footer is nested too deeply")
        if kind in _VARINTS:
            self._varint()
        elif kind == _BYTE:
            self._byte()
        elif kind == _DOUBLE:
            self._take(8)
        elif kind == _UUID:
            self._take(16)
        elif kind == _BINARY:
            self.binary()
        elif kind in (_LIST, _SET):
            inner = self._data[self._at] & 0x0F if self._at < len(self._data) else 0
            for _ in range(self.list_size()):
                self._skip_item(inner, depth)
        elif kind == _MAP:
            size = self._varint()
            kinds = self._byte() if size else 0
            for _ in range(size):
                self._skip_item(kinds >> 4, depth)
                self._skip_item(kinds & 0x0F, depth)
        elif kind == _STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        elif kind not in (_TRUE, _FALSE):
            raise FooterError("the footer has a value of an unknown type")

    def _skip_item(self, kind: int, depth: int) -> None:
        if kind in (_TRUE, _FALSE):  # a byte in lists and maps, part of the head in structs
            self._byte()
        else:
            self.skip(kind, depth + 1)

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise FooterError("the footer has a number of too many bytes")

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, size: int) -> bytes:
        value = self._data[self._at : self._at + size]
        if len(value) < size:
            raise FooterError("the footer ends in the middle")
        self._at += size
        return value
