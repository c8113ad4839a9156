"""The pace in virtual time: exact, and as fast as the machine computes. One test looks at a real clock."""

from __future__ import annotations

import asyncio
import math
import selectors
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.pacing import Pacer, expected_duration_s


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self, late_s: float = 0.0) -> None:
        super().__init__(_JumpingSelector(self))
        self.now_s = 1000.0
        self.late_s = late_s  # how late each timer fires
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self.now_s


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("everybody waits, and no timer is set")
        # Each turn of the loop takes some time, as it does in life: two moments that a float cannot tell apart
        # would otherwise be waited for without end.
        self._loop.now_s += 1e-8 if timeout <= 0 else timeout + 1e-8 + self._loop.late_s
        return super().select(0)


def run(scenario: Coroutine[Any, Any, Any], *, late_s: float = 0.0) -> Any:
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(late_s)) as runner:
        return runner.run(scenario)


def now() -> float:
    return asyncio.get_running_loop().time()


async def times_of(pacer: Pacer, count: int) -> list[float]:
    times = []
    for _ in range(count):
        while not await pacer.acquire():
            await pacer.resumed()
        times.append(now())
    return times


async def time_after(waiting: Awaitable[None]) -> float:
    await waiting
    return now()


def most_in_a_second(times: list[float]) -> int:
    """The most of `times` in any half-open second; a second more holds what comes a microsecond early."""
    most = start = 0
    for end, time_ in enumerate(times):
        while time_ - times[start] >= 1 - 1e-6:
            start += 1
        most = max(most, end - start + 1)
    return most


@pytest.mark.parametrize("rate_per_s", [0.5, 1, 2.5, 4, 10, 49, 50, 60, 100, 149.5, 200, 1000, 4000])
def test_never_above_the_rate_in_any_second_and_near_it_on_average(rate_per_s: float) -> None:
    count = max(10, int(3 * rate_per_s))
    times = run(times_of(Pacer(rate_per_s), count))
    assert most_in_a_second(times) <= math.ceil(rate_per_s)
    assert (count - 1) / (times[-1] - times[0]) >= 0.97 * rate_per_s
    assert times[-1] - times[0] == pytest.approx(expected_duration_s(count, rate_per_s), rel=0.01)


@given(
    rate_per_s=st.floats(0.2, 500),
    steps=st.lists(st.tuples(st.sampled_from(["idle", "acquire", "pause"]), st.floats(0.001, 3)), max_size=30),
    late_s=st.sampled_from([0.0, 0.0005, 0.016]),
)
def test_no_pattern_of_waiting_and_pausing_gets_above_the_rate(
    rate_per_s: float, steps: list[tuple[str, float]], late_s: float
) -> None:
    """Idle time saves up no more than the burst, late timers are not made good in a clump, pauses end in none."""

    async def scenario() -> list[float]:
        pacer, times = Pacer(rate_per_s), []
        for what, amount in steps:
            if what == "idle":
                await asyncio.sleep(amount)
            elif what == "acquire":
                times += await times_of(pacer, 1 + int(amount * 10))
            else:
                waiting = asyncio.create_task(times_of(pacer, 3))
                await asyncio.sleep(amount / (10 * rate_per_s))
                pacer.pause(amount)
                over, before = now() + amount, len(times)
                asked_s = now()
                times += await waiting
                assert all(time_ <= asked_s or time_ >= over - 1e-6 for time_ in times[before:])
        return times

    assert most_in_a_second(run(scenario(), late_s=late_s)) <= math.ceil(rate_per_s)


@pytest.mark.parametrize("rate_per_s", [1, 10, 100])
@pytest.mark.parametrize("units", [3, 4.5, 10])
def test_a_message_of_many_units_waits_for_all_of_them(rate_per_s: float, units: float) -> None:
    async def scenario() -> float:
        pacer, start = Pacer(rate_per_s), now()
        for _ in range(10):
            await pacer.acquire(units)
        return now() - start

    assert run(scenario()) == pytest.approx(expected_duration_s(10 * units, rate_per_s), rel=0.01)


def test_a_long_message_does_not_starve_among_short_ones() -> None:
    async def scenario() -> list[int]:
        pacer, order = Pacer(10), []

        async def one(units: int) -> None:
            await pacer.acquire(units)
            order.append(units)

        await asyncio.gather(*(one(units) for units in (1, 1, 5, 1, 1, 3, 1)))
        return order

    assert run(scenario()) == [1, 1, 5, 1, 1, 3, 1]


