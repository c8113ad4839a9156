"""What each failure on a real socket proves about the request, and that no failure tells a secret."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import shutil
import socket
import ssl
import struct
import subprocess
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from sender.core.errors import CredentialsError
from sender.providers.base import Request, Response
from sender.transport import fast_transport, httpx_transport
from sender.transport.base import MAX_ANSWER_BYTES, MaybeSent, NotSent, Transport, TransportFailure
from sender.transport.factory import open_transport
from sender.transport.fast_transport import FastTransport
from sender.transport.httpx_transport import HttpxTransport

SECRET = "k3y-that-must-not-show"
BODY = b"To=%2B12025550100&Body=Hello"
TIMEOUT_S = 10.0  # for what must not time out


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT_"):
            monkeypatch.delenv(name)


TRANSPORTS: dict[str, Any] = {"fast": FastTransport, "httpx": HttpxTransport}
under_test: list[Any] = []  # every test here runs over both transports, unless it names one


@pytest.fixture(params=TRANSPORTS, autouse=True)
def kind(request: pytest.FixtureRequest) -> str:
    under_test[:] = [TRANSPORTS[request.param]]
    return str(request.param)


only_httpx = pytest.mark.parametrize("kind", ["httpx"], indirect=True)
only_fast = pytest.mark.parametrize("kind", ["fast"], indirect=True)


@dataclass
class Seen:
    """What a server saw."""

    connections: int = 0
    open_now: int = 0
    open_most: int = 0
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    read: asyncio.Event = field(default_factory=asyncio.Event)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Seen], Awaitable[None]]


async def read_request(reader: asyncio.StreamReader, seen: Seen) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    seen.heads.append(head)
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    seen.bodies.append(await reader.readexactly(length))
    seen.read.set()


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, Seen]]:
    """A server on a free port of loopback that runs `handler` for each connection, and what it sees."""
    seen = Seen()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        seen.connected.set()
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer, seen)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], seen
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def post(port: int, *, scheme: str = "http", host: str = "127.0.0.1") -> Request:
    return Request(
        "POST",
        f"{scheme}://{host}:{port}/Messages.json?key={SECRET}",
        (("Authorization", f"Bearer {SECRET}"), ("Content-Type", "application/x-www-form-urlencoded")),
        BODY,
    )


@asynccontextmanager
async def transporting(concurrency: int = 4, **options: Any) -> AsyncIterator[Transport]:
    gc.freeze()  # so that only what is made here is looked through
    transport = under_test[0](concurrency=concurrency, **options)
    try:
        yield transport
    finally:
        await transport.aclose()
        gc.collect()  # a socket that was forgotten warns here, and a warning is an error


async def send(
    request: Request, *, timeout_s: float = TIMEOUT_S, send_by_s: float = math.inf, **options: Any
) -> Response | TransportFailure:
    """What one request brings; a failure is looked through for secrets."""
    async with transporting(**options) as transport:
        try:
            return await transport.send(request, timeout_s=timeout_s, send_by_s=send_by_s)
        except TransportFailure as failure:
            told = "".join(traceback.format_exception(failure)) + repr(failure)
            assert SECRET not in told
            assert "2025550100" not in told
            return failure


def run(scenario: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(scenario)


def answering(answer: bytes, *, then: str = "wait") -> Handler:
    """Reads one request after the other and answers each; then keeps the connection, closes or resets it."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        while True:
            await read_request(reader, seen)
            writer.write(answer)
            await writer.drain()
            if then == "close":
                return writer.close()
            if then == "reset":
                linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return writer.transport.abort()

    return handler


def whole(status: str, content: bytes, *headers: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status}".encode(), *headers, b"Content-Length: %d" % len(content), b"", content]
    return b"\r\n".join(lines)


CREATED = whole("201 Created", b'{"sid": "SM1"}', b"Content-Type: application/json")


async def closes_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
    writer.close()


async def never_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
    await read_request(reader, seen)
    await asyncio.sleep(60)


