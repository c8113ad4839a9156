"""The send loop: claim, pace, submit, record.

An intent is committed before its request may leave, and an outcome is what the answer proves, no more. The loop
retries only what is proved not accepted. It never reads recipients, never prints, and holds only the messages in
flight, so memory does not grow with the campaign.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

from sender.core.clock import steady_s
from sender.core.errors import StateError, Unsupported
from sender.core.outcomes import Accepted, Deferred, Outcome, Reason, Rejected, SubmissionState, Unknown
from sender.plan.message_fields import find_service
from sender.plan.message_reader import MessageReader
from sender.plan.pace import Pace
from sender.plan.sender_pool import UNHEALTHY, SenderPool
from sender.providers.base import Adapter, Message
from sender.sending.circuit_breaker import CircuitBreaker
from sender.sending.concurrency import Concurrency
from sender.sending.producer import Producer
from sender.sending.progress import Meter, Moment
from sender.sending.rate_limit import CUT_EVERY_S, RateLimiter
from sender.sending.shared_rate_limit import resumed_pacer
from sender.state.heartbeat import Progress
from sender.state.ledger import WHOLE_RUN, Claim, Counts, Ledger, Run, Settlement
from sender.transport.base import Expired, MaybeSent, NotSent, Transport

log = logging.getLogger("sender.sending.dispatcher")

P = ParamSpec("P")
T = TypeVar("T")

COMMIT_EVERY_S = 0.05  # a group of outcomes waits this long for company
QUEUE_LOOK_S = 5.0
BACKOFF_CAP_S = 60.0
WAIT_ALLOWED_S = (
    5.0  # in the provider's own queue, by its own word (Telnyx `wait_seconds`), unless `limits.queue` says more
)
THROTTLED_TRIES = 50  # a throttled message is not at fault, so `retries` does not bound it; this does


class Dispatcher:
    """Sends what is pending of one run. Use once: `await Dispatcher(...).run(stop)`."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        run: Run,
        reader: MessageReader,
        adapter: Adapter,
        transport: Transport,
        pace: Pace,
        concurrency: Concurrency | None = None,
        pacer: RateLimiter | None = None,
        pool: SenderPool | None = None,
        below_seq: int | None = None,
        partition: tuple[int, int] = WHOLE_RUN,
        refuses: Callable[[str, str | None, str | None], Rejected | None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        meter: Callable[..., Meter] = Meter,
    ) -> None:
        """`refuses` is asked for each message (to, from, service) right before it leaves: an outcome settles it unsent.

        `concurrency` may come from an earlier dispatcher that has learnt the provider's latency, and `pacer` from one
        that has slowed down, or from one that shares its limits with other processes. `partition` is this process's
        share of the run, and `meter` makes what counts for them.
        """
        self._refuses = refuses
        self._ledger = ledger
        self._run = run
        self._reader = reader
        self._adapter = adapter
        self._transport = transport
        self._pace = pace
        self._pool = pool
        self._pacer = pacer or resumed_pacer(pace, ledger, reader, run.run_id)
        self._concurrency = concurrency or Concurrency(pace.concurrency, pace.per_s)
        self._below_seq = below_seq
        self._partition = partition
        self._on_progress = on_progress
        self._make_meter = meter
        self._ledger_thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._landed_one = asyncio.Event()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._outbox: list[Settlement] = []
        self._unrecorded = 0
        self._posted = asyncio.Event()
        self._draining = False
        self._changed = asyncio.Event()
        self._halt = asyncio.Event()
        self._halted_by: Exception | None = None
        self._guards = CircuitBreaker(title=adapter.capabilities.title, base_url=adapter.base_url)
        self._queue_seen_s = -math.inf

    async def run(self, stop: asyncio.Event) -> Counts:
        """The run's counts when nothing is left to do, or when `stop` is set and all in flight has been answered.

        Raises ProviderRefused, ProviderUnreachable or StateError after draining: whatever is pending stays pending.
        """
        self._loop = asyncio.get_running_loop()
        before = await self.in_ledger(self._ledger.counts, self._run.run_id)
        total = self._run.messages if self._below_seq is None else min(self._below_seq, self._run.messages)
        self._meter = self._make_meter(
            messages=self._run.messages, total=total, before=before, now_s=steady_s(), needs_s=self._needs_s
        )
        done = before.accepted + before.rejected + before.unknown
        await self._warm(min(before.pending, max(0, total - done)), stop)
        expecting = asyncio.create_task(
            self._expect(*await self.in_ledger(self._ledger.pending_from, self._run.run_id))
        )
        feeder = asyncio.create_task(self._fed().run(self))
        recorder = asyncio.create_task(self._record())
        reporter = asyncio.create_task(self._report())
        stops: list[asyncio.Task[Any]] = [asyncio.create_task(one.wait()) for one in (stop, self._halt)]
        try:
            await asyncio.wait([feeder, recorder, *stops], return_when=asyncio.FIRST_COMPLETED)
            feeder.cancel()
            await asyncio.wait([feeder])
            if self._in_flight:
                await asyncio.wait(self._in_flight)
            self._draining = True
            self._posted.set()
            await asyncio.wait([recorder])
            for task in (recorder, feeder):
                if not task.cancelled() and (failure := task.exception()):
                    raise failure
            if self._halted_by:
                raise self._halted_by
            return await self.in_ledger(self._ledger.counts, self._run.run_id)
        finally:
            tasks: list[asyncio.Task[Any]] = [feeder, recorder, reporter, expecting, *stops, *self._in_flight]
            for task in tasks:
                task.cancel()
            try:
                await asyncio.gather(*tasks, return_exceptions=True)
                if self._outbox:  # cancelled, or a commit failed: what is known must not become unknown
                    with contextlib.suppress(StateError):
                        await self._flush()
            finally:
                self._ledger_thread.shutdown()
            self._tell()

    async def _warm(self, messages: int, stop: asyncio.Event) -> None:
        """Connections that the first messages will find open; not waited for any longer once `stop` is set."""
        connections = min(self._concurrency.at_first, messages)
        if not connections or stop.is_set():
            return
        warming = asyncio.create_task(self._transport.warm(self._adapter.base_url, connections))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([warming, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (warming, stopping):
                task.cancel()
            await asyncio.gather(warming, stopping, return_exceptions=True)

    def _fed(self) -> Producer:
        return Producer(
            ledger=self._ledger,
            run_id=self._run.run_id,
            reader=self._reader,
            pace=self._pace,
            pacer=self._pacer,
            concurrency=self._concurrency,
            pool=self._pool,
            below_seq=self._below_seq,
            left=self._meter.left,
            partition=self._partition,
        )

    async def _expect(self, from_seq: int, waiting: list[int]) -> None:
        """Counts what is left of the plan, beside the first messages."""
        try:
            count = partial(self._reader.units, self._pace.unit, from_seq, waiting, below_seq=self._below_seq)
            self._meter.expect(await asyncio.to_thread(count))
        except Exception:  # no reason to stop a run
            log.exception("how long it will take cannot be told", extra={"event": "eta_failed"})

    def _needs_s(self, units: Mapping[str | None, float], last: float) -> float:
        return self._pacer.needs_s(units if self._pool is None else self._pool.redistribute(units), last=last)

    # -- what the feed asks ----------------------------------------------------------------------------------------

    async def room(self) -> None:
        while len(self._in_flight) >= self._concurrency.limit:
            self._landed_one.clear()
            await self._landed_one.wait()

    async def more(self) -> bool:
        """Waits until a deferred message may be due; False when nothing is deferred and nothing is in flight."""
        self._changed.clear()
        busy = bool(self._in_flight) or self._unrecorded > 0
        due_ms = await self.in_ledger(partial(self._ledger.next_due_ms, self._run.run_id, below_seq=self._below_seq))
        if due_ms is None and not busy:
            return False
        wait_s = None if due_ms is None else max(0.005, (due_ms - self._ledger.now_ms()) / 1000)
        try:
            async with asyncio.timeout(wait_s):
                await self._changed.wait()
        except TimeoutError:
            pass
        return True

    def submit(self, claim: Claim, message: Message, send_by_s: float) -> None:
        self._in_flight.add(self._loop.create_task(self._flown(claim, message, send_by_s)))

    async def _flown(self, claim: Claim, message: Message, send_by_s: float) -> None:
        """A message's way there and back, in a task of its own."""
        try:
            await self._carry(claim, message, send_by_s)
        except Exception as failure:  # noqa: BLE001 (raised by `run`)
            self._stop(failure)
        finally:  # not a callback of the task: the loop would make another turn for each message
            if (task := asyncio.current_task(self._loop)) is not None:
                self._in_flight.discard(task)
            self._landed_one.set()
            self._changed.set()

    async def _carry(self, claim: Claim, message: Message, send_by_s: float) -> None:
        try:
            refuses = self._refuses
            if refuses and (refusal := refuses(message.to, message.from_number, find_service(message.fields))):
                self._settle(claim, refusal)
                return
            request = self._adapter.request(message)
        except Unsupported as failure:
            self._settle(claim, Rejected(Reason.CONTENT, "unsupported", failure.what))
            return
        except Exception:  # a fault of ours, before anything left
            await self.in_ledger(self._ledger.release, self._run.run_id, [claim])
            raise
        begun_s = steady_s()
        try:
            response = await self._transport.send(request, timeout_s=self._pace.timeout_s, send_by_s=send_by_s)
            outcome = self._adapter.outcome(response)
        except NotSent as failure:
            if not isinstance(failure, Expired):  # else this process stood still, and the network is not at fault
                self._not_sent(failure)
            self._meter.came_back(message.from_number)
            await self.in_ledger(self._ledger.release, self._run.run_id, [claim])
        except MaybeSent as failure:
            self._settle(claim, Unknown(str(failure)))
        except asyncio.CancelledError as cancelled:  # the transport says what had left by then
            if isinstance(cancelled.__cause__, NotSent):
                self._settle(claim, Deferred(Reason.OTHER, None, "cancelled before it left"))
            else:
                self._settle(claim, Unknown(str(cancelled.__cause__ or "the request was cancelled")))
            raise
        except Exception as fault:  # an adapter never raises; if it does, the message is in doubt and not lost
            self._settle(claim, Unknown(f"the answer could not be judged: {type(fault).__name__}"))
            raise
        else:
            self._guards.answered()
            self._concurrency.answered(steady_s() - begun_s)
            self._settle(claim, outcome, message.from_number)

    def _settle(self, claim: Claim, outcome: Outcome, sender: str | None = None) -> None:
        not_before_ms = None
        if isinstance(outcome, Deferred):
            if outcome.halt and not self._taken_out(sender, outcome):
                self._stop(self._guards.refused(outcome))
            wait_s = max(outcome.retry_after_s or 0.0, _backoff_s(claim.attempt))
            if outcome.slow_down:
                self._slow_down(outcome, wait_s)
            tries = THROTTLED_TRIES if outcome.slow_down else self._pace.retries
            if claim.attempt > tries and not outcome.halt:
                outcome = Rejected(
                    outcome.reason,
                    outcome.error_code,
                    f"given up after {claim.attempt} tries: {outcome.error_message}",
                )
            else:
                not_before_ms = self._ledger.now_ms() + (0 if outcome.halt else round(wait_s * 1000))
                self._meter.came_back(sender)
        elif isinstance(outcome, Accepted):
            self._guards.accepted()
            if outcome.pause_s:
                self._pacer.pause(outcome.pause_s)
            if outcome.wait_s:
                self._queues_up(outcome.wait_s)
        if not isinstance(outcome, Unknown):
            self._guards.decided()
        elif stop := self._guards.doubted(outcome.error_message):
            self._stop(stop)
        if log.isEnabledFor(logging.DEBUG):  # what it would tell costs more than the rest of this function
            log.debug(
                "settled",
                extra={"event": type(outcome).__name__.lower(), "seq": claim.seq, "attempt": claim.attempt},
            )
        self._outbox.append(Settlement(claim, outcome, not_before_ms))
        self._unrecorded += 1
        self._posted.set()

    def _taken_out(self, sender: str | None, outcome: Deferred) -> bool:
        """Whether a refusal is of this sender alone and others of its pool are left: then they carry its messages."""
        if self._pool is None or sender is None or outcome.reason not in UNHEALTHY:
            return False
        known = sender in self._pool.disabled
        if not self._pool.disable(sender, outcome.error_message or outcome.reason.value):
            return False
        if not known:
            log.warning(
                "%s is taken out of the pool, the others carry its messages: %s",
                sender,
                outcome.error_message or outcome.reason.value,
                extra={"event": "sender_out", "reason": outcome.reason.value, "code": outcome.error_code},
            )
        return True

    def _not_sent(self, failure: NotSent) -> None:
        if self._pacer.paused:  # sent with the one that failed first: the same failure
            return
        tries, stop = self._guards.not_sent(failure, _now_s())
        log.warning("no connection: %s", failure, extra={"event": "not_sent", "tries": tries})
        self._pacer.pause(min(30.0, 0.25 * 2 ** min(tries, 10)))
        if stop:
            self._stop(stop)

    def _slow_down(self, outcome: Deferred, wait_s: float) -> None:
        if self._pacer.refused(wait_s):
            self._tell_slowed(outcome.error_message or outcome.reason.value, wait_s)
        if stop := self._guards.throttled(outcome, _now_s()):
            self._stop(stop)

    def _queues_up(self, wait_s: float) -> None:
        """What is accepted now will lie at the provider for `wait_s`: its pace is below ours."""
        queue = self._pace.queue
        allowed_s = WAIT_ALLOWED_S if queue is None else max(WAIT_ALLOWED_S, queue.units / queue.drained_per_s)
        # Until what lies there has left, it waits for what was sent before.
        if wait_s > allowed_s and self._pacer.refused(0.0, news_after_s=max(CUT_EVERY_S, min(wait_s, BACKOFF_CAP_S))):
            self._tell_slowed(f"a message waits {wait_s:.0f} s in its queue", 0.0)

    def _tell_slowed(self, why: str, wait_s: float) -> None:
        slowed_to_per_s = self._pacer.slowed_to_per_s
        log.warning(
            "the provider asks to slow down%s: %s",
            f" to {slowed_to_per_s:.3g}/s" if slowed_to_per_s else "",
            why,
            extra={"event": "slow_down", "wait_s": round(wait_s, 1), "slowed_to_per_s": slowed_to_per_s},
        )

    def _stop(self, failure: Exception) -> None:
        if self._halted_by is None:
            self._halted_by = failure
            log.error("stopping: %s", str(failure).splitlines()[0], extra={"event": "halt"})
        self._halt.set()

    # -- record ----------------------------------------------------------------------------------------------------

    async def _record(self) -> None:
        """Commits outcomes in groups until draining is over."""
        while not (self._draining and not self._outbox):
            await self._posted.wait()
            if not self._draining:
                await asyncio.sleep(COMMIT_EVERY_S)  # company for the commit
            await self._flush()

    async def _flush(self) -> None:
        self._posted.clear()
        group, self._outbox = self._outbox, []
        try:
            await self.in_ledger(self._ledger.record, self._run.run_id, group)
        except BaseException:
            self._outbox = group + self._outbox
            raise
        self._unrecorded -= len(group)
        self._meter.settled(_state_of(settlement.outcome) for settlement in group)
        self._changed.set()

    async def in_ledger(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._loop.run_in_executor(self._ledger_thread, partial(call, *args, **kwargs))

    # -- tell ------------------------------------------------------------------------------------------------------

    async def _report(self) -> None:
        while True:
            self._tell()
            await self._look_at_the_queue()
            if self._concurrency.look(steady_s()):
                self._landed_one.set()
            await asyncio.sleep(0.1)

    async def _look_at_the_queue(self) -> None:
        """What reports say of the provider's queue; where none come, the pacer reckons with the documented pace."""
        now_s = steady_s()
        if self._pace.queue is None or now_s < self._queue_seen_s + QUEUE_LOOK_S:
            return
        self._queue_seen_s = now_s
        # Counted so that a message on its way into the ledger may count twice, but none not at all.
        on_the_way, gone = len(self._in_flight) + self._unrecorded, self._meter.messages
        others = 0
        if self._partition != WHOLE_RUN:  # what others have on the way, before and after, stands in the ledger
            others = (await self.in_ledger(self._ledger.counts, self._run.run_id)).intent
        waiting = await self.in_ledger(self._ledger.delivering, self._run.run_id)
        if self._partition != WHOLE_RUN:
            others += (await self.in_ledger(self._ledger.counts, self._run.run_id)).intent
        waiting += on_the_way + self._meter.messages - gone + others
        self._pacer.queue_is(waiting * self._meter.mean_units)

    def _tell(self) -> None:
        if self._on_progress is None:
            return
        try:
            self._on_progress(self.progress())
        except Exception:
            self._on_progress = None  # a display that fails must not cost a run
            log.exception("on_progress failed and is not called again", extra={"event": "progress_failed"})

    def progress(self) -> Progress:
        """Where the run is now."""
        at = Moment(
            now_s=steady_s(),
            in_flight=len(self._in_flight),
            answer_s=self._concurrency.latency_s,
            paused_s=self._pacer.paused_s,
            slowed_to_per_s=self._pacer.slowed_to_per_s,
        )
        return self._meter.progress(at)

    @property
    def halted_by(self) -> Exception | None:
        """What made it stop claiming; `run` raises it once everything in flight has been answered."""
        return self._halted_by


def _backoff_s(attempt: int) -> float:
    """Exponential and capped, with jitter so that a refused group does not come back as one."""
    return min(BACKOFF_CAP_S, 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)


def _state_of(outcome: Outcome) -> SubmissionState:
    match outcome:
        case Accepted():
            return SubmissionState.ACCEPTED
        case Rejected():
            return SubmissionState.REJECTED
        case Unknown():
            return SubmissionState.UNKNOWN
        case Deferred():
            return SubmissionState.PENDING


def _now_s() -> float:
    return asyncio.get_running_loop().time()
