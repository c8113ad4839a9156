"""The ASGI app that providers call: status callbacks and inbound messages of the four dialects.

A webhook is believed only with its provider's signature, and gets a success only once its content is on disk. Other
answers: 403 forged, 404 and 405 not an address of ours, 413 too large, 400 not readable, 503 not stored, so that the
provider retries. Never logs a number, a text or a URL's query.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import product
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from sender import providers
from sender.core.errors import InputError, StateError
from sender.core.loopback import is_loopback
from sender.delivery.webhooks.forwarding import Forwarder
from sender.delivery.webhooks.intake import Intake, Overloaded
from sender.delivery.webhooks.signatures import Keys, Policy, Webhook, is_allowed, is_signed, why_unchecked
from sender.providers.base import InboundMessage

log = logging.getLogger("sender.delivery")

BODY_MAX_BYTES = 256 * 1024  # the largest that a provider sends, an MMS with ten links, has about ten kilobytes
BODY_TIMEOUT_S = 10.0
_WARN_EVERY_S = 10.0
_SHOWN_CHARS = 100  # of a path
_REFUSALS: Mapping[int, str] = {
    400: "not readable",
    403: "forged, or not signed",
    404: "not an address of this receiver",
    405: "not a method of this address",
    408: "too slow",
    413: "too large",
    503: "not stored; retry",
}


class Receiver:
    """The receiver of one state directory. `app` is the ASGI app; its lifespan opens and closes the intake."""

    def __init__(
        self,
        intake: Intake,
        *,
        public_url: str,
        keys: Keys,
        policy: Policy,
        forwarder: Forwarder | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`public_url` is from `check_public_url`: signatures cover it, whatever proxy is in front of us.

        `forwarder` posts replies on meanwhile. `clock` gives Unix time. Raises InputError for a policy of `off` unless
        only this machine can call.
        """
        if policy is Policy.OFF and not is_loopback(public_url):
            raise InputError(
                "signatures may be left unchecked on loopback only; elsewhere anybody could report anything",
                where="--signatures off",
                fix="use require, or verify-if-present",
            )
        self._intake = intake
        self._forwarder = forwarder
        self._public_url = public_url
        self._keys = keys
        self._policy = policy
        self._clock = clock
        self._warned_at: dict[int, float] = {}
        self.refused: dict[int, int] = {}
        self.app = self._make_app()

    def _make_app(self) -> Starlette:
        prefix = urlsplit(self._public_url).path
        routes = [
            route
            for base in dict.fromkeys(["", prefix])  # a proxy may strip the public URL's path, or leave it
            for route in self._make_routes(base)
        ]
        app = Starlette(
            routes=routes,
            lifespan=self._lifespan,
            exception_handlers={404: self._answer_unknown, 405: self._answer_unknown, 500: _answer_failure},
        )
        app.router.redirect_slashes = False  # providers treat a redirect as a failure
        return app

    def _make_routes(self, base: str) -> list[Route]:
        routes = [Route(f"{base}/health", self._health)]
        for dialect, slash in product(providers.DIALECTS, ("", "/")):  # a console may hold the address with a slash
            paths = f"/status/{dialect}{slash}", f"/inbound/{dialect}{slash}"
            routes.append(self._make_route(base, paths[0], dialect, ["POST"], is_status=True))
            routes.append(
                self._make_route(base, paths[1], dialect, ["POST", "GET"], is_status=False)
            )  # cXML may ask by GET
        return routes

    def _make_route(self, base: str, path: str, dialect: str, methods: list[str], *, is_status: bool) -> Route:
        async def endpoint(request: Request) -> Response:
            query = request.scope["query_string"].decode("latin-1")
            url = f"{self._public_url}{path}{f'?{query}' if query else ''}"
            return await self._receive(dialect, request, url, is_status=is_status)

        return Route(f"{base}{path}", endpoint, methods=methods)

    async def _receive(self, dialect: str, request: Request, url: str, *, is_status: bool) -> Response:
        """Take one webhook; `url` is the public one, without what a proxy has put before the path."""
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await _read_body(request)
        except TimeoutError:
            return self._refuse(408, dialect)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        if body is None:
            return self._refuse(413, dialect)
        headers = dict(request.headers)
        webhook = Webhook(url, headers, body)
        spoken = providers.webhook_dialect(dialect, headers)
        if not is_allowed(spoken, webhook, self._keys, self._policy, now_s=self._clock(), is_status=is_status):
            return self._refuse(403, dialect, why_unchecked(spoken, webhook, self._keys))
        try:
            reports = providers.reports(dialect, headers, body, url)
        except ValueError:
            return self._refuse(400, dialect)
        is_inbound = any(isinstance(report, InboundMessage) for report in reports)
        if is_inbound and self._policy is not Policy.OFF and not is_signed(spoken, webhook):
            return self._refuse(403, dialect)
        try:
            await self._intake.put(spoken, reports)
        except (Overloaded, StateError):
            return self._refuse(503, dialect)
        if is_inbound:
            answer = providers.inbound_answer(dialect, headers)
            return Response(answer.content, media_type=answer.content_type)
        return Response(status_code=200)

    def _refuse(self, status: int, dialect: str, why: str | None = None) -> Response:
        if self._count_refusal(status):
            log.warning(
                "a webhook for %s was refused with %d: %s (%d so far)",
                dialect,
                status,
                why or _REFUSALS[status],
                self.refused[status],
                extra={"event": "webhook_refused", "status": status, "dialect": dialect},
            )
        return Response(_REFUSALS[status], status, media_type="text/plain")

    async def _answer_unknown(self, request: Request, error: Exception) -> Response:
        """Answer what came to no address of ours, and say so: the address in a provider's console may be wrong."""
        status = error.status_code if isinstance(error, HTTPException) else 404
        if self._count_refusal(status):
            path = request.scope["path"]
            log.warning(
                "%s %s was refused with %d: %s (%d so far); providers call /status/PROVIDER and /inbound/PROVIDER, with"
                " one of %s",
                request.method[:20],
                ascii(path if len(path) <= _SHOWN_CHARS else f"{path[:_SHOWN_CHARS]}..."),
                status,
                _REFUSALS[status],
                self.refused[status],
                ", ".join(providers.DIALECTS),
                extra={"event": "webhook_refused", "status": status},
            )
        return Response(_REFUSALS[status], status, media_type="text/plain")

    def _count_refusal(self, status: int) -> bool:
        """Count a refusal; whether it is time to log one of this kind again."""
        self.refused[status] = self.refused.get(status, 0) + 1
        now = time.monotonic()
        if now - self._warned_at.get(status, -_WARN_EVERY_S) < _WARN_EVERY_S:
            return False
        self._warned_at[status] = now
        return True

    async def _health(self, _: Request) -> Response:
        intake = self._intake
        counts = intake.counts
        health = {
            "status": "ok" if intake.failure is None else "failing",
            "waiting": intake.waiting,
            "applied": counts.applied,
            "nothing_new": counts.same,
            "kept": counts.kept,
            "matched": counts.matched,
            "inbound": counts.inbound,
            "forwarding": None if self._forwarder is None else "failing" if self._forwarder.failure else "ok",
            "refused": {str(status): count for status, count in sorted(self.refused.items())},
        }
        return Response(json.dumps(health), 200 if intake.failure is None else 503, media_type="application/json")

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:  # closed when the last request has been answered
            await stack.enter_async_context(self._intake)
            if self._forwarder is not None:
                await stack.enter_async_context(self._forwarder)
            yield


async def _read_body(request: Request) -> bytes | None:
    """The whole body; None when it is too large, whatever size it declares."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > BODY_MAX_BYTES:
        return None
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > BODY_MAX_BYTES:
            return None
    return bytes(content)


def _answer_failure(_request: Request, _error: Exception) -> Response:
    return Response("failed; retry", 500, media_type="text/plain")