async def never_reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
    await asyncio.sleep(60)


async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
    await read_request(reader, seen)
    writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


# Answers


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(
            CREATED,
            Response(201, {"content-type": "application/json", "content-length": "14"}, b'{"sid": "SM1"}'),
            id="created",
        ),
        pytest.param(
            whole("302 Found", b"", b"Location: https://elsewhere.invalid/"),
            Response(302, {"location": "https://elsewhere.invalid/", "content-length": "0"}, b""),
            id="a redirect is not followed",
        ),
        pytest.param(
            whole("302 Found", b"", b"Location: http://[bad"),
            Response(302, {"location": "http://[bad", "content-length": "0"}, b""),
            id="nor looked at",
        ),
        pytest.param(
            whole("429 Too Many Requests", b"", b"RETRY-AFTER: 3", b"X-A: 1", b"x-a: 2"),
            Response(429, {"retry-after": "3", "x-a": "1, 2", "content-length": "0"}, b""),
            id="header names are lower-case",
        ),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\n" + whole("201 Created", b"{}"),
            Response(201, {"content-length": "2"}, b"{}"),
            id="an interim answer is not the answer",
        ),
        pytest.param(
            b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            Response(201, {"transfer-encoding": "chunked"}, b"{}"),
            id="chunked",
        ),
        pytest.param(
            whole("500 Internal Server Error", b"\x1f\x8b\x08 not gzip", b"Content-Encoding: gzip"),
            Response(500, {"content-encoding": "gzip", "content-length": "12"}, b"\x1f\x8b\x08 not gzip"),
            id="the content is never unfolded",
        ),
    ],
)
def test_an_answer_is_brought_as_it_is(answer: bytes, expected: Response) -> None:
    async def scenario() -> None:
        async with serving(answering(answer)) as (port, seen):
            assert await send(post(port)) == expected
            assert seen.bodies == [BODY]

    run(scenario())


def test_the_request_arrives_as_it_was_written() -> None:
    async def scenario() -> None:
        async with serving(answering(CREATED)) as (port, seen):
            await send(post(port))
            line, *headers = seen.heads[0].decode().rstrip().split("\r\n")
            assert line == f"POST /Messages.json?key={SECRET} HTTP/1.1"
            assert sorted(header.lower() for header in headers) == [
                "accept-encoding: identity",
                f"authorization: bearer {SECRET}",
                f"content-length: {len(BODY)}",
                "content-type: application/x-www-form-urlencoded",
                f"host: 127.0.0.1:{port}",
                "user-agent: campaign-sender",
            ]

    run(scenario())


@pytest.mark.parametrize(
    ("size", "truncated"),
    [(MAX_ANSWER_BYTES, False), (MAX_ANSWER_BYTES + 1, True), (5 * MAX_ANSWER_BYTES, True)],
    ids=["1 MiB", "one byte more", "5 MiB"],
)
def test_an_answer_is_cut_at_the_cap_and_its_connection_closed(size: int, truncated: bool) -> None:
    async def scenario() -> None:
        async with (
            serving(answering(whole("200 OK", b"x" * size))) as (port, seen),
            transporting() as transport,
        ):
            for _ in range(2):
                response = await transport.send(post(port), timeout_s=TIMEOUT_S)
                assert len(response.content) == MAX_ANSWER_BYTES
                assert response.truncated is truncated
            assert seen.connections == (2 if truncated else 1)

    run(scenario())


# Failures


