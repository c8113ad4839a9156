"""The SQL of delivery reports, for `sender.state.sqlite.ledger`: each function runs within the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apsw

from sender.core.outcomes import FINAL, RANK
from sender.state.ledger import ReceivedReport, ReportCounts
from sender.state.report_rules import MessageRow, ReportEffect, ReportFields, apply_report

_ROW = ", ".join(MessageRow._fields)
_TOLD = ", ".join(ReportFields._fields)
_SELECT_ROW = f"SELECT {_ROW} FROM message WHERE run = ? AND seq = ?"  # noqa: S608 (our names)
_UPDATE_ROW = f"""
UPDATE message SET {", ".join(f"{name} = ?" for name in MessageRow._fields)}, deadline = NULL, not_before = NULL,
    fence = max(fence, attempts), updated_at = ?
WHERE run = ? AND seq = ?
"""  # noqa: S608
_KEEP = f"INSERT OR IGNORE INTO report (run, seq, {_TOLD}) VALUES (?, ?{', ?' * len(ReportFields._fields)})"  # noqa: S608
_WAITING = f"SELECT key, seq, {_TOLD} FROM report WHERE run = ? AND seq BETWEEN ? AND ? ORDER BY seq, key"  # noqa: S608
_ONE = f"SELECT {_TOLD} FROM report WHERE key = ?"  # noqa: S608
_UNFINISHED = ", ".join(f"'{status}'" for status in RANK if status not in FINAL)
_DELIVERING = f"SELECT count(*) FROM message WHERE run = ? AND state = 'accepted' AND status IN ({_UNFINISHED})"  # noqa: S608
# `message` is the outer loop: it has no index on the ids, so that a smooth run need not keep one of random values.
_STRAYS = """
SELECT report.key, message.run, message.seq
FROM message CROSS JOIN report ON report.message_id = message.message_id
WHERE report.run IS NULL AND message.message_id IS NOT NULL ORDER BY report.key
"""


def report(
    db: apsw.Connection, reports: Sequence[ReceivedReport], run_key: Callable[[str], int | None], now_ms: int
) -> ReportCounts:
    """Applies each report to the message its ref names; keeps what is too early or names none."""
    fates = dict.fromkeys(ReportEffect, 0)
    for one in reports:
        told = ReportFields.of(one.report, now_ms=now_ms)
        run = run_key(one.run_id) if one.run_id is not None else None
        seq = one.seq if run is not None else None
        fate = ReportEffect.KEPT if run is None or seq is None else _apply(db, run, seq, told, now_ms)
        if fate is ReportEffect.KEPT:
            db.execute(_KEEP, (run if seq is not None else None, seq, *told))
        fates[fate] += 1
    return ReportCounts(
        applied=fates[ReportEffect.APPLIED], same=fates[ReportEffect.SAME], kept=fates[ReportEffect.KEPT]
    )


def apply_waiting(db: apsw.Connection, run: int, seqs: Iterable[int] | None, now_ms: int) -> int:
    """Applies what was kept for these messages of the run (None: for all), now that their state has changed."""
    wanted = None if seqs is None else set(seqs)
    low, high = (0, 2**62) if wanted is None else (min(wanted, default=0), max(wanted, default=-1))
    applied = 0
    rows: list[Any] = db.execute(_WAITING, (run, low, high)).fetchall()
    for key, seq, *values in rows:
        if wanted is None or seq in wanted:
            applied += _apply_kept(db, key, run, seq, ReportFields.read(values), now_ms)
    return applied


def strays(db: apsw.Connection) -> list[tuple[int, int, int]]:
    """(report key, run, seq) of what was kept without a ref and turns out to be about a message here. Reads only."""
    if db.execute("SELECT 1 FROM report WHERE run IS NULL LIMIT 1").fetchone() is None:
        return []
    rows: list[Any] = db.execute(_STRAYS).fetchall()
    return rows


def apply_strays(db: apsw.Connection, found: Iterable[tuple[int, int, int]], now_ms: int) -> int:
    """Applies what `strays` found, unless another process has done it meanwhile."""
    applied = 0
    for key, run, seq in found:
        values = db.execute(_ONE, (key,)).fetchone()
        if values is not None:
            applied += _apply_kept(db, key, run, seq, ReportFields.read(values), now_ms)
    return applied


def delivering(db: apsw.Connection, run: int) -> int:
    """How many accepted messages of the run have no final status yet."""
    number: int = db.execute(_DELIVERING, (run,)).get
    return number


def kept(db: apsw.Connection) -> int:
    """How many reports wait for their message."""
    number: int = db.execute("SELECT count(*) FROM report").get
    return number


def forget(db: apsw.Connection, before_ms: int) -> int:
    """Drops what was kept before then and found no message."""
    db.execute("DELETE FROM report WHERE received_at < ?", (before_ms,))
    return db.changes()


def _apply_kept(db: apsw.Connection, key: int, run: int, seq: int, told: ReportFields, now_ms: int) -> bool:
    fate = _apply(db, run, seq, told, now_ms)
    if fate is not ReportEffect.KEPT:
        db.execute("DELETE FROM report WHERE key = ?", (key,))
    return fate is ReportEffect.APPLIED


def _apply(db: apsw.Connection, run: int, seq: int, told: ReportFields, now_ms: int) -> ReportEffect:
    values = db.execute(_SELECT_ROW, (run, seq)).fetchone()
    if values is None:  # never claimed by this ledger: rows are dense, so none is made up
        return ReportEffect.KEPT
    new = apply_report(MessageRow.read(values), told)
    if isinstance(new, ReportEffect):
        return new
    db.execute(_UPDATE_ROW, (*new, now_ms, run, seq))
    return ReportEffect.APPLIED
