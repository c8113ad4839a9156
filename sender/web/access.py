"""Who may see the page and act on it: the token, the cookie, the names of this server, and the headers of every answer.

A page on another site must not reach the server through the user's browser: its name may lead to 127.0.0.1 (DNS
rebinding), and its forms may post here. So the Host header must have a name of ours, a form must come from our own
page, and the cookie is never sent along from elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sender.core.loopback import is_loopback_host

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    # Not `no-referrer`: browsers then hide the origin of our own forms, too.
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Access:
    """The secret of one server, and the names by which it is reached besides those of this machine.

    `token` is in the URL that is printed at the start. The cookie and the forms have values made from it, so that
    neither shows it.
    """

    port: int
    names: Collection[str] = ()
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def cookie(self) -> str:
        """The cookie's name: cookies are shared by all ports of a machine."""
        return f"sender_web_{self.port}"

    @property
    def session(self) -> str:
        return self._derive("session")

    @property
    def form_key(self) -> str:
        return self._derive("form")

    def is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.token.encode())

    def admits(self, request: HTTPConnection) -> bool:
        """Whether the request has the cookie."""
        return hmac.compare_digest(request.cookies.get(self.cookie, "").encode(), self.session.encode())

    def is_own_form(self, request: HTTPConnection, form_key: str) -> bool:
        """Whether a posted form is one of our pages', sent from it."""
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return False
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return False
        return hmac.compare_digest(form_key.encode(), self.form_key.encode())

    def knows_host(self, host: str) -> bool:
        """Whether a Host header names this server: this machine with our port, or one of `names`."""
        try:
            parts = urlsplit(f"//{host}")
            name, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            return False
        if name in {known.lower() for known in self.names}:
            return True
        return is_loopback_host(name) and port == self.port

    def _derive(self, purpose: str) -> str:
        return hmac.new(self.token.encode(), purpose.encode(), hashlib.sha256).hexdigest()


class Guard:
    """An ASGI app around the page's: it refuses strange hosts, and adds HEADERS to every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        host = HTTPConnection(scope).headers.get("host", "")
        if not self._access.knows_host(host):
            refusal: Response = PlainTextResponse(
                "This server does not answer for that host name. Start it with `sender web --name NAME`.", 421
            )
            await refusal(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)
