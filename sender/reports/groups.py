"""A run by group: messages, segments and cost of each country and of each sender."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from sender.core import money
from sender.core.lazy_modules import pl
from sender.core.outcomes import FINAL, Status, SubmissionState

_BAD = [status.value for status in (Status.UNDELIVERED, Status.FAILED, Status.REJECTED, Status.CANCELED)]


@dataclass(frozen=True, slots=True)
class Group:
    """The messages of one country or one sender.

    `waiting` are accepted ones without a final status. `planned` is their cost by the price table (None without one),
    `price` the cost of accepted ones so far by currency.
    """

    name: str
    messages: int
    accepted: int
    delivered: int
    waiting: int
    bad: int
    unknown: int
    segments: int
    planned: Decimal | None
    price: Mapping[str, Decimal]


def group_messages(messages: pl.DataFrame, by: pl.Expr, *, priced: bool) -> tuple[Group, ...]:
    """Return a group for each value of `by`, largest first. `priced` says that the plan has a price table."""
    status, is_accepted = pl.col("status"), pl.col("_state") == SubmissionState.ACCEPTED.value
    keyed = messages.with_columns(_group=by)
    counts = (
        keyed.group_by("_group")
        .agg(
            messages=pl.len(),
            accepted=is_accepted.sum(),
            delivered=(status == Status.DELIVERED.value).sum(),
            waiting=(is_accepted & ~status.is_in([final.value for final in FINAL])).sum(),
            bad=status.is_in(_BAD).sum(),
            unknown=(status == Status.UNKNOWN.value).sum(),
            segments=pl.coalesce("_segments", "segments").filter(is_accepted).sum(),
            planned=pl.col("cost_micros").sum(),
        )
        .sort("messages", "_group", descending=[True, False])
    )
    prices = _sum_prices(keyed.filter(is_accepted & pl.col("_price").is_not_null()))
    groups = []
    for row in counts.iter_rows(named=True):
        name, planned = row.pop("_group"), row.pop("planned")
        cost = Decimal(money.text(planned)) if priced else None
        groups.append(Group(name=name, **row, planned=cost, price=prices.get(name, {})))
    return tuple(groups)


def _sum_prices(priced: pl.DataFrame) -> dict[str, dict[str, Decimal]]:
    """The exact cost by group and currency. Unreadable prices are left out."""
    prices: dict[str, dict[str, Decimal]] = {}
    for name, currency, price, count in priced.group_by("_group", "_currency", "_price").len().iter_rows():
        try:
            amount = abs(Decimal(price)) * count
        except InvalidOperation:
            continue
        if amount.is_finite():
            sums = prices.setdefault(name, {})
            sums[currency or ""] = sums.get(currency or "", Decimal()) + amount
    return prices
