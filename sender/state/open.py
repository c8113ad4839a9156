"""Opens a state wherever it is kept: the only door to it."""

from __future__ import annotations

from pathlib import Path

from sender.core.errors import InputError
from sender.state.database_url import DATABASES, DatabaseUrl, read_database_url, scheme_of
from sender.state.find_state import find_state
from sender.state.number_facts import NumberStore
from sender.state.state import State
from sender.state.state_dir import DEFAULT_STATE_DIR, StateDir, open_number_file, open_suppression_file
from sender.state.suppression import SuppressionStore


def open_state(where: str | Path | None = None, *, create: bool = True, read_only: bool = False) -> State:
    """The state at `where`, a folder or the URL of a PostgreSQL database; without it, the one found upwards from here.

    Use it as a context manager, or call `close`.

    With `read_only=True` nothing is written. Raises UnknownRun where there is no state and `read_only` or
    `create=False` asks for one, and always for a database without one; StateError when it cannot be used; InputError
    for another URL, and where the extra `cluster` is not installed.
    """
    if isinstance(where, str) and scheme_of(where) in DATABASES:
        return _open_database(read_database_url(where), read_only=read_only)
    return StateDir(find_state().path if where is None else local_folder(where), create=create, read_only=read_only)


def open_suppressions(
    where: str | Path = DEFAULT_STATE_DIR, *, create: bool = True, read_only: bool = False
) -> SuppressionStore:
    """The suppression entries of the state at `where`, which may have sent nothing yet; the caller closes them.

    With `create=False` a missing list is an empty one. With `read_only` it is, too, and a list that an older version
    wrote stays as it is: a state of which another program sends is only looked at. Raises as `open_state`.
    """
    if isinstance(where, str) and scheme_of(where) in DATABASES:
        with _open_database(read_database_url(where), read_only=read_only or not create) as state:
            return state.open_suppressions()
    return open_suppression_file(local_folder(where), create=create, read_only=read_only)


def open_numbers(where: str | Path = DEFAULT_STATE_DIR, *, create: bool = True) -> NumberStore:
    """What the state at `where` knows of numbers; the caller closes it.

    With `create=False` a missing store is an empty one, and nothing is written. Raises as `open_state`.
    """
    if isinstance(where, str) and scheme_of(where) in DATABASES:
        with _open_database(read_database_url(where), read_only=not create) as state:
            return state.open_numbers()
    return open_number_file(local_folder(where), create=create)


def local_folder(where: str | Path) -> Path:
    """`where` as a folder. Raises InputError for a URL; its text may hold a password and is not repeated."""
    scheme = scheme_of(where)
    if scheme is not None and not Path(where).exists():
        raise InputError(f"a state at {scheme}:// cannot be used here", fix="name a folder on a local disk")
    return Path(where)


def _open_database(url: DatabaseUrl, *, read_only: bool) -> State:
    try:
        from sender.state.postgres.state import DatabaseState  # noqa: PLC0415 (only a database needs its driver)
    except ImportError:
        raise InputError(
            "a state in a database needs psycopg, which is not installed", fix="pip install 'campaign-sender[cluster]'"
        ) from None
    return DatabaseState(url, read_only=read_only)