@pytest.mark.parametrize(
    ("handler", "timeout_s", "says"),
    [
        pytest.param(never_answers, 0.3, "no whole answer in time", id="no answer"),
        pytest.param(drips, 0.3, "no whole answer in time", id="a slow drip past the deadline"),
        pytest.param(answering(b"", then="reset"), TIMEOUT_S, "the connection", id="reset after reading"),
        pytest.param(answering(b"", then="close"), TIMEOUT_S, "closed", id="closed after reading"),
        pytest.param(closes_at_once, TIMEOUT_S, "the connection", id="closed without reading"),
        pytest.param(answering(b"HTTP/1.1 20", then="close"), TIMEOUT_S, "closed", id="half a status line"),
        pytest.param(answering(CREATED[:-3], then="close"), TIMEOUT_S, "closed", id="half a body"),
        pytest.param(answering(CREATED[:-3], then="reset"), TIMEOUT_S, "the connection", id="reset in the body"),
        pytest.param(answering(b"SSH-2.0-OpenSSH_9.6\r\n", then="close"), TIMEOUT_S, "HTTP", id="not HTTP"),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, then="close"), TIMEOUT_S, "HTTP", id="endless headers"
        ),
    ],
)
def test_it_may_have_been_sent_once_the_body_could_leave(handler: Handler, timeout_s: float, says: str) -> None:
    async def scenario() -> None:
        async with serving(handler) as (port, _):
            failure = await send(post(port), timeout_s=timeout_s)
            assert isinstance(failure, MaybeSent)
            assert says in str(failure)
            assert "it may have been sent" in str(failure)

    run(scenario())


def test_a_refused_connection_proves_that_nothing_was_sent() -> None:
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port
        failure = run(send(post(placeholder.getsockname()[1])))
    assert isinstance(failure, NotSent)
    assert "no connection" in str(failure)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        pytest.param(
            post(443, scheme="https", host="nonexistent.invalid"), "no connection", id="a name that does not resolve"
        ),
        pytest.param(post(80, host="nonexistent.invalid"), "plain http may not leave", id="plain http elsewhere"),
        pytest.param(post(80, scheme="ftp"), "neither http nor https", id="another protocol"),
        pytest.param(Request("POST", "http://127.0.0.1:port/", (), BODY), "URL is not valid", id="no number as port"),
        pytest.param(Request("POST", "http://[::1", (), BODY), "URL is not valid", id="not a URL"),
    ],
)
def test_what_never_gets_a_connection_was_not_sent(request_: Request, says: str) -> None:
    failure = run(send(request_))
    assert isinstance(failure, NotSent)
    assert says in str(failure)
    assert "nothing was sent" in str(failure)


@pytest.mark.parametrize("content", [BODY, b""], ids=["POST", "GET"])
def test_a_header_that_is_not_http_is_refused_before_anything_leaves(content: bytes) -> None:
    async def scenario() -> None:
        async with serving(answering(CREATED)) as (port, seen):
            headers = (("Authorization", f"Bearer {SECRET}\n"),)
            request = Request("POST" if content else "GET", f"http://127.0.0.1:{port}/", headers, content)
            failure = await send(request)
            assert isinstance(failure, NotSent)
            assert "not valid HTTP" in str(failure)
            assert seen.heads == []

    run(scenario())


def test_tls_to_a_plain_port_was_not_sent() -> None:
    async def answers_in_plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        seen.heads.append(await reader.read(1000))
        writer.write(whole("400 Bad Request", b""))
        await writer.drain()

    async def scenario() -> None:
        async with serving(answers_in_plain) as (port, seen):
            failure = await send(post(port, scheme="https"))
            assert isinstance(failure, NotSent)
            assert "SSL" in str(failure)
            assert seen.heads[0].startswith(b"\x16\x03"), "the TLS greeting and nothing else"
            assert SECRET.encode() not in seen.heads[0]

    run(scenario())


def test_the_deadline_in_a_tls_handshake_proves_that_nothing_was_sent() -> None:
    async def scenario() -> None:
        async with serving(never_reads) as (port, _):
            failure = await send(post(port, scheme="https"), timeout_s=0.3)
            assert isinstance(failure, NotSent)
            assert "in time" in str(failure)

    run(scenario())


