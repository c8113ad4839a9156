"""Which columns of a list have phone numbers, and which their countries: by their headers, and by what is in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sender.core.errors import RecipientsError
from sender.core.lazy_modules import pl
from sender.phone import countries
from sender.phone.lenient import PLACEHOLDERS, LenientReader
from sender.recipients.columns import refuse_narrow
from sender.recipients.headers import header_key, is_number_like, list_names
from sender.recipients.readers.table import Table

if TYPE_CHECKING:
    from sender.suppression.number_list import ListRules

# As `header_key` returns them.
_PHONE_HEADERS = frozenset(
    {
        "to",
        "phone",
        "phonenumber",
        "mobile",
        "mobilenumber",
        "cell",
        "cellphone",
        "msisdn",
        "number",
        "tel",
        "telephone",
    }
)
# Headers that may as well be of a count, a table's cell or a name: such a column counts only for what is in it.
_VAGUE_HEADERS = frozenset({"to", "number", "cell"})
_LIKE_PHONE = re.compile(r"(phone|mobile|telephone|telefon|handy|msisdn)(number|no|nr)?\d*$")  # Home Phone, phone2
_SAMPLED = 200  # cells of a column in one block of rows
_MOST_SAMPLED = 1_000
_MOSTLY = 0.5
_UNSURE = (0.2, 0.8)  # shares of a sample that do not say what most of all cells are
_MOST_LETTERS = 24  # in a cell that is a number with a label, and not a sentence
_FEWEST_DIGITS = 7
_MOST_CODE_DIGITS = 3
_REPEATED = re.compile(r" \(\d+\)$")


@dataclass(frozen=True, slots=True, eq=False)
class ChosenColumn:
    """A column of numbers. `first` is its header, where that is a number itself; `named` that the header says so."""

    table: Table
    sheet: str | None
    header: str
    countries: tuple[str, ...]
    named: bool
    first: str | None

    @property
    def title(self) -> str:
        """The header, or the column's place where the header is a number."""
        return self.header if self.first is None else f"column {self.table.headers.index(self.header) + 1}"

    def cells(self) -> Iterator[pl.DataFrame]:
        """Yield the cells in blocks: `row` (UInt32), `cell`, and a column for each of `countries` (String)."""
        names = {str(place): f"country {place}" for place in range(1, 1 + len(self.countries))}
        schema = {"row": pl.UInt32(), "cell": pl.String(), **dict.fromkeys(names.values(), pl.String())}
        first = [] if self.first is None else [(1, self.first, *[""] * len(names))]
        yield pl.DataFrame(first, schema=schema, orient="row")
        for block in self.table.columns([self.header, *self.countries]):
            yield block.rename({"row_number": "row", "0": "cell", **names})


def choose_columns(tables: Mapping[str | None, Table], rules: ListRules, *, where: str) -> list[ChosenColumn]:
    """Return the columns of numbers in `tables`, which are a file's sheets, or the file under None.

    Those that the rules name; else those whose header is one of a phone number, and those whose filled cells mostly
    read as numbers. Raises RecipientsError where there are rows and no such column.
    """
    reader = LenientReader(rules.passthrough, short_codes=rules.short_codes)
    sheets = [_Sheet(sheet, table, rules, reader) for sheet, table in tables.items()]
    if rules.columns:
        chosen = [column for sheet in sheets for column in sheet.choose_named(rules.columns)]
        _check_named(chosen, tables, rules.columns, where)
    else:
        chosen = [column for sheet in sheets for column in sheet.choose()]
        chosen = chosen or [column for sheet in sheets for column in sheet.choose_likely()]
    for table in tables.values():
        refuse_narrow(table, [column.header for column in chosen if column.table is table], where)
    if not chosen and any(table.height for table in tables.values()):
        headers = [header for table in tables.values() for header in table.headers]
        raise RecipientsError(
            "there is no column for the phone number",
            where=where,
            fix=f"name it `phone`, or keep a single column; headers here: {list_names(headers)}",
        )
    return chosen


def _check_named(
    chosen: Sequence[ChosenColumn], tables: Mapping[str | None, Table], names: Sequence[str], where: str
) -> None:
    present = {header_key(column.header) for column in chosen}
    absent = [name for name in names if header_key(name) not in present]
    if absent and any(table.headers for table in tables.values()):
        headers = [header for table in tables.values() for header in table.headers]
        raise RecipientsError(
            f"has no column {list_names(absent)}",
            where=where,
            fix=f"headers here: {list_names(headers)}",
        )


