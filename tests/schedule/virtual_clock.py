"""A clock whose time passes only while somebody sleeps by it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sender.schedule.waiting import Clock


class VirtualClock:
    """Begins at `now`, and remembers how long each sleep was. `on_sleep` is called with the time before each."""

    def __init__(self, now: str | datetime) -> None:
        at = datetime.fromisoformat(now) if isinstance(now, str) else now
        self.ms = round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
        self.sleeps: list[float] = []
        self.on_sleep: Callable[[datetime], None] = lambda _now: None

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.ms / 1000, UTC)

    def sleep(self, seconds: float) -> None:
        self.on_sleep(self.now)
        self.sleeps.append(seconds)
        self.ms += round(seconds * 1000)

    async def async_sleep(self, seconds: float) -> None:
        self.sleep(seconds)

    def jump(self, seconds: float) -> None:
        """Somebody sets the clock, or the machine was suspended."""
        self.ms += round(seconds * 1000)

    @property
    def clock(self) -> Clock:
        return Clock(now_ms=lambda: self.ms, sleep=self.sleep, async_sleep=self.async_sleep)
