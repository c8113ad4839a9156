"""Limits of a server's connections, over real sockets: the receiver of webhooks and the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from sender import sandbox
from sender.core import bounded_http
from sender.core.bounded_http import BODY_MAX_BYTES, HEAD_MAX_BYTES, BoundedProtocol, connections_at_most
from sender.delivery import webhooks
from sender.delivery.webhooks.server import _ListenerProtocol
from sender.delivery.webhooks.signatures import Keys, Policy
from sender.sandbox.server import _RequestProtocol
from sender.state.state_dir import StateDir
from tests import local_http

GET = b"GET /health HTTP/1.1\r\nhost: x\r\n"


@pytest.fixture(params=["listener", "sandbox"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server whose limits of time are a tenth."""
    for protocol in (_ListenerProtocol, _RequestProtocol):
        monkeypatch.setattr(protocol, "first_byte_s", 0.5)
        monkeypatch.setattr(protocol, "head_s", 0.5)
        monkeypatch.setattr(protocol, "body_s", 0.8)
    if request.param == "sandbox":
        with sandbox.embedded() as address:
            yield address
    else:
        with listening(tmp_path) as address:
            yield address


@contextmanager
def listening(folder: Path) -> Iterator[str]:
    keys = Keys.of(sandbox.environment(""))
    with (
        StateDir(folder) as state,
        webhooks.listen(state, public_url=None, keys=keys, policy=Policy.REQUIRE) as receiver,
    ):
        yield receiver.url


def connect(url: str) -> socket.socket:
    port = int(url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def rest(connection: socket.socket) -> bytes:
    """What the server still sends, up to the end of the connection."""
    data = b""
    try:
        while chunk := connection.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return data


def ask(connection: socket.socket) -> bytes:
    """The answer to a request that leaves the connection open."""
    connection.sendall(GET + b"\r\n")
    data = connection.recv(65536)
    while not data.endswith(b"}}"):
        data += connection.recv(65536)
    return data


def later(action: Callable[[str], socket.socket], url: str) -> socket.socket:
    time.sleep(0.05)
    return action(url)


def is_answering(url: str) -> bool:
    path = "/health" if local_http.get(f"{url}/health").status_code == 200 else "/sandbox/health"
    return local_http.get(url + path).status_code == 200


def drip(connection: socket.socket, data: bytes, pause_s: float) -> bool:
    """Send a byte at a time; return whether the server has ended the connection before the last one."""
    for byte in data:
        try:
            connection.sendall(bytes((byte,)))
        except OSError:
            return True
        connection.settimeout(pause_s)
        try:
            if connection.recv(65536):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
        return True
    return False


class TestTime:
    def test_a_connection_on_which_nothing_comes_is_closed(self, url: str) -> None:
        with connect(url) as connection:
            begun_s = time.monotonic()
            assert rest(connection) == b""
            assert 0.3 < time.monotonic() - begun_s < 4

    @pytest.mark.parametrize("head", [GET + b"x: " + b"y" * 50, b"G" * 50, b"GET /" + b"a" * 50])
    def test_a_head_of_a_byte_at_a_time_is_ended(self, url: str, head: bytes) -> None:
        with connect(url) as connection:
            begun_s = time.monotonic()
            assert drip(connection, head, 0.05)
            assert time.monotonic() - begun_s < 4
        assert is_answering(url)

    @pytest.mark.parametrize("size", [b"content-length: 100", b"transfer-encoding: chunked"])
    def test_a_body_of_a_byte_at_a_time_is_ended(self, url: str, size: bytes) -> None:
        with connect(url) as connection:
            connection.sendall(b"POST /status/twilio HTTP/1.1\r\nhost: x\r\n" + size + b"\r\n\r\n")
            begun_s = time.monotonic()
            assert drip(connection, b"1" * 100, 0.05)
            assert time.monotonic() - begun_s < 5
        assert is_answering(url)

    def test_a_body_has_a_time_of_its_own(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for protocol in (_ListenerProtocol, _RequestProtocol):
            monkeypatch.setattr(protocol, "body_s", 20.0)
        with connect(url) as connection:
            connection.sendall(b"POST /status/twilio HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n1")
            time.sleep(1.0)  # twice a head's time
            connection.sendall(b"1")
            assert not connection.recv(65536).startswith(b"HTTP/1.1 408 ")

    def test_who_is_late_gets_408(self, url: str) -> None:
        with connect(url) as connection:
            connection.sendall(GET)
            assert rest(connection).startswith(b"HTTP/1.1 408 ")

    def test_a_served_connection_may_be_idle_for_longer(self, url: str) -> None:
        with local_http.Client(base_url=url) as client:
            first = client.get("/health")
            time.sleep(1.0)
            answer = client.get("/health")
            connection = answer.extensions["network_stream"].get_extra_info("client_addr")
            assert connection == first.extensions["network_stream"].get_extra_info("client_addr")

    def test_a_second_head_has_its_own_time(self, url: str) -> None:
        with connect(url) as connection:
            connection.sendall(GET + b"\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 ")
            connection.sendall(b"G")
            assert b"HTTP/1.1 408 " in rest(connection)


class TestSize:
    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(GET + b"x: " + b"y" * (HEAD_MAX_BYTES + 1), id="one header, not ended"),
            pytest.param(GET + b"x: " + b"y" * (HEAD_MAX_BYTES + 1) + b"\r\n\r\n", id="one header"),
            pytest.param(GET + b"x" * (HEAD_MAX_BYTES + 1), id="a name without an end"),
            pytest.param(GET + b"x: y\r\n" * HEAD_MAX_BYTES + b"\r\n", id="many headers"),
            pytest.param(b"GET /" + b"a" * (HEAD_MAX_BYTES + 1), id="a path without an end"),
            pytest.param(b"GET /" + b"a" * (HEAD_MAX_BYTES + 1) + b" HTTP/1.1\r\nhost: x\r\n\r\n", id="path"),
        ],
    )
    def test_a_large_head_is_431(self, url: str, data: bytes) -> None:
        with connect(url) as connection:
            with contextlib.suppress(OSError):  # it need not read what it refuses
                connection.sendall(data)
            answer = rest(connection)
            assert answer.startswith(b"HTTP/1.1 431 ") or not answer
        assert is_answering(url)

    def test_a_head_below_the_limit_is_read(self, url: str) -> None:
        answer = local_http.get(f"{url}/health", headers={"x": "y" * (HEAD_MAX_BYTES - 1000)})
        assert answer.status_code in (200, 404)

    @pytest.mark.parametrize("chunked", [False, True])
    def test_a_large_body_is_413(self, url: str, chunked: bool) -> None:
        body = b"x" * (BODY_MAX_BYTES + 100_000)
        content = iter([body[:500_000], body[500_000:]]) if chunked else body
        try:
            answer = local_http.post(f"{url}/2010-04-01/Accounts/AC1/Messages.json", content=content)
        except httpx.HTTPError:
            pass  # it need not read what it refuses
        else:
            assert answer.status_code in (404, 413)
        assert is_answering(url)


