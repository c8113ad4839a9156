"""The suppression list's own SQLite file: who gets nothing, since when, and who said so.

Beside the ledger and not in it: a send loop asks `PRAGMA data_version` whether the list changed, and the ledger's file
changes with every delivery report. What is written is on disk before a method returns. Entries are never deleted: a
START or a person *lifts* them, by a row of its own with its own time, and an entry counts while no later lift covers
it. So the same events in any order, once or twice, make the same list.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import apsw

from sender.core.errors import StateError
from sender.state.files.people import PeopleKeyFile
from sender.state.sqlite.erasure import compact
from sender.state.sqlite.file import failures_explained, immediate, open_file, open_to_read, schema_version
from sender.state.suppression import COVERED, LiftRow, SuppressionRow

_APPLICATION_ID = int.from_bytes(b"cmpo")  # in the file's header
_SCHEMA_VERSION = 3
_LOOKED_UP = 20_000  # numbers in one statement
_SUBJECT = "suppression list"
_failures_explained = partial(failures_explained, subject=_SUBJECT)

# Times are milliseconds UTC. `via` is what the entry came through: our number, a file, a provider; '' where unknown.
# `change` numbers the transactions that changed something, so that a reader asks only for what is new.
_SCHEMA = """
CREATE TABLE list (id TEXT NOT NULL, change INTEGER NOT NULL) STRICT;

CREATE TABLE entry (
    number TEXT NOT NULL,
    scope TEXT NOT NULL,
    reason TEXT NOT NULL CHECK (reason IN ('opted_out', 'suppressed', 'invalid_number', 'landline')),
    source TEXT NOT NULL CHECK (source IN ('person', 'file', 'reply', 'provider_error', 'provider_list')),
    via TEXT NOT NULL,
    at INTEGER NOT NULL,
    note TEXT,
    change INTEGER NOT NULL,
    PRIMARY KEY (number, scope, reason, source, via)
) WITHOUT ROWID, STRICT;
CREATE INDEX entry_change ON entry (change);

CREATE TABLE lift (
    number TEXT NOT NULL,
    by TEXT NOT NULL CHECK (by IN ('start', 'person')),
    scope TEXT NOT NULL,
    via TEXT NOT NULL,
    at INTEGER NOT NULL,
    change INTEGER NOT NULL,
    PRIMARY KEY (number, by, scope, via)
) WITHOUT ROWID, STRICT;
CREATE INDEX lift_change ON lift (change);
"""
# Since version 2: when each STOP and START was heard first, however often and however late it comes again.
_HEARD = """
CREATE TABLE heard (
    number TEXT NOT NULL,
    message_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (number, message_id)
) WITHOUT ROWID, STRICT;
"""
# Since version 3: replies that are held for a person, and the decisions about them. A looser CHECK needs no new table,
# only its text (SQLite, "Making Other Kinds Of Table Schema Changes", read 2026-11-28); the new index makes every
# connection read the definitions anew.
_REVIEW = """
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(sql,
    '''suppressed'', ''invalid_number''', '''suppressed'', ''under_review'', ''invalid_number'''),
    '(''start'', ''person'')', '(''start'', ''person'', ''review'')')
