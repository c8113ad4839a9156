"""Which columns have the country of each row: the one that the campaign names, else those whose headers say so.

A column that is found by its header is evidence, no more: `sender.planning.recipient_numbers` holds a number that may
as well be one of the default region. One that is not used is named in a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from sender.core.errors import setting
from sender.phone import countries
from sender.recipients.headers import (
    list_names,
    mentions_country,
    names_calling_code,
    names_country,
    rank_country,
    resolve_header,
)
from sender.recipients.readers.table import Table

KEY = "recipients.region_column"
_MOST_SAMPLED = 500
_MOSTLY = 0.5


@dataclass(frozen=True, slots=True)
class CountryColumns:
    """The headers of the country, of which several count only where they agree, and sentences for a person.

    `chosen`: the campaign names the column, so that its country counts without a look at the default region.
    """

    headers: tuple[str, ...] = ()
    chosen: bool = False
    notes: tuple[str, ...] = ()


def choose_country_columns(table: Table, chosen: str | None, phones: Sequence[str], where: str) -> CountryColumns:
    """Return the columns with each row's country; `phones` are those of the number.

    Raises RecipientsError where the campaign names one that does not exist.
    """
    headers = list(table.headers)
    if chosen is not None:
        return CountryColumns((resolve_header(headers, chosen, KEY, where),), chosen=True)
    mentioned = [header for header in headers if header not in phones and mentions_country(header)]
    named = [header for header in mentioned if names_country(header)]
    ranks = {header: max(rank_country(header, phone) for phone in phones) for header in named}
    used: list[str] = []
    for rank in sorted(set(ranks.values()), reverse=True):
        used = [header for header in named if ranks[header] == rank and _has_countries(table, header)]
        if used:
            break
    unused = [header for header in mentioned if header not in used and _is_filled(table, header)]
    return CountryColumns(tuple(used), notes=(_note_unused(unused),) if unused else ())


def read_regions(columns: CountryColumns, cells: Sequence[pl.Series]) -> pl.Series | None:
    """Return each row's country as text from the cells of `columns.headers`; blank where a row has none.

    Where several columns name different countries, the text has them all, and so names none of them.
    """
    texts = [_read_texts(header, column) for header, column in zip(columns.headers, cells, strict=True)]
    if len(texts) < 2:
        return texts[0] if texts else None
    rows = pl.DataFrame([text.alias(str(place)) for place, text in enumerate(texts)])
    distinct = rows.unique()
    agreed = pl.Series("agreed", [_agree(row) for row in distinct.iter_rows()], dtype=pl.String)
    return rows.join(distinct.hstack([agreed]), on=rows.columns, how="left", maintain_order="left")["agreed"]


def _read_texts(header: str, cells: pl.Series) -> pl.Series:
    """Return the cells without blanks around them, `49` as `+49` where the header speaks of codes."""
    texts = cells.str.strip_chars()
    return texts.str.replace(r"^(\d{1,3})$", "+$1") if names_calling_code(header) else texts


def _agree(texts: Sequence[str]) -> str:
    """Return the one country that the texts name, or all of them."""
    written = [text for text in dict.fromkeys(texts) if text]
    meant = {countries.regions_of(text) or (text,) for text in written}
    return written[0] if len(meant) == 1 else " or ".join(written)


def _has_countries(table: Table, header: str) -> bool:
    """Whether most filled cells name a country: `Land` may be a state. One headed `country` is never passed over."""
    texts = _sample(table, header)
    if not texts.len():
        return False
    if header.strip().casefold() == "country":
        return True
    counts = _read_texts(header, texts).value_counts(name="n")
    named = sum(n for text, n in counts.iter_rows() if countries.regions_of(text))
    return bool(named / texts.len() > _MOSTLY)


def _is_filled(table: Table, header: str) -> bool:
    return bool(_sample(table, header).len())


def _sample(table: Table, header: str) -> pl.Series:
    """Return some filled cells of each block."""
    parts = [block["0"].filter(block["0"].str.strip_chars() != "") for block in table.columns([header])]
    return pl.concat([part.gather_every(max(1, part.len() // _MOST_SAMPLED)) for part in parts])


def _note_unused(headers: Sequence[str]) -> str:
    are = "is" if len(headers) == 1 else "are"
    return f"{list_names(headers)} {are} not used for the country of a number; choose a column with {setting(KEY)}"
