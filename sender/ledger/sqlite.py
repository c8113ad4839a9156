"""The ledger of one machine: a SQLite file in the state directory, holding every run.

Intents and outcomes are on disk before a method returns (WAL, synchronous FULL). The schema keeps the rules
that a bug outside must not break: what each state needs and may not have stands in CHECK constraints. Holds
no message bodies and no recipients' numbers. Never deletes a row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

import apsw
import polars as pl

from sender.clock import wall_clock_ms
from sender.errors import UnknownRun
from sender.ledger import (
    JOURNAL_SCHEMA,
    WHOLE,
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
from sender.ledger.file import (
    Mark,
    damaged,
    failures_explained,
    open_to_read,
    open_to_write,
    refuse_other_schema,
    schema_version,
)
from sender.ledger.rows import Settled, cleaned, journal_frame, settled
from sender.ledger.schema import SCHEMA_VERSION
from sender.outcomes import State, Unknown

_JOURNAL_CHUNK = 5_000  # rows that stand as Python tuples at one time; many more cost cache and collector

_INSERT_RUN = """
INSERT INTO run (
    run_id, campaign, kind, provider, plan_hash, source, rows, messages, skipped, created_at, finished_at, simulated,
    account, retry_of
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_SELECT_RUNS = """
SELECT run_id, campaign, kind, provider, plan_hash, source, rows, messages, skipped, created_at, finished_at, simulated,
    account, retry_of
FROM run
"""
_CLAIM_WAITING = """
UPDATE message
SET state = 'intent', attempts = attempts + 1, fence = fence + 1, intent_at = :now, deadline = :deadline,
    not_before = NULL, sender = NULL, updated_at = :now
WHERE run = :run AND state = 'pending' AND seq IN (
    SELECT seq FROM message
    WHERE run = :run AND state = 'pending' AND not_before <= :now AND seq < :bound
    ORDER BY not_before, seq LIMIT :limit
)
RETURNING seq, attempts, fence
"""
_CLAIM_THESE = """
UPDATE message
SET state = 'intent', attempts = attempts + 1, fence = fence + 1, intent_at = :now, deadline = :deadline,
    not_before = NULL, sender = NULL, updated_at = :now
WHERE run = :run AND state = 'pending' AND not_before <= :now AND seq IN (SELECT value FROM json_each(:seqs))
RETURNING seq, attempts, fence
"""
_DUE = """
SELECT seq FROM message
WHERE run = :run AND state = 'pending' AND not_before <= :now AND seq < :bound
    AND seq NOT IN (SELECT value FROM json_each(:beside)) AND seq % :of = :part
ORDER BY not_before, seq LIMIT :limit
"""
# A row that waits for nothing: it was never claimed, and stands only so that those behind it can be.
_SET_ASIDE = """
WITH RECURSIVE next (seq) AS (VALUES (:start) UNION ALL SELECT seq + 1 FROM next WHERE seq + 1 < :stop)
INSERT INTO message (run, seq, state, attempts, fence, intent_at, not_before, updated_at)
SELECT :run, seq, 'pending', 0, 0, :now, 0, :now FROM next
"""
_LAST_CHANGED = """
SELECT seq, updated_at FROM message WHERE run = ? AND attempts > 0 ORDER BY updated_at DESC, seq DESC LIMIT ?
"""
_WAITING = "SELECT seq FROM message WHERE run = ? AND state = 'pending'"
_NEXT_SEQ = "SELECT coalesce(max(seq) + 1, 0) FROM message WHERE run = ?"
_CLAIM_NEXT = """
WITH RECURSIVE next (seq) AS (VALUES (:start) UNION ALL SELECT seq + 1 FROM next WHERE seq + 1 < :stop)
INSERT INTO message (run, seq, state, attempts, fence, intent_at, deadline, updated_at)
SELECT :run, seq, 'intent', 1, 1, :now, :deadline, :now FROM next
"""
_RELEASE = """
UPDATE message SET state = 'pending', attempts = attempts - 1, deadline = NULL, sender = NULL, not_before = ?,
    updated_at = ?
WHERE run = ? AND seq = ? AND state = 'intent' AND attempts = ? AND fence = ?
"""
_USE_SENDER = """
UPDATE message SET sender = ? WHERE run = ? AND seq = ? AND state = 'intent' AND attempts = ? AND fence = ?
"""
_SETTLE = f"""
UPDATE message
SET {", ".join(f"{name} = ?" for name in Settled._fields)}, deadline = NULL, updated_at = ?
"""  # noqa: S608 (our names)
_RECONCILE = _SETTLE + "WHERE run = ? AND seq = ? AND state = 'unknown' AND attempts = coalesce(?, attempts)"
# Python lets its other threads run around each step of SQLite, and getting its turn back costs more than the step. So
# what came of a group is written by few statements: one for all outcomes that differ in no more than these columns.
_VARYING = ("message_id", "segments", "created_at")
_COMMON = tuple(name for name in Settled._fields if name not in _VARYING)
_common = itemgetter(*map(Settled._fields.index, _COMMON))
_RECORD = f"""
WITH told AS MATERIALIZED (
    SELECT value ->> 0 AS seq, value ->> 1 AS attempt, value ->> 2 AS fence, value ->> 3 AS message_id,
        value ->> 4 AS segments, value ->> 5 AS created_at
    FROM json_each(:told)
)
UPDATE message
SET {", ".join(f"{name} = :{name}" for name in _COMMON)}, message_id = told.message_id, segments = told.segments,
    created_at = told.created_at, deadline = NULL, updated_at = :now
FROM told
WHERE message.run = :run AND message.seq = told.seq AND message.state = 'intent' AND message.attempts = told.attempt
    AND message.fence = told.fence
"""  # noqa: S608 (our names)
_ORPHANS = """
UPDATE message
SET state = 'unknown', deadline = NULL, reason = NULL, error_code = NULL, error_message = ?, updated_at = ?
WHERE run = ? AND state = 'intent'
"""
_ORPHAN_MESSAGE = "the sender stopped before the outcome was written: it may have been sent"
_RESEND = """
UPDATE message
SET state = 'pending', not_before = ?, resent = resent + 1, reason = NULL, error_code = NULL, error_message = NULL,
    updated_at = ?
WHERE run = ? AND state = 'unknown'
"""
# Rows are dense from 0, so their count, highest and sum of `seq` follow from one another; no single change to a key
# leaves all three as they were. What CHECK constraints say is looked at again, because a damaged page asks nobody.
_CHECK = """
SELECT count(*), coalesce(max(seq) + 1, 0), coalesce(sum(seq), 0), coalesce(sum(
    state IN ('pending', 'intent', 'accepted', 'rejected', 'unknown')
    AND (state = 'intent') = (deadline IS NOT NULL) AND (state = 'pending') = (not_before IS NOT NULL)
    AND (state = 'accepted') = (message_id IS NOT NULL) AND attempts BETWEEN (state <> 'pending') AND fence
), 0)
FROM message WHERE run = ?
"""
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


class SqliteLedger:
    """A `Ledger` in one SQLite file. May be used from any thread, by one at a time."""

    def __init__(self, db: apsw.Connection, path: Path, clock: Callable[[], int]) -> None:
        self._db = db
        self._path = path
        self._clock = clock
        self._mark = Mark(path)
        self._known: dict[str, tuple[int, int]] = {}

    @classmethod
    def open(cls, path: Path, *, clock: Callable[[], int] | None = None, read_only: bool = False) -> Self:
        """The ledger in the file `path`, made with its directory if there is none.

        `clock` gives milliseconds UTC (default: `sender.clock.wall_clock_ms`, read when the ledger is opened). With
        `read_only` nothing is made or changed, and whoever may read the file may open it. Raises StateError when the
        file cannot be used, is another program's, was written by a newer version, or has lost commits. A file of an
        older version is brought up to this one, which needs write access.
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
            run.retry_of,
        )
        try:
            with self._transaction() as db:
                db.execute(_INSERT_RUN, columns)
        except apsw.ConstraintError as error:
            raise ValueError(f"run {run.run_id} cannot be created: {error}") from None

    def run(self, run_id: str) -> Run:
        with failures_explained(self._path):
            row = self._db.execute(_SELECT_RUNS + "WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            raise self._unknown_run(run_id)
        return _run(row)

    def runs(self) -> list[Run]:
        with failures_explained(self._path):
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

    def set_aside(
        self,
        run_id: str,
        *,
        limit: int,
        beside: Collection[int] = (),
        below_seq: int | None = None,
        part: tuple[int, int] = WHOLE,
    ) -> list[int]:
        key, messages = self._run_key(run_id)
        bound = messages if below_seq is None else min(messages, below_seq)
        if limit <= 0:
            return []
        with self._transaction() as db:
            named = {"run": key, "now": self.now_ms(), "bound": bound, "limit": limit, "beside": _json(beside)}
            due = [seq for (seq,) in db.execute(_DUE, named | {"part": part[0], "of": part[1]})]
            start: int = db.execute(_NEXT_SEQ, (key,)).get
            stop = min(bound, start + part[1] * (limit - len(due)))  # the other parts find theirs waiting
            if start < stop:
                db.execute(_SET_ASIDE, named | {"start": start, "stop": stop})
        return [*due, *(seq for seq in range(start, stop) if seq % part[1] == part[0])]

    def claim_these(self, run_id: str, seqs: Collection[int], *, lease_ms: int) -> list[Claim]:
        key, _ = self._run_key(run_id)
        with self._transaction() as db:
            now = self.now_ms()
            deadline = now + lease_ms
            named = {"run": key, "now": now, "deadline": deadline, "seqs": _json(seqs)}
            claimed: list[tuple[Any, ...]] = db.execute(_CLAIM_THESE, named).fetchall()
        return [Claim(seq, attempt, deadline, fence) for seq, attempt, fence in sorted(claimed)]

    def last_changed(self, run_id: str, *, limit: int) -> list[tuple[int, int]]:
        """As the protocol says. Reads all of the run's rows."""
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            return [(seq, at_ms) for seq, at_ms in self._db.execute(_LAST_CHANGED, (key, limit))]

    def pending_from(self, run_id: str) -> tuple[int, list[int]]:
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            waiting = sorted(seq for (seq,) in self._db.execute(_WAITING, (key,)))
            start: int = self._db.execute(_NEXT_SEQ, (key,)).get
            return start, waiting

    def release(self, run_id: str, claims: Iterable[Claim]) -> int:
        key, _ = self._run_key(run_id)
        given_back = list(claims)
        with self._transaction() as db:
            now = self.now_ms()
            changed = _changed(db, _RELEASE, ((0, now, key, c.seq, c.attempt, c.fence) for c in given_back))
            sqlite_delivery.apply_waiting(db, key, (c.seq for c in given_back), now)
        return changed

    def use_senders(self, run_id: str, choices: Iterable[tuple[Claim, str]]) -> int:
        key, _ = self._run_key(run_id)
        with self._transaction() as db:
            return _changed(db, _USE_SENDER, ((sender, key, c.seq, c.attempt, c.fence) for c, sender in choices))

    def record(self, run_id: str, settlements: Sequence[Settlement]) -> int:
        """As the protocol says. Of two outcomes for one claim the first counts."""
        key, _ = self._run_key(run_id)
        with self._transaction() as db:
            now = self.now_ms()
            changed = _recorded(db, key, settlements, now)
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

    def resend_unknown(self, run_id: str) -> int:
        key, _ = self._run_key(run_id)
        with self._transaction() as db:
            now = self.now_ms()
            changed = _changed(db, _RESEND, [(now, now, key)])
            db.execute(_REOPEN, (key,))
        return changed

    def check(self, run_id: str) -> None:
        """As the protocol says. Reads all of the run's rows: about 0.3 s for a million."""
        key, messages = self._run_key(run_id)
        with failures_explained(self._path):
            row: tuple[Any, ...] = self._db.execute(_CHECK, (key,)).fetchall()[0]
        rows, top, total, sound = row
        if rows != top or total != rows * (rows - 1) // 2 or rows > messages:
            raise damaged(self._path, f"run {run_id} has {rows} rows of messages where {top} were claimed")
        if sound != rows:
            raise damaged(self._path, f"{rows - sound} messages of run {run_id} are in no state there is")

    def report(self, reports: Sequence[Reported]) -> ReportCounts:
        with self._transaction() as db:
            return sqlite_delivery.report(db, reports, self._find_run, self.now_ms())

    def match_reports(self) -> int:
        """As the protocol says. Looks through all messages, in a snapshot that holds up no writer."""
        with failures_explained(self._path):
            found = sqlite_delivery.strays(self._db)
        if not found:
            return 0
        with self._transaction() as db:
            return sqlite_delivery.apply_strays(db, found, self.now_ms())

    def delivering(self, run_id: str) -> int:
        key, _ = self._run_key(run_id)
        with failures_explained(self._path):
            return sqlite_delivery.delivering(self._db, key)

    def kept_reports(self) -> int:
        with failures_explained(self._path):
            return sqlite_delivery.kept(self._db)

    def forget_reports(self, before_ms: int) -> int:
        with self._transaction() as db:
            return sqlite_delivery.forget(db, before_ms)

    def counts(self, run_id: str) -> Counts:
        key, messages = self._run_key(run_id)
        with failures_explained(self._path):
            return self._count(key, messages)

    def next_due_ms(self, run_id: str, *, below_seq: int | None = None) -> int | None:
        key, messages = self._run_key(run_id)
        bound = messages if below_seq is None else below_seq
        with failures_explained(self._path):
            row = self._db.execute(_NEXT_DUE, (key, bound)).fetchone()
        return None if row is None else row[0]

    def journal(self, run_id: str) -> pl.DataFrame:
        key, _ = self._run_key(run_id)
        chunks: list[pl.DataFrame] = []
        with failures_explained(self._path):
            rows = self._db.execute(_JOURNAL, (key,))  # one statement, so one snapshot
            while chunk := list(islice(rows, _JOURNAL_CHUNK)):
                chunks.append(journal_frame(chunk))
        return pl.concat(chunks, rechunk=True) if chunks else pl.DataFrame(schema=JOURNAL_SCHEMA)

    def message_ids(self) -> set[str]:
        with failures_explained(self._path):
            return {row[0] for row in self._db.execute("SELECT message_id FROM message WHERE message_id IS NOT NULL")}

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


def _changed(db: apsw.Connection, statement: str, rows: Iterable[tuple[Any, ...]]) -> int:
    before = db.total_changes()
    db.executemany(statement, rows)
    return db.total_changes() - before


def _recorded(db: apsw.Connection, key: int, settlements: Iterable[Settlement], now_ms: int) -> int:
    """Settles each claim that still holds its message, those with like outcomes by one statement."""
    before = db.total_changes()
    alike: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    claims: set[tuple[int, int, int]] = set()
    for claim, outcome, due_ms in ((one.claim, one.outcome, one.not_before_ms) for one in settlements):
        told = (claim.seq, claim.attempt, claim.fence)
        if told in claims:
            continue
        claims.add(told)
        row = settled(outcome, due_ms=now_ms if due_ms is None else due_ms, now_ms=now_ms)
        varying = (*told, row.message_id, row.segments, row.created_at)
        alike.setdefault(_common(row), []).append(varying)
    for common, rows in alike.items():
        named = dict(zip(_COMMON, common, strict=True)) | {"told": json.dumps(rows), "run": key, "now": now_ms}
        db.execute(_RECORD, named)
    return db.total_changes() - before


def _run(row: tuple[Any, ...]) -> Run:
    run_id, campaign, kind, *middle, simulated, account, retry_of = row
    return Run(*(run_id, campaign, RunKind(kind), *middle, bool(simulated), account, retry_of))


def _json(seqs: Collection[int]) -> str:
    return json.dumps(sorted(seqs))
