"""What the SQLite ledger knows of messages in doubt, of the provider's ids, and of refusals. Reads only."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import apsw

from sender.core.canary import OutcomeCount
from sender.core.lazy_modules import pl
from sender.state import rows
from sender.state.ledger import DOUBTS_SCHEMA, Refusals
from sender.state.ledger_values import IdHolder

_REFUSALS = """
SELECT reason, error_code, count(*) FROM message
WHERE run = ? AND seq >= ? AND seq < ? AND reason IS NOT NULL
    AND (state = 'rejected' OR status IN ('undelivered', 'failed'))
GROUP BY reason, error_code
"""
_OUTCOMES = """
SELECT state, status, reason, count(*) FROM message
WHERE run = ? AND seq >= ? AND seq < ? AND state IN ('accepted', 'rejected', 'unknown')
GROUP BY state, status, reason
"""
_LAST_RECEIPT = """
SELECT seq FROM message
WHERE run = ? AND seq >= ? AND seq < ? AND status IN ('delivered', 'undelivered', 'failed')
ORDER BY seq DESC LIMIT 1
"""
_RECENT_IDS = "SELECT message_id FROM message WHERE run = ? AND message_id IS NOT NULL ORDER BY seq DESC LIMIT ?"
# These two read all rows: an index over states or ids would be written by every message that is sent, and doubts are
# looked up only after something went wrong.
_DOUBTS = f"""
SELECT {", ".join(f"{'run' if name == 'run_id' else 'message'}.{name}" for name in DOUBTS_SCHEMA)}
FROM message JOIN run ON run.key = message.run
WHERE state IN ('unknown', 'intent') ORDER BY message.run, seq
"""  # noqa: S608 (our names)
_HOLDERS = """
SELECT message.message_id, run.run_id, message.seq FROM message JOIN run ON run.key = message.run
WHERE message.message_id IN (SELECT value FROM json_each(?)) ORDER BY message.run, message.seq
"""


def read_refusals(db: apsw.Connection, key: int, from_seq: int, below_seq: int) -> list[Refusals]:
    found: list[tuple[Any, ...]] = db.execute(_REFUSALS, (key, from_seq, below_seq)).fetchall()
    return rows.read_refusals(found)


def read_outcomes(db: apsw.Connection, key: int, from_seq: int, below_seq: int) -> list[OutcomeCount]:
    found: list[tuple[Any, ...]] = db.execute(_OUTCOMES, (key, from_seq, below_seq)).fetchall()
    return rows.read_outcomes(found)


def read_last_receipt(db: apsw.Connection, key: int, from_seq: int, below_seq: int) -> int | None:
    row = db.execute(_LAST_RECEIPT, (key, from_seq, below_seq)).fetchone()
    return None if row is None else row[0]


def read_recent_ids(db: apsw.Connection, limit: int) -> list[str]:
    ids: list[Any] = []
    for (key,) in db.execute("SELECT key FROM run ORDER BY key DESC").fetchall():
        if len(ids) >= limit:
            break
        ids += (row[0] for row in db.execute(_RECENT_IDS, (key, limit - len(ids))))
    return ids


def read_doubts(db: apsw.Connection) -> pl.DataFrame:
    return rows.doubts_frame(db.execute(_DOUBTS).fetchall())


def read_holders(db: apsw.Connection, ids: Collection[str]) -> list[IdHolder]:
    found: list[tuple[Any, ...]] = db.execute(_HOLDERS, (json.dumps(sorted(ids)),)).fetchall() if ids else []
    return [IdHolder(*row) for row in found]
