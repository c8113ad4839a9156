"""How fast messages may leave: one account's rate, and its pauses. Never above the rate in any second.

Counts in whatever unit the provider counts (messages or segments) and knows nothing of providers. All times are
those of the running event loop, so a change of the wall clock neither bursts nor stalls.
"""

from __future__ import annotations

import asyncio
import math

from aiolimiter import AsyncLimiter

# Measured: from here on a small burst, taken out of the rate, wastes less than one timer for each unit does.
_BUCKET_FROM_PER_S = 50.0
_BUCKET_SHARE = 0.02


class Pacer:
    """Hands out leave to send, in the order of asking. Belongs to the event loop that first awaits it."""

    def __init__(self, rate_per_s: float | None) -> None:
        """`rate_per_s` in units; None sets no limit but that of `pause`. Raises ValueError unless it is above 0."""
        self.rate_per_s = rate_per_s
        self._turn = asyncio.Lock()
        self._until_s = -math.inf
        self._limiter: AsyncLimiter | None = None
        if rate_per_s is not None:
            burst, refill_per_s = _bucket(rate_per_s)
            self._limiter = AsyncLimiter(burst, burst / refill_per_s)

    @property
    def paused_until(self) -> float | None:
        """The event loop's time at which the pause is over; None if there is none."""
        return self._until_s if self.paused else None

    @property
    def paused_s(self) -> float:
        """Seconds that the pause still lasts; 0 if there is none."""
        return max(0.0, self._until_s - asyncio.get_running_loop().time())

    @property
    def paused(self) -> bool:
        return self.paused_s > 0

    def pause(self, seconds: float) -> None:
        """Nobody acquires before `seconds` have passed. Of several wishes the one that ends last wins."""
        self._until_s = max(self._until_s, asyncio.get_running_loop().time() + seconds)

    async def resumed(self) -> None:
        """Returns when there is no pause, or no longer."""
        while self.paused:  # noqa: ASYNC110 (waits for a time, not for a change)
            await asyncio.sleep(self.paused_s)  # a longer wish may come meanwhile

    async def acquire(self, units: float = 1) -> bool:
        """True when `units` may leave; False when there is a pause: give back what is held, and await `resumed`.

        More units than fit into the burst wait until all have been let through. Raises ValueError for a negative or
        unbounded number. A call that is cancelled or paused gives nothing back: what was got belongs to the time
        before, and kept it would add to the burst that comes after.
        """
        if not 0 <= units < math.inf:
            raise ValueError(f"units must be a number from 0, not {units}")
        # One at a time: aiolimiter serves small amounts first, so a long message would starve.
        async with self._turn:
            if self.paused:
                return False
            await self._through_bucket(units)
            return not self.paused

    async def _through_bucket(self, units: float) -> None:
        if self._limiter is None:
            return
        while units > 0:
            part = min(units, self._limiter.max_rate)
            await self._limiter.acquire(part)
            units -= part


def expected_duration_s(units: float, rate_per_s: float | None) -> float:
    """Seconds that pacing `units` takes from the first to the last; 0 without a rate."""
    if rate_per_s is None:
        return 0.0
    burst, refill_per_s = _bucket(rate_per_s)
    return max(0.0, units - burst) / refill_per_s


def _bucket(rate_per_s: float) -> tuple[float, float]:
    """Burst in units, and refill in units a second, of a leaky bucket that no sliding second sees above the rate.

    In a second a bucket lets through its burst and what it refills. From 50/s on the burst is taken out of the
    rate. Below, a burst of 1 costs too much of it; there the units are spaced evenly, and a second that begins
    with a unit holds no more than the rate, rounded up.
    """
    if not 0 < rate_per_s < math.inf:
        raise ValueError(f"the rate must be above 0, not {rate_per_s}")
    if rate_per_s < _BUCKET_FROM_PER_S:
        return 1.0, rate_per_s
    burst = max(1.0, _BUCKET_SHARE * rate_per_s)
    return burst, rate_per_s - burst
