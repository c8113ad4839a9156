"""What one call of `send` works with: who is told what, what workers are given, and which routes there are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sender.core.outcomes import Canceled, CancelReason, Deferred, Reason
from sender.plan.message_reader import MessageReader
from sender.plan.pace import Pace
from sender.plan.plan import Plan
from sender.plan.sender_pool import SenderPool
from sender.plan.waves import Wave, Waves
from sender.providers.base import Message
from sender.sending.concurrency import Concurrency
from sender.sending.options import SendOptions
from sender.sending.send_resources import SendResources, open_rate_limiter, worker_config
from sender.sending.send_windows import SendWindows
from sender.sending.shifts.run_sharing import RunSharing
from sender.sending.throttle import Throttle, make_rate_limiter
from sender.sending.workers.supervisor import Supervisor
from sender.state.heartbeat import Progress
from sender.state.ledger import Claim, Counts
from sender.state.sharing import SharedNews
from sender.state.sqlite.ledger import SqliteLedger
from tests.sending.test_dispatcher import POOL, N, Senders, Wire, a_run, ledger, plan
from tests.state.run_history import ADA, PENDING, RunHistory

__all__ = ["ledger", "plan"]  # fixtures
PACE = Pace("none", None, "messages", concurrency=4, retries=2, timeout_s=5)
REFUSED = Deferred(Reason.SENDER_NOT_ALLOWED, "21606", "not your number", halt=True)


class Others:
    """A run that is shared with other machines: what they are told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def open(self, run: object) -> Others:
        return self

    def begin_rate(self, per_s: float, *, wait_s: float) -> None: ...

    def look(self) -> SharedNews:
        return SharedNews(None, {}, None)

    def disable_sender(self, number: str, why: str) -> None:
        self.told.append((number, why))

    def close(self) -> None: ...


@pytest.fixture
def make(ledger: SqliteLedger, plan: Plan) -> Callable[..., SendResources]:
    """A maker of what the run works with, with changes."""

    def make(wire: Any, **changes: Any) -> SendResources:
        run = a_run(ledger)
        provider: Any = SimpleNamespace(adapter=wire, transport=wire)
        given: dict[str, Any] = {
            "ledger": ledger,
            "run": run,
            "plan": plan,
            "provider": provider,
            "reader": MessageReader(plan, run.run_id),
            "throttle": Throttle(PACE, make_rate_limiter(PACE), Concurrency(4, None)),
            "pool": None,
            "suppression": SimpleNamespace(refuses=lambda to, sender, service: None),
            "caps": None,
            "windows": None,
            "workers": SimpleNamespace(count=1),
            "on_progress": lambda progress: None,
        }
        return SendResources(**given | changes)

    return make


def send(resources: SendResources, below_seq: int | None = None) -> Counts:
    return asyncio.run(resources.make_dispatcher(below_seq).run(asyncio.Event()))


def test_a_number_that_is_refused_here_is_named_to_the_other_machines(
    make: Callable[..., SendResources], tmp_path: Path
) -> None:
    """And what is sent here is shown here."""
    others: Any = Others()
    shown: list[Progress] = []

    async def go() -> Counts:
        wire = Senders(tmp_path / "ledger.sqlite3", {"+12025550100": REFUSED})
        resources = make(wire, pool=SenderPool(POOL), on_progress=shown.append)
        state: Any = None
        sharing = RunSharing(state, others, resources.run, PACE, SendOptions(state_dir=tmp_path), 1)
        async with sharing.open_rate_limiter(resumed=False):
            return await replace(resources, sharing=sharing).make_dispatcher(None).run(asyncio.Event())

    assert asyncio.run(go()).accepted == N
    assert others.told == [("+12025550100", "not your number")]
    assert (shown[-1].accepted, shown[-1].pending) == (N, 0)


def test_alone_the_progress_is_shown(make: Callable[..., SendResources]) -> None:
    shown: list[Progress] = []
    assert send(make(Wire(), on_progress=shown.append)).accepted == N
    assert (shown[-1].accepted, shown[-1].pending) == (N, 0)


def test_only_what_is_below_the_limit_is_sent(make: Callable[..., SendResources]) -> None:
    wire = Wire()
    assert send(make(wire), 5).pending == N - 5
    assert sorted(wire.sent) == list(range(5))


def test_what_the_list_refuses_is_not_sent(make: Callable[..., SendResources]) -> None:
    """Somebody wrote STOP since the plan was made."""

    def refuses(to: str, sender: str | None, service: str | None) -> Canceled | None:
        return Canceled(CancelReason.OPTED_OUT) if to == "+12025550103" else None

    wire = Wire()
    counts = send(make(wire, suppression=SimpleNamespace(refuses=refuses)))
    assert (counts.accepted, counts.canceled, 3 in wire.sent) == (N - 1, 1, False)


