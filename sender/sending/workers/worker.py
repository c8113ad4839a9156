"""One of the processes that send a run together: `python -m sender.sending.workers.worker`.

Started by `sender.sending.workers.supervisor` and nobody else.

Orders come on standard input and news goes out on standard output, a JSON object a line. It holds a lock of its own
before it says so, and claims nothing until its parent, which holds the run, has answered: so whoever takes the run over
finds the lock, or this process has never begun. A parent that dies closes the pipe: then it claims no more, waits for
the answers to what it has sent, writes them down, and ends. Never prints, and writes no results.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import queue
import signal
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from sender.core.errors import SenderError
from sender.core.outcomes import SubmissionState
from sender.delivery import provider_session
from sender.plan.message_reader import MessageReader
from sender.plan.pace import Pace
from sender.plan.plan import Plan
from sender.sending import event_loop, shared_rate_limit
from sender.sending.concurrency import Concurrency, most_connections
from sender.sending.dispatcher import Dispatcher
from sender.sending.options import SendOptions
from sender.sending.progress import Meter
from sender.state.heartbeat import Progress
from sender.state.open import open_state
from sender.suppression.live_check import watch_suppressions
from sender.suppression.suppression_list import SuppressionList
from sender.transport.factory import open_transport

log = logging.getLogger("sender.sending.workers.worker")

READ_BYTES = 65_536
LAST_WORDS_S = 5.0  # for the parent to take the last lines
_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What worker `number` (from 0) of `count` is given. The limits of `pace` bind all of them together.

    `options` are those of the run; they hold the credentials, so a config goes through a pipe and is never shown.
    `callback` is the URL for delivery reports, and `slots_file` holds the shared state of the rate limiter.
    """

    options: SendOptions
    run_id: str
    number: int
    count: int
    pace: Pace
    callback: str | None
    slots_file: str
    log_level: int

    def to_json(self) -> str:
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return json.dumps(values | {"options": self.options.to_dict(), "pace": asdict(self.pace)})

    @staticmethod
    def from_json(text: str) -> WorkerConfig:
        values = json.loads(text)
        options, pace = SendOptions(**values["options"]), Pace.from_json(values["pace"])
        return WorkerConfig(**values | {"options": options, "pace": pace})

    @property
    def own_pace(self) -> Pace:
        """This worker's share, by which it sizes its groups and its requests under way; the limits are the whole."""
        fixed = self.pace.concurrency
        return replace(
            self.pace,
            per_s=None if self.pace.per_s is None else self.pace.per_s / self.count,
            concurrency=None if fixed is None else fixed // self.count + (self.number < fixed % self.count),
        )


