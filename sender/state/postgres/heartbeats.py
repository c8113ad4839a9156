"""Heartbeats as rows, written each second and not worth a disk's sync: nothing depends on them."""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType

from sender.core.errors import SenderError
from sender.state.database_url import DatabaseUrl
from sender.state.heartbeat import EVERY_S, FRESH_S, Heartbeat, OnProgress, Progress
from sender.state.ledger import Run
from sender.state.postgres.database import Database
from sender.state.postgres.questions import Questions

_NOW = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_PUBLISH = f"""
INSERT INTO progress (run_id, at, eta_s, slowed_to_per_s) VALUES (%s, {_NOW}, %s, %s)
ON CONFLICT (run_id) DO UPDATE
SET at = excluded.at, eta_s = excluded.eta_s, slowed_to_per_s = excluded.slowed_to_per_s
"""  # noqa: S608 (our own text)
_READ = f"SELECT {_NOW} - at, eta_s, slowed_to_per_s FROM progress WHERE run_id = %s"  # noqa: S608


class HeartbeatRows:
    """The heartbeats of one state."""

    def __init__(self, url: DatabaseUrl, questions: Questions) -> None:
        self._url = url
        self._questions = questions

    def publish(self, run: Run, on_progress: OnProgress | None = None) -> contextlib.AbstractContextManager[OnProgress]:
        return _Publisher(self._url, run.run_id, on_progress)

    def read(self, run: Run) -> Heartbeat | None:
        row = self._questions.read(lambda db: db.row(_READ, (run.run_id,)))
        if row is None or abs(row[0]) > FRESH_S * 1000:
            return None
        return Heartbeat(None if row[1] is None else max(0.0, row[1] - row[0] / 1000), row[2])


class _Publisher(threading.Thread):
    """Writes the newest moment of one run each second, so that nobody waits for it. Removes the row on exit."""

    def __init__(self, url: DatabaseUrl, run_id: str, on_progress: OnProgress | None) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._url = url
        self._run_id = run_id
        self._on_progress = on_progress
        self._newest: Progress | None = None
        self._stopped = threading.Event()

    def __enter__(self) -> OnProgress:
        self.start()
        return self._publish

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self.join()

    def run(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(SenderError), contextlib.closing(Database(self._url)) as db:
                db.read_once(lambda db: db.execute("SET synchronous_commit = off"))
                self._write_each_second(db)
                db.read_once(lambda db: db.execute("DELETE FROM progress WHERE run_id = %s", (self._run_id,)))
            self._stopped.wait(EVERY_S)

    def _write_each_second(self, db: Database) -> None:
        while not self._stopped.wait(EVERY_S):
            progress, self._newest = self._newest, None
            if progress is not None:
                values = (self._run_id, progress.eta_s, progress.slowed_to_per_s)
                db.read_once(lambda db, values=values: db.execute(_PUBLISH, values))  # type: ignore[misc]

    def _publish(self, progress: Progress) -> None:
        self._newest = progress
        if self._on_progress is not None:
            self._on_progress(progress)
