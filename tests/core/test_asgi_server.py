"""How a server begins and ends in a thread."""

from __future__ import annotations

import asyncio
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from sender.core import asgi_server


async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def running(app: Callable[..., object], grace_s: int | None = None) -> Iterator[http.client.HTTPConnection]:
    config = uvicorn.Config(
        app, ws="none", lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=grace_s
    )  # type: ignore[arg-type]
    with closing(asgi_server.listening_socket("127.0.0.1", 0)) as sock:
        connection, server = http.client.HTTPConnection(*sock.getsockname(), timeout=10), asgi_server.Server(config)
        with closing(connection), asgi_server.in_thread(server, sock, "test"):
            connection.connect()
            while not server.server_state.connections:
                time.sleep(0.001)
            yield connection
        assert not any(thread.name == "test" for thread in threading.enumerate())


@pytest.mark.parametrize("requests", [0, 1])
def test_it_ends_at_once_though_a_connection_is_kept_open(requests: int) -> None:
    with running(answer) as connection:
        for _ in range(requests):
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"ok"
        began = time.monotonic()
    assert time.monotonic() - began < 0.1, "uvicorn alone takes 0.1 s at least, and 0.2 s with a connection"


def test_a_request_under_way_is_answered_first() -> None:
    arrived = threading.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        arrived.set()
        await asyncio.sleep(0.2)
        await answer(scope, receive, send)

    with running(slow, 5) as connection:
        connection.request("GET", "/")
        assert arrived.wait(5)
        ended = time.monotonic()
        connection_answer = threading.Thread(target=lambda: bodies.append(connection.getresponse().read()))
        bodies: list[bytes] = []
        connection_answer.start()
    connection_answer.join(5)
    assert bodies == [b"ok"]
    assert time.monotonic() - ended < 2


def test_a_request_that_takes_longer_than_the_grace_is_cut_short() -> None:
    arrived, cut = threading.Event(), threading.Event()

    async def endless(_scope: Scope, _receive: Receive, _send: Send) -> None:
        arrived.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cut.set()
            raise

    with running(endless, 1) as connection:
        connection.request("GET", "/")
        assert arrived.wait(5)
    assert cut.is_set()


def test_the_date_of_answers_goes_on() -> None:
    dates = set()
    with running(answer) as connection:
        until = time.monotonic() + 10
        while len(dates) < 2:
            assert time.monotonic() < until, dates
            connection.request("GET", "/")
            response = connection.getresponse()
            response.read()
            dates.add(response.headers["date"])
            time.sleep(0.1)


def test_stopping_is_harmless_before_the_start_and_after_the_end() -> None:
    server = asgi_server.Server(uvicorn.Config(answer, lifespan="off", log_config=None))
    server.stop()
    with closing(asgi_server.listening_socket("127.0.0.1", 0)) as sock:
        with asgi_server.in_thread(server, sock, "test"):
            pass
        server.stop()
