"""uvicorn's HTTP protocol with limits that it lacks: for the size and time of a request, and for connections.

uvicorn (0.54) ends a connection that has been idle after an answer, and no other: whoever sends nothing, or a byte a
second, keeps it for good. Its `limit_concurrency` answers real requests with 503 while others hold the connections.
"""

from __future__ import annotations

import asyncio
import http
from collections.abc import Callable
from typing import ClassVar, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_MAX_BYTES = 32 * 1024
BODY_MAX_BYTES = 1 << 20


def connections_at_most(wanted: int) -> int:
    """`wanted`, or half of the files that the system lets this process open, if that is less."""
    try:
        import resource  # noqa: PLC0415 (POSIX only)
    except ImportError:
        return wanted
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(16, min(wanted, soft // 2))


class BoundedProtocol(HttpToolsProtocol):
    """One connection of a client.

    A head or a body that is too large gets 431 or 413, one that does not arrive in time 408. Above `most_connections`
    the connection that has been idle longest is closed for a new one, first among those that never sent a request.
    """

    most_connections: ClassVar[int] = 500
    first_byte_s: ClassVar[float] = 10.0
    head_s: ClassVar[float] = 10.0
    body_s: ClassVar[float] = 15.0

    _timer: asyncio.TimerHandle | None = None
    served = False  # a request's head has come
    _head_bytes = 0  # received of a head that is coming
    _field_bytes = 0  # of its parts that are read, and of trailers
    _body_bytes = 0
    _in_head = True
    _refused = False
    idle_since_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.idle_since_s = self.loop.time()
        self._wait(self.first_byte_s, self._close)
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head:
            if not self._head_bytes:
                self._wait(self.head_s, self._refuse_late)
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_MAX_BYTES and not self.transport.is_closing():
            self._refuse(431)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_message_begin(self) -> None:
        self._field_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        self._in_head, self._head_bytes, self._body_bytes, self.served = False, 0, 0, True
        self._wait(self.body_s, self._refuse_late)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > BODY_MAX_BYTES:
            self._refuse(413)
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop_waiting()
        self._in_head = True
        if not self._refused:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        self.idle_since_s = self.loop.time()
        super().on_response_complete()

    @property
    def is_idle(self) -> bool:
        """Whether no request waits for its answer."""
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        return cycle is None or cycle.response_complete

    def _make_room(self) -> None:
        """Close the connection that has been idle longest if there are too many; this one if none is idle."""
        if len(self.connections) <= self.most_connections:
            return
        idle = [
            other
            for other in self.connections
            if isinstance(other, BoundedProtocol) and other is not self and other.is_idle
        ]
        oldest = min(idle, key=lambda other: (other.served, other.idle_since_s), default=self)
        self.connections.discard(oldest)
        oldest.transport.abort()

    def _count(self, size: int) -> None:
        self._field_bytes += size
        if self._field_bytes > HEAD_MAX_BYTES:
            self._refuse(431)

    def _wait(self, seconds: float, action: Callable[[], None]) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, action)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        self.transport.close()

    def _refuse_late(self) -> None:
        self._refuse(408)

    def _refuse(self, status: int) -> None:
        """Answer with an error, and close: nothing that comes after it on this connection is read."""
        if self._refused:
            return
        self._refused = True
        self._stop_waiting()
        if self.is_idle or not self.cycle.response_started:
            phrase = http.HTTPStatus(status).phrase
            head = f"HTTP/1.1 {status} {phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode())
        self.transport.close()
