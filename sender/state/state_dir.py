"""Where runs are kept: a state directory with one ledger, a folder for each run, and a lock for each campaign."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import filelock
import psutil

from sender.core.errors import InputError, PlanError, RunLocked, SenderError, StateError, UnknownRun
from sender.core.filesystem import make_folder, refuse_network
from sender.plan.manifest import MANIFEST_FILE, Manifest, read_manifest
from sender.plan.plan import Plan
from sender.state.ledger import Run, RunKind
from sender.state.sqlite.ledger import SqliteLedger

DEFAULT_STATE_DIR = Path(".sender")
_IDENTITY_FILE = "identity.json"
_HOLDER_WAIT_S = 0.5
_WORKERS_WAIT_S = 2.0  # for workers whose run's process is gone: most have their answers by then


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that is sending a campaign."""

    pid: int
    host: str
    since: str


class StateDir:
    """A state directory: one ledger, a folder for each run (its plan, its results), a lock for each campaign."""

    LEDGER_FILE = "ledger.sqlite3"

    def __init__(self, path: str | Path = DEFAULT_STATE_DIR, *, create: bool = True, read_only: bool = False) -> None:
        """The state in `path`. With `read_only` nothing is written; it may lie on a disk that cannot be.

        Raises StateError when it cannot be used, and UnknownRun when it should exist and does not.
        """
        self.path = Path(path)
        if (read_only or not create) and not (self.path / self.LEDGER_FILE).exists():
            raise UnknownRun(
                "nothing has been sent from here",
                where=str(self.path),
                fix="name the state directory with --state-dir",
            )
        if read_only:
            self.ledger = SqliteLedger.open(self.path / "ledger.sqlite3", read_only=True)
            return
        refuse_network(self.path)
        try:
            for folder in (self.path, self.path / "runs", self.path / "locks"):
                make_folder(folder)
            _refuse_read_only(self.path)
        except OSError as error:
            raise _unwritable(self.path, error) from None
        self.ledger = SqliteLedger.open(self.path / self.LEDGER_FILE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ledger.close()

    def folder(self, run: Run) -> Path:
        """The run's own folder."""
        return self.path / "runs" / run.run_id

    def plan(self, run: Run) -> Plan:
        """The plan the run executes. Raises PlanError when it is missing or damaged."""
        plan = Plan.open(self.folder(run) / "plan")
        if plan.hash != run.plan_hash:
            raise _other_plan(run, self.folder(run) / "plan")
        return plan

    def manifest(self, run: Run) -> Manifest | None:
        """What the run's plan is, with its identity; None when the plan is no longer there. Raises PlanError.

        The identity of a plan in format 3 is computed from its rows, once.
        """
        folder = self.folder(run)
        if not (folder / "plan" / MANIFEST_FILE).exists():
            return None
        manifest = read_manifest(folder / "plan")
        if manifest.plan_hash != run.plan_hash:
            raise _other_plan(run, folder / "plan")
        if manifest.identity is None:
            manifest = replace(manifest, identity=_read_identity(folder, run) or self._compute_identity(run))
        return manifest

    def _compute_identity(self, run: Run) -> str:
        identity = self.plan(run).identity
        note = {"plan_hash": run.plan_hash, "identity": identity}
        with contextlib.suppress(OSError):  # then it is computed again next time
            _write_private(self.folder(run) / _IDENTITY_FILE, note)
        return identity

    def retries(self, run: Run) -> list[Run]:
        """The runs that sent messages of `run` again, oldest first."""
        return [one for one in self.ledger.runs() if one.retry_of == run.run_id]

    def runs_of(self, campaign: str, kind: RunKind) -> list[Run]:
        """The campaign's runs of that kind, oldest first."""
        return [run for run in self.ledger.runs() if run.campaign == campaign and run.kind is kind]

    def find(self, target: str | Path) -> Run:
        """The run that `target` names: a run id (or its unique beginning), a campaign or recipients file, a campaign's
        name. Of several runs the newest is meant, and a test, a rehearsal or a retry only if there is nothing else.
        Raises UnknownRun."""
        runs = self.ledger.runs()
        name = str(target)
        begun = [run for run in runs if run.run_id.startswith(name)] if name else []
        if len(begun) == 1 or (begun and begun[-1].run_id == name):
            return begun[-1]
        path = resolved(name)
        named = [run for run in runs if (run.source is not None and run.source == path) or run.campaign == name]
        if named:
            real = (RunKind.LIVE, RunKind.SANDBOX)
            return max(named, key=lambda run: (run.kind in real, run.retry_of is None, named.index(run)))
        have = ", ".join(run.run_id for run in runs[-5:]) or "none"
        raise UnknownRun(
            f"several runs begin with {name!r}" if begun else f"no run answers to {name!r}",
            where=str(self.path),
            fix=f"newest runs here: {have} (`sender status` lists them)",
        )

    def holder(self, run: Run) -> Holder | None:
        """The process that is sending the run's campaign, as far as its note tells; None when there is none."""
        file = self._lock_file(run.campaign, run.kind)
        try:
            note = json.loads(_note_of(file).read_text(encoding="utf-8"))
            holder = Holder(int(note["pid"]), str(note["host"]), str(note["since"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        alive = holder.host != socket.gethostname() or psutil.pid_exists(holder.pid)
        return holder if alive else None

    def _lock_file(self, campaign: str, kind: RunKind) -> Path:
        return self.path / "locks" / f"{kind.value}-{re.sub(r'[^A-Za-z0-9._-]', '_', campaign)}"

    @contextlib.contextmanager
    def locked(self, campaign: str, kind: RunKind) -> Iterator[None]:
        """Holds the campaign for this process; the lock dies with it. Raises RunLocked, naming the holder, at once.

        A worker of a process that is gone holds the campaign too: it may still have messages under way.
        """
        file = self._lock_file(campaign, kind)
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self._held(file))
            except filelock.Timeout:
                raise RunLocked(
                    f"{campaign} is being sent by another process ({_holder(file)})",
                    fix="wait for it, or stop it with Ctrl-C",
                ) from None
            self._wait_for_workers(campaign, kind)
            yield

    @contextlib.contextmanager
    def worker_locked(self, campaign: str, kind: RunKind, number: int) -> Iterator[None]:
        """Holds a lock for one of the processes that send the campaign together; nobody takes it over meanwhile.

        Held before the process that holds the campaign is asked whether it is still there. Raises RunLocked.
        """
        file = self.workers_folder(campaign, kind) / str(number)
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self._held(file))
            except filelock.Timeout:
                raise RunLocked(f"worker {number} of {campaign} is still there ({_holder(file)})") from None
            yield

    def workers_folder(self, campaign: str, kind: RunKind) -> Path:
        """Where the processes that send the campaign together keep their locks and what they share."""
        file = self._lock_file(campaign, kind)
        return file.with_name(file.name + ".workers")

    @contextlib.contextmanager
    def _held(self, name: Path, *, noted: bool = True) -> Iterator[None]:
        """Holds the lock of that name, with a note of who does. Raises filelock.Timeout at once, and StateError."""
        lock = filelock.FileLock(name.with_name(name.name + ".lock"), mode=0o600)
        note = _note_of(name)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            raise
        except OSError as error:
            raise _unwritable(self.path, error) from None
        try:
            if noted:
                with contextlib.suppress(OSError):  # who holds it is a kindness, not the lock
                    _write_note(note)
            yield
        finally:
            if noted:
                with contextlib.suppress(OSError):
                    note.unlink(missing_ok=True)
            lock.release()

    def _wait_for_workers(self, campaign: str, kind: RunKind) -> None:
        """Raises RunLocked when workers of a process that is gone do not end in a moment."""
        give_up = time.monotonic() + _WORKERS_WAIT_S
        for lock in sorted(self.workers_folder(campaign, kind).glob("*.lock")):
            file = lock.with_suffix("")
            while True:
                try:
                    with self._held(file, noted=False):
                        break
                except filelock.Timeout:
                    if time.monotonic() >= give_up:
                        raise RunLocked(
                            f"the process that was sending {campaign} is gone, and a worker of it ({_holder(file)})"
                            " still waits for answers to what it has sent",
                            fix="wait until it has ended (or end it, if it hangs), then run the same command again:"
                            " nothing is lost",
                        ) from None
                time.sleep(0.05)


def resolved(path: str | Path) -> str:
    """The path as the ledger keeps it."""
    return str(Path(path).expanduser().resolve())


def _unwritable(path: Path, error: OSError) -> SenderError:
    if isinstance(error, NotADirectoryError | FileExistsError):  # the path is wrong, not the disk
        return InputError(
            f"the state directory cannot be written: {error.strerror}",
            where=str(path),
            fix="a file stands in its way; choose another folder with --state-dir",
        )
    return StateError(
        f"the state directory cannot be written: {error.strerror or error}",
        where=str(path),
        fix="free some space or mend its permissions, or choose another with --state-dir",
    )


def _other_plan(run: Run, directory: Path) -> PlanError:
    return PlanError(f"the plan in it is not the one of run {run.run_id}", where=str(directory))


def _read_identity(folder: Path, run: Run) -> str | None:
    """The identity that was computed for the run's plan before; None when it was not, or cannot be read."""
    try:
        note = json.loads((folder / _IDENTITY_FILE).read_text(encoding="utf-8"))
        return str(note["identity"]) if note["plan_hash"] == run.plan_hash else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _note_of(name: Path) -> Path:
    return name.with_name(name.name + ".json")


def _write_note(file: Path) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    _write_private(file, {"pid": os.getpid(), "host": socket.gethostname(), "since": since})


def _write_private(file: Path, values: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(values), encoding="utf-8")
    file.chmod(0o600)


def _holder(name: Path) -> str:
    """Who holds the lock. Its note comes a moment after the lock, and may still be that of a process that died."""
    file = _note_of(name)
    give_up = time.monotonic() + _HOLDER_WAIT_S
    while time.monotonic() < give_up:
        with contextlib.suppress(OSError, ValueError, KeyError):
            note = json.loads(file.read_text(encoding="utf-8"))
            if note["host"] != socket.gethostname() or psutil.pid_exists(note["pid"]):
                return f"pid {note['pid']} on {note['host']}, since {note['since']}"
        time.sleep(0.02)
    return "its name is not known"


def _refuse_read_only(path: Path) -> None:
    probe = path / f".write-test-{os.getpid()}"
    probe.touch(mode=0o600)
    probe.unlink(missing_ok=True)
