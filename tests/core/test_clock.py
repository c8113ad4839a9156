"""Setting the system's clock moves nothing that is under way."""

from __future__ import annotations

import time

import pytest

from sender.core.clock import steady_s, wall_clock_ms

NOON_NS = 1_767_268_800_000_000_000
HOUR_NS = 3_600_000_000_000


@pytest.mark.parametrize("jump_ns", [HOUR_NS, -HOUR_NS, -NOON_NS], ids=["forward", "back", "to 1970"])
def test_a_wall_clock_that_is_set_is_not_looked_at_again(jump_ns: int) -> None:
    wall, steady = [NOON_NS], [1000.0]
    now_ms = wall_clock_ms(lambda: wall[0], lambda: steady[0])
    assert now_ms() == NOON_NS // 1_000_000
    wall[0] += jump_ns
    steady[0] += 1.5
    assert now_ms() == NOON_NS // 1_000_000 + 1500


def test_it_is_the_time_of_day() -> None:
    assert abs(wall_clock_ms()() - time.time() * 1000) < 1000


def test_the_steady_clock_goes_on() -> None:
    times = [steady_s() for _ in range(1000)]
    assert times == sorted(times)
    begun, told = time.monotonic(), steady_s()
    time.sleep(0.05)
    assert steady_s() - told == pytest.approx(time.monotonic() - begun, abs=0.04)


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="Linux")
def test_on_linux_it_counts_the_time_asleep() -> None:
    assert steady_s() == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=1)
