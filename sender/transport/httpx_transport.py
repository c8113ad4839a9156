"""A transport by httpx: for logs and polling, and as a choice. Correct and slow."""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, cast

import httpx

from sender.core.clock import steady_s
from sender.core.loopback import loopback_addresses
from sender.providers.base import Request, Response
from sender.transport import network_settings
from sender.transport.base import (
    CLOSED,
    CONNECT_TIMEOUT_S,
    DEFAULT_HEADERS,
    KEEPALIVE_S,
    MAX_ANSWER_BYTES,
    NO_CONNECTION,
    SENTENCES,
    TooLate,
    TransportFailure,
    make_failure,
)

_HEADERS = "send_request_headers.started"  # httpcore's trace events behind `http11.` or `http2.`, just before it writes
_BODY = "send_request_body.started"
HTTP2 = find_spec("h2") is not None  # with the extra `http2`; then the provider chooses, in the TLS handshake
# The exceptions that httpx raises only before a request's first byte is written. They decide where a transport
# shows no steps. Not in this list, because bytes may have left: ReadError, ReadTimeout, WriteError, WriteTimeout,
# RemoteProtocolError (also "Server disconnected without sending a response"), CloseError, DecodingError.
_BEFORE_WRITING = (
    httpx.ConnectError,  # DNS, TCP connect and TLS handshake
    httpx.ConnectTimeout,  # the same steps, in time
    httpx.PoolTimeout,  # no connection was free
    httpx.ProxyError,  # the proxy refused CONNECT: no tunnel, so no request
    httpx.UnsupportedProtocol,  # refused for its scheme before a connection is looked for
    httpx.LocalProtocolError,  # h11 refused the headers; httpcore maps it from that call alone
    httpx.InvalidURL,  # no request could be built
)
_SENTENCES: Mapping[type[BaseException], str] = {
    httpx.ConnectError: NO_CONNECTION,
    httpx.ConnectTimeout: "no connection in time",
    httpx.ProxyError: "the proxy refused the connection",
    httpx.UnsupportedProtocol: "the URL is neither http nor https",
    httpx.InvalidURL: "the URL is not valid",
    httpx.LocalProtocolError: "the request is not valid HTTP",
    httpx.ReadError: "the connection broke",
    httpx.WriteError: "the connection broke",
    httpx.RemoteProtocolError: CLOSED,
    **SENTENCES,
}


