"""Opens a state wherever it is kept: the only door to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sender.core.errors import InputError
from sender.state.approvals import ApprovalStore
from sender.state.database_url import DATABASES, DatabaseUrl, read_database_url, scheme_of
from sender.state.find_state import find_state
from sender.state.number_facts import NumberStore
from sender.state.state import State
from sender.state.state_dir import (
    DEFAULT_STATE_DIR,
    StateDir,
    open_approval_files,
    open_key_file,
    open_number_file,
    open_suppression_file,
)
from sender.state.suppression import SuppressionStore


def open_state(where: str | Path | None = None, *, create: bool = True, read_only: bool = False) -> State:
    """The state at `where`, a folder or the URL of a PostgreSQL database; without it, the one found upwards from here.

    Use it as a context manager, or call `close`.

    With `read_only=True` nothing is written. Raises UnknownRun where there is no state and `read_only` or
    `create=False` asks for one, and always for a database without one; StateError when it cannot be used; InputError
    for another URL, and where the extra `cluster` is not installed.
    """
    where = find_state().path if where is None else where
    if isinstance(where, str) and scheme_of(where) in DATABASES:
        return _open_database(read_database_url(where), read_only=read_only)
    return StateDir(local_folder(where), create=create, read_only=read_only)


def open_suppressions(
    where: str | Path = DEFAULT_STATE_DIR, *, create: bool = True, read_only: bool = False
) -> SuppressionStore:
    """The suppression entries of the state at `where`, which may have sent nothing yet; the caller closes them.

    With `create=False` a missing list is an empty one. With `read_only` it is, too, and a list that an older version
    wrote stays as it is: a state of which another program sends is only looked at. Raises as `open_state`.
    """
    if isinstance(where, str) and scheme_of(where) in DATABASES:
        return _open_table(read_database_url(where), read_only=read_only)
    return open_suppression_file(local_folder(where), create=create, read_only=read_only)


def open_numbers(where: str | Path = DEFAULT_STATE_DIR, *, create: bool = True) -> NumberStore:
    """What the state at `where` knows of numbers; the caller closes it.

    With `create=False` a missing store is an empty one, and nothing is written. Raises as `open_state`.
    """
    if isinstance(where, str) and scheme_of(where) in DATABASES:
        return _open_facts(read_database_url(where), read_only=not create)
    return open_number_file(local_folder(where), create=create, read_only=not create)


def open_approvals(where: str | Path = DEFAULT_STATE_DIR) -> ApprovalStore:
    """The approvals of the state at `where`, which may have sent nothing yet. Raises as `open_state`."""
    if isinstance(where, str) and scheme_of(where) in DATABASES:
        return _open_approval_rows(read_database_url(where))
    return open_approval_files(local_folder(where))


def read_people_key(where: str | Path, *, create: bool) -> bytes | None:
    """The secret of the state at `where`, which may have sent nothing yet; None where it has none.

    With `create` it is made. Raises as `open_state`.
    """
    if isinstance(where, str) and scheme_of(where) in DATABASES:
        with _open_database(read_database_url(where), read_only=not create) as state:
            if create:
                state.people.create()
            return state.people.secret()
    return open_key_file(local_folder(where), create=create).secret()


def address_of(where: str | Path) -> Path | str:
    """`where` as a folder, or as the text that it is where it is the URL of a database."""
    return where if isinstance(where, str) and scheme_of(where) in DATABASES else Path(where)


def folder_of(where: str | Path) -> Path | None:
    """The folder of a state on this machine; None for one in a database."""
    address = address_of(where)
    return address if isinstance(address, Path) else None


def folders_above(where: str | Path) -> tuple[Path, ...]:
    """The folder that the state is in, absolute; none for one in a database."""
    folder = folder_of(where)
    return () if folder is None else (folder.absolute().parent,)


def local_folder(where: str | Path) -> Path:
    """`where` as a folder. Raises InputError for a URL; its text may hold a password and is not repeated."""
    scheme = scheme_of(where)
    if scheme is not None and not Path(where).exists():
        raise InputError(f"a state at {scheme}:// cannot be used here", fix="name a folder on a local disk")
    return Path(where)


def make_database_state(address: str, *, accept_server: bool = False) -> tuple[str, bool]:
    """Make the state in the database at `address`, or upgrade it; return its server's version, and whether it is new.

    With `accept_server` the state goes on on a server that may lack what the one before it had confirmed. Raises
    StateError for a server that may lose what it has confirmed, StateLost for another one than before, and as
    `open_state`.
    """
    url = read_database_url(address)
    with _driver_needed():
        from sender.state.postgres.install import install  # noqa: PLC0415 (only a database needs its driver)
        from sender.state.postgres.shift_queue import upgrade_engine  # noqa: PLC0415
    made = install(url, accept_server=accept_server)
    upgrade_engine(url)
    return made.server, not made.schema_before


def dev_server(folder: Path, port: int) -> contextlib.AbstractContextManager[str]:
    """Run a PostgreSQL server with its data in `folder` until the end of the block, and return its address.

    Raises InputError where the package that brings it is missing, and StateError where it does not start.
    """
    with _driver_needed():
        from sender.state.postgres.dev_server import run_server  # noqa: PLC0415
    return run_server(folder, port)


def _open_database(url: DatabaseUrl, *, read_only: bool) -> State:
    with _driver_needed():
        from sender.state.postgres.state import DatabaseState  # noqa: PLC0415
    return DatabaseState(url, read_only=read_only)


def _open_table(url: DatabaseUrl, *, read_only: bool) -> SuppressionStore:
    with _driver_needed():
        from sender.state.postgres.suppression import SuppressionTable  # noqa: PLC0415
    return SuppressionTable(url, read_only=read_only)


def _open_facts(url: DatabaseUrl, *, read_only: bool) -> NumberStore:
    with _driver_needed():
        from sender.state.postgres.number_facts import NumberFactsTable  # noqa: PLC0415
    return NumberFactsTable(url, read_only=read_only)


def _open_approval_rows(url: DatabaseUrl) -> ApprovalStore:
    with _driver_needed():
        from sender.state.postgres.approvals import ApprovalRows  # noqa: PLC0415
        from sender.state.postgres.database import Database  # noqa: PLC0415
    return ApprovalRows(lambda *, read_only: contextlib.closing(Database(url, read_only=read_only)))


@contextlib.contextmanager
def _driver_needed() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        missing = (error.name or "psycopg").partition(".")[0]
        raise InputError(
            f"a state in a database needs {missing}, which is not installed",
            fix="pip install 'campaign-sender[cluster]'",
        ) from None
