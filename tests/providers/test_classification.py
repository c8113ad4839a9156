"""The one table: what happened on the wire, and what it proves. Every transport, every dialect, real sockets.

`NOT SENT` goes back to pending and is no try. `Accepted`, `Rejected`, `Deferred` are what the answer proves, and
`Unknown` is all the rest: it is never sent again by itself.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sender import providers
from sender.core.clock import steady_s
from sender.core.outcomes import Accepted, Deferred, Outcome, Reason, Rejected, Unknown
from sender.providers.base import Message
from sender.transport.base import MAX_ANSWER_BYTES, MaybeSent, NotSent, Transport
from sender.transport.fast_transport import FastTransport
from sender.transport.httpx_transport import HttpxTransport

SAMPLES = Path(__file__).parents[1] / "samples"
MESSAGE = Message(0, "20260101-120000-aaaaaaaa.0", "+12025550101", "+12025550100", "Hello")
NOT_SENT = "NOT SENT"
SHORT_S, LONG_S = 1.0, 30.0  # on a busy machine a connection alone may take half a second

# A transport joins the table with a line.
TRANSPORTS: dict[str, Callable[[], Transport]] = {
    "fast": lambda: FastTransport(concurrency=4),
    "httpx": lambda: HttpxTransport(concurrency=4),
}

Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT_"):
            monkeypatch.delenv(name)


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> Callable[[], Transport]:
    return TRANSPORTS[request.param]


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[int]:
    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await server(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    listening = await asyncio.start_server(one, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


async def read_request(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
    await reader.readexactly(length)


def reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def http(status: int, content: bytes, headers: dict[str, str] | None = None, *, length: int | None = None) -> bytes:
    told = {"content-length": str(len(content) if length is None else length), **(headers or {})}
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in told.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def answers(raw: bytes, *, then: str = "keep") -> Server:
    """Reads the request, answers `raw`, and keeps, closes or resets the connection."""

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(raw)
        await writer.drain()
        if then == "reset":
            await asyncio.sleep(0.05)  # so that what was written is read first
            reset(writer)
        elif then == "keep":
            await reader.read()

    return server


async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    for byte in http(201, b"x" * 500):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def resets_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def resets_after_the_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    reset(writer)


async def speaks_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(http(400, b"plain"))
    await writer.drain()


async def never_reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


def sample(name: str) -> tuple[int, dict[str, str], bytes]:
    recorded = json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    text = recorded["text"] if "text" in recorded else json.dumps(recorded["body"])
    headers = {name: value for name, value in recorded["headers"].items() if name != "content-length"}
    return recorded["status"], headers, text.encode()


def recorded(name: str) -> bytes:
    status, headers, content = sample(name)
    return http(status, content, headers)


async def verdict(make: Callable[[], Transport], dialect: str, base_url: str, **options: Any) -> str:
    """NOT SENT, or the kind of outcome, of one message sent to `base_url` by a transport of its own."""
    async with aclosing(make()) as transport:  # type: ignore[type-var]
        return await proof(transport, dialect, base_url, **options)


async def proof(
    transport: Transport,
    dialect: str,
    base_url: str,
    *,
    timeout_s: float = LONG_S,
    send_by_s: float = math.inf,
    cancel_at: asyncio.Event | None = None,
) -> str:
    adapter = providers.sandbox_adapter(dialect, "http://127.0.0.1:9")
    request = adapter.request(MESSAGE)
    request = request._replace(url=request.url.replace("http://127.0.0.1:9", base_url))
    task = asyncio.create_task(transport.send(request, timeout_s=timeout_s, send_by_s=send_by_s))
    if cancel_at is not None:
        await cancel_at.wait()
        task.cancel()
    try:
        return type(adapter.outcome(await task, MESSAGE)).__name__
    except NotSent:
        return NOT_SENT
    except MaybeSent:
        return Unknown.__name__
    except asyncio.CancelledError as cancelled:
        return NOT_SENT if isinstance(cancelled.__cause__, NotSent) else Unknown.__name__


CREATED = {name: f"{name}/created" for name in providers.DIALECTS} | {"signalwire": "signalwire/created-sms"}
HTML = b"<html><body>Please sign in</body></html>"
PLAIN = "signalwire"  # what a broken connection proves is the same in every dialect


# -- The wire


@pytest.mark.parametrize(
    ("server", "timeout_s", "proves"),
    [
        # Not one byte of the body can have left.
        pytest.param(None, LONG_S, NOT_SENT, id="connection refused"),
        # The body may have left: nothing is known.
        pytest.param(resets_at_once, LONG_S, "Unknown", id="reset before reading"),
        pytest.param(resets_after_the_headers, LONG_S, "Unknown", id="reset before the body"),
        pytest.param(answers(b"", then="reset"), LONG_S, "Unknown", id="reset after the body"),
        pytest.param(answers(b"", then="close"), LONG_S, "Unknown", id="closed without an answer"),
        pytest.param(never_reads, SHORT_S, "Unknown", id="never read"),
        pytest.param(answers(b""), SHORT_S, "Unknown", id="no answer in time"),
        pytest.param(drips, SHORT_S, "Unknown", id="an answer that drips past the deadline"),
        pytest.param(answers(b"HTTP/1.1 2", then="close"), LONG_S, "Unknown", id="half a status line"),
        pytest.param(answers(b"HTTP/1.1 201 X\r\nContent-", then="close"), LONG_S, "Unknown", id="half a header"),
        pytest.param(answers(http(201, b"{", length=500), then="close"), LONG_S, "Unknown", id="half a body"),
        pytest.param(answers(http(201, b"{", length=500), then="reset"), LONG_S, "Unknown", id="reset in the answer"),
        pytest.param(answers(http(201, b"{", length=500)), SHORT_S, "Unknown", id="half a body, then nothing"),
        pytest.param(answers(http(201, b"x" * (MAX_ANSWER_BYTES + 1))), LONG_S, "Unknown", id="more than 1 MiB"),
        pytest.param(answers(b"SSH-2.0-OpenSSH\r\n\r\n", then="close"), LONG_S, "Unknown", id="no HTTP at all"),
        pytest.param(answers(http(302, b"", {"location": "/elsewhere"})), LONG_S, "Unknown", id="a redirect"),
        pytest.param(answers(http(204, b"")), LONG_S, "Unknown", id="a success without a word"),
    ],
)
def test_the_wire(transport: Callable[[], Transport], server: Server | None, timeout_s: float, proves: str) -> None:
    async def scenario() -> str:
        if server is None:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            return await verdict(transport, PLAIN, f"http://127.0.0.1:{port}", timeout_s=timeout_s)
        async with serving(server) as port:
            return await verdict(transport, PLAIN, f"http://127.0.0.1:{port}", timeout_s=timeout_s)

    assert asyncio.run(scenario()) == proves


@pytest.mark.parametrize(
    ("url", "proves"),
    [
        pytest.param("http://nonexistent.invalid:80", NOT_SENT, id="a name that does not resolve"),
        pytest.param("https://127.0.0.1:{port}", NOT_SENT, id="TLS to a port that speaks none"),
    ],
)
def test_before_the_wire(transport: Callable[[], Transport], url: str, proves: str) -> None:
    async def scenario() -> str:
        async with serving(speaks_first) as port:
            return await verdict(transport, PLAIN, url.format(port=port))

    assert asyncio.run(scenario()) == proves


def test_a_certificate_that_is_not_trusted(transport: Callable[[], Transport], tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=127.0.0.1",
        "-keyout",
    ]
    subprocess.run([*command, str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def scenario() -> str:
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        try:
            port = server.sockets[0].getsockname()[1]
            return await verdict(transport, PLAIN, f"https://127.0.0.1:{port}")
        finally:
            server.close()

    assert asyncio.run(scenario()) == NOT_SENT


@pytest.mark.parametrize(
    ("scheme", "reads", "answer", "proves"),
    [
        pytest.param("https", False, b"", NOT_SENT, id="in the TLS handshake"),
        pytest.param("http", True, b"", "Unknown", id="waiting for the answer"),
        pytest.param("http", True, http(201, b"{", length=500), "Unknown", id="in the answer"),
    ],
)
def test_cancelled(transport: Callable[[], Transport], scheme: str, reads: bool, answer: bytes, proves: str) -> None:
    async def scenario() -> str:
        reached = asyncio.Event()

        async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if reads:
                await read_request(reader)
            writer.write(answer)
            await writer.drain()
            reached.set()
            await asyncio.sleep(60)

        async with serving(server) as port:
            return await verdict(transport, PLAIN, f"{scheme}://127.0.0.1:{port}", cancel_at=reached)

    assert asyncio.run(scenario()) == proves


def test_past_the_send_deadline_nothing_leaves(transport: Callable[[], Transport]) -> None:
    """The lease ran out while the process stood still: whoever took over may have sent it meanwhile."""
    seen: list[bytes] = []

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(1000))

    async def scenario() -> str:
        async with serving(server) as port:
            late = await verdict(transport, PLAIN, f"http://127.0.0.1:{port}", send_by_s=steady_s() - 0.001)
            await asyncio.sleep(0.1)
            return late

    assert asyncio.run(scenario()) == NOT_SENT
    assert not any(seen)


# -- The answer


OTHER = "+12025550133"
# What a proxy, a balancer, a firewall or a gateway in front of an API may say.
PAGES = (
    ("a page", HTML, "text/html"),
    ("nothing", b"", "text/plain"),
    ("words", b"Forbidden", "text/plain"),
    ("an empty document", b"{}", "application/json"),
    ("a gateway's message", b'{"message": "Forbidden"}', "application/json"),
    ("a gateway's code and message", b'{"code": 403, "message": "Forbidden", "status": 403}', "application/json"),
    ("a framework's error", b'{"status": 404, "error": "Not Found", "path": "/x"}', "application/json"),
    ("a cloud's error", b'{"error": {"code": 403, "message": "no", "status": "DENIED"}}', "application/json"),
    ("a list of errors without codes", b'{"errors": [{"message": "no"}]}', "application/json"),
    ("half a document", b'{"errors": [{"code": "1', "application/json"),
)
OWN_ERRORS: dict[str, Any] = {
    "signalwire": {"errors": [{"type": "validation_error", "code": "news_to_us", "message": "No.", "url": "x"}]},
    "signalwire-compat": {"code": 99999, "message": "No.", "more_info": "x", "status": 400},
    "telnyx": {"errors": [{"code": "99999", "title": "No."}]},
    "twilio": {"code": 99999, "message": "No.", "more_info": "x", "status": 400},
}


def readdressed(created: bytes, *, to: str = MESSAGE.to, sender: str | None = MESSAGE.from_number) -> bytes:
    """A recorded success as the answer to a message `to` and from `sender`."""
    document = json.loads(created)
    if "data" in document:
        document["data"]["to"][0]["phone_number"] = to
        document["data"]["from"]["phone_number"] = sender
    else:
        document |= {"to": to, "from": sender}
    return json.dumps(document).encode()


def rows(dialect: str) -> dict[str, tuple[bytes, str]]:
    status, headers, created = sample(CREATED[dialect])
    created = readdressed(created)
    own = json.dumps(OWN_ERRORS[dialect]).encode()
    retry = {"retry-after": "3"}
    table = {
        "a success with an id": (http(status, created, headers), "Accepted"),
        "the same, cut in the middle": (http(status, created[: len(created) // 2]), "Unknown"),
        "the same, without an id": (http(status, b"{}"), "Unknown"),
        "a sign-in page with 200": (http(200, HTML, {"content-type": "text/html"}), "Unknown"),
        "not a word with 200": (http(200, b""), "Unknown"),
        "a success for another recipient": (http(status, readdressed(created, to=OTHER)), "Unknown"),
        "a success for another sender": (http(status, readdressed(created, sender=OTHER)), "Unknown"),
        **{
            f"{refused} with {whose}": (http(refused, page, {"content-type": kind}), "Unknown")
            for refused in (400, 401, 402, 403, 404, 405, 407, 408, 409, 413, 414, 421, 422, 425, 426, 431, 451, 499)
            for whose, page, kind in PAGES
        },
        **{
            f"{refused} with its own error": (http(refused, own), "Unknown")
            for refused in (407, 408, 409, 421, 425, 499)
        },
        "400 with its own error of no known code": (http(400, own), "Rejected"),
        "422 with its own error of no known code": (http(422, own), "Rejected"),
        "401 with its own error of no known code": (http(401, own), "Deferred"),
        "402 with its own error of no known code": (http(402, own), "Deferred"),
        "403 with its own error of no known code": (http(403, own), "Deferred"),
        "404 with its own error of no known code": (http(404, own), "Deferred"),
        "429 with its own error": (http(429, own, retry), "Deferred"),
        "429": (http(429, b"{}", retry), "Deferred"),
        "429 of a balancer": (http(429, HTML, retry), "Deferred"),
        "429 with a date": (http(429, b"{}", {"retry-after": "Fri, 20 Nov 2026 10:00:30 GMT"}), "Deferred"),
        "429 with garbage": (http(429, b"{}", {"retry-after": "soon, perhaps"}), "Deferred"),
        "500": (http(500, b"{}"), "Unknown"),
        "502 of a proxy": (recorded("proxy/html-502"), "Unknown"),
        "503 with a wish": (http(503, b"{}", retry), "Unknown"),
        "504": (http(504, b"{}"), "Unknown"),
        "599": (http(599, b"{}"), "Unknown"),
    }
    for path in (SAMPLES / dialect).glob("*.json"):
        if path.stem.startswith(("refused", "unauthorized", "throttled", "no-funds")):
            table[f"recorded {path.stem}"] = (recorded(f"{dialect}/{path.stem}"), "")  # see test_providers_outcomes
    return table


@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_the_answers(transport: Callable[[], Transport], dialect: str) -> None:
    async def scenario() -> dict[str, str]:
        proved = {}
        async with aclosing(transport()) as one:  # type: ignore[type-var]
            for name, (raw, _) in rows(dialect).items():
                async with serving(answers(raw)) as port:
                    proved[name] = await proof(one, dialect, f"http://127.0.0.1:{port}")
        return proved

    proved = asyncio.run(scenario())
    wanted = {name: kind for name, (_, kind) in rows(dialect).items() if kind}
    assert {name: proved[name] for name in wanted} == wanted
    recorded_rows = set(proved) - set(wanted)
    assert recorded_rows
    assert {proved[name] for name in recorded_rows} <= {"Rejected", "Deferred"}, "a refusal is never a doubt"


def test_nothing_but_these_classes_exists() -> None:
    """A new kind of outcome must find its place in the table above."""
    kinds: tuple[Any, ...] = (Accepted("SM1"), Rejected(Reason.OTHER), Deferred(Reason.OTHER), Unknown("?"))
    assert set(Outcome.__args__) == {type(kind) for kind in kinds}  # type: ignore[attr-defined]
