"""Which messages of a run go before all others: every k-th of those that may leave first."""

from __future__ import annotations

from dataclasses import replace

from sender.core.lazy_modules import pl
from sender.plan.plan import Plan
from sender.plan.stored_rows import StoredRows, find_row_group

_ROWS_IN_MEMORY = 50_000


def put_canary_first(plan: Plan, *, limit: int | None = None) -> Plan:
    """Return the plan with its canary before all others, which stay in the order of the file.

    Its hash and identity stay what they are; its manifest has the canary's size. The first `limit` messages of the file
    come before all others in any case. A plan without a canary is returned as it is.
    """
    canary = plan.manifest.canary
    if canary is None:
        return plan
    order = plan.scan().filter(pl.col("seq").is_not_null()).select("seq").collect()
    belongs = choose_canary(pl.repeat(0, order.height, dtype=pl.Int64, eager=True), first=canary["first"], limit=limit)
    bound = order.height if limit is None else limit
    order = order.with_columns(_later=pl.col("seq") >= bound, _rest=~belongs)
    order = order.sort("_later", "_rest", "seq").select("seq", _place=pl.int_range(pl.len(), dtype=pl.UInt32))
    manifest = replace(plan.manifest, canary={**canary, "size": int(belongs.sum())})
    return plan.with_manifest(manifest) if order["seq"].is_sorted() else Plan(manifest, renumber(plan, order))


def renumber(plan: Plan, order: pl.DataFrame) -> pl.DataFrame | StoredRows:
    """Return the plan's rows, each message with its `_place` in `order` as `seq`, in that order; skipped rows last."""
    rows = (
        plan.scan_stored()
        .join(order.lazy(), on="seq", how="left")
        .with_columns(seq=pl.col("_place"))
        .drop("_place")
        .sort("seq", "row_number", nulls_last=True)
    )
    if plan.manifest.rows <= _ROWS_IN_MEMORY:
        return rows.collect()
    stored = StoredRows()
    size = find_row_group(len(plan.manifest.headers))
    rows.sink_parquet(stored.path, compression="zstd", row_group_size=size, statistics=False, maintain_order=True)
    return stored


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
