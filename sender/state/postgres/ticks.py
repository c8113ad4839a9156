"""The records of schedules as rows, each with an advisory lock."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict

from sender.core.errors import RunLocked, StateError
from sender.state.postgres.database import Database
from sender.state.postgres.locks import AdvisoryLocks
from sender.state.ticks import TickRecord

_WRITE = """
INSERT INTO tick (campaign, record) VALUES (%s, %s) ON CONFLICT (campaign) DO UPDATE SET record = excluded.record
"""


class TickRows:
    """The records of one state. A `TickStore`."""

    def __init__(self, db: Database, locks: AdvisoryLocks) -> None:
        self._db = db
        self._locks = locks

    def read(self, campaign: str) -> TickRecord | None:
        text = self._db.read(lambda db: db.value("SELECT record FROM tick WHERE campaign = %s", (campaign,)))
        try:
            return None if text is None else TickRecord(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise StateError(
                f"the record of the schedule of {campaign} cannot be read: {error}",
                where=self._db.where,
                fix="remove it once you know what was sent: then the schedule begins again",
            ) from None

    def write(self, record: TickRecord) -> None:
        self._db.transact(lambda db: db.execute(_WRITE, (record.campaign, json.dumps(asdict(record)))))

    @contextlib.contextmanager
    def hold(self, campaign: str) -> Iterator[None]:
        refusal = RunLocked(f"another process starts {campaign} by its schedule", fix="wait for it")
        with self._locks.hold_name(f"tick-{campaign}", refusal):
            yield
