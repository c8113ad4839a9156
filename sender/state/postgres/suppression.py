"""The suppression list in a PostgreSQL database: the same entries, lifts and rules as in its SQLite file.

A send loop asks five times a second whether the list changed, and must never wait for the database. So a thread with a
connection of its own asks every half second. Whoever cannot know of a STOP sends nothing: with an answer that is 2 s
old nothing more is claimed, and at 5 s what was claimed before does not leave either.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sender.core.clock import steady_s
from sender.core.errors import SenderError, StateError
from sender.state.database_url import DatabaseUrl
from sender.state.people import PeopleKey
from sender.state.postgres.database import Database, Transaction
from sender.state.postgres.people import PeopleKeyRow
from sender.state.suppression import COVERED, LiftRow, SuppressionRow

LOOK_EVERY_S = 0.5
CURRENT_S = 2.0
OLDEST_ANSWER_S = 5.0
_LOOKED_UP = 20_000  # numbers in one statement
_CHUNK = 10_000

_LIFTED = f"EXISTS (SELECT 1 FROM lift AS l WHERE {COVERED} AND l.at > e.at)"  # noqa: S608 (our own text)
_COLUMNS = "e.number, e.scope, e.reason, e.source, e.via, e.at, e.note"
_ACTIVE = f"SELECT {_COLUMNS} FROM entry AS e WHERE NOT {_LIFTED} ORDER BY e.number"  # noqa: S608 (our own text)
_LOOK_UP = f"SELECT {_COLUMNS} FROM entry AS e WHERE e.number = ANY(%s::text[]) AND NOT {_LIFTED} ORDER BY e.number"  # noqa: S608
_ALL_OF = f"""
SELECT {_COLUMNS}, NOT {_LIFTED} FROM entry AS e
WHERE e.number = ANY(%s::text[]) ORDER BY e.at, e.scope, e.source, e.via
"""  # noqa: S608
_IN_REVIEW = f"""
SELECT {_COLUMNS} FROM entry AS e WHERE NOT {_LIFTED} AND e.reason = 'under_review' ORDER BY e.at, e.number, e.via
"""  # noqa: S608
_SHORTEN = f"""
UPDATE entry AS e SET note = left(note, %(most)s)
WHERE e.number = ANY(%(numbers)s::text[]) AND e.reason = 'under_review' AND length(note) > %(most)s AND {_LIFTED}
"""  # noqa: S608
_CHANGED = """
SELECT number FROM entry WHERE change > %(change)s UNION SELECT number FROM lift WHERE change > %(change)s
LIMIT %(most)s
"""
# A learned entry keeps its latest time, so that a START is compared with the last STOP. A person's or a file's entry
# keeps its first time: saying it again changes it only if it was lifted in between.
_ENTER = "INSERT INTO entry AS e (number, scope, reason, source, via, at, note, change)"
_UNLESS_KNOWN = f"""
ON CONFLICT (number, scope, reason, source, via) DO UPDATE
SET at = excluded.at, note = excluded.note, change = excluded.change
WHERE excluded.at > e.at AND (e.source IN ('reply', 'provider_error', 'provider_list') OR {_LIFTED})
"""
_ADD = f"{_ENTER} VALUES (%s, %s, %s, %s, %s, %s, %s, %s) {_UNLESS_KNOWN}"
# What is said now is later than what was taken back before, whatever the clocks say that dated both.
_ADD_NOW = f"""
{_ENTER}
SELECT e.number, e.scope, e.reason, e.source, e.via,
    greatest(e.at, (SELECT max(l.at) + 1 FROM lift AS l WHERE {COVERED})), e.note, e.change
