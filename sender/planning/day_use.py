"""What live runs have sent in the last 24 hours, by the state's own clock, and what a start would add.

Tests and simulations count nothing. A message that may have been sent counts; one that proved not to have arrived does
not, so that its retry does not count twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl

from sender.plan.plan import Plan
from sender.state.contacts import DID_NOT_ARRIVE, may_have_sent_since
from sender.state.ledger import Run, RunKind
from sender.state.state import State

DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Due:
    """What a start would send now: `messages`, their cost (None: unknown), and how many of the plan precede them."""

    messages: int
    cost_micros: int | None
    offset: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class DayUse:
    """Messages and their cost. `unpriced` are the runs with messages whose cost is unknown.

    `times` has a row for each message, oldest first: `at_ms`, `cost_micros`.
    """

    times: pl.DataFrame
    unpriced: tuple[str, ...] = field(default=())

    @property
    def messages(self) -> int:
        return self.times.height

    @property
    def cost_micros(self) -> int:
        return int(self.times["cost_micros"].sum())

    def frees_messages_at(self, count: int) -> str | None:
        """Return when `count` of the messages are older than a day; None if there are fewer."""
        return None if count > self.times.height else _moment(self.times["at_ms"][count - 1])

    def frees_cost_at(self, micros: int) -> str | None:
        """Return when messages that cost `micros` are older than a day; None if all cost less."""
        enough = self.times.filter(pl.col("cost_micros").fill_null(0).cum_sum() >= micros)
        return None if enough.is_empty() else _moment(enough["at_ms"][0])


def read_day_use(state: State, *, currency: str | None) -> DayUse:
    """Return what live runs of the state have sent in the last 24 hours, its cost in `currency` (None: not asked)."""
    since_ms = state.ledger.now_ms() - DAY_MS
    frames, unpriced = [pl.DataFrame(schema=_SCHEMA)], []
    for run in state.ledger.runs():
        if run.kind is not RunKind.LIVE or not may_have_sent_since(run, since_ms):
            continue
        sent = state.ledger.sent(run.run_id, since_ms=since_ms)
        sent = sent.filter(~pl.col("status").is_in(DID_NOT_ARRIVE).fill_null(value=False))
        if sent.is_empty():
            continue
        priced = _price(state, run, sent, currency)
        if priced["cost_micros"].null_count():
            unpriced.append(run.run_id)
        frames.append(priced)
    return DayUse(pl.concat(frames).sort("at_ms"), tuple(unpriced) if currency is not None else ())


def find_due(state: State, plan: Plan, run: Run | None, *, limit: int | None) -> Due:
    """Return what a start of `plan` would send now: a new run's messages, or the pending ones of `run`."""
    first, earlier = (0, []) if run is None else state.ledger.pending_from(run.run_id)
    seq = pl.col("seq")
    pending = (seq >= first) | seq.is_in(earlier)
    if limit is not None:
        pending &= seq < limit
    messages = plan.scan().filter(seq.is_not_null() & pending).select("seq", "cost_micros").collect()
    unknown = plan.manifest.cost is None or messages["cost_micros"].null_count() > 0
    cost = None if unknown else int(messages["cost_micros"].sum())
    return Due(messages.height, cost, offset=plan.manifest.messages - messages.height if limit is None else 0)


_SCHEMA = {"at_ms": pl.Int64(), "cost_micros": pl.Int64()}


def _price(state: State, run: Run, sent: pl.DataFrame, currency: str | None) -> pl.DataFrame:
    """Return `at_ms` and `cost_micros` of the messages; the cost is null where it is not known in that currency."""
    manifest = state.plans.manifest(run) if currency is not None else None
    if manifest is None or manifest.cost is None or manifest.cost["currency"] != currency:
        return sent.select("at_ms", cost_micros=pl.lit(None, pl.Int64()))
    costs = state.plan(run).scan().filter(pl.col("seq").is_not_null()).select("seq", "cost_micros").collect()
    return sent.join(costs, on="seq", how="left").select("at_ms", "cost_micros")


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp((at_ms + DAY_MS) / 1000, UTC).astimezone():%Y-%m-%d %H:%M %Z}"