@pytest.mark.parametrize(
    ("kind", "ticks", "heads"),
    [
        pytest.param("fast", [0.0, 100.0], 0, id="fast: before the request"),
        pytest.param("httpx", [0.0, 100.0], 0, id="httpx: before the headers"),
        pytest.param("httpx", [0.0, 0.0, 100.0], 1, id="httpx: between headers and body"),
    ],
    indirect=["kind"],
)
def test_no_body_leaves_after_the_deadline_though_the_timer_has_not_fired(ticks: list[float], heads: int) -> None:
    """A process that is stopped and woken finds its sockets ready before its timers."""
    times = iter(ticks)

    async def scenario() -> None:
        async with serving(answering(CREATED)) as (port, seen):
            failure = await send(post(port), timeout_s=TIMEOUT_S, clock=lambda: next(times))
            assert isinstance(failure, NotSent)
            await asyncio.sleep(0.05)  # whatever left would have come by now
            assert (len(seen.heads), seen.bodies) == (heads, [])

    run(scenario())


# Connections


def test_a_connection_is_used_again_and_one_that_the_server_closed_is_not() -> None:
    closed = asyncio.Event()

    async def answers_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        for _ in range(2):
            await read_request(reader, seen)
            writer.write(CREATED)
        await writer.drain()
        writer.close()
        closed.set()

    async def scenario() -> None:
        async with serving(answers_twice) as (port, seen), transporting() as transport:
            for expected in (1, 1, 2):
                response = await transport.send(post(port), timeout_s=TIMEOUT_S)
                assert response.status == 201
                assert seen.connections == expected
                if len(seen.bodies) == 2:
                    await closed.wait()
                    await asyncio.sleep(0.05)  # the end of the connection reaches us
            assert seen.bodies == [BODY] * 3

    run(scenario())


@pytest.mark.parametrize("quiet_s", [0.0, 0.3], ids=["at once", "after the limit"])
def test_a_connection_that_was_idle_too_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch, quiet_s: float) -> None:
    """Ours is to go before the provider's, which could close it just as we write."""
    for module in (fast_transport, httpx_transport):
        monkeypatch.setattr(module, "KEEPALIVE_S", 0.2 if quiet_s else 60.0)

    async def scenario() -> None:
        async with serving(answering(CREATED)) as (port, seen), transporting() as transport:
            await transport.send(post(port), timeout_s=TIMEOUT_S)
            await asyncio.sleep(quiet_s)
            await transport.send(post(port), timeout_s=TIMEOUT_S)
            assert seen.connections == (2 if quiet_s else 1)

    run(scenario())


@only_fast
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_warmed_connections_carry_the_first_requests(
    monkeypatch: pytest.MonkeyPatch, certificate: tuple[Path, Path], secure: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*certificate)
    scheme = "https" if secure else "http"

    async def scenario() -> None:
        async with serving(answering(CREATED), tls if secure else None) as (port, seen), transporting() as transport:
            await transport.warm(f"{scheme}://127.0.0.1:{port}/anywhere", 3)
            while seen.connections < 3:  # noqa: ASYNC110 (the server notes them a moment later)
                await asyncio.sleep(0.01)
            assert seen.heads == [], "no request has left"
            await asyncio.gather(*(transport.send(post(port, scheme=scheme), timeout_s=TIMEOUT_S) for _ in range(3)))
            assert (seen.connections, len(seen.bodies)) == (3, 3)

    run(scenario())


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "ftp://127.0.0.1:{port}", "http://[::1"])
def test_warming_what_cannot_be_reached_is_no_failure(url: str) -> None:
    async def scenario() -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            async with transporting() as transport:
                await transport.warm(url.format(port=closed.getsockname()[1]), 2)

    run(scenario())


