"""How many claims of each run this machine has seen confirmed: a database that has fewer has lost some.

A file a run, in the run's folder of this machine. Several processes write it, and the last one counts: a mark may be
too low, and is never too high.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from sender.core.clock import steady_s
from sender.core.errors import StateLost
from sender.core.output_files import write_whole

MARK_FILE = "commits"
WRITE_EVERY_S = 1.0


class CommitMarks:
    """The marks of one handle. `folder` is the machine's for the state; None keeps them in memory alone."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._known: dict[str, int] = {}
        self._written_s: dict[str, float] = {}

    def check(self, run_id: str, commits: int, where: str) -> None:
        """Raise StateLost where the database has fewer claims of the run, `commits`, than it once had."""
        if run_id not in self._known:
            self._known[run_id] = self._read(run_id)
        if commits < self._known[run_id]:
            raise lost_commits(where)

    def note(self, run_id: str, commits: int) -> None:
        """Note that `commits` claims of the run are confirmed."""
        self._known[run_id] = max(commits, self._known.get(run_id, 0))
        now_s = steady_s()
        if now_s >= self._written_s.get(run_id, 0.0) + WRITE_EVERY_S:
            self._written_s[run_id] = now_s
            self._write(run_id)

    def close(self) -> None:
        """Write what has not been written."""
        for run_id in self._written_s:
            self._write(run_id)

    def _file(self, run_id: str) -> Path | None:
        return None if self._folder is None else self._folder / "runs" / run_id / MARK_FILE

    def _read(self, run_id: str) -> int:
        file = self._file(run_id)
        with contextlib.suppress(OSError, ValueError):
            return 0 if file is None else int(file.read_text(encoding="ascii"))
        return 0

    def _write(self, run_id: str) -> None:
        file = self._file(run_id)
        if file is not None and file.parent.is_dir():
            text = str(self._known[run_id]).encode()
            with contextlib.suppress(OSError):  # a full disk here loses no message
                write_whole(file, lambda stream: stream.write(text))


def lost_commits(where: str) -> StateLost:
    """The error for a database that has lost commits."""
    return explain_loss(
        "the database has lost commits that it had confirmed: it was restored from a backup, or a standby that"
        " lagged behind has taken its place",
        where,
    )


def explain_loss(what: str, where: str) -> StateLost:
    """The error for a database that may lack what was confirmed, and what a person can do."""
    return StateLost(
        what,
        where=where,
        fix="bring back the original server, and nothing is lost; or accept this one with"
        " `sender cluster init --accept-server URL`: people whose messages are missing in it may get them twice",
    )
