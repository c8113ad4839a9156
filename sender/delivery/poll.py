"""Asks the provider's log what became of accepted messages: whole pages of it, rather than a request a message.

For a sender without a public URL this is the only source; for one with, it fills in what callbacks lost or never
contain (the price). Sends only these questions, with pauses between them; touches only the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import polars as pl

from sender.core.outcomes import FINAL, DeliveryReport, Status, SubmissionState
from sender.delivery.provider_log import SKEW, CutPageError, LogReader, wait_or_cancelled
from sender.delivery.provider_session import ProviderSession
from sender.plan import message_fields
from sender.plan.plan import Plan
from sender.providers import sender_kind
from sender.providers.base import LogEntry, LogPage, LogQuery, Request, Response, SenderKind
from sender.state.ledger import Ledger, ReceivedReport, Run
from sender.transport.base import TransportFailure

log = logging.getLogger("sender.delivery")

# The longest time that any of the providers lets a message wait (SignalWire Compatibility `ValidityPeriod`, 172,800 s):
# a message without a receipt by then gets none.
UNCONFIRMED_AFTER_S = 172_800.0
LOOKUP_AFTER_S = 600.0  # a message this old that no page shows is looked up by its id
LOOKUPS_MAX = 200  # in one sweep
PAGE_PAUSE_S = 0.1  # ten pages a second, far below what any provider allows
_PAGE_SIZES = (500, 50)  # entries; a page that the transport has cut is asked for again, shorter
_SENDERS_MAX = 3  # walks by sender number; beyond that, one walk over the whole account takes fewer pages
_TRIES = 1  # for a page: the next sweep is the second try, and a wait for delivery must keep its bound

# The provider may still report a price for these; what failed before the carrier costs nothing.
_COSTS = (Status.SENT, Status.DELIVERED, Status.UNDELIVERED, Status.UNCONFIRMED)


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """When to ask: the pause between pages, the age at which an unseen message is looked up, the pauses between sweeps.

    Sweeps are `first_s` apart at first, and later up to `longest_s`.
    """

    page_pause_s: float = PAGE_PAUSE_S
    lookup_after_s: float = LOOKUP_AFTER_S
    first_s: float = 2.0
    longest_s: float = 30.0


LIVE = PollSchedule()
SIMULATED = PollSchedule(page_pause_s=0.0, lookup_after_s=1.0, first_s=0.1, longest_s=0.5)


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """The result of a sweep.

    `updated` messages have news, `unconfirmed` were given up on, `delivering` have no final status yet. `pages` and
    `lookups` count requests. `failure` is why the log could not be read to its end.
    """

    updated: int = 0
    unconfirmed: int = 0
    delivering: int = 0
    pages: int = 0
    lookups: int = 0
    failure: str | None = None


def merge_refreshed(results: Sequence[RefreshResult]) -> RefreshResult:
    """The results of the sweeps of a run's routes as one; what is delivering each has counted for all."""
    return RefreshResult(
        updated=sum(result.updated for result in results),
        unconfirmed=sum(result.unconfirmed for result in results),
        delivering=min(result.delivering for result in results),
        pages=sum(result.pages for result in results),
        lookups=sum(result.lookups for result in results),
        failure=next((result.failure for result in results if result.failure is not None), None),
    )


@dataclass(frozen=True, slots=True)
class _OpenMessage:
    seq: int
    intent_at: datetime
    status: Status


