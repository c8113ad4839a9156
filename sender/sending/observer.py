"""Who follows a run while it is being sent: the protocol, and the observer that only shows progress."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from sender.core.outcomes import SubmissionState
from sender.state.heartbeat import OnProgress, Progress

log = logging.getLogger("sender.sending.observer")


class SendObserver(Protocol):
    """Follows a dispatcher. It is called in the dispatcher's event loop and must return at once."""

    def message_sent(self, units: float, sender: str | None) -> None:
        """A message of `units` units has just left from the number `sender`."""
        ...

    def message_returned(self, sender: str | None) -> None:
        """A message that had left from `sender` is pending again."""
        ...

    def outcomes_recorded(self, states: Counter[SubmissionState]) -> None:
        """Outcomes are on disk: the number of messages that are now in each state."""
        ...

    def halted(self, failure: Exception) -> None:
        """Nothing more is claimed because of `failure`; the dispatcher raises it once all answers are in."""
        ...

    def progressed(self, progress: Progress) -> None:
        """Where the run is, about ten times a second and at the end."""
        ...


class ProgressObserver:
    """A `SendObserver` that passes the progress on."""

    def __init__(self, on_progress: OnProgress) -> None:
        self.progressed = on_progress

    def message_sent(self, units: float, sender: str | None) -> None: ...

    def message_returned(self, sender: str | None) -> None: ...

    def outcomes_recorded(self, states: Counter[SubmissionState]) -> None: ...

    def halted(self, failure: Exception) -> None: ...


class ProgressReporter:
    """Calls `on_progress` until it fails: a display that fails must not cost a run."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress

    def report(self, progress: Callable[[], Progress]) -> None:
        """Compute the progress and pass it on, if anybody is there to see it."""
        if self._on_progress is None:
            return
        try:
            self._on_progress(progress())
        except Exception:
            self._on_progress = None
            log.exception("on_progress failed and is not called again", extra={"event": "progress_failed"})
