"""SignalWire's own messaging API: POST /api/messaging/messages and the message log. Pure; performs no I/O.

Facts: docs.signalwire.com, "Create and send a message" (2026-08-21), its error list and its rate-limit page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from sender.core.errors import Unsupported
from sender.core.outcomes import Accepted, DeliveryReport, Outcome, Reason, Status
from sender.providers import _answers, _http, _rules
from sender.providers._adapter_base import AdapterBase
from sender.providers._answers import ErrorAction
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

FIELDS = _rules.vendor_fields(_rules.SIGNALWIRE)

_RATES = "SignalWire, rate-limits page (2026-08-21): per space, in segments, queued beyond it up to 10,000"
CAPABILITIES = Capabilities(
    provider=_rules.SIGNALWIRE,
    title=_rules.TITLES[_rules.SIGNALWIRE],
    sender_kinds=frozenset({SenderKind.NUMBER, SenderKind.SHORT_CODE}),
    fields=frozenset(FIELDS),
    service_field=None,
    media_max=8,
    body_max_chars=1600,  # the create page leaves it to the carrier; the platform's SMS page says 1600 (2026-08-21)
    passthrough=frozenset({"988", "+988"}),
    mms_receipts=False,  # status callback page (2026-08-21)
    rates={
        "long_code": DocumentedRate(4, "segments", f"{_RATES}; US 10DLC, the carrier's own limit comes on top"),
        "long_code_canada": DocumentedRate(1, "segments", f"{_RATES}; a Canadian long code"),
        "toll_free": DocumentedRate(3, "segments", _RATES),
        "short_code": DocumentedRate(10, "segments", _RATES),
    },
    queue=Backlog(_RATES, units=10_000),
)
LOG_FACTS = LogFacts(
    filters_by_recipient=False,
    carries_ref=False,  # custom_variables come back in callbacks only
    carries_body=False,
    settle_s=600,
    source="SignalWire, GET /api/messaging/logs (2026-08-21); the answer to a create already links to its log"
    " entry; the ten minutes are ours, for a create request still in flight when we stop waiting for its answer",
)

STATUSES: Mapping[str, Status] = {
    "queued": Status.QUEUED,
    "initiated": Status.QUEUED,
    "sent": Status.SENT,
    "delivered": Status.DELIVERED,
    "read": Status.DELIVERED,
    "undelivered": Status.UNDELIVERED,
    "failed": Status.FAILED,
}

# `mms_expired_rejected_failed_or_unsupported` is 30011 of the Compatibility API; its 30012 has no slug (2026-08-21).
# The list does not say which code comes at create time and which later, in the log and in callbacks. What a
# carrier or a handset says does not make the same message worth another try, so at create time it rejects.
ERRORS = _answers.error_table(
    [
        (
            ErrorAction.REJECT,
            Reason.INVALID_NUMBER,
            """invalid_to_number invalid_destination_number invalid_number_format not_e164 not_routable
            not_routeable unrouteable_message destination_number_not_supported number_not_supported
            unknown_destination_handset""",
        ),
        (ErrorAction.REJECT, Reason.OPTED_OUT, "message_blocked_by_number number_blacklisted"),
        (ErrorAction.REJECT, Reason.BLOCKED, "message_blocked_by_carrier"),
        (
            ErrorAction.REJECT,
            Reason.CONTENT,
            """body_or_media_required character_limit_exceeded message_length_exceeds_limit
            media_limit_exceeded invalid_media_url not_an_http_url unsupported_media_type
            media_exceeds_size_limit media_size_exceeds_limit invalid_media_type media_url_required
            message_body_required invalid_message_body mms_expired_rejected_failed_or_unsupported""",
        ),
        (ErrorAction.REJECT, Reason.FILTERED, "message_filtered carrier_violation"),
        (
            ErrorAction.RETRY,
            Reason.CONTENT,
            "media_connection_timeout media_download_failed media_request_failed media_processing_failed",
        ),
        (
            ErrorAction.HALT,
            Reason.SENDER_NOT_ALLOWED,
            """invalid_from_number verified_caller_id_not_permitted missing_messaging_capability
            number_not_verified sending_disabled_for_space sending_restricted_to_verified
            integration_test_verified_caller_required""",
        ),
        (
            ErrorAction.HALT,
            Reason.UNREGISTERED,
            "inactive_campaign campaign_not_active associated_campaign_inactive associated_campaign_suspended",
        ),
        (ErrorAction.HALT, Reason.INSUFFICIENT_FUNDS, "insufficient_balance insufficient_balance_to_send_message"),
        (ErrorAction.HALT, Reason.UNAUTHORIZED, "feature_not_available"),
        (
            ErrorAction.HALT,
            Reason.DAILY_CAP,
            "tmobile_daily_limit_reached sole_proprietor_daily_limit_exceeded pft_daily_limit_exceeded",
        ),
        (
            ErrorAction.SLOW,
            Reason.RATE_LIMITED,
            """rate_limit_exceeded message_backlog_limit_exceeded max_queued_messages_exceeded
            campaign_throughput_exceeded""",
        ),
        (
            ErrorAction.REJECT,
            Reason.UNREACHABLE,
            """unreachable_destination_handset unable_to_deliver_to_carrier
            rejected_by_receiving_carrier_for_unspecified_reason""",
        ),
        (ErrorAction.REJECT, Reason.EXPIRED, "message_validity_period_expired_at_carrier"),
        (ErrorAction.DOUBT, Reason.OTHER, "unknown_error internal_error_occurred"),
    ]
)

_LOGS = "/api/messaging/logs"
# A page of 500 entries stays well under the transport's cap of 1 MiB; the API allows 1000.
_PAGE_SIZE = 500
_MARGIN = timedelta(seconds=1)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = ("signalwire_", "sw_", "rtc_", "internal_")


def _check_variables(variables: FieldValue) -> None:
    for name, value in variables.items() if isinstance(variables, Mapping) else ():
        where = f"custom_variables.{name}"
        if name == "ref":
            raise Unsupported("`ref` is reserved: it names the message in callbacks", where=where, fix="rename it")
        if not _VARIABLE.fullmatch(name) or name.lower().startswith(_RESERVED):
            raise Unsupported(
                "SignalWire does not take this name",
                where=where,
                fix=f"use letters, digits and _; do not begin with a digit or with {_rules.listed(_RESERVED)}",
            )
        if not 0 < len(value.encode("utf-8", "replace")) <= 1024:
            raise Unsupported("SignalWire takes values of 1 to 1024 bytes", where=where)


RULES = _rules.FieldRules(own={"custom_variables": _check_variables}, short_code_digits=(5, 6))


def check(sender: str | None, fields: Mapping[str, FieldValue], media_count: int) -> SenderKind | None:
    """The kind of `sender`. Raises Unsupported for what SignalWire cannot carry, InputError for no sender."""
    return _rules.check(CAPABILITIES, RULES, sender=sender, fields=fields, media_count=media_count)


@dataclass(frozen=True, slots=True)
class SignalWireAdapter(AdapterBase):
    """The adapter of one project; see `sender.providers.base.Adapter`."""

    capabilities: Capabilities = CAPABILITIES
    log_facts: LogFacts = LOG_FACTS

    def request(self, message: Message) -> Request:
        """The create request; `ref` is in the callback's query and `custom_variables`. Raises Unsupported."""
        check(message.from_number, message.fields, len(message.media))
        _rules.check_message(CAPABILITIES, message)
        document: dict[str, Any] = {"to": message.to, "from": message.from_number}
        if message.body:
            document["body"] = message.body
        if message.media:
            document["media"] = list(message.media)
        for key, value in message.fields.items():
            document[FIELDS[key]] = value
        if "status_callback" in document:
            document["status_callback"] = _http.with_ref(document["status_callback"], message.ref)
        document["custom_variables"] = {**document.get("custom_variables", {}), "ref": message.ref}
        return _http.post_json(f"{self.base_url}/api/messaging/messages", self.authorization, document)

    def outcome(self, response: Response, message: Message | None = None) -> Outcome:
        """Return what the answer to a create request proves; never raises."""
        return _answers.read_outcome(response, _ANSWERS, message, message.from_number if message else None)

    def lookup(self, message_id: str) -> Request:
        """The request for one log entry."""
        return _http.get(f"{self.base_url}{_LOGS}/{quote(message_id, safe='')}", self.authorization)

    def lookup_result(self, response: Response) -> LogEntry | None:
        """The log entry; None when there is none. Raises ValueError when the answer cannot be read."""
        document = _http.looked_up(response)
        return None if document is None else _entry(document)

    def cancel(self, message_id: str) -> Request | None:  # noqa: ARG002
        """None: the API has no scheduled messages."""
        return None

    def cancel_result(self, response: Response) -> LogEntry:
        """The message that was taken back. Raises ValueError."""
        return _entry(_http.found(response))

    def log_request(self, query: LogQuery) -> Request:
        """The first page of the window, a second wider at both ends: no page says whether the ends are in it.

        The log filters by creation time only: `to` and `from_number` narrow nothing.
        """
        parameters = [
            ("created_after", _http.utc(query.since - _MARGIN)),
            ("created_before", _http.utc(query.until + _MARGIN)),
            ("page_size", str(min(query.page_size or _PAGE_SIZE, _PAGE_SIZE))),
        ]
        return _http.get(f"{self.base_url}{_LOGS}?{_http.form(parameters)}", self.authorization)

    def log_page(self, response: Response, request: Request | None = None) -> LogPage:  # noqa: ARG002
        """One page, outbound messages only; it links to the next. Raises ValueError when it cannot be read."""
        document = _http.listing(response, "data")
        entries = tuple(_entry(item) for item in document["data"] if item.get("direction") != "inbound")
        links = _http.mapping(document.get("links"))
        return LogPage(entries, _http.follow(self.base_url, links.get("next"), self.authorization))


