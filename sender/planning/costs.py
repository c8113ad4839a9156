"""What a plan's messages cost by the campaign's price table, and whether that may be spent.

Columns in, columns out; whole micro-units all the way, so that totals are exact. A message without a price is counted
and told, never taken for free. Reads no files, and knows no prices of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import polars as pl

from sender import providers
from sender.campaign.prices import MessagePrice, PriceTable
from sender.core import money
from sender.core.errors import CostLimit, InputError, setting

NOWHERE = "other"  # the region of a number that has none: short codes, +800, satellites
_KEYS = ("_prefix", "region", "_sender", "_mms")


def price(frame: pl.DataFrame, table: PriceTable, *, is_mms: pl.Expr) -> pl.DataFrame:
    """`frame` with `cost_micros` (Int64): price and fee for each segment of an SMS, or for an MMS.

    `frame` holds `to, region, from_number, media, fields, segments` and `reason`; a row with a reason costs nothing
    (null), and so, for now, does a message without a price. `is_mms` says of each row whether it goes as MMS.
    """
    keyed = frame.with_columns(_prefix=_longest(table.prefixes), _sender=_sender_types(frame), _mms=is_mms)
    distinct = keyed.filter(pl.col("reason").is_null()).select(_KEYS).unique()
    rates = [table.rate(prefix, region, kind, mms=mms) for prefix, region, kind, mms in distinct.iter_rows()]
    unit = [None if rate is None else rate.price + rate.fee for rate in rates]
    units = distinct.with_columns(_unit=pl.Series(unit, dtype=pl.Int64))
    parts = pl.col("segments").cast(pl.Int64)  # 0: the provider fills in the text, so nobody knows its size
    times = pl.when("_mms").then(pl.lit(1, pl.Int64)).when(parts > 0).then(parts)
    return (
        keyed.join(units, on=_KEYS, how="left", nulls_equal=True, maintain_order="left")
        .with_columns(cost_micros=pl.when(pl.col("reason").is_null()).then(pl.col("_unit") * times))
        .drop("_prefix", "_sender", "_mms", "_unit")
    )


def rate_of(row: Mapping[str, Any], table: PriceTable, *, mms: bool) -> MessagePrice | None:
    """The rate of one message of a plan (its row as a dict); None without a price."""
    prefix = next((one for one in reversed(table.prefixes) if str(row["to"]).startswith(one)), None)
    return table.rate(prefix, row["region"], _sender_type(row["from_number"]), mms=mms)


def totals(sent: pl.LazyFrame, table: PriceTable) -> dict[str, Any]:
    """What the messages in `sent` cost, as plain values for a manifest; amounts are exact decimal text.

    `currency`, `total`, `by_region` (region to `messages`, `segments`, `cost`; dearest first; `other` has no region),
    and `unpriced` (region to how many messages have no price).
    """
    return {"currency": table.currency, **add_up(sent)}


def add_up(sent: pl.DataFrame | pl.LazyFrame) -> dict[str, Any]:
    """`totals` without the currency."""
    region = pl.col("region").fill_null(NOWHERE)
    groups = (
        sent.lazy()
        .group_by(region=region)
        .agg(
            messages=pl.col("cost_micros").count(),
            segments=pl.col("segments").filter(pl.col("cost_micros").is_not_null()).sum(),
            cost=pl.col("cost_micros").sum(),
            unpriced=pl.col("cost_micros").null_count(),
        )
        .sort("cost", "unpriced", "region", descending=[True, True, False])
        .collect(engine="streaming")
    )
    return {
        "total": money.text(int(groups["cost"].sum())),
        "by_region": {
            one["region"]: {
                "messages": one["messages"],
                "segments": one["segments"],
                "cost": money.text(one["cost"]),
            }
            for one in groups.iter_rows(named=True)
            if one["messages"]
        },
        "unpriced": {one["region"]: one["unpriced"] for one in groups.iter_rows(named=True) if one["unpriced"]},
    }


def check_limit(spent: Mapping[str, Any] | None, allowed: Mapping[str, Any] | None) -> None:
    """Raises CostLimit when a plan must not be sent for what it costs.

    `spent` is the manifest's `cost` of the plan to be sent; `allowed` is that of the plan whose campaign sets
    `max_cost`: the same one, but where a run is finished with the plan it began with. Without a `max_cost`
    everything is allowed.
    """
    if allowed is None or allowed["max_cost"] is None:
        return
    if spent is None or spent["currency"] != allowed["currency"]:
        raise CostLimit(
            "the run began with a plan that has no prices in this currency, so nobody can say what it costs, and"
            f" limits.max_cost is {allowed['max_cost']} {allowed['currency']}",
            fix="leave `limits.max_cost` or --max-cost out to finish it all the same",
        )
    problem = excess({**spent, "max_cost": allowed["max_cost"]})
    if problem is not None:
        raise CostLimit(problem[0], fix=problem[1])


def excess(cost: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why a plan of this `cost` must not be sent, and what to do; None when it may."""
    if cost["max_cost"] is None:
        return None
    most = f"limits.max_cost is {cost['max_cost']}"
    missing = sum(cost["unpriced"].values())
    if missing:
        where = ", ".join(f"{region} {count:,}" for region, count in cost["unpriced"].items())
        have = "1 message has" if missing == 1 else f"{missing:,} messages have"
        return (
            f"{have} no price ({where}), so nobody can say what the plan costs, and {most}",
            f"add prices for them, or a `default`, to {cost['table']}, or leave them out",
        )
    if Decimal(cost["total"]) > Decimal(cost["max_cost"]):
        return (
            f"the plan costs {cost['total']} {cost['currency']}, and {most}",
            f"raise {setting('limits.max_cost')}, shorten the texts, or send to fewer; nothing was sent",
        )
    return None


def _longest(prefixes: tuple[str, ...]) -> pl.Expr:
    """The longest of `prefixes` that `to` begins with, or null."""
    by_length: dict[int, list[str]] = {}
    for one in prefixes:
        by_length.setdefault(len(one), []).append(one)
    heads = [
        pl.when(pl.col("to").str.slice(0, length).is_in(by_length[length])).then(pl.col("to").str.slice(0, length))
        for length in sorted(by_length, reverse=True)
    ]
    return pl.coalesce(*heads, pl.lit(None, pl.String))


def _sender_types(frame: pl.DataFrame) -> pl.Series:
    """The sender's type in each row (String): a few distinct senders for any number of rows."""
    distinct = frame["from_number"].unique()
    kinds = pl.DataFrame(
        {"from_number": distinct, "_type": [_sender_type(one) for one in distinct]},
        schema={"from_number": pl.String, "_type": pl.String},
    )
    return frame.select("from_number").join(
        kinds, on="from_number", how="left", nulls_equal=True, maintain_order="left"
    )["_type"]


def _sender_type(sender: str | None) -> str:
    """As price tables have it: a number abroad is a long code too, and without a number a service picks it."""
    if sender is None:
        return "service"
    try:
        return providers.rate_kind(sender).removesuffix("_abroad")
    except InputError:  # the row is skipped for it
        return "service"
