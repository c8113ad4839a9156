"""Checks a campaign against what its provider can carry faithfully. Pure; performs no I/O.

The one table of campaign keys and vendor fields is here, below every adapter, so that a refusal can name the
providers that do carry a key, although adapters know nothing of one another. Never trims, drops or guesses:
what cannot be carried is refused with a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from sender.core.errors import InputError, Unsupported, setting
from sender.providers.base import Capabilities, FieldValue, Message, SenderKind

SIGNALWIRE = "signalwire"
COMPAT = "signalwire-compat"
TELNYX = "telnyx"
TWILIO = "twilio"
TITLES: Mapping[str, str] = {
    SIGNALWIRE: "SignalWire",
    COMPAT: "SignalWire Compatibility",
    TELNYX: "Telnyx",
    TWILIO: "Twilio",
}

# Campaign key -> dialect -> the vendor's field, from the create-message reference page of each (2026-08).
# Twilio wants `ScheduleType=fixed` with `send_at`; `send_as_mms` is `type: MMS` on Telnyx.
CARRIERS: Mapping[str, Mapping[str, str]] = {
    "status_callback": {
        SIGNALWIRE: "status_callback",
        COMPAT: "StatusCallback",
        TELNYX: "webhook_url",
        TWILIO: "StatusCallback",
    },
    "send_as_mms": {SIGNALWIRE: "send_as_mms", COMPAT: "SendAsMms", TELNYX: "type", TWILIO: "SendAsMms"},
    "custom_variables": {SIGNALWIRE: "custom_variables"},
    "messaging_profile_id": {TELNYX: "messaging_profile_id"},
    "messaging_service_sid": {COMPAT: "MessagingServiceSid", TWILIO: "MessagingServiceSid"},
    "application_sid": {COMPAT: "ApplicationSid", TWILIO: "ApplicationSid"},
    "validity_period": {COMPAT: "ValidityPeriod", TWILIO: "ValidityPeriod"},
    "max_price": {COMPAT: "MaxPrice", TWILIO: "MaxPrice"},
    "subject": {TELNYX: "subject"},
    "message_type": {TELNYX: "type"},
    "webhook_failover_url": {TELNYX: "webhook_failover_url"},
    "use_profile_webhooks": {TELNYX: "use_profile_webhooks"},
    "auto_detect": {TELNYX: "auto_detect"},
    "encoding": {TELNYX: "encoding"},
    "send_at": {TELNYX: "send_at", TWILIO: "SendAt"},
    "content_sid": {TWILIO: "ContentSid"},
    "content_variables": {TWILIO: "ContentVariables"},
    "content_retention": {TWILIO: "ContentRetention"},
    "address_retention": {TWILIO: "AddressRetention"},
    "smart_encoded": {TWILIO: "SmartEncoded"},
    "shorten_urls": {TWILIO: "ShortenUrls"},
    "provide_feedback": {TWILIO: "ProvideFeedback"},
    "force_delivery": {TWILIO: "ForceDelivery"},
    "attempt": {TWILIO: "Attempt"},
    "risk_check": {TWILIO: "RiskCheck"},
    "traffic_type": {TWILIO: "TrafficType"},
    "fallback_from": {TWILIO: "FallbackFrom"},
    "persistent_action": {TWILIO: "PersistentAction"},
}

CALLBACKS = frozenset({"status_callback", "webhook_failover_url"})  # URLs whose query carries our ref

_NUMBER = re.compile(r"\+[1-9][0-9]{4,14}")
_SHORT_CODE = re.compile(r"[0-9]{3,8}")
_ALPHANUMERIC = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")
UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_SERVICE = re.compile(rf"MG[0-9a-fA-F]{{32}}|{UUID.pattern}")
# SignalWire documents `+` and 5 to 17 digits, the widest of the four; finer checks are the phone column's.
_RECIPIENT = re.compile(r"\+[0-9]{5,17}")
_OWN_REF = re.compile(r"[^#]*[?&]ref=")
_TOLL_FREE = re.compile(r"\+1(?:800|833|844|855|866|877|888)[0-9]{7}")

_KIND_NAMES: Mapping[SenderKind, str] = {
    SenderKind.NUMBER: "a number (+1...)",
    SenderKind.SHORT_CODE: "a short code",
    SenderKind.ALPHANUMERIC: "an alphanumeric id",
    SenderKind.SERVICE: "a service, profile or number group id",
}


@dataclass(frozen=True, slots=True)
class FieldRules:
    """What a provider requires of values, beyond the keys it takes.

    `shapes`: key -> (pattern, its description). `ranges`: key -> lowest and highest. `own`: key -> a check that raises
    Unsupported. `needs`: key -> the key that must be set with it. `short_code_digits`: lengths of a short code used as
    sender.
    """

    shapes: Mapping[str, tuple[re.Pattern[str], str]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    own: Mapping[str, Callable[[FieldValue], None]] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    short_code_digits: tuple[int, int] = (3, 8)


def vendor_fields(dialect: str) -> Mapping[str, str]:
    """Campaign key -> vendor field, for one dialect."""
    return {key: names[dialect] for key, names in CARRIERS.items() if dialect in names}


@lru_cache(maxsize=4096)
def sender_kind(text: str) -> SenderKind:
    """The kind of a sender, by its shape alone. Raises InputError when it has none of the four shapes."""
    for kind, pattern in (
        (SenderKind.NUMBER, _NUMBER),
        (SenderKind.SHORT_CODE, _SHORT_CODE),
        (SenderKind.SERVICE, _SERVICE),
        (SenderKind.ALPHANUMERIC, _ALPHANUMERIC),
    ):
        if pattern.fullmatch(text):
            return kind
    raise InputError(
        f"{text!r} is not a sender",
        where="from",
        fix="write a number with + and country code, a short code of 3 to 8 digits, a service, profile or"
        " number group id, or 1 to 11 letters, digits and spaces with at least one letter",
    )


def is_toll_free(number: str) -> bool:
    """Whether an E.164 number is a North American toll-free one (800, 833, 844, 855, 866, 877, 888)."""
    return _TOLL_FREE.fullmatch(number) is not None


def check(
    capabilities: Capabilities,
    rules: FieldRules,
    *,
    sender: str | None,
    fields: Mapping[str, FieldValue],
    media_count: int,
) -> SenderKind | None:
    """Return the kind of `sender` (None for None), if the provider can carry all of this.

    Raises Unsupported for the first thing that it cannot, InputError when `sender` is not a sender.
    """
    check_values(capabilities, rules, fields)
    kind = None if sender is None else check_kind(capabilities, rules, sender)
    if media_count > capabilities.media_max:
        raise Unsupported(
            f"{media_count} media files; {capabilities.title} takes at most {capabilities.media_max}",
            where="message.media",
            fix="send fewer, or point to a page that shows them",
        )
    _check_service(capabilities, rules, sender, kind, fields)
    _check_needs(capabilities, rules, kind, fields)
    return kind


def check_values(capabilities: Capabilities, rules: FieldRules, fields: Mapping[str, FieldValue]) -> None:
    """Raise Unsupported for the first field that the provider lacks, or whose value it does not take."""
    for key, value in fields.items():
        if key not in capabilities.fields:
            raise not_carried(capabilities, key)
        _check_value(capabilities, rules, key, value)


def check_kind(capabilities: Capabilities, rules: FieldRules, sender: str) -> SenderKind:
    """The kind of `sender`. Raises Unsupported when the provider does not send from it, InputError when it is none."""
    kind = sender_kind(sender)
    if kind not in capabilities.sender_kinds:
        takes = listed(_KIND_NAMES[each] for each in SenderKind if each in capabilities.sender_kinds)
        raise Unsupported(
            f"{sender!r} is {_KIND_NAMES[kind]}, which {capabilities.title} does not send from",
            where="from",
            fix=f"use {takes}",
        )
    if kind is SenderKind.SHORT_CODE:
        shortest, longest = rules.short_code_digits
        if not shortest <= len(sender) <= longest:
            raise Unsupported(
                f"{sender!r}: a short code on {capabilities.title} has {shortest} to {longest} digits",
                where="from",
            )
    return kind


def not_carried(capabilities: Capabilities, key: str) -> Unsupported:
    """The refusal of a key that the provider has no field for; it names the providers that have one."""
    others = [TITLES[dialect] for dialect in CARRIERS.get(key, {})]
    return Unsupported(
        f"{capabilities.title} has no field for `{key}`",
        where=key,
        fix=f"remove it, or use a provider that carries it ({', '.join(others)})" if others else "remove it",
    )


def check_message(capabilities: Capabilities, message: Message, *, has_template: bool = False) -> None:
    """Raise Unsupported for a recipient or a body that the provider cannot carry, or for an empty message."""
    to = message.to
    if not (
        _RECIPIENT.fullmatch(to)
        or to in capabilities.passthrough
        or (capabilities.short_code_recipients and _SHORT_CODE.fullmatch(to))
    ):
        raise Unsupported(
            f"{capabilities.title} cannot send to {to!r}",
            where="to",
            fix="write the number with + and country code",
        )
    if message.body and len(message.body) > capabilities.body_max_chars:
        raise Unsupported(
            f"{len(message.body)} characters; {capabilities.title} takes at most {capabilities.body_max_chars}",
            where="message.body",
            fix="shorten it",
        )
    if not (message.body or message.media or has_template):
        raise Unsupported("the message has neither text nor media", where="message", fix="write a body")


def choose_service(
    capabilities: Capabilities, kind: SenderKind | None, message: Message
) -> tuple[str | None, Mapping[str, FieldValue]]:
    """The number to send from, and the fields; a service id in `from` is moved to a field of its own."""
    if kind is SenderKind.SERVICE and capabilities.service_field and message.from_number:
        return None, {**message.fields, capabilities.service_field: message.from_number}
    return message.from_number, message.fields


def utc_time(key: str, value: FieldValue) -> str:
    """An ISO 8601 time as `YYYY-MM-DDTHH:MM:SSZ`, the one form Twilio documents (error page 35115).

    Raises Unsupported when it is not a time, or has no offset: a campaign must not depend on a machine's
    zone.
    """
    try:
        moment = datetime.fromisoformat(str(value))
        if moment.tzinfo is None:
            raise Unsupported(
                f"{value!r} has no offset from UTC",
                where=key,
                fix="write 2026-12-01T09:00:00-05:00, or end it with Z",
            )
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        raise Unsupported(
            f"{value!r} is not an ISO 8601 time", where=key, fix="write it like 2026-12-01T09:00:00-05:00"
        ) from None


def listed(items: Iterable[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *head, last = items
    return f"{', '.join(head)} or {last}" if head else last


def _check_value(capabilities: Capabilities, rules: FieldRules, key: str, value: FieldValue) -> None:
    if key in rules.shapes:
        pattern, description = rules.shapes[key]
        if not pattern.fullmatch(str(value)):
            raise Unsupported(f"{value!r} is not {description}, as {capabilities.title} requires", where=key)
    if key in rules.ranges:
        lowest, highest = rules.ranges[key]
        if not (isinstance(value, int) and lowest <= value <= highest):
            raise Unsupported(f"{value!r}: {capabilities.title} takes {lowest} to {highest}", where=key)
    if key in rules.own:
        rules.own[key](value)
    if key == "send_at":
        utc_time(key, value)
    if key in CALLBACKS and _OWN_REF.match(str(value)):
        raise Unsupported(
            "the URL already has a `ref` parameter, and ours would be added to it",
            where=key,
            fix="rename the parameter in the URL",
        )


def _check_service(
    capabilities: Capabilities,
    rules: FieldRules,
    sender: str | None,
    kind: SenderKind | None,
    fields: Mapping[str, FieldValue],
) -> None:
    service_field = capabilities.service_field
    service = fields.get(service_field) if service_field else None
    if kind is None:
        if service is None:
            raise Unsupported(
                f"there is no sender; {capabilities.title} needs one",
                where="from",
                fix=f"set {setting('from')}" + (f", or `{service_field}`" if service_field else ""),
            )
        return
    if kind is SenderKind.SERVICE and service_field:
        pattern, description = rules.shapes[service_field]
        if not pattern.fullmatch(str(sender)):
            raise Unsupported(f"{sender!r} is not {description}, as {capabilities.title} requires", where="from")
        if service not in (None, sender):
            raise Unsupported(f"`from` and `{service_field}` name two pools", where="from", fix="keep one of them")


def _check_needs(
    capabilities: Capabilities, rules: FieldRules, kind: SenderKind | None, fields: Mapping[str, FieldValue]
) -> None:
    for key, needed in rules.needs.items():
        by_sender = kind is SenderKind.SERVICE and needed == capabilities.service_field
        if key in fields and fields[key] is not False and needed not in fields and not by_sender:
            raise Unsupported(
                f"{capabilities.title} takes `{key}` only with `{needed}`",
                where=key,
                fix=f"set `{needed}` too",
            )
