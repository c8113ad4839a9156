"""The ways in which an answer can fail to arrive. Decides nothing and stores nothing.

ASGI cannot express a reset or half an answer, so these take the connection itself, which `sender.sandbox.server` hands
over in `scope["state"]["transport"]`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

HUGE_BYTES = 100_000_000
_CHUNK = b" " * 1_000_000
# SO_LINGER on, 0 s: closing discards what is unsent and sends RST. Windows has two shorts there.
_NO_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)

Headers = list[tuple[bytes, bytes]]


def reset(transport: asyncio.Transport) -> None:
    """Close the connection with RST instead of FIN."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


class Cut:
    """An answer that is cut: `content`, then silence for `last_s`, then the end of the connection.

    With `drip` the content is sent byte by byte over `last_s`. Without `start` nothing is sent. Ends early if the
    client disconnects or the server stops. `rst` ends the connection with a reset.
    """

    def __init__(
        self,
        closing: asyncio.Event,
        *,
        start: tuple[int, Headers] | None = None,
        content: bytes = b"",
        last_s: float = 0.0,
        drip: bool = False,
        rst: bool = False,
    ) -> None:
        self._closing = closing
        self._start = start
        self._content = content
        self._last_s = last_s
        self._drip = drip
        self._rst = rst

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport: asyncio.Transport = scope["state"]["transport"]
        async with _watch_ends(receive, self._closing) as ended:
            if self._start is not None:
                status, headers = self._start
                await send({"type": "http.response.start", "status": status, "headers": headers})
            if self._drip:
                pause_s = self._last_s / max(1, len(self._content))
                for byte in self._content:
                    await send({"type": "http.response.body", "body": bytes((byte,)), "more_body": True})
                    if await ended(pause_s):
                        break
            else:
                if self._content:
                    await send({"type": "http.response.body", "body": self._content, "more_body": True})
                await ended(self._last_s)
            if self._rst:
                reset(transport)
            else:
                transport.close()


class Twice:
    """The whole answer, and after `after_s` the same bytes again, though nobody asked."""

    def __init__(self, response: Response, *, after_s: float) -> None:
        self._response = response
        self._after_s = after_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport: asyncio.Transport = scope["state"]["transport"]
        await self._response(scope, receive, send)
        if self._after_s:
            await asyncio.sleep(self._after_s)
        if not transport.is_closing():
            lines = [b"HTTP/1.1 %d Again" % self._response.status_code]
            lines += [b"%s: %s" % header for header in self._response.raw_headers]
            transport.write(b"\r\n".join([*lines, b"", bytes(self._response.body)]))


class Undated:
    """The answer without the `Date` that the server adds to all others; the connection ends with it."""

    def __init__(self, response: Response) -> None:
        self._response = response

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        transport: asyncio.Transport = scope["state"]["transport"]
        lines = [b"HTTP/1.1 %d OK" % self._response.status_code, b"connection: close"]
        lines += [b"%s: %s" % header for header in self._response.raw_headers]
        transport.write(b"\r\n".join([*lines, b"", bytes(self._response.body)]))
        transport.close()
        while (await receive())["type"] != "http.disconnect":  # else the server would add an answer of its own
            pass


class Huge:
    """A success of 100 MB, sent as far as the client reads it."""

    def __init__(self, status: int, headers: Headers) -> None:
        self._status = status
        self._headers = headers

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [*self._headers, (b"content-length", str(HUGE_BYTES).encode())]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        for _ in range(HUGE_BYTES // len(_CHUNK)):
            await send({"type": "http.response.body", "body": _CHUNK, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _EndWatcher:
    """Waits, and returns whether the client disconnected or the server stopped meanwhile."""

    def __init__(self, *ends: asyncio.Future[object]) -> None:
        self._ends = ends

    async def __call__(self, timeout_s: float) -> bool:
        done, _ = await asyncio.wait(self._ends, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)


@asynccontextmanager
async def _watch_ends(receive: Receive, closing: asyncio.Event) -> AsyncIterator[_EndWatcher]:
    disconnect: asyncio.Future[object] = asyncio.ensure_future(
        receive()
    )  # the body has been read: only a disconnect follows
    stop: asyncio.Future[object] = asyncio.ensure_future(closing.wait())
    try:
        yield _EndWatcher(disconnect, stop)
        await disconnect
    finally:
        disconnect.cancel()
        stop.cancel()
