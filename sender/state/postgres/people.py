"""The secret of a state by which erased people are recognised, in the database beside what it belongs to."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import polars as pl

from sender.core.errors import StateError
from sender.state.people import KEY_BYTES, hash_number
from sender.state.postgres.database import Database


class PeopleKeyRow:
    """The key of the state in one database. A `PeopleKey`."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._key: bytes | None = None

    def hash(self, number: str) -> int | None:
        key = self._read()
        return None if key is None else hash_number(key, number)

    def hash_all(self, numbers: Iterable[str]) -> pl.Series:
        key = self._read()
        if key is None:
            raise StateError(
                "the key by which erased people are recognised is gone",
                where=self._db.where,
                fix="restore the database from a backup: without it, people who opted out before they were erased might"
                " be texted",
            )
        return pl.Series("key", [hash_number(key, number) for number in numbers], dtype=pl.UInt64)

    def secret(self) -> bytes | None:
        return self._read()

    def create(self) -> None:
        key = secrets.token_bytes(KEY_BYTES)
        self._db.transact(lambda db: db.execute("UPDATE state SET people_key = %s WHERE people_key IS NULL", (key,)))

    def _read(self) -> bytes | None:
        if self._key is None:
            key = self._db.read(lambda db: db.value("SELECT people_key FROM state"))
            self._key = None if key is None else bytes(key)
        return self._key
