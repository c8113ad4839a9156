"""How many senders of other machines a run is sent by, what they are told, and how the run is left to them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from sender.core.errors import CanaryStop, ProviderRefused, SenderError, StateError, StateLost
from sender.plan.pace import Pace
from sender.plan.sender_pool import SenderPool
from sender.sending.options import SendOptions
from sender.sending.shifts.order import Order
from sender.sending.shifts.run_sharing import MOST_SHIFTS, RunSharing
from sender.state.heartbeat import Progress
from sender.state.ledger import Run, RunKind
from sender.state.sharing import SharedNews, SharedRun
from tests.state.run_history import ACCEPTED, ADA, GRACE, INTENT, PENDING, Fate, RunHistory

RUN = Run("run-1", "welcome", RunKind.LIVE, "twilio", "hash", None, 9, 9, 0, 5)
PACE = Pace(rate="none", per_s=None, unit="messages", concurrency=None, retries=0, timeout_s=5)


def senders(folder: Path, pace: Pace, places: int) -> int:
    """How many would send together where workers have this many places."""
    worker = SimpleNamespace(places=places, is_draining=False)
    state: Any = SimpleNamespace(sharing=SimpleNamespace(workers=lambda: [worker], is_shared=lambda run: False))
    found = RunSharing.find(state, RUN, pace, SendOptions(state_dir=folder))
    assert found is not None
    return found._shifts


@pytest.mark.parametrize(
    ("changes", "places", "most"),
    [
        ({}, 8, 8),
        ({}, 80, MOST_SHIFTS),
        ({"per_s": 3.0}, 8, 3),
        ({"per_s": 0.1}, 8, 1),
        ({"concurrency": 1}, 8, 1),
        ({"concurrency": 5}, 8, 5),
        ({"concurrency": 20}, 8, 8),
    ],
)
def test_the_limits_bound_how_many_send(tmp_path: Path, changes: dict[str, Any], places: int, most: int) -> None:
    assert senders(tmp_path, replace(PACE, **changes), places) == most


@pytest.mark.parametrize("concurrency", [1, 2, 7, 30])
def test_together_they_have_no_more_in_flight_than_the_campaign_allows(tmp_path: Path, concurrency: int) -> None:
    pace = replace(PACE, concurrency=concurrency)
    shifts = senders(tmp_path, pace, 4)
    each = Order(pace, shifts).own_pace.concurrency
    assert each is not None
    assert 1 <= each * shifts <= concurrency


class Others:
    """The senders of other machines, as `sharing` shows them: what they are told, in order."""

    def __init__(self, *, workers: int) -> None:
        self.told: list[tuple[Any, ...]] = []
        self._workers = workers

    def workers(self) -> list[object]:
        return [object()] * self._workers

    def share(self, run: Run, text: str) -> None:
        self.told.append(("share", run.run_id, Order.from_json(text)))

    def end(self, run: Run, *, is_over: bool) -> None:
        self.told.append(("end", run.run_id, is_over))

    def open_queue(self) -> Others:
        return self

    async def enqueue_steward(self, run_id: str) -> None:
        self.told.append(("steward", run_id))


def sharing_of(history: RunHistory, run: Run, others: Any, shifts: int = 2, **ways: Any) -> RunSharing:
    return RunSharing(history.state, others, run, PACE, SendOptions(state_dir=history.folder, **ways), shifts)


def test_the_others_are_told_how_to_send_it_and_whom_to_leave_out(history: RunHistory) -> None:
    run, others = history.add({ADA: PENDING}), Others(workers=1)
    ways: dict[str, Any] = {"limit": 5, "public_url": "https://reports.example"}
    sharing_of(history, run, others, **ways).begin(run, {GRACE: "opted_out"})
    expected = Order(PACE, 2, limit=5, public_url="https://reports.example", held={GRACE: "opted_out"})
    assert others.told == [("share", "run-0", expected)]


ERROR = ProviderRefused("no funds")
OVER, LEFT = ("end", "run-0", True), ("end", "run-0", False)


@pytest.mark.parametrize(
    ("fate", "stopped", "ways", "goes_on", "told"),
    [
        pytest.param(ACCEPTED, None, {}, False, [OVER], id="all is sent"),
        pytest.param(ACCEPTED, None, {"is_canceled": True}, False, [OVER], id="all is sent, and then canceled"),
        pytest.param(PENDING, ERROR, {}, False, [LEFT], id="stopped"),
        pytest.param(PENDING, ERROR, {"is_canceled": True}, False, [LEFT], id="stopped and canceled"),
        pytest.param(PENDING, None, {}, False, [LEFT], id="some are held"),
        pytest.param(PENDING, None, {"is_canceled": True}, True, [("steward", "run-0")], id="canceled"),
        pytest.param(INTENT, None, {"is_canceled": True}, True, [("steward", "run-0")], id="canceled, in flight"),
        pytest.param(PENDING, None, {"is_canceled": True, "is_steward": True}, True, [], id="a steward is canceled"),
        pytest.param(PENDING, StateError("no disk"), {}, True, [], id="this machine lost the state"),
        pytest.param(PENDING, StateLost("gone"), {}, False, [LEFT], id="nobody has the state"),
    ],
)
def test_how_a_run_is_left_to_the_others(
    history: RunHistory,
    fate: Fate,
    stopped: SenderError | None,
    ways: dict[str, bool],
    goes_on: bool,
    told: list[tuple[Any, ...]],
) -> None:
    run, others = history.add({ADA: fate}), Others(workers=1)
    leave = sharing_of(history, run, others).leave(stopped, **{"is_canceled": False, "is_steward": False, **ways})
    assert asyncio.run(leave) is goes_on
    assert others.told == told
    assert (history.state.ledger.run("run-0").finished_at_ms is not None) == (told == [OVER])


def shared_run() -> tuple[mock.NonCallableMagicMock, Any]:
    """What a run shares with other machines, of which nothing is heard, and what opens it."""
    shared = mock.create_autospec(SharedRun, instance=True)
    shared.look.return_value = SharedNews(None, {}, None)
    return shared, SimpleNamespace(open=lambda run: shared)


def test_what_this_process_learns_while_it_sends_is_told_to_the_others(history: RunHistory) -> None:
    """A number that the provider refuses, and what stops the run; the progress is this process's own."""
    shared, others = shared_run()
    number, pool = "+12025550151", SenderPool({"+12025550151": 1.0, "+12025550152": 1.0})
    shown: list[Progress] = []
    progress = Progress(9, 0, 0, 0, 0, 9, 3, 1.0, 2.0, None)

    async def send() -> None:
        sharing = sharing_of(history, history.add({ADA: PENDING}), others)
        async with sharing.open_rate_limiter(resumed=False):
            observer = sharing.make_observer(shown.append, pool)
            pool.disable(number, "not ours")
            observer.progressed(progress)
            observer.halted(ERROR)

    asyncio.run(send())
    assert shown == [progress]
    shared.disable_sender.assert_called_once_with(number, "not ours")
    shared.halt.assert_called_once()


