"""The Messages resource that Twilio and SignalWire's Compatibility API (LaML) share. Pure; performs no I/O.

One implementation; the tables of the two dialects are in `laml_dialects`, with their sources.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from urllib.parse import quote

from sender.core.errors import Unsupported
from sender.core.outcomes import Accepted, DeliveryReport, Outcome, Status
from sender.providers import _answers, _http, _rules
from sender.providers._adapter_base import AdapterBase
from sender.providers._answers import ErrorMeaning
from sender.providers.base import (
    FieldValue,
    InboundMessage,
    LogEntry,
    LogPage,
    LogQuery,
    Message,
    Report,
    Request,
    Response,
    SenderKind,
)
from sender.providers.credentials import Account
from sender.providers.laml_dialects import COMPAT, STATUSES, TWILIO, LamlDialect

_PAGE_SIZE = 50  # bodies of 1600 characters, twelve bytes each when escaped, stay under the transport's cap
_PAGE_SIZE_MAX = 1000


def check(
    dialect: LamlDialect, sender: str | None, fields: Mapping[str, FieldValue], media_count: int
) -> SenderKind | None:
    """The kind of `sender`. Raises Unsupported for what the dialect cannot carry, InputError for no sender."""
    capabilities = dialect.capabilities
    kind = _rules.check(capabilities, dialect.rules, sender=sender, fields=fields, media_count=media_count)
    if dialect.exclusive_sender and kind not in (None, SenderKind.SERVICE) and "messaging_service_sid" in fields:
        raise Unsupported(
            f"{capabilities.title} takes `from` or `messaging_service_sid`, not both",
            where="from",
            fix="keep one of them",
        )
    return kind


@dataclass(frozen=True, slots=True)
class LamlAdapter(AdapterBase):
    """The adapter of one account in one dialect; see `sender.providers.base.Adapter`."""

    dialect: LamlDialect
    answers: _answers.AnswerFormat

    def request(self, message: Message) -> Request:
        """The create request; `ref` is in the callback's query. Raises Unsupported."""
        kind = check(self.dialect, message.from_number, message.fields, len(message.media))
        _rules.check_message(self.capabilities, message, has_template="content_sid" in message.fields)
        from_number, fields = _rules.choose_service(self.capabilities, kind, message)
        pairs = [("To", message.to)]
        if from_number is not None:
            pairs.append(("From", from_number))
        if message.body:
            pairs.append(("Body", message.body))
        pairs += [("MediaUrl", url) for url in message.media]
        for key, value in fields.items():
            pairs += self._pairs(key, value, message.ref)
        return _http.post_form(self._messages(), self.authorization, pairs)

    def outcome(self, response: Response, message: Message | None = None) -> Outcome:
        """Return what the answer to a create request proves; never raises."""
        has_service = message is None or "messaging_service_sid" in message.fields  # it chooses the number
        sender = None if has_service or message is None else message.from_number
        return _answers.read_outcome(response, self.answers, message, sender)

    def lookup(self, message_id: str) -> Request:
        """The request for one message."""
        return _http.get(self._messages(f"/{quote(message_id, safe='')}"), self.authorization)

    def lookup_result(self, response: Response) -> LogEntry | None:
        """The message; None when there is none. Raises ValueError when the answer cannot be read."""
        document = _http.looked_up(response)
        return None if document is None else self._entry(document)

    def cancel(self, message_id: str) -> Request | None:
        """The request that takes a scheduled message back: Twilio's, for SignalWire's API has none."""
        if not self.dialect.cancels:
            return None
        return _http.post_form(
            self._messages(f"/{quote(message_id, safe='')}"), self.authorization, [("Status", "canceled")]
        )

    def cancel_result(self, response: Response) -> LogEntry:
        """The message that was taken back. Raises ValueError when it was not."""
        return self._entry(_http.found(response))

    def log_request(self, query: LogQuery) -> Request:
        """The first page of messages to `to` from `from_number`, of any time unless `sent_only`.

        The only filter by time is on the date (UTC) *sent*, which may hide a message still queued; the caller
        compares `created_at`.
        """
        days = {"DateSent>": query.since, "DateSent<": query.until} if query.sent_only else {}
        filters = (
            ("To", query.to),
            ("From", query.from_number),
            *((name, moment.astimezone(UTC).date().isoformat()) for name, moment in days.items()),
            ("PageSize", str(min(query.page_size or _PAGE_SIZE, _PAGE_SIZE_MAX))),
        )
        parameters = _http.form((name, value) for name, value in filters if value)
        return _http.get(f"{self._messages()}?{parameters}", self.authorization)

    def log_page(self, response: Response, request: Request | None = None) -> LogPage:  # noqa: ARG002
        """One page, outbound messages only; it links to the next. Raises ValueError when it cannot be read."""
        document = _http.listing(response, "messages")
        entries = tuple(self._entry(item) for item in document["messages"] if item.get("direction") != "inbound")
        return LogPage(entries, _http.follow(self.base_url, document.get("next_page_uri"), self.authorization))

    def _pairs(self, key: str, value: FieldValue, ref: str) -> list[tuple[str, str]]:
        """One campaign field as form fields."""
        name = _rules.CARRIERS[key][self.capabilities.provider]
        match value:
            case bool():
                return [(name, "true" if value else "false")]
            case _ if key == "status_callback":
                return [(name, _http.with_ref(str(value), ref))]
            case _ if key == "send_at":
                return [("ScheduleType", "fixed"), (name, _rules.utc_time(key, value))]
            case Mapping():
                return [(name, json.dumps(dict(value), ensure_ascii=False, separators=(",", ":")))]
            case list() | tuple():
                return [(name, item) for item in value]
            case _:
                return [(name, str(value))]

    def _messages(self, rest: str = "") -> str:
        account_id = quote(self.account.account_id, safe="")
        return f"{self.base_url}{self.dialect.prefix}/Accounts/{account_id}/Messages{rest}{self.dialect.suffix}"

    def _entry(self, document: dict[str, Any]) -> LogEntry:
        accepted = _accepted(self.dialect, document)
        return LogEntry(
            message_id=accepted.message_id,
            to=_http.text(document.get("to")) or "",
            from_number=_http.text(document.get("from")),
            body=_http.raw_text(document.get("body")),
            created_at=_http.exact_moment(document.get("date_created")),
            status=STATUSES.get(accepted.provider_status or ""),
            provider_status=accepted.provider_status,
            segments=accepted.segments,
            price=accepted.price,
            currency=accepted.currency,
            sent_at=_http.moment(document.get("date_sent")),
            updated_at=_http.moment(document.get("date_updated")),
            reason=accepted.reason,
            error_code=accepted.error_code,
            error_message=accepted.error_message,
        )


