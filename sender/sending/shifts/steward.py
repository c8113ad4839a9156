"""Sees one run to its end, for whoever began it: the state and the run that its command line names.

Started by `sender.sending.shifts.shift_worker`. Does what `sender send` does with a run that it resumes. One that dies
is replaced: each of its steps may be done again.
"""

from __future__ import annotations

import asyncio
import logging
import os

from sender.core.errors import RunLocked
from sender.sending.open_run import open_shared_run
from sender.sending.shifts.process import run_process

log = logging.getLogger("sender.sending.shifts.steward")


async def see_to(address: str, run_id: str, stop: asyncio.Event) -> None:
    """See the run to its end, or until `stop` is set: then another takes over. Does nothing where one does already."""
    try:
        with open_shared_run(address, run_id, os.environ) as opened:
            if opened is None:
                return
            session, options = opened
            result = await session.send(options, cancel=stop)
    except RunLocked as locked:
        log.info("run %s: %s", run_id, locked.what)
        return
    log.info("run %s: %s", run_id, result.summary.totals_line(), extra={"event": "run_ended", "run_id": run_id})
    if result.stopped is not None:
        raise result.stopped


def main() -> None:
    """See the run that the command line names to its end."""
    run_process(see_to)
