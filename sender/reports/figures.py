"""A run in figures: what a report shows, on a page or in a terminal. Columns in, plain values out.

Reads the plan and the journal's frame it is given; opens no ledger, reads no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sender.core.lazy_modules import pl
from sender.core.outcomes import HELD_BACK, CancelReason, Status, SubmissionState
from sender.plan.manifest import provider_shown, sender_shown
from sender.plan.plan import Plan
from sender.reports.comparison import Comparison
from sender.reports.funnel import Stage, count_waiting, make_funnel
from sender.reports.groups import Group, group_messages
from sender.reports.summary import ErrorCount, Summary, summarise
from sender.reports.timeline import Latency, Timeline, make_timeline, measure_latency, peak_rate, submission_rate
from sender.state.ledger import Run
from sender.state.message_status import join_journal, status_of

OTHER_COUNTRY = "other"  # short codes, and numbers that belong to no country
# Those of the journal that figures are made of, besides what the run's summary has.
JOURNAL_COLUMNS = (
    *("seq", "state", "attempts", "intent_at", "sender", "status", "segments", "price", "currency", "final_at"),
    "route",
)
SENTENCES = ("seq", "provider_status", "error_message")  # of the messages that are listed by themselves
_LISTED = ("row_number", "to", "from", "_latency_s")
_TIMED = ("_state", "status", "_intent_at", "_final_at", "_latency_s")  # of a message that was submitted


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
    summary: Summary | None = None,
    read_sentences: Callable[[list[int]], pl.DataFrame] | None = None,
    most: int = 20,
) -> Figures:
    """Return the run's figures. At most `most` slow messages and as many unknown ones are listed.

    `journal` has all columns; or JOURNAL_COLUMNS, and `summary` is what the run's totals say, and `read_sentences`
    returns SENTENCES of the messages with these `seq`.
    """
    manifest = plan.manifest
    summary = summary or summarise(plan, journal)
    messages = _join_journal(plan, journal)
    arrived = messages.filter(_has_arrived()).select("seq", *_LISTED)
    describe = read_sentences or (lambda seqs: journal.filter(pl.col("seq").is_in(seqs)).select(SENTENCES))
    priced = manifest.cost is not None
    return Figures(
        run=run,
        campaign=manifest.campaign,
        provider=manifest.provider,
        summary=summary,
        funnel=make_funnel(summary),
        held_back=_count_held_back(summary),
        **_time(messages.filter(pl.col("_attempts") > 0).select(*_TIMED)),
        planned_per_s=manifest.pace.per_s,
        unit=manifest.pace.unit,
        waiting=count_waiting(summary),
        latency=measure_latency(arrived["_latency_s"]),
        countries=group_messages(messages, pl.col("region").fill_null(OTHER_COUNTRY), priced=priced),
        senders=group_messages(messages, pl.col("from").fill_null("picked by the provider"), priced=priced),
        routes=group_messages(messages, pl.col("_provider"), priced=False) if manifest.routes else (),
        errors=summary.errors,
        segments_planned=manifest.segments,
        segments_real=summary.segments,
        **_count_told(messages),
        cost_planned=None if manifest.cost is None else Decimal(manifest.cost["total"]),
        currency=None if manifest.cost is None else str(manifest.cost["currency"]),
        slowest=_list_messages(_find_slowest(arrived, most), "provider_status", describe),
        unknowns=_list_messages(
            messages.filter(pl.col("status") == Status.UNKNOWN.value).head(most), "error_message", describe
        ),
        retry_of=run.retry_of,
        retries=tuple(retry.run_id for retry in retries),
        comparison=comparison,
    )


def _has_arrived() -> pl.Expr:
    accepted = pl.col("_state") == SubmissionState.ACCEPTED.value
    return accepted & (pl.col("status") == Status.DELIVERED.value) & pl.col("_latency_s").is_not_null()


def _time(submitted: pl.DataFrame) -> dict[str, Any]:
    """Those of the figures that are about when messages were submitted."""
    begun, ended = submitted["_intent_at"].min(), submitted["_intent_at"].max()
    return {
        "begun": begun if isinstance(begun, datetime) else None,
        "ended": ended if isinstance(ended, datetime) else None,
        "per_s": submission_rate(submitted),
        "peak_per_s": peak_rate(submitted),
        "timeline": make_timeline(submitted),
    }


def _count_told(messages: pl.DataFrame) -> dict[str, Any]:
    """Those of the figures that are about what the provider has said of accepted messages."""
    accepted = pl.col("_state") == SubmissionState.ACCEPTED.value
    counts = messages.select(
        segments_told=(accepted & pl.col("_segments").is_not_null()).sum(),
        segments_differ=(accepted & (pl.col("_segments") != pl.col("segments"))).sum(),
        priced=(accepted & pl.col("_price").is_not_null()).sum(),
    )
    return counts.row(0, named=True)


def _find_slowest(arrived: pl.DataFrame, most: int) -> pl.DataFrame:
    """The messages that took longest, the longest first; of equals the first in the plan."""
    slow = arrived.filter(pl.col("_latency_s") >= pl.col("_latency_s").top_k(most).min())
    return slow.sort("_latency_s", descending=True, maintain_order=True).head(most)


def _count_held_back(summary: Summary) -> int:
    """The number of messages that the suppression list stopped after planning."""
    by_list = {CancelReason.OPTED_OUT.value, CancelReason.UNDER_REVIEW.value}
    return sum(
        error.count
        for error in summary.errors
        if (error.status == Status.CANCELED and error.reason in by_list)
        or error.error_code == HELD_BACK  # an older version's
    )


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
    joined = join_journal(messages, journal.select(JOURNAL_COLUMNS))
    latency = (pl.col("_final_at") - pl.col("_intent_at")).dt.total_milliseconds() / 1000
    return joined.with_columns(
        status_of(),
        pl.coalesce("_sender", sender_shown(plan.manifest, route="_route")).alias("from"),
        provider_shown(plan.manifest, route="_route").alias("_provider"),
        latency.clip(lower_bound=0).alias("_latency_s"),  # the provider's clock may be behind ours
    )


def _list_messages(
    rows: pl.DataFrame, detail: str, describe: Callable[[list[int]], pl.DataFrame]
) -> tuple[ListedMessage, ...]:
    if rows.is_empty():
        return ()
    told = rows.join(describe(rows["seq"].to_list()), on="seq", how="left", maintain_order="left")
    return tuple(ListedMessage(*row) for row in told.select(*_LISTED, detail).iter_rows())


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
