"""Who sends a campaign, by advisory locks of the database, each with a row that says who holds it.

The database drops a lock with its connection, which may break while the process lives on, or may last a moment longer
than the process. So the lock alone proves nothing. Whoever takes over

- puts a token of its own into the row, while it holds the locks of the campaign's runs: from then on the process before
  it can claim nothing more, whatever it believes;
- does so only once everything that process had claimed has come too late to be sent, and the longest of its requests is
  over, unless it said goodbye, or is known to be dead.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import psutil

from sender.core.errors import InputError, RunLocked, SenderError
from sender.state.database_url import DatabaseUrl
from sender.state.ledger import RunKind
from sender.state.locks import Holder
from sender.state.postgres.database import Database, Transaction
from sender.state.postgres.ledger_changes import holder_name
from sender.state.postgres.questions import Questions

T = TypeVar("T")
KEEP_EVERY_S = 1.0
WAIT_S = 2.0  # for what a process that is gone had claimed: longer waits are said, not waited for
LONGEST_REQUEST_S = 600.0  # of a process that did not say: the largest that a campaign may set
_MARGIN_MS = 1_000

# The lock's number: of this state and this name, so that states in one database do not share locks.
_KEY = "hashtextextended((SELECT id::text FROM state) || ' ' || %(name)s, 0)"
_LOCK = f"SELECT pg_try_advisory_lock({_KEY})"
_IS_LOCKED = f"""
SELECT EXISTS (
    SELECT 1 FROM pg_locks, (SELECT {_KEY} AS key) AS name
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND ((classid::bigint << 32) | objid::bigint) = name.key
)
"""  # noqa: S608
_HOLDER = """
SELECT token, pid, host, since, machine, process_at, longest_request_s, together FROM holder WHERE name = %(name)s
"""
_TAKE = """
INSERT INTO holder (name, token, pid, host, machine, process_at, since)
VALUES (%(name)s, %(token)s, %(pid)s, %(host)s, %(machine)s, %(process_at)s, %(since)s)
ON CONFLICT (name) DO UPDATE SET token = excluded.token, pid = excluded.pid, host = excluded.host,
    machine = excluded.machine, process_at = excluded.process_at, since = excluded.since,
    longest_request_s = CASE WHEN holder.together THEN holder.longest_request_s END
"""
_LEAVE = "DELETE FROM holder WHERE name = %(name)s AND token = %(token)s AND NOT together"
_SHARE = "UPDATE holder SET together = true WHERE name = %(name)s AND token = %(token)s"
_JOIN = "SELECT token FROM holder WHERE name = %(name)s AND together"
_NOTE_LONGEST = """
UPDATE holder SET longest_request_s = CASE WHEN together
    THEN greatest(longest_request_s, %(longest)s::double precision) ELSE %(longest)s::double precision END
