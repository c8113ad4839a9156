"""The ledger's calls from an event loop: in one thread, in order, carried out once they have begun."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from sender.core.errors import StateError
from sender.state.async_ledger import AsyncLedger
from sender.state.ledger import Claim, Counts, RouteClaims, Run, RunKind

RUN = Run("r", "c", RunKind.SANDBOX, "sandbox", "h", None, 3, 3, 0, 0)


class Recorder:
    """A ledger that notes its calls and their threads; each takes `call_s`."""

    def __init__(self, call_s: float = 0.0) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.threads: set[int] = set()
        self._call_s = call_s
        self.failure: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **keywords: Any) -> Any:
            time.sleep(self._call_s)
            self.threads.add(threading.get_ident())
            if self.failure is not None:
                raise self.failure
            self.calls.append((name, (args, keywords)))
            return []

        return call


CLAIM = Claim(1, 1, 0)
CALLS = {
    "counts": ((), {}),
    "claim": ((), {"limit": 2, "lease_ms": 5, "below_seq": 9, "request_format": 7, "routed": None}),
    "prefetch": ((), {"limit": 2, "exclude": {1}, "below_seq": 9, "partition": (1, 2), "routed": None}),
    "claim_prefetched": (([1, 2],), {"lease_ms": 5, "request_format": 7, "routed": None}),
    "release": (([CLAIM],), {}),
    "use_senders": (([(CLAIM, "+12025550100")],), {}),
    "record": (([],), {}),
    "pending_from": ((), {}),
    "next_due_ms": ((), {"below_seq": 9, "routed": None}),
    "delivering": ((), {}),
}


@pytest.mark.parametrize("name", CALLS)
def test_each_call_is_the_ledgers_for_the_run(name: str) -> None:
    recorder = Recorder()
    ledger = AsyncLedger(recorder, RUN, request_format=7)  # type: ignore[arg-type]
    args, keywords = CALLS[name]
    given = {key: value for key, value in keywords.items() if key not in {"request_format", "routed"}}  # it knows these
    asyncio.run(getattr(ledger, name)(*args, **given))
    assert recorder.calls == [(name, (("r", *args), keywords))]
    ledger.close()


def test_each_claim_asks_which_messages_its_route_may_have() -> None:
    """A look at what is due next goes by the last claim: the same messages are meant."""
    recorder = Recorder()
    answers = iter([RouteClaims(0), RouteClaims(0, also=(1,)), RouteClaims(0, also=(1, 2))])
    ledger = AsyncLedger(recorder, RUN, request_format=7, routed=lambda: next(answers))  # type: ignore[arg-type]

    async def claim_twice() -> None:
        await ledger.claim(limit=1, lease_ms=5)
        await ledger.claim_prefetched([1], lease_ms=5)
        await ledger.prefetch(limit=1, exclude=set(), partition=None)
        await ledger.next_due_ms()

    asyncio.run(claim_twice())
    assert [keywords["routed"] for _, (_, keywords) in recorder.calls] == [
        RouteClaims(0), RouteClaims(0, also=(1,)), RouteClaims(0, also=(1, 2)), RouteClaims(0, also=(1, 2)),
    ]  # fmt: skip
    ledger.close()


def test_calls_are_made_in_order_in_one_thread() -> None:
    recorder = Recorder(0.002)
    ledger = AsyncLedger(recorder, RUN)  # type: ignore[arg-type]

    async def go() -> None:
        await asyncio.gather(*(ledger.release([Claim(seq, 1, 0)]) for seq in range(20)))

    asyncio.run(go())
    assert [args[1][0].seq for _, (args, _) in recorder.calls] == list(range(20))
    assert len(recorder.threads) == 1
    assert threading.get_ident() not in recorder.threads
    ledger.close()


def test_a_call_that_has_begun_is_carried_out_though_its_task_is_cancelled() -> None:
    recorder = Recorder(0.1)
    ledger = AsyncLedger(recorder, RUN)  # type: ignore[arg-type]

    async def go() -> None:
        task = asyncio.create_task(ledger.record([]))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        ledger.close()
        assert [name for name, _ in recorder.calls] == ["record"], "`close` waits for it"

    asyncio.run(go())


def test_a_failure_is_raised_where_the_call_is_awaited() -> None:
    recorder = Recorder()
    recorder.failure = StateError("the disk is full")
    ledger = AsyncLedger(recorder, RUN)  # type: ignore[arg-type]

    async def go() -> Counts:
        return await ledger.counts()

    with pytest.raises(StateError, match="the disk is full"):
        asyncio.run(go())
    ledger.close()
