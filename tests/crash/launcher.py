"""Starts the real `sender` command with a trap, or with a mutation, in it. For the crash harness alone.

`python -m tests.crash.launcher send offer.yaml --yes` is `sender send offer.yaml --yes`, in which the environment
variable CRASH (JSON, see `Trap`) may kill or freeze the process at the k-th passage of a named point, or take away one
of the rules that keep the guarantee. Production code knows nothing of this: its functions are wrapped from outside.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from functools import wraps
from types import SimpleNamespace
from typing import Any

import apsw

from sender.core import clock
from sender.core.outcomes import Accepted, Reason, Rejected, Unknown
from sender.sending import dispatcher, producer
from sender.sending.outcome_policy import OutcomePolicy
from sender.sending.send_windows import SendWindows
from sender.sending.workers import worker
from sender.state.ledger import RunKind, Settlement
from sender.state.sqlite.file import CommitMark
from sender.state.sqlite.ledger import SqliteLedger
from sender.transport.base import MaybeSent

LEDGER_CALLS = ("create_run", "claim", "release", "record", "orphans_to_unknown", "reconcile", "finish_run")
# Every point, in the order in which a message passes them. `commit` is inside the transaction, before it is durable.
POINTS = (
    "create_run:before",
    "create_run:commit",
    "create_run:after",
    "claim:before",
    "claim:commit",
    "claim:after",
    "request",
    "send:before",
    "send:in_flight",
    "send:after",
    "outcome",
    "record:before",
    "record:commit",
    "record:after",
    "release:before",
    "release:after",
    "orphans_to_unknown:before",
    "orphans_to_unknown:commit",
    "orphans_to_unknown:after",
    "log:before",
    "log:after",
    "repeat:before",
    "repeat:after",
    "reconcile:before",
    "reconcile:commit",
    "reconcile:after",
    "finish_run:before",
    "finish_run:commit",
    "finish_run:after",
    "results:before",
    "results:after",
)
# The launcher's one option: to be a worker of `send`, traps and all. It imports what a worker needs, which is half.
WORKER = "--worker"
MUTANTS = (
    "no_intent",
    "blind_retry",
    "no_deadline",
    "no_grace",
    "outcome_before_intent",
    "no_window",
    "no_proof",
    "fresh_keys",
    "other_bytes",
    "moves_on_a_timeout",
)


@dataclass(frozen=True)
class Trap:
    """What is to happen: `signal` at passage `passage` (from 1) of `point`, `delay_s` later; a `mutant`; a shorter lease.

    With `day_offset_ms` it is another time of day, and the run waits for windows as a live one does.

    `trail` is a file that gets a JSON line for each event worth counting.
    """

    point: str | None = None
    passage: int = 1
    delay_s: float = 0.0
    freeze: bool = False  # SIGSTOP instead of SIGKILL
    mutant: str | None = None
    lease_ms: int | None = None
    day_offset_ms: int | None = None  # what the clock on the wall shows, from what it is; windows count
    trail: str | None = None
    settle_s: float | None = None  # by how much a live provider's log may lag
    probe_s: float | None = None  # how soon a route that was left is tried again

    def json(self) -> str:
        return json.dumps(asdict(self))


class Reaper:
    """Counts passages, and strikes."""

    def __init__(self, trap: Trap) -> None:
        self.trap = trap
        self.ledger = threading.RLock()  # held by whoever writes: a process frozen there would hold up all others
        self._left = trap.passage
        self._lock = threading.Lock()

    def passes(self, point: str) -> None:
        if point != self.trap.point:
            return
        with self._lock:
            self._left -= 1
            strikes = self._left == 0
        if strikes and self.trap.delay_s:
            threading.Timer(self.trap.delay_s, self._strike).start()
        elif strikes:
            self._strike()

    def _strike(self) -> None:
        self.note(event="struck", point=self.trap.point)
        if self.trap.freeze:
            with self.ledger:
                os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(2)  # a busy machine may stop this thread a moment later
        else:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)  # the signal is on its way

    def note(self, **event: Any) -> None:
        if self.trap.trail:
            line = json.dumps(event) + "\n"
            file = os.open(self.trap.trail, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(file, line.encode())
            os.close(file)


_looks: ContextVar[int] = ContextVar("looks", default=0)  # at the clock, by the request of this task


class Wire:
    """A transport with points before and behind it, and at each of its own looks at the clock: `send:look:1`, ..."""

    def __init__(self, inner: Any, reaper: Reaper, name: str, *, blind: bool = False) -> None:
        self._inner = inner
        self._reaper = reaper
        self._name = name
        self._blind = blind
        clock = inner._clock
        # A run wraps its transport several times: for the log, for each dispatcher. The newest looks.
        self._clock = clock.__self__._clock if getattr(clock, "__func__", None) is Wire._look else clock
        inner._clock = self._look

    def _look(self) -> float:
        _looks.set(_looks.get() + 1)
        self._reaper.passes(f"{self._name}:look:{_looks.get()}")
        time_s: float = self._clock()
        return time_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def send(self, request: Any, **options: Any) -> Any:
        _looks.set(0)
        self._reaper.passes(f"{self._name}:before")
        self._reaper.passes(f"{self._name}:in_flight")
        answer = await (
            self._again_and_again(request, options) if self._blind else self._inner.send(request, **options)
        )
        self._reaper.passes(f"{self._name}:after")
        return answer

    async def _again_and_again(self, request: Any, options: dict[str, Any]) -> Any:
        """What vendors' SDKs do by default: 5xx and broken connections are tried again."""
        for attempt in range(4):
            try:
                answer = await self._inner.send(request, **options)
            except MaybeSent:
                if attempt == 3:
                    raise
            else:
                if answer.status < 500 or attempt == 3:
                    return answer
            await asyncio.sleep(0.05)
        raise AssertionError


