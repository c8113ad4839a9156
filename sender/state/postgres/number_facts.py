"""What is known of phone numbers, in a PostgreSQL database: the same facts and rules as in its SQLite file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sender.state.database_url import DatabaseUrl
from sender.state.number_facts import NumberFacts, looked_up_elsewhere
from sender.state.postgres.database import Database
from sender.state.postgres.locks import AdvisoryLocks

_LOOKED_UP = 20_000  # numbers in one statement
_COLUMNS = ", ".join(NumberFacts._fields)
_PUT = f"""
INSERT INTO number_fact AS f ({_COLUMNS}) VALUES ({", ".join("%s" for _ in NumberFacts._fields)})
ON CONFLICT (number, simulated) DO UPDATE
SET {", ".join(f"{name} = excluded.{name}" for name in NumberFacts._fields[2:])}
WHERE excluded.at > f.at AND (excluded.source = 'lookup' OR f.source = 'answer')
    OR excluded.source = 'lookup' AND f.source = 'answer'
"""  # noqa: S608 (our names)
_LOOK_UP = f"SELECT {_COLUMNS} FROM number_fact WHERE number = ANY(%s::text[]) AND simulated = %s ORDER BY number"  # noqa: S608
_ALL = f"SELECT {_COLUMNS} FROM number_fact ORDER BY number"  # noqa: S608
_ERASE = "DELETE FROM number_fact WHERE number = ANY(%s::text[])"


class NumberFactsTable:
    """The facts in one database. A `NumberStore`; may be used by any number of processes."""

    def __init__(self, url: DatabaseUrl, *, read_only: bool = False) -> None:
        """Connect. Raises as `Database`."""
        self._url = url
        self._db = Database(url, read_only=read_only)

    def close(self) -> None:
        self._db.close()

    def put(self, facts: Iterable[NumberFacts]) -> int:
        rows: list[tuple[Any, ...]] = [tuple(fact) for fact in facts]
        return self._db.transact(lambda db: db.execute_each(_PUT, rows)) if rows else 0

    def look_up(self, numbers: Sequence[str], *, simulated: bool) -> Iterator[NumberFacts]:
        for start in range(0, len(numbers), _LOOKED_UP):
            asked = (list(numbers[start : start + _LOOKED_UP]), simulated)
            for row in self._db.read(lambda db, asked=asked: db.rows(_LOOK_UP, asked)):  # type: ignore[misc]
                yield NumberFacts(*row)

    def hold_lookups(self) -> AbstractContextManager[None]:
        return AdvisoryLocks(self._url).hold_name("lookups", looked_up_elsewhere())

    def everything(self) -> Iterator[NumberFacts]:
        for row in self._db.read(lambda db: db.rows(_ALL)):
            yield NumberFacts(*row)

    def erase(self, numbers: Iterable[str]) -> int:
        gone = list(numbers)
        return self._db.transact(lambda db: db.execute(_ERASE, (gone,)))

    def drop_before(self, at: int) -> int:
        return self._db.transact(lambda db: db.execute("DELETE FROM number_fact WHERE at < %s", (at,)))

    def compact(self) -> None:
        """Write the table anew without what was dropped."""
        self._db.read(lambda db: db.execute("VACUUM FULL number_fact"))
