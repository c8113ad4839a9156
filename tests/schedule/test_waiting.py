"""The wait for a start: exact, whatever happens to the clock meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.core.errors import NotStarted
from sender.plan.planned_start import PlannedStart
from sender.schedule.waiting import LONGEST_STEP_S, wait_for_start
from tests.profiles import examples
from tests.schedule.virtual_clock import VirtualClock

NINE = PlannedStart(datetime(2026, 12, 1, 14, tzinfo=UTC), 900, "America/New_York")


def test_it_ends_at_the_start() -> None:
    clock = VirtualClock("2026-12-01T12:30")
    left: list[float] = []
    wait_for_start(NINE, clock.clock, left.append)
    assert clock.now == NINE.at
    assert max(clock.sleeps) <= LONGEST_STEP_S
    assert left[0] == 90 * 60
    assert left[-1] == 1, "the last minutes are counted in seconds"


def test_a_start_that_has_come_is_not_waited_for() -> None:
    clock = VirtualClock("2026-12-01T14:15")
    wait_for_start(NINE, clock.clock)
    assert clock.sleeps == []


@pytest.mark.parametrize(
    ("asleep_s", "begins"),
    [(3600, True), (2 * 3600 + 900, True), (2 * 3600 + 960, False), (86_400, False)],
    ids=["before", "just-in-time", "too-late", "next-day"],
)
def test_a_machine_that_slept_notices(asleep_s: float, begins: bool) -> None:
    clock = VirtualClock("2026-12-01T12:00")

    def suspend(now: datetime) -> None:
        if now.hour == 12 and now.minute == 0 and now.second == 30:
            clock.jump(asleep_s - 35)

    clock.on_sleep = suspend
    if begins:
        wait_for_start(NINE, clock.clock)
        assert clock.now >= NINE.at
        return
    with pytest.raises(NotStarted, match="ago, on Tue 2026-12-01 09:00 EST") as failure:
        wait_for_start(NINE, clock.clock)
    assert failure.value.exit_code == 3
    assert "--at now" in str(failure.value.fix)


def test_a_clock_that_is_set_back_delays_it() -> None:
    clock = VirtualClock("2026-12-01T13:59")
    jumps = iter([-3600])
    clock.on_sleep = lambda now: clock.jump(next(jumps, 0))
    wait_for_start(NINE, clock.clock)
    assert clock.now == NINE.at
    assert sum(clock.sleeps) == 3660


@settings(max_examples=examples(50))
@given(st.lists(st.integers(-300, 300), max_size=40), st.integers(0, 7200))
def test_it_never_ends_before_the_start_or_after_its_last_moment(jumps: list[int], ahead_s: int) -> None:
    clock = VirtualClock(datetime.fromtimestamp(NINE.at.timestamp() - ahead_s, UTC))
    pending = iter(jumps)
    clock.on_sleep = lambda now: clock.jump(next(pending, 0))
    wait_for_start(NINE, clock.clock)
    assert NINE.at_ms <= clock.ms <= NINE.last_ms
