"""How many requests are under way by themselves, against providers of every kind, in time that is made up."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.sending.concurrency import MAX_IN_FLIGHT, MIN_IN_FLIGHT, Concurrency, max_connections
from tests.profiles import examples


def sent(
    concurrency: Concurrency, seconds: float, latency_s: Callable[[float, int], float], pace: float | None = None
) -> list[tuple[float, int, int]]:
    """Sends as much as it may, for so long: `(time, limit, answers)` at each look, five times a second.

    `latency_s` is of a request that leaves at a time, when so many are under way.
    """
    random, flying, at_s, answers, next_look_s, next_s = Random(1), [], 0.0, 0, 0.2, 0.0
    looks = []
    while at_s < seconds:
        free = len(flying) < concurrency.limit
        leaves_s = max(at_s, next_s) if free else math.inf
        at_s = min(leaves_s, flying[0][0] if flying else math.inf, next_look_s)
        if at_s == next_look_s:
            concurrency.update(at_s)
            looks.append((at_s, concurrency.limit, answers))
            next_look_s += 0.2
        elif at_s == leaves_s:
            took_s = latency_s(at_s, len(flying) + 1) * random.uniform(0.9, 1.1)
            heapq.heappush(flying, (at_s + took_s, took_s))
            next_s = at_s + (1 / pace if pace else 1e-5)
        else:
            concurrency.record_answer(heapq.heappop(flying)[1])
            answers += 1
    return looks


def per_s(looks: list[tuple[float, int, int]], since_s: float) -> float:
    first = next(look for look in looks if look[0] >= since_s)
    return (looks[-1][2] - first[2]) / (looks[-1][0] - first[0])


@pytest.mark.parametrize("pace", [5.0, 50.0, 400.0])
@pytest.mark.parametrize("latency_s", [0.02, 0.3, 1.5])
def test_a_pace_is_held_whatever_the_latency(pace: float, latency_s: float) -> None:
    """Little's law: what must be under way is pace x latency; twice that is allowed, and no more is needed."""
    concurrency = Concurrency(None, pace, maximum=4096)
    looks = sent(concurrency, 8 + 6 * latency_s, lambda at_s, flying: latency_s, pace)
    assert per_s(looks, 2 + 4 * latency_s) == pytest.approx(pace, rel=0.05)
    assert looks[-1][1] <= MIN_IN_FLIGHT + 2.3 * pace * latency_s + 1


def test_latency_that_grows_is_followed_and_one_that_falls_again_too() -> None:
    """From 50 ms to 2 s and back, in the middle of a run at 200 a second."""

    def latency_s(at_s: float, flying: int) -> float:
        return 0.05 + 1.95 * min(1.0, max(0.0, at_s - 5) / 10) if at_s < 30 else 0.05

    concurrency = Concurrency(None, 200.0, maximum=4096)
    looks = sent(concurrency, 60, latency_s, 200.0)
    limits = {round(at_s, 1): limit for at_s, limit, _ in looks}
    assert per_s([look for look in looks if look[0] < 29], 18) == pytest.approx(200, rel=0.05)
    assert limits[4.0] < 100
    assert 400 < limits[29.0] < 1000
    assert limits[59.0] < 100


def test_without_a_pace_it_grows_to_what_goes_through() -> None:
    """A provider that does 1,000 a second at 100 ms: more at once wait longer, and nothing more goes through."""
    concurrency = Concurrency(None, None, maximum=1000)
    looks = sent(concurrency, 12, lambda at_s, flying: max(0.1, flying / 1000))
    assert per_s(looks, 4) > 900
    assert all(100 <= limit <= 1000 for at_s, limit, _ in looks if at_s > 4)


@settings(deadline=None, max_examples=examples(40))
@given(
    pace=st.none() | st.floats(0.1, 10_000),
    most=st.integers(1, 5000),
    latencies=st.lists(st.lists(st.floats(0, 120), max_size=30), max_size=30),
)
def test_it_is_bounded_whatever_is_seen(pace: float | None, most: int, latencies: list[list[float]]) -> None:
    concurrency = Concurrency(None, pace, maximum=most)
    for place, group in enumerate(latencies):
        for one in group:
            concurrency.record_answer(one)
        before = concurrency.limit
        assert concurrency.update(0.3 * place) is (concurrency.limit > before)
        assert 1 <= concurrency.limit <= most
        assert concurrency.limit >= min(MIN_IN_FLIGHT, most)


def test_a_number_that_is_given_stays() -> None:
    concurrency = Concurrency(7, 100.0)
    looks = sent(concurrency, 3, lambda at_s, flying: 1.0, 100.0)
    assert {limit for _, limit, _ in looks} == {7}
    assert concurrency.maximum == 7
    assert concurrency.latency_s == pytest.approx(1.0, abs=0.1), "told all the same"


def test_connections_need_files() -> None:
    assert MIN_IN_FLIGHT <= max_connections() <= MAX_IN_FLIGHT
