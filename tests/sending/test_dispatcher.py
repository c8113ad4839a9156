"""The send loop against a scripted wire and a real ledger: what is sent, what is retried, what is left alone."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sender.core.errors import ProviderRefused, ProviderUnreachable, StateError, Unsupported
from sender.core.outcomes import (
    Accepted,
    Deferred,
    DeliveryReport,
    Outcome,
    Reason,
    Rejected,
    Status,
    SubmissionState,
    Unknown,
)
from sender.plan.manifest import Manifest
from sender.plan.message_reader import MessageReader
from sender.plan.pace import Pace, Queue
from sender.plan.plan import PLAN_SCHEMA, Plan
from sender.plan.sender_pool import SenderPool
from sender.providers.base import Message, Request, Response
from sender.sending import outcome_policy, producer, queue_watch, rejection_guard
from sender.sending.circuit_breaker import ALONE, Patience
from sender.sending.concurrency import Concurrency
from sender.sending.dispatcher import Dispatcher
from sender.sending.observer import ProgressObserver, SendObserver
from sender.sending.producer import Assignment
from sender.sending.throttle import Throttle, resume_rate_limiter
from sender.state.async_ledger import AsyncLedger
from sender.state.heartbeat import Progress
from sender.state.ledger import Claim, Counts, ReceivedReport, Run, RunKind, Settlement
from sender.state.sqlite.ledger import SqliteLedger
from sender.transport.base import MaybeSent, NotSent

N = 12
Script = Outcome | Exception | Callable[[], Any]


class Wire:
    """Transport and adapter in one: answers each message from its script, then accepts."""

    capabilities = type("Capabilities", (), {"title": "Test"})()
    base_url = "http://127.0.0.1:9"

    def __init__(self, scripts: dict[int, list[Script]] | None = None, *, latency_s: float = 0.0) -> None:
        self.scripts = defaultdict(list, {seq: list(script) for seq, script in (scripts or {}).items()})
        self.latency_s = latency_s
        self.sent: list[int] = []
        self.distrusted: list[Response] = []
        self.accepted: Counter[int] = Counter()
        self.in_flight = self.most_in_flight = 0
        self.before_send: Callable[[int], None] | None = None
        self._ready: dict[bytes, Outcome] = {}

    def request(self, message: Message) -> Request:
        script = self.scripts[message.seq]
        if script and isinstance(script[0], Unsupported):
            raise script.pop(0)  # type: ignore[misc]
        return Request("POST", self.base_url, (), str(message.seq).encode())

    async def send(self, request: Request, *, timeout_s: float, send_by_s: float = math.inf) -> Response:
        seq = int(request.content)
        if self.before_send:
            self.before_send(seq)
        self.sent.append(seq)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency_s)
        finally:
            self.in_flight -= 1
        script = self.scripts[seq]
        step = script.pop(0) if script else Accepted(f"id-{seq}")
        if isinstance(step, Exception):
            raise step
        outcome = step if not callable(step) else step()
        if isinstance(outcome, Accepted):
            self.accepted[seq] += 1
        token = f"{seq}:{len(self.sent)}".encode()
        self._ready[token] = outcome
        return Response(200, {}, token)

    def outcome(self, response: Response, message: Message) -> Outcome:
        return self._ready.pop(response.content)

    def distrust(self, response: Response) -> None:
        self.distrusted.append(response)

    async def warm(self, url: str, connections: int) -> None: ...

    async def aclose(self) -> None: ...


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_policy, "_backoff_s", lambda attempt: 0.01)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    frame = pl.DataFrame(
        [
            {
                "row_number": seq + 2,
                "seq": seq,
                "to": f"+120255501{seq:02}",
                "region": "US",
                "number_type": "fixed_line_or_mobile",
                "from_number": "+12025550100",
                "body": f"Hi {seq}",
                "media": [],
                "encoding": "GSM-7",
                "segments": 1,
                "reason": None,
                "detail": None,
            }
            for seq in range(N)
        ],
        schema=PLAN_SCHEMA,
    )
    pace = Pace("none", None, "messages", concurrency=4, retries=2, timeout_s=5)
    manifest = Manifest(
        campaign="c", provider="sandbox", dialect="signalwire", senders=("+12025550100",), fields={}, test_to=None,
        rows=N, messages=N, blank_rows=0, skipped={}, segments=N, segment_counts={"1": N}, encodings={"GSM-7": N},
        mms=0, replacements=(), notes=(), pace=pace, sandbox={}, inputs=(), versions={}, plan_hash="h",
    )  # fmt: skip
    return Plan(manifest, frame).write(tmp_path / "plan")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    made = SqliteLedger.open(tmp_path / "ledger.sqlite3")
    yield made
    made.close()


def a_run(ledger: SqliteLedger) -> Run:
    run = Run("r", "c", RunKind.SANDBOX, "sandbox", "h", None, N, N, 0, ledger.now_ms(), simulated=True)
    if not ledger.runs():
        ledger.create_run(run)
    return run


def make_dispatcher(ledger: Any, run: Run, plan: Plan, wire: Wire, pace: Pace, **options: Any) -> Dispatcher:
    reader = MessageReader(plan, run.run_id)
    rate_limiter = resume_rate_limiter(pace, ledger, reader, run.run_id)
    return Dispatcher(
        ledger=AsyncLedger(ledger, run),
        reader=reader,
        adapter=wire,  # type: ignore[arg-type]
        transport=wire,
        throttle=Throttle(pace, rate_limiter, Concurrency(pace.concurrency, pace.per_s)),
        **options,
    )


def send(
    ledger: SqliteLedger,
    plan: Plan,
    wire: Wire,
    *,
    pace: Pace | None = None,
    stop: asyncio.Event | None = None,
    below_seq: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    using: Any = None,
    pool: SenderPool | None = None,
    patience: Patience = ALONE,
    observer: SendObserver | None = None,
) -> Counts:
    if on_progress is not None:
        observer = ProgressObserver(on_progress)

    async def go() -> Counts:
        dispatcher = make_dispatcher(
            using or ledger,
            a_run(ledger),
            plan,
            wire,
            pace or plan.manifest.pace,
            pool=pool,
            assignment=Assignment(below_seq, patience=patience),
            observer=observer,
        )
        return await dispatcher.run(stop or asyncio.Event())

    return asyncio.run(go())


def counts(**changed: int) -> Counts:
    return Counts(**{"pending": 0, "intent": 0, "accepted": 0, "rejected": 0, "canceled": 0, "unknown": 0, **changed})


def test_everything_is_sent_once(ledger: SqliteLedger, plan: Plan) -> None:
    wire = Wire()
    assert send(ledger, plan, wire) == counts(accepted=N)
    assert sorted(wire.sent) == list(range(N))
    assert ledger.journal("r")["message_id"].to_list() == [f"id-{seq}" for seq in range(N)]


@pytest.mark.parametrize(
    ("pace", "below_seq", "connections"),
    [
        pytest.param(Pace("none", None, "messages", concurrency=4, retries=2, timeout_s=5), None, 4, id="as allowed"),
        pytest.param(
            Pace("none", None, "messages", concurrency=None, retries=2, timeout_s=5), None, N, id="a message each"
        ),
        pytest.param(Pace("none", None, "messages", concurrency=4, retries=2, timeout_s=5), 2, 2, id="two to send"),
        pytest.param(Pace("40/s", 40, "messages", concurrency=None, retries=2, timeout_s=5), None, 8, id="as paced"),
    ],
)
def test_connections_are_warmed_before_the_first_message(
    ledger: SqliteLedger, plan: Plan, pace: Pace, below_seq: int | None, connections: int
) -> None:
    warmed: list[tuple[str, int, int]] = []

    class Warmed(Wire):
        async def warm(self, url: str, connections: int) -> None:
            warmed.append((url, connections, len(self.sent)))

    send(ledger, plan, Warmed(), pace=pace, below_seq=below_seq)
    send(ledger, plan, Warmed(), pace=pace, below_seq=below_seq)  # nothing is left: none is opened
    assert warmed == [(Wire.base_url, connections, 0)]


def test_a_run_that_is_stopped_does_not_wait_for_its_connections(ledger: SqliteLedger, plan: Plan) -> None:
    class NeverWarm(Wire):
        async def warm(self, url: str, connections: int) -> None:
            asyncio.get_running_loop().call_soon(stop.set)
            await asyncio.sleep(600)

    stop, wire = asyncio.Event(), NeverWarm()
    assert send(ledger, plan, wire, stop=stop) == counts(pending=N)
    assert wire.sent == []


def test_no_request_leaves_before_its_intent_is_on_disk(ledger: SqliteLedger, plan: Plan, tmp_path: Path) -> None:
    wire = Wire()
    other = SqliteLedger.open(tmp_path / "ledger.sqlite3")

    def check(seq: int) -> None:
        row = other.journal("r").filter(pl.col("seq") == seq)
        assert row["state"].to_list() == [SubmissionState.INTENT.value]

    wire.before_send = check
    assert send(ledger, plan, wire) == counts(accepted=N)
    other.close()


def test_no_more_than_concurrency_at_once(ledger: SqliteLedger, plan: Plan) -> None:
    wire = Wire(latency_s=0.02)
    send(ledger, plan, wire)
    assert wire.most_in_flight == 4


@pytest.mark.parametrize(
    ("script", "state", "tries", "reason"),
    [
        pytest.param([Rejected(Reason.INVALID_NUMBER, "21211", "no")], "rejected", 1, "invalid_number", id="rejected"),
        pytest.param([Unknown("500")], "unknown", 1, None, id="ambiguous-answer"),
        pytest.param([MaybeSent("reset")], "unknown", 1, None, id="reset-after-writing"),
        pytest.param([Unsupported("no")], "rejected", 0, "content", id="cannot-be-carried"),
        pytest.param([Deferred(Reason.OTHER, "x", "later")], "accepted", 2, None, id="deferred-once"),
        pytest.param([Deferred(Reason.RATE_LIMITED, "429", "slow", slow_down=True)], "accepted", 2, None, id="429"),
        pytest.param([Deferred(Reason.RATE_LIMITED, "429", "slow", slow_down=True)] * 5, "accepted", 6, None, id="429-is-not-its-fault"),
        pytest.param([Deferred(Reason.OTHER, "x", "later")] * 3, "rejected", 3, "other", id="retries-are-bounded"),
        pytest.param([Deferred(Reason.OTHER, "x", "l"), Unknown("?")], "unknown", 2, None, id="deferred-then-unknown"),
    ],
)  # fmt: skip
def test_what_becomes_of_one_message(
    ledger: SqliteLedger, plan: Plan, script: list[Script], state: str, tries: int, reason: str | None
) -> None:
    wire = Wire({3: script})
    send(ledger, plan, wire)
    row = ledger.journal("r").filter(pl.col("seq") == 3).row(0, named=True)
    assert (row["state"], row["reason"]) == (state, reason)
    assert wire.sent.count(3) == tries
    assert ledger.counts("r").accepted == N - (state != "accepted")
    assert all(n == 1 for n in wire.accepted.values())


def test_retry_after_pauses_the_account(ledger: SqliteLedger, plan: Plan) -> None:
    wire = Wire({0: [Deferred(Reason.RATE_LIMITED, "429", "slow", retry_after_s=0.4, slow_down=True)]})
    pace = Pace("200/s", 200.0, "messages", concurrency=1, retries=2, timeout_s=5)
    seen: list[Progress] = []
    assert send(ledger, plan, wire, pace=pace, on_progress=seen.append) == counts(accepted=N)
    assert max(one.paused_s for one in seen) > 0.1
    assert seen[-1].elapsed_s >= 0.4


def test_an_account_fatal_answer_stops_the_run_at_once(ledger: SqliteLedger, plan: Plan) -> None:
    wire = Wire({seq: [Deferred(Reason.UNAUTHORIZED, "401", "bad token", halt=True)] for seq in range(2, N)})
    with pytest.raises(ProviderRefused, match="bad token") as caught:
        send(ledger, plan, wire, pace=Pace("none", None, "messages", 1, 2, 5))
    assert caught.value.exit_code == 3
    assert "credentials" in str(caught.value.fix)
    assert len(wire.sent) <= 4
    assert ledger.counts("r") == counts(accepted=2, pending=N - 2)
    wire.scripts.clear()
    assert send(ledger, plan, wire) == counts(accepted=N)
    assert all(n == 1 for n in wire.accepted.values())


def test_an_unreachable_provider_stops_the_run_and_loses_nothing(ledger: SqliteLedger, plan: Plan) -> None:
    wire = Wire({seq: [NotSent("refused")] * 9 for seq in range(N)})
    with pytest.raises(ProviderUnreachable, match=r"no connection to http://127\.0\.0\.1:9: refused"):
        send(ledger, plan, wire)
    assert ledger.counts("r") == counts(pending=N)
    assert set(ledger.journal("r")["attempts"]) <= {0}


def test_a_connection_that_fails_now_and_then_is_not_a_try(ledger: SqliteLedger, plan: Plan) -> None:
    wire = Wire({5: [NotSent("refused")] * 2})
    assert send(ledger, plan, wire, pace=Pace("none", None, "messages", 1, 0, 5)) == counts(accepted=N)
    assert ledger.journal("r").filter(pl.col("seq") == 5)["attempts"].to_list() == [1]


def test_the_first_n_of_the_plan(ledger: SqliteLedger, plan: Plan) -> None:
    wire = Wire()
    for _ in range(2):
        assert send(ledger, plan, wire, below_seq=5) == counts(accepted=5, pending=N - 5)
    assert sorted(wire.sent) == [0, 1, 2, 3, 4]
    assert send(ledger, plan, wire) == counts(accepted=N)
    assert sorted(wire.sent) == list(range(N))


def test_a_stop_drains_and_leaves_no_doubt(ledger: SqliteLedger, plan: Plan) -> None:
    stop = asyncio.Event()
    wire = Wire(latency_s=0.05)
    wire.before_send = lambda seq: stop.set() if len(wire.sent) >= 3 else None
    after = send(ledger, plan, wire, stop=stop)
    assert after.unknown == after.intent == 0
    assert after.accepted == len(wire.sent) < N
    assert after.pending == N - after.accepted
    wire.before_send = None
    assert send(ledger, plan, wire) == counts(accepted=N)
    assert sorted(wire.sent) == list(range(N))


class Failing:
    """The ledger, failing at one call."""

    def __init__(self, ledger: SqliteLedger, call: str, *, after: int) -> None:
        self._ledger, self._call, self._left = ledger, call, after

    def __getattr__(self, name: str) -> Any:
        if name == self._call:
            if self._left == 0:
                return self._fail
            self._left -= 1
        return getattr(self._ledger, name)

    @staticmethod
    def _fail(*args: Any, **kwargs: Any) -> Any:
        raise StateError("the disk is full")


def test_nothing_is_sent_when_the_intents_cannot_be_committed(ledger: SqliteLedger, plan: Plan) -> None:
    wire = Wire()
    with pytest.raises(StateError, match="disk is full"):
        send(ledger, plan, wire, using=Failing(ledger, "claim", after=0))
    assert wire.sent == []
    assert ledger.counts("r") == counts(pending=N)


def test_the_run_stops_when_outcomes_cannot_be_recorded(ledger: SqliteLedger, plan: Plan) -> None:
    wire = Wire(latency_s=0.01)
    pace = Pace("20/s", 20.0, "messages", 1, 2, 5)
    with pytest.raises(StateError, match="disk is full"):
        send(ledger, plan, wire, pace=pace, using=Failing(ledger, "record", after=0))
    assert len(wire.sent) < N
    assert ledger.counts("r").intent >= 1  # known to be in doubt, found by the next start


def test_a_claim_past_its_deadline_is_given_back_unsent(
    ledger: SqliteLedger, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = asyncio.Event()
    wire = Wire()
    given_back: list[Claim] = []
    release = ledger.release

    def spy(run_id: str, claims: Any) -> int:
        given_back.extend(claims)
        stop.set()
        return release(run_id, claims)

    monkeypatch.setattr(ledger, "release", spy)
    monkeypatch.setattr(producer, "LEASE_MS", 0)
    assert send(ledger, plan, wire, stop=stop) == counts(pending=N)
    assert wire.sent == []
    assert given_back


def test_progress_adds_up(ledger: SqliteLedger, plan: Plan) -> None:
    seen: list[Progress] = []
    send(ledger, plan, Wire({1: [Unknown("?")], 2: [Rejected(Reason.CONTENT)]}), on_progress=seen.append)
    last = seen[-1]
    assert (last.accepted, last.rejected, last.unknown, last.pending) == (N - 2, 1, 1, 0)
    assert last.done == last.total == N
    assert all(one.accepted + one.rejected + one.canceled + one.unknown + one.pending == N for one in seen)


class Follower(ProgressObserver):
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(lambda _: None)
        self.sent: list[tuple[float, str | None]] = []
        self.returned: list[str | None] = []
        self.states: Counter[SubmissionState] = Counter()
        self.failures: list[Exception] = []

    def message_sent(self, units: float, sender: str | None) -> None:
        self.sent.append((units, sender))

    def message_returned(self, sender: str | None) -> None:
        self.returned.append(sender)

    def outcomes_recorded(self, states: Counter[SubmissionState]) -> None:
        self.states.update(states)

    def halted(self, failure: Exception) -> None:
        self.failures.append(failure)


def test_who_follows_a_run_is_told_what_leaves_comes_back_and_is_recorded(ledger: SqliteLedger, plan: Plan) -> None:
    later, lost = Deferred(Reason.OTHER, "20503", "try later"), NotSent("refused")
    wire = Wire({1: [Unknown("?")], 2: [Rejected(Reason.CONTENT)], 3: [later, later], 4: [lost]})
    follower, own = Follower(), "+12025550100"
    assert send(ledger, plan, wire, observer=follower).accepted == N - 2
    assert follower.sent == [(1, own)] * (N + 3)
    assert follower.returned == [own] * 3
    states = SubmissionState
    assert follower.states == {states.ACCEPTED: N - 2, states.REJECTED: 1, states.UNKNOWN: 1, states.PENDING: 2}
    assert follower.failures == []


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        pytest.param(Deferred(Reason.UNAUTHORIZED, "401", "bad\ntoken", halt=True), ProviderRefused, id="refused"),
        pytest.param(NotSent("no route"), ProviderUnreachable, id="out of reach"),
        pytest.param(MaybeSent("timed out"), ProviderUnreachable, id="doubts"),
        pytest.param(ZeroDivisionError("a fault\nof ours"), ZeroDivisionError, id="a fault"),
    ],
)
def test_who_follows_a_run_is_told_once_what_stops_it(
    ledger: SqliteLedger,
    plan: Plan,
    script: Script,
    failure: type[Exception],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is what the dispatcher raises, though the messages in flight with the first meet it as well."""
    monkeypatch.setattr(outcome_policy, "RECONNECT_CAP_S", 0.01)
    wire = Wire({seq: [script] * 9 for seq in range(1, N)}, latency_s=0.01)
    follower, patience = Follower(), Patience(outage_s=0.02, doubts=2)
    with pytest.raises(failure) as caught:
        send(ledger, plan, wire, observer=follower, patience=patience)
    assert len(follower.failures) == 1
    assert follower.failures[0] is caught.value
    halts = [record.getMessage() for record in caplog.records if vars(record).get("event") == "halt"]
    assert halts == [f"stopping: {str(caught.value).splitlines()[0]}"]