WHERE name = %(name)s AND token = %(token)s
"""
_DISSOLVE = """
DELETE FROM holder WHERE name = %(name)s AND token = %(token)s AND together AND NOT EXISTS (
    SELECT 1 FROM every_message AS one JOIN run ON run.key = one.run
    WHERE one.state = 'intent' AND run.campaign = %(campaign)s AND run.kind = %(kind)s
)
"""
_LOCK_CLAIMS = """
SELECT run FROM run_cursor
WHERE run IN (SELECT key FROM run WHERE campaign = %(campaign)s AND kind = %(kind)s) ORDER BY run FOR UPDATE
"""
_LAST_DEADLINE = """
SELECT max(deadline), floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM every_message
WHERE state = 'intent' AND run IN (SELECT key FROM run WHERE campaign = %(campaign)s AND kind = %(kind)s)
"""


class AdvisoryLocks:
    """The locks of one state. A `RunLocks`."""

    def __init__(self, url: DatabaseUrl, questions: Questions | None = None) -> None:
        """`questions` is a connection that is kept; without it each question opens one."""
        self._url = url
        self._questions = questions
        self._tokens: dict[str, uuid.UUID] = {}

    def token(self, campaign: str, kind: RunKind) -> uuid.UUID | None:
        """What this process holds the campaign with; None where it does not."""
        return self._tokens.get(holder_name(campaign, kind))

    @contextlib.contextmanager
    def hold_campaign(self, campaign: str, kind: RunKind) -> Iterator[None]:
        """As the protocol says. Raises RunLocked, too, while a process that is gone may still send what it claimed."""
        name = holder_name(campaign, kind)
        with self._locked(name) as db:
            if db is None:
                raise RunLocked(
                    f"{campaign} is being sent by another process ({self._who(name)})",
                    fix="wait for it, or stop it with Ctrl-C",
                )
            token = _take_over(db, campaign, kind)
            self._tokens[name] = token
            with _leaving(db, name, token), _Keeper(db, name):
                try:
                    yield
                finally:
                    del self._tokens[name]

    @contextlib.contextmanager
    def hold_start(self, campaign: str, kind: RunKind) -> Iterator[None]:
        name = f"start-{holder_name(campaign, kind)}"
        with self._locked(name) as db:
            if db is None:
                raise RunLocked(
                    f"another process waits for the start of {campaign} ({self._who(name)})",
                    fix="stop it with Ctrl-C to begin at another time",
                )
            token = db.transact(lambda db: _note(db, name))
            with _leaving(db, name, token), _Keeper(db, name):
                yield

    def hold_worker(self, *_: object) -> contextlib.AbstractContextManager[None]:
        """As the protocol says. Raises InputError: several worker processes cannot share such a state yet."""
        raise _no_workers()

    @contextlib.contextmanager
    def hold_name(self, name: str, refusal: RunLocked) -> Iterator[None]:
        """Hold a lock of any name for a moment. Raises `refusal` where another process has it."""
        with self._locked(name) as db:
            if db is None:
                raise refusal
            yield

    def note_longest_request(self, campaign: str, kind: RunKind, *, longest_s: float) -> None:
        name = holder_name(campaign, kind)
        named = {"name": name, "token": self._tokens.get(name), "longest": longest_s}
        with contextlib.closing(Database(self._url)) as db:
            db.transact(lambda db: db.execute(_NOTE_LONGEST, named))

    def share(self, campaign: str, kind: RunKind) -> None:
        """Let others send the campaign with this process, which holds it, and go on when it leaves or dies."""
        name = holder_name(campaign, kind)
        with contextlib.closing(Database(self._url)) as db:
            db.transact(lambda db: db.execute(_SHARE, {"name": name, "token": self._tokens[name]}))

    @contextlib.contextmanager
    def join(self, campaign: str, kind: RunKind) -> Iterator[None]:
        """Send with the others that send the campaign. Raises RunLocked where it is not shared."""
        name = holder_name(campaign, kind)
        with contextlib.closing(Database(self._url)) as db:
            token = db.read(lambda db: db.value(_JOIN, {"name": name}))
        if token is None:
            raise RunLocked(
                f"{campaign} is not sent by several machines now", fix=f"`sender status {campaign}` shows its progress"
            )
        self._tokens[name] = token
        try:
            yield
        finally:
            del self._tokens[name]

    def is_shared(self, campaign: str, kind: RunKind) -> bool:
        """Whether others may be sending the campaign with this process."""
        return self._ask(lambda db: db.value(_JOIN, {"name": holder_name(campaign, kind)})) is not None

    def is_held(self, name: str) -> bool:
        """Whether a process holds the lock of that name, as far as the database knows."""
        return bool(self._ask(lambda db: db.value(_IS_LOCKED, {"name": name})))

    def dissolve(self, campaign: str, kind: RunKind) -> None:
        """Let the campaign be held by one process again, once nothing of it is under way anywhere."""
        name = holder_name(campaign, kind)
        named = {"name": name, "token": self._tokens.get(name), "campaign": campaign, "kind": kind.value}
        with contextlib.closing(Database(self._url)) as db:
            db.transact(lambda db: (db.rows(_LOCK_CLAIMS, named), db.execute(_DISSOLVE, named)))

    def holder(self, campaign: str, kind: RunKind) -> Holder | None:
        return self._ask(lambda db: _read_holder(db, holder_name(campaign, kind)))

    def _ask(self, work: Callable[[Transaction], T]) -> T:
        if self._questions is not None:
            return self._questions.read(work)
        with contextlib.closing(Database(self._url, read_only=True)) as db:
            return db.read(work)

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[Database | None]:
        """A connection that holds the lock; None where another one does. The lock ends with it."""
        with contextlib.closing(Database(self._url)) as db:
            yield db if db.read(lambda db: db.value(_LOCK, {"name": name})) else None

    def _who(self, name: str) -> str:
        """Who holds the lock. The row is written a moment after the lock, and may still be that of a dead process."""
        give_up = time.monotonic() + WAIT_S / 4
        with contextlib.closing(Database(self._url, read_only=True)) as db:
            while time.monotonic() < give_up:
                holder = db.read(lambda db: _read_holder(db, name))
                if holder is not None:
                    return str(holder)
                time.sleep(0.02)
        return "it left no note of its process id"


class _Keeper(threading.Thread):
    """Asks over a lock's connection each second, so that one that breaks is opened, and the lock taken, again."""

    def __init__(self, db: Database, name: str) -> None:
        super().__init__(name="lock", daemon=True)
        self._db = db
        self._name = name
        self._stopped = threading.Event()
        self._is_lost = False
        db.when_reconnected(self._note_loss)

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.join()

    def run(self) -> None:
        while not self._stopped.wait(KEEP_EVERY_S):
            with contextlib.suppress(SenderError):  # whoever sends meets the same failure, and says so
                self._db.read_once(self._keep)

    def _note_loss(self, _: object) -> None:
        self._is_lost = True

    def _keep(self, db: Transaction) -> None:
        if self._is_lost:  # where another process has it now, the row says so at the next claim
            db.value(_LOCK, {"name": self._name})
            self._is_lost = False
        else:
            db.value("SELECT 1")


