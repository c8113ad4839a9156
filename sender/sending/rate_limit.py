"""How fast messages may leave: the limits of an account, of each sender number and of the provider's queue, stacked.

Each limit keeps one number, the time at which its next unit is due (the virtual scheduling of GCRA), so limits stack
exactly, the rate can change on the way, and processes can share them. Knows nothing of providers. All times are those
of the running event loop, so a change of the wall clock neither bursts nor stalls.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, MutableSequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

# So much lateness (of a timer, of a busy loop) is made good. What it could add to a second is taken out of the rate
# beforehand: 2 % of the rate buy that no sliding second sees more than the limit. The rest of the 3 % that the pace may
# stay below its limit goes half to the way there: of two messages, the first may be read that much later.
CATCH_UP_S = 0.02
ON_THE_WAY_S = 0.005
WINDOW_S = 1.0
CUT = 0.5  # a refusal of the pace halves it,
RECOVERY_PER_S = 0.02  # and each second gives this share of the whole back
LEAST_SHARE = 0.01
CUT_EVERY_S = 1.0  # what was in flight when the first refusal came is no news

LOOK_AGAIN_S = 0.5  # room in the provider's queue may come earlier than was reckoned

_NEVER = -math.inf


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`per_s` units a second; `unit` is `messages` or `segments`. `burst` more units may go ahead of it (a queue).

    Raises ValueError unless `per_s` is above 0 and bounded.
    """

    per_s: float
    unit: str = "messages"
    burst: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.per_s < math.inf:
            raise ValueError(f"the rate must be above 0, not {self.per_s}")

    def units(self, messages: float, segments: float) -> float:
        return segments if self.unit == "segments" else messages


def queue_limit(units: float, drained_per_s: float) -> RateLimit:
    """So many units may lie at the provider, which hands on `drained_per_s`: one leaves by the pace, the rest ahead."""
    return RateLimit(drained_per_s, "segments", burst=max(0.0, units - 1))


@dataclass(frozen=True, slots=True)
class RecentMessage:
    """A message of so many units that left `age_s` seconds ago."""

    age_s: float
    units: float = 1.0
    sender: str | None = None


