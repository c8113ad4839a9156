"""Telnyx messaging v2: POST /v2/messages and detail records. Pure; performs no I/O.

Facts: developers.telnyx.com, "Send a message", its OpenAPI file (2026-07-16), "Messaging error code
reference" and "Rate limiting" (2026-04).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from sender.core.errors import Unsupported
from sender.core.outcomes import Accepted, DeliveryReport, Outcome, Reason, Status
from sender.providers import _answers, _http, _rules
from sender.providers._adapter_base import AdapterBase
from sender.providers._answers import ErrorAction, ErrorMeaning
from sender.providers.base import (
    Backlog,
    Capabilities,
    DocumentedRate,
    FieldValue,
    Idempotency,
    InboundMessage,
    LogEntry,
    LogFacts,
    LogPage,
    LogQuery,
    Message,
    Report,
    Request,
    Response,
    SenderKind,
)
from sender.providers.idempotency import with_key
from sender.providers.telnyx_terms import LINE_TYPES, STATUSES

FIELDS = _rules.vendor_fields(_rules.TELNYX)

_RATES = "Telnyx, rate limiting (2026-04)"
_ACCOUNT = f"{_RATES}: 50 SMS and 15 MMS a second for the account, queued beyond it up to 4 h"
_KEYS = (
    "developers.telnyx.com, API fundamentals, idempotency; telnyx 4.189.0 declares it for POST /v2/messages (2026-11)"
)
CAPABILITIES = Capabilities(
    provider=_rules.TELNYX,
    title=_rules.TITLES[_rules.TELNYX],
    sender_kinds=frozenset(SenderKind),
    fields=frozenset(FIELDS),
    service_field="messaging_profile_id",
    media_max=10,
    body_max_chars=1530,  # ten parts of GSM-7 (error 40302); ten parts of UCS-2 are 670, which Telnyx checks
    short_code_recipients=True,
    rates={
        "long_code": DocumentedRate(
            50, "messages", f"{_ACCOUNT}; in the US the 10DLC campaign's own limit comes on top"
        ),
        "long_code_abroad": DocumentedRate(0.1, "messages", f"{_RATES}: a long code outside the US", per_sender=True),
        "toll_free": DocumentedRate(20, "messages", f"{_RATES}: a toll-free number", per_sender=True),
        "short_code": DocumentedRate(50, "messages", f"{_ACCOUNT}; a short code alone could do 1000"),
        "alphanumeric": DocumentedRate(0.1, "messages", f"{_RATES}: an alphanumeric sender", per_sender=True),
        "service": DocumentedRate(50, "messages", _ACCOUNT),
    },
    account_rate=DocumentedRate(50, "messages", _ACCOUNT),
    mms_rate=DocumentedRate(15, "messages", _ACCOUNT),
    queue=Backlog(_ACCOUNT, seconds=4 * 3600),
    idempotency=Idempotency("Idempotency-Key", 24 * 3600, (422, "10027"), (409, "10036"), _KEYS),
    schedule_s=(300, 5 * 86_400),  # the guide to scheduled messages (2026-11); the API's schema names no limits
)
LOG_FACTS = LogFacts(
    filters_by_recipient=True,
    carries_ref=True,  # in delivery_status_webhook_url
    carries_body=False,
    settle_s=None,
    source="Telnyx, GET /v2/detail_records (2026-07-16): a message appears once it was sent, after up to 4 h in"
    " the queue or 5 days on schedule, and no page says how soon after: an entry proves something, its absence nothing",
)

# Other Telnyx pages give other meanings for 40001, 40300, 40301 and 40310; the error reference is followed.
# 40309 is about this recipient's country, so it rejects one message and stops nothing.
ERRORS = _answers.error_table(
    [
        (ErrorAction.REJECT, Reason.INVALID_NUMBER, "40001 40012 40310 40301 40319 10002 10016"),
        (ErrorAction.REJECT, Reason.OPTED_OUT, "40300"),
        (ErrorAction.REJECT, Reason.CONTENT, "40302 40304 40316 40317 40322 40328 40009"),
        (ErrorAction.REJECT, Reason.FILTERED, "40015 40002 40017"),
        (ErrorAction.HALT, Reason.FILTERED, "40003"),  # for good, and for the sending number
        (ErrorAction.REJECT, Reason.SENDER_NOT_ALLOWED, "40309"),
        (
            ErrorAction.HALT,
            Reason.SENDER_NOT_ALLOWED,
            "40013 40100 40305 40306 40307 40308 40312 40315 40320 40321 40325 40331",
        ),
        (ErrorAction.HALT, Reason.UNREGISTERED, "40010 40019 40329 40330"),
        (ErrorAction.HALT, Reason.DAILY_CAP, "40016"),
        (ErrorAction.HALT, Reason.BLOCKED, "40020"),  # held for 24 h
        (ErrorAction.HALT, Reason.UNAUTHORIZED, "10009 10010 20001 20002 20003 20006 20008"),
        (ErrorAction.HALT, Reason.UNAUTHORIZED, "40311 40313 40314 10038 10039"),  # 40311, 40313: the profile's secret
        (ErrorAction.HALT, Reason.INSUFFICIENT_FUNDS, "20012 20013 20014 20015 20016 20100 40333"),
        (ErrorAction.SLOW, Reason.RATE_LIMITED, "10011 40318 40011 40018"),
        # The two that Telnyx marks as worth an automatic resend.
        (ErrorAction.RETRY, Reason.UNREACHABLE, "40006 40008"),
        (ErrorAction.REJECT, Reason.UNREACHABLE, "40004"),
        (ErrorAction.REJECT, Reason.EXPIRED, "40005 40014"),
        # Unexpected error, request timeout, service unavailable; the key is known, so an earlier request may count.
        (ErrorAction.DOUBT, Reason.OTHER, "10007 10008 10037 10027 10036"),
    ]
)

RULES = _rules.FieldRules(shapes={"messaging_profile_id": (_rules.UUID, "a UUID")})
_STOP = re.compile(r"\bstop|opt(?:ed)?[ -]?out|\bblock", re.IGNORECASE)
_RECORDS = "/v2/detail_records"
_PAGE_SIZE = 50  # the most a page may have


def check(sender: str | None, fields: Mapping[str, FieldValue], media_count: int) -> SenderKind | None:
    """The kind of `sender`. Raises Unsupported for what Telnyx cannot carry, InputError for no sender."""
    kind = _rules.check(CAPABILITIES, RULES, sender=sender, fields=fields, media_count=media_count)
    if kind is SenderKind.ALPHANUMERIC and "messaging_profile_id" not in fields:
        raise Unsupported(
            "Telnyx sends from an alphanumeric id only with a messaging profile",
            where="from",
            fix="set `messaging_profile_id`",
        )
    if fields.get("message_type") == "SMS" and (media_count or fields.get("send_as_mms")):
        raise Unsupported("`SMS` with media or `send_as_mms`", where="message_type", fix="keep one of them")
    return kind


@dataclass(frozen=True, slots=True)
class TelnyxAdapter(AdapterBase):
    """The adapter of one account; see `sender.providers.base.Adapter`."""

    capabilities: Capabilities = CAPABILITIES
    log_facts: LogFacts = LOG_FACTS

    def request(self, message: Message) -> Request:
        """The create request; `ref` is in the query of both webhook URLs, and makes its key. Raises Unsupported.

        Without a number the messaging profile's number pool chooses one.
        """
        kind = check(message.from_number, message.fields, len(message.media))
        _rules.check_message(CAPABILITIES, message)
        from_number, fields = _rules.choose_service(CAPABILITIES, kind, message)
        document: dict[str, Any] = {"to": message.to}
        if from_number is not None:
            document["from"] = from_number
        if message.body:
            document["text"] = message.body
        if message.media:
            document["media_urls"] = list(message.media)
        for key, value in fields.items():
            if key in _rules.CALLBACKS:
                document[FIELDS[key]] = _http.with_ref(str(value), message.ref)
            elif key == "send_at":
                document["send_at"] = _rules.utc_time(key, value)
            elif key == "send_as_mms":
                if value:
                    document["type"] = "MMS"
            else:
                document[FIELDS[key]] = value
        request = _http.post_json(f"{self.base_url}/v2/messages", self.authorization, document)
        rule = self.capabilities.idempotency
        return request if rule is None else with_key(request, rule, message)

    def outcome(self, response: Response, message: Message | None = None) -> Outcome:
        """Return what the answer to a create request proves; never raises."""
        return _answers.read_outcome(response, _ANSWERS, message, message.from_number if message else None)

    def lookup(self, message_id: str) -> Request:
        """The request for one message; Telnyx keeps it there for ten days."""
        return _http.get(f"{self.base_url}/v2/messages/{quote(message_id, safe='')}", self.authorization)

    def lookup_result(self, response: Response) -> LogEntry | None:
        """The message; None when there is none, or none any more. Raises ValueError when it cannot be read."""
        document = _http.looked_up(response)
        return None if document is None else _message_entry(document)

    def cancel(self, message_id: str) -> Request | None:
        """The request that takes a message back that is scheduled for more than a minute from now."""
        url = f"{self.base_url}/v2/messages/{quote(message_id, safe='')}"
        return Request("DELETE", url, (("Authorization", self.authorization), ("Accept", "application/json")))

    def cancel_result(self, response: Response) -> LogEntry:
        """The message that was taken back, which the reference shows without `data` around it. Raises ValueError."""
        document = _http.found(response)
        return _message_entry(document if "data" in document else {"data": document})

    def log_request(self, query: LogQuery) -> Request:
        """The first page of detail records of the window's days, oldest first so that new ones shift no page.

        Whole days, because the reference shows dates only; the caller compares `created_at`.
        """
        filters = (
            ("filter[record_type]", "messaging"),
            ("filter[direction]", "outbound"),
            ("filter[cld]", query.to),
            ("filter[cli]", query.from_number),
            ("filter[created_at][gte]", query.since.astimezone(UTC).date().isoformat()),
            ("filter[created_at][lt]", (query.until.astimezone(UTC).date() + timedelta(days=1)).isoformat()),
            ("sort", "created_at"),
            ("page[size]", str(min(query.page_size or _PAGE_SIZE, _PAGE_SIZE))),
            ("page[number]", "1"),
        )
        parameters = _http.form((name, value) for name, value in filters if value)
        return _http.get(f"{self.base_url}{_RECORDS}?{parameters}", self.authorization)

    def log_page(self, response: Response, request: Request | None = None) -> LogPage:
        """One page of detail records. Pages are only numbered: the next is `request` with the next number.

        Raises ValueError when it cannot be read, or when there are more pages and no `request` to make the
        next of.
        """
        document = _http.listing(response, "data")
        meta = _http.mapping(document.get("meta"))
        number, total = _http.whole(meta.get("page_number")), _http.whole(meta.get("total_pages"))
        if document["data"] and (number is None or total is None):
            raise ValueError("does not say how many pages there are")
        entries = tuple(_record_entry(item) for item in document["data"])
        if number is None or total is None or number >= total:
            return LogPage(entries, None)
        if request is None:
            raise ValueError("has more pages, and the request of this one is missing")
        address = urlsplit(request.url)
        parameters = [(name, value) for name, value in parse_qsl(address.query) if name != "page[number]"]
        query = _http.form([*parameters, ("page[number]", str(number + 1))])
        return LogPage(entries, _http.get(f"{self.base_url}{_RECORDS}?{query}", self.authorization))


def reports(headers: Mapping[str, str], body: bytes, url: str) -> list[Report]:  # noqa: ARG001 (one shape for all)
    """The reports in an event: message.sent, message.finalized, or a person's message.received; else an empty list.

    Facts: Telnyx' OpenAPI file, OutboundMessageEvent and InboundMessageEvent (2026-07-16); "Receiving webhooks for
    messaging" (2026-04). Raises ValueError when it cannot be read.
    """
    event = _http.mapping(_http.parsed(body).get("data"))
    payload = _http.mapping(event.get("payload"))
    match _http.text(event.get("event_type")):
        case "message.received":
            return [_inbound(payload)]
        case "message.sent" | "message.finalized":
            return [_report(payload, url, occurred_at=_http.iso(event.get("occurred_at")))]
        case None:
            raise ValueError("has no event_type")
        case _:
            return []


def _report(payload: dict[str, Any], url: str, *, occurred_at: str | None) -> DeliveryReport:
    accepted = _accepted({"data": payload})
    return DeliveryReport(
        message_id=accepted.message_id,
        status=STATUSES.get(accepted.provider_status or ""),
        provider_status=accepted.provider_status,
        ref=_http.ref_in_url(payload.get("webhook_url")) or _http.ref_in_url(url),
        reason=accepted.reason,
        error_code=accepted.error_code,
        error_message=accepted.error_message,
        segments=accepted.segments,
        price=accepted.price,
        currency=accepted.currency,
        sent_at=accepted.sent_at,
        reported_at=_http.iso(payload.get("completed_at")) or occurred_at,
        line_type=accepted.line_type,
        carrier=accepted.carrier,
        smart_encoded=accepted.smart_encoded,
    )


def _inbound(payload: dict[str, Any]) -> InboundMessage:
    return InboundMessage(
        message_id=_http.message_id(payload.get("id")),
        from_number=_http.needed(_http.mapping(payload.get("from")).get("phone_number"), "from"),
        to=_http.needed(_first(payload.get("to")).get("phone_number"), "to"),
        text=_http.raw_text(payload.get("text")) or "",
        keyword=_http.text(payload.get("autoresponse_type")),
        at=_http.iso(payload.get("received_at")),
        media=_http.urls(_http.mapping(each).get("url") for each in _http.items(payload.get("media"))),
    )


def judge(code: str, words: str) -> ErrorMeaning | None:
    """What an error code means. 40300 is an opt-out only if its text says so: Telnyx' pages disagree."""
    if code == "40300" and not _STOP.search(words):
        return ErrorMeaning(ErrorAction.REJECT, Reason.BLOCKED)
    return ERRORS.get(code)


