"""Settles unknown messages from the provider's own log.

A message that is found was accepted, and has the provider's id. Absence counts only after a complete walk of the log,
and once the log can no longer lag; the message is then pending again. Everything else stays `unknown`. Sends nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import polars as pl

from sender.core.outcomes import Accepted, Status, SubmissionState
from sender.core.refs import make_ref
from sender.delivery.provider_log import SKEW, LogReader
from sender.delivery.provider_session import ProviderSession
from sender.plan.plan import Plan
from sender.providers.base import Adapter, LogEntry, LogFacts, LogPage, LogQuery, Request, Response
from sender.state.ledger import Ledger, LogFinding, Run
from sender.transport.base import TransportFailure

log = logging.getLogger("sender.delivery.reconcile")


@dataclass(frozen=True, slots=True)
class ReconcileResult:
    """Counts of unknown messages: found at the provider, proved absent (pending again), still doubtful.

    `decidable_at` is when the doubtful ones can be decided (None when there are none, or when the provider's log never
    proves absence). `failure` is why the log could not be read to its end.
    """

    found: int = 0
    absent: int = 0
    doubtful: int = 0
    decidable_at: datetime | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class _UnknownMessage:
    seq: int
    ref: str
    to: str
    from_number: str | None
    body: str | None
    intent_at: datetime
    doubted_at: datetime  # from then on, nothing of it was in flight
    attempt: int


@dataclass(slots=True)
class _Evidence:
    """What the log says about unknown messages; `complete` once every page has been read."""

    entries: dict[int, LogEntry] = field(default_factory=dict)  # by seq
    rivalled: set[int] = field(default_factory=set)  # an entry to the same number is left over, and may be this message
    failure: str | None = None

    @property
    def complete(self) -> bool:
        return self.failure is None


async def reconcile(
    *,
    ledger: Ledger,
    run: Run,
    plan: Plan,
    provider: ProviderSession,
    cancel: asyncio.Event,
) -> ReconcileResult:
    """Settle those of `run`'s unknown messages that the provider's log decides.

    Setting `cancel` ends the walk: what was found by then is settled, and absence proves nothing.
    Raises StateError when the ledger cannot be written.
    """
    messages = _unknown_messages(ledger.journal(run.run_id, states=[SubmissionState.UNKNOWN]), plan, run.run_id)
    if not messages:
        return ReconcileResult()
    facts, now = provider.facts, _now(ledger.now_ms)
    reader = LogReader(provider.transport, pause_s=1 / facts.requests_per_s, cancel=cancel)
    queries = _queries(messages, facts, now)
    walk = _walk(reader, provider.adapter, queries, ledger.now_ms)
    # Messages of other runs count as well: another run's text to the same number is not this one.
    evidence = await _gather_evidence(messages, walk, facts, ledger.message_ids())
    absent, decidable_at = _decide_absence(messages, evidence, facts, now)
    _record(ledger, run, messages, evidence, absent)
    result = ReconcileResult(
        found=len(evidence.entries),
        absent=len(absent),
        doubtful=len(messages) - len(evidence.entries) - len(absent),
        decidable_at=decidable_at,
        failure=evidence.failure,
    )
    _log_result(result)
    return result


def _unknown_messages(unknown: pl.DataFrame, plan: Plan, run_id: str) -> list[_UnknownMessage]:
    unknown = unknown.select("seq", "intent_at", "updated_at", "attempts", "sender")
    if unknown.is_empty():
        return []
    columns = ("seq", "to", "from_number", "body")
    rows = (
        plan.scan()
        .select(columns)
        .filter(pl.col("seq").is_in(unknown["seq"].implode()) & pl.col("to").is_not_null())  # else it was erased
        .collect()
        .join(unknown, on="seq")
        .with_columns(from_number=pl.coalesce("sender", "from_number"))  # the number that really sent it
        .drop("sender")
    )
    return [
        _UnknownMessage(seq, make_ref(run_id, seq), to, sender, body, intent_at, doubted_at, attempt)
        for seq, to, sender, body, intent_at, doubted_at, attempt in rows.sort("intent_at", "seq").iter_rows()
    ]


def _queries(messages: Sequence[_UnknownMessage], facts: LogFacts, now: datetime) -> list[LogQuery]:
    since, until = min(message.intent_at for message in messages) - SKEW, now + SKEW
    if facts.filters_by_recipient:
        return [LogQuery(since, until, to=to) for to in sorted({message.to for message in messages})]
    return [LogQuery(since, until)]


async def _walk(
    reader: LogReader, adapter: Adapter, queries: Iterable[LogQuery], now_ms: Callable[[], int]
) -> AsyncIterator[list[LogEntry]]:
    """Yield every entry of a query at once, so that an entry is compared with its rivals.

    Raises TransportFailure, or ValueError: the walk then proves no absence.
    """

    def read_page(response: Response, request: Request) -> LogPage:
        check_clock(response, now_ms())
        return adapter.log_page(response, request)

    for query in queries:
        async with contextlib.aclosing(reader.pages_from(adapter.log_request(query), read_page)) as pages:
            yield [entry async for page in pages for entry in page.entries]


async def _gather_evidence(
    messages: Sequence[_UnknownMessage],
    walk: AsyncIterator[list[LogEntry]],
    facts: LogFacts,
    known: set[str],
) -> _Evidence:
    """Match entries to messages. An entry whose id is `known` belongs to another message; ids matched here join."""
    evidence = _Evidence()
    try:
        async for entries in walk:
            fresh = [entry for entry in entries if entry.message_id not in known]
            unmatched = [message for message in messages if message.seq not in evidence.entries]
            matches = _match(unmatched, fresh, facts)
            evidence.entries |= matches
            known |= {entry.message_id for entry in matches.values()}
            rest = [entry for entry in fresh if entry.message_id not in known]
            evidence.rivalled |= {
                message.seq for message in unmatched if any(_may_be(message, entry) for entry in rest)
            }
    except (TransportFailure, ValueError) as error:
        evidence.failure = str(error) or type(error).__name__
        log.warning(
            "the provider's log could not be read to its end: %s",
            evidence.failure,
            extra={"event": "reconcile_failed"},
        )
    return evidence


def _decide_absence(
    messages: Sequence[_UnknownMessage], evidence: _Evidence, facts: LogFacts, now: datetime
) -> tuple[list[_UnknownMessage], datetime | None]:
    """The messages that are proved absent, and when all others could be (None: there are none, or never)."""
    if facts.settle_s is None:
        return [], None
    absent: list[_UnknownMessage] = []
    waiting: list[datetime] = []
    for message in messages:
        if message.seq in evidence.entries or message.seq in evidence.rivalled:
            continue
        decidable_at = message.doubted_at + timedelta(seconds=facts.settle_s)
        if evidence.complete and decidable_at <= now:
            absent.append(message)
        else:
            waiting.append(decidable_at)
    return absent, max(waiting, default=None)


def _record(
    ledger: Ledger,
    run: Run,
    messages: Sequence[_UnknownMessage],
    evidence: _Evidence,
    absent: Iterable[_UnknownMessage],
) -> None:
    attempts = {message.seq: message.attempt for message in messages}
    findings = [LogFinding(seq, _accepted(entry), attempts[seq]) for seq, entry in evidence.entries.items()]
    findings += [LogFinding(message.seq, None, message.attempt) for message in absent]
    ledger.reconcile(run.run_id, findings)


def _log_result(result: ReconcileResult) -> None:
    log.info(
        "%d unknown looked up in the provider's log: %d found, %d proved absent (pending again), %d still unknown",
        result.found + result.absent + result.doubtful,
        result.found,
        result.absent,
        result.doubtful,
        extra={
            "event": "reconciled",
            "found": result.found,
            "absent": result.absent,
            "unknown": result.doubtful,
        },
    )


# -- clocks ---------------------------------------------------------------------------------------------------------


def clocks_apart_s(response: Response, now_ms: int) -> float | None:
    """Seconds between the answer's own date and our clock if they are more than SKEW, else None (also without a date).

    Times in the provider's log could then not be compared with ours.
    """
    try:
        answered_at = parsedate_to_datetime(response.headers.get("date", ""))
    except ValueError:
        return None
    apart_s = abs(answered_at.timestamp() - now_ms / 1000)
    return apart_s if apart_s > SKEW.total_seconds() else None


def check_clock(response: Response, now_ms: int) -> None:
    """Raise ValueError when the answer's date is further than SKEW from our clock: times could not be compared."""
    apart_s = clocks_apart_s(response, now_ms)
    if apart_s is not None:
        raise ValueError(f"the provider's clock and ours are {apart_s:.0f} s apart: set this machine's clock")


