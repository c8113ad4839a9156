"""Runs an ASGI app on a real socket, in this process or in a thread. Shared by the sandbox and the webhook receiver.

Prints nothing, configures no logging and, in a thread, touches no signal handler.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from sender.core.errors import InputError

LOOPBACK = "127.0.0.1"
_START_TIMEOUT_S = 10.0
_TICKS_PER_S = 10  # as uvicorn counts them
_DRAIN_POLL_S = 0.005
_CANCELED_TIMEOUT_S = 1.0
_ACCEPT_TURNS = 4  # of the loop, until a connection that asyncio has just accepted is known to uvicorn
BACKLOG = 2048
# Without a handler, logging's last resort prints uvicorn's warnings to stderr. Handlers of the root logger get them.
logging.getLogger("uvicorn").addHandler(logging.NullHandler())


class Server(uvicorn.Server):
    """A uvicorn server that calls `on_ready` once it accepts requests, and ends as soon as it is asked to.

    uvicorn (0.54) looks ten times a second whether it should end, and then waits 0.1 s more for its connections.
    """

    on_ready: Callable[[], None] | None = None
    _wake: Callable[[], object] | None = None  # ends the wait of `main_loop`

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.on_ready is not None:
            self.on_ready()

    def stop(self) -> None:
        """Ask the server to end. From any thread, before it has started and after it has ended, too."""
        self.should_exit = True
        self._end_wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._end_wait()

    def _end_wait(self) -> None:
        if self._wake is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server has ended
                self._wake()

    async def main_loop(self) -> None:
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._wake = lambda: loop.call_soon_threadsafe(asked.set)
        seconds = 0
        while not await self.on_tick(seconds * _TICKS_PER_S):  # it keeps the Date header right
            seconds += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await asked.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for sock in sockets or ():
            sock.close()
        for _ in range(_ACCEPT_TURNS):
            await asyncio.sleep(0)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if not await self._drain(self.config.timeout_graceful_shutdown):
            for task in self.server_state.tasks:
                task.cancel(msg="the server ends")
            await self._drain(_CANCELED_TIMEOUT_S)  # they close their connections
        if not self.force_exit:
            await self.lifespan.shutdown()

    async def _drain(self, timeout_s: float | None) -> bool:
        """Wait until no request is under way and no connection is open. Return False if that takes too long."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._is_busy():  # noqa: ASYNC110 (uvicorn sets no event)
                    await asyncio.sleep(_DRAIN_POLL_S)
        except TimeoutError:
            return False
        return True

    def _is_busy(self) -> bool:
        return bool(self.server_state.connections or self.server_state.tasks) and not self.force_exit


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
        server.stop()
        thread.join()
