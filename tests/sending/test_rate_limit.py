"""The pace in virtual time: exact, and as fast as the machine computes. One test looks at a real clock."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sender.sending.rate_limit import (
    CUT,
    CUT_EVERY_S,
    RECOVERY_PER_S,
    RateLimit,
    RateLimiter,
    RecentMessage,
    SharedSlots,
    new_slots,
    queue_limit,
)
from tests.profiles import examples
from tests.virtual_time import most_in_a_second, now, run

PAID_S = 1.013  # that a unit of a limit of one a second takes: what 98.7 % of the limit needs


def at(rate_per_s: float | None) -> RateLimiter:
    return RateLimiter(None if rate_per_s is None else RateLimit(rate_per_s))


async def times_of(pacer: RateLimiter, count: int) -> list[float]:
    times = []
    for _ in range(count):
        while not await pacer.acquire():
            await pacer.wait_until_resumed()
        times.append(now())
    return times


async def time_after(waiting: Awaitable[None]) -> float:
    await waiting
    return now()


@pytest.mark.parametrize("rate_per_s", [0.5, 1, 2.5, 4, 10, 49, 50, 60, 100, 149.5, 200, 1000, 4000])
def test_never_above_the_rate_in_any_second_and_near_it_on_average(rate_per_s: float) -> None:
    count = max(10, int(3 * rate_per_s))
    times = run(times_of(at(rate_per_s), count))
    assert most_in_a_second(times) <= math.ceil(rate_per_s)
    assert (count - 1) / (times[-1] - times[0]) >= 0.985 * rate_per_s
    assert times[-1] - times[0] == pytest.approx((count - 1) * PAID_S / rate_per_s, rel=0.01)


@pytest.mark.parametrize("rate_per_s", [100, 1000, 4000])
@pytest.mark.parametrize("late_s", [0.0, 0.02, 0.3])
def test_what_is_read_late_on_the_other_side_still_keeps_the_limit(rate_per_s: float, late_s: float) -> None:
    """The receiver of what left after a stall of `late_s` reads each message up to 5 ms late, the first one most."""

    async def scenario() -> list[float]:
        pacer = at(rate_per_s)
        times = await times_of(pacer, int(rate_per_s))
        await asyncio.sleep(late_s)
        return times + await times_of(pacer, int(2 * rate_per_s))

    left = run(scenario())
    for slow in (0, len(left) // 3, len(left) // 2):
        read = [at_s + (0.005 if slow <= place < slow + 20 else 0.0) for place, at_s in enumerate(left)]
        assert most_in_a_second(sorted(read)) <= rate_per_s


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
        pacer, times = at(rate_per_s), []
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
def test_the_time_of_all_units_of_a_message_passes_before_the_next(rate_per_s: float, units: float) -> None:
    async def scenario() -> float:
        pacer, start = at(rate_per_s), now()
        for _ in range(11):
            await pacer.acquire(units)
        return now() - start

    assert run(scenario()) == pytest.approx(10 * units * PAID_S / rate_per_s, rel=0.001, abs=0.02)


def test_a_long_message_does_not_starve_among_short_ones() -> None:
    async def scenario() -> list[int]:
        pacer, order = at(10), []

        async def one(units: int) -> None:
            await pacer.acquire(units)
            order.append(units)

        await asyncio.gather(*(one(units) for units in (1, 1, 5, 1, 1, 3, 1)))
        return order

    assert run(scenario()) == [1, 1, 5, 1, 1, 3, 1]


def test_nothing_waits_without_a_rate() -> None:
    async def scenario() -> list[float]:
        return await times_of(at(None), 1000)

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
        pacer, start = at(rate_per_s), now()
        waiting = None
        for at_s, seconds in wishes:
            await asyncio.sleep(start + at_s - now())
            pacer.pause(seconds)
            waiting = waiting or asyncio.create_task(times_of(pacer, 1))
        assert pacer.paused is (over_s > 0)
        assert pacer.paused_s == pytest.approx(start + over_s - now() if over_s else 0, abs=1e-6)
        assert waiting is not None
        resumed = asyncio.create_task(time_after(pacer.wait_until_resumed()))
        (got,) = await waiting
        assert await resumed - start == pytest.approx(over_s, abs=1e-6)
        assert got - start == pytest.approx(over_s, abs=1e-6)
        assert not pacer.paused

    run(scenario())


def test_a_pause_holds_those_who_wait_already() -> None:
    async def scenario() -> list[float]:
        pacer, start = at(2), now()
        waiting = asyncio.create_task(times_of(pacer, 3))
        await asyncio.sleep(0.25)
        pacer.pause(10)
        return [time_ - start for time_ in await waiting]

    assert run(scenario()) == pytest.approx([0, 10.25, 10.75], abs=0.03)


def test_a_cancelled_wait_lets_the_next_one_through() -> None:
    async def scenario() -> float:
        pacer, start = at(1), now()
        await pacer.acquire()
        cancelled = asyncio.create_task(pacer.acquire(5))
        following = asyncio.create_task(pacer.acquire())
        await asyncio.sleep(0.5)
        cancelled.cancel()
        await following
        return now() - start

    assert run(scenario()) == pytest.approx(PAID_S)


@pytest.mark.parametrize("units", [-1, math.inf, math.nan])
def test_units_that_are_none_are_refused(units: float) -> None:
    with pytest.raises(ValueError, match="units"):
        run(at(None).acquire(units))


@pytest.mark.parametrize("rate_per_s", [0, -1, math.inf, math.nan])
def test_a_rate_that_is_none_is_refused(rate_per_s: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        RateLimit(rate_per_s)


@pytest.mark.parametrize(("rate_per_s", "count"), [(20, 21), (200, 201)])
def test_a_real_clock_is_never_outrun(rate_per_s: float, count: int) -> None:
    """Only the bound that no busy machine can break: being slower is allowed."""

    async def scenario() -> float:
        start = time.monotonic()
        await times_of(at(rate_per_s), count)
        return time.monotonic() - start

    assert asyncio.run(scenario()) >= (count - 1) * PAID_S / rate_per_s - 0.009  # as much lateness is made good


# -- stacked limits ----------------------------------------------------------------------------------------------------


def test_limits_stack_and_none_is_passed() -> None:
    """Two numbers of 3/s and 5/s in an account of 6/s: each keeps its own limit, and both together the account's."""

    async def scenario() -> dict[str, list[float]]:
        pacer = RateLimiter(RateLimit(6), senders={"+12025550100": RateLimit(3), "+12025550101": RateLimit(5)})
        times: dict[str, list[float]] = {"+12025550100": [], "+12025550101": []}

        async def of(sender: str) -> None:
            for _ in range(40):
                await pacer.acquire(sender=sender)
                times[sender].append(now())

        await asyncio.gather(*(of(sender) for sender in times))
        return times

    times = run(scenario())
    first, second = times.values()
    assert most_in_a_second(first) <= 3
    assert most_in_a_second(second) <= 5
    assert most_in_a_second(sorted(first + second)) <= 6


