"""A run in figures: what a report shows, on a page or in a terminal. Columns in, plain values out.

Reads the plan and the journal's frame it is given; opens no ledger, reads no clock. Rates and latencies are told for
what they can be told: submission by the time of the intent, delivery by the time of the provider's final word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import polars as pl

from sender.core import money
from sender.core.outcomes import State, Status
from sender.plan.manifest import sender_shown
from sender.plan.plan import Plan
from sender.reports.results import ErrorCount, Summary, summarise
from sender.state.ledger import Run
from sender.state.message_status import status_of
from sender.suppression.live_check import HELD_BACK

FINAL = (Status.DELIVERED, Status.UNDELIVERED, Status.FAILED, Status.CANCELED, Status.UNCONFIRMED)
_WITH_CARRIER = (Status.SENT, Status.DELIVERED, Status.UNDELIVERED, Status.UNCONFIRMED)
NOWHERE = "other"  # short codes and numbers of no country
_BINS = 60  # of a time axis, at most
_BIN_S = 0.5  # at least: outcomes are written in groups, and the pace within one is none
_PAUSE_S = 10.0  # and longer, between two messages: stopped and resumed, or waiting for the provider's log
# Seconds that read well on an axis of time.
STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the funnel: how many rows came that far."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Group:
    """The messages of one country or one sender.

    `planned` is what they were to cost by the price table (None without one), `price` what accepted ones did cost so
    far, by currency.
    """

    name: str
    messages: int
    accepted: int
    delivered: int
    bad: int
    unknown: int
    segments: int
    planned: Decimal | None
    price: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from our intent to the provider's final word, of `count` delivered messages."""

    count: int
    median_s: float
    p95_s: float
    p99_s: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class Line:
    """One message that is worth a look: a slow one, or an unknown one."""

    row_number: int
    to: str
    from_number: str | None
    seconds: float | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """What happened in each bin of `step_s` seconds from `start` on; lists are as long as there are bins.

    `median_s` and `p95_s` are latencies of what was submitted in that bin, None where nothing of it has arrived.
    """

    start: datetime
    step_s: float
    accepted: list[int]
    rejected: list[int]
    unknown: list[int]
    delivered: list[int]
    failed: list[int]
    median_s: list[float | None]
    p95_s: list[float | None]


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything a report says of a run.

    `begun` and `ended` are the first and the last intent (None before the first); `per_s` is messages a second between
    them, pauses left out.
    `segments_told` counts accepted messages whose segments the provider told, `segments_differ` those it counted
    otherwise than the plan. `priced` counts accepted messages with a price.
    """

    run: Run
    campaign: str
    provider: str
    summary: Summary
    funnel: tuple[Stage, ...]
    held_back: int
    begun: datetime | None
    ended: datetime | None
    per_s: float | None
    peak_per_s: float | None
    planned_per_s: float | None
    unit: str
    waiting: int
    latency: Latency | None
    timeline: Timeline | None
    countries: tuple[Group, ...]
    senders: tuple[Group, ...]
    errors: tuple[ErrorCount, ...]
    segments_planned: int
    segments_real: int
    segments_told: int
    segments_differ: int
    cost_planned: Decimal | None
    currency: str | None
    priced: int
    slowest: tuple[Line, ...]
    unknowns: tuple[Line, ...]
    retry_of: str | None
    retries: tuple[str, ...]


def figures(plan: Plan, journal: pl.DataFrame, run: Run, *, retries: Sequence[Run] = (), most: int = 20) -> Figures:
    """The run's figures; `most` bounds the slow and the unknown messages that are listed, each."""
    manifest = plan.manifest
    summary = summarise(plan, journal)
    told = _told(plan, journal)
    accepted = told.filter(pl.col("_state") == State.ACCEPTED.value)
    arrived = accepted.filter((pl.col("status") == Status.DELIVERED.value) & pl.col("_latency_s").is_not_null())
    submitted = told.filter(pl.col("_intent_at").is_not_null())
    begun, ended = submitted["_intent_at"].min(), submitted["_intent_at"].max()
    timeline = _timeline(submitted)
    waiting, funnel = waiting_and_funnel(summary)
    return Figures(
        run=run,
        campaign=manifest.campaign,
        provider=manifest.provider,
        summary=summary,
        funnel=funnel,
        held_back=told.filter(pl.col("_error_code").eq_missing(pl.lit(HELD_BACK))).height,
        begun=begun if isinstance(begun, datetime) else None,
        ended=ended if isinstance(ended, datetime) else None,
        per_s=_rate(submitted),
        peak_per_s=_peak(submitted),
        planned_per_s=manifest.pace.per_s,
        unit=manifest.pace.unit,
        waiting=waiting,
        latency=_latency(arrived["_latency_s"]),
        timeline=timeline,
        countries=_groups(told, pl.col("region").fill_null(NOWHERE), priced=manifest.cost is not None),
        senders=_groups(told, pl.col("from").fill_null("picked by the provider"), priced=manifest.cost is not None),
        errors=summary.errors,
        segments_planned=manifest.segments,
        segments_real=summary.segments,
        segments_told=accepted["_segments"].count(),
        segments_differ=accepted.filter(pl.col("_segments") != pl.col("segments")).height,
        cost_planned=None if manifest.cost is None else Decimal(manifest.cost["total"]),
        currency=None if manifest.cost is None else str(manifest.cost["currency"]),
        priced=accepted["_price"].count(),
        slowest=_lines(arrived.sort("_latency_s", descending=True, maintain_order=True).head(most), "provider_status"),
        unknowns=_lines(told.filter(pl.col("status") == Status.UNKNOWN.value).head(most), "_error_message"),
        retry_of=run.retry_of,
        retries=tuple(one.run_id for one in retries),
    )