def test_nothing_waits_without_a_rate() -> None:
    async def scenario() -> list[float]:
        return await times_of(Pacer(None), 1000)

    times = run(scenario())
    assert times[-1] - times[0] < 1e-6


@pytest.mark.parametrize("rate_per_s", [None, 5.0, 500.0])
@pytest.mark.parametrize(
    ("wishes", "over_s"),
    [
        pytest.param([(0, 3)], 3, id="one"),
        pytest.param([(0, 3), (0, 1)], 3, id="a shorter one does not shorten it"),
        pytest.param([(0, 1), (0, 3)], 3, id="a longer one makes it longer"),
        pytest.param([(0, 2), (1, 2)], 3, id="a later one that ends later"),
        pytest.param([(0, 3), (1, 1)], 3, id="a later one that ends earlier"),
        pytest.param([(0, 0)], 0, id="none"),
        pytest.param([(0, -5)], 0, id="one that is over"),
    ],
)
def test_nobody_acquires_before_the_longest_pause_is_over(
    rate_per_s: float | None, wishes: list[tuple[float, float]], over_s: float
) -> None:
    async def scenario() -> None:
        pacer, start = Pacer(rate_per_s), now()
        waiting = None
        for at_s, seconds in wishes:
            await asyncio.sleep(start + at_s - now())
            pacer.pause(seconds)
            waiting = waiting or asyncio.create_task(times_of(pacer, 1))
        assert pacer.paused_until == (pytest.approx(start + over_s, abs=1e-6) if over_s else None)
        assert pacer.paused is (over_s > 0)
        assert pacer.paused_s == pytest.approx(start + over_s - now() if over_s else 0, abs=1e-6)
        assert waiting is not None
        resumed = asyncio.create_task(time_after(pacer.resumed()))
        (got,) = await waiting
        assert await resumed - start == pytest.approx(over_s, abs=1e-6)
        assert got - start == pytest.approx(over_s, abs=1e-6)
        assert pacer.paused_until is None

    run(scenario())


def test_a_pause_holds_those_who_wait_already() -> None:
    async def scenario() -> list[float]:
        pacer, start = Pacer(2), now()
        waiting = asyncio.create_task(times_of(pacer, 3))
        await asyncio.sleep(0.25)
        pacer.pause(10)
        return [time_ - start for time_ in await waiting]

    assert run(scenario()) == pytest.approx([0, 10.25, 10.75], abs=1e-6)


def test_a_cancelled_wait_lets_the_next_one_through() -> None:
    async def scenario() -> float:
        pacer, start = Pacer(1), now()
        await pacer.acquire()
        cancelled = asyncio.create_task(pacer.acquire(5))
        following = asyncio.create_task(pacer.acquire())
        await asyncio.sleep(0.5)
        cancelled.cancel()
        await following
        return now() - start

    assert run(scenario()) == pytest.approx(1.0)


@pytest.mark.parametrize("units", [-1, math.inf, math.nan])
def test_units_that_are_none_are_refused(units: float) -> None:
    with pytest.raises(ValueError, match="units"):
        run(Pacer(None).acquire(units))


@pytest.mark.parametrize("make", [Pacer, lambda rate: expected_duration_s(1, rate)], ids=["pacer", "duration"])
@pytest.mark.parametrize("rate_per_s", [0, -1, math.inf, math.nan])
def test_a_rate_that_is_none_is_refused(make: Callable[[float], object], rate_per_s: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        make(rate_per_s)


@pytest.mark.parametrize(
    ("units", "rate_per_s", "seconds"),
    [
        (100, None, 0),
        (0, 10, 0),
        (1, 10, 0),
        (11, 10, 1),
        (36_001, 10, 3600),
        (1, 0.5, 0),
        (2, 0.5, 2),
        (1000, 100, (1000 - 2) / 98),
        (20, 1000, 0),
    ],
)
def test_expected_duration(units: float, rate_per_s: float | None, seconds: float) -> None:
    assert expected_duration_s(units, rate_per_s) == pytest.approx(seconds)


@pytest.mark.parametrize(("rate_per_s", "count"), [(20, 21), (200, 201)])
def test_a_real_clock_is_never_outrun(rate_per_s: float, count: int) -> None:
    """Only the bound that no busy machine can break: being slower is allowed."""

    async def scenario() -> float:
        start = time.monotonic()
        await times_of(Pacer(rate_per_s), count)
        return time.monotonic() - start

    assert asyncio.run(scenario()) >= expected_duration_s(count, rate_per_s) - 0.001
