"""One run from start to summary: reconcile, send, wait for delivery, summarise.

Shared by the command line and the library; never prints, asks or exits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from sender.core.canary import Canary, CanaryState
from sender.core.errors import CanaryStop, ClockWrong, InputError, SenderError, StateError
from sender.core.loopback import is_loopback
from sender.core.output_files import Protected
from sender.delivery.callback_urls import check_public_url, status_callback
from sender.delivery.provider_session import ProviderSession, open_adapter
from sender.delivery.reconcile import clocks_apart_s
from sender.delivery.route_sessions import RouteSession, open_adapters, open_routes, routes_of, runs_by_route
from sender.delivery.settle import OnWait
from sender.plan.pace import Pace
from sender.plan.plan import Plan
from sender.plan.routes import route_manifest
from sender.plan.waves import HeldMessages
from sender.planning.retry import find_taken_over
from sender.providers.base import Adapter, Request
from sender.reports.held import read_held
from sender.reports.labels import describe_all_held, describe_rules
from sender.reports.results_file import check_results_path, write_result_blocks
from sender.reports.run_results import final_results, own_results_path, protected_files
from sender.reports.run_summary import summarise_totals
from sender.reports.summary import Summary
from sender.sending.canary_gate import explain_stop, override
from sender.sending.choose_run import RunChoice
from sender.sending.claim_order import WAITING_KINDS, arrange_run
from sender.sending.concurrency import Concurrency
from sender.sending.hold_watch import watch_hold
from sender.sending.open_ways import WayOpener, route_record
from sender.sending.options import SendOptions
from sender.sending.run_control import name_person
from sender.sending.run_result import RunResult
from sender.sending.send_course import SendCourse
from sender.sending.send_resources import SendResources
from sender.sending.send_windows import wall_clock
from sender.sending.shifts.order import Order
from sender.sending.shifts.run_sharing import RunSharing, not_shared
from sender.state.heartbeat import Progress
from sender.state.ledger import NOTHING, Counts, Run
from sender.state.open import address_of, folder_of
from sender.state.state import State
from sender.suppression.learn import learn_refusals
from sender.suppression.number_files import NumberFile, watch_files
from sender.transport.base import TransportFailure

log = logging.getLogger("sender.sending.run")

CLOCK_TIMEOUT_S = 10.0  # for the one request that compares clocks before the first message


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
        knowingly: bool = False,
    ) -> None:
        """`repeated` is how many people of a new run have had the campaign in this edition, or may have had it.

        `pace` is the one to send at; a run may be resumed at another pace than it began with. `replaces` names the runs
        that end when this one begins. `files` are the suppression files, to be read before anything is sent.
        `knowingly` says that a person goes on with the run in spite of what stopped it.
        """
        self._files = files
        self._held: Mapping[str, str] = {}
        self._is_steward = False
        self._terms = plan.manifest.canary_terms
        self._knowingly = knowingly
        self._clock_ms = wall_clock(state)
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

    def follow(self, order: Order) -> None:
        """See the run to its end for whoever has ordered it, as a worker's process, which another may replace."""
        self.pace, self._held, self._is_steward = order.pace, order.held, True

    def counts(self) -> Counts:
        """The run's messages by state."""
        if self._begun:
            return self.state.ledger.counts(self.run.run_id)
        return Counts(pending=self.run.messages, intent=0, accepted=0, rejected=0, canceled=0, unknown=0)

    def held(self) -> tuple[HeldMessages, ...]:
        """What of the run waits for its window now, those that open first first; nothing before the run has begun."""
        if not self._begun:
            return ()
        return read_held(self.state.ledger, self.run.run_id, self.plan.manifest.waves, self._clock_ms())

    @property
    def stopped_by(self) -> CanaryStop | None:
        """The stop of the run's canary that a person goes on in spite of; None where there is none."""
        canary = self.run.canary
        is_stopped = self._knowingly and canary is not None and canary.state is CanaryState.STOPPED
        return explain_stop(self.run, canary) if is_stopped and canary is not None else None

    def lift_holds(self) -> None:
        """Lift the pause that the run had when it was opened, and a stop of its canary that a person overrides.

        One that came since holds.
        """
        ledger = self.state.ledger
        if self.run.paused_at_ms is not None:
            ledger.resume_run(self.run.run_id)
        if self._knowingly and (canary := override(self.run, by=name_person(), now_ms=ledger.now_ms())) is not None:
            ledger.note_canary(self.run.run_id, canary)
            self.run = replace(self.run, canary=canary)

    def check_credentials(self, options: SendOptions) -> None:
        """Raise CredentialsError now, rather than after the user has been asked."""
        if not self.simulated:
            routes = routes_of(self.state, self.run) if self._begun else ()
            with open_adapters(self.state, runs_by_route(self.run, self.plan, routes), options.environment):
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
        stopped: SenderError | None = None
        async with self._open_resources(options, on_progress) as resources:
            self._log_start()
            course = SendCourse(self.state, self.plan, self.pace, resources, options, on_wait)
            try:
                await self._compare_clocks(resources)
                async with watch_hold(self.state, self.run, cancel, resources.is_waiting) as stop:
                    await course.run(stop, self._terms)
            except SenderError as error:
                stopped = error
            is_handed_over = False
            if resources.sharing is not None:
                is_handed_over = await resources.sharing.leave(
                    stopped, is_canceled=cancel.is_set(), is_steward=self._is_steward
                )
        summary, failure = self._write_results(path, with_body=options.with_body)
        run = self.state.ledger.run(self.run.run_id)
        return RunResult(
            run=run,
            plan=self.plan,
            summary=summary,
            results_path=path,
            state_dir=address_of(self.state.where),
            reconciled=course.reconciled,
            refreshed=course.refreshed,
            limit=options.limit,
            interrupted=cancel.is_set() or run.paused_at_ms is not None,
            stopped=stopped or failure,
            resent=course.resent,
            taken_out={n: why for way in resources.ways if way.pool for n, why in way.pool.disabled.items()},
            held=self.held() if summary.pending else (),
            is_handed_over=is_handed_over,
        )

    def hand_over(self, options: SendOptions) -> None:
        """Let the workers of all machines send the run, and one of them see it to its end; nothing is sent here.

        Raises InputError where the state cannot be used by several machines, and before anything is sent as `send`.
        """
        folder = self.state.plans.folder(self.run)
        with (
            open_adapter(self.run, self.plan.manifest, options.environment, folder) as adapter,
            watch_files(self._files, self.plan.recipients) as watch,
        ):
            if (sharing := RunSharing.find(self.state, self.run, self.pace, options, is_needed=True)) is None:
                raise not_shared(self.run)
            self._begin([adapter], options)
            sharing.begin(self.run, {**self._held, **watch.held})
        asyncio.run(sharing.ask_for_steward())

    def _log_start(self) -> None:
        counts, run, held = self.counts(), self.run, self.held()
        log.info(
            "run %s %s: %d of %d messages pending%s%s",
            run.run_id,
            "resumed" if self.resumed else "starts",
            counts.pending,
            run.messages,
            describe_rules(self.plan) if run.kind in WAITING_KINDS else "",
            describe_all_held(held),
            extra={
                "rules": list(self.plan.manifest.window.get("rules", ())),
                "held": [asdict(group) for group in held],
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
        paces = self._paces()
        concurrency = [Concurrency(pace.concurrency, pace.per_s) for pace in paces]
        async with open_routes(
            self.state,
            self.run,
            self.plan,
            options.environment,
            transport=self.pace.transport,
            concurrency=[limit.maximum for limit in concurrency],
            begun=self._begun,
        ) as sessions:
            callbacks = [self._callback(options.public_url, way) for way in sessions]
            longest_s = max(pace.timeout_s for pace in paces)
            self.state.locks.note_longest_request(self.run.campaign, self.run.kind, longest_s=longest_s)
            async with contextlib.AsyncExitStack() as stack:
                watch = stack.enter_context(watch_files(self._files, self.plan.recipients))
                watch.held = {**self._held, **watch.held}
                self._begin([way.provider.adapter for way in sessions], options)
                publish = stack.enter_context(self.state.heartbeats.publish(self.run, on_progress))
                limiter = None
                sharing = RunSharing.find(self.state, self.run, self.pace, options)
                if sharing is not None:
                    if not self._is_steward:
                        sharing.begin(self.run, watch.held)
                    limiter = await stack.enter_async_context(sharing.open_rate_limiter(resumed=self.resumed))
                opener = WayOpener(self.state, self.run, self.plan, options, self._files, watch, publish, stack)
                yield replace(opener.open_all(sessions, paces, concurrency, callbacks, limiter), sharing=sharing)

    def _paces(self) -> list[Pace]:
        """The pace of each route: of the first, the one to send at now."""
        routes = range(1, len(self.plan.manifest.routes))
        return [self.pace, *(route_manifest(self.plan.manifest, place).pace for place in routes)]

    def _begin(self, adapters: Sequence[Adapter], options: SendOptions) -> None:
        """Write the plan of a new run into its folder, in the order of its claims, and the run into the ledger."""
        if not self._begun:
            waits = self.run.kind in WAITING_KINDS
            plan = arrange_run(self.plan, self._clock_ms(), waits=waits, first=options.limit)
            self.plan = self.state.plans.save(self.run, plan)
            if (approval := self.replaces.approval) is not None:
                signed = replace(approval, plan_sha256=self.plan.manifest.parquet_sha256)
                self.state.approvals.note_run(self.run, signed)
            providers = [route["provider"] for route in plan.manifest.routes] or [self.run.provider]
            routes = [route_record(self.run, *way) for way in zip(providers, adapters, strict=True)]
            own = routes[0]
            canary = Canary.begin(plan.manifest.canary, messages=self.run.messages)
            self.run = replace(self.run, account=own.account, base_url=own.base_url, canary=canary)
            self.state.ledger.create_run(
                self.run,
                closes=self.replaces.closes,
                reason=self.replaces.reason,
                takes_over=find_taken_over(self.state, self.plan, self.run.kind) if self.run.retry_of else NOTHING,
                routes=routes if len(routes) > 1 else (),
            )
            self._begun = True

    def _callback(self, public_url: str | None, way: RouteSession) -> str | None:
        """The URL for delivery reports of a route. Raises InputError when the provider could not call it."""
        if public_url is None:
            return None
        url = check_public_url(public_url)
        if not self.simulated and is_loopback(url):
            raise InputError(
                f"{way.run.provider} cannot call this machine's own loopback address",
                where=url,
                fix="name the address of a reverse proxy or a tunnel that leads here",
            )
        return status_callback(url, way.plan.manifest.dialect)

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
        if not self.simulated:
            await asyncio.gather(*(self._compare_clock(way.provider) for way in resources.ways))

    async def _compare_clock(self, provider: ProviderSession) -> None:
        request = Request("GET", provider.adapter.base_url + "/", ())
        try:
            answer = await provider.transport.send(request, timeout_s=CLOCK_TIMEOUT_S)
        except TransportFailure:
            return
        apart_s = clocks_apart_s(answer, self.state.ledger.now_ms())
        if apart_s is not None:
            whose = "this machine's" if folder_of(self.state.where) is not None else "the database server's"
            raise ClockWrong(
                f"the provider's clock and {whose} are {apart_s:.0f} s apart: after a crash,"
                " messages could not be found in its log",
                fix=f"set {whose} clock, then run the same command again: nothing is lost",
            )

    # -- afterwards --------------------------------------------------------------------------------------------------

    def _write_results(self, path: Path, *, with_body: bool) -> tuple[Summary, SenderError | None]:
        """Finish the run in the ledger, teach the suppression list, and write the results; return what went wrong."""
        try:
            self.state.ledger.finish_run(self.run.run_id)
            learn_refusals(self.state, self.run)
            own = path == own_results_path(self.state, self.run)
            if not own:
                with contextlib.suppress(OSError):  # the note only helps `forget` to list the file
                    self.state.plans.note_output(self.run, path)
            blocks = final_results(self.state, self.run, with_body=with_body)
            write_result_blocks(blocks, path, None, self._protected(), force=own or None)
        except InputError as error:  # what was sent is in the ledger all the same
            fix = f"`sender results {self.run.run_id} --output FILE` writes them once there is room"
            what = f"the results were not written: {error.what}"
            failure: SenderError = StateError(what, where=str(path), fix=fix)
        except SenderError as error:
            failure = error
        else:
            return self._summary(), None
        return self._summary(), failure

    def _summary(self) -> Summary:
        totals = self.state.ledger.totals(self.run.run_id)
        return summarise_totals(self.state, self.run, self.plan.manifest, totals, is_sent_now=False)