def _accepted(document: dict[str, Any]) -> Accepted:
    data = _http.mapping(document.get("data"))
    to = _first(data.get("to"))
    provider_status = _http.text(to.get("status"))
    cost = _http.mapping(data.get("cost"))
    price = _http.amount(cost.get("amount"))
    reason, code, error_message = _error(data.get("errors"), provider_status)
    return Accepted(
        message_id=_http.message_id(data.get("id")),
        status=STATUSES.get(provider_status or "", Status.QUEUED),
        provider_status=provider_status,
        segments=_http.whole(data.get("parts")),
        price=price,
        currency=_http.text(cost.get("currency")) if price else None,
        created_at=_http.iso(data.get("received_at")),
        sent_at=_http.iso(data.get("sent_at")),
        reason=reason,
        error_code=code,
        error_message=error_message,
        wait_s=_http.seconds(data.get("wait_seconds")),
        line_type=LINE_TYPES.get(_http.text(to.get("line_type")) or ""),
        carrier=_http.text(to.get("carrier")),
        smart_encoded=smart if isinstance(smart := data.get("smart_encoding_applied"), bool) else None,
    )


def _is_error(document: Mapping[str, Any], _status: int) -> bool:
    """Whether this is Telnyx' error document: `{errors: [{code, title, ...}]}` (messaging_Error, 2026-07-16)."""
    errors = document.get("errors")
    return (
        isinstance(errors, list)
        and bool(errors)
        and all(
            isinstance(entry, dict)
            and (_http.text(entry.get("code")) or "").isdigit()
            and isinstance(entry.get("title"), str)
            for entry in errors
        )
    )


