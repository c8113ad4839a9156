"""Runs the sandbox on a real socket: `serve` in a process of its own, `embedded` in a thread of this one.

Loopback by default. Prints nothing, configures no logging and, in a thread, touches no signal handler.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import cast

import uvicorn
from starlette.applications import Starlette

from sender.core import asgi_server
from sender.core.asgi_server import LOOPBACK, base_url, listening_socket
from sender.core.bounded_http import BoundedProtocol, connections_at_most
from sender.core.errors import InputError
from sender.sandbox.app import app
from sender.sandbox.network_faults import reset
from sender.sandbox.simulator import Options, Sandbox


class _RequestProtocol(BoundedProtocol):
    """The HTTP protocol that also hands each request its connection, for answers that HTTP cannot express."""

    most_connections = connections_at_most(4_000)  # a run may use a thousand
    first_byte_s = 60.0  # a run opens connections before it needs them

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _SandboxServer(asgi_server.Server):
    """Refuses connections during an outage, and ends silent answers before it waits for open requests."""

    def __init__(self, starlette: Starlette) -> None:
        config = uvicorn.Config(
            starlette,
            http=_RequestProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        super().__init__(config)
        self._sandbox: Sandbox = starlette.state.sandbox
        self._sandbox.start_outage = self._start_outage
        self._recovery: asyncio.Task[None] | None = None

    def _start_outage(self, seconds: float) -> None:
        """Reset every connection and refuse new ones for `seconds`. One outage at a time."""
        if self._recovery is not None or self.should_exit:
            return
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            reset(cast("asyncio.Transport", cast("_RequestProtocol", connection).app_state["transport"]))
        self._recovery = asyncio.create_task(self._recover(host, port, seconds))

    async def _recover(self, host: str, port: int, seconds: float) -> None:
        sock = await self._rebind(host, port)  # bound but not listening, it keeps the port and refuses
        await asyncio.sleep(seconds)

        def connection() -> asyncio.Protocol:
            return self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )

        self.servers = [
            await asyncio.get_running_loop().create_server(connection, sock=sock, backlog=asgi_server.BACKLOG)
        ]
        self._recovery = None

    @staticmethod
    async def _rebind(host: str, port: int) -> socket.socket:
        while True:  # a client's socket may hold the port for a moment
            try:
                return asgi_server.bound_socket(host, port)
            except InputError:
                await asyncio.sleep(0.05)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._sandbox.closing.set()
        if self._recovery is not None:
            self._recovery.cancel()
        await super().shutdown(sockets)


def serve(
    options: Options | None = None,
    host: str = LOOPBACK,
    port: int = 0,
    *,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until interrupted (Ctrl-C returns; SIGTERM ends the process after a clean stop). Port 0 is any free port.

    `on_ready` is called with the base URL once requests are answered. Raises InputError if the address cannot be
    used, StateError if the state file cannot.
    """
    with closing(listening_socket(host, port)) as sock:
        url = base_url(sock)
        server = _SandboxServer(app(options))
        server.on_ready = (lambda: on_ready(url)) if on_ready else None
        asgi_server.serve(server, sock)


@contextmanager
def embedded(options: Options | None = None) -> Iterator[str]:
    """Yield the base URL of a sandbox in a daemon thread, on a free loopback port; stopped and closed at the end.

    Raises StateError if the state file cannot be used.
    """
    starlette = app(options)
    with (
        closing(listening_socket(LOOPBACK, 0)) as sock,
        asgi_server.in_thread(_SandboxServer(starlette), sock, "sandbox"),
    ):
        yield base_url(sock)
