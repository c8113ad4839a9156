"""Carries a Request and brings a Response: the only place that opens a connection to a provider.

A failure is raised as `NotSent` (proved that the provider did not get the whole request) or `MaybeSent` (it may have).
Knows nothing of providers' meanings, never retries, never follows a redirect.
"""

from __future__ import annotations

from typing import Protocol

from sender.providers.base import Request, Response


class TransportFailure(Exception):  # noqa: N818
    """No readable answer came."""


class NotSent(TransportFailure):
    """The request provably did not reach the provider: DNS, connect, TLS or pool failure."""


class MaybeSent(TransportFailure):
    """The request may have been accepted: the connection broke or timed out after bytes may have left."""


class Transport(Protocol):
    """One pool of connections to one provider."""

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        """The whole answer, within `timeout_s` in total. Raises NotSent or MaybeSent."""
        ...

    async def aclose(self) -> None: ...