WHERE type = 'table' AND name IN ('entry', 'lift');
PRAGMA writable_schema = RESET;
CREATE INDEX entry_review ON entry (number) WHERE reason = 'under_review';
"""
_STEPS = (_HEARD, _REVIEW)  # from version 1 to 2, from 2 to 3

_LIFTED = f"EXISTS (SELECT 1 FROM lift AS l WHERE {COVERED} AND l.at > e.at)"  # noqa: S608 (our own text)
_COLUMNS = "e.number, e.scope, e.reason, e.source, e.via, e.at, e.note"
_ACTIVE = f"SELECT {_COLUMNS} FROM entry AS e WHERE NOT {_LIFTED}"  # noqa: S608 (our own text)
_LOOK_UP = f"SELECT {_COLUMNS} FROM json_each(?) AS j CROSS JOIN entry AS e ON e.number = j.value WHERE NOT {_LIFTED}"  # noqa: S608
_ALL_OF = f"SELECT {_COLUMNS}, NOT {_LIFTED} FROM entry AS e WHERE e.number = ? ORDER BY e.at, e.scope, e.source, e.via"  # noqa: S608
_IN_REVIEW = f"{_ACTIVE} AND e.reason = 'under_review' ORDER BY e.at, e.number, e.via"
_SHORTEN = f"""
UPDATE entry AS e SET note = substr(note, 1, :most)
WHERE e.number = :number AND e.reason = 'under_review' AND length(note) > :most AND {_LIFTED}
"""  # noqa: S608
_CHANGED = """
SELECT number FROM entry WHERE change > ?1 UNION SELECT number FROM lift WHERE change > ?1 LIMIT ?2
"""
# A learned entry keeps its latest time, so that a START is compared with the last STOP. A person's or a file's entry
# keeps its first time: saying it again changes it only if it was lifted in between.
_ENTER = "INSERT INTO entry AS e (number, scope, reason, source, via, at, note, change)"
_UNLESS_KNOWN = f"""
ON CONFLICT DO UPDATE SET at = excluded.at, note = excluded.note, change = excluded.change
WHERE excluded.at > e.at AND (e.source IN ('reply', 'provider_error', 'provider_list') OR {_LIFTED})
"""
_ADD = f"{_ENTER} VALUES (?, ?, ?, ?, ?, ?, ?, ?) {_UNLESS_KNOWN}"
# What is said now is later than what was taken back before, whatever the clocks say that dated both.
_ADD_NOW = f"""
{_ENTER}
SELECT e.number, e.scope, e.reason, e.source, e.via,
    max(e.at, coalesce((SELECT max(l.at) + 1 FROM lift AS l WHERE {COVERED}), e.at)), e.note, e.change
