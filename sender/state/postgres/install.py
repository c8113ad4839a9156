"""Makes the state in a database, or brings it to this version's schema; refuses servers that may lose what was sent."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import errors

from sender.state.database_url import DatabaseUrl
from sender.state.postgres.database import connect, explain, refuse_newer, refuse_standby
from sender.state.postgres.schema import SCHEMA_VERSION, STEPS
from sender.state.postgres.server_checks import refuse_unsafe
from sender.state.postgres.server_identity import note_server, refuse_another

_LOCK = 0x63_6D_70_73  # of two that make a state at once, the second finds it


@dataclass(frozen=True, slots=True)
class Installed:
    """A state that is there: the server's version as it calls itself, and the schema that was there (0: none)."""

    server: str
    schema_before: int


def install(url: DatabaseUrl, *, accept_server: bool = False) -> Installed:
    """Make the state at `url`, or upgrade it. Raises StateError and InputError, before anything is changed.

    With `accept_server` it goes on on a server that may lack what the one before it had confirmed.
    """
    try:
        with connect(url) as db:
            refuse_standby(db, url)
            refuse_unsafe(db, url)
            with db.transaction():
                db.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                before = _version(db)
                refuse_newer(before, url)
                for step in STEPS[before:]:
                    db.execute(step.encode())
                if before and not accept_server:
                    refuse_another(db, url)
                note_server(db, is_accepted=accept_server)
                db.execute("UPDATE state SET version = %s", (SCHEMA_VERSION,))
            return Installed(str(db.info.parameter_status("server_version")), before)
    except psycopg.Error as error:
        raise explain(error, url) from None


def _version(db: psycopg.Connection) -> int:
    """The schema that is there; 0 without one."""
    try:
        with db.transaction():
            row = db.execute("SELECT version FROM state").fetchone()
    except errors.UndefinedTable:
        return 0
    return 0 if row is None else int(row[0])