class HttpxTransport:
    """A `Transport` by httpx: correct and slow (some hundred messages a second).

    Speaks HTTP/2 where the extra `http2` is installed and the provider offers it.

    Uses httpx's transports without its client, whose log contains whole URLs (and so recipients' numbers), which
    keeps cookies and reads redirects.
    """

    def __init__(
        self,
        *,
        concurrency: int,
        context: ssl.SSLContext | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] | None = None,
        most_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        """At most `concurrency` requests at one time; the others wait, and their time runs.

        `context` verifies servers, the environment's if there is none. `transport` replaces the network
        (httpx.MockTransport in tests). `clock` gives seconds that never go back. An answer is cut after
        `most_bytes`. Raises CredentialsError when the environment's proxies or certificates cannot be used.
        """
        # A semaphore of our own, and no limit in the pool: httpcore 1.0.9 loses a place for good when a request is
        # cancelled between getting a connection and waking up.
        self._semaphore = asyncio.Semaphore(concurrency)
        self._clock = clock or steady_s
        self._most_bytes = most_bytes
        self._proxies = {} if transport else network_settings.read_proxies()
        self._routes: dict[str | None, httpx.AsyncBaseTransport]
        self._context = context
        self._routes = {None: transport} if transport else self._make_routes(concurrency)
        self._chosen: dict[tuple[str, str, int], httpx.AsyncBaseTransport] = {}
        self._is_replaced, self._concurrency = transport is not None, concurrency
        self._retired: list[httpx.AsyncBaseTransport] = []  # pools with a connection that answered another request

    async def send(self, request: Request, *, timeout_s: float, send_by_s: float = math.inf) -> Response:
        progress = _RequestProgress(
            self._clock, min(self._clock() + timeout_s, send_by_s), has_body=bool(request.content)
        )
        try:
            async with asyncio.timeout(timeout_s), self._semaphore:
                try:
                    return await self._exchange(request, progress)
                finally:
                    await progress.close_unowned()
        except asyncio.CancelledError as cancelled:
            raise cancelled from progress.failure(cancelled)
        except Exception as error:  # noqa: BLE001 (the steps taken show what has left, whatever broke)
            raise progress.failure(error) from None  # h11 puts header values, and so credentials, into its texts

    def distrust(self, response: Response) -> None:  # noqa: ARG002 (which connection it came by, httpx does not say)
        """Open new connections from now on; those there are finish what they carry and are used no more."""
        if not self._is_replaced:
            self._retired += self._routes.values()
            self._routes = self._make_routes(self._concurrency)
            self._chosen.clear()

    async def warm(self, url: str, connections: int) -> None:
        """Does nothing: httpx opens a connection only for a request."""

    async def aclose(self) -> None:
        for transport in (*self._routes.values(), *self._retired):
            await transport.aclose()

    def _make_routes(self, concurrency: int) -> dict[str | None, httpx.AsyncBaseTransport]:
        """A pool of connections for each proxy, and under None one without."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=concurrency, keepalive_expiry=KEEPALIVE_S)
        context = self._context or network_settings.make_ssl_context()
        try:
            return {
                proxy: httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy, http2=HTTP2)
                for proxy in (None, *self._proxies.values())
            }
        except (ValueError, ImportError, httpx.InvalidURL):
            raise network_settings.unusable_proxy() from None

    async def _exchange(self, request: Request, progress: _RequestProgress) -> Response:
        present = {name.lower() for name, _ in request.headers}
        outgoing = httpx.Request(
            request.method,
            request.url,
            headers=[*request.headers, *(header for header in DEFAULT_HEADERS if header[0] not in present)],
            content=request.content,
            extensions={"trace": progress.trace, "timeout": {"connect": CONNECT_TIMEOUT_S}},
        )
        network_settings.refuse_clear_text(outgoing.url.scheme, outgoing.url.host)
        transport = self._transport_to(outgoing.url)
        answer = await self._begin(outgoing, transport, progress)
        content = bytearray()
        try:
            async for chunk in cast("httpx.AsyncByteStream", answer.stream):
                content += chunk
                if len(content) > self._most_bytes:
                    break
            _close_if_more_came(answer)
        finally:
            await answer.aclose()  # closes the connection too, unless the answer was read to its end
        return Response(
            answer.status_code,
            dict(answer.headers.items()),
            bytes(content[: self._most_bytes]),
            truncated=len(content) > self._most_bytes,
        )

    async def _begin(
        self, outgoing: httpx.Request, transport: httpx.AsyncBaseTransport, progress: _RequestProgress
    ) -> httpx.Response:
        """Send the request and return the answer's head. Plain http goes to this machine's own addresses only."""
        url = outgoing.url
        addresses = await loopback_addresses(url.host, url.port or 80) if url.scheme == "http" else [url.host]
        progress.handed_over = True
        for address in addresses[:-1]:
            outgoing.url = url.copy_with(host=address)  # its header names the host as it was written
            with contextlib.suppress(httpx.ConnectError):
                return await transport.handle_async_request(outgoing)
        outgoing.url = url.copy_with(host=addresses[-1])
        return await transport.handle_async_request(outgoing)

    def _transport_to(self, url: httpx.URL) -> httpx.AsyncBaseTransport:
        place = (url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80))
        if place not in self._chosen:
            self._chosen[place] = self._routes[network_settings.proxy_for(self._proxies, *place)]
        return self._chosen[place]


def _close_if_more_came(answer: httpx.Response) -> None:
    """Let the connection be closed after this answer when bytes have come beyond its end.

    httpcore 1.0.9 leaves them in h11's buffer, or in anyio's, and would read them as the answer to the next request. It
    shows neither, so this looks into both; `tests/transport` shows that what it looks for is there. What is still in
    the socket, httpcore itself looks for before it uses a connection again.
    """
    h11_state = _walk(answer.stream, "_httpcore_stream", "_stream", "_connection", "_h11_state")
    if h11_state is None:  # HTTP/2, where each answer says whose it is, or a transport that tests have made
        return
    stream = _walk(answer.extensions.get("network_stream"), "_stream")
    unread = _walk(stream, "_protocol", "read_queue"), _walk(stream, "_read_bio", "pending")  # plain, and with TLS
    if h11_state.trailing_data[0] or any(unread):
        h11_state.send_failed()


def _walk(value: Any, *names: str) -> Any:
    """The attribute of an attribute, and so on; None where there is none."""
    for name in names:
        value = getattr(value, name, None)
    return value


class _RequestProgress:
    """How far one request came, by httpcore's trace events, and so what its failure proves."""

    def __init__(self, clock: Callable[[], float], deadline_s: float, *, has_body: bool) -> None:
        self.handed_over = False
        self._clock = clock
        self._deadline_s = deadline_s
        self._traced = False
        self._committed = self._http2 = False
        # The message is in the body: headers that promise a body which never comes ask for nothing, and httpcore
        # writes no body when the headers could not be written.
        self._commits = _BODY if has_body else _HEADERS
        self._unowned: Any = None

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        self._traced = True
        if event.endswith("connect_tcp.complete"):
            self._unowned = info["return_value"]
        protocol, _, step = event.partition(".")
        if step not in {_HEADERS, _BODY} or info["request"].method == b"CONNECT":  # CONNECT is for a proxy
            return
        if self._clock() >= self._deadline_s:  # the process was suspended, and asyncio's own timer may fire later
            raise TooLate
        self._unowned = None
        self._http2 = protocol == "http2"
        if step == self._commits:
            self._committed = True

    async def close_unowned(self) -> None:
        """Close what httpcore 1.0.9 forgets: the connection whose TLS handshake is cancelled, also by a timeout."""
        if self._unowned is not None:
            await self._unowned.aclose()

    def failure(self, error: BaseException) -> TransportFailure:
        steps_known = self._traced or not self.handed_over
        proved = isinstance(error, _BEFORE_WRITING)
        if self._http2 and isinstance(error, httpx.LocalProtocolError):  # about the connection, at any time
            proved = False
        unsent = proved or (steps_known and not self._committed)
        return make_failure(error, unsent=unsent, sentences=_SENTENCES)
