"""What a plan's messages cost by the campaign's price table, and whether that may be spent.

Columns in, columns out; whole micro-units throughout, so that totals are exact. A message without a price is counted
and shown, never taken as free. Reads no files, and knows no prices of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import polars as pl

from sender import providers
from sender.campaign.prices import MessagePrice, PriceTable
from sender.core import money
from sender.core.errors import InputError, setting

NO_REGION = "other"  # short codes, +800, satellites
_KEYS = ("_prefix", "region", "_sender", "_mms")


def price_messages(frame: pl.DataFrame, table: PriceTable | None, *, is_mms: pl.Expr) -> pl.DataFrame:
    """Return `frame` with `cost_micros` (Int64) filled in: price and fee for each segment of an SMS, or for an MMS.

    `frame` has `to, region, from_number, media, fields, segments, cost_micros` and `reason`. The cost is null for a row
    with a reason and for a message without a price; without a `table` the frame is returned as it is.
    """
    if table is None:
        return frame
    keyed = frame.drop("cost_micros").with_columns(
        _prefix=_longest_prefix(table.prefixes), _sender=_sender_types(frame), _mms=is_mms
    )
    distinct = keyed.filter(pl.col("reason").is_null()).select(_KEYS).unique()
    prices = [table.find(prefix, region, kind, mms=mms) for prefix, region, kind, mms in distinct.iter_rows()]
    unit = [None if price is None else price.price + price.fee for price in prices]
    units = distinct.with_columns(_unit=pl.Series(unit, dtype=pl.Int64))
    segments = pl.col("segments").cast(pl.Int64)  # 0: the provider writes the text, so its size is unknown
    times = pl.when("_mms").then(pl.lit(1, pl.Int64)).when(segments > 0).then(segments)
    return (
        keyed.join(units, on=_KEYS, how="left", nulls_equal=True, maintain_order="left")
        .with_columns(cost_micros=pl.when(pl.col("reason").is_null()).then(pl.col("_unit") * times))
        .select(frame.columns)
    )


def find_price(row: Mapping[str, Any], table: PriceTable, *, mms: bool) -> MessagePrice | None:
    """Return the price of one message of a plan (its row as a dict); None without a price."""
    prefix = next((prefix for prefix in reversed(table.prefixes) if str(row["to"]).startswith(prefix)), None)
    return table.find(prefix, row["region"], _sender_type(row["from_number"]), mms=mms)


def total_cost(messages: pl.LazyFrame, table: PriceTable | None, *, max_cost: Decimal | None) -> dict[str, Any] | None:
    """Return what `messages` cost, as plain values for a manifest; amounts are exact decimal text. None without prices.

    `currency`, `total`, `by_region` (region to `messages`, `segments`, `cost`; dearest first; NO_REGION has none),
    `unpriced` (region to the number of messages without a price), `max_cost` (text or None) and `table`, its name.
    """
    if table is None:
        return None
    return {
        "currency": table.currency,
        **sum_costs(messages),
        "max_cost": None if max_cost is None else f"{max_cost:f}",
        "table": table.name,
    }


def sum_costs(messages: pl.DataFrame | pl.LazyFrame) -> dict[str, Any]:
    """Return `total`, `by_region` and `unpriced` of `total_cost`."""
    region = pl.col("region").fill_null(NO_REGION)
    groups = (
        messages.lazy()
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
            group["region"]: {
                "messages": group["messages"],
                "segments": group["segments"],
                "cost": money.text(group["cost"]),
            }
            for group in groups.iter_rows(named=True)
            if group["messages"]
        },
        "unpriced": {group["region"]: group["unpriced"] for group in groups.iter_rows(named=True) if group["unpriced"]},
    }


def cost_problem(cost: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return why a plan of this `cost` must not be sent, and what to do; None when it may."""
    if cost["max_cost"] is None:
        return None
    most = f"limits.max_cost is {cost['max_cost']}"
    missing = sum(cost["unpriced"].values())
    if missing:
        where = ", ".join(f"{region} {count:,}" for region, count in cost["unpriced"].items())
        have = "1 message has" if missing == 1 else f"{missing:,} messages have"
        return (
            f"{have} no price ({where}), so the plan's cost is unknown, and {most}",
            f"add prices for them, or a `default`, to {cost['table']}, or skip these recipients",
        )
    if Decimal(cost["total"]) > Decimal(cost["max_cost"]):
        return (
            f"the plan costs {cost['total']} {cost['currency']}, and {most}",
            f"raise {setting('limits.max_cost')}, shorten the texts, or send to fewer; nothing was sent",
        )
    return None


def _longest_prefix(prefixes: tuple[str, ...]) -> pl.Expr:
    """Return the longest of `prefixes` that `to` begins with, or null."""
    by_length: dict[int, list[str]] = {}
    for prefix in prefixes:
        by_length.setdefault(len(prefix), []).append(prefix)
    matches = [
        pl.when(pl.col("to").str.slice(0, length).is_in(by_length[length])).then(pl.col("to").str.slice(0, length))
        for length in sorted(by_length, reverse=True)
    ]
    return pl.coalesce(*matches, pl.lit(None, pl.String))


def _sender_types(frame: pl.DataFrame) -> pl.Series:
    """Return the sender's type in each row (String); there are few distinct senders, whatever the number of rows."""
    distinct = frame["from_number"].unique()
    kinds = pl.DataFrame(
        {"from_number": distinct, "_type": [_sender_type(sender) for sender in distinct]},
        schema={"from_number": pl.String, "_type": pl.String},
    )
    return frame.select("from_number").join(
        kinds, on="from_number", how="left", nulls_equal=True, maintain_order="left"
    )["_type"]


def _sender_type(sender: str | None) -> str:
    """Return the type that price tables know: a number abroad is a long code; without a number, a service picks it."""
    if sender is None:
        return "service"
    try:
        return providers.rate_kind(sender).removesuffix("_abroad")
    except InputError:  # not a sender: the row is skipped for it elsewhere
        return "service"
