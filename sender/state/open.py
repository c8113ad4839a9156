"""Opens a state wherever it is kept: the only door to it."""

from __future__ import annotations

import re
from pathlib import Path

from sender.core.errors import InputError
from sender.state.find_state import find_state
from sender.state.state import State
from sender.state.state_dir import DEFAULT_STATE_DIR, StateDir, open_suppression_file
from sender.state.suppression import SuppressionStore

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):[/\\]")  # one letter is a drive; a Path has folded `//` into `/`


def open_state(where: str | Path | None = None, *, create: bool = True, read_only: bool = False) -> State:
    """The state at `where`, a folder; without it, the one found upwards from the current folder.

    Use it as a context manager, or call `close`.

    With `read_only=True` nothing is written. Raises UnknownRun where there is no state and `read_only` or
    `create=False` asks for one, StateError when it cannot be used, and InputError for a URL.
    """
    return StateDir(find_state().path if where is None else local_folder(where), create=create, read_only=read_only)


def open_suppressions(
    where: str | Path = DEFAULT_STATE_DIR, *, create: bool = True, read_only: bool = False
) -> SuppressionStore:
    """The suppression entries of the state at `where`, which may have sent nothing yet; the caller closes them.

    With `create=False` a missing list is an empty one. With `read_only` it is, too, and a list that an older version
    wrote stays as it is: a state of which another program sends is only looked at. Raises as `open_state`.
    """
    return open_suppression_file(local_folder(where), create=create, read_only=read_only)


def local_folder(where: str | Path) -> Path:
    """`where` as a folder. Raises InputError for a URL; its text may hold a password and is not repeated."""
    scheme = _SCHEME.match(str(where))
    if scheme is not None and not Path(where).exists():
        raise InputError(f"this version cannot open a state at {scheme[1]}://", fix="name a folder on a local disk")
    return Path(where)
