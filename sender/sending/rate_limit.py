"""How fast messages may leave: the limits of an account, of each sender number and of the provider's queue, stacked.

Each limit keeps one number, the time at which its next unit is due (the virtual scheduling of GCRA), so limits stack
exactly, the rate can change on the way, and processes can share them. Knows nothing of providers. All times are those
of the running event loop, so a change of the wall clock neither bursts nor stalls.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, MutableSequence, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

# Lateness of up to this long (of a timer, of a busy loop) is caught up. What that could add to a second is taken out of
# the rate beforehand: for 0.8 % of the rate, no sliding second sees more than the limit.
CATCH_UP_S = 0.008
ON_THE_WAY_S = 0.005  # of two messages, the first may be read this much later: another 0.5 % of the rate
WINDOW_S = 1.0
CUT = 0.5  # a refusal of the rate halves it,
RECOVERY_PER_S = 0.02  # and each second gives this share of the whole back
MIN_SHARE = 0.01
CUT_EVERY_S = 1.0  # refusals of what was in flight when the first one came do not count again

LOOK_AGAIN_S = 0.5  # there may be room in the provider's queue earlier than was estimated

_NEVER = -math.inf


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`per_s` units a second; `burst` more units may be sent ahead (a queue).

    Raises ValueError unless `per_s` is above 0 and finite.
    """

    per_s: float
    burst: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.per_s < math.inf:
            raise ValueError(f"the rate must be above 0, not {self.per_s}")


def queue_limit(units: float, drained_per_s: float) -> RateLimit:
    """The limit of a queue of `units` that drains at `drained_per_s`: all but one may be sent as a burst."""
    return RateLimit(drained_per_s, burst=max(0.0, units - 1))


@dataclass(frozen=True, slots=True)
class RecentMessage:
    """A message of `units` units that left `age_s` seconds ago."""

    age_s: float
    units: float = 1.0
    sender: str | None = None


