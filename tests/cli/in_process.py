"""Runs `sender` in this process as a shell would run it in one of its own, and puts back what it has changed."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import sender.cli
from sender.cli import console

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM"))


def run(arguments: Sequence[str], *, folder: Path, env: Mapping[str, str]) -> tuple[int, str, str]:
    """Return the exit code of `sender` with `arguments` in `folder` with the environment `env`, and what it printed."""
    out, err = _pipe(), _pipe()
    with ExitStack() as stack:
        stack.enter_context(chdir(folder))
        stack.enter_context(patch.dict(os.environ, env, clear=True))
        stack.enter_context(patch.object(sys, "argv", ["sender", *arguments]))
        stack.enter_context(patch.object(sys, "stdin", stack.enter_context(Path(os.devnull).open(encoding="utf-8"))))
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        # They decide when they are made how wide and how colourful they are.
        stack.enter_context(patch.object(console, "out", console.screen()))
        stack.enter_context(patch.object(console, "err", console.screen(stderr=True)))
        stack.enter_context(_signals_restored())
        stack.enter_context(_logs_restored())
        code = sender.cli.run_command()
    return code, _text(out), _text(err)


def _pipe() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    """What was written, its line ends as `subprocess` reads them."""
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode().replace("\r\n", "\n")


@contextmanager
def _signals_restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _logs_restored() -> Iterator[None]:
    logger = logging.getLogger("sender")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    try:
        yield
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate
