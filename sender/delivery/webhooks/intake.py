"""Writes what webhooks say into the ledger, many in a commit, and says when it is on disk.

One thread writes: whatever has come while it was busy goes into its next commit. Another one looks for the messages
of reports that carry no ref, with a handle of its own, and tells of numbers that were refused: a long look holds up
nobody.
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

GATHER_S = 0.004  # before a commit: at a thousand reports a second four go into one, and the sender gets its turn
WAITING_MAX = 20_000  # reports that wait for the disk; beyond it the provider is asked to come again
MATCH_EVERY_S = 2.0
MATCH_FOR_S = 600.0  # after the last report without a message: its create's answer may still be on the way
KEEP_S = 8 * 86_400.0  # a report that finds no message in this time was another program's

OnInbound = Callable[[InboundMessage, str, datetime], object]  # (message, dialect, when it was written)
OnRefused = Callable[[Collection[str | None]], object]  # the runs (None: some that are not named)


class Overloaded(Exception):  # noqa: N818
    """Too many reports wait for the disk."""


@dataclass
class WebhookCounts:
    """What has been received, for the health page and the end of a run."""

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
class _Delivered:
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
        """`open_ledger` gives a handle; `on_inbound` has made durable what it learned when it returns.

        `on_refused` is told, a moment after they are on disk, in which runs reports say something about a number.
        """
        self._open_ledger = open_ledger
        self._on_inbound = on_inbound
        self._on_refused = on_refused
        self._refused: set[str | None] = set()
        self._waiting: list[_Delivered] = []
        self._came = asyncio.Event()
        self._closing = False
        self._strays_until = 0.0
        self.tally = WebhookCounts()
        self.failure: str | None = None  # of the last commit

    async def __aenter__(self) -> Self:
        self._writer_thread = ThreadPoolExecutor(1, thread_name_prefix="reports")
        self._matcher_thread = ThreadPoolExecutor(1, thread_name_prefix="matcher")
        self._ledger = await _in(self._writer_thread, self._open_ledger)
        self._tasks = [asyncio.create_task(self._write_forever()), asyncio.create_task(self._match_forever())]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Writes what has come, then lets go of the ledger."""
        self._closing = True
        self._came.set()
        writer, matcher = self._tasks
        await writer
        matcher.cancel()
        await asyncio.wait([matcher])
        await self._tell_refused()
        await _in(self._writer_thread, self._ledger.close)
        self._writer_thread.shutdown()
        self._matcher_thread.shutdown()

    @property
    def waiting(self) -> int:
        """How many webhooks wait for the disk."""
        return len(self._waiting)

    async def put(self, dialect: str, reports: Sequence[Report]) -> None:
        """Returns when `reports` are on disk. Raises Overloaded at once, or StateError when they cannot be written."""
        if len(self._waiting) >= WAITING_MAX or self._closing:
            raise Overloaded
        written = asyncio.get_running_loop().create_future()
        self._waiting.append(_Delivered(reports, dialect, datetime.now(UTC), written))
        self._came.set()
        await written

    async def _write_forever(self) -> None:
        while self._waiting or not self._closing:
            await self._came.wait()
            self._came.clear()
            if not self._closing:
                await asyncio.sleep(GATHER_S)
            group, self._waiting = self._waiting, []
            if not group:
                continue
            try:
                await _in(self._writer_thread, partial(self._write, group))
            except Exception as error:  # noqa: BLE001 (told to whoever waits; the next group may fare better)
                self._fail(group, error)
            else:
                self.failure = None
                for one in group:
                    if not one.written.done():  # the caller may have gone
                        one.written.set_result(None)

    def _fail(self, group: list[_Delivered], error: Exception) -> None:
        self.failure = str(error).splitlines()[0]
        log.error("reports could not be written: %s", self.failure, extra={"event": "reports_failed"})
        failure = error if isinstance(error, StateError) else StateError("the reports could not be written")
        for one in group:
            if not one.written.done():
                one.written.set_exception(failure)

    def _write(self, group: list[_Delivered]) -> None:
        reported: list[ReceivedReport] = []
        for one in group:
            for report in one.reports:
                if isinstance(report, DeliveryReport):
                    reported.append(named(report))
                    if report.reason in TAUGHT and self._on_refused is not None:
                        self._refused.add(reported[-1].run_id)
                elif self._on_inbound is not None:
                    self._on_inbound(report, one.dialect, _moment(report.at) or one.at)
                    self.tally.inbound += 1
        if reported:
            counts = self._ledger.record_reports(reported)
            self.tally.add(counts)
            if counts.kept:
                self._strays_until = time.monotonic() + MATCH_FOR_S

    async def _match_forever(self) -> None:
        """Looks for the messages of reports without a ref while there may be some, and tells of refused numbers; a
        tenth of the time at most."""
        await _in(self._matcher_thread, self._forget)
        pause_s = MATCH_EVERY_S
        while True:
            await asyncio.sleep(pause_s)
            started = time.monotonic()
            if started < self._strays_until:
                try:
                    self.tally.matched += await _in(self._matcher_thread, self._match)
                except StateError as error:
                    log.warning("reports without a ref wait: %s", error.what, extra={"event": "match_failed"})
            await self._tell_refused()
            pause_s = max(MATCH_EVERY_S, 10 * (time.monotonic() - started))

    async def _tell_refused(self) -> None:
        refused, self._refused = self._refused, set()
        if not refused or self._on_refused is None:
            return
        try:
            await _in(self._matcher_thread, partial(self._on_refused, refused))
        except SenderError as error:  # the end of the run, or the next refresh, teaches it again
            log.warning("nothing was learned of refused numbers: %s", error.what, extra={"event": "learn_failed"})

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


def named(report: DeliveryReport) -> ReceivedReport:
    """The report with the message that its ref names, if it has one."""
    place = read_ref(report.ref)
    return ReceivedReport(report, *place) if place else ReceivedReport(report)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
