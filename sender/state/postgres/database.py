"""One connection to the database of a state: opened, checked, opened again when it is lost; failures are explained.

Every change is one transaction, given as a function, because a connection that is lost in it takes the transaction with
it: what may be repeated is repeated on a new connection. Knows no tables but `state`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from sender.core.clock import steady_s
from sender.core.errors import InputError, SenderError, StateError, StateLost, UnknownRun
from sender.state.database_url import DatabaseUrl
from sender.state.postgres.schema import SCHEMA_VERSION
from sender.state.postgres.server_checks import refuse_unsafe
from sender.state.postgres.server_identity import refuse_another
from sender.state.postgres.texts import escape, unescape

T = TypeVar("T")
Params = Mapping[str, Any] | Sequence[Any]

# A network that swallows packets is noticed after about 3 s; libpq's own settings would take minutes.
_TIMEOUTS: dict[str, Any] = {
    "connect_timeout": "3",
    "tcp_user_timeout": "3000",
    "keepalives": "1",
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "3",
    "application_name": "campaign-sender",
}
# No statement here runs long enough to be worth compiling. The server, too, notices within seconds that a machine is
# gone, and lets go of its locks; its own settings would take two hours.
_SESSION = """
SET default_transaction_isolation = 'read committed';
SET jit = off;
SET tcp_keepalives_idle = 3; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3;
SET tcp_user_timeout = 6000;
"""
RETRY_S = 60.0  # how long a change waits for a database that is away
_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
_DURABLE = ("on", "remote_apply", "remote_write")
_NOT_REPLICATED = "01000"  # SQLSTATE of the warning with which a cancelled wait for a standby ends


class ConnectionLost(Exception):  # noqa: N818 (it has happened)
    """The connection broke in a transaction that must not be repeated: whether it was committed is not known."""


class StandbyServer(StateError):  # noqa: N818 (it is one)
    """The server can only be read."""


class Database:
    """One connection. May be used from any thread, by one at a time."""

    def __init__(self, url: DatabaseUrl, *, read_only: bool = False, versioned: bool = True) -> None:
        """Connect. `versioned` is whether there must be a state of this version.

        Raises StateError, InputError for an address without a database or a user, and UnknownRun without a state.
        """
        self._url = url
        self._read_only = read_only
        self._versioned = versioned
        self._state_id: str | None = None
        self._warnings: list[str] = []
        self._on_reconnect: list[Callable[[psycopg.Connection], None]] = []
        try:
            self._db = self._connect()
        except psycopg.Error as error:
            raise explain(error, url) from None

    @property
    def url(self) -> DatabaseUrl:
        return self._url

    @property
    def where(self) -> str:
        return str(self._url)

    @property
    def state_id(self) -> str:
        """The state's name for ever."""
        return self._state_id or ""

    def close(self) -> None:
        with contextlib.suppress(psycopg.Error):
            self._db.close()

    def forget(self, statement: str, params: Params) -> None:
        """Run a statement that tidies up, if that is possible at once."""
        with contextlib.suppress(psycopg.Error):
            Transaction(self._db).execute(statement, params)

    def when_reconnected(self, check: Callable[[psycopg.Connection], None]) -> None:
        """Call `check` with each new connection; what it raises ends the attempt."""
        self._on_reconnect.append(check)

    def transact(self, work: Callable[[Transaction], T], *, again: bool = True) -> T:
        """The result of `work`, committed and durable. Raises StateError.

        Where the connection is lost, `work` is repeated on another one for up to a minute: the rows it changes must
        tell that it has been done. With `again=False` ConnectionLost is raised instead.
        """
        return self._repeat(lambda: self._attempt(work), again=again)

    def read(self, work: Callable[[Transaction], T]) -> T:
        """The result of `work`, which only reads, each statement by itself; repeated as by `transact`."""
        return self._repeat(lambda: work(Transaction(self._db)), again=True)

    def read_once(self, work: Callable[[Transaction], T]) -> T:
        """As `read`, but a database that is away is asked once more only, and not waited for."""
        try:
            with explained(self._url):
                if self._db.closed:
                    self._db = self._connect()
                    self._check_connection()
                return work(Transaction(self._db))
        except psycopg.Error as error:
            self.close()
            raise explain(error, self._url) from None

    def reconnect(self) -> None:
        """Open the connection again, for up to a minute. Raises StateError."""
        self._reconnect(steady_s() + RETRY_S)

    def _repeat(self, attempt: Callable[[], T], *, again: bool) -> T:
        give_up = steady_s() + RETRY_S
        for pause_s in _pauses():
            try:
                with explained(self._url):
                    return attempt()
            except psycopg.Error as error:
                if not _is_lost(error):  # a rule of the schema: the caller's to explain
                    raise
                if not again:
                    raise ConnectionLost from error
                if steady_s() >= give_up:
                    raise explain(error, self._url) from None
            if not self._db.closed:  # undone by the database, in favour of somebody else
                continue
            time.sleep(pause_s)
            self._reconnect(give_up)
        raise AssertionError  # pragma: no cover (the pauses never end)

    def _attempt(self, work: Callable[[Transaction], T]) -> T:
        self._warnings.clear()
        with self._db.transaction():
            result = work(Transaction(self._db))
        if _NOT_REPLICATED in self._warnings:
            raise StateError(
                "the database's standby has not confirmed a commit, which counts as not made",
                where=self.where,
                fix="check the standby (synchronous_standby_names), then run the same command again",
            )
        return result

    def _reconnect(self, give_up: float) -> None:
        for pause_s in _pauses():
            self.close()
            try:
                with explained(self._url):
                    self._db = self._connect()
                    self._check_connection()
            except (psycopg.OperationalError, psycopg.InterfaceError, StandbyServer) as error:
                if steady_s() >= give_up:
                    raise error if isinstance(error, StandbyServer) else explain(error, self._url) from None
                time.sleep(pause_s)  # a standby may be about to take over, or the new connection broke at once
                continue
            return

    def _check_connection(self) -> None:
        for check in self._on_reconnect:
            check(self._db)

    def _connect(self) -> psycopg.Connection:
        db = connect(self._url)
        try:
            db.add_notice_handler(self._note)
            self._set_up(db)
        except BaseException:
            db.close()
            raise
        return db

    def _note(self, diagnostic: errors.Diagnostic) -> None:
        if diagnostic.sqlstate is not None:
            self._warnings.append(diagnostic.sqlstate)

    def _set_up(self, db: psycopg.Connection) -> None:
        db.execute(_SESSION)
        if self._read_only:
            db.execute("SET default_transaction_read_only = on")
        else:
            refuse_standby(db, self._url)
            refuse_unsafe(db, self._url)
            _make_durable(db)
        if self._versioned:
            state_id = _read_state(db, self._url)
            if self._state_id not in (None, state_id):
                raise StateLost(
                    "this is another state than before: the database behind the address was replaced",
                    where=self.where,
                    fix="restore the right database; until then nothing is sent, since it is unknown what was sent",
                )
            self._state_id = state_id
            if not self._read_only:
                refuse_another(db, self._url)


