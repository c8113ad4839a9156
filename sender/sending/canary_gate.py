"""Lets the first messages of a run go before the others, and stops the run where what becomes of them is bad.

The canary is the first messages in the order of the claims. Once they are sent, their receipts are awaited; then the
others leave, or nothing more does. While the others are sent, the newest messages with receipts are looked at in the
same way. Only the process that holds the run decides, however many processes send.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace

import polars as pl

from sender.core.canary import (
    RECEIPTS,
    Canary,
    CanaryEvidence,
    CanaryState,
    CanaryTerms,
    Condition,
    OutcomeCount,
    weigh,
)
from sender.core.errors import CanaryStop, StateError
from sender.core.outcomes import SkipReason, Status, SubmissionState
from sender.core.threads import run_in_thread
from sender.delivery.poll import LogSweep
from sender.delivery.route_sessions import RouteSweeps
from sender.plan.plan import Plan
from sender.plan.waves import Waves
from sender.sending.send_windows import wall_clock
from sender.state.heartbeat import OnProgress, Progress
from sender.state.ledger import Ledger, Run
from sender.state.state import State
from sender.state.suppression import SuppressionRow, SuppressionStore
from sender.suppression.entries import SANDBOX, EntrySource

log = logging.getLogger("sender.sending.canary_gate")

NEWEST = 10_000  # messages up to the last one with a receipt, whose rates are looked at while the others are sent
LOOK_EVERY_S = 1.0
SHOW_EVERY_S = 1.0
_LARGEST_LOAD = 0.02  # share of the time spent looking
_BY_PERSON = frozenset({EntrySource.REPLY, EntrySource.PROVIDER_LIST})  # a refusal is in the ledger already


class CanaryGate:
    """What the first messages of one run allow. For the process that holds the run."""

    def __init__(self, state: State, run: Run, plan: Plan, terms: CanaryTerms) -> None:
        """`run` has a canary. `terms` are those that count today."""
        assert run.canary is not None  # noqa: S101 (the caller's)
        self._state = state
        self._run = run
        self._plan = plan
        self._terms = terms
        self._clock_ms = wall_clock(state)
        self._stop: CanaryStop | None = None
        self.canary: Canary = run.canary

    @property
    def holds_others(self) -> bool:
        """Whether only the canary itself may leave."""
        return self.canary.holds_others

    @property
    def is_stopped(self) -> bool:
        """Whether the run was stopped when this process took it over."""
        return self.canary.state is CanaryState.STOPPED

    def bound(self, limit: int | None) -> int:
        """The `seq` below which messages may be claimed while the others are held; `limit` is the caller's own."""
        return self.canary.size if limit is None else min(limit, self.canary.size)

    def is_sent(self) -> bool:
        """Whether none of the canary is pending any more: a part of it that waits for its window leaves later."""
        frontier, waiting = self._state.ledger.pending_from(self._run.run_id)
        return frontier >= self.canary.size and (not waiting or waiting[0] >= self.canary.size)

    def is_last(self, limit: int | None) -> bool:
        """Whether nothing but the canary is to be sent now: the `limit`, or nothing else is pending."""
        counts = self._state.ledger.counts(self._run.run_id)
        return (limit is not None and limit <= self.canary.size) or not counts.pending

    async def pass_others(
        self,
        sweep: LogSweep | RouteSweeps,
        on_progress: OnProgress,
        *,
        listening: bool,
        look_up: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Wait for the receipts of the canary, and return once the others may leave, or when the sweep is canceled.

        `look_up` settles what is unknown after the wait. Raises CanaryStop where the others may not leave.
        """
        left_s = self._begin_wait()
        until_s = time.monotonic() + left_s
        display = asyncio.create_task(self._show_wait(on_progress, until_s))
        try:
            await sweep.follow(left_s, listening=listening)
        finally:
            display.cancel()
            await asyncio.gather(display, return_exceptions=True)
        if look_up is not None and not sweep.is_canceled:
            await look_up()
        if not sweep.is_canceled:
            self._decide()

    async def _show_wait(self, on_progress: OnProgress, until_s: float) -> None:
        """Show each second how many receipts are to come."""
        begun_s = time.monotonic()
        while True:
            counts = self._state.ledger.counts(self._run.run_id)
            now_s = time.monotonic()
            on_progress(
                Progress(
                    total=self._run.messages,
                    accepted=counts.accepted,
                    rejected=counts.rejected,
                    canceled=counts.canceled,
                    unknown=counts.unknown,
                    pending=counts.pending,
                    in_flight=0,
                    elapsed_s=now_s - begun_s,
                    rate_per_s=0.0,
                    eta_s=None,
                    awaited=self._state.ledger.delivering(self._run.run_id),
                    waiting_s=max(0.0, until_s - now_s),
                )
            )
            await asyncio.sleep(SHOW_EVERY_S)

    def _begin_wait(self) -> float:
        """Note that receipts are awaited from now on, unless they are already; return the seconds that are left."""
        now_ms = self._state.ledger.now_ms()
        since_ms = self.canary.waiting_since_ms
        if self.canary.state is not CanaryState.WAITING or since_ms is None:
            since_ms = now_ms
            self._note(self._state.ledger, replace(self.canary, state=CanaryState.WAITING, waiting_since_ms=since_ms))
        left_s = max(0.0, self._terms.wait_s - (now_ms - since_ms) / 1000)
        log.info(
            "canary: the first %d messages are sent; waiting for their receipts, for %.0f s at most",
            self.canary.size,
            left_s,
            extra={"event": "canary_waiting", "messages": self.canary.size, "left_s": round(left_s, 1)},
        )
        return left_s

    def _decide(self) -> None:
        """Let the others leave, or raise CanaryStop; the evidence is kept with the run either way."""
        ledger = self._state.ledger
        evidence = self._weigh(ledger, self._state.suppressions, 0, self.canary.size)
        canary = replace(self.canary, evidence=evidence)
        if canary.broken:
            raise self._stop_run(ledger, canary)
        self._note(ledger, replace(canary, state=CanaryState.PASSED, passed_at_ms=evidence.at_ms))
        log.info(
            "canary: %s: the others leave",
            evidence.sentence(),
            extra={"event": "canary_passed", "canary": self.canary.to_dict()},
        )

    @contextlib.asynccontextmanager
    async def watch(self, stop: asyncio.Event, halt: Callable[[CanaryStop], None]) -> AsyncIterator[None]:
        """Look at the newest messages while the others are sent; where a limit is passed, set `stop`.

        `halt` is then told at once, for senders elsewhere that `stop` does not reach. Raises CanaryStop before anything
        is sent where a limit is passed already, and at the end where one was passed meanwhile.
        """
        ledger, suppressions = self._state.open_ledger(), self._state.open_suppressions()
        try:
            await run_in_thread(self._look, ledger, suppressions)
            if self._stop is not None:
                halt(self._stop)
                raise self._stop
            if self.is_stopped:  # late receipts have put it right
                self._note(ledger, replace(self.canary, state=CanaryState.PASSED))
            watcher = asyncio.create_task(self._look_again(ledger, suppressions, stop, halt))
            try:
                yield
            finally:
                watcher.cancel()
                await asyncio.gather(watcher, return_exceptions=True)
        finally:
            suppressions.close()
            ledger.close()
        if self._stop is not None:
            raise self._stop

    async def _look_again(
        self,
        ledger: Ledger,
        suppressions: SuppressionStore,
        stop: asyncio.Event,
        halt: Callable[[CanaryStop], None],
    ) -> None:
        took_s = 0.0
        while not stop.is_set():
            await asyncio.sleep(max(LOOK_EVERY_S, took_s / _LARGEST_LOAD))
            begun_s = time.monotonic()
            with contextlib.suppress(StateError):  # whoever sends meets the same failure, and says so
                await run_in_thread(self._look, ledger, suppressions)
            took_s = time.monotonic() - begun_s
            if self._stop is not None:
                stop.set()
                halt(self._stop)
                return

    def _look(self, ledger: Ledger, suppressions: SuppressionStore) -> None:
        """Look at the newest messages up to the last one with a receipt, of the run and of each wave that is open."""
        looked: set[int] = set()
        for from_seq, below_seq in self._stretches():
            last = ledger.last_receipt(self._run.run_id, from_seq=from_seq, below_seq=below_seq)
            if last is None or last in looked:
                continue
            looked.add(last)
            evidence = self._weigh(ledger, suppressions, max(0, last + 1 - NEWEST), last + 1)
            canary = replace(self.canary, evidence=evidence)
            if set(canary.broken) - {RECEIPTS} and RECEIPTS not in evidence.broken:
                self._stop = self._stop_run(ledger, canary)
                return

    def _stretches(self) -> Iterator[tuple[int, int]]:
        """The messages in whose order to look for the newest: a wave may open after others that are behind it."""
        yield 0, self._run.messages
        now_ms = self._clock_ms()
        for wave in Waves.of(self._plan.manifest.waves):
            if wave.open_until(now_ms) is not None:
                yield wave.first, wave.end

    # -- evidence ----------------------------------------------------------------------------------------------------

    def _weigh(self, ledger: Ledger, suppressions: SuppressionStore, from_seq: int, below_seq: int) -> CanaryEvidence:
        replies: tuple[OutcomeCount, ...] = ()
        if Condition.OPTED_OUT in self._terms.stop_if:
            replies = tuple(self._find_replies(ledger, suppressions, from_seq, below_seq))
        return weigh(
            ledger.outcomes(self._run.run_id, from_seq=from_seq, below_seq=below_seq),
            self._terms.stop_if,
            messages=below_seq - from_seq,
            at_ms=ledger.now_ms(),
            replies=replies,
        )

    def _find_replies(
        self, ledger: Ledger, suppressions: SuppressionStore, from_seq: int, below_seq: int
    ) -> Iterator[OutcomeCount]:
        """What is known of the messages whose recipients have written STOP since they left."""
        in_range = (pl.col("seq") >= from_seq) & (pl.col("seq") < below_seq)
        people = self._plan.scan().filter(in_range).select("seq", "to").drop_nulls().collect()
        stops: dict[str, int] = {}
        for values in suppressions.look_up(people["to"].unique().sort().to_list()):
            row = SuppressionRow(*values)
            is_real = row.scope != SANDBOX or self._run.simulated
            if row.reason == SkipReason.OPTED_OUT and row.source in _BY_PERSON and is_real:
                stops[row.number] = max(row.at, stops.get(row.number, 0))
        if not stops:
            return
        left = dict(people.filter(pl.col("to").is_in(list(stops))).iter_rows())
        journal = ledger.journal(self._run.run_id, seqs=left.keys())
        rows = journal.select("seq", "state", "status", "reason", pl.col("intent_at").dt.epoch("ms"))
        for seq, state, status, reason, intent_ms in rows.iter_rows():
            if stops[left[seq]] >= intent_ms:
                yield OutcomeCount(SubmissionState(state), None if status is None else Status(status), reason)

    # -- decisions ---------------------------------------------------------------------------------------------------

    def _stop_run(self, ledger: Ledger, canary: Canary) -> CanaryStop:
        """Keep the decision; return the error that says what was passed."""
        self._note(ledger, replace(canary, state=CanaryState.STOPPED))
        stop = explain_stop(self._run, self.canary)
        log.info("%s", stop.what, extra={"event": "canary_stopped", "canary": self.canary.to_dict()})
        return stop

    def _note(self, ledger: Ledger, canary: Canary) -> None:
        ledger.note_canary(self._run.run_id, canary)
        self.canary = canary


def open_canary(state: State, run: Run, plan: Plan, terms: CanaryTerms | None) -> CanaryGate | None:
    """The gate of a run that has a canary; None of another."""
    return None if run.canary is None or terms is None else CanaryGate(state, run, plan, terms)


def explain_stop(run: Run, canary: Canary) -> CanaryStop:
    """The error for a run whose canary has passed limits that nobody has overridden."""
    evidence = canary.evidence
    assert evidence is not None  # noqa: S101 (a decision has its evidence)
    what = "its canary" if canary.holds_others else "the results of its messages"
    return CanaryStop(
        f"run {run.run_id} is stopped by {what}: {'; '.join(evidence.sentences(canary.broken))}",
        fix=f"`sender report {run.run_id}` shows why messages failed; `sender resume {run.run_id}` sends the rest"
        f" anyway, `sender close {run.run_id}` ends the run, and the same command checks the receipts again",
    )


def override(run: Run, *, by: str, now_ms: int) -> Canary | None:
    """The canary of a run that it has stopped, with the limits overridden that stopped it; None where it has not."""
    canary = run.canary
    if canary is None or canary.state is not CanaryState.STOPPED:
        return None
    return replace(
        canary,
        state=CanaryState.PASSED,
        passed_at_ms=canary.passed_at_ms or now_ms,
        overridden=(*canary.overridden, *canary.broken),
        overridden_by=by,
        overridden_at_ms=now_ms,
    )
