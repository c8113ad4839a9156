"""Where a command may write, and how: nothing that it was not asked to replace is ever lost.

An output is never an input of the campaign, never a file of a state directory, and never replaces a file of another
kind unless a person says so. It is written beside its destination and moved there, whole or not at all. Knows no kind
of file itself: each writer brings its own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sender.core.errors import InputError
from sender.core.filesystem import make_folder, sync_folder

PRIVATE = 0o600  # for what holds numbers or texts
PUBLIC = 0o666  # for what holds neither; less what the umask takes away

_STATE_FILES = ("ledger.sqlite3", "suppression.sqlite3")  # a folder with one of them is a state directory
_SHOWN_ENTRIES = 3
_MAX_LINKS = 40  # one after the other, as Linux allows


@dataclass(frozen=True, slots=True)
class OutputKind:
    """What a command writes: `name` as a sentence calls it ("a results file").

    `matches` says by its content whether an existing file (or folder) is one. It may raise OSError or ValueError for
    a file that cannot be read as one.
    """

    name: str
    matches: Callable[[Path], bool]


@dataclass(frozen=True, slots=True)
class Protected:
    """What an output must not be.

    `inputs` are files that were read, and folders with everything in them. Nothing in `state_dir` may be written but
    the paths in `own`, which are the command's own place in it.
    """

    inputs: tuple[Path, ...] = ()
    state_dir: Path | None = None
    own: tuple[Path, ...] = ()


NOTHING_PROTECTED = Protected()


def check_output(
    path: str | Path, kind: OutputKind, protected: Protected = NOTHING_PROTECTED, *, force: bool | None = False
) -> Path:
    """Return the file behind `path`, links followed, if it may be written as a file of `kind`.

    `force` lets it replace a file of any kind; None says that the command has no such option. Paths are compared by
    the files that they lead to, so hard links, symbolic links and other spellings of a name count. Raises InputError.
    """
    where = str(path)
    try:
        target = _follow_links(path)
        if os.path.lexists(target) and not target.is_file():  # replacing a device would destroy it
            raise InputError("not a file", where=where, fix="name a file to write to")
        if not target.parent.is_dir():
            raise InputError(
                f"there is no folder {target.parent}", where=where, fix="create the folder, or name another"
            )
        _refuse_protected(target, protected, where)
        if not force and target.exists() and not _is_kind(target, kind):
            fix = "name another file" + (", or add --force to replace this one" if force is not None else "")
            raise InputError(f"this file exists and is not {kind.name}", where=where, fix=fix)
    except OSError as error:
        raise not_writable(where, error) from None
    return target


def check_output_folder(path: str | Path, kind: OutputKind, protected: Protected = NOTHING_PROTECTED) -> Path:
    """Return the folder behind `path`, links followed, if it may be written as one of `kind`.

    It may be missing, empty, or of that kind: a folder with anything else in it is never replaced, nor is the current
    folder. Raises InputError.
    """
    where = str(path)
    try:
        target = _follow_links(path)
        _refuse_protected(target, protected, where)
        if not os.path.lexists(target):
            return target
        if not target.is_dir():
            raise InputError("this is a file", where=where, fix="name a new folder")
        entries = sorted(entry.name for entry in target.iterdir())
        if entries and not _is_kind(target, kind):
            more = f" and {len(entries) - _SHOWN_ENTRIES} more" if len(entries) > _SHOWN_ENTRIES else ""
            raise InputError(
                f"this folder is not {kind.name}: {', '.join(entries[:_SHOWN_ENTRIES])}{more} would be lost",
                where=where,
                fix="name a new folder",
            )
        if _is_inside(Path.cwd() / "_", target):  # whoever stands in it would be left in a folder that is gone
            raise InputError("this is the current folder, or one above it", where=where, fix="name a new folder")
    except OSError as error:
        raise not_writable(where, error) from None
    return target


def write_beside(
    target: Path,
    fill: Callable[[IO[bytes]], object],
    *,
    where: str | None = None,
    mode: int = PRIVATE,
    replace: bool = True,
) -> None:
    """Write a file that a person named, as `check_output` returned it, and as `write_whole` does.

    Raises InputError, with `where` (default: `target`) as its place.
    """
    try:
        write_whole(target, fill, mode=mode, replace=replace)
    except OSError as error:
        raise not_writable(where or str(target), error) from None


def write_whole(
    target: Path, fill: Callable[[IO[bytes]], object], *, mode: int = PRIVATE, replace: bool = True
) -> None:
    """Write what `fill` puts into an open file to `target`: whole or not at all.

    The old file, if there is one, is untouched until the new one is on the disk; nothing else is left behind. Without
    `replace` an existing file is never touched. Raises OSError.
    """
    partial, handle = _create_beside(target, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            partial.replace(target)
        else:
            _move_to_new_name(partial, target)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text_beside(
    target: Path, text: str, *, where: str | None = None, mode: int = PRIVATE, replace: bool = True
) -> None:
    r"""Write `text` as UTF-8 with `\n`, as `write_beside` does."""
    write_beside(target, lambda file: file.write(text.encode()), where=where, mode=mode, replace=replace)


@contextlib.contextmanager
def folder_beside(target: Path, files: Collection[str]) -> Iterator[Path]:
    """A new folder, 0700, that takes the place of `target`, as `check_output_folder` returned it, after the block.

    It is filled in the block, and takes the place whole. If anything fails, `target` is what it was. Of an old folder
    only `files` are deleted: what somebody has put there meanwhile stays, in a folder beside it. Raises OSError.
    """
    make_folder(target.parent, 0o777)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name[:80]}.", suffix=".partial", dir=target.parent))
    try:
        yield partial
        for file in partial.iterdir():
            file.chmod(PRIVATE)
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())
        sync_folder(partial)
        _swap_folder(partial, target, files)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_folder(target.parent)


def not_writable(where: str, error: Exception) -> InputError:
    """The error for a file that the system does not let us write."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InputError(
        f"cannot be written: {why}", where=where, fix="close it in other programs, check its folder, or name another"
    )


