"""A small HTTP client for the sandbox's webhooks: POST to loopback, keep connections open, return the answer's status.

Webhooks outnumber messages three to one, so the sandbox would spend most of its time in a general client. A request
that is cancelled at any step leaves no socket behind.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Mapping
from urllib.parse import urlsplit

from sender.core.loopback import loopback_addresses

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_HEAD_MAX_BYTES = 64 * 1024


class WebhookClient:
    """Reuses connections that the receiver keeps open. Use it from a single event loop, and `close` it at the end."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, int], list[_Connection]] = defaultdict(list)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, timeout_s: float) -> int | None:
        """Return the answer's status; None if none came in time. Dead connections are replaced by a fresh one."""
        parts = urlsplit(url)
        place = (parts.hostname or "", parts.port or 80)
        target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        lines = [f"POST {target} HTTP/1.1", f"host: {parts.netloc}", f"content-length: {len(body)}"]
        lines += [f"{name}: {text}" for name, text in headers.items()]
        request = "\r\n".join([*lines, "", ""]).encode() + body
        try:
            async with asyncio.timeout(timeout_s):
                while self._idle[place]:
                    status = await self._exchange(place, self._idle[place].pop(), request)
                    if status is not None:
                        return status
                return await self._exchange(place, await _connect(*place), request)
        except OSError:  # TimeoutError is an OSError
            return None

    async def _exchange(self, place: tuple[str, int], connection: _Connection, request: bytes) -> int | None:
        reader, writer = connection
        reusable = False
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
            fields = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
            if "content-length" in fields:
                await reader.readexactly(int(fields["content-length"]))
                reusable = fields.get("connection") != "close"
            return int(head[0].split(" ")[1])
        except (OSError, EOFError, ValueError, IndexError, asyncio.LimitOverrunError):
            return None
        finally:
            if reusable:
                self._idle[place].append(connection)
            else:
                writer.close()

    async def close(self) -> None:
        """Close every connection."""
        for connections in self._idle.values():
            for _, writer in connections:
                writer.close()
        self._idle.clear()


async def _connect(host: str, port: int) -> _Connection:
    """A connection to this machine, whatever a name server says. Raises OSError."""
    *others, last = await loopback_addresses(host, port)
    for address in others:
        with contextlib.suppress(OSError):
            return await asyncio.open_connection(address, port, limit=_HEAD_MAX_BYTES)
    return await asyncio.open_connection(last, port, limit=_HEAD_MAX_BYTES)
