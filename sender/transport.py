"""Carries a Request and brings a Response: the only place that opens a connection to a provider.

A failure is raised as `NotSent` (proved that the provider did not get the whole request) or `MaybeSent` (it may
have). Knows nothing of providers' meanings, never retries, never follows a redirect.
"""

from __future__ import annotations

import asyncio
import math
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import httpx

from sender.clock import steady_s
from sender.errors import CredentialsError
from sender.providers.base import Request, Response

MAX_ANSWER_BYTES = 1024 * 1024  # a create or log answer has some kilobytes; more is a mistake or an attack

# An idle connection that the other side closes just as we write leaves a message in doubt, so ours go first.
# The shortest idle limits of common servers are 5 s (Node's http, uvicorn).
_KEEPALIVE_S = 4.0
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADERS = "http11.send_request_headers.started"  # httpcore's trace events, just before it writes
_BODY = "http11.send_request_body.started"
_DEFAULT_HEADERS = (
    ("user-agent", "campaign-sender"),
    ("accept-encoding", "identity"),  # a compressed answer could unfold to any size
)


class TransportFailure(Exception):  # noqa: N818
    """No readable answer came."""


class NotSent(TransportFailure):
    """The request provably did not reach the provider: DNS, connect, TLS or pool failure."""


class MaybeSent(TransportFailure):
    """The request may have been accepted: the connection broke or timed out after bytes may have left."""


class Transport(Protocol):
    """One pool of connections to one provider."""

    async def send(self, request: Request, *, timeout_s: float, send_by_s: float = math.inf) -> Response:
        """The whole answer, within `timeout_s` in total. Raises NotSent or MaybeSent.

        No byte of the request leaves after that time, nor after `send_by_s` of `sender.clock.steady_s`: both are
        looked at before the headers and before the body, because a process may stand still in between. A cancelled
        call raises CancelledError with the NotSent or MaybeSent that holds at that moment as its `__cause__`.
        """
        ...

    async def aclose(self) -> None: ...


# The exceptions that httpx raises only before a request's first byte is written. They decide where a transport does
# not tell its steps. Not here, because bytes may have left: ReadError, ReadTimeout, WriteError, WriteTimeout,
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
_SENTENCES: dict[type[BaseException], str] = {
    TimeoutError: "no whole answer in time",
    asyncio.CancelledError: "the request was cancelled",
    httpx.ConnectError: "no connection",
    httpx.ConnectTimeout: "no connection in time",
    httpx.ProxyError: "the proxy refused the connection",
    httpx.UnsupportedProtocol: "the URL is neither http nor https",
    httpx.InvalidURL: "the URL is not valid",
    httpx.LocalProtocolError: "the request is not valid HTTP",
    httpx.ReadError: "the connection broke",
    httpx.WriteError: "the connection broke",
    httpx.RemoteProtocolError: "the connection was closed, or brought no valid HTTP, before a whole answer",
}


