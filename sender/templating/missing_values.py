"""Which cells of a block have no value: blank ones, and those that hold a placeholder such as `#N/A` or `NULL`.

Programs write placeholders where they have nothing to write. They are compared exactly, but for a blank or a tab at
either end: `Null` and `Na` are names of people. Changes no cell.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import polars as pl


class MissingValues(NamedTuple):
    """`filled` has the cells, null where there is no value; `words` by header the placeholders, null elsewhere.

    Columns without a placeholder are not in `words`.
    """

    filled: pl.DataFrame
    words: dict[str, pl.Series]


def find_missing(cells: pl.DataFrame, headers: Sequence[str], placeholders: Collection[str]) -> MissingValues:
    """Return the cells under `headers`, apart from those without a value."""
    columns = [pl.lit(cells[header].alias("")) for header in headers]  # a header such as `*` would be a pattern
    filled = pl.select(
        pl.when(column.str.strip_chars() != "").then(column).alias(header)
        for header, column in zip(headers, columns, strict=True)
    )
    words = dict(_held_words(cells, headers, placeholders))
    return MissingValues(
        filled.with_columns(filled[header].set(word.is_not_null(), None) for header, word in words.items()), words
    )


def count_placeholders(
    cells: pl.DataFrame, headers: Sequence[str], placeholders: Collection[str]
) -> dict[tuple[str, str], int]:
    """Return how many cells hold each placeholder, by header and placeholder."""
    return {
        (header, word): count
        for header, held in _held_words(cells, headers, placeholders)
        for word, count in held.drop_nulls().value_counts(name="n").iter_rows()
    }


def find_placeholders(column: pl.Series, placeholders: Collection[str]) -> pl.Series | None:
    """Return the placeholders in a column (String), null elsewhere; None where it has none."""
    if not placeholders or column.null_count() == column.len():
        return None
    column = column.alias("")  # by its name polars would look it up, and take `^n.*$` for a pattern
    held = column.is_in(_forms(frozenset(placeholders)).implode())
    return column.set(~held, None).str.strip_chars() if held.any() else None


def _held_words(
    cells: pl.DataFrame, headers: Sequence[str], placeholders: Collection[str]
) -> Iterator[tuple[str, pl.Series]]:
    """Yield each header whose column has a placeholder, with its placeholders, null elsewhere."""
    for header in headers:
        held = find_placeholders(cells[header], placeholders)
        if held is not None:
            yield header, held


@cache
def _forms(placeholders: frozenset[str]) -> pl.Series:
    """The placeholders as they may stand in a cell. (To strip every cell takes five times as long.)"""
    ends = ("", " ", "\t")
    return pl.Series(
        [before + word + after for word in placeholders for before in ends for after in ends], dtype=pl.String
    )
