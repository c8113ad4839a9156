"""SignalWire's native messaging API as the sandbox speaks it: `/api/messaging/messages`, `/api/messaging/logs`.

Facts from the SignalWire documentation of August 2026 (message create, message logs, error codes). Its log shows
messages of both SignalWire APIs, as `source` says, and never their text, custom variables or callback.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from sender.sandbox.dialect import (
    Answer,
    Column,
    Condition,
    Draft,
    FieldProblem,
    Listing,
    Log,
    Op,
    Refused,
    StoredMessage,
    Trouble,
    TroubleAnswer,
)
from sender.sandbox.wire_formats import (
    basic,
    cursor,
    day_end_ms,
    instant_ms,
    is_http_url,
    is_json,
    iso,
    json_object,
    newer_token,
    older_token,
    ref_in_callback,
    whole,
)

NAME = "signalwire"
COMPATIBILITY = "signalwire-compat"
UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_TO = re.compile(r"\+\d{5,17}|\+?988")
_FROM = re.compile(r"\+\d{5,17}|\d{5,6}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = ("signalwire_", "sw_", "rtc_", "internal_")
_FIELDS = frozenset({"to", "from", "body", "media", "send_as_mms", "status_callback", "custom_variables"})
_PHRASES = {400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 500: "Internal Server Error"}
_HELP = "https://signalwire.com/docs/apis/error-codes"
_MAX_BODY, _MAX_MEDIA, _MAX_VARIABLES, _MAX_VALUE_BYTES, _MAX_PAGE = 1600, 8, 20, 1024, 1000

# Which code comes at once and which in the log is not documented; this split is the sandbox's choice.
_TROUBLE_ANSWERS: Mapping[Trouble, TroubleAnswer] = {
    Trouble.INVALID_NUMBER: TroubleAnswer(422, "invalid_to_number", "The destination number is invalid.", "to"),
    Trouble.OPTED_OUT: TroubleAnswer(422, "message_blocked_by_number", "The destination blocked this sender.", "to"),
    Trouble.LANDLINE: TroubleAnswer(None, "unknown_destination_handset", "No handset at the destination number."),
    Trouble.FILTERED: TroubleAnswer(None, "message_filtered", "The spam filter blocked the message."),
    Trouble.UNREACHABLE: TroubleAnswer(None, "unreachable_destination_handset", "The handset could not be reached."),
    Trouble.RATE_LIMITED: TroubleAnswer(429, "rate_limit_exceeded", "The rate limit has been exceeded."),
    Trouble.NO_FUNDS: TroubleAnswer(422, "insufficient_balance", "The account balance is insufficient."),
    Trouble.SENDER_NOT_ALLOWED: TroubleAnswer(422, "invalid_from_number", "Not a number of this project.", "from"),
    Trouble.REGION_NOT_ALLOWED: TroubleAnswer(422, "invalid_from_number", "Not a number of this project.", "from"),
    Trouble.SERVER_ERROR: TroubleAnswer(500, "internal_error_occurred", "An internal error occurred."),
}


def project(authorization: str | None) -> str | None:
    """Return the project id of good credentials (a UUID and a token), else None. Both SignalWire APIs use it."""
    user, _ = basic(authorization) or ("", "")
    return user.lower() if UUID.fullmatch(user) else None


class SignalWireApi:
    """The native API."""

    name = NAME
    trouble_answers = _TROUBLE_ANSWERS
    mms_receipts = False  # an MMS stays at `sent` (status callback page)
    key_rule = None

    def authenticate(self, authorization: str | None, _path_account: str | None) -> str:
        account = project(authorization)
        if account is None:
            raise Refused(FieldProblem(401, "unauthorized", "Unauthorized"))
        return account

    def parse_draft(self, account: str, content_type: str, body: bytes, _now_ms: int) -> Draft:
        fields = json_object(body) if is_json(content_type) else None
        if fields is None:
            raise Refused(FieldProblem(400, "bad_request", "Bad Request"))
        if problems := [*_unknown(fields), *_addresses(fields), *_content(fields), *_extras(fields)]:
            raise Refused(*problems)
        variables = fields.get("custom_variables") or {}
        callback = fields.get("status_callback")
        media = tuple(fields.get("media") or ())
        return Draft(
            message_id=str(uuid.uuid4()),
            dialect=NAME,
            account=account,
            to=fields["to"],
            from_number=fields["from"],
            body=fields.get("body") or "",
            media=media,
            mms=bool(media) or fields.get("send_as_mms", False),
            callback=callback,
            ref=variables.get("ref") or ref_in_callback(callback),
            extra={"custom_variables": variables} if variables else {},
        )

    def answer_created(self, message: StoredMessage, now_ms: int) -> Answer:
        draft = message.draft
        code, text = message.error(now_ms)
        return Answer(
            201,
            {
                "id": message.message_id,
                "from": draft.from_number,
                "to": draft.to,
                "body": draft.body,
                "status": message.status(now_ms),
                "direction": "outbound",
                "kind": "mms" if draft.mms else "sms",
                "media": list(draft.media),
                "number_of_segments": message.segments,
                "error_code": code,
                "error_message": text,
                "created_at": iso(message.created_ms),
                "project_id": draft.account,
                "status_callback_url": draft.callback,
                "message_uri": f"/api/messaging/logs/{message.message_id}",
            },
        )

    def answer_refused(self, problems: Sequence[FieldProblem]) -> Answer:
        status = problems[0].status
        if status in _PHRASES:
            return Answer(status, {"error": _PHRASES[status]})
        kind = "validation_error" if status == 422 else "error"  # the body of a 429 is not documented
        return Answer(
            status,
            {
                "errors": [
                    {
                        "type": kind,
                        "code": problem.code,
                        "message": problem.message,
                        "attribute": problem.attribute,
                        "url": _HELP,
                    }
                    for problem in problems
                ]
            },
        )

    def answer_message(self, log: Log, account: str, message_id: str, now_ms: int) -> Answer:
        message = log.get((NAME, COMPATIBILITY), account, message_id)
        if message is None:
            raise Refused(FieldProblem(404, "not_found", "Not Found"))
        return Answer(200, _log_entry(message, now_ms))

    def answer_page(self, log: Log, listing: Listing) -> Answer:
        params = listing.params
        size = _number(params, "page_size", 50, 1, _MAX_PAGE)
        number = _number(params, "page_number", 0, 0, 10**9)
        edge = _cursor(params.get("page_token"), number)
        page = log.page((NAME, COMPATIBILITY), listing.account, _window(params), limit=size, **edge)
        position = {"page_number", "page_token"}
        others = [(name, value) for name, value in listing.query if name not in position]

        def link(*added: tuple[str, str | int]) -> str:
            query = urlencode([*others, *added])
            return f"{listing.base_url}{listing.path}{'?' if query else ''}{query}"

        here = [(name, value) for name, value in listing.query if name in position]
        links = {"self": link(*here), "first": link()}
        if token := older_token(page):
            links["next"] = link(("page_number", number + 1), ("page_token", token))
        if number and (token := newer_token(page)):
            links["prev"] = link(("page_number", number - 1), ("page_token", token))
        data = [_log_entry(message, listing.now_ms) for message in page.messages]
        return Answer(200, {"links": links, "data": data})


def _log_entry(message: StoredMessage, now_ms: int) -> dict[str, Any]:
    draft = message.draft
    native = draft.dialect == NAME
    code, text = message.error(now_ms)
    billed = message.sent_at_ms(now_ms) is not None  # "billing happens at sent"
    charge = message.price_usd if billed else 0.0
    return {
        "id": message.message_id,
        "from": draft.from_number,
        "to": draft.to,
        "status": message.status(now_ms),
        "direction": "outbound" if native else "outbound-api",
        "kind": "mms" if draft.mms else "sms",
        "source": "realtime_api" if native else "laml",
        "type": "relay_message" if native else "laml_message",
        "url": None,
        "number_of_segments": message.segments,
        "charge": charge,
        "charge_details": [{"description": "Simulated message", "charge": charge}] if billed else [],
        "created_at": iso(message.created_ms),
        "error_message": text,
        "error_code": code,
    }


def _invalid(code: str, message: str, attribute: str) -> FieldProblem:
    return FieldProblem(422, code, message, attribute)


def _unknown(fields: dict[str, Any]) -> list[FieldProblem]:
    unknown = sorted(fields.keys() - _FIELDS)
    return [_invalid("invalid_parameter", f"{name} is not a parameter of this request.", name) for name in unknown]


def _addresses(fields: dict[str, Any]) -> list[FieldProblem]:
    problems = []
    patterns = (("to", _TO, "invalid_number_format"), ("from", _FROM, "invalid_from_number"))
    for name, pattern, code in patterns:
        value = fields.get(name)
        if value is None or value == "":
            problems.append(_invalid("missing_required_parameter", f"{name} must be present.", name))
        elif not isinstance(value, str):
            problems.append(_invalid("not_a_string", f"{name} must be a string.", name))
        elif not pattern.fullmatch(value):
            problems.append(_invalid(code, f"{name} is not a number that can be used here.", name))
    return problems


def _content(fields: dict[str, Any]) -> list[FieldProblem]:
    body, media = fields.get("body"), fields.get("media")
    problems = []
    if body is not None and not isinstance(body, str):
        problems.append(_invalid("not_a_string", "body must be a string.", "body"))
    elif not body and not media:
        problems.append(_invalid("body_or_media_required", "body must be present without media.", "body"))
    elif body and len(body) > _MAX_BODY:
        problems.append(_invalid("character_limit_exceeded", f"body has more than {_MAX_BODY} characters.", "body"))
    if media is not None and not (isinstance(media, list) and all(isinstance(url, str) for url in media)):
        problems.append(_invalid("not_an_array_of_strings", "media must be an array of URLs.", "media"))
    elif media and len(media) > _MAX_MEDIA:
        problems.append(_invalid("media_limit_exceeded", f"media has more than {_MAX_MEDIA} items.", "media"))
    elif media and not all(is_http_url(url) for url in media):
        problems.append(_invalid("invalid_media_url", "media must hold HTTP or HTTPS URLs.", "media"))
    return problems


def _extras(fields: dict[str, Any]) -> list[FieldProblem]:
    problems = []
    if not isinstance(fields.get("send_as_mms", False), bool):
        problems.append(_invalid("not_a_boolean", "send_as_mms must be true or false.", "send_as_mms"))
    if "status_callback" in fields and not is_http_url(fields["status_callback"]):
        problems.append(_invalid("not_an_http_url", "status_callback must be an HTTP URL.", "status_callback"))
    if "custom_variables" in fields:
        problems += _variables(fields["custom_variables"])
    return problems


def _variables(variables: Any) -> list[FieldProblem]:
    name = "custom_variables"
    if not isinstance(variables, dict):
        return [_invalid("must_be_object", "custom_variables must be an object.", name)]
    if len(variables) > _MAX_VARIABLES:
        return [_invalid("too_many_custom_variables", f"more than {_MAX_VARIABLES} custom variables.", name)]
    problems = []
    for key, value in variables.items():
        if not _VARIABLE.fullmatch(key):
            problems.append(_invalid("invalid_custom_variable_name", "a name has a character it may not have.", name))
        elif key.startswith(_RESERVED):
            problems.append(_invalid("reserved_custom_variable_name", "a name has a reserved prefix.", name))
        if not isinstance(value, str) or not value:
            problems.append(_invalid("invalid_custom_variable_value", "values must be non-empty strings.", name))
        elif len(value.encode()) > _MAX_VALUE_BYTES:
            problems.append(_invalid("custom_variable_value_too_long", "a value is too long.", name))
    return problems


def _number(params: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    number = whole(params, name, default, low, high)
    if number is None:
        raise Refused(_invalid("invalid_parameter", f"{name} is out of range.", name))
    return number


def _cursor(token: str | None, page_number: int) -> dict[str, int]:
    if token is None:
        if page_number:
            raise Refused(_invalid("page_token_required", "page_token must be present.", "page_token"))
        return {}
    edge = cursor(token)
    if edge is None:
        raise Refused(_invalid("page_token_is_invalid", "page_token is not valid.", "page_token"))
    return edge


def _window(params: Mapping[str, str]) -> list[Condition]:
    def bound(name: str, *, end: bool = False) -> int:
        ms = day_end_ms(params[name]) if end else instant_ms(params[name])
        if ms is None:
            raise Refused(_invalid("not_a_datetime", f"{name} must be a date or a time.", name))
        return ms

    where: list[Condition] = []
    if "created_after" in params:
        where.append((Column.CREATED, Op.GE, bound("created_after")))
    if "created_before" in params:
        where.append((Column.CREATED, Op.LT, bound("created_before")))
    if "created_on" in params:
        where.append((Column.CREATED, Op.GE, bound("created_on")))
        where.append((Column.CREATED, Op.LT, bound("created_on", end=True)))
    return where
