"""Makes the state in a database, or brings it to this version's schema; refuses servers that may lose what was sent."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import errors

from sender.core.errors import StateError
from sender.state.database_url import DatabaseUrl
from sender.state.postgres.database import connect, explain, refuse_newer
from sender.state.postgres.schema import SCHEMA_VERSION, STEPS

OLDEST_SERVER = 150000  # what we test with: Debian 12's
_LOCK = 0x63_6D_70_73  # of two that make a state at once, the second finds it


@dataclass(frozen=True, slots=True)
class Installed:
    """A state that is there: the server's version as it calls itself, and the schema that was there (0: none)."""

    server: str
    schema_before: int


def install(url: DatabaseUrl) -> Installed:
    """Make the state at `url`, or upgrade it. Raises StateError and InputError, before anything is changed."""
    try:
        with connect(url) as db:
            refuse_unsafe(db, url)
            with db.transaction():
                db.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                before = _version(db)
                refuse_newer(before, url)
                for step in STEPS[before:]:
                    db.execute(step.encode())
                db.execute("UPDATE state SET version = %s", (SCHEMA_VERSION,))
            return Installed(str(db.info.parameter_status("server_version")), before)
    except psycopg.Error as error:
        raise explain(error, url) from None


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
            fix="name it in synchronous_standby_names, so that nothing is confirmed that it does not have",
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


def _version(db: psycopg.Connection) -> int:
    """The schema that is there; 0 without one."""
    try:
        with db.transaction():
            row = db.execute("SELECT version FROM state").fetchone()
    except errors.UndefinedTable:
        return 0
    return 0 if row is None else int(row[0])