def _now(now_ms: Callable[[], int]) -> datetime:
    return datetime.fromtimestamp(now_ms() / 1000, UTC)


# -- which entry is which message -----------------------------------------------------------------------------------


def _match(messages: Sequence[_UnknownMessage], entries: Iterable[LogEntry], facts: LogFacts) -> dict[int, LogEntry]:
    """Entries by the `seq` of their message, matched by ref, else by what the log says; each is used once at most.

    Where the log carries refs, an entry without one of ours is another message.
    """
    by_ref = {message.ref: message for message in messages}
    matches: dict[int, LogEntry] = {}
    without_ref: list[LogEntry] = []
    for entry in entries:
        if entry.ref is not None and (message := by_ref.get(entry.ref)):
            matches.setdefault(message.seq, entry)
        elif entry.ref is None and not facts.carries_ref:
            without_ref.append(entry)
    for entry in sorted(without_ref, key=lambda entry: entry.created_at or datetime.max.replace(tzinfo=UTC)):
        for message in messages:
            if message.seq not in matches and _is_same(message, entry, facts):
                matches[message.seq] = entry
                break
    return matches


def _is_same(message: _UnknownMessage, entry: LogEntry, facts: LogFacts) -> bool:
    """Whether everything the entry says fits the message."""
    if entry.to != message.to:
        return False
    if message.from_number and entry.from_number and entry.from_number != message.from_number:
        return False
    if facts.carries_body and entry.body is not None and not _has_body(entry.body, message.body):
        return False
    if entry.created_at is None:
        return True
    return message.intent_at - SKEW <= entry.created_at <= message.doubted_at + SKEW


def _has_body(logged: str, body: str | None) -> bool:
    """Whether the log's text is `body`. Providers put a notice before the text of a trial account."""
    return logged.endswith(body) if body else logged == ""


def _may_be(message: _UnknownMessage, entry: LogEntry) -> bool:
    """Whether `entry` could be the message with another body than ours: enough to doubt that it is absent."""
    if entry.to != message.to or (entry.ref is not None and entry.ref != message.ref):
        return False
    return entry.created_at is None or entry.created_at >= message.intent_at - SKEW


def _accepted(entry: LogEntry) -> Accepted:
    return Accepted(
        message_id=entry.message_id,
        status=entry.status or Status.QUEUED,
        provider_status=entry.provider_status,
        segments=entry.segments,
        price=entry.price,
        currency=entry.currency,
        created_at=entry.created_at.isoformat() if entry.created_at else None,
        sent_at=entry.sent_at.isoformat() if entry.sent_at else None,
        reason=entry.reason,
        error_code=entry.error_code,
        error_message=entry.error_message,
    )
