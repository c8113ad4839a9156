"""Which column has the phone numbers: the one that the campaign names, else the only one whose header says so.

Cells confirm or refuse a header that is not sure (`Number`). They never choose a column whose header does not speak of
phones: they only propose it. Two columns that may be meant are an error that shows cells of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from sender import phone
from sender.core.errors import RecipientsError, setting
from sender.core.packed_cells import PACKED_FROM
from sender.core.safe_text import escape_controls
from sender.recipients.headers import (
    PhoneHeader,
    is_mobile,
    is_number_like,
    list_names,
    phone_header,
    resolve_header,
    words,
)
from sender.recipients.readers.table import Table

KEY = "recipients.phone_column"
_MOST_SAMPLED = 500  # cells of a column
_MOSTLY = 0.5
_MOST_SHOWN = 4  # columns of which cells are shown
_CELLS_SHOWN = 2
_CELL_CHARS = 30
_MOST_PROPOSED = 3
_MOST_READ = 50  # columns without a header of a phone that are read as numbers, to propose some
_ROWS_SEARCHED = 20  # below the header, for another one
_MAY_BE_NUMBER = r"^[^\p{L}\d]{0,12}(?:\p{L}{1,12}[ .:]{1,3})?[+(]?\d[\d\s().\x{2d}/\x{a0}+]{5,24}\D{0,3}$"
_DATE = r"^\s*(?:(?:19|20)\d\d[-/.]\d|\d\d?[-/.]\d\d?[-/.](?:19|20)?\d\d(?:\D|$))"


@dataclass(frozen=True, slots=True)
class PhoneColumns:
    """The headers of the number, in the order in which a row's cells are tried, and sentences for a person."""

    headers: tuple[str, ...]
    notes: tuple[str, ...] = ()


def choose_phone_columns(
    table: Table, chosen: Sequence[str], *, where: str, default_region: str | None
) -> PhoneColumns:
    """Return the columns that `chosen` names, or else the one whose header says that it has the phone numbers.

    Raises RecipientsError where there is none or more than one, with what the cells say.
    """
    if chosen:
        return PhoneColumns(_resolve_chain(list(table.headers), chosen, where))
    columns = [_SampledColumn(table, header, default_region) for header in table.headers]
    candidates = [
        column
        for column in columns
        if column.kind is PhoneHeader.SURE or (column.kind is PhoneHeader.LIKELY and column.share > _MOSTLY)
    ]
    filled = [column for column in candidates if column.filled.len()] if len(candidates) > 1 else candidates
    if len(filled) == 1:
        blank = [column.header for column in candidates if column is not filled[0]]
        notes = (f"`{filled[0].header}` has the phone numbers; {list_names(blank)} is blank in every row",)
        return PhoneColumns((filled[0].header,), notes if blank else ())
    if candidates:
        raise _several(filled or candidates, where)
    raise _none(table, columns, where)


def _resolve_chain(headers: list[str], chosen: Sequence[str], where: str) -> tuple[str, ...]:
    names = list(chosen)
    if len(names) == 1 and names[0] not in headers and "," in names[0]:  # as an option has a list
        names = [name.strip() for name in names[0].split(",") if name.strip()]
    return tuple(dict.fromkeys(resolve_header(headers, name, KEY, where) for name in names))