def test_a_queue_takes_its_burst_and_then_what_the_provider_drains() -> None:
    async def scenario() -> list[float]:
        pacer, start = RateLimiter(RateLimit(100), queue=RateLimit(4, burst=50)), now()
        return [time_ - start for time_ in await times_of(pacer, 71)]

    times = run(scenario())
    assert times[50] == pytest.approx(50 / 98, abs=0.05)  # at the pace while the queue has room
    assert (times[70] - times[60]) / 10 == pytest.approx(0.25, rel=0.03)  # then as fast as it empties


def test_a_queue_that_gets_shorter_faster_than_documented_is_not_reckoned_with() -> None:
    async def scenario() -> tuple[float, float]:
        pacer = RateLimiter(RateLimit(100), queue=queue_limit(50, 1))
        await times_of(pacer, 50)
        before_s = pacer.time_to_send_s({None: 100})
        pacer.set_queue_length(10)
        assert len(await times_of(pacer, 40)) == 40
        return before_s, pacer.time_to_send_s({None: 100})

    before_s, after_s = run(scenario())
    assert before_s == pytest.approx(101, abs=3)
    assert after_s == pytest.approx(1, abs=0.1)


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_a_refusal_pauses_halves_the_pace_and_gives_it_back_bit_by_bit() -> None:
    async def scenario() -> None:
        pacer = at(100)
        await times_of(pacer, 10)
        assert not pacer.slowed
        for _ in range(20):  # all that was in flight is refused: one refusal
            pacer.slow_down(2.0)
        refused_s = now()
        first, *_ = await times_of(pacer, 1)
        assert first - refused_s == pytest.approx(2, abs=0.03)
        assert pacer.slowed
        assert pacer.per_s == pytest.approx(50, abs=1)
        await asyncio.sleep(10)
        assert pacer.per_s == pytest.approx(100 * (CUT + 10 * RECOVERY_PER_S), abs=1)
        await asyncio.sleep(60)
        assert pacer.per_s == 100
        assert not pacer.slowed

    run(scenario())


