"""Which cells of a block have no value: blank ones, and those that hold a placeholder such as `#N/A` or `NULL`.

Programs write placeholders where they have nothing to write. They are compared exactly, but for surrounding blanks:
`Null` and `Na` are names of people. Changes no cell.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
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
    stripped = cells.select(pl.col(header).str.strip_chars() for header in headers)
    words = dict(_held_words(stripped, placeholders))
    return MissingValues(
        cells.select(
            pl.when(
                (stripped[header] != "") if header not in words else (stripped[header] != "") & words[header].is_null()
            )
            .then(pl.col(header))
            .alias(header)
            for header in headers
        ),
        words,
    )


def count_placeholders(
    cells: pl.DataFrame, headers: Sequence[str], placeholders: Collection[str]
) -> dict[tuple[str, str], int]:
    """Return how many cells hold each placeholder, by header and placeholder."""
    stripped = cells.select(pl.col(header).str.strip_chars() for header in headers)
    return {
        (header, word): count
        for header, held in _held_words(stripped, placeholders)
        for word, count in held.drop_nulls().value_counts(name="n").iter_rows()
    }


def _held_words(stripped: pl.DataFrame, placeholders: Collection[str]) -> Iterator[tuple[str, pl.Series]]:
    """Yield each column that has a placeholder, with its placeholders, null elsewhere."""
    if not placeholders:
        return
    longest = max(len(word.encode()) for word in placeholders)
    for column in stripped.iter_columns():
        short = column.filter(column.str.len_bytes() <= longest)  # few in most columns, and the rest is not compared
        if short.is_in(list(placeholders)).any():
            held = column.is_in(list(placeholders))
            yield column.name, column.set(~held, None)
