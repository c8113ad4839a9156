"""A run, and the few steps that tests of every ledger are made of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl

from sender.core.outcomes import Accepted, Canceled, CancelReason, Deferred, Outcome, Reason, Rejected, Unknown
from sender.state.ledger import Claim, Ledger, Run, RunKind, Settlement

RUN = Run(
    run_id="run-1",
    campaign="welcome",
    kind=RunKind.LIVE,
    provider="twilio",
    plan_hash="9f86d081",
    source="campaigns/welcome.yaml",
    rows=12,
    messages=10,
    skipped=2,
    created_at_ms=1_767_268_800_000,
)
LEASE_MS = 60_000
ACCEPTED = Accepted("SM1")
REJECTED = Rejected(Reason.BLOCKED, "21610", "blocked")
DEFERRED = Deferred(Reason.RATE_LIMITED, "20429", "too many requests")
UNKNOWN = Unknown("read timeout")
CANCELED = Canceled(CancelReason.OPTED_OUT, "not sent: replied STOP")
OUTCOMES: dict[str, Outcome | Canceled] = {
    "accepted": ACCEPTED,
    "rejected": REJECTED,
    "canceled": CANCELED,
    "deferred": DEFERRED,
    "unknown": UNKNOWN,
}


def claim(ledger: Ledger, limit: int = 1, run_id: str = RUN.run_id, **options: int) -> list[Claim]:
    return ledger.claim(run_id, limit=limit, lease_ms=LEASE_MS, **options)


def record(ledger: Ledger, one: Claim, outcome: Outcome | Canceled, not_before_ms: int | None = None) -> int:
    return ledger.record(RUN.run_id, [Settlement(one, outcome, not_before_ms)])


def row(ledger: Ledger, seq: int = 0) -> dict[str, Any]:
    return ledger.journal(RUN.run_id).row(by_predicate=pl.col("seq") == seq, named=True)


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
