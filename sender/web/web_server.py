"""The live page on a socket. Prints nothing; touches no signal handler but while it serves in the foreground."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from sender.core import asgi_server
from sender.core.asgi_server import LOOPBACK, listening_socket
from sender.core.errors import InputError
from sender.core.loopback import is_loopback_host
from sender.state.open import open_state
from sender.web.access import Access
from sender.web.live_page import LivePage, make_app

DEFAULT_PORT = 8027
_DRAIN_S = 3  # whoever watches leaves within a second


@dataclass(frozen=True, slots=True)
class WebOptions:
    """What the page shows and allows.

    `names` are the hosts by which browsers reach it besides this machine's own, through a proxy with TLS; another
    address than loopback needs one. Without `people`, it shows no number, no text, and nothing that a provider wrote.
    `read_only` leaves out pause, resume and close. `env` has the credentials with which a close takes scheduled
    messages back (None: the process's environment).
    """

    host: str = LOOPBACK
    port: int = DEFAULT_PORT
    names: tuple[str, ...] = ()
    people: bool = False
    read_only: bool = False
    env: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class WebPage:
    """A page that is served: `url` is its address, and `open_url` the one that admits whoever opens it."""

    url: str
    open_url: str = field(repr=False)


@contextmanager
def open_web(where: str | Path, options: WebOptions | None = None) -> Iterator[WebPage]:
    """Serve the page of the state at `where` in a thread; stop at the end. Raises InputError and StateError."""
    with _open(where, options or WebOptions()) as (server, sock, page), asgi_server.in_thread(server, sock, "page"):
        yield page


def serve(where: str | Path, options: WebOptions, on_ready: Callable[[WebPage], None]) -> None:
    """Serve the page until interrupted; `on_ready` gets it once it answers. Raises InputError and StateError."""
    with _open(where, options) as (server, sock, page):
        server.on_ready = lambda: on_ready(page)
        asgi_server.serve(server, sock)


@contextmanager
def _open(where: str | Path, options: WebOptions) -> Iterator[tuple[asgi_server.Server, socket.socket, WebPage]]:
    if not is_loopback_host(options.host) and not options.names:
        raise InputError(
            "the page would be reachable from the network",
            where=f"--host {options.host}",
            fix="put a proxy with TLS in front, and name the host that browsers use with --name; or leave out --host"
            " and use `ssh -L` (docs/web.md)",
        )
    with (
        open_state(where, create=False, read_only=True) as state,
        closing(listening_socket(options.host, options.port)) as sock,
    ):
        access = Access(sock.getsockname()[1], options.names)
        url = asgi_server.base_url(sock)
        if options.names:
            url = f"https://{options.names[0]}"
        live = LivePage(state, access, people=options.people, read_only=options.read_only, env=options.env)
        config = uvicorn.Config(
            make_app(live, access),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_DRAIN_S,
        )
        server = asgi_server.Server(config)
        live.watcher.is_ending = lambda: server.should_exit
        yield server, sock, WebPage(url, f"{url}/?token={access.token}")
