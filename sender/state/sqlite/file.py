"""The file of the SQLite ledger: opened, checked, upgraded to this version's schema, and explained when it fails.

Knows no tables but `commits`. Notices what SQLite itself cannot: that commits are gone, because the file or its log was
damaged, replaced or restored.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from sender.core.errors import StateError
from sender.core.filesystem import make_folder
from sender.state.sqlite.schema import SCHEMA_VERSION, STEPS

APPLICATION_ID = int.from_bytes(b"cmps")  # in the file's header: `file` and we can tell whose it is
# Other runs' commits take milliseconds. This is for a machine that stalls, and for the one commit that closes a run of
# ten million messages, which takes a minute.
BUSY_TIMEOUT_S = 120.0
_OTHERS_BUSY_TIMEOUT_MS = 10_000  # of the files beside the ledger

# The first without the WAL-reset bug, which may lose commits where two processes write. apsw's wheels bring a newer
# one; a system's own build of apsw may use an older one.
OLDEST_SQLITE = (3, 51, 3)

# What a person can do about each failure of the file. A class that is not here is a bug of ours.
_ACCESS = "give this user write access to the file and its directory"
_WAIT = "wait for that process to end, then run the same command again"
_RESTORE = "restore the state directory from a backup; until then nothing is sent, since it is unknown what was sent"
_FAILURES: dict[type[apsw.Error], tuple[str, str]] = {
    apsw.FullError: ("the disk is full", "free some space, then run the same command again"),
    apsw.IOError: ("the disk failed to read or write", "check the disk, then run the same command again"),
    apsw.ReadOnlyError: ("it cannot be written", _ACCESS),
    apsw.PermissionsError: ("access is denied", _ACCESS),
    apsw.CantOpenError: ("it cannot be opened", _ACCESS),
    apsw.BusyError: ("another process holds it", _WAIT),
    apsw.LockedError: ("another process holds it", _WAIT),
    apsw.CorruptError: ("it is damaged", _RESTORE),
    apsw.NotADBError: ("it is not a {subject} of campaign-sender", "name another one with --state-dir"),
}


_creating = threading.Lock()  # of two threads, the second may not have locks yet when the first closes the new file


@contextmanager
def failures_explained(path: Path, subject: str = "ledger") -> Iterator[None]:
    """Turn an error of SQLite about the file into a StateError that says what to do. `subject` is what the file is."""
    try:
        yield
    except apsw.Error as error:
        if type(error) not in _FAILURES:
            raise
        what, fix = _FAILURES[type(error)]
        what = what.format(subject=subject)
        raise StateError(f"the {subject} cannot be used: {what} ({error})", where=str(path), fix=fix) from error


def damaged(path: Path, how: str) -> StateError:
    """The error for a ledger that contradicts itself."""
    return StateError(f"the ledger is damaged: {how}", where=str(path), fix=_RESTORE)


def open_to_write(path: Path) -> apsw.Connection:
    """Open the file at `path`, or make it, with this version's schema. Raises StateError."""
    _refuse_old_sqlite(path)
    create(path)
    with failures_explained(path), _closed_on_failure(apsw.SQLITE_OPEN_READWRITE, str(path)) as db:
        db.set_busy_timeout(int(BUSY_TIMEOUT_S * 1000))
        # FULL: a commit is on disk when it returns. NORMAL may lose committed intents at power loss.
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone leaves the data in the drive's cache
        db.execute("PRAGMA foreign_keys = OFF")  # a step may have to make a table anew
        with immediate(db):  # two processes may open a new file at once
            _bring_up(db, path)
        db.execute("PRAGMA foreign_keys = ON")
        use_wal(db, path)
        return db


def _refuse_old_sqlite(path: Path) -> None:
    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")) < OLDEST_SQLITE:
        raise StateError(
            f"this apsw uses SQLite {version}, which may lose what two processes write",
            where=str(path),
            fix=f"install apsw's own wheel, which brings its SQLite: pip install --force-reinstall --only-binary=apsw"
            f" 'apsw>={'.'.join(map(str, OLDEST_SQLITE))}'",
        )


def _check_ledger(db: apsw.Connection, path: Path) -> None:
    _check_identity(db, path)
    refuse_other_schema(db, path)


def open_to_read(
    path: Path, check: Callable[[apsw.Connection, Path], None] = _check_ledger, subject: str = "ledger"
) -> apsw.Connection:
    """Open the file at `path` without writing to it; SQLite may write files next to it. Raises StateError.

    `check` raises it for a file of another kind or version. One that this user may not write is read as it is, if the
    last process that wrote it closed it.
    """
    with failures_explained(path, subject=subject):
        try:
            return _readable(path, f"file:{_uri_path(path)}?mode=ro", check)
        except (apsw.CantOpenError, apsw.ReadOnlyError):
            log = path.with_name(path.name + "-wal")
            if not path.is_file() or (log.exists() and log.stat().st_size):
                raise
            return _readable(path, f"file:{_uri_path(path)}?mode=ro&immutable=1", check)


