"""When the interpreter looks for garbage: not while rows are read or modules loaded, none of which is garbage."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType


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


def load_module(name: str) -> ModuleType:
    """Import a module. What modules define stays: to look for garbage in it, then and later, is a fifth of a start."""
    if name in sys.modules or not gc.isenabled():
        return import_module(name)
    with without_collecting():
        module = import_module(name)
        gc.freeze()
    return module
