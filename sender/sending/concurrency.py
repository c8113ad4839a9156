"""How many requests may be under way at once, found from the pace and the provider's latency, so that nobody tunes it.

Little's law: what is under way = pace x latency. Times are seconds of one clock that never goes back.
"""

from __future__ import annotations

import math
import os
import statistics
from collections import deque

MOST = 4096  # requests under way, and so connections
LEAST = 16
_FIRST_LATENCY_S = 0.2  # assumed until answers tell better
_EVERY_S = 0.2
_RECENT = 5  # looks over which what goes through is counted: at hundreds of milliseconds, answers come in waves
_QUICK_SINCE = 25  # looks over which the quick answers count
_LEAST_SHARE = 0.8  # of the limit before, however little has come
_FILES_LEFT = 256  # open files that are not connections


class Concurrency:
    """`limit` is the most requests that should be under way now: as given, or as the pace and the latency need.

    With a pace: twice pace x latency, so that slow answers do not hold it up. Without one: three times what goes
    through x the latency of the quick answers. Where more at once only queue up, the latency of all grows and what goes
    through does not, so the limit stays; where they do not, it grows threefold at each look.
    """

    def __init__(self, fixed: int | None, per_s: float | None, *, most: int | None = None) -> None:
        """`per_s` is the pace in messages a second, None if nothing limits it; `fixed` None lets the limit move."""
        self.most = fixed or most or most_connections()
        self.per_s = 0.0  # answers a second, as of the last look
        self.latency_s = 0.0  # of them, on the average
        self._fixed, self._pace = fixed, per_s
        self._latencies: list[float] = []
        self._recent: deque[tuple[int, float]] = deque(maxlen=_RECENT)
        self._quick: deque[float] = deque(maxlen=_QUICK_SINCE)
        self._looked_s = -math.inf
        self.limit = fixed or self._bounded(4 * LEAST if per_s is None else 2 * per_s * _FIRST_LATENCY_S)

    @property
    def at_first(self) -> int:
        """How many requests will be under way when the first answers come: so many connections are worth warming."""
        return self.limit if self._pace is None else min(self.limit, math.ceil(self._pace * _FIRST_LATENCY_S))

    def answered(self, latency_s: float) -> None:
        """An answer came so long after its request was handed over."""
        self._latencies.append(latency_s)

    def look(self, now_s: float) -> bool:
        """Counts what was answered since the last look; True when there is room for more than before."""
        if self._looked_s == -math.inf:
            self._looked_s = now_s
        passed_s = now_s - self._looked_s
        if passed_s < _EVERY_S or not self._latencies:
            return False
        latencies, self._latencies, self._looked_s = self._latencies, [], now_s
        self._recent.append((len(latencies), passed_s))
        self.per_s = sum(count for count, _ in self._recent) / sum(seconds for _, seconds in self._recent)
        self.latency_s = statistics.fmean(latencies)
        if self._fixed is not None:
            return False
        before = self.limit
        if self._pace is not None:
            wanted = LEAST + 2 * self._pace * self.latency_s
        else:
            latencies.sort()
            self._quick.append(latencies[len(latencies) // 10])
            wanted = LEAST + 3 * self.per_s * min(self._quick)
        self.limit = self._bounded(max(wanted, _LEAST_SHARE * before))
        return self.limit > before

    def _bounded(self, wanted: float) -> int:
        return max(1, min(self.most, max(LEAST, math.ceil(wanted))))


def most_connections() -> int:
    """The most requests at once that this process has files for; asks the system for more files if it may."""
    if os.name != "posix":
        return MOST
    import resource  # noqa: PLC0415 (there is none on Windows)

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST + _FILES_LEFT
    if 0 <= soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
            soft = allowed
        except (ValueError, OSError):  # a system that says one thing and allows another
            pass
    return MOST if soft < 0 else max(LEAST, min(MOST, soft - _FILES_LEFT))
