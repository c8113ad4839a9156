"""The two clocks everything here is timed by. Both run on while the machine sleeps, where the system has such a clock.

Durations and deadlines are measured by `steady_s`, which nobody can set. Times of day come from `wall_clock_ms`, which
is read once and then runs on steadily: setting the system's clock while a run is under way moves nothing.
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


steady_s: Callable[[], float] = _steady()  # seconds since some moment; never go back, never jump


def wall_clock_ms(
    wall_ns: Callable[[], int] = time.time_ns, steady: Callable[[], float] = steady_s
) -> Callable[[], int]:
    """A clock of milliseconds UTC: what `wall_ns` says now, and from then on as much later as `steady` says."""
    begun_ms, begun_s = wall_ns() // 1_000_000, steady()
    return lambda: begun_ms + int((steady() - begun_s) * 1000)
