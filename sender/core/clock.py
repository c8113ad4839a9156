"""The clocks of the program. They keep running while the machine sleeps, where the system has such a clock.

`steady_s` measures durations and deadlines; nothing can set it. `wall_clock_ms` gives the time of day: it reads the
system's clock once and then runs steadily, so setting that clock during a run changes nothing. `time_of_day_ms` reads
the system's clock each time: for what depends on the hour on a recipient's wall.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial


def _steady() -> Callable[[], float]:
    boottime = getattr(time, "CLOCK_BOOTTIME", None)  # Linux: monotonic, and counts the time asleep
    if boottime is not None:
        return partial(time.clock_gettime, boottime)
    if sys.platform == "darwin":  # the system's CLOCK_MONOTONIC counts the time asleep; time.monotonic() does not
        return partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    return time.monotonic


steady_s: Callable[[], float] = _steady()  # seconds since some moment; it never goes back or jumps


def wall_clock_ms(
    wall_ns: Callable[[], int] = time.time_ns, steady: Callable[[], float] = steady_s
) -> Callable[[], int]:
    """Return a clock of milliseconds UTC that reads `wall_ns` once and then advances with `steady`."""
    begun_ms, begun_s = wall_ns() // 1_000_000, steady()
    return lambda: begun_ms + int((steady() - begun_s) * 1000)


def time_of_day_ms() -> int:
    """Milliseconds UTC by the system's clock, which may be set."""
    return time.time_ns() // 1_000_000
