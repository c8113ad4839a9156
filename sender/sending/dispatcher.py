"""The send loop: claim, pace, submit, record.

An intent is committed before its request may leave, and an outcome is what the answer proves, no more. The loop
retries only what is proved not accepted. It never reads recipients, never prints, and holds only the messages in
flight, so memory does not grow with the campaign.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from sender.core.clock import steady_s
from sender.core.errors import StateError, Unsupported
from sender.core.outcomes import (
    Canceled,
    CancelReason,
    Deferred,
    Outcome,
    Reason,
    Rejected,
    SubmissionState,
    Unknown,
    state_of,
)
from sender.plan.message_fields import find_service
from sender.plan.message_reader import MessageReader
from sender.plan.sender_pool import SenderPool
from sender.providers.base import Adapter, Message
from sender.sending.answer_check import SEEDED, AnswerCheck
from sender.sending.circuit_breaker import CircuitBreaker
from sender.sending.observer import ProgressReporter, SendObserver
from sender.sending.outcome_policy import OutcomePolicy
from sender.sending.producer import ALL_MESSAGES, Assignment, Producer
from sender.sending.progress import LoopState, Meter
from sender.sending.queue_watch import QueueWatch
from sender.sending.rejection_guard import RejectionGuard
from sender.sending.route_board import Rest
from sender.sending.throttle import Throttle
from sender.sending.warm_connections import warm_connections
from sender.state.async_ledger import AsyncLedger
from sender.state.heartbeat import Progress
from sender.state.ledger import WHOLE_RUN, Claim, Counts, Settlement
from sender.transport.base import Expired, MaybeSent, NotSent, Transport

log = logging.getLogger("sender.sending.dispatcher")

COMMIT_EVERY_S = 0.05  # a group of outcomes waits this long for company
REPORT_EVERY_S = 0.1
HELD_REPORT_EVERY_S = 4.0  # while it only waits for a window


class Dispatcher:
    """Sends what is pending of one run. Use once: `await Dispatcher(...).run(stop)`."""

    def __init__(
        self,
        *,
        ledger: AsyncLedger,
        reader: MessageReader,
        adapter: Adapter,
        transport: Transport,
        throttle: Throttle,
        pool: SenderPool | None = None,
        assignment: Assignment = ALL_MESSAGES,
        refuses: Callable[[str, str | None, str | None], Canceled | None] | None = None,
        observer: SendObserver | None = None,
    ) -> None:
        """`refuses` is asked about each message (to, from, service) right before it leaves; its outcome is recorded.

        `ledger` is closed when `run` returns. `throttle` may come from an earlier dispatcher that has learned the
        provider's latency or has slowed down, or share its limits with other processes.
        """
        self._ledger = ledger
        self._run = ledger.run
        self._reader = reader
        self._adapter = adapter
        self._transport = transport
        self._throttle = throttle
        self._rate_limiter = throttle.rate_limiter
        self._concurrency = throttle.concurrency
        self._timeout_s = throttle.pace.timeout_s
        self._pool = pool
        self._assignment = assignment
        self._refuses = refuses
        self._observer = observer
        self._progress = ProgressReporter(None if observer is None else observer.progressed)
        pace = throttle.pace
        self._guard = RejectionGuard(in_a_row=pace.max_rejected_in_a_row, share=pace.max_failed)
        self._answers = AnswerCheck(adapter, transport)
        self._policy = OutcomePolicy(
            throttle=throttle,
            breaker=CircuitBreaker.of(adapter, assignment.patience),
            guard=self._guard,
            pool=pool,
            halt=self._halt,
            now_ms=ledger.now_ms,
            seat=assignment.seat,
        )
        self._seat = assignment.seat
        self._answer_came = asyncio.Event()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._outbox: list[Settlement] = []
        self._unrecorded = 0
        self._posted = asyncio.Event()
        self._draining = False
        self._changed = asyncio.Event()
        self._halted = asyncio.Event()
        self._failure: Exception | None = None
        self._queue = QueueWatch(ledger, throttle, is_shared=assignment.partition != WHOLE_RUN)

    async def run(self, stop: asyncio.Event) -> Counts:
        """The run's counts when nothing is left to do, or when `stop` is set and all answers are in.

        Raises ProviderRefused, ProviderUnreachable or StateError after draining: whatever is pending stays pending.
        """
        try:
            return await self._send_pending(stop)
        finally:
            self._ledger.close()

    async def _send_pending(self, stop: asyncio.Event) -> Counts:
        self._loop = asyncio.get_running_loop()
        if self._seat is not None:
            self._seat.attach(self._changed.set)
        before = await self._ledger.counts()
        counts_rest = self._open_meter(before)
        if self._seat is None or self._seat.is_first:
            done = before.accepted + before.rejected + before.canceled + before.unknown
            left = min(before.pending, max(0, self._total - done))
            connections = min(self._concurrency.initial, left)
            await warm_connections(self._transport, self._adapter.base_url, connections, stop)
        self._answers = AnswerCheck(self._adapter, self._transport, await self._ledger.recent_ids(limit=SEEDED))
        first_seq, waiting = await self._ledger.pending_from()
        is_shared = self._seat is not None or self._assignment.partition != WHOLE_RUN
        self._guard.begin(first_seq, self._total - first_seq, bisect_left(waiting, self._total), is_shared=is_shared)
        estimator = asyncio.create_task(self._count_remaining(first_seq, waiting, is_asked=counts_rest))
        producer = asyncio.create_task(self._make_producer().run(self))
        recorder = asyncio.create_task(self._record_outcomes())
        reporter = asyncio.create_task(self._report())
        stops: list[asyncio.Task[Any]] = [asyncio.create_task(event.wait()) for event in (stop, self._halted)]
        try:
            await asyncio.wait([producer, recorder, *stops], return_when=asyncio.FIRST_COMPLETED)
            producer.cancel()
            await asyncio.wait([producer])
            if self._in_flight:
                await asyncio.wait(self._in_flight)
            self._draining = True
            self._posted.set()
            await asyncio.wait([recorder])
            for task in (recorder, producer):
                if not task.cancelled() and (failure := task.exception()):
                    raise failure
            if self._failure:
                raise self._failure
            return await self._ledger.counts()
        finally:
            await self._shut_down([producer, recorder, reporter, estimator, *stops])

    async def _shut_down(self, tasks: list[asyncio.Task[Any]]) -> None:
        """End all tasks, record what is known, and report the progress a last time."""
        tasks = [*tasks, *self._in_flight]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._outbox:  # cancelled, or a commit failed: what is known must not become unknown
            with contextlib.suppress(StateError):
                await self._flush()
        self._progress.report(self.progress)

    def _make_producer(self) -> Producer:
        return Producer(
            ledger=self._ledger,
            reader=self._reader,
            throttle=self._throttle,
            pool=self._pool,
            assignment=self._assignment,
            on_sent=self._meter.record_sent if self._observer is None else self._note_sent,
        )

    def _note_sent(self, units: float, sender: str | None, now_s: float) -> None:
        self._meter.record_sent(units, sender, now_s)
        if self._observer is not None:
            self._observer.message_sent(units, sender)

    # -- what the producer asks --------------------------------------------------------------------------------------

    async def wait_for_room(self) -> None:
        while self._halted.is_set() or len(self._in_flight) >= self._policy.room(self._concurrency.limit):
            self._answer_came.clear()  # halted: until `run` cancels the producer
            await self._answer_came.wait()

    async def wait_for_more(self) -> bool:
        """Wait until a deferred message may be due, or a window opens; False when none does and none is in flight."""
        self._changed.clear()
        is_busy = bool(self._in_flight) or self._unrecorded > 0
        due_ms = await self._ledger.next_due_ms(below_seq=self._assignment.below_seq)
        wait_s = None if due_ms is None else max(0.005, (due_ms - self._ledger.now_ms()) / 1000)
        if (windows := self._assignment.windows) is not None:
            await self._ledger.in_thread(windows.bound, self._ledger.sync, self._run.run_id)
            wait_s = windows.wait_s(wait_s, total=self._total, begins=self._seat is None or self._seat.begins)
            if self._held_until_ms() is not None:
                self.rest()
        if wait_s is None and not is_busy:
            rest = Rest.OVER if self._seat is None else self._seat.rest()
            if rest is not Rest.WAIT:
                return rest is Rest.LOOK_AGAIN
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._changed.wait()
        return True

    def rest(self) -> None:
        self._policy.record_rest()

    def submit(self, claim: Claim, message: Message, send_by_s: float) -> None:
        self._in_flight.add(self._loop.create_task(self._deliver(claim, message, send_by_s)))
        self._guard.record_sent(claim.seq)

    # -- one message -------------------------------------------------------------------------------------------------

    async def _deliver(self, claim: Claim, message: Message, send_by_s: float) -> None:
        """Send one message and note its outcome, in a task of its own."""
        try:
            await self._submit_request(claim, message, send_by_s)
        except Exception as failure:  # noqa: BLE001 (raised by `run`)
            self._halt(failure)
        finally:  # not a callback of the task: the loop would make another turn for each message
            if (task := asyncio.current_task(self._loop)) is not None:
                self._in_flight.discard(task)
            self._answer_came.set()
            self._changed.set()

    async def _submit_request(self, claim: Claim, message: Message, send_by_s: float) -> None:
        try:
            if not message.to:  # the person was erased while it was not known whether the message had been sent
                self._apply_outcome(claim, Canceled(CancelReason.FORGOTTEN))
                return
            check, refuses = self._assignment.check, self._refuses
            if check is not None and (refusal := check.refusal(claim)) is not None:
                self._apply_outcome(claim, refusal)
                return
            if refuses and (refusal := refuses(message.to, message.from_number, find_service(message.fields))):
                self._apply_outcome(claim, refusal)
                return
            if claim.attempt > 1:
                message = message._replace(attempt=claim.attempt)
            request = self._adapter.request(message)
        except Unsupported as failure:
            self._apply_outcome(claim, Rejected(Reason.CONTENT, "unsupported", failure.what))
            return
        except Exception:  # a fault of ours, before anything left
            await self._ledger.release([claim])
            raise
        begun_s = steady_s()
        try:
            response = await self._transport.send(request, timeout_s=self._timeout_s, send_by_s=send_by_s)
            outcome = self._answers.judge(response, message)
        except NotSent as failure:
            if not isinstance(failure, Expired):  # else this process was suspended, and the network is not at fault
                self._policy.record_connection_failure(failure)
            self._note_returned(message.from_number)
            await self._ledger.release([claim])
        except MaybeSent as failure:
            self._apply_outcome(claim, Unknown(str(failure)))
        except asyncio.CancelledError as cancelled:  # its cause is what the transport had sent by then
            if isinstance(cancelled.__cause__, NotSent):
                self._apply_outcome(claim, Deferred(Reason.OTHER, None, "cancelled before it left"))
            else:
                self._apply_outcome(claim, Unknown(str(cancelled.__cause__ or "the request was cancelled")))
            raise
        except Exception as fault:  # an adapter never raises; if it does, the message is in doubt and not lost
            self._apply_outcome(claim, Unknown(f"the answer could not be classified: {type(fault).__name__}"))
            raise
        else:
            self._policy.record_answer(steady_s() - begun_s)
            self._apply_outcome(claim, outcome, message.from_number, request.url)

    def _apply_outcome(
        self, claim: Claim, outcome: Outcome | Canceled, sender: str | None = None, url: str | None = None
    ) -> None:
        """Put into the outbox what is to be recorded, and let it act on the run. `url` is where an answer came from."""
        settlement = self._policy.decide(claim, outcome, sender, url)
        if isinstance(settlement.outcome, Deferred) or settlement.moves_to is not None:
            self._note_returned(sender)
        if log.isEnabledFor(logging.DEBUG):  # making the record costs more than the rest of this function
            event = type(settlement.outcome).__name__.lower()
            log.debug("settled", extra={"event": event, "seq": claim.seq, "attempt": claim.attempt})
        self._outbox.append(settlement)
        self._unrecorded += 1
        self._posted.set()

    def _note_returned(self, sender: str | None) -> None:
        if self._assignment.windows is not None:
            self._assignment.windows.look_again(came_back=True)
        self._meter.record_returned(sender)
        if self._observer is not None:
            self._observer.message_returned(sender)

    def _halt(self, failure: Exception) -> None:
        """Claim no more; `run` raises the first failure once all answers are in."""
        if self._failure is None:
            self._failure = failure
            if self._seat is None:  # else whether the run stops is not ours to say
                log.error("stopping: %s", str(failure).splitlines()[0], extra={"event": "halt"})
            if self._observer is not None:
                self._observer.halted(failure)
        self._halted.set()

    # -- record ------------------------------------------------------------------------------------------------------

    async def _record_outcomes(self) -> None:
        """Commit outcomes in groups until draining is over."""
        while not (self._draining and not self._outbox):
            await self._posted.wait()
            if not self._draining:
                await asyncio.sleep(COMMIT_EVERY_S)  # company for the commit
            await self._flush()

    async def _flush(self) -> None:
        self._posted.clear()
        group, self._outbox = self._outbox, []
        try:
            await self._ledger.record(group)
        except BaseException:
            self._outbox = group + self._outbox
            raise
        self._unrecorded -= len(group)
        states = Counter([_state_after(settlement) for settlement in group])
        if self._seat is not None and any(settlement.moves_to is not None for settlement in group):
            self._seat.note_moves()
        self._meter.record_outcomes(states)
        if self._observer is not None:
            self._observer.outcomes_recorded(states)
        self._changed.set()
        await self._look_at_first(has_rejected=states[SubmissionState.REJECTED] > 0)

    async def _look_at_first(self, *, has_rejected: bool) -> None:
        """Stop when too many of the first messages were refused, now or in a delivery report."""
        if not self._guard.is_due(steady_s(), has_rejected=has_rejected):
            return
        ask = self._ledger.refusals
        refusals = [one for start, end in self._guard.first() for one in await ask(from_seq=start, below_seq=end)]
        if stop := self._guard.judge_first(refusals, self._guard.messages):
            if self._seat is not None:
                self._seat.end_run()
            self._halt(stop)

    # -- progress ----------------------------------------------------------------------------------------------------

    def _open_meter(self, before: Counts) -> bool:
        """Use the run's meter, which several routes share; whether it is new."""
        make = partial(
            Meter,
            messages=self._run.messages,
            total=self._total,
            before=before,
            now_s=steady_s(),
            time_to_send_s=self._time_to_send_s,
        )
        self._meter, is_new = (make(), True) if self._seat is None else self._seat.share_meter(make)
        return is_new

    @property
    def _total(self) -> int:
        below_seq = self._assignment.below_seq
        return self._run.messages if below_seq is None else min(below_seq, self._run.messages)

    def _time_to_send_s(self, units: Mapping[str | None, float], last: float) -> float:
        spread = units if self._pool is None else self._pool.redistribute(units)
        return self._rate_limiter.time_to_send_s(spread, last=last)

    async def _count_remaining(self, from_seq: int, waiting: list[int], *, is_asked: bool) -> None:
        """Count what is left of the plan while the first messages leave."""
        if not is_asked:
            return
        unit, below_seq = self._throttle.pace.unit, self._assignment.below_seq
        try:
            count = partial(self._reader.units, unit, from_seq, waiting, below_seq=below_seq)
            self._meter.set_expected(await asyncio.to_thread(count))
        except Exception:  # no reason to stop a run
            log.exception("the time left cannot be estimated", extra={"event": "eta_failed"})

    async def _report(self) -> None:
        while True:
            if self._seat is None or self._seat.is_first:
                self._progress.report(self.progress)
            with contextlib.suppress(StateError):  # whoever claims meets the same failure, and says so
                await self._queue.update(self._meter, len(self._in_flight) + self._unrecorded)
            if self._concurrency.update(steady_s()):
                self._answer_came.set()
            await asyncio.sleep(REPORT_EVERY_S if self._held_until_ms() is None else HELD_REPORT_EVERY_S)

    def _held_until_ms(self) -> int | None:
        """When the next window opens; None while something may leave or is under way."""
        windows = self._assignment.windows
        return None if windows is None or self._in_flight else windows.held_until_ms

    def progress(self) -> Progress:
        """Where the run is now."""
        return self._meter.progress(
            LoopState(
                now_s=steady_s(),
                in_flight=len(self._in_flight),
                answer_s=self._concurrency.latency_s,
                paused_s=self._rate_limiter.paused_s,
                slowed_to_per_s=self._rate_limiter.slowed_to_per_s,
                held_until_ms=self._held_until_ms(),
            )
        )


def _state_after(settlement: Settlement) -> SubmissionState:
    return SubmissionState.PENDING if settlement.moves_to is not None else state_of(settlement.outcome)
