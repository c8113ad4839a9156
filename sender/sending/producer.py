"""What leaves next, and when: claims messages in small batches and lets each go at its time.

An intent is committed before its message is handed on. What was claimed and does not leave is given back.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

from sender.core.clock import steady_s
from sender.plan.message_reader import MessageReader
from sender.plan.pace import Pace
from sender.plan.sender_pool import SenderPool
from sender.providers.base import Message
from sender.sending.concurrency import Concurrency
from sender.sending.rate_limit import LOOK_AGAIN_S, RateLimiter, RecentMessage
from sender.state.ledger import WHOLE_RUN, Claim, Ledger

T = TypeVar("T")

CLAIM_EVERY_S = 0.05  # of the pace in a batch; with those claimed ahead, what a crash leaves in doubt
CLAIM_MAX = 500
NEARLY_S = 0.25  # before a message may leave it is claimed, not earlier
AHEAD_FROM = 20  # messages in a batch; smaller ones are not claimed ahead, so that a crash leaves few in doubt
LEASE_MS = 30_000  # a request never starts later than this after its intent
# Numbers with limits of their own: so many messages for each are looked at ahead, so that all of them find work.
LOOK_AHEAD_EACH = 32
LOOK_AHEAD_MAX = 4_000
LATELY_MOST = 2_000  # messages of the process before that are looked at,
LATELY_UNITS = 20  # and the units that one of them may have had


class Submitter(Protocol):
    """What the feed asks of the loop that it feeds."""

    async def room(self) -> None:
        """Returns when one more request may be under way."""
        ...

    async def more(self) -> bool:
        """Waits until there may be more to claim; False when there will not be."""
        ...

    def submit(self, claim: Claim, message: Message, send_by_s: float) -> None:
        """Sends the message. It must not begin to leave after `send_by_s` on the clock `steady_s`."""
        ...

    async def in_ledger(self, call: Callable[[], T]) -> T:
        """What `call` returns, made in the ledger's own thread."""
        ...


@dataclass(frozen=True, slots=True)
class _Batch:
    """Messages whose intents are committed. None of them may leave after `send_by_s` on the clock `steady_s`."""

    work: deque[tuple[Claim, Message, int]]
    send_by_s: float

    @property
    def claims(self) -> list[Claim]:
        return [claim for claim, _, _ in self.work]