def test_refusals_that_go_on_slow_further_but_never_stop() -> None:
    async def scenario() -> float:
        pacer = at(100)
        for _ in range(30):
            await times_of(pacer, 1)
            pacer.slow_down(CUT_EVERY_S)
        start = now()
        await times_of(pacer, 3)
        return now() - start

    assert 1 < run(scenario()) < 10


def test_a_refusal_without_a_limit_makes_one_of_the_pace_seen() -> None:
    async def scenario() -> float | None:
        pacer = at(None)
        assert pacer.per_s is None
        for _ in range(40):
            await pacer.acquire()
            await asyncio.sleep(0.05)
        pacer.slow_down(1.0)
        return pacer.per_s

    assert run(scenario()) == pytest.approx(10, abs=1)


# -- several processes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("age_s", [0.0, 0.4, 3.0, -5.0])
def test_what_another_process_sent_counts_in_the_first_second(age_s: float) -> None:
    async def scenario() -> float:
        pacer, start = RateLimiter(RateLimit(50), senders={"A": RateLimit(5)}), now()
        pacer.account_for([RecentMessage(age_s, sender="A")])
        await pacer.acquire(sender="A")
        return now() - start

    assert run(scenario()) == pytest.approx(max(0.0, 1.0 - max(0.0, age_s)), abs=1e-6)


def test_pacers_that_share_their_state_keep_one_limit_together() -> None:
    async def scenario() -> list[float]:
        limit = RateLimit(10)
        shared = SharedSlots(new_slots(limit))
        pacers = [RateLimiter(limit, shared=shared) for _ in range(3)]
        each = await asyncio.gather(*(times_of(pacer, 20) for pacer in pacers))
        pacers[0].pause(5)
        assert pacers[2].paused
        return sorted(time_ for times in each for time_ in times)

    times = run(scenario())
    assert most_in_a_second(times) <= 10
    assert 59 / (times[-1] - times[0]) >= 9.7


# -- any mix of all of it ----------------------------------------------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.just("send"), st.lists(st.tuples(st.sampled_from("ABC"), st.integers(1, 8)), min_size=1, max_size=12)),
    st.tuples(st.just("idle"), st.floats(0.001, 4)),
    st.tuples(st.just("stall"), st.floats(0.001, 4)),
    st.tuples(st.just("refused"), st.floats(0, 3)),
    st.tuples(st.just("restart"), st.floats(0.2, 2)),
)