def _told(plan: Plan, journal: pl.DataFrame) -> pl.DataFrame:
    """Every message of the plan with what the journal knows of it, under names that begin with `_`."""
    messages = (
        plan.scan()
        .filter(pl.col("seq").is_not_null())
        .select(
            *("row_number", "seq", "to", "region", "segments", "cost_micros"),
            sender_shown(plan.manifest).alias("_planned_from"),
        )
        .collect()
    )
    known = journal.select("seq", pl.exclude("seq").name.prefix("_"))
    joined = messages.join(known, on="seq", how="left", maintain_order="left")
    latency = (pl.col("_final_at") - pl.col("_intent_at")).dt.total_milliseconds() / 1000
    return joined.with_columns(
        status_of(),
        pl.coalesce("_sender", "_planned_from").alias("from"),
        pl.col("_provider_status").alias("provider_status"),
        latency.clip(lower_bound=0).alias("_latency_s"),  # the provider's clock may be behind ours
    )


def waiting_and_funnel(summary: Summary) -> tuple[int, tuple[Stage, ...]]:
    """How many accepted messages have no final word yet, and how far the rows came."""
    told = summary.statuses
    messages = summary.rows - sum(summary.skipped.values())
    funnel = (
        Stage("rows", summary.rows),
        Stage("messages", messages),
        Stage("submitted", messages - summary.pending),
        Stage("accepted", summary.accepted),
        Stage("with the carrier", sum(told.get(one, 0) for one in _WITH_CARRIER)),
        Stage("delivered", told.get(Status.DELIVERED, 0)),
    )
    return summary.accepted - sum(told.get(one, 0) for one in FINAL), funnel


def _rate(submitted: pl.DataFrame) -> float | None:
    """Messages a second from the first intent to the last, without pauses; None where they are too close to tell."""
    times = submitted["_intent_at"].sort()
    last = times.max()
    if not isinstance(last, datetime):
        return None
    gaps_s = times.unique(maintain_order=True).diff().drop_nulls().dt.total_milliseconds() / 1000
    usual_s = gaps_s.median()
    longest_s = max(_PAUSE_S, 20 * usual_s) if isinstance(usual_s, float) else _PAUSE_S
    going_s = float(gaps_s.filter(gaps_s <= longest_s).sum())
    return times.filter(times < last).len() / going_s if going_s >= 1 else None


def _peak(submitted: pl.DataFrame) -> float | None:
    """The most messages of any whole second."""
    if _rate(submitted) is None:
        return None
    seconds = submitted.group_by(pl.col("_intent_at").dt.truncate("1s")).len()
    return float(seconds["len"].max())  # type: ignore[arg-type]


def _latency(seconds: pl.Series) -> Latency | None:
    if not seconds.len():
        return None
    at = [seconds.quantile(q, "nearest") or 0.0 for q in (0.5, 0.95, 0.99, 1.0)]
    return Latency(seconds.len(), *at)


