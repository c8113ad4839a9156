"""Puts the sandbox on a real socket: `serve` for a process of its own, `embedded` for a thread of this one.

Loopback by default. Prints nothing, configures no logging and, in a thread, touches no signal handler.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, cast

import uvicorn
from starlette.applications import Starlette

from sender.errors import InputError
from sender.sandbox.app import Options, Sandbox, app
from sender.sandbox.wire import reset

if TYPE_CHECKING:
    _Protocol = asyncio.Protocol
else:
    from uvicorn.protocols.http.auto import AutoHTTPProtocol as _Protocol

LOOPBACK = "127.0.0.1"
_START_TIMEOUT_S = 10.0
_BACKLOG = 2048
# Without a handler, logging's last resort prints uvicorn's warnings to stderr; handlers of the root see them still.
logging.getLogger("uvicorn").addHandler(logging.NullHandler())


class _Connection(_Protocol):
    """uvicorn's HTTP protocol, which also hands each request its connection, for answers HTTP has no words for."""

    app_state: dict[str, object]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    """Says when it is ready, goes away for an outage, and lets go of silent answers before it waits for requests."""

    def __init__(self, starlette: Starlette, ready: Callable[[], None]) -> None:
        config = uvicorn.Config(
            starlette,
            http=_Connection,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        super().__init__(config)
        self._sandbox: Sandbox = starlette.state.sandbox
        self._ready = ready
        self._sandbox.outage = self._go_away
        self._coming_back: asyncio.Task[None] | None = None

    def _go_away(self, seconds: float) -> None:
        """Resets every connection and refuses new ones for so long. One outage at a time."""
        if self._coming_back is not None or self.should_exit:
            return
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            reset(cast("asyncio.Transport", cast("_Connection", connection).app_state["transport"]))
        self._coming_back = asyncio.create_task(self._come_back(host, port, seconds))

    async def _come_back(self, host: str, port: int, seconds: float) -> None:
        sock = await self._taken_again(host, port)  # bound and not listening, it keeps the port and refuses
        await asyncio.sleep(seconds)

        def connection() -> asyncio.Protocol:
            return self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )

        self.servers = [await asyncio.get_running_loop().create_server(connection, sock=sock, backlog=_BACKLOG)]
        self._coming_back = None

    @staticmethod
    async def _taken_again(host: str, port: int) -> socket.socket:
        while True:  # a client anywhere may have got the port for a moment
            try:
                return _bound(host, port)
            except InputError:
                await asyncio.sleep(0.05)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._sandbox.closing.set()
        if self._coming_back is not None:
            self._coming_back.cancel()
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises InputError when the address cannot be used."""
    sock = _bound(host, port)
    sock.listen(_BACKLOG)
    return sock


def _bound(host: str, port: int) -> socket.socket:
    """A socket with that address. Raises InputError when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's delay off only for sockets that say they are TCP.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows: SO_REUSEADDR would share a port in use
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        fix = "choose another port, or 0 for any free one"
        raise InputError(f"cannot listen: {error.strerror}", where=f"{host}:{port}", fix=fix) from error
    return sock


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    options: Options | None = None,
    host: str = LOOPBACK,
    port: int = 0,
    *,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serves until interrupted (Ctrl-C returns; SIGTERM ends the process after a clean stop). Port 0 picks one.

    `on_ready` is called with the base URL once requests are answered. Raises InputError when the address cannot be
    used and StateError when the state file cannot.
    """
    with closing(_listen(host, port)) as sock:
        url = _url(sock)
        server = _Server(app(options), lambda: on_ready(url) if on_ready else None)
        try:
            asyncio.run(server.serve(sockets=[sock]))
        except KeyboardInterrupt:  # uvicorn stops cleanly, then raises the signal again
            return


@contextmanager
def embedded(options: Options | None = None) -> Iterator[str]:
    """The base URL of a sandbox in a daemon thread, on a free loopback port; stopped and closed at the end.

    Raises StateError when the state file cannot be used.
    """
    starlette = app(options)
    ready = threading.Event()
    failures: list[BaseException] = []
    with closing(_listen(LOOPBACK, 0)) as sock:
        url = _url(sock)
        server = _Server(starlette, ready.set)

        def run() -> None:
            try:
                asyncio.run(server.serve(sockets=[sock]))
            except BaseException as error:  # noqa: BLE001 (raised again in the thread that waits)
                failures.append(error)
            finally:
                ready.set()

        thread = threading.Thread(target=run, name="sandbox", daemon=True)
        thread.start()
        try:
            if not ready.wait(_START_TIMEOUT_S) or failures:
                raise RuntimeError("the sandbox did not start") from (failures[0] if failures else None)
            yield url
        finally:
            server.should_exit = True
            thread.join()