class HttpxTransport:
    """A `Transport` by httpx: correct and slow (some hundred messages a second).

    Uses httpx's transports without its client, whose log tells whole URLs (and so recipients' numbers), which
    keeps cookies and looks into redirects. What the environment says counts: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY
    and NO_PROXY (never for loopback, where the sandbox is), SSL_CERT_FILE and SSL_CERT_DIR.
    """

    def __init__(
        self,
        *,
        concurrency: int,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """At most `concurrency` requests at one time; the others wait, and their time runs.

        `transport` replaces the network (httpx.MockTransport in tests). `clock` gives seconds that never go
        back. Raises CredentialsError when the environment's proxies or certificates cannot be used.
        """
        # Our own gate, and no limit in the pool: httpcore 1.0.9 loses a place for good when a request is
        # cancelled between being given a connection and waking up.
        self._gate = asyncio.Semaphore(concurrency)
        self._clock = clock or steady_s
        self._proxies = {} if transport else _environment_proxies()
        self._routes: dict[str | None, httpx.AsyncBaseTransport]
        self._routes = {None: transport} if transport else _routes(self._proxies, concurrency)
        self._chosen: dict[tuple[str, str], httpx.AsyncBaseTransport] = {}

    async def send(self, request: Request, *, timeout_s: float, send_by_s: float = math.inf) -> Response:
        progress = _Progress(self._clock, min(self._clock() + timeout_s, send_by_s), has_body=bool(request.content))
        try:
            async with asyncio.timeout(timeout_s), self._gate:
                try:
                    return await self._exchange(request, progress)
                finally:
                    await progress.close_unowned()
        except asyncio.CancelledError as cancelled:
            raise cancelled from progress.failure(cancelled)
        except Exception as error:  # noqa: BLE001 (what has left is told by the steps taken, whatever broke)
            raise progress.failure(error) from None  # h11 puts header values, and so credentials, into its texts

    async def aclose(self) -> None:
        for transport in self._routes.values():
            await transport.aclose()

    async def _exchange(self, request: Request, progress: _Progress) -> Response:
        given = {name.lower() for name, _ in request.headers}
        outgoing = httpx.Request(
            request.method,
            request.url,
            headers=[*request.headers, *(header for header in _DEFAULT_HEADERS if header[0] not in given)],
            content=request.content,
            extensions={"trace": progress.trace},
        )
        transport = self._transport_to(outgoing.url)
        progress.handed_over = True
        answer = await transport.handle_async_request(outgoing)
        content = bytearray()
        try:
            async for chunk in cast("httpx.AsyncByteStream", answer.stream):
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    break
        finally:
            await answer.aclose()  # closes the connection too, unless the answer was read to its end
        return Response(
            answer.status_code,
            dict(answer.headers.items()),
            bytes(content[:MAX_ANSWER_BYTES]),
            truncated=len(content) > MAX_ANSWER_BYTES,
        )

    def _transport_to(self, url: httpx.URL) -> httpx.AsyncBaseTransport:
        place = (url.scheme, url.host)
        if place not in self._chosen:  # on Windows and macOS the system's settings are asked
            direct = url.host in _LOOPBACK or urllib.request.proxy_bypass(url.host)
            proxy = None if direct else self._proxies.get(url.scheme) or self._proxies.get("all")
            self._chosen[place] = self._routes[proxy]
        return self._chosen[place]


def _routes(proxies: dict[str, str], concurrency: int) -> dict[str | None, httpx.AsyncBaseTransport]:
    """A pool of connections for each proxy, and under None one without."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=concurrency, keepalive_expiry=_KEEPALIVE_S)
    context = _ssl_context()
    try:
        return {
            proxy: httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy)
            for proxy in (None, *proxies.values())
        }
    except (ValueError, ImportError, httpx.InvalidURL):
        raise CredentialsError(  # without the proxy's URL, which may hold a password
            "the proxy cannot be used: its URL is not valid, or it is a SOCKS proxy",
            where="HTTP_PROXY, HTTPS_PROXY, ALL_PROXY",
            fix="name an http:// or https:// proxy; for SOCKS install httpx[socks]",
        ) from None


def _environment_proxies() -> dict[str, str]:
    """Proxy URLs by scheme (`http`, `https`, `all`)."""
    return {
        scheme: proxy if "://" in proxy else f"http://{proxy}"
        for scheme, proxy in urllib.request.getproxies().items()
        if scheme in {"http", "https", "all"} and proxy
    }


class _Progress:
    """How far one request came, told by httpcore's trace events, and so what its failure proves."""

    def __init__(self, clock: Callable[[], float], deadline_s: float, *, has_body: bool) -> None:
        self.handed_over = False
        self._clock = clock
        self._deadline_s = deadline_s
        self._told = False
        self._committed = False
        # The message is in the body: headers that promise a body which never comes ask for nothing, and httpcore
        # writes no body when the headers could not be written.
        self._commits = _BODY if has_body else _HEADERS
        self._unowned: Any = None

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        self._told = True
        if event.endswith("connect_tcp.complete"):
            self._unowned = info["return_value"]
        if event not in {_HEADERS, _BODY} or info["request"].method == b"CONNECT":  # CONNECT is for a proxy
            return
        if self._clock() >= self._deadline_s:  # the process stood still: asyncio's own timer may come second
            raise TimeoutError
        self._unowned = None
        if event == self._commits:
            self._committed = True

    async def close_unowned(self) -> None:
        """Closes what httpcore 1.0.9 forgets: the connection whose TLS handshake is cancelled, also by a timeout."""
        if self._unowned is not None:
            await self._unowned.aclose()

    def failure(self, error: BaseException) -> TransportFailure:
        steps_known = self._told or not self.handed_over
        unsent = isinstance(error, _BEFORE_WRITING) or (steps_known and not self._committed)
        return (NotSent if unsent else MaybeSent)(_sentence(error, unsent=unsent))


def _sentence(error: BaseException, *, unsent: bool) -> str:
    """What happened, without any text of a request or an answer."""
    known = next((text for kind, text in _SENTENCES.items() if isinstance(error, kind)), "the exchange failed")
    detail = type(error).__name__
    if unsent and isinstance(error, httpx.ConnectError):
        detail = _system_reason(error)
    return f"{known} ({detail}); {'nothing was sent' if unsent else 'it may have been sent'}"


def _system_reason(error: BaseException) -> str:
    """The system's or OpenSSL's own words at the root of a failed connect; they name no more than the host."""
    reason = str(error) or type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):  # one failure for each address that was tried
            cause = cause.exceptions[0]
        if isinstance(cause, OSError) and cause.strerror:
            reason = getattr(cause, "verify_message", None) or cause.strerror
        cause = cause.__cause__ or cause.__context__
    return reason


def _ssl_context() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # ssl.SSLError is one
        raise CredentialsError(
            f"the certificates cannot be read: {error.strerror or error}",
            where="SSL_CERT_FILE or SSL_CERT_DIR",
            fix="name a PEM file or directory that exists, or unset the variable",
        ) from error
