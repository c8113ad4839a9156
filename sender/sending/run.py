"""One run from start to summary: settle what is unknown, send what is pending, wait for delivery, write the results.

Never prints, asks or exits; the shell and the library both stand on this.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from sender.core.asgi_server import is_loopback
from sender.core.errors import ClockWrong, InputError, ProviderRefused, SenderError, StateError
from sender.delivery import provider_session, reconcile
from sender.delivery.poll import LIVE, SIMULATED, LogSweep, RefreshResult
from sender.delivery.reconcile import ReconcileResult, clocks_apart_s
from sender.delivery.refresh import log_facts
from sender.delivery.webhooks.app import status_callback
from sender.plan.message_reader import MessageReader
from sender.plan.pace import Pace
from sender.plan.plan import Plan
from sender.plan.sender_pool import SenderPool
from sender.providers.base import Adapter, LogFacts, Request
from sender.reports.results import Summary, check_target, write
from sender.reports.run_results import results_and_summary, run_summary
from sender.sending import shared_rate_limit
from sender.sending.concurrency import Concurrency
from sender.sending.dispatcher import Dispatcher
from sender.sending.rate_limit import RateLimiter
from sender.sending.run_result import NO_WAIT, DeliveryOptions, RunResult
from sender.sending.shared_rate_limit import resumed_pacer
from sender.sending.workers.supervisor import Supervisor, check_workers
from sender.sending.workers.worker import WorkerConfig
from sender.state.heartbeat import Progress
from sender.state.ledger import Counts, Run
from sender.state.runs import resolve_path
from sender.state.state import State
from sender.suppression.learn import learn_refusals
from sender.suppression.suppression_list import SuppressionList
from sender.transport.base import Transport, TransportFailure
from sender.transport.factory import open_transport

log = logging.getLogger("sender.sending.run")

RESULTS_FILE = "results.csv"
WAIT_SIMULATED_S, WAIT_LIVE_S = 5.0, 120.0  # for delivery, after the last message
SETTLE_WAIT_S = 5.0  # at the end of a run, to decide what is unknown
CLOCK_TIMEOUT_S = 10.0  # for the one request that compares clocks before the first message


@dataclass(slots=True)
class _SendState:
    """How a call of `send` goes, as far as the ledger does not tell."""

    reconciled: ReconcileResult = field(default_factory=ReconcileResult)
    refreshed: RefreshResult | None = None
    stopped: SenderError | None = None
    resent: int = 0


@dataclass(frozen=True, slots=True)
class _SendResources:
    """What a call of `send` works with; `crew` is None where this process sends alone."""

    adapter: Adapter
    transport: Transport
    facts: LogFacts
    pool: SenderPool | None
    dispatcher: Callable[[], Dispatcher]
    crew: Callable[[], Supervisor] | None


class RunSession:
    """A plan and the run it belongs to, held for this process. A new run exists only once `send` is called."""

    def __init__(
        self,
        state: State,
        plan: Plan,
        run: Run,
        *,
        resumed: bool,
        pace: Pace | None = None,
        earlier: Run | None = None,
    ) -> None:
        self.earlier = earlier  # the last run of this campaign that reached somebody, if this is a new one
        self.pace = pace or plan.manifest.pace  # a run may be resumed at another pace than it began with
        self.state = state
        self.plan = plan
        self.run = run
        self.resumed = self._begun = resumed
        self.simulated = run.simulated
        self.orphans = 0
        if resumed:
            state.ledger.check(run.run_id)
            self.orphans = state.ledger.orphans_to_unknown(run.run_id)

    def counts(self) -> Counts:
        """Where the run stands."""
        if self._begun:
            return self.state.ledger.counts(self.run.run_id)
        return Counts(pending=self.run.messages, intent=0, accepted=0, rejected=0, unknown=0)

    def check(self, env: Mapping[str, str]) -> None:
        """Raises CredentialsError now rather than after the question has been answered."""
        if not self.simulated:
            with self.connected(env):
                pass

    async def send(
        self,
        *,
        env: Mapping[str, str],
        limit: int | None = None,
        settle_unknowns: bool = True,
        resend_unknown: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        cancel: asyncio.Event | None = None,
        results_path: Path | None = None,
        delivery: DeliveryOptions = NO_WAIT,
        workers: int = 1,
    ) -> RunResult:
        """Sends what is pending (of the first `limit` messages) and writes the results file.

        `resend_unknown` sends again what is still unknown once the log has been asked: these people may get the
        message twice. Then it waits for what becomes of the messages, as `delivery` says. `cancel` set: claims no
        more, waits for what is in flight, and for nothing else. With several `workers` so many processes send while
        this one holds the run. Raises InputError before anything is sent; a guard that stops the run later is in the
        result.
        """
        check_workers(workers)
        cancel = cancel or asyncio.Event()
        path = results_path or self.state.plans.folder(self.run) / RESULTS_FILE
        if results_path is not None:
            self._check_results_path(results_path)
        course = _SendState()
        callback = self._callback(delivery.public_url)
        async with contextlib.AsyncExitStack() as stack:
            gear = await self._open_resources(stack, env, callback, on_progress, limit=limit, workers=workers)
            try:
                await self._compare_clocks(gear.adapter, gear.transport)
                if settle_unknowns:
                    course.reconciled = await self._settle(gear, cancel)
                if resend_unknown and not cancel.is_set():
                    course.resent = self.state.ledger.resend_unknown(self.run.run_id)
                if gear.crew is not None and not cancel.is_set():
                    await self._send_by_workers(gear.crew(), cancel)
                settle = partial(self._settle_at_the_end, gear, cancel)
                await self._send_here(gear.dispatcher, settle if settle_unknowns else None, cancel, course)
                if not cancel.is_set() and (wait_s := self._wait_s(delivery)):
                    sweep = self._sweep(gear.adapter, gear.transport, cancel)
                    course.refreshed = await sweep.follow(wait_s, listening=delivery.listening)
            except SenderError as error:
                course.stopped = error
        summary = self._write_results(path, course)
        return RunResult(
            run=self.state.ledger.run(self.run.run_id),
            plan=self.plan,
            summary=summary,
            results_path=path,
            state_dir=Path(self.state.where),
            reconciled=course.reconciled,
            refreshed=course.refreshed,
            limit=limit,
            interrupted=cancel.is_set(),
            stopped=course.stopped,
            resent=course.resent,
            taken_out={} if gear.pool is None else gear.pool.taken_out,
        )

    async def _open_resources(
        self,
        stack: contextlib.AsyncExitStack,
        env: Mapping[str, str],
        callback: str | None,
        on_progress: Callable[[Progress], None] | None,
        *,
        limit: int | None,
        workers: int,
    ) -> _SendResources:
        """What sending needs, until `stack` is closed. A new run is entered in the ledger."""
        adapter = stack.enter_context(self.connected(env))
        facts = log_facts(self.run, self.plan.manifest, adapter, env)
        suppressions = SuppressionList(self.state.suppressions)
        plan = self._begin(adapter)
        told = stack.enter_context(self.state.heartbeats.publish(self.run, on_progress))
        reader = MessageReader(plan, self.run.run_id, callback=callback)
        orders = self._orders(workers, env, adapter, callback, limit)
        pacer = stack.enter_context(self._pacing(orders, reader))
        concurrency = Concurrency(self.pace.concurrency, self.pace.per_s)
        transport = open_transport(self.pace.transport, concurrency.most)
        await stack.enter_async_context(contextlib.aclosing(transport))
        ledger, pool = self.state.ledger, plan.manifest.sender_pool()
        dispatcher = partial(
            Dispatcher,
            ledger=ledger,
            run=self.run,
            reader=reader,
            adapter=adapter,
            transport=transport,
            pace=self.pace,
            concurrency=concurrency,
            pacer=pacer,
            pool=pool,
            below_seq=limit,
            refuses=provider_session.gate(self.run, plan, suppressions).refuses,
            on_progress=told,
        )
        crew = partial(
            Supervisor, orders, self.run, ledger=ledger, reader=reader, pacer=pacer, pool=pool, on_progress=told
        )
        return _SendResources(adapter, transport, facts, pool, dispatcher, crew if orders.of > 1 else None)

    def _orders(
        self, workers: int, env: Mapping[str, str], adapter: Adapter, callback: str | None, limit: int | None
    ) -> WorkerConfig:
        """What workers are told; of no more of them than there are requests at once."""
        if self.simulated:
            env = {**env, provider_session.SANDBOX_URL: adapter.base_url}  # of the sandbox that runs here
        return WorkerConfig(
            state_dir=resolve_path(self.state.where),
            run_id=self.run.run_id,
            number=0,
            of=min(workers, self.pace.concurrency or workers),
            pace=self.pace,
            callback=callback,
            below_seq=limit,
            env=dict(env),
            cells=str(self.state.workers_folder(self.run.campaign, self.run.kind).resolve() / "pace"),
            log_level=logging.getLogger("sender").getEffectiveLevel(),
        )

    @contextlib.contextmanager
    def _pacing(self, orders: WorkerConfig, reader: MessageReader) -> Iterator[RateLimiter]:
        """The pacer of this session; its limits bind workers, too."""
        ledger, run_id = self.state.ledger, self.run.run_id
        if orders.of == 1:
            yield resumed_pacer(self.pace, ledger, reader, run_id)
            return
        with shared_rate_limit.created(Path(orders.cells), self.pace, orders.of) as shared:
            yield resumed_pacer(self.pace, ledger, reader, run_id, shared)

    async def _send_here(
        self,
        dispatcher: Callable[[], Dispatcher],
        settle: Callable[[], Awaitable[ReconcileResult]] | None,
        cancel: asyncio.Event,
        course: _SendState,
    ) -> None:
        """Sends what is pending, and again what `settle` then proves never to have arrived, `retries` times at most."""
        for _ in range(1 + self.pace.retries):
            await dispatcher().run(cancel)
            if settle is None or cancel.is_set():
                return
            course.reconciled = await settle()
            if not course.reconciled.absent:  # else these are pending again
                return
        raise _never_arrive(course.reconciled.absent)

    async def _send_by_workers(self, crew: Supervisor, cancel: asyncio.Event) -> None:
        """What one that died had under way is unknown, once all have ended; what it left is pending."""
        try:
            await crew.run(cancel)
        finally:
            if crew.lost:
                self.state.ledger.orphans_to_unknown(self.run.run_id)

    def _write_results(self, path: Path, course: _SendState) -> Summary:
        """Ends the run in the ledger, teaches the suppression list, and writes the file; notes what went wrong."""
        try:
            self.state.ledger.finish_run(self.run.run_id)
            learn_refusals(self.state, self.run)
            frame, summary = results_and_summary(self.state, self.run)
            write(frame, path)
        except InputError as error:  # what was sent is in the ledger all the same
            fix = f"`sender results {self.run.run_id} --output FILE` writes them, as soon as there is room"
            course.stopped = course.stopped or StateError(f"the results {error.what}", where=str(path), fix=fix)
        except SenderError as error:
            course.stopped = course.stopped or error
        else:
            return summary
        return run_summary(self.state, self.run)

    async def _settle(self, gear: _SendResources, cancel: asyncio.Event) -> ReconcileResult:
        """Looks unknown messages up in the provider's log and settles what it proves. Sends nothing."""
        return await reconcile.reconcile(
            ledger=self.state.ledger,
            run=self.run,
            plan=self.plan,
            adapter=gear.adapter,
            transport=gear.transport,
            facts=gear.facts,
            cancel=cancel,
        )

    async def _compare_clocks(self, adapter: Adapter, transport: Transport) -> None:
        """Raises ClockWrong when the times we are about to write down could not be found again in the provider's log.

        Any answer tells the provider's time, so this asks for nothing and shows no credentials. Without an answer
        sending itself says what is wrong.
        """
        if self.simulated:
            return
        try:
            answer = await transport.send(Request("GET", adapter.base_url + "/", ()), timeout_s=CLOCK_TIMEOUT_S)
        except TransportFailure:
            return
        apart_s = clocks_apart_s(answer, self.state.ledger.now_ms())
        if apart_s is not None:
            raise ClockWrong(
                f"the provider's clock and this machine's are {apart_s:.0f} s apart: after a crash nobody could say"
                " which message in its log is which",
                fix="set this machine's clock, then run the same command again: nothing is lost",
            )

    async def _settle_at_the_end(self, gear: _SendResources, cancel: asyncio.Event) -> ReconcileResult:
        """Settles unknowns, waiting a moment for what can be decided in a moment."""
        reconciled = await self._settle(gear, cancel)
        if reconciled.decidable_at is None:
            return reconciled
        wait_s = reconciled.decidable_at.timestamp() - self.state.ledger.now_ms() / 1000
        if wait_s > SETTLE_WAIT_S:
            return reconciled
        try:
            async with asyncio.timeout(max(0.0, wait_s) + 0.1):
                await cancel.wait()
        except TimeoutError:
            return await self._settle(gear, cancel)
        return reconciled

    def _sweep(self, adapter: Adapter, transport: Transport, cancel: asyncio.Event) -> LogSweep:
        return LogSweep(
            ledger=self.state.ledger,
            run=self.run,
            plan=self.plan,
            adapter=adapter,
            transport=transport,
            pace=SIMULATED if self.simulated else LIVE,
            cancel=cancel,
        )

    def _callback(self, public_url: str | None) -> str | None:
        """The URL that reports of this run's messages are to come to."""
        if public_url is None:
            return None
        if not self.simulated and is_loopback(public_url):
            raise InputError(
                f"{self.run.provider} cannot call this machine's own loopback address",
                where=public_url,
                fix="name the address of a reverse proxy or a tunnel that leads here",
            )
        return status_callback(public_url, self.plan.manifest.dialect)

    def _wait_s(self, delivery: DeliveryOptions) -> float:
        if delivery.wait_s is not None:
            return delivery.wait_s
        return WAIT_SIMULATED_S if self.simulated else WAIT_LIVE_S

    def _check_results_path(self, path: Path) -> None:
        target, _ = check_target(path)
        base = Path(self.run.source).parent if self.run.source else Path()
        if target in [(base / one.path).resolve() for one in self.plan.manifest.inputs]:
            raise InputError(
                "this file is an input of the campaign", where=str(path), fix="name another for the results"
            )

    def _begin(self, adapter: Adapter) -> Plan:
        """The plan on disk; for a new run, written and entered in the ledger."""
        if not self._begun:
            self.plan = self.state.plans.save(self.run, self.plan)
            self.run = replace(self.run, account=adapter.account_id or None)
            self.state.ledger.create_run(self.run)
            self._begun = True
        return self.plan

    @contextlib.contextmanager
    def connected(self, env: Mapping[str, str]) -> Iterator[Adapter]:
        """The provider's adapter, or the sandbox's, as `equipment.connected` says."""
        with provider_session.connected(
            self.run, self.plan.manifest, env, self.state.plans.folder(self.run)
        ) as adapter:
            yield adapter


def _never_arrive(messages: int) -> ProviderRefused:
    return ProviderRefused(
        f"{messages} messages never arrive: each try proved nothing, and the log has none",
        fix="look at the results, and at the provider's status page, before you run it again",
    )
