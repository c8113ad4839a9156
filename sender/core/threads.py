"""Calls that block, made in a thread of their own so that the event loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def run_in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of `call`, made in another thread. Raises what `call` does.

    A thread cannot be stopped. So a task that is canceled meanwhile waits for its end first: whoever canceled it may
    then close what `call` uses, as a ledger, which is for one thread at a time.
    """
    work = asyncio.ensure_future(asyncio.to_thread(call, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await _wait_for(work)
        raise


async def _wait_for(work: asyncio.Future[T]) -> None:
    """Return when `work` is done, however often this task is canceled meanwhile. Nobody hears what it raises."""
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            continue
    if not work.cancelled():
        work.exception()
