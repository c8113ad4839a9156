"""One of the processes that send a run together.

Started by `sender.sending.workers.supervisor` and nobody else; `protocol` says what the two send each other. It takes a
lock of its own before it reports that it is ready, and claims nothing until its parent, which holds the run, has
answered: so a process that takes the run over finds the lock, or this one has never begun. A parent that dies closes
the pipe: then the worker claims no more, waits for the answers in flight, records them and ends. Never prints, and
writes no results.
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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sender import providers
from sender.core.errors import SenderError
from sender.core.outcomes import SubmissionState
from sender.delivery import provider_session
from sender.plan.message_reader import MessageReader
from sender.plan.sender_pool import SenderPool
from sender.sending import event_loop, shared_rate_limit
from sender.sending.concurrency import Concurrency, max_connections
from sender.sending.dispatcher import Dispatcher
from sender.sending.live_caps import open_caps
from sender.sending.producer import Assignment
from sender.sending.send_windows import open_windows, wall_clock
from sender.sending.throttle import Throttle, make_rate_limiter
from sender.sending.workers.protocol import WorkerConfig, encode_error, encode_message
from sender.state.async_ledger import AsyncLedger
from sender.state.heartbeat import Progress
from sender.state.open import open_state
from sender.suppression.live_check import watch_suppressions
from sender.suppression.number_files import NumberFile, watch_files
from sender.suppression.suppression_list import SuppressionList
from sender.transport.factory import open_transport

log = logging.getLogger("sender.sending.workers.worker")

READ_BYTES = 65_536
LAST_LINES_S = 5.0  # for the parent to take the last lines
_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Parent:
    """The process at the other end of the pipes. `send` never waits; its messages set events of the running loop."""

    def __init__(self) -> None:
        """Take standard output; whatever else is written there goes to standard error."""
        self._out = os.dup(1)
        os.dup2(2, 1)
        self._received = b""
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="to-parent", daemon=True)
        self._writer.start()
        self._was_stopped = False
        self.go, self.stop = asyncio.Event(), asyncio.Event()
        self.disabled_senders: list[tuple[str, str]] = []  # that other workers have reported, and why; not yet applied

    def read_config(self) -> WorkerConfig | None:
        """The first line; None when there is none."""
        while b"\n" not in self._received:
            if not (data := os.read(0, READ_BYTES)):
                return None
            self._received += data
        line, self._received = self._received.split(b"\n", 1)
        return WorkerConfig.from_json(line.decode())

    def listen(self) -> None:
        """Handle every further line in the running loop."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, args=(loop,), name="from-parent", daemon=True).start()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: everything is done
            while data := os.read(0, READ_BYTES):
                *lines, self._received = (self._received + data).split(b"\n")
                for line in lines:
                    loop.call_soon_threadsafe(self._on_message, json.loads(line))
            loop.call_soon_threadsafe(self._on_close)

    def _on_message(self, values: Mapping[str, Any]) -> None:
        match values["message"]:
            case "go":
                self.go.set()
            case "disable_sender":
                self.disabled_senders.append((values["number"], values["why"]))
            case "stop":
                self._was_stopped = True
                self.stop.set()

    def _on_close(self) -> None:
        if self._was_stopped:  # it quits rather than wait for answers: as safe as a crash, and what the user asked for
            os._exit(1)
        log.warning("the process that started this worker is gone", extra={"event": "parent_gone"})
        self.stop.set()

    async def wait_for_go(self) -> bool:
        """Whether to begin: the parent answered after this worker's lock was held, and did not stop it."""
        waits = [asyncio.create_task(event.wait()) for event in (self.go, self.stop)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        return not self.stop.is_set()

    def send(self, message: str, **values: Any) -> None:
        self._lines.put(encode_message(message, **values))

    def close(self) -> None:
        """Return when the parent has taken every line, or has not for a while."""
        self._lines.put(None)
        self._writer.join(LAST_LINES_S)

    def _write(self) -> None:
        """Write lines in a thread of its own: a stalled parent must not block requests in flight."""
        with contextlib.suppress(OSError):  # the parent is gone
            while (line := self._lines.get()) is not None:
                while line:
                    line = line[os.write(self._out, line) :]


class _ParentLogHandler(logging.Handler):
    def __init__(self, parent: Parent) -> None:
        super().__init__()
        self._parent = parent

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        extra = {key: value for key, value in vars(record).items() if key not in _RECORD_FIELDS}
        self._parent.send("log", name=record.name, level=record.levelno, created=record.created, text=text, extra=extra)


def main() -> None:
    """Send this process's part of a run, as the config on standard input says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which decides what to do
    parent = Parent()
    config = parent.read_config()
    if config is None:
        return
    logger = logging.getLogger("sender")
    logger.handlers[:] = [_ParentLogHandler(parent)]
    logger.setLevel(config.log_level)
    logger.propagate = False
    try:
        event_loop.run(_work(config, parent))
    except SenderError as error:
        parent.send("failed", error=encode_error(error))
    except Exception as error:
        log.exception("worker %d failed", config.number, extra={"event": "worker_failed"})
        parent.send("failed", error=encode_error(error))
    else:
        parent.send("done")
    finally:
        parent.close()


async def _work(config: WorkerConfig, parent: Parent) -> None:
    parent.listen()
    loop = asyncio.get_running_loop()
    signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(parent.stop.set))
    with contextlib.ExitStack() as stack:
        state = stack.enter_context(open_state(config.options.state_path, create=False))
        run = state.ledger.run(config.run_id)
        stack.enter_context(state.locks.hold_worker(run.campaign, run.kind, config.number))
        parent.send("ready")
        plan = state.plan(run)
        slots_file = Path(config.slots_file)
        shared = stack.enter_context(shared_rate_limit.join_slots(slots_file, config.pace, config.count))
        folder = state.plans.folder(run)
        adapter = stack.enter_context(
            provider_session.open_adapter(run, plan.manifest, config.options.environment, folder)
        )
        capabilities = providers.capabilities(plan.manifest.dialect)
        files = [NumberFile.from_manifest(values, capabilities) for values in config.suppress]
        watch = stack.enter_context(watch_files(files, plan.recipients, is_quiet=True))
        suppression = watch_suppressions(run, plan, SuppressionList(state.suppressions), watch)
        pace = config.own_pace
        maximum = max(1, max_connections() // config.count)
        concurrency = Concurrency(pace.concurrency, pace.per_s, maximum=maximum)
        if not await parent.wait_for_go():
            return
        async with contextlib.aclosing(
            open_transport(pace.transport, concurrency.maximum, adapter.base_url)
        ) as transport:
            pool = plan.manifest.sender_pool()
            dispatcher = Dispatcher(
                ledger=AsyncLedger(state.ledger, run, request_format=config.request_format),
                reader=MessageReader(plan, run.run_id, callback=config.callback),
                adapter=adapter,
                transport=transport,
                throttle=Throttle(pace, make_rate_limiter(config.pace, shared), concurrency, suppression.is_paused),
                pool=pool,
                assignment=Assignment(
                    config.options.limit,
                    (config.number, config.count),
                    open_caps(state, run, plan),
                    open_windows(
                        plan,
                        adapter.capabilities,
                        hold=config.options.hold,
                        clock_ms=wall_clock(state),
                        share=config.count,
                    ),
                ),
                refuses=suppression.refuses,
                observer=WorkerReporter(parent, pool, concurrency),
            )
            await dispatcher.run(parent.stop)


class WorkerReporter:
    """The `SendObserver` of a worker: reports to the parent, and applies what other workers have reported."""

    def __init__(self, parent: Parent, pool: SenderPool | None, concurrency: Concurrency) -> None:
        self._parent = parent
        self._pool = pool
        self._concurrency = concurrency
        self._sent: Counter[tuple[float, str | None]] = Counter()  # since the last report, as are these:
        self._returned: list[str | None] = []
        self._outcomes: Counter[SubmissionState] = Counter()
        self._known_disabled: set[str] = set()  # to the parent

    def message_sent(self, units: float, sender: str | None) -> None:
        self._sent[units, sender] += 1

    def message_returned(self, sender: str | None) -> None:
        self._returned.append(sender)

    def outcomes_recorded(self, states: Counter[SubmissionState]) -> None:
        self._outcomes.update(states)

    def halted(self, failure: Exception) -> None:
        self._parent.send("halted", error=encode_error(failure))

    def progressed(self, progress: Progress) -> None:
        self._apply_disabled_senders()
        self._parent.send(
            "counts",
            in_flight=progress.in_flight,
            answer_s=self._concurrency.latency_s,
            sent=[(units, sender, messages) for (units, sender), messages in self._sent.items()],
            returned=list(self._returned),
            outcomes=dict(self._outcomes),
        )
        self._sent.clear()
        self._returned.clear()
        self._outcomes.clear()
        if self._pool is not None:
            for number, why in self._pool.disabled.items():
                if number not in self._known_disabled:
                    self._known_disabled.add(number)
                    self._parent.send("disable_sender", number=number, why=why)

    def _apply_disabled_senders(self) -> None:
        while self._parent.disabled_senders:
            number, why = self._parent.disabled_senders.pop()
            self._known_disabled.add(number)
            if self._pool is not None:
                self._pool.disable(number, why)
