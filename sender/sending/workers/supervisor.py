"""The processes that send one run together, as the process that holds the run sees them.

Starts them, tells them to begin, to stop, and which numbers are out; sums up what they have done. What binds them is
elsewhere: the ledger hands each message to one of them, and the limits lie in memory that all of them map
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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from sender.core import errors
from sender.core.clock import steady_s
from sender.core.errors import SenderError, WorkersLost
from sender.core.outcomes import SubmissionState
from sender.plan.message_reader import MessageReader
from sender.plan.sender_pool import SenderPool
from sender.sending.progress import Meter, Moment
from sender.sending.rate_limit import RateLimiter
from sender.sending.workers.worker import WorkerConfig
from sender.state.heartbeat import Progress
from sender.state.ledger import Ledger, Run

log = logging.getLogger("sender.sending.workers.supervisor")

COMMAND = (sys.executable, "-P", "-m", "sender.sending.workers.worker")
TELL_EVERY_S = 0.1
LONGEST_LINE = 1 << 20
KILL_AFTER_S = 5.0  # a worker that was told to quit at once


class Supervisor:
    """Workers that send what is pending of one run. Use once: `await Crew(...).run(cancel)`."""

    def __init__(
        self,
        orders: WorkerConfig,
        run: Run,
        *,
        ledger: Ledger,
        reader: MessageReader,
        pacer: RateLimiter,
        pool: SenderPool | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """`orders` are the same for all but for the number. `pacer` shares its state with them, `reader` reads here."""
        self._orders = orders
        self._run = run
        self._ledger = ledger
        self._reader = reader
        self._pacer = pacer
        self._pool = pool
        self._on_progress = on_progress
        self._workers: list[_WorkerProcess] = []
        self._failure: SenderError | None = None
        self._stopping = False
        self._meter: Meter | None = None  # once the first has begun: starting takes a second or two

    async def run(self, cancel: asyncio.Event) -> None:
        """Returns when all have ended: because nothing is left to do, or `cancel` was set.

        What a lost one had under way are intents in the ledger, and what is pending may be sent by whoever calls this.
        Raises what stopped a worker, after all have drained, and WorkersLost when none could be started.
        """
        below_seq = self._orders.options.limit
        self._total = self._run.messages if below_seq is None else min(below_seq, self._run.messages)
        self._before = self._ledger.counts(self._run.run_id)
        self._expected: Mapping[str | None, float] | None = None
        teller = asyncio.create_task(self._report())
        stopper = asyncio.create_task(self._stop_on(cancel))
        try:
            for number in range(self._orders.count):
                self._workers.append(await _WorkerProcess.start(replace(self._orders, number=number), self))
            ended, _ = await asyncio.wait([worker.ended for worker in self._workers])
            for task in ended:
                task.result()
        finally:
            stopper.cancel()
            teller.cancel()
            await asyncio.gather(stopper, teller, *(worker.quit() for worker in self._workers), return_exceptions=True)
            self._tell()
        if self._failure is not None:
            raise self._failure
        if self.lost and not any(worker.began for worker in self._workers) and not cancel.is_set():
            raise WorkersLost(
                f"no worker could be started: {self._workers[0].ending}",
                fix="send without --workers; nothing was sent",
            )

    @property
    def lost(self) -> bool:
        """Whether a worker died, or was ended before it had said that it was done."""
        return any(worker.died for worker in self._workers)

    async def _stop_on(self, cancel: asyncio.Event) -> None:
        await cancel.wait()
        self._stop()

    def _stop(self) -> None:
        self._stopping = True
        for worker in self._workers:
            worker.say("stop")

    # -- what workers say --------------------------------------------------------------------------------------------

    def heard(self, worker: _WorkerProcess, told: Mapping[str, Any]) -> None:
        match told["tell"]:
            case "ready":
                worker.say("stop" if self._stopping else "go")
            case "tally":
                worker.in_flight, worker.answer_s = told["in_flight"], told["answer_s"]
                self._count(told)
            case "out":
                self._out(worker, told["number"], told["why"])
            case "halt" | "failed":
                self._failure = self._failure or _error(told, worker.orders.number)
                self._stop()
            case "log":
                _log_again(told, worker)

    def _out(self, source: _WorkerProcess, number: str, why: str) -> None:
        if self._pool is not None:
            self._pool.disable(number, why)
        for worker in self._workers:
            if worker is not source:
                worker.say("out", number=number, why=why)

    def ended(self, worker: _WorkerProcess) -> None:
        """One died. The others go on: what it had under way is theirs only after the provider's log has been asked."""
        if self._stopping and not worker.began:
            return
        log.warning(
            "worker %d died: %s; the others go on, and what it had under way is looked up at the end",
            worker.orders.number,
            worker.ending,
            extra={"event": "worker_lost", "worker": worker.orders.number},
        )

    # -- tell --------------------------------------------------------------------------------------------------------

    def _count(self, told: Mapping[str, Any]) -> None:
        if self._meter is None:
            self._meter = Meter(
                messages=self._run.messages,
                total=self._total,
                before=self._before,
                now_s=steady_s(),
                needs_s=self._needs_s,
            )
            if self._expected is not None:
                self._meter.expect(self._expected)
        now_s = steady_s()
        for units, sender, count in told["left"]:
            for _ in range(count):
                self._meter.left(units, sender, now_s)
        for sender in told["came_back"]:
            self._meter.came_back(sender)
        for state, count in told["settled"].items():
            self._meter.settled([SubmissionState(state)] * count)

    def _needs_s(self, units: Mapping[str | None, float], last: float) -> float:
        return self._pacer.needs_s(units if self._pool is None else self._pool.redistribute(units), last=last)

    async def _expect(self) -> None:
        """Counts what is left of the plan, beside the first messages."""
        try:
            from_seq, waiting = self._ledger.pending_from(self._run.run_id)
            pace, below_seq = self._orders.pace, self._orders.options.limit
            count = partial(self._reader.units, pace.unit, from_seq, waiting, below_seq=below_seq)
            self._expected = await asyncio.to_thread(count)
            if self._meter is not None:
                self._meter.expect(self._expected)
        except Exception:  # no reason to stop a run
            log.exception("how long it will take cannot be told", extra={"event": "eta_failed"})

    async def _report(self) -> None:
        await self._expect()
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            self._tell()

    def _tell(self) -> None:
        if self._on_progress is None or self._meter is None:
            return
        at = Moment(
            now_s=steady_s(),
            in_flight=sum(worker.in_flight for worker in self._workers),
            answer_s=max(worker.answer_s for worker in self._workers),
            paused_s=self._pacer.paused_s,
            slowed_to_per_s=self._pacer.slowed_to_per_s,
        )
        try:
            self._on_progress(self._meter.progress(at))
        except Exception:
            self._on_progress = None  # a display that fails must not cost a run
            log.exception("on_progress failed and is not called again", extra={"event": "progress_failed"})