def _addresses(document: Mapping[str, Any]) -> tuple[object, object]:
    data = _http.mapping(document.get("data"))
    return _first(data.get("to")).get("phone_number"), _http.mapping(data.get("from")).get("phone_number")


_ANSWERS = _answers.AnswerFormat(accepted=_accepted, judge=judge, is_error=_is_error, addresses=_addresses)


def _message_entry(document: dict[str, Any]) -> LogEntry:
    accepted = _accepted(document)
    data = _http.mapping(document.get("data"))
    return LogEntry(
        message_id=accepted.message_id,
        to=_http.text(_first(data.get("to")).get("phone_number")) or "",
        from_number=_http.text(_http.mapping(data.get("from")).get("phone_number")),
        body=_http.raw_text(data.get("text")),
        created_at=_http.exact_moment(data.get("received_at")),
        status=STATUSES.get(accepted.provider_status or ""),
        provider_status=accepted.provider_status,
        ref=_http.ref_in_url(data.get("webhook_url")),
        segments=accepted.segments,
        price=accepted.price,
        currency=accepted.currency,
        sent_at=_http.moment(data.get("sent_at")),
        updated_at=_http.moment(data.get("completed_at")),
        reason=accepted.reason,
        error_code=accepted.error_code,
        error_message=accepted.error_message,
        line_type=accepted.line_type,
        carrier=accepted.carrier,
        smart_encoded=accepted.smart_encoded,
    )


