"""Has one run sent by the workers of all machines, for the process that holds it; sends nothing itself.

Asks the engine for shifts, and for new ones where some are missing; expires what dead senders left; returns once
nothing is left below the bound, or nobody is there to send it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque

from sender.core.clock import steady_s
from sender.core.errors import SenderError, StateError
from sender.core.threads import run_in_thread
from sender.sending.shifts.order import Order
from sender.sending.workers.protocol import decode_error
from sender.state.heartbeat import OnProgress, Progress
from sender.state.ledger import Counts, Ledger, Run
from sender.state.sharing import Sharing, ShiftQueue, ShiftRow
from sender.state.state import State

log = logging.getLogger("sender.sending.shifts.shift_supervisor")

LOOK_EVERY_S = 0.5
EXPIRE_EVERY_S = 5.0
ASK_AGAIN_S = 3.0  # for shifts that are missing: a process needs a moment to begin
ALONE_AFTER_S = 3.0  # without any worker
WORTH_A_SENDER = 20  # messages that are left for one more
MOST_IN_VAIN = 5  # times that senders are asked for, and nothing leaves
_RATE_LOOKS = 20


class ShiftSupervisor:
    """The senders of one run, on all machines. Use once: `await ShiftSupervisor(...).run(stop)`."""

    def __init__(self, state: State, run: Run, order: Order, below_seq: int | None, on_progress: OnProgress) -> None:
        assert state.sharing is not None  # noqa: S101 (the caller's)
        self._state = state
        self._sharing: Sharing = state.sharing
        self._run = run
        self._order = order
        self._below_seq = below_seq
        self._on_progress = on_progress
        self._total = run.messages if below_seq is None else min(below_seq, run.messages)
        self._begun_s = steady_s()
        self._looks: deque[tuple[float, int]] = deque(maxlen=_RATE_LOOKS)
        self._asked_s = self._expired_s = float("-inf")
        self._seen_s = steady_s()
        self._left, self._asks = -1, 0

    @property
    def lost(self) -> bool:
        """Never: what dead senders left expires by itself."""
        return False

    async def run(self, stop: asyncio.Event) -> None:
        """Return when nothing is left to send below the bound, when no worker is there, or when `stop` is set.

        Then the senders go on, unless the run is held. Raises what stopped one of them.
        """
        ledger = self._state.open_ledger()
        queue = self._sharing.open_queue()
        try:
            await run_in_thread(self._sharing.set_bound, self._run, self._below_seq)
            while not stop.is_set():
                counts, shifts = await run_in_thread(self._look, ledger)
                left = self._total - counts.accepted - counts.rejected - counts.canceled - counts.unknown
                if left <= 0 or (not counts.intent and self._is_alone(shifts)):
                    return
                missing = min(self._order.shifts, 1 + left // WORTH_A_SENDER) - len(shifts)
                if missing > 0 and steady_s() > self._asked_s + ASK_AGAIN_S:
                    if self._is_in_vain(counts, shifts, left):
                        return
                    await self._ask(queue, missing)
                try:
                    await asyncio.wait_for(stop.wait(), LOOK_EVERY_S)
                except TimeoutError:
                    continue
            await self._drain(ledger)
        finally:
            ledger.close()
            try:
                await queue.cancel(self._run.run_id)
            except StateError as error:
                log.debug("%s", error.what)

    def _is_in_vain(self, counts: Counts, shifts: list[ShiftRow], left: int) -> bool:
        """Whether senders come and go, and nothing leaves: what is held stays so, or no machine may send it."""
        if shifts or counts.intent or left != self._left:
            self._left, self._asks = left, 0
        self._asks += 1
        return self._asks > MOST_IN_VAIN

    async def _ask(self, queue: ShiftQueue, missing: int) -> None:
        """Ask the engine for the senders that are missing."""
        self._asked_s = steady_s()
        try:
            waiting = (await queue.jobs(self._run.run_id)).waiting
            await queue.enqueue_shifts(self._run.run_id, missing - waiting)
        except StateError as error:
            log.warning("%s", error.what, extra={"event": "engine_failed"})

    async def _drain(self, ledger: Ledger) -> None:
        """Where the run is held, wait until the senders have their answers."""
        while (await run_in_thread(ledger.run, self._run.run_id)).is_held:
            _, shifts = await run_in_thread(self._look, ledger)
            if not shifts:
                return
            await asyncio.sleep(LOOK_EVERY_S)

    def _look(self, ledger: Ledger) -> tuple[Counts, list[ShiftRow]]:
        """Where the run is, and who sends it. Raises what stopped one of them."""
        now_s = steady_s()
        if now_s > self._expired_s + EXPIRE_EVERY_S:
            self._expired_s = now_s
            if expired := ledger.orphans_to_unknown(self._run.run_id):
                log.warning(
                    "%d messages of senders that are gone may have been sent: they are looked up at the end",
                    expired,
                    extra={"event": "expired", "unknown": expired},
                )
        order, shifts = self._sharing.order(self._run.run_id), self._sharing.shifts(self._run.run_id)
        if order is not None and order.halted is not None:
            raise read_halt(order.halted)
        counts = ledger.counts(self._run.run_id)
        done = counts.accepted + counts.rejected + counts.canceled + counts.unknown
        self._looks.append((now_s, done))
        self._report(counts, sum(shift.in_flight for shift in shifts))
        return counts, shifts

    def _is_alone(self, shifts: list[ShiftRow]) -> bool:
        """Whether nobody else sends the run, or would."""
        now_s = steady_s()
        if shifts or (self._order.shifts and self._sharing.workers()):
            self._seen_s = now_s
        return now_s > self._seen_s + (ALONE_AFTER_S if self._order.shifts else 0)

    def _report(self, counts: Counts, in_flight: int) -> None:
        now_s = steady_s()
        (since_s, before), (until_s, done) = self._looks[0], self._looks[-1]
        rate = (done - before) / (until_s - since_s) if until_s > since_s else 0.0
        self._on_progress(
            Progress(
                total=self._total,
                accepted=counts.accepted,
                rejected=counts.rejected,
                canceled=counts.canceled,
                unknown=counts.unknown,
                pending=counts.pending,
                in_flight=in_flight,
                elapsed_s=now_s - self._begun_s,
                rate_per_s=rate,
                eta_s=max(0, self._total - done) / rate if rate else None,
            )
        )


def read_halt(text: str) -> SenderError:
    """The error that a sender has reported."""
    return decode_error(json.loads(text), 0)
