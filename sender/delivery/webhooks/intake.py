"""Writes the content of webhooks into the ledger, many in a commit, and confirms once it is on disk.

One thread writes: what arrives while it is busy goes into its next commit. Another thread looks for the messages of
reports without a ref, with a handle of its own, and passes on refused numbers, so that a long search delays nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Self, TypeVar

from sender.core.errors import SenderError, StateError
from sender.core.outcomes import DeliveryReport
from sender.core.refs import read_ref
from sender.providers.base import InboundMessage, Report
from sender.state.ledger import Ledger, ReceivedReport, ReportCounts
from sender.suppression.entries import TAUGHT

T = TypeVar("T")

log = logging.getLogger("sender.delivery")

GATHER_S = 0.004  # before a commit: at a thousand reports a second it gathers four, and the sender gets its turn
WAITING_MAX = 20_000  # webhooks waiting for the disk; above this we answer 503, and the provider retries
MATCH_EVERY_S = 2.0
MATCH_FOR_S = 600.0  # after the last report without a message: the answer to its create request may still arrive
KEEP_S = 8 * 86_400.0  # a report without a message after this time belongs to another program

OnInbound = Callable[[InboundMessage, str, datetime], object]  # (message, dialect, time it was received)
OnRefused = Callable[[Collection[str | None]], object]  # the runs (None: unnamed ones)


class Overloaded(Exception):  # noqa: N818
    """Too many webhooks wait for the disk."""


@dataclass
class WebhookCounts:
    """Counts of what was received, for the health page and the end of a run."""

    applied: int = 0
    same: int = 0
    kept: int = 0
    matched: int = 0
    inbound: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    def add(self, counts: ReportCounts) -> None:
        self.applied += counts.applied
        self.same += counts.same
        self.kept += counts.kept


@dataclass(frozen=True, slots=True)
class _WaitingWebhook:
    reports: Sequence[Report]
    dialect: str
    at: datetime
    written: asyncio.Future[None]


class Intake:
    """`async with Intake(open_ledger) as intake: await intake.put("twilio", reports)`."""

    def __init__(
        self,
        open_ledger: Callable[[], Ledger],
        on_inbound: OnInbound | None = None,
        on_refused: OnRefused | None = None,
    ) -> None:
        """`open_ledger` returns a handle of its own; `on_inbound` stores what it learns before it returns.

        `on_refused` gets the runs whose reports say something about a number, a moment after they are on disk.
        """
        self._open_ledger = open_ledger
        self._on_inbound = on_inbound
        self._on_refused = on_refused
        self._refused: set[str | None] = set()
        self._waiting: list[_WaitingWebhook] = []
        self._arrived = asyncio.Event()
        self._closing = False
        self._strays_until = 0.0
        self.counts = WebhookCounts()
        self.failure: str | None = None  # of the last commit

    async def __aenter__(self) -> Self:
        self._writer_thread = ThreadPoolExecutor(1, thread_name_prefix="reports")
        self._matcher_thread = ThreadPoolExecutor(1, thread_name_prefix="matcher")
        self._ledger = await _in(self._writer_thread, self._open_ledger)
        self._tasks = [asyncio.create_task(self._write_forever()), asyncio.create_task(self._match_forever())]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what has arrived, then close the ledger."""
        self._closing = True
        self._arrived.set()
        writer, matcher = self._tasks
        await writer
        matcher.cancel()
        await asyncio.wait([matcher])
        await self._report_refused()
        await _in(self._writer_thread, self._ledger.close)
        self._writer_thread.shutdown()
        self._matcher_thread.shutdown()

    @property
    def waiting(self) -> int:
        """The number of webhooks that wait for the disk."""
        return len(self._waiting)

    async def put(self, dialect: str, reports: Sequence[Report]) -> None:
        """Return once `reports` are on disk. Raises Overloaded at once, and StateError when they cannot be written."""
        if len(self._waiting) >= WAITING_MAX or self._closing:
            raise Overloaded
        written = asyncio.get_running_loop().create_future()
        self._waiting.append(_WaitingWebhook(reports, dialect, datetime.now(UTC), written))
        self._arrived.set()
        await written

    async def _write_forever(self) -> None:
        while self._waiting or not self._closing:
            await self._arrived.wait()
            self._arrived.clear()
            if not self._closing:
                await asyncio.sleep(GATHER_S)
            group, self._waiting = self._waiting, []
            if not group:
                continue
            try:
                await _in(self._writer_thread, partial(self._write, group))
            except Exception as error:  # noqa: BLE001 (raised for each caller that waits; the next group may succeed)
                self._fail(group, error)
            else:
                self.failure = None
                for webhook in group:
                    if not webhook.written.done():  # the caller may have gone
                        webhook.written.set_result(None)

    def _fail(self, group: list[_WaitingWebhook], error: Exception) -> None:
        self.failure = str(error).splitlines()[0]
        log.error("reports could not be written: %s", self.failure, extra={"event": "reports_failed"})
        failure = error if isinstance(error, StateError) else StateError("the reports could not be written")
        for webhook in group:
            if not webhook.written.done():
                webhook.written.set_exception(failure)

    def _write(self, group: list[_WaitingWebhook]) -> None:
        received: list[ReceivedReport] = []
        for webhook in group:
            for report in webhook.reports:
                if isinstance(report, DeliveryReport):
                    received.append(attach_message(report))
                    if report.reason in TAUGHT and self._on_refused is not None:
                        self._refused.add(received[-1].run_id)
                elif self._on_inbound is not None:
                    self._on_inbound(report, webhook.dialect, webhook.at)
                    self.counts.inbound += 1
        if received:
            counts = self._ledger.record_reports(received)
            self.counts.add(counts)
            if counts.kept:
                self._strays_until = time.monotonic() + MATCH_FOR_S

    async def _match_forever(self) -> None:
        """Look for the messages of reports without a ref while there may be some, and pass on refused numbers.

        Takes a tenth of the time at most.
        """
        await _in(self._matcher_thread, self._forget)
        pause_s = MATCH_EVERY_S
        while True:
            await asyncio.sleep(pause_s)
            started = time.monotonic()
            if started < self._strays_until:
                try:
                    self.counts.matched += await _in(self._matcher_thread, self._match)
                except StateError as error:
                    log.warning("reports without a ref wait: %s", error.what, extra={"event": "match_failed"})
            await self._report_refused()
            pause_s = max(MATCH_EVERY_S, 10 * (time.monotonic() - started))

    async def _report_refused(self) -> None:
        refused, self._refused = self._refused, set()
        if not refused or self._on_refused is None:
            return
        try:
            await _in(self._matcher_thread, partial(self._on_refused, refused))
        except SenderError as error:  # the end of the run, or the next refresh, learns it again
            log.warning("refused numbers could not be recorded: %s", error.what, extra={"event": "learn_failed"})

    def _match(self) -> int:
        ledger = self._open_ledger()
        try:
            return ledger.match_reports()
        finally:
            ledger.close()

    def _forget(self) -> None:
        ledger = self._open_ledger()
        try:
            ledger.forget_reports(ledger.now_ms() - round(KEEP_S * 1000))
            if ledger.kept_reports():
                self._strays_until = time.monotonic() + MATCH_FOR_S
        finally:
            ledger.close()


async def _in(thread: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(thread, call)


def attach_message(report: DeliveryReport) -> ReceivedReport:
    """Return the report with the message that its ref names, if it has a ref."""
    message = read_ref(report.ref)
    return ReceivedReport(report, *message) if message else ReceivedReport(report)
