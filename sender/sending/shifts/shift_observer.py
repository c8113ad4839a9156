"""What the senders of one run tell one another: what stops all of them, and the numbers that a provider refuses."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

from sender.core.errors import StateError, StateLost
from sender.core.outcomes import SubmissionState
from sender.plan.sender_pool import SenderPool
from sender.sending.database_rate_limit import DatabaseRateLimiter
from sender.sending.workers.protocol import encode_error
from sender.state.heartbeat import OnProgress, Progress
from sender.state.sharing import SharedNews, SharedRun


def halt_all(limiter: DatabaseRateLimiter, shared: SharedRun, failure: Exception) -> None:
    """Stop all senders because of `failure`, but for a state that only this machine may be unable to reach."""
    if isinstance(failure, StateError) and not isinstance(failure, StateLost):
        return
    limiter.tell(shared.halt, json.dumps(encode_error(failure)))


class ShiftListener:
    """Obeys what the other senders say."""

    def __init__(self, pool: SenderPool | None, stop: asyncio.Event) -> None:
        self._pool = pool
        self._stop = stop

    def hear(self, news: SharedNews) -> None:
        if news.halted is not None:
            self._stop.set()
        if self._pool is not None:
            for number, why in news.senders_out.items():
                self._pool.disable(number, why)


class ShiftObserver:
    """The `SendObserver` of one of several senders: tells the others what concerns them."""

    def __init__(
        self,
        limiter: DatabaseRateLimiter,
        shared: SharedRun,
        pool: SenderPool | None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._on_progress = on_progress
        self._limiter = limiter
        self._shared = shared
        self._pool = pool
        self._told: set[str] = set()
        self.in_flight = 0

    def message_sent(self, units: float, sender: str | None) -> None: ...

    def message_returned(self, sender: str | None) -> None: ...

    def outcomes_recorded(self, states: Counter[SubmissionState]) -> None: ...

    def halted(self, failure: Exception) -> None:
        halt_all(self._limiter, self._shared, failure)

    def progressed(self, progress: Progress) -> None:
        self.in_flight = progress.in_flight
        if self._on_progress is not None:
            self._on_progress(progress)
        for number, why in ({} if self._pool is None else self._pool.disabled).items():
            if number not in self._told:
                self._told.add(number)
                self._limiter.tell(self._shared.disable_sender, number, why)
