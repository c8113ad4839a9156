"""Which rows get a message: suppression, dedupe, limit. Joins and windows over whole columns.

Each function takes a frame with at least `row_number` (UInt32), `to`, `reason` and `detail` (String) and
returns it with the same rows in the same order. Only rows whose `reason` is null may change, so the order of
the calls is the order of the rules: a row that is out costs no other row its place. Never drops a row.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import polars as pl

from sender.outcomes import SkipReason

FIXED_LINE = "fixed_line"

_SENDABLE = pl.col("reason").is_null() & pl.col("to").is_not_null()


def skip_types(frame: pl.DataFrame, types: Collection[str]) -> pl.DataFrame:
    """The frame with a reason where `number_type` (String) is one of `types`: `landline` for fixed lines.

    For the other types the reason is `suppressed`: the number is good, and the campaign says that it gets nothing.
    """
    if not types:
        return frame
    detail = pl.format("a {} number: recipients.skip_types leaves those out", "number_type")
    fixed = pl.col("number_type") == FIXED_LINE
    frame = _skip(frame, fixed & pl.lit(FIXED_LINE in types), SkipReason.LANDLINE, detail)
    return _skip(frame, pl.col("number_type").is_in(list(types)), SkipReason.SUPPRESSED, detail)


def suppress(frame: pl.DataFrame, numbers: pl.Series, source: str) -> pl.DataFrame:
    """The frame with reason `suppressed` where `to` is one of `numbers` (E.164, null or repeated).

    `source` names the list in the row's detail.
    """
    listed = pl.col("to").is_in(numbers.cast(pl.String).drop_nulls().unique().implode())
    return _skip(frame, listed, SkipReason.SUPPRESSED, pl.lit(f"the number is in {source}"))


def dedupe(frame: pl.DataFrame, keep: Literal["first", "last", "none"]) -> pl.DataFrame:
    """The frame with reason `duplicate` where another row of the same `to` is kept, which `detail` names.

    `keep` is the row that stays, the `first` or the `last` in the frame's order; `none` leaves all of them.
    """
    if keep == "none":
        return frame
    rows = pl.col("row_number").filter(_SENDABLE)
    kept = (rows.first() if keep == "first" else rows.last()).over("to")
    repeated = _SENDABLE & (pl.col("row_number") != kept)
    return _skip(frame, repeated, SkipReason.DUPLICATE, pl.format("same number as row {}", kept))


def limit(frame: pl.DataFrame, n: int) -> pl.DataFrame:
    """The frame with reason `limit` on every sendable row after the first `n` of them."""
    beyond = _SENDABLE.cum_sum() > n
    return _skip(frame, beyond, SkipReason.LIMIT, pl.lit(f"beyond the first {n:,} recipients"))


def _skip(frame: pl.DataFrame, which: pl.Expr, reason: SkipReason, detail: pl.Expr) -> pl.DataFrame:
    now = _SENDABLE & which
    return frame.with_columns(
        reason=pl.when(now).then(pl.lit(reason.value)).otherwise("reason"),
        detail=pl.when(now).then(detail).otherwise("detail"),
    )
