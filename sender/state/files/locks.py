"""The locks of runs as locked files below `locks/`, each with a note of who holds it.

The operating system drops the lock of a process that died, so a lock file that is there means nothing by itself.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sender.core.errors import RunLocked
from sender.core.lazy_modules import filelock, psutil
from sender.state.files.failures import explain_unwritable
from sender.state.files.file_names import file_name, older_file_name
from sender.state.files.notes import read_note, write_note
from sender.state.ledger import RunKind
from sender.state.locks import Holder

LOCKS_FOLDER = "locks"
_HOLDER_WAIT_S = 0.5
_WORKERS_WAIT_S = 2.0  # for workers whose run's process is gone: most have their answers by then


class LockFiles:
    """The locks of one state directory. A `RunLocks`."""

    def __init__(self, directory: Path) -> None:
        """`directory` is the state directory."""
        self._directory = directory
        self._folder = directory / LOCKS_FOLDER

    @contextlib.contextmanager
    def hold_campaign(self, campaign: str, kind: RunKind) -> Iterator[None]:
        name = self._name(campaign, kind)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._hold(name))
            except filelock.Timeout:
                raise RunLocked(
                    f"{campaign} is being sent by another process ({_await_holder(name)})",
                    fix="wait for it, or stop it with Ctrl-C",
                ) from None
            self._wait_for_workers(self.workers_folder(campaign, kind), campaign)
            if (older := self._folder / f"{kind.value}-{older_file_name(campaign)}") != name:
                self._refuse_older_program(older, campaign)
            yield

    @contextlib.contextmanager
    def hold_start(self, campaign: str, kind: RunKind) -> Iterator[None]:
        name = self._folder / f"start-{self._name(campaign, kind).name}"
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._hold(name))
            except filelock.Timeout:
                raise RunLocked(
                    f"another process waits for the start of {campaign} ({_await_holder(name)})",
                    fix="stop it with Ctrl-C to begin at another time",
                ) from None
            yield

    @contextlib.contextmanager
    def hold_worker(self, campaign: str, kind: RunKind, number: int) -> Iterator[None]:
        name = self.workers_folder(campaign, kind) / str(number)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._hold(name))
            except filelock.Timeout:
                raise RunLocked(f"worker {number} of {campaign} is still running ({_await_holder(name)})") from None
            yield

    def note_longest_request(self, campaign: str, kind: RunKind, *, longest_s: float) -> None:
        """Do nothing: the system keeps a lock until its process has ended, and with it the process's requests."""

    def holder(self, campaign: str, kind: RunKind) -> Holder | None:
        return _read_holder(self._name(campaign, kind))

    def workers_folder(self, campaign: str, kind: RunKind) -> Path:
        """The folder of the locks of the campaign's workers."""
        name = self._name(campaign, kind)
        return name.with_name(name.name + ".workers")

    def _name(self, campaign: str, kind: RunKind) -> Path:
        return self._folder / f"{kind.value}-{file_name(campaign)}"

    def _refuse_older_program(self, name: Path, campaign: str) -> None:
        """Raise RunLocked while a program up to version 0.1.0 sends the campaign, whose lock it calls `name`.

        Nobody else holds that lock for longer than this look takes.
        """
        is_there = name.with_name(name.name + ".lock").exists()
        if is_there and not self._wait_until_free(name, time.monotonic() + _HOLDER_WAIT_S):
            raise RunLocked(
                f"{campaign}, or a campaign whose name looks like it, is being sent by a process of an older"
                f" version ({_await_holder(name)})",
                fix="wait for it, or stop it with Ctrl-C",
            )
        self._wait_for_workers(name.with_name(name.name + ".workers"), campaign)

    def _wait_for_workers(self, folder: Path, campaign: str) -> None:
        """Raises RunLocked when workers of a process that is gone do not end in a moment."""
        give_up = time.monotonic() + _WORKERS_WAIT_S
        for lock in sorted(folder.glob("*.lock")):
            name = lock.with_suffix("")
            if not self._wait_until_free(name, give_up):
                raise RunLocked(
                    f"the process that was sending {campaign} is gone, but one of its workers"
                    f" ({_await_holder(name)}) still waits for answers to its requests",
                    fix="wait until it has ended (or end it, if it hangs), then run the same command again:"
                    " nothing is lost",
                )

    def _wait_until_free(self, name: Path, give_up: float) -> bool:
        """Wait until nobody holds the lock of that name. Return False if somebody still does at `give_up`."""
        while True:
            try:
                with self._hold(name, noted=False):
                    return True
            except filelock.Timeout:
                if time.monotonic() >= give_up:
                    return False
            time.sleep(0.05)

    @contextlib.contextmanager
    def _hold(self, name: Path, *, noted: bool = True) -> Iterator[None]:
        """Hold the lock of that name, with a note of who does. Raises filelock.Timeout at once, and StateError."""
        lock = filelock.FileLock(name.with_name(name.name + ".lock"), mode=0o600)
        note = _note_file(name)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            raise
        except OSError as error:
            raise explain_unwritable(self._directory, error) from None
        try:
            if noted:
                with contextlib.suppress(OSError):  # the note is a courtesy; the lock is what counts
                    write_note(note, _own_note())
            yield
        finally:
            if noted:
                with contextlib.suppress(OSError):
                    note.unlink(missing_ok=True)
            lock.release()


def _own_note() -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _note_file(name: Path) -> Path:
    return name.with_name(name.name + ".json")


def _read_holder(name: Path) -> Holder | None:
    """The process that the lock's note names, unless it has died; None without a note."""
    try:
        note = read_note(_note_file(name))
        holder = Holder(int(note["pid"]), str(note["host"]), str(note["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    alive = holder.host != socket.gethostname() or psutil.pid_exists(holder.pid)
    return holder if alive else None


def _await_holder(name: Path) -> str:
    """Who holds the lock. The note is written a moment after the lock, and may still be that of a dead process."""
    give_up = time.monotonic() + _HOLDER_WAIT_S
    while time.monotonic() < give_up:
        holder = _read_holder(name)
        if holder is not None:
            return str(holder)
        time.sleep(0.02)
    return "it left no note of its process id"
