"""The runs of a state that several machines send: who is to do what, and who is there."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from sender.state.database_url import DatabaseUrl
from sender.state.ledger import Run
from sender.state.postgres.database import Database, Transaction
from sender.state.postgres.locks import AdvisoryLocks
from sender.state.postgres.shared_run import SharedRunRows
from sender.state.sharing import SharedRun, ShiftOrder, ShiftQueue, ShiftRow, WorkerRow

SEEN_S = 5.0  # who has not said anything for so long is not there

_NOW = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_ORDER = "SELECT run_id, text, below_seq, halted, ended_at IS NOT NULL FROM shift_order WHERE run_id = %(run)s"
_SHARE = """
INSERT INTO shift_order (run_id, text) VALUES (%(run)s, %(text)s)
ON CONFLICT (run_id) DO UPDATE SET text = excluded.text, halted = NULL, ended_at = NULL
"""
_REWRITE = "UPDATE shift_order SET text = %s WHERE run_id = %s"
_BOUND = "UPDATE shift_order SET below_seq = %(below)s WHERE run_id = %(run)s"
_END = f"UPDATE shift_order SET ended_at = {_NOW} WHERE run_id = %(run)s"  # noqa: S608 (our own text)
_DROP = (
    "UPDATE shift_order SET text = '{}' WHERE run_id = %(run)s",  # it may name people that are held back
    "DELETE FROM sender_out WHERE run_id = %(run)s",
    "DELETE FROM rate WHERE run_id = %(run)s",
)
_RUNNING = """
SELECT shift_order.run_id, run.kind || '-' || run.campaign FROM shift_order JOIN run USING (run_id)
WHERE ended_at IS NULL AND run.closed_at IS NULL AND run.paused_at IS NULL AND run.finished_at IS NULL
"""
_NOTE_WORKER = f"""
INSERT INTO worker (id, host, pid, places, since, seen_at, draining)
VALUES (%(id)s, %(host)s, %(pid)s, %(places)s, {_NOW}, {_NOW}, %(draining)s)
ON CONFLICT (id) DO UPDATE
SET seen_at = excluded.seen_at, draining = excluded.draining, places = excluded.places
"""  # noqa: S608
_FORGET = ("DELETE FROM worker WHERE id = %(id)s",)
_FORGET_OLD = (
    f"DELETE FROM worker WHERE seen_at < {_NOW} - 3600000",  # noqa: S608
    f"DELETE FROM shift WHERE seen_at < {_NOW} - 3600000",  # noqa: S608
)
_WORKERS = f"""
SELECT host, pid, places, since, ({_NOW} - seen_at) / 1000.0, draining FROM worker
WHERE seen_at > {_NOW} - %(seen)s ORDER BY since, host, pid
"""  # noqa: S608
_SHIFTS = f"""
SELECT run_id, host, pid, since, ({_NOW} - seen_at) / 1000.0, sent, in_flight FROM shift
WHERE seen_at > {_NOW} - %(seen)s AND (%(run)s::text IS NULL OR run_id = %(run)s) ORDER BY run_id, since, host, pid
"""  # noqa: S608


class SharedRuns:
    """A `Sharing` in the database. May be used from any thread."""

    def __init__(self, url: DatabaseUrl, locks: AdvisoryLocks, *, read_only: bool = False) -> None:
        self._url = url
        self._locks = locks
        self._read_only = read_only
        self._lock = threading.Lock()

    @cached_property
    def _db(self) -> Database:
        """Opened when it is first used, and opened again when it is lost."""
        return Database(self._url, read_only=self._read_only)

    def close(self) -> None:
        if "_db" in vars(self):
            self._db.close()

    def share(self, run: Run, text: str) -> None:
        self._locks.share(run.campaign, run.kind)
        self._change((_SHARE,), run=run.run_id, text=text)

    def erase(self, run: Run, number: str) -> None:
        def erase(db: Transaction) -> None:
            text = db.value("SELECT text FROM shift_order WHERE run_id = %s FOR UPDATE", (run.run_id,))
            order = {} if text is None else json.loads(text)
            if order.get("held", {}).pop(number, None) is not None:
                db.execute(_REWRITE, (json.dumps(order), run.run_id))

        with self._lock:
            self._db.transact(erase)

    def is_shared(self, run: Run) -> bool:
        return self._locks.is_shared(run.campaign, run.kind)

    def join(self, run: Run) -> contextlib.AbstractContextManager[None]:
        return self._locks.join(run.campaign, run.kind)

    def set_bound(self, run: Run, below_seq: int | None) -> None:
        self._change((_BOUND,), run=run.run_id, below=below_seq)

    def end(self, run: Run, *, is_over: bool) -> None:
        self._change((_END, *(_DROP if is_over else ())), run=run.run_id)
        self._locks.dissolve(run.campaign, run.kind)

    def order(self, run_id: str) -> ShiftOrder | None:
        row = self._read(lambda db: db.row(_ORDER, {"run": run_id}))
        return None if row is None else ShiftOrder(*row)

    def unattended(self) -> list[str]:
        running = self._read(lambda db: db.rows(_RUNNING))
        return [run_id for run_id, name in running if not self._locks.is_held(name)]

    def open(self, run: Run) -> SharedRun:
        return SharedRunRows(self._url, run.run_id)

    def open_queue(self) -> ShiftQueue:
        from sender.state.postgres.shift_queue import EngineQueue  # noqa: PLC0415 (the engine takes half a second)

        return EngineQueue(self._url)

    def note_worker(self, worker: str, *, places: int, is_draining: bool) -> None:
        self._change(
            (_NOTE_WORKER, *_FORGET_OLD),
            id=worker,
            host=socket.gethostname(),
            pid=os.getpid(),
            places=places,
            draining=is_draining,
        )

    def forget_worker(self, worker: str) -> None:
        self._change(_FORGET, id=worker)

    def workers(self) -> list[WorkerRow]:
        rows = self._read(lambda db: db.rows(_WORKERS, {"seen": int(1000 * SEEN_S)}))
        return [WorkerRow(host, pid, places, since, float(ago), gone) for host, pid, places, since, ago, gone in rows]

    def shifts(self, run_id: str | None = None) -> list[ShiftRow]:
        rows = self._read(lambda db: db.rows(_SHIFTS, {"seen": int(1000 * SEEN_S), "run": run_id}))
        return [ShiftRow(run, host, pid, since, float(ago), *rest) for run, host, pid, since, ago, *rest in rows]

    def _read(self, work: Any) -> Any:
        with self._lock:
            return self._db.read(work)

    def _change(self, statements: Sequence[str], **values: Any) -> None:
        def change(db: Transaction) -> None:
            for statement in statements:
                db.execute(statement, values)

        with self._lock:
            self._db.transact(change)
