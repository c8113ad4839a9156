"""Starts and watches the processes that send one run together, for the process that holds the run.

Starts them, tells them when to begin, when to stop and which numbers are disabled, and adds up their counts. What binds
them is elsewhere: the ledger hands each message to one of them, and their limits are in memory that all of them map
(`sender.sending.shared_rate_limit`). Sends nothing itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from sender.core.clock import steady_s
from sender.core.errors import SenderError, WorkersLost
from sender.core.outcomes import SubmissionState
from sender.core.own_process import own_process
from sender.plan.message_reader import MessageReader
from sender.plan.sender_pool import SenderPool
from sender.sending.observer import ProgressReporter
from sender.sending.progress import LoopState, Meter
from sender.sending.rate_limit import RateLimiter
from sender.sending.workers.protocol import MAX_LINE_BYTES, WorkerConfig, decode_error, encode_message
from sender.state.heartbeat import OnProgress, Progress
from sender.state.ledger import Ledger, Run

log = logging.getLogger("sender.sending.workers.supervisor")

COMMAND = own_process("sender.sending.workers.worker")
REPORT_EVERY_S = 0.1
KILL_AFTER_S = 5.0  # a worker that was told to quit at once


class Supervisor:
    """Workers that send what is pending of one run. Use once: `await Supervisor(...).run(cancel)`."""

    def __init__(
        self,
        config: WorkerConfig,
        run: Run,
        *,
        ledger: Ledger,
        reader: MessageReader,
        rate_limiter: RateLimiter,
        pool: SenderPool | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Every worker gets `config` with a number of its own. `rate_limiter` shares its state with theirs."""
        self._config = config
        self._run = run
        self._ledger = ledger
        self._reader = reader
        self._rate_limiter = rate_limiter
        self._pool = pool
        self._progress = ProgressReporter(on_progress)
        self._workers: list[_WorkerProcess] = []
        self._failure: SenderError | None = None
        self._is_stopping = False
        self._meter: Meter | None = None  # once the first worker has begun: starting takes a second or two

    async def run(self, cancel: asyncio.Event) -> None:
        """Return when all workers have ended: because nothing is left to do, or `cancel` was set.

        What a lost worker had in flight are intents in the ledger, and what is pending may be sent by the caller.
        Raises what stopped a worker, after all have drained, and WorkersLost when none could be started.
        """
        below_seq = self._config.options.limit
        self._total = self._run.messages if below_seq is None else min(below_seq, self._run.messages)
        self._before = self._ledger.counts(self._run.run_id)
        self._expected: Mapping[str | None, float] | None = None
        reporter = asyncio.create_task(self._report())
        stopper = asyncio.create_task(self._stop_on(cancel))
        try:
            for number in range(self._config.count):
                self._workers.append(await _WorkerProcess.start(replace(self._config, number=number), self))
            ended, _ = await asyncio.wait([worker.ended for worker in self._workers])
            for task in ended:
                task.result()
        finally:
            stopper.cancel()
            reporter.cancel()
            quits = [worker.quit() for worker in self._workers]
            await asyncio.gather(stopper, reporter, *quits, return_exceptions=True)
            self._report_progress()
        if self._failure is not None:
            raise self._failure
        if self.lost and not any(worker.began for worker in self._workers) and not cancel.is_set():
            raise WorkersLost(
                f"no worker could be started: {self._workers[0].ending}",
                fix="send without --workers; nothing was sent",
            )

    @property
    def lost(self) -> bool:
        """Whether a worker died, or was ended before it reported that it was done."""
        return any(worker.died for worker in self._workers)

    async def _stop_on(self, cancel: asyncio.Event) -> None:
        await cancel.wait()
        self._stop()

    def _stop(self) -> None:
        self._is_stopping = True
        for worker in self._workers:
            worker.send("stop")

    # -- messages from workers ---------------------------------------------------------------------------------------

    def on_message(self, worker: _WorkerProcess, values: Mapping[str, Any]) -> None:
        match values["message"]:
            case "ready":
                worker.send("stop" if self._is_stopping else "go")
            case "counts":
                worker.in_flight, worker.answer_s = values["in_flight"], values["answer_s"]
                self._add_counts(values)
            case "disable_sender":
                self._disable_sender(worker, values["number"], values["why"])
            case "halted" | "failed":
                self._failure = self._failure or decode_error(values["error"], worker.number)
                self._stop()
            case "log":
                _log_record(worker, values)

    def on_death(self, worker: _WorkerProcess) -> None:
        """Note that a worker died. The others go on; what it had in flight is looked up in the provider's log."""
        if self._is_stopping and not worker.began:
            return
        log.warning(
            "worker %d died: %s; the others continue, and its messages in flight are looked up at the end",
            worker.number,
            worker.ending,
            extra={"event": "worker_lost", "worker": worker.number},
        )

    def _disable_sender(self, source: _WorkerProcess, number: str, why: str) -> None:
        if self._pool is not None:
            self._pool.disable(number, why)
        for worker in self._workers:
            if worker is not source:
                worker.send("disable_sender", number=number, why=why)

    def _add_counts(self, values: Mapping[str, Any]) -> None:
        if self._meter is None:
            self._meter = self._make_meter()
        now_s = steady_s()
        for units, sender, messages in values["sent"]:
            self._meter.record_sent(units, sender, now_s, messages)
        for sender in values["returned"]:
            self._meter.record_returned(sender)
        self._meter.record_outcomes({SubmissionState(state): count for state, count in values["outcomes"].items()})

    # -- progress ----------------------------------------------------------------------------------------------------

    def _make_meter(self) -> Meter:
        meter = Meter(
            messages=self._run.messages,
            total=self._total,
            before=self._before,
            now_s=steady_s(),
            time_to_send_s=self._time_to_send_s,
        )
        if self._expected is not None:
            meter.set_expected(self._expected)
        return meter

    def _time_to_send_s(self, units: Mapping[str | None, float], last: float) -> float:
        spread = units if self._pool is None else self._pool.redistribute(units)
        return self._rate_limiter.time_to_send_s(spread, last=last)

    async def _count_remaining(self) -> None:
        """Count what is left of the plan while the workers start."""
        unit, below_seq = self._config.pace.unit, self._config.options.limit
        try:
            from_seq, waiting = self._ledger.pending_from(self._run.run_id)
            count = partial(self._reader.units, unit, from_seq, waiting, below_seq=below_seq)
            self._expected = await asyncio.to_thread(count)
            if self._meter is not None:
                self._meter.set_expected(self._expected)
        except Exception:  # no reason to stop a run
            log.exception("the time left cannot be estimated", extra={"event": "eta_failed"})

    async def _report(self) -> None:
        await self._count_remaining()
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            self._report_progress()

    def _report_progress(self) -> None:
        if (meter := self._meter) is not None:
            self._progress.report(lambda: self._combine(meter))

    def _combine(self, meter: Meter) -> Progress:
        """Where the run is now, of all workers together."""
        return meter.progress(
            LoopState(
                now_s=steady_s(),
                in_flight=sum(worker.in_flight for worker in self._workers),
                answer_s=max(worker.answer_s for worker in self._workers),
                paused_s=self._rate_limiter.paused_s,
                slowed_to_per_s=self._rate_limiter.slowed_to_per_s,
            )
        )


