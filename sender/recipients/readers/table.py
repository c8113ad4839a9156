"""Rows of text under distinct headers, kept in blocks, and the classes that build them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from sender.core.composed_text import compose_columns, compose_text, describe_composed
from sender.core.errors import RecipientsError
from sender.core.frame_buffer import SpillingFrames
from sender.core.packed_cells import PACKED_FROM, pack, unpack
from sender.core.safe_tables import is_guarded, restore_table, restore_text
from sender.core.safe_text import unescape_controls

BLOCK_ROWS = 200_000  # for sources that do not come in blocks
MOST_COLUMNS = 16_384  # as many as a spreadsheet has
_NUMBER = "number"  # the stored column of row numbers; columns of cells are named by their place
_PACKED = "cells"  # instead of the columns of cells where they are very many, as `packed_cells` has them
_NESTED = " nested"  # after the place of a column, in the name of the one that has the values in its cells
_SHOWN = " shown"  # after the place of a column, in the name of the one that has what its cells show
BROKEN_SCHEMA = {"row_number": pl.UInt32, "header": pl.String, "error": pl.String}


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The rows of a file: `height` of them under `headers`, which are distinct; `blank_rows` were left out.

    Row numbers are those a spreadsheet shows (the header is row 1) for CSV and workbooks, line numbers for JSON lines,
    and count from 1 for everything else. `notes` are sentences for a person. `other_sheets` are a workbook's sheets
    that were not read, because none was chosen.

    A cell of a workbook is what it shows, and what it stores after `with_stored`. `hidden_rows` are the numbers of the
    rows that a workbook hides (UInt32), `hidden_headers` the headers of its hidden columns. `broken` (BROKEN_SCHEMA)
    has its errors, and with a null `error` its formulas that have never been calculated.

    `nested` are the headers of columns with mappings or lists in cells, which are text here.

    `narrow_headers` are columns of 16 or 32-bit floating point numbers, which hold no phone number. `unreadable` has
    the type of each column that was left out because it has no text.
    """

    headers: tuple[str, ...]
    blank_rows: int
    notes: tuple[str, ...]
    _rows: SpillingFrames
    _places: tuple[str, ...]
    other_sheets: tuple[str, ...] = ()
    hidden_rows: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.UInt32))
    hidden_headers: frozenset[str] = frozenset()
    broken: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=BROKEN_SCHEMA))
    nested: frozenset[str] = frozenset()
    narrow_headers: frozenset[str] = frozenset()
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def height(self) -> int:
        return self._rows.rows

    @property
    def places(self) -> dict[int, str]:
        """The header of each column, by its place in the file, from 0."""
        return {
            int(place.removesuffix(_SHOWN)): header for header, place in zip(self.headers, self._places, strict=True)
        }

    @property
    def cells(self) -> pl.DataFrame:
        """The cells of all rows: String columns without nulls. A large table is better read block by block."""
        parts = [self._name_columns(frame) for frame in self._rows.frames()]
        return pl.concat(parts) if parts else pl.DataFrame(schema=dict.fromkeys(self.headers, pl.String))

    @property
    def row_numbers(self) -> pl.Series:
        """UInt32, one a row."""
        parts = [frame[_NUMBER].alias("row_number") for frame in self._rows.frames([_NUMBER])]
        return pl.concat(parts) if parts else pl.Series("row_number", [], dtype=pl.UInt32)

    def blocks(self) -> Iterator[Table]:
        """Yield the same rows in order, each block as a table in memory."""
        for frame in self._rows.frames():
            yield replace(self, blank_rows=0, notes=(), _rows=SpillingFrames.in_memory(frame))

    def with_stored(self, headers: Collection[str]) -> Table:
        """Return the same rows with what the cells under `headers` store: whole numbers in digits, dates by ISO 8601.

        Digits that are a code, such as a postcode or a phone number, are as they are shown all the same.
        """
        chosen = frozenset(headers)
        places = [
            place.removesuffix(_SHOWN) if header in chosen else place
            for header, place in zip(self.headers, self._places, strict=True)
        ]
        return replace(self, _places=tuple(places))

    def columns(self, headers: Sequence[str], nested: Sequence[str] = ()) -> Iterator[pl.DataFrame]:
        """Yield for each block `row_number` (UInt32) and the cells under `headers`, named `0`, `1`, ... in order.

        After them come the values in the cells under the headers `nested`, as in `nested_cells`.
        """
        places = [self._places[self.headers.index(header)] for header in headers]
        places += [self._nested_place(header) for header in nested]
        for frame in self._rows.frames([_NUMBER, *places, *([_PACKED] if headers else [])]):
            yield _fill_columns(frame, places).select(
                pl.col(_NUMBER).alias("row_number"),
                *[pl.col(place).alias(str(index)) for index, place in enumerate(places)],
            )

    @property
    def nested_cells(self) -> pl.DataFrame:
        """The mappings and lists in cells as JSON, under the headers of `nested`: String, null for a text."""
        headers = [header for header in self.headers if header in self.nested] if self.nested else []
        if not headers:
            return pl.DataFrame()
        parts = [frame.select(str(place) for place in range(len(headers))) for frame in self.columns((), headers)]
        cells = pl.concat(parts) if parts else pl.DataFrame(schema=dict.fromkeys(headers, pl.String))
        return _renamed(cells, headers)

    def _nested_place(self, header: str) -> str:
        return self._places[self.headers.index(header)].removesuffix(_SHOWN) + _NESTED

    def select(self, headers: Collection[str]) -> Table:
        """Return the same rows with only the columns under `headers`, in memory."""
        kept = [(header, place) for header, place in zip(self.headers, self._places, strict=True) if header in headers]
        nested = [self._nested_place(header) for header, _ in kept if header in self.nested]
        places = [place for _, place in kept]
        rows = SpillingFrames()
        for frame in self._rows.frames([_NUMBER, *places, *nested, *([_PACKED] if kept else [])]):
            rows.append(_fill_columns(frame, [*places, *nested]).select(*places, *nested, _NUMBER))
        return replace(
            self,
            headers=tuple(header for header, _ in kept),
            nested=self.nested & set(headers),
            _rows=rows,
            _places=tuple(places),
        )

    def packed(self) -> pl.Series:
        """Return the cells of each row as a list (List(String)), which takes less time where they are very many."""
        in_order = tuple(map(str, range(len(self.headers)))) == self._places
        parts = []
        for frame in self._rows.frames():
            as_stored = in_order and _PACKED in frame.columns
            parts.append(frame[_PACKED] if as_stored else pack(self._name_columns(frame)))
        return pl.concat(parts) if parts else pl.Series(dtype=pl.List(pl.String))

    def take(self, rows: pl.Series) -> Table:
        """Return the rows at these places, from 0: a table in memory."""
        return replace(self, _rows=self._rows.take(rows))

    def row(self, row_number: int) -> Table:
        """Return the row with that number: a table of one row, or of none."""
        for frame in self._rows.frames():
            rows = frame.filter(pl.col(_NUMBER) == row_number)
            if rows.height:
                return replace(self, _rows=SpillingFrames.in_memory(rows[:1]))
        return replace(self, _rows=SpillingFrames())

    def _name_columns(self, frame: pl.DataFrame) -> pl.DataFrame:
        if _PACKED in frame.columns:
            lists = frame[_PACKED]
            width = 0 if lists.is_empty() else int(lists.list.len()[0])
            frame = unpack(lists, [str(place) for place in range(width)]).hstack(frame.drop(_PACKED))
        if tuple(frame.columns) != (*self._places, _NUMBER):
            frame = _fill_columns(frame, self._places).select(*self._places, _NUMBER)
        cells = frame.clone()
        cells.drop_in_place(_NUMBER)
        return _renamed(cells, self.headers)


