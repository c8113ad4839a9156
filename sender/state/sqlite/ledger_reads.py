"""What the SQLite ledger answers about its runs and their messages. Changes nothing."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import apsw

from sender.core.canary import OutcomeCount
from sender.core.errors import UnknownRun
from sender.core.lazy_modules import pl
from sender.core.outcomes import CancelReason, Reason, SubmissionState
from sender.state.ledger import REPEATABLE_SCHEMA, Counts, Refusals, RequestFormat, Run
from sender.state.ledger_values import IdHolder, RouteClaims, RunRoute
from sender.state.rows import moves_frame, read_run
from sender.state.sqlite import closing, evidence, reading, tallies
from sender.state.sqlite import statements as sql
from sender.state.sqlite.claiming import route_names
from sender.state.sqlite.file import failures_explained
from sender.state.tallies import PaceBin, TallyKey, Totals


class LedgerReads:
    """The questions of the protocol `Ledger`, about one open database."""

    def __init__(self, db: apsw.Connection, path: Path) -> None:
        """`path` is the file's, for errors."""
        self._db = db
        self._path = path
        self._known: dict[str, tuple[int, int]] = {}

    def run(self, run_id: str) -> Run:
        with failures_explained(self._path):
            row = self._db.execute(sql.SELECT_RUNS + "WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            raise self._unknown_run(run_id)
        return read_run(row)

    def runs(self) -> list[Run]:
        with failures_explained(self._path):
            rows = self._db.execute(sql.SELECT_RUNS + "ORDER BY created_at, key").fetchall()
        return [read_run(row) for row in rows]

    def counts(self, run_id: str) -> Counts:
        key, messages = self._run_key(run_id)
        with failures_explained(self._path):
            return tallies.count_states(self._db, key, messages)

    def totals(self, run_id: str) -> Totals:
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            return tallies.read_totals(self._db, key)

    def pace(self, run_id: str, *, since_s: int = 0, step_s: int = 1) -> list[PaceBin]:
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            return tallies.read_seconds(self._db, key, since_s=since_s, step_s=step_s)

    def without_segments(self, run_id: str) -> pl.Series:
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            return pl.Series("seq", tallies.read_unreported(self._db, key), pl.UInt32)

    def find_drift(self, run_id: str) -> dict[TallyKey, tuple[int, int]]:
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            return tallies.find_drift(self._db, key)

    def next_due_ms(
        self, run_id: str, *, below_seq: int | None = None, routed: RouteClaims | None = None
    ) -> int | None:
        key, messages = self._run_key(run_id)
        named = {"run": key, "bound": messages if below_seq is None else below_seq, **route_names(routed)}
        statement = sql.NEXT_DUE if routed is None else sql.NEXT_DUE_ROUTED
        with failures_explained(self._path):
            row = None if closing.is_held(self._db, key) else self._db.execute(statement, named).fetchone()
        return None if row is None else row[0]

    def routes(self, run_id: str) -> tuple[RunRoute, ...]:
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            return tuple(RunRoute(*row) for row in self._db.execute(sql.ROUTES, (key,)))

    def accepted_by_route(self, run_id: str) -> dict[int, int]:
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            rows: list[Any] = self._db.execute(sql.ACCEPTED_BY_ROUTE, (key,)).fetchall()
        return dict(rows)

    def moves(self, run_id: str) -> pl.DataFrame:
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            return moves_frame(self._db.execute(sql.MOVES, (key,)).fetchall())

    def journal(
        self,
        run_id: str,
        *,
        states: Collection[SubmissionState] | None = None,
        reasons: Collection[Reason | CancelReason] | None = None,
        seqs: Collection[int] | None = None,
        columns: Collection[str] | None = None,
    ) -> pl.DataFrame:
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            return reading.read_journal(self._db, key, states=states, reasons=reasons, seqs=seqs, columns=columns)

    def reached(self, run_id: str, *, seqs: Collection[int] | None = None) -> pl.Series:
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            return reading.read_reached(self._db, key, seqs=seqs)

    def sent(self, run_id: str, *, since_ms: int, seqs: Collection[int] | None = None) -> pl.DataFrame:
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            return reading.read_sent(self._db, key, since_ms=since_ms, seqs=seqs)

    def typed_numbers(self, run_id: str) -> pl.DataFrame:
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            return reading.read_typed(self._db, key)

    def refusals(self, run_id: str, *, from_seq: int, below_seq: int) -> list[Refusals]:
        with failures_explained(self._path):
            return evidence.read_refusals(self._db, self._run_key(run_id)[0], from_seq, below_seq)

    def outcomes(self, run_id: str, *, from_seq: int, below_seq: int) -> list[OutcomeCount]:
        with failures_explained(self._path):
            return evidence.read_outcomes(self._db, self._run_key(run_id)[0], from_seq, below_seq)

    def last_receipt(self, run_id: str, *, from_seq: int = 0, below_seq: int | None = None) -> int | None:
        key, messages = self._run_key(run_id)
        with failures_explained(self._path):
            bound = messages if below_seq is None else below_seq
            return evidence.read_last_receipt(self._db, key, from_seq, bound)

    def recent_ids(self, *, limit: int) -> list[str]:
        with failures_explained(self._path):
            return evidence.read_recent_ids(self._db, limit)

    def request_formats(self, run_id: str) -> dict[int, RequestFormat]:
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            return {number: RequestFormat(*fields) for number, *fields in self._db.execute(sql.FORMATS, (key,))}

    def repeatable(
        self,
        run_id: str,
        state: SubmissionState,
        *,
        since_ms: int,
        request_format: int | None = None,
        limit: int | None = None,
    ) -> pl.DataFrame:
        key, _ = self._run_key(run_id)
        named = {"run": key, "state": state.value, "since": since_ms, "format": request_format}
        with failures_explained(self._path):
            rows = self._db.execute(sql.REPEATABLE, named | {"limit": -1 if limit is None else limit}).fetchall()
        return pl.DataFrame(rows, schema=REPEATABLE_SCHEMA, orient="row")

    def doubts(self) -> pl.DataFrame:
        with failures_explained(self._path):
            return evidence.read_doubts(self._db)

    def holders_of(self, ids: Collection[str]) -> list[IdHolder]:
        with failures_explained(self._path):
            return evidence.read_holders(self._db, ids)

    def _run_key(self, run_id: str) -> tuple[int, int]:
        """The run's small integer and its number of messages; neither ever changes."""
        with failures_explained(self._path):
            if self._find_run(run_id) is None:
                raise self._unknown_run(run_id)
        return self._known[run_id]

    def _find_run(self, run_id: str) -> int | None:
        """The run's small integer; None for a run of another ledger. Within a transaction or without one."""
        if run_id not in self._known:
            row = self._db.execute("SELECT key, messages FROM run WHERE run_id = ?", (run_id,)).fetchone()
            if row is None:
                return None
            self._known[run_id] = row
        return self._known[run_id][0]

    def _unknown_run(self, run_id: str) -> UnknownRun:
        return UnknownRun(
            f"no run {run_id} in this ledger",
            where=str(self._path),
            fix="`sender status` lists the runs; --state-dir names another state directory",
        )