class RateLimiter:
    """Hands out leave to send, in the order of asking. Belongs to the event loop that first awaits it."""

    def __init__(
        self,
        account: RateLimit | None = None,
        *,
        senders: Mapping[str, RateLimit] | None = None,
        queue: RateLimit | None = None,
        shared: SharedSlots | None = None,
    ) -> None:
        """`account` limits all messages, `senders` those of one sender each, `queue` what lies at the provider.

        `shared` holds the state where several processes see it: the limits then bind all of them together.
        """
        self._account = account
        self._senders = {name: (limit, _FIRST + place) for place, (name, limit) in enumerate((senders or {}).items())}
        self._queue = None if queue is None else (queue, _FIRST + len(self._senders))
        self._shared = shared or SharedSlots(new_slots(account, senders))
        self._cells = self._shared.cells
        self._turn = asyncio.Lock()
        self._asking = 0  # who wait, for their turn or their time
        self._seen = _ObservedRate()
        self._reported = False  # that the provider's queue gets shorter faster than is documented

    # -- pauses ----------------------------------------------------------------------------------------------------

    @property
    def paused_until(self) -> float | None:
        """The event loop's time at which the pause is over; None if there is none."""
        return self._cells[_PAUSED_UNTIL] if self.paused else None

    @property
    def paused_s(self) -> float:
        """Seconds that the pause still lasts; 0 if there is none."""
        return max(0.0, self._cells[_PAUSED_UNTIL] - _now())

    @property
    def paused(self) -> bool:
        return self.paused_s > 0

    def pause(self, seconds: float) -> None:
        """Nobody acquires before `seconds` have passed. Of several wishes the one that ends last wins."""
        with self._shared.lock:
            self._cells[_PAUSED_UNTIL] = max(self._cells[_PAUSED_UNTIL], _now() + seconds)

    async def resumed(self) -> None:
        """Returns when there is no pause, or no longer."""
        while self.paused:  # noqa: ASYNC110 (waits for a time, not for a change)
            await asyncio.sleep(self.paused_s)  # a longer wish may come meanwhile

    # -- what the provider says ------------------------------------------------------------------------------------

    def refused(self, retry_after_s: float, *, news_after_s: float = CUT_EVERY_S) -> bool:
        """The provider refuses the pace: a pause of `retry_after_s`, and after it half the pace, which recovers.

        Without a limit of the account, the pace seen until now is what is halved. False, and only the pause, within
        `news_after_s` of the last time: what is said then is about what left before.
        """
        self.pause(retry_after_s)
        now = _now()
        with self._shared.lock:
            if now < self._cells[_CUT_AT] + news_after_s:
                return False
            if not self._cells[_RATE]:
                self._cells[_RATE] = self._seen.per_s * self._shared.processes
            self._cells[_SHARE] = max(LEAST_SHARE, CUT * self._share(now))
            self._cells[_SHARE_AT] = self._cells[_PAUSED_UNTIL]  # recovers from the end of the pause on
            self._cells[_CUT_AT] = now
            return True

    @property
    def slowed(self) -> bool:
        """Whether the pace is still below its limit because the provider refused it."""
        return self._share(_now()) < 1

    @property
    def per_s(self) -> float | None:
        """The account's units a second as of now; None without a limit."""
        return self._cells[_RATE] * self._share(_now()) or None

    @property
    def slowed_to_per_s(self) -> float | None:
        """The account's units a second while refusals hold it below its limit; None while they do not."""
        return self.per_s if self.slowed else None

    def left_before(self, messages: Iterable[RecentMessage], *, queued: float = 0.0) -> None:
        """Another process sent `messages` last: each counts as if it had been sent by this one.

        It may have used its whole second before the newest of them, and `queued` units still lay at the provider when
        it ended.
        """
        now, newest_s = _now(), math.inf
        with self._shared.lock:
            for one in messages:
                age_s = max(0.0, one.age_s)
                newest_s = min(newest_s, age_s)
                for cell, cost_s, _ in self._limits(one.sender, one.units, one.units, now):
                    if self._queue is None or cell != self._queue[1]:
                        self._cells[cell] = max(self._cells[cell], now - age_s + cost_s)
            if newest_s == math.inf:
                return
            for cell in [_DUE, *(cell for _, cell in self._senders.values())]:
                self._cells[cell] = max(self._cells[cell], now - newest_s + WINDOW_S)
            if self._queue is not None:
                limit, cell = self._queue
                room = limit.burst - max(0.0, min(queued, limit.burst + 1 - limit.per_s * newest_s))
                self._cells[cell] = max(self._cells[cell], now - room / _refill(limit.per_s))

    def queue_is(self, units: float) -> None:
        """So much lies in the provider's queue by its own reports: less than was reckoned makes room at once."""
        if self._queue is None:
            return
        limit, cell = self._queue
        with self._shared.lock:
            due = _now() - (limit.burst - units) / _refill(limit.per_s)
            self._reported = self._reported or due < self._cells[cell]
            self._cells[cell] = min(self._cells[cell], due)

    def needs_s(self, units: Mapping[str | None, float], *, last: float = 1.0) -> float:
        """Seconds until so many units of each sender have left, if nothing but the limits holds them up; 0 without any.

        The last message of each has `last` units, whose time need not pass. A pace that is recovering from a refusal is
        taken to go on recovering; a queue whose documented pace reports have proved wrong is left out.
        """
        now, together = _now(), max(0.0, sum(units.values()) - last)
        begins = max(now, self._cells[_PAUSED_UNTIL])
        ends = [begins]
        if self._account is not None:
            start = max(begins, self._cells[_DUE], self._cells[_SHARE_AT])
            whole = together / _refill(self._cells[_RATE])  # seconds at the full pace
            ends.append(start + _recovering_s(whole, self._share(start)))
        for name, (limit, cell) in self._senders.items():
            if (left := units.get(name, 0.0)) > 0:
                ends.append(max(self._cells[cell], begins) + max(0.0, left - last) / _refill(limit.per_s))
        if self._queue is not None and not self._reported:
            limit, cell = self._queue
            slack_s = CATCH_UP_S + limit.burst / _refill(limit.per_s)
            ends.append(self._scheduled(cell, begins, slack_s) + together / _refill(limit.per_s))
        return max(ends) - now

    # -- leave to send ---------------------------------------------------------------------------------------------

    async def acquire(self, segments: float = 1, *, messages: float = 1, sender: str | None = None) -> bool:
        """True when a message of so many segments may leave now; False when there is a pause: await `resumed`.

        A message leaves as one, and the time of all its units passes before the next. A call that is cancelled or
        paused has taken nothing. Raises ValueError for a negative or unbounded number.
        """
        if not (0 <= segments < math.inf and 0 <= messages < math.inf):
            raise ValueError(f"units must be numbers from 0, not {segments} segments, {messages} messages")
        if not self._asking and (wait_s := self._taken(sender, messages, segments)) <= 0:
            return wait_s == 0
        self._asking += 1
        try:
            async with self._turn:  # in the order of asking: a long message does not starve among short ones
                while (wait_s := self._taken(sender, messages, segments)) > 0:  # noqa: ASYNC110 (waits for a time)
                    await asyncio.sleep(min(wait_s, LOOK_AGAIN_S))
        finally:
            self._asking -= 1
        return wait_s == 0

    def _taken(self, sender: str | None, messages: float, segments: float) -> float:
        """0 when the message may leave now, and its units are taken; else seconds to wait, below 0 in a pause."""
        with self._shared.lock:
            now = _now()  # with the lock held: waiting for it must not be made good
            if self._cells[_PAUSED_UNTIL] > now:
                return -1.0
            limits = self._limits(sender, messages, segments, now)
            due = max([self._cells[cell] for cell, *_ in limits], default=_NEVER)
            if due > now:
                return due - now
            for cell, cost_s, slack_s in limits:
                self._cells[cell] = self._scheduled(cell, now, slack_s) + cost_s
            self._seen.count(messages, now)
            return 0.0

    def due_in_s(self, *senders: str | None) -> list[float]:
        """For each of `senders`, seconds until a message of it may leave, pauses aside; all as of one moment."""
        now = _now()
        return [max([self._cells[at] - now for at, *_ in self._limits(one, 1, 1, now)] + [0.0]) for one in senders]

    def takes_s(self, units: float, sender: str | None) -> float:
        """Seconds that pass at its own number between a message of so many units and the next; 0 without a limit."""
        own = self._senders.get(sender or "")
        return 0.0 if own is None else units / _refill(own[0].per_s)

    def _limits(
        self, sender: str | None, messages: float, segments: float, now: float
    ) -> list[tuple[int, float, float]]:
        """For each limit that the message counts in: its cell, the seconds it costs there, the seconds made good."""
        rate = self._cells[_RATE]
        if not (rate or self._senders or self._queue):
            return []
        found = []
        if rate:
            units = self._account.units(messages, segments) if self._account else messages
            found.append((_DUE, units / (_refill(rate) * self._share(now)), CATCH_UP_S))
        for limit, cell in [one for one in (self._senders.get(sender or ""), self._queue) if one]:
            cost_s = limit.units(messages, segments) / _refill(limit.per_s)
            found.append((cell, cost_s, CATCH_UP_S + limit.burst / _refill(limit.per_s)))
        return [one for one in found if one[1]]

    def _scheduled(self, cell: int, now: float, slack_s: float) -> float:
        """When the message that leaves now was due; nothing is saved up before the first but a queue's burst."""
        due = self._cells[cell]
        return now - (slack_s - CATCH_UP_S) if due == _NEVER else max(due, now - slack_s)

    def _share(self, now: float) -> float:
        """The part of the account's limit in use: 1, and less after a refusal."""
        since = self._cells[_SHARE_AT]
        if since == _NEVER:
            return 1.0
        share = self._cells[_SHARE] + RECOVERY_PER_S * max(0.0, now - since)
        return min(1.0, share) if self._account else share  # a pace that was only seen may be passed


