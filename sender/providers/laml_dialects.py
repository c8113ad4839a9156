"""The two dialects of the Messages resource: Twilio's, and SignalWire's Compatibility API's. Tables only.

The same error number may mean different things in them (21606, 30001), so each has its own. Facts: SignalWire
compatibility-api/messages and error-codes (2026-08-21); Twilio's OpenAPI file (2026-04-14) and the error pages
www.twilio.com/docs/api/errors/{code}, read in 2026-11. Where a page says that the message failed after it was accepted
(14107, 30047, 30500, 30610), the row is also right for a refusal of the request itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sender.core.outcomes import Reason, Status
from sender.providers import _answers, _rules
from sender.providers._answers import ErrorAction, ErrorMeaning
from sender.providers.base import Backlog, Capabilities, DocumentedRate, LogFacts, SenderKind

# Of both dialects; `sending` and `initiated` are from callbacks and lists that share them.
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

COMPAT_ERRORS = _answers.error_table(
    [
        (ErrorAction.REJECT, Reason.INVALID_NUMBER, "21211 21217 21603 21604 21614 30005 30006"),
        (ErrorAction.REJECT, Reason.LANDLINE, "21606"),  # here: To is not a mobile number
        (ErrorAction.REJECT, Reason.OPTED_OUT, "21610"),
        (ErrorAction.REJECT, Reason.BLOCKED, "30004"),
        (ErrorAction.REJECT, Reason.CONTENT, "21602 21617 21612 21620 21623 11751 12300 30011 30012 53603 63019"),
        (ErrorAction.REJECT, Reason.FILTERED, "30007"),
        (ErrorAction.REJECT, Reason.OTHER, "90000"),  # an argument of this message
        (ErrorAction.REJECT, Reason.OTHER, "30010"),  # this message would cost more than max_price
        (ErrorAction.HALT, Reason.OTHER, "21624 21218"),  # validity period and application are the campaign's
        # 21402 is a bad URL, 21456 a callback's. Media have a code of their own (21620): see `judge_compat`.
        (ErrorAction.HALT, Reason.OTHER, "21402 21456"),
        (ErrorAction.HALT, Reason.OTHER, "20404"),  # the path names the project, and nothing of the message
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

_MEDIA = re.compile(r"\bmedia|\bmms\b", re.IGNORECASE)


def judge_compat(code: str, words: str) -> ErrorMeaning | None:
    """What an error code of the Compatibility API means. 21402 is the callback's fault unless it speaks of media."""
    if code == "21402" and _MEDIA.search(words):
        return ErrorMeaning(ErrorAction.REJECT, Reason.CONTENT)
    return COMPAT_ERRORS.get(code)