class _SampledColumn:
    """A column, what its header says of phone numbers, and what a sample of its cells does."""

    def __init__(self, table: Table, header: str, default_region: str | None) -> None:
        self._table = table
        self._default_region = default_region
        self.header = header
        self.kind = phone_header(header)

    def of(self, table: Table) -> _SampledColumn:
        """Return the same column of another table."""
        return _SampledColumn(table, self.header, self._default_region)

    @cached_property
    def filled(self) -> pl.Series:
        """Up to some hundred filled cells from all over the column; empty where it has none."""
        parts = []
        for block in self._table.columns([self.header]):
            cells = block["0"].filter(block["0"].str.strip_chars() != "")
            parts.append(cells.gather_every(max(1, cells.len() // _MOST_SAMPLED)))
        cells = pl.concat(parts) if parts else pl.Series([], dtype=pl.String)
        return cells.gather_every(max(1, cells.len() // _MOST_SAMPLED))

    @cached_property
    def share_alike(self) -> float:
        """The share of its filled cells that look like phone numbers, whatever their country."""
        return _share_alike(self.filled)

    @cached_property
    def share(self) -> float:
        """The share of its filled cells that are phone numbers; without a default region, that look like some."""
        if not self.share_alike or self._default_region is None:
            return self.share_alike
        numbers = phone.normalize(self.filled, default_region=self._default_region)["to"]
        return (numbers.len() - numbers.null_count()) / numbers.len()

    def describe(self) -> str:
        """Return its header and the first of its cells, on one line."""
        shown = ", ".join(_show(cell) for cell in self.filled.head(_CELLS_SHOWN))
        return f"`{self.header}` has {shown or 'only blank cells'}"


def _share_alike(filled: pl.Series) -> float:
    """Return the share of `filled` that looks like phone numbers; 0 where there are none."""
    if not filled.len():
        return 0.0
    alike = filled.str.contains(_MAY_BE_NUMBER) & ~filled.str.contains(_DATE)
    return float((alike & (filled.str.count_matches(r"\d") >= 7)).sum() / filled.len())


def _show(cell: str) -> str:
    text = escape_controls(cell.strip())
    return f"`{text[:_CELL_CHARS]}{'…' if len(text) > _CELL_CHARS else ''}`"


def _several(columns: Sequence[_SampledColumn], where: str) -> RecipientsError:
    order = [column.header for column in sorted(columns, key=lambda column: not is_mobile(column.header))]
    examples = "; ".join(column.describe() for column in columns[:_MOST_SHOWN])
    chain = ", ".join(order[:2])
    return RecipientsError(
        f"{len(columns)} columns match: {list_names(column.header for column in columns)}."
        f" Any of them may be the phone number to text: {examples}",
        where=where,
        fix=f"choose one with {setting(KEY)}, or give the order in which a row's cells are tried: {KEY}: [{chain}]",
    )


def _none(table: Table, columns: Sequence[_SampledColumn], where: str) -> RecipientsError:
    headers = list(table.headers)
    if len(columns) >= PACKED_FROM:  # each look at a column would take all of them apart
        sample = table.take(pl.int_range(0, table.height, max(1, table.height // _MOST_SAMPLED), eager=True))
        columns = [column.of(sample) for column in columns]
    below = _find_header_below(table)
    if any(map(is_number_like, headers)):
        fix = "the first row looks like data: put a header row above it, with `phone` over the numbers"
    elif below is not None:
        number, cells = below
        key = setting("recipients.header_row", str(number))
        fix = f"row {number} looks like the header ({list_names(cells)}): set {key}"
    else:
        proposed = _propose(columns)
        meant = f"did you mean {_list_shares(proposed)}? " if proposed else ""
        fix = f"{meant}set {setting(KEY)} to one of the headers here: {list_names(headers)}"
    if table.other_sheets:
        fix += f"; or choose another sheet with {setting('recipients.sheet')}: {list_names(table.other_sheets)}"
    return RecipientsError("there is no column for the phone number", where=where, fix=fix)


def _propose(columns: Sequence[_SampledColumn]) -> list[_SampledColumn]:
    """Return the columns that may be meant, because most of their cells are phone numbers; best first."""
    alike = [column for column in columns if column.share_alike > _MOSTLY and "fax" not in words(column.header)]
    ranked = sorted(alike[:_MOST_READ], key=lambda column: -column.share)
    named = [column for column in ranked if column.kind is not PhoneHeader.NONE]
    return [column for column in named or ranked if column.share > _MOSTLY][:_MOST_PROPOSED]


def _list_shares(columns: Sequence[_SampledColumn]) -> str:
    return " or ".join(f"`{column.header}` ({column.share:.0%} of its cells are phone numbers)" for column in columns)


def _find_header_below(table: Table) -> tuple[int, list[str]] | None:
    """Return the number and the cells of a row that is the header if those above it are a title; None without one."""
    for block in table.blocks():
        rows = block.cells.head(_ROWS_SEARCHED)
        for at, (number, row) in enumerate(zip(block.row_numbers, rows.iter_rows(), strict=False)):
            below = block.cells[at + 1 : at + 1 + _MOST_SAMPLED]
            if any(
                phone_header(cell) is PhoneHeader.SURE
                and _share_alike(column.filter(column.str.strip_chars() != "")) >= _MOSTLY
                for cell, column in zip(row, below.iter_columns(), strict=True)
            ):
                return int(number), [cell.strip() for cell in row if cell.strip()]
        break
    return None