FROM (
    SELECT %s::text AS number, %s::text AS scope, %s::text AS reason, %s::text AS source, %s::text AS via,
        %s::bigint AS at, %s::text AS note, %s::bigint AS change
) AS e {_UNLESS_KNOWN}
"""  # noqa: S608
_FIRST_HEARD = "SELECT at FROM heard WHERE number = %s AND message_id = %s"
_HEAR = """
INSERT INTO heard
SELECT %(number)s, %(id)s, greatest(%(at)s::bigint, (SELECT max(at) + 1 FROM lift WHERE number = %(number)s))
ON CONFLICT DO NOTHING
"""
_LIFT = """
INSERT INTO lift AS l (number, by, scope, via, at, change) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (number, by, scope, via) DO UPDATE SET at = excluded.at, change = excluded.change
WHERE excluded.at > l.at
"""
_ERASED = "#"  # begins the name of somebody who was erased; then come the 16 digits of the hash
_HAS_ERASED = "SELECT EXISTS (SELECT 1 FROM entry WHERE number >= '#' AND number < '$')"
_ERASE_ENTRIES = """
INSERT INTO entry AS e (number, scope, reason, source, via, at, note, change)
SELECT %(name)s, scope, reason, source, via, at, NULL, %(change)s FROM entry WHERE number = %(number)s
ON CONFLICT (number, scope, reason, source, via) DO UPDATE
SET at = greatest(e.at, excluded.at), change = excluded.change
"""
_ERASE_HEARD = """
INSERT INTO heard SELECT %(name)s, message_id, at FROM heard WHERE number = %(number)s ON CONFLICT DO NOTHING
"""
_ERASE_LIFTS = """
INSERT INTO lift AS l (number, by, scope, via, at, change)
SELECT %(name)s, by, scope, via, at, %(change)s FROM lift WHERE number = %(number)s
ON CONFLICT (number, by, scope, via) DO UPDATE
SET at = greatest(l.at, excluded.at), change = excluded.change
"""
# Whoever writes holds this row's lock to the end: changes come one after another, and are seen in that order.
_NEXT_CHANGE = "SELECT change + 1 FROM suppression_list FOR UPDATE"
_CHANGE = "SELECT change FROM suppression_list"


class SuppressionTable:
    """The list in one database. May be used from any thread, by one at a time; by any number of processes."""

    def __init__(self, url: DatabaseUrl, *, read_only: bool = False) -> None:
        """Connect. Raises as `Database`."""
        self._url = url
        self._db = Database(url, read_only=read_only)
        self._people: PeopleKey = PeopleKeyRow(self._db)
        self._watch: _ChangeWatch | None = None
        self.list_id: str = self._db.read(lambda db: str(db.value("SELECT id FROM suppression_list")))

    def close(self) -> None:
        if self._watch is not None:
            self._watch.stop()
        self._db.close()

    def version(self) -> int:
        """The change that was seen last, at most half a second ago, without a question. Raises StateError at 5 s."""
        if self._watch is None:
            self._watch = _ChangeWatch(self._url)
        return self._watch.change()

    def is_current(self) -> bool:
        return self._watch is None or self._watch.age_s() <= CURRENT_S

    def change(self) -> int:
        """The number of transactions that changed something."""
        return int(self._db.read(lambda db: db.value(_CHANGE)))

    def add(self, rows: Iterable[SuppressionRow], *, said_now: bool = False) -> int:
        """Enter `rows` in one transaction; return how many are new or newer."""
        return self._write(_ADD_NOW if said_now else _ADD, list(rows))

    def lift(self, lifts: Iterable[LiftRow]) -> int:
        """Take entries back in one transaction; return how many lifts are new or newer."""
        rows = list(lifts)
        if self.has_erased():
            rows += [row._replace(number=name) for row in rows if (name := self.name_of(row.number)) is not None]
        return self._write(_LIFT, rows)

    def first_heard(self, number: str, message_id: str, at: int) -> int:
        """When the message was heard first, in milliseconds UTC, as the protocol says."""
        erased = self.name_of(number)

        def hear(db: Transaction) -> int:
            if erased is not None:  # from before the person was erased
                known = db.value(_FIRST_HEARD, (erased, message_id))
                if known is not None:
                    return int(known)
            db.execute(_HEAR, {"number": number, "id": message_id, "at": at})
            return int(db.value(_FIRST_HEARD, (number, message_id)))

        return self._db.transact(hear)

    def size(self) -> int:
        """The number of entries, lifted ones included."""
        return int(self._db.read(lambda db: db.value("SELECT count(*) FROM entry")))

    def active(self) -> Iterator[tuple[Any, ...]]:
        """Every entry that counts, as the fields of `SuppressionRow`."""
        yield from self._db.read(lambda db: db.rows(_ACTIVE))

    def in_review(self) -> list[SuppressionRow]:
        """The entries that count and wait for a person's decision, oldest first."""
        return [SuppressionRow(*row) for row in self._db.read(lambda db: db.rows(_IN_REVIEW))]

    def shorten_notes(self, number: str, most: int) -> int:
        """Cut the notes of the number's decided reviews to `most` characters; return how many were longer."""
        names = [name for name in (number, self.name_of(number)) if name is not None]
        return self._db.transact(lambda db: db.execute(_SHORTEN, {"numbers": names, "most": most}))

    def look_up(self, numbers: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """The entries of `numbers` that count, as `active`."""
        for start in range(0, len(numbers), _LOOKED_UP):
            asked = list(numbers[start : start + _LOOKED_UP])
            yield from self._db.read(lambda db, asked=asked: db.rows(_LOOK_UP, (asked,)))  # type: ignore[misc]

    def history(self, number: str) -> list[tuple[SuppressionRow, bool]]:
        """Every entry of the number, and whether it counts; those from before it was erased too."""
        names = [name for name in (number, self.name_of(number)) if name is not None]
        rows = self._db.read(lambda db: db.rows(_ALL_OF, (names,)))
        return [(SuppressionRow(*row[:-1])._replace(number=number), bool(row[-1])) for row in rows]

    def has_erased(self) -> bool:
        """Whether there are entries of erased people."""
        return bool(self._db.read(lambda db: db.value(_HAS_ERASED)))

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
        name = self.name_of(number)

        def erase(db: Transaction) -> int:
            change = db.value(_NEXT_CHANGE)
            named = {"number": number, "name": name, "change": change}
            changed = db.execute(_ERASE_ENTRIES, named)
            db.execute(_ERASE_LIFTS, named)
            db.execute(_ERASE_HEARD, named)
            for table in ("entry", "lift", "heard"):
                db.execute(f"DELETE FROM {table} WHERE number = %s", (number,))  # noqa: S608 (our names)
            if changed:
                db.execute("UPDATE suppression_list SET change = %s", (change,))
            return changed

        return self._made(self._db.transact(erase)) if name is not None else 0

    def compact(self) -> None:
        """Write the tables anew without what was erased."""
        for table in ("entry", "lift", "heard"):
            self._db.read(lambda db, table=table: db.execute(f"VACUUM FULL {table}"))  # type: ignore[misc]

    def changed_since(self, change: int, most: int) -> list[str] | None:
        """The numbers whose entries or lifts are newer than `change`; None when there are more than `most`."""
        rows = self._db.read(lambda db: db.rows(_CHANGED, {"change": change, "most": most + 1}))
        return None if len(rows) > most else [row[0] for row in rows]

    def _write(self, statement: str, rows: Sequence[SuppressionRow | LiftRow]) -> int:
        def write(db: Transaction) -> int:
            change = db.value(_NEXT_CHANGE)
            changed = sum(
                db.execute_each(statement, [(*row, change) for row in rows[start : start + _CHUNK]])
                for start in range(0, len(rows), _CHUNK)
            )
            if changed:
                db.execute("UPDATE suppression_list SET change = %s", (change,))
            return changed

        return self._made(self._db.transact(write)) if rows else 0

    def _made(self, changed: int) -> int:
        """Let `version` tell at once of what this process has changed."""
        if changed and self._watch is not None:
            self._watch.see(self.change())
        return changed


class _ChangeWatch:
    """A thread that knows how many changes the list has had, as of a moment ago."""

    def __init__(self, url: DatabaseUrl, clock: Callable[[], float] = steady_s) -> None:
        """Ask once, here. Raises StateError."""
        self._url = url
        self._clock = clock
        self._stopped = threading.Event()
        self._db = Database(url, read_only=True)
        self._answered_s = clock()
        self._change = self._ask()
        self._thread = threading.Thread(target=self._watch, name="suppressions", daemon=True)
        self._thread.start()

    def age_s(self) -> float:
        """How long ago the question was asked to which the last answer came."""
        return self._clock() - self._answered_s

    def see(self, change: int) -> None:
        """Learn of a change that this process has made."""
        self._change = max(self._change, change)

    def change(self) -> int:
        """The number of changes. Raises StateError where the answer is too old to be relied on."""
        if self.age_s() > OLDEST_ANSWER_S:
            raise StateError(
                "the suppression list cannot be read: nothing is sent, since people may have opted out",
                where=str(self._url),
                fix="check that the database runs and that this machine can reach it, then run the same command again",
            )
        return self._change

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._db.close()

    def _ask(self) -> int:
        asked_s = self._clock()
        change = int(self._db.read_once(lambda db: db.value(_CHANGE)))
        self._answered_s = asked_s
        return change

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_EVERY_S):
            with contextlib.suppress(SenderError):
                self.see(self._ask())


def _erased_name(key: int) -> str:
    return f"{_ERASED}{key:016x}"