class _WorkerProcess:
    """One process, its pipes, and what it has told."""

    def __init__(self, process: asyncio.subprocess.Process, orders: WorkerConfig, crew: Supervisor) -> None:
        self.orders = orders
        self.in_flight = 0
        self.answer_s = 0.0
        self.began = False
        self._done = False
        self._process = process
        self._crew = crew
        self.ended = asyncio.create_task(self._follow())

    @classmethod
    async def start(cls, orders: WorkerConfig, crew: Supervisor) -> _WorkerProcess:
        with _without_ctrl_c():
            process = await asyncio.create_subprocess_exec(
                *COMMAND,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LONGEST_LINE,
                env={**os.environ, "PYTHONPATH": _import_path()},
            )
        worker = cls(process, orders, crew)
        worker._write(orders.to_json())
        return worker

    @property
    def died(self) -> bool:
        return self.ended.done() and not self._done

    @property
    def ending(self) -> str:
        """How it ended, for a person."""
        code = self._process.returncode
        if code is not None and code < 0:
            return f"pid {self._process.pid}, by signal {-code}"
        return f"pid {self._process.pid}, with exit code {code}"

    def say(self, tell: str, /, **more: Any) -> None:
        self._write(json.dumps({"tell": tell, **more}))

    async def quit(self) -> None:
        """Ends it at once if it has not ended: a pipe that closes after `stop` means just that."""
        if self._process.returncode is None:
            self.say("stop")
            self._close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), KILL_AFTER_S)
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
        await asyncio.wait([self.ended])

    async def _follow(self) -> None:
        news = self._process.stdout
        assert news is not None  # noqa: S101 (it is a pipe)
        with contextlib.suppress(ConnectionError, ValueError):  # ValueError: a line that is too long to be news
            while line := await news.readline():
                told = json.loads(line)
                self.began = self.began or told["tell"] == "tally"
                self._done = self._done or told["tell"] in {"done", "failed"}
                self._crew.heard(self, told)
        self.in_flight = 0
        await self._process.wait()
        self._close()
        if not self._done:
            self._crew.ended(self)

    def _write(self, line: str) -> None:
        pipe = self._process.stdin
        if pipe is not None and not pipe.is_closing():
            with contextlib.suppress(OSError):
                pipe.write(line.encode() + b"\n")

    def _close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """What is started here never sees SIGINT: a terminal sends it to all, and it is the parent who decides."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _import_path() -> str:
    """Where this process imports from, so that a worker runs the same code."""
    return os.pathsep.join(one or os.getcwd() for one in sys.path)  # noqa: PTH109 (a string among strings)


def _error(told: Mapping[str, Any], number: int) -> SenderError:
    """What a worker raised, as it would have been raised here."""
    kind = getattr(errors, told["type"] or "", None)
    if isinstance(kind, type) and issubclass(kind, SenderError):
        return kind(told["what"], where=told["where"], fix=told["fix"])
    return WorkersLost(
        f"worker {number} failed: {told['what']}",
        fix="run the same command again: nothing is lost; if it fails again, --debug shows where",
    )


def _log_again(told: Mapping[str, Any], worker: _WorkerProcess) -> None:
    logger = logging.getLogger(told["name"])
    if logger.isEnabledFor(told["level"]):
        record = {
            "name": told["name"],
            "levelno": told["level"],
            "levelname": logging.getLevelName(told["level"]),
            "created": told["created"],
            "msg": told["message"],
        }
        logger.handle(logging.makeLogRecord(told["extra"] | {"worker": worker.orders.number} | record))
