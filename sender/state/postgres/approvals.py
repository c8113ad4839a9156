"""Who has approved what, as rows of a PostgreSQL database: the same values as in the files of a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from sender.core.errors import StateError
from sender.state.approvals import ApprovedText, RunApproval, sort_approved
from sender.state.ledger import Run
from sender.state.postgres.database import Database, Transaction

T = TypeVar("T")
_LOCK = "LOCK TABLE approval IN SHARE ROW EXCLUSIVE MODE"  # readers go on
_READ = "SELECT content FROM approval WHERE key = %s"
_WRITE = """
INSERT INTO approval (key, content) VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET content = excluded.content
"""
_NOTE_RUN = """
INSERT INTO run_approval (run_id, content) VALUES (%s, %s)
ON CONFLICT (run_id) DO UPDATE SET content = excluded.content
"""
_OF_RUN = "SELECT content FROM run_approval WHERE run_id = %s"


class Connect(Protocol):
    """Opens a connection for the time of a block; with `read_only` one that only reads, which a standby allows."""

    def __call__(self, *, read_only: bool) -> AbstractContextManager[Database]: ...


class ApprovalRows:
    """The approvals of one state. An `ApprovalStore`."""

    def __init__(self, connect: Connect) -> None:
        """`connect` returns the connection for one call."""
        self._connect = connect

    def add(self, approved: ApprovedText) -> ApprovedText:
        def add(db: Transaction) -> ApprovedText:
            db.execute(_LOCK)
            text = db.value(_READ, (approved.key,))
            together = approved if text is None else approved.after(self._read(text, ApprovedText.from_json))
            db.execute(_WRITE, (approved.key, json.dumps(together.to_json())))
            return together

        with self._connect(read_only=False) as db:
            return db.transact(add)

    def read(self) -> Sequence[ApprovedText]:
        with self._connect(read_only=True) as db:
            rows = db.read(lambda db: db.rows("SELECT content FROM approval ORDER BY key"))
        return sort_approved(self._read(text, ApprovedText.from_json) for (text,) in rows)

    def note_run(self, run: Run, approval: RunApproval) -> None:
        with self._connect(read_only=False) as db:
            db.transact(lambda db: db.execute(_NOTE_RUN, (run.run_id, json.dumps(approval.to_json()))))

    def of_run(self, run: Run) -> RunApproval | None:
        with self._connect(read_only=True) as db:
            text = db.read(lambda db: db.value(_OF_RUN, (run.run_id,)))
        return None if text is None else self._read(text, RunApproval.from_json)

    def _read(self, text: str, parse: Callable[[Mapping[str, Any]], T]) -> T:
        try:
            return parse(json.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(
                f"the approval cannot be read: {error}", fix="restore the database from a backup, or approve again"
            ) from None
