"""Carries a Request and returns a Response: the only place that connects to a provider.

A failure is raised as `NotSent` (proved that the provider did not get the whole request) or `MaybeSent` (it may
have). Knows nothing about providers, never retries, never follows a redirect, keeps no cookies, accepts no compressed
answer. Follows the environment: HTTPS_PROXY, ALL_PROXY and NO_PROXY (never for
loopback, where the sandbox is, and the only place for plain http), SSL_CERT_FILE and SSL_CERT_DIR.
"""

from __future__ import annotations

from sender.transport.base import MAX_ANSWER_BYTES, Expired, MaybeSent, NotSent, Transport, TransportFailure
from sender.transport.factory import open_transport
from sender.transport.fast_transport import FastTransport

__all__ = [
    "MAX_ANSWER_BYTES",
    "Expired",
    "FastTransport",
    "MaybeSent",
    "NotSent",
    "Transport",
    "TransportFailure",
    "open_transport",
]
