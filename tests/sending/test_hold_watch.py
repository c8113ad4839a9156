"""What ends a call of `send` from elsewhere: a run that is paused or closed, and the caller's own event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sender.core.errors import StateError
from sender.sending import hold_watch
from sender.sending.hold_watch import watch_hold
from sender.state.ledger import Ledger, Run
from tests.state.run_history import ADA, PENDING, RunHistory

Act = Callable[[RunHistory, Run, asyncio.Event], object]


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold_watch, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(hold_watch, "WAITING_LOOK_EVERY_S", 0.02)


@pytest.mark.parametrize(
    ("act", "what", "who"),
    [
        pytest.param(lambda ledger: ledger.pause_run("run-0", by="anna"), "paused", "anna", id="paused"),
        pytest.param(lambda ledger: ledger.close_run("run-0", by="bob"), "closed", "bob", id="closed"),
        pytest.param(
            lambda ledger: (ledger.pause_run("run-0", by="anna"), ledger.close_run("run-0", by="bob")),
            "closed",
            "bob",
            id="paused and then closed",
        ),
    ],
)
def test_it_logs_who_holds_the_run(
    history: RunHistory, caplog: pytest.LogCaptureFixture, act: Callable[[Ledger], object], what: str, who: str
) -> None:
    run = history.add({ADA: PENDING})
    act(history.state.ledger)

    async def send() -> None:
        async with watch_hold(history.state, run, asyncio.Event(), lambda: False) as stop:
            await asyncio.wait_for(stop.wait(), 20)

    asyncio.run(send())
    (held,) = (vars(record) for record in caplog.records if vars(record).get("event") == "held")
    assert (held["what"], held["by"], held["run_id"]) == (what, who, "run-0")
    assert held["message"] == f"run run-0 was {what} by {who}: waiting for the answers to requests in flight"


def test_what_was_canceled_before_stops_at_once(history: RunHistory) -> None:
    run, cancel = history.add({ADA: PENDING}), asyncio.Event()
    cancel.set()

    async def send() -> bool:
        async with watch_hold(history.state, run, cancel, lambda: False) as stop:
            return stop.is_set()

    assert asyncio.run(send())


def test_a_look_that_fails_is_not_the_last(history: RunHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends meets the same failure, and says so where it stays."""
    run, looks = history.add({ADA: PENDING}), 0
    ledger = history.state.open_ledger()
    look = ledger.run

    def fail_first(run_id: str) -> Run:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise StateError("the disk is busy")
        return look(run_id)

    monkeypatch.setattr(ledger, "run", fail_first)
    monkeypatch.setattr(history.state, "open_ledger", lambda: ledger)
    history.state.ledger.pause_run(run.run_id, by="anna")

    async def send() -> None:
        async with watch_hold(history.state, run, asyncio.Event(), lambda: False) as stop:
            await asyncio.wait_for(stop.wait(), 20)

    asyncio.run(send())
    assert looks == 2


@pytest.mark.parametrize("waits", [False, True], ids=["it sends", "it waits for its window"])
@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda history, run, _: history.state.ledger.pause_run(run.run_id, by="anna"), id="paused"),
        pytest.param(lambda history, run, _: history.state.ledger.close_run(run.run_id, by="anna"), id="closed"),
        pytest.param(lambda _, __, cancel: cancel.set(), id="canceled here"),
    ],
)
def test_it_stops_once_the_run_is_held(history: RunHistory, act: Act, waits: bool) -> None:
    run, cancel = history.add({ADA: PENDING}), asyncio.Event()

    async def send() -> None:
        async with watch_hold(history.state, run, cancel, lambda: waits) as stop:
            await asyncio.sleep(0.1)
            assert not stop.is_set(), "nothing has happened"
            act(history, run, cancel)
            await asyncio.wait_for(stop.wait(), 20)

    asyncio.run(send())


def test_a_run_that_is_held_already_stops_at_once(history: RunHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold_watch, "LOOK_EVERY_S", 600.0)
    run = history.add({ADA: PENDING})
    history.state.ledger.pause_run(run.run_id, by="anna")

    async def send() -> None:
        async with watch_hold(history.state, run, asyncio.Event(), lambda: False) as stop:
            await asyncio.wait_for(stop.wait(), 20)

    asyncio.run(send())
