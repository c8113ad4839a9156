"""The sandbox's record: every accepted message, in SQLite, committed before the answer is sent.

In memory by default. A state file survives a killed process (not a power cut: a simulator need not sync); one process
uses it at a time. Never holds credentials: an account is a public id or a digest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import apsw

from sender.core.errors import StateError
from sender.sandbox.dialect import NEVER_MS, Column, Condition, Draft, Log, MessagePage, Op, StoredMessage, UsedKey

_APPLICATION_ID = 0x5342_4F58  # "SBOX": a ledger passed by mistake is refused, not written to
_SCHEMA = """
CREATE TABLE message (
    number        INTEGER PRIMARY KEY,
    message_id    TEXT NOT NULL UNIQUE,
    dialect       TEXT NOT NULL,
    account       TEXT NOT NULL,
    recipient     TEXT NOT NULL,
    from_number   TEXT,
    ref           TEXT,
    segments      INTEGER NOT NULL,
    encoding      TEXT NOT NULL,
    created_ms    INTEGER NOT NULL,
    sent_ms       INTEGER NOT NULL,
    final_ms      INTEGER NOT NULL,
    final         TEXT NOT NULL,
    error_code    TEXT,
    error_message TEXT,
    rest          TEXT NOT NULL
) STRICT;
CREATE INDEX message_recipient ON message (recipient);
"""
# Apart from the schema, for files of versions without faults.
_FAULT_TABLE = "CREATE TABLE IF NOT EXISTS fault (kind TEXT PRIMARY KEY, injected INTEGER NOT NULL) STRICT"
_KEY_TABLE = """
CREATE TABLE IF NOT EXISTS used_key (
    account    TEXT NOT NULL,
    key        TEXT NOT NULL,
    body       TEXT NOT NULL,
    message_id TEXT NOT NULL,
    at_ms      INTEGER NOT NULL,
    PRIMARY KEY (account, key)
) WITHOUT ROWID, STRICT
"""
_COUNT_FAULT = "INSERT INTO fault VALUES (?, 1) ON CONFLICT (kind) DO UPDATE SET injected = injected + 1"
_COLUMNS = (
    "number, message_id, dialect, account, recipient, from_number, ref, segments, encoding, "
    "created_ms, sent_ms, final_ms, final, error_code, error_message, rest"
)
_INSERT = f"INSERT INTO message ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608 (constants)
_COUNTS = "SELECT recipient, count(*) FROM message GROUP BY recipient ORDER BY recipient"


class Store:
    """The accepted messages. Raises StateError if the file is held by another process, or not a sandbox's."""

    def __init__(self, state_file: Path | None) -> None:
        self._db = _open(state_file)
        try:
            self._next = 1 + self._one("SELECT coalesce(max(number), 0) FROM message")
            self._last_ms = self._one("SELECT coalesce(max(created_ms), 0) FROM message")
            self._total = self._one("SELECT count(*) FROM message")
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        self._db.close()

    def _one(self, sql: str) -> int:
        return _number(self._db.execute(sql))

    def add(
        self,
        draft: Draft,
        measured: tuple[str, int],
        *,
        times_ms: tuple[int, int, int],
        final: str,
        error: tuple[str | None, str | None],
        key: UsedKey | None = None,
    ) -> StoredMessage:
        """Store a message and return it. `times_ms` are created, sent and final, moved behind the last message's.

        With a `key`, a request with the same key can be recognised from now on.
        """
        late = max(0, self._last_ms - times_ms[0])
        created_ms, sent_ms, final_ms = (ms + late for ms in times_ms)
        encoding, segments = measured
        message = StoredMessage(self._next, draft, segments, encoding, created_ms, sent_ms, final_ms, final, *error)
        with self._db if key is not None else nullcontext():
            self._db.execute(_INSERT, _row(message))
            if key is not None:
                use = (key.account, key.key, key.body, draft.message_id, created_ms)
                self._db.execute("INSERT OR REPLACE INTO used_key VALUES (?, ?, ?, ?, ?)", use)
        self._next += 1
        self._last_ms = created_ms
        self._total += 1
        return message

    def find_key(self, account: str, key: str, *, since_ms: int) -> tuple[str, str] | None:
        """Return the body's digest and the message's id of a key that was used since then."""
        statement = "SELECT body, message_id FROM used_key WHERE account = ? AND key = ? AND at_ms >= ?"
        for body, message_id in self._db.execute(statement, (account, key, since_ms)):
            return str(body), str(message_id)
        return None

    def get(self, dialects: Sequence[str], account: str, message_id: str) -> StoredMessage | None:
        where, values = _where(dialects, account, [])
        rows = self._select(f"{where} AND message_id = ?", (*values, message_id))
        return rows[0] if rows else None

    def cancel(self, message_id: str, now_ms: int) -> None:
        """Make a message canceled that is not sent yet; it never will be."""
        statement = "UPDATE message SET final = 'canceled', final_ms = ?, sent_ms = ? WHERE message_id = ?"
        self._db.execute(statement, (now_ms, NEVER_MS, message_id))

    def page(
        self,
        dialects: Sequence[str],
        account: str,
        where: Sequence[Condition],
        *,
        limit: int,
        older_than: int | None = None,
        newer_than: int | None = None,
    ) -> MessagePage:
        """Return up to `limit` messages, newest first, next to a cursor: messages accepted meanwhile shift nothing."""
        clause, values = _where(dialects, account, where)
        if newer_than is not None:
            messages = self._select(
                f"{clause} AND number > ? ORDER BY number LIMIT ?", (*values, newer_than, limit + 1)
            )
            return MessagePage(tuple(reversed(messages[:limit])), has_newer=len(messages) > limit, has_older=True)
        if older_than is not None:
            clause, values = f"{clause} AND number < ?", (*values, older_than)
        messages = self._select(f"{clause} ORDER BY number DESC LIMIT ?", (*values, limit + 1))
        return MessagePage(tuple(messages[:limit]), has_newer=older_than is not None, has_older=len(messages) > limit)

    def numbered_page(
        self,
        dialects: Sequence[str],
        account: str,
        where: Sequence[Condition],
        *,
        offset: int,
        limit: int,
        newest_first: bool,
    ) -> tuple[tuple[StoredMessage, ...], int]:
        """Return the messages at `offset`, and the number of all that match."""
        clause, values = _where(dialects, account, where)
        total = _number(self._db.execute(f"SELECT count(*) FROM message WHERE {clause}", values))  # noqa: S608
        order = "DESC" if newest_first else "ASC"
        messages = self._select(f"{clause} ORDER BY number {order} LIMIT ? OFFSET ?", (*values, limit, offset))
        return tuple(messages), total

    def everything(self) -> list[StoredMessage]:
        return self._select("true", ())

    def counts(self) -> dict[str, Any]:
        """Return `{"total": n, "recipients": {number: accepted messages}}`."""
        return _counts(self._db)

    def count_fault(self, kind: str) -> None:
        self._db.execute(_COUNT_FAULT, (kind,))

    def faults(self) -> dict[str, Any]:
        """Return `{"total": n, "faults": {kind: times injected}}`."""
        kinds = {str(kind): int(times) for kind, times in self._db.execute("SELECT * FROM fault ORDER BY kind")}
        return {"total": sum(kinds.values()), "faults": kinds}

    def as_of(self, created_ms: int) -> Log:
        """Return the log with pages that end at `created_ms`; a single message is messages at once."""
        return _LaggingLog(self, created_ms)

    @property
    def total(self) -> int:
        return self._total

    def clear(self) -> None:
        """Delete every message and fault. Numbers continue, so that an old cursor cannot point into a new log."""
        self._db.execute("DELETE FROM message; DELETE FROM fault; DELETE FROM used_key")
        self._total = 0

    def _select(self, clause: str, values: tuple[str | int, ...]) -> list[StoredMessage]:
        # `clause` consists of this module's constants and the enums Column and Op; values are bound.
        sql = f"SELECT {_COLUMNS} FROM message WHERE {clause}"  # noqa: S608
        return [_message(row) for row in self._db.execute(sql, values)]