class LogSweep:
    """Reads the log for one run. `refresh` may be called again and again."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        run: Run,
        plan: Plan,
        provider: ProviderSession,
        schedule: PollSchedule = LIVE,
        unconfirmed_after_s: float = UNCONFIRMED_AFTER_S,
        cancel: asyncio.Event | None = None,
        route: int | None = None,
    ) -> None:
        """`route` is the place of the one that `provider`, `run` and `plan` are of; None where there is one way."""
        self._route = route
        self._ledger = ledger
        self._run = run
        self._plan = plan
        self._adapter = provider.adapter
        self._transport = provider.transport
        self._facts = provider.facts
        self._schedule = schedule
        self._unconfirmed_after = timedelta(seconds=unconfirmed_after_s)
        self._cancel = cancel or asyncio.Event()
        self._reader = self._open_reader()
        self._lookups = self._updated = 0

    @property
    def is_canceled(self) -> bool:
        """Whether `cancel` is set."""
        return self._cancel.is_set()

    async def refresh(self) -> RefreshResult:
        """Sweep once: match early reports, walk the log's pages, look up what no page shows, give up what is too old.

        Raises StateError when the ledger cannot be used; why a log could not be read is in the result.
        """
        self._reader = self._open_reader()
        self._lookups = self._updated = 0
        failure = None
        self._updated += self._ledger.match_reports()
        messages = self._messages()
        open_messages = _by_message_id(messages)
        try:
            await self._walk(open_messages, self._senders(messages))
            await self._look_up(open_messages)
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
            pages=self._reader.pages,
            lookups=self._lookups,
            failure=failure,
        )

    async def follow(self, wait_s: float, *, listening: bool = False) -> RefreshResult:
        """Sweep until every accepted message has a final status, `wait_s` seconds have passed, or `cancel` is set.

        With `listening`, callbacks get the first three quarters of the time before a sweep begins. There is always at
        least one sweep, for the prices.
        """
        until = time.monotonic() + wait_s
        pause_s = self._schedule.first_s
        while listening and not self._cancel.is_set() and time.monotonic() < until - wait_s / 4:
            if not self._ledger.delivering(self._run.run_id):
                break
            await wait_or_cancelled(self._schedule.first_s, self._cancel)
        last = RefreshResult(delivering=1)
        while not self._cancel.is_set():
            last = await self.refresh()
            left_s = until - time.monotonic()
            if not last.delivering or left_s <= 0:
                break
            await wait_or_cancelled(min(pause_s, left_s), self._cancel)
            pause_s = min(self._schedule.longest_s, 1.5 * pause_s)
        return replace(last, delivering=self._ledger.delivering(self._run.run_id))

    # -- what to ask about -----------------------------------------------------------------------------------------

    def _messages(self) -> pl.DataFrame:
        """The journal of accepted messages without a final status or without a price.

        The plan adds `from_number` (String), `mms` (Boolean) and `send_at` (Datetime, null when not scheduled).
        """
        undecided = ~pl.col("status").is_in([status.value for status in FINAL])
        priceless = pl.col("price").is_null() & pl.col("status").is_in([status.value for status in _COSTS])
        accepted = self._ledger.journal(self._run.run_id, states=[SubmissionState.ACCEPTED]).filter(
            undecided | priceless
        )
        if self._route is not None:
            accepted = accepted.filter(route=self._route)
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
        planned_sender = pl.when(pl.col("route") == 0).then("from_number")  # a route's numbers are its own
        return accepted.join(planned, on="seq", how="left").with_columns(
            from_number=pl.coalesce("sender", planned_sender)  # a pool may have sent it from another number
        )

    # -- the log ---------------------------------------------------------------------------------------------------

    def _open_reader(self) -> LogReader:
        return LogReader(self._transport, pause_s=self._schedule.page_pause_s, tries=_TRIES, cancel=self._cancel)

    async def _walk(self, open_messages: dict[str, _OpenMessage], senders: Sequence[str | None]) -> None:
        """Record what pages say, and take out of `open_messages` each message that a page shows."""
        for sender in senders:
            for size in _PAGE_SIZES:
                try:
                    await self._walk_sender(open_messages, sender, size)
                    break
                except CutPageError:
                    if size == _PAGE_SIZES[-1]:
                        raise

    async def _walk_sender(self, open_messages: dict[str, _OpenMessage], sender: str | None, size: int) -> None:
        """Walk the log of one sender (None: of all), in pages of `size` entries. Raises CutPageError."""
        if not open_messages:
            return
        times = [message.intent_at for message in open_messages.values()]
        until = self._now() if self._facts.filters_by_recipient else max(times)
        query = LogQuery(min(times) - SKEW, until + SKEW, from_number=sender, sent_only=True, page_size=size)
        first = self._adapter.log_request(query)
        async with contextlib.aclosing(self._reader.pages_from(first, self._read_page)) as pages:
            async for page in pages:
                self._record(page.entries, open_messages)
                if not open_messages:
                    break

    def _read_page(self, response: Response, request: Request) -> LogPage:
        return self._adapter.log_page(response, request)

    async def _look_up(self, open_messages: dict[str, _OpenMessage]) -> None:
        """Look up messages that no page showed, oldest first, if they are old enough to be in the log."""
        due = self._now() - timedelta(seconds=self._schedule.lookup_after_s)
        unseen = [
            (message.intent_at, message_id)
            for message_id, message in open_messages.items()
            if message.status not in FINAL
        ]
        for intent_at, message_id in sorted(unseen)[:LOOKUPS_MAX]:
            if intent_at > due:
                break
            response = await self._reader.fetch(self._adapter.lookup(message_id))
            self._lookups += 1
            entry = self._adapter.lookup_result(response)
            if entry is not None:
                self._record([entry], open_messages)

    def _record(self, entries: Iterable[LogEntry], open_messages: dict[str, _OpenMessage]) -> None:
        reports = [
            ReceivedReport(_report(entry), self._run.run_id, message.seq)
            for entry in entries
            if (message := open_messages.pop(entry.message_id, None)) is not None
        ]
        if reports:
            self._updated += self._ledger.record_reports(reports).applied

    def _senders(self, messages: pl.DataFrame) -> Sequence[str | None]:
        """The numbers whose logs are walked; None stands for all of the account's."""
        if messages.is_empty() or not self._facts.filters_by_recipient:
            return (None,)
        senders: list[str | None] = messages["from_number"].unique().sort().to_list()
        plain = (SenderKind.NUMBER, SenderKind.SHORT_CODE)
        filterable = all(sender and sender_kind(sender) in plain for sender in senders)
        return senders if filterable and len(senders) <= _SENDERS_MAX else (None,)

    # -- what nobody will report any more --------------------------------------------------------------------------

    def _give_up(self) -> int:
        """Record `unconfirmed` for messages too old to get a receipt, and for MMS sent where MMS get none."""
        messages = self._messages()
        messages = messages.filter(~pl.col("status").is_in([status.value for status in FINAL]))
        if messages.is_empty():
            return 0
        given_up = pl.max_horizontal("intent_at", "send_at") <= self._now() - self._unconfirmed_after
        if not self._adapter.capabilities.mms_receipts:
            given_up |= (pl.col("status") == Status.SENT.value) & pl.col("mms")
        reports = [
            ReceivedReport(DeliveryReport(message_id, Status.UNCONFIRMED), self._run.run_id, seq)
            for seq, message_id in messages.filter(given_up).select("seq", "message_id").iter_rows()
        ]
        return self._ledger.record_reports(reports).applied if reports else 0

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._ledger.now_ms() / 1000, UTC)


def _by_message_id(messages: pl.DataFrame) -> dict[str, _OpenMessage]:
    rows = messages.select("message_id", "seq", "intent_at", "status")
    return {
        message_id: _OpenMessage(seq, intent_at, Status(status))
        for message_id, seq, intent_at, status in rows.iter_rows()
    }


def _report(entry: LogEntry) -> DeliveryReport:
    """A log entry as a report. An entry with a time of sending and no status yet is `sent` (Telnyx)."""
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
        line_type=entry.line_type,
        carrier=entry.carrier,
        smart_encoded=entry.smart_encoded,
    )
