"""Tells the rate limiter how long the provider's queue is, by the delivery reports that have come."""

from __future__ import annotations

import math

from sender.core.clock import steady_s
from sender.sending.progress import Meter
from sender.sending.throttle import Throttle
from sender.state.async_ledger import AsyncLedger

LOOK_S = 5.0


class QueueWatch:
    """The length of the provider's queue; without reports its documented rate is used."""

    def __init__(self, ledger: AsyncLedger, throttle: Throttle, *, is_shared: bool) -> None:
        """`is_shared`: other processes send the run, too, and what they have under way is in the ledger alone."""
        self._ledger = ledger
        self._throttle = throttle
        self._is_shared = is_shared
        self._looked_s = -math.inf

    async def update(self, meter: Meter, on_the_way: int) -> None:
        """Set the queue's length if it is time to; `on_the_way` messages have left and are not recorded."""
        now_s = steady_s()
        if self._throttle.pace.queue is None or now_s < self._looked_s + LOOK_S:
            return
        self._looked_s = now_s
        # Counted so that a message on its way into the ledger may count twice, but none not at all.
        sent_before, others = meter.messages, 0
        if self._is_shared:  # what others have on the way, before and after, is in the ledger
            others = (await self._ledger.counts()).intent
        waiting = await self._ledger.delivering()
        if self._is_shared:
            others += (await self._ledger.counts()).intent
        waiting += on_the_way + meter.messages - sent_before + others
        self._throttle.rate_limiter.set_queue_length(waiting * meter.mean_units)
