"""What the processes of a worker have in common: their arguments, their signals, and when they stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from sender.core.errors import SenderError
from sender.sending import event_loop

log = logging.getLogger("sender.sending.shifts.process")

_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _LogLines(logging.Handler):
    """Writes each record as a line of JSON to standard output, for the worker to log."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        values = {"name": record.name, "levelno": record.levelno, "levelname": record.levelname}
        extra = {key: value for key, value in vars(record).items() if key not in _RECORD_FIELDS}
        line = json.dumps({**values, "created": record.created, "msg": text, "extra": extra}, default=str)
        with contextlib.suppress(OSError):  # the worker is gone
            os.write(1, line.encode() + b"\n")


def run_process(work: Callable[[str, str, asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Do `work` for the state and the run that the command line names, and exit.

    Its event is set by SIGTERM, and when the worker that started this process is gone.
    """
    state, run_id = sys.argv[1:3]
    logger = logging.getLogger("sender")
    logger.handlers[:] = [_LogLines()]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the worker, too, which decides what to do
    try:
        event_loop.run(_run(work, state, run_id))
    except SenderError as error:
        log.error("run %s: %s", run_id, error.sentence(), extra={"event": "shift_failed"})  # noqa: TRY400
        sys.exit(error.exit_code)


async def _run(work: Callable[[str, str, asyncio.Event], Coroutine[Any, Any, None]], state: str, run_id: str) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(stop.set))

    def watch() -> None:
        while os.read(0, 1):
            pass
        with contextlib.suppress(RuntimeError):  # the loop is closed: everything is done
            loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=watch, name="worker", daemon=True).start()
    await work(state, run_id, stop)
