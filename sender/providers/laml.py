"""The Messages resource that Twilio and SignalWire's Compatibility API (LaML) share. Pure; performs no I/O.

One implementation, two tables. The same error number may mean different things in them (21606, 30001), so
each dialect has its own. Facts: SignalWire compatibility-api/messages and error-codes (2026-08-21); Twilio's
OpenAPI file (2026-04-14) and the error pages www.twilio.com/docs/api/errors/{code}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from urllib.parse import quote

from sender.core.errors import Unsupported
from sender.core.outcomes import Accepted, DeliveryReport, Outcome, Reason, Status
from sender.providers import _http, _rules
from sender.providers._http import ErrorAction, ErrorMeaning
from sender.providers.base import (
    Backlog,
    Capabilities,
    DocumentedRate,
    FieldValue,
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
from sender.providers.credentials import Account

# Both dialects' words; `sending` and `initiated` come from callbacks and lists that share them.
STATUSES: Mapping[str, Status] = {
    "accepted": Status.QUEUED,
    "scheduled": Status.QUEUED,
    "queued": Status.QUEUED,
    "initiated": Status.QUEUED,
    "sending": Status.QUEUED,
    "sent": Status.SENT,
    "delivered": Status.DELIVERED,
    "read": Status.DELIVERED,
    "partially_delivered": Status.UNDELIVERED,  # terminal, and the message as a whole did not arrive
    "undelivered": Status.UNDELIVERED,
    "failed": Status.FAILED,
    "canceled": Status.CANCELED,
}

COMPAT_ERRORS = _http.error_table(
    [
        (ErrorAction.REJECT, Reason.INVALID_NUMBER, "21211 21217 21603 21604 21614 30005 30006"),
        (ErrorAction.REJECT, Reason.LANDLINE, "21606"),  # here: To is not a mobile number
        (ErrorAction.REJECT, Reason.OPTED_OUT, "21610"),
        (ErrorAction.REJECT, Reason.BLOCKED, "30004"),
        (ErrorAction.REJECT, Reason.CONTENT, "21602 21617 21612 21620 21623 11751 12300 30011 30012 53603 63019"),
        (ErrorAction.REJECT, Reason.FILTERED, "30007"),
        (ErrorAction.REJECT, Reason.OTHER, "21402 90000"),  # a URL or an argument of this message
        (ErrorAction.REJECT, Reason.OTHER, "30010"),  # this message would cost more than max_price
        (ErrorAction.HALT, Reason.OTHER, "21624 21218"),  # validity period and application are the campaign's
        (ErrorAction.HALT, Reason.SENDER_NOT_ALLOWED, "21210 21212 21601 21705 21701 21703 21219"),
        (ErrorAction.HALT, Reason.UNREGISTERED, "21717"),
        (ErrorAction.HALT, Reason.UNAUTHORIZED, "20003 20010"),
        (ErrorAction.HALT, Reason.INSUFFICIENT_FUNDS, "30002 4001"),
        (ErrorAction.HALT, Reason.DAILY_CAP, "30027 35125"),
        (ErrorAction.SLOW, Reason.RATE_LIMITED, "20429 21611 30022"),
        (ErrorAction.REJECT, Reason.EXPIRED, "30001 30009"),  # here both: the validity period has passed
        (ErrorAction.REJECT, Reason.UNREACHABLE, "30003 63011"),
        (ErrorAction.REJECT, Reason.OTHER, "30008"),
        (ErrorAction.DOUBT, Reason.OTHER, "20001 20504 31003"),  # unknown error, internal error, connection timeout
    ]
)

# 21408 and 21612 are about this recipient's region or network, and so is half of what the list calls
# "sender": they reject the one message, or a single foreign number would stop the run again at every start.
TWILIO_ERRORS = _http.error_table(
    [
        (ErrorAction.REJECT, Reason.INVALID_NUMBER, "21211 21614 21265 21266 30005"),
        (ErrorAction.REJECT, Reason.LANDLINE, "21635 30006"),
        (ErrorAction.REJECT, Reason.OPTED_OUT, "21610"),
        (ErrorAction.REJECT, Reason.BLOCKED, "30004"),
        (ErrorAction.REJECT, Reason.FILTERED, "30007"),
        (ErrorAction.REJECT, Reason.CONTENT, "21602 21617 21620 21623 30011 12300"),
        (ErrorAction.REJECT, Reason.SENDER_NOT_ALLOWED, "21408 21612"),
        (ErrorAction.HALT, Reason.SENDER_NOT_ALLOWED, "21212 21606 21659 21660 21661 21703 21705"),
        (ErrorAction.HALT, Reason.OTHER, "35114 35115 35117"),  # SendAt, the campaign's, is out of Twilio's window
        (ErrorAction.HALT, Reason.UNREGISTERED, "30034 30032"),
        (ErrorAction.HALT, Reason.UNAUTHORIZED, "20003 10001 21608"),
        (ErrorAction.HALT, Reason.INSUFFICIENT_FUNDS, "30002"),  # suspended, most often for its balance
        (ErrorAction.SLOW, Reason.RATE_LIMITED, "20429 21611 30001 63017"),  # here 30001: queue overflow
        (ErrorAction.REJECT, Reason.UNREACHABLE, "30003"),
        (ErrorAction.REJECT, Reason.EXPIRED, "30036"),
        (ErrorAction.REJECT, Reason.OTHER, "30008"),
    ]
)


@dataclass(frozen=True, slots=True)
class LamlDialect:
    """Where the two differ. `prefix` and `suffix` stand around `/Accounts/{id}/Messages`."""

    capabilities: Capabilities
    rules: _rules.FieldRules
    log_facts: LogFacts
    errors: Mapping[str, ErrorMeaning]
    prefix: str
    suffix: str
    exclusive_sender: bool  # From or MessagingServiceSid, never both


def _sid(letters: str) -> tuple[re.Pattern[str], str]:
    return re.compile(rf"{letters}[0-9a-fA-F]{{32}}"), f"{letters} and 32 hexadecimal digits"


_UUID = (_rules.UUID, "a UUID")
_SPACE_RATES = "SignalWire, rate-limits page (2026-08-21): per space, in segments, queued beyond it up to 10,000"
_TWILIO_RATES = "Twilio, error pages 21611 and 30001 (2026): per sender, in segments, queued beyond it up to 10 h"
_SETTLE = "the ten minutes are ours, for a create that is still under way when its answer is given up"

COMPAT = LamlDialect(
    capabilities=Capabilities(
        provider=_rules.COMPAT,
        title=_rules.TITLES[_rules.COMPAT],
        sender_kinds=frozenset({SenderKind.NUMBER, SenderKind.SHORT_CODE, SenderKind.SERVICE}),
        fields=frozenset(_rules.vendor_fields(_rules.COMPAT)),
        service_field="messaging_service_sid",
        mms_receipts=False,  # smsStatusCallback (2026-08-21)
        media_max=8,
        body_max_chars=1600,
        rates={
            "long_code": DocumentedRate(
                4, "segments", f"{_SPACE_RATES}; US 10DLC, the carrier's own limit comes on top"
            ),
            "long_code_canada": DocumentedRate(1, "segments", f"{_SPACE_RATES}; a Canadian long code"),
            "toll_free": DocumentedRate(3, "segments", _SPACE_RATES),
            "short_code": DocumentedRate(10, "segments", _SPACE_RATES),
            "service": DocumentedRate(3, "segments", f"{_SPACE_RATES}; the slowest kind a number group may hold"),
        },
        queue=Backlog(_SPACE_RATES, units=10_000),
    ),
    rules=_rules.FieldRules(
        shapes={"messaging_service_sid": _UUID, "application_sid": _UUID},
        ranges={"validity_period": (1, 172_800)},
        short_code_digits=(5, 6),
    ),
    log_facts=LogFacts(
        filters_by_recipient=True,
        carries_ref=False,
        carries_body=True,
        settle_s=600,
        source=f"SignalWire, compatibility-api/messages, list (2026-08-21); {_SETTLE}",
    ),
    errors=COMPAT_ERRORS,
    prefix="/api/laml/2010-04-01",
    suffix="",
    exclusive_sender=True,
)

TWILIO = LamlDialect(
    capabilities=Capabilities(
        provider=_rules.TWILIO,
        title=_rules.TITLES[_rules.TWILIO],
        sender_kinds=frozenset(SenderKind),
        fields=frozenset(_rules.vendor_fields(_rules.TWILIO)),
        service_field="messaging_service_sid",
        media_max=10,
        body_max_chars=1600,
        rates={
            "long_code": DocumentedRate(1, "segments", _TWILIO_RATES, per_sender=True),
            "toll_free": DocumentedRate(
                3, "segments", "Twilio, not confirmed from a page of its own (2026-11)", per_sender=True
            ),
            "short_code": DocumentedRate(100, "segments", _TWILIO_RATES, per_sender=True),
            "alphanumeric": DocumentedRate(
                1, "segments", "no page gives a number; Twilio's slowest sender (2026-11)", per_sender=True
            ),
            "service": DocumentedRate(1, "segments", f"{_TWILIO_RATES}; the slowest sender a service may hold"),
        },
        queue=Backlog(_TWILIO_RATES, seconds=10 * 3600),
    ),
    rules=_rules.FieldRules(
        shapes={
            "messaging_service_sid": _sid("MG"),
            "application_sid": _sid("AP"),
            "content_sid": _sid("HX"),
        },
        ranges={"validity_period": (1, 36_000)},
        needs={
            "send_at": "messaging_service_sid",
            "shorten_urls": "messaging_service_sid",
            "fallback_from": "messaging_service_sid",
            "content_variables": "content_sid",
        },
    ),
    log_facts=LogFacts(
        filters_by_recipient=True,
        carries_ref=False,
        carries_body=True,
        settle_s=600,
        source=f"Twilio, OpenAPI ListMessage (2026-04-14); {_SETTLE}",
    ),
    errors=TWILIO_ERRORS,
    prefix="/2010-04-01",
    suffix=".json",  # without it Twilio answers in XML
    exclusive_sender=False,
)

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
class LamlAdapter:
    """The adapter of one account in one dialect; see `sender.providers.base.Adapter`."""

    dialect: LamlDialect
    account: Account

    @property
    def capabilities(self) -> Capabilities:
        return self.dialect.capabilities

    @property
    def log_facts(self) -> LogFacts:
        return self.dialect.log_facts

    @property
    def base_url(self) -> str:
        return self.account.base_url

    @property
    def account_id(self) -> str:
        return self.account.account_id

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
        return _http.post_form(self._messages(), self._authorization(), pairs)

    def outcome(self, response: Response) -> Outcome:
        """What the answer to a create request proves; never raises."""
        return _http.outcome(response, self._accepted, lambda code, _words: self.dialect.errors.get(code))

    def lookup(self, message_id: str) -> Request:
        """The request for one message."""
        return _http.get(self._messages(f"/{quote(message_id, safe='')}"), self._authorization())

    def lookup_result(self, response: Response) -> LogEntry | None:
        """The message; None when there is none. Raises ValueError when the answer cannot be read."""
        document = _http.found(response)
        return None if document is None else self._entry(document)

    def log_request(self, query: LogQuery) -> Request:
        """The first page of messages to `to` from `from_number`, of any time unless `sent_only`.

        The only filter by time is on the date (UTC) *sent*, which may hide a message still queued; the caller
        compares `created_at`.
        """
        days = {"DateSent>": query.since, "DateSent<": query.until} if query.sent_only else {}
        wanted = (
            ("To", query.to),
            ("From", query.from_number),
            *((name, moment.astimezone(UTC).date().isoformat()) for name, moment in days.items()),
            ("PageSize", str(min(query.page_size or _PAGE_SIZE, _PAGE_SIZE_MAX))),
        )
        parameters = _http.form((name, value) for name, value in wanted if value)
        return _http.get(f"{self._messages()}?{parameters}", self._authorization())

    def log_page(self, response: Response, request: Request | None = None) -> LogPage:  # noqa: ARG002
        """One page, outbound messages only; it links to the next. Raises ValueError when it cannot be read."""
        document = _http.listing(response, "messages")
        entries = tuple(self._entry(item) for item in document["messages"] if item.get("direction") != "inbound")
        return LogPage(entries, _http.follow(self.base_url, document.get("next_page_uri"), self._authorization()))

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

    def _authorization(self) -> str:
        return self.account.authorization.get_secret_value()

    def _accepted(self, document: dict[str, Any]) -> Accepted:
        word = _http.text(document.get("status"))
        price = _http.amount(document.get("price"))
        code = _http.text(document.get("error_code"))
        return Accepted(
            message_id=_http.message_id(document.get("sid")),
            status=STATUSES.get(word or "", Status.QUEUED),
            provider_status=word,
            segments=_http.whole(document.get("num_segments")),
            price=price,
            currency=_currency(document) if price else None,
            created_at=_http.iso(document.get("date_created")),
            sent_at=_http.iso(document.get("date_sent")),
            reason=_http.reason(self.dialect.errors, code),
            error_code=code,
            error_message=_http.text(document.get("error_message")),
        )

    def _entry(self, document: dict[str, Any]) -> LogEntry:
        accepted = self._accepted(document)
        return LogEntry(
            message_id=accepted.message_id,
            to=_http.text(document.get("to")) or "",
            from_number=_http.text(document.get("from")),
            body=_http.raw_text(document.get("body")),
            created_at=_http.moment(document.get("date_created")),
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
    word = _http.text(fields.get("MessageStatus")) or _http.text(fields.get("SmsStatus"))
    message_id = _http.message_id(fields.get("MessageSid") or fields.get("SmsSid"))
    if word in (None, "receiving", "received"):
        return [
            InboundMessage(
                message_id=message_id,
                from_number=_http.needed(fields.get("From"), "From"),
                to=_http.needed(fields.get("To"), "To"),
                text=_http.raw_text(fields.get("Body")) or "",
                keyword=_http.text(fields.get("OptOutType")),
            )
        ]
    code = _http.text(fields.get("ErrorCode"))
    return [
        DeliveryReport(
            message_id=message_id,
            status=STATUSES.get(word or ""),
            provider_status=word,
            ref=_http.ref_in_url(url),
            reason=_http.reason(errors, code),
            error_code=code,
            error_message=_http.text(fields.get("ErrorMessage")),
            segments=_http.whole(fields.get("NumSegments")),
        )
    ]


def signalwire_compat(account: Account) -> LamlAdapter:
    """The adapter for SignalWire's Compatibility API."""
    return LamlAdapter(COMPAT, account)


def twilio(account: Account) -> LamlAdapter:
    """The adapter for Twilio."""
    return LamlAdapter(TWILIO, account)


def _currency(document: dict[str, Any]) -> str | None:
    unit = _http.text(document.get("price_unit"))
    return unit.upper() if unit else None
