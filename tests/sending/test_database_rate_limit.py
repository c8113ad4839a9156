"""Several senders with clocks of their own keep one rate together, by the database's clock."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from sender.plan.pace import Pace, Queue
from sender.sending.database_rate_limit import LOOK_EVERY_S, ClockDifference, DatabaseRateLimiter
from sender.state.database_url import DatabaseUrl, read_database_url
from sender.state.ledger import Run, RunKind
from sender.state.postgres.shared_run import SharedRunRows
from tests.state.conftest import DATABASES, give_back, lent, new_database, servers, state_pools  # noqa: F401 (fixtures)

RUN = Run("run-1", "welcome", RunKind.LIVE, "twilio", "hash", None, 9, 9, 0, 5)
PACE = Pace(rate="100/s", per_s=100.0, unit="messages", concurrency=None, retries=0, timeout_s=5)


@pytest.fixture
def url(new_database: Callable[[str], str]) -> Iterator[DatabaseUrl]:  # noqa: F811
    return read_database_url(new_database(DATABASES[0]))


def limiter(url: DatabaseUrl, pace: Pace, senders: int = 3) -> DatabaseRateLimiter:
    return DatabaseRateLimiter(pace, SharedRunRows(url, RUN.run_id), senders=senders)


async def send(one: DatabaseRateLimiter, messages: int, left: list[float], batch: int = 10, **sender: str) -> None:
    while messages > 0:
        one.expect([(1.0, sender.get("sender"))] * min(batch, messages))
        for _ in range(min(batch, messages)):
            while not await one.acquire(sender=sender.get("sender")):
                await one.wait_until_resumed()
            left.append(time.monotonic())
        messages -= batch


def run(url: DatabaseUrl, pace: Pace, messages: int, *, senders: int = 3, batch: int = 10) -> list[float]:
    left: list[float] = []

    async def together() -> None:
        async with contextlib.AsyncExitStack() as stack:
            limiters = [
                await stack.enter_async_context(limiter(url, pace).opened(begins_in_s=0.0)) for _ in range(senders)
            ]
            await asyncio.gather(*(send(one, messages // senders, left, batch) for one in limiters))

    asyncio.run(together())
    return sorted(left)


def most_in_a_second(left: list[float]) -> int:
    return max(sum(1 for other in left[place:] if other < at + 1.0) for place, at in enumerate(left))


@pytest.mark.parametrize(("per_s", "messages"), [(100.0, 240), (400.0, 1_200)])
def test_three_senders_keep_one_rate_and_use_it(url: DatabaseUrl, per_s: float, messages: int) -> None:
    left = run(url, replace(PACE, per_s=per_s), messages)
    assert most_in_a_second(left) <= per_s
    assert (len(left) - 1) / (left[-1] - left[0]) > 0.8 * per_s  # of a machine that does other things, too


class _ClockApart(asyncio.SelectorEventLoop):
    """The event loop of a machine whose clock is set otherwise."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s
        super().__init__()

    def time(self) -> float:
        return super().time() + self._ahead_s


def send_apart(
    url: DatabaseUrl, pace: Pace, work: Callable[[DatabaseRateLimiter, int], Coroutine[Any, Any, None]]
) -> None:
    """Let three senders work at once, each in a thread whose clock is minutes away from the others'."""

    async def open_and_work(number: int, first: threading.Event) -> None:
        if number:
            await asyncio.to_thread(first.wait)
        async with limiter(url, pace).opened(begins_in_s=None if number else 0.0) as one:
            first.set()
            await work(one, number)

    def machine(number: int, first: threading.Event) -> None:
        loop = _ClockApart((0.0, -333.0, 421.5)[number])
        try:
            loop.run_until_complete(open_and_work(number, first))
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    first = threading.Event()
    with ThreadPoolExecutor(3) as machines:
        for done in [machines.submit(machine, number, first) for number in range(3)]:
            done.result()


def test_clocks_minutes_apart_do_not_matter(url: DatabaseUrl) -> None:
    left: list[float] = []
    pace = replace(PACE, per_s=200.0)
    send_apart(url, pace, lambda one, _: send(one, 200, left))
    left.sort()
    assert len(left) == 600
    assert most_in_a_second(left) <= 200
    assert (len(left) - 1) / (left[-1] - left[0]) > 100, "of a machine that does other things, too"


def test_a_refusal_slows_senders_whose_clocks_are_apart(url: DatabaseUrl) -> None:
    """All of them pause, and then share half of the rate, which recovers by 2 % of the whole a second."""
    left: list[float] = []
    refused: list[float] = []
    pause_s, pace = 0.8, replace(PACE, per_s=200.0)

    async def work(one: DatabaseRateLimiter, number: int) -> None:
        await send(one, 60, left)
        if not number:
            one.slow_down(pause_s)
            refused.append(time.monotonic())
        await send(one, 100, left)

    send_apart(url, pace, work)
    after = sorted(at for at in left if at > refused[0] + LOOK_EVERY_S + 0.3)  # the others have heard of it
    assert after[0] > refused[0] + pause_s - 0.001
    assert most_in_a_second(after) <= 200 * (0.5 + 0.02 * (after[-1] - after[0] + 1))
    assert most_in_a_second(sorted(left)) <= 200