def _timeline(submitted: pl.DataFrame) -> Timeline | None:
    """The run in at most _BINS bins of a round number of seconds; None before the first message."""
    first = submitted["_intent_at"].min()
    lasts = [one for one in (submitted["_intent_at"].max(), submitted["_final_at"].max()) if isinstance(one, datetime)]
    if not isinstance(first, datetime) or not lasts:
        return None
    span_s = (max(lasts) - first).total_seconds()
    steps = (step for step in STEPS_S if step >= _BIN_S and span_s < step * _BINS)
    step_s = next(steps, float(-(-span_s // _BINS) or 1))
    bins = int(span_s // step_s) + 1
    since_s = (pl.col("_intent_at") - first).dt.total_milliseconds() / 1000
    until_s = (pl.col("_final_at") - first).dt.total_milliseconds() / 1000
    binned = submitted.with_columns(
        _bin=(since_s / step_s).floor().cast(pl.Int64),
        _end=(until_s / step_s).floor().cast(pl.Int64).clip(0, bins - 1),
    )

    def counted(column: str, where: pl.Expr) -> list[int]:
        found = dict(binned.filter(where).group_by(column).len().iter_rows())
        return [int(found.get(number, 0)) for number in range(bins)]

    state, status = pl.col("_state"), pl.col("status")
    delivered = binned.filter((status == Status.DELIVERED.value) & pl.col("_latency_s").is_not_null())
    waits = delivered.group_by("_bin").agg(
        median=pl.col("_latency_s").quantile(0.5, "nearest"), p95=pl.col("_latency_s").quantile(0.95, "nearest")
    )
    by_bin: dict[int, tuple[float, float]] = {one: (median, p95) for one, median, p95 in waits.iter_rows()}
    return Timeline(
        start=first,
        step_s=step_s,
        accepted=counted("_bin", state == State.ACCEPTED.value),
        rejected=counted("_bin", state == State.REJECTED.value),
        unknown=counted("_bin", state.is_in([State.UNKNOWN.value, State.INTENT.value])),
        delivered=counted("_end", (status == Status.DELIVERED.value) & pl.col("_end").is_not_null()),
        failed=counted(
            "_end", status.is_in([Status.UNDELIVERED.value, Status.FAILED.value]) & pl.col("_end").is_not_null()
        ),
        median_s=[by_bin[one][0] if one in by_bin else None for one in range(bins)],
        p95_s=[by_bin[one][1] if one in by_bin else None for one in range(bins)],
    )


def _groups(told: pl.DataFrame, by: pl.Expr, *, priced: bool) -> tuple[Group, ...]:
    """One for each value of `by`, most messages first."""
    status, is_accepted = pl.col("status"), pl.col("_state") == State.ACCEPTED.value
    keyed = told.with_columns(_group=by)
    counts = (
        keyed.group_by("_group")
        .agg(
            messages=pl.len(),
            accepted=is_accepted.sum(),
            delivered=(status == Status.DELIVERED.value).sum(),
            bad=status.is_in([Status.UNDELIVERED.value, Status.FAILED.value, Status.REJECTED.value]).sum(),
            unknown=(status == Status.UNKNOWN.value).sum(),
            segments=pl.coalesce("_segments", "segments").filter(is_accepted).sum(),
            planned=pl.col("cost_micros").sum(),
        )
        .sort("messages", "_group", descending=[True, False])
    )
    prices: dict[str, dict[str, Decimal]] = {}
    told_prices = keyed.filter(is_accepted & pl.col("_price").is_not_null())
    for name, currency, price, count in told_prices.group_by("_group", "_currency", "_price").len().iter_rows():
        try:
            amount = abs(Decimal(price)) * count
        except InvalidOperation:
            continue
        if amount.is_finite():
            sums = prices.setdefault(name, {})
            sums[currency or ""] = sums.get(currency or "", Decimal()) + amount
    groups = []
    for row in counts.iter_rows(named=True):
        name, planned = row.pop("_group"), row.pop("planned")
        cost = Decimal(money.text(planned)) if priced else None
        groups.append(Group(name=name, **row, planned=cost, price=prices.get(name, {})))
    return tuple(groups)


def _lines(rows: pl.DataFrame, detail: str) -> tuple[Line, ...]:
    return tuple(Line(*row) for row in rows.select("row_number", "to", "from", "_latency_s", detail).iter_rows())


def to_dict(found: Figures) -> dict[str, Any]:
    """The figures as JSON-ready values: amounts as decimal text, times as ISO 8601 UTC."""
    return {"law": found.summary.law(), **{name: _plain(value) for name, value in asdict(found).items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value
