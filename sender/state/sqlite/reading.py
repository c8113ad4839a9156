"""Reads many rows of the ledger at once, as frames: within the caller's connection."""

from __future__ import annotations

import json
from collections.abc import Collection
from itertools import islice
from typing import Any

import apsw

from sender.core.garbage import without_collecting
from sender.core.lazy_modules import pl
from sender.core.outcomes import CancelReason, Reason, SubmissionState
from sender.state.ledger import SENT_SCHEMA, TYPED_SCHEMA
from sender.state.rows import journal_frame, journal_schema
from sender.state.sqlite import statements as sql

_JOURNAL_CHUNK = 5_000  # rows held as Python tuples at one time; more of them cost cache misses and garbage collection


def read_journal(
    db: apsw.Connection,
    key: int,
    *,
    states: Collection[SubmissionState] | None,
    reasons: Collection[Reason | CancelReason] | None,
    seqs: Collection[int] | None,
    columns: Collection[str] | None,
) -> pl.DataFrame:
    """The run's rows as `sender.state.ledger.Ledger.journal` returns them."""
    schema = journal_schema(columns)
    chunks: list[pl.DataFrame] = []
    filters = {
        "states": None if states is None else _json(states),
        "reasons": None if reasons is None else _json(reasons),
    }
    statement, some = _select_some(seqs)
    rows = db.execute(statement.format(columns=", ".join(schema)), {"run": key, **filters, **some})  # one snapshot
    with without_collecting():
        while chunk := list(islice(rows, _JOURNAL_CHUNK)):
            chunks.append(journal_frame(chunk, schema))
    return pl.concat(chunks, rechunk=True) if chunks else pl.DataFrame(schema=schema)


def _select_some(seqs: Collection[int] | None) -> tuple[str, dict[str, int | str]]:
    """The statement that reads these rows, and the values it has besides."""
    if seqs is None:
        return sql.JOURNAL, {}
    if isinstance(seqs, range) and seqs.step == 1:
        return sql.JOURNAL_BETWEEN, {"start": seqs.start, "stop": seqs.stop}
    return sql.JOURNAL_OF, {"seqs": _json(seqs)}


def read_reached(db: apsw.Connection, key: int, *, seqs: Collection[int] | None) -> pl.Series:
    """The `seq` (UInt32, ascending) of the messages that people have got or may have got, all or of `seqs`."""
    statement, some = (sql.REACHED, {}) if seqs is None else (sql.REACHED_OF, {"seqs": _json(seqs)})
    rows = db.execute(statement, {"run": key, **some})
    return pl.Series("seq", [row[0] for row in rows], dtype=pl.UInt32)


def read_sent(db: apsw.Connection, key: int, *, since_ms: int, seqs: Collection[int] | None) -> pl.DataFrame:
    """These messages, as SENT_SCHEMA, if they were last claimed at `since_ms` or later."""
    statement, some = (sql.SENT, {}) if seqs is None else (sql.SENT_OF, {"seqs": _json(seqs)})
    rows: list[tuple[Any, ...]] = db.execute(statement, {"run": key, "since": since_ms, **some}).fetchall()
    return pl.DataFrame(rows, schema=SENT_SCHEMA, orient="row")


def read_typed(db: apsw.Connection, key: int) -> pl.DataFrame:
    """The run's messages to numbers that the provider says are no mobiles, as TYPED_SCHEMA."""
    return pl.DataFrame(db.execute(sql.TYPED, (key,)).fetchall(), schema=TYPED_SCHEMA, orient="row")


def _json(values: Collection[int] | Collection[str]) -> str:
    return json.dumps(sorted(values))
