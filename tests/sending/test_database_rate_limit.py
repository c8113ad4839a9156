"""Several senders with clocks of their own keep one rate together, by the database's clock."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from sender.plan.pace import Pace, Queue
from sender.sending import database_rate_limit
from sender.sending.database_rate_limit import LOOK_EVERY_S, ClockDifference, DatabaseRateLimiter
from sender.sending.rate_limit import CUT_EVERY_S, RecentMessage
from sender.state.database_url import DatabaseUrl, read_database_url
from sender.state.ledger import Run, RunKind
from sender.state.postgres.shared_run import SharedRunRows
from sender.state.sharing import SharedNews
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


def test_what_the_others_say_is_heard_with_the_rate(url: DatabaseUrl) -> None:
    heard: list[SharedNews] = []
    is_out = asyncio.Event()

    def hear(news: SharedNews) -> None:
        heard.append(news)
        if news.senders_out:
            is_out.set()

    async def listen() -> None:
        other = SharedRunRows(url, RUN.run_id)
        listener = DatabaseRateLimiter(PACE, SharedRunRows(url, RUN.run_id), senders=2, on_news=hear)
        with contextlib.closing(other):
            async with listener.opened(begins_in_s=0.0):
                assert [dict(news.senders_out) for news in heard] == [{}] * len(heard)
                assert heard[0].rate is not None
                assert heard[0].rate.per_s == 100.0
                other.disable_sender("+12025550100", "unregistered")
                await asyncio.wait_for(is_out.wait(), 30)

    asyncio.run(listen())
    assert heard[-1].senders_out == {"+12025550100": "unregistered"}


class Told:
    """A run that is shared with nobody: what its limiter says, in order."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []
        self.is_closed = False
        self.has_beaten = threading.Event()  # since two messages have left

    def begin_rate(self, per_s: float, *, wait_s: float) -> None:
        self.said.append(("begin", per_s, wait_s))

    def look(self) -> SharedNews:
        return SharedNews(None, {}, None)

    def slow_down(self, retry_after_s: float, *, again_after_s: float, observed_per_s: float) -> None:
        self.said.append(("slow", retry_after_s, again_after_s, observed_per_s))

    def set_queue_due(self, ago_s: float) -> None:
        self.said.append(("queue", ago_s))

    def beat(self, *, sent: int, in_flight: int) -> None:
        self.said.append(("beat", sent, in_flight))
        if sent == 2:
            self.has_beaten.set()

    def close(self) -> None:
        self.is_closed = True


def told(pace: Pace, work: Callable[[DatabaseRateLimiter], object], *, begins_in_s: float | None = None) -> Told:
    """What one of three senders says while it works."""

    async def open_and_work() -> Told:
        kept = Told()
        shared: Any = kept
        async with DatabaseRateLimiter(pace, shared, senders=3).opened(begins_in_s=begins_in_s) as one:
            work(one)
        return kept

    done = asyncio.run(open_and_work())
    assert done.is_closed
    return done


@pytest.mark.parametrize(
    ("changes", "begins_in_s", "said"),
    [
        pytest.param({}, 0.0, [("begin", 100.0, 0.0)], id="the first"),
        pytest.param({}, 1.0, [("begin", 100.0, 1.0)], id="that goes on"),
        pytest.param({"per_s": None}, 0.0, [("begin", 0.0, 0.0)], id="without a rate"),
        pytest.param({}, None, [], id="one of the others"),
    ],
)
def test_only_who_begins_sets_the_rate(
    changes: dict[str, Any], begins_in_s: float | None, said: list[tuple[Any, ...]]
) -> None:
    assert told(replace(PACE, **changes), lambda _: None, begins_in_s=begins_in_s).said == said


def test_a_pause_and_a_refusal_are_told_with_the_rate_of_all_senders() -> None:
    """Each sees only what leaves here, one a second at least, and takes the others to be as fast."""

    def refuse(one: DatabaseRateLimiter) -> None:
        one.slow_down(2.0)
        one.slow_down(3.0, again_after_s=7.0)

    assert told(PACE, lambda one: one.pause(4.0)).said == [("slow", 4.0, math.inf, 3.0)], "which cuts no rate"
    cuts = [said for said in told(PACE, refuse).said if said[2] < math.inf]
    assert cuts == [("slow", 2.0, CUT_EVERY_S, 3.0), ("slow", 3.0, 7.0, 3.0)]


@pytest.mark.parametrize(
    ("queue", "is_told"), [pytest.param(Queue(40, 10.0), True, id="a queue"), pytest.param(None, False, id="none")]
)
def test_the_length_of_the_provider_s_queue_is_told(queue: Queue | None, is_told: bool) -> None:
    said = told(replace(PACE, queue=queue), lambda one: one.set_queue_length(40.0)).said
    assert [what for what, *_ in said] == ["queue"] * is_told
    longer = told(replace(PACE, queue=queue), lambda one: one.set_queue_length(50.0)).said
    for (_, ago_s), (_, longer_ago_s) in zip(said, longer, strict=True):
        assert 0.9 < ago_s - longer_ago_s < 1.2, "ten messages more are a second more at what it drains, and a margin"


def test_what_has_left_before_is_the_database_s_to_know() -> None:
    assert told(PACE, lambda one: one.account_for([RecentMessage(0.0, 1.0, None)], queued=9.0)).said == []


@pytest.mark.parametrize("units", [-1.0, math.inf, math.nan])
def test_what_no_message_has_is_refused(units: float) -> None:
    async def ask() -> None:
        shared: Any = Told()
        async with DatabaseRateLimiter(PACE, shared, senders=3).opened() as one:
            with pytest.raises(ValueError, match="units must be a number from 0"):
                await one.acquire(units)

    asyncio.run(ask())


def test_a_shift_says_what_has_left_it_and_what_is_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_rate_limit, "LOOK_EVERY_S", 0.01)
    shared: Any = Told()

    async def work() -> None:
        one = DatabaseRateLimiter(replace(PACE, per_s=None), shared, senders=3)
        one.in_flight = lambda: 5
        async with one.opened():
            assert [await one.acquire() for _ in range(2)] == [True, True], "nothing limits it"
            await asyncio.to_thread(shared.has_beaten.wait, 30)

    asyncio.run(work())
    assert shared.said[-1] == ("beat", 2, 5)


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