class Judge:
    """An adapter with points in it."""

    def __init__(self, inner: Any, reaper: Reaper) -> None:
        self._inner = inner
        self._reaper = reaper

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def request(self, message: Any) -> Any:
        self._reaper.passes("request")
        return self._inner.request(message)

    def outcome(self, response: Any, message: Any) -> Any:
        outcome = self._inner.outcome(response, message)
        self._reaper.passes("outcome")
        return outcome


def set_traps(reaper: Reaper) -> None:
    """Wraps what stands between intent, request, answer and record, in the command and in its workers."""
    commits = threading.local()

    def hook(connection: apsw.Connection) -> None:
        def on_commit() -> bool:
            if getattr(commits, "call", None):
                reaper.passes(f"{commits.call}:commit")
            return False

        connection.set_commit_hook(on_commit)

    apsw.connection_hooks.append(hook)

    def wrapped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(self: SqliteLedger, *args: Any, **options: Any) -> Any:
            reaper.passes(f"{name}:before")
            commits.call = name
            try:
                with reaper.ledger:
                    result = function(self, *args, **options)
            finally:
                commits.call = None
            if name == "orphans_to_unknown" and result:
                reaper.note(event="orphans", count=result)
            reaper.passes(f"{name}:after")
            return result

        return call

    for name in LEDGER_CALLS:
        setattr(SqliteLedger, name, wrapped(name, getattr(SqliteLedger, name)))

    worker.Dispatcher = trapped_dispatcher(reaper)  # type: ignore[misc]


def trapped_dispatcher(reaper: Reaper) -> type[dispatcher.Dispatcher]:
    blind = reaper.trap.mutant == "blind_retry"

    class Dispatcher(dispatcher.Dispatcher):
        def __init__(self, *, transport: Any, adapter: Any, **options: Any) -> None:
            wire = Wire(transport, reaper, "send", blind=blind)
            super().__init__(transport=wire, adapter=Judge(adapter, reaper), **options)

    return Dispatcher


