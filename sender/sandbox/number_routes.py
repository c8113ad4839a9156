"""The sandbox's paths about numbers, and not about messages: lookups, and lists of deactivated ones."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sender.sandbox import deactivations, lookups
from sender.sandbox.dialect import Answer, Refused
from sender.sandbox.signalwire import SignalWireApi
from sender.sandbox.simulator import Sandbox, json_response, utc_ms
from sender.sandbox.telnyx import TelnyxApi
from sender.sandbox.twilio import TwilioApi

_TWILIO, _TELNYX, _SIGNALWIRE = TwilioApi(), TelnyxApi(), SignalWireApi()


def number_routes(sandbox: Sandbox) -> list[Route]:
    """Return the routes."""
    lists = sandbox.deactivations

    async def locate_list(request: Request) -> ASGIApp:
        try:
            _TWILIO.authenticate_account(request.headers.get("authorization"))
            answer = lists.locate(request.query_params, str(request.base_url), utc_ms())
        except Refused as refused:
            answer = _TWILIO.answer_refused(refused.problems)
        return json_response(answer)

    async def show_list(request: Request) -> Response:
        text = lists.text(request.query_params, utc_ms())
        return PlainTextResponse("expired" if text is None else text, 403 if text is None else 200)

    async def set_list(request: Request) -> ASGIApp:
        try:
            lists.set(await request.json())
        except (KeyError, TypeError, ValueError) as error:
            return json_response(Answer(400, {"error": str(error)}))
        return json_response(Answer(201, {}))

    async def twilio(request: Request) -> ASGIApp:
        try:
            _TWILIO.authenticate_account(request.headers.get("authorization"))
            answer = lookups.twilio(_number(request), request.query_params, str(request.base_url))
        except Refused as refused:
            answer = _TWILIO.answer_refused(refused.problems)
        return json_response(answer)

    async def telnyx(request: Request) -> ASGIApp:
        try:
            _TELNYX.authenticate(request.headers.get("authorization"), None)
            answer = lookups.telnyx(_number(request))
        except Refused as refused:
            answer = _TELNYX.answer_refused(refused.problems)
        return json_response(answer)

    async def signalwire(request: Request) -> ASGIApp:
        try:
            _SIGNALWIRE.authenticate(request.headers.get("authorization"), None)
            answer = lookups.signalwire(_number(request), request.query_params)
        except Refused as refused:
            answer = _SIGNALWIRE.answer_refused(refused.problems)
        return json_response(answer)

    return [
        Route(lookups.TWILIO_PATH, twilio, methods=["GET"]),
        Route(lookups.TELNYX_PATH, telnyx, methods=["GET"]),
        Route(lookups.SIGNALWIRE_PATH, signalwire, methods=["GET"]),
        Route(deactivations.PATH, locate_list, methods=["GET"]),
        Route(deactivations.FILE_PATH, show_list, methods=["GET"]),
        Route("/sandbox/deactivations", set_list, methods=["POST"]),
    ]


def _number(request: Request) -> str:
    number: str = request.path_params["number"]
    return number