# The cells of a pacer's state, each a float; from _FIRST on the due times of senders and, last, of the queue.
_PAUSED_UNTIL, _RATE, _DUE, _SHARE, _SHARE_AT, _CUT_AT, _FIRST = range(7)


@dataclass(frozen=True, slots=True)
class SharedSlots:
    """A pacer's state, and the lock under which it changes. Processes share it through memory that all of them map.

    Their event loops run on the system's monotonic clock, which is one for all `processes` of a machine.
    """

    cells: MutableSequence[float] | memoryview[float]
    lock: AbstractContextManager[object] = field(default_factory=nullcontext)
    processes: int = 1


def new_slots(account: RateLimit | None, senders: Mapping[str, RateLimit] | None = None) -> list[float]:
    """The state of a pacer that nobody has used."""
    cells = [_NEVER] * (_FIRST + len(senders or ()) + 1)
    cells[_RATE] = account.per_s if account else 0.0
    cells[_SHARE] = 1.0
    return cells


def _recovering_s(whole_s: float, share: float) -> float:
    """Seconds for what takes `whole_s` at the full pace, when `share` of it is in use and more of it each second."""
    if share >= 1:
        return whole_s
    recovered_s = (1 - share) / RECOVERY_PER_S
    meanwhile = recovered_s * (1 + share) / 2
    if whole_s >= meanwhile:
        return recovered_s + whole_s - meanwhile
    return (math.sqrt(share**2 + 2 * RECOVERY_PER_S * whole_s) - share) / RECOVERY_PER_S


class _ObservedRate:
    """The pace of this process, where nothing limits it: messages of the last whole second."""

    def __init__(self) -> None:
        self._since = _NEVER
        self._count = self._last = 0.0

    def count(self, messages: float, now: float) -> None:
        if now - self._since >= WINDOW_S:
            self._last, self._count, self._since = self._count, 0.0, now
        self._count += messages

    @property
    def per_s(self) -> float:
        return max(1.0, self._last, self._count)


def _refill(per_s: float) -> float:
    """The pace of the schedule: the limit less what catching up, and the way there, may add to a sliding second."""
    return per_s / (WINDOW_S + CATCH_UP_S + ON_THE_WAY_S)


def _now() -> float:
    return asyncio.get_running_loop().time()
