"""Python values and typed columns as cells of text, and the tables made of them."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from sender.core.composed_text import compose_text
from sender.core.errors import RecipientsError
from sender.recipients.readers.table import BLOCK_ROWS, Rows, Table, refuse_wide


def table_of_items(items: Iterable[Mapping[str, Any]], where: str | None = None) -> Table:
    """Return the rows in mappings of header to value. A header that a row does not have is blank there."""
    builder = ItemRows(where)
    rows = list(items)
    for start in range(0, len(rows), BLOCK_ROWS):
        part = rows[start : start + BLOCK_ROWS]
        builder.add(part, range(start + 1, start + 1 + len(part)))
    return builder.table()


def table_of_frame(frame: Any) -> Table:
    """Return the rows of a polars frame (eager or lazy) or a pandas one, as text; null, None, NaN and NaT are blank."""
    if isinstance(frame, pl.LazyFrame):
        headers = frame.collect_schema().names()
        parts: Iterator[pl.DataFrame] = (
            _frame_to_text(part) for part in frame.collect_batches(chunk_size=BLOCK_ROWS, maintain_order=True)
        )
    elif isinstance(frame, pl.DataFrame):
        headers = frame.columns
        parts = (_frame_to_text(part) for part in frame.iter_slices(BLOCK_ROWS))
    else:
        headers = [str(name) for name in frame.columns]
        parts = _pandas_blocks(frame)
    rows = Rows()
    start = 1
    for cells in parts:
        rows.add(cells, pl.int_range(start, start + cells.height, dtype=pl.UInt32, eager=True))
        start += cells.height
    return rows.table(headers)


# Items whose keys differ make a blank table: refused beyond this many cells that are also this many for each value.
_MOST_BLANK = 1_000_000
_MOST_SPARSE = 100


class ItemRows:
    """Builds a Table of mappings; the headers have the order in which they are first seen."""

    def __init__(self, where: str | None = None) -> None:
        self.rows = Rows()
        self._where = where
        self._headers: dict[str, str] = {}  # composed, and as it was first written

    def add(self, items: Sequence[Mapping[str, Any]], numbers: Sequence[int]) -> None:
        """Add a row for each item. Raises RecipientsError where their keys differ so much that most cells are blank."""
        written = dict.fromkeys(str(key) for item in items for key in item)
        for key in written:
            self._headers.setdefault(compose_text(key), key)
        if any(key != compose_text(key) for key in written):
            items = [self._with_composed_keys(item) for item in items]
        refuse_wide(len(self._headers), self._where)
        size, values = len(self._headers) * len(items), sum(map(len, items))
        if size > _MOST_BLANK and size > _MOST_SPARSE * values:
            raise RecipientsError(
                f"has {len(self._headers):,} keys, and {values / len(items):.0f} of them in a row",
                where=self._where,
                fix="use the same keys in every row",
            )
        cells = pl.DataFrame(
            [
                pl.Series(str(at), [cell_text(item.get(header)) for item in items], dtype=pl.String)
                for at, header in enumerate(self._headers)
            ]
        )
        if cells.width:
            self.rows.add(cells, pl.Series(numbers, dtype=pl.UInt32))
        else:
            self.rows.blank_rows += len(items)

    def _with_composed_keys(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        composed = {compose_text(str(key)): value for key, value in item.items()}
        if len(composed) < len(item):
            raise RecipientsError("has a key twice in one row", where=self._where, fix="keep one of them")
        return composed

    def table(self) -> Table:
        return self.rows.table(tuple(self._headers.values()))


def cell_text(value: Any) -> str:
    """Return a Python value as a cell: whole numbers as digits, ISO dates, None and NaN blank, a list with spaces."""
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
            return " ".join(map(cell_text, value))  # several media URLs, which have no spaces
        case bytes():
            return value.decode(errors="replace")  # what is not text becomes damaged characters
        case Mapping():
            return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _pandas_blocks(frame: Any) -> Iterator[pl.DataFrame]:
    """Yield a pandas frame's values, converted one by one: polars would need pyarrow for it."""
    for start in range(0, len(frame), BLOCK_ROWS):
        part = frame.iloc[start : start + BLOCK_ROWS]
        columns = []
        for index in range(len(part.columns)):
            column = part.iloc[:, index]
            values = zip(column.tolist(), column.isna().tolist(), strict=True)
            texts = ["" if missing else cell_text(value) for value, missing in values]
            columns.append(pl.Series(str(index), texts, dtype=pl.String))
        yield pl.DataFrame(columns)


def _frame_to_text(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.DataFrame([_column_to_text(column) for column in frame.iter_columns()])


def _column_to_text(column: pl.Series) -> pl.Series:
    """`cell_text` of a typed column."""
    dtype = column.dtype
    if dtype.is_nested() or dtype in (pl.Object, pl.Binary):
        return pl.Series(column.name, map(cell_text, column.to_list()), dtype=pl.String)
    if dtype.is_float():
        whole = column.is_finite() & (column == column.round()) & (column.abs() < 2.0**63)
        digits = column.set(~whole, None).cast(pl.Int64).cast(pl.String)
        text = digits.fill_null(column.fill_nan(None).cast(pl.String))
    elif dtype.is_temporal():
        text = column.cast(pl.String).str.replace(r"\.0+(\D|$)", "$1")  # without fractions of a second
    else:
        text = column.cast(pl.String)
    return text.fill_null("")