@only_fast
def test_a_connection_that_is_closed_at_once_carries_nothing(
    monkeypatch: pytest.MonkeyPatch, certificate: tuple[Path, Path]
) -> None:
    """As a balancer does that has too many: its goodbye comes along with the end of the TLS handshake."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*certificate)
    tls.maximum_version = ssl.TLSVersion.TLSv1_2  # in which the server says the last word
    came: list[bytes] = []

    class Balancer(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport.close()

        def data_received(self, data: bytes) -> None:
            came.append(data)

    async def scenario() -> None:
        server = await asyncio.get_running_loop().create_server(Balancer, "127.0.0.1", 0, ssl=tls)
        async with transporting() as transport:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            await transport.warm(url, 2)
            failure = await send(post(server.sockets[0].getsockname()[1], scheme="https"))
            assert isinstance(failure, NotSent), failure
            assert str(failure) == "no connection (it was closed at once); nothing was sent"
        server.close()
        await server.wait_closed()
        assert came == []

    run(scenario())


def test_connecting_has_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (fast_transport, httpx_transport):
        monkeypatch.setattr(module, "CONNECT_TIMEOUT_S", 0.2)

    async def scenario() -> None:
        async with serving(never_reads) as (port, _):  # takes the connection, and never answers TLS
            begun = asyncio.get_running_loop().time()
            failure = await send(post(port, scheme="https"), timeout_s=60.0)
            assert isinstance(failure, NotSent)
            assert "no connection in time" in str(failure)
            assert asyncio.get_running_loop().time() - begun < 30

    run(scenario())


@pytest.mark.parametrize(
    ("first_s", "second_s", "answer_s", "expected"),
    [
        pytest.param(60.0, 0.2, None, MaybeSent, id="shorter than the one before"),
        pytest.param(1.0, 60.0, 1.5, Response, id="longer than the one before"),
        pytest.param(1.0, 1.0, None, MaybeSent, id="as long"),
    ],
)
def test_each_request_on_a_connection_has_its_own_deadline(
    first_s: float, second_s: float, answer_s: float | None, expected: type
) -> None:
    async def answers_the_second_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        await read_request(reader, seen)
        writer.write(CREATED)
        await read_request(reader, seen)
        await asyncio.sleep(600 if answer_s is None else answer_s)
        writer.write(CREATED)

    async def scenario() -> None:
        async with serving(answers_the_second_late) as (port, seen), transporting() as transport:
            await transport.send(post(port), timeout_s=first_s)
            async with asyncio.timeout(30):
                try:
                    result: object = await transport.send(post(port), timeout_s=second_s)
                except TransportFailure as failure:
                    result = failure
            assert isinstance(result, expected)
            assert seen.connections == 1

    run(scenario())


def test_a_used_connection_that_breaks_under_the_request_leaves_it_in_doubt() -> None:
    async def answers_once_then_breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        await read_request(reader, seen)
        writer.write(CREATED)
        await read_request(reader, seen)

    async def scenario() -> None:
        async with serving(answers_once_then_breaks) as (port, seen), transporting() as transport:
            await transport.send(post(port), timeout_s=TIMEOUT_S)
            with pytest.raises(MaybeSent):
                await transport.send(post(port), timeout_s=TIMEOUT_S)
            assert seen.connections == 1
            assert seen.bodies == [BODY, BODY]

    run(scenario())


def test_no_more_requests_at_one_time_than_allowed() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        while True:
            await read_request(reader, seen)
            seen.open_now += 1
            seen.open_most = max(seen.open_most, seen.open_now)
            await asyncio.sleep(0.02)
            seen.open_now -= 1
            writer.write(CREATED)

    async def scenario() -> None:
        async with serving(slow) as (port, seen), transporting(concurrency=3) as transport:
            await asyncio.gather(*(transport.send(post(port), timeout_s=TIMEOUT_S) for _ in range(12)))
            assert seen.open_most == 3
            assert seen.connections == 3

    run(scenario())


def test_waiting_for_a_free_place_past_the_deadline_was_not_sent() -> None:
    async def scenario() -> None:
        async with serving(never_answers) as (port, seen), transporting(concurrency=1) as transport:
            first = asyncio.create_task(transport.send(post(port), timeout_s=0.5))
            await seen.read.wait()
            with pytest.raises(NotSent):
                await transport.send(post(port), timeout_s=0.1)
            with pytest.raises(MaybeSent):
                await first
            assert len(seen.bodies) == 1

    run(scenario())


@pytest.mark.parametrize(
    ("scheme", "handler", "proof"),
    [
        pytest.param("https", never_reads, NotSent, id="in the TLS handshake"),
        pytest.param("http", never_answers, MaybeSent, id="waiting for the answer"),
        pytest.param("http", drips, MaybeSent, id="in the answer"),
    ],
)
def test_a_cancelled_request_says_what_is_proved(scheme: str, handler: Handler, proof: type[TransportFailure]) -> None:
    async def scenario() -> None:
        async with serving(handler) as (port, seen), transporting(concurrency=1) as transport:
            causes: list[BaseException | None] = []

            async def one() -> None:
                try:
                    await transport.send(post(port, scheme=scheme), timeout_s=TIMEOUT_S)
                except asyncio.CancelledError as cancelled:
                    causes.append(cancelled.__cause__)
                    raise

            sending, waiting = asyncio.create_task(one()), asyncio.create_task(one())
            await (seen.read if scheme == "http" else seen.connected).wait()
            await asyncio.sleep(0.05)  # into the handshake, or into the answer
            for task in (waiting, sending):
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()
            assert [type(cause) for cause in causes] == [NotSent, proof]

    run(scenario())


def test_cancelled_requests_do_not_use_up_places() -> None:
    async def scenario() -> None:
        async with serving(answering(CREATED)) as (port, _), transporting(concurrency=2) as transport:
            for steps in range(60):
                tasks = [asyncio.create_task(transport.send(post(port), timeout_s=TIMEOUT_S)) for _ in range(4)]
                for _ in range(steps):
                    await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            answers = [transport.send(post(port), timeout_s=TIMEOUT_S) for _ in range(4)]
            assert [response.status for response in await asyncio.gather(*answers)] == [201] * 4

    run(scenario())


# The environment


async def refuses_connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
    seen.heads.append(await reader.readuntil(b"\r\n\r\n"))
    writer.write(whole("407 Proxy Authentication Required", b""))
    await writer.drain()


@pytest.mark.parametrize(
    ("proxy", "timeout_s", "says"),
    [
        pytest.param(refuses_connect, TIMEOUT_S, "the proxy refused", id="refused"),
        pytest.param(never_answers, 0.3, "in time", id="no answer to CONNECT"),
        pytest.param(answering(b"", then="close"), TIMEOUT_S, "closed", id="closed"),
        pytest.param(answering(whole("200 OK", b"")[:-2] + b"\r\nplain", then="close"), 2.0, "", id="no TLS behind it"),
    ],
)
def test_without_a_tunnel_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch, proxy: Handler, timeout_s: float, says: str
) -> None:
    async def scenario() -> None:
        async with serving(proxy) as (port, seen):
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:{SECRET}@127.0.0.1:{port}")
            failure = await send(post(443, scheme="https", host="provider.invalid"), timeout_s=timeout_s)
            assert isinstance(failure, NotSent)
            assert says in str(failure)
            assert seen.heads[0].startswith(b"CONNECT provider.invalid:443 ")

    run(scenario())


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        pytest.param("HTTPS_PROXY", f"socks5://user:{SECRET}@127.0.0.1:1080", "proxy", id="SOCKS"),
        pytest.param("HTTPS_PROXY", f"gopher://user:{SECRET}@127.0.0.1", "proxy", id="a scheme of no proxy"),
        pytest.param("HTTP_PROXY", f"http://user:{SECRET}@127.0.0.1:port", "proxy", id="no number as port"),
        pytest.param("SSL_CERT_FILE", "no-such-file.pem", "certificates", id="no such certificates"),
    ],
)
def test_an_environment_that_cannot_be_used_is_told_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(CredentialsError) as caught:
        under_test[0](concurrency=1)
    assert says in caught.value.what
    assert name in str(caught.value.where)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("makes its certificate with openssl")
    directory = tmp_path_factory.mktemp("certificate")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.mark.parametrize(
    ("trusted", "host", "says"),
    [
        pytest.param(True, "127.0.0.1", None, id="trusted through SSL_CERT_FILE"),
        pytest.param(False, "127.0.0.1", "self-signed certificate", id="not trusted"),
        pytest.param(True, "localhost", "not valid for 'localhost'", id="another host's certificate"),
    ],
)
def test_certificates_are_verified(
    monkeypatch: pytest.MonkeyPatch, certificate: tuple[Path, Path], trusted: bool, host: str, says: str | None
) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*certificate)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))

    async def scenario() -> None:
        async with serving(answering(CREATED), tls) as (port, seen):
            result = await send(post(port, scheme="https", host=host))
            if says is None:
                assert isinstance(result, Response)
                assert seen.bodies == [BODY]
            else:
                assert isinstance(result, NotSent)
                assert says in str(result).replace("self signed", "self-signed").replace("Hostname mismatch, ", "")
                assert seen.bodies == []

    run(scenario())


@pytest.mark.parametrize("kind", ["fast", "httpx"])
def test_certificates_are_not_read_for_plain_http_and_then_nobody_is_trusted(
    monkeypatch: pytest.MonkeyPatch, certificate: tuple[Path, Path], kind: str
) -> None:
    """Reading them takes a fifth of a small run on the sandbox."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*certificate)
    monkeypatch.setenv("SSL_CERT_FILE", "no-such-file.pem")
    with pytest.raises(CredentialsError):
        open_transport(kind, 1, "https://provider.example")

    async def scenario() -> None:
        async with serving(answering(CREATED)) as (port, seen):
            transport = open_transport(kind, 1, f"http://127.0.0.1:{port}")
            assert (await transport.send(post(port), timeout_s=TIMEOUT_S)).status == 201
            assert len(seen.bodies) == 1
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        async with serving(answering(CREATED), tls) as (port, seen):
            with pytest.raises(NotSent, match=r"self.signed certificate"):
                await transport.send(post(port, scheme="https"), timeout_s=TIMEOUT_S)
            assert seen.bodies == []
        await transport.aclose()

    run(scenario())


