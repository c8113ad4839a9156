"""Bytes beyond an answer: a doubled answer on a kept connection never becomes the next request's."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from sender.providers.base import Request
from sender.transport.base import MaybeSent, Transport
from sender.transport.fast_transport import FastTransport
from sender.transport.httpx_transport import HttpxTransport

TRANSPORTS: dict[str, Callable[[], Transport]] = {
    "fast": lambda: FastTransport(concurrency=4),
    "httpx": lambda: HttpxTransport(concurrency=4),
}
Writes = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=TRANSPORTS)
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Transport]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return TRANSPORTS[request.param]


def answer(content: bytes) -> bytes:
    return b"HTTP/1.1 201 X\r\ncontent-length: %d\r\n\r\n%s" % (len(content), content)


def chunked(content: bytes) -> bytes:
    return b"HTTP/1.1 201 X\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)


@asynccontextmanager
async def serving(writes: Writes, context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that gives each request to `writes`; and the number of requests of each connection."""
    connections: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(0)
        mine = len(connections) - 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
                body = await reader.readexactly(length)
                connections[mine] += 1
                await writes(body, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    scheme = "https" if context else "http"
    try:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/", connections
    finally:
        server.close()


async def ask(transport: Transport, url: str, *bodies: bytes, pause_s: float = 0.0) -> list[bytes]:
    """The contents of the answers to one request after another."""
    contents = []
    for body in bodies:
        response = await transport.send(Request("POST", url, (), body), timeout_s=5.0)
        contents.append(response.content)
        await asyncio.sleep(pause_s)
    return contents


async def once(body: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(body))


async def at_once(body: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(2 * answer(body))


async def at_once_in_chunks(body: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(2 * chunked(body))


async def a_moment_later(body: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(body))
    await asyncio.sleep(0.02)
    writer.write(answer(body))


async def half_of_it(body: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(body) + answer(body)[:20])


async def garbage(body: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(body) + b"garbage")


async def three_times(body: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(3 * answer(body))


MORE = [at_once, at_once_in_chunks, half_of_it, garbage, three_times]


@pytest.mark.parametrize("writes", MORE, ids=lambda writes: writes.__name__)
def test_what_came_with_an_answer_is_not_the_next_requests(make: Callable[[], Transport], writes: Writes) -> None:
    async def scenario() -> tuple[list[bytes], list[int]]:
        async with serving(writes) as (url, connections), aclosing(make()) as transport:  # type: ignore[type-var]
            return await ask(transport, url, b"one", b"two", b"three"), connections

    assert asyncio.run(scenario()) == ([b"one", b"two", b"three"], [1, 1, 1])


def test_what_came_while_idle_is_not_the_next_requests(make: Callable[[], Transport]) -> None:
    async def scenario() -> tuple[list[bytes], list[int]]:
        async with serving(a_moment_later) as (url, connections), aclosing(make()) as transport:  # type: ignore[type-var]
            return await ask(transport, url, b"one", b"two", b"three", pause_s=0.1), connections

    assert asyncio.run(scenario()) == ([b"one", b"two", b"three"], [1, 1, 1])


def test_what_came_while_this_process_was_busy_is_not_the_next_requests(make: Callable[[], Transport]) -> None:
    """The bytes are in the socket, and the event loop has not read them before the next request is sent."""

    async def scenario() -> tuple[list[bytes], list[int]]:
        came = asyncio.Event()

        async def writes(body: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(answer(body))
            if body == b"one":
                await asyncio.sleep(0.02)
                writer.write(answer(body))
                came.set()

        async with serving(writes) as (url, connections), aclosing(make()) as transport:  # type: ignore[type-var]
            first = await transport.send(Request("POST", url, (), b"one"), timeout_s=5.0)
            await came.wait()  # this task goes on in the same turn of the loop, before the socket is looked at
            second = await transport.send(Request("POST", url, (), b"two"), timeout_s=5.0)
            return [first.content, second.content], connections

    assert asyncio.run(scenario()) == ([b"one", b"two"], [1, 1])


def test_ordinary_answers_keep_the_connection(make: Callable[[], Transport]) -> None:
    async def scenario() -> list[int]:
        async with serving(once) as (url, connections), aclosing(make()) as transport:  # type: ignore[type-var]
            assert await ask(transport, url, *(b"%d" % n for n in range(20))) == [b"%d" % n for n in range(20)]
            return connections

    assert asyncio.run(scenario()) == [20]


def test_a_distrusted_connection_is_not_used_again(make: Callable[[], Transport]) -> None:
    async def scenario() -> list[int]:
        async with serving(once) as (url, connections), aclosing(make()) as transport:  # type: ignore[type-var]
            response = await transport.send(Request("POST", url, (), b"one"), timeout_s=5.0)
            transport.distrust(response)
            assert await ask(transport, url, b"two", b"three") == [b"two", b"three"]
            return connections

    assert asyncio.run(scenario()) == [1, 2]


def test_distrust_ends_no_request_under_way(make: Callable[[], Transport]) -> None:
    async def scenario() -> bytes:
        async def writes(body: bytes, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.2 if body == b"slow" else 0.0)
            writer.write(answer(body))

        async with serving(writes) as (url, _), aclosing(make()) as transport:  # type: ignore[type-var]
            slow = asyncio.create_task(transport.send(Request("POST", url, (), b"slow"), timeout_s=5.0))
            quick = await transport.send(Request("POST", url, (), b"quick"), timeout_s=5.0)
            transport.distrust(quick)
            return (await slow).content

    assert asyncio.run(scenario()) == b"slow"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *names, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return key, cert


@pytest.mark.parametrize("writes", [*MORE, a_moment_later], ids=lambda writes: writes.__name__)
def test_the_same_with_tls(
    make: Callable[[], Transport], writes: Writes, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, cert = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def scenario() -> list[bytes]:
        async with serving(writes, context) as (url, _), aclosing(make()) as transport:  # type: ignore[type-var]
            return await ask(transport, url, b"one", b"two", b"three", pause_s=0.1)

    assert asyncio.run(scenario()) == [b"one", b"two", b"three"]


def test_with_tls_ordinary_answers_keep_the_connection(
    make: Callable[[], Transport], certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, cert = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def scenario() -> list[int]:
        async with serving(once, context) as (url, connections), aclosing(make()) as transport:  # type: ignore[type-var]
            await ask(transport, url, *(b"%d" % n for n in range(10)))
            return connections

    assert asyncio.run(scenario()) == [10]


def test_an_answer_to_nothing_ends_what_comes_after_it_only(make: Callable[[], Transport]) -> None:
    """Where the doubled answer is read as the next one after all, the connection says so when the right one comes."""

    async def scenario() -> list[object]:
        async def writes(body: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(answer(b"stale" if body == b"two" else body))
            if body == b"two":
                await writer.drain()
                await asyncio.sleep(0.02)
                writer.write(answer(body))

        async with serving(writes) as (url, _), aclosing(make()) as transport:  # type: ignore[type-var]
            contents: list[object] = []
            for body in (b"one", b"two", b"three"):
                try:
                    contents += await ask(transport, url, body, pause_s=0.1)
                except MaybeSent:
                    contents.append(None)
            return contents

    assert asyncio.run(scenario()) == [b"one", b"stale", b"three"]
