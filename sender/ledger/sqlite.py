"""The ledger of one machine: a SQLite file in the state directory, holding every run.

Intents and outcomes are on disk before a method returns (WAL, synchronous FULL). The schema keeps the rules
that a bug outside must not break: what each state needs and may not have stands in CHECK constraints. Holds
no message bodies and no recipients' numbers. Never deletes a row.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Self

import apsw
import polars as pl

from sender.errors import StateError, UnknownRun
from sender.ledger import (
    JOURNAL_SCHEMA,
    Claim,
    Counts,
    Found,
    ReportCounts,
    Reported,
    Run,
    RunKind,
    Settlement,
    sqlite_delivery,
)
from sender.ledger.rows import cleaned, journal_frame, settled
from sender.ledger.schema import SCHEMA_VERSION, STEPS
from sender.outcomes import State, Unknown

APPLICATION_ID = int.from_bytes(b"cmps")  # in the file's header: `file` and we can tell whose it is
_BUSY_TIMEOUT_S = 10.0  # other runs' commits take milliseconds; this is for a machine that stalls
_JOURNAL_CHUNK = 5_000  # rows that stand as Python tuples at one time; many more cost cache and collector

_INSERT_RUN = """
INSERT INTO run (
    run_id, campaign, kind, provider, plan_hash, source, rows, messages, skipped, created_at, finished_at, simulated,
    account
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_SELECT_RUNS = """
SELECT run_id, campaign, kind, provider, plan_hash, source, rows, messages, skipped, created_at, finished_at, simulated,
    account
FROM run
"""
_CLAIM_WAITING = """
UPDATE message
SET state = 'intent', attempts = attempts + 1, fence = fence + 1, intent_at = :now, deadline = :deadline,
    not_before = NULL, updated_at = :now
WHERE run = :run AND seq IN (
    SELECT seq FROM message
    WHERE run = :run AND state = 'pending' AND not_before <= :now AND seq < :bound
    ORDER BY not_before, seq LIMIT :limit
)
RETURNING seq, attempts, fence
"""
_NEXT_SEQ = "SELECT coalesce(max(seq) + 1, 0) FROM message WHERE run = ?"
_CLAIM_NEXT = """
WITH RECURSIVE next (seq) AS (VALUES (:start) UNION ALL SELECT seq + 1 FROM next WHERE seq + 1 < :stop)
INSERT INTO message (run, seq, state, attempts, fence, intent_at, deadline, updated_at)
SELECT :run, seq, 'intent', 1, 1, :now, :deadline, :now FROM next
"""
_RELEASE = """
UPDATE message SET state = 'pending', attempts = attempts - 1, deadline = NULL, not_before = ?, updated_at = ?
WHERE run = ? AND seq = ? AND state = 'intent' AND attempts = ? AND fence = ?
"""
# One statement writes every outcome, so a batch keeps its order; the guard is what differs.
_SETTLE = """
UPDATE message
SET state = ?, not_before = ?, message_id = ?, status = ?, provider_status = ?, reason = ?, error_code = ?,
    error_message = ?, segments = ?, price = ?, currency = ?, created_at = ?, sent_at = ?, final_at = ?,
    deadline = NULL, updated_at = ?
"""
_RECORD = _SETTLE + "WHERE run = ? AND seq = ? AND state = 'intent' AND attempts = ? AND fence = ?"
_RECONCILE = _SETTLE + "WHERE run = ? AND seq = ? AND state = 'unknown' AND attempts = coalesce(?, attempts)"
_ORPHANS = """
UPDATE message
SET state = 'unknown', deadline = NULL, reason = NULL, error_code = NULL, error_message = ?, updated_at = ?
WHERE run = ? AND state = 'intent'
"""
_ORPHAN_MESSAGE = "the sender stopped before the outcome was written: it may have been sent"
_NEXT_DUE = """
SELECT not_before FROM message WHERE run = ? AND state = 'pending' AND seq < ? ORDER BY not_before LIMIT 1
"""
_REOPEN = """
UPDATE run SET finished_at = NULL
WHERE key = ?1 AND finished_at IS NOT NULL
    AND EXISTS (SELECT 1 FROM message WHERE run = ?1 AND state = 'pending')
"""
_COUNT = "SELECT state, count(*) FROM message WHERE run = ? AND state <> 'pending' GROUP BY state"
_JOURNAL = f"SELECT {', '.join(JOURNAL_SCHEMA)} FROM message WHERE run = ? ORDER BY seq"  # noqa: S608 (our names)

# What a person can do about each failure of the file. A class that is not here is a bug of ours.
_ACCESS = "give this user write access to the file and its directory"
_WAIT = "wait for that process to end, then run the same command again"
_FAILURES: dict[type[apsw.Error], tuple[str, str]] = {
    apsw.FullError: ("the disk is full", "free some space, then run the same command again"),
    apsw.IOError: ("the disk failed to read or write", "check the disk, then run the same command again"),
    apsw.ReadOnlyError: ("it cannot be written", _ACCESS),
    apsw.PermissionsError: ("access is denied", _ACCESS),
    apsw.CantOpenError: ("it cannot be opened", _ACCESS),
    apsw.BusyError: ("another process holds it", _WAIT),
    apsw.LockedError: ("another process holds it", _WAIT),
    apsw.CorruptError: ("it is damaged", "restore a backup; until then what was sent is not known"),
    apsw.NotADBError: ("it is not a ledger of campaign-sender", "name another one with --state-dir"),
}


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class SqliteLedger:
    """A `Ledger` in one SQLite file. May be used from any thread, by one at a time."""

    def __init__(self, db: apsw.Connection, path: Path, clock: Callable[[], int]) -> None:
        self._db = db
        self._path = path
        self._clock = clock
        self._known: dict[str, tuple[int, int]] = {}

    @classmethod
    def open(cls, path: Path, *, clock: Callable[[], int] = _wall_clock_ms) -> Self:
        """The ledger in the file `path`, made with its directory if there is none.

        `clock` gives milliseconds UTC. Raises StateError when the file cannot be used, is another program's,
        or was written by a newer version. A file of an older version is brought up to this one.
        """
        path = path.absolute()  # SQLite reads names such as `:memory:` its own way
        _create_file(path)
        with _failures_explained(path):
            db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                _configure(db, path)
            except BaseException:
                db.close()
                raise
        return cls(db, path, clock)

    def close(self) -> None:
        with _failures_explained(self._path):
            self._db.close()

    def now_ms(self) -> int:
        return self._clock()

    def create_run(self, run: Run) -> None:
        """Writes a new run. Raises ValueError when there is one of that id, or its rows do not add up."""
        columns = (
            run.run_id,
            cleaned(run.campaign),
            run.kind.value,
            run.provider,
            run.plan_hash,
            cleaned(run.source),
            run.rows,
            run.messages,
            run.skipped,
            run.created_at_ms,
            run.finished_at_ms,
            run.simulated,
            run.account,
        )
        try:
            with self._transaction() as db:
                db.execute(_INSERT_RUN, columns)
        except apsw.ConstraintError as error:
            raise ValueError(f"run {run.run_id} cannot be created: {error}") from None

    def run(self, run_id: str) -> Run:
        with _failures_explained(self._path):
            row = self._db.execute(_SELECT_RUNS + "WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            raise self._unknown_run(run_id)
        return _run(row)

    def runs(self) -> list[Run]:
        with _failures_explained(self._path):
            rows = self._db.execute(_SELECT_RUNS + "ORDER BY created_at, key").fetchall()
        return [_run(row) for row in rows]

    def finish_run(self, run_id: str) -> bool:
        key, messages = self._run_key(run_id)
        with self._transaction() as db:
            counts = self._count(key, messages)
            if counts.pending or counts.intent:
                return False
            db.execute("UPDATE run SET finished_at = coalesce(finished_at, ?) WHERE key = ?", (self.now_ms(), key))
        return True

    def claim(self, run_id: str, *, limit: int, lease_ms: int, below_seq: int | None = None) -> list[Claim]:
        """As the protocol says; `lease_ms` is counted from the commit's own reading of the clock."""
        key, messages = self._run_key(run_id)
        bound = messages if below_seq is None else min(messages, below_seq)
        if limit <= 0:
            return []
        with self._transaction() as db:
            now = self.now_ms()  # read with the write lock held: waiting for it must not eat the lease
            deadline = now + lease_ms
            named = {"run": key, "now": now, "deadline": deadline, "bound": bound, "limit": limit}
            waiting: list[tuple[Any, ...]] = db.execute(_CLAIM_WAITING, named).fetchall()
            start: int = db.execute(_NEXT_SEQ, (key,)).get
            stop = min(bound, start + limit - len(waiting))
            if start < stop:
                db.execute(_CLAIM_NEXT, named | {"start": start, "stop": stop})
        again = [Claim(seq, attempt, deadline, fence) for seq, attempt, fence in sorted(waiting)]
        return again + [Claim(seq, 1, deadline, 1) for seq in range(start, stop)]

    def release(self, run_id: str, claims: Iterable[Claim]) -> int:
        key, _ = self._run_key(run_id)
        given_back = list(claims)
        with self._transaction() as db:
            now = self.now_ms()
            changed = _changed(db, _RELEASE, ((0, now, key, c.seq, c.attempt, c.fence) for c in given_back))
            sqlite_delivery.apply_waiting(db, key, (c.seq for c in given_back), now)
        return changed

    def record(self, run_id: str, settlements: Sequence[Settlement]) -> int:
        """As the protocol says. Of two outcomes for one claim the first counts."""
        key, _ = self._run_key(run_id)
        with self._transaction() as db:
            now = self.now_ms()
            rows = (
                (*settled(outcome, due_ms=now if due is None else due, now_ms=now), now, key, c.seq, c.attempt, c.fence)
                for c, outcome, due in ((s.claim, s.outcome, s.not_before_ms) for s in settlements)
            )
            changed = _changed(db, _RECORD, rows)
            sqlite_delivery.apply_waiting(db, key, (s.claim.seq for s in settlements), now)
        return changed

    def orphans_to_unknown(self, run_id: str) -> int:
        key, _ = self._run_key(run_id)
        with self._transaction() as db:
            now = self.now_ms()
            changed = _changed(db, _ORPHANS, [(_ORPHAN_MESSAGE, now, key)])
            if changed:
                changed -= sqlite_delivery.apply_waiting(db, key, None, now)
        return changed

    def reconcile(self, run_id: str, found: Sequence[Found]) -> int:
        """As the protocol says. A finished run that gets a pending message back is no longer finished."""
        key, _ = self._run_key(run_id)
        with self._transaction() as db:
            now = self.now_ms()
            rows = (
                (*settled(f.outcome, due_ms=now, now_ms=now), now, key, f.seq, f.attempt)
                for f in found
                if not isinstance(f.outcome, Unknown)  # proves nothing new
            )
            changed = _changed(db, _RECONCILE, rows)
            sqlite_delivery.apply_waiting(db, key, (f.seq for f in found), now)
            db.execute(_REOPEN, (key,))
        return changed

    def report(self, reports: Sequence[Reported]) -> ReportCounts:
        with self._transaction() as db:
            return sqlite_delivery.report(db, reports, self._find_run, self.now_ms())

    def match_reports(self) -> int:
        """As the protocol says. Looks through all messages, in a snapshot that holds up no writer."""
        with _failures_explained(self._path):
            found = sqlite_delivery.strays(self._db)
        if not found:
            return 0
        with self._transaction() as db:
            return sqlite_delivery.apply_strays(db, found, self.now_ms())

    def kept_reports(self) -> int:
        with _failures_explained(self._path):
            return sqlite_delivery.kept(self._db)

    def forget_reports(self, before_ms: int) -> int:
        with self._transaction() as db:
            return sqlite_delivery.forget(db, before_ms)

    def counts(self, run_id: str) -> Counts:
        key, messages = self._run_key(run_id)
        with _failures_explained(self._path):
            return self._count(key, messages)

    def next_due_ms(self, run_id: str, *, below_seq: int | None = None) -> int | None:
        key, messages = self._run_key(run_id)
        bound = messages if below_seq is None else below_seq
        with _failures_explained(self._path):
            row = self._db.execute(_NEXT_DUE, (key, bound)).fetchone()
        return None if row is None else row[0]

    def journal(self, run_id: str) -> pl.DataFrame:
        key, _ = self._run_key(run_id)
        chunks = [pl.DataFrame(schema=JOURNAL_SCHEMA)]
        with _failures_explained(self._path):
            rows = self._db.execute(_JOURNAL, (key,))  # one statement, so one snapshot
            while chunk := list(islice(rows, _JOURNAL_CHUNK)):
                chunks.append(journal_frame(chunk))
        return pl.concat(chunks, rechunk=True)

    def message_ids(self) -> set[str]:
        with _failures_explained(self._path):
            return {row[0] for row in self._db.execute("SELECT message_id FROM message WHERE message_id IS NOT NULL")}

    def _run_key(self, run_id: str) -> tuple[int, int]:
        """The run's small integer and its number of messages; neither ever changes."""
        with _failures_explained(self._path):
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

    def _count(self, key: int, messages: int) -> Counts:
        found: dict[str, int] = dict(self._db.execute(_COUNT, (key,)))
        return Counts(
            pending=messages - sum(found.values()),
            intent=found.get(State.INTENT, 0),
            accepted=found.get(State.ACCEPTED, 0),
            rejected=found.get(State.REJECTED, 0),
            unknown=found.get(State.UNKNOWN, 0),
        )

    @contextmanager
    def _transaction(self) -> Iterator[apsw.Connection]:
        """The write lock from the start; committed and on disk at the end, or undone and raised."""
        with _failures_explained(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._refuse_other_schema()
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite undoes it by itself on some failures
                    self._db.execute("ROLLBACK")
                raise

    def _refuse_other_schema(self) -> None:
        """A newer program may have changed the tables while this one had the file open."""
        version = self._db.execute("PRAGMA user_version").get
        if version != SCHEMA_VERSION:
            raise _written_by_newer(version, self._path)


@contextmanager
def _failures_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        if type(error) not in _FAILURES:
            raise
        what, fix = _FAILURES[type(error)]
        raise StateError(f"the ledger cannot be used: {what} ({error})", where=str(path), fix=fix) from error


def _create_file(path: Path) -> None:
    """An empty file of mode 0600 where there is none; SQLite gives its -wal and -shm files the same mode."""
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "it is a directory")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StateError(
            f"the ledger cannot be opened: {error.strerror}",
            where=str(path),
            fix="give this user write access to the directory, or name another with --state-dir",
        ) from error


def _configure(db: apsw.Connection, path: Path) -> None:
    db.set_busy_timeout(int(_BUSY_TIMEOUT_S * 1000))
    # FULL: a commit is on disk when it returns. NORMAL may lose committed intents at power loss.
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone leaves the data in the drive's cache
    db.execute("PRAGMA foreign_keys = OFF")  # a step may have to make a table anew
    db.execute("BEGIN IMMEDIATE")  # two processes may open a new file at once
    try:
        if _is_blank(db):
            db.pragma("application_id", APPLICATION_ID)
        else:
            _check_identity(db, path)
        if db.pragma("user_version") < SCHEMA_VERSION:
            _upgrade(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    db.execute("PRAGMA foreign_keys = ON")
    _use_wal(db, path)


def _upgrade(db: apsw.Connection) -> None:
    """Runs the steps that the file lacks."""
    for step in STEPS[db.pragma("user_version") :]:
        db.execute(step)
    db.pragma("user_version", SCHEMA_VERSION)
    broken = db.execute("PRAGMA foreign_key_check").fetchall()
    if broken:
        raise apsw.CorruptError(f"rows without the row they refer to: {broken[:3]}")


def _is_blank(db: apsw.Connection) -> bool:
    objects = db.execute("SELECT count(*) FROM sqlite_schema").get
    return not (objects or db.pragma("application_id") or db.pragma("user_version"))


def _check_identity(db: apsw.Connection, path: Path) -> None:
    version = db.pragma("user_version")
    if db.pragma("application_id") != APPLICATION_ID or version < 1:
        raise StateError(
            "this database is not a ledger of campaign-sender",
            where=str(path),
            fix="move it away, or name another state directory with --state-dir",
        )
    if version > SCHEMA_VERSION:
        raise _written_by_newer(version, path)


def _written_by_newer(version: int, path: Path) -> StateError:
    return StateError(
        f"the ledger was written by a newer campaign-sender: schema {version}, and this one knows {SCHEMA_VERSION}",
        where=str(path),
        fix="upgrade campaign-sender, or name another state directory with --state-dir",
    )


def _use_wal(db: apsw.Connection, path: Path) -> None:
    """WAL mode, which the file remembers. SQLite does not always wait for the lock that the switch needs."""
    give_up = time.monotonic() + _BUSY_TIMEOUT_S
    while time.monotonic() < give_up:
        with suppress(apsw.BusyError):
            if db.pragma("journal_mode", "wal") == "wal":
                return
            break
        time.sleep(0.01)
    raise StateError(
        "the ledger cannot be used: another process holds it, or the file system cannot share its log",
        where=str(path),
        fix="name a state directory on a local disk with --state-dir",
    )


def _changed(db: apsw.Connection, statement: str, rows: Iterable[tuple[Any, ...]]) -> int:
    before = db.total_changes()
    db.executemany(statement, rows)
    return db.total_changes() - before


def _run(row: tuple[Any, ...]) -> Run:
    run_id, campaign, kind, *middle, simulated, account = row
    return Run(*(run_id, campaign, RunKind(kind), *middle, bool(simulated), account))
