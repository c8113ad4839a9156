"""Rows of text under distinct headers, kept a block at a time, and what builds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from sender.core.frame_buffer import SpillingFrames

BLOCK_ROWS = 200_000  # of what does not come in blocks by itself
_NUMBER = "number"  # the stored column of row numbers; those of cells are named by their place


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows read: `height` of them under `headers`, which are distinct; `blank_rows` were left out.

    Row numbers are those a spreadsheet shows (the header is row 1) for CSV and workbooks, line numbers for
    JSON lines, and count from 1 for everything else. `notes` are sentences about what a person should know.
    `other_sheets` of a workbook were not read, and not asked for.
    """

    headers: tuple[str, ...]
    blank_rows: int
    notes: tuple[str, ...]
    _rows: SpillingFrames
    _places: tuple[str, ...]
    other_sheets: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        return self._rows.rows

    @property
    def cells(self) -> pl.DataFrame:
        """The cells of all rows: String columns without nulls. Of a large table better block by block."""
        parts = [self._named(frame) for frame in self._rows.frames()]
        return pl.concat(parts) if parts else pl.DataFrame(schema=dict.fromkeys(self.headers, pl.String))

    @property
    def row_numbers(self) -> pl.Series:
        """UInt32, one a row."""
        parts = [frame[_NUMBER].alias("row_number") for frame in self._rows.frames([_NUMBER])]
        return pl.concat(parts) if parts else pl.Series("row_number", [], dtype=pl.UInt32)

    def blocks(self) -> Iterator[Table]:
        """The same rows in order, each block a table in memory."""
        for frame in self._rows.frames():
            yield Table(self.headers, 0, (), SpillingFrames(frame), self._places)

    def columns(self, headers: Sequence[str]) -> Iterator[pl.DataFrame]:
        """For each block `row_number` (UInt32) and the cells under `headers`, named `0`, `1`, ... in their order."""
        places = [self._places[self.headers.index(header)] for header in headers]
        for frame in self._rows.frames([_NUMBER, *places]):
            yield _whole(frame, places).select(
                pl.col(_NUMBER).alias("row_number"),
                *[pl.col(place).alias(str(index)) for index, place in enumerate(places)],
            )

    def row(self, row_number: int) -> pl.DataFrame:
        """The cells of the row of that number: a frame of one row, or of none."""
        for frame in self._rows.frames():
            found = frame.filter(pl.col(_NUMBER) == row_number)
            if found.height:
                return self._named(found[:1])
        return pl.DataFrame(schema=dict.fromkeys(self.headers, pl.String))

    def _named(self, frame: pl.DataFrame) -> pl.DataFrame:
        named = zip(self._places, self.headers, strict=True)
        return _whole(frame, self._places).select(pl.col(place).alias(header) for place, header in named)


def _whole(frame: pl.DataFrame, places: Sequence[str]) -> pl.DataFrame:
    """`frame` with all of `places`; blank where the block was read before that header was first seen."""
    absent = [place for place in places if place not in frame.columns]
    return frame.with_columns(pl.lit("").alias(place) for place in absent) if absent else frame


class Rows:
    """Builds a Table out of blocks of cells."""

    def __init__(self) -> None:
        self._rows = SpillingFrames()
        self.blank_rows = 0

    def add(self, cells: pl.DataFrame, numbers: pl.Series) -> None:
        """Adds the rows of `cells`, whose columns count as their places, without the blank ones."""
        frame = cells.rename(dict(zip(cells.columns, map(str, range(cells.width)), strict=True)))
        frame = frame.with_columns(numbers.cast(pl.UInt32).alias(_NUMBER))
        filled = _filled(frame.drop(_NUMBER))
        if filled is not None:
            frame = frame.filter(filled)
            self.blank_rows += len(filled) - frame.height
        if frame.height:
            self._rows.append(frame)

    def table(self, headers: Sequence[str], places: Sequence[int] | None = None, notes: Sequence[str] = ()) -> Table:
        """The rows under `headers`, which stand for the columns at `places` (as they are, by default)."""
        at = range(len(headers)) if places is None else places
        return Table(tuple(headers), self.blank_rows, tuple(notes), self._rows, tuple(map(str, at)))


class HeadedRows:
    """Builds a Table out of grids of text, whose first row that is not blank is the header.

    `first_row` is the number of the first row. All grids have the same width.
    """

    def __init__(self, first_row: int) -> None:
        self._next = first_row
        self._above = 0
        self._header: tuple[str, ...] | None = None
        self._with_content: set[int] = set()  # columns without a name
        self._rows = Rows()

    def add(self, grid: pl.DataFrame) -> None:
        """Adds the rows of `grid` (String columns; null is blank)."""
        grid = grid.with_columns(pl.all().fill_null(""))
        start, self._next = self._next, self._next + grid.height
        if self._header is None:
            filled = _filled(grid)
            index = 0 if filled is None else filled.arg_max()
            if not grid.height or index is None or (filled is not None and not filled[index]):
                self._above += grid.height
                return
            self._header = grid.row(index)
            grid, start = grid[index + 1 :], start + index + 1
        for index, header in enumerate(self._header):
            if not header.strip() and index not in self._with_content and _has_content(grid[:, index]):
                self._with_content.add(index)
        self._rows.add(grid, pl.int_range(start, start + grid.height, dtype=pl.UInt32, eager=True))

    def table(self) -> Table:
        """The rows read. Exports leave columns without name or content: one with content gets a name, others go."""
        if self._header is None:
            return Table((), self._above, (), SpillingFrames(), ())
        places = [i for i, header in enumerate(self._header) if header.strip() or i in self._with_content]
        written = [self._header[i] if self._header[i].strip() else f"column {i + 1}" for i in places]
        headers = _distinct(written)
        notes = [
            f"several columns are headed `{old}`; column {place + 1} is called `{new}` here"
            for old, new, place in zip(written, headers, places, strict=True)
            if old != new
        ]
        notes += [
            f"column {place + 1} has no header; it is called `{header}` here"
            for header, place in zip(headers, places, strict=True)
            if not self._header[place].strip()
        ]
        return self._rows.table(headers, places, notes)


def _filled(cells: pl.DataFrame) -> pl.Series | None:
    """Which rows hold more than blanks; None where all do."""
    known: pl.Series | None = None
    for column in cells.iter_columns():
        filled = column.str.strip_chars() != ""
        known = filled if known is None else known | filled
        if known.all():
            return None
    return pl.repeat(value=False, n=cells.height, eager=True) if known is None else known


def _has_content(column: pl.Series) -> bool:
    return bool((column.str.strip_chars() != "").any())


def _distinct(headers: Sequence[str]) -> list[str]:
    """The headers, a repeated one with a number: `Phone`, `Phone (2)`."""
    taken: set[str] = set(headers)
    seen: set[str] = set()
    result = []
    for header in headers:
        name, count = header, 1
        while name in seen or (count > 1 and name in taken):
            count += 1
            name = f"{header} ({count})"
        seen.add(name)
        result.append(name)
    return result
