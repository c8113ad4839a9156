"""What ends a call of `send` from elsewhere: a run that is paused or closed, and the caller's own event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sender.sending import hold_watch
from sender.sending.hold_watch import watch_hold
from sender.state.ledger import Run
from tests.state.run_history import ADA, PENDING, RunHistory

Act = Callable[[RunHistory, Run, asyncio.Event], object]


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold_watch, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(hold_watch, "WAITING_LOOK_EVERY_S", 0.02)


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