class RateLimiter:
    """Says when each message may leave, in the order of asking. Belongs to the event loop that first awaits it."""

    def __init__(
        self,
        account: RateLimit | None = None,
        *,
        senders: Mapping[str, RateLimit] | None = None,
        queue: RateLimit | None = None,
        shared: SharedSlots | None = None,
        overall: RateLimiter | None = None,
    ) -> None:
        """`account` limits all messages, `senders` those of one sender each, `queue` the provider's queue.

        `overall` limits these messages together with those of other routes, by its account alone. `shared` holds the
        state in memory of several processes: the limits then bind all of them together.
        """
        self._account = account
        self._senders = {name: (limit, _FIRST + place) for place, (name, limit) in enumerate((senders or {}).items())}
        self._queue = None if queue is None else (queue, _FIRST + len(self._senders))
        self._shared = shared or SharedSlots(new_slots(account, senders))
        self._slots = self._shared.slots
        self._overall = overall
        self._turn = asyncio.Lock()
        self._waiting = 0  # calls that wait for their turn or their time
        self._observed = _ObservedRate()
        self._drains_faster = False  # than documented, by the provider's delivery reports

    # Whether the slots of a whole batch are asked for at once: then `expect` is told of it.
    plans_ahead = False
    # Lateness of up to this long is caught up.
    catch_up_s = CATCH_UP_S

    def expect(self, messages: Sequence[tuple[float, str | None]]) -> None:
        """Learn of the messages (units, sender) that are to leave next, in this order."""

    # -- pauses ----------------------------------------------------------------------------------------------------

    @property
    def paused_s(self) -> float:
        """Seconds left of the pause; 0 without one."""
        return max(0.0, self._slots[_PAUSED_UNTIL] - _now())

    @property
    def paused(self) -> bool:
        return self.paused_s > 0

    def pause(self, seconds: float) -> None:
        """Let nothing leave before `seconds` have passed. Of several pauses, the one that ends last counts."""
        with self._shared.lock:
            self._slots[_PAUSED_UNTIL] = max(self._slots[_PAUSED_UNTIL], _now() + seconds)

    async def wait_until_resumed(self) -> None:
        """Return when there is no pause, or no longer."""
        while self.paused:  # noqa: ASYNC110 (waits for a time, not for a change)
            await asyncio.sleep(self.paused_s)  # it may be prolonged meanwhile

    def _overwrite(
        self, *, per_s: float, due: float, share: tuple[float, float], cut_at: float, paused_until: float
    ) -> None:
        """Take the state that another clock's owner has: times of this event loop. `share` is with its time."""
        slots = self._slots
        slots[_RATE], slots[_DUE] = per_s, due
        slots[_SHARE], slots[_SHARE_AT] = share
        slots[_CUT_AT] = max(slots[_CUT_AT], cut_at)
        slots[_PAUSED_UNTIL] = max(slots[_PAUSED_UNTIL], paused_until)

    # -- the provider's answers --------------------------------------------------------------------------------------

    def slow_down(self, retry_after_s: float, *, again_after_s: float = CUT_EVERY_S) -> bool:
        """Pause for `retry_after_s`, then send at half the rate, which recovers; the provider refused it.

        Without a limit of the account, the rate observed until now is halved. Within `again_after_s` of the last time
        there is only the pause, and the result is False: such an answer is about what left before.
        """
        self.pause(retry_after_s)
        now = _now()
        with self._shared.lock:
            if now < self._slots[_CUT_AT] + again_after_s:
                return False
            if not self._slots[_RATE]:
                self._slots[_RATE] = self._observed.per_s * self._shared.processes
            self._slots[_SHARE] = max(MIN_SHARE, CUT * self._share(now))
            self._slots[_SHARE_AT] = self._slots[_PAUSED_UNTIL]  # recovers from the end of the pause on
            self._slots[_CUT_AT] = now
            return True

    @property
    def slowed(self) -> bool:
        """Whether the rate is still below its limit because the provider refused it."""
        return self._share(_now()) < 1

    @property
    def per_s(self) -> float | None:
        """The account's units a second as of now; None without a limit."""
        return self._slots[_RATE] * self._share(_now()) or None

    @property
    def limit_per_s(self) -> float | None:
        """The account's limit in units a second, whatever was refused; None without one."""
        return None if self._account is None else self._account.per_s

    @property
    def overall_per_s(self) -> float | None:
        """The units a second that other routes share with this one; None without such a limit."""
        return None if self._overall is None else self._overall.limit_per_s

    @property
    def slowed_to_per_s(self) -> float | None:
        """The account's units a second while refusals keep it below its limit; None while they do not."""
        return self.per_s if self.slowed else None

    def account_for(self, messages: Sequence[RecentMessage], *, queued: float = 0.0) -> None:
        """Count the `messages` that another process sent last as if this one had sent them.

        It may have used its whole second before the newest of them, and `queued` units were still in the provider's
        queue when it ended.
        """
        if self._overall is not None:
            self._overall.account_for(messages)
        now, newest_s = _now(), math.inf
        with self._shared.lock:
            for message in messages:
                age_s = max(0.0, message.age_s)
                newest_s = min(newest_s, age_s)
                for slot, cost_s, _ in self._limits(message.sender, message.units, now):
                    if self._queue is None or slot != self._queue[1]:
                        self._slots[slot] = max(self._slots[slot], now - age_s + cost_s)
            if newest_s == math.inf:
                return
            for slot in [_DUE, *(slot for _, slot in self._senders.values())]:
                self._slots[slot] = max(self._slots[slot], now - newest_s + WINDOW_S)
            if self._queue is not None:
                limit, slot = self._queue
                room = limit.burst - max(0.0, min(queued, limit.burst + 1 - limit.per_s * newest_s))
                self._slots[slot] = max(self._slots[slot], now - room / self._refill(limit.per_s))

    def set_queue_length(self, units: float) -> None:
        """Set the length of the provider's queue by its own reports; less than estimated makes room at once."""
        if self._queue is None:
            return
        limit, slot = self._queue
        with self._shared.lock:
            due = _now() - (limit.burst - units) / self._refill(limit.per_s)
            self._drains_faster = self._drains_faster or due < self._slots[slot]
            self._slots[slot] = min(self._slots[slot], due)

    def time_to_send_s(self, units: Mapping[str | None, float], *, last: float = 1.0) -> float:
        """Seconds until `units` of each sender have left, if only the limits hold them up; 0 without limits.

        The last message of each has `last` units, whose time need not pass. A rate that recovers from a refusal is
        assumed to go on recovering; a queue that reports have shown to drain faster than documented is left out.
        """
        now, together = _now(), max(0.0, sum(units.values()) - last)
        begins = max(now, self._slots[_PAUSED_UNTIL])
        ends = [begins]
        if self._overall is not None:
            ends.append(now + self._overall.time_to_send_s(units, last=last))
        if self._account is not None:
            start = max(begins, self._slots[_DUE])
            full_rate_s = together / self._refill(self._slots[_RATE])
            ends.append(start + _recovering_s(full_rate_s, self._share(start)))
        for name, (limit, slot) in self._senders.items():
            if (left := units.get(name, 0.0)) > 0:
                ends.append(max(self._slots[slot], begins) + max(0.0, left - last) / self._refill(limit.per_s))
        if self._queue is not None and not self._drains_faster:
            limit, slot = self._queue
            slack_s = self.catch_up_s + limit.burst / self._refill(limit.per_s)
            ends.append(self._scheduled(slot, begins, slack_s) + together / self._refill(limit.per_s))
        return max(ends) - now

    # -- permission to send ------------------------------------------------------------------------------------------

    async def acquire(self, units: float = 1, *, sender: str | None = None) -> bool:
        """Return True when a message of `units` units may leave now, False in a pause: then `wait_until_resumed`.

        A message leaves as one, and the time of all its units passes before the next. A call that is cancelled or
        paused has taken nothing. Raises ValueError for a negative or infinite number.
        """
        if not 0 <= units < math.inf:
            raise ValueError(f"units must be a number from 0, not {units}")
        if not self._waiting and (wait_s := self._try_acquire(sender, units)) <= 0:
            return wait_s == 0
        self._waiting += 1
        try:
            async with self._turn:  # in the order of asking: a long message does not starve among short ones
                while (wait_s := self._try_acquire(sender, units)) > 0:  # noqa: ASYNC110 (waits for a time)
                    await asyncio.sleep(min(wait_s, LOOK_AGAIN_S))
        finally:
            self._waiting -= 1
        return wait_s == 0

    def _try_acquire(self, sender: str | None, units: float) -> float:
        """Take the units and return 0 when the message may leave now; else seconds to wait, below 0 in a pause."""
        with self._shared.lock:
            now = _now()  # with the lock held: time spent waiting for it must not be caught up
            if self._slots[_PAUSED_UNTIL] > now:
                return -1.0
            limits = self._limits(sender, units, now)
            due = max([self._slots[slot] for slot, *_ in limits], default=_NEVER)
            if self._overall is not None:
                due = max(due, self._overall.due_s)
            if due > now:
                return due - now
            if self._overall is not None:
                self._overall.take(units)
            for slot, cost_s, slack_s in limits:
                self._slots[slot] = self._scheduled(slot, now, slack_s) + cost_s
            self._observed.count(now)
            return 0.0

    @property
    def due_s(self) -> float:
        """When the account's limit lets the next message leave, by the event loop's clock."""
        return self._slots[_DUE]

    def take(self, units: float) -> None:
        """Count a message that leaves now through a limiter of which this one is the overall."""
        self._try_acquire(None, units)

    def due_in_s(self, *senders: str | None) -> list[float]:
        """For each of `senders`, seconds until a message of it may leave, pauses aside; all as of the same moment."""
        now = _now()
        together_s = 0.0 if self._overall is None else max(0.0, self._overall.due_s - now)
        return [
            max([self._slots[slot] - now for slot, *_ in self._limits(sender, 1, now)] + [together_s])
            for sender in senders
        ]

    def interval_s(self, units: float, sender: str | None) -> float:
        """Seconds between a message of `units` units and the next at `sender`'s own limit; 0 without one."""
        own = self._senders.get(sender or "")
        return 0.0 if own is None else units / self._refill(own[0].per_s)

    def _limits(self, sender: str | None, units: float, now: float) -> list[tuple[int, float, float]]:
        """For each limit that applies to the message: its slot, the seconds it costs there, the seconds caught up."""
        rate = self._slots[_RATE]
        if not (rate or self._senders or self._queue):
            return []
        limits = []
        if rate:
            counted = units if self._account else 1.0  # a rate that was only observed is one of messages
            limits.append((_DUE, counted / (self._refill(rate) * self._share(now)), self.catch_up_s))
        for limit, slot in [limited for limited in (self._senders.get(sender or ""), self._queue) if limited]:
            cost_s = units / self._refill(limit.per_s)
            limits.append((slot, cost_s, self.catch_up_s + limit.burst / self._refill(limit.per_s)))
        return [applied for applied in limits if applied[1]]

    def _scheduled(self, slot: int, now: float, slack_s: float) -> float:
        """When the message that leaves now was due. Before the first message only a queue's burst is saved up."""
        due = self._slots[slot]
        return now - (slack_s - self.catch_up_s) if due == _NEVER else max(due, now - slack_s)

    def _share(self, now: float) -> float:
        """The share of the account's limit in use: 1, and less after a refusal."""
        since = self._slots[_SHARE_AT]
        if since == _NEVER:
            return 1.0
        share = self._slots[_SHARE] + RECOVERY_PER_S * max(0.0, now - since)
        return min(1.0, share) if self._account else share  # a rate that was only observed may be exceeded

    @property
    def _margin(self) -> float:
        """What the time between messages is multiplied with: for what catching up, and the way, may add to a second."""
        return WINDOW_S + self.catch_up_s + ON_THE_WAY_S

    def _refill(self, per_s: float) -> float:
        """The rate of the schedule, a little below the limit."""
        return per_s / self._margin