def above(left: list[tuple[float, float]], per_s: float, span_s: float) -> list[float]:
    """Where more than the limit left within `span_s`; a message leaves as one, so the last one's units do not count."""
    found = []
    for place, (begun_s, _) in enumerate(left):
        units = 0.0
        for at_s, size in left[place:]:
            if at_s - begun_s >= span_s - 1e-6:
                break
            if units > per_s * span_s + 1e-6:
                found.append(begun_s)
                break
            units += size
    return found


@settings(deadline=None, max_examples=examples(60))
@given(
    account=st.none() | st.floats(0.3, 60),
    own=st.floats(0.2, 20),
    steps=st.lists(STEPS, max_size=14),
    late_s=st.sampled_from([0.0, 0.0005, 0.015]),
)
def test_no_limit_is_passed_in_any_second_whatever_happens(
    account: float | None, own: float, steps: list[tuple[str, Any]], late_s: float
) -> None:
    """Segments, an account and two numbers, refusals, stalls of the process, and restarts at another pace."""

    async def scenario() -> list[tuple[float, float, str]]:
        left: list[tuple[float, float, str]] = []
        most = account

        def pacer() -> RateLimiter:
            limit = None if most is None else RateLimit(most)
            return RateLimiter(limit, senders={one: RateLimit(own) for one in "AB"})

        current = pacer()
        for what, amount in steps:
            match what:
                case "send":
                    for sender, units in amount:
                        while not await current.acquire(units, sender=sender):
                            await current.wait_until_resumed()
                        left.append((now(), units, sender))
                case "idle":
                    await asyncio.sleep(amount)
                case "stall":
                    asyncio.get_running_loop().now_s += amount  # type: ignore[attr-defined]
                case "refused":
                    current.slow_down(amount)
                case "restart":  # a lower pace holds from now on, a higher one would pass the lower one's second
                    most = None if most is None else most * min(1.0, amount)
                    current = pacer()
                    current.account_for(
                        [RecentMessage(now() - at_s, units, sender) for at_s, units, sender in left[-200:]]
                    )
        return left

    left: list[tuple[float, float, str]] = run(scenario(), late_s=late_s)
    if account is not None:
        assert above([(at_s, units) for at_s, units, _ in left], account, 1.0) == []
    for number in "AB":
        assert above([(at_s, units) for at_s, units, sender in left if sender == number], own, 1.0) == []
        assert above([(at_s, units) for at_s, units, sender in left if sender == number], own, 10.0) == []


@pytest.mark.parametrize(
    ("left", "due_s"),
    [
        pytest.param([], {"A": 0.0, "B": 0.0}, id="nothing"),
        pytest.param([RecentMessage(0.0, 1, "A")], {"A": 5 * PAID_S, "B": 2 * PAID_S}, id="one-now"),
        pytest.param([RecentMessage(3.0, 1, "A")], {"A": 5 * PAID_S - 3, "B": 0.0}, id="one-a-while-ago"),
        pytest.param(
            [RecentMessage(1.0, 4, "A"), RecentMessage(3.0, 1, "B")],
            {"A": 20 * PAID_S - 1, "B": 8 * PAID_S - 1},
            id="a-long-one",
        ),
        pytest.param(
            [RecentMessage(-9.0, 1, "A")], {"A": 5 * PAID_S, "B": 2 * PAID_S}, id="by-a-clock-that-was-set-back"
        ),
        pytest.param([RecentMessage(600.0, 1, "A")], {"A": 0.0, "B": 0.0}, id="long-ago"),
    ],
)
def test_what_the_last_process_sent_counts_at_its_number_and_in_its_size(
    left: list[RecentMessage], due_s: dict[str, float]
) -> None:
    """The account takes one in two seconds, each number one in five."""

    async def scenario() -> list[float]:
        pacer = RateLimiter(RateLimit(0.5), senders={one: RateLimit(0.2) for one in due_s})
        pacer.account_for(left)
        return pacer.due_in_s(*due_s)

    assert run(scenario()) == pytest.approx(list(due_s.values()), abs=0.001)