def test_a_provider_that_only_leaves_doubts_does_not_get_the_whole_list(ledger: SqliteLedger, plan: Plan) -> None:
    wire = Wire({seq: [MaybeSent("timed out")] for seq in range(N)})
    with pytest.raises(ProviderUnreachable, match="3 answers in a row were inconclusive; the last: timed out"):
        send(ledger, plan, wire, pace=Pace("none", None, "messages", 1, 2, 5), patience=Patience(doubts=3))
    after = ledger.counts("r")
    assert (after.accepted, after.intent) == (0, 0)
    assert 3 <= after.unknown == len(wire.sent) <= 5


def test_doubts_among_acceptances_do_not_stop_the_run(ledger: SqliteLedger, plan: Plan) -> None:
    wire = Wire({seq: [MaybeSent("timed out")] for seq in range(0, N, 2)})
    pace, patience = Pace("none", None, "messages", 1, 2, 5), Patience(doubts=2)
    assert send(ledger, plan, wire, pace=pace, patience=patience) == counts(accepted=N // 2, unknown=N // 2)


def test_a_callback_that_fails_costs_nothing(
    ledger: SqliteLedger, plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    def fail(now: Progress) -> None:
        nonlocal calls
        calls += 1
        raise ZeroDivisionError("the caller's own")

    assert send(ledger, plan, Wire(latency_s=0.05), on_progress=fail) == counts(accepted=N)
    assert calls == 1
    assert "on_progress failed" in caplog.text


def test_a_queue_that_cannot_be_read_for_a_moment_stops_no_progress(ledger: SqliteLedger, plan: Plan) -> None:
    seen: list[Progress] = []
    pace = Pace("20/s", 20.0, "messages", 1, 2, 5, queue=Queue(100.0, 20.0))
    using = Failing(ledger, "delivering", after=0)
    assert send(ledger, plan, Wire(), pace=pace, using=using, on_progress=seen.append) == counts(accepted=N)
    assert len({one.accepted for one in seen}) > 3


def test_the_first_messages_are_those_that_leave_first(
    ledger: SqliteLedger, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the ledger has entered all of them, since they wait for their window."""
    monkeypatch.setattr(rejection_guard, "FEWEST", 3)
    monkeypatch.setattr(rejection_guard, "LOOK_EVERY_S", 0.0)
    ledger.hold(a_run(ledger).run_id, from_seq=0, below_seq=N, until_ms=1)
    wire = Wire({seq: [Rejected(Reason.CONTENT, "30007", "spam")] for seq in range(0, N, 2)}, latency_s=0.03)
    with pytest.raises(ProviderRefused, match=r"[34] of the first 12 messages were refused"):
        send(ledger, plan, wire, pace=Pace("none", None, "messages", 1, 2, 5))
    assert len(wire.sent) < N


class Night:
    """A gate that is closed for a while after the first trouble."""

    held_until_ms: int | None = None
    is_closed = False

    def close(self, seconds: float) -> None:
        self.is_closed = True
        asyncio.get_running_loop().call_later(seconds, self._open)

    def _open(self) -> None:
        self.is_closed = False

    def bound(self, ledger: SqliteLedger, run_id: str) -> int:
        return 0 if self.is_closed else N

    def wait_s(self, due_in_s: float | None, *, total: int, begins: bool) -> float | None:
        self.held_until_ms = 1 if self.is_closed else None
        return 0.05 if self.is_closed else due_in_s

    def left_s(self, seqs: list[int]) -> float:
        return 0.0 if self.is_closed else 60.0

    def look_again(self, *, came_back: bool = False) -> None: ...

    def record_sent(self, units: float) -> None: ...

    def limit_validity(self, seq: int, fields: Any) -> Any:
        return fields


@pytest.mark.parametrize("trouble", [NotSent("no route"), Deferred(Reason.RATE_LIMITED, "429", "no", slow_down=True)])
def test_a_closed_window_is_no_outage(
    ledger: SqliteLedger, plan: Plan, monkeypatch: pytest.MonkeyPatch, trouble: Any
) -> None:
    """Trouble before it closes and trouble after it opens: nothing was asked for meanwhile."""
    monkeypatch.setattr(outcome_policy, "RECONNECT_CAP_S", 0.01)
    night, last = Night(), N - 1
    wire = Wire({last: [trouble, trouble]})
    wire.before_send = lambda seq: night.close(0.6) if seq == last and last not in wire.sent else None

    async def go() -> Counts:
        pace = Pace("200/s", 200.0, "messages", 1, 2, 5)
        assignment = Assignment(windows=night, patience=Patience(outage_s=0.4, throttle_s=0.4))  # type: ignore[arg-type]
        return await make_dispatcher(ledger, a_run(ledger), plan, wire, pace, assignment=assignment).run(
            asyncio.Event()
        )

    assert asyncio.run(go()) == counts(accepted=N)
    assert wire.sent.count(last) == 3


@pytest.mark.parametrize("where", ["left_s", "limit_validity"])
def test_a_fault_in_the_windows_leaves_no_claim_behind(
    ledger: SqliteLedger, plan: Plan, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fault(*args: Any) -> Any:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(Night, where, fault)
    assignment = Assignment(windows=Night())  # type: ignore[arg-type]

    async def go() -> None:
        await make_dispatcher(ledger, a_run(ledger), plan, Wire(), plan.manifest.pace, assignment=assignment).run(
            asyncio.Event()
        )

    with pytest.raises(ZeroDivisionError):
        asyncio.run(go())
    assert ledger.counts("r") == counts(pending=N)


def test_a_pace_slower_than_the_lease_still_sends(
    ledger: SqliteLedger, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "LEASE_MS", 100)
    wire = Wire()
    begun = time.monotonic()
    assert send(ledger, plan, wire, pace=Pace("4/s", 4.0, "messages", 2, 2, 5)) == counts(accepted=N)
    assert time.monotonic() - begun >= (N - 1) / 4 - 0.1, "and never above the pace"
    assert sorted(wire.sent) == list(range(N))


@pytest.mark.parametrize("where", ["request", "outcome"])
def test_a_fault_in_an_adapter_stops_the_run_and_loses_nothing(
    ledger: SqliteLedger, plan: Plan, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    wire = Wire()

    def fault(*args: Any) -> Any:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(wire, where, fault)
    with pytest.raises(ZeroDivisionError):
        send(ledger, plan, wire)
    after = ledger.counts("r")
    assert after.intent == 0
    assert after.unknown == len(wire.sent)
    assert after.pending == N - after.unknown


def test_simultaneous_connection_failures_are_one_failure(ledger: SqliteLedger, plan: Plan) -> None:
    wire = Wire({seq: [NotSent("refused")] for seq in range(4)}, latency_s=0.02)
    assert send(ledger, plan, wire) == counts(accepted=N)


def test_cancelling_the_task_records_what_is_known(ledger: SqliteLedger, plan: Plan) -> None:
    wire = Wire(latency_s=0.01)

    async def go() -> None:
        dispatcher = make_dispatcher(ledger, a_run(ledger), plan, wire, Pace("40/s", 40.0, "messages", 1, 2, 5))
        sending = asyncio.create_task(dispatcher.run(asyncio.Event()))
        enough = asyncio.Event()
        wire.before_send = lambda seq: enough.set() if seq == 4 else None
        await enough.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    asyncio.run(go())
    after = ledger.counts("r")
    assert after.accepted == sum(wire.accepted.values())
    assert after.intent == 0
    assert after.unknown == 1  # the request that was cut off
    assert after.pending == N - after.accepted - 1


REFUSED = Deferred(Reason.SENDER_NOT_ALLOWED, "21606", "not your number", halt=True)
POOL = {"+12025550100": 1.0, "+12025550101": 1.0, "+12025550102": 1.0}


class Senders(Wire):
    """A wire that refuses some senders, and looks into the ledger before each request leaves."""

    def __init__(self, ledger_path: Path, bad: dict[str, Outcome]) -> None:
        super().__init__()
        self.bad = bad
        self.used: dict[int, list[str | None]] = defaultdict(list)
        self.noted: dict[int, list[str | None]] = defaultdict(list)
        self._beside = SqliteLedger.open(ledger_path)

    def request(self, message: Message) -> Request:
        if refusal := self.bad.get(str(message.from_number)):
            self.scripts[message.seq].append(refusal)
        self.used[message.seq].append(message.from_number)
        return super().request(message)

    async def send(self, request: Request, *, timeout_s: float, send_by_s: float = math.inf) -> Response:
        seq = int(request.content)
        row = self._beside.journal("r").filter(pl.col("seq") == seq).row(0, named=True)
        self.noted[seq].append(row["sender"] if row["state"] == "intent" else "no intent")
        return await super().send(request, timeout_s=timeout_s, send_by_s=send_by_s)

    async def aclose(self) -> None:
        self._beside.close()


@pytest.mark.parametrize("reason", [Reason.SENDER_NOT_ALLOWED, Reason.UNREGISTERED, Reason.BLOCKED, Reason.FILTERED])
def test_a_number_that_is_refused_is_taken_out_and_the_others_send_for_it(
    ledger: SqliteLedger, plan: Plan, tmp_path: Path, reason: Reason
) -> None:
    pool = SenderPool(POOL)
    wire = Senders(
        tmp_path / "ledger.sqlite3", {"+12025550100": Deferred(reason, "21606", "not your number", halt=True)}
    )
    assert send(ledger, plan, wire, pool=pool) == counts(accepted=N)
    assert dict(pool.disabled) == {"+12025550100": "not your number"}
    assert all(n == 1 for n in wire.accepted.values())
    journal = ledger.journal("r")
    for seq, used in wire.used.items():
        assert used[-1] == pool.choose(f"+120255501{seq:02}", "+12025550100") != "+12025550100"
        assert wire.noted[seq] == [None if one == "+12025550100" else one for one in used], "on disk before it leaves"
        assert journal["sender"][seq] == used[-1]
    assert len({used[-1] for used in wire.used.values()}) == 2, "both of the others carry some"
    asyncio.run(wire.aclose())


def test_a_refusal_by_many_numbers_uses_up_no_tries(ledger: SqliteLedger, plan: Plan, tmp_path: Path) -> None:
    numbers = [f"+120255501{n:02}" for n in range(12)]
    wire = Senders(tmp_path / "ledger.sqlite3", dict.fromkeys(numbers[:-1], REFUSED))
    pace = Pace("none", None, "messages", 1, 0, 5)
    assert send(ledger, plan, wire, pace=pace, pool=SenderPool(dict.fromkeys(numbers, 1.0))) == counts(accepted=N)
    assert ledger.journal("r")["sender"].to_list() == [numbers[-1]] * N
    asyncio.run(wire.aclose())


@pytest.mark.parametrize(
    ("pool", "bad", "outcome"),
    [
        pytest.param(POOL, [*POOL], REFUSED, id="no-number-is-left"),
        pytest.param(None, ["+12025550100"], REFUSED, id="no-pool"),
        pytest.param({"+12025550101": 1.0, "+12025550102": 1.0}, ["+12025550100"], REFUSED, id="a-rows-own-sender"),
        pytest.param(POOL, [*POOL][:1], Deferred(Reason.UNAUTHORIZED, "401", "no", halt=True), id="not-the-senders-fault"),
    ],
)  # fmt: skip
def test_what_no_other_number_mends_stops_the_run(
    ledger: SqliteLedger, plan: Plan, tmp_path: Path, pool: dict[str, float] | None, bad: list[str], outcome: Outcome
) -> None:
    wire = Senders(tmp_path / "ledger.sqlite3", dict.fromkeys(bad, outcome))
    with pytest.raises(ProviderRefused):
        send(ledger, plan, wire, pool=None if pool is None else SenderPool(pool))
    assert ledger.counts("r") == counts(pending=N)
    asyncio.run(wire.aclose())


def test_each_number_keeps_its_own_pace(ledger: SqliteLedger, plan: Plan) -> None:
    wire = Wire()
    started = time.monotonic()
    pace = Pace("none", None, "messages", 4, 2, 5, senders={"+12025550100": 10.0})
    assert send(ledger, plan, wire, pace=pace) == counts(accepted=N)
    assert time.monotonic() - started > (N - 1) / 10 * 0.9


# -- what the provider says of the pace ----------------------------------------------------------------------------

SLOW = Pace("200/s", 200.0, "messages", concurrency=1, retries=2, timeout_s=5)
QUEUED = Pace("200/s", 200.0, "messages", 1, 2, 5, queue=Queue(12_000.0, 200.0))


@pytest.mark.parametrize(
    ("said", "pace", "slowed"),
    [
        pytest.param(Deferred(Reason.RATE_LIMITED, "429", "slow down", slow_down=True), SLOW, True, id="429"),
        pytest.param(Accepted("id", wait_s=30.0), SLOW, True, id="wait-seconds"),
        pytest.param(Accepted("id", wait_s=2.0), SLOW, False, id="a-short-wait"),
        pytest.param(Accepted("id", wait_s=30.0), QUEUED, False, id="a-wait-that-the-campaign-allows"),
        pytest.param(Accepted("id", wait_s=90.0), QUEUED, True, id="a-longer-one"),
        pytest.param(Accepted("id", pause_s=0.2), SLOW, False, id="a-limit-used-up"),
    ],
)
def test_what_slows_the_account_is_told(
    ledger: SqliteLedger, plan: Plan, caplog: pytest.LogCaptureFixture, said: Outcome, pace: Pace, slowed: bool
) -> None:
    seen: list[Progress] = []
    assert send(ledger, plan, Wire({2: [said]}, latency_s=0.02), pace=pace, on_progress=seen.append) == counts(
        accepted=N
    )
    assert seen[0].slowed_to_per_s is None
    assert (seen[-1].slowed_to_per_s is not None) is slowed
    told = [vars(one) for one in caplog.records if vars(one).get("event") == "slow_down"]
    assert len(told) == slowed, "once, however often it is said"
    if slowed:
        assert 90 < told[0]["slowed_to_per_s"] < 101
        assert 90 < (seen[-1].slowed_to_per_s or 0) < 150, "and it recovers bit by bit"


def test_reports_make_room_in_the_providers_queue(
    ledger: SqliteLedger, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three may lie there, which get fewer by one in a minute, if reports did not tell better."""
    monkeypatch.setattr(queue_watch, "LOOK_S", 0.05)
    other = SqliteLedger.open(tmp_path / "ledger.sqlite3")
    waiting: list[int] = []

    def tell(now: Progress) -> None:
        accepted = other.journal("r").filter(pl.col("status") == "queued")
        waiting.append(accepted.height + now.in_flight)
        if accepted.height >= 2:
            done = [DeliveryReport(str(one), Status.DELIVERED) for one in accepted["message_id"]]
            other.record_reports(
                [ReceivedReport(one, "r", seq) for one, seq in zip(done, accepted["seq"], strict=True)]
            )

    pace = Pace("none", None, "messages", 4, 2, 5, queue=Queue(3.0, 1 / 60))
    begun = time.monotonic()
    assert send(ledger, plan, Wire(), pace=pace, on_progress=tell) == counts(accepted=N)
    assert time.monotonic() - begun < 120, "not twelve minutes"
    assert max(waiting) <= 4, "and one more for the moment between two looks"
    other.close()


@pytest.mark.parametrize(
    ("pace", "due_s"),
    [
        pytest.param(Pace("1/s", 1.0, "messages", 1, 2, 5), 1.013, id="a-message-a-second"),
        pytest.param(Pace("6/min", 0.1, "messages", 1, 2, 5), 10.25, id="a-slow-pace"),
        pytest.param(Pace("6/min", 0.1, "segments", 1, 2, 5), 30.75, id="of-its-segments"),
        pytest.param(Pace("100/s", 100.0, "messages", 1, 2, 5), 1.0, id="a-second-that-may-have-been-full"),
        pytest.param(Pace("none", None, "messages", 1, 2, 5, senders={"+12025550100": 0.2}), 5.125, id="of-its-number"),
        pytest.param(Pace("none", None, "messages", 1, 2, 5, queue=Queue(1.0, 0.1)), 10.25, id="the-providers-queue"),
        pytest.param(Pace("none", None, "messages", 1, 2, 5), 0.0, id="no-limit"),
    ],
)
def test_a_resumed_run_begins_where_the_last_process_ended(
    ledger: SqliteLedger, plan: Plan, pace: Pace, due_s: float
) -> None:
    """The first message left a moment ago, whatever became of it; it has three segments."""
    long = plan.frame.with_columns(segments=pl.lit(3, pl.UInt32))
    reader = MessageReader(Plan(plan.manifest, long), "r")
    a_run(ledger)
    (claim,) = ledger.claim("r", limit=1, lease_ms=60_000)
    ledger.record("r", [Settlement(claim, Accepted("id"))])

    async def due() -> float:
        return resume_rate_limiter(pace, ledger, reader, "r").due_in_s("+12025550100")[0]

    assert asyncio.run(due()) == pytest.approx(due_s, abs=0.5)
