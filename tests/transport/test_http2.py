"""HTTP/2, which the plain transport speaks where the provider offers it: carried, and classified by the same steps."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sender.providers.base import Request, Response
from sender.transport.base import MaybeSent, NotSent, TransportFailure
from sender.transport.factory import open_transport
from sender.transport.httpx_transport import HttpxTransport

h2_config = pytest.importorskip("h2.config", reason="the extra `http2` is not installed")
h2_connection = pytest.importorskip("h2.connection")
h2_events = pytest.importorskip("h2.events")

TIMEOUT_S = 10.0
BODY = b"To=%2B12025550100&Body=Hello"


@dataclass
class Provider:
    """A provider that speaks HTTP/2 and HTTP/1.1, as the client chooses; what it has seen."""

    protocols: list[str | None] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


Act = Callable[[Any, int, asyncio.StreamWriter], None]


def creates(connection: Any, stream: int, writer: asyncio.StreamWriter) -> None:
    connection.send_headers(stream, [(":status", "201"), ("content-type", "application/json")])
    connection.send_data(stream, b'{"id":"m1"}', end_stream=True)


def resets(connection: Any, stream: int, writer: asyncio.StreamWriter) -> None:
    connection.reset_stream(stream)


def goes_away(connection: Any, stream: int, writer: asyncio.StreamWriter) -> None:
    connection.close_connection()


def breaks(connection: Any, stream: int, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def says_nothing(connection: Any, stream: int, writer: asyncio.StreamWriter) -> None:
    pass


@asynccontextmanager
async def serving(act: Act, tls: ssl.SSLContext) -> AsyncIterator[tuple[str, Provider]]:
    seen = Provider()
    writers: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        seen.protocols.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        if seen.protocols[-1] != "h2":
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}")
            return
        connection = h2_connection.H2Connection(h2_config.H2Configuration(client_side=False))
        connection.initiate_connection()
        bodies: dict[int, bytes] = {}
        writer.write(connection.data_to_send())
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2_events.DataReceived):
                    bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                elif isinstance(event, h2_events.StreamEnded):
                    seen.bodies.append(bodies.get(event.stream_id, b""))
                    act(connection, event.stream_id, writer)
            writer.write(connection.data_to_send())

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/messages", seen
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("makes its certificate with openssl")
    folder = tmp_path_factory.mktemp("certificate")
    file, key = folder / "certificate.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    return file, key


@pytest.fixture
def tls(monkeypatch: pytest.MonkeyPatch, certificate: tuple[Path, Path]) -> ssl.SSLContext:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def exchange(transport: Any, url: str, **options: Any) -> Response | TransportFailure:
    request = Request("POST", url, (("authorization", "Bearer k"),), BODY)
    try:
        return await transport.send(request, **({"timeout_s": TIMEOUT_S} | options))
    except TransportFailure as failure:
        return failure


@pytest.mark.parametrize(("kind", "protocol"), [("httpx", "h2"), ("fast", None)])
def test_who_speaks_it(tls: ssl.SSLContext, kind: str, protocol: str | None) -> None:
    """The fast transport offers nothing but HTTP/1.1, so a provider with both speaks that."""

    async def scenario() -> None:
        async with serving(creates, tls) as (url, seen):
            transport = open_transport(kind, 4, url)
            answer = await exchange(transport, url)
            await transport.aclose()
            assert isinstance(answer, Response)
            assert answer.status == 201
            assert seen.protocols == [protocol]

    asyncio.run(scenario())


def test_requests_share_a_connection(tls: ssl.SSLContext) -> None:
    async def scenario() -> None:
        async with serving(creates, tls) as (url, seen):
            transport = HttpxTransport(concurrency=8)
            await exchange(transport, url)
            answers = await asyncio.gather(*(exchange(transport, url) for _ in range(8)))
            await transport.aclose()
            assert {one.status for one in answers if isinstance(one, Response)} == {201}
            assert seen.protocols == ["h2"]
            assert seen.bodies == [BODY] * 9

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("act", "timeout_s"),
    [
        pytest.param(resets, TIMEOUT_S, id="the stream is reset"),
        pytest.param(goes_away, TIMEOUT_S, id="the provider goes away"),
        pytest.param(breaks, TIMEOUT_S, id="the connection breaks"),
        pytest.param(says_nothing, 2.0, id="no answer in time"),
    ],
)
def test_after_the_body_it_may_have_been_sent(tls: ssl.SSLContext, act: Act, timeout_s: float) -> None:
    async def scenario() -> None:
        async with serving(act, tls) as (url, seen):
            transport = HttpxTransport(concurrency=1)
            failure = await exchange(transport, url, timeout_s=timeout_s)
            await transport.aclose()
            assert isinstance(failure, MaybeSent)
            assert seen.bodies == [BODY]

    asyncio.run(scenario())


@pytest.mark.parametrize("ticks", [[0.0, 100.0], [0.0, 0.0, 100.0]], ids=["before the headers", "before the body"])
def test_no_body_leaves_after_the_deadline(tls: ssl.SSLContext, ticks: list[float]) -> None:
    times = iter(ticks)

    async def scenario() -> None:
        async with serving(creates, tls) as (url, seen):
            transport = HttpxTransport(concurrency=1, clock=lambda: next(times))
            failure = await exchange(transport, url)
            await transport.aclose()
            assert isinstance(failure, NotSent)
            assert seen.protocols == ["h2"]
            assert seen.bodies == []

    asyncio.run(scenario())