class Parent:
    """The process at the other end of the pipes. `say` never waits; what is heard sets events of the running loop."""

    def __init__(self) -> None:
        """Takes standard output for itself: whatever else is written there goes to standard error."""
        self._out = os.dup(1)
        os.dup2(2, 1)
        self._heard = b""
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="news", daemon=True)
        self._writer.start()
        self._told_to_stop = False
        self.go, self.stop = asyncio.Event(), asyncio.Event()
        self.out: list[tuple[str, str]] = []  # numbers that others have found to be refused, and why

    def orders(self) -> WorkerConfig | None:
        """The first line; None when there is none."""
        while b"\n" not in self._heard:
            if not (data := os.read(0, READ_BYTES)):
                return None
            self._heard += data
        line, self._heard = self._heard.split(b"\n", 1)
        return WorkerConfig.from_json(line.decode())

    def listen(self) -> None:
        """From now on every line is heard in the running loop."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, args=(loop,), name="orders", daemon=True).start()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: everything is done
            while data := os.read(0, READ_BYTES):
                *lines, self._heard = (self._heard + data).split(b"\n")
                for line in lines:
                    loop.call_soon_threadsafe(self._on, json.loads(line))
            loop.call_soon_threadsafe(self._gone)

    def _on(self, told: Mapping[str, Any]) -> None:
        match told["tell"]:
            case "go":
                self.go.set()
            case "out":
                self.out.append((told["number"], told["why"]))
            case "stop":
                self._told_to_stop = True
                self.stop.set()

    def _gone(self) -> None:
        if self._told_to_stop:  # it quits rather than wait for answers: as safe as a crash, and as wanted
            os._exit(1)
        log.warning("the process that started this worker is gone", extra={"event": "parent_gone"})
        self.stop.set()

    async def told_to_go(self) -> bool:
        """Whether the parent was there after this worker's lock was held; False when it is not to begin."""
        waits = [asyncio.create_task(one.wait()) for one in (self.go, self.stop)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        return not self.stop.is_set()

    def say(self, tell: str, /, **more: Any) -> None:
        self._lines.put(json.dumps({"tell": tell, **more}, default=str).encode() + b"\n")

    def close(self) -> None:
        """Returns when the parent has taken everything, or does not for a while."""
        self._lines.put(None)
        self._writer.join(LAST_WORDS_S)

    def _write(self) -> None:
        """In a thread of its own: a parent that stands still must not hold up what is under way here."""
        with contextlib.suppress(OSError):  # it is gone
            while (line := self._lines.get()) is not None:
                while line:
                    line = line[os.write(self._out, line) :]


class _LogsToParent(logging.Handler):
    def __init__(self, parent: Parent) -> None:
        super().__init__()
        self._parent = parent

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + logging.Formatter().formatException(record.exc_info)
        extra = {key: value for key, value in vars(record).items() if key not in _RECORD_FIELDS}
        self._parent.say(
            "log", name=record.name, level=record.levelno, created=record.created, message=message, extra=extra
        )


def main() -> None:
    """Sends its share of a run, as the orders on standard input say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which says what is to be done
    parent = Parent()
    orders = parent.orders()
    if orders is None:
        return
    logger = logging.getLogger("sender")
    logger.handlers[:] = [_LogsToParent(parent)]
    logger.setLevel(orders.log_level)
    logger.propagate = False
    try:
        event_loop.run(_work(orders, parent))
    except SenderError as error:
        parent.say("failed", **told(error))
    except Exception as error:
        log.exception("worker %d failed", orders.number, extra={"event": "worker_failed"})
        parent.say("failed", **told(error))
    else:
        parent.say("done")
    finally:
        parent.close()


def told(error: Exception) -> dict[str, str | None]:
    """An error as a line carries it."""
    if isinstance(error, SenderError):
        return {"type": type(error).__name__, "what": error.what, "where": error.where, "fix": error.fix}
    return {"type": None, "what": f"{type(error).__name__}: {error}", "where": None, "fix": None}


async def _work(orders: WorkerConfig, parent: Parent) -> None:
    parent.listen()
    loop = asyncio.get_running_loop()
    signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(parent.stop.set))
    with contextlib.ExitStack() as held:
        state = held.enter_context(open_state(orders.options.state_dir, create=False))
        run = state.ledger.run(orders.run_id)
        held.enter_context(state.locks.hold_worker(run.campaign, run.kind, orders.number))
        parent.say("ready")
        plan = state.plan(run)
        shared = held.enter_context(shared_rate_limit.joined(Path(orders.slots_file), orders.pace, orders.count))
        adapter = held.enter_context(
            provider_session.open_adapter(run, plan.manifest, orders.options.environment, state.plans.folder(run))
        )
        gate = watch_suppressions(run, plan, SuppressionList(state.suppressions))
        pace = orders.own_pace
        concurrency = Concurrency(pace.concurrency, pace.per_s, most=max(1, most_connections() // orders.count))
        if not await parent.told_to_go():
            return
        async with contextlib.aclosing(open_transport(pace.transport, concurrency.most)) as transport:
            news = _WorkerReporter(parent, plan, concurrency)
            dispatcher = Dispatcher(
                ledger=state.ledger,
                run=run,
                reader=MessageReader(plan, run.run_id, callback=orders.callback),
                adapter=adapter,
                transport=transport,
                pace=pace,
                concurrency=concurrency,
                pacer=shared_rate_limit.make_pacer(orders.pace, shared),
                pool=news.pool,
                below_seq=orders.options.limit,
                partition=(orders.number, orders.count),
                refuses=gate.refuses,
                on_progress=lambda now: news.tell(now, dispatcher),
                meter=news.meter,
            )
            await dispatcher.run(parent.stop)


class _ReportedMeter(Meter):
    """Keeps what it has counted since the parent was told."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._forget()

    def _forget(self) -> None:
        self._told_left: Counter[tuple[float, str | None]] = Counter()
        self._told_back: list[str | None] = []
        self._told_settled: Counter[SubmissionState] = Counter()

    def left(self, units: float, sender: str | None, now_s: float) -> None:
        super().left(units, sender, now_s)
        self._told_left[units, sender] += 1

    def came_back(self, sender: str | None) -> None:
        super().came_back(sender)
        self._told_back.append(sender)

    def settled(self, states: Iterable[SubmissionState]) -> None:
        noted = list(states)
        super().settled(noted)
        self._told_settled.update(noted)

    def since_told(self) -> dict[str, Any]:
        left = [(units, sender, count) for (units, sender), count in self._told_left.items()]
        told = {"left": left, "came_back": self._told_back, "settled": dict(self._told_settled)}
        self._forget()
        return told


class _WorkerReporter:
    """What the parent and, through it, the other workers are to know; told about ten times a second."""

    def __init__(self, parent: Parent, plan: Plan, concurrency: Concurrency) -> None:
        self._parent = parent
        self._concurrency = concurrency
        self._meter: _ReportedMeter | None = None
        self.pool = plan.manifest.sender_pool()
        self._told_out: set[str] = set()
        self._halted = False

    def meter(self, **options: Any) -> Meter:
        """What the dispatcher counts with; the parent counts the same."""
        self._meter = _ReportedMeter(**options)
        return self._meter

    def tell(self, now: Progress, dispatcher: Dispatcher) -> None:
        self._learn()
        counted = self._meter.since_told() if self._meter is not None else {}
        self._parent.say("tally", in_flight=now.in_flight, answer_s=self._concurrency.latency_s, **counted)
        if self.pool is not None:
            for number, why in self.pool.disabled.items():
                if number not in self._told_out:
                    self._told_out.add(number)
                    self._parent.say("out", number=number, why=why)
        if dispatcher.halted_by is not None and not self._halted:
            self._halted = True
            self._parent.say("halt", **told(dispatcher.halted_by))

    def _learn(self) -> None:
        while self._parent.out:
            number, why = self._parent.out.pop()
            self._told_out.add(number)
            if self.pool is not None:
                self.pool.disable(number, why)


if __name__ == "__main__":
    main()
