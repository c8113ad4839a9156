"""Which server a state is on, kept in the state: another one may lack commits that were confirmed.

A server that takes over from another, or that was restored from a backup and its log, has a timeline of its own; one
that was made anew has an identifier of its own. So every process on every machine sees at its next connection that the
server has changed, whatever it has done before. Only behind a synchronous standby nothing can be lost by that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from sender.state.database_url import DatabaseUrl
from sender.state.postgres.commit_mark import explain_loss

SERVER_COLUMNS = """
ALTER TABLE state ADD COLUMN system text, ADD COLUMN timeline bigint,
    ADD COLUMN synchronous boolean NOT NULL DEFAULT false;
"""

_NOTED = "SELECT system, timeline, synchronous FROM state"
_TIMELINE = "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint"
_IS_SYNCHRONOUS = "SELECT current_setting('synchronous_standby_names') <> ''"
_NOTE = "UPDATE state SET system = coalesce(%s, system), timeline = %s, synchronous = %s"
# Each machine knows how many claims of each run it has seen confirmed: from now on all of them are fewer than these.
_FORGET_CLAIMS = "UPDATE run_cursor SET commits = commits + 1000000000"


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """A server: what its data are called for ever (None: this user may not know), and its timeline.

    `synchronous` says that a standby has what it confirms.
    """

    system: str | None
    timeline: int | None
    synchronous: bool


def refuse_another(db: psycopg.Connection, url: DatabaseUrl) -> None:
    """Raise StateLost where the state's server has changed, and may lack what was confirmed; note what may change."""
    noted, now = ServerIdentity(*_row(db, _NOTED)), _read(db)
    if None not in (noted.system, now.system) and noted.system != now.system:
        raise explain_loss(
            "another server answers at this address than before: its data may be an older copy", str(url)
        )
    is_another = noted.timeline is not None and noted.timeline != now.timeline
    if is_another and not noted.synchronous:
        raise explain_loss(
            "a standby has taken the server's place, or it was restored from a backup: it may lack confirmed commits",
            str(url),
        )
    if is_another or noted.synchronous != now.synchronous:
        _note(db, now)


def note_server(db: psycopg.Connection, *, is_accepted: bool) -> None:
    """Note the server as that of the state; `is_accepted` says that a person goes on with another one than before."""
    _note(db, _read(db))
    if is_accepted:
        db.execute(_FORGET_CLAIMS)


def _read(db: psycopg.Connection) -> ServerIdentity:
    try:
        (system,) = _row(db, "SELECT system_identifier::text FROM pg_control_system()")
    except psycopg.errors.InsufficientPrivilege:
        system = None
    return ServerIdentity(system, *_row(db, _TIMELINE), *_row(db, _IS_SYNCHRONOUS))


def _note(db: psycopg.Connection, now: ServerIdentity) -> None:
    db.execute(_NOTE, (now.system, now.timeline, now.synchronous))


def _row(db: psycopg.Connection, statement: str) -> tuple[Any, ...]:
    return db.execute(statement).fetchone() or (None, None, False)