def connect(url: DatabaseUrl) -> psycopg.Connection:
    """A new connection that notices within seconds when its server is gone. Raises psycopg.Error and InputError."""
    return psycopg.connect(url.text, autocommit=True, **_settings(url))


async def connect_async(url: DatabaseUrl) -> psycopg.AsyncConnection:
    """As `connect`, for an event loop."""
    return await psycopg.AsyncConnection.connect(url.text, autocommit=True, **_settings(url))


def _settings(url: DatabaseUrl) -> dict[str, Any]:
    """The settings of a connection that the address leaves open. Raises InputError for one that cannot be read."""
    try:
        given = conninfo_to_dict(url.text)
    except psycopg.ProgrammingError:  # its text repeats the address
        raise InputError(
            "the address of the state cannot be read", fix="write postgresql://USER@HOST:PORT/DATABASE"
        ) from None
    return {name: value for name, value in _TIMEOUTS.items() if name not in given}


class Transaction:
    """What a function of `Database.transact` uses. Texts with NUL, which PostgreSQL cannot hold, come back as given."""

    def __init__(self, db: psycopg.Connection) -> None:
        self._db = db

    def execute(self, statement: str, params: Params | None = None) -> int:
        """Run the statement; return how many rows it changed or found."""
        return self._db.execute(_query(statement), escape(params)).rowcount

    def rows(self, statement: str, params: Params | None = None) -> list[tuple[Any, ...]]:
        """The rows that the statement returns."""
        return unescape(self._db.execute(_query(statement), escape(params)).fetchall())

    def row(self, statement: str, params: Params | None = None) -> tuple[Any, ...] | None:
        """The first row that the statement returns; None without one."""
        rows = self.rows(statement, params)
        return rows[0] if rows else None

    def value(self, statement: str, params: Params | None = None) -> Any:
        """The first column of the first row; None without one."""
        row = self.row(statement, params)
        return None if row is None else row[0]

    def execute_each(self, statement: str, rows: Sequence[Params]) -> int:
        """Run the statement with each of `rows`, in one round trip; return how many rows it changed."""
        if not rows:
            return 0
        with self._db.cursor() as cursor:
            cursor.executemany(_query(statement), [escape(row) for row in rows])
            return cursor.rowcount

    def chunks(self, statement: str, params: Params, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """The rows that the statement returns, `size` at a time, all of one snapshot. As the database has them."""
        with self._db.cursor(name="chunks") as cursor:
            cursor.execute(_query(statement), escape(params))
            while rows := cursor.fetchmany(size):
                yield rows


def _query(statement: str) -> LiteralString:
    return statement  # all of them are our own texts


@contextlib.contextmanager
def explained(url: DatabaseUrl) -> Iterator[None]:
    """Turn an error of the database into one that says what to do, but for a connection that is lost or not made."""
    try:
        yield
    except psycopg.Error as error:
        if _is_lost(error):
            raise
        raise explain(error, url) from error


def explain(error: psycopg.Error, url: DatabaseUrl) -> SenderError:
    """The error to raise for one of the database. Raises what is a bug of ours."""
    for kinds, words, what, fix in _FAILURES:
        if isinstance(error, kinds) or any(word in str(error) for word in words):
            return StateError(f"the state cannot be used: {what}{_detail(error)}", where=str(url), fix=fix)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return StateError(
            f"the database of the state cannot be reached{_detail(error)}",
            where=str(url),
            fix="check that it runs and that this machine may connect, then run the same command again",
        )
    raise error


def _is_lost(error: psycopg.Error) -> bool:
    if isinstance(error, errors.DeadlockDetected | errors.SerializationFailure):
        return True  # undone whole, and worth another attempt
    if isinstance(error, tuple(kind for kinds, *_ in _FAILURES for kind in kinds)):
        return False
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


_ACCESS = "give this user the rights on the database's schema, or name another user"
# The classes of an error, or the words of one that has none because it came while connecting; what it is; what to do.
_FAILURES: tuple[tuple[tuple[type[psycopg.Error], ...], tuple[str, ...], str, str], ...] = (
    ((errors.InvalidPassword, errors.InvalidAuthorizationSpecification),
     ("password authentication failed", "no password supplied", "no pg_hba.conf entry", "authentication failed"),
     "the database refuses this user",
     "put the password into PGPASSWORD or ~/.pgpass, and check that pg_hba.conf lets this machine connect"),
    ((errors.InvalidCatalogName,), ("FATAL:  database",), "there is no such database",
     "create it with createdb, then create the state with `sender cluster init URL`"),
    ((errors.InsufficientPrivilege, errors.InvalidSchemaName), (), "this user may not do that", _ACCESS),
    ((errors.ReadOnlySqlTransaction,), (), "it can only be read",
     "name the primary server: this one is a standby, or was made read-only"),
    ((errors.DiskFull,), (), "the disk of the database is full",
     "free some space there, then run the same command again"),
    ((errors.DataCorrupted, errors.IndexCorrupted), (), "it is damaged",
     "restore the database; until then nothing is sent, since it is unknown what was sent"),
)  # fmt: skip


def _detail(error: psycopg.Error) -> str:
    """What the database says, on one line, without its hints. It never has a password: none is in an address."""
    lines = [line.strip() for line in (error.diag.message_primary or str(error)).splitlines() if line.strip()]
    said = " ".join(lines[: 2 if lines[:1] and lines[0].endswith(":") else 1])  # several servers: a heading, and each
    return f" ({said})" if said else ""


def _pauses() -> Iterator[float]:
    yield from _PAUSES_S
    while True:
        yield _PAUSES_S[-1]


def refuse_standby(db: psycopg.Connection, url: DatabaseUrl) -> None:
    """Raise StandbyServer for a server, or a database, that can only be read."""
    row = db.execute("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')").fetchone()
    if row is not None and (row[0] or row[1] == "on"):
        raise StandbyServer(
            "this server can only be read: it is a standby, or its database is read-only",
            where=str(url),
            fix="name the primary server",
        )


def _make_durable(db: psycopg.Connection) -> None:
    """See that a commit is on disk, and at the synchronous standby if there is one, whatever this user's settings."""
    row = db.execute("SHOW synchronous_commit").fetchone()
    if row is None or row[0] not in _DURABLE:
        db.execute("SET synchronous_commit = on")


def refuse_newer(version: int, url: DatabaseUrl) -> None:
    """Raise StateError for a schema that this program does not know."""
    if version > SCHEMA_VERSION:
        raise StateError(
            f"the state was written by a newer campaign-sender: schema {version}, and this one knows {SCHEMA_VERSION}",
            where=str(url),
            fix="upgrade campaign-sender on this machine",
        )


def _read_state(db: psycopg.Connection, url: DatabaseUrl) -> str:
    """The id of the state. Raises UnknownRun without one, and StateError for another version's."""
    try:
        row = db.execute("SELECT id::text, version FROM state").fetchone()
    except errors.UndefinedTable:
        row = None
        if (db.execute("SELECT current_schema()").fetchone() or (None,))[0] is None:
            raise StateError(
                "the state cannot be used: its schema is not there, or this user may not use it",
                where=str(url),
                fix=_ACCESS,
            ) from None
    if row is None:
        raise UnknownRun(
            "there is no state in this database", where=str(url), fix=f"`sender cluster init {url}` makes one"
        )
    state_id, version = row
    refuse_newer(version, url)
    if version < SCHEMA_VERSION:
        raise StateError(
            f"the state was written by an older campaign-sender: schema {version}, and this one needs {SCHEMA_VERSION}",
            where=str(url),
            fix=f"once no other machine uses it, `sender cluster init {url}` upgrades it",
        )
    return str(state_id)
