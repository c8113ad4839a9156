"""Opens the transport that a campaign names."""

from __future__ import annotations

from sender.transport.base import Transport
from sender.transport.fast_transport import FastTransport
from sender.transport.httpx_transport import HttpxTransport


def open_transport(kind: str, concurrency: int) -> Transport:
    """Return the transport `kind` (`fast`, `httpx`), for at most `concurrency` requests at a time.

    Raises CredentialsError when the environment's proxies or certificates cannot be used.
    """
    return HttpxTransport(concurrency=concurrency) if kind == "httpx" else FastTransport(concurrency=concurrency)