@pytest.mark.parametrize(
    ("failure", "is_told"),
    [
        pytest.param(CanaryStop("40 of 80 failed", fix="look at the report"), True, id="the canary"),
        pytest.param(ERROR, True, id="the provider"),
        pytest.param(StateLost("gone"), True, id="nobody has the state"),
        pytest.param(StateError("no disk"), False, id="this machine lost the state"),
    ],
)
def test_what_stops_the_run_here_is_told_to_the_others(
    history: RunHistory, failure: SenderError, is_told: bool
) -> None:
    shared, others = shared_run()

    async def send() -> None:
        sharing = sharing_of(history, history.add({ADA: PENDING}), others)
        sharing.halt(ERROR)  # nobody sends yet
        async with sharing.open_rate_limiter(resumed=False):
            sharing.halt(failure)

    asyncio.run(send())
    told = [json.loads(text) for (text,), _ in shared.halt.call_args_list]
    assert told == [failure.to_dict()] * is_told


@pytest.mark.parametrize(("resumed", "wait_s"), [(False, 0.0), (True, 1.0)])
def test_a_run_that_goes_on_waits_for_what_may_just_have_left(
    history: RunHistory, resumed: bool, wait_s: float
) -> None:
    shared, others = shared_run()

    async def send() -> None:
        async with sharing_of(history, history.add({ADA: PENDING}), others).open_rate_limiter(resumed=resumed):
            pass

    asyncio.run(send())
    shared.begin_rate.assert_called_once_with(0.0, wait_s=wait_s)


@pytest.mark.parametrize(("workers", "shifts", "is_paused"), [(0, 2, False), (1, 0, False), (1, 2, True)])
def test_a_canceled_run_that_nobody_takes_over_ends_here(
    history: RunHistory, workers: int, shifts: int, is_paused: bool
) -> None:
    run, others = history.add({ADA: PENDING}), Others(workers=workers)
    if is_paused:
        history.state.ledger.pause_run(run.run_id, by="anna")
    sharing = sharing_of(history, run, others, shifts)
    assert not asyncio.run(sharing.leave(None, is_canceled=True, is_steward=False))
    assert others.told == [LEFT]


@pytest.mark.parametrize(("shifts", "goes_on"), [(0, False), (1, True)])
def test_a_machine_without_its_state_leaves_the_run_to_those_that_send(
    history: RunHistory, shifts: int, goes_on: bool
) -> None:
    run, others = history.add({ADA: PENDING}), Others(workers=1)
    left = sharing_of(history, run, others, shifts).leave(StateError("no disk"), is_canceled=False, is_steward=False)
    assert asyncio.run(left) is goes_on
    assert others.told == []
