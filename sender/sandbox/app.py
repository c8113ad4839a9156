"""The sandbox as an ASGI app: which path is whose, and what it has accepted.

Everything that the sandbox has accepted is shown under `/sandbox/`, which is not a path of any provider.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sender.sandbox import optouts as optouts_list
from sender.sandbox.dialect import Answer, Dialect, FieldProblem, Refused, StoredMessage
from sender.sandbox.laml import LamlApi
from sender.sandbox.media import MediaRequest, answer_media
from sender.sandbox.number_routes import number_routes
from sender.sandbox.signalwire import UUID, SignalWireApi
from sender.sandbox.signalwire_compat import CompatibilityApi
from sender.sandbox.simulator import SIMULATOR, Options, Sandbox, json_response, utc_ms
from sender.sandbox.telnyx import TelnyxApi
from sender.sandbox.telnyx_variants import VARIANTS
from sender.sandbox.twilio import TwilioApi
from sender.sandbox.webhooks import SimulatedReply, WebhookFaults

_NATIVE, _COMPATIBILITY, _TELNYX, _TWILIO = SignalWireApi(), CompatibilityApi(), TelnyxApi(), TwilioApi()
_LAML = "/api/laml/2010-04-01/Accounts/{account}/Messages"
_V2010 = "/2010-04-01/Accounts/{account}/Messages"

_Speaks = Callable[[Request], Dialect]


def _always(dialect: Dialect) -> _Speaks:
    return lambda _: dialect


def _by_account(request: Request) -> LamlApi:
    """The form API that an account under `/2010-04-01` belongs to.

    SignalWire's Compatibility SDKs (PyPI signalwire 2.1.1, npm @signalwire/compatibility-api 3.2.0) ask there, without
    `/api/laml`, and their accounts are UUIDs.
    """
    return _COMPATIBILITY if UUID.fullmatch(request.path_params["account"]) else _TWILIO


def _only_compatible(request: Request) -> LamlApi:
    """SignalWire's form API. Without `.json` Twilio answers in XML, which is not simulated."""
    api = _by_account(request)
    if api is _TWILIO:
        raise HTTPException(404)
    return api


# The dialect, the path that creates, the path that lists, the path of a message. `.json` goes before the bare path,
# which matches it.
_PATHS: tuple[tuple[_Speaks, str, str, str], ...] = (
    (_always(_NATIVE), "/api/messaging/messages", "/api/messaging/logs", "/api/messaging/logs/{message_id}"),
    (_always(_TELNYX), "/v2/messages", "/v2/detail_records", "/v2/messages/{message_id}"),
    (_by_account, f"{_V2010}.json", f"{_V2010}.json", f"{_V2010}/{{message_id}}.json"),
    (_only_compatible, _V2010, _V2010, f"{_V2010}/{{message_id}}"),
    (_always(_COMPATIBILITY), f"{_LAML}.json", f"{_LAML}.json", f"{_LAML}/{{message_id}}.json"),
    (_always(_COMPATIBILITY), _LAML, _LAML, f"{_LAML}/{{message_id}}"),
)
# The API and the root of the paths of a message's media.
_MEDIA_PATHS: tuple[tuple[Callable[[Request], LamlApi], str], ...] = (
    (_by_account, f"{_V2010}/{{message_id}}/Media{{media}}.json"),
    (_only_compatible, f"{_V2010}/{{message_id}}/Media{{media}}"),
    (lambda _: _COMPATIBILITY, f"{_LAML}/{{message_id}}/Media{{media}}.json"),
    (lambda _: _COMPATIBILITY, f"{_LAML}/{{message_id}}/Media{{media}}"),
)
# Which dialect answers for an unknown path, and with which code.
_PREFIXES: tuple[tuple[str, Dialect, str], ...] = (
    ("/api/laml/", _COMPATIBILITY, "20404"),
    ("/api/", _NATIVE, "not_found"),
    ("/v2/", _TELNYX, "10005"),
    ("/v1/", _TWILIO, "20404"),
    ("/2010-04-01/", _TWILIO, "20404"),
)
_Step = Callable[[Dialect, Request], Awaitable[ASGIApp]]


def _route(path: str, method: str, step: _Step, speaks: _Speaks) -> Route:
    async def endpoint(request: Request) -> ASGIApp:
        return await step(speaks(request), request)

    return Route(path, endpoint, methods=[method])


def _media_route(sandbox: Sandbox, path: str, speaks: Callable[[Request], LamlApi]) -> Route:
    async def endpoint(request: Request) -> ASGIApp:
        api, params = speaks(request), request.path_params
        try:
            account = api.authenticate(request.headers.get("authorization"), params["account"])
            message = api.find(sandbox.store, account, params["message_id"])
            asked = MediaRequest(message, request.url.path, tuple(request.query_params.multi_items()))
            answer = answer_media(api, asked, params.get("media_id"))
        except Refused as refused:
            answer = api.answer_refused(refused.problems)
        return json_response(answer)

    return Route(path, endpoint, methods=["GET"])