def schema_version(db: apsw.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").get
    return version


def refuse_other_schema(db: apsw.Connection, path: Path) -> None:
    """Raise StateError for a schema that this program does not know."""
    version = schema_version(db)
    if version > SCHEMA_VERSION:
        raise StateError(
            f"the ledger was written by a newer campaign-sender: schema {version}, and this one knows {SCHEMA_VERSION}",
            where=str(path),
            fix="upgrade campaign-sender, or name another state directory with --state-dir",
        )


class CommitMark:
    """The number of the ledger's commits, in a small file next to it, written after each.

    SQLite silently drops whatever follows a damaged place in its log, and then committed intents are gone: what was
    sent would be sent again. The mark is not synced, so it may lag behind the ledger after a power cut; a ledger that
    lags behind its mark has lost commits.
    """

    _FORMAT = struct.Struct("<QI")  # the count, and its CRC-32

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + "-mark")
        self._ledger = path
        self._handle: int | None = None

    def read(self) -> int | None:
        """The count; None when there is no mark, or it is damaged itself."""
        try:
            content = self.path.read_bytes()
            count, checksum = self._FORMAT.unpack(content)
        except (OSError, struct.error):
            return None
        return int(count) if zlib.crc32(content[:8]) == checksum else None

    def check(self, marked: int | None, commits: int) -> None:
        """Raise StateError when the ledger has fewer `commits` than `marked`, which was read before."""
        if marked is not None and marked > commits:
            raise StateError(
                f"the ledger is damaged: the last {marked - commits} of its {marked} commits are missing; the file or"
                " its -wal was damaged, replaced or taken from a backup",
                where=str(self._ledger),
                fix="put the newest state directory back as a whole; only if there is none, delete"
                f" {self.path.name}: then what was sent since may be sent again",
            )

    def write(self, commits: int) -> None:
        """Note the number of commits after one was made. Failing to is not an error: the commit counts."""
        with suppress(OSError):
            if self._handle is None:
                self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
            os.lseek(self._handle, 0, os.SEEK_SET)
            count = struct.pack("<Q", commits)
            os.write(self._handle, self._FORMAT.pack(commits, zlib.crc32(count)))

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


@contextmanager
def _closed_on_failure(flags: int, name: str) -> Iterator[apsw.Connection]:
    db = apsw.Connection(name, flags=flags)
    try:
        yield db
    except BaseException:
        db.close()
        raise


def _readable(path: Path, uri: str, check: Callable[[apsw.Connection, Path], None]) -> apsw.Connection:
    with _closed_on_failure(apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI, uri) as db:
        db.set_busy_timeout(int(BUSY_TIMEOUT_S * 1000))
        check(db, path)
        return db


def _uri_path(path: Path) -> str:
    return path.as_uri().removeprefix("file://")


def create(path: Path, subject: str = "ledger") -> None:
    """Make an empty file of mode 0600 where there is none; SQLite gives its -wal and -shm files the same mode.

    A file that is there is not opened: POSIX drops all locks of a process on a file when it closes any handle to it.
    Then another process believes to be the only one and deletes the log, and this one misses what others commit.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "it is a directory")
        make_folder(path.parent)
        with _creating, suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(None, os.strerror(errno.EACCES))
    except OSError as error:
        raise StateError(
            f"the {subject} cannot be opened: {error.strerror}",
            where=str(path),
            fix="give this user write access to the directory, or name another with --state-dir",
        ) from error


def _bring_up(db: apsw.Connection, path: Path) -> None:
    """Make a ledger of a blank file, and upgrade an older one to this version's schema."""
    blank = not (
        db.execute("SELECT count(*) FROM sqlite_schema").get or db.pragma("application_id") or schema_version(db)
    )
    if blank:
        db.pragma("application_id", APPLICATION_ID)
    else:
        _check_identity(db, path)
        refuse_other_schema(db, path)
    if schema_version(db) == SCHEMA_VERSION:
        return
    for step in STEPS[schema_version(db) :]:
        db.execute(step)
    db.pragma("user_version", SCHEMA_VERSION)
    broken = db.execute("PRAGMA foreign_key_check").fetchall()
    if broken:
        raise apsw.CorruptError(f"rows without the row they refer to: {broken[:3]}")


def _check_identity(db: apsw.Connection, path: Path) -> None:
    if db.pragma("application_id") != APPLICATION_ID or schema_version(db) < 1:
        raise StateError(
            "this database is not a ledger of campaign-sender",
            where=str(path),
            fix="move it away, or name another state directory with --state-dir",
        )


@contextmanager
def immediate(db: apsw.Connection) -> Iterator[None]:
    """A transaction that holds the file's write lock from its beginning; whatever is raised takes it back."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def open_file(
    path: Path, set_up: Callable[[apsw.Connection], None], *, subject: str, pragmas: str = ""
) -> apsw.Connection:
    """Open the file at `path`, beside the ledger's; make it, and its directory, if there is none. Raises StateError.

    `set_up` makes or upgrades its tables, and refuses another file; two processes may open a new file at once.
    """
    create(path, subject=subject)
    opened = _closed_on_failure(apsw.SQLITE_OPEN_READWRITE, str(path))
    with failures_explained(path, subject=subject), opened as db:
        db.set_busy_timeout(_OTHERS_BUSY_TIMEOUT_MS)
        db.execute(f"PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; {pragmas}")
        with immediate(db):
            set_up(db)
        use_wal(db, path, subject=subject)
        return db


def use_wal(db: apsw.Connection, path: Path, subject: str = "ledger") -> None:
    """Switch to WAL mode, which the file remembers. SQLite does not always wait for the lock that it needs."""
    give_up = time.monotonic() + BUSY_TIMEOUT_S
    while time.monotonic() < give_up:
        with suppress(apsw.BusyError):
            if db.pragma("journal_mode", "wal") == "wal":
                return
            break
        time.sleep(0.01)
    raise StateError(
        f"the {subject} cannot be used: another process holds it, or the file system cannot share its log",
        where=str(path),
        fix="name a state directory on a local disk with --state-dir",
    )
