"""How many requests may be in flight at once, computed from the rate and the provider's latency: nobody has to tune it.

Little's law: requests in flight = rate x latency. Times are seconds of one clock that never goes back.
"""

from __future__ import annotations

import math
import os
import statistics
from collections import deque

MAX_IN_FLIGHT = 4096  # requests, and so connections
MIN_IN_FLIGHT = 16
_ASSUMED_LATENCY_S = 0.2  # until there are answers
_UPDATE_EVERY_S = 0.2
_THROUGHPUT_UPDATES = 5  # over which answers are counted: at hundreds of milliseconds they come in waves
_LATENCY_UPDATES = 25  # over which the quick answers count
_MIN_SHARE = 0.8  # of the limit before, however few answers have come
_FILES_LEFT = 256  # open files that are not connections


class Concurrency:
    """`limit` is how many requests may be in flight now: a fixed number, or what the rate and the latency need.

    With a rate limit: twice rate x latency, so that slow answers do not hold it up. Without one: three times the
    throughput x the latency of the quick answers. Where more requests only queue up, latencies grow and the throughput
    does not, so the limit stays; where they do not, it grows threefold at each update.
    """

    def __init__(self, fixed: int | None, per_s: float | None, *, maximum: int | None = None) -> None:
        """`per_s` is the rate in messages a second (None: unlimited). With `fixed`, the limit stays at that number.

        `maximum` is the highest limit; by default it is what this process has files for.
        """
        self.maximum = fixed or maximum or max_connections()
        self.per_s = 0.0  # answers a second, as of the last update
        self.latency_s = 0.0  # their mean latency
        self._fixed, self._rate_per_s = fixed, per_s
        self._latencies: list[float] = []
        self._recent: deque[tuple[int, float]] = deque(maxlen=_THROUGHPUT_UPDATES)
        self._quick: deque[float] = deque(maxlen=_LATENCY_UPDATES)
        self._updated_s = -math.inf
        self.limit = fixed or self._bounded(4 * MIN_IN_FLIGHT if per_s is None else 2 * per_s * _ASSUMED_LATENCY_S)

    @property
    def initial(self) -> int:
        """How many requests will be in flight when the first answers come: the number of connections worth warming."""
        if self._rate_per_s is None:
            return self.limit
        return min(self.limit, math.ceil(self._rate_per_s * _ASSUMED_LATENCY_S))

    def record_answer(self, latency_s: float) -> None:
        """An answer came `latency_s` after its request was handed to the transport."""
        self._latencies.append(latency_s)

    def update(self, now_s: float) -> bool:
        """Set the limit from the answers since the last update; True when it is higher than before."""
        if self._updated_s == -math.inf:
            self._updated_s = now_s
        passed_s = now_s - self._updated_s
        if passed_s < _UPDATE_EVERY_S or not self._latencies:
            return False
        latencies, self._latencies, self._updated_s = self._latencies, [], now_s
        self._recent.append((len(latencies), passed_s))
        self.per_s = sum(count for count, _ in self._recent) / sum(seconds for _, seconds in self._recent)
        self.latency_s = statistics.fmean(latencies)
        if self._fixed is not None:
            return False
        before = self.limit
        if self._rate_per_s is not None:
            needed = MIN_IN_FLIGHT + 2 * self._rate_per_s * self.latency_s
        else:
            latencies.sort()
            self._quick.append(latencies[len(latencies) // 10])
            needed = MIN_IN_FLIGHT + 3 * self.per_s * min(self._quick)
        self.limit = self._bounded(max(needed, _MIN_SHARE * before))
        return self.limit > before

    def _bounded(self, needed: float) -> int:
        return max(1, min(self.maximum, max(MIN_IN_FLIGHT, math.ceil(needed))))


def max_connections() -> int:
    """How many requests at once this process has files for; raises the system's limit of open files if it may."""
    if os.name != "posix":
        return MAX_IN_FLIGHT
    import resource  # noqa: PLC0415 (there is none on Windows)

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = MAX_IN_FLIGHT + _FILES_LEFT
    if 0 <= soft < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
            soft = allowed
        except (ValueError, OSError):  # a system that says one thing and allows another
            pass
    return MAX_IN_FLIGHT if soft < 0 else max(MIN_IN_FLIGHT, min(MAX_IN_FLIGHT, soft - _FILES_LEFT))
