"""The pacer of a run: made of its pace, held back by what left before, and shared by processes that send it together.

What processes share lies in a file that all of them map. The lock under which it changes is the system's lock of that
file, which dies with its holder: one that is killed in the middle holds up nobody.
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
from sender.plan.message_reader import MessageReader
from sender.plan.pace import Pace
from sender.sending.producer import left_lately
from sender.sending.rate_limit import RateLimit, RateLimiter, SharedSlots, new_slots, queue_limit
from sender.state.ledger import Ledger

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_FLOAT = 8  # bytes


def make_pacer(pace: Pace, shared: SharedSlots | None = None) -> RateLimiter:
    """The limits of `pace`, all of them in its unit: the feed counts each message's units."""
    account, senders = _limits(pace)
    return RateLimiter(
        account,
        senders=senders,
        queue=None if pace.queue is None else queue_limit(pace.queue.units, pace.queue.drained_per_s),
        shared=shared,
    )


def resumed_pacer(
    pace: Pace, ledger: Ledger, reader: MessageReader, run_id: str, shared: SharedSlots | None = None
) -> RateLimiter:
    """The limits of `pace`, held from where an earlier process left the run: it may have sent until it stopped."""
    pacer = make_pacer(pace, shared)
    left, queued = left_lately(ledger, reader, pace, run_id)
    pacer.left_before(left, queued=queued)
    return pacer


@contextlib.contextmanager
def created(path: Path, pace: Pace, processes: int) -> Iterator[SharedSlots]:
    """The state of an unused pacer, new in the file `path`, for that many processes. The file goes at the end.

    Raises StateError when it cannot be written.
    """
    account, senders = _limits(pace)
    cells = new_slots(account, senders)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.unlink(missing_ok=True)  # one whose processes died
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        os.write(handle, bytes(len(cells) * _FLOAT))  # written, not only sized: a full disk says so now
    except OSError as error:
        raise StateError(
            f"what workers share cannot be written: {error.strerror}",
            where=str(path),
            fix="free some space or mend the permissions of its folder",
        ) from error
    try:
        with _mapped(handle, len(cells), processes) as shared:
            for place, value in enumerate(cells):
                shared.cells[place] = value
            yield shared
    finally:
        with contextlib.suppress(OSError):  # Windows keeps it while another process maps it
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def joined(path: Path, pace: Pace, processes: int) -> Iterator[SharedSlots]:
    """The state that another process has `created` for the same pace. Raises OSError when it is not there."""
    account, senders = _limits(pace)
    handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    with _mapped(handle, len(new_slots(account, senders)), processes) as shared:
        yield shared


@contextlib.contextmanager
def _mapped(handle: int, cells: int, processes: int) -> Iterator[SharedSlots]:
    try:
        with mmap.mmap(handle, cells * _FLOAT) as memory, memoryview(memory) as raw, raw.cast("d") as view:
            yield SharedSlots(view, _FileLock(handle, cells * _FLOAT), processes)
    finally:
        os.close(handle)


class _FileLock:
    """The system's lock of an open file: for microseconds at a time, and gone with whoever dies holding it."""

    def __init__(self, handle: int, beyond: int) -> None:
        """`beyond` is a place behind the file's content: on Windows a locked byte cannot be read by others."""
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


def _limits(pace: Pace) -> tuple[RateLimit | None, dict[str, RateLimit]]:
    account = None if pace.per_s is None else RateLimit(pace.per_s, "segments")
    return account, {number: RateLimit(per_s, "segments") for number, per_s in pace.senders.items()}
