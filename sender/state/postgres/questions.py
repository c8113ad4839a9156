"""A connection for questions alone: opened with the first one, and kept, since to open one takes longer than to ask."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from sender.core.errors import StateError
from sender.state.database_url import DatabaseUrl
from sender.state.postgres.database import Database, Transaction

T = TypeVar("T")


class Questions:
    """Questions to one database. May be used from any thread."""

    def __init__(self, url: DatabaseUrl) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._db: Database | None = None

    def close(self) -> None:
        if self._db is not None:
            self._db.close()

    def read(self, work: Callable[[Transaction], T]) -> T:
        """The result of `work`, which only reads. Raises StateError where the database is away: nobody waits for it."""
        with self._lock:
            if self._db is None:
                self._db = Database(self._url, read_only=True)
                return self._db.read_once(work)
            try:
                return self._db.read_once(work)
            except StateError:  # its connection may have broken since the last question
                return self._db.read_once(work)
