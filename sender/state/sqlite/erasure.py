"""The SQL that takes texts about people out of the ledger, and free pages with old contents out of a file."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import apsw

from sender.core.errors import StateError

# What a provider said about a message may repeat the number and the text; what it knows of the number is a person's.
_ERASE_ALL_SENTENCES = """
UPDATE {table} SET error_message = NULL, line_type = NULL, carrier = NULL
WHERE run = :run AND coalesce(error_message, line_type, carrier) IS NOT NULL
"""
_ERASE_SENTENCES = f"{_ERASE_ALL_SENTENCES} AND seq IN (SELECT value FROM json_each(:seqs))"  # noqa: S608 (our own text)
_ERASE_MENTIONS = "UPDATE {table} SET error_message = NULL WHERE instr(error_message, :digits)"
_ERASE_MOVED = "UPDATE move SET error_message = NULL WHERE run = :run AND error_message IS NOT NULL"
_ERASE_MOVED_SOME = f"{_ERASE_MOVED} AND seq IN (SELECT value FROM json_each(:seqs))"  # noqa: S608 (our own text)
_TABLES = ("message", "report")


def erase_sentences(db: apsw.Connection, key: int, seqs: Collection[int] | None) -> int:
    """Drop what the provider said about these messages of a run and their numbers, or all; return of how many."""
    before = db.total_changes()
    for table in _TABLES:
        if seqs is None:
            db.execute(_ERASE_ALL_SENTENCES.format(table=table), {"run": key})
        else:
            db.execute(_ERASE_SENTENCES.format(table=table), {"run": key, "seqs": json.dumps(sorted(seqs))})
    if seqs is None:
        db.execute(_ERASE_MOVED, {"run": key})
    else:
        db.execute(_ERASE_MOVED_SOME, {"run": key, "seqs": json.dumps(sorted(seqs))})
    return db.total_changes() - before


def erase_mentions(db: apsw.Connection, digits: str) -> int:
    """Drop every sentence of a provider with these digits in it; return how many. Reads all rows."""
    before = db.total_changes()
    for table in (*_TABLES, "move"):
        db.execute(_ERASE_MENTIONS.format(table=table), {"digits": digits})
    return db.total_changes() - before


def compact(db: apsw.Connection, path: Path) -> None:
    """Write the file anew without free pages, and empty its log: what was deleted is gone. Raises StateError."""
    db.execute("VACUUM")
    busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() or (0,)
    if busy:
        raise StateError(
            "what was erased may still be in the file's log: another process is reading it",
            where=str(path),
            fix="run the same command again once that process has ended",
        )
