"""A run by two routes, each with a scripted wire: what moves, what stays, and which route is left and tried again."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sender.core.errors import ProviderRefused, ProviderUnreachable, StateError
from sender.core.outcomes import Accepted, Deferred, Outcome, Reason, Rejected, Unknown
from sender.plan.message_reader import MessageReader
from sender.plan.pace import Pace
from sender.plan.plan import Plan
from sender.plan.waves import Wave, Waves
from sender.providers.base import Response
from sender.sending import outcome_policy, route_dispatch
from sender.sending.circuit_breaker import Patience
from sender.sending.concurrency import Concurrency
from sender.sending.dispatcher import Dispatcher
from sender.sending.observer import ProgressObserver
from sender.sending.producer import Assignment
from sender.sending.rejection_guard import PER_PERSON
from sender.sending.route_board import MOVES, RouteSeat
from sender.sending.route_dispatch import RouteDispatch
from sender.sending.send_windows import SendWindows
from sender.sending.throttle import Throttle, make_rate_limiter
from sender.state.async_ledger import AsyncLedger
from sender.state.heartbeat import Progress
from sender.state.ledger import Claim, Counts, Run, RunKind
from sender.state.ledger_values import RunRoute
from sender.state.sqlite.ledger import SqliteLedger
from sender.transport.base import MaybeSent, NotSent
from tests.sending.test_dispatcher import N, Script, Wire, plan

__all__ = ["plan"]  # a fixture
NOT_THERE = Rejected(Reason.SENDER_NOT_ALLOWED, "21408", "not to this region")
NO_FUNDS = Deferred(Reason.INSUFFICIENT_FUNDS, "30002", "no funds", halt=True)
PACE = Pace("none", None, "messages", concurrency=4, retries=2, timeout_s=5)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_policy, "_backoff_s", lambda attempt: 0.01)
    monkeypatch.setattr(route_dispatch, "PROBE_FIRST_S", 30.0)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    made = SqliteLedger.open(tmp_path / "ledger.sqlite3")
    run = Run("r", "c", RunKind.SANDBOX, "one", "h", None, N, N, 0, made.now_ms(), simulated=True)
    made.create_run(run, routes=[RunRoute("one", None, None), RunRoute("two", None, None)])
    yield made
    made.close()


def every(script: Callable[[], Script]) -> dict[int, list[Script]]:
    """The same answer to each message, as often as it is asked."""
    return {seq: [script() for _ in range(80)] for seq in range(N)}


def send(
    ledger: SqliteLedger,
    plan: Plan,
    *wires: Wire,
    stop: asyncio.Event | None = None,
    using: Any = None,
    left: dict[int, Any] | None = None,
    pace: Pace = PACE,
    below_seq: int | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    windows: Callable[[], SendWindows | None] = lambda: None,
) -> Counts:
    run = ledger.run("r")

    def make(route: int, of_route: AsyncLedger, seat: RouteSeat, patience: Patience) -> Dispatcher:
        return Dispatcher(
            ledger=of_route,
            reader=MessageReader(plan, "r"),
            adapter=wires[route],  # type: ignore[arg-type]
            transport=wires[route],
            throttle=Throttle(pace, make_rate_limiter(pace), Concurrency(pace.concurrency, pace.per_s)),
            assignment=Assignment(below_seq, seat=seat, patience=patience, windows=windows()),
            observer=ProgressObserver(on_progress),
        )

    async def go() -> Counts:
        dispatch = RouteDispatch(
            using or ledger,
            run,
            formats=tuple(None for _ in wires),
            names=tuple(f"route-{number}" for number in range(len(wires))),
            below_seq=below_seq,
            make=make,
            left={} if left is None else left,
        )
        async with asyncio.timeout(20):
            return await dispatch.run(stop or asyncio.Event())

    return asyncio.run(go())


def states(ledger: SqliteLedger) -> list[tuple[str, int]]:
    return list(ledger.journal("r").select("state", "route").iter_rows())


def test_while_the_first_route_works_the_second_gets_nothing(ledger: SqliteLedger, plan: Plan) -> None:
    first, second = Wire(), Wire()
    seen: list[Progress] = []
    assert send(ledger, plan, first, second, on_progress=seen.append).accepted == N
    assert sorted(first.sent) == list(range(N))
    assert second.sent == []
    assert (seen[-1].accepted, seen[-1].pending) == (N, 0)


@pytest.mark.parametrize("reason", [*Reason])
def test_only_what_is_about_sender_account_or_provider_moves(reason: Reason, ledger: SqliteLedger, plan: Plan) -> None:
    first, second = Wire({3: [Rejected(reason, "1", "no")], 5: [Rejected(reason, "1", "no")]}), Wire()
    counts = send(ledger, plan, first, second)
    if reason in MOVES:
        assert (counts.accepted, sorted(second.sent)) == (N, [3, 5])
        assert ledger.moves("r").select("seq", "route", "outcome").rows() == [(3, 0, "rejected"), (5, 0, "rejected")]
        assert states(ledger)[3] == ("accepted", 1)
    else:
        assert (counts.rejected, second.sent) == (2, [])
    assert first.sent.count(3) == 1
    assert not MOVES & PER_PERSON


@pytest.mark.parametrize("doubt", [Unknown("502"), MaybeSent("timed out"), Unknown("403", undocumented=True)])
def test_what_may_have_been_accepted_never_moves(doubt: Any, ledger: SqliteLedger, plan: Plan) -> None:
    first, second = Wire({seq: [doubt] for seq in (4, 7)}), Wire()
    counts = send(ledger, plan, first, second)
    assert (counts.accepted, counts.unknown) == (N - 2, 2)
    assert second.sent == []


def test_a_temporary_refusal_moves_once_its_tries_are_used_up(ledger: SqliteLedger, plan: Plan) -> None:
    busy = Deferred(Reason.OTHER, "20503", "try later")
    first, second = Wire({2: [busy] * 9}), Wire({2: [busy, busy]})
    assert send(ledger, plan, first, second).accepted == N
    assert (first.sent.count(2), second.sent.count(2)) == (PACE.retries + 1, 3), "each route has tries of its own"
    assert ledger.journal("r", seqs=[2]).row(0, named=True)["attempts"] == PACE.retries + 1 + 3


def test_what_all_routes_refuse_is_rejected_with_the_last_answer(ledger: SqliteLedger, plan: Plan) -> None:
    last = Rejected(Reason.UNREGISTERED, "30034", "not registered")
    first, second = Wire({1: [NOT_THERE]}), Wire({1: [last]})
    counts = send(ledger, plan, first, second)
    assert (counts.accepted, counts.rejected) == (N - 1, 1)
    row = ledger.journal("r", seqs=[1]).row(0, named=True)
    assert (row["route"], row["error_code"], first.sent.count(1), second.sent.count(1)) == (1, "30034", 1, 1)


@pytest.mark.parametrize("trouble", [NO_FUNDS, NotSent("no route to host")])
def test_a_route_that_is_stopped_is_left_to_the_other(
    trouble: Any, ledger: SqliteLedger, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome_policy, "RECONNECT_CAP_S", 0.01)
    first, second, left = Wire(every(lambda: trouble)), Wire(), {}  # type: ignore[var-annotated]
    assert send(ledger, plan, first, second, left=left).accepted == N
    assert sorted(second.sent) == list(range(N))
    assert isinstance(left[0], ProviderRefused | ProviderUnreachable)
    moves = ledger.moves("r")
    assert set(moves["outcome"]) <= {"deferred"}
    assert moves.height == (len(set(first.sent)) if trouble is NO_FUNDS else 0), "what never left was no attempt"


def test_doubts_in_a_row_leave_the_route_and_stay_there(ledger: SqliteLedger, plan: Plan) -> None:
    first, second = Wire(every(lambda: MaybeSent("timed out"))), Wire()
    counts = send(ledger, plan, first, second)
    assert counts.unknown == len(first.sent) < N
    assert counts.accepted == len(second.sent) == N - counts.unknown
    assert not set(first.sent) & set(second.sent)


def test_a_route_is_tried_again_and_used_once_it_accepts(
    ledger: SqliteLedger, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route_dispatch, "PROBE_FIRST_S", 0.15)
    tries = 0

    def recovers() -> Outcome:
        nonlocal tries
        tries += 1
        return NO_FUNDS if tries < 3 else Accepted(f"one-{tries}")

    first, second = Wire(every(lambda: recovers)), Wire(latency_s=0.25)
    pace = Pace("4/s", 4.0, "messages", concurrency=1, retries=2, timeout_s=5)
    left: dict[int, Any] = {}
    assert send(ledger, plan, first, second, pace=pace, left=left).accepted == N
    assert tries >= 4, "a probe that was refused, and one that was not"
    assert sum(first.accepted.values()) == tries - 2
    assert first.accepted.keys().isdisjoint(second.accepted.keys())
    assert left == {}


class HeldWire(Wire):
    """One that answers nothing before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()

    async def send(self, *args: Any, **named: Any) -> Response:
        await self.free.wait()
        return await super().send(*args, **named)