def _renamed(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return `frame` with other names of its columns. An expression for each column would take far longer."""
    renamed = frame.clone()
    renamed.columns = list(names)
    return renamed


def _fill_columns(frame: pl.DataFrame, places: Sequence[str]) -> pl.DataFrame:
    """Return `frame` with all of `places`, blank where the block was read before that header was first seen.

    Those of very many columns come out of their lists.
    """
    present = set(frame.columns)
    absent = [place for place in places if place not in present]
    if not absent:
        return frame
    lists = pl.col(_PACKED).list if _PACKED in present else None
    return frame.with_columns(
        lists.get(int(place), null_on_oob=True).fill_null("").alias(place)
        if lists is not None and place.isdecimal()
        else pl.lit(None if place.endswith(_NESTED) else "", pl.String).alias(place)
        for place in absent
    )


class Rows:
    """Builds a Table of blocks of cells, with composed letters in cells and headers."""

    def __init__(self) -> None:
        self._rows = SpillingFrames()
        self._composed = 0  # cells
        self._nested: set[int] = set()  # places of columns
        self.blank_rows = 0

    def add(
        self,
        cells: pl.DataFrame | pl.Series,
        numbers: pl.Series,
        shown: Mapping[int, pl.Series] | None = None,
        nested: Mapping[int, pl.Series] | None = None,
        *,
        ascii_only: bool = False,
    ) -> None:
        """Add the rows of `cells`, without the blank ones. Its columns are known by their places from here on.

        `shown` has what the cells of some columns show, by place; the same ones in each call. `nested` has the mappings
        and lists in the cells of some columns, as JSON. `ascii_only`: there is no other character in `cells`.

        Very many columns may come as lists (List(String)), of rows that are not blank and all ASCII.
        """
        if isinstance(cells, pl.Series):
            filled, frame = None, cells.alias(_PACKED).to_frame()
        else:
            if not ascii_only:
                cells, composed = compose_columns(cells)
                self._composed += composed
            filled = _find_filled(cells)
            frame = _renamed(cells, [str(place) for place in range(cells.width)])
            if cells.width >= PACKED_FROM:
                frame = pack(cells).alias(_PACKED).to_frame()
        extra = [column.alias(f"{place}{_SHOWN}") for place, column in (shown or {}).items()]
        for place, column in (nested or {}).items():
            self._nested.add(place)
            extra.append(column.alias(f"{place}{_NESTED}"))
        frame = frame.hstack([numbers.cast(pl.UInt32).alias(_NUMBER), *extra])
        if filled is not None:
            frame = frame.filter(filled)
            self.blank_rows += len(filled) - frame.height
        if frame.height:
            self._rows.append(frame)

    def table(
        self,
        headers: Sequence[str],
        places: Sequence[int] | None = None,
        notes: Sequence[str] = (),
        shown: Collection[int] = (),
    ) -> Table:
        """Return the rows under `headers`, which name the columns at `places` (by default, all in order)."""
        at = range(len(headers)) if places is None else places
        columns = tuple(f"{place}{_SHOWN}" if place in shown else str(place) for place in at)
        composed = list(map(compose_text, headers))
        changed = sum(new != old for new, old in zip(composed, headers, strict=True))
        distinct = tuple(_make_distinct(composed)) if changed else tuple(headers)
        every_note = (*notes, *describe_composed(self._composed, changed))
        nested = frozenset(header for header, place in zip(distinct, at, strict=True) if place in self._nested)
        return Table(distinct, self.blank_rows, every_note, self._rows, columns, nested=nested)


class HeadedRows:
    """Builds a Table of grids of text, whose first row that is not blank is the header.

    `first_row` is the number of the first row; rows before `header_row` are left out. All grids have the same width.
    What a table of our own results has guarded is taken back; `quotes` is as `guard_table` had it. `shown` has, by
    column, what cells show instead of what they store: `row` (their numbers) and `text`.
    """

    def __init__(
        self,
        first_row: int,
        *,
        quotes: bool = True,
        header_row: int | None = None,
        shown: Mapping[int, pl.DataFrame] | None = None,
    ) -> None:
        self._shown = shown or {}
        self._next = first_row
        self._header_row = header_row
        self._above = 0
        self._quotes = quotes
        self._guarded = False
        self._header: tuple[str, ...] | None = None
        self._with_content: set[int] = set()  # columns without a name
        self._rows = Rows()

    def add(self, grid: pl.DataFrame, *, ascii_only: bool = False) -> None:
        """Add the rows of `grid` (String columns; null is blank), where `ascii_only` says that they are all ASCII."""
        grid = _fill_nulls(grid)
        if self._header_row is not None and self._next < self._header_row:
            above = min(grid.height, self._header_row - self._next)
            self._next += above
            grid = grid[above:]
        start, self._next = self._next, self._next + grid.height
        if self._header is None:
            filled = _find_filled(grid)
            index = 0 if filled is None else filled.arg_max()
            if not grid.height or index is None or (filled is not None and not filled[index]):
                self._above += grid.height
                return
            self._header = self._lay_over(grid[index : index + 1], start + index).row(0)
            grid, start = grid[index + 1 :], start + index + 1
            self._guarded = is_guarded(self._header)
            if self._guarded:
                restore = restore_text if self._quotes else unescape_controls
                self._header = tuple(restore(header) for header in self._header)
        if self._guarded:
            grid = restore_table(grid, quotes=self._quotes)
            ascii_only = False
        for index, header in enumerate(self._header):
            if not header.strip() and index not in self._with_content and _has_content(grid[:, index]):
                self._with_content.add(index)
        numbers = pl.int_range(start, start + grid.height, dtype=pl.UInt32, eager=True)
        shown = self._lay_over(grid, start) if self._shown else grid
        self._rows.add(grid, numbers, {place: shown[:, place] for place in self._shown}, ascii_only=ascii_only)

    def add_packed(self, rows: pl.Series, *, ascii_only: bool = False) -> None:
        """Add `rows` of very many columns (List(String)), after the header, as `add` does."""
        plain = ascii_only and not self._guarded and bool((rows.list.get(0).str.strip_chars() != "").all())
        if self._header is None or not plain or not all(header.strip() for header in self._header):
            self.add(unpack(rows, [str(place) for place in range(int(rows.list.len()[0]))]), ascii_only=ascii_only)
            return
        numbers = pl.int_range(self._next, self._next + len(rows), dtype=pl.UInt32, eager=True)
        self._next += len(rows)
        self._rows.add(rows, numbers, ascii_only=True)

    def _lay_over(self, grid: pl.DataFrame, first_row: int) -> pl.DataFrame:
        """Return the cells of `grid` as they are shown."""
        for place, cells in self._shown.items():
            here = cells.filter(pl.col("row").is_between(first_row, first_row + grid.height - 1))
            column = grid[:, place].scatter((here["row"].cast(pl.Int64) - first_row), here["text"])
            grid = grid.with_columns(column)
        return grid

    def table(self) -> Table:
        """Return the rows read. A column without a header gets one if it has content, and is dropped if it has none."""
        if self._header is None:
            return Table((), self._above, (), SpillingFrames(), ())
        places = [i for i, header in enumerate(self._header) if header.strip() or i in self._with_content]
        written = [self._header[i] if self._header[i].strip() else f"column {i + 1}" for i in places]
        headers = _make_distinct(written)
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
        return self._rows.table(headers, places, notes, shown=self._shown)


def _fill_nulls(grid: pl.DataFrame) -> pl.DataFrame:
    nulls = grid.null_count()  # a look at each column would take longer where there are thousands
    with_nulls = [name for name, count in zip(nulls.columns, nulls.row(0), strict=True) if count]
    return grid.with_columns(pl.col(with_nulls).fill_null("")) if with_nulls else grid


def _find_filled(cells: pl.DataFrame) -> pl.Series | None:
    """Return which rows are not blank; None where all rows have content."""
    known: pl.Series | None = None
    for column in cells.iter_columns():
        filled = column.str.strip_chars() != ""
        known = filled if known is None else known | filled
        if known.all():
            return None
    return pl.repeat(value=False, n=cells.height, eager=True) if known is None else known


def _has_content(column: pl.Series) -> bool:
    return bool((column.str.strip_chars() != "").any())


def _make_distinct(headers: Sequence[str]) -> list[str]:
    """Return the headers, a repeated one with a number: `Phone`, `Phone (2)`."""
    taken: set[str] = set(headers)
    seen: set[str] = set()
    counts: dict[str, int] = {}  # where to go on, so that thousands of one header do not take quadratic time
    result = []
    for header in headers:
        name, count = header, counts.get(header, 1)
        while name in seen or (count > 1 and name in taken):
            count += 1
            name = f"{header} ({count})"
        counts[header] = count
        seen.add(name)
        result.append(name)
    return result


def refuse_wide(columns: int, where: str | None) -> None:
    """Raise RecipientsError for more columns than any list has."""
    if columns > MOST_COLUMNS:
        raise RecipientsError(
            f"has {columns:,} columns, more than a spreadsheet can have",
            where=where,
            fix="leave out the columns that you do not need",
        )