def set_command_traps(reaper: Reaper) -> None:
    """Wraps what only the command itself does: it looks up what is in doubt, repeats, and writes the results."""
    from sender.delivery import reconcile
    from sender.sending import run, send_course, send_resources

    write = run.write_result_blocks

    def write_result_blocks(*args: Any, **options: Any) -> Any:
        reaper.passes("results:before")
        written = write(*args, **options)
        reaper.passes("results:after")
        return written

    run.write_result_blocks = write_result_blocks
    send_resources.Dispatcher = trapped_dispatcher(reaper)  # type: ignore[misc]
    settle = reconcile.reconcile

    async def settle_unknowns(*, provider: Any, **options: Any) -> Any:
        provider = replace(provider, transport=Wire(provider.transport, reaper, "log"))
        if reaper.trap.mutant == "no_grace":
            provider = replace(provider, facts=replace(provider.facts, settle_s=0.0))
        settled = await settle(provider=provider, **options)
        if settled.found or settled.absent:
            reaper.note(event="settled", found=settled.found, absent=settled.absent)
        return settled

    reconcile.reconcile = settle_unknowns

    class IdempotentRetry(send_course.IdempotentRetry):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._transport = Wire(self._transport, reaper, "repeat")

        async def settle(self) -> int:
            found = await super().settle()
            if found:
                reaper.note(event="settled", found=found, absent=0)
            return found

    send_course.IdempotentRetry = IdempotentRetry  # type: ignore[misc]


# ── Mutants ─────────────────────────────────────────────────────────────────────────────────────────────────────


