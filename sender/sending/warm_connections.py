"""Opens the connections of the first messages before these leave."""

from __future__ import annotations

import asyncio

from sender.transport.base import Transport


async def warm_connections(transport: Transport, base_url: str, connections: int, stop: asyncio.Event) -> None:
    """Open that many connections to `base_url`, until all are open or `stop` is set."""
    if not connections or stop.is_set():
        return
    warming = asyncio.create_task(transport.warm(base_url, connections))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([warming, stopping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (warming, stopping):
            task.cancel()
        await asyncio.gather(warming, stopping, return_exceptions=True)
