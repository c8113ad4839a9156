"""Waits on one machine for work of any run: takes it from the engine, and does each piece in a process of its own.

The engine does not come back by itself when its connection breaks; this does. A process at work outlives such a break:
the engine hands the same job out again, and whoever gets it here watches over the process that is at work already.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import uuid
from collections.abc import Mapping

from sender.core.clock import steady_s
from sender.core.errors import SenderError, StateError
from sender.core.own_process import own_process
from sender.core.threads import run_in_thread
from sender.sending.workers.protocol import MAX_LINE_BYTES
from sender.state.open import open_state
from sender.state.sharing import Sharing

log = logging.getLogger("sender.sending.shifts.shift_worker")

BEAT_EVERY_S = 1.0
LOOK_EVERY_S = 3.0  # for runs that nobody sees to their end
RECONNECT_S = 1.0
IN_VAIN_S = 10.0  # after a process that could not send, before its place is free
_SHIFT, _STEWARD = "shift", "steward"


class _AtWork:
    """A process at work. `is_watched` says that a job of the engine waits for it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.is_watched = True
        self._logs = asyncio.create_task(self._log())

    async def _log(self) -> None:
        """Log here what it logs, until it has ended."""
        lines = self.process.stdout
        assert lines is not None  # noqa: S101 (it is a pipe)
        with contextlib.suppress(ConnectionError, ValueError):  # ValueError: a line that is too long for a message
            while line := await lines.readline():
                values = json.loads(line)
                record = {name: values[name] for name in ("name", "levelno", "levelname", "created", "msg")}
                logger = logging.getLogger(record["name"])
                if logger.isEnabledFor(record["levelno"]):
                    logger.handle(logging.makeLogRecord(values["extra"] | {"worker": self.process.pid} | record))


class ShiftWorker:
    """The worker of one machine. Use once: `await ShiftWorker(...).run()`."""

    def __init__(self, address: str, places: int, environment: Mapping[str, str]) -> None:
        """`address` is the state's, `environment` holds the credentials, and `places` processes send at once."""
        self._address = address
        self._places = places
        self._environment = environment
        self._children: dict[tuple[str, str], list[_AtWork]] = {}
        self._is_draining = False

    def drain(self) -> None:
        """Take nothing more, and let what is at work end what it has in flight."""
        self._is_draining = True
        for child in self._at_work():
            with contextlib.suppress(ProcessLookupError):
                child.process.terminate()

    def kill(self) -> None:
        """End what is at work at once: as safe as a crash."""
        for child in self._at_work():
            with contextlib.suppress(ProcessLookupError):
                child.process.kill()

    async def run(self) -> None:
        """Work until `drain` is called. Raises StateError only where database or engine cannot be used at first."""
        with open_state(self._address, create=False) as state:
            assert state.sharing is not None  # noqa: S101 (the caller's)
            await self._run(state.sharing)

    async def _run(self, sharing: Sharing) -> None:
        queue, was_there = sharing.open_queue(), True
        await queue.check()
        beat = asyncio.create_task(self._beat(sharing, str(uuid.uuid4())))
        try:
            while not self._is_draining:
                try:
                    await queue.run_worker(
                        self._take_shift, self._see_to, places=self._places, is_stopped=lambda: self._is_draining
                    )
                except StateError as error:
                    if was_there:
                        log.warning("%s; trying again", error.what, extra={"event": "engine_lost"})
                    was_there = False
                    await asyncio.sleep(RECONNECT_S)
                else:
                    was_there = True
            self.drain()
            await asyncio.gather(*(child.process.wait() for child in self._at_work()))
        finally:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)

    # -- jobs --------------------------------------------------------------------------------------------------------

    async def _take_shift(self, run_id: str) -> None:
        await self._watch_over(_SHIFT, run_id)

    async def _see_to(self, run_id: str) -> None:
        await self._watch_over(_STEWARD, run_id)

    async def _watch_over(self, kind: str, run_id: str) -> None:
        """Return when a process of that kind has ended: one that nobody watches, or a new one.

        When this is cancelled, as the engine does when its connection breaks, the process goes on.
        """
        if self._is_draining:
            return
        of_run = self._children.setdefault((kind, run_id), [])
        child = next((one for one in of_run if not one.is_watched), None)
        if child is None:
            child = _AtWork(await self._start(kind, run_id))
            of_run.append(child)
        child.is_watched = True
        begun_s = steady_s()
        try:
            code = await child.process.wait()
        except asyncio.CancelledError:
            child.is_watched = False
            raise
        of_run.remove(child)
        if code > 0 and steady_s() < begun_s + IN_VAIN_S:  # this machine cannot send the run now: it has said why
            await self._rest()

    async def _rest(self) -> None:
        until_s = steady_s() + IN_VAIN_S
        while steady_s() < until_s and not self._is_draining:  # noqa: ASYNC110 (a signal ends it, too)
            await asyncio.sleep(0.2)

    async def _start(self, kind: str, run_id: str) -> asyncio.subprocess.Process:
        paths = os.pathsep.join(folder or os.getcwd() for folder in sys.path)  # noqa: PTH109 (strings)
        log.info("%s of run %s begins", kind, run_id, extra={"event": "work_begins", "kind": kind, "run_id": run_id})
        return await asyncio.create_subprocess_exec(
            *own_process(f"sender.sending.shifts.{kind}", self._address, run_id),
            stdin=asyncio.subprocess.PIPE,  # closed when this process dies: then it drains
            stdout=asyncio.subprocess.PIPE,
            limit=MAX_LINE_BYTES,
            env={**self._environment, "PYTHONPATH": paths},
            start_new_session=sys.platform != "win32",  # a terminal's Ctrl-C is for this process to handle
        )

    def _at_work(self) -> list[_AtWork]:
        return [child for of_run in self._children.values() for child in of_run if child.process.returncode is None]

    # -- being there -------------------------------------------------------------------------------------------------

    async def _beat(self, sharing: Sharing, worker: str) -> None:
        """Say each second that this machine is there, and look for runs that nobody sees to their end."""
        looked_s = steady_s()
        try:
            while True:
                with contextlib.suppress(SenderError):
                    await run_in_thread(sharing.note_worker, worker, places=self._places, is_draining=self._is_draining)
                    if steady_s() > looked_s + LOOK_EVERY_S and not self._is_draining:
                        looked_s = steady_s()
                        for run_id in await run_in_thread(sharing.unattended):
                            await sharing.open_queue().enqueue_steward(run_id)
                await asyncio.sleep(BEAT_EVERY_S)
        finally:
            with contextlib.suppress(SenderError):
                sharing.forget_worker(worker)
