"""The folders in which a project's own folder or file is looked for: from one folder upwards, as git does.

Reads folders' owners and devices; never what is in them.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

ROOT_USER = 0


def folders_upwards(start: Path) -> tuple[Path, ...]:
    """Return `start` (absolute) and the folders above it, nearest first.

    The home folder is the last, and so is a folder below another file system, or below a folder that is not ours alone:
    it belongs to somebody else, or everybody may write to it, and what is found there may be anybody's.
    """
    folders = [start]
    home = _home()
    while folders[-1] != home:
        folder, above = folders[-1], folders[-1].parent
        if above == folder or not _continues(folder, above):
            break
        folders.append(above)
    return tuple(folders)


def is_foreign(path: Path) -> bool:
    """Whether what is at `path` belongs to neither this user nor root. Raises OSError if there is nothing."""
    if not hasattr(os, "geteuid"):  # Windows
        return False
    return path.stat().st_uid not in _own_users() | {ROOT_USER}


def _continues(folder: Path, above: Path) -> bool:
    """Whether the search goes on from `folder` to the one above it."""
    try:
        here, there = (folder if folder.is_dir() else above).stat(), above.stat()
    except OSError:
        return False
    if not hasattr(os, "geteuid"):
        return here.st_dev == there.st_dev
    is_shared = bool(there.st_mode & stat.S_IWOTH)
    return (
        here.st_dev == there.st_dev and here.st_uid in _own_users() and there.st_uid in _own_users() and not is_shared
    )


def _own_users() -> set[int]:
    """Return this user's id, and under sudo also the id of the user who called it."""
    users = {os.geteuid()}
    caller = os.environ.get("SUDO_UID", "")
    if users == {ROOT_USER} and caller.isdecimal():
        users.add(int(caller))
    return users


def _home() -> Path | None:
    try:
        return Path.home().resolve()
    except (RuntimeError, OSError):
        return None
