"""The SQL that writes outcomes, for `sender.state.sqlite.ledger`: within the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import apsw
import orjson

from sender.core.outcomes import CancelReason, SubmissionState
from sender.state.ledger import Counts, LogFinding, Settlement
from sender.state.outcome_rows import (
    COMMON,
    ORPHAN_MESSAGE,
    SEGMENTS,
    common_fields,
    found_rows,
    group_alike,
)
from sender.state.rows import settled
from sender.state.sqlite import closing, tallies
from sender.state.sqlite import reports as delivery_reports
from sender.state.sqlite import statements as sql
from sender.state.tallies import TallyChanges, TallyKey, key_of, make_counts


def count_changes(db: apsw.Connection, statement: str, rows: Iterable[tuple[Any, ...]]) -> int:
    """Run the statement with each of `rows`; return how many rows of the table changed."""
    before = db.total_changes()
    db.executemany(statement, rows)
    return db.total_changes() - before


def orphans_to_unknown(db: apsw.Connection, key: int, now_ms: int, *, overdue_ms: int | None = None) -> int:
    """Make the run's intents unknown, and apply the reports that waited for them; return how many are unknown now."""
    before_ms = None if overdue_ms is None else now_ms - overdue_ms
    changed = count_changes(db, sql.ORPHANS, [(ORPHAN_MESSAGE, now_ms, key, before_ms, before_ms)])
    if changed:
        tallies.recount(db, key)
    return changed - delivery_reports.apply_waiting(db, key, None, now_ms) if changed else 0


def record_outcomes(db: apsw.Connection, key: int, settlements: Iterable[Settlement], now_ms: int) -> int:
    """Settle each claim that still holds its message, those with like outcomes by one statement."""
    close_reason, is_odd = db.execute(sql.ANSWERED_RUN, {"run": key}).fetchone() or (None, 0)
    closed = None if close_reason is None else CancelReason(close_reason)
    given = list(settlements)
    others = _move(db, key, given, now_ms) if closed is None else given
    moved = len(given) - len(others)
    alike = group_alike(others, closed, now_ms)
    if not is_odd:  # every message is under way, or its claim is not the last any more
        db.execute("SAVEPOINT outcomes")
        changes = TallyChanges()
        if all(_record_alike(db, key, common, rows, now_ms, changes) for common, rows in alike.items()):
            db.execute("RELEASE outcomes")
            tallies.write(db, key, changes)
            return moved + sum(map(len, alike.values()))
        db.execute("ROLLBACK TO outcomes; RELEASE outcomes")
    changed = moved
    with tallies.counted(db, key, seqs=[seq for rows in alike.values() for seq, *_ in rows]):
        for common, rows in alike.items():
            changed += _write_alike(db, key, common, rows, now_ms)
    return changed


def _record_alike(
    db: apsw.Connection,
    key: int,
    common: tuple[Any, ...],
    rows: list[tuple[Any, ...]],
    now_ms: int,
    changes: TallyChanges,
) -> bool:
    """Settle claims of messages under way, with like outcomes; return whether each held its message."""
    if _write_alike(db, key, common, rows, now_ms) < len(rows):
        return False
    fields = common_fields(common[1:])
    reported = [row[SEGMENTS] for row in rows if row[SEGMENTS] is not None]
    changes.add(TallyKey(SubmissionState.INTENT.value), -len(rows))
    changes.add(key_of(fields), len(rows), reported=len(reported), segments=sum(reported), example=rows[-1][0])
    changes.finish(fields, len(rows))
    return True


def _write_alike(
    db: apsw.Connection, key: int, common: tuple[Any, ...], rows: list[tuple[Any, ...]], now_ms: int
) -> int:
    uncounted, *fields = common
    named = dict(zip(COMMON, fields, strict=True)) | {
        "settlements": orjson.dumps(rows).decode(),
        "run": key,
        "now": now_ms,
        "uncounted": int(uncounted),
    }
    before = db.total_changes()
    db.execute(sql.RECORD, named)
    return db.total_changes() - before


def _move(db: apsw.Connection, key: int, settlements: list[Settlement], now_ms: int) -> list[Settlement]:
    """Let the messages that move wait at their new routes, each with what the old one answered; return the others."""
    others: list[Settlement] = []
    changes = TallyChanges()
    for one in settlements:
        if one.moves_to is None:
            others.append(one)
            continue
        claim, row = one.claim, settled(one.outcome, due_ms=now_ms, now_ms=now_ms)
        named = {"run": key, "seq": claim.seq, "attempt": claim.attempt, "fence": claim.fence, "now": now_ms}
        said = {name: getattr(row, name) for name in ("reason", "error_code", "error_message")}
        db.execute(sql.NOTE_REFUSAL, named | said)
        db.execute(sql.MOVE, named | {"to": one.moves_to})
        if db.changes():
            changes.add(TallyKey(SubmissionState.INTENT.value), -1)
        else:
            others.append(one)  # in doubt by now, or sent again by a person: it is rejected where it is
    tallies.write(db, key, changes)
    return others


def record_findings(db: apsw.Connection, key: int, findings: Iterable[LogFinding], now_ms: int) -> int:
    """Settle unknown messages as the provider's log proves; return how many changed."""
    findings = list(findings)
    seqs = json.dumps([finding.seq for finding in findings if finding.outcome is None])
    taken_over = {seq for (seq,) in db.execute(sql.TAKEN_OVER, {"run": key, "seqs": seqs})}
    rows = found_rows(findings, closing.close_reason(db, key), taken_over, now_ms)
    with tallies.counted(db, key, seqs=[finding.seq for _, finding in rows]):
        return count_changes(
            db, sql.RECONCILE, ((*fields, now_ms, key, finding.seq, finding.attempt) for fields, finding in rows)
        )


def count_states(db: apsw.Connection, key: int, messages: int) -> Counts:
    """The run's messages by state; those without a row are pending."""
    return make_counts(dict(db.execute(sql.COUNT, (key,))), messages)


def replace_runs(
    db: apsw.Connection, runs: Iterable[tuple[int, int]], *, by: str, reason: CancelReason, now_ms: int
) -> None:
    """Close these runs (key, number of messages), which nobody sends; what a dead process left becomes unknown."""
    for key, messages in runs:
        orphans_to_unknown(db, key, now_ms)
        closing.close_run(db, key, messages, by=by, reason=reason, now_ms=now_ms)
