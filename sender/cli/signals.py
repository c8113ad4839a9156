"""Signals that end a command which waits."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ending_by_signal() -> Iterator[None]:
    """Make Ctrl-C, SIGTERM and a closed terminal a KeyboardInterrupt; more of them, on the way out, change nothing.

    polars' own handler would swallow the first. Under `nohup` a closed terminal stays ignored.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    closed = getattr(signal, "SIGHUP", None)  # not on Windows
    if closed is not None and signal.getsignal(closed) != signal.SIG_IGN:
        numbers.append(closed)

    def leave(_number: int, _frame: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, leave)
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in numbers[1:]:
        signal.signal(number, signal.SIG_DFL)
