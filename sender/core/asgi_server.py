"""Runs an ASGI app on a real socket, in this process or in a thread. Shared by the sandbox and the webhook receiver.

Prints nothing, configures no logging and, in a thread, touches no signal handler.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from sender.core.errors import InputError

LOOPBACK = "127.0.0.1"
_START_TIMEOUT_S = 10.0
BACKLOG = 2048
# Without a handler, logging's last resort prints uvicorn's warnings to stderr. Handlers of the root logger get them.
logging.getLogger("uvicorn").addHandler(logging.NullHandler())


class Server(uvicorn.Server):
    """A uvicorn server that calls `on_ready` once it accepts requests."""

    on_ready: Callable[[], None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.on_ready is not None:
            self.on_ready()


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address (port 0: any free port). Raises InputError if it cannot be used."""
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
        fix = "choose another port, or 0 for any free port"
        raise InputError(f"cannot listen: {error.strerror}", where=f"{host}:{port}", fix=fix) from error
    return sock


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket (port 0: any free port). Raises InputError if the address cannot be used."""
    sock = bound_socket(host, port)
    sock.listen(BACKLOG)
    return sock


def base_url(sock: socket.socket) -> str:
    """Return the URL of a listening socket, without a slash at its end."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(server: Server, sock: socket.socket) -> None:
    """Serve until interrupted: Ctrl-C returns, SIGTERM ends the process, both after a clean stop."""
    try:
        asyncio.run(server.serve(sockets=[sock]))
    except KeyboardInterrupt:  # uvicorn stops cleanly, then raises the signal again
        return


@contextmanager
def in_thread(server: Server, sock: socket.socket, name: str) -> Iterator[None]:
    """Serve in a daemon thread called `name`, stopped at the end. Raises RuntimeError if it does not start."""
    ready = threading.Event()
    failures: list[BaseException] = []
    server.on_ready = ready.set

    def run() -> None:
        try:
            asyncio.run(server.serve(sockets=[sock]))
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that waits)
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        if not ready.wait(_START_TIMEOUT_S) or failures:
            raise RuntimeError(f"the {name} did not start") from (failures[0] if failures else None)
        yield
    finally:
        server.should_exit = True
        thread.join()
