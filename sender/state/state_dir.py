"""The state of one machine: a directory with a ledger, a suppression list, and a folder for each run."""

from __future__ import annotations

import os
from pathlib import Path

from sender.core.errors import UnknownRun
from sender.core.filesystem import make_folder, refuse_network
from sender.state.files.approval_files import ApprovalFiles
from sender.state.files.failures import explain_unwritable
from sender.state.files.heartbeats import HeartbeatFiles
from sender.state.files.locks import LOCKS_FOLDER, LockFiles
from sender.state.files.outcome_files import OutcomeFiles
from sender.state.files.people import PeopleKeyFile
from sender.state.files.plans import RUNS_FOLDER, PlanFolders
from sender.state.files.tick_files import TickFiles
from sender.state.ledger import Ledger, RunKind
from sender.state.number_facts import EmptyNumbers, NumberStore
from sender.state.replies import EmptyReplies, ReplyStore
from sender.state.sqlite.ledger import SqliteLedger
from sender.state.sqlite.number_facts import NumberFactsFile
from sender.state.sqlite.replies import ReplyFile
from sender.state.sqlite.suppression import SuppressionFile
from sender.state.state import State
from sender.state.suppression import EmptySuppressions, SuppressionStore

DEFAULT_STATE_DIR = Path(".sender")
LEDGER_FILE = "ledger.sqlite3"
SUPPRESSIONS_FILE = "suppression.sqlite3"
REPLIES_FILE = "replies.sqlite3"
NUMBERS_FILE = "numbers.sqlite3"


class StateDir(State):
    """A state directory: one ledger, a folder for each run (its plan, its results), a lock for each campaign."""

    def __init__(self, path: str | Path = DEFAULT_STATE_DIR, *, create: bool = True, read_only: bool = False) -> None:
        """Open the state in `path`. With `read_only` nothing is written, and the disk may be read-only too.

        Raises StateError when it cannot be used, and UnknownRun when it should exist and does not.
        """
        self.path = self.folder = Path(path)
        self.where = str(self.path)
        self._read_only = read_only
        if (read_only or not create) and not _has_begun(self.path / LEDGER_FILE):
            raise UnknownRun(
                "nothing has been sent from here",
                where=self.where,
                fix="name the state directory with --state-dir",
            )
        self._lock_files = self.locks = LockFiles(self.path)
        self.plans = PlanFolders(self.path)
        self.people = PeopleKeyFile(self.path)
        self.heartbeats = HeartbeatFiles(self.plans.folder)
        self.ticks = TickFiles(self.path)
        self.outcomes = OutcomeFiles(self.path / RUNS_FOLDER)
        self.approvals = open_approval_files(self.path)
        if not read_only:
            refuse_network(self.path)
            try:
                for folder in (self.path, self.path / RUNS_FOLDER, self.path / LOCKS_FOLDER):
                    make_folder(folder)
                _refuse_read_only(self.path)
            except OSError as error:
                raise explain_unwritable(self.path, error) from None
        self.ledger = self.open_ledger()

    def open_ledger(self) -> Ledger:
        return SqliteLedger.open(self.path / LEDGER_FILE, read_only=self._read_only)

    def open_suppressions(self) -> SuppressionStore:
        return open_suppression_file(self.path, read_only=self._read_only)

    def open_replies(self, *, create: bool = False) -> ReplyStore:
        file = self.path / REPLIES_FILE
        if not create and not file.exists():
            return EmptyReplies()
        return ReplyFile.open_to_read(file) if self._read_only else ReplyFile.open(file)

    def open_numbers(self, *, create: bool = True) -> NumberStore:
        return open_number_file(self.path, create=create, read_only=self._read_only)

    def workers_folder(self, campaign: str, kind: RunKind) -> Path:
        return self._lock_files.workers_folder(campaign, kind)


def open_suppression_file(directory: Path, *, create: bool = True, read_only: bool = False) -> SuppressionStore:
    """The suppression entries in the state `directory`, which may have no ledger yet.

    With `create=False` a missing file is an empty store. With `read_only` it is, too, and a file that an older version
    wrote stays as it is. Raises StateError.
    """
    file = directory / SUPPRESSIONS_FILE
    if not (_has_begun(file) if read_only else create or file.exists()):
        return EmptySuppressions()
    return SuppressionFile.open_to_read(file) if read_only else SuppressionFile.open(file)


def open_key_file(directory: Path, *, create: bool) -> PeopleKeyFile:
    """The key of the state `directory`, which may have sent nothing yet. Raises StateError."""
    key = PeopleKeyFile(directory)
    if create:
        try:
            make_folder(directory)
        except OSError as error:
            raise explain_unwritable(directory, error) from None
        key.create()
    return key


def open_approval_files(directory: Path) -> ApprovalFiles:
    """The approvals in the state `directory`, which may have sent nothing yet."""
    return ApprovalFiles(directory, RUNS_FOLDER)


def open_number_file(directory: Path, *, create: bool = True, read_only: bool = False) -> NumberStore:
    """What the state `directory` knows of numbers; with `create=False` a missing file is an empty store.

    With `read_only` it is, too, and nothing is written. Raises StateError.
    """
    file = directory / NUMBERS_FILE
    if not (_has_begun(file) if read_only else create or file.exists()):
        return EmptyNumbers()
    return NumberFactsFile.open_to_read(file) if read_only else NumberFactsFile.open(file)


def _refuse_read_only(path: Path) -> None:
    probe = path / f".write-test-{os.getpid()}"
    probe.touch(mode=0o600)
    probe.unlink(missing_ok=True)


def _has_begun(file: Path) -> bool:
    """Whether a database is there: another process may have made its file this moment, and nothing is in it yet.

    One with a mark had content, and lost it: opening it says so.
    """
    return file.exists() and (file.stat().st_size > 0 or file.with_name(f"{file.name}-mark").exists())