def _record_entry(record: dict[str, Any]) -> LogEntry:
    provider_status = _http.text(record.get("status"))
    price = _http.amount(record.get("cost"))
    reason, code, error_message = _error(record.get("errors"), provider_status)
    return LogEntry(
        message_id=_http.message_id(record.get("uuid")),
        to=_http.text(record.get("cld")) or "",
        from_number=_http.text(record.get("cli")),
        body=None,
        created_at=_http.exact_moment(record.get("created_at")),
        status=STATUSES.get(provider_status or ""),
        provider_status=provider_status,
        ref=_http.ref_in_url(record.get("delivery_status_webhook_url")),
        segments=_http.whole(record.get("parts")),
        price=price,
        currency=_http.text(record.get("currency")) if price else None,
        sent_at=_http.moment(record.get("sent_at")),
        updated_at=_http.moment(record.get("completed_at")),
        reason=reason,
        error_code=code,
        error_message=error_message,
    )


def _first(value: object) -> dict[str, Any]:
    return _http.mapping(next(iter(_http.items(value)), None))


def _error(errors: object, word: str | None) -> tuple[Reason | None, str | None, str | None]:
    """Reason, code and text of the first error: an object in a message, a bare code in a detail record."""
    first = next(iter(_http.items(errors)), None)
    if isinstance(first, dict):
        code = _http.text(first.get("code"))
        parts = [_http.text(first.get(name)) for name in ("title", "detail")]
        words = _http.clean(": ".join(part for part in parts if part)) or None
    else:
        code, words = _http.text(first), None
    if code is None:
        return (Reason.EXPIRED if word == "expired" else None), None, words
    verdict = judge(code, words or "stop")  # a bare 40300 has its documented meaning
    return verdict.reason if verdict else Reason.OTHER, code, words
