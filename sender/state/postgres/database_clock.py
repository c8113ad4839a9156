"""The database's clock as this machine knows it: from answers to what the database is asked anyway."""

from __future__ import annotations

from collections.abc import Callable

from sender.core.clock import steady_s

_KEEP_S = 10.0  # an answer is used until a quicker one comes, or until it is this old


class DatabaseClock:
    """Milliseconds UTC by the database's clock; never earlier than it, and later by the time of one answer at most.

    So a deadline that the database has set never seems further away than it is. It never goes back.
    """

    def __init__(self, steady: Callable[[], float] = steady_s) -> None:
        self._steady = steady
        self._noted_s: float | None = None
        self._took_s = 0.0
        self._offset_ms = 0.0
        self._latest = 0

    def begin(self) -> float:
        """The moment to give to `note`, taken before the question is sent."""
        return self._steady()

    def note(self, begun_s: float, now_ms: int) -> None:
        """Learn the database's time from an answer to a question that was sent at `begun_s`."""
        now_s = self._steady()
        took_s = now_s - begun_s
        if self._noted_s is None or took_s <= self._took_s or now_s - self._noted_s > _KEEP_S:
            self._noted_s, self._took_s = now_s, took_s
            self._offset_ms = now_ms + 1 - begun_s * 1000  # the database cut off part of a millisecond

    def __call__(self) -> int:
        self._latest = max(self._latest, int(self._offset_ms + self._steady() * 1000))
        return self._latest
