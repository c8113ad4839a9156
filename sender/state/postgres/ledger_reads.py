"""What the ledger in PostgreSQL answers about its runs and their messages. Changes nothing."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import polars as pl

from sender.core.canary import OutcomeCount
from sender.core.errors import UnknownRun
from sender.core.garbage import without_collecting
from sender.core.outcomes import CancelReason, Reason, SubmissionState
from sender.state.ledger import (
    REPEATABLE_SCHEMA,
    SENT_SCHEMA,
    TYPED_SCHEMA,
    Counts,
    Refusals,
    RequestFormat,
    Run,
)
from sender.state.ledger_values import MOVES_SCHEMA, IdHolder, RouteClaims, RunRoute
from sender.state.postgres import closing, tallies
from sender.state.postgres import statements as sql
from sender.state.postgres.database import Database, Transaction
from sender.state.postgres.texts import unescape_columns
from sender.state.rows import doubts_frame, journal_frame, journal_schema, read_outcomes, read_refusals, read_run
from sender.state.tallies import PaceBin, TallyKey, Totals

_JOURNAL_CHUNK = 5_000  # rows held as Python tuples at one time; more of them cost cache misses and garbage collection


class PostgresReads:
    """The questions of the protocol `Ledger`, to one database."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[str, tuple[int, int]] = {}

    def run(self, run_id: str) -> Run:
        row = self._db.read(lambda db: db.row(sql.SELECT_RUNS + "WHERE run_id = %s", (run_id,)))
        if row is None:
            raise self._unknown_run(run_id)
        return read_run(row)

    def runs(self) -> list[Run]:
        rows = self._db.read(lambda db: db.rows(sql.SELECT_RUNS + "ORDER BY created_at, key"))
        return [read_run(row) for row in rows]

    def counts(self, run_id: str) -> Counts:
        key, messages = self._run_key(run_id)
        return self._db.read(lambda db: tallies.count_states(db, key, messages))

    def totals(self, run_id: str) -> Totals:
        key, _ = self._run_key(run_id)
        return self._db.read(lambda db: tallies.read_totals(db, key))

    def pace(self, run_id: str, *, since_s: int = 0, step_s: int = 1) -> list[PaceBin]:
        key, _ = self._run_key(run_id)
        return self._db.read(lambda db: tallies.read_seconds(db, key, since_s=since_s, step_s=step_s))

    def without_segments(self, run_id: str) -> pl.Series:
        key, _ = self._run_key(run_id)
        return pl.Series("seq", self._db.read(lambda db: tallies.read_unreported(db, key)), pl.UInt32)

    def find_drift(self, run_id: str) -> dict[TallyKey, tuple[int, int]]:
        key, _ = self._run_key(run_id)
        return self._db.read(lambda db: tallies.find_drift(db, key))

    def frontier(self, run_id: str) -> int:
        key, _ = self._run_key(run_id)
        return int(self._db.read(lambda db: db.value(sql.NEXT_SEQ, (key,))))

    def routes(self, run_id: str) -> tuple[RunRoute, ...]:
        """As the protocol says: a run in a database has one way to send."""
        self._run_key(run_id)
        return ()

    def accepted_by_route(self, run_id: str) -> dict[int, int]:
        counts = self.counts(run_id)
        return {0: counts.accepted} if counts.accepted else {}

    def moves(self, run_id: str) -> pl.DataFrame:
        self._run_key(run_id)
        return pl.DataFrame(schema=MOVES_SCHEMA)

    def next_due_ms(
        self,
        run_id: str,
        *,
        below_seq: int | None = None,
        routed: RouteClaims | None = None,  # noqa: ARG002
    ) -> int | None:
        key, messages = self._run_key(run_id)
        bound = messages if below_seq is None else below_seq

        def ask(db: Transaction) -> int | None:
            due: int | None = None if closing.is_held(db, key) else db.value(sql.NEXT_DUE, (key, bound))
            return due

        return self._db.read(ask)

    def last_changed(self, run_id: str, *, limit: int) -> list[tuple[int, int]]:
        key, _ = self._run_key(run_id)
        return [(seq, at_ms) for seq, at_ms in self._db.read(lambda db: db.rows(sql.LAST_CHANGED, (key, limit)))]

    def pending_from(self, run_id: str) -> tuple[int, list[int]]:
        key, _ = self._run_key(run_id)

        def ask(db: Transaction) -> tuple[int, list[int]]:
            waiting = sorted(seq for (seq,) in db.rows(sql.WAITING, (key,)))
            return int(db.value(sql.NEXT_SEQ, (key,))), waiting

        return self._db.read(ask)

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
        schema = journal_schema(columns)
        named = {
            "run": key,
            "states": None if states is None else sorted(states),
            "reasons": None if reasons is None else sorted(reasons),
            "seqs": _sorted(seqs),
        }
        statement = _only(sql.select_journal(schema), seqs)

        def read(db: Transaction) -> list[pl.DataFrame]:
            with without_collecting():
                return [journal_frame(rows, schema) for rows in db.chunks(statement, named, _JOURNAL_CHUNK)]

        chunks = self._db.transact(read)
        return unescape_columns(pl.concat(chunks, rechunk=True)) if chunks else pl.DataFrame(schema=schema)

    def reached(self, run_id: str, *, seqs: Collection[int] | None = None) -> pl.Series:
        key, _ = self._run_key(run_id)
        rows = self._db.read(lambda db: db.rows(_only(sql.REACHED, seqs), {"run": key, "seqs": _sorted(seqs)}))
        return pl.Series("seq", [row[0] for row in rows], dtype=pl.UInt32)

    def sent(self, run_id: str, *, since_ms: int, seqs: Collection[int] | None = None) -> pl.DataFrame:
        key, _ = self._run_key(run_id)
        named = {"run": key, "since": since_ms, "seqs": _sorted(seqs)}
        rows = self._db.read(lambda db: db.rows(_only(sql.SENT, seqs), named))
        return pl.DataFrame(rows, schema=SENT_SCHEMA, orient="row")

    def typed_numbers(self, run_id: str) -> pl.DataFrame:
        key, _ = self._run_key(run_id)
        rows = self._db.read(lambda db: db.rows(sql.TYPED, (key,)))
        return pl.DataFrame(rows, schema=TYPED_SCHEMA, orient="row")

    def refusals(self, run_id: str, *, from_seq: int, below_seq: int) -> list[Refusals]:
        key, _ = self._run_key(run_id)
        rows = self._db.read(lambda db: db.rows(sql.REFUSALS, (key, from_seq, below_seq)))
        return read_refusals(rows)

    def outcomes(self, run_id: str, *, from_seq: int, below_seq: int) -> list[OutcomeCount]:
        key, _ = self._run_key(run_id)
        rows = self._db.read(lambda db: db.rows(sql.OUTCOMES, (key, from_seq, below_seq)))
        return read_outcomes(rows)

    def last_receipt(self, run_id: str, *, from_seq: int = 0, below_seq: int | None = None) -> int | None:
        key, messages = self._run_key(run_id)
        asked = (key, from_seq, messages if below_seq is None else below_seq)
        seq: int | None = self._db.read(lambda db: db.value(sql.LAST_RECEIPT, asked))
        return seq

    def recent_ids(self, *, limit: int) -> list[str]:
        def read(db: Transaction) -> list[str]:
            ids: list[Any] = []
            for (key,) in db.rows("SELECT key FROM run ORDER BY key DESC"):
                if len(ids) >= limit:
                    break
                ids += (row[0] for row in db.rows(sql.RECENT_IDS, (key, limit - len(ids))))
            return ids

        return self._db.read(read)

    def request_formats(self, run_id: str) -> dict[int, RequestFormat]:
        key, _ = self._run_key(run_id)
        rows = self._db.read(lambda db: db.rows(sql.FORMATS, (key,)))
        return {number: RequestFormat(*fields) for number, *fields in rows}

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
        named = {"run": key, "state": state, "since": since_ms, "format": request_format, "limit": limit}
        rows = self._db.read(lambda db: db.rows(sql.REPEATABLE, named))
        return pl.DataFrame(rows, schema=REPEATABLE_SCHEMA, orient="row")

    def doubts(self) -> pl.DataFrame:
        return doubts_frame(self._db.read(lambda db: db.rows(sql.DOUBTS)))

    def holders_of(self, ids: Collection[str]) -> list[IdHolder]:
        if not ids:
            return []
        return [IdHolder(*row) for row in self._db.read(lambda db: db.rows(sql.HOLDERS, (sorted(ids),)))]

    def _run_key(self, run_id: str) -> tuple[int, int]:
        """The run's small integer and its number of messages; neither ever changes."""
        if run_id not in self._known:
            row = self._db.read(lambda db: db.row("SELECT key, messages FROM run WHERE run_id = %s", (run_id,)))
            if row is None:
                raise self._unknown_run(run_id)
            self._known[run_id] = (row[0], row[1])
        return self._known[run_id]

    def _unknown_run(self, run_id: str) -> UnknownRun:
        return UnknownRun(
            f"no run {run_id} in this ledger",
            where=self._db.where,
            fix="`sender status` lists the runs; --state names another state",
        )


def _only(statement: str, seqs: Collection[int] | None) -> str:
    return statement.format(only="" if seqs is None else sql.ONLY)


def _sorted(seqs: Collection[int] | None) -> list[int] | None:
    return None if seqs is None else sorted(seqs)