@pytest.mark.parametrize(
    ("queued", "age_s", "room"),
    [(0, 0, 100), (30, 0, 70), (100, 0, 0), (500, 0, 0), (100, 10, 50), (30, 10, 70), (500, 60, 100)],
)
def test_the_providers_queue_is_taken_as_it_was_left(queued: float, age_s: float, room: int) -> None:
    """Of 100 places; reports may not have come, but by its documentation the provider hands on five a second."""

    async def scenario() -> int:
        pacer = RateLimiter(None, queue=queue_limit(100, 5))
        pacer.account_for([RecentMessage(age_s)], queued=queued)
        begun_s = now()
        return sum(at_s - begun_s < 0.01 for at_s in await times_of(pacer, 105))

    assert run(scenario()) == room


@settings(deadline=None, max_examples=examples(60))
@example(account=9.0, own=2.0, sizes=[2, 2, 1], refused=True, ahead=0)
@given(
    account=st.none() | st.floats(0.5, 50),
    own=st.none() | st.floats(0.5, 20),
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=60),
    refused=st.booleans(),
    ahead=st.integers(0, 20),
)
def test_the_time_that_is_needed_is_the_time_it_takes(
    account: float | None, own: float | None, sizes: list[int], refused: bool, ahead: int
) -> None:
    async def scenario() -> tuple[float, float]:
        limit = None if account is None else RateLimit(account)
        pacer = RateLimiter(limit, senders={} if own is None else {"A": RateLimit(own)})
        for _ in range(ahead):
            await pacer.acquire(1, sender="A")
        if refused and account is not None:
            pacer.slow_down(1.5)
        begun_s, told_s = now(), pacer.time_to_send_s({"A": sum(sizes)}, last=sizes[-1])
        for units in sizes:
            while not await pacer.acquire(units, sender="A"):
                await pacer.wait_until_resumed()
        return told_s, now() - begun_s

    told_s, took_s = run(scenario())
    assert told_s == pytest.approx(took_s, rel=0.1, abs=0.1 + max(sizes) / min(account or 1e9, own or 1e9))


# -- to the number -----------------------------------------------------------------------------------------------------


def pass_time(seconds: float) -> None:
    """Let exactly this long pass at once."""
    asyncio.get_running_loop().now_s += seconds  # type: ignore[attr-defined]


def in_time(scenario: Callable[[], Any]) -> Any:
    """What `scenario` returns, called where the time is made up."""

    async def call() -> Any:
        return scenario()

    return run(call())


@pytest.mark.parametrize(("units", "burst"), [(0.5, 0), (1, 0), (2, 1), (2.5, 1.5), (50, 49)])
def test_all_but_one_of_a_queues_places_are_a_burst(units: float, burst: float) -> None:
    assert queue_limit(units, 4.0) == RateLimit(4.0, burst)


def test_refusals_count_again_after_a_second() -> None:
    def scenario() -> list[tuple[bool, float | None]]:
        limiter, answers = at(100), []
        for passed_s in (0, 0, 0.5, 0.5):
            pass_time(passed_s)
            answers.append((limiter.slow_down(5.0), limiter.per_s))
        return answers

    assert in_time(scenario) == [(True, 50), (False, 50), (False, 50), (True, 25)]


@pytest.mark.parametrize(("processes", "per_s"), [(1, 20), (3, 60)])
def test_a_refusal_halves_what_all_processes_send(processes: int, per_s: float) -> None:
    async def scenario() -> float | None:
        limiter = RateLimiter(None, shared=SharedSlots(new_slots(None), processes=processes))
        for _ in range(40):
            await limiter.acquire()
        limiter.slow_down(0)
        return limiter.per_s

    assert run(scenario()) == per_s