# The slots of a rate limiter's state, each a float; from _FIRST on the due times of senders and, last, of the queue.
_PAUSED_UNTIL, _RATE, _DUE, _SHARE, _SHARE_AT, _CUT_AT, _FIRST = range(7)


@dataclass(frozen=True, slots=True)
class SharedSlots:
    """A rate limiter's state, and the lock under which it changes. Processes share it through a file that they map.

    Their event loops run on the system's monotonic clock, which is one for all `processes` of a machine.
    """

    slots: MutableSequence[float] | memoryview[float]
    lock: AbstractContextManager[object] = field(default_factory=nullcontext)
    processes: int = 1


def new_slots(account: RateLimit | None, senders: Mapping[str, RateLimit] | None = None) -> list[float]:
    """The state of an unused rate limiter."""
    slots = [_NEVER] * (_FIRST + len(senders or ()) + 1)
    slots[_RATE] = account.per_s if account else 0.0
    slots[_SHARE] = 1.0
    return slots


def _recovering_s(full_rate_s: float, share: float) -> float:
    """Seconds for what takes `full_rate_s` at the full rate, of which `share` is in use and more each second."""
    recovered_s = (1 - share) / RECOVERY_PER_S
    meanwhile = recovered_s * (1 + share) / 2
    if full_rate_s >= meanwhile:
        return recovered_s + full_rate_s - meanwhile
    return (math.sqrt(share**2 + 2 * RECOVERY_PER_S * full_rate_s) - share) / RECOVERY_PER_S


class _ObservedRate:
    """The rate of this process where nothing limits it: messages of the last whole second."""

    def __init__(self) -> None:
        self._since = _NEVER
        self._count = self._last = 0.0

    def count(self, now: float) -> None:
        if now - self._since >= WINDOW_S:
            self._last, self._count, self._since = self._count, 0.0, now
        self._count += 1

    @property
    def per_s(self) -> float:
        return max(1.0, self._last, self._count)


def _now() -> float:
    return asyncio.get_running_loop().time()