def test_each_pause_before_a_route_is_tried_again_is_twice_as_long_up_to_ten_minutes(
    ledger: SqliteLedger, plan: Plan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once the route has accepted a message, the pauses begin anew."""
    second, tries = HeldWire(), 0
    wait = RouteDispatch._wait
    monkeypatch.setattr(RouteDispatch, "_wait", lambda self, seconds, ended: wait(self, 0.001, ended))

    def answer() -> Outcome:
        nonlocal tries
        tries += 1
        if tries == 10:
            second.free.set()
        return Accepted("one") if tries == 8 else NO_FUNDS

    assert send(ledger, plan, Wire(every(lambda: answer)), second, pace=replace(PACE, concurrency=1)).accepted == N
    left = [record for record in caplog.records if vars(record).get("event") == "route_left"]
    assert [record.getMessage().rpartition("tried again in ")[2] for record in left[:9]] == [
        *("30 s", "60 s", "120 s", "240 s", "480 s", "600 s", "600 s"),
        *("30 s", "60 s"),
    ]


def test_it_is_said_which_route_is_left_and_which_ones_take_its_messages(
    ledger: SqliteLedger, plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    send(ledger, plan, Wire(every(lambda: NO_FUNDS)), Wire())
    (left,) = (record for record in caplog.records if vars(record).get("event") == "route_left")
    assert (vars(left)["route"], vars(left)["open"]) == ("route-0", "route-1")
    said = left.getMessage()
    assert said.startswith("route route-0 is no longer used, its messages go through route-1: ")
    assert said.endswith("; it is tried again in 30 s")
    assert "no funds" in said


@pytest.mark.parametrize("below_seq", [3, 4])
def test_what_is_not_to_be_sent_now_does_not_count_as_left_at_a_stopped_route(
    ledger: SqliteLedger, plan: Plan, below_seq: int
) -> None:
    """The fourth message may go by the second route alone, and that is stopped."""
    first, second = Wire({2: [NOT_THERE], 3: [NOT_THERE]}), Wire(every(lambda: NO_FUNDS))
    with pytest.raises(ProviderRefused, match="no funds"):
        send(ledger, plan, first, second)
    assert send(ledger, plan, Wire(), Wire(), below_seq=3).pending == 1
    failure = ProviderRefused("no funds")
    if below_seq == 3:
        assert send(ledger, plan, Wire(), Wire(), left={1: failure}, below_seq=below_seq).pending == 1
    else:
        with pytest.raises(ProviderRefused, match="no funds"):
            send(ledger, plan, Wire(), Wire(), left={1: failure}, below_seq=below_seq)


def test_once_both_are_stopped_the_run_stops_and_the_rest_is_pending(ledger: SqliteLedger, plan: Plan) -> None:
    first, second = Wire(every(lambda: NO_FUNDS)), Wire(every(lambda: NO_FUNDS))
    with pytest.raises(ProviderRefused, match="no funds"):
        send(ledger, plan, first, second)
    counts = ledger.counts("r")
    assert (counts.pending, counts.intent, counts.unknown) == (N, 0, 0)
    assert send(ledger, plan, Wire(), Wire()).accepted == N, "and the same command goes on"


def test_what_only_a_stopped_route_may_have_waits_for_it(ledger: SqliteLedger, plan: Plan) -> None:
    """The first refuses two for good, and the second stops: these two wait, all others are sent."""
    first, second = Wire({3: [NOT_THERE], 5: [NOT_THERE]}), Wire(every(lambda: NO_FUNDS))
    with pytest.raises(ProviderRefused, match="no funds"):
        send(ledger, plan, first, second)
    counts = ledger.counts("r")
    assert (counts.accepted, counts.pending) == (N - 2, 2)
    again = Wire()
    assert send(ledger, plan, Wire(), again).accepted == N
    assert sorted(again.sent) == [3, 5], "the first has refused them for good"


def test_a_text_that_is_refused_again_and_again_stops_the_run_and_is_not_carried_around(
    ledger: SqliteLedger, plan: Plan
) -> None:
    pace = Pace("none", None, "messages", 1, 2, 5, max_rejected_in_a_row=4)
    first, second = Wire(every(lambda: Rejected(Reason.CONTENT, "30007", "spam"))), Wire()
    with pytest.raises(ProviderRefused, match="4 messages in a row were refused as content"):
        send(ledger, plan, first, second, pace=pace)
    assert second.sent == []


def test_a_ledger_that_fails_stops_every_route(ledger: SqliteLedger, plan: Plan) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            if name == "record":
                raise StateError("the disk is full")
            return getattr(ledger, name)

    with pytest.raises(StateError, match="the disk is full"):
        send(ledger, plan, Wire(), Wire(), using=Broken())


def test_an_answer_that_another_route_awaits_is_kept_when_the_run_stops(ledger: SqliteLedger, plan: Plan) -> None:
    pace = Pace("none", None, "messages", 1, 2, 5, max_rejected_in_a_row=4)
    scripts = every(lambda: Rejected(Reason.CONTENT, "30007", "spam")) | {0: [NOT_THERE]}
    first, second = Wire(scripts, latency_s=0.05), Wire(latency_s=0.8)
    with pytest.raises(ProviderRefused, match="refused as content"):
        send(ledger, plan, first, second, pace=pace)
    assert second.sent == [0]
    assert states(ledger)[0] == ("accepted", 1)
    assert ledger.counts("r").intent == 0


def test_a_stop_leaves_the_rest_pending_on_both(ledger: SqliteLedger, plan: Plan) -> None:
    stop = asyncio.Event()
    first, second = Wire(every(lambda: NO_FUNDS)), Wire(latency_s=0.02)
    second.before_send = lambda seq: stop.set()
    counts = send(ledger, plan, first, second, stop=stop)
    assert counts.intent == 0
    assert 0 < counts.accepted == len(second.sent) < N
    assert counts.pending == N - counts.accepted


@pytest.mark.parametrize("hold", [True, False])
def test_a_route_that_waits_for_its_turn_leaves_the_ledger_alone(
    ledger: SqliteLedger, plan: Plan, monkeypatch: pytest.MonkeyPatch, hold: bool
) -> None:
    """Also in a campaign with a window, of which more is left that the second route may not begin."""
    claims: Counter[int] = Counter()
    claim = ledger.claim

    def count(*args: Any, **named: Any) -> list[Claim]:
        claims[named["routed"].route] += 1
        return claim(*args, **named)

    monkeypatch.setattr(ledger, "claim", count)
    waves = Waves([Wave(0, N, ((0, 1 << 60),))])
    first, second = Wire({3: [NOT_THERE]}, latency_s=0.1), Wire()
    pace = replace(PACE, concurrency=1)
    assert send(ledger, plan, first, second, pace=pace, windows=lambda: SendWindows(waves, hold=hold)).accepted == N
    assert (len(first.sent), second.sent) == (N, [3])
    assert claims[1] <= 10, "over a second"


def test_three_routes_are_asked_in_order(tmp_path: Path, plan: Plan) -> None:
    made = SqliteLedger.open(tmp_path / "three.sqlite3")
    run = Run("r", "c", RunKind.SANDBOX, "one", "h", None, N, N, 0, made.now_ms(), simulated=True)
    made.create_run(run, routes=[RunRoute(name, None, None) for name in ("one", "two", "three")])
    wires = Wire({1: [NOT_THERE]}), Wire({1: [NOT_THERE]}), Wire()
    assert send(made, plan, *wires).accepted == N
    assert [wire.sent.count(1) for wire in wires] == [1, 1, 1]
    assert made.moves("r").select("seq", "route").rows() == [(1, 0), (1, 1)]
    made.close()


def test_the_routes_use_the_ledger_one_after_another(ledger: SqliteLedger, plan: Plan) -> None:
    """A ledger is not for two threads at once, however many dispatchers there are."""
    lock, met = threading.Lock(), []

    class Watched:
        def __getattr__(self, name: str) -> Any:
            value = getattr(ledger, name)
            if name not in {"claim", "prefetch", "record", "release", "counts", "next_due_ms", "move"}:
                return value

            def call(*args: Any, **named: Any) -> Any:
                if not lock.acquire(blocking=False):
                    met.append(name)
                    return value(*args, **named)
                try:
                    time.sleep(0.002)  # long enough to meet another
                    return value(*args, **named)
                finally:
                    lock.release()

            return call

    first, second = Wire(every(lambda: NOT_THERE), latency_s=0.001), Wire(latency_s=0.001)
    assert send(ledger, plan, first, second, using=Watched(), pace=replace(PACE, concurrency=2)).accepted == N
    assert second.sent
    assert met == []