class Producer:
    """Feeds a `Submitter` with the pending messages of one run: `await Feed(...).run(flight)`."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        run_id: str,
        reader: MessageReader,
        pace: Pace,
        pacer: RateLimiter,
        concurrency: Concurrency,
        pool: SenderPool | None = None,
        below_seq: int | None = None,
        partition: tuple[int, int] = WHOLE_RUN,
        left: Callable[[float, str | None, float], None] | None = None,
    ) -> None:
        """`left` is told the units and the number of each message that leaves, and the time on the clock `steady_s`."""
        self._left = left
        self._ledger = ledger
        self._run_id = run_id
        self._reader = reader
        self._pace = pace
        self._pacer = pacer
        self._concurrency = concurrency
        self._pool = pool
        self._below_seq = below_seq
        self._partition = partition
        self._credit = 0.0  # units paid for by a message that then came too late for its lease
        self._waiting = _LookAhead(pacer, pace) if pace.senders else None

    async def run(self, flight: Submitter) -> None:
        """Claims batch after batch, paces each message out of it, and goes on until nothing is left or cancelled."""
        batch: _Batch | None = None
        ahead: asyncio.Task[_Batch] | None = None
        try:
            while True:
                if ahead is None:
                    await self._nearly_due()
                await self._pacer.resumed()
                ahead = ahead or asyncio.create_task(self._claimed(flight))
                batch = await asyncio.shield(ahead)
                ahead = None
                if not batch.work:
                    if not await flight.more():
                        return
                    continue
                if len(batch.work) >= AHEAD_FROM:  # committed while this one goes out
                    ahead = asyncio.create_task(self._claimed(flight))
                await self._let_go(batch, flight)
                await self._release(batch.claims, flight)
                batch = None
                if ahead is not None and self._pacer.paused:  # else its claims would age with the pause
                    batch = await asyncio.shield(ahead)
                    ahead = None
                    await self._release(batch.claims, flight)
                    batch = None
        finally:
            # Nothing of these has left: a clean stop leaves no doubt behind.
            await asyncio.shield(self._give_back(batch, ahead, flight))

    async def _nearly_due(self) -> None:
        """Waits while nothing may leave for long: what is claimed by then would only be in doubt after a crash."""
        while (due_in_s := self._due_in_s()) > NEARLY_S:  # noqa: ASYNC110 (waits for a time, not for a change)
            await asyncio.sleep(min(due_in_s - NEARLY_S, LOOK_AGAIN_S))

    def _due_in_s(self) -> float:
        return self._pacer.due_in_s(None)[0] if self._waiting is None else self._waiting.due_in_s()

    async def _let_go(self, batch: _Batch, flight: Submitter) -> None:
        """Each message at its time, until the account is to pause or the rest has come too late."""
        while batch.work:
            claim, message, segments = batch.work[0]
            units = segments if self._pace.unit == "segments" else 1
            await flight.room()
            paid = min(units, self._credit)
            if not await self._pacer.acquire(units - paid, sender=message.from_number):
                return
            self._credit -= paid
            if (now_s := steady_s()) >= batch.send_by_s:
                self._credit += units  # or a pace slower than the lease would never send anything
                return
            batch.work.popleft()
            flight.submit(claim, message, batch.send_by_s)
            if self._left is not None:
                self._left(units, message.from_number, now_s)

    async def _give_back(self, batch: _Batch | None, ahead: asyncio.Task[_Batch] | None, flight: Submitter) -> None:
        if batch is not None:
            await self._release(batch.claims, flight)
        if ahead is not None:
            await self._release((await ahead).claims, flight)

    async def _release(self, claims: list[Claim], flight: Submitter) -> None:
        if claims:
            if self._waiting is not None:
                self._waiting.given_back()
            await flight.in_ledger(partial(self._ledger.release, self._run_id, claims))

    async def _claimed(self, flight: Submitter) -> _Batch:
        """The next batch. Never cancelled: the thread would commit all the same."""
        limit = self._batch_size()
        if self._waiting is None:
            batch = await flight.in_ledger(partial(self._claim, limit))
        else:
            batch = await self._claimed_by_sender(self._waiting, limit, flight)
        try:
            return await self._from_pool(batch, flight)
        except BaseException:
            await self._release(batch.claims, flight)
            raise

    def _batch_size(self) -> int:
        per_s = self._pace.per_s or max(self._concurrency.per_s, self._concurrency.limit / (2 * CLAIM_EVERY_S))
        return max(1, min(CLAIM_MAX, round(per_s * CLAIM_EVERY_S)))

    def _claim(self, limit: int) -> _Batch:
        """Commits intents and reads their messages and segments; in the ledger's thread."""
        send_by_s = steady_s() + LEASE_MS / 1000  # before the ledger's own reading: never later than it
        claims = self._ledger.claim(self._run_id, limit=limit, lease_ms=LEASE_MS, below_seq=self._below_seq)
        try:
            found = self._reader.read([claim.seq for claim in claims])
        except BaseException:
            self._ledger.release(self._run_id, claims)
            raise
        return _Batch(deque((claim, *one) for claim, one in zip(claims, found, strict=True)), send_by_s)

    async def _claimed_by_sender(self, waiting: _LookAhead, limit: int, flight: Submitter) -> _Batch:
        """The messages whose numbers are due first, so that none waits behind another number's limit."""
        if wanted := waiting.wanted():
            await flight.in_ledger(partial(self._look_ahead, waiting, wanted))
        chosen = waiting.take(limit)
        if not chosen:
            return _Batch(deque(), 0.0)
        send_by_s = steady_s() + LEASE_MS / 1000
        seqs = list(chosen)
        claims = await flight.in_ledger(partial(self._ledger.claim_prefetched, self._run_id, seqs, lease_ms=LEASE_MS))
        by_seq = {claim.seq: claim for claim in claims}  # a report may have settled one meanwhile
        return _Batch(deque((by_seq[seq], *one) for seq, one in chosen.items() if seq in by_seq), send_by_s)

    def _look_ahead(self, waiting: _LookAhead, wanted: int) -> None:
        """Reads messages that none has begun; in the ledger's thread."""
        exclude, below_seq = waiting.seqs, self._below_seq
        seqs = self._ledger.prefetch(
            self._run_id, limit=wanted, exclude=exclude, below_seq=below_seq, partition=self._partition
        )
        if not seqs and self._partition != WHOLE_RUN:  # what other processes look at, and one that died left
            seqs = self._ledger.prefetch(self._run_id, limit=wanted, exclude=exclude, below_seq=below_seq)
        for seq, (message, segments) in zip(seqs, self._reader.read(seqs), strict=True):
            waiting.add(seq, message, segments)

    async def _from_pool(self, batch: _Batch, flight: Submitter) -> _Batch:
        """The batch; a message whose number is out has another, noted before it leaves."""
        if self._pool is None or not self._pool.disabled:
            return batch
        work: deque[tuple[Claim, Message, int]] = deque()
        moved: list[tuple[Claim, str]] = []
        for claim, message, segments in batch.work:
            number = self._pool.choose(message.to, message.from_number)
            if number != message.from_number:
                work.append((claim, message._replace(from_number=number), segments))
                if number is not None:
                    moved.append((claim, number))
            else:
                work.append((claim, message, segments))
        if moved:
            await flight.in_ledger(partial(self._ledger.use_senders, self._run_id, moved))
        return replace(batch, work=work)


