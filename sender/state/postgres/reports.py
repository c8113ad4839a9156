"""The SQL of delivery reports, for `sender.state.postgres.ledger`: each function runs within the caller's transaction.

Reports are read and written a batch at a time: with the database on another machine, a question a report would be a
round trip a report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sender.core.outcomes import FINAL, RANK
from sender.state.ledger import ReceivedReport, ReportCounts
from sender.state.postgres import tallies
from sender.state.postgres.database import Transaction
from sender.state.report_rules import MessageRow, ReportEffect, ReportFields, apply_report
from sender.state.tallies import TallyChanges

_ROW = ", ".join(MessageRow._fields)
_FIELDS = ", ".join(ReportFields._fields)
_SELECT_ROWS = f"SELECT seq, {_ROW} FROM message WHERE run = %s AND seq = ANY(%s::bigint[])"  # noqa: S608 (our names)
_UPDATE_ROW = f"""
UPDATE message SET {", ".join(f"{name} = %s" for name in MessageRow._fields)}, deadline = NULL, not_before = NULL,
    fence = greatest(fence, 1), updated_at = %s
WHERE run = %s AND seq = %s
"""  # noqa: S608
_KEEP = f"""
INSERT INTO report (run, seq, {_FIELDS}) VALUES (%s, %s{", %s" * len(ReportFields._fields)}) ON CONFLICT DO NOTHING
"""  # noqa: S608
_SELECT_WAITING = f"""
SELECT key, seq, {_FIELDS} FROM report WHERE run = %s AND seq BETWEEN %s AND %s ORDER BY seq, key
"""  # noqa: S608
_SELECT_KEPT = f"SELECT key, {_FIELDS} FROM report WHERE key = ANY(%s::bigint[])"  # noqa: S608
_DROP = "DELETE FROM report WHERE key = ANY(%s::bigint[])"
_UNFINISHED = ", ".join(f"'{status}'" for status in RANK if status not in FINAL)
# A message under way gets its outcome when its run goes on, whenever that is: the report is what proves it.
_FORGET = """
DELETE FROM report WHERE received_at < %s AND NOT EXISTS (
    SELECT FROM every_message AS one WHERE one.run = report.run AND one.seq = report.seq AND one.state = 'intent'
)
"""
_DELIVERING = f"SELECT count(*) FROM message WHERE run = %s AND state = 'accepted' AND status IN ({_UNFINISHED})"  # noqa: S608
_STRAYS = """
SELECT report.key, message.run, message.seq
FROM message JOIN report ON report.message_id = message.message_id
WHERE report.run IS NULL AND message.message_id IS NOT NULL ORDER BY report.key
"""


class _ReportedRows:
    """The messages of one run that reports are about: each is read once, and written once at the end."""

    def __init__(self, db: Transaction, run: int, seqs: Iterable[int]) -> None:
        self._db = db
        self._run = run
        rows = db.rows(_SELECT_ROWS, (run, sorted(set(seqs))))
        self._rows = {seq: MessageRow.read(values) for seq, *values in rows}
        self.changed: set[int] = set()
        self._counted = TallyChanges()

    def apply(self, seq: int, report: ReportFields) -> ReportEffect:
        row = self._rows.get(seq)
        if row is None:  # never claimed by this ledger: rows are dense, so none is made up
            return ReportEffect.KEPT
        new = apply_report(row, report)
        if isinstance(new, ReportEffect):
            return new
        self._counted.move(seq, row, new)
        self._rows[seq] = new
        self.changed.add(seq)
        return ReportEffect.APPLIED

    def write(self, now_ms: int) -> None:
        self._db.execute_each(_UPDATE_ROW, [(*self._rows[seq], now_ms, self._run, seq) for seq in sorted(self.changed)])
        tallies.write(self._db, self._run, self._counted)


def record_reports(
    db: Transaction, reports: Sequence[ReceivedReport], run_keys: Mapping[str, int], now_ms: int
) -> ReportCounts:
    """Apply each report to the message that its ref names; keep what is too early or names none.

    `run_keys` are the keys of the runs that are known, whose cursors the caller has locked.
    """
    effects = dict.fromkeys(ReportEffect, 0)
    named: list[tuple[int | None, int | None, ReportFields]] = []
    for received in reports:
        run = run_keys.get(received.run_id or "")
        both = run is not None and received.seq is not None
        fields = ReportFields.of(received.report, now_ms=now_ms)
        named.append((run if both else None, received.seq if both else None, fields))
    runs = sorted({run for run, _, _ in named if run is not None})
    seqs = {run: [seq for key, seq, _ in named if key == run and seq is not None] for run in runs}
    rows = {run: _ReportedRows(db, run, seqs[run]) for run in runs}
    kept: list[Sequence[object]] = []
    for run, seq, report in named:
        effect = ReportEffect.KEPT if run is None or seq is None else rows[run].apply(seq, report)
        effects[effect] += 1
        if effect is ReportEffect.KEPT:
            kept.append((run, seq, *report))
    for each in rows.values():
        each.write(now_ms)
    db.execute_each(_KEEP, kept)
    return ReportCounts(
        applied=effects[ReportEffect.APPLIED], same=effects[ReportEffect.SAME], kept=effects[ReportEffect.KEPT]
    )


def apply_waiting(db: Transaction, run: int, seqs: Iterable[int] | None, now_ms: int) -> int:
    """Apply the reports kept for these messages of the run (None: for all); return how many messages changed.

    Call it when the messages' state has changed.
    """
    changed = None if seqs is None else set(seqs)
    low, high = (0, 2**62) if changed is None else (min(changed, default=0), max(changed, default=-1))
    waiting = [
        (key, seq, ReportFields.read(values))
        for key, seq, *values in db.rows(_SELECT_WAITING, (run, low, high))
        if changed is None or seq in changed
    ]
    return _apply_kept(db, {run: waiting}, now_ms) if waiting else 0


def find_strays(db: Transaction) -> list[tuple[int, int, int]]:
    """`(report key, run, seq)` of kept reports without a ref whose message is here by now. Reads only."""
    if db.row("SELECT 1 FROM report WHERE run IS NULL LIMIT 1") is None:
        return []
    return [(key, run, seq) for key, run, seq in db.rows(_STRAYS)]


def apply_strays(db: Transaction, strays: Sequence[tuple[int, int, int]], now_ms: int) -> int:
    """Apply what `find_strays` returned, unless another process has done so; return how many changed a message."""
    keys = [key for key, _, _ in strays]
    kept = {key: ReportFields.read(values) for key, *values in db.rows(_SELECT_KEPT, (keys,))}
    by_run: dict[int, list[tuple[int, int, ReportFields]]] = {}
    for key, run, seq in strays:
        if key in kept:
            by_run.setdefault(run, []).append((key, seq, kept[key]))
    return _apply_kept(db, by_run, now_ms, each=True)


def count_delivering(db: Transaction, run: int) -> int:
    """The number of accepted messages of the run without a final status."""
    return int(db.value(_DELIVERING, (run,)))


def count_kept(db: Transaction) -> int:
    """The number of reports that wait for their message."""
    return int(db.value("SELECT count(*) FROM report"))


def forget_kept(db: Transaction, before_ms: int) -> int:
    """Drop reports that were kept before then and found no message; return how many."""
    return db.execute(_FORGET, (before_ms,))


def _apply_kept(
    db: Transaction,
    by_run: Mapping[int, Sequence[tuple[int, int, ReportFields]]],
    now_ms: int,
    *,
    each: bool = False,
) -> int:
    """Apply kept reports (key, seq, fields) by run; return how many messages changed, or with `each` how often."""
    done: list[int] = []
    messages = changes = 0
    for run in sorted(by_run):
        rows = _ReportedRows(db, run, [seq for _, seq, _ in by_run[run]])
        for key, seq, report in by_run[run]:
            effect = rows.apply(seq, report)
            changes += effect is ReportEffect.APPLIED
            if effect is not ReportEffect.KEPT:
                done.append(key)
        rows.write(now_ms)
        messages += len(rows.changed)
    db.execute(_DROP, (done,))
    return changes if each else messages
