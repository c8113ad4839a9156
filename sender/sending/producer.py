"""What leaves next, and when: claims messages in small batches and submits each at its time.

An intent is committed before its message is submitted. What was claimed and does not leave is released.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sender.core.clock import steady_s
from sender.core.outcomes import Canceled
from sender.plan.message_reader import MessageReader
from sender.plan.sender_pool import SenderPool
from sender.providers.base import Message
from sender.sending.circuit_breaker import ALONE, Patience
from sender.sending.rate_limit import LOOK_AGAIN_S
from sender.sending.route_board import RouteSeat
from sender.sending.send_windows import SendWindows
from sender.sending.sender_queues import NEARLY_DUE_S, SenderQueues
from sender.sending.throttle import Throttle
from sender.state.async_ledger import AsyncLedger
from sender.state.ledger import WHOLE_RUN, Claim

CLAIM_EVERY_S = 0.05  # of the pace in a batch; with those claimed ahead, what a crash leaves in doubt
CLAIM_MAX = 500
AHEAD_FROM = 20  # messages in a batch; smaller ones are not claimed ahead, so that a crash leaves few in doubt
LEASE_MS = 30_000  # a request never starts later than this after its intent


class ClaimCheck(Protocol):
    """Says of messages that have just been claimed which of them must not leave after all."""

    def check(self, claims: Sequence[tuple[Claim, Message]], *, lease_ms: int) -> None:
        """Look at claims that have just been committed with that lease, in the ledger's thread."""
        ...

    def refusal(self, claim: Claim) -> Canceled | None:
        """The outcome of a claim that must not leave; None when it may."""
        ...


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which messages of a run a process sends: those below `below_seq` (None: all), of its own partition first.

    `check` holds some of them back once they are claimed. `windows` say which may leave now (None: all of them).
    `seat` is that of a route, in a run with several. `patience` is how much trouble with the provider is borne.
    """

    below_seq: int | None = None
    partition: tuple[int, int] = WHOLE_RUN
    check: ClaimCheck | None = None
    windows: SendWindows | None = None
    seat: RouteSeat | None = None
    patience: Patience = ALONE

    @property
    def notes_senders(self) -> bool:
        """Whether the number that each message leaves from is written down, because the plan has another."""
        return self.seat is not None and self.seat.route > 0


ALL_MESSAGES = Assignment()


class Submitter(Protocol):
    """What a producer asks of the loop that sends its messages."""

    async def wait_for_room(self) -> None:
        """Return when one more request may be in flight."""
        ...

    async def wait_for_more(self) -> bool:
        """Return True when there may be more to claim, False when there never will be."""
        ...

    def rest(self) -> None:
        """Learn that nothing may leave for now, whatever the provider does."""
        ...

    def submit(self, claim: Claim, message: Message, send_by_s: float) -> None:
        """Send the message. It must not begin to leave after `send_by_s` on the producer's clock."""
        ...


@dataclass(frozen=True, slots=True)
class _Batch:
    """Messages whose intents are committed, with their segments. None may leave after `send_by_s`."""

    work: deque[tuple[Claim, Message, int]]
    send_by_s: float

    @property
    def claims(self) -> list[Claim]:
        return [claim for claim, _, _ in self.work]


