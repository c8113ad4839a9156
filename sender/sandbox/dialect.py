"""What the sandbox's four dialects have in common: the values that they exchange with the app, and `Dialect` itself.

A dialect turns a provider's request into a `Draft` or a refusal, and stored messages into that provider's answers. It
never decides what becomes of a message and never sends one. It shares no code with `sender.providers`, so that the
same mistake cannot be made on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

# The number that a sender pool, messaging service or number group "picks". Fictional.
POOL_NUMBER = "+12125550142"
PRICE_PER_SEGMENT_USD = 0.01  # invented: a simulator charges nothing
NEVER_MS = 1 << 62


class Trouble(StrEnum):
    """What can be wrong with a well-formed message. Each dialect has its own answer to it."""

    INVALID_NUMBER = "invalid_number"
    OPTED_OUT = "opted_out"
    LANDLINE = "landline"
    FILTERED = "filtered"
    UNREACHABLE = "unreachable"
    RATE_LIMITED = "rate_limited"
    NO_FUNDS = "no_funds"
    SENDER_NOT_ALLOWED = "sender_not_allowed"
    REGION_NOT_ALLOWED = "region_not_allowed"
    SERVER_ERROR = "server_error"


@dataclass(frozen=True, slots=True)
class TroubleAnswer:
    """A provider's answer to a trouble.

    `status` None: it accepts the message, and reports the trouble later. `late_with_service`: likewise when a messaging
    service sends.
    """

    status: int | None
    code: str
    message: str
    attribute: str | None = None
    late_with_service: bool = False

    def is_late(self, draft: Draft) -> bool:
        return self.status is None or (self.late_with_service and draft.service is not None)


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing a provider refuses about a request. `attribute` is the field's name at that provider."""

    status: int
    code: str
    message: str
    attribute: str | None = None


