"""The fast transport: HTTP/1.1 over asyncio's own connections, parsed by httptools (Node's parser).

Writes a request with one call, straight after the last look at the clock. So our own steps show what has left, and no
exception needs to be interpreted: before that call nothing has left, after it perhaps everything.
"""

from __future__ import annotations

import asyncio
import math
import re
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from sender.core.clock import steady_s
from sender.providers.base import Request, Response
from sender.transport import network_settings, tunnel
from sender.transport.base import (
    CONNECT_TIMEOUT_S,
    DEFAULT_HEADERS,
    KEEPALIVE_S,
    ClearText,
    InvalidRequest,
    InvalidUrl,
    TooLate,
    UnsupportedScheme,
    make_failure,
)
from sender.transport.connection import Connection

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(r"[\x21-\x7e]+")
_HEADS_MAX = 256  # a run has one head; each page of a log has its own


@dataclass(slots=True)
class _Route:
    """The way to one origin, and its idle connections, the longest idle first."""

    secure: bool
    host: str
    port: int
    proxy: tunnel.Proxy | None
    idle: deque[Connection] = field(default_factory=deque)

    def take_idle(self, now_s: float) -> Connection | None:
        """Take the idle connection that was used last, so that spare ones time out."""
        while self.idle and now_s - self.idle[0].idle_since_s > KEEPALIVE_S:
            self.idle.popleft().abort()
        while self.idle:
            connection = self.idle.pop()
            if connection.reusable and connection.silent:
                return connection
            connection.abort()
        return None

    def put_back(self, connection: Connection, now_s: float) -> None:
        """Add a connection whose exchange is over to the idle ones."""
        if connection.reusable:
            connection.idle_since_s = now_s
            self.idle.append(connection)
        else:
            connection.abort()


