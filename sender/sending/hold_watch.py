"""Notices, while a run is being sent, that somebody has paused or closed it from elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from sender.core.errors import StateError
from sender.core.threads import run_in_thread
from sender.state.ledger import Ledger, Run
from sender.state.state import State

log = logging.getLogger("sender.sending.hold_watch")

LOOK_EVERY_S = 0.5
WAITING_LOOK_EVERY_S = 5.0  # where nothing may leave anyway; the ledger gives out no claim of a run that is held


@contextlib.asynccontextmanager
async def watch_hold(
    state: State, run: Run, cancel: asyncio.Event, is_waiting: Callable[[], bool]
) -> AsyncIterator[asyncio.Event]:
    """Yield an event that is set when `cancel` is, and as soon as the run is paused or closed.

    `is_waiting` says whether the run only waits, for a window: then this costs next to nothing, and takes longer.
    """
    stop = asyncio.Event()
    if cancel.is_set():  # the caller may act before the watchers have had their turn
        stop.set()
    ledger = state.open_ledger()
    watchers = [asyncio.create_task(_relay(cancel, stop)), asyncio.create_task(_look(ledger, run, stop, is_waiting))]
    try:
        yield stop
    finally:
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        ledger.close()


async def _relay(cancel: asyncio.Event, stop: asyncio.Event) -> None:
    await cancel.wait()
    stop.set()


async def _look(ledger: Ledger, run: Run, stop: asyncio.Event, is_waiting: Callable[[], bool]) -> None:
    while True:
        with contextlib.suppress(StateError):  # whoever sends meets the same failure, and says so
            now = await run_in_thread(ledger.run, run.run_id)
            if now.is_held:
                what = "paused" if now.closed_at_ms is None else "closed"
                who = now.paused_by if now.closed_at_ms is None else now.closed_by
                log.warning(
                    "run %s was %s by %s: waiting for the answers to requests in flight",
                    run.run_id,
                    what,
                    who,
                    extra={"event": "held", "what": what, "run_id": run.run_id, "by": who},
                )
                stop.set()
                return
        await asyncio.sleep(WAITING_LOOK_EVERY_S if is_waiting() else LOOK_EVERY_S)