def test_what_a_cap_holds_back_is_not_sent(make: Callable[..., SendResources]) -> None:
    class Caps:
        def check(self, claims: list[tuple[Claim, Message]], *, lease_ms: int) -> None: ...

        def refusal(self, claim: Claim) -> Canceled | None:
            return Canceled(CancelReason.FREQUENCY_CAP) if claim.seq == 4 else None

    wire = Wire()
    counts = send(make(wire, caps=Caps()))
    assert (counts.accepted, counts.canceled, 4 in wire.sent) == (N - 1, 1, False)


def test_what_has_missed_its_window_is_not_sent(make: Callable[..., SendResources]) -> None:
    windows = SendWindows(Waves([Wave(0, N, ((0, 1),))]), hold=True)
    wire = Wire()
    assert send(make(wire, windows=windows)).canceled == N
    assert wire.sent == []


@pytest.mark.parametrize("until_ms", [None, 5])
def test_it_waits_while_its_windows_hold_everything(make: Callable[..., SendResources], until_ms: int | None) -> None:
    assert not make(Wire()).is_waiting(), "a campaign without windows"
    windows = SendWindows(Waves([Wave(0, N, ((0, 1 << 60),))]), hold=True)
    windows.held_until_ms = until_ms
    assert make(Wire(), windows=windows).is_waiting() is (until_ms is not None)


def test_each_route_is_a_way_in_order(make: Callable[..., SendResources]) -> None:
    alone = make(Wire())
    assert alone.ways == (alone,)
    assert [(one.run, one.provider, one.route) for one in alone.sessions] == [(alone.run, alone.provider, None)]
    other = make(Wire(), run=replace(alone.run, provider="two"))
    both = replace(alone, others=(other,))
    assert both.ways == (both, other)
    assert [(one.run.provider, one.provider, one.route) for one in both.sessions] == [
        (alone.run.provider, alone.provider, 0),
        ("two", other.provider, 1),
    ]


@pytest.fixture
def adapter() -> Any:
    return SimpleNamespace(base_url="http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("workers", "concurrency", "count"),
    [
        pytest.param(1, None, 1, id="one"),
        pytest.param(4, None, 4, id="as many as were asked for"),
        pytest.param(4, 2, 2, id="one for each request in flight"),
        pytest.param(2, 8, 2, id="no more than were asked for"),
    ],
)
def test_there_are_never_more_workers_than_requests_in_flight(
    history: RunHistory, adapter: Any, workers: int, concurrency: int | None, count: int
) -> None:
    run, options = history.add({ADA: PENDING}), SendOptions(state_dir=history.folder, workers=workers, env={})
    pace = replace(PACE, concurrency=concurrency)
    config = worker_config(history.state, run, pace, adapter, options, None)
    assert (config.count, config.number, config.run_id, config.pace) == (count, 0, run.run_id, pace)


@pytest.mark.parametrize("simulated", [True, False])
def test_workers_are_told_where_everything_is(
    history: RunHistory, adapter: Any, simulated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stand in another folder perhaps, and reach the sandbox that runs in this process."""
    monkeypatch.chdir(history.folder.parent)
    run = replace(history.add({ADA: PENDING}), simulated=simulated)
    options = SendOptions(state_dir=history.folder.name, env={"TOKEN": "t"})
    state: Any = SimpleNamespace(where=history.folder.name, workers_folder=history.state.workers_folder)
    url = "https://reports.example/twilio"
    config = worker_config(state, run, PACE, adapter, options, url, request_format=3)
    assert Path(str(config.options.state_dir)) == history.folder.resolve()
    sandbox = {"SENDER_SANDBOX_URL": adapter.base_url} if simulated else {}
    assert config.options.env == {"TOKEN": "t"} | sandbox
    assert (config.callback, config.request_format) == (url, 3)
    assert Path(config.slots_file).is_absolute()
    assert config.log_level == logging.getLogger("sender").getEffectiveLevel()


def test_one_process_sends_alone_and_several_are_supervised(
    make: Callable[..., SendResources], history: RunHistory, adapter: Any
) -> None:
    run, options = history.add({ADA: PENDING}), SendOptions(state_dir=history.folder, workers=2, env={})
    config = worker_config(history.state, run, PACE, adapter, options, None)
    assert make(Wire()).make_supervisor(7) is None
    supervisor = make(Wire(), workers=config).make_supervisor(7)
    assert isinstance(supervisor, Supervisor)
    assert supervisor._config.options.limit == 7


@pytest.mark.parametrize("count", [1, 2])
def test_the_slots_that_workers_share_are_there_while_they_send(history: RunHistory, adapter: Any, count: int) -> None:
    run, options = history.add({ADA: PENDING}), SendOptions(state_dir=history.folder, workers=count, env={})
    pace = replace(PACE, per_s=7.0)
    config = worker_config(history.state, run, pace, adapter, options, None)
    reader = MessageReader(history.state.plan(run), run.run_id)
    slots = Path(config.slots_file)

    def is_there() -> bool:
        return slots.exists()

    async def resume() -> float | None:
        with open_rate_limiter(history.state, run, reader, config) as limiter:
            assert is_there() is (count > 1)
            return limiter.per_s

    assert asyncio.run(resume()) == 7.0
    assert not is_there()