@pytest.mark.parametrize(
    ("sent", "per_s"),
    [
        pytest.param([], 1, id="nothing: one at least"),
        pytest.param([(0, 3)], 3, id="the second that is not over"),
        pytest.param([(0, 3), (0.5, 2)], 5, id="one second"),
        pytest.param([(0, 3), (1, 2)], 3, id="a whole second after the first begins the next"),
        pytest.param([(0, 3), (1, 4)], 4, id="the fuller of the last two"),
        pytest.param([(0, 3), (1, 2), (1, 1)], 2, id="no older one"),
    ],
)
def test_the_rate_that_was_observed(sent: list[tuple[float, int]], per_s: float) -> None:
    async def scenario() -> float:
        limiter = at(None)
        for passed_s, count in sent:
            pass_time(passed_s)
            for _ in range(count):
                await limiter.acquire()
        limiter.slow_down(0)
        return limiter.per_s or 0.0

    assert run(scenario()) == per_s / 2


def test_a_rate_that_was_only_observed_may_be_exceeded_again() -> None:
    async def scenario() -> list[float | None]:
        limiter, rates = at(None), []
        for _ in range(40):
            await limiter.acquire()
        limiter.slow_down(0)
        for passed_s in (0, 25, 35):
            pass_time(passed_s)
            rates.append(limiter.per_s)
        return rates

    assert run(scenario()) == pytest.approx([20, 40, 68])


def test_a_rate_that_was_only_observed_is_one_of_messages_whatever_their_size() -> None:
    async def scenario() -> list[float]:
        limiter = at(None)
        for _ in range(40):
            await limiter.acquire()
        limiter.slow_down(0)
        await limiter.acquire(3)
        return limiter.due_in_s(None)

    assert run(scenario()) == pytest.approx([PAID_S / 20])


def test_a_queue_of_which_nothing_is_known_is_empty() -> None:
    async def scenario() -> int:
        limiter = RateLimiter(None, queue=queue_limit(10, 0.01))
        limiter.account_for([RecentMessage(0.0)])
        start_s = now()
        return sum(at_s - start_s < 1 for at_s in await times_of(limiter, 11))

    assert run(scenario()) == 10


def test_a_refused_rate_costs_more_time_for_what_left_too() -> None:
    def scenario() -> list[float]:
        limiter = at(10)
        limiter.slow_down(0)
        limiter.account_for([RecentMessage(0.0, 10)])
        return limiter.due_in_s(None)

    assert in_time(scenario) == pytest.approx([2 * PAID_S])


@pytest.mark.parametrize(
    ("reported", "room"),
    [
        pytest.param(None, 0, id="no report"),
        pytest.param(60, 0, id="longer than estimated: reports are late"),
        pytest.param(50, 0, id="full"),
        pytest.param(49, 1, id="one has left"),
        pytest.param(10, 40, id="most have left"),
        pytest.param(0, 50, id="empty"),
    ],
)
def test_reports_make_as_much_room_as_they_say(reported: float | None, room: int) -> None:
    async def scenario() -> int:
        limiter = RateLimiter(None, queue=queue_limit(50, 0.01))
        await times_of(limiter, 50)
        if reported is not None:
            limiter.set_queue_length(reported)
        start_s = now()
        return sum(at_s - start_s < 1 for at_s in await times_of(limiter, 51))

    assert run(scenario()) == room


def test_reports_that_confirm_the_estimate_say_nothing_of_the_speed() -> None:
    def scenario() -> list[float]:
        times_s = []
        for length in (40.0, 39.0):
            limiter = RateLimiter(None, queue=queue_limit(50, 1))
            limiter.account_for([RecentMessage(0.0)], queued=40.0)
            limiter.set_queue_length(length)
            times_s.append(limiter.time_to_send_s({None: 101}))
        RateLimiter(None).set_queue_length(5.0)  # no queue: nothing to set
        return times_s

    assert in_time(scenario) == pytest.approx([91 * PAID_S, 0.0])


async def prepared(
    limiter: RateLimiter, sent: list[tuple[str | None, float]], pause_s: float, refused_s: float | None
) -> None:
    for sender, units in sent:
        await limiter.acquire(units, sender=sender)
    if refused_s is not None:
        limiter.slow_down(refused_s)
    limiter.pause(pause_s)


