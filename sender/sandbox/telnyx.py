"""Telnyx v2 as the sandbox speaks it: `/v2/messages`, `/v2/messages/{id}` and `/v2/detail_records`.

Facts from Telnyx' OpenAPI file of July 2026 and its error code and detail record pages. A detail record appears when
the message is sent, as at Telnyx: absence from the log proves nothing before that.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sender.sandbox.dialect import (
    POOL_NUMBER,
    Answer,
    Column,
    Condition,
    Draft,
    FieldProblem,
    KeyRule,
    Listing,
    Log,
    Op,
    Refused,
    StoredMessage,
    Trouble,
    TroubleAnswer,
    glob,
)
from sender.sandbox.magic_numbers import is_landline
from sender.sandbox.segment_count import count_segments, is_gsm7
from sender.sandbox.wire_formats import (
    instant_ms,
    is_http_url,
    is_json,
    iso,
    json_object,
    ref_in_callback,
    says_bad,
    whole,
)

NAME = "telnyx"
_E164 = re.compile(r"\+[1-9]\d{6,14}")
_SHORT_CODE = re.compile(r"\d{3,8}")
_ALPHANUMERIC = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")
_MAX_PARTS, _MAX_MEDIA, _MAX_PAGE = 10, 10, 50
_SCHEDULE_S = (300, 5 * 86_400)
_VALID_FOR_S = 14_400  # the queue holds a message for 4 hours
_ORGANIZATION = str(uuid.uuid5(uuid.NAMESPACE_DNS, "sandbox.example"))

_TROUBLE_ANSWERS: Mapping[Trouble, TroubleAnswer] = {
    Trouble.INVALID_NUMBER: TroubleAnswer(400, "40310", "Invalid 'to' address", "/to"),
    Trouble.OPTED_OUT: TroubleAnswer(400, "40300", "Blocked due to STOP message", "/to"),
    Trouble.LANDLINE: TroubleAnswer(None, "40001", "Not routable"),
    Trouble.FILTERED: TroubleAnswer(None, "40002", "Blocked as spam - temporary"),
    Trouble.UNREACHABLE: TroubleAnswer(None, "40006", "Recipient server unavailable"),
    Trouble.RATE_LIMITED: TroubleAnswer(429, "10011", "Too many requests"),
    Trouble.NO_FUNDS: TroubleAnswer(402, "20100", "Insufficient funds"),
    Trouble.SENDER_NOT_ALLOWED: TroubleAnswer(400, "40305", "Invalid 'from' address", "/from"),
    Trouble.REGION_NOT_ALLOWED: TroubleAnswer(400, "40309", "Invalid destination region"),
    Trouble.SERVER_ERROR: TroubleAnswer(500, "10007", "Unexpected error"),
}
_TO_STATUS = {"undelivered": "delivery_failed", "failed": "sending_failed", "canceled": "cancelled"}
_RECORD_STATUS = {"delivered": "delivered", "undelivered": "failed", "failed": "gw_reject"}
_FINALS = {record: final for final, record in _RECORD_STATUS.items()}


class TelnyxApi:
    """The API. Each API key has an account; the key itself is never stored."""

    name = NAME
    trouble_answers = _TROUBLE_ANSWERS
    mms_receipts = True
    key_rule = KeyRule(
        "idempotency-key",
        kept_s=24 * 3600,
        other_body=FieldProblem(422, "10027", "The idempotency key was used with another request"),
        in_progress=FieldProblem(409, "10036", "A request with this idempotency key is in progress"),
        replayed=("idempotent-replayed", "true"),
    )

    def authenticate(self, authorization: str | None, _path_account: str | None) -> str:
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key or " " in key or says_bad(key):
            raise Refused(FieldProblem(401, "10009", "Authentication failed"))
        return hashlib.sha256(key.encode()).hexdigest()[:32]

    def parse_draft(self, account: str, content_type: str, body: bytes, now_ms: int) -> Draft:
        if not is_json(content_type):
            raise Refused(FieldProblem(415, "10029", "Expected JSON Content-Type"))
        fields = json_object(body)
        if fields is None:
            raise Refused(FieldProblem(400, "10023", "Invalid JSON"))
        # One status an answer: a missing parameter (422) goes before a wrong one (400).
        problems = [*_types(fields)] or [*_addresses(fields), *_content(fields), *_extras(fields, now_ms)]
        if problems:
            first = problems[0].status
            raise Refused(*(problem for problem in problems if problem.status == first))
        media = tuple(fields.get("media_urls") or ())
        callback = fields.get("webhook_url")
        shown = ("subject", "webhook_failover_url")
        return Draft(
            message_id=str(uuid.uuid4()),
            dialect=NAME,
            account=account,
            to=fields["to"],
            from_number=fields.get("from") or POOL_NUMBER,
            body=fields.get("text") or "",
            media=media,
            mms=bool(media) or fields.get("type") == "MMS",
            service=fields.get("messaging_profile_id"),
            callback=callback,
            ref=ref_in_callback(callback),
            send_at_ms=instant_ms(fields["send_at"]) if fields.get("send_at") else None,
            encoding="UCS-2" if fields.get("encoding") == "ucs2" else None,
            extra={name: fields[name] for name in shown if fields.get(name)},
        )

    def answer_created(self, message: StoredMessage, now_ms: int) -> Answer:
        return Answer(200, {"data": payload(message, now_ms)})

    def answer_refused(self, problems: Sequence[FieldProblem]) -> Answer:
        errors = []
        for problem in problems:
            error: dict[str, Any] = {
                "code": problem.code,
                "title": problem.message,
                "detail": problem.message,
            }
            if problem.attribute:
                name = "pointer" if problem.attribute.startswith("/") else "parameter"
                error["source"] = {name: problem.attribute}
            errors.append(error)
        return Answer(problems[0].status, {"errors": errors})

    cancel_margin_s = 60.0

    def parse_cancel(self, _body: bytes) -> None:
        return

    def answer_canceled(self, message: StoredMessage, now_ms: int) -> Answer:
        """Return the message without `data` around it, as the OpenAPI file has it for this answer alone."""
        return Answer(200, payload(message, now_ms))

    def answer_cancel_refused(self, problems: Sequence[FieldProblem]) -> Answer:
        """Return one error without `errors` around it where the OpenAPI file has it so, for this request alone."""
        problem = problems[0]
        if problem.status not in {403, 404}:
            return self.answer_refused(problems)
        return Answer(problem.status, {"code": problem.code, "title": problem.message, "detail": problem.message})

    def refuse_cancel(self) -> Refused:
        return Refused(FieldProblem(403, "10010", "The message is not scheduled, or less than a minute ahead"))

    def answer_message(self, log: Log, account: str, message_id: str, now_ms: int) -> Answer:
        message = log.get((NAME,), account, message_id)
        if message is None:
            raise Refused(FieldProblem(404, "10005", "Resource not found"))
        return Answer(200, {"data": payload(message, now_ms)})

    def answer_page(self, log: Log, listing: Listing) -> Answer:
        params = listing.params
        number = _number(params, "page[number]", 1, 10**9)
        size = _number(params, "page[size]", 20, _MAX_PAGE)
        sort = params.get("sort", params.get("sort[]", "-created_at"))
        if sort not in {"created_at", "-created_at"}:
            raise Refused(FieldProblem(400, "10015", "The sandbox sorts by created_at only", "sort"))
        where = [*_filters(params, listing.now_ms), (Column.SENT, Op.LE, listing.now_ms)]
        if (status := params.get("filter[status]")) is not None:
            where += [
                (Column.FINAL, Op.EQ, _FINALS.get(status, status)),
                (Column.FINAL_AT, Op.LE, listing.now_ms),
            ]
        messages, total = log.numbered_page(
            (NAME,),
            listing.account,
            where,
            offset=(number - 1) * size,
            limit=size,
            newest_first=sort.startswith("-"),
        )
        meta = {
            "page_number": number,
            "page_size": size,
            "total_pages": -(-total // size),
            "total_results": total,
        }
        return Answer(200, {"data": [_record(message, listing.now_ms) for message in messages], "meta": meta})


def payload(message: StoredMessage, now_ms: int) -> dict[str, Any]:
    """Return the message object of answers and events."""
    draft = message.draft
    sent_ms = message.sent_at_ms(now_ms)
    code, text = message.error(now_ms)
    status = message.status(now_ms)
    final = now_ms >= message.final_ms
    start_ms = draft.send_at_ms or message.created_ms
    price = {"amount": f"{message.price_usd:.4f}", "currency": "USD"}
    return {
        "record_type": "message",
        "direction": "outbound",
        "id": message.message_id,
        "type": "MMS" if draft.mms else "SMS",
        "organization_id": _ORGANIZATION,
        "messaging_profile_id": draft.service or "",
        "from": {"phone_number": draft.from_number, "carrier": "Sandbox", "line_type": "VoIP"},
        "to": [
            {
                "phone_number": draft.to,
                "status": _TO_STATUS.get(status, status),
                "carrier": "Sandbox",
                "line_type": "Wireline" if is_landline(draft.to) else "Wireless",
            }
        ],
        "cc": [],
        "text": draft.body,
        "subject": draft.extra.get("subject"),
        "media": [{"url": url, "content_type": None, "sha256": None, "size": None} for url in draft.media],
        "webhook_url": draft.callback,
        "webhook_failover_url": draft.extra.get("webhook_failover_url"),
        "encoding": message.encoding,
        "smart_encoding_applied": False,
        "parts": message.segments,
        "tags": [],
        "cost": price if sent_ms is not None else None,
        "cost_breakdown": None,
        "received_at": iso(message.created_ms, fraction=True),
        "sent_at": None if sent_ms is None else iso(sent_ms, fraction=True),
        "completed_at": iso(message.final_ms, fraction=True) if final else None,
        "valid_until": iso(start_ms + 1000 * _VALID_FOR_S, fraction=True),
        "wait_seconds": 0.0,
        "errors": [{"code": code, "title": text}] if code else [],
    }


def _record(message: StoredMessage, now_ms: int) -> dict[str, Any]:
    draft = message.draft
    code, _ = message.error(now_ms)
    record = {
        "record_type": "message_detail_record",
        "uuid": message.message_id,
        "cld": draft.to,
        "cli": draft.from_number,
        "direction": "outbound",
        "message_type": "MMS" if draft.mms else "SMS",
        "created_at": iso(message.created_ms, fraction=True),
        "sent_at": iso(message.sent_ms, fraction=True),
        "updated_at": iso(message.updated_ms(now_ms), fraction=True),
        "parts": message.segments,
        "cost": f"{message.price_usd:.4f}",
        "currency": "USD",
        "errors": [code] if code else [],
    }
    if draft.service:
        record["profile_id"] = draft.service
    if draft.callback:
        record["delivery_status_webhook_url"] = draft.callback
    if now_ms >= message.final_ms:  # `status` is the final one, so a record has none before
        record["status"] = _RECORD_STATUS[message.final]
        record["completed_at"] = iso(message.final_ms, fraction=True)
    return record


def _types(fields: dict[str, Any]) -> list[FieldProblem]:
    """Return a problem for each parameter of the wrong JSON type; null counts as absent, as the OpenAPI file has it."""
    kinds: dict[str, type] = {
        **dict.fromkeys(("to", "from", "text", "messaging_profile_id", "subject", "send_at", "encoding", "type"), str),
        **dict.fromkeys(("webhook_url", "webhook_failover_url"), str),
        **dict.fromkeys(("use_profile_webhooks", "auto_detect"), bool),
        "media_urls": list,
    }
    return [
        FieldProblem(422, "10026", f"{name} must be a {kind.__name__}", f"/{name}")
        for name, kind in kinds.items()
        if fields.get(name) is not None and not isinstance(fields[name], kind)
    ]


def _addresses(fields: dict[str, Any]) -> list[FieldProblem]:
    to, sender, profile = (fields.get(name) for name in ("to", "from", "messaging_profile_id"))
    if not to:
        return [FieldProblem(422, "10004", "Missing required parameter", "/to")]
    if not sender and not profile:
        return [FieldProblem(422, "10004", "Missing required parameter", "/from")]
    problems = []
    if not (_E164.fullmatch(to) or _SHORT_CODE.fullmatch(to)):
        problems.append(FieldProblem(400, "40310", "Invalid 'to' address", "/to"))
    if sender and not (_E164.fullmatch(sender) or _SHORT_CODE.fullmatch(sender)):
        if not re.search("[A-Za-z]", sender):
            problems.append(FieldProblem(400, "40305", "Invalid 'from' address", "/from"))
        elif not _ALPHANUMERIC.fullmatch(sender):
            problems.append(FieldProblem(400, "40325", "Invalid alphanumeric sender ID", "/from"))
        elif not profile:
            problems.append(FieldProblem(422, "10004", "Missing required parameter", "/messaging_profile_id"))
        elif to.startswith("+1"):
            problems.append(FieldProblem(400, "40301", "Unsupported message type", "/from"))
    return problems


def _content(fields: dict[str, Any]) -> list[FieldProblem]:
    text, media, kind = fields.get("text") or "", fields.get("media_urls") or [], fields.get("type")
    if not text and not media:
        return [FieldProblem(400, "40316", "No content provided", "/text")]
    if kind not in {None, "SMS", "MMS"}:
        return [FieldProblem(422, "10032", "Invalid enumerated value", "/type")]
    if kind == "SMS" and media:
        return [FieldProblem(400, "40304", "Invalid combination of message content", "/media_urls")]
    if len(media) > _MAX_MEDIA:
        return [FieldProblem(400, "40317", "Invalid MMS content", "/media_urls")]
    if not all(is_http_url(url) for url in media):
        return [FieldProblem(400, "10003", "Invalid URL", "/media_urls")]
    if fields.get("encoding") == "gsm7" and not is_gsm7(text):  # 400, as its file says; which code, it does not
        return [FieldProblem(400, "40009", "Invalid message body", "/encoding")]
    demanded = "UCS-2" if fields.get("encoding") == "ucs2" else None
    if not media and kind != "MMS" and count_segments(text, demanded)[1] > _MAX_PARTS:
        return [FieldProblem(400, "40302", "Message too large", "/text")]
    return []


def _extras(fields: dict[str, Any], now_ms: int) -> list[FieldProblem]:
    problems = [
        FieldProblem(400, "10003", "Invalid URL", f"/{name}")
        for name in ("webhook_url", "webhook_failover_url")
        if fields.get(name) and not is_http_url(fields[name])
    ]
    if fields.get("encoding") not in {None, "auto", "gsm7", "ucs2"}:
        problems.append(FieldProblem(422, "10032", "Invalid enumerated value", "/encoding"))
    if fields.get("send_at") is not None:
        at_ms = instant_ms(fields["send_at"])
        low, high = (now_ms + 1000 * seconds for seconds in _SCHEDULE_S)
        if at_ms is None or not low <= at_ms <= high:
            problems.append(FieldProblem(422, "10033", "Value outside of range", "/send_at"))
    return problems


def _number(params: Mapping[str, str], name: str, default: int, high: int) -> int:
    number = whole(params, name, default, 1, high)
    if number is None:
        raise Refused(FieldProblem(400, "10033", "Value outside of range", name))
    return number


_FILTER = re.compile(r"filter\[(\w+)\](?:\[(\w+)\])?")
_TEXTS = {"cld": Column.TO, "cli": Column.FROM}
_COMPARISONS = {"gte": Op.GE, "gt": Op.GT, "lte": Op.LE, "lt": Op.LT}


def _filters(params: Mapping[str, str], now_ms: int) -> list[Condition]:
    """Return the filters as conditions. Raises Refused for an unknown one: ignored, it would show too much."""
    if params.get("filter[record_type]") != "messaging":
        raise Refused(FieldProblem(400, "10004", "filter[record_type]=messaging is required", "filter[record_type]"))
    where: list[Condition] = []
    for name, value in params.items():
        if not (match := _FILTER.fullmatch(name)):
            continue
        where += _filter(match[1], match[2], value, name, now_ms)
    return where


def _filter(field: str, op: str | None, value: str, name: str, now_ms: int) -> list[Condition]:
    match field, op:
        case ("record_type", None) | ("status", None):  # status is read where the clock is
            return []
        case ("direction", None):
            return [] if value == "outbound" else [(Column.TO, Op.EQ, "")]  # the log holds outbound messages only
        case ("cld" | "cli", None):
            return [(_TEXTS[field], Op.EQ, value)]
        case ("cld" | "cli", "contains"):
            return [(_TEXTS[field], Op.GLOB, glob("*", value, "*"))]
        case ("cld" | "cli", "starts_with"):
            return [(_TEXTS[field], Op.GLOB, glob("", value, "*"))]
        case ("cld" | "cli", "ends_with"):
            return [(_TEXTS[field], Op.GLOB, glob("*", value, ""))]
        case ("created_at", ("gte" | "gt" | "lte" | "lt") as text) if (ms := instant_ms(value)) is not None:
            return [(Column.CREATED, _COMPARISONS[text], ms)]
        case ("date_range", None) if (days := _days(value, now_ms)) is not None:
            start_ms, end_ms = days
            return [(Column.CREATED, Op.GE, start_ms), (Column.CREATED, Op.LT, end_ms)]
        case _:
            raise Refused(FieldProblem(400, "10031", "Invalid request filter", name))


def _days(name: str, now_ms: int) -> tuple[int, int] | None:
    """Return start and end (ms) of `today`, `yesterday` or `last_N_days` (which ends now, with today)."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    tomorrow = today + timedelta(days=1)
    last = re.fullmatch(r"last_(\d{1,3})_days", name)
    if name == "today":
        span = (today, tomorrow)
    elif name == "yesterday":
        span = (today - timedelta(days=1), today)
    elif last:
        span = (today - timedelta(days=int(last[1])), tomorrow)
    else:
        return None
    return round(span[0].timestamp() * 1000), round(span[1].timestamp() * 1000)
