"""Answers that are no usual ones: interim, upgrades, redirects, without a body. Both transports read them alike.

None of them proves that the provider has the message, and none of them ends in a traceback.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

import pytest

from sender import providers, sandbox
from sender.core.outcomes import Accepted, Deferred, Rejected, Unknown
from sender.providers.base import Request, Response
from sender.transport.base import MaybeSent, Transport, TransportFailure
from sender.transport.fast_transport import FastTransport
from sender.transport.httpx_transport import HttpxTransport

CREATED = b'HTTP/1.1 201 Created\r\nContent-Length: 14\r\n\r\n{"sid": "SM1"}'


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(params=[FastTransport, HttpxTransport], ids=["fast", "httpx"])
def transport_class(request: pytest.FixtureRequest) -> Any:
    return request.param


async def exchange(transport_class: Any, answer: bytes, *, then_close: bool) -> list[Response | TransportFailure]:
    """What two requests in a row bring, each answered with `answer`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(2)
                writer.write(answer)
                await writer.drain()
                if then_close:
                    break
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await serve(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    transport: Transport = transport_class(concurrency=1)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/Messages.json"
    results: list[Response | TransportFailure] = []
    try:
        for _ in range(2):
            try:
                results.append(await transport.send(Request("POST", url, (), b"a="), timeout_s=0.5))
            except TransportFailure as failure:
                results.append(failure)
    finally:
        await transport.aclose()
        server.close()
        await asyncio.wait(tasks, timeout=5)
        await server.wait_closed()
    return results


def head(status: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()


# (answer, whether the server closes then, the status that is read; None: none, so the message may have been sent)
ANSWERS = {
    "101": (head("101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket"), False, None),
    "101 and more": (
        head("101 Switching Protocols", "Connection: Upgrade", "Upgrade: h2c") + b"\x00\x00\x00",
        False,
        None,
    ),
    "101 and the end": (head("101 Switching Protocols", "Connection: Upgrade", "Upgrade: x"), True, None),
    "101 to nothing": (head("101 Switching Protocols"), False, None),
    "100 alone": (head("100 Continue"), True, None),
    "100 and silence": (head("100 Continue"), False, None),
    "102 alone": (head("102 Processing"), True, None),
    "103 alone": (head("103 Early Hints", "Link: </x>"), True, None),
    "100, then 201": (head("100 Continue") + CREATED, False, 201),
    "102 twice, then 201": (head("102 Processing") * 2 + CREATED, False, 201),
    "103, then 201": (head("103 Early Hints", "Link: </x>") + CREATED, False, 201),
    "200 without a body": (head("200 OK", "Content-Length: 0"), False, 200),
    "201 without a body": (head("201 Created", "Content-Length: 0"), False, 201),
    "202 without a body": (head("202 Accepted", "Content-Length: 0"), False, 202),
    "200 to the end": (head("200 OK"), True, 200),
    "200 of no chunks": (head("200 OK", "Transfer-Encoding: chunked") + b"0\r\n\r\n", False, 200),
    "204": (head("204 No Content"), False, 204),
    "204 with a length": (head("204 No Content", "Content-Length: 0"), False, 204),
    "205": (head("205 Reset Content", "Content-Length: 0"), False, 205),
    "300": (head("300 Multiple Choices", "Content-Length: 0"), False, 300),
    "301": (head("301 Moved Permanently", "Location: https://example.com/", "Content-Length: 0"), False, 301),
    "302": (head("302 Found", "Location: /login", "Content-Length: 0"), False, 302),
    "303": (head("303 See Other", "Location: /x", "Content-Length: 0"), False, 303),
    "304": (head("304 Not Modified"), False, 304),
    "307": (head("307 Temporary Redirect", "Location: /x", "Content-Length: 0"), False, 307),
    "308 to nowhere": (head("308 Permanent Redirect", "Content-Length: 0"), False, 308),
    "500 without a body": (head("500 Internal Server Error", "Content-Length: 0"), False, 500),
    "503 to the end": (head("503 Service Unavailable"), True, 503),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_both_transports_read_it_alike(transport_class: Any, name: str, caplog: pytest.LogCaptureFixture) -> None:
    answer, then_close, status = ANSWERS[name]
    with caplog.at_level(logging.WARNING):
        results = asyncio.run(exchange(transport_class, answer, then_close=then_close))
    for result in results:
        if status is None:
            assert isinstance(result, MaybeSent), result
        else:
            assert isinstance(result, Response), result
            assert result.status == status
    assert caplog.text == ""


@pytest.mark.parametrize("name", [name for name, (_, _, status) in ANSWERS.items() if status is not None])
@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_it_proves_nothing_without_an_id(dialect: str, name: str) -> None:
    """201 after an interim answer is the only one with a document."""
    _, _, status = ANSWERS[name]
    assert status is not None
    adapter = providers.adapter(dialect, sandbox.environment("http://127.0.0.1:1"))
    for content in (b"", b"<html>moved</html>", b"{}", b"null", b"[]"):
        outcome = adapter.outcome(Response(status, {}, content))
        assert isinstance(outcome, Unknown), (status, content, outcome)
        assert not isinstance(outcome, Accepted | Rejected | Deferred)
        assert str(status) in outcome.error_message
