"""What the process that sends a run tells others of it: a small file in the run's folder, new each second.

For people who look from another terminal. Nothing depends on it: it may be missing, old, or of a process that died.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sender.core.clock import steady_s

BULLETIN_FILE = "sending.json"
EVERY_S = 1.0
FRESH_S = 5.0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """`eta_s` and `slowed_to_per_s` as in `Progress`."""

    eta_s: float | None
    slowed_to_per_s: float | None


class HeartbeatFile:
    """Where one process puts its bulletins. Use it as a context; the last one goes with it."""

    def __init__(self, folder: Path, on_progress: Callable[[Progress], None] | None = None) -> None:
        """`on_progress` hears each moment, too."""
        self._file = folder / BULLETIN_FILE
        self._on_progress = on_progress
        self._next_s = 0.0
        self._slowed = False

    def __enter__(self) -> Callable[[Progress], None]:
        return self._tell

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)

    def _tell(self, now: Progress) -> None:
        at_s, slowed = steady_s(), now.slowed_to_per_s is not None
        if at_s >= self._next_s or slowed is not self._slowed:
            self._next_s, self._slowed = at_s + EVERY_S, slowed
            told = {"at": time.time(), "eta_s": now.eta_s, "slowed_to_per_s": now.slowed_to_per_s}
            with contextlib.suppress(OSError):
                partial = self._file.with_suffix(f".{os.getpid()}.partial")
                partial.write_text(json.dumps(told), encoding="utf-8")
                partial.replace(self._file)
        if self._on_progress is not None:
            self._on_progress(now)


def read(folder: Path) -> Heartbeat | None:
    """The newest bulletin, its time left as of now; None when there is none, or none of these seconds."""
    try:
        told = json.loads((folder / BULLETIN_FILE).read_text(encoding="utf-8"))
        age_s, eta_s, slowed = time.time() - float(told["at"]), told["eta_s"], told["slowed_to_per_s"]
        if abs(age_s) > FRESH_S:
            return None
        return Heartbeat(
            None if eta_s is None else max(0.0, float(eta_s) - age_s), None if slowed is None else float(slowed)
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of a run. Counts are messages and durable; `rate_per_s` is of this session, in messages a second.

    `eta_s` is until the last answer (None: nothing tells it yet). `slowed_to_per_s` is the pace in force while the
    provider's refusals hold it below the limit, in what the pace counts (None while they do not).
    """

    total: int
    accepted: int
    rejected: int
    unknown: int
    pending: int
    in_flight: int
    elapsed_s: float
    rate_per_s: float
    eta_s: float | None
    paused_s: float = 0.0
    slowed_to_per_s: float | None = None

    @property
    def done(self) -> int:
        return self.accepted + self.rejected + self.unknown
