"""When the interpreter looks for garbage: not while rows are read, which are many and none of which is garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collecting() -> Iterator[None]:
    """Look for no garbage meanwhile: with thousands of rows in memory at a time, that takes a quarter of reading them.

    Only what refers to itself waits until afterwards; all else is freed as usual.
    """
    if not gc.isenabled():  # by the caller, or by another thread, which will have it on again
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