# The seam for tests: a transport that tells no steps, so the kind of exception decides


@only_httpx
@pytest.mark.parametrize(
    ("error", "proof"),
    [
        (httpx.ConnectError("refused"), NotSent),
        (httpx.ConnectTimeout("slow"), NotSent),
        (httpx.PoolTimeout("full"), NotSent),
        (httpx.ProxyError("407"), NotSent),
        (httpx.UnsupportedProtocol("ftp"), NotSent),
        (httpx.LocalProtocolError("header"), NotSent),
        (httpx.ReadError("reset"), MaybeSent),
        (httpx.ReadTimeout("slow"), MaybeSent),
        (httpx.WriteError("reset"), MaybeSent),
        (httpx.WriteTimeout("slow"), MaybeSent),
        (httpx.CloseError("reset"), MaybeSent),
        (httpx.RemoteProtocolError("closed"), MaybeSent),
        (httpx.DecodingError("gzip"), MaybeSent),
        (OSError(5, "an error that no one maps"), MaybeSent),
        (RuntimeError("a bug"), MaybeSent),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_kind_of_exception_decides_where_no_steps_are_told(error: Exception, proof: type[TransportFailure]) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    result = run(send(post(1), transport=httpx.MockTransport(fail)))
    assert type(result) is proof


@only_httpx
def test_a_mock_transport_replaces_the_wire() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.content == BODY
        return httpx.Response(201, headers={"X-Request-Id": "7"}, json={"sid": "SM1"})

    result = run(send(post(1), transport=httpx.MockTransport(answer)))
    assert isinstance(result, Response)
    assert (result.status, result.content, result.headers["x-request-id"]) == (201, b'{"sid":"SM1"}', "7")