def _follow_links(path: str | Path) -> Path:
    """The file or folder behind `path`. Raises InputError for a link that somebody else may have put there, OSError.

    Links are followed one by one: the second of a chain may be where others may write, although the first is not.
    """
    if os.name != "posix":
        return Path(os.path.realpath(path))
    absolute = Path(path).absolute()
    place, names, links = Path(absolute.anchor), list(reversed(absolute.parts[1:])), 0
    while names:
        name = names.pop()
        entry = place / name
        if name == "..":
            place = place.parent
        elif entry.is_symlink():
            if _others_may_write(place):
                raise InputError(
                    f"{entry} is a symbolic link in a folder that others may write to",
                    where=str(path),
                    fix="name the file itself, or another folder",
                )
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            leads_to = entry.readlink()
            if leads_to.is_absolute():
                place = Path(leads_to.anchor)
            names += reversed(leads_to.parts[leads_to.is_absolute() :])
        else:
            place = entry
    return place


def _others_may_write(folder: Path) -> bool:
    status = folder.stat()
    if status.st_mode & stat.S_IWOTH or status.st_uid not in (0, os.geteuid()):
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_own_group(status.st_gid)


def _is_own_group(gid: int) -> bool:
    """Whether the group has nobody in it but this user, as many systems set users up; root's is taken for one."""
    import grp  # noqa: PLC0415 (POSIX only)
    import pwd  # noqa: PLC0415

    if gid == 0:
        return True
    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _refuse_protected(target: Path, protected: Protected, where: str) -> None:
    for file in protected.inputs:
        if _is_same(target, file) or (file.is_dir() and _is_inside(target, file)):
            raise InputError("this file is an input of the campaign", where=where, fix="name another file")
    if any(_is_same(target, own) for own in protected.own):
        return
    state = [protected.state_dir] if protected.state_dir is not None else []
    state += [folder for folder in (target, *target.parents) if any((folder / name).is_file() for name in _STATE_FILES)]
    for folder in state:
        if _is_same(target, folder) or _is_inside(target, folder) or _is_linked_into(target, folder):
            raise InputError(
                f"this is in the state directory {folder}, where the ledger and the runs are kept",
                where=where,
                fix="name a place outside of it",
            )


def _is_kind(target: Path, kind: OutputKind) -> bool:
    """Whether `target` is of that kind; an empty file is of every kind, for nothing in it can be lost."""
    try:
        return (target.is_file() and not target.stat().st_size) or kind.matches(target)
    except (OSError, ValueError):
        return False


def _is_inside(target: Path, folder: Path) -> bool:
    return any(_is_same(parent, folder) for parent in target.parents)


def _is_linked_into(target: Path, folder: Path) -> bool:
    """Whether a file in `folder` is a hard link to `target`."""
    if not target.is_file() or target.stat().st_nlink == 1:
        return False
    return any(file.is_file() and _is_same(target, file) for file in folder.rglob("*"))


def _is_same(a: Path, b: Path) -> bool:
    """Whether both are one file or folder, or one name where there is none yet."""
    try:
        return a.samefile(b)  # hard links too, and names that differ only in case where the system ignores it
    except OSError:
        return os.path.normcase(os.path.realpath(a)) == os.path.normcase(os.path.realpath(b))


def _create_beside(target: Path, mode: int) -> tuple[Path, int]:
    """A new file in the folder of `target` and its open handle."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)  # never through a link
    while True:
        partial = target.with_name(f".{target.name[:80]}.{secrets.token_hex(6)}.partial")
        with contextlib.suppress(FileExistsError):
            return partial, os.open(partial, flags, mode)


def _move_to_new_name(partial: Path, target: Path) -> None:
    """Move the file unless there is one of that name. Raises FileExistsError, and other OSError."""
    try:
        os.link(partial, target)  # in one step: a kill leaves the whole file, or none
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # a file system without links
        pass
    else:
        return
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))  # from here on the name is ours
    try:
        partial.replace(target)
    except OSError:
        target.unlink(missing_ok=True)
        raise


def _swap_folder(new: Path, target: Path, files: Collection[str]) -> None:
    """Put the folder `new` in the place of `target`. If that fails, `target` is what it was."""
    if not target.exists():
        new.replace(target)
        return
    aside = target.with_name(f".{target.name[:80]}.{secrets.token_hex(6)}.old")
    target.replace(aside)
    try:
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        new.replace(target)
    except OSError:
        aside.replace(target)
        raise
    with contextlib.suppress(OSError):
        for name in files:
            (aside / name).unlink(missing_ok=True)
        aside.rmdir()
