"""A run in figures: what a report shows, on a page or in a terminal. Columns in, plain values out.

Reads the plan and the journal's frame it is given; opens no ledger, reads no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sender.core.lazy_modules import pl
from sender.core.outcomes import CancelReason, Status, SubmissionState
from sender.plan.manifest import provider_shown, sender_shown
from sender.plan.plan import Plan
from sender.reports.comparison import Comparison
from sender.reports.funnel import Stage, count_waiting, make_funnel
from sender.reports.groups import Group, group_messages
from sender.reports.summary import ErrorCount, Summary, summarise
from sender.reports.timeline import Latency, Timeline, make_timeline, measure_latency, peak_rate, submission_rate
from sender.state.ledger import Run
from sender.state.message_status import status_of
from sender.suppression.live_check import HELD_BACK

OTHER_COUNTRY = "other"  # short codes, and numbers that belong to no country


@dataclass(frozen=True, slots=True)
class ListedMessage:
    """A message listed by itself, because it was slow or is unknown. `seconds` is its time to delivery."""

    row_number: int
    to: str
    from_number: str | None
    seconds: float | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything a report says about a run.

    `begun` and `ended` are the first and the last intent (None before the first); `per_s` is messages a second between
    them, without the pauses. `segments_told` counts accepted messages whose segments the provider reported, and
    `segments_differ` those where its count differs from the plan's. `priced` counts accepted messages with a price.
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
    routes: tuple[Group, ...]  # by provider; empty where there is one
    errors: tuple[ErrorCount, ...]
    segments_planned: int
    segments_real: int
    segments_told: int
    segments_differ: int
    cost_planned: Decimal | None
    currency: str | None
    priced: int
    slowest: tuple[ListedMessage, ...]
    unknowns: tuple[ListedMessage, ...]
    retry_of: str | None
    retries: tuple[str, ...]
    comparison: Comparison | None


def build_figures(
    plan: Plan,
    journal: pl.DataFrame,
    run: Run,
    *,
    retries: Sequence[Run] = (),
    comparison: Comparison | None = None,
    most: int = 20,
) -> Figures:
    """Return the run's figures. At most `most` slow messages and as many unknown ones are listed."""
    manifest = plan.manifest
    summary = summarise(plan, journal)
    messages = _join_journal(plan, journal)
    accepted = messages.filter(pl.col("_state") == SubmissionState.ACCEPTED.value)
    arrived = accepted.filter((pl.col("status") == Status.DELIVERED.value) & pl.col("_latency_s").is_not_null())
    submitted = messages.filter(pl.col("_attempts") > 0)
    begun, ended = submitted["_intent_at"].min(), submitted["_intent_at"].max()
    return Figures(
        run=run,
        campaign=manifest.campaign,
        provider=manifest.provider,
        summary=summary,
        funnel=make_funnel(summary),
        held_back=_count_held_back(messages),
        begun=begun if isinstance(begun, datetime) else None,
        ended=ended if isinstance(ended, datetime) else None,
        per_s=submission_rate(submitted),
        peak_per_s=peak_rate(submitted),
        planned_per_s=manifest.pace.per_s,
        unit=manifest.pace.unit,
        waiting=count_waiting(summary),
        latency=measure_latency(arrived["_latency_s"]),
        timeline=make_timeline(submitted),
        countries=group_messages(messages, pl.col("region").fill_null(OTHER_COUNTRY), priced=manifest.cost is not None),
        senders=group_messages(
            messages, pl.col("from").fill_null("picked by the provider"), priced=manifest.cost is not None
        ),
        routes=group_messages(messages, pl.col("_provider"), priced=False) if manifest.routes else (),
        errors=summary.errors,
        segments_planned=manifest.segments,
        segments_real=summary.segments,
        segments_told=accepted["_segments"].count(),
        segments_differ=accepted.filter(pl.col("_segments") != pl.col("segments")).height,
        cost_planned=None if manifest.cost is None else Decimal(manifest.cost["total"]),
        currency=None if manifest.cost is None else str(manifest.cost["currency"]),
        priced=accepted["_price"].count(),
        slowest=_list_messages(
            arrived.sort("_latency_s", descending=True, maintain_order=True).head(most), "provider_status"
        ),
        unknowns=_list_messages(messages.filter(pl.col("status") == Status.UNKNOWN.value).head(most), "_error_message"),
        retry_of=run.retry_of,
        retries=tuple(retry.run_id for retry in retries),
        comparison=comparison,
    )


def _count_held_back(messages: pl.DataFrame) -> int:
    """The number of messages that the suppression list stopped after planning."""
    by_list = pl.col("_reason").is_in([CancelReason.OPTED_OUT.value, CancelReason.UNDER_REVIEW.value])
    now = (pl.col("_state") == SubmissionState.CANCELED.value) & by_list
    by_older_version = pl.col("_error_code").eq_missing(pl.lit(HELD_BACK))
    return messages.filter(now | by_older_version).height


def _join_journal(plan: Plan, journal: pl.DataFrame) -> pl.DataFrame:
    """Every message of the plan, with the journal's columns under names that begin with `_`."""
    messages = (
        plan.scan()
        .filter(pl.col("seq").is_not_null())
        .select(
            *("row_number", "seq", "to", "region", "segments", "cost_micros"),
            "from_number",
            "fields",
        )
        .collect()
    )
    known = journal.select("seq", pl.exclude("seq").name.prefix("_"))
    joined = messages.join(known, on="seq", how="left", maintain_order="left")
    latency = (pl.col("_final_at") - pl.col("_intent_at")).dt.total_milliseconds() / 1000
    return joined.with_columns(
        status_of(),
        pl.coalesce("_sender", sender_shown(plan.manifest, route="_route")).alias("from"),
        provider_shown(plan.manifest, route="_route").alias("_provider"),
        pl.col("_provider_status").alias("provider_status"),
        latency.clip(lower_bound=0).alias("_latency_s"),  # the provider's clock may be behind ours
    )


def _list_messages(rows: pl.DataFrame, detail: str) -> tuple[ListedMessage, ...]:
    return tuple(
        ListedMessage(*row) for row in rows.select("row_number", "to", "from", "_latency_s", detail).iter_rows()
    )


def figures_to_dict(figures: Figures) -> dict[str, Any]:
    """Return the figures as JSON-ready values: amounts as decimal text, times as ISO 8601 UTC."""
    values = {name: _plain(value) for name, value in asdict(figures).items()}
    return {"law": figures.summary.totals_line(), **values}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value