def reports(headers: Mapping[str, str], body: bytes, url: str) -> list[Report]:  # noqa: ARG001 (one shape for all)
    """What a status callback or the request for an inbound message's SWML document says.

    Facts: signalwire-rest webhooks/messaging (2026-08-21). Raises ValueError when it cannot be read.
    """
    document = _http.parsed(body)
    if "message" in document:
        return [_inbound(_http.mapping(document["message"]))]
    provider_status = _http.text(document.get("status"))
    code, error_message = _error(document)
    at = _http.iso(document.get("timestamp"))
    status = STATUSES.get(provider_status or "")
    return [
        DeliveryReport(
            message_id=_http.message_id(document.get("id")),
            status=status,
            provider_status=provider_status,
            ref=_http.text(_http.mapping(document.get("custom_variables")).get("ref")) or _http.ref_in_url(url),
            reason=_answers.find_reason(ERRORS, code),
            error_code=code,
            error_message=error_message,
            segments=_http.whole(document.get("number_of_segments")),
            sent_at=at if status is Status.SENT else None,
            reported_at=at,
        )
    ]


def _inbound(message: dict[str, Any]) -> InboundMessage:
    return InboundMessage(
        message_id=_http.message_id(message.get("message_id")),
        from_number=_http.needed(message.get("from"), "from"),
        to=_http.needed(message.get("to"), "to"),
        text=_http.raw_text(message.get("body")) or "",
        at=_http.iso(message.get("timestamp")),
        media=_http.urls(
            each if isinstance(each, str) else _http.mapping(each).get("url")
            for each in _http.items(message.get("media"))
        ),
    )


