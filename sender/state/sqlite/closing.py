"""The SQL of runs that are closed or paused, for `sender.state.sqlite.ledger`: within the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Collection

import apsw

from sender.core.outcomes import CancelReason
from sender.state.sqlite import reports as delivery_reports
from sender.state.sqlite import statements as sql
from sender.state.sqlite import tallies


def is_held(db: apsw.Connection, key: int) -> bool:
    """Whether the run is closed or paused."""
    return bool(db.execute(sql.IS_HELD, (key,)).get)


def is_closed(db: apsw.Connection, key: int) -> bool:
    return close_reason(db, key) is not None


def close_reason(db: apsw.Connection, key: int) -> CancelReason | None:
    """Why the run is closed; None while it is open."""
    reason = db.execute(sql.CLOSE_REASON, (key,)).get
    return None if reason is None else CancelReason(reason)


def close_run(db: apsw.Connection, key: int, messages: int, *, by: str, reason: CancelReason, now_ms: int) -> int:
    """Close the run, and return how many messages became canceled; a run that is closed stays as it is."""
    named = {"run": key, "now": now_ms, "by": by, "reason": reason.value}
    db.execute(sql.CLOSE_RUN, named)
    if not db.changes():
        return 0
    db.execute(sql.DOUBT_PENDING, named)
    before = db.total_changes()
    db.execute(sql.CANCEL_PENDING, named)
    start: int = db.execute(sql.NEXT_SEQ, (key,)).get
    if start < messages:
        db.execute(sql.CANCEL_NEXT, named | {"start": start, "stop": messages})
    canceled = db.total_changes() - before
    tallies.recount(db, key)
    canceled -= delivery_reports.apply_waiting(db, key, None, now_ms)  # of messages that the provider has after all
    db.execute(sql.FINISH, named)
    return canceled


def cancel(db: apsw.Connection, key: int, seqs: Collection[int], *, reason: CancelReason, now_ms: int) -> int:
    """Cancel those of `seqs` that are pending, claimed before or never; return how many."""
    if not seqs:
        return 0
    named = {"run": key, "now": now_ms, "reason": reason.value, "seqs": json.dumps(sorted(seqs))}
    start: int = db.execute(sql.NEXT_SEQ, (key,)).get
    if start <= max(seqs):  # rows are dense: those before it wait, as prefetched ones do
        db.execute(sql.PREFETCH, named | {"start": start, "stop": max(seqs) + 1})
    with tallies.counted(db, key, seqs=seqs):
        db.execute(sql.DOUBT_SOME, named)
        db.execute(sql.CANCEL_SOME, named)
        return db.changes()
