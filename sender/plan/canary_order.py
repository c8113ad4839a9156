"""Which messages of a run go before all others: every k-th of those that may leave first."""

from __future__ import annotations

import polars as pl


def choose_canary(opens_ms: pl.Series, *, first: int, limit: int | None = None) -> pl.Series:
    """Return whether each message belongs to the canary (Boolean), in the order of the claims.

    `opens_ms` (Int64) is when each message may leave, null for one that never may. The canary is spread evenly over
    those that may leave first: the time at which the run starts for what may leave at once. With a `limit` only the
    messages before it leave now. They all belong to it where they are fewer than `first`, and others make up for the
    rest.
    """
    messages = pl.DataFrame({"opens": opens_ms}).with_row_index("place")
    may_leave = (pl.col("opens") == pl.col("opens").min()).fill_null(value=False)
    if limit is None:
        return messages.select(canary=_spread(may_leave, first)).to_series()
    is_now = pl.col("place") < limit
    if limit >= first:
        return messages.select(canary=_spread(may_leave & is_now, first)).to_series()
    return messages.select(canary=is_now | _spread(may_leave & ~is_now, first - limit)).to_series()


def _spread(candidates: pl.Expr, number: int) -> pl.Expr:
    """Every k-th of the candidates, the first one among them, so that there are `number` of them, or all."""
    count = candidates.sum().cast(pl.Int64)
    chosen = pl.min_horizontal(count, pl.lit(number, pl.Int64))
    rank = candidates.cast(pl.Int64).cum_sum() - 1
    return candidates & ((rank * chosen) % count < chosen)