class _Sheet:
    """The columns of one sheet."""

    def __init__(self, sheet: str | None, table: Table, rules: ListRules, reader: LenientReader) -> None:
        self._sheet = sheet
        self._table = table
        self._rules = rules
        self._reader = reader
        self._firsts = {header: self._first(header) for header in table.headers}
        keys = {header: header_key(header) for header in table.headers}
        self._countries = tuple(name for name, key in keys.items() if "country" in key and not _LIKE_PHONE.search(key))
        self._headers = [header for header in table.headers if header not in self._countries]

    def choose_named(self, names: Sequence[str]) -> list[ChosenColumn]:
        keys = {header_key(name) for name in names}
        return [self._column(header) for header in self._table.headers if header_key(header) in keys]

    def choose(self) -> list[ChosenColumn]:
        """The columns that have phone numbers by their header, or because they mostly read as numbers."""
        headers = self._headers
        chosen = [header for header in headers if self._is_phone(header) or self._firsts[header] is not None]
        if len(headers) > 1 or not chosen:
            chosen += [header for header in headers if header not in chosen and self._mostly_reads(header)]
        return [self._column(header) for header in headers if header in chosen]

    def choose_likely(self) -> list[ChosenColumn]:
        """The columns that may be meant where none is sure: what they hold is then read, or stops the caller."""
        headers = self._headers
        chosen = [header for header in headers if header_key(header) in _PHONE_HEADERS]
        if not chosen:
            chosen = [header for header in headers if self._mostly_looks_like_numbers(header)]
        if not chosen and len(headers) == 1:
            chosen = headers
        return [self._column(header) for header in chosen]

    def _column(self, header: str) -> ChosenColumn:
        named = header_key(header) in _PHONE_HEADERS
        return ChosenColumn(self._table, self._sheet, header, self._countries, named, self._firsts[header])

    def _first(self, header: str) -> str | None:
        """The header as a cell, where a list without headers begins with a number."""
        written = _REPEATED.sub("", header)
        is_long = len(self._table.headers) == 1 or sum(map(str.isdigit, written)) >= _FEWEST_DIGITS  # and no year
        is_number = is_number_like(written) and is_long
        return written if is_number or self._reader.read(written, self._rules.regions).numbers else None

    def _is_phone(self, header: str) -> bool:
        """Whether the header says that the column has phone numbers; for `Home Phone` something in it must agree."""
        key = header_key(header)
        if key in _PHONE_HEADERS:
            return key not in _VAGUE_HEADERS
        could_be = _could_be_number("0") | _lost_digits("0")
        return _LIKE_PHONE.search(key) is not None and any(
            sample.filter(could_be).height for sample in self._samples(header, None)
        )

    def _mostly_reads(self, header: str) -> bool:
        """Whether most filled cells are numbers, or were: judged by a sample where that is clear, else by all cells."""
        share = self._share_read(header, _SAMPLED)
        if _UNSURE[0] <= share <= _UNSURE[1]:
            share = self._share_read(header, None)
        return share > _MOSTLY

    def _share_read(self, header: str, most: int | None) -> float:
        cells = read = 0
        for sample in self._samples(header, most):
            looked_at = sample.filter(_could_be_number("0"))
            cells += sample.height
            read += sample.filter(_lost_digits("0")).height
            for cell, *written in looked_at.iter_rows():
                own = (region for text in written for region in regions_meant(text))
                read += bool(self._reader.read(cell, (*self._rules.regions, *own)).numbers)
            if most is not None and cells >= _MOST_SAMPLED:
                break
        return read / cells if cells else 0.0

    def _mostly_looks_like_numbers(self, header: str) -> bool:
        cells = alike = 0
        for sample in self._samples(header, _SAMPLED):
            cells += sample.height
            alike += sample.filter(_could_be_number("0")).height
        return cells > 0 and alike / cells > _MOSTLY

    def _samples(self, header: str, most: int | None) -> Iterator[pl.DataFrame]:
        """Yield filled cells (`0`) of each block, with their countries; at most about `most`, from all over it."""
        for block in self._table.columns([header, *self._countries]):
            text = pl.col("0").str.strip_chars().str.to_lowercase()
            filled = block.drop("row_number").filter((text != "") & ~text.is_in(list(PLACEHOLDERS)))
            if filled.height:
                yield filled if most is None else filled.gather_every(max(1, filled.height // most))


def regions_meant(text: str) -> tuple[str, ...]:
    """Return the regions that a text in a country column may mean, calling codes without a plus included."""
    regions = countries.regions_of(text)
    code = text.strip().lstrip("0")
    if code.isascii() and code.isdigit() and len(code) <= _MOST_CODE_DIGITS:
        regions = (*regions, *countries.regions_of(f"+{code}"))
    return regions


def _could_be_number(name: str) -> pl.Expr:
    """Whether a cell has digits enough for a number, and not the letters of a sentence."""
    digits = pl.col(name).str.count_matches(r"\d")
    letters = pl.col(name).str.count_matches(r"\p{L}")
    return (digits >= _FEWEST_DIGITS) & (letters <= _MOST_LETTERS)


def _lost_digits(name: str) -> pl.Expr:
    """Whether a cell is what a spreadsheet leaves of a long number: `2.03E+09`, `#######`."""
    return pl.col(name).str.contains(r"^\s*(?:\+?\d(?:[.,]\d+)?[eE]\+?(?:0?9|1[0-4])|#{3,})\s*$")
