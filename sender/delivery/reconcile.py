"""Settles unknown messages from the provider's own log.

Found means accepted, with the provider's id. Absent counts only after a complete walk of the log and after the time
in which the log may lag; then the message is pending again. Whatever is left in doubt stays `unknown`. Sends nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import polars as pl
from aiolimiter import AsyncLimiter

from sender.core.outcomes import Accepted, State, Status
from sender.core.refs import make_ref
from sender.plan.plan import Plan
from sender.providers._http import retry_after_s
from sender.providers.base import Adapter, LogEntry, LogFacts, LogQuery, Request, Response
from sender.state.ledger import Ledger, LogFinding, Run
from sender.transport.base import Transport, TransportFailure

log = logging.getLogger("sender.delivery.reconcile")

SKEW = timedelta(minutes=2)  # between our clock and the provider's
QUERY_TIMEOUT_S = 30.0
PAGE_TRIES = 6  # of one page that is refused, fails or does not come: reading twice harms nobody
BACKOFF_S = 1.0  # before the second try; doubles, to BACKOFF_CAP_S
BACKOFF_CAP_S = 60.0  # the provider's own wish may be longer


@dataclass(frozen=True, slots=True)
class ReconcileResult:
    """What became of the unknowns: found at the provider, proved absent (pending again), still in doubt.

    `decidable_at` is when the doubtful ones can be decided (None: the provider's log never proves absence, or there
    are none). `failure` says why the log could not be read to its end.
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
    doubted_at: datetime  # by then nothing of it was under way any more
    attempt: int


async def reconcile(
    *,
    ledger: Ledger,
    run: Run,
    plan: Plan,
    adapter: Adapter,
    transport: Transport,
    facts: LogFacts,
    cancel: asyncio.Event,
) -> ReconcileResult:
    """Settles what can be settled of `run`'s unknown messages. `facts` say what the provider's log can prove.

    Setting `cancel` ends the walk: what has been found by then is settled, and absence proves nothing.
    Raises StateError when the ledger cannot be written.
    """
    doubts = _doubts(ledger.journal(run.run_id, states=[State.UNKNOWN]), plan, run.run_id)
    if not doubts:
        return ReconcileResult()
    now = datetime.fromtimestamp(ledger.now_ms() / 1000, UTC)
    known = ledger.message_ids()  # of every run: another run's text to the same number is not this one
    found: dict[int, LogEntry] = {}
    rivalled: set[int] = set()  # an entry to the same number is left over: it may be this one after all
    failure = None
    pages = _Pages(adapter, transport, facts, ledger.now_ms, cancel)
    try:
        async for entries in _entries(doubts, pages, facts, now):
            fresh = [entry for entry in entries if entry.message_id not in known]
            open_doubts = [doubt for doubt in doubts if doubt.seq not in found]
            matched = _match(open_doubts, fresh, facts)
            found |= matched
            known |= {entry.message_id for entry in matched.values()}
            left = [entry for entry in fresh if entry.message_id not in known]
            rivalled |= {doubt.seq for doubt in open_doubts if any(_may_be(doubt, entry) for entry in left)}
    except (TransportFailure, ValueError) as error:
        failure = str(error) or type(error).__name__
        log.warning(
            "the provider's log could not be read to its end: %s",
            failure,
            extra={"event": "reconcile_failed"},
        )
    attempts = {doubt.seq: doubt.attempt for doubt in doubts}
    settled = [LogFinding(seq, _accepted(entry), attempts[seq]) for seq, entry in found.items()]
    absent: list[LogFinding] = []
    waiting: list[datetime] = []
    for doubt in doubts:
        if doubt.seq in found or doubt.seq in rivalled or facts.settle_s is None:
            continue
        decidable = doubt.doubted_at + timedelta(seconds=facts.settle_s)
        if failure is None and decidable <= now:
            absent.append(LogFinding(doubt.seq, None, doubt.attempt))
        else:
            waiting.append(decidable)
    ledger.reconcile(run.run_id, [*settled, *absent])
    doubtful = len(doubts) - len(settled) - len(absent)
    log.info(
        "%d unknown looked up in the provider's log: %d found, %d proved absent (pending again), %d still unknown",
        len(doubts),
        len(settled),
        len(absent),
        doubtful,
        extra={"event": "reconciled", "found": len(settled), "absent": len(absent), "unknown": doubtful},
    )
    return ReconcileResult(
        found=len(settled),
        absent=len(absent),
        doubtful=doubtful,
        decidable_at=max(waiting, default=None),
        failure=failure,
    )


def _doubts(unknown: pl.DataFrame, plan: Plan, run_id: str) -> list[_UnknownMessage]:
    unknown = unknown.select("seq", "intent_at", "updated_at", "attempts", "sender")
    if unknown.is_empty():
        return []
    columns = ("seq", "to", "from_number", "body")
    rows = (
        plan.scan()
        .select(columns)
        .filter(pl.col("seq").is_in(unknown["seq"].implode()))
        .collect()
        .join(unknown, on="seq")
        .with_columns(from_number=pl.coalesce("sender", "from_number"))  # the number it really left from
        .drop("sender")
    )
    return [
        _UnknownMessage(seq, make_ref(run_id, seq), to, sender, body, intent_at, doubted_at, attempt)
        for seq, to, sender, body, intent_at, doubted_at, attempt in rows.sort("intent_at", "seq").iter_rows()
    ]