def test_a_slow_rate_is_kept_by_any_number_of_senders(url: DatabaseUrl) -> None:
    assert most_in_a_second(run(url, replace(PACE, per_s=2.0), 6, batch=1)) <= 2


def test_each_number_has_its_own_rate(url: DatabaseUrl) -> None:
    pace = replace(PACE, per_s=None, senders={"+12025550100": 5.0, "+12025550101": 20.0})
    for number, per_s in pace.senders.items():
        left: list[float] = []

        async def together(number: str = number, per_s: float = per_s, left: list[float] = left) -> None:
            async with limiter(url, pace).opened(begins_in_s=0.0) as one, limiter(url, pace).opened() as other:
                await asyncio.gather(*(send(each, int(per_s), left, 5, sender=number) for each in (one, other)))

        asyncio.run(together())
        assert len(left) == 2 * per_s
        assert most_in_a_second(sorted(left)) <= per_s


def test_a_queue_takes_its_burst_once(url: DatabaseUrl) -> None:
    left = run(url, replace(PACE, per_s=None, queue=Queue(40, 10.0)), 60)
    assert sum(1 for at in left if at < left[0] + 0.5) <= 46
    assert left[35] - left[0] < 2, "as they would take 3.5 s at what the queue drains, however busy this machine is"
    assert left[-1] - left[0] > 1.5


def test_what_one_is_refused_slows_all(url: DatabaseUrl) -> None:
    async def together() -> tuple[bool, bool, float | None, float]:
        async with limiter(url, PACE).opened(begins_in_s=0.0) as one, limiter(url, PACE).opened() as other:
            assert await other.acquire()
            first, second = one.slow_down(0.6), one.slow_down(0.1)
            await asyncio.sleep(0.8)
            begun_s = time.monotonic()
            assert await other.acquire()
            return first, second, other.slowed_to_per_s, time.monotonic() - begun_s

    first, second, slowed_to, _ = asyncio.run(together())
    assert (first, second) == (True, False)
    assert slowed_to is not None
    assert 49 < slowed_to < 60


def test_a_pause_of_one_holds_what_the_others_have_reserved(url: DatabaseUrl) -> None:
    async def together() -> bool:
        slow = replace(PACE, per_s=1.0)
        async with limiter(url, slow).opened(begins_in_s=0.0) as one, limiter(url, slow).opened() as other:
            assert await other.acquire()
            waiting = asyncio.create_task(other.acquire())
            await asyncio.sleep(0.1)
            one.pause(5.0)
            return await waiting

    assert asyncio.run(together()) is False


@pytest.mark.parametrize(("numbers", "left"), [((None, None), 2), (("+12025550100", "+12025550101"), 0)])
def test_a_sender_that_was_late_loses_what_is_over(
    url: DatabaseUrl, numbers: tuple[str | None, ...], left: int
) -> None:
    """Where messages differ in what they cost a number, their slots do, too, and all are asked for again."""
    pace = replace(PACE, senders={number: 10.0 for number in numbers if number})

    async def be_late() -> tuple[int, int]:
        async with limiter(url, pace).opened(begins_in_s=0.0) as one:
            one.expect([(1.0, number) for number in numbers * 2])
            now_s = asyncio.get_running_loop().time() - one._difference.least
            one._reserved.extend(now_s + in_s for in_s in (-60.0, -30.0, 60.0, 90.0))
            one._drop_missed()
            return len(one._reserved), one.missed

    assert asyncio.run(be_late()) == (left, 4 - left)


def test_halts_and_numbers_taken_out_are_heard(url: DatabaseUrl) -> None:
    shared, other = SharedRunRows(url, RUN.run_id), SharedRunRows(url, RUN.run_id)
    with contextlib.closing(shared), contextlib.closing(other):
        assert other.look().rate is None
        shared.disable_sender("+12025550100", "unregistered")
        shared.disable_sender("+12025550100", "again")
        assert other.look().senders_out == {"+12025550100": "unregistered"}
        other.halt("{}")
        assert other.look().halted is None, "nobody has ordered anything"


def test_the_clocks_bounds_hold_whatever_the_answers_take() -> None:
    dice = random.Random(1)
    truth, difference = 1234.5, ClockDifference()
    now = 1000.0
    for _ in range(500):
        now += dice.uniform(0, 0.5)
        begun, took, share = now, dice.uniform(0.0005, 0.2), dice.random()
        now += took
        difference.note(begun, now, begun + share * took - truth)
        assert difference.least - 1e-9 <= truth <= difference.most + 1e-9
    difference.note(now, now + 0.001, now + 3600 - truth)  # the database's clock was set
    assert difference.most - difference.least < 0.01
