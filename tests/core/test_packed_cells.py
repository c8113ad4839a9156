"""Columns and lists say the same, row by row."""

from __future__ import annotations

import polars as pl
import pytest

from sender.core.packed_cells import pack, unpack

CELLS = pl.DataFrame({"a": ["1", "2", "3"], "b": ["", "x" * 40, "é"]})


def test_a_row_is_a_list_of_its_cells() -> None:
    lists = pack(CELLS)
    assert lists.dtype == pl.List(pl.String)
    assert lists.to_list() == [list(row) for row in CELLS.iter_rows()]


@pytest.mark.parametrize(
    "cells", [CELLS, CELLS[:1], CELLS[:0], CELLS.select("b"), pl.concat([CELLS, CELLS], rechunk=False)]
)
def test_lists_come_back_as_columns(cells: pl.DataFrame) -> None:
    assert unpack(pack(cells), cells.columns).equals(cells)


def test_lists_in_several_pieces_come_back_too() -> None:
    lists = pl.concat([pack(CELLS), pack(CELLS)], rechunk=False)
    assert unpack(lists, ["a", "b"]).equals(pl.concat([CELLS, CELLS]))
