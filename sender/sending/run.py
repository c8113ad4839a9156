"""One run from start to summary: reconcile, send, wait for delivery, summarise.

Shared by the command line and the library; never prints, asks or exits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sender.core.errors import ClockWrong, InputError, ProviderRefused, SenderError, StateError
from sender.core.loopback import is_loopback
from sender.core.output_files import Protected
from sender.delivery import reconcile
from sender.delivery.poll import LIVE, SIMULATED, LogSweep, RefreshResult
from sender.delivery.provider_session import open_adapter, open_provider
from sender.delivery.reconcile import ReconcileResult, clocks_apart_s
from sender.delivery.settle import OnWait, settle
from sender.delivery.webhooks.app import check_public_url, status_callback
from sender.plan.message_reader import MessageReader
from sender.plan.pace import Pace
from sender.plan.plan import Plan
from sender.planning.retry import find_taken_over
from sender.providers.base import Adapter, Request
from sender.reports.results_file import check_results_path, write_results
from sender.reports.run_results import own_results_path, protected_files, results_and_summary
from sender.reports.summary import Summary, summarise
from sender.sending.choose_run import RunChoice
from sender.sending.concurrency import Concurrency
from sender.sending.hold_watch import watch_hold
from sender.sending.live_caps import open_caps
from sender.sending.options import SendOptions
from sender.sending.run_result import RunResult
from sender.sending.send_resources import SendResources, open_rate_limiter, worker_config
from sender.sending.throttle import Throttle
from sender.state.heartbeat import Progress
from sender.state.ledger import NOTHING, Counts, Run
from sender.state.state import State
from sender.suppression.learn import learn_refusals
from sender.suppression.live_check import watch_suppressions
from sender.suppression.number_files import NumberFile, watch_files
from sender.suppression.suppression_list import SuppressionList
from sender.transport.base import TransportFailure

log = logging.getLogger("sender.sending.run")

WAIT_SIMULATED_S, WAIT_LIVE_S = 5.0, 120.0  # for delivery, after the last message
RECONCILE_WAIT_S = 5.0  # at the end of a run, for unknown messages to become decidable
CLOCK_TIMEOUT_S = 10.0  # for the one request that compares clocks before the first message


@dataclass(slots=True)
class _SendState:
    """State of one `send` call that the ledger does not hold."""

    reconciled: ReconcileResult = field(default_factory=ReconcileResult)
    refreshed: RefreshResult | None = None
    stopped: SenderError | None = None
    on_wait: OnWait | None = None
    resent: int = 0
    disabled_senders: Mapping[str, str] = field(default_factory=dict)


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
        repeated: int = 0,
        replaces: RunChoice | None = None,
        files: Sequence[NumberFile] = (),
    ) -> None:
        """`repeated` is how many people of a new run have had the campaign in this edition, or may have had it.

        `pace` is the one to send at; a run may be resumed at another pace than it began with. `replaces` names the runs
        that end when this one begins. `files` are the suppression files, to be read before anything is sent.
        """
        self._files = files
        self.repeated = repeated
        self.replaces = replaces or RunChoice(None)
        self.pace = pace or plan.manifest.pace
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
        """The run's messages by state."""
        if self._begun:
            return self.state.ledger.counts(self.run.run_id)
        return Counts(pending=self.run.messages, intent=0, accepted=0, rejected=0, canceled=0, unknown=0)

    def lift_pause(self) -> None:
        """Lift the pause that the run had when it was opened. One that came since holds."""
        if self.run.paused_at_ms is not None:
            self.state.ledger.resume_run(self.run.run_id)

    def check_credentials(self, options: SendOptions) -> None:
        """Raise CredentialsError now, rather than after the user has been asked."""
        if not self.simulated:
            folder = self.state.plans.folder(self.run)
            with open_adapter(self.run, self.plan.manifest, options.environment, folder):
                pass

    async def send(
        self,
        options: SendOptions,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        on_wait: OnWait | None = None,
        cancel: asyncio.Event | None = None,
    ) -> RunResult:
        """Send what is pending, wait for delivery, write the results file, and return the result.

        `on_wait` is called each second while the provider's log cannot decide unknown messages yet.

        Once `cancel` is set, nothing new is claimed, and only the answers in flight are awaited. Raises InputError
        before anything is sent; a guard that stops the run later is in the result.
        """
        cancel = cancel or asyncio.Event()
        path = self._results_path(options)
        course = _SendState(on_wait=on_wait)
        async with self._open_resources(options, on_progress) as resources:
            self._log_start()
            try:
                await self._compare_clocks(resources)
                async with watch_hold(self.state, self.run, cancel) as stop:
                    await self._settle_unknowns(resources, options, stop, course)
                    await self._send_by_workers(resources, stop)
                    await self._send_here(resources, options, stop, course)
                    await self._wait_for_delivery(resources, options, stop, course)
            except SenderError as error:
                course.stopped = error
            if resources.pool is not None:
                course.disabled_senders = resources.pool.disabled
        summary = self._write_results(path, course, with_body=options.with_body)
        run = self.state.ledger.run(self.run.run_id)
        return RunResult(
            run=run,
            plan=self.plan,
            summary=summary,
            results_path=path,
            state_dir=Path(self.state.where),
            reconciled=course.reconciled,
            refreshed=course.refreshed,
            limit=options.limit,
            interrupted=cancel.is_set() or run.paused_at_ms is not None,
            stopped=course.stopped,
            resent=course.resent,
            taken_out=course.disabled_senders,
        )

    def _log_start(self) -> None:
        counts, run = self.counts(), self.run
        log.info(
            "run %s %s: %d of %d messages pending",
            run.run_id,
            "resumed" if self.resumed else "starts",
            counts.pending,
            run.messages,
            extra={
                "event": "run_resumed" if self.resumed else "run_started",
                "run_id": run.run_id,
                "campaign": run.campaign,
            },
        )
        if self.orphans:
            log.warning(
                "%s in flight when the last process died: looked up before anything is sent",
                "1 message was" if self.orphans == 1 else f"{self.orphans:,} messages were",
                extra={"event": "orphans", "run_id": run.run_id, "unknown": self.orphans},
            )

    # -- before the first message ------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _open_resources(
        self, options: SendOptions, on_progress: Callable[[Progress], None] | None
    ) -> AsyncIterator[SendResources]:
        """Open what sending needs. A new run is entered in the ledger as soon as the provider can be reached."""
        callback = self._callback(options.public_url)
        concurrency = Concurrency(self.pace.concurrency, self.pace.per_s)
        async with open_provider(
            self.run,
            self.plan.manifest,
            options.environment,
            self.state.plans.folder(self.run),
            transport=self.pace.transport,
            concurrency=concurrency.maximum,
        ) as provider:
            suppressions = SuppressionList(self.state.suppressions)
            with contextlib.ExitStack() as stack:
                watch = stack.enter_context(watch_files(self._files, self.plan.recipients))
                self._begin(provider.adapter)
                reader = MessageReader(self.plan, self.run.run_id, callback=callback)
                workers = worker_config(
                    self.state, self.run, self.pace, provider.adapter, options, callback, self._files
                )
                publish = stack.enter_context(self.state.heartbeats.publish(self.run, on_progress))
                rate_limiter = stack.enter_context(open_rate_limiter(self.state, self.run, reader, workers))
                suppression = watch_suppressions(self.run, self.plan, suppressions, watch)
                yield SendResources(
                    ledger=self.state.ledger,
                    run=self.run,
                    provider=provider,
                    reader=reader,
                    throttle=Throttle(self.pace, rate_limiter, concurrency, suppression.is_paused),
                    pool=self.plan.manifest.sender_pool(),
                    suppression=suppression,
                    caps=open_caps(self.state, self.run, self.plan),
                    workers=workers,
                    on_progress=publish,
                )

    def _begin(self, adapter: Adapter) -> None:
        """Write the plan of a new run into its folder, and the run into the ledger."""
        if not self._begun:
            self.plan = self.state.plans.save(self.run, self.plan)
            base_url = None if self.simulated else adapter.base_url  # a sandbox has another one each time
            self.run = replace(self.run, account=adapter.account_id or None, base_url=base_url)
            self.state.ledger.create_run(
                self.run,
                closes=self.replaces.closes,
                reason=self.replaces.reason,
                takes_over=find_taken_over(self.state, self.plan, self.run.kind) if self.run.retry_of else NOTHING,
            )
            self._begun = True

    def _callback(self, public_url: str | None) -> str | None:
        """The URL for delivery reports of this run. Raises InputError when the provider could not call it."""
        if public_url is None:
            return None
        url = check_public_url(public_url)
        if not self.simulated and is_loopback(url):
            raise InputError(
                f"{self.run.provider} cannot call this machine's own loopback address",
                where=url,
                fix="name the address of a reverse proxy or a tunnel that leads here",
            )
        return status_callback(url, self.plan.manifest.dialect)

    def check_results_path(self, options: SendOptions, inputs: tuple[Path, ...] = ()) -> None:
        """Raise InputError now rather than after the question has been answered. `inputs` are not to be replaced."""
        if options.results_path is not None:
            protected = self._protected()
            protected = replace(protected, inputs=(*protected.inputs, *inputs))
            check_results_path(options.results_path, protected=protected, force=None)

    def _results_path(self, options: SendOptions) -> Path:
        """Where to write the results. Raises InputError for a file that may not or cannot be written."""
        if options.results_path is None:
            return own_results_path(self.state, self.run)
        path = Path(options.results_path)
        check_results_path(path, protected=self._protected(), force=None)
        return path

    def _protected(self) -> Protected:
        return protected_files(self.state, self.run, self.plan.manifest)

    async def _compare_clocks(self, resources: SendResources) -> None:
        """Raise ClockWrong when the times we are about to write down could not be found in the provider's log.

        Any answer shows the provider's time, so this asks for nothing and sends no credentials. Without an answer,
        sending itself reports what is wrong.
        """
        if self.simulated:
            return
        request = Request("GET", resources.provider.adapter.base_url + "/", ())
        try:
            answer = await resources.provider.transport.send(request, timeout_s=CLOCK_TIMEOUT_S)
        except TransportFailure:
            return
        apart_s = clocks_apart_s(answer, self.state.ledger.now_ms())
        if apart_s is not None:
            raise ClockWrong(
                f"the provider's clock and this machine's are {apart_s:.0f} s apart: after a crash,"
                " messages could not be found in its log",
                fix="set this machine's clock, then run the same command again: nothing is lost",
            )

    # -- unknown messages --------------------------------------------------------------------------------------------

    async def _settle_unknowns(
        self, resources: SendResources, options: SendOptions, cancel: asyncio.Event, course: _SendState
    ) -> None:
        """Look up what an earlier process left unknown, and make pending what is to be sent again."""
        if options.settle_unknowns:
            course.reconciled = await self._reconcile(resources, cancel)
        if options.resend_unknown and not cancel.is_set():
            course.resent = self.state.ledger.resend_unknown(self.run.run_id)

    async def _reconcile(self, resources: SendResources, cancel: asyncio.Event) -> ReconcileResult:
        return await reconcile.reconcile(
            ledger=self.state.ledger,
            run=self.run,
            plan=self.plan,
            provider=resources.provider,
            cancel=cancel,
            plan_of=self.state.plan,
        )

    async def _reconcile_at_the_end(
        self, resources: SendResources, options: SendOptions, cancel: asyncio.Event, on_wait: OnWait | None
    ) -> ReconcileResult:
        """Look up unknown messages, and again once that makes them decidable: after a moment, or with `settle` ever."""
        return await settle(
            partial(self._reconcile, resources, cancel),
            now=lambda: datetime.fromtimestamp(self.state.ledger.now_ms() / 1000, UTC),
            cancel=cancel,
            on_wait=on_wait,
            most_s=None if options.settle else RECONCILE_WAIT_S,
        )

    # -- sending -----------------------------------------------------------------------------------------------------

    async def _send_by_workers(self, resources: SendResources, cancel: asyncio.Event) -> None:
        """Send by several processes. What a lost one had in flight becomes unknown; what it left stays pending."""
        supervisor = resources.make_supervisor()
        if supervisor is None or cancel.is_set():
            return
        try:
            await supervisor.run(cancel)
        finally:
            if supervisor.lost:
                self.state.ledger.orphans_to_unknown(self.run.run_id)

    async def _send_here(
        self, resources: SendResources, options: SendOptions, cancel: asyncio.Event, course: _SendState
    ) -> None:
        """Send what is pending; send again, up to `retries` times, what the log then proves never to have arrived."""
        for _ in range(1 + self.pace.retries):
            await resources.make_dispatcher().run(cancel)
            if not options.settle_unknowns or cancel.is_set():
                return
            course.reconciled = await self._reconcile_at_the_end(resources, options, cancel, course.on_wait)
            if not course.reconciled.absent:  # else these are pending again
                return
        raise _never_arrive(course.reconciled.absent)

    # -- afterwards --------------------------------------------------------------------------------------------------

    async def _wait_for_delivery(
        self, resources: SendResources, options: SendOptions, cancel: asyncio.Event, course: _SendState
    ) -> None:
        wait_s = options.wait_s
        if wait_s is None:
            wait_s = WAIT_SIMULATED_S if self.simulated else WAIT_LIVE_S
        if cancel.is_set() or not wait_s:
            return
        sweep = LogSweep(
            ledger=self.state.ledger,
            run=self.run,
            plan=self.plan,
            provider=resources.provider,
            schedule=SIMULATED if self.simulated else LIVE,
            cancel=cancel,
        )
        course.refreshed = await sweep.follow(wait_s, listening=options.listening)

    def _write_results(self, path: Path, course: _SendState, *, with_body: bool) -> Summary:
        """Finish the run in the ledger, teach the suppression list, and write the results; note what went wrong."""
        try:
            self.state.ledger.finish_run(self.run.run_id)
            learn_refusals(self.state, self.run)
            frame, summary = results_and_summary(self.state, self.run, with_body=with_body)
            own = path == own_results_path(self.state, self.run)
            if not own:
                with contextlib.suppress(OSError):  # the note only helps `forget` to list the file
                    self.state.plans.note_output(self.run, path)
            write_results(frame, path, protected=self._protected(), force=own or None)
        except InputError as error:  # what was sent is in the ledger all the same
            fix = f"`sender results {self.run.run_id} --output FILE` writes them once there is room"
            what = f"the results were not written: {error.what}"
            course.stopped = course.stopped or StateError(what, where=str(path), fix=fix)
        except SenderError as error:
            course.stopped = course.stopped or error
        else:
            return summary
        return summarise(self.state.plan(self.run), self.state.ledger.journal(self.run.run_id))


def _never_arrive(messages: int) -> ProviderRefused:
    do_not = "1 message does not" if messages == 1 else f"{messages:,} messages do not"
    return ProviderRefused(
        f"{do_not} arrive: no answer was conclusive, and the provider's log has no trace",
        fix="check the results and the provider's status page before you run it again",
    )
