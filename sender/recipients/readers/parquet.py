"""Parquet files, with the types that polars does not read: as text where there is one, else named and left out."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal, localcontext
from functools import partial

import polars as pl

from sender.core.errors import RecipientsError
from sender.recipients.readers.frames import ToText, interval_text, table_of_frame
from sender.recipients.readers.parquet_footer import FooterError, OddColumn, read_odd_columns, without_odd_types
from sender.recipients.readers.source import FileSource
from sender.recipients.readers.table import Table

_MOST_DECIMAL_DIGITS = 77  # of 256 bits


def read_parquet(source: FileSource, where: str) -> Table:
    """Return the rows of a Parquet file; a block of them is in memory at a time.

    A file with types that polars would stop at is read as a whole, with these types taken out of its footer.
    """
    whole = source.path if source.path is not None and source.packed is None else source.read_all()
    try:
        odd = read_odd_columns(whole)
        if any(column.stops_polars for column in odd.values()):
            whole = without_odd_types(whole)
        conversions = {name: convert for name, column in odd.items() if (convert := _conversion(column)) is not None}
        unreadable = {name: column.type for name, column in odd.items() if name not in conversions}
        frame = pl.scan_parquet(whole, glob=False, hive_partitioning=False)
        table = table_of_frame(frame.drop(list(unreadable)) if unreadable else frame, conversions)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, FooterError) as error:
        raise RecipientsError(
            f"cannot be read as Parquet: {(str(error).splitlines() or [type(error).__name__])[0]}",
            where=where,
            fix="write the file again",
        ) from None
    notes = [
        f"the column `{name}` is of the type {kind}, which has no text: it is left out"
        for name, kind in unreadable.items()
    ]
    return replace(table, notes=(*table.notes, *notes), unreadable=unreadable)


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
