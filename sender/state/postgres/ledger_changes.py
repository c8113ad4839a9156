"""How a ledger in PostgreSQL changes things: transactions that lock their run, claims that are looked up, takeovers.

Knows the tables of cursors, holders and notes of claims; what is changed is its callers' business.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from sender.core.errors import RunLocked, StateError
from sender.core.outcomes import CancelReason
from sender.state.ledger import Claim, RunKind
from sender.state.postgres import statements as sql
from sender.state.postgres.claiming import ClaimNote, OpenedRun, noted_claims
from sender.state.postgres.commit_mark import CommitMarks, lost_commits
from sender.state.postgres.database import ConnectionLost, Database, Transaction, refuse_newer
from sender.state.postgres.database_clock import DatabaseClock
from sender.state.postgres.ledger_reads import PostgresReads

T = TypeVar("T")
_ATTEMPTS = 5  # to claim, over connections that break
_NOW = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"


class LedgerChanges(PostgresReads):
    """The transactions of one handle to a ledger."""

    def __init__(
        self,
        db: Database,
        clock: Callable[[], int] | None,
        token_of: Callable[[str, RunKind], uuid.UUID | None],
        folder: Path | None = None,
    ) -> None:
        super().__init__(db)
        self._marks = CommitMarks(folder)
        self._url = db.url
        self._clock = clock
        self._database_clock = DatabaseClock()
        self._token_of = token_of
        self._handle = uuid.uuid4()
        self._claims = 0  # made by this handle, and known to be committed
        self._campaigns: dict[str, tuple[str, RunKind]] = {}
        db.when_reconnected(self._check_nothing_is_lost)
        if clock is None:
            self._read_clock()

    def now_ms(self) -> int:
        return self._clock() if self._clock is not None else self._database_clock()

    def _change(self, key: int, work: Callable[[Transaction, OpenedRun], T]) -> T:
        """The result of `work`, in a transaction that has locked the run's cursor."""
        return self._db.transact(lambda db: work(db, self._open(db, key)))

    def _change_held(self, run_id: str, work: Callable[[Transaction, OpenedRun], T]) -> T:
        """As `_change`, for what only whoever holds the campaign may do.

        Raises RunLocked where another process has taken it over from this one.
        """
        key, _ = self._run_key(run_id)

        def change(db: Transaction) -> T:
            run = self._open(db, key)
            if self._token_of(*self._campaign(db, run_id)) is not None:
                self._refuse_others(db, run_id, run.holder)
            return work(db, run)

        return self._db.transact(change)

    def _claim(self, run_id: str, work: Callable[[Transaction, OpenedRun, ClaimNote], list[Claim]]) -> list[Claim]:
        """The claims that `work` makes and notes, durable. Where the answer of a commit is lost they are looked up."""
        key, _ = self._run_key(run_id)
        note, commits = ClaimNote(self._handle, self._claims + 1), 0

        def make(db: Transaction) -> list[Claim]:
            nonlocal commits
            run = self._open(db, key)
            self._marks.check(run_id, run.commits, self._db.where)
            self._refuse_others(db, run_id, run.holder)
            commits = run.commits + 1
            return work(db, run, note)

        claims: list[Claim] = []
        for _ in range(_ATTEMPTS):
            try:
                claims = self._db.transact(make, again=False)
                break
            except ConnectionLost:
                self._db.reconnect()
                if claims := self._look_up(key, note):
                    break
        else:
            raise StateError(
                "the connection to the database breaks again and again",
                where=self._db.where,
                fix="check the network between this machine and the database, then run the same command again",
            )
        if claims:
            self._claims = note.number
            self._marks.note(run_id, commits)
        return claims

    def _look_up(self, key: int, note: ClaimNote) -> list[Claim]:
        """The claims that were noted so, if they were committed; else they never will be.

        COMMIT is sent only once the run's lock is held, so to have the lock means that it has been carried out, or was
        never sent.
        """

        def look(db: Transaction) -> list[Claim]:
            self._open(db, key)
            return noted_claims(db, note)

        return self._db.transact(look)

    def _open(self, db: Transaction, key: int) -> OpenedRun:
        """Lock the run's cursor. Then the clock is read: waiting must not eat the lease."""
        begun_s = self._database_clock.begin()
        row = db.row("SELECT * FROM begin_change(%s)", (key,))
        assert row is not None  # noqa: S101 (a function's)
        next_seq, version, now_ms, commits, is_held, close_reason, *rest = row
        self._database_clock.note(begun_s, now_ms)
        refuse_newer(version, self._url)  # a newer program may have upgraded it meanwhile
        closed = None if close_reason is None else CancelReason(close_reason)
        return OpenedRun(
            key, next_seq, now_ms if self._clock is None else self._clock(), commits, is_held, closed, *rest
        )

    def _lock(self, db: Transaction, keys: Iterable[int]) -> int:
        """Lock the cursors of these runs, always in the same order; return the time afterwards."""
        db.execute(sql.LOCK_RUNS, (sorted(keys),))
        refuse_newer(int(db.value("SELECT version FROM state")), self._url)
        return self._clock() if self._clock is not None else int(db.value(_NOW))

    def _read_clock(self) -> None:
        begun_s = self._database_clock.begin()
        self._database_clock.note(begun_s, self._db.read(lambda db: int(db.value(_NOW))))

    def _refuse_others(self, db: Transaction, run_id: str, holder: uuid.UUID | None) -> None:
        """Raise RunLocked where another process has taken the campaign over. Its doing so waits for our lock."""
        self._refuse_holder(db, *self._campaign(db, run_id), holder)

    def _campaign(self, db: Transaction, run_id: str) -> tuple[str, RunKind]:
        """The campaign and the kind of a run, which never change."""
        if run_id not in self._campaigns:
            campaign, kind = db.row("SELECT campaign, kind FROM run WHERE run_id = %s", (run_id,)) or ("", "live")
            self._campaigns[run_id] = (campaign, RunKind(kind))
        return self._campaigns[run_id]

    def _refuse_holder(self, db: Transaction, campaign: str, kind: RunKind, holder: uuid.UUID | None) -> None:
        """Raise RunLocked where `holder`, the token of whoever holds the campaign, is not this process's."""
        if holder != self._token_of(campaign, kind):
            row = db.row("SELECT pid, host, since FROM holder WHERE name = %s", (holder_name(campaign, kind),))
            who = "" if row is None else f" (pid {row[0]} on {row[1]}, since {row[2]})"
            raise RunLocked(
                f"{campaign} was taken over by another process{who} while this one could not reach the database",
                fix=f"`sender status {campaign}` shows its progress",
            )

    def _check_nothing_is_lost(self, connection: psycopg.Connection[Any]) -> None:
        """Raise StateError on a new connection where claims are gone that were durable."""
        if not self._claims:
            return
        row = connection.execute("SELECT number FROM claim_note WHERE handle = %s", (self._handle,)).fetchone()
        if row is None or row[0] < self._claims:
            raise lost_commits(self._db.where)


def holder_name(campaign: str, kind: RunKind) -> str:
    """What the row of who holds a campaign is called."""
    return f"{kind.value}-{campaign}"
