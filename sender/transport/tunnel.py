"""Opens one connection: TCP, TLS where the origin has it, and a proxy's tunnel where one is on the way."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from dataclasses import dataclass
from typing import cast
from urllib.parse import unquote, urlsplit

from sender.core.loopback import loopback_addresses
from sender.transport import network_settings
from sender.transport.base import NotHttp, ProxyRefused
from sender.transport.connection import Connection

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")
_MAX_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy on the way. `headers` may contain a password."""

    host: str
    port: int
    secure: bool
    headers: tuple[tuple[str, str], ...]


def parse_proxy(url: str) -> Proxy:
    """The proxy at an `http://` or `https://` URL, its user and password as a header. Raises CredentialsError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise network_settings.unusable_proxy() from None
    if parts.scheme not in {"http", "https"} or not host:
        raise network_settings.unusable_proxy()
    headers: tuple[tuple[str, str], ...] = ()
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers = (("proxy-authorization", f"Basic {base64.b64encode(pair).decode()}"),)
    secure = parts.scheme == "https"
    return Proxy(host, port or (443 if secure else 80), secure, headers)


async def connect(
    host: str, port: int, context: ssl.SSLContext | None, through: Proxy | None, proxy_context: ssl.SSLContext
) -> Connection:
    """Open a connection to `host`, with TLS if there is a `context`. Nothing is sent but handshakes and CONNECT.

    Without a `context` it leads to this machine, and through no proxy.

    Raises OSError (also for certificates), ProxyRefused or NotHttp. A cancelled call leaves nothing open.
    """
    loop = asyncio.get_running_loop()
    if context is None:
        return await _connect_loopback(host, port)
    if through is None:
        _, connection = await loop.create_connection(Connection, host, port, ssl=context)
        return connection
    outer = proxy_context if through.secure else None
    plain, tunnel = await loop.create_connection(_Tunnel, through.host, through.port, ssl=outer)
    try:
        await tunnel.open(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", through.headers)
        connection = Connection()
        transport = await loop.start_tls(plain, connection, context, server_hostname=host)
        connection.connection_made(cast("asyncio.Transport", transport))  # None only where the protocol has changed
    except BaseException:
        plain.abort()
        raise
    return connection


async def _connect_loopback(host: str, port: int) -> Connection:
    """Open a connection without TLS, to this machine only."""
    loop = asyncio.get_running_loop()
    failure: OSError | None = None
    for address in await loopback_addresses(host, port):
        try:
            _, connection = await loop.create_connection(Connection, address, port)
        except OSError as error:
            failure = error
        else:
            return connection
    raise failure or OSError(host)


class _Tunnel(asyncio.Protocol):
    """The exchange with a proxy that opens a tunnel."""

    def __init__(self) -> None:
        self._answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._head = bytearray()
        self._transport: asyncio.Transport

    async def open(self, place: str, headers: tuple[tuple[str, str], ...]) -> None:
        """Return once bytes go through to `place`. Raises ProxyRefused, NotHttp or OSError."""
        lines = [f"CONNECT {place} HTTP/1.1", f"host: {place}", *(f"{name}: {value}" for name, value in headers)]
        self._transport.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if not 200 <= await self._answered < 300:
            raise ProxyRefused

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self._answered.done():
            return
        if b"\r\n\r\n" in self._head:
            status = _STATUS.match(self._head)
            if status:
                self._answered.set_result(int(status[1]))
            else:
                self._answered.set_exception(NotHttp())
        elif len(self._head) > _MAX_HEAD_BYTES:
            self._answered.set_exception(NotHttp())

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._answered.done():
            self._answered.set_exception(exc or NotHttp())
