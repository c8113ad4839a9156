"""Very many columns of text as one column of lists, a list for each row.

Each column of a frame costs time and memory, even a short one. From PACKED_FROM columns on, that is more than the cells
themselves cost.
"""

from __future__ import annotations

from collections.abc import Sequence

from sender.core.lazy_modules import pl

PACKED_FROM = 1_000  # columns


def pack(cells: pl.DataFrame) -> pl.Series:
    """Return the rows of `cells` (String columns, at least one) as lists of their cells: List(String)."""
    height, width = cells.shape
    by_column = pl.concat([column.rename("") for column in cells.iter_columns()], rechunk=True)
    place = pl.int_range(height * width, dtype=pl.UInt32)
    order = pl.select(place % width * height + place // width).to_series()
    return by_column.gather(order).reshape((height, width)).arr.to_list()


def unpack(rows: pl.Series, headers: Sequence[str]) -> pl.DataFrame:
    """Return lists (List(String), each with a cell for each of `headers`) as a frame with those columns."""
    height, width = len(rows), len(headers)
    place = pl.int_range(height * width, dtype=pl.UInt32)
    order = pl.select(place % height * width + place // height if height else place).to_series()
    by_column = rows.explode().gather(order)
    return pl.DataFrame([by_column.slice(at * height, height).alias(name) for at, name in enumerate(headers)])
