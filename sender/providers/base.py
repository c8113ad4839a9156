"""The values that adapters take and return, and the protocol of every adapter. Performs no I/O.

An adapter is the pure half of a provider: a message in, the bytes of a request out; the bytes of an answer
in, what it proves out. `Request` and `Response` are our own small values, so that any HTTP client can carry
them and none is needed to test an adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, Protocol

from sender.core.outcomes import DeliveryReport, Outcome, Reason, Status

# What a campaign may set for one message beyond the text; the adapter's own table says which it can carry.
FieldValue = str | int | float | bool | Mapping[str, str] | Sequence[str]


_NO_FIELDS: Mapping[str, FieldValue] = MappingProxyType({})


# What is created for every message is a tuple: a frozen dataclass takes three times as long to create.


class Request(NamedTuple):
    """One HTTP request. `url` is absolute; `headers` hold the credentials, so a Request is never logged."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    content: bytes = b""

    def __repr__(self) -> str:
        return f"Request(method={self.method!r}, url={self.url!r})"


class Response(NamedTuple):
    """One whole HTTP answer. Header names are lower-case. `truncated` is set when the cap cut `content`."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    truncated: bool = False


class Message(NamedTuple):
    """One message, ready for an adapter.

    `from_number` is a number (E.164), a short code or an alphanumeric id; None when a service, profile or
    number group in `fields` chooses. `fields` are campaign keys (`validity_period`, `status_callback`, ...).
    `attempt` counts the requests that may have created it, from 1.
    """

    seq: int
    ref: str
    to: str
    from_number: str | None
    body: str | None
    media: tuple[str, ...] = ()
    fields: Mapping[str, FieldValue] = _NO_FIELDS
    attempt: int = 1


class SenderKind(StrEnum):
    """What `from` is."""

    NUMBER = "number"
    SHORT_CODE = "short_code"
    ALPHANUMERIC = "alphanumeric"
    SERVICE = "service"  # Twilio MG…, Telnyx messaging profile, SignalWire number group: it picks the number


@dataclass(frozen=True, slots=True)
class DocumentedRate:
    """A documented rate: `per_s` in `unit`s, and where it was read. `per_sender`: each number has its own."""

    per_s: float
    unit: str  # "messages" or "segments"
    source: str
    per_sender: bool = False


@dataclass(frozen=True, slots=True)
class Backlog:
    """The length of the provider's queue: in units, or in seconds' worth of the documented rate."""

    source: str
    units: int | None = None
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A provider's rule for repeated create requests: those with the same key and the same bytes make one message.

    `kept_s`: seconds for which a key is known. `other_body` and `in_progress` are status and error code of the answers
    to a known key with another body, and to one whose first request is still being carried out.
    """

    header: str
    kept_s: float
    other_body: tuple[int, str]
    in_progress: tuple[int, str]
    source: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can carry faithfully. Facts and their sources are with each adapter's instance.

    `fields` are the campaign keys it takes. `service_field` is the key that names a sender pool at the provider
    (None: it has none). `passthrough` are recipients taken unchanged, besides E.164 numbers (`988`);
    `short_code_recipients` says whether a 3 to 8 digit short code may be a recipient. `rates` are the
    documented rates by kind of sender (`toll_free`, `long_code`, `short_code`, `alphanumeric`, `service`),
    `account_rate` the account's rate where those are of single senders (None: their sum), and `mms_rate` its rate of
    messages with media (None: that of other messages).
    `queue` is the provider's own (None: it is not documented). `schedule_s` is how far ahead a `send_at` may be, in
    seconds, at least and at most (None: it has no `send_at`).
    `mms_receipts` is False where an MMS never gets a receipt, so that it stays at `sent`. `idempotency` is the rule by
    which a create request may be repeated (None: a repeated one is a second message).
    """

    provider: str
    title: str
    sender_kinds: frozenset[SenderKind]
    fields: frozenset[str]
    service_field: str | None
    media_max: int
    body_max_chars: int
    passthrough: frozenset[str] = frozenset()
    short_code_recipients: bool = False
    rates: Mapping[str, DocumentedRate] = field(default_factory=dict)
    mms_receipts: bool = True
    account_rate: DocumentedRate | None = None
    mms_rate: DocumentedRate | None = None
    queue: Backlog | None = None
    idempotency: Idempotency | None = None
    schedule_s: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One message as the provider's own log shows it.

    `ref` is ours when the log echoes it (in the callback URL or in variables), `body` None when the log has none.
    `created_at` is aware UTC, None where the log gives none, or a local time without its offset. `to` is as the log
    writes it, empty where it has none.
    """

    message_id: str
    to: str
    from_number: str | None
    body: str | None
    created_at: datetime | None
    status: Status | None
    provider_status: str | None
    ref: str | None = None
    segments: int | None = None
    price: str | None = None
    currency: str | None = None
    sent_at: datetime | None = None
    updated_at: datetime | None = None  # when it got this status
    reason: Reason | None = None
    error_code: str | None = None
    error_message: str | None = None
    line_type: str | None = None  # these three as in `Accepted`
    carrier: str | None = None
    smart_encoded: bool | None = None


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What to look for in a provider's log: a window of creation time, and recipient and sender where it can filter.

    `sent_only` allows messages that are not sent yet to be left out, where only sent ones can be found by time (LaML).
    `page_size` is the maximum of entries on a page (None: the adapter's own choice).
    """

    since: datetime
    until: datetime
    to: str | None = None
    from_number: str | None = None
    sent_only: bool = False
    page_size: int | None = None


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """A text that a person sent to one of the account's numbers.

    `keyword` is STOP, START or HELP where the provider itself has recognised one, in whatever language. `at` is
    ISO 8601 UTC; None where the provider does not say. `media` are the URLs of pictures and other files.
    """

    message_id: str
    from_number: str
    to: str
    text: str
    keyword: str | None = None
    at: str | None = None
    media: tuple[str, ...] = ()


Report = DeliveryReport | InboundMessage


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """The body that a webhook is answered with."""

    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class LogPage:
    """One page: its entries and the request for the next one (None at the end of the walk)."""

    entries: tuple[LogEntry, ...]
    next: Request | None


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What a provider's log can prove, for reconciliation.

    `filters_by_recipient`: one query a message instead of a walk over the window. `carries_ref`, `carries_body`:
    what can be compared. `settle_s`: how long after submission a message may still be missing from the log, so
    absence proves nothing before that (None: absence never proves anything). `requests_per_s`: how fast the log is
    read; no vendor documents a limit for it (2026-11), so this one is ours, and a 429 slows it further.
    """

    filters_by_recipient: bool
    carries_ref: bool
    carries_body: bool
    settle_s: float | None
    source: str
    requests_per_s: float = 5.0


class Adapter(Protocol):
    """A provider's dialect with an account's credentials in it. Pure: same arguments, same value; no I/O."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def log_facts(self) -> LogFacts: ...

    @property
    def base_url(self) -> str: ...

    @property
    def account_id(self) -> str:
        """The account's public id; empty where the credentials do not contain it (Telnyx)."""
        ...

    @property
    def credentials_digest(self) -> str:
        """The same for the same credentials, which it does not show."""
        ...

    def request(self, message: Message) -> Request:
        """The create request. Raises Unsupported for what cannot be carried; never trims or drops."""
        ...

    def outcome(self, response: Response, message: Message | None = None) -> Outcome:
        """What the answer to the create request of `message` proves (None: compared with no request).

        Never raises: an answer that it cannot read, or that names another recipient or sender, is Unknown.
        """
        ...

    def lookup(self, message_id: str) -> Request:
        """The request that retrieves one message."""
        ...

    def lookup_result(self, response: Response) -> LogEntry | None:
        """The retrieved message; None when the provider says there is none. Raises ValueError if unreadable."""
        ...

    def cancel(self, message_id: str) -> Request | None:
        """The request that takes a scheduled message back; None where the API has none."""
        ...

    def cancel_result(self, response: Response) -> LogEntry:
        """The message that was taken back. Raises ValueError, with the provider's sentence, when it was not."""
        ...

    def log_request(self, query: LogQuery) -> Request:
        """The request for the first page of the log."""
        ...

    def log_page(self, response: Response, request: Request | None = None) -> LogPage:
        """One page of the log. Raises ValueError when it cannot be read: an incomplete walk proves nothing.

        `request` is the request of this page: where pages are only numbered (Telnyx), the next one is made from it.
        """
        ...
