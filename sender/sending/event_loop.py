"""The event loop in which a process sends."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# New objects between two looks for garbage; Python's own 700 (2,000 from 3.13 on) come together within some messages.
# What a message makes goes when its last user does, so there is little to be found.
_LOOK_AFTER = 50_000


def run(sending: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`; meanwhile the garbage collector looks less often, which takes 2 to 3 % of a message."""
    before = gc.get_threshold()
    if before[0]:  # else somebody has switched it off
        gc.set_threshold(max(before[0], _LOOK_AFTER), *before[1:])
    try:
        return asyncio.run(sending)
    finally:
        gc.set_threshold(*before)