class _ConnectionSlots:
    """At most `places` requests at a time; others wait in the order of asking.

    asyncio.Semaphore looks for waiters before each turn, and takes several times as long where there are none.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[asyncio.Future[None]] = deque()

    def try_enter(self) -> bool:
        """Take a free place. Return whether there was one."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def enter(self, until_s: float) -> None:
        """Wait for a place and take it. Raises TimeoutError at the loop's time `until_s`."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(until_s):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # a place was given to a waiter that had just gone
                self.leave()
            raise

    def leave(self) -> None:
        """Give the place to the next waiter that is still there, or free it."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class FastTransport:
    """A `Transport` that sends many thousand messages a second from one process."""

    def __init__(
        self, *, concurrency: int, context: ssl.SSLContext | None = None, clock: Callable[[], float] = steady_s
    ) -> None:
        """At most `concurrency` requests at one time; the others wait, and their time runs.

        `context` verifies servers, the environment's if there is none. `clock` gives seconds that never go back.
        Raises CredentialsError when the environment's proxies or certificates cannot be used.
        """
        self._slots = _ConnectionSlots(concurrency)
        self._clock = clock
        self._context = context or network_settings.make_ssl_context()
        self._proxies = {url: tunnel.parse_proxy(url) for url in network_settings.read_proxies().values()}
        self._routes: dict[tuple[str, str, int], _Route] = {}
        self._heads: dict[tuple[str, str, tuple[tuple[str, str], ...]], tuple[bytes, _Route]] = {}
        self._connections: set[Connection] = set()

    async def send(self, request: Request, *, timeout_s: float, send_by_s: float = math.inf) -> Response:
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + timeout_s
        too_late_s = min(self._clock() + timeout_s, send_by_s)
        connecting = written = False
        try:
            first_lines, route = self._make_head(request)
            if not self._slots.try_enter():
                await self._slots.enter(ends_s)
            try:
                connection = route.take_idle(loop.time())
                if connection is None:
                    connecting = True
                    connection = await self._connect(route, min(ends_s, loop.time() + CONNECT_TIMEOUT_S))
                    connecting = False
                if self._clock() >= too_late_s:  # the process was suspended, and the timers have not fired yet
                    route.put_back(connection, loop.time())
                    raise TooLate
                written = True
                try:
                    return await connection.exchange(first_lines + request.content, ends_s)
                finally:
                    route.put_back(connection, loop.time())
            finally:
                self._slots.leave()
        except asyncio.CancelledError as cancelled:
            raise cancelled from make_failure(cancelled, unsent=not written)
        except Exception as error:  # noqa: BLE001 (the steps taken show what has left, whatever broke)
            raise make_failure(error, unsent=not written, connecting=connecting) from None

    def distrust(self, response: Response) -> None:
        for route in self._routes.values():
            for connection in route.idle:
                if connection.answer_id == id(response):
                    connection.abort()  # and so `take_idle` passes it over

    async def warm(self, url: str, connections: int) -> None:
        try:
            _, route = self._make_head(Request("GET", url, ()))
        except (InvalidUrl, UnsupportedScheme, ClearText):
            return
        loop = asyncio.get_running_loop()
        until_s = loop.time() + CONNECT_TIMEOUT_S
        opened = await asyncio.gather(
            *(self._connect(route, until_s) for _ in range(connections)), return_exceptions=True
        )
        for connection in opened:
            if isinstance(connection, Connection):
                route.put_back(connection, loop.time())

    async def aclose(self) -> None:
        for connection in self._connections:
            connection.abort()
        if self._connections:
            await asyncio.wait([connection.lost for connection in self._connections], timeout=1.0)

    async def _connect(self, route: _Route, until_s: float) -> Connection:
        """Open a connection to the origin. Raises OSError, TimeoutError, ProxyRefused or NotHttp: nothing was sent."""
        async with asyncio.timeout_at(until_s):
            context = self._context if route.secure else None
            connection = await tunnel.connect(route.host, route.port, context, route.proxy, self._context)
        self._connections.add(connection)
        connection.lost.add_done_callback(lambda _: self._connections.discard(connection))
        if not connection.reusable:  # else what is written into it is dropped, and nobody can say so
            raise ConnectionAbortedError("it was closed at once")
        return connection

    # -- what is written before the body ---------------------------------------------------------------------------

    def _make_head(self, request: Request) -> tuple[bytes, _Route]:
        """The request's first lines, up to its body.

        Raises InvalidUrl, UnsupportedScheme, ClearText or InvalidRequest.
        """
        key = (request.method, request.url, request.headers)
        head = self._heads.get(key)
        if head is None:
            if len(self._heads) >= _HEADS_MAX:
                self._heads.clear()
            head = self._heads[key] = self._first_lines(request)
        lines, route = head
        size = len(request.content)
        return (
            b"%scontent-length: %d\r\n\r\n" % (lines, size) if size or request.method != "GET" else lines + b"\r\n"
        ), route

    def _first_lines(self, request: Request) -> tuple[bytes, _Route]:
        try:
            url = urlsplit(request.url)
            host, port = url.hostname, url.port
        except ValueError:
            raise InvalidUrl from None
        if url.scheme not in {"http", "https"}:
            raise UnsupportedScheme
        if not (host and host.isascii()):
            raise InvalidUrl
        secure = url.scheme == "https"
        usual = 443 if secure else 80
        origin = (url.scheme, host, port or usual)
        route = self._routes.get(origin)
        if route is None:
            network_settings.refuse_clear_text(url.scheme, host)
            proxy = self._proxies.get(network_settings.proxy_for(network_settings.read_proxies(), *origin) or "")
            route = self._routes[origin] = _Route(secure, host, port or usual, proxy)
        shown = f"[{host}]" if ":" in host else host
        place = shown if port in {None, usual} else f"{shown}:{port}"
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        headers = list(request.headers)
        present = {name.lower() for name, _ in headers}
        headers += [header for header in DEFAULT_HEADERS if header[0] not in present]
        if "host" not in present:
            headers.insert(0, ("host", place))
        return _encode_lines(request.method, target, headers), route


def _encode_lines(method: str, target: str, headers: list[tuple[str, str]]) -> bytes:
    """Return the lines as bytes. Raises InvalidRequest for text that would not stay in its line."""
    if not (_TOKEN.fullmatch(method) and _TARGET.fullmatch(target)):
        raise InvalidRequest
    if not all(_TOKEN.fullmatch(name) and _VALUE.fullmatch(value) for name, value in headers):
        raise InvalidRequest
    if {"content-length", "transfer-encoding"} & {name.lower() for name, _ in headers}:
        raise InvalidRequest  # they are ours to write
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), ""]
    return "\r\n".join(lines).encode("latin-1")