async def hold_open(port: int, count: int, first_bytes: bytes) -> list[asyncio.StreamWriter]:
    writers = []
    for _ in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        if first_bytes:
            writer.write(first_bytes)
        writers.append(writer)
    return writers


class TestConnections:
    @pytest.mark.parametrize("first_bytes", [b"", b"POST /status/telnyx HTTP/1.1\r\nhost: x\r\n"], ids=["idle", "half"])
    @pytest.mark.parametrize("count", [2_000])
    def test_idle_ones_do_not_stop_a_report(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, first_bytes: bytes
    ) -> None:
        monkeypatch.setattr(_ListenerProtocol, "most_connections", 200)
        monkeypatch.setattr(_ListenerProtocol, "first_byte_s", 600.0)
        monkeypatch.setattr(_ListenerProtocol, "head_s", 600.0)

        async def scenario(url: str) -> None:
            writers = await hold_open(int(url.rpartition(":")[2]), count, first_bytes)
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10) as client:
                begun_s = time.monotonic()
                answer = await client.post("/status/telnyx", content=json.dumps({"data": {}}))
                assert answer.status_code == 403  # read and judged: it is not signed
                assert time.monotonic() - begun_s < 5
            for writer in writers:
                writer.transport.abort()

        with listening(tmp_path) as url:
            asyncio.run(scenario(url))

    def test_the_longest_idle_goes_first_and_a_served_one_last(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_ListenerProtocol, "most_connections", 3)
        with listening(tmp_path) as url, ExitStack() as stack:
            served = stack.enter_context(connect(url))
            assert ask(served).startswith(b"HTTP/1.1 200")
            first, second, third = (stack.enter_context(later(connect, url)) for _ in range(3))
            assert rest(first) == b""
            for connection in (second, third, served):
                assert ask(connection).startswith(b"HTTP/1.1 200")

    @pytest.mark.parametrize(("soft", "expected"), [(1024, 500), (900, 450), (20, 16), (-1, 500)])
    def test_leave_files_for_the_rest(self, monkeypatch: pytest.MonkeyPatch, soft: int, expected: int) -> None:
        resource = pytest.importorskip("resource")
        monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY if soft < 0 else soft, 4096))
        assert connections_at_most(500) == expected

    def test_limits_are_those_of_the_real_servers(self) -> None:
        assert issubclass(_ListenerProtocol, BoundedProtocol)
        assert issubclass(_RequestProtocol, BoundedProtocol)
        assert _ListenerProtocol.most_connections <= 500
        assert (BoundedProtocol.first_byte_s, BoundedProtocol.head_s, BoundedProtocol.body_s) == (10, 10, 15)
        assert bounded_http.HEAD_MAX_BYTES == 32 * 1024
