"""The ledger of one machine: a SQLite file in the state directory, holding every run.

Intents and outcomes are on disk before a method returns (WAL, synchronous FULL). The schema keeps the rules that a bug
outside must not break: CHECK constraints say what each state needs and may not have. Holds no message bodies and no
recipients' numbers. Never deletes a row of a message.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import apsw

from sender.core.canary import Canary
from sender.core.clock import wall_clock_ms
from sender.core.outcomes import CancelReason
from sender.state.ledger import (
    NOTHING,
    WHOLE_RUN,
    Claim,
    LogFinding,
    ReceivedReport,
    ReportCounts,
    RequestFormat,
    Run,
    Settlement,
)
from sender.state.ledger_values import RouteClaims, RunRoute
from sender.state.outcome_rows import find_damage
from sender.state.rows import canary_text, run_columns
from sender.state.sqlite import claiming, closing, erasure, tallies
from sender.state.sqlite import reports as delivery_reports
from sender.state.sqlite import statements as sql
from sender.state.sqlite.file import (
    CommitMark,
    damaged,
    failures_explained,
    open_to_read,
    open_to_write,
    refuse_other_schema,
    schema_version,
)
from sender.state.sqlite.ledger_reads import LedgerReads
from sender.state.sqlite.schema import SCHEMA_VERSION
from sender.state.sqlite.settling import (
    count_changes,
    count_states,
    orphans_to_unknown,
    record_findings,
    record_outcomes,
    replace_runs,
)

_log = logging.getLogger(__name__)


class SqliteLedger(LedgerReads):
    """A `Ledger` in one SQLite file. May be used from any thread, by one at a time."""

    def __init__(self, db: apsw.Connection, path: Path, clock: Callable[[], int]) -> None:
        super().__init__(db, path)
        self._clock = clock
        self._mark = CommitMark(path)

    @classmethod
    def open(cls, path: Path, *, clock: Callable[[], int] | None = None, read_only: bool = False) -> Self:
        """Open the ledger in the file `path`; make it, and its directory, if there is none.

        `clock` gives milliseconds UTC (default: `sender.core.clock.wall_clock_ms`, read when the ledger is opened).
        With `read_only` nothing is made or changed, and read access is enough. Raises StateError when the file cannot
        be used, belongs to another program, was written by a newer version, or has lost commits. A file of an older
        version is upgraded, which needs write access.
        """
        path = path.absolute()  # SQLite reads names such as `:memory:` its own way
        db = open_to_read(path) if read_only else open_to_write(path)
        if read_only and schema_version(db) < SCHEMA_VERSION:
            db.close()
            db = open_to_write(path)
        ledger = cls(db, path, clock or wall_clock_ms())
        try:
            with failures_explained(path):
                marked = ledger._mark.read()  # first: another process may commit in between
                ledger._mark.check(marked, db.execute("SELECT n FROM commits").get)
        except BaseException:
            db.close()
            raise
        return ledger

    def close(self) -> None:
        self._mark.close()
        with failures_explained(self._path):
            self._db.close()

    def now_ms(self) -> int:
        return self._clock()

    def create_run(
        self,
        run: Run,
        *,
        closes: Collection[str] = (),
        reason: CancelReason = CancelReason.SUPERSEDED,
        takes_over: Mapping[str, Collection[int]] = NOTHING,
        routes: Sequence[RunRoute] = (),
    ) -> None:
        keys = [self._run_key(run_id) for run_id in closes]
        taken_over = [(self._run_key(run_id)[0], seqs) for run_id, seqs in takes_over.items()]
        try:
            with self._transaction() as db:
                db.execute(sql.INSERT_RUN, run_columns(run))
                new = db.last_insert_rowid()
                db.executemany(sql.ADD_ROUTE, ((new, place, *route) for place, route in enumerate(routes)))
                for key, seqs in taken_over:
                    db.execute(sql.TAKE_OVER, {"run": key, "seqs": _json(seqs)})
                replace_runs(db, keys, by=f"run {run.run_id}", reason=reason, now_ms=self.now_ms())
        except apsw.ConstraintError as error:
            raise ValueError(f"run {run.run_id} cannot be created: {error}") from None

    def finish_run(self, run_id: str) -> bool:
        key, messages = self._run_key(run_id)
        with self._transaction() as db:
            counts = count_states(self._db, key, messages)
            if counts.pending or counts.intent:
                return False
            db.execute("UPDATE run SET finished_at = coalesce(finished_at, ?) WHERE key = ?", (self.now_ms(), key))
        return True

    def close_run(self, run_id: str, *, by: str, reason: CancelReason = CancelReason.CLOSED) -> int:
        key, messages = self._run_key(run_id)
        with self._transaction() as db:
            return closing.close_run(db, key, messages, by=by, reason=reason, now_ms=self.now_ms())

    def cancel(self, run_id: str, seqs: Collection[int], reason: CancelReason) -> int:
        key, messages = self._run_key(run_id)
        with self._transaction() as db:
            return closing.cancel(db, key, [s for s in seqs if s < messages], reason=reason, now_ms=self.now_ms())

    def pause_run(self, run_id: str, *, by: str) -> bool:
        key, _ = self._run_key(run_id)
        with self._transaction() as db:
            return count_changes(db, sql.PAUSE_RUN, [(self.now_ms(), by, key)]) > 0

    def resume_run(self, run_id: str) -> bool:
        key, _ = self._run_key(run_id)
        with self._transaction() as db:
            return count_changes(db, sql.RESUME_RUN, [(key,)]) > 0

    def note_request_format(self, run_id: str, request_format: RequestFormat) -> int:
        key, _ = self._run_key(run_id)
        with self._transaction() as db:
            db.execute(sql.NOTE_FORMAT, (key, *request_format))
            number: int = db.execute(sql.FIND_FORMAT, (key, *request_format)).get
            return number

    def claim(
        self,
        run_id: str,
        *,
        limit: int,
        lease_ms: int,
        below_seq: int | None = None,
        request_format: int | None = None,
        routed: RouteClaims | None = None,
    ) -> list[Claim]:
        """As the protocol says; `lease_ms` is counted from the commit's own reading of the clock."""
        key, messages = self._run_key(run_id)
        bound = messages if below_seq is None else min(messages, below_seq)
        if limit <= 0:
            return []
        with self._transaction() as db:  # the clock is read with the write lock held: waiting must not eat the lease
            return claiming.claim(
                db,
                key,
                self.now_ms(),
                limit=limit,
                lease_ms=lease_ms,
                bound=bound,
                request_format=request_format,
                routed=routed,
            )

    def prefetch(
        self,
        run_id: str,
        *,
        limit: int,
        exclude: Collection[int] = (),
        below_seq: int | None = None,
        partition: tuple[int, int] = WHOLE_RUN,
        routed: RouteClaims | None = None,
    ) -> list[int]:
        key, messages = self._run_key(run_id)
        bound = messages if below_seq is None else min(messages, below_seq)
        if limit <= 0:
            return []
        with self._transaction() as db:
            now_ms = self.now_ms()
            return claiming.prefetch(
                db, key, now_ms, limit=limit, exclude=exclude, bound=bound, partition=partition, routed=routed
            )

    def claim_prefetched(
        self,
        run_id: str,
        seqs: Collection[int],
        *,
        lease_ms: int,
        request_format: int | None = None,
        routed: RouteClaims | None = None,
    ) -> list[Claim]:
        key, _ = self._run_key(run_id)
        with self._transaction() as db:
            return claiming.claim_prefetched(
                db, key, self.now_ms(), seqs, lease_ms=lease_ms, request_format=request_format, routed=routed
            )

    def frontier(self, run_id: str) -> int:
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            return claiming.frontier(self._db, key)

    def hold(self, run_id: str, *, from_seq: int, below_seq: int, until_ms: int) -> int:
        key, messages = self._run_key(run_id)
        with self._transaction() as db:
            return claiming.hold(db, key, self.now_ms(), (from_seq, min(below_seq, messages)), until_ms=until_ms)

    def lift(self, run_id: str, *, from_seq: int, below_seq: int) -> int:
        key, messages = self._run_key(run_id)
        with self._transaction() as db:
            return claiming.lift(db, key, self.now_ms(), (from_seq, min(below_seq, messages)))

    def expire(self, run_id: str, *, from_seq: int, below_seq: int, reason: CancelReason) -> int:
        key, messages = self._run_key(run_id)
        with self._transaction() as db:
            return claiming.expire(db, key, self.now_ms(), (from_seq, min(below_seq, messages)), reason=reason)

    def last_changed(self, run_id: str, *, limit: int) -> list[tuple[int, int]]:
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            return [(seq, at_ms) for seq, at_ms in self._db.execute(sql.LAST_CHANGED, (key, limit))]

    def pending_from(self, run_id: str) -> tuple[int, list[int]]:
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            waiting = sorted(seq for (seq,) in self._db.execute(sql.WAITING, (key,)))
            start: int = self._db.execute(sql.NEXT_SEQ, (key,)).get
            return start, waiting

    def release(self, run_id: str, claims: Iterable[Claim]) -> int:
        key, _ = self._run_key(run_id)
        released = list(claims)
        with self._transaction() as db:
            now = self.now_ms()
            reason = closing.close_reason(db, key)
            statement, first = (sql.RELEASE, 0) if reason is None else (sql.RELEASE_CANCELED, reason.value)
            rows = ((first, now, key, c.seq, c.attempt, c.fence) for c in released)
            with tallies.counted(db, key, seqs=[c.seq for c in released]):
                changed = count_changes(db, statement, rows)
            delivery_reports.apply_waiting(db, key, (c.seq for c in released), now)
        return changed

    def use_senders(self, run_id: str, choices: Iterable[tuple[Claim, str]]) -> int:
        key, _ = self._run_key(run_id)
        with self._transaction() as db:
            rows = ((sender, key, c.seq, c.attempt, c.fence) for c, sender in choices)
            return count_changes(db, sql.USE_SENDER, rows)

    def record(self, run_id: str, settlements: Sequence[Settlement]) -> int:
        """As the protocol says. Of two outcomes for one claim the first counts."""
        key, _ = self._run_key(run_id)
        with self._transaction() as db:
            now = self.now_ms()
            changed = record_outcomes(db, key, settlements, now)
            delivery_reports.apply_waiting(db, key, (s.claim.seq for s in settlements), now)
        return changed

    def orphans_to_unknown(self, run_id: str, *, overdue_ms: int | None = None) -> int:
        key, _ = self._run_key(run_id)
        with self._transaction() as db:
            return orphans_to_unknown(db, key, self.now_ms(), overdue_ms=overdue_ms)

    def reconcile(self, run_id: str, findings: Sequence[LogFinding]) -> int:
        """As the protocol says. A finished run that gets a pending message back is no longer finished."""
        key, _ = self._run_key(run_id)
        with self._transaction() as db:
            now = self.now_ms()
            changed = record_findings(db, key, findings, now)
            delivery_reports.apply_waiting(db, key, (finding.seq for finding in findings), now)
            db.execute(sql.REOPEN, (key,))
        return changed

    def resend_unknown(self, run_id: str) -> int:
        key, _ = self._run_key(run_id)
        with self._transaction() as db:
            if closing.is_closed(db, key):
                return 0
            now = self.now_ms()
            changed = count_changes(db, sql.RESEND, [(now, now, key)])
            db.execute(sql.NOTE_RESENT, (key,))
            tallies.recount(db, key)
            db.execute(sql.REOPEN, (key,))
        return changed

    def check(self, run_id: str) -> None:
        """As the protocol says. Reads all of the run's rows: about 0.3 s for a million."""
        key, messages = self._run_key(run_id)
        with failures_explained(self._path):
            row: tuple[Any, ...] = self._db.execute(sql.CHECK, (key,)).fetchall()[0]
        if (damage := find_damage(row, messages, run_id)) is not None:
            raise damaged(self._path, damage)
        if drift := self.find_drift(run_id):
            _log.warning("the totals kept of run %s differed from its messages, which count: %s", run_id, drift)
            with self._transaction() as db:
                tallies.recount(db, key)

    def record_reports(self, reports: Sequence[ReceivedReport]) -> ReportCounts:
        with self._transaction() as db:
            return delivery_reports.record_reports(db, reports, self._find_run, self.now_ms())

    def match_reports(self) -> int:
        """As the protocol says. Looks through all messages, in a snapshot that holds up no writer."""
        with failures_explained(self._path):
            strays = delivery_reports.find_strays(self._db)
        if not strays:
            return 0
        with self._transaction() as db:
            return delivery_reports.apply_strays(db, strays, self.now_ms())

    def delivering(self, run_id: str) -> int:
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            return delivery_reports.count_delivering(self._db, key)

    def kept_reports(self) -> int:
        with failures_explained(self._path):
            return delivery_reports.count_kept(self._db)

    def forget_reports(self, before_ms: int) -> int:
        with self._transaction() as db:
            return delivery_reports.forget_kept(db, before_ms)

    def note_canary(self, run_id: str, canary: Canary) -> None:
        key, _ = self._run_key(run_id)
        with self._transaction() as db:
            db.execute("UPDATE run SET canary = ? WHERE key = ?", (canary_text(canary), key))

    def erase_sentences(self, run_id: str, *, seqs: Collection[int] | None = None) -> int:
        key, _ = self._run_key(run_id)
        with self._transaction() as db:
            return erasure.erase_sentences(db, key, seqs)

    def erase_mentions(self, digits: str) -> int:
        with self._transaction() as db:
            return erasure.erase_mentions(db, digits)

    def compact(self) -> None:
        with failures_explained(self._path):
            erasure.compact(self._db, self._path)

    @contextmanager
    def _transaction(self) -> Iterator[apsw.Connection]:
        """The write lock from the start; committed and on disk at the end, or undone and raised."""
        with failures_explained(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                refuse_other_schema(self._db, self._path)  # a newer program may have changed it meanwhile
                yield self._db
                commits: int = self._db.execute("UPDATE commits SET n = n + 1 RETURNING n").get
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite undoes it by itself on some failures
                    self._db.execute("ROLLBACK")
                raise
        self._mark.write(commits)


def _json(values: Collection[int] | Collection[str]) -> str:
    return json.dumps(sorted(values))