class Producer:
    """Submits the pending messages of one run: `await Producer(...).run(submitter)`."""

    def __init__(
        self,
        *,
        ledger: AsyncLedger,
        reader: MessageReader,
        throttle: Throttle,
        pool: SenderPool | None = None,
        assignment: Assignment = ALL_MESSAGES,
        on_sent: Callable[[float, str | None, float], None] | None = None,
        clock: Callable[[], float] = steady_s,
    ) -> None:
        """`on_sent` is called with the units and the number of each message that leaves, and the time by `clock`."""
        self._ledger = ledger
        self._reader = reader
        self._throttle = throttle
        self._rate_limiter = throttle.rate_limiter
        self._pool = pool
        self._assignment = assignment
        self._on_sent = on_sent
        self._clock = clock
        self._credit = 0.0  # units paid for by a message that then came too late for its lease
        self._queues = SenderQueues(throttle) if throttle.pace.senders else None

    async def run(self, submitter: Submitter) -> None:
        """Claim batch after batch and submit each message at its time, until nothing is left or this is cancelled."""
        batch: _Batch | None = None
        ahead: asyncio.Task[_Batch] | None = None
        try:
            while True:
                if ahead is None:
                    await self._wait_until_nearly_due()
                await self._rate_limiter.wait_until_resumed()
                await self._wait_while_paused(submitter)
                ahead = ahead or asyncio.create_task(self._claim_batch())
                batch = await asyncio.shield(ahead)
                ahead = None
                if not batch.work:
                    if not await submitter.wait_for_more():
                        return
                    continue
                if len(batch.work) >= AHEAD_FROM:  # committed while this one goes out
                    ahead = asyncio.create_task(self._claim_batch())
                await self._submit_batch(batch, submitter)
                await self._release(batch.claims)
                batch = None
                if ahead is not None and (
                    self._rate_limiter.paused or self._throttle.is_paused()
                ):  # else its claims would age with the pause
                    batch = await asyncio.shield(ahead)
                    ahead = None
                    await self._release(batch.claims)
                    batch = None
        finally:
            # Nothing of these has left: a clean stop leaves no doubt behind.
            await asyncio.shield(self._release_leftovers(batch, ahead))

    async def _wait_until_nearly_due(self) -> None:
        """Wait while nothing may leave for long: what is claimed by then would only be in doubt after a crash."""
        while (due_in_s := self._due_in_s()) > NEARLY_DUE_S:  # noqa: ASYNC110 (waits for a time, not for a change)
            await asyncio.sleep(min(due_in_s - NEARLY_DUE_S, LOOK_AGAIN_S))

    async def _wait_while_paused(self, submitter: Submitter) -> None:
        while self._throttle.is_paused():
            submitter.rest()
            await asyncio.sleep(LOOK_AGAIN_S)

    def _due_in_s(self) -> float:
        return self._rate_limiter.due_in_s(None)[0] if self._queues is None else self._queues.due_in_s()

    async def _submit_batch(self, batch: _Batch, submitter: Submitter) -> None:
        """Submit each message at its time, until sending is paused or the rest has come too late."""
        counts_segments = self._throttle.pace.unit == "segments"
        if self._rate_limiter.plans_ahead:
            self._rate_limiter.expect(
                [(segments if counts_segments else 1, message.from_number) for _, message, segments in batch.work]
            )
        while batch.work:
            claim, message, segments = batch.work[0]
            units = segments if counts_segments else 1
            await submitter.wait_for_room()
            if self._throttle.is_paused():
                return
            paid = min(units, self._credit)
            if not await self._rate_limiter.acquire(units - paid, sender=message.from_number):
                return
            self._credit -= paid
            if (now_s := self._clock()) >= batch.send_by_s:
                self._credit += units  # or a pace slower than the lease would never send anything
                return
            windows = self._assignment.windows
            fields = message.fields if windows is None else windows.limit_validity(claim.seq, message.fields)
            if fields is not message.fields:
                message = message._replace(fields=fields)
            batch.work.popleft()  # from here on it is the submitter's
            submitter.submit(claim, message, batch.send_by_s)
            if windows is not None:
                windows.record_sent(units)
            if self._on_sent is not None:
                self._on_sent(units, message.from_number, now_s)

    async def _release_leftovers(self, batch: _Batch | None, ahead: asyncio.Task[_Batch] | None) -> None:
        if batch is not None:
            await self._release(batch.claims)
        if ahead is not None:
            await self._release((await ahead).claims)

    async def _release(self, claims: list[Claim]) -> None:
        if claims:
            if self._assignment.windows is not None:
                self._assignment.windows.look_again(came_back=True)
            if self._queues is not None:
                self._queues.forget_taken()
            await self._ledger.release(claims)

    async def _claim_batch(self) -> _Batch:
        """The next batch. Never cancelled: the ledger would commit all the same."""
        limit = self._batch_size()
        batch = await (self._claim_next(limit) if self._queues is None else self._claim_due(self._queues, limit))
        try:
            batch = await self._keep_to_windows(batch)
            if self._assignment.check is not None and batch.work:
                claims = [(claim, message) for claim, message, _ in batch.work]
                await self._ledger.in_thread(self._assignment.check.check, claims, lease_ms=LEASE_MS)
            return await self._replace_disabled_senders(batch)
        except BaseException:
            await self._release(batch.claims)
            raise

    async def _keep_to_windows(self, batch: _Batch) -> _Batch:
        """The batch, to leave before the first of its windows closes; nothing where one has closed meanwhile."""
        windows = self._assignment.windows
        if windows is None:
            return batch
        if not batch.work:
            windows.look_again()
            return batch
        windows.held_until_ms = None
        left_s = windows.left_s([claim.seq for claim in batch.claims])
        if not left_s:
            await self._release(batch.claims)
            return _Batch(deque(), batch.send_by_s)
        return replace(batch, send_by_s=min(batch.send_by_s, self._clock() + left_s))

    async def _bound(self) -> int | None:
        """The `seq` below which messages may be claimed now; None for all."""
        windows, below_seq = self._assignment.windows, self._assignment.below_seq
        if windows is None:
            return below_seq
        bound = await self._ledger.in_thread(windows.bound, self._ledger.sync, self._ledger.run.run_id)
        return bound if below_seq is None else min(bound, below_seq)

    def _batch_size(self) -> int:
        concurrency = self._throttle.concurrency
        rates = [rate for rate in (self._throttle.pace.per_s, self._rate_limiter.overall_per_s) if rate is not None]
        per_s = min(rates, default=max(concurrency.per_s, concurrency.limit / (2 * CLAIM_EVERY_S)))
        return max(1, min(CLAIM_MAX, round(per_s * CLAIM_EVERY_S)))

    async def _claim_next(self, limit: int) -> _Batch:
        """The next messages in the order of the plan."""
        send_by_s = self._clock() + LEASE_MS / 1000  # before the ledger's own reading: never later than it
        claims = await self._ledger.claim(limit=limit, lease_ms=LEASE_MS, below_seq=await self._bound())
        if not claims:
            return _Batch(deque(), send_by_s)
        try:
            messages = await self._ledger.in_thread(self._reader.read, [claim.seq for claim in claims])
        except BaseException:
            await self._ledger.release(claims)
            raise
        return _Batch(deque((claim, *message) for claim, message in zip(claims, messages, strict=True)), send_by_s)

    async def _claim_due(self, queues: SenderQueues, limit: int) -> _Batch:
        """The messages whose numbers are due first, so that none waits behind another number's limit."""
        if missing := queues.missing():
            await self._prefetch(queues, missing)
        messages = queues.take(limit)
        if not messages:
            return _Batch(deque(), 0.0)
        send_by_s = self._clock() + LEASE_MS / 1000
        claims = await self._ledger.claim_prefetched(list(messages), lease_ms=LEASE_MS)
        by_seq = {claim.seq: claim for claim in claims}  # a report may have settled one meanwhile
        work = deque((by_seq[seq], *message) for seq, message in messages.items() if seq in by_seq)
        return _Batch(work, send_by_s)

    async def _prefetch(self, queues: SenderQueues, limit: int) -> None:
        """Read messages that no process has begun to send."""
        below_seq, partition = await self._bound(), self._assignment.partition
        seqs = await self._ledger.prefetch(limit=limit, exclude=queues.seqs, below_seq=below_seq, partition=partition)
        if not seqs and partition != WHOLE_RUN:  # what other processes have prefetched, and one that died left
            seqs = await self._ledger.prefetch(limit=limit, exclude=queues.seqs, below_seq=below_seq)
        messages = await self._ledger.in_thread(self._reader.read, seqs)
        for seq, (message, segments) in zip(seqs, messages, strict=True):
            queues.add(seq, message, segments)

    async def _replace_disabled_senders(self, batch: _Batch) -> _Batch:
        """The batch; messages whose number is disabled have another, which the ledger notes before they leave."""
        notes_all = self._assignment.notes_senders
        if not notes_all and (self._pool is None or not self._pool.disabled):
            return batch
        work: deque[tuple[Claim, Message, int]] = deque()
        used: list[tuple[Claim, str]] = []
        for claim, message, segments in batch.work:
            number = message.from_number
            if self._pool is not None:
                number = self._pool.choose(message.to, number)
            is_other = number != message.from_number
            work.append((claim, message._replace(from_number=number) if is_other else message, segments))
            if number is not None and (is_other or notes_all):
                used.append((claim, number))
        if used:
            await self._ledger.use_senders(used)
        return replace(batch, work=work)
