"""Parquet files, with the types that polars does not read: as text where there is one, else named and left out."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal, localcontext
from functools import partial
from pathlib import Path

import polars as pl

from sender.core.errors import RecipientsError
from sender.recipients.readers.frames import ToText, interval_text, table_of_frame
from sender.recipients.readers.parquet_footer import (
    FooterError,
    OddColumn,
    read_arrow_schema,
    read_odd_columns,
    without_odd_types,
)
from sender.recipients.readers.source import FileSource
from sender.recipients.readers.table import Table

_MOST_DECIMAL_DIGITS = 77  # of 256 bits
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"  # of Arrow's IPC format


def read_parquet(source: FileSource, where: str) -> Table:
    """Return the rows of a Parquet file; a block of them is in memory at a time.

    A file with types that polars would stop at is read as a whole, with these types taken out of its footer.
    """
    whole = source.path if source.path is not None and source.packed is None else source.read_all()
    try:
        odd = read_odd_columns(whole)
        known: dict[str, pl.DataType] = {}
        if any(column.stops_polars for column in odd.values()):
            known = _read_times(whole)
            whole = without_odd_types(whole)
        conversions = {name: convert for name, column in odd.items() if (convert := _conversion(column)) is not None}
        unreadable = {name: column.type for name, column in odd.items() if name not in conversions}
        frame = _with_times(pl.scan_parquet(whole, glob=False, hive_partitioning=False), known)
        table = table_of_frame(frame.drop(list(unreadable)) if unreadable else frame, conversions)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, FooterError) as error:
        raise RecipientsError(
            f"cannot be read as Parquet: {(str(error).splitlines() or [type(error).__name__])[0]}",
            where=where,
            fix="write the file again",
        ) from None
    notes = [
        f"the column `{name}` is of the type {kind}, which has no text form: it is left out"
        for name, kind in unreadable.items()
    ]
    return replace(table, notes=(*table.notes, *notes), unreadable=unreadable)


def _read_times(file: Path | bytes) -> dict[str, pl.DataType]:
    """Return the types of the durations, and of the times with a zone, that only Arrow's own schema names."""
    message = read_arrow_schema(file)
    if message is None:
        return {}
    try:
        schema = pl.read_ipc_stream(io.BytesIO(message + _END_OF_STREAM)).schema
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return {}
    return {
        name: dtype
        for name, dtype in schema.items()
        if isinstance(dtype, pl.Duration) or (isinstance(dtype, pl.Datetime) and dtype.time_zone is not None)
    }


def _with_times(frame: pl.LazyFrame, known: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    """Return `frame` with the types `known` of whole numbers that are durations, and of times in another zone."""
    if not known:
        return frame
    stored = frame.collect_schema()
    columns = []
    for name, dtype in known.items():
        if isinstance(dtype, pl.Duration) and stored.get(name) == pl.Int64:
            columns.append(pl.col(name).cast(dtype))
        elif isinstance(dtype, pl.Datetime) and isinstance(there := stored.get(name), pl.Datetime) and there.time_zone:
            columns.append(pl.col(name).dt.convert_time_zone(str(dtype.time_zone)))
    return frame.with_columns(columns)


def _conversion(column: OddColumn) -> ToText | None:
    """Return what makes text of a column's bytes; None where it has no text."""
    if column.nested:
        return None
    converters: Mapping[str, Callable[[bytes], str]] = {
        "UUID": lambda value: str(uuid.UUID(bytes=value)),
        "INTERVAL": _interval,
        "DECIMAL": partial(_decimal, scale=column.scale),
    }
    convert = converters.get(column.type.partition("(")[0])
    return None if convert is None else partial(_convert, convert=convert)


def _convert(column: pl.Series, *, convert: Callable[[bytes], str]) -> pl.Series:
    texts = ["" if value is None else convert(value) for value in column.to_list()]
    return pl.Series(column.name, texts, dtype=pl.String)


def _interval(value: bytes) -> str:
    """Months, days and milliseconds, each in 4 bytes: https://github.com/apache/parquet-format, LogicalTypes."""
    months, days, millis = (int.from_bytes(value[at : at + 4], "little") for at in (0, 4, 8))
    return interval_text(months, days, millis)


def _decimal(value: bytes, *, scale: int) -> str:
    with localcontext(prec=_MOST_DECIMAL_DIGITS):
        return f"{Decimal(int.from_bytes(value, 'big', signed=True)).scaleb(-scale):f}"
