"""Reads the provider's log while messages are sent, so that statuses are known without a receiver of reports."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Mapping

from sender.core.errors import SenderError
from sender.delivery.poll import LIVE, SIMULATED
from sender.delivery.provider_log import wait_or_cancelled
from sender.delivery.refresh import refresh_run
from sender.state.ledger import Run
from sender.state.open import open_state

log = logging.getLogger("sender.delivery")

_LARGEST_LOAD = 0.2  # share of the time spent reading


@contextlib.asynccontextmanager
async def refresh_meanwhile(where: str, run: Run, env: Mapping[str, str]) -> AsyncIterator[None]:
    """Update the delivery statuses of the run again and again, in a thread of its own, until the block is left.

    `where` is the state's, `env` holds the credentials. A log that cannot be read is asked again later.
    """
    refresher = _Refresher(where, run, env)
    refresher.start()
    try:
        yield
    finally:
        await asyncio.to_thread(refresher.stop)


class _Refresher(threading.Thread):
    """A thread with an event loop and a handle to the state of its own: nothing of it holds up the messages."""

    def __init__(self, where: str, run: Run, env: Mapping[str, str]) -> None:
        super().__init__(name="refresh", daemon=True)
        self._where = where
        self._run_record = run
        self._env = env
        self._begun = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._cancel: asyncio.Event | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._refresh())
        except OSError as error:  # this machine has no file left for an event loop
            _warn(error)
        finally:
            self._begun.set()

    def stop(self) -> None:
        """Return when the thread has ended."""
        self._begun.wait()
        if self._loop is not None and self._cancel is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._cancel.set)
        self.join()

    async def _refresh(self) -> None:
        self._loop, self._cancel = asyncio.get_running_loop(), asyncio.Event()
        self._begun.set()
        longest_s = (SIMULATED if self._run_record.simulated else LIVE).longest_s
        while not self._cancel.is_set():
            begun_s = time.monotonic()
            try:
                with open_state(self._where, create=False) as state:
                    await refresh_run(state, self._run_record, self._env, cancel=self._cancel)
            except (SenderError, OSError) as error:
                _warn(error)
            took_s = time.monotonic() - begun_s
            await wait_or_cancelled(max(longest_s, took_s * (1 / _LARGEST_LOAD - 1)), self._cancel)


def _warn(error: Exception) -> None:
    log.warning("the provider's log could not be read: %s", error, extra={"event": "refresh_failed"})
