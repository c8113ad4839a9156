"""The SQL that writes outcomes, for `sender.state.postgres.ledger`: within the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sender.core.outcomes import CancelReason, SubmissionState
from sender.state.ledger import Counts, LogFinding, Settlement
from sender.state.outcome_rows import (
    COMMON,
    ORPHAN_MESSAGE,
    VARYING,
    common_fields,
    found_rows,
    group_alike,
)
from sender.state.postgres import closing, tallies
from sender.state.postgres import reports as delivery_reports
from sender.state.postgres import statements as sql
from sender.state.postgres.database import Transaction
from sender.state.tallies import TallyChanges, TallyKey, key_of, make_counts

LATE_MS = 10_000  # beyond the longest request: for clocks, and for an answer on its way into the ledger


def orphans_to_unknown(db: Transaction, key: int, now_ms: int, *, overdue_ms: int | None = None) -> int:
    """Make the run's intents unknown, and apply the reports that waited for them; return how many are unknown now.

    Where several machines send it, nobody knows which of its senders are dead: only those intents count whose
    deadline and longest request are over.
    """
    if overdue_ms is None:
        longest_s = db.value(sql.LONGEST_TOGETHER, (key,))
        overdue_ms = None if longest_s is None else LATE_MS + int(1000 * longest_s)
    named = {"run": key, "now": now_ms, "why": ORPHAN_MESSAGE}
    before_ms = None if overdue_ms is None else now_ms - overdue_ms
    changed = db.execute(sql.ORPHANS, named | {"before": before_ms})
    if changed:
        tallies.recount(db, key)
    return changed - delivery_reports.apply_waiting(db, key, None, now_ms) if changed else 0


def record_outcomes(db: Transaction, key: int, settlements: Iterable[Settlement], now_ms: int) -> int:
    """Settle each claim that still holds its message, those with like outcomes by one statement."""
    close_reason, is_odd = db.row(sql.ANSWERED_RUN, {"run": key}) or (None, False)
    closed = None if close_reason is None else CancelReason(close_reason)
    alike = group_alike(settlements, closed, now_ms)
    changed = 0
    if is_odd:
        with tallies.counted(db, key, seqs=[seq for rows in alike.values() for seq, *_ in rows]):
            for common, rows in alike.items():
                changed += _write_alike(db, key, common, rows, now_ms)[0]
        return changed
    changes = TallyChanges()  # whatever changes was under way
    for common, rows in alike.items():
        settled, reported, segments = _write_alike(db, key, common, rows, now_ms)
        fields = common_fields(common[1:])
        changes.add(TallyKey(SubmissionState.INTENT.value), -settled)
        changes.add(key_of(fields), settled, reported=reported, segments=segments, example=rows[-1][0])
        changes.finish(fields, settled)
        changed += settled
    tallies.write(db, key, changes)
    return changed


def _write_alike(
    db: Transaction, key: int, common: tuple[Any, ...], rows: list[tuple[Any, ...]], now_ms: int
) -> tuple[int, int, int]:
    """Settle claims with like outcomes; return how many held their message, how many have segments, and how many."""
    uncounted, *fields = common
    columns = map(list, zip(*rows, strict=True))
    named = dict(zip(("seqs", "attempts", "fences", *VARYING), columns, strict=True)) | {
        **dict(zip(COMMON, fields, strict=True)),
        "run": key,
        "now": now_ms,
        "uncounted": int(uncounted),
    }
    changed, reported, segments = db.row(sql.RECORD, named) or (0, 0, 0)
    return changed, reported, segments


def record_findings(db: Transaction, key: int, findings: Iterable[LogFinding], now_ms: int) -> int:
    """Settle unknown messages as the provider's log proves; return how many changed."""
    findings = list(findings)
    asked = [finding.seq for finding in findings if finding.outcome is None]
    taken_over = {seq for (seq,) in db.rows(sql.TAKEN_OVER, {"run": key, "seqs": asked})}
    rows = found_rows(findings, closing.close_reason(db, key), taken_over, now_ms)
    with tallies.counted(db, key, seqs=[finding.seq for _, finding in rows]):
        return db.execute_each(
            sql.RECONCILE, [(*fields, now_ms, key, finding.seq, finding.attempt) for fields, finding in rows]
        )


def count_states(db: Transaction, key: int, messages: int) -> Counts:
    """The run's messages by state; those without a row are pending."""
    return make_counts(dict(db.rows(sql.COUNT, (key,))), messages)


def replace_runs(
    db: Transaction, runs: Iterable[tuple[int, int]], *, by: str, reason: CancelReason, now_ms: int
) -> None:
    """Close these runs (key, number of messages), which nobody sends; what a dead process left becomes unknown."""
    for key, messages in runs:
        orphans_to_unknown(db, key, now_ms)
        closing.close_run(db, key, messages, by=by, reason=reason, now_ms=now_ms)
