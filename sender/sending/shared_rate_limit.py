"""One rate limiter for several processes: its state is in a file that all of them map into their memory.

The lock under which it changes is the system's lock on that file, which dies with its holder: a process that is killed
while holding it holds up nobody.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from sender.core.errors import StateError
from sender.plan.pace import Pace
from sender.sending.rate_limit import SharedSlots, new_slots
from sender.sending.throttle import account_limits

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_FLOAT_BYTES = 8


@contextlib.contextmanager
def create_slots(path: Path, pace: Pace, processes: int) -> Iterator[SharedSlots]:
    """The state of an unused rate limiter for `processes` processes, in the new file `path`; removed at the end.

    Raises StateError when it cannot be written.
    """
    values = new_slots(*account_limits(pace))
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.unlink(missing_ok=True)  # of processes that died
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        os.write(handle, bytes(len(values) * _FLOAT_BYTES))  # written, not only sized: a full disk fails now
    except OSError as error:
        raise StateError(
            f"the file that workers share cannot be written: {error.strerror}",
            where=str(path),
            fix="free some space or fix the permissions of its folder",
        ) from error
    try:
        with _mapped(handle, len(values), processes) as shared:
            for place, value in enumerate(values):
                shared.slots[place] = value
            yield shared
    finally:
        with contextlib.suppress(OSError):  # Windows keeps it while another process maps it
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def join_slots(path: Path, pace: Pace, processes: int) -> Iterator[SharedSlots]:
    """The state that another process has created for the same pace. Raises OSError when there is none."""
    handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    with _mapped(handle, len(new_slots(*account_limits(pace))), processes) as shared:
        yield shared


@contextlib.contextmanager
def _mapped(handle: int, slots: int, processes: int) -> Iterator[SharedSlots]:
    try:
        with mmap.mmap(handle, slots * _FLOAT_BYTES) as memory, memoryview(memory) as raw, raw.cast("d") as view:
            yield SharedSlots(view, _FileLock(handle, slots * _FLOAT_BYTES), processes)
    finally:
        os.close(handle)


class _FileLock:
    """The system's lock on an open file: held for microseconds, and released when its holder dies."""

    def __init__(self, handle: int, beyond: int) -> None:
        """`beyond` is a position after the file's content: on Windows others cannot read a locked byte."""
        self._handle = handle
        self._beyond = beyond

    if sys.platform == "win32":

        def __enter__(self) -> None:
            while True:
                os.lseek(self._handle, self._beyond, os.SEEK_SET)
                try:
                    msvcrt.locking(self._handle, msvcrt.LK_NBLCK, 1)
                except OSError:
                    time.sleep(0)
                else:
                    return

        def __exit__(self, *_: object) -> None:
            os.lseek(self._handle, self._beyond, os.SEEK_SET)
            msvcrt.locking(self._handle, msvcrt.LK_UNLCK, 1)

    else:

        def __enter__(self) -> None:
            fcntl.flock(self._handle, fcntl.LOCK_EX)

        def __exit__(self, *_: object) -> None:
            fcntl.flock(self._handle, fcntl.LOCK_UN)