def reports(errors: Mapping[str, ErrorMeaning], headers: Mapping[str, str], body: bytes, url: str) -> list[Report]:
    """What a status callback or the webhook of an inbound message says; `errors` is the dialect's table.

    A form at both; SignalWire's own file describes its status callback as JSON of the same names, so that is read as
    well. Facts: compatibility-api smsStatusCallback (2026-08-21); Twilio, "Outbound message status in status
    callbacks" and "Twilio's request to your incoming message webhook" (2026). Raises ValueError when it cannot be read.
    """
    fields = _http.webhook_fields(headers, body, url)
    status = _http.text(fields.get("MessageStatus")) or _http.text(fields.get("SmsStatus"))
    message_id = _http.message_id(fields.get("MessageSid") or fields.get("SmsSid"))
    if status in (None, "receiving", "received"):
        return [
            InboundMessage(
                message_id=message_id,
                from_number=_http.needed(fields.get("From"), "From"),
                to=_http.needed(fields.get("To"), "To"),
                text=_http.raw_text(fields.get("Body")) or "",
                keyword=_http.text(fields.get("OptOutType")),
                media=_http.urls(fields.get(f"MediaUrl{n}") for n in range(_http.whole(fields.get("NumMedia")) or 0)),
            )
        ]
    code = _http.text(fields.get("ErrorCode"))
    return [
        DeliveryReport(
            message_id=message_id,
            status=STATUSES.get(status or ""),
            provider_status=status,
            ref=_http.ref_in_url(url),
            reason=_answers.find_reason(errors, code),
            error_code=code,
            error_message=_http.text(fields.get("ErrorMessage")),
            segments=_http.whole(fields.get("NumSegments")),
        )
    ]


def signalwire_compat(account: Account) -> LamlAdapter:
    """The adapter for SignalWire's Compatibility API."""
    return _adapter(COMPAT, account)


def twilio(account: Account) -> LamlAdapter:
    """The adapter for Twilio."""
    return _adapter(TWILIO, account)


def _adapter(dialect: LamlDialect, account: Account) -> LamlAdapter:
    answers = _answers.AnswerFormat(
        accepted=lambda document: _accepted(dialect, document),
        judge=dialect.judge,
        is_error=_is_error,
        addresses=lambda document: (document.get("to"), document.get("from")),
    )
    return LamlAdapter(account, dialect.capabilities, dialect.log_facts, dialect, answers)


def _is_error(document: Mapping[str, Any], _status: int) -> bool:
    """Whether this is an error document of these APIs: `{code, message, more_info, status}`, or a list of such.

    `{errors: [{code, message, more_info}]}` is in SignalWire's file (CompatibilityErrorResponse, 2026-08-21). Codes
    have four digits or more: a gateway's `{"code": 403, "message": "Forbidden"}` is not one.
    """
    errors = document.get("errors", [document])
    return isinstance(errors, list) and bool(errors) and all(_is_error_entry(entry) for entry in errors)


def _is_error_entry(entry: object) -> bool:
    match entry:
        case {"code": int() | str() as code, "message": str(), **others} if not isinstance(code, bool):
            known = isinstance(others.get("more_info"), str) or isinstance(others.get("status"), int)
            return known and str(code).isdigit() and len(str(code)) >= 4
    return False


def _accepted(dialect: LamlDialect, document: dict[str, Any]) -> Accepted:
    status = _http.text(document.get("status"))
    price = _http.amount(document.get("price"))
    code = _http.text(document.get("error_code"))
    return Accepted(
        message_id=_http.message_id(document.get("sid")),
        status=STATUSES.get(status or "", Status.QUEUED),
        provider_status=status,
        segments=_http.whole(document.get("num_segments")),
        price=price,
        currency=_currency(document) if price else None,
        created_at=_http.iso(document.get("date_created")),
        sent_at=_http.iso(document.get("date_sent")),
        reason=_answers.find_reason(dialect.errors, code),
        error_code=code,
        error_message=_http.text(document.get("error_message")),
    )


def _currency(document: dict[str, Any]) -> str | None:
    unit = _http.text(document.get("price_unit"))
    return unit.upper() if unit else None