# 21408 and 21612 are about this recipient's region or network, and so is half of what the list calls
# "sender": they reject the one message, or a single foreign number would stop the run again at every start.
# What only the campaign or the account can change halts, once: asked again, every row would get the same answer.
TWILIO_ERRORS = _answers.error_table(
    [
        (ErrorAction.REJECT, Reason.INVALID_NUMBER, "21211 21614 21265 21266 30005"),
        (ErrorAction.REJECT, Reason.LANDLINE, "21635 30006"),
        (ErrorAction.REJECT, Reason.OPTED_OUT, "21610"),
        (ErrorAction.REJECT, Reason.BLOCKED, "30004"),
        (ErrorAction.REJECT, Reason.FILTERED, "30007"),
        (ErrorAction.REJECT, Reason.CONTENT, "21602 21617 21620 21623 30011 12300"),
        # Variables that are not JSON, or one of which is empty: so it may be for one row and not for the next.
        (ErrorAction.REJECT, Reason.CONTENT, "21656"),
        (ErrorAction.HALT, Reason.CONTENT, "21654 21655 92005"),  # the account has no such content template
        (ErrorAction.REJECT, Reason.SENDER_NOT_ALLOWED, "21408 21612"),
        (ErrorAction.HALT, Reason.SENDER_NOT_ALLOWED, "21212 21601 21606 21659 21660 21661"),
        # The messaging service: there is none (21701), it has no number (21703), that is not an id (21705). The pages
        # of 21702, 21704 and 21709 could not be read (2026-11); they are of the same series.
        (ErrorAction.HALT, Reason.SENDER_NOT_ALLOWED, "21701 21702 21703 21704 21705 21709"),
        (ErrorAction.HALT, Reason.OTHER, "35111 35114 35115 35117 35118"),  # SendAt, the campaign's, cannot be had
        (ErrorAction.HALT, Reason.OTHER, "21609 21624"),  # callback URL and validity period are the campaign's
        (ErrorAction.HALT, Reason.OTHER, "20404"),  # the path names the account, and nothing of the message
        (ErrorAction.HALT, Reason.UNREGISTERED, "30034 30032"),
        # 20005 and 90010 say the same as 10001: the account is not active.
        (ErrorAction.HALT, Reason.UNAUTHORIZED, "20003 10001 20005 90010 21608"),
        (ErrorAction.HALT, Reason.INSUFFICIENT_FUNDS, "30002"),  # suspended, most often for its balance
        # The account's messages of a rolling day, with HTTP 429: no lower rate helps.
        (ErrorAction.HALT, Reason.DAILY_CAP, "63038"),
        # 500,000 messages are scheduled, the most of an account: there is room when some of them have been sent.
        (ErrorAction.HALT, Reason.RATE_LIMITED, "35125"),
        (ErrorAction.SLOW, Reason.RATE_LIMITED, "20429 21611 30001 63017"),  # here 30001: queue overflow
        (ErrorAction.RETRY, Reason.RATE_LIMITED, "14107"),  # 30 messages from one number to another in 30 s: a loop's
        # Refused at this hour (Compliance Toolkit, set to block): the next minutes would bring the same answer, and the
        # morning another. So it is over for this run, and `sender retry` takes it by default.
        (ErrorAction.REJECT, Reason.QUIET_HOURS, "30610 30615"),
        (ErrorAction.RETRY, Reason.OTHER, "30047"),  # could not be put off to a permitted hour; neither queued nor sent
        (ErrorAction.RETRY, Reason.OTHER, "21730"),  # maintenance: this operation is not possible at present
        (ErrorAction.REJECT, Reason.UNREACHABLE, "30003"),
        (ErrorAction.REJECT, Reason.EXPIRED, "30036"),
        (ErrorAction.REJECT, Reason.OTHER, "30008"),
        # Internal errors, of which 20500's page says that a repeated message may arrive twice.
        (ErrorAction.DOUBT, Reason.OTHER, "20500 20503 30020 30021 30500"),
    ]
)


@dataclass(frozen=True, slots=True)
class LamlDialect:
    """Where the two differ. `prefix` and `suffix` surround `/Accounts/{id}/Messages` in the URL."""

    capabilities: Capabilities
    rules: _rules.FieldRules
    log_facts: LogFacts
    errors: Mapping[str, ErrorMeaning]
    judge: _answers.Judge
    prefix: str
    suffix: str
    exclusive_sender: bool  # From or MessagingServiceSid, never both
    cancels: bool = False  # a message that is scheduled, by POST Status=canceled


def _sid(letters: str) -> tuple[re.Pattern[str], str]:
    return re.compile(rf"{letters}[0-9a-fA-F]{{32}}"), f"{letters} and 32 hexadecimal digits"


_UUID = (_rules.UUID, "a UUID")
_SPACE_RATES = "SignalWire, rate-limits page (2026-08-21): per space, in segments, queued beyond it up to 10,000"
_TWILIO_RATES = "Twilio, error pages 21611 and 30001 (2026): per sender, in segments, queued beyond it up to 10 h"
_SETTLE = "the ten minutes are ours, for a create request that is still in flight when we stop waiting for its answer"

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
    judge=judge_compat,
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
        schedule_s=(300, 35 * 86_400),  # twilio.com/docs/api/errors/35114 (2026-11)
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
    judge=lambda code, _words: TWILIO_ERRORS.get(code),
    prefix="/2010-04-01",
    suffix=".json",  # without it Twilio answers in XML
    exclusive_sender=False,
    cancels=True,
)
