"""The sandbox's paths about numbers, and not about messages: lists of deactivated ones."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sender.sandbox import deactivations
from sender.sandbox.dialect import Answer, Refused
from sender.sandbox.simulator import Sandbox, json_response, utc_ms
from sender.sandbox.twilio import TwilioApi

_TWILIO = TwilioApi()


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

    return [
        Route(deactivations.PATH, locate_list, methods=["GET"]),
        Route(deactivations.FILE_PATH, show_list, methods=["GET"]),
        Route("/sandbox/deactivations", set_list, methods=["POST"]),
    ]