async def _entries(
    doubts: list[_UnknownMessage], pages: _Pages, facts: LogFacts, now: datetime
) -> AsyncIterator[list[LogEntry]]:
    """The log's entries that may matter, a whole query at a time so that an entry is judged beside its rivals."""
    since, until = min(doubt.intent_at for doubt in doubts) - SKEW, now + SKEW
    if facts.filters_by_recipient:
        queries = [LogQuery(since, until, to=to) for to in sorted({doubt.to for doubt in doubts})]
    else:
        queries = [LogQuery(since, until)]
    for query in queries:
        yield await pages.walk(query)


class _Pages:
    """Reads the provider's log, at its own pace and with patience."""

    def __init__(
        self,
        adapter: Adapter,
        transport: Transport,
        facts: LogFacts,
        now_ms: Callable[[], int],
        cancel: asyncio.Event,
    ) -> None:
        self._adapter = adapter
        self._transport = transport
        self._pace = AsyncLimiter(1, 1 / facts.requests_per_s)
        self._now_ms = now_ms
        self._cancel = cancel

    async def walk(self, query: LogQuery) -> list[LogEntry]:
        """Every entry of the query, to the last page. Raises TransportFailure or ValueError: then nothing is proved."""
        entries: list[LogEntry] = []
        walked: set[str] = set()
        request: Request | None = self._adapter.log_request(query)
        while request is not None:
            if request.url in walked:
                raise ValueError("the log's pages lead in a circle")
            walked.add(request.url)
            response = await self._fetch(request)
            _same_clock(response, self._now_ms())
            page = self._adapter.log_page(response, request)
            entries.extend(page.entries)
            request = page.next
        return entries

    async def _fetch(self, request: Request) -> Response:
        """The page's answer; a refusal of the pace, a 5xx or no answer is tried again, later."""
        wait_s = 0.0
        for attempt in range(PAGE_TRIES):
            await self._wait(wait_s)
            await self._pace.acquire()
            last = attempt == PAGE_TRIES - 1
            wait_s = min(BACKOFF_CAP_S, BACKOFF_S * 2**attempt)
            try:
                response = await self._transport.send(request, timeout_s=QUERY_TIMEOUT_S)
            except TransportFailure:
                if last:
                    raise
                continue
            if last or not (response.status == 429 or response.status >= 500):
                return response
            wait_s = max(wait_s, retry_after_s(response.headers) or 0.0)
            log.info(
                "the provider's log answers %d: asked again in %.0f s",
                response.status,
                wait_s,
                extra={"event": "reconcile_waits", "status": response.status, "wait_s": round(wait_s, 1)},
            )
        raise AssertionError  # the last try returned or raised

    async def _wait(self, seconds: float) -> None:
        """Raises ValueError when the walk is to end."""
        if not self._cancel.is_set() and seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._cancel.wait()
        if self._cancel.is_set():
            raise ValueError("interrupted")


def clocks_apart_s(response: Response, now_ms: int) -> float | None:
    """Seconds between the answer's own date and our clock if they are more than SKEW, else None (also without a date).

    Times in the provider's log could then not be compared with ours.
    """
    try:
        told = parsedate_to_datetime(response.headers.get("date", ""))
    except ValueError:
        return None
    apart_s = abs(told.timestamp() - now_ms / 1000)
    return apart_s if apart_s > SKEW.total_seconds() else None


def _same_clock(response: Response, now_ms: int) -> None:
    """Raises ValueError when the answer's date is further from our clock than SKEW: no time could be compared."""
    apart_s = clocks_apart_s(response, now_ms)
    if apart_s is not None:
        raise ValueError(f"the provider's clock and ours are {apart_s:.0f} s apart: set this machine's clock")


def _match(doubts: list[_UnknownMessage], entries: Iterable[LogEntry], facts: LogFacts) -> dict[int, LogEntry]:
    """One entry at most for each doubt, one doubt at most for each entry: by ref, else by what the log tells.

    Where the log carries refs, an entry without ours is another message.
    """
    by_ref = {doubt.ref: doubt for doubt in doubts}
    found: dict[int, LogEntry] = {}
    unnamed: list[LogEntry] = []
    for entry in entries:
        if entry.ref is not None and (named := by_ref.get(entry.ref)):
            found.setdefault(named.seq, entry)
        elif entry.ref is None and not facts.carries_ref:
            unnamed.append(entry)
    for entry in sorted(unnamed, key=lambda one: one.created_at or datetime.max.replace(tzinfo=UTC)):
        for doubt in doubts:
            if doubt.seq not in found and _same(doubt, entry, facts):
                found[doubt.seq] = entry
                break
    return found


def _same(doubt: _UnknownMessage, entry: LogEntry, facts: LogFacts) -> bool:
    if entry.to != doubt.to or (doubt.from_number and entry.from_number and entry.from_number != doubt.from_number):
        return False
    if facts.carries_body and entry.body is not None and not _says(entry.body, doubt.body):
        return False
    if entry.created_at is None:
        return True
    return doubt.intent_at - SKEW <= entry.created_at <= doubt.doubted_at + SKEW


def _says(told: str, body: str | None) -> bool:
    """Whether the log's text is `body`; a trial account's provider puts words before it."""
    return told.endswith(body) if body else told == ""


def _may_be(doubt: _UnknownMessage, entry: LogEntry) -> bool:
    """Whether `entry` could be `doubt` with another body than we gave: enough to doubt its absence."""
    if entry.to != doubt.to or (entry.ref is not None and entry.ref != doubt.ref):
        return False
    return entry.created_at is None or entry.created_at >= doubt.intent_at - SKEW


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
