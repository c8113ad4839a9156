"""The values that a ledger takes and returns, and the schemas of its frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from sender.core.frame_schema import MOMENT, FrameSchema
from sender.core.outcomes import Canceled, DeliveryReport, Outcome, Reason

# The frame `Ledger.journal` returns, one row for each message that was ever claimed or prefetched. Times are
# milliseconds UTC. `sender` is the number its last claim used instead of the planned one, else null. `route` is the
# place, from 0, of the route of its last claim, or of the next one.
JOURNAL_SCHEMA = FrameSchema(
    {
        "seq": "UInt32",
        "state": "String",
        "attempts": "UInt32",
        "intent_at": MOMENT,
        "sender": "String",
        "message_id": "String",
        "status": "String",
        "provider_status": "String",
        "reason": "String",
        "error_code": "String",
        "error_message": "String",
        "segments": "UInt32",
        "price": "String",
        "currency": "String",
        "line_type": "String",
        "carrier": "String",
        "smart_encoded": "Boolean",
        "created_at": MOMENT,
        "sent_at": MOMENT,
        "updated_at": MOMENT,
        "final_at": MOMENT,  # when the status became final, by the provider or by the report's arrival
        "resent": "UInt32",  # times a person had it sent again though it may have been accepted
        "route": "UInt8",
    }
)

# The frame `Ledger.doubts` returns, by run and `seq`. Times are milliseconds UTC.
DOUBTS_SCHEMA = FrameSchema(
    {"run_id": "String"}
    | {name: JOURNAL_SCHEMA.types[name] for name in ("seq", "state", "attempts", "intent_at", "updated_at", "sender")}
    | {name: JOURNAL_SCHEMA.types[name] for name in ("route", "resent")}
)
# What `Ledger.repeatable` returns: messages whose create request can be written again. Times are milliseconds UTC.
REPEATABLE_SCHEMA = FrameSchema(
    {
        "seq": "UInt32",
        "attempts": "UInt32",
        "intent_at": "Int64",
        "sender": "String",
        "request_format": "Int64",
    }
)

# What `Ledger.sent` returns: when each message was last claimed (milliseconds UTC), and its delivery status, if any.
SENT_SCHEMA = FrameSchema({"seq": "UInt32", "at_ms": "Int64", "status": "String"})

# What `Ledger.typed_numbers` returns: what the provider has said of the number; when, as in SENT_SCHEMA.
TYPED_SCHEMA = FrameSchema({"seq": "UInt32", "line_type": "String", "carrier": "String", "at_ms": "Int64"})

# What `Ledger.moves` returns: the attempts after which messages went to another route, by `seq` and attempt, each with
# what its provider had answered. `outcome` is `rejected` (that route never gets it again) or `deferred`.
MOVES_SCHEMA = FrameSchema(
    {
        "seq": "UInt32",
        "attempt": "UInt32",
        "route": "UInt8",
        "sender": "String",
        "outcome": "String",
        "reason": "String",
        "error_code": "String",
        "error_message": "String",
        "at": MOMENT,
    }
)

# A partition `(k, n)` is the share of one of n processes that send a run together: messages with `seq % n == k`.
WHOLE_RUN = (0, 1)

NOTHING: Mapping[str, Collection[int]] = MappingProxyType({})


class Claim(NamedTuple):  # a tuple, like Settlement: each message makes one, and tuples are four times as fast
    """A committed intent: this process may submit message `seq` until `deadline_ms`, as attempt `attempt` (from 1).

    `fence` numbers the claims ever made of a message. A release gives the attempt back but never the fence, so an
    older claim can neither settle nor release what a newer one holds. `earlier` of the attempts were on other routes;
    `refused_by` has a bit for each route that has refused the message for good.
    """

    seq: int
    attempt: int
    deadline_ms: int
    fence: int = 0
    earlier: int = 0
    refused_by: int = 0


class RunRoute(NamedTuple):
    """One of the routes of a run: its provider, and the account and the address that `Run` keeps of a single one."""

    provider: str
    account: str | None
    base_url: str | None


class IdHolder(NamedTuple):
    """A message that has an id of the provider's. Another may have the same one: an answer can be another message's."""

    message_id: str
    run_id: str
    seq: int


class RouteClaims(NamedTuple):
    """Which messages are claimed for the route `route` of a run: its own, and those that wait at the routes in `also`.

    Only with `begins` are messages claimed that have never been. A message is never claimed for a route that has
    refused it for good, and only for its own where a person had it sent again: it may have been accepted there.
    """

    route: int
    also: tuple[int, ...] = ()
    begins: bool = True


class RequestFormat(NamedTuple):
    """What a session's create requests have in common: with it, one can be written again byte for byte.

    `callback` is the URL for delivery reports that was given to the session, `serialiser` names what wrote the bytes,
    and `credentials` is a digest of what they were sent with.
    """

    callback: str | None
    serialiser: str
    credentials: str


class Settlement(NamedTuple):
    """The outcome of a claim. `not_before_ms` delays a Deferred message.

    With `moves_to`, a Rejected is what one route answered, and the message waits at that other one.
    """

    claim: Claim
    outcome: Outcome | Canceled
    not_before_ms: int | None = None
    moves_to: int | None = None


@dataclass(frozen=True, slots=True)
class LogFinding:
    """What reconciliation proved about an unknown message: an Accepted, or None for proved absent (back to pending).

    `attempt` is the journal's from when the proof began: a proof about an earlier attempt changes nothing. None trusts
    the state alone, which is enough only while the run's lock is held.
    """

    seq: int
    outcome: Outcome | None
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Refusals:
    """How many messages were rejected, failed or not delivered for one reason and code."""

    reason: Reason
    error_code: str | None
    messages: int


@dataclass(frozen=True, slots=True)
class ReceivedReport:
    """A delivery report, and the message it is about where its ref, or the caller, names one."""

    report: DeliveryReport
    run_id: str | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class ReportCounts:
    """The reports of a batch by effect: `applied`, `same` (nothing new), or `kept` for messages not recorded yet."""

    applied: int = 0
    same: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """Messages of a run by submission state. They add up to `Run.messages`."""

    pending: int
    intent: int
    accepted: int
    rejected: int
    canceled: int
    unknown: int