def _take_over(db: Database, campaign: str, kind: RunKind) -> uuid.UUID:
    """Put a token of this process into the campaign's row, when no other can send any more. Raises RunLocked."""
    name = holder_name(campaign, kind)
    give_up = time.monotonic() + WAIT_S
    while True:
        token, left_ms, before = db.transact(lambda db: _try_to_take(db, name, campaign, kind))
        if token is not None:
            return token
        if time.monotonic() + left_ms / 1000 > give_up:
            until = datetime.fromtimestamp(time.time() + left_ms / 1000, UTC)
            raise RunLocked(
                f"the process that was sending {campaign} ({before}) is gone or cannot reach the database, and may"
                f" still be sending what it had claimed until {until:%H:%M:%S} UTC",
                fix="run the same command again then: nothing is lost",
            )
        time.sleep(left_ms / 1000)


def _try_to_take(db: Transaction, name: str, campaign: str, kind: RunKind) -> tuple[uuid.UUID | None, int, str]:
    """The new token; or None, the milliseconds until there can be one, and who was there before."""
    named = {"name": name, "campaign": campaign, "kind": kind.value}
    db.rows(_LOCK_CLAIMS, named)
    row = db.row(_HOLDER, named)
    if row is not None and row[7]:  # others send with this token: their claims stay theirs
        return _note(db, name, row[0]), 0, ""
    if row is None or _is_dead(row[4], row[1], row[5]):
        return _note(db, name), 0, ""
    deadline, now_ms = db.row(_LAST_DEADLINE, named) or (None, 0)
    longest_ms = 1000 * (row[6] if row[6] is not None else LONGEST_REQUEST_S)
    left_ms = 0 if deadline is None else int(deadline + longest_ms + _MARGIN_MS - now_ms)
    if left_ms > 0:
        return None, left_ms, f"pid {row[1]} on {row[2]}, since {row[3]}"
    return _note(db, name), 0, ""


def _note(db: Transaction, name: str, token: uuid.UUID | None = None) -> uuid.UUID:
    """Write the row of the lock's new holder; return its token, a new one unless it is given."""
    token = token or uuid.uuid4()
    process = psutil.Process()
    db.execute(
        _TAKE,
        {
            "name": name,
            "token": token,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "machine": _machine(),
            "process_at": process.create_time(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
    return token


@contextlib.contextmanager
def _leaving(db: Database, name: str, token: uuid.UUID) -> Iterator[None]:
    """Say goodbye at the end: then nobody has to wait for what this process might still do."""
    try:
        yield
    finally:
        db.forget(_LEAVE, {"name": name, "token": token})


def _read_holder(db: Transaction, name: str) -> Holder | None:
    row = db.row(_HOLDER, {"name": name})
    if row is None or _is_dead(row[4], row[1], row[5]):
        return None
    is_locked = db.value(_IS_LOCKED, {"name": name})
    return Holder(row[1], row[2], row[3]) if is_locked else None


def _is_dead(machine: str | None, pid: int, process_at: float | None) -> bool:
    """Whether the process is known to have ended: it ran here, since the machine was started."""
    if machine is None or machine != _machine():
        return False
    try:
        return process_at is not None and abs(psutil.Process(pid).create_time() - process_at) > 1.0
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def _machine() -> str | None:
    """What only processes that see one another have in common; None where the system does not say.

    On Linux that is the boot and the namespace of process ids: containers of one machine have their own.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 (its text, not a file that it names)
    except OSError:
        return None
    return f"{boot} {namespace}"


def _no_workers() -> InputError:
    return InputError("--workers is for a state in a folder", fix="start `sender worker` on each machine")
