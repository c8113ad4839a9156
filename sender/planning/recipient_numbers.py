"""Each row's number: the first of its cells that reads as one, in the country that its row or the campaign says.

Numbers are read a million at a time, because `phone.normalize` builds tables that pay only for many rows, and put
aside. A country column that only its header names is evidence: a number that may as well be one of the default region
is held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from sender import phone
from sender.core.errors import setting
from sender.core.frame_buffer import SpillingFrames
from sender.core.outcomes import SkipReason
from sender.phone import countries
from sender.phone.cell import SHOWN_CHARS
from sender.planning.compiled import CompiledCampaign
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


@dataclass(eq=False)
class RecipientNumbers:
    """What was read: `frames` has a frame for each block of the list, with the columns of `phone.normalize`.

    `by_country` counts the numbers read in the country of their row although the default region is another one.
    """

    frames: SpillingFrames = field(default_factory=SpillingFrames)
    by_country: int = 0


def read_numbers(compiled: CompiledCampaign, recipients: Recipients) -> RecipientNumbers:
    """Return the number of each row of the recipients, or why it has none."""
    read = RecipientNumbers()
    waiting: list[pl.DataFrame] = []
    for block in recipients.table.columns([*recipients.phones, *recipients.countries.headers]):
        waiting.append(block)
        if sum(cells.height for cells in waiting) >= _NUMBERS_AT_ONCE:
            _read_blocks(compiled, recipients, waiting, read)
            waiting.clear()
    if waiting:
        _read_blocks(compiled, recipients, waiting, read)
    return read


def used_cell(phones: Sequence[str]) -> pl.Expr:
    """Return the cell that a row's number is read from, of a plan's `recipient` and `repair`."""
    cell = pl.col("recipient").struct.field(phones[0])
    for header in phones[1:]:
        fallen_back = pl.col("repair").str.starts_with(_TAKEN.format(header))
        cell = pl.when(fallen_back).then(pl.col("recipient").struct.field(header)).otherwise(cell)
    return cell.alias("cell")


def note_countries(compiled: CompiledCampaign, recipients: Recipients, read: RecipientNumbers) -> Iterator[str]:
    """Yield a sentence where a country column that the campaign does not name decided how numbers are read."""
    if read.by_country:
        many = "1 number, which is" if read.by_country == 1 else f"{read.by_country:,} numbers, which are"
        names = list_names(recipients.countries.headers)
        yield f"column {names} decides the country of {many} not valid in {compiled.numbers.default_region}"


def _read_blocks(
    compiled: CompiledCampaign, recipients: Recipients, blocks: Sequence[pl.DataFrame], read: RecipientNumbers
) -> None:
    cells = pl.concat(blocks)
    places = len(recipients.phones)
    regions = read_regions(
        recipients.countries, [cells[str(places + at)] for at in range(len(recipients.countries.headers))]
    )
    frame = _read_column(compiled, recipients, cells["0"], regions, read)
    for place in range(1, places):
        frame = _fall_back(compiled, recipients, frame, place, cells, regions, read)
    start = 0
    for block in blocks:
        read.frames.append(frame[start : start + block.height])
        start += block.height


def _fall_back(
    compiled: CompiledCampaign,
    recipients: Recipients,
    frame: pl.DataFrame,
    place: int,
    cells: pl.DataFrame,
    regions: pl.Series | None,
    read: RecipientNumbers,
) -> pl.DataFrame:
    """Return `frame` with the rows read from the next column in which no earlier one has a number.

    `repair` says so. A row without a number in any of them keeps what is wrong with its first filled cell.
    """
    rows = frame["to"].is_null().arg_true()
    if not rows.len():
        return frame
    earlier = frame[rows]
    later = _read_column(
        compiled, recipients, cells[str(place)].gather(rows), None if regions is None else regions.gather(rows), read
    )
    header, before = recipients.phones[place], list_names(recipients.phones[:place])
    blank = earlier["reason"] == SkipReason.MISSING_DATA.value
    why = pl.when(pl.lit(blank)).then(pl.lit("blank")).otherwise(pl.lit("not a number that can be read"))
    used = pl.concat_str(pl.lit(f"{_TAKEN.format(header)} because {before} is "), why)
    taken = pl.col("to").is_not_null()
    later = later.with_columns(
        repair=pl.when(taken).then(pl.concat_str(used, pl.col("repair"), separator="; ", ignore_nulls=True))
    )
    kept = pl.lit(later["to"].is_null() & ~(blank & (later["reason"] != SkipReason.MISSING_DATA.value)))
    merged = later.select(
        pl.when(kept).then(pl.lit(earlier[name])).otherwise(pl.col(name)).alias(name) for name in later.columns
    )
    return frame.with_columns(frame[name].scatter(rows, merged[name]) for name in frame.columns)


def _read_column(
    compiled: CompiledCampaign,
    recipients: Recipients,
    cells: pl.Series,
    regions: pl.Series | None,
    read: RecipientNumbers,
) -> pl.DataFrame:
    """Return the columns of `phone.normalize` for `cells`; a number that its country column leaves in doubt is held."""
    frame = _normalize(compiled, cells, regions)
    default = compiled.numbers.default_region
    if regions is None or default is None or recipients.countries.chosen:
        return frame
    named = {text: _single_region(text) for text in regions.unique()}
    meant = regions.replace_strict(named, return_dtype=pl.String)
    rows = (meant.is_null() | ((meant != "") & (meant != default))).arg_true()
    if not rows.len():
        return frame
    elsewhere = frame[rows].with_columns(
        cell=cells.gather(rows).str.strip_chars().str.slice(0, SHOWN_CHARS),
        own=regions.gather(rows),
        other=_normalize(compiled, cells.gather(rows), None, careful=False)["to"],
    )
    read.by_country += elsewhere.filter(pl.col("to").is_not_null() & pl.col("other").is_null()).height
    column = pl.lit(list_names(recipients.countries.headers))
    here = pl.lit(default)
    doubtful = (pl.col("to") != pl.col("other")).fill_null(value=False)
    instead = (pl.col("reason") == SkipReason.INVALID_NUMBER.value) & pl.col("other").is_not_null()
    held = elsewhere.with_columns(
        detail=pl.when(doubtful)
        .then(pl.format(_EITHER, "cell", "to", column, "own", "other", here))
        .when(instead)
        .then(pl.concat_str("detail", pl.format(_OTHER, column, "own", here, "other")))
        .otherwise("detail"),
        reason=pl.when(doubtful).then(pl.lit(SkipReason.INVALID_NUMBER.value)).otherwise("reason"),
        **{name: pl.when(~doubtful).then(name) for name in ("to", "region", "number_type", "repair")},
    )
    return frame.with_columns(frame[name].scatter(rows, held[name]) for name in frame.columns)


def _single_region(text: str) -> str | None:
    """Return the region that the text of a country column means, blank for a blank cell, None where none is sure."""
    regions = countries.regions_of(text) if text else ("",)
    return regions[0] if len(regions) == 1 else None


def _normalize(
    compiled: CompiledCampaign, cells: pl.Series, regions: pl.Series | None, *, careful: bool = True
) -> pl.DataFrame:
    """Return the numbers in `cells` as the campaign and its provider read them: the columns of `phone.normalize`."""
    return phone.normalize(
        cells,
        default_region=compiled.numbers.default_region,
        regions=regions,
        passthrough=compiled.capabilities.passthrough,
        short_codes=compiled.capabilities.short_code_recipients,
        careful=careful and compiled.numbers.caution,
    )