def _accepted(document: dict[str, Any]) -> Accepted:
    provider_status = _http.text(document.get("status"))
    code, error_message = _error(document)
    return Accepted(
        message_id=_http.message_id(document.get("id")),
        status=STATUSES.get(provider_status or "", Status.QUEUED),
        provider_status=provider_status,
        segments=_http.whole(document.get("number_of_segments")),
        created_at=_http.iso(document.get("created_at")),
        reason=_answers.find_reason(ERRORS, code),
        error_code=code,
        error_message=error_message,
    )


def _is_error(document: Mapping[str, Any], status: int) -> bool:
    """Whether this is an error document of SignalWire's.

    422 `{errors: [{type, code, message, ...}]}`, elsewhere `{errors: [{detail, status, title, code}]}`; 400, 401, 403
    and 404 also `{error: "Unauthorized"}` and nothing else, in the words of HTTP (error-codes page, 2026-08-21, which
    does not show 403).
    """
    match document:
        case {"errors": [_, *_] as errors}:
            return all(
                isinstance(entry, dict)
                and isinstance(entry.get("code"), str)
                and any(isinstance(entry.get(name), str) for name in ("message", "detail", "title"))
                for entry in errors
            )
        case {"error": str(phrase), **others}:
            return not others and phrase.lower() == _PHRASES.get(status)
    return False


_PHRASES = {400: "bad request", 401: "unauthorized", 403: "forbidden", 404: "not found"}
_ANSWERS = _answers.AnswerFormat(
    accepted=_accepted,
    judge=lambda code, _text: ERRORS.get(code),
    is_error=_is_error,
    addresses=lambda document: (document.get("to"), document.get("from")),
)


def _entry(document: dict[str, Any]) -> LogEntry:
    """A log entry. Its error code may be a number of the Compatibility API, if that API made the message."""
    provider_status = _http.text(document.get("status"))
    price = _http.amount(document.get("charge"))
    code, error_message = _error(document)
    return LogEntry(
        message_id=_http.message_id(document.get("id")),
        to=_http.text(document.get("to")) or "",
        from_number=_http.text(document.get("from")),
        body=None,
        created_at=_http.exact_moment(document.get("created_at")),
        status=STATUSES.get(provider_status or ""),
        provider_status=provider_status,
        segments=_http.whole(document.get("number_of_segments")),
        price=price,
        currency="USD" if price else None,  # "The charge in dollars"
        reason=_answers.find_reason(ERRORS, code),
        error_code=code,
        error_message=error_message,
    )


def _error(document: dict[str, Any]) -> tuple[str | None, str | None]:
    return _http.text(document.get("error_code")), _http.text(document.get("error_message"))
