"""Heartbeats as a small file in each run's folder."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from sender.core.clock import steady_s
from sender.state.heartbeat import EVERY_S, FRESH_S, Heartbeat, OnProgress, Progress
from sender.state.ledger import Run

HEARTBEAT_FILE = "sending.json"


class HeartbeatFiles:
    """The heartbeats of one state directory."""

    def __init__(self, folder: Callable[[Run], Path]) -> None:
        """`folder` returns a run's own folder."""
        self._folder = folder

    def publish(self, run: Run, on_progress: OnProgress | None = None) -> contextlib.AbstractContextManager[OnProgress]:
        return _HeartbeatFile(self._folder(run) / HEARTBEAT_FILE, on_progress)

    def read(self, run: Run) -> Heartbeat | None:
        try:
            note = json.loads((self._folder(run) / HEARTBEAT_FILE).read_text(encoding="utf-8"))
            age_s, eta_s, slowed = time.time() - float(note["at"]), note["eta_s"], note["slowed_to_per_s"]
            if abs(age_s) > FRESH_S:
                return None
            return Heartbeat(
                None if eta_s is None else max(0.0, float(eta_s) - age_s), None if slowed is None else float(slowed)
            )
        except (OSError, ValueError, TypeError, KeyError):
            return None


class _HeartbeatFile:
    """The file of one run. A context manager; removes the file on exit."""

    def __init__(self, file: Path, on_progress: OnProgress | None) -> None:
        self._file = file
        self._on_progress = on_progress
        self._next_s = 0.0
        self._slowed = False

    def __enter__(self) -> OnProgress:
        return self._publish

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)

    def _publish(self, progress: Progress) -> None:
        now_s, slowed = steady_s(), progress.slowed_to_per_s is not None
        if now_s >= self._next_s or slowed is not self._slowed:
            self._next_s, self._slowed = now_s + EVERY_S, slowed
            note = {"at": time.time(), "eta_s": progress.eta_s, "slowed_to_per_s": progress.slowed_to_per_s}
            with contextlib.suppress(OSError):
                partial = self._file.with_suffix(f".{os.getpid()}.partial")
                partial.write_text(json.dumps(note), encoding="utf-8")
                partial.replace(self._file)
        if self._on_progress is not None:
            self._on_progress(progress)
