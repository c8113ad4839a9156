"""The SQL that writes outcomes, for `sender.state.sqlite.ledger`: within the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import apsw
import orjson

from sender.core.outcomes import Canceled, CancelReason, SubmissionState, Unknown
from sender.state.ledger import Counts, LogFinding, Settlement
from sender.state.rows import settled
from sender.state.sqlite import closing
from sender.state.sqlite import reports as delivery_reports
from sender.state.sqlite import statements as sql


def count_changes(db: apsw.Connection, statement: str, rows: Iterable[tuple[Any, ...]]) -> int:
    """Run the statement with each of `rows`; return how many rows of the table changed."""
    before = db.total_changes()
    db.executemany(statement, rows)
    return db.total_changes() - before


def orphans_to_unknown(db: apsw.Connection, key: int, now_ms: int) -> int:
    """Make the run's intents unknown, and apply the reports that waited for them; return how many are unknown now."""
    changed = count_changes(db, sql.ORPHANS, [(sql.ORPHAN_MESSAGE, now_ms, key)])
    return changed - delivery_reports.apply_waiting(db, key, None, now_ms) if changed else 0


def record_outcomes(db: apsw.Connection, key: int, settlements: Iterable[Settlement], now_ms: int) -> int:
    """Settle each claim that still holds its message, those with like outcomes by one statement."""
    before = db.total_changes()
    closed = closing.close_reason(db, key)
    alike: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    claims: set[tuple[int, int, int]] = set()
    for claim, outcome, due_ms in settlements:
        key_of_claim = (claim.seq, claim.attempt, claim.fence)
        if key_of_claim in claims:
            continue
        claims.add(key_of_claim)
        due_at = now_ms if due_ms is None else due_ms
        row = settled(closing.settle_closed(outcome, closed), due_ms=due_at, now_ms=now_ms)
        varying = (*key_of_claim, *sql.varying(row))
        uncounted = isinstance(outcome, Canceled)  # no request was made
        alike.setdefault((uncounted, *sql.common(row)), []).append(varying)
    for (uncounted, *common), rows in alike.items():
        named = dict(zip(sql.COMMON, common, strict=True)) | {
            "settlements": orjson.dumps(rows).decode(),
            "run": key,
            "now": now_ms,
            "uncounted": int(uncounted),
        }
        db.execute(sql.RECORD, named)
    return db.total_changes() - before


def record_findings(db: apsw.Connection, key: int, findings: Iterable[LogFinding], now_ms: int) -> int:
    """Settle unknown messages as the provider's log proves; return how many changed."""
    findings = list(findings)
    closed = closing.close_reason(db, key)
    seqs = json.dumps([finding.seq for finding in findings if finding.outcome is None])
    taken_over = {seq for (seq,) in db.execute(sql.TAKEN_OVER, {"run": key, "seqs": seqs})}
    rows = []
    for finding in findings:
        if not isinstance(finding.outcome, Unknown):  # which proves nothing new
            ends = CancelReason.SUPERSEDED if finding.seq in taken_over else closed
            fields = settled(closing.settle_closed(finding.outcome, ends), due_ms=now_ms, now_ms=now_ms)
            rows.append((*fields, now_ms, key, finding.seq, finding.attempt))
    return count_changes(db, sql.RECONCILE, rows)


def find_damage(check: tuple[Any, ...], messages: int, run_id: str) -> str | None:
    """What is wrong with the rows of a run, from the row that CHECK returns; None where they are sound."""
    rows, top, total, sound = check
    if rows != top or total != rows * (rows - 1) // 2 or rows > messages:
        return f"run {run_id} has {rows} rows of messages, and {top} were claimed"
    if sound == rows:
        return None
    broken = rows - sound
    subject = f"1 message of run {run_id} is" if broken == 1 else f"{broken} messages of run {run_id} are"
    return f"{subject} in an impossible state"


def count_states(db: apsw.Connection, key: int, messages: int) -> Counts:
    """The run's messages by state; those without a row are pending."""
    counts: dict[str, int] = dict(db.execute(sql.COUNT, (key,)))
    return Counts(
        pending=messages - sum(counts.values()),
        intent=counts.get(SubmissionState.INTENT, 0),
        accepted=counts.get(SubmissionState.ACCEPTED, 0),
        rejected=counts.get(SubmissionState.REJECTED, 0),
        canceled=counts.get(SubmissionState.CANCELED, 0),
        unknown=counts.get(SubmissionState.UNKNOWN, 0),
    )


def replace_runs(
    db: apsw.Connection, runs: Iterable[tuple[int, int]], *, by: str, reason: CancelReason, now_ms: int
) -> None:
    """Close these runs (key, number of messages), which nobody sends; what a dead process left becomes unknown."""
    for key, messages in runs:
        orphans_to_unknown(db, key, now_ms)
        closing.close_run(db, key, messages, by=by, reason=reason, now_ms=now_ms)
