"""The replies of a state, in an SQLite file of their own: kept ones, and those that wait to be forwarded.

Beside the ledger and the suppression list, because neither may grow with texts, or fail with them. What is deleted or
blanked is overwritten with zeros in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Self

import apsw

from sender.core.clock import time_of_day_ms
from sender.core.errors import StateError
from sender.state.replies import (
    MOST_WAITING,
    REPLY_COLUMNS,
    ReplyRow,
    StoredReply,
    WaitingReply,
    read_reply,
    reply_columns,
)
from sender.state.sqlite.erasure import compact
from sender.state.sqlite.file import failures_explained, immediate, open_file, open_to_read

_APPLICATION_ID = int.from_bytes(b"cmpr")  # in the file's header
_SCHEMA_VERSION = 1
_SUBJECT = "file of replies"
_failures_explained = partial(failures_explained, subject=_SUBJECT)

# `forward` is NULL for a reply that is not forwarded. While one waits, `next_at` is when it is tried again; a claim
# moves it to the end of its lease, so that a process that dies loses nothing.
_SCHEMA = """
CREATE TABLE reply (
    key INTEGER PRIMARY KEY,
    dialect TEXT NOT NULL,
    message_id TEXT NOT NULL,
    number TEXT,
    our_number TEXT,
    text TEXT,
    media TEXT NOT NULL,
    meaning TEXT CHECK (meaning IN ('stop', 'start', 'review')),
    written_at INTEGER,
    heard_at INTEGER NOT NULL,
    simulated INTEGER NOT NULL CHECK (simulated IN (0, 1)),
    kept INTEGER NOT NULL CHECK (kept IN (0, 1)),
    forward TEXT CHECK (forward IN ('waiting', 'done', 'failed')),
    tries INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    UNIQUE (dialect, message_id)
) STRICT;
CREATE INDEX reply_waiting ON reply (next_at) WHERE forward = 'waiting';
CREATE INDEX reply_number ON reply (number);
CREATE INDEX reply_heard ON reply (heard_at);
"""
_ADD = f"""
INSERT OR IGNORE INTO reply ({REPLY_COLUMNS}, kept, forward, tries, next_at)
VALUES ({", ".join("?" for _ in ReplyRow._fields)}, ?, ?, 0, 0)
"""  # noqa: S608 (our own text)
_IS_FULL = "SELECT EXISTS (SELECT 1 FROM reply WHERE forward = 'waiting' LIMIT 1 OFFSET ?)"
_KEPT = f"""
SELECT {REPLY_COLUMNS}, forward FROM reply WHERE kept AND heard_at >= :since AND (:number IS NULL OR number = :number)
ORDER BY heard_at, key
"""  # noqa: S608
_CLAIM = f"""
UPDATE reply SET tries = tries + 1, next_at = :until WHERE key = (
    SELECT key FROM reply WHERE forward = 'waiting' AND next_at <= :now ORDER BY next_at, key LIMIT 1
) RETURNING key, tries, {REPLY_COLUMNS}
"""  # noqa: S608
_IS_DUE = "SELECT EXISTS (SELECT 1 FROM reply WHERE forward = 'waiting' AND next_at <= ?)"
_BLANK = "number = NULL, our_number = NULL, text = NULL, media = '[]'"
_SETTLE = "UPDATE reply SET forward = ?, next_at = ? WHERE key = ? AND forward = 'waiting'"
_BLANK_UNKEPT = f"UPDATE reply SET {_BLANK} WHERE key = ? AND NOT kept AND forward <> 'waiting'"  # noqa: S608
_ERASE = f"""
UPDATE reply SET {_BLANK}, forward = CASE forward WHEN 'waiting' THEN 'failed' ELSE forward END WHERE number = ?
"""  # noqa: S608


class ReplyFile:
    """The replies in one SQLite file. May be used from any thread, by one at a time; by any number of processes."""

    def __init__(self, db: apsw.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file at `path`; make it, and its directory, if there is none. Raises StateError."""
        path = path.absolute()
        return cls(open_file(path, partial(_set_up, path), subject=_SUBJECT, pragmas="PRAGMA secure_delete = ON"), path)

    @classmethod
    def open_to_read(cls, path: Path) -> Self:
        """Open the file without writing to it. Raises StateError."""
        path = path.absolute()
        return cls(open_to_read(path, _check_identity, subject=_SUBJECT), path)

    def close(self) -> None:
        with _failures_explained(self._path):
            self._db.close()

    def now_ms(self) -> int:
        return time_of_day_ms()

    def add(self, reply: ReplyRow, *, keep: bool, forward: bool) -> bool:
        """Store a reply; return whether it is new."""
        with self._transaction() as db:
            state = None
            if forward:
                state = "failed" if db.execute(_IS_FULL, (MOST_WAITING - 1,)).get else "waiting"
            before = db.total_changes()
            db.execute(_ADD, (*reply_columns(reply), keep, state))
            is_new = db.total_changes() > before
            if is_new and state == "failed":
                db.execute(_BLANK_UNKEPT, (db.last_insert_rowid(),))
        return is_new

    def kept(self, *, number: str | None = None, since_ms: int = 0) -> list[StoredReply]:
        """The replies that are kept, oldest first."""
        with _failures_explained(self._path):
            rows = self._db.execute(_KEPT, {"since": since_ms, "number": number})
            return [StoredReply(read_reply(row[:-1]), row[-1]) for row in rows]

    def claim_waiting(self, now_ms: int, *, lease_ms: int) -> WaitingReply | None:
        """The reply to forward now, or None."""
        with _failures_explained(self._path):
            if not self._db.execute(_IS_DUE, (now_ms,)).get:
                return None  # most of the time, and without a write
        with self._transaction() as db:
            row = db.execute(_CLAIM, {"now": now_ms, "until": now_ms + lease_ms}).fetchone()
        return None if row is None else WaitingReply(row[0], read_reply(row[2:]), row[1])

    def settle(self, key: int, *, retry_at_ms: int | None = None, failed: bool = False) -> None:
        """Note what became of a reply that was claimed."""
        state = "waiting" if retry_at_ms is not None else "failed" if failed else "done"
        with self._transaction() as db:
            db.execute(_SETTLE, (state, retry_at_ms or 0, key))
            db.execute(_BLANK_UNKEPT, (key,))

    def forward_counts(self) -> dict[str, int]:
        """How many replies are `waiting`, `done` and `failed`."""
        with _failures_explained(self._path):
            return dict(
                self._db.execute("SELECT forward, count(*) FROM reply WHERE forward IS NOT NULL GROUP BY forward")
            )

    def erase(self, number: str) -> int:
        """Blank the replies of a number, and forward none of them; return how many there were."""
        with self._transaction() as db:
            before = db.total_changes()
            db.execute(_ERASE, (number,))
            return db.total_changes() - before

    def prune(self, before_ms: int, *, dry_run: bool = False) -> int:
        """Remove the replies that were heard before; return how many kept ones."""
        with self._transaction() as db:
            count: int = db.execute("SELECT count(*) FROM reply WHERE kept AND heard_at < ?", (before_ms,)).get
            if not dry_run:
                db.execute("DELETE FROM reply WHERE heard_at < ?", (before_ms,))
        return count

    def drop_blank(self, before_ms: int) -> None:
        """Forget the message ids of blanked replies that were not kept, and were heard before."""
        with self._transaction() as db:
            db.execute("DELETE FROM reply WHERE NOT kept AND number IS NULL AND heard_at < ?", (before_ms,))

    def compact(self) -> None:
        """Rid the file of whatever was erased. Raises StateError while another process reads."""
        with _failures_explained(self._path):
            compact(self._db, self._path)

    @contextmanager
    def _transaction(self) -> Iterator[apsw.Connection]:
        with _failures_explained(self._path), immediate(self._db):
            yield self._db


def _set_up(path: Path, db: apsw.Connection) -> None:
    if not db.execute("SELECT count(*) FROM sqlite_schema").get:
        db.execute(_SCHEMA)
        db.pragma("application_id", _APPLICATION_ID)
        db.pragma("user_version", _SCHEMA_VERSION)
    _check_identity(db, path)


def _check_identity(db: apsw.Connection, path: Path) -> None:
    if db.pragma("application_id") != _APPLICATION_ID or db.pragma("user_version") != _SCHEMA_VERSION:
        raise StateError(
            "this is not a file of replies, or a newer campaign-sender wrote it",
            where=str(path),
            fix="upgrade campaign-sender, or restore the file from a backup",
        )