class Refused(Exception):  # noqa: N818 (an answer, not an accident)
    """The request is refused and nothing is stored. All problems have the same HTTP status."""

    def __init__(self, *problems: FieldProblem) -> None:
        super().__init__(problems)
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Draft:
    """A valid create request.

    `message_id` is its id if it is accepted, `ref` the sender's own id where the request carries it, and `extra` what
    only this dialect shows again. `encoding` is the one that the request demands; None leaves it to the text.
    """

    message_id: str
    dialect: str
    account: str
    to: str
    from_number: str | None
    body: str
    media: tuple[str, ...] = ()
    mms: bool = False
    service: str | None = None
    callback: str | None = None
    ref: str | None = None
    send_at_ms: int | None = None
    encoding: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """An accepted message: `queued` until `sent_ms`, `sent` until `final_ms`, then `final`. Times: ms UTC."""

    number: int  # 1, 2, 3, …: the order of acceptance
    draft: Draft
    segments: int
    encoding: str  # "GSM-7" or "UCS-2"
    created_ms: int
    sent_ms: int
    final_ms: int
    final: str  # delivered, undelivered, failed; `sent` when no receipt will come
    error_code: str | None
    error_message: str | None

    @property
    def message_id(self) -> str:
        return self.draft.message_id

    def status(self, now_ms: int) -> str:
        if now_ms >= self.final_ms:
            return self.final
        return "sent" if now_ms >= self.sent_ms else "queued"

    def sent_at_ms(self, now_ms: int) -> int | None:
        return self.sent_ms if now_ms >= self.sent_ms else None

    def updated_ms(self, now_ms: int) -> int:
        return max(ms for ms in (self.created_ms, self.sent_ms, self.final_ms) if ms <= max(now_ms, self.created_ms))

    def error(self, now_ms: int) -> tuple[str | None, str | None]:
        """Return code and sentence, once the provider knows them."""
        return (self.error_code, self.error_message) if now_ms >= self.final_ms else (None, None)

    @property
    def price_usd(self) -> float:
        return round(self.segments * PRICE_PER_SEGMENT_USD, 4)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer: `payload` becomes JSON."""

    status: int
    payload: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class Column(StrEnum):
    """What a log can be filtered by."""

    TO = "recipient"
    FROM = "from_number"
    CREATED = "created_ms"
    SENT = "sent_ms"
    FINAL_AT = "final_ms"
    FINAL = "final"


class Op(StrEnum):
    EQ = "="
    GE = ">="
    GT = ">"
    LE = "<="
    LT = "<"
    GLOB = "GLOB"  # case-sensitive; patterns are made by `glob`, never taken from a request


Condition = tuple[Column, Op, str | int]


def glob(prefix: str, text: str, suffix: str) -> str:
    """Return a GLOB pattern that matches `text` literally between `prefix` and `suffix` (each `*` or empty)."""
    return prefix + re.sub(r"([*?\[])", r"[\1]", text) + suffix


@dataclass(frozen=True, slots=True)
class MessagePage:
    """One page of a log, newest first. Its cursors are the `StoredMessage.number`s at its edges."""

    messages: tuple[StoredMessage, ...]
    has_newer: bool
    has_older: bool


class Log(Protocol):
    """The reading half of the store."""

    def get(self, dialects: Sequence[str], account: str, message_id: str) -> StoredMessage | None: ...

    def page(
        self,
        dialects: Sequence[str],
        account: str,
        where: Sequence[Condition],
        *,
        limit: int,
        older_than: int | None = None,
        newer_than: int | None = None,
    ) -> MessagePage: ...

    def numbered_page(
        self,
        dialects: Sequence[str],
        account: str,
        where: Sequence[Condition],
        *,
        offset: int,
        limit: int,
        newest_first: bool,
    ) -> tuple[tuple[StoredMessage, ...], int]: ...


@dataclass(frozen=True, slots=True)
class Listing:
    """A request for a page of the log. `base_url` has no slash at its end; `query` keeps its order."""

    account: str
    base_url: str
    path: str
    query: tuple[tuple[str, str], ...]
    now_ms: int

    @property
    def params(self) -> dict[str, str]:
        return dict(self.query)


@dataclass(frozen=True, slots=True)
class KeyRule:
    """How a provider makes one message of create requests with the same key: `header` (lower case), `kept_s` seconds.

    `other_body` and `in_progress` are what it answers to a known key with another body, and while the first request is
    being carried out; `replayed` is a header of an answer that was given before.
    """

    header: str
    kept_s: float
    other_body: FieldProblem
    in_progress: FieldProblem
    replayed: tuple[str, str]


@dataclass(frozen=True, slots=True)
class UsedKey:
    """A key of a create request, with the digest of its body."""

    account: str
    key: str
    body: str


class Dialect(Protocol):
    """One provider's messaging API."""

    @property
    def name(self) -> str: ...

    @property
    def mms_receipts(self) -> bool:
        """Whether an MMS ever becomes `delivered`."""
        ...

    @property
    def trouble_answers(self) -> Mapping[Trouble, TroubleAnswer]: ...

    @property
    def key_rule(self) -> KeyRule | None: ...

    def authenticate(self, authorization: str | None, path_account: str | None, /) -> str:
        """Return the account. Raises Refused (401) for missing, malformed or bad credentials."""
        ...

    def parse_draft(self, account: str, content_type: str, body: bytes, now_ms: int, /) -> Draft:
        """Return the create request as a Draft. Raises Refused."""
        ...

    def answer_created(self, message: StoredMessage, now_ms: int) -> Answer: ...

    def answer_refused(self, problems: Sequence[FieldProblem]) -> Answer: ...

    def answer_message(self, log: Log, account: str, message_id: str, now_ms: int) -> Answer:
        """Return one message of the log. Raises Refused (404)."""
        ...

    def answer_page(self, log: Log, listing: Listing) -> Answer:
        """Return a page of the log. Raises Refused for a bad cursor or an unknown filter."""
        ...


class SchedulingDialect(Dialect, Protocol):
    """A messaging API that holds messages until their time, and gives them back before it."""

    @property
    def cancel_margin_s(self) -> float:
        """How long before its time a scheduled message can be taken back."""
        ...

    def parse_cancel(self, body: bytes, /) -> None:
        """Raise Refused for a request that does not take a message back."""
        ...

    def answer_canceled(self, message: StoredMessage, now_ms: int) -> Answer: ...

    def refuse_cancel(self) -> Refused:
        """The refusal for a message that is not scheduled, or too soon."""
        ...

    def answer_cancel_refused(self, problems: Sequence[FieldProblem]) -> Answer: ...
