"""One rate limiter for senders on several machines: its state is in the database, and so is the clock.

A sender asks for the slots of a whole batch at once, and lets each message leave at its slot: never before it, and no
more than 20 ms after it, for which the rate has room. For a slot that is missed another one is asked for. What the
database's clock says is known to within a round trip, and the worse end of that counts on both sides.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sender.core.errors import SenderError
from sender.plan.pace import Pace
from sender.sending.rate_limit import (
    CUT_EVERY_S,
    LOOK_AGAIN_S,
    RateLimiter,
    RecentMessage,
    queue_limit,
)
from sender.sending.throttle import account_limits
from sender.state.sharing import RateState, SharedNews, SharedRun, SlotRequest

log = logging.getLogger("sender.sending.database_rate_limit")

LOOK_EVERY_S = 0.5
_LOOKS_FIRST = 4
_KEEP_S = 10.0  # how long what is known of the database's clock counts


class ClockDifference:
    """How far this process's clock is ahead of the database's, between two bounds that each answer narrows."""

    def __init__(self) -> None:
        self.least, self.most = -math.inf, math.inf
        self._since = -math.inf

    def note(self, begun_s: float, answered_s: float, database_s: float) -> None:
        """Learn from an answer that says `database_s`, to a question of this process."""
        least, most = begun_s - database_s, answered_s - database_s
        narrowed = max(least, self.least), min(most, self.most)
        if answered_s - self._since > _KEEP_S or narrowed[0] > narrowed[1]:  # a clock was set
            self._since = answered_s
            narrowed = least, most
        self.least, self.most = narrowed


class DatabaseRateLimiter(RateLimiter):
    """The limits of `pace`, for all senders of a run together. Use `opened`, which looks at what the others do."""

    plans_ahead = True
    catch_up_s = 0.02  # more than on one machine: what the database's clock says is known to within a round trip

    def __init__(
        self, pace: Pace, shared: SharedRun, *, senders: int, on_news: Callable[[SharedNews], None] | None = None
    ) -> None:
        """`shared` is used by this limiter alone. `senders` is how many there may be; `on_news` hears of the others."""
        account, numbers = account_limits(pace)
        queue = None if pace.queue is None else queue_limit(pace.queue.units, pace.queue.drained_per_s)
        super().__init__(account, senders=numbers, queue=queue)
        self._database = shared
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rate")
        self._count = senders
        self._on_news = on_news
        self._difference = ClockDifference()
        self._coming: deque[SlotRequest] = deque()
        self._reserved: deque[float] = deque()  # by the database's clock, for the first of those that come
        self._drained_ago_s = math.inf
        self._failure: Exception | None = None
        self._sent = 0
        self.in_flight: Callable[[], int] | None = None  # of a shift, which says that it is there
        self.missed = 0  # slots

    @contextlib.asynccontextmanager
    async def opened(self, *, begins_in_s: float | None = None) -> AsyncIterator[DatabaseRateLimiter]:
        """Look at what the others do until the end of the block. With `begins_in_s` this sender sets the rate."""
        if begins_in_s is not None:
            per_s = 0.0 if self._account is None else self._account.per_s
            await self._ask(self._database.begin_rate, per_s, wait_s=begins_in_s)
        for _ in range(_LOOKS_FIRST):  # the first answers are slow, and say little of the database's clock
            await self._look()
        watch = asyncio.create_task(self._look_again())
        try:
            yield self
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await asyncio.to_thread(self._thread.shutdown)
            self._database.close()

    # -- what others have said ---------------------------------------------------------------------------------------

    async def _look_again(self) -> None:
        while True:
            try:
                if self.in_flight is not None:
                    await self._ask(self._database.beat, sent=self._sent, in_flight=self.in_flight())
                await self._look()
            except SenderError as error:  # whoever claims meets the same failure, and says so
                log.debug("notices of the other senders cannot be received: %s", error.what)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self) -> None:
        begun_s = _now()
        news = await self._ask(self._database.look)
        if news.rate is not None:
            self._see(news.rate, begun_s)
        if self._on_news is not None:
            self._on_news(news)

    def tell(self, call: Callable[..., object], *values: object) -> None:
        """Tell the others something, without waiting for it."""
        self._thread.submit(_try, call, *values)

    async def _ask(self, call: Callable[..., Any], *values: Any, **named: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: call(*values, **named))

    def _see(self, state: RateState, begun_s: float) -> None:
        """Keep the database's state as of now, by this process's clock."""
        self._difference.note(begun_s, _now(), state.now_s)
        ahead = self._difference.most
        self._overwrite(
            per_s=state.per_s,
            due=state.due_s + ahead,
            share=(state.share, state.share_at_s + ahead),
            cut_at=state.cut_at_s + ahead,
            paused_until=state.paused_until_s + ahead,
        )
        for number, (_, place) in self._senders.items():
            self._slots[place] = state.dues_s.get(number, -math.inf) + ahead
        if self._queue is not None:
            self._slots[self._queue[1]] = state.queue_due_s + ahead

    # -- what this sender says ---------------------------------------------------------------------------------------

    def pause(self, seconds: float) -> None:
        super().pause(seconds)
        self.tell(self._slow_down, seconds, math.inf)

    def slow_down(self, retry_after_s: float, *, again_after_s: float = CUT_EVERY_S) -> bool:
        is_first = super().slow_down(retry_after_s, again_after_s=again_after_s)
        self.tell(self._slow_down, retry_after_s, again_after_s)
        return is_first

    def _slow_down(self, retry_after_s: float, again_after_s: float) -> None:
        observed = self._observed.per_s * self._count
        self._database.slow_down(retry_after_s, again_after_s=again_after_s, observed_per_s=observed)

    def account_for(self, messages: Iterable[RecentMessage], *, queued: float = 0.0) -> None:
        """Do nothing: the database knows what has left."""

    def set_queue_length(self, units: float) -> None:
        super().set_queue_length(units)
        if self._queue is not None:
            limit, _ = self._queue
            self.tell(self._database.set_queue_due, (limit.burst - units) * self._margin / limit.per_s)

    # -- permission to send ------------------------------------------------------------------------------------------

    def expect(self, messages: Sequence[tuple[float, str | None]]) -> None:
        """Ask for the slots of all these messages (units, number) at once when the first of them is to leave."""
        self._reserved.clear()
        self._coming = deque(self._request(units, number) for units, number in messages)

    async def acquire(self, units: float = 1, *, sender: str | None = None) -> bool:
        if not 0 <= units < math.inf:
            raise ValueError(f"units must be a number from 0, not {units}")
        async with self._turn:
            while not self.paused:
                if not self._is_limited():
                    return self._leave()
                if not self._coming:
                    self._coming.append(self._request(units, sender))
                if not self._reserved:
                    await self._reserve()
                    continue
                wait_s = self._reserved[0] + self._difference.most - _now()
                if wait_s > 0:
                    await asyncio.sleep(min(wait_s, LOOK_AGAIN_S))
                elif _now() > self._reserved[0] + self._difference.least + self.catch_up_s:
                    self._drop_missed()
                else:
                    self._reserved.popleft()
                    self._coming.popleft()
                    return self._leave()
        self._coming.clear()
        self._reserved.clear()
        return False

    async def _reserve(self) -> None:
        """Ask for slots; wait a moment where there is none soon."""
        begun_s = _now()
        slack_s = 0.0 if self._queue is None else self._queue[0].burst * self._margin / self._queue[0].per_s
        state, slots = await self._ask(
            self._database.take_slots, list(self._coming), queue_slack_s=slack_s, margin=self._margin
        )
        if state is not None:
            self._see(state, begun_s)
        self._reserved.extend(slots)
        if not slots:
            await asyncio.sleep(LOOK_AGAIN_S)

    def _drop_missed(self) -> None:
        """Let go of the slots that are over. The next ones serve other messages only if those cost the same."""
        costs = {(one.units, one.number_cost_s and one.number, one.queue_cost_s) for one in self._coming}
        over_s = _now() - self._difference.least - self.catch_up_s
        dropped = len(self._reserved) if len(costs) > 1 else sum(slot < over_s for slot in self._reserved)
        for _ in range(dropped):
            self._reserved.popleft()
        self.missed += dropped

    def _request(self, units: float, number: str | None) -> SlotRequest:
        own = self._senders.get(number or "")
        return SlotRequest(
            units if self._account else 1.0,
            number,
            0.0 if own is None else units * self._margin / own[0].per_s,
            0.0 if self._queue is None else units * self._margin / self._queue[0].per_s,
        )

    def _is_limited(self) -> bool:
        return bool(self.per_s or self._senders or self._queue)

    def _leave(self) -> bool:
        self._observed.count(_now())
        self._sent += 1
        return True


def _try(call: Callable[..., object], *values: object) -> None:
    with contextlib.suppress(SenderError):
        call(*values)


def _now() -> float:
    return asyncio.get_running_loop().time()
