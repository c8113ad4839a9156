"""The SQL that writes outcomes, for `sender.state.postgres.ledger`: within the caller's transaction."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sender.core.outcomes import CancelReason
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
from sender.state.postgres.claiming import OpenedRun
from sender.state.postgres.database import Transaction
from sender.state.tallies import TallyChanges, make_counts

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
    db.execute(sql.ENTER_INTENTS, {"run": key, "seqs": None, "before": before_ms})
    changed = db.execute(sql.ORPHANS, named | {"before": before_ms})
    if changed:
        tallies.recount(db, key)
    return changed - delivery_reports.apply_waiting(db, key, None, now_ms) if changed else 0


def enter_intents(db: Transaction, key: int, *, seqs: Collection[int]) -> None:
    """Give those of the messages that are claimed as a part of a range a row of their own each."""
    db.execute(sql.ENTER_INTENTS, {"run": key, "seqs": sorted(seqs), "before": None})


def record_outcomes(db: Transaction, run: OpenedRun, settlements: Iterable[Settlement]) -> int:
    """Settle each claim that still holds its message, those with like outcomes by one statement."""
    alike = group_alike(settlements, run.close_reason, run.now_ms)
    if run.is_odd:
        with tallies.counted(db, run.key, seqs=[seq for rows in alike.values() for seq, *_ in rows]):
            return sum(_write_alike(db, run, common, rows, is_counted=False) for common, rows in alike.items())
    changed = 0
    seconds = TallyChanges()
    for common, rows in alike.items():
        settled = _write_alike(db, run, common, rows, is_counted=True)
        seconds.finish(common_fields(common[1:]), settled)
        changed += settled
    tallies.write(db, run.key, seconds)
    return changed


def _write_alike(
    db: Transaction, run: OpenedRun, common: tuple[Any, ...], rows: list[tuple[Any, ...]], *, is_counted: bool
) -> int:
    """Settle claims with like outcomes; return how many held their message. Each was under way, if they are counted."""
    uncounted, *fields = common
    columns = map(_array, zip(*rows, strict=True))
    named = dict(zip(("seqs", "attempts", "fences", *VARYING), columns, strict=True)) | {
        **dict(zip(COMMON, fields, strict=True)),
        "run": run.key,
        "now": run.now_ms,
        "uncounted": int(uncounted),
        "counted": is_counted,
    }
    return int(db.value(sql.RECORD, named))


_PLAIN = re.compile(r"[A-Za-z0-9_,-]*")


def _array(values: Sequence[Any]) -> str | list[Any] | None:
    """An array of the values, as PostgreSQL writes it where that is simple: a list costs a call for each of them."""
    if all(value is None for value in values):
        return None
    if all(type(value) is int for value in values):
        return "{" + ",".join(map(str, values)) + "}"
    if all(isinstance(value, str) and value and value.upper() != "NULL" and "," not in value for value in values):
        text = ",".join(values)
        if _PLAIN.fullmatch(text):
            return "{" + text + "}"
    return list(values)


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
