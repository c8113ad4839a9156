"""Approvals as files: `approvals/KEY.json`, and of a run `runs/RUN/approval.json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sender.core.errors import StateError
from sender.core.filesystem import make_folder, sync_folder
from sender.core.lazy_modules import filelock
from sender.core.output_files import write_whole
from sender.state.approvals import ApprovedText, RunApproval, sort_approved
from sender.state.ledger import Run

T = TypeVar("T")
APPROVALS_FOLDER = "approvals"
APPROVAL_FILE = "approval.json"  # in a run's folder
_LOCK_FILE = "approvals.lock"
_LOCK_S = 30.0


class ApprovalFiles:
    """The approvals in one state directory. An `ApprovalStore`."""

    def __init__(self, directory: Path, runs: str) -> None:
        """`runs` is the name of the folder of the runs in the state `directory`."""
        self._folder = directory / APPROVALS_FOLDER
        self._runs = directory / runs

    def add(self, approved: ApprovedText) -> ApprovedText:
        file = self._folder / f"{approved.key}.json"
        try:
            make_folder(self._folder)
            with filelock.FileLock(self._folder / _LOCK_FILE, timeout=_LOCK_S, mode=0o600):
                together = approved.after(_parse(file, ApprovedText.from_json)) if file.exists() else approved
                _write(file, together.to_json())
        except filelock.Timeout:
            raise StateError("another process is recording approvals", where=str(file), fix="run it again") from None
        except OSError as error:
            raise StateError(f"cannot be written: {error.strerror}", where=str(file), fix="see `df`") from error
        return together

    def read(self) -> Sequence[ApprovedText]:
        if not self._folder.is_dir():
            return ()
        return sort_approved(_parse(file, ApprovedText.from_json) for file in sorted(self._folder.glob("*.json")))

    def note_run(self, run: Run, approval: RunApproval) -> None:
        file = self._runs / run.run_id / APPROVAL_FILE
        try:
            make_folder(file.parent)
            _write(file, approval.to_json())
        except OSError as error:
            raise StateError(f"cannot be written: {error.strerror}", where=str(file), fix="see `df`") from error

    def of_run(self, run: Run) -> RunApproval | None:
        file = self._runs / run.run_id / APPROVAL_FILE
        return _parse(file, RunApproval.from_json) if file.exists() else None


def _parse(file: Path, parse: Callable[[Mapping[str, Any]], T]) -> T:
    try:
        return parse(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(
            f"the approval cannot be read: {error}", where=str(file), fix="restore it from a backup, or approve again"
        ) from None


def _write(file: Path, values: dict[str, Any]) -> None:
    text = json.dumps(values, indent=2) + "\n"
    write_whole(file, lambda stream: stream.write(text.encode()))
    sync_folder(file.parent)
