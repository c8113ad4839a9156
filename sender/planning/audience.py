"""Which rows get a message: suppression, dedupe, limit. Joins and windows over whole columns.

Each function takes a frame with at least `row_number` (UInt32), `to`, `reason` and `detail` (String) and
returns it with the same rows in the same order. Only rows whose `reason` is null may change, so the order of
the calls is the order of the rules: a row that is out costs no other row its place. Never drops a row.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import polars as pl

from sender.core.outcomes import SkipReason

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
    keys, listed = _keys(frame["to"]), _keys(numbers.cast(pl.String).drop_nulls())
    if keys.dtype != listed.dtype:
        keys, listed = frame["to"], numbers.cast(pl.String).drop_nulls()
    found = keys.is_in(listed.unique().implode())
    return _skip(frame, pl.lit(found), SkipReason.SUPPRESSED, pl.lit(f"the number is in {source}"))


def dedupe(frame: pl.DataFrame, keep: Literal["first", "last", "none"]) -> pl.DataFrame:
    """The frame with reason `duplicate` where another row of the same `to` is kept, which `detail` names.

    `keep` is the row that stays, the `first` or the `last` in the frame's order; `none` leaves all of them.
    """
    if keep == "none":
        return frame
    index = frame.select(_SENDABLE.arg_true()).to_series()
    keys = _keys(frame["to"].gather(index))
    stays = keys.is_first_distinct() if keep == "first" else keys.is_last_distinct()
    if stays.all():
        return frame
    row_numbers = frame["row_number"].gather(index)
    rows = pl.DataFrame({"key": keys, "index": index, "row": row_numbers})
    repeated = rows.filter(~stays).join(rows.filter(stays).select("key", kept="row"), on="key")
    kept = pl.repeat(None, frame.height, dtype=pl.UInt32, eager=True).scatter(repeated["index"], repeated["kept"])
    return _skip(
        frame,
        pl.lit(kept.is_not_null()),
        SkipReason.DUPLICATE,
        pl.format("same number as row {}", pl.lit(kept)),
    )


def limit(frame: pl.DataFrame, n: int, *, before: int = 0) -> pl.DataFrame:
    """The frame with reason `limit` on every sendable row after the first `n` of them, `before` of which are above."""
    beyond = _SENDABLE.cum_sum() > n - before
    return _skip(frame, beyond, SkipReason.LIMIT, pl.lit(f"beyond the first {n:,} recipients"))


def sendable(frame: pl.DataFrame) -> int:
    """How many rows of the frame are still to get a message."""
    return int(frame.select(_SENDABLE.sum()).item())


def _keys(numbers: pl.Series) -> pl.Series:
    """What tells numbers apart: integers (UInt64) where all of them are E.164, since those compare faster, else they
    themselves. No calling code begins with 0, so digits and integers are the same."""
    if not numbers.str.starts_with("+").all():
        return numbers
    digits = numbers.str.slice(1).cast(pl.UInt64, strict=False)
    return digits if digits.null_count() == numbers.null_count() else numbers


def _skip(frame: pl.DataFrame, which: pl.Expr, reason: SkipReason, detail: pl.Expr) -> pl.DataFrame:
    now = _SENDABLE & which
    return frame.with_columns(
        reason=pl.when(now).then(pl.lit(reason.value)).otherwise("reason"),
        detail=pl.when(now).then(detail).otherwise("detail"),
    )
