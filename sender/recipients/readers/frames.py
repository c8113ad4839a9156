"""Tables of typed columns: polars and pandas frames, Arrow tables, and what a Parquet file is read to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from sender.recipients.readers.cells import cell_text, has_narrow, has_nested, nested_column
from sender.recipients.readers.table import BLOCK_ROWS, Rows, Table

ToText = Callable[[pl.Series], pl.Series]  # of a column, to text without nulls
Block = tuple[pl.DataFrame, dict[int, pl.Series]]  # cells, and by place the mappings and lists in them as JSON

_EXTENSION = getattr(pl, "BaseExtension", ())  # which polars has from 1.36 on
# As pandas writes the types: float32, Sparse[float32, nan], float[pyarrow], list<item: halffloat>[pyarrow].
_NESTED_ARROW = frozenset({"StructType", "ListType", "LargeListType", "FixedSizeListType", "ListViewType", "MapType"})
_NARROW = re.compile(r"\b(?:half)?float(?:16|32)?\b", re.IGNORECASE)


def table_of_frame(frame: Any, conversions: Mapping[str, ToText] | None = None) -> Table:
    """Return the rows of a polars frame (eager or lazy), a pandas one or an Arrow table, as text.

    Null, None, NaN and NaT are blank. `conversions` are for columns whose type polars does not know, by header.
    """
    if type(frame).__module__.partition(".")[0] == "pyarrow":
        return _table_of_arrow(frame)
    if isinstance(frame, pl.LazyFrame | pl.DataFrame):
        schema = frame.collect_schema()
        narrow = [name for name, dtype in schema.items() if _has_narrow(dtype)]
        return _gather(schema.names(), _polars_blocks(frame, conversions or {}), narrow)
    headers = [str(name) for name in frame.columns]
    narrow = [header for index, header in enumerate(headers) if _is_narrow_pandas(frame.iloc[:, index])]
    return _gather(headers, _pandas_blocks(frame), narrow)


def _gather(headers: list[str], blocks: Iterator[Block], narrow: list[str]) -> Table:
    rows = Rows()
    start = 1
    for cells, nested in blocks:
        rows.add(cells, pl.int_range(start, start + cells.height, dtype=pl.UInt32, eager=True), nested=nested)
        start += cells.height
    return replace(rows.table(headers), narrow_headers=frozenset(narrow))


def _polars_blocks(frame: pl.LazyFrame | pl.DataFrame, conversions: Mapping[str, ToText]) -> Iterator[Block]:
    if isinstance(frame, pl.LazyFrame):
        parts: Iterator[pl.DataFrame] = frame.collect_batches(chunk_size=BLOCK_ROWS, maintain_order=True)
    else:
        parts = frame.iter_slices(BLOCK_ROWS)
    for part in parts:
        cells = [conversions.get(column.name, column_to_text)(column) for column in part.iter_columns()]
        nested = {
            at: nested_column(column.to_list())
            for at, column in enumerate(part.iter_columns())
            if column.name not in conversions and (column.dtype.is_nested() or column.dtype == pl.Object)
        }
        yield pl.DataFrame(cells), nested


def _pandas_blocks(frame: Any) -> Iterator[Block]:
    """Yield a pandas frame's values, converted one by one: polars would need pyarrow for it."""
    for start in range(0, len(frame), BLOCK_ROWS):
        part = frame.iloc[start : start + BLOCK_ROWS]
        columns, nested = [], {}
        for index in range(len(part.columns)):
            column = part.iloc[:, index]
            pairs = zip(column.tolist(), column.isna().tolist(), strict=True)
            values = [None if missing else value for value, missing in pairs]
            columns.append(pl.Series(str(index), map(cell_text, values), dtype=pl.String))
            if has_nested(set(map(type, values))):
                nested[index] = nested_column(values)
        yield pl.DataFrame(columns), nested


def _table_of_arrow(table: Any) -> Table:
    """Return the rows of a pyarrow table or record batch, as the values that Python has for them."""
    narrow = [field.name for field in table.schema if _NARROW.search(str(field.type))]

    def blocks() -> Iterator[Block]:
        for start in range(0, table.num_rows, BLOCK_ROWS):
            part = table.slice(start, BLOCK_ROWS)
            columns, nested = [], {}
            for index, column in enumerate(part.columns):
                values = column.to_pylist()
                if type(column.type).__name__ == "MapType":  # as polars reads one from Parquet
                    values = [None if pairs is None else dict(pairs) for pairs in values]
                columns.append(pl.Series(str(index), map(_arrow_text, values), dtype=pl.String))
                if type(column.type).__name__ in _NESTED_ARROW:
                    nested[index] = nested_column(values)
            yield pl.DataFrame(columns), nested

    return _gather([str(name) for name in table.schema.names], blocks(), narrow)


def _arrow_text(value: Any) -> str:
    if type(value).__name__ == "MonthDayNano":
        return interval_text(value.months, value.days, value.nanoseconds // 1_000_000)
    return cell_text(value)


def _has_narrow(dtype: pl.DataType) -> bool:
    """Whether a type is, or has in it, floating point numbers of 16 or 32 bits."""
    return _NARROW.search(str(dtype)) is not None


def _is_narrow_pandas(column: Any) -> bool:
    dtype = column.dtype
    if _NARROW.search(str(dtype)) or _NARROW.search(str(getattr(getattr(dtype, "categories", None), "dtype", ""))):
        return True
    return str(dtype) == "object" and has_narrow(column.tolist())


def column_to_text(column: pl.Series) -> pl.Series:
    """Return a typed column as text: `cell_text` of each value."""
    if isinstance(column.dtype, _EXTENSION):
        return column_to_text(column.ext.storage())
    dtype = column.dtype
    if dtype.is_nested() or dtype in (pl.Object, pl.Binary, pl.Duration):
        return pl.Series(column.name, map(cell_text, column.to_list()), dtype=pl.String)
    if dtype.is_float():
        whole = column.is_finite() & (column == column.round()) & (column.abs() < 2.0**63)
        digits = column.set(~whole, None).cast(pl.Int64).cast(pl.String)
        text = digits.fill_null(column.fill_nan(None).cast(pl.String))
    elif dtype.is_temporal():
        text = column.cast(pl.String).str.replace(r"\.0+(\D|$)", "$1")  # without fractions of a second
        text = text.str.replace(r"^(\d{4}-\d\d-\d\d) 00:00:00$", "$1")  # midnight is the day, as in a workbook
    else:
        text = column.cast(pl.String)
    return text.fill_null("")


def interval_text(months: int, days: int, millis: int) -> str:
    """Return an interval: `1 month 2 days 03:04:05`, without what is zero."""
    seconds, rest = divmod(millis, 1000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" + (f".{rest:03}" if rest else "")
    parts = [
        f"{count} {name}{'' if count == 1 else 's'}" for count, name in ((months, "month"), (days, "day")) if count
    ]
    return " ".join([*parts, clock] if millis or not parts else parts)