FROM (SELECT ? AS number, ? AS scope, ? AS reason, ? AS source, ? AS via, ? AS at, ? AS note, ? AS change) AS e
WHERE true {_UNLESS_KNOWN}
"""  # noqa: S608
_FIRST_HEARD = "SELECT at FROM heard WHERE number = ? AND message_id = ?"
_HEAR = """
INSERT OR IGNORE INTO heard
SELECT :number, :id, max(:at, coalesce((SELECT max(at) + 1 FROM lift WHERE number = :number), :at))
"""
_LIFT = """
INSERT INTO lift (number, by, scope, via, at, change) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET at = excluded.at, change = excluded.change WHERE excluded.at > at
"""
_ERASED = "#"  # begins the name of somebody who was erased; then come the 16 digits of the hash
_HAS_ERASED = "SELECT EXISTS (SELECT 1 FROM entry WHERE number >= '#' AND number < '$')"
_ERASE_ENTRIES = """
INSERT INTO entry AS e (number, scope, reason, source, via, at, note, change)
SELECT :name, scope, reason, source, via, at, NULL, :change FROM entry WHERE number = :number
ON CONFLICT DO UPDATE SET at = max(at, excluded.at), change = excluded.change
"""
_ERASE_HEARD = """
INSERT OR IGNORE INTO heard SELECT :name, message_id, at FROM heard WHERE number = :number
"""
_ERASE_LIFTS = """
INSERT INTO lift AS l (number, by, scope, via, at, change)
SELECT :name, by, scope, via, at, :change FROM lift WHERE number = :number
ON CONFLICT DO UPDATE SET at = max(at, excluded.at), change = excluded.change
"""


class SuppressionFile:
    """The list in one SQLite file. May be used from any thread, by one at a time; by any number of processes."""

    def __init__(self, db: apsw.Connection, path: Path) -> None:
        self._db = db
        self._path = path
        self._people = PeopleKeyFile(path.parent)
        self._own_changes = 0  # `data_version` does not count this connection's
        with _failures_explained(path):
            self.list_id: str = db.execute("SELECT id FROM list").get

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file at `path`; make it, and its directory, if there is none. Raises StateError."""
        path = path.absolute()
        return cls(open_file(path, partial(_set_up, path), subject=_SUBJECT), path)

    @classmethod
    def open_to_read(cls, path: Path) -> Self:
        """Open the file of another state as it is: of an older version, it stays one. Raises StateError."""
        path = path.absolute()
        return cls(open_to_read(path, _check_readable, subject=_SUBJECT), path)

    def close(self) -> None:
        with _failures_explained(self._path):
            self._db.close()

    def version(self) -> int:
        """A number that differs after anybody changed the list; about 3 µs."""
        with _failures_explained(self._path):
            version: int = self._db.execute("PRAGMA data_version").get
        return version + self._own_changes

    def is_current(self) -> bool:
        """Always: a question to the file has its answer, or fails."""
        return True

    def change(self) -> int:
        """The number of transactions that changed something."""
        with _failures_explained(self._path):
            change: int = self._db.execute("SELECT change FROM list").get
        return change

    def add(self, rows: Iterable[SuppressionRow], *, said_now: bool = False) -> int:
        """Enter `rows` in one transaction; return how many are new or newer."""
        return self._write(_ADD_NOW if said_now else _ADD, rows)

    def lift(self, lifts: Iterable[LiftRow]) -> int:
        """Take entries back in one transaction; return how many lifts are new or newer."""
        rows = list(lifts)
        if self.has_erased():
            rows += [row._replace(number=name) for row in rows if (name := self.name_of(row.number)) is not None]
        return self._write(_LIFT, rows)

    def first_heard(self, number: str, message_id: str, at: int) -> int:
        """When the message was heard first, in milliseconds UTC, as the protocol says."""
        names = [name for name in (self.name_of(number), number) if name is not None]
        with self._transaction() as db:
            for name in names:  # the first one is from before the person was erased
                known = db.execute(_FIRST_HEARD, (name, message_id)).fetchone()
                if known is not None:
                    return int(known[0])
            db.execute(_HEAR, {"number": number, "id": message_id, "at": at})
            first: int = db.execute(_FIRST_HEARD, (number, message_id)).get
        return first

    def size(self) -> int:
        """The number of entries, lifted ones included."""
        with _failures_explained(self._path):
            size: int = self._db.execute("SELECT count(*) FROM entry").get
        return size

    def active(self) -> Iterator[tuple[Any, ...]]:
        """Every entry that counts, as the fields of `SuppressionRow`."""
        with _failures_explained(self._path):
            yield from self._db.execute(_ACTIVE)

    def in_review(self) -> list[SuppressionRow]:
        """The entries that count and wait for a person's decision, oldest first."""
        with _failures_explained(self._path):
            return [SuppressionRow(*row) for row in self._db.execute(_IN_REVIEW)]

    def shorten_notes(self, number: str, most: int) -> int:
        """Cut the notes of the number's decided reviews to `most` characters; return how many were longer."""
        with self._transaction() as db:
            before = db.total_changes()
            for name in (number, self.name_of(number)):
                db.execute(_SHORTEN, {"number": name, "most": most})
            return db.total_changes() - before

    def look_up(self, numbers: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """The entries of `numbers` that count, as `active`. Sorted numbers are found faster."""
        with _failures_explained(self._path):
            for start in range(0, len(numbers), _LOOKED_UP):
                yield from self._db.execute(_LOOK_UP, (json.dumps(numbers[start : start + _LOOKED_UP]),))

    def history(self, number: str) -> list[tuple[SuppressionRow, bool]]:
        """Every entry of the number, and whether it counts; those from before it was erased too."""
        names = [number, self.name_of(number)]
        with _failures_explained(self._path):
            rows = [row for name in names if name is not None for row in self._db.execute(_ALL_OF, (name,))]
        rows.sort(key=lambda row: row[5])
        return [(SuppressionRow(*row[:-1])._replace(number=number), bool(row[-1])) for row in rows]

    def has_erased(self) -> bool:
        """Whether there are entries of erased people."""
        with _failures_explained(self._path):
            return bool(self._db.execute(_HAS_ERASED).get)

    def name_of(self, number: str) -> str | None:
        """What the number is called in entries from before it was erased; None where nobody has been erased."""
        key = self._people.hash(number)
        return None if key is None else _erased_name(key)

    def look_up_erased(self, numbers: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """As `look_up`, the entries of those of `numbers` that were erased."""
        if not self.has_erased():
            return
        names = dict(zip(map(_erased_name, self._people.hash_all(numbers)), numbers, strict=True))
        for name, *row in self.look_up(sorted(names)):
            yield (names[name], *row)

    def erase(self, number: str) -> int:
        """Put the hash of the number in the place of the number, drop the notes; return how many entries changed."""
        self._people.create()
        named = {"number": number, "name": self.name_of(number)}
        with self._transaction() as db:
            named["change"] = 1 + db.execute("SELECT change FROM list").get
            before = db.total_changes()
            db.execute(_ERASE_ENTRIES, named)
            changed: int = db.total_changes() - before
            db.execute(_ERASE_LIFTS, named)
            db.execute(_ERASE_HEARD, named)
            for table in ("entry", "lift", "heard"):
                db.execute(f"DELETE FROM {table} WHERE number = ?", (number,))  # noqa: S608 (our names)
            if changed:
                db.execute("UPDATE list SET change = ?", (named["change"],))
        self._own_changes += changed > 0
        return changed

    def compact(self) -> None:
        """Rid the file of whatever was erased. Raises StateError while another process reads."""
        with _failures_explained(self._path):
            compact(self._db, self._path)

    def changed_since(self, change: int, most: int) -> list[str] | None:
        """The numbers whose entries or lifts are newer than `change`; None when there are more than `most`."""
        with _failures_explained(self._path):
            numbers = [row[0] for row in self._db.execute(_CHANGED, (change, most + 1))]
        return None if len(numbers) > most else numbers

    def _write(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> int:
        with self._transaction() as db:
            change = 1 + db.execute("SELECT change FROM list").get
            before = db.total_changes()
            db.executemany(statement, ((*row, change) for row in rows))
            changed: int = db.total_changes() - before
            if changed:
                db.execute("UPDATE list SET change = ?", (change,))
        self._own_changes += changed > 0
        return changed

    @contextmanager
    def _transaction(self) -> Iterator[apsw.Connection]:
        with _failures_explained(self._path), immediate(self._db):
            yield self._db


def _erased_name(key: int) -> str:
    return f"{_ERASED}{key:016x}"


def _set_up(path: Path, db: apsw.Connection) -> None:
    if not db.execute("SELECT count(*) FROM sqlite_schema").get:
        db.execute(_SCHEMA)
        db.execute("INSERT INTO list VALUES (?, 0)", (uuid.uuid4().hex,))
        db.pragma("application_id", _APPLICATION_ID)
        db.pragma("user_version", 1)
    if db.pragma("application_id") == _APPLICATION_ID and 1 <= db.pragma("user_version") < _SCHEMA_VERSION:
        for step in _STEPS[db.pragma("user_version") - 1 :]:
            db.execute(step)
        db.pragma("user_version", _SCHEMA_VERSION)
    _check_identity(db, path)


def _check_identity(db: apsw.Connection, path: Path) -> None:
    if db.pragma("application_id") != _APPLICATION_ID or db.pragma("user_version") != _SCHEMA_VERSION:
        raise _refused(path)


def _check_readable(db: apsw.Connection, path: Path) -> None:
    if db.pragma("application_id") != _APPLICATION_ID or not 1 <= schema_version(db) <= _SCHEMA_VERSION:
        raise _refused(path)


def _refused(path: Path) -> StateError:
    return StateError(
        "this is not a suppression list, or a newer campaign-sender wrote it",
        where=str(path),
        fix="upgrade campaign-sender, or restore the file from a backup",
    )
