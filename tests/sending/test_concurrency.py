"""How many requests are under way by themselves, against providers of every kind, in time that is made up."""

from __future__ import annotations

import heapq
import math
import os
from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.sending.concurrency import MAX_IN_FLIGHT, MIN_IN_FLIGHT, Concurrency, max_connections
from tests.profiles import examples

try:
    import resource
except ImportError:  # Windows has no limit of open files
    UNLIMITED = -1
else:
    UNLIMITED = resource.RLIM_INFINITY


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


def record(concurrency: Concurrency, now_s: float, latencies_s: Sequence[float]) -> bool:
    for latency_s in latencies_s:
        concurrency.record_answer(latency_s)
    return concurrency.update(now_s)


@pytest.mark.parametrize(
    ("fixed", "rate_per_s", "maximum", "limit", "initial"),
    [
        pytest.param(None, None, 4096, 64, 64, id="no pace"),
        pytest.param(None, None, 40, 40, 40, id="no pace, few files"),
        pytest.param(None, 1000.0, 4096, 400, 200, id="1,000 a second: twice what 200 ms keep in flight"),
        pytest.param(None, 1000.0, 150, 150, 150, id="1,000 a second, few files"),
        pytest.param(None, 101.0, 4096, 41, 21, id="rounded up"),
        pytest.param(None, 2.0, 4096, 16, 1, id="a slow pace has some to spare"),
        pytest.param(None, 2.0, 1, 1, 1, id="one at a time"),
        pytest.param(7, 100.0, None, 7, 7, id="a fixed number"),
        pytest.param(50, 100.0, None, 50, 20, id="a fixed number above what the pace needs"),
    ],
)
def test_the_limit_before_the_first_answer(
    fixed: int | None, rate_per_s: float | None, maximum: int | None, limit: int, initial: int
) -> None:
    concurrency = Concurrency(fixed, rate_per_s, maximum=maximum)
    assert (concurrency.limit, concurrency.initial) == (limit, initial)
    assert (concurrency.per_s, concurrency.latency_s) == (0.0, 0.0)


def test_the_first_look_begins_the_count() -> None:
    concurrency = Concurrency(None, None, maximum=4096)
    assert record(concurrency, 100.0, [0.5]) is False
    assert concurrency.per_s == 0.0
    assert record(concurrency, 100.125, [0.5]) is False, "a fifth of a second has not passed"
    assert concurrency.per_s == 0.0
    concurrency.update(100.25)
    assert (concurrency.per_s, concurrency.latency_s) == (8.0, 0.5), "two answers in a quarter of a second"


def test_a_fifth_of_a_second_is_long_enough() -> None:
    concurrency = Concurrency(None, None, maximum=4096)
    concurrency.update(0.0)
    record(concurrency, 0.2, [0.5])
    assert concurrency.latency_s == 0.5


def test_without_a_pace_it_is_three_times_what_the_quick_answers_need() -> None:
    concurrency = Concurrency(None, None, maximum=4096)
    concurrency.update(0.0)
    latencies_s = [10.0, 3.0, 1.0, 7.0, 2.0, 4.0, 5.0, 8.0, 6.0, 9.0]
    assert record(concurrency, 0.5, latencies_s) is True
    assert concurrency.limit == 16 + 3 * 20 * 2, "20 answers a second, the quickest tenth within 2 s"


def test_with_a_pace_it_is_twice_what_the_mean_latency_needs() -> None:
    concurrency = Concurrency(None, 100.0, maximum=4096)
    concurrency.update(0.0)
    assert record(concurrency, 0.5, [1.0, 2.0]) is True
    assert concurrency.limit == 16 + 2 * 100 * 1.5


def test_it_falls_by_a_fifth_at_most() -> None:
    concurrency = Concurrency(None, 1000.0, maximum=4096)
    concurrency.update(0.0)
    limits = []
    for quarter in range(1, 4):
        assert record(concurrency, quarter / 4, [0.0]) is False
        limits.append(concurrency.limit)
    assert limits == [320, 256, 205]


def test_the_throughput_is_that_of_the_last_five_updates() -> None:
    concurrency = Concurrency(None, None, maximum=4096)
    concurrency.update(0.0)
    rates = []
    for quarter, answers in enumerate([100, 1, 1, 1, 1, 1], 1):
        record(concurrency, quarter / 4, [0.1] * answers)
        rates.append(concurrency.per_s)
    assert rates == [400.0, 202.0, 136.0, 103.0, 104 / 1.25, 5 / 1.25]


def test_quick_answers_count_for_twenty_five_updates() -> None:
    concurrency = Concurrency(None, None, maximum=4096)
    concurrency.update(0.0)
    for quarter in range(1, 27):
        assert concurrency.limit <= 16 + 3 * 100 * 0.2
        record(concurrency, quarter / 4, [0.2 if quarter == 1 else 1.0] * 25)
    assert concurrency.limit == 16 + 3 * 100


def test_a_fixed_number_is_never_higher_than_before() -> None:
    concurrency = Concurrency(7, 100.0)
    concurrency.update(0.0)
    assert record(concurrency, 0.5, [5.0]) is False


@pytest.mark.skipif(os.name != "posix", reason="Windows has no limit of open files")
@pytest.mark.parametrize(
    ("soft", "hard", "connections", "raised_to"),
    [
        pytest.param(1024, 524_288, 4096, 4352, id="raised as far as needed"),
        pytest.param(1024, UNLIMITED, 4096, 4352, id="raised, with no end"),
        pytest.param(1024, 2000, 1744, 2000, id="raised as far as allowed"),
        pytest.param(0, 4000, 3744, 4000, id="none, but they may be raised"),
        pytest.param(0, 0, 16, 0, id="none"),
        pytest.param(271, 271, 16, 271, id="too few for anything: the least"),
        pytest.param(273, 273, 17, 273, id="one more than the least"),
        pytest.param(4352, 524_288, 4096, None, id="enough"),
        pytest.param(4351, 524_288, 4096, 4352, id="one too few"),
        pytest.param(100_000, 100_000, 4096, None, id="plenty"),
        pytest.param(UNLIMITED, UNLIMITED, 4096, None, id="no limit"),
    ],
)
def test_connections_need_files(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, connections: int, raised_to: int | None
) -> None:
    calls = []
    monkeypatch.setattr(resource, "getrlimit", {resource.RLIMIT_NOFILE: (soft, hard)}.__getitem__)
    monkeypatch.setattr(resource, "setrlimit", lambda *call: calls.append(call))
    assert max_connections() == connections
    assert calls == ([] if raised_to is None else [(resource.RLIMIT_NOFILE, (raised_to, hard))])


@pytest.mark.skipif(os.name != "posix", reason="Windows has no limit of open files")
@pytest.mark.parametrize("error", [ValueError, OSError])
def test_a_system_that_refuses_more_files_than_it_says(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def refuse(*call: object) -> None:
        raise error("not permitted")

    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 524_288))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert max_connections() == 768


def test_this_machine_has_files() -> None:
    assert MIN_IN_FLIGHT <= max_connections() <= MAX_IN_FLIGHT
