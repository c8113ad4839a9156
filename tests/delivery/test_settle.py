"""Waiting until the log can decide: how long, how often, and what ends it. Virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sender.delivery.reconcile import ReconcileResult
from sender.delivery.settle import RETRIES_MAX, RETRY_S, SettleWait, settle
from tests import virtual_time

T0 = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
LATER = T0 + timedelta(minutes=10)
UNDECIDED = ReconcileResult(doubtful=3, decidable_at=LATER)
UNREADABLE = ReconcileResult(doubtful=3, decidable_at=LATER, failure="no answer")
DONE = ReconcileResult(found=3)


class Log:
    """Gives one result after another, the last again and again; notes when it was asked."""

    def __init__(self, *results: ReconcileResult) -> None:
        self.results = list(results)
        self.asked_s: list[float] = []

    async def __call__(self) -> ReconcileResult:
        self.asked_s.append(now_s())
        return self.results.pop(0) if len(self.results) > 1 else self.results[0]


def now_s() -> float:
    return asyncio.get_running_loop().time() - 1000.0  # the virtual loop begins at 1000 s


def settled(
    log: Log, *, most_s: float | None = None, meanwhile: Callable[[asyncio.Event, SettleWait], None] | None = None
) -> tuple[ReconcileResult, list[SettleWait], float]:
    waits: list[SettleWait] = []

    async def go() -> Any:
        cancel = asyncio.Event()

        def on_wait(wait: SettleWait) -> None:
            waits.append(wait)
            if meanwhile is not None:
                meanwhile(cancel, wait)

        result = await settle(
            log, now=lambda: T0 + timedelta(seconds=now_s()), cancel=cancel, on_wait=on_wait, most_s=most_s
        )
        return result, waits, now_s()

    return virtual_time.run(go())  # type: ignore[no-any-return]


def test_it_waits_until_the_log_can_decide() -> None:
    log = Log(UNDECIDED, DONE)
    result, waits, ended_s = settled(log)
    assert result.found == 3
    assert [round(asked_s) for asked_s in log.asked_s] == [0, 600]
    assert ended_s >= 600
    assert (waits[0].unknown, waits[0].until, round(waits[0].left_s)) == (3, LATER + timedelta(seconds=0.1), 600)
    assert len(waits) == 601, "each second"
    assert [wait.left_s for wait in waits] == sorted((wait.left_s for wait in waits), reverse=True)


@pytest.mark.parametrize(
    "result",
    [
        pytest.param(DONE, id="nothing-is-in-doubt"),
        pytest.param(ReconcileResult(doubtful=3), id="a-log-that-never-proves-absence"),
        pytest.param(ReconcileResult(doubtful=3, contested=3), id="what-no-wait-decides"),
        pytest.param(ReconcileResult(absent=1, doubtful=2, decidable_at=LATER), id="one-can-be-sent-again-now"),
    ],
)
def test_there_is_nothing_to_wait_for(result: ReconcileResult) -> None:
    log = Log(result)
    assert settled(log) == (result, [], pytest.approx(0, abs=0.01))


def test_what_all_looks_have_found_is_added_up() -> None:
    log = Log(ReconcileResult(found=2, doubtful=3, decidable_at=LATER), ReconcileResult(found=1, absent=2))
    assert settled(log)[0] == ReconcileResult(found=3, absent=2)


def test_ctrl_c_leaves_with_what_remains() -> None:
    log = Log(UNDECIDED)
    result, _, ended_s = settled(log, meanwhile=lambda cancel, wait: cancel.set() if wait.left_s < 500 else None)
    assert result == UNDECIDED
    assert round(ended_s) == 101
    assert len(log.asked_s) == 1


def test_a_log_that_cannot_be_read_is_asked_again_for_a_while() -> None:
    log = Log(UNREADABLE)
    result, _, ended_s = settled(log)
    assert result == UNREADABLE
    assert len(log.asked_s) == 1 + RETRIES_MAX
    assert log.asked_s[1] - log.asked_s[0] == pytest.approx(600, abs=1)
    assert log.asked_s[-1] - log.asked_s[-2] == pytest.approx(RETRY_S, abs=1)
    assert ended_s == pytest.approx(600 + (RETRIES_MAX - 1) * RETRY_S, abs=5)


def test_a_log_that_can_be_read_again_ends_the_wait() -> None:
    log = Log(*[UNREADABLE] * 5, DONE)
    assert settled(log)[0].found == 3


def test_a_log_that_could_be_read_in_between_may_fail_as_often_again() -> None:
    """It could be read, so it may be again; only so many failures in a row end the wait."""
    soon = ReconcileResult(doubtful=3, decidable_at=T0)
    log = Log(*[UNREADABLE] * RETRIES_MAX, soon, *[UNREADABLE] * RETRIES_MAX, DONE)
    assert settled(log)[0].found == 3
    log = Log(*[UNREADABLE] * (RETRIES_MAX + 1), DONE)
    assert settled(log)[0] == UNREADABLE


def test_a_wait_that_is_canceled_while_the_log_is_read_ends_with_that_look() -> None:
    async def go() -> tuple[ReconcileResult, int]:
        cancel, looks = asyncio.Event(), 0

        async def look_up() -> ReconcileResult:
            nonlocal looks
            looks += 1
            cancel.set()
            return UNDECIDED

        now = lambda: T0 + timedelta(seconds=now_s())  # noqa: E731
        result = await settle(look_up, now=now, cancel=cancel, on_wait=lambda _: pytest.fail("it waited"))
        return result, looks

    assert virtual_time.run(go()) == (UNDECIDED, 1)


def test_nobody_need_be_told_of_the_wait() -> None:
    async def go() -> ReconcileResult:
        return await settle(Log(UNDECIDED, DONE), now=lambda: T0 + timedelta(seconds=now_s()), cancel=asyncio.Event())

    assert virtual_time.run(go()).found == 3


def test_a_short_wait_is_not_made_longer_by_a_log_that_cannot_be_read() -> None:
    """Only who waits as long as it takes gives the log half a minute to come back."""
    soon = ReconcileResult(doubtful=3, decidable_at=T0 + timedelta(seconds=2), failure="no answer")
    log = Log(soon)
    result, _, ended_s = settled(log, most_s=5.0)
    assert result == soon
    assert (len(log.asked_s), round(ended_s)) == (2, 2)


@pytest.mark.parametrize(("most_s", "looks"), [(5.0, 1), (599.0, 1), (600.0, 2), (601.0, 2)])
def test_without_settle_it_waits_a_moment_and_once(most_s: float, looks: int) -> None:
    log = Log(UNDECIDED)
    assert settled(log, most_s=most_s)[0] == UNDECIDED
    assert len(log.asked_s) == looks
