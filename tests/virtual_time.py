"""Virtual time for tests of the pace: exact, and as fast as the machine computes."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self, late_s: float = 0.0) -> None:
        super().__init__(_JumpingSelector(self))
        self.now_s = 1000.0
        self.late_s = late_s  # how late each timer fires
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self.now_s


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("everybody waits, and no timer is set")
        # Each turn of the loop takes some time, as it does in life: two moments that a float cannot tell apart
        # would otherwise be waited for without end.
        self._loop.now_s += 1e-8 if timeout <= 0 else timeout + 1e-8 + self._loop.late_s
        return super().select(0)


def run(scenario: Coroutine[Any, Any, Any], *, late_s: float = 0.0) -> Any:
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(late_s)) as runner:
        return runner.run(scenario)


def now() -> float:
    return asyncio.get_running_loop().time()


def most_in_a_second(times: list[float]) -> int:
    """The most of `times` in any half-open second; a second more holds what comes a microsecond early."""
    most = start = 0
    for end, time_ in enumerate(times):
        while time_ - times[start] >= 1 - 1e-6:
            start += 1
        most = max(most, end - start + 1)
    return most