class _WorkerProcess:
    """One worker: its process, its pipes, and what it has reported."""

    def __init__(self, process: asyncio.subprocess.Process, number: int, supervisor: Supervisor) -> None:
        self.number = number
        self.in_flight = 0
        self.answer_s = 0.0
        self.began = False
        self._is_done = False
        self._process = process
        self._supervisor = supervisor
        self.ended = asyncio.create_task(self._follow())

    @classmethod
    async def start(cls, config: WorkerConfig, supervisor: Supervisor) -> _WorkerProcess:
        with _sigint_blocked():
            process = await asyncio.create_subprocess_exec(
                *COMMAND,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=MAX_LINE_BYTES,
                env={**os.environ, "PYTHONPATH": _import_path()},
            )
        worker = cls(process, config.number, supervisor)
        worker._write(config.to_json().encode() + b"\n")
        return worker

    @property
    def died(self) -> bool:
        return self.ended.done() and not self._is_done

    @property
    def ending(self) -> str:
        """How it ended, for a person."""
        code = self._process.returncode
        if code is not None and code < 0:
            return f"pid {self._process.pid}, by signal {-code}"
        return f"pid {self._process.pid}, with exit code {code}"

    def send(self, message: str, **values: Any) -> None:
        self._write(encode_message(message, **values))

    async def quit(self) -> None:
        """End it at once if it has not ended: that is what a pipe closed after `stop` means."""
        if self._process.returncode is None:
            self.send("stop")
            self._close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), KILL_AFTER_S)
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
        await asyncio.wait([self.ended])

    async def _follow(self) -> None:
        messages = self._process.stdout
        assert messages is not None  # noqa: S101 (it is a pipe)
        with contextlib.suppress(ConnectionError, ValueError):  # ValueError: a line that is too long for a message
            while line := await messages.readline():
                values = json.loads(line)
                self.began = self.began or values["message"] == "counts"
                self._is_done = self._is_done or values["message"] in {"done", "failed"}
                self._supervisor.on_message(self, values)
        self.in_flight = 0
        await self._process.wait()
        self._close()
        if not self._is_done:
            self._supervisor.on_death(self)

    def _write(self, line: bytes) -> None:
        pipe = self._process.stdin
        if pipe is not None and not pipe.is_closing():
            with contextlib.suppress(OSError):
                pipe.write(line)

    def _close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Block SIGINT for what is started here: a terminal sends it to all processes, and the parent decides."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _import_path() -> str:
    """The folders this process imports from, so that a worker runs the same code."""
    return os.pathsep.join(folder or os.getcwd() for folder in sys.path)  # noqa: PTH109 (a string among strings)


def _log_record(worker: _WorkerProcess, values: Mapping[str, Any]) -> None:
    """Log in this process what a worker has logged."""
    logger = logging.getLogger(values["name"])
    if logger.isEnabledFor(values["level"]):
        record = {
            "name": values["name"],
            "levelno": values["level"],
            "levelname": logging.getLevelName(values["level"]),
            "created": values["created"],
            "msg": values["text"],
        }
        logger.handle(logging.makeLogRecord(values["extra"] | {"worker": worker.number} | record))
