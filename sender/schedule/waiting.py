"""Waits for the time at which a plan begins, and refuses a start that is too late.

The wall clock is read anew every few seconds, so a machine that slept, or a clock that was set, delays nothing and
starts nothing early. Holds no lock and sends nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from sender.core.durations import describe_duration
from sender.core.errors import NotStarted
from sender.plan.planned_start import PlannedStart

LONGEST_STEP_S = 5.0  # how long a change of the clock, or the end of a suspend, may go unnoticed
_NEAR_S = 120.0  # from here on a countdown shows seconds


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of day, in milliseconds UTC, and a way to let some of it pass. Tests bring their own."""

    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    sleep: Callable[[float], object] = time.sleep
    async_sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


CLOCK = Clock()


def steps_until(start: PlannedStart, now_ms: Callable[[], int]) -> Iterator[tuple[float, float]]:
    """Yield how many seconds are left, and how many to sleep before the next look, until the start.

    Raises NotStarted when it is over for longer than it may be late.
    """
    while (left_ms := start.at_ms - now_ms()) > 0:
        left_s = left_ms / 1000
        yield left_s, min(left_s, 1.0 if left_s <= _NEAR_S else LONGEST_STEP_S)
    refuse_late(start, now_ms())


def wait_for_start(start: PlannedStart, clock: Clock, on_wait: Callable[[float], None] | None = None) -> None:
    """Return when the start has come; `on_wait` gets the seconds that are left, every few seconds.

    Raises NotStarted when it is over for longer than it may be late.
    """
    for left_s, step_s in steps_until(start, clock.now_ms):
        if on_wait is not None:
            on_wait(left_s)
        clock.sleep(step_s)


async def await_start(start: PlannedStart, clock: Clock, cancel: asyncio.Event | None = None) -> None:
    """Wait as `wait_for_start` does, in an event loop. Raises NotStarted, also once `cancel` is set."""
    for _, step_s in steps_until(start, clock.now_ms):
        await clock.async_sleep(min(step_s, 1.0))  # a cancellation may wait for a second
        if cancel is not None and cancel.is_set():
            raise NotStarted(f"the wait for {start} was ended early; nothing was sent", fix="send it again")


def late_by_s(start: PlannedStart, now_ms: int) -> float:
    """Return by how many seconds the start is later than it may be; 0 while it may begin."""
    return max(0.0, (now_ms - start.last_ms) / 1000)


def refuse_late(start: PlannedStart, now_ms: int) -> None:
    """Raise NotStarted when the start is over for longer than it may be late."""
    if late_by_s(start, now_ms):
        raise explain_late(start, now_ms)


def explain_late(start: PlannedStart, now_ms: int) -> NotStarted:
    """Return the error for a start that is too late."""
    return NotStarted(
        f"the start was {describe_duration((now_ms - start.at_ms) / 1000)} ago, on {start}, and it may be late by"
        f" {describe_duration(start.late_s)}; nothing was sent",
        fix="set another `start` in the campaign, or give --at with another time; `--at now` sends it now",
    )
