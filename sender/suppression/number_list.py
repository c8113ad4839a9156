"""Files of numbers that get nothing, such as a campaign's suppression files: read so that no number is missed.

Every sheet is read, and every column that has numbers, and each number that a cell may mean (`sender.phone.lenient`).
What cannot be read is never passed over: it is listed, and the caller stops. Knows no campaign and no state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sender import phone
from sender.core.errors import RecipientsError, setting
from sender.core.lazy_modules import phonenumbers, pl
from sender.phone.lenient import PLACEHOLDERS, LenientReader
from sender.recipients.columns import open_source
from sender.recipients.input_file import InputFile
from sender.recipients.readers.read import read_tables
from sender.suppression.number_columns import ChosenColumn, choose_columns, regions_meant

_AT_ONCE = 1_000_000  # cells; `phone.normalize` builds tables that pay only for many
_EXAMPLES = 3
_UNREAD = {"column": pl.String, "row": pl.UInt32, "cell": pl.String, "detail": pl.String}


@dataclass(frozen=True, slots=True)
class ListRules:
    """How the numbers of a file are read.

    `regions` are the countries of numbers without a country code (two letters); all of them count. `passthrough` and
    `short_codes` are those of `sender.phone.normalize`. `columns` are the headers to read (empty: every column that has
    numbers), and `unreadable` is the number of rows that may hold a cell that cannot be read.
    """

    regions: tuple[str, ...] = ()
    passthrough: frozenset[str] = frozenset()
    short_codes: bool = False
    columns: tuple[str, ...] = ()
    unreadable: int = 0

    @property
    def calling_codes(self) -> frozenset[int]:
        """The country codes of `regions`."""
        return frozenset(phonenumbers.country_code_for_region(region) for region in self.regions)


@dataclass(frozen=True, slots=True, eq=False)
class NumberColumn:
    """What a column of a file says. `name` is its header, with the sheet's name where there are several.

    `numbers` are those that its cells may mean: E.164 numbers and short codes (String, repeated ones too). `keys` are
    the digits of what was written without a country code (UInt64): they match the number of somebody in another country
    whose digits, with or without the country code, they are. `named` says that the header is one of a phone number.
    """

    name: str
    named: bool
    numbers: pl.Series
    keys: pl.Series


@dataclass(frozen=True, slots=True, eq=False)
class NumberList:
    """The numbers in a file, by column. `blank_rows` have no number cell that is filled.

    `unreadable` are the cells that could not be read, as `sheet`, `column`, `row` (UInt32), `cell` and `detail` (a
    sentence); `sheet` is null in a file without sheets.
    """

    file: InputFile
    columns: tuple[NumberColumn, ...]
    rows: int
    blank_rows: int
    unreadable: pl.DataFrame
    rules: ListRules = field(default_factory=ListRules)

    @property
    def numbers(self) -> pl.Series:
        """Every number in it, once."""
        parts = [column.numbers for column in self.columns]
        return pl.concat(parts).unique(maintain_order=True) if parts else pl.Series("number", [], dtype=pl.String)

    @property
    def size(self) -> int:
        """How many cells hold numbers; a file with fewer than before may have lost some."""
        return sum(column.numbers.len() for column in self.columns)

    @property
    def unreadable_rows(self) -> int:
        """How many rows have a cell that cannot be read."""
        return self.unreadable.select("sheet", "row").n_unique()

    def list_unreadable(self, most: int) -> list[str]:
        """Return `most` of the cells that cannot be read: ``row 12, `Phone`: ...``, the column as `columns` name it."""
        names = {column.name for column in self.columns}
        cells = self.unreadable.head(most).select("sheet", "column", "row", "detail")
        listed = []
        for sheet, column, row, detail in cells.iter_rows():
            full = f"{sheet}: {column}"
            listed.append(f"row {row:,}, `{full if full in names else column}`: {detail}")
        return listed

    def describe_unreadable(self, most: int = _EXAMPLES) -> str:
        """Return the cells that cannot be read, `most` of them: ``row 12, `Phone`: ...; and 4 more``."""
        shown = self.list_unreadable(most)
        more = self.unreadable.height - len(shown)
        return "; ".join(shown) + (f"; and {more:,} more" if more else "")

    def check(self, where: str) -> None:
        """Raise RecipientsError where more rows than allowed hold a cell that cannot be read, or no number is there."""
        rows = self.unreadable_rows
        if rows > self.rules.unreadable:
            cells = "cells that are not numbers" if rows > 1 else "a cell that is not a number"
            raise RecipientsError(
                f"{rows:,} {'rows have' if rows > 1 else 'row has'} {cells}, and somebody who must not be texted may"
                f" be missed: {self.describe_unreadable()}",
                where=where,
                fix=f"correct them, or allow them with `unreadable: {rows}` in the file's entry under `suppress`"
                f" (--unreadable {rows}); `columns:` there names the columns that have phone numbers",
            )
        if self.rows and not self.size:
            raise no_numbers(where)


def no_numbers(where: str) -> RecipientsError:
    """Return the error for a file with rows and without a single number."""
    region = setting("recipients.default_region")
    return RecipientsError(
        "has rows, but not one phone number",
        where=where,
        fix=f"check that it is the right file; numbers without a country code need {region}",
    )


def read_number_list(path: Path, rules: ListRules, *, name: str | None = None) -> NumberList:
    """Return the numbers in a file of any recipients format, or a plain list with a number a line and no header.

    An empty file is an empty list. `name` is the file's name in a plan. Raises RecipientsError where the file cannot be
    read, or has rows and no column that could have numbers; cells that cannot be read are in the result.
    """
    with open_source(path) as source:
        tables = read_tables(source, where=str(path))
        file = InputFile("suppress", name or str(path), *source.finish())
    reader = _ColumnReader(rules)
    read = [(column, reader.read(column)) for column in choose_columns(tables, rules, where=str(path))]
    several = len(tables) > 1
    columns = tuple(
        NumberColumn(
            f"{column.sheet}: {column.title}" if several else column.title, column.named, cells.numbers, cells.keys
        )
        for column, cells in read
    )
    unreadable = [cells.unread.with_columns(sheet=pl.lit(column.sheet, pl.String)) for column, cells in read]
    blank_rows = 0
    for sheet, table in tables.items():
        filled = [cells.rows for column, cells in read if column.sheet == sheet]
        if filled:
            blank_rows += table.height - int(table.row_numbers.is_in(pl.concat(filled).implode()).sum())
    return NumberList(
        file=file,
        columns=columns,
        rows=sum(table.height for table in tables.values())
        + len({column.sheet for column, _ in read if column.first is not None}),
        blank_rows=blank_rows,
        unreadable=pl.concat(unreadable) if unreadable else pl.DataFrame(schema={**_UNREAD, "sheet": pl.String}),
        rules=rules,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """What the cells of a column say: `numbers`, `keys`, the `unread` ones (_UNREAD), and the filled `rows`."""

    numbers: pl.Series
    keys: pl.Series
    unread: pl.DataFrame
    rows: pl.Series


class _ColumnReader:
    """Reads the columns of one file."""

    def __init__(self, rules: ListRules) -> None:
        self._rules = rules
        self._lenient = LenientReader(rules.passthrough, short_codes=rules.short_codes)

    def read(self, column: ChosenColumn) -> _Cells:
        """Return what the column's cells say."""
        numbers: list[pl.Series] = []
        keys: list[pl.Series] = []
        unread: list[pl.DataFrame] = []
        rows: list[pl.Series] = []
        text = pl.col("cell").str.strip_chars().str.to_lowercase()
        for cells in _gather(column.cells()):
            filled = cells.filter((text != "") & ~text.is_in(list(PLACEHOLDERS)))
            read = self._read_filled(filled)
            rows.append(filled["row"])
            numbers.append(read[0])
            keys.append(read[1])
            unread.append(read[2].with_columns(column=pl.lit(column.title)))
        return _Cells(pl.concat(numbers), pl.concat(keys), pl.concat(unread).select(*_UNREAD), pl.concat(rows))

    def _read_filled(self, cells: pl.DataFrame) -> tuple[pl.Series, pl.Series, pl.DataFrame]:
        """Return the numbers, the keys and the unread cells of filled cells (`row`, `cell`, countries).

        Most are read by columns, the doubtful ones alone.
        """
        texts = cells["cell"]
        default, *others = self._rules.regions or (None,)
        first = self._normalize(texts, default)
        bare = ~texts.str.contains("+", literal=True)
        found = [first["to"]]
        found += [self._normalize(texts.filter(bare), region)["to"] for region in others]
        read = first["to"].is_not_null()
        countries_of = [_regions_by_text(cells[name]) for name in cells.columns[2:]]
        for name, regions in zip(cells.columns[2:], countries_of, strict=True):
            single = {text: meant[0] for text, meant in regions.items() if len(meant) == 1}
            own = cells[name].replace_strict(single, default=None, return_dtype=pl.String)
            rows = bare & own.is_not_null()
            to = self._normalize(texts.filter(rows), None, own.filter(rows))["to"]
            found.append(to)
            read = read.scatter(rows.arg_true().filter(to.is_not_null()), values=True)
        doubtful = ~read | texts.str.contains(r"[/\\]|[\d--0-9]")  # another ending, digits of another script
        numbers, alone_keys, unread = self._read_alone(cells, first["detail"], doubtful, countries_of)
        keys = _digit_keys(texts.filter(bare & ~doubtful))
        return pl.concat([*found, numbers]).drop_nulls(), pl.concat([keys, alone_keys]), unread

    def _read_alone(
        self,
        cells: pl.DataFrame,
        details: pl.Series,
        doubtful: pl.Series,
        countries_of: Sequence[dict[str, tuple[str, ...]]],
    ) -> tuple[pl.Series, pl.Series, pl.DataFrame]:
        """Read doubtful cells one by one, each distinct one once."""
        numbers: set[str] = set()
        keys: set[int] = set()
        unread: list[tuple[int, str, str]] = []
        known: dict[tuple[str, ...], bool] = {}
        rows = cells.filter(doubtful)
        for (row, cell, *written), detail in zip(rows.iter_rows(), details.filter(doubtful), strict=True):
            key = (cell, *written)
            if key not in known:
                own = (region for text, by in zip(written, countries_of, strict=True) for region in by.get(text, ()))
                meanings = self._lenient.read(cell, (*self._rules.regions, *own))
                known[key] = meanings.incomplete
                numbers |= meanings.numbers
                keys |= meanings.keys
            if known[key]:
                unread.append((row, cell, detail or f"`{cell}` holds a second number that cannot be read"))
        return (
            pl.Series("to", sorted(numbers), dtype=pl.String),
            pl.Series("key", sorted(keys), dtype=pl.UInt64),
            pl.DataFrame(unread, schema={name: _UNREAD[name] for name in ("row", "cell", "detail")}, orient="row"),
        )

    def _normalize(self, cells: pl.Series, region: str | None, regions: pl.Series | None = None) -> pl.DataFrame:
        return phone.normalize(
            cells,
            default_region=region,
            regions=regions,
            passthrough=self._rules.passthrough,
            short_codes=self._rules.short_codes,
        )


def _gather(blocks: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield the cells in large parts; at least one."""
    waiting: list[pl.DataFrame] = []
    for block in blocks:
        waiting.append(block)
        if sum(cells.height for cells in waiting) >= _AT_ONCE:
            yield pl.concat(waiting)
            waiting = []
    if waiting:
        yield pl.concat(waiting)


def _regions_by_text(column: pl.Series) -> dict[str, tuple[str, ...]]:
    """Return the regions that each text of a country column may mean, where it means any."""
    return {text: regions for text in column.unique() if (regions := regions_meant(text))}


def _digit_keys(cells: pl.Series) -> pl.Series:
    """Return the digits of cells without a `+`, as UInt64; those of `2025550147.0` without its fraction."""
    whole = cells.str.replace(r"(\d{5})[.,]0+\D*$", "$1")
    return whole.str.replace_all(r"\D", "").cast(pl.UInt64, strict=False).drop_nulls().alias("key")
