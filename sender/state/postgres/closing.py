"""The SQL of runs that are closed or paused, for `sender.state.postgres.ledger`: within the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection

from sender.core.outcomes import CancelReason
from sender.state.postgres import reports as delivery_reports
from sender.state.postgres import statements as sql
from sender.state.postgres import tallies
from sender.state.postgres.database import Transaction


def is_held(db: Transaction, key: int) -> bool:
    """Whether the run is closed or paused."""
    return bool(db.value(sql.IS_HELD, (key,)))


def close_reason(db: Transaction, key: int) -> CancelReason | None:
    """Why the run is closed; None while it is open."""
    reason = db.value(sql.CLOSE_REASON, (key,))
    return None if reason is None else CancelReason(reason)


def close_run(db: Transaction, key: int, messages: int, *, by: str, reason: CancelReason, now_ms: int) -> int:
    """Close the run, and return how many messages became canceled; a run that is closed stays as it is."""
    named = {"run": key, "now": now_ms, "by": by, "reason": reason.value}
    if not db.execute(sql.CLOSE_RUN, named):
        return 0
    db.execute(sql.DOUBT_PENDING, named)
    canceled = db.execute(sql.CANCEL_PENDING, named)
    start: int = db.value(sql.NEXT_SEQ, (key,))
    if start < messages:
        canceled += db.execute(sql.CANCEL_NEXT, named | {"start": start, "stop": messages})
        db.execute(sql.ADVANCE, {"run": key, "next": messages, "claims": 0})
    tallies.recount(db, key)
    canceled -= delivery_reports.apply_waiting(db, key, None, now_ms)  # of messages that the provider has after all
    db.execute(sql.FINISH, named)
    return canceled


def cancel(db: Transaction, key: int, seqs: Collection[int], *, reason: CancelReason, now_ms: int) -> int:
    """Cancel those of `seqs` that are pending, claimed before or never; return how many."""
    if not seqs:
        return 0
    named = {"run": key, "now": now_ms, "reason": reason.value, "seqs": sorted(seqs)}
    enter_waiting(db, key, now_ms, max(seqs) + 1)  # rows are dense: those before it wait, as prefetched ones do
    with tallies.counted(db, key, seqs=seqs):
        db.execute(sql.DOUBT_SOME, named)
        return db.execute(sql.CANCEL_SOME, named)


def enter_waiting(db: Transaction, key: int, now_ms: int, stop: int) -> None:
    """Enter the messages from the frontier to `stop` as waiting ones."""
    start: int = db.value(sql.NEXT_SEQ, (key,))
    if start < stop:
        db.execute(sql.PREFETCH, {"run": key, "now": now_ms, "start": start, "stop": stop})
        db.execute(sql.ADVANCE, {"run": key, "next": stop, "claims": 0})