def no_intent() -> None:
    """Intents are in memory only: what a crash finds on disk is the last recorded outcome.

    The mark beside the ledger sees that commits are missing, so it has to be looked away from as well.
    """
    CommitMark.read = lambda _: None  # type: ignore[method-assign]
    opened, disks = SqliteLedger.open.__func__, {}  # type: ignore[attr-defined]

    def in_memory(cls: type[SqliteLedger], *args: Any, **options: Any) -> SqliteLedger:
        ledger = opened(cls, *args, **options)
        memory = apsw.Connection(":memory:")
        _copy(ledger._db, memory)
        disks[id(ledger)], ledger._db = ledger._db, memory
        return ledger

    def saved(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(self: SqliteLedger, *args: Any, **options: Any) -> Any:
            result = function(self, *args, **options)
            # Outcomes are saved, and intents that stand beside them are not.
            kept = apsw.Connection(":memory:")
            _copy(self._db, kept)
            kept.execute(
                "UPDATE message SET state = 'pending', deadline = NULL, not_before = updated_at WHERE state = 'intent'"
            )
            _copy(kept, disks[id(self)])
            kept.close()
            return result

        return call

    SqliteLedger.open = classmethod(in_memory)  # type: ignore[assignment, method-assign]
    for name in LEDGER_CALLS:
        if name != "claim":
            setattr(SqliteLedger, name, saved(getattr(SqliteLedger, name)))


def _copy(source: apsw.Connection, target: apsw.Connection) -> None:
    with target.backup("main", source, "main") as backup:
        backup.step()


def no_proof() -> None:
    """Whoever documents a header is taken to honour it."""

    from sender.sending.idempotent_retry import IdempotentRetry

    async def believed(*_: Any) -> bool:
        return True

    IdempotentRetry._is_proved = believed  # type: ignore[method-assign]


def fresh_keys() -> None:
    """A key for each request, as SDKs make them."""
    from sender.sending.idempotent_retry import IdempotentRetry

    send = IdempotentRetry._send

    async def with_fresh_key(self: Any, doubt: Any, *, other_body: bool = False) -> Any:
        if not other_body:
            doubt = replace(doubt, message=doubt.message._replace(attempt=random.randrange(1000, 1 << 30)))
        return await send(self, doubt, other_body=other_body)

    IdempotentRetry._send = with_fresh_key  # type: ignore[method-assign]


def other_bytes() -> None:
    """What is repeated is written by another serialiser than what was sent first."""
    from sender.sending.idempotent_retry import IdempotentRetry

    send = IdempotentRetry._send

    async def spaced(self: Any, doubt: Any, **options: Any) -> Any:
        request = self._adapter.request
        adapter = SimpleNamespace(
            request=lambda message: request(message)._replace(content=request(message).content.replace(b'":', b'": '))
        )
        real, self._adapter = self._adapter, adapter
        try:
            return await send(self, doubt, **options)
        finally:
            self._adapter = real

    IdempotentRetry._send = spaced  # type: ignore[method-assign]


def no_deadline() -> None:
    """A claim is good for ever."""
    producer.LEASE_MS = 86_400_000


def outcome_before_intent() -> None:
    """Written down as accepted when it is claimed: right as long as nothing goes wrong."""
    claim = SqliteLedger.claim

    def at_once(self: SqliteLedger, run_id: str, **options: Any) -> Any:
        claims = claim(self, run_id, **options)
        self.record(run_id, [Settlement(one, Accepted(f"optimist-{one.seq}")) for one in claims])
        return claims

    SqliteLedger.claim = at_once  # type: ignore[method-assign]


def live_another_day(offset_ms: int) -> None:
    """The time of day is another one. The ledger's clock is what it is."""
    time_of_day_ms = clock.time_of_day_ms
    clock.time_of_day_ms = lambda: time_of_day_ms() + offset_ms


def wait_for_windows() -> None:
    """Rehearsals do so, as live runs do."""
    from sender.sending import run

    run.WAITING_KINDS = (*run.WAITING_KINDS, RunKind.REHEARSAL)  # type: ignore[attr-defined]


def no_window() -> None:
    """Whoever was planned may be claimed, and leave, at any time."""
    SendWindows.bound = lambda *_: 1 << 30  # type: ignore[assignment, method-assign]
    SendWindows.left_s = lambda *_: 3600.0  # type: ignore[assignment, method-assign]


def moves_on_a_timeout() -> None:
    """What did not answer has not accepted: the message goes by the next route."""
    decide = OutcomePolicy.decide

    def hasty(self: Any, claim: Any, outcome: Any, sender: Any, url: Any = None) -> Settlement:
        settlement = decide(self, claim, outcome, sender, url)
        if isinstance(outcome, Unknown) and (route := self._seat.onward(claim)) is not None:
            return Settlement(claim, Rejected(Reason.OTHER, None, outcome.error_message), moves_to=route)
        return settlement

    OutcomePolicy.decide = hasty  # type: ignore[method-assign]


def settle_live_logs(seconds: float) -> None:
    """A live provider's log lags by no more than that."""
    from sender.delivery import route_sessions

    facts = route_sessions.log_facts
    route_sessions.log_facts = lambda *args: replace(facts(*args), settle_s=seconds, requests_per_s=100.0)


def probe_soon(seconds: float) -> None:
    """A route that was left is tried again so soon, and not after much longer."""
    from sender.sending import route_dispatch

    route_dispatch.PROBE_FIRST_S, route_dispatch.PROBE_LAST_S = seconds, 4 * seconds


def main() -> None:
    trap = Trap(**json.loads(os.environ.get("CRASH", "{}")))
    if trap.lease_ms is not None:
        producer.LEASE_MS = trap.lease_ms
    if trap.day_offset_ms is not None:
        live_another_day(trap.day_offset_ms)
    mutate = {
        "no_intent": no_intent,
        "no_deadline": no_deadline,
        "outcome_before_intent": outcome_before_intent,
        "no_window": no_window,
        "no_proof": no_proof,
        "fresh_keys": fresh_keys,
        "other_bytes": other_bytes,
        "moves_on_a_timeout": moves_on_a_timeout,
    }
    if trap.mutant in mutate:
        mutate[trap.mutant]()
    reaper = Reaper(trap)
    set_traps(reaper)
    if sys.argv[1:] == [WORKER]:
        worker.main()
        return

    import sender.cli
    from sender.sending.workers import supervisor

    set_command_traps(reaper)
    if trap.settle_s is not None:
        settle_live_logs(trap.settle_s)
    if trap.probe_s is not None:
        probe_soon(trap.probe_s)
    if trap.day_offset_ms is not None:
        wait_for_windows()
    supervisor.COMMAND = (sys.executable, "-m", "tests.crash.launcher", WORKER)
    sender.cli.main()


if __name__ == "__main__":
    main()
