"""What the sandbox's four dialects have in common: the values they exchange with the app, and small readers.

A dialect turns a provider's request into a `Draft` or a refusal, and stored messages into that provider's
answers. It decides nothing about a message's fate and never sends one. It shares no code with
`sender.providers`, so that a mistake in an adapter cannot be answered by the same mistake here.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

# The number a sender pool, messaging service or number group "picks". Fictional.
POOL_NUMBER = "+12125550142"
PRICE_PER_SEGMENT_USD = 0.01  # invented: a simulator charges nothing
NEVER_MS = 1 << 62


class Trouble(StrEnum):
    """What can be wrong with a message that is well formed. Each dialect says it in its own words."""

    INVALID_NUMBER = "invalid_number"
    OPTED_OUT = "opted_out"
    LANDLINE = "landline"
    FILTERED = "filtered"
    UNREACHABLE = "unreachable"
    RATE_LIMITED = "rate_limited"
    NO_FUNDS = "no_funds"
    SENDER_NOT_ALLOWED = "sender_not_allowed"
    SERVER_ERROR = "server_error"


@dataclass(frozen=True, slots=True)
class TroubleAnswer:
    """A provider's words for a trouble.

    `status` None: it accepts the message and says so in its log later. `late_with_service`: so it does when a
    messaging service sends.
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
    """The request is refused and nothing was stored. All problems share one HTTP status."""

    def __init__(self, *problems: FieldProblem) -> None:
        super().__init__(problems)
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Draft:
    """A valid create request.

    `message_id` is the id it gets if it is accepted, `ref` the sender's own id where it is carried, and `extra`
    what only this dialect shows again.
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
        """Code and sentence, once the provider knows them."""
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
    """A GLOB pattern that matches `text` literally between `prefix` and `suffix` (each `*` or empty)."""
    return prefix + re.sub(r"([*?\[])", r"[\1]", text) + suffix


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a log, newest first. Cursors are the `Message.number`s at its edges."""

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
    ) -> Page: ...

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


class Dialect(Protocol):
    """One provider's API, as far as messages go."""

    @property
    def name(self) -> str: ...

    @property
    def mms_receipts(self) -> bool:
        """Whether an MMS ever becomes `delivered`."""
        ...

    @property
    def verdicts(self) -> Mapping[Trouble, TroubleAnswer]: ...

    def account(self, authorization: str | None, path_account: str | None, /) -> str:
        """Whose messages these are. Raises Refused (401) for missing, malformed or bad credentials."""
        ...

    def draft(self, account: str, content_type: str, body: bytes, now_ms: int, /) -> Draft:
        """The request as a Draft. Raises Refused."""
        ...

    def created(self, message: StoredMessage, now_ms: int) -> Answer: ...

    def refused(self, problems: Sequence[FieldProblem]) -> Answer: ...

    def one(self, log: Log, account: str, message_id: str, now_ms: int) -> Answer: ...

    def page(self, log: Log, listing: Listing) -> Answer: ...


# ── Credentials ───────────────────────────────────────────────────────────────────────────────────

# `bad` as a word of its own: a hexadecimal token may hold these three letters by chance.
_BAD = re.compile(r"(?<![0-9a-fA-F])bad(?![0-9a-fA-F])")


def basic(authorization: str | None) -> tuple[str, str] | None:
    """User and secret of a Basic header; None when it is missing, malformed, empty or says `bad`."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    if not (colon and user and secret) or says_bad(user) or says_bad(secret):
        return None
    return user, secret


def says_bad(text: str) -> bool:
    return _BAD.search(text) is not None


# ── Requests ──────────────────────────────────────────────────────────────────────────────────────


def form(content_type: str, body: bytes) -> dict[str, list[str]]:
    """The fields of a form; empty for any other content type, which is how the form APIs treat JSON."""
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return {}
    try:
        return parse_qs(body.decode(), keep_blank_values=True)
    except UnicodeDecodeError:
        return {}


def json_object(body: bytes) -> dict[str, Any] | None:
    """The object in the body; None when there is none."""
    try:
        value = json.loads(body)
    except ValueError:  # also not UTF-8
        return None
    return value if isinstance(value, dict) else None


def is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


def is_http_url(value: Any) -> bool:
    if not isinstance(value, str) or any(character.isspace() for character in value):
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def ref_in_callback(callback: str | None) -> str | None:
    """The `ref` in the query of a callback URL."""
    return parse_qs(urlsplit(callback).query).get("ref", [None])[0] if callback else None


def whole(params: Mapping[str, str], name: str, default: int, low: int, high: int) -> int | None:
    """The parameter as a number of at most 9 digits; None when it is none or out of range."""
    text = params.get(name, str(default))
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) and low <= int(text) <= high else None


def older_token(page: Page) -> str | None:
    """The page token that continues after the last message; None at the end of the log."""
    return f"PA{page.messages[-1].number:08x}" if page.has_older and page.messages else None


def newer_token(page: Page) -> str | None:
    """The page token that goes back before the first message; None at the start."""
    return f"PB{page.messages[0].number:08x}" if page.has_newer and page.messages else None


def cursor(token: str) -> dict[str, int] | None:
    """A page token as the argument it stands for: `older_than` or `newer_than`; None when it is not one of ours."""
    match = re.fullmatch(r"P([AB])([0-9a-f]{8,15})", token)
    return {"older_than" if match[1] == "A" else "newer_than": int(match[2], 16)} if match else None


def instant_ms(text: str) -> int | None:
    """An ISO 8601 date or time as ms UTC (a time without zone is UTC); None when it is neither."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


def day_end_ms(text: str) -> int | None:
    """The first ms after the day `text` names, or after the second when it names a time."""
    start = instant_ms(text)
    if start is None:
        return None
    try:
        date.fromisoformat(text)
    except ValueError:
        return start + 1000
    return start + round(timedelta(days=1).total_seconds() * 1000)


def iso(ms: int, *, fraction: bool = False) -> str:
    text = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds" if fraction else "seconds")
    return text.replace("+00:00", "Z")


def rfc2822(ms: int) -> str:
    return format_datetime(datetime.fromtimestamp(ms // 1000, UTC))


# ── Segments ──────────────────────────────────────────────────────────────────────────────────────

# 3GPP TS 23.038: the default alphabet and its extension table. The sandbox counts for itself, so that it can
# disagree with the sender.
_GSM7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM7_EXTENSION = frozenset("^{}\\[~]|€\f")
_GSM7_ALL = _GSM7 | _GSM7_EXTENSION


def measure(body: str) -> tuple[str, int]:
    """Encoding (`GSM-7` or `UCS-2`) and number of segments (at least 1) of a text."""
    characters = set(body)
    if characters <= _GSM7_ALL:
        if not characters & _GSM7_EXTENSION:
            return "GSM-7", 1 if len(body) <= 160 else -(-len(body) // 153)
        return "GSM-7", _pack((2 if character in _GSM7_EXTENSION else 1 for character in body), 160, 153)
    return "UCS-2", _pack((2 if character > "\uffff" else 1 for character in body), 70, 67)


def _pack(units: Iterable[int], single: int, several: int) -> int:
    """Segments for characters of 1 or 2 units, none of which may be split across two segments."""
    sizes = list(units)
    if sum(sizes) <= single:
        return 1
    segments, room = 1, several
    for size in sizes:
        if size > room:
            segments, room = segments + 1, several
        room -= size
    return segments