@pytest.mark.parametrize(
    ("sent", "pause_s", "refused_s", "units", "needed_s"),
    [
        pytest.param([], 0, None, {None: 1}, 0, id="one message"),
        pytest.param([], 0, None, {None: 3}, 2 * PAID_S, id="three"),
        pytest.param([], 0, None, {}, 0, id="none"),
        pytest.param([(None, 5)], 0, None, {None: 3}, 7 * PAID_S, id="after a long one"),
        pytest.param([], 10, None, {None: 3}, 10 + 2 * PAID_S, id="after a pause"),
        pytest.param([(None, 5)], 2, None, {None: 3}, 7 * PAID_S, id="a pause within a wait"),
        pytest.param([], 0, 4, {None: 1 + 100 / PAID_S}, 4 + 25 + 100 - 18.75, id="a refusal that is made up for"),
        pytest.param([], 0, 4, {None: 1 + 18.75 / PAID_S}, 4 + 25, id="made up for just then"),
        pytest.param([], 0, 0, {None: 1 + 10 / PAID_S}, (math.sqrt(0.25 + 0.4) - 0.5) / 0.02, id="still slowed"),
        pytest.param([("A", 1)], 0, None, {"A": 1}, 4 * PAID_S, id="one of a number that is not due"),
        pytest.param([("A", 1)], 0, None, {"A": 3}, 12 * PAID_S, id="three"),
        pytest.param([("A", 2)], 0, None, {None: 1, "B": 1}, 3 * PAID_S, id="not held up by another number"),
        pytest.param([("A", 1)], 100, None, {"A": 0, "B": 2}, 100 + 4 * PAID_S, id="a number with nothing to send"),
    ],
)
def test_the_time_that_is_needed(
    sent: list[tuple[str | None, float]],
    pause_s: float,
    refused_s: float | None,
    units: dict[str | None, float],
    needed_s: float,
) -> None:
    """The account takes one in a second, each number one in four."""

    async def scenario() -> float:
        limiter = RateLimiter(RateLimit(1), senders={"A": RateLimit(0.25), "B": RateLimit(0.25)})
        await prepared(limiter, sent, pause_s, refused_s)
        return limiter.time_to_send_s(units)

    assert run(scenario()) == pytest.approx(needed_s, abs=1e-6)


@pytest.mark.parametrize(
    ("queue", "units", "last", "needed_s"),
    [
        pytest.param(queue_limit(50, 2), 100, 1, 50 * PAID_S / 2, id="half of them fit"),
        pytest.param(queue_limit(50, 2), 100, 3, 48 * PAID_S / 2, id="the last one is long"),
        pytest.param(queue_limit(500, 2), 100, 1, 0, id="all fit"),
    ],
)
def test_the_time_that_a_queue_needs(queue: RateLimit, units: float, last: float, needed_s: float) -> None:
    def scenario() -> float:
        return RateLimiter(None, queue=queue).time_to_send_s({None: units}, last=last)

    assert in_time(scenario) == pytest.approx(needed_s)


def test_what_counts_nothing_leaves_at_once_and_takes_nothing() -> None:
    async def scenario() -> tuple[bool, list[float]]:
        limiter, start_s = at(1), now()
        await limiter.acquire(0.5)
        left = await limiter.acquire(0)
        return left and now() - start_s < 1e-6, limiter.due_in_s(None)

    assert run(scenario()) == (True, pytest.approx([PAID_S / 2]))