class _LaggingLog:
    """A store's log whose pages end at a moment."""

    def __init__(self, store: Store, created_ms: int) -> None:
        self._store = store
        self._seen: Condition = (Column.CREATED, Op.LE, created_ms)

    def get(self, dialects: Sequence[str], account: str, message_id: str) -> StoredMessage | None:
        return self._store.get(dialects, account, message_id)

    def page(
        self,
        dialects: Sequence[str],
        account: str,
        where: Sequence[Condition],
        *,
        limit: int,
        older_than: int | None = None,
        newer_than: int | None = None,
    ) -> MessagePage:
        where = [*where, self._seen]
        return self._store.page(dialects, account, where, limit=limit, older_than=older_than, newer_than=newer_than)

    def numbered_page(
        self,
        dialects: Sequence[str],
        account: str,
        where: Sequence[Condition],
        *,
        offset: int,
        limit: int,
        newest_first: bool,
    ) -> tuple[tuple[StoredMessage, ...], int]:
        where = [*where, self._seen]
        return self._store.numbered_page(
            dialects, account, where, offset=offset, limit=limit, newest_first=newest_first
        )


def counts(state_file: Path) -> dict[str, Any]:
    """Return `{"total": n, "recipients": {number: accepted messages}}` from the state file of a stopped sandbox.

    Raises StateError if the file does not exist, is not a sandbox's, or is held by a running sandbox.
    """
    if not state_file.is_file():
        raise StateError("no sandbox state file here", where=str(state_file))
    db = _open(state_file)
    try:
        return _counts(db)
    finally:
        db.close()


