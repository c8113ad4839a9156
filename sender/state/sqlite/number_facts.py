"""What is known of phone numbers, in a SQLite file of its own: it is asked while planning, never while sending."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Self

import apsw

from sender.core.errors import StateError
from sender.core.lazy_modules import filelock
from sender.state.number_facts import NumberFacts, looked_up_elsewhere
from sender.state.sqlite.erasure import compact
from sender.state.sqlite.file import failures_explained, immediate, open_file, open_to_read

_APPLICATION_ID = int.from_bytes(b"cmpn")  # in the file's header
_SCHEMA_VERSION = 1
_LOOKED_UP = 20_000  # numbers in one statement
_SUBJECT = "list of what is known of numbers"
_failures_explained = partial(failures_explained, subject=_SUBJECT)

_SCHEMA = """
CREATE TABLE fact (
    number TEXT NOT NULL,
    simulated INTEGER NOT NULL CHECK (simulated IN (0, 1)),
    source TEXT NOT NULL CHECK (source IN ('lookup', 'answer')),
    provider TEXT NOT NULL,
    at INTEGER NOT NULL,
    line_type TEXT,
    carrier TEXT,
    zone TEXT,
    reassigned TEXT CHECK (reassigned IN ('yes', 'no', 'unknown')),
    reassigned_since TEXT,
    valid INTEGER CHECK (valid IN (0, 1)),
    problem TEXT,
    price TEXT,
    currency TEXT,
    PRIMARY KEY (number, simulated)
) WITHOUT ROWID, STRICT;
"""
_COLUMNS = ", ".join(NumberFacts._fields)
_PUT = f"""
INSERT INTO fact AS f ({_COLUMNS}) VALUES ({", ".join("?" for _ in NumberFacts._fields)})
ON CONFLICT DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in NumberFacts._fields[2:])}
WHERE excluded.at > f.at AND (excluded.source = 'lookup' OR f.source = 'answer')
    OR excluded.source = 'lookup' AND f.source = 'answer'
"""  # noqa: S608 (our names)
_LOOK_UP = f"""
SELECT {_COLUMNS} FROM json_each(?) AS j CROSS JOIN fact ON number = j.value AND simulated = ?
"""  # noqa: S608


class NumberFactsFile:
    """The facts in one SQLite file. A `NumberStore`; may be used by any number of processes."""

    def __init__(self, db: apsw.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file at `path`; make it, and its directory, if there is none. Raises StateError."""
        path = path.absolute()
        return cls(open_file(path, partial(_set_up, path), subject=_SUBJECT), path)

    @classmethod
    def open_to_read(cls, path: Path) -> Self:
        """Open the file without writing to it. Raises StateError."""
        path = path.absolute()
        return cls(open_to_read(path, _check_identity, subject=_SUBJECT), path)

    def close(self) -> None:
        with _failures_explained(self._path):
            self._db.close()

    def put(self, facts: Iterable[NumberFacts]) -> int:
        with self._transaction() as db:
            before = db.total_changes()
            db.executemany(_PUT, facts)
            return db.total_changes() - before

    def look_up(self, numbers: Sequence[str], *, simulated: bool) -> Iterator[NumberFacts]:
        with _failures_explained(self._path):
            for start in range(0, len(numbers), _LOOKED_UP):
                part = json.dumps(numbers[start : start + _LOOKED_UP])
                yield from map(_read, self._db.execute(_LOOK_UP, (part, simulated)))

    @contextmanager
    def hold_lookups(self) -> Iterator[None]:
        lock = filelock.FileLock(self._path.with_suffix(".lock"), mode=0o600)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            raise looked_up_elsewhere() from None
        try:
            yield
        finally:
            lock.release()

    def everything(self) -> Iterator[NumberFacts]:
        with _failures_explained(self._path):
            yield from map(_read, self._db.execute(f"SELECT {_COLUMNS} FROM fact ORDER BY number"))  # noqa: S608

    def erase(self, numbers: Iterable[str]) -> int:
        with self._transaction() as db:
            before = db.total_changes()
            db.executemany("DELETE FROM fact WHERE number = ?", ((number,) for number in numbers))
            return db.total_changes() - before

    def drop_before(self, at: int) -> int:
        with self._transaction() as db:
            db.execute("DELETE FROM fact WHERE at < ?", (at,))
            return db.changes()

    def compact(self) -> None:
        with _failures_explained(self._path):
            compact(self._db, self._path)

    @contextmanager
    def _transaction(self) -> Iterator[apsw.Connection]:
        with _failures_explained(self._path), immediate(self._db):
            yield self._db


def _read(row: tuple[object, ...]) -> NumberFacts:
    facts = NumberFacts(*row)  # type: ignore[arg-type]
    return facts._replace(simulated=bool(facts.simulated), valid=None if facts.valid is None else bool(facts.valid))


def _set_up(path: Path, db: apsw.Connection) -> None:
    if not db.execute("SELECT count(*) FROM sqlite_schema").get:
        db.execute(_SCHEMA)
        db.pragma("application_id", _APPLICATION_ID)
        db.pragma("user_version", _SCHEMA_VERSION)
    _check_identity(db, path)


def _check_identity(db: apsw.Connection, path: Path) -> None:
    if db.pragma("application_id") != _APPLICATION_ID or db.pragma("user_version") != _SCHEMA_VERSION:
        raise StateError(
            "this is not a list of numbers, or a newer campaign-sender wrote it",
            where=str(path),
            fix="upgrade campaign-sender, or remove the file: its contents can be looked up again",
        )
