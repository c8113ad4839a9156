"""Refuses servers that may lose what they have confirmed."""

from __future__ import annotations

import psycopg

from sender.core.errors import StateError
from sender.state.database_url import DatabaseUrl

OLDEST_SERVER = 150000  # what we test with: Debian 12's


def refuse_unsafe(db: psycopg.Connection, url: DatabaseUrl) -> None:
    """Raise StateError for a server that could lose what it has confirmed: then people would be texted twice."""
    if db.info.server_version < OLDEST_SERVER:
        raise StateError(
            f"this server is PostgreSQL {db.info.server_version // 10000}", where=str(url), fix="use 15 or newer"
        )
    for name in ("fsync", "full_page_writes"):
        if _setting(db, name) != "on":
            raise StateError(
                f"the server runs with {name}=off: after a crash of its machine, people might be texted twice",
                where=str(url),
                fix=f"set {name} = on in postgresql.conf, then run the same command again",
            )
    if not _setting(db, "synchronous_standby_names") and _has_standby(db):
        raise StateError(
            "the server has a standby that may lag behind: once it takes over, people might be texted twice",
            where=str(url),
            fix="name it in synchronous_standby_names, so that only commits are confirmed that it has",
        )


def _setting(db: psycopg.Connection, name: str) -> str:
    row = db.execute("SELECT current_setting(%s)", (name,)).fetchone()
    return "" if row is None else str(row[0]).strip()


def _has_standby(db: psycopg.Connection) -> bool:
    """Whether another server follows the server's log. A backup that is being taken does not count."""
    row = db.execute("""
        SELECT count(*) FROM pg_stat_replication
        WHERE application_name NOT IN ('pg_basebackup', 'pg_receivewal')
            AND pid NOT IN (SELECT active_pid FROM pg_replication_slots
                WHERE slot_type = 'logical' AND active_pid IS NOT NULL)
    """).fetchone()
    return row is not None and row[0] > 0