def _provider_routes(sandbox: Sandbox) -> list[Route]:
    routes = [
        _media_route(sandbox, path.replace("{media}", media), speaks)  # before the paths of a message, which match them
        for speaks, path in _MEDIA_PATHS
        for media in ("", "/{media_id}")
    ]
    for name, variant in VARIANTS.items():
        routes.append(_route(f"/v2/messages/{name}", "POST", sandbox.create_message, _always(variant)))
    for speaks, creates, lists, single in _PATHS:
        routes.append(_route(creates, "POST", sandbox.create_message, speaks))
        routes.append(_route(lists, "GET", sandbox.list_messages, speaks))
        routes.append(_route(single, "GET", sandbox.show_message, speaks))

    async def cancel_telnyx(request: Request) -> ASGIApp:
        return await sandbox.cancel_message(_TELNYX, request)

    async def cancel_twilio(request: Request) -> ASGIApp:
        if _by_account(request) is not _TWILIO:
            raise HTTPException(405)
        return await sandbox.cancel_message(_TWILIO, request)

    async def optouts(request: Request) -> ASGIApp:
        try:
            _TELNYX.authenticate(request.headers.get("authorization"), None)
            answer = sandbox.optouts.page(request.query_params)
        except Refused as refused:
            answer = _TELNYX.answer_refused(refused.problems)
        return json_response(answer)

    routes += [
        Route("/v2/messages/{message_id}", cancel_telnyx, methods=["DELETE"]),
        Route(f"{_V2010}/{{message_id}}.json", cancel_twilio, methods=["POST"]),
    ]
    return [*routes, Route(optouts_list.PATH, optouts, methods=["GET"])]


def _sandbox_routes(sandbox: Sandbox) -> list[Route]:
    """Return the routes that show what was accepted, for people and tests."""

    async def messages(request: Request) -> Response:
        if request.method == "DELETE":
            sandbox.store.clear()
            sandbox.behaviors.reset()
            sandbox.faults.reset()
            return json_response(Answer(200, {"total": 0}))
        now_ms = utc_ms()
        rows = [_to_dict(message, now_ms) for message in sandbox.store.everything()]
        return json_response(Answer(200, {"total": len(rows), "messages": rows}))

    async def opt_out(request: Request) -> Response:
        sandbox.optouts.add(await request.json(), utc_ms())
        return json_response(Answer(201, {}))

    async def counts(_: Request) -> Response:
        return json_response(Answer(200, sandbox.store.counts()))

    async def faults(_: Request) -> Response:
        return json_response(Answer(200, sandbox.store.faults()))

    async def callbacks(request: Request) -> Response:
        if request.method == "POST":  # the faults from now on
            try:
                sandbox.webhooks.set_faults(WebhookFaults(**await request.json()))
            except (TypeError, ValueError) as error:
                return json_response(Answer(400, {"error": str(error)}))
        return json_response(Answer(200, sandbox.webhooks.counts()))

    async def inbound(request: Request) -> Response:
        try:
            reply = SimulatedReply(**await request.json())
        except (TypeError, ValueError) as error:
            return json_response(Answer(400, {"error": str(error)}))
        return json_response(Answer(200, {"answer": await sandbox.webhooks.deliver_reply(reply)}))

    async def health(_: Request) -> Response:
        return json_response(Answer(200, {"status": "ok", "simulator": SIMULATOR, "accepted": sandbox.store.total}))

    return [
        Route("/sandbox/messages", messages, methods=["GET", "DELETE"]),
        Route("/sandbox/optouts", opt_out, methods=["POST"]),
        Route("/sandbox/counts", counts),
        Route("/sandbox/faults", faults),
        Route("/sandbox/callbacks", callbacks, methods=["GET", "POST"]),
        Route("/sandbox/inbound", inbound, methods=["POST"]),
        Route("/sandbox/health", health),
    ]


def _to_dict(message: StoredMessage, now_ms: int) -> dict[str, Any]:
    draft = message.draft
    return {
        "number": message.number,
        "message_id": message.message_id,
        "dialect": draft.dialect,
        "account": draft.account,
        "to": draft.to,
        "from": draft.from_number,
        "service": draft.service,
        "body": draft.body,
        "media": list(draft.media),
        "kind": "mms" if draft.mms else "sms",
        "encoding": message.encoding,
        "segments": message.segments,
        "ref": draft.ref,
        "callback": draft.callback,
        "extra": dict(draft.extra),
        "created_ms": message.created_ms,
        "status": message.status(now_ms),
        "error_code": message.error(now_ms)[0],
    }


def _answer_unknown(request: Request, _: Exception) -> Response:
    """Answer 404 for an unknown path or method, as the API that owns the path does."""
    for prefix, dialect, code in _PREFIXES:
        if request.url.path.startswith(prefix):
            return json_response(
                dialect.answer_refused([FieldProblem(404, code, "Not found: the sandbox does not simulate this")])
            )
    return json_response(Answer(404, {"error": "not found", "simulator": SIMULATOR}))


def _answer_failure(_request: Request, _error: Exception) -> Response:
    return json_response(Answer(500, {"error": "the sandbox itself failed", "simulator": SIMULATOR}))


def app(options: Options | None = None) -> Starlette:
    """Return the ASGI app; `app.state.sandbox` is its Sandbox, whose store is closed at the end of the lifespan.

    Raises StateError if the state file cannot be used. The outcomes below HTTP (silence, a reset, half an answer) need
    the server of `sender.sandbox.server`; another one would fail on them.
    """
    sandbox = Sandbox(options or Options())

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            async with sandbox.webhooks:
                yield
        finally:
            sandbox.store.close()

    starlette = Starlette(
        routes=[*_provider_routes(sandbox), *number_routes(sandbox), *_sandbox_routes(sandbox)],
        lifespan=lifespan,
        exception_handlers={404: _answer_unknown, 405: _answer_unknown, 500: _answer_failure},
    )
    starlette.state.sandbox = sandbox
    return starlette
