"""What every transport promises, and what each failure proves."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Mapping
from typing import Protocol

from sender.providers.base import Request, Response

MAX_ANSWER_BYTES = 1024 * 1024  # an answer has some kilobytes; a larger one is a mistake or an attack
CONNECT_TIMEOUT_S = 10.0  # DNS, TCP, proxy and TLS; a provider that takes longer cannot be reached

# An idle connection that the other side closes just as we write leaves a message in doubt, so ours go first.
# The shortest idle limits of common servers are 5 s (Node's http, uvicorn).
KEEPALIVE_S = 4.0
DEFAULT_HEADERS = (
    ("user-agent", "campaign-sender"),
    ("accept-encoding", "identity"),  # a compressed answer could unfold to any size
)


class TransportFailure(Exception):  # noqa: N818
    """No readable answer came."""


class NotSent(TransportFailure):
    """The request provably did not reach the provider: DNS, connect, TLS or pool failure, or it was too late."""


class Expired(NotSent):
    """The request's time to leave had passed before it was written; nothing is wrong with the connection."""


class MaybeSent(TransportFailure):
    """The request may have been accepted: the connection broke or timed out after bytes may have left."""


class Transport(Protocol):
    """One pool of connections to one provider."""

    async def send(self, request: Request, *, timeout_s: float, send_by_s: float = math.inf) -> Response:
        """Return the whole answer, within `timeout_s` in total. Raises NotSent or MaybeSent.

        No byte of the request's body leaves after that time, nor after `send_by_s` on `sender.core.clock.steady_s`. A
        cancelled call raises CancelledError, with the NotSent or MaybeSent that is true then as its `__cause__`.
        """
        ...

    def distrust(self, response: Response) -> None:
        """Send nothing more over the connection that brought `response`: it answered another request.

        Call it before anything else is awaited. Requests under way elsewhere are left alone.
        """
        ...

    async def warm(self, url: str, connections: int) -> None:
        """Open up to `connections` connections to the host of `url`, with TLS for https, and send no request.

        A failure is ignored: the first request will meet it again.
        """
        ...

    async def aclose(self) -> None: ...


class TooLate(Exception):  # noqa: N818
    """The request's time to leave had passed before it was written."""


class NotHttp(Exception):  # noqa: N818
    """The answer is not valid HTTP, or the connection was closed before its end."""


class InvalidRequest(Exception):  # noqa: N818
    """The request cannot be written as HTTP."""


class InvalidUrl(Exception):  # noqa: N818
    """The URL is not valid."""


class UnsupportedScheme(Exception):  # noqa: N818
    """The URL's scheme is neither http nor https."""


class ClearText(Exception):  # noqa: N818
    """The request would leave this machine unencrypted, with its credentials."""


class ProxyRefused(Exception):  # noqa: N818
    """The proxy refused a tunnel."""


CLOSED = "the connection was closed before a whole answer, or the answer is not valid HTTP"
NO_CONNECTION = "no connection"
SENTENCES: dict[type[BaseException], str] = {
    TooLate: "it could no longer leave in time",
    NotHttp: CLOSED,
    InvalidRequest: "the request is not valid HTTP",
    InvalidUrl: "the URL is not valid",
    UnsupportedScheme: "the URL is neither http nor https",
    ClearText: "plain http may not leave this machine",
    ProxyRefused: "the proxy refused the connection",
    TimeoutError: "no whole answer in time",
    asyncio.CancelledError: "the request was cancelled",
    OSError: "the connection broke",
}


def make_failure(
    error: BaseException,
    *,
    unsent: bool,
    connecting: bool = False,
    sentences: Mapping[type[BaseException], str] = SENTENCES,
) -> TransportFailure:
    """Return NotSent or MaybeSent, with a sentence that quotes neither request nor answer.

    `sentences` are those of the exceptions that the transport knows.
    """
    sentence = next((known for kind, known in sentences.items() if isinstance(error, kind)), "the exchange failed")
    detail = type(error).__name__
    if connecting and isinstance(error, TimeoutError):
        sentence = "no connection in time"
    elif unsent and (sentence == NO_CONNECTION or (isinstance(error, OSError) and not isinstance(error, TimeoutError))):
        sentence, detail = NO_CONNECTION, _system_reason(error)
    text = f"{sentence} ({detail}); {'nothing was sent' if unsent else 'it may have been sent'}"
    if unsent and isinstance(error, TooLate):
        return Expired(text)
    return (NotSent if unsent else MaybeSent)(text)


def _system_reason(error: BaseException) -> str:
    """The system's or OpenSSL's reason for a failed connect, which names no more than the host."""
    reason = str(error) or type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):  # one failure for each address that was tried
            cause = cause.exceptions[0]
        if isinstance(cause, OSError) and cause.strerror:
            verification = getattr(cause, "verify_message", None) if isinstance(cause, ssl.SSLError) else None
            reason = verification or cause.strerror
        cause = cause.__cause__ or cause.__context__
    return reason
