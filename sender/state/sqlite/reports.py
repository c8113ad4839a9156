"""The SQL of delivery reports, for `sender.state.sqlite.ledger`: each function runs within the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apsw

from sender.core.outcomes import FINAL, RANK
from sender.state.ledger import ReceivedReport, ReportCounts
from sender.state.report_rules import MessageRow, ReportEffect, ReportFields, apply_report
from sender.state.sqlite import tallies
from sender.state.tallies import TallyChanges

_ROW = ", ".join(MessageRow._fields)
_FIELDS = ", ".join(ReportFields._fields)
_SELECT_ROW = f"SELECT {_ROW} FROM message WHERE run = ? AND seq = ?"  # noqa: S608 (our names)
_UPDATE_ROW = f"""
UPDATE message SET {", ".join(f"{name} = ?" for name in MessageRow._fields)}, deadline = NULL, not_before = NULL,
    fence = max(fence, 1), updated_at = ?
WHERE run = ? AND seq = ?
"""  # noqa: S608
_KEEP = f"INSERT OR IGNORE INTO report (run, seq, {_FIELDS}) VALUES (?, ?{', ?' * len(ReportFields._fields)})"  # noqa: S608
_SELECT_WAITING = f"SELECT key, seq, {_FIELDS} FROM report WHERE run = ? AND seq BETWEEN ? AND ? ORDER BY seq, key"  # noqa: S608
_SELECT_KEPT = f"SELECT {_FIELDS} FROM report WHERE key = ?"  # noqa: S608
_UNFINISHED = ", ".join(f"'{status}'" for status in RANK if status not in FINAL)
# A message under way gets its outcome when its run goes on, whenever that is: the report is what proves it.
_FORGET = """
DELETE FROM report WHERE received_at < ? AND NOT EXISTS (
    SELECT 1 FROM message WHERE message.run = report.run AND message.seq = report.seq AND message.state = 'intent'
)
"""
_DELIVERING = f"SELECT count(*) FROM message WHERE run = ? AND state = 'accepted' AND status IN ({_UNFINISHED})"  # noqa: S608
# `message` is the outer loop: it has no index on the ids, so that a smooth run need not keep one of random values.
_STRAYS = """
SELECT report.key, message.run, message.seq
FROM message CROSS JOIN report ON report.message_id = message.message_id
WHERE report.run IS NULL AND message.message_id IS NOT NULL ORDER BY report.key
"""


def record_reports(
    db: apsw.Connection, reports: Sequence[ReceivedReport], run_key: Callable[[str], int | None], now_ms: int
) -> ReportCounts:
    """Apply each report to the message that its ref names; keep what is too early or names none."""
    effects = dict.fromkeys(ReportEffect, 0)
    changes: dict[int, TallyChanges] = {}
    for received in reports:
        report = ReportFields.of(received.report, now_ms=now_ms)
        run = run_key(received.run_id) if received.run_id is not None else None
        seq = received.seq if run is not None else None
        effect = ReportEffect.KEPT
        if run is not None and seq is not None:
            effect = _apply(db, run, seq, report, now_ms, changes.setdefault(run, TallyChanges()))
        if effect is ReportEffect.KEPT:
            db.execute(_KEEP, (run if seq is not None else None, seq, *report))
        effects[effect] += 1
    for run, counted in changes.items():
        tallies.write(db, run, counted)
    return ReportCounts(
        applied=effects[ReportEffect.APPLIED], same=effects[ReportEffect.SAME], kept=effects[ReportEffect.KEPT]
    )


def apply_waiting(db: apsw.Connection, run: int, seqs: Iterable[int] | None, now_ms: int) -> int:
    """Apply the reports kept for these messages of the run (None: for all); return how many messages changed.

    Call it when the messages' state has changed.
    """
    changed = None if seqs is None else set(seqs)
    low, high = (0, 2**62) if changed is None else (min(changed, default=0), max(changed, default=-1))
    applied: set[int] = set()
    counted = TallyChanges()
    rows: list[Any] = db.execute(_SELECT_WAITING, (run, low, high)).fetchall()
    for key, seq, *values in rows:
        due = changed is None or seq in changed
        if due and _apply_kept(db, key, run, seq, ReportFields.read(values), now_ms, counted):
            applied.add(seq)
    tallies.write(db, run, counted)
    return len(applied)


def find_strays(db: apsw.Connection) -> list[tuple[int, int, int]]:
    """`(report key, run, seq)` of kept reports without a ref whose message is here by now. Reads only."""
    if db.execute("SELECT 1 FROM report WHERE run IS NULL LIMIT 1").fetchone() is None:
        return []
    rows: list[Any] = db.execute(_STRAYS).fetchall()
    return rows


def apply_strays(db: apsw.Connection, strays: Iterable[tuple[int, int, int]], now_ms: int) -> int:
    """Apply what `find_strays` returned, unless another process has done so; return how many changed a message."""
    applied = 0
    for key, run, seq in strays:
        values = db.execute(_SELECT_KEPT, (key,)).fetchone()
        if values is not None:
            counted = TallyChanges()
            applied += _apply_kept(db, key, run, seq, ReportFields.read(values), now_ms, counted)
            tallies.write(db, run, counted)
    return applied


def count_delivering(db: apsw.Connection, run: int) -> int:
    """The number of accepted messages of the run without a final status."""
    number: int = db.execute(_DELIVERING, (run,)).get
    return number


def count_kept(db: apsw.Connection) -> int:
    """The number of reports that wait for their message."""
    number: int = db.execute("SELECT count(*) FROM report").get
    return number


def forget_kept(db: apsw.Connection, before_ms: int) -> int:
    """Drop reports that were kept before then and found no message; return how many."""
    db.execute(_FORGET, (before_ms,))
    return db.changes()


def _apply_kept(
    db: apsw.Connection, key: int, run: int, seq: int, report: ReportFields, now_ms: int, counted: TallyChanges
) -> bool:
    effect = _apply(db, run, seq, report, now_ms, counted)
    if effect is not ReportEffect.KEPT:
        db.execute("DELETE FROM report WHERE key = ?", (key,))
    return effect is ReportEffect.APPLIED


def _apply(
    db: apsw.Connection, run: int, seq: int, report: ReportFields, now_ms: int, counted: TallyChanges
) -> ReportEffect:
    values = db.execute(_SELECT_ROW, (run, seq)).fetchone()
    if values is None:  # never claimed by this ledger: rows are dense, so none is made up
        return ReportEffect.KEPT
    row = MessageRow.read(values)
    new = apply_report(row, report)
    if isinstance(new, ReportEffect):
        return new
    counted.move(seq, row, new)
    db.execute(_UPDATE_ROW, (*new, now_ms, run, seq))
    return ReportEffect.APPLIED
