"""Each row's number: the first of its cells that reads as one, in the country that its row or the campaign says.

Numbers are read a million at a time, because `phone.normalize` builds tables that pay only for many rows, and put
aside. A country column that only its header names is evidence: a number that may as well be one of the default region
is held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import polars as pl

from sender import phone
from sender.core.errors import setting
from sender.core.frame_buffer import SpillingFrames
from sender.core.outcomes import SkipReason
from sender.phone import countries
from sender.phone.cell import SHOWN_CHARS
from sender.planning.compiled import CompiledCampaign
from sender.planning.row_filter import filter_rows
from sender.recipients.columns import Recipients
from sender.recipients.country_columns import read_regions
from sender.recipients.headers import list_names

_NUMBERS_AT_ONCE = 1_000_000
_TAKEN = "taken from `{}`,"
_EITHER = (
    "`{}` may be {}, as column {} says (`{}`), or {} in {}, the default region: write it with + and country code, or"
    " set " + setting("recipients.region_column") + " if the column is always right"
)
_OTHER = " (column {} says `{}`; in {}, the default region, it would be {})"


@dataclass(frozen=True, slots=True, eq=False)
class RecipientNumbers:
    """What was read: `frames` has a frame for each block of the list, with the columns of `phone.normalize`.

    `by_country` counts the numbers read in the country of their row that are not valid in the default region.
    """

    frames: SpillingFrames
    by_country: int


def read_numbers(compiled: CompiledCampaign, recipients: Recipients) -> RecipientNumbers:
    """Return the number of each row of the recipients, or why it has none; rows that are filtered out are skipped."""
    reader = _NumberReader(compiled, recipients)
    waiting: list[pl.DataFrame] = []
    table = recipients.table.with_stored(reader.filtered)  # a condition computes
    for block in table.columns(reader.headers, reader.nested):
        waiting.append(block)
        if sum(cells.height for cells in waiting) >= _NUMBERS_AT_ONCE:
            reader.read(waiting)
            waiting.clear()
    if waiting:
        reader.read(waiting)
    return RecipientNumbers(reader.frames, reader.by_country)


def used_cell(phones: Sequence[str], packed_headers: Sequence[str]) -> pl.Expr:
    """Return the cell that a row's number is read from, of a plan's `recipient` and `repair`.

    `packed_headers` are the headers where `recipient` is a list.
    """
    cells = pl.col("recipient")
    cell, *others = [
        cells.list.get(packed_headers.index(header)) if packed_headers else cells.struct.field(header)
        for header in phones
    ]
    for header, other in zip(phones[1:], others, strict=True):
        fallen_back = pl.col("repair").str.starts_with(_TAKEN.format(header))
        cell = pl.when(fallen_back).then(other).otherwise(cell)
    return cell.alias("cell")


def note_countries(compiled: CompiledCampaign, recipients: Recipients, read: RecipientNumbers) -> Iterator[str]:
    """Yield a sentence where a country column that the campaign does not name decided how numbers are read."""
    if read.by_country:
        many = "1 number, which is" if read.by_country == 1 else f"{read.by_country:,} numbers, which are"
        names = list_names(recipients.countries.headers)
        yield f"column {names} decides the country of {many} not valid in {compiled.numbers.default_region}"


class _NumberReader:
    """Reads blocks of `headers`: the columns of the number, those of its country, and what the filter reads."""

    def __init__(self, compiled: CompiledCampaign, recipients: Recipients) -> None:
        self._compiled = compiled
        self._recipients = recipients
        self._condition = compiled.numbers.where
        self._phones = recipients.phones
        self._countries = recipients.countries
        self.filtered = (
            () if self._condition is None else self._condition.find_columns(recipients.names, recipients.headers)
        )
        self.headers = (*self._phones, *self._countries.headers, *self.filtered)
        self.nested = [header for header in self.filtered if header in recipients.table.nested]
        self.frames = SpillingFrames()
        self.by_country = 0

    def read(self, blocks: Sequence[pl.DataFrame]) -> None:
        """Add a frame for each block."""
        cells = pl.concat(blocks)
        columns = iter([cells[str(place)] for place in range(len(self.headers) + len(self.nested))])
        phones = list(islice(columns, len(self._phones)))
        regions = read_regions(self._countries, list(islice(columns, len(self._countries.headers))))
        frame = self._read_column(phones[0], regions)
        for place in range(1, len(phones)):
            frame = self._fall_back(frame, place, phones[place], regions)
        if self._condition is not None:
            read = pl.DataFrame([next(columns).alias(name) for name in self.filtered])
            nested = pl.DataFrame([next(columns).alias(name) for name in self.nested])
            frame = filter_rows(frame, self._condition, read, self._recipients, nested)
        start = 0
        for block in blocks:
            self.frames.append(frame[start : start + block.height])
            start += block.height

    def _fall_back(self, frame: pl.DataFrame, place: int, cells: pl.Series, regions: pl.Series | None) -> pl.DataFrame:
        """Return `frame` with the rows read from the next column in which no earlier one has a number.

        `repair` says so. A row without a number in any of them keeps what is wrong with its first filled cell.
        """
        rows = frame["to"].is_null().arg_true()
        if not rows.len():
            return frame
        earlier = frame[rows]
        later = self._read_column(cells.gather(rows), None if regions is None else regions.gather(rows))
        blank = earlier["reason"] == SkipReason.MISSING_DATA.value
        before = f"{_TAKEN.format(self._phones[place])} because {list_names(self._phones[:place])} is "
        why = pl.when(pl.lit(blank)).then(pl.lit("blank")).otherwise(pl.lit("not a number that can be read"))
        used = pl.concat_str(pl.lit(before), why)
        later = later.with_columns(
            repair=pl.when(pl.col("to").is_not_null()).then(
                pl.concat_str(used, "repair", separator="; ", ignore_nulls=True)
            )
        )
        kept = pl.lit(later["to"].is_null() & ~(blank & (later["reason"] != SkipReason.MISSING_DATA.value)))
        merged = later.select(
            pl.when(kept).then(pl.lit(earlier[name])).otherwise(pl.col(name)).alias(name) for name in later.columns
        )
        return frame.with_columns(frame[name].scatter(rows, merged[name]) for name in frame.columns)

    def _read_column(self, cells: pl.Series, regions: pl.Series | None) -> pl.DataFrame:
        """Return the columns of `phone.normalize` for `cells`; a number in doubt of its country is held."""
        frame = self._normalize(cells, regions)
        default = self._compiled.numbers.default_region
        if regions is None or default is None or self._countries.chosen:
            return frame
        meant = regions.replace_strict(
            {text: _single_region(text) for text in regions.unique()}, return_dtype=pl.String
        )
        rows = (meant.is_null() | ((meant != "") & (meant != default))).arg_true()
        if not rows.len():
            return frame
        elsewhere = frame[rows].with_columns(
            cell=cells.gather(rows).str.strip_chars().str.slice(0, SHOWN_CHARS),
            own=regions.gather(rows),
            other=self._normalize(cells.gather(rows), None, careful=False)["to"],
        )
        self.by_country += elsewhere.filter(pl.col("to").is_not_null() & pl.col("other").is_null()).height
        held = _hold_doubtful(elsewhere, pl.lit(list_names(self._countries.headers)), pl.lit(default))
        return frame.with_columns(frame[name].scatter(rows, held[name]) for name in frame.columns)

    def _normalize(self, cells: pl.Series, regions: pl.Series | None, *, careful: bool = True) -> pl.DataFrame:
        """Return the numbers in `cells` as the campaign and its provider read them."""
        rules, capabilities = self._compiled.numbers, self._compiled.capabilities
        return phone.normalize(
            cells,
            default_region=rules.default_region,
            regions=regions,
            passthrough=capabilities.passthrough,
            short_codes=capabilities.short_code_recipients,
            careful=careful and rules.caution,
        )


def _hold_doubtful(rows: pl.DataFrame, column: pl.Expr, default: pl.Expr) -> pl.DataFrame:
    """Return `rows` with those held whose number could be `other`, the one in the default region, as well."""
    doubtful = (pl.col("to") != pl.col("other")).fill_null(value=False)
    instead = (pl.col("reason") == SkipReason.INVALID_NUMBER.value) & pl.col("other").is_not_null()
    return rows.with_columns(
        detail=pl.when(doubtful)
        .then(pl.format(_EITHER, "cell", "to", column, "own", "other", default))
        .when(instead)
        .then(pl.concat_str("detail", pl.format(_OTHER, column, "own", default, "other")))
        .otherwise("detail"),
        reason=pl.when(doubtful).then(pl.lit(SkipReason.INVALID_NUMBER.value)).otherwise("reason"),
        **{name: pl.when(~doubtful).then(name) for name in ("to", "region", "number_type", "repair")},
    )


def _single_region(text: str) -> str | None:
    """Return the region that the text of a country column means, blank for a blank cell, None where none is sure."""
    regions = countries.regions_of(text) if text else ("",)
    return regions[0] if len(regions) == 1 else None
