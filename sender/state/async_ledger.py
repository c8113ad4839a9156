"""One run's part of a ledger for an event loop: its calls are made one after another, in a thread of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from sender.state.ledger import WHOLE_RUN, Claim, Counts, Ledger, Refusals, Run, Settlement
from sender.state.ledger_values import RouteClaims

P = ParamSpec("P")
T = TypeVar("T")


class AsyncLedger:
    """The ledger's calls for `run`, as coroutines. Each does what `Ledger` says, and raises what it raises.

    A call that has begun is carried out even if the task that awaits it is cancelled. Nobody else may use the ledger
    before `close` has returned.
    """

    def __init__(
        self,
        ledger: Ledger,
        run: Run,
        *,
        request_format: int | None = None,
        routed: Callable[[], RouteClaims] | None = None,
        thread: ThreadPoolExecutor | None = None,
    ) -> None:
        """`request_format` is how the requests of this session are written, if it is kept.

        `routed` says at each claim which messages a route may have, in a run with several. `thread` is one that others
        use as well, for the same ledger; whoever made it shuts it down.
        """
        self.run = run
        self._ledger = ledger
        self._request_format = request_format
        self._routed = routed
        self._claimed: RouteClaims | None = None  # what the last claim was allowed
        self._owns_thread = thread is None
        self._thread = thread or ThreadPoolExecutor(1, thread_name_prefix="ledger")

    def close(self) -> None:
        """Return when the calls under way have been carried out. The ledger itself stays open."""
        if self._owns_thread:
            self._thread.shutdown()

    def _claims(self) -> RouteClaims | None:
        if self._routed is not None:
            self._claimed = self._routed()
        return self._claimed

    def now_ms(self) -> int:
        return self._ledger.now_ms()

    @property
    def sync(self) -> Ledger:
        """The ledger itself, for a call made by `in_thread`."""
        return self._ledger

    async def counts(self) -> Counts:
        return await self.in_thread(self._ledger.counts, self.run.run_id)

    async def claim(self, *, limit: int, lease_ms: int, below_seq: int | None = None) -> list[Claim]:
        return await self.in_thread(
            self._ledger.claim,
            self.run.run_id,
            limit=limit,
            lease_ms=lease_ms,
            below_seq=below_seq,
            request_format=self._request_format,
            routed=self._claims(),
        )

    async def prefetch(
        self,
        *,
        limit: int,
        exclude: Collection[int] = (),
        below_seq: int | None = None,
        partition: tuple[int, int] = WHOLE_RUN,
    ) -> list[int]:
        return await self.in_thread(
            self._ledger.prefetch,
            self.run.run_id,
            limit=limit,
            exclude=exclude,
            below_seq=below_seq,
            partition=partition,
            routed=self._claims(),
        )

    async def claim_prefetched(self, seqs: Collection[int], *, lease_ms: int) -> list[Claim]:
        return await self.in_thread(
            self._ledger.claim_prefetched,
            self.run.run_id,
            seqs,
            lease_ms=lease_ms,
            request_format=self._request_format,
            routed=self._claims(),
        )

    async def release(self, claims: Iterable[Claim]) -> int:
        return await self.in_thread(self._ledger.release, self.run.run_id, claims)

    async def use_senders(self, choices: Iterable[tuple[Claim, str]]) -> int:
        return await self.in_thread(self._ledger.use_senders, self.run.run_id, choices)

    async def record(self, settlements: Sequence[Settlement]) -> int:
        return await self.in_thread(self._ledger.record, self.run.run_id, settlements)

    async def pending_from(self) -> tuple[int, list[int]]:
        return await self.in_thread(self._ledger.pending_from, self.run.run_id)

    async def next_due_ms(self, *, below_seq: int | None = None) -> int | None:
        call = self._ledger.next_due_ms
        return await self.in_thread(call, self.run.run_id, below_seq=below_seq, routed=self._claimed)

    async def delivering(self) -> int:
        return await self.in_thread(self._ledger.delivering, self.run.run_id)

    async def refusals(self, *, from_seq: int, below_seq: int) -> list[Refusals]:
        return await self.in_thread(self._ledger.refusals, self.run.run_id, from_seq=from_seq, below_seq=below_seq)

    async def recent_ids(self, *, limit: int) -> list[str]:
        return await self.in_thread(self._ledger.recent_ids, limit=limit)

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `call`, made in the ledger's thread, in order with the other calls."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(call, *args, **kwargs))
