"""The ledger in a PostgreSQL database, for any number of processes and machines.

Each change is one transaction that holds the lock of its run's cursor, and is on disk when a method returns. Every
transition is guarded in its own statement, and the schema repeats the rules that a bug outside must not break. Holds no
message bodies and no recipients' numbers. Never deletes a row of a message.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from psycopg import errors

from sender.core.canary import Canary
from sender.core.errors import StateError
from sender.core.outcomes import CancelReason
from sender.state.database_url import DatabaseUrl
from sender.state.ledger import (
    NOTHING,
    WHOLE_RUN,
    Claim,
    LogFinding,
    ReceivedReport,
    ReportCounts,
    RequestFormat,
    Run,
    RunKind,
    Settlement,
)
from sender.state.ledger_values import RouteClaims, RunRoute
from sender.state.outcome_rows import find_damage
from sender.state.postgres import claiming, closing, tallies
from sender.state.postgres import reports as delivery_reports
from sender.state.postgres import statements as sql
from sender.state.postgres.claiming import OpenedRun
from sender.state.postgres.database import Database, Transaction
from sender.state.postgres.ledger_changes import LedgerChanges, holder_name
from sender.state.postgres.settling import (
    count_states,
    enter_intents,
    orphans_to_unknown,
    record_findings,
    record_outcomes,
    replace_runs,
)
from sender.state.rows import canary_text, run_columns

_NOTES_KEPT_MS = 7 * 86_400_000
_TABLES = ("message", "report")


_log = logging.getLogger(__name__)


class PostgresLedger(LedgerChanges):
    """A `Ledger` in one database, by a connection of its own. May be used from any thread, by one at a time."""

    @classmethod
    def open(
        cls,
        url: DatabaseUrl,
        *,
        clock: Callable[[], int] | None = None,
        read_only: bool = False,
        token_of: Callable[[str, RunKind], uuid.UUID | None] = lambda *_: None,
        folder: Path | None = None,
    ) -> Self:
        """Open the ledger of the state at `url`.

        `clock` gives milliseconds UTC (default: the database's own clock). `token_of` returns what this process holds a
        campaign with, if it does: nothing is claimed that another process holds. `folder` is this machine's, for how
        far it has seen each run. Raises as `Database`.
        """
        db = Database(url, read_only=read_only)
        try:
            return cls(db, clock, token_of, folder)
        except BaseException:
            db.close()
            raise

    def close(self) -> None:
        self._marks.close()
        if self._claims:
            self._db.forget(sql.DROP_NOTE, (self._handle,))
        self._db.close()

    # -- runs --------------------------------------------------------------------------------------------------------

    def create_run(
        self,
        run: Run,
        *,
        closes: Collection[str] = (),
        reason: CancelReason = CancelReason.SUPERSEDED,
        takes_over: Mapping[str, Collection[int]] = NOTHING,
        routes: Sequence[RunRoute] = (),
    ) -> None:
        """As the protocol says. A run in a database has one route: ValueError for more.

        Raises RunLocked where another process has taken the campaign over from this one: it may be sending to the same
        people.
        """
        if routes:
            raise ValueError("a run in a database has one route")
        keys = [self._run_key(run_id) for run_id in closes]
        taken_over = [(self._run_key(run_id)[0], seqs) for run_id, seqs in takes_over.items()]
        tried = False

        def create(db: Transaction) -> None:
            nonlocal tried
            if tried and self._is_there(db, run):  # the connection broke when it had been committed
                return
            tried = True
            now_ms = self._lock(db, [key for key, _ in (*keys, *taken_over)])
            if self._token_of(run.campaign, run.kind) is not None:
                holder = db.value(sql.HOLDER, (holder_name(run.campaign, run.kind),))
                self._refuse_holder(db, run.campaign, run.kind, holder)
            key = db.value(sql.INSERT_RUN, run_columns(run))
            db.execute("INSERT INTO run_cursor (run) VALUES (%s)", (key,))
            for other, seqs in taken_over:
                db.execute(sql.TAKE_OVER, {"run": other, "seqs": sorted(seqs)})
            replace_runs(db, keys, by=f"run {run.run_id}", reason=reason, now_ms=now_ms)
            db.execute("DELETE FROM claim_note WHERE at < %s", (now_ms - _NOTES_KEPT_MS,))

        try:
            self._db.transact(create)
        except (errors.UniqueViolation, errors.CheckViolation) as error:
            raise ValueError(f"run {run.run_id} cannot be created: {error}") from None

    def finish_run(self, run_id: str) -> bool:
        key, messages = self._run_key(run_id)

        def finish(db: Transaction) -> bool:
            now_ms = self._open(db, key).now_ms
            counts = count_states(db, key, messages)
            if counts.pending or counts.intent:
                return False
            db.execute(sql.FINISHED, (now_ms, key))
            return True

        return self._db.transact(finish)

    def close_run(self, run_id: str, *, by: str, reason: CancelReason = CancelReason.CLOSED) -> int:
        key, messages = self._run_key(run_id)
        return self._change(
            key, lambda db, run: closing.close_run(db, key, messages, by=by, reason=reason, now_ms=run.now_ms)
        )

    def cancel(self, run_id: str, seqs: Collection[int], reason: CancelReason) -> int:
        key, messages = self._run_key(run_id)
        inside = [seq for seq in seqs if seq < messages]
        return self._change_held(
            run_id, lambda db, run: closing.cancel(db, key, inside, reason=reason, now_ms=run.now_ms)
        )

    def pause_run(self, run_id: str, *, by: str) -> bool:
        key, _ = self._run_key(run_id)
        return self._change(key, lambda db, run: db.execute(sql.PAUSE_RUN, (run.now_ms, by, key)) > 0)

    def resume_run(self, run_id: str) -> bool:
        key, _ = self._run_key(run_id)
        return self._change(key, lambda db, _: db.execute(sql.RESUME_RUN, (key,)) > 0)

    def note_request_format(self, run_id: str, request_format: RequestFormat) -> int:
        key, _ = self._run_key(run_id)

        def note(db: Transaction, _: OpenedRun) -> int:
            db.execute(sql.NOTE_FORMAT, (key, *request_format))
            return int(db.value(sql.FIND_FORMAT, (key, *request_format)))

        return self._change(key, note)

    def note_canary(self, run_id: str, canary: Canary) -> None:
        key, _ = self._run_key(run_id)
        self._change(
            key, lambda db, _: db.execute("UPDATE run SET canary = %s WHERE key = %s", (canary_text(canary), key))
        )

    # -- claims ------------------------------------------------------------------------------------------------------

    def claim(
        self,
        run_id: str,
        *,
        limit: int,
        lease_ms: int,
        below_seq: int | None = None,
        request_format: int | None = None,
        routed: RouteClaims | None = None,  # noqa: ARG002 (a run in a database has one route)
    ) -> list[Claim]:
        """As the protocol says; `lease_ms` is counted from the database's clock, read while the run is locked."""
        _, messages = self._run_key(run_id)
        bound = messages if below_seq is None else min(messages, below_seq)
        if limit <= 0:
            return []
        return self._claim(
            run_id,
            lambda db, run, note: claiming.claim(
                db, run, note, limit=limit, lease_ms=lease_ms, bound=bound, request_format=request_format
            ),
        )

    def claim_prefetched(
        self,
        run_id: str,
        seqs: Collection[int],
        *,
        lease_ms: int,
        request_format: int | None = None,
        routed: RouteClaims | None = None,  # noqa: ARG002 (as in `claim`)
    ) -> list[Claim]:
        return self._claim(
            run_id,
            lambda db, run, note: claiming.claim_prefetched(
                db, run, note, seqs, lease_ms=lease_ms, request_format=request_format
            ),
        )

    def prefetch(
        self,
        run_id: str,
        *,
        limit: int,
        exclude: Collection[int] = (),
        below_seq: int | None = None,
        partition: tuple[int, int] = WHOLE_RUN,
        routed: RouteClaims | None = None,  # noqa: ARG002 (as in `claim`)
    ) -> list[int]:
        key, messages = self._run_key(run_id)
        bound = messages if below_seq is None else min(messages, below_seq)
        if limit <= 0:
            return []
        return self._change(
            key,
            lambda db, run: claiming.prefetch(db, run, limit=limit, exclude=exclude, bound=bound, partition=partition),
        )

    def hold(self, run_id: str, *, from_seq: int, below_seq: int, until_ms: int) -> int:
        key, messages = self._run_key(run_id)
        seqs = (from_seq, min(below_seq, messages))
        return self._change(key, lambda db, run: claiming.hold(db, run, seqs, until_ms=until_ms))

    def lift(self, run_id: str, *, from_seq: int, below_seq: int) -> int:
        key, messages = self._run_key(run_id)
        return self._change(key, lambda db, run: claiming.lift(db, run, (from_seq, min(below_seq, messages))))

    def expire(self, run_id: str, *, from_seq: int, below_seq: int, reason: CancelReason) -> int:
        key, messages = self._run_key(run_id)
        seqs = (from_seq, min(below_seq, messages))
        return self._change(key, lambda db, run: claiming.expire(db, run, seqs, reason=reason))

    # -- outcomes ----------------------------------------------------------------------------------------------------

    def release(self, run_id: str, claims: Iterable[Claim]) -> int:
        key, _ = self._run_key(run_id)
        released = list(claims)

        def release(db: Transaction, run: OpenedRun) -> int:
            reason, now_ms = run.close_reason, run.now_ms
            statement, first = (sql.RELEASE, 0) if reason is None else (sql.RELEASE_CANCELED, reason.value)
            rows = [(first, now_ms, key, claim.seq, claim.attempt, claim.fence) for claim in released]
            enter_intents(db, key, seqs=[claim.seq for claim in released])
            with tallies.counted(db, key, seqs=[claim.seq for claim in released]):
                changed = db.execute_each(statement, rows)
            delivery_reports.apply_waiting(db, key, (claim.seq for claim in released), now_ms)
            return changed

        return self._change(key, release)

    def use_senders(self, run_id: str, choices: Iterable[tuple[Claim, str]]) -> int:
        key, _ = self._run_key(run_id)
        rows = [(sender, key, claim.seq, claim.attempt, claim.fence) for claim, sender in choices]

        def note(db: Transaction, _: OpenedRun) -> int:
            enter_intents(db, key, seqs=[seq for _, _, seq, *_ in rows])
            return db.execute_each(sql.USE_SENDER, rows)

        return self._change(key, note)

    def record(self, run_id: str, settlements: Sequence[Settlement]) -> int:
        """As the protocol says. Of two outcomes for one claim the first counts."""
        key, _ = self._run_key(run_id)

        def record(db: Transaction, run: OpenedRun) -> int:
            changed = record_outcomes(db, run, settlements)
            if run.has_reports:
                delivery_reports.apply_waiting(db, key, (one.claim.seq for one in settlements), run.now_ms)
            return changed

        return self._change(key, record)

    def orphans_to_unknown(self, run_id: str, *, overdue_ms: int | None = None) -> int:
        key, _ = self._run_key(run_id)

        def expire(db: Transaction, run: OpenedRun) -> int:
            return orphans_to_unknown(db, key, run.now_ms, overdue_ms=overdue_ms)

        return self._change_held(run_id, expire) if overdue_ms is None else self._change(key, expire)

    def reconcile(self, run_id: str, findings: Sequence[LogFinding]) -> int:
        """As the protocol says. A finished run that gets a pending message back is no longer finished."""
        key, _ = self._run_key(run_id)

        def settle(db: Transaction, run: OpenedRun) -> int:
            changed = record_findings(db, key, findings, run.now_ms)
            delivery_reports.apply_waiting(db, key, (finding.seq for finding in findings), run.now_ms)
            db.execute(sql.REOPEN, {"run": key})
            return changed

        return self._change(key, settle)

    def resend_unknown(self, run_id: str) -> int:
        key, _ = self._run_key(run_id)

        def resend(db: Transaction, run: OpenedRun) -> int:
            if closing.close_reason(db, key) is not None:
                return 0
            changed = db.execute(sql.RESEND, {"run": key, "now": run.now_ms})
            db.execute(sql.NOTE_RESENT, (key,))
            tallies.recount(db, key)
            db.execute(sql.REOPEN, {"run": key})
            return changed

        return self._change_held(run_id, resend)

    def check(self, run_id: str) -> None:
        """As the protocol says. Reads all of the run's rows."""
        key, messages = self._run_key(run_id)
        row = self._db.read(lambda db: db.row(sql.CHECK, {"run": key})) or (0, 0, 0, 0)
        if (damage := find_damage(row, messages, run_id)) is not None:
            raise StateError(
                f"the ledger is damaged: {damage}",
                where=self._db.where,
                fix="restore the database; until then nothing is sent, since it is unknown what was sent",
            )
        if drift := self.find_drift(run_id):
            _log.warning("the totals kept of run %s differed from its messages, which count: %s", run_id, drift)
            self._change(key, lambda db, _: tallies.recount(db, key))

    # -- delivery reports --------------------------------------------------------------------------------------------

    def record_reports(self, reports: Sequence[ReceivedReport]) -> ReportCounts:
        names = sorted({one.run_id for one in reports if one.run_id is not None})

        def write(db: Transaction) -> ReportCounts:
            known = dict(db.rows("SELECT run_id, key FROM run WHERE run_id = ANY(%s::text[])", (names,)))
            return delivery_reports.record_reports(db, reports, known, self._lock(db, known.values()))

        return self._db.transact(write)

    def match_reports(self) -> int:
        """As the protocol says. Looks through all messages, in a snapshot that holds up no writer."""
        strays = self._db.read(delivery_reports.find_strays)

        def apply(db: Transaction) -> int:
            return delivery_reports.apply_strays(db, strays, self._lock(db, {run for _, run, _ in strays}))

        return self._db.transact(apply) if strays else 0

    def delivering(self, run_id: str) -> int:
        key, _ = self._run_key(run_id)
        return self._db.read(lambda db: delivery_reports.count_delivering(db, key))

    def kept_reports(self) -> int:
        return self._db.read(delivery_reports.count_kept)

    def forget_reports(self, before_ms: int) -> int:
        return self._db.transact(lambda db: delivery_reports.forget_kept(db, before_ms))

    # -- erasing -----------------------------------------------------------------------------------------------------

    def erase_sentences(self, run_id: str, *, seqs: Collection[int] | None = None) -> int:
        key, _ = self._run_key(run_id)
        named = {"run": key, "seqs": None if seqs is None else sorted(seqs)}
        return self._change(
            key,
            lambda db, _: sum(db.execute(sql.ERASE_SENTENCES.format(table=table), named) for table in _TABLES),
        )

    def erase_mentions(self, digits: str) -> int:
        return self._db.transact(
            lambda db: sum(db.execute(sql.ERASE_MENTIONS.format(table=table), (digits,)) for table in _TABLES)
        )

    def compact(self) -> None:
        """Write the tables anew without what was erased."""
        for table in _TABLES:
            self._db.read(lambda db, table=table: db.execute(f"VACUUM FULL {table}"))  # type: ignore[misc]

    def _is_there(self, db: Transaction, run: Run) -> bool:
        row = db.row("SELECT plan_hash, created_at FROM run WHERE run_id = %s", (run.run_id,))
        return row == (run.plan_hash, run.created_at_ms)
