"""The closed sets of results: of a row, of a submission, and of an accepted message.

Two facts, never mixed. The *submission state* is ours: what our own request is proved to have done. The *delivery
status* is what the provider reports about a message it accepted. `docs/guarantee.md` has the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class SubmissionState(StrEnum):
    """Submission state of one message in the ledger. A message without a row is `PENDING`."""

    PENDING = "pending"  # not submitted, or proved not accepted and to be submitted again
    INTENT = "intent"  # written before the request; only a crash leaves it
    ACCEPTED = "accepted"  # the provider has it, and gave an id
    REJECTED = "rejected"  # the provider refused it permanently
    CANCELED = "canceled"  # we decided after planning not to send it
    UNKNOWN = "unknown"  # it may have been accepted: never sent again unless the user asks for it


class Status(StrEnum):
    """`status` in the results file: one closed set for every provider."""

    PENDING = "pending"
    SKIPPED = "skipped"
    QUEUED = "queued"  # accepted by the provider (also: accepted, scheduled, initiated, sending)
    SENT = "sent"  # handed to the carrier
    DELIVERED = "delivered"  # the carrier says it arrived (also: read)
    UNDELIVERED = "undelivered"  # the carrier says it did not
    FAILED = "failed"  # the provider gave up before the carrier
    CANCELED = "canceled"  # not sent after all: by our decision, or taken back at the provider
    REJECTED = "rejected"  # refused at submission
    UNKNOWN = "unknown"  # not known yet whether it was accepted
    UNCONFIRMED = "unconfirmed"  # accepted and sent, and no receipt will come


# The progress of a message. A report moves it forward by rank only, so doubled, late and reordered ones are harmless.
# No final status replaces another; `unconfirmed` says that no receipt came, and a late receipt replaces it.
RANK: Mapping[Status, int] = {
    Status.QUEUED: 0,
    Status.SENT: 1,
    Status.UNCONFIRMED: 2,
    Status.DELIVERED: 3,
    Status.UNDELIVERED: 3,
    Status.FAILED: 3,
    Status.CANCELED: 3,
}
FINAL = frozenset(status for status, rank in RANK.items() if rank >= RANK[Status.UNCONFIRMED])


class SkipReason(StrEnum):
    """Why an input row gets no message."""

    INVALID_NUMBER = "invalid_number"
    DUPLICATE = "duplicate"
    ALREADY_SENT = "already_sent"
    OPTED_OUT = "opted_out"
    SUPPRESSED = "suppressed"
    UNDER_REVIEW = "under_review"  # a reply may mean an opt-out, and nobody has decided yet
    MISSING_DATA = "missing_data"
    RENDER_ERROR = "render_error"
    TOO_LONG = "too_long"
    LANDLINE = "landline"
    FREQUENCY_CAP = "frequency_cap"
    HIDDEN_ROW = "hidden_row"
    LIMIT = "limit"
    FILTERED_OUT = "filtered_out"  # by the campaign's own `recipients.where`
    HOLDOUT = "holdout"  # gets nothing, so that there is something to compare with
    OUTSIDE_SHARE = "outside_share"  # not in the `share` that is sent to now


class Reason(StrEnum):
    """Why a submitted message was rejected, failed, or has to wait."""

    INVALID_NUMBER = "invalid_number"
    OPTED_OUT = "opted_out"
    BLOCKED = "blocked"
    FILTERED = "filtered"
    LANDLINE = "landline"
    UNREACHABLE = "unreachable"
    SENDER_NOT_ALLOWED = "sender_not_allowed"
    UNREGISTERED = "unregistered"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    UNAUTHORIZED = "unauthorized"
    RATE_LIMITED = "rate_limited"
    DAILY_CAP = "daily_cap"
    QUIET_HOURS = "quiet_hours"  # the provider refuses it at this hour of the recipient's day
    CONTENT = "content"
    EXPIRED = "expired"
    OTHER = "other"


class CancelReason(StrEnum):
    """Why we decided, after planning, not to send a message."""

    CLOSED = "closed"  # a person closed the run
    SUPERSEDED = "superseded"  # a later run of the campaign took its people over
    ABANDONED = "abandoned"  # a later run was started over with --new-run
    OPTED_OUT = "opted_out"  # the number joined the suppression list
    FREQUENCY_CAP = "frequency_cap"
    QUIET_HOURS = "quiet_hours"  # outside its window when the run started
    EXPIRED = "expired"  # its window, or the deadline, passed before it could leave
    UNDER_REVIEW = "under_review"  # the person wrote what may mean an opt-out
    FORGOTTEN = "forgotten"  # the person was erased


# The error code of a message that an older version stopped for the suppression list, as rejected; today it is canceled.
HELD_BACK = "suppressed"

# Each message creates one of these, and tuples take a third of a frozen dataclass's time. Their types tell them apart.


class Accepted(NamedTuple):
    """The provider has the message: a readable success answer with an id.

    `status` is normalised, `provider_status` as the provider wrote it (None if it gave none we can read).
    `price` is a decimal string in `currency` as the provider wrote it, without sign conventions changed.
    Times are ISO 8601 UTC. `wait_s` is the provider's own estimate of its queue (Telnyx `wait_seconds`), `pause_s` the
    time until its rate limit, used up by this message, begins anew (`x-ratelimit-remaining: 0`). `line_type` (one of
    `sender.phone`'s types of numbers) and `carrier` are what it knows of the recipient's number; `smart_encoded`
    whether it replaced characters of the text so that it needs fewer segments.
    """

    message_id: str
    status: Status = Status.QUEUED
    provider_status: str | None = None
    segments: int | None = None
    price: str | None = None
    currency: str | None = None
    created_at: str | None = None
    sent_at: str | None = None
    reason: Reason | None = None
    error_code: str | None = None
    error_message: str | None = None
    wait_s: float | None = None
    pause_s: float | None = None
    line_type: str | None = None
    carrier: str | None = None
    smart_encoded: bool | None = None


class Rejected(NamedTuple):
    """The provider refused this message permanently."""

    reason: Reason
    error_code: str | None = None
    error_message: str | None = None


class Canceled(NamedTuple):
    """We decided, after planning, not to send this message: no request left. `detail` is a sentence for a person."""

    reason: CancelReason
    detail: str | None = None


class Deferred(NamedTuple):
    """Proved not accepted, and worth another try: back to pending.

    `retry_after_s` is the wait the provider asks for. `slow_down`: the wait applies to the account, not just to this
    message. `halt`: every further message would get the same answer (credentials, funds, sender), so the run stops at
    once.
    """

    reason: Reason
    error_code: str | None = None
    error_message: str | None = None
    retry_after_s: float | None = None
    slow_down: bool = False
    halt: bool = False


class Unknown(NamedTuple):
    """The message may have been accepted: a timeout, a reset, an undocumented 5xx, an answer that cannot be read.

    `undocumented`: a 3xx or 4xx without the provider's own error document, which somebody on the way may have written.
    `foreign`: an answer to another request, so that the connection it came by cannot be trusted.
    """

    error_message: str
    error_code: str | None = None
    undocumented: bool = False
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """A later report from the provider about a message it accepted: a callback, or an entry of its log.

    `status` is None for a status we do not know; `provider_status` holds it, and nothing else changes. `ref` is ours
    where the report carries it. `price` is a decimal string as the provider wrote it. `sent_at` and `reported_at`
    (when the message came to this status) are ISO 8601 UTC; None where the provider does not say. `line_type`,
    `carrier` and `smart_encoded` are as in `Accepted`.
    """

    message_id: str
    status: Status | None
    provider_status: str | None = None
    ref: str | None = None
    reason: Reason | None = None
    error_code: str | None = None
    error_message: str | None = None
    segments: int | None = None
    price: str | None = None
    currency: str | None = None
    sent_at: str | None = None
    reported_at: str | None = None
    line_type: str | None = None
    carrier: str | None = None
    smart_encoded: bool | None = None


# What a provider's answer, or the lack of one, proves. `Canceled` is no answer.
Outcome = Accepted | Rejected | Deferred | Unknown


def state_of(outcome: Outcome | Canceled) -> SubmissionState:
    """Return the submission state of a message with that outcome."""
    match outcome:
        case Accepted():
            return SubmissionState.ACCEPTED
        case Rejected():
            return SubmissionState.REJECTED
        case Canceled():
            return SubmissionState.CANCELED
        case Unknown():
            return SubmissionState.UNKNOWN
        case Deferred():
            return SubmissionState.PENDING
