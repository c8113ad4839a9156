"""What a proxy gets to see: never a credential, never a request to this machine. By a real proxy that records."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sender.providers.base import Request, Response
from sender.transport.base import NotSent, Transport, TransportFailure
from sender.transport.fast_transport import FastTransport
from sender.transport.httpx_transport import HttpxTransport
from sender.transport.network_settings import proxy_for

SECRET = "k3y-that-must-not-show"
ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT_"):
            monkeypatch.delenv(name)


@pytest.fixture(params=[FastTransport, HttpxTransport], ids=["fast", "httpx"])
def transport_class(request: pytest.FixtureRequest) -> Any:
    return request.param


class Origin:
    """A server on loopback that answers 201 and records the heads that it gets."""

    def __init__(self) -> None:
        self.port = 0
        self.heads: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        await reader.readexactly(5)
        writer.write(ANSWER)
        await writer.drain()
        writer.close()


class RecordingProxy:
    """A proxy that records every byte it can read, and leads each CONNECT to `origin_port` on loopback."""

    def __init__(self, origin_port: int) -> None:
        self.port = 0
        self.connections = 0
        self.heads: list[bytes] = []
        self.seen = bytearray()
        self._origin_port = origin_port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        self.seen += head
        if not head.startswith(b"CONNECT "):
            self.seen += await reader.read(65536)
            writer.write(ANSWER)
            writer.close()
            return
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._origin_port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(self._copy(reader, inner_writer), self._copy(inner_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                self.seen += data
                writer.write(data)
                await writer.drain()
        except (OSError, ssl.SSLError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    server: Origin | RecordingProxy, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await server.serve(reader, writer)
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    listener = await asyncio.start_server(connected, host, 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for `provider.invalid`."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(path), "-out", f"{path}.crt"]
    names = ["-days", "1", "-subj", "/CN=provider.invalid", "-addext", "subjectAltName=DNS:provider.invalid"]
    try:
        subprocess.run([*command, *names], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("makes its certificate with openssl")
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


async def post(transport_class: Any, url: str) -> Response | TransportFailure:
    transport: Transport = transport_class(concurrency=1)
    request = Request("POST", url, (("Authorization", f"Bearer {SECRET}"),), b"Body=")
    try:
        return await transport.send(request, timeout_s=10)
    except TransportFailure as failure:
        return failure
    finally:
        await transport.aclose()


PROXY_VARIABLES = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]


@pytest.mark.parametrize("variable", PROXY_VARIABLES)
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.5", "localhost", "LOCALHOST", "localhost.", "[::ffff:127.0.0.1]"]
)
def test_a_request_to_this_machine_goes_through_no_proxy(
    monkeypatch: pytest.MonkeyPatch, transport_class: Any, variable: str, host: str
) -> None:
    async def scenario() -> None:
        origin = Origin()
        async with serving(origin, host="0.0.0.0"):
            proxy = RecordingProxy(origin.port)
            async with serving(proxy):
                monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
                answer = await post(transport_class, f"http://{host}:{origin.port}/x")
                assert isinstance(answer, Response), answer
                assert (answer.status, proxy.connections) == (201, 0)
                assert SECRET.encode() in origin.heads[0]
                assert f"host: {host.lower()}:{origin.port}".encode() in origin.heads[0].lower()

    asyncio.run(scenario())


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_neither_does_one_to_its_ipv6_address(monkeypatch: pytest.MonkeyPatch, transport_class: Any) -> None:
    async def scenario() -> None:
        origin = Origin()
        try:
            async with serving(origin, host="::1"):
                proxy = RecordingProxy(origin.port)
                async with serving(proxy):
                    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
                    assert isinstance(await post(transport_class, f"http://[::1]:{origin.port}/x"), Response)
                    assert proxy.connections == 0
        except OSError:
            pytest.skip("no IPv6 here")

    asyncio.run(scenario())


@pytest.mark.parametrize("variable", PROXY_VARIABLES)
@pytest.mark.parametrize(
    "host",
    ["provider.invalid", "192.0.2.1", "0.0.0.0", "127.1", "2130706433", "localhost.example.com", "[::2]"],
)
def test_plain_http_never_leaves_this_machine(
    monkeypatch: pytest.MonkeyPatch, transport_class: Any, variable: str, host: str
) -> None:
    async def scenario() -> None:
        proxy = RecordingProxy(1)
        async with serving(proxy):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
            failure = await post(transport_class, f"http://{host}:{proxy.port}/x")
            assert isinstance(failure, NotSent), failure
            assert "plain http may not leave this machine" in str(failure)
            assert proxy.connections == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("addresses", [["192.0.2.1"], ["192.0.2.1", "127.0.0.1"]], ids=["elsewhere", "elsewhere too"])
def test_a_localhost_that_leads_elsewhere_is_not_followed(
    monkeypatch: pytest.MonkeyPatch, transport_class: Any, addresses: list[str]
) -> None:
    connected: list[object] = []
    getaddrinfo = asyncio.base_events.BaseEventLoop.getaddrinfo

    async def resolve(loop: Any, host: str, port: int, **options: Any) -> Any:
        if host == "localhost":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]
        connected.append(host)
        return await getaddrinfo(loop, host, port, **options)

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", resolve)

    async def scenario() -> None:
        origin = Origin()
        async with serving(origin):
            answer = await post(transport_class, f"http://localhost:{origin.port}/x")
            if addresses == ["192.0.2.1"]:
                assert isinstance(answer, NotSent)
                assert "does not lead to this machine" in str(answer)
            else:
                assert isinstance(answer, Response)
            assert "192.0.2.1" not in connected

    asyncio.run(scenario())


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_sees_the_host_and_no_credential(
    monkeypatch: pytest.MonkeyPatch, transport_class: Any, variable: str, certificate: Path
) -> None:
    async def scenario() -> None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
        origin = Origin()
        async with serving(origin, tls=tls):
            proxy = RecordingProxy(origin.port)
            async with serving(proxy):
                monkeypatch.setenv(variable, f"http://me:pass@127.0.0.1:{proxy.port}")
                monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
                answer = await post(transport_class, "https://provider.invalid/Messages")
                assert isinstance(answer, Response), answer
                assert SECRET.encode() in origin.heads[0]
                assert proxy.heads[0].startswith(b"CONNECT provider.invalid:443 ")
                assert b"authorization: bearer" not in bytes(proxy.seen).lower()
                assert SECRET.encode() not in proxy.seen
                assert b"pass" not in origin.heads[0]

    asyncio.run(scenario())


def test_the_certificate_of_a_proxied_origin_is_checked(
    monkeypatch: pytest.MonkeyPatch, transport_class: Any, certificate: Path
) -> None:
    """A proxy that answers in the origin's place gets a handshake, and no request."""

    async def scenario() -> None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
        origin = Origin()
        async with serving(origin, tls=tls):
            proxy = RecordingProxy(origin.port)
            async with serving(proxy):
                monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
                assert isinstance(await post(transport_class, "https://provider.invalid/x"), NotSent)
                assert origin.heads == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "direct"),
    [
        pytest.param("", "api.example.com", 443, False, id="none"),
        pytest.param("api.example.com", "api.example.com", 443, True, id="name"),
        pytest.param("API.Example.com", "api.example.com", 443, True, id="case"),
        pytest.param("example.com", "api.example.com", 443, True, id="domain"),
        pytest.param(".example.com", "api.example.com", 443, True, id="domain with a dot"),
        pytest.param("ample.com", "api.example.com", 443, False, id="part of a name"),
        pytest.param("api.example.com:443", "api.example.com", 443, True, id="port"),
        pytest.param("api.example.com:8443", "api.example.com", 443, False, id="another port"),
        pytest.param("a, api.example.com ,b", "api.example.com", 443, True, id="list"),
        pytest.param("*", "api.example.com", 443, True, id="all"),
        pytest.param("192.0.2.1", "192.0.2.1", 443, True, id="address"),
        pytest.param("", "127.0.0.1", 80, True, id="loopback needs no entry"),
        pytest.param("", "127.9.9.9", 80, True, id="nor the rest of it"),
        pytest.param("", "localhost.", 80, True, id="nor its name"),
    ],
)
@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_no_proxy(
    monkeypatch: pytest.MonkeyPatch, variable: str, no_proxy: str, host: str, port: int, direct: bool
) -> None:
    monkeypatch.setenv(variable, no_proxy)
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    chosen = proxy_for({"all": "http://127.0.0.1:1"}, "https", host, port)
    assert (chosen is None) is direct
