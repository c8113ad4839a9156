"""Asks the provider's log what became of accepted messages: whole pages of it, not one request a message.

For a sender without a public URL this is the only word; for one with, it fills in what callbacks lost or do not tell
(the price). Sends nothing but these questions, paced; touches only the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import polars as pl

from sender.core.outcomes import FINAL, DeliveryReport, State, Status
from sender.plan import message_fields
from sender.plan.plan import Plan
from sender.providers._rules import sender_kind
from sender.providers.base import Adapter, LogEntry, LogPage, LogQuery, Request, SenderKind
from sender.state.ledger import Ledger, ReceivedReport, Run
from sender.transport.base import Transport, TransportFailure

log = logging.getLogger("sender.delivery")

# The longest time that any of the providers lets a message wait (SignalWire Compatibility `ValidityPeriod`, 172,800 s):
# whatever has no receipt by then gets none.
UNCONFIRMED_AFTER_S = 172_800.0
LOOKUP_AFTER_S = 600.0  # a message that no page shows is asked for by its id once it is this old
LOOKUPS_MAX = 200  # in one sweep
PAGE_PAUSE_S = 0.1  # ten pages a second, far below what any provider allows
QUERY_TIMEOUT_S = 30.0
SKEW = timedelta(minutes=2)  # between our clock and the provider's
_PAGE_SIZES = (500, 50)  # a page that the transport has cut is asked for again, shorter
_SENDERS_MAX = 3  # walks by sender number; with more, one walk over all of the account's is fewer pages

# Without a price as long as the provider may still tell one; what failed before the carrier costs nothing.
_COSTS = (Status.SENT, Status.DELIVERED, Status.UNDELIVERED, Status.UNCONFIRMED)


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """How a sweep and a wait go: seconds between pages, until an unseen message is asked for by id, between sweeps."""

    page_pause_s: float = PAGE_PAUSE_S
    lookup_after_s: float = LOOKUP_AFTER_S
    first_s: float = 2.0
    longest_s: float = 30.0


LIVE = PollSchedule()
SIMULATED = PollSchedule(page_pause_s=0.0, lookup_after_s=1.0, first_s=0.1, longest_s=0.5)


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """What a sweep came to.

    `updated` messages learned something; `unconfirmed` were given up on; `delivering` have no final status yet.
    `failure` says why the log could not be read to its end.
    """

    updated: int = 0
    unconfirmed: int = 0
    delivering: int = 0
    pages: int = 0
    lookups: int = 0
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class _OpenMessages:
    seq: int
    intent_at: datetime
    status: Status


class LogSweep:
    """Reads the log for one run. `await Sweep(...).refresh()` may be called again and again."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        run: Run,
        plan: Plan,
        adapter: Adapter,
        transport: Transport,
        pace: PollSchedule = LIVE,
        unconfirmed_after_s: float = UNCONFIRMED_AFTER_S,
        cancel: asyncio.Event | None = None,
    ) -> None:
        self._ledger = ledger
        self._run = run
        self._plan = plan
        self._adapter = adapter
        self._transport = transport
        self._pace = pace
        self._unconfirmed_after = timedelta(seconds=unconfirmed_after_s)
        self._cancel = cancel or asyncio.Event()
        self._pages = self._lookups = self._updated = 0

    async def refresh(self) -> RefreshResult:
        """One sweep: reports that found no message yet, the log's pages, what no page shows, what is too old.

        Raises StateError when the ledger cannot be used; a log that cannot be read is in the result.
        """
        self._pages = self._lookups = self._updated = 0
        failure = None
        self._updated += self._ledger.match_reports()
        messages = self._messages()
        wanted = _wanted(messages)
        try:
            await self._walk(wanted, self._senders(messages))
            await self._look_up(wanted)
        except (TransportFailure, ValueError) as error:
            failure = str(error) or type(error).__name__
            log.warning(
                "the provider's log could not be read to its end: %s", failure, extra={"event": "refresh_failed"}
            )
        unconfirmed = self._give_up()
        return RefreshResult(
            updated=self._updated,
            unconfirmed=unconfirmed,
            delivering=self._ledger.delivering(self._run.run_id),
            pages=self._pages,
            lookups=self._lookups,
            failure=failure,
        )

    async def follow(self, wait_s: float, *, listening: bool = False) -> RefreshResult:
        """Sweeps until every accepted message has a final status, `wait_s` are over, or `cancel` is set.

        With `listening`, callbacks are given the time first, and sweeps come at its end; one comes in any case, for
        the prices.
        """
        until = time.monotonic() + wait_s
        pause_s = self._pace.first_s
        while listening and self._ledger.delivering(self._run.run_id) and time.monotonic() < until - wait_s / 4:
            await self._rest(self._pace.first_s)
        last = RefreshResult(delivering=1)
        while not self._cancel.is_set():
            last = await self.refresh()
            left_s = until - time.monotonic()
            if not last.delivering or left_s <= 0:
                break
            await self._rest(min(pause_s, left_s))
            pause_s = min(self._pace.longest_s, 1.5 * pause_s)
        return replace(last, delivering=self._ledger.delivering(self._run.run_id))

    # -- what is missing -------------------------------------------------------------------------------------------

    def _messages(self) -> pl.DataFrame:
        """The journal of accepted messages without a final status or without a price, with what the plan says of them:
        `from_number` (String), `mms` (Boolean), `send_at` (Datetime, null when not scheduled)."""
        open_ = ~pl.col("status").is_in([status.value for status in FINAL])
        priceless = pl.col("price").is_null() & pl.col("status").is_in([status.value for status in _COSTS])
        accepted = self._ledger.journal(self._run.run_id, states=[State.ACCEPTED]).filter(open_ | priceless)
        if accepted.is_empty():
            return accepted
        constant = self._plan.manifest.fields
        send_at = pl.coalesce(message_fields.row_field("send_at"), pl.lit(constant.get("send_at"), pl.String))
        planned = (
            self._plan.scan()
            .filter(pl.col("seq").is_in(accepted["seq"].implode()))
            .select(
                "seq",
                "from_number",
                mms=message_fields.is_mms(constant),
                send_at=send_at.str.to_datetime(time_unit="ms", time_zone="UTC", strict=False),
            )
            .collect()
        )
        return accepted.join(planned, on="seq", how="left").with_columns(
            from_number=pl.coalesce("sender", "from_number")  # a pool may have sent it from another number
        )

    # -- the log ---------------------------------------------------------------------------------------------------

    async def _walk(self, wanted: dict[str, _OpenMessages], senders: Sequence[str | None]) -> None:
        """Takes over what pages tell, and takes out of `wanted` whatever one of them shows."""
        for sender in senders:
            for size in _PAGE_SIZES:
                if await self._walked(wanted, sender, size):
                    break

    async def _walked(self, wanted: dict[str, _OpenMessages], sender: str | None, size: int) -> bool:
        """Walks the log of one sender (None: of all); False when a page came cut, so that shorter ones are needed."""
        if not wanted:
            return True
        times = [one.intent_at for one in wanted.values()]
        now = datetime.fromtimestamp(self._ledger.now_ms() / 1000, UTC)
        until = now if self._adapter.log_facts.filters_by_recipient else max(times)
        query = LogQuery(min(times) - SKEW, until + SKEW, from_number=sender, sent_only=True, page_size=size)
        async with contextlib.aclosing(self._pages_of(self._adapter.log_request(query))) as pages:
            async for page in pages:
                if page is None:
                    if size == _PAGE_SIZES[-1]:
                        raise ValueError("a page of the log is too large")
                    return False
                self._take(page.entries, wanted)
                if not wanted:
                    break
        return True

    async def _pages_of(self, first: Request) -> AsyncGenerator[LogPage | None, None]:
        """The pages from `first` on; None, at the end, for one that the transport has cut."""
        request: Request | None = first
        walked: set[str] = set()
        while request is not None:
            if self._cancel.is_set():
                raise ValueError("interrupted")
            if request.url in walked:
                raise ValueError("the log's pages lead in a circle")
            walked.add(request.url)
            response = await self._transport.send(request, timeout_s=QUERY_TIMEOUT_S)
            self._pages += 1
            if response.truncated:
                yield None
                return
            page = self._adapter.log_page(response, request)
            yield page
            request = page.next
            if request is not None:
                await self._rest(self._pace.page_pause_s)

    async def _look_up(self, wanted: dict[str, _OpenMessages]) -> None:
        """Asks for messages that no page showed, oldest first, when they are old enough to be in it."""
        now = datetime.fromtimestamp(self._ledger.now_ms() / 1000, UTC)
        due = now - timedelta(seconds=self._pace.lookup_after_s)
        unseen = [(one.intent_at, ident) for ident, one in wanted.items() if one.status not in FINAL]
        for intent_at, ident in sorted(unseen)[:LOOKUPS_MAX]:
            if intent_at > due:
                break
            if self._cancel.is_set():
                raise ValueError("interrupted")
            request = self._adapter.lookup(ident)
            response = await self._transport.send(request, timeout_s=QUERY_TIMEOUT_S)
            self._lookups += 1
            entry = self._adapter.lookup_result(response)
            if entry is not None:
                self._take([entry], wanted)
            await self._rest(self._pace.page_pause_s)

    def _take(self, entries: Iterable[LogEntry], wanted: dict[str, _OpenMessages]) -> None:
        told = [
            ReceivedReport(_report(entry), self._run.run_id, known.seq)
            for entry in entries
            if (known := wanted.pop(entry.message_id, None)) is not None
        ]
        if told:
            self._updated += self._ledger.record_reports(told).applied

    def _senders(self, messages: pl.DataFrame) -> Sequence[str | None]:
        """The numbers whose logs are walked; None stands for all of the account's."""
        if messages.is_empty() or not self._adapter.log_facts.filters_by_recipient:
            return (None,)
        senders: list[str | None] = messages["from_number"].unique().sort().to_list()
        plain = all(one and sender_kind(one) in (SenderKind.NUMBER, SenderKind.SHORT_CODE) for one in senders)
        return senders if plain and len(senders) <= _SENDERS_MAX else (None,)

    # -- what will never be told -----------------------------------------------------------------------------------

    def _give_up(self) -> int:
        """`unconfirmed` for what is too old to get a receipt, and for an MMS that is sent where none gets one."""
        messages = self._messages()
        messages = messages.filter(~pl.col("status").is_in([status.value for status in FINAL]))
        if messages.is_empty():
            return 0
        limit = datetime.fromtimestamp(self._ledger.now_ms() / 1000, UTC) - self._unconfirmed_after
        given_up = pl.max_horizontal("intent_at", "send_at") <= limit
        if not self._adapter.capabilities.mms_receipts:
            given_up |= (pl.col("status") == Status.SENT.value) & pl.col("mms")
        told = [
            ReceivedReport(DeliveryReport(ident, Status.UNCONFIRMED), self._run.run_id, seq)
            for seq, ident in messages.filter(given_up).select("seq", "message_id").iter_rows()
        ]
        return self._ledger.record_reports(told).applied if told else 0

    async def _rest(self, seconds: float) -> None:
        """Waits, unless `cancel` is set meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self._cancel.wait()
        except TimeoutError:
            pass


def _wanted(messages: pl.DataFrame) -> dict[str, _OpenMessages]:
    """By message id."""
    rows = messages.select("message_id", "seq", "intent_at", "status")
    return {ident: _OpenMessages(seq, at, Status(status)) for ident, seq, at, status in rows.iter_rows()}


def _report(entry: LogEntry) -> DeliveryReport:
    """A log entry as a report. A record that says when it was sent, and no status yet, is `sent` (Telnyx)."""
    sent = Status.SENT if entry.sent_at is not None and entry.provider_status is None else None
    return DeliveryReport(
        message_id=entry.message_id,
        status=entry.status or sent,
        provider_status=entry.provider_status,
        reason=entry.reason,
        error_code=entry.error_code,
        error_message=entry.error_message,
        segments=entry.segments,
        price=entry.price,
        currency=entry.currency,
        sent_at=entry.sent_at.isoformat() if entry.sent_at else None,
        reported_at=entry.updated_at.isoformat() if entry.updated_at else None,
    )
