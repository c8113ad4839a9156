"""Opens the transport that a campaign names."""

from __future__ import annotations

from sender.transport import network_settings
from sender.transport.base import Transport
from sender.transport.fast_transport import FastTransport


def open_transport(kind: str, concurrency: int, url: str) -> Transport:
    """Return the transport `kind` (`fast`, `httpx`) to the origin of `url`, for `concurrency` requests at a time.

    Raises CredentialsError when the environment's proxies or certificates cannot be used.
    """
    context = network_settings.make_ssl_context(url)
    if kind == "httpx":
        from sender.transport.httpx_transport import HttpxTransport  # noqa: PLC0415 (httpx takes long to load)

        return HttpxTransport(concurrency=concurrency, context=context)
    return FastTransport(concurrency=concurrency, context=context)