def _number(rows: apsw.Cursor) -> int:
    """Return the only value of the only row, an integer."""
    ((number,),) = rows.fetchall()
    if not isinstance(number, int):
        raise TypeError(f"expected an integer, got {number!r}")
    return number


def _counts(db: apsw.Connection) -> dict[str, Any]:
    recipients = {str(to): int(number) for to, number in db.execute(_COUNTS)}
    return {"total": sum(recipients.values()), "recipients": recipients}


def _open(state_file: Path | None) -> apsw.Connection:
    if state_file is None:
        db = apsw.Connection(":memory:")
        db.execute(f"{_SCHEMA}; {_FAULT_TABLE}; {_KEY_TABLE}")
        return db
    try:
        # It holds message texts, which only the owner may read.
        os.close(os.open(state_file, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StateError(f"cannot write the state file: {error.strerror}", where=str(state_file)) from error
    db = apsw.Connection(str(state_file))
    try:
        _prepare(db, state_file)
    except (apsw.BusyError, apsw.LockedError) as error:
        db.close()
        fix = "stop it first, or read GET /sandbox/counts"
        raise StateError("a running sandbox holds this state file", where=str(state_file), fix=fix) from error
    except apsw.Error as error:
        db.close()
        raise StateError(f"not a sandbox state file: {error}", where=str(state_file)) from error
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: apsw.Connection, state_file: Path) -> None:
    # The exclusive lock is taken before anything is read and held until the process closes the file or ends.
    db.execute("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT")
    tables = _number(db.execute("SELECT count(*) FROM sqlite_schema"))
    application = _number(db.execute("PRAGMA application_id"))
    if tables and application != _APPLICATION_ID:
        fix = "name another file; this one was not changed"
        raise StateError("this database is not a sandbox's", where=str(state_file), fix=fix)
    # A killed process loses nothing with synchronous OFF, only a power cut may.
    db.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")
    if not tables:
        with db:
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}; {_SCHEMA}")
    db.execute(f"{_FAULT_TABLE}; {_KEY_TABLE}")


def _where(dialects: Sequence[str], account: str, conditions: Sequence[Condition]) -> tuple[str, tuple[str | int, ...]]:
    marks = ",".join("?" for _ in dialects)
    parts = [f"dialect IN ({marks})", "account = ?"]
    values: list[str | int] = [*dialects, account]
    for column, op, value in conditions:
        parts.append(f"{Column(column).value} {Op(op).value} ?")
        values.append(value)
    return " AND ".join(parts), tuple(values)


def _row(message: StoredMessage) -> tuple[Any, ...]:
    draft = message.draft
    rest = [draft.body, draft.media, draft.mms, draft.service, draft.callback, draft.send_at_ms, draft.extra]
    return (
        message.number,
        message.message_id,
        draft.dialect,
        draft.account,
        draft.to,
        draft.from_number,
        draft.ref,
        message.segments,
        message.encoding,
        message.created_ms,
        message.sent_ms,
        message.final_ms,
        message.final,
        message.error_code,
        message.error_message,
        json.dumps(rest),
    )


def _message(row: Sequence[Any]) -> StoredMessage:
    number, message_id, dialect, account, to, from_number, ref, *measured, rest = row
    body, media, mms, service, callback, send_at_ms, extra = json.loads(rest)
    draft = Draft(
        message_id=message_id,
        dialect=dialect,
        account=account,
        to=to,
        from_number=from_number,
        body=body,
        media=tuple(media),
        mms=mms,
        service=service,
        callback=callback,
        ref=ref,
        send_at_ms=send_at_ms,
        extra=extra,
    )
    return StoredMessage(number, draft, *measured)