def test_messages_leave_in_the_order_of_asking_whatever_their_numbers() -> None:
    """A number without a limit of its own does not overtake one that waits, even when another has stopped waiting."""

    async def scenario() -> list[str]:
        limiter, left = RateLimiter(None, senders={"A": RateLimit(1)}), []

        async def send(name: str, sender: str) -> None:
            await limiter.acquire(sender=sender)
            left.append(name)

        async with asyncio.TaskGroup() as group:
            for name, sender, passed_s in (("1", "A", 0), ("2", "A", 0), ("3", "A", 0), ("4", "B", 1.5), ("5", "B", 0)):
                await asyncio.sleep(passed_s)
                group.create_task(send(name, sender))
        await send("6", "B")
        return left

    assert run(scenario()) == ["1", "2", "3", "4", "5", "6"]


def test_a_pause_is_over_at_its_end_and_a_message_is_due_at_its_time() -> None:
    async def scenario() -> list[float]:
        limit = RateLimit(1)
        shared = SharedSlots(new_slots(limit))
        limiter = RateLimiter(limit, shared=shared)
        limiter.pause(0)
        assert await limiter.acquire()
        due = limiter.due_in_s(None)
        pass_time(max(shared.slots) - now())
        assert await limiter.acquire()
        return due + limiter.due_in_s(None)

    assert run(scenario()) == pytest.approx([PAID_S, PAID_S])


def test_when_each_number_is_due_while_the_rate_is_refused() -> None:
    def scenario() -> list[float]:
        limiter = RateLimiter(RateLimit(1), senders={"A": RateLimit(0.25)})
        limiter.slow_down(0)
        return limiter.due_in_s(None, "A", "B")

    assert in_time(scenario) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("units", "sender", "seconds"), [(1, "A", 2 * PAID_S), (3, "A", 6 * PAID_S), (1, "B", 0), (1, None, 0)]
)
def test_the_time_between_messages_of_a_number(units: float, sender: str | None, seconds: float) -> None:
    limiter = RateLimiter(RateLimit(0.1), senders={"A": RateLimit(0.5)})
    assert limiter.interval_s(units, sender) == pytest.approx(seconds)


def test_limiters_of_several_routes_keep_to_their_own_limits_and_to_the_one_over_all() -> None:
    async def go() -> tuple[list[float], list[float]]:
        overall = at(15)
        slow, fast = RateLimiter(RateLimit(5), overall=overall), RateLimiter(RateLimit(40), overall=overall)
        return tuple(await asyncio.gather(times_of(slow, 20), times_of(fast, 60)))  # type: ignore[return-value]

    slow, fast = run(go())
    assert most_in_a_second(slow) <= 5
    assert most_in_a_second(fast) <= 15
    together = sorted([*slow, *fast])
    assert most_in_a_second(together) <= 15
    until = min(slow[-1], fast[-1])
    sent = sum(time_s <= until for time_s in together)
    assert sent / (until - together[0]) >= 0.95 * 15, "and what one leaves, the other may use"


def test_a_limit_over_several_routes_goes_on_where_the_last_process_ended() -> None:
    """A second command in the same second: each route may do all that the limit over all allows."""

    async def scenario() -> list[float]:
        left = await times_of(RateLimiter(overall=at(10)), 10)
        overall = at(10)
        for route in (RateLimiter(RateLimit(100), overall=overall), RateLimiter(overall=overall)):
            route.account_for([RecentMessage(now() - at_s) for at_s in left])
        return left + await times_of(route, 10)  # by the route that has no limit of its own

    assert most_in_a_second(run(scenario())) <= 10


def test_what_several_routes_share_says_when_a_message_is_due_and_how_long_the_rest_takes() -> None:
    async def scenario() -> tuple[list[float], float]:
        overall = at(0.5)
        route = RateLimiter(RateLimit(100), overall=overall)
        await route.acquire()
        return route.due_in_s("A", None), route.time_to_send_s({"A": 6.0, None: 5.0})

    due, seconds = run(scenario())
    assert due == [pytest.approx(2 * PAID_S)] * 2
    assert seconds == pytest.approx(2 * PAID_S * 11)
    assert (at(5).overall_per_s, RateLimiter(overall=at(5)).overall_per_s) == (None, 5)