def left_lately(ledger: Ledger, reader: MessageReader, pace: Pace, run_id: str) -> tuple[list[RecentMessage], float]:
    """What the last process sent last, as far as the limits of `pace` still feel it, and what has no final status yet.

    The latter in units, and only where a queue counts it.
    """
    limits = [per_s for per_s in (pace.per_s, *pace.senders.values()) if per_s is not None]
    if not limits and pace.queue is None:
        return [], 0.0
    now_ms = ledger.now_ms()
    ages_s = {seq: (now_ms - at_ms) / 1000 for seq, at_ms in ledger.last_changed(run_id, limit=LATELY_MOST)}
    felt_s = max([LATELY_UNITS / per_s for per_s in limits], default=0.0)
    seqs = [seq for place, (seq, age_s) in enumerate(ages_s.items()) if place == 0 or age_s <= felt_s]
    left = [
        RecentMessage(ages_s[seq], segments if pace.unit == "segments" else 1, message.from_number)
        for seq, (message, segments) in zip(seqs, reader.read(seqs), strict=True)
    ]
    if pace.queue is None or not left:
        return left, 0.0
    return left, ledger.delivering(run_id) * sum(one.units for one in left) / len(left)


class _LookAhead:
    """Messages that wait, not yet claimed, behind the limits of their numbers."""

    def __init__(self, pacer: RateLimiter, pace: Pace) -> None:
        self._pacer = pacer
        self._pace = pace
        self._most = min(LOOK_AHEAD_MAX, LOOK_AHEAD_EACH * len(pace.senders))
        self._queues: dict[str | None, deque[tuple[int, Message, int]]] = {}
        # When each number is due after what has been taken here, which the pacer does not know before it leaves.
        self._due_s: dict[str | None, float] = {}
        self.seqs: set[int] = set()

    def wanted(self) -> int:
        """How many more to look at; 0 while half of the places are taken.

        A list that is sorted by number has the others' messages further on.
        """
        idle = any(not self._queues.get(number) for number in self._pace.senders)
        most = LOOK_AHEAD_MAX if idle and self.seqs else self._most
        return most - len(self.seqs) if len(self.seqs) <= most // 2 else 0

    def add(self, seq: int, message: Message, segments: int) -> None:
        self._queues.setdefault(message.from_number, deque()).append((seq, message, segments))
        self.seqs.add(seq)

    def due_in_s(self) -> float:
        """Seconds until one of the messages that wait here may leave; 0 where none waits."""
        due = self._due()
        return due[0][0] - asyncio.get_running_loop().time() if due else 0.0

    def given_back(self) -> None:
        """What was taken has not left."""
        self._due_s.clear()

    def _due(self) -> list[tuple[float, int, str | None]]:
        """A heap of when each number is due, its first message and itself: of several at once, as in the plan."""
        now_s = asyncio.get_running_loop().time()
        senders = [sender for sender, queue in self._queues.items() if queue]
        due = [
            (max(now_s + due_in_s, self._due_s.get(sender, now_s)), self._queues[sender][0][0], sender)
            for due_in_s, sender in zip(self._pacer.due_in_s(*senders), senders, strict=True)
        ]
        heapq.heapify(due)
        return due

    def take(self, limit: int) -> dict[int, tuple[Message, int]]:
        """The next messages by `seq`, those first whose numbers are due first, and none long before its time."""
        due, until_s = self._due(), asyncio.get_running_loop().time() + 2 * NEARLY_S
        taken: dict[int, tuple[Message, int]] = {}
        while due and len(taken) < limit and (not taken or due[0][0] < until_s):
            at_s, _, sender = heapq.heappop(due)
            queue = self._queues[sender]
            seq, message, segments = queue.popleft()
            self.seqs.discard(seq)
            taken[seq] = (message, segments)
            units = segments if self._pace.unit == "segments" else 1
            self._due_s[sender] = at_s + self._pacer.takes_s(units, sender)
            if queue:
                heapq.heappush(due, (self._due_s[sender], queue[0][0], sender))
        return taken
