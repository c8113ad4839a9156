"""What one call of `send` does with a run that is open: unknown messages first, then the canary, then the others."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from sender.core.canary import CanaryTerms
from sender.core.errors import CanaryStop, ProviderRefused
from sender.delivery.background_refresh import refresh_meanwhile
from sender.delivery.poll import RefreshResult
from sender.delivery.reconcile import ReconcileResult
from sender.delivery.route_sessions import RouteSweeps, UnreadLogs, reconcile_routes
from sender.delivery.settle import OnWait, settle
from sender.plan.pace import Pace
from sender.plan.plan import Plan
from sender.sending.canary_gate import open_canary
from sender.sending.idempotent_retry import IdempotentRetry
from sender.sending.options import SendOptions
from sender.sending.send_resources import SendResources
from sender.state.state import State

WAIT_SIMULATED_S, WAIT_LIVE_S = 5.0, 120.0  # for delivery, after the last message
RECONCILE_WAIT_S = 5.0  # at the end of a run, for unknown messages to become decidable


class SendCourse:
    """One call of `send`, once its run is open. What it has found is there however it ends."""

    def __init__(
        self,
        state: State,
        plan: Plan,
        pace: Pace,
        resources: SendResources,
        options: SendOptions,
        on_wait: OnWait | None,
    ) -> None:
        self._state = state
        self._run = resources.run
        self._plan = plan
        self._pace = pace
        self._resources = resources
        self._options = options
        self._on_wait = on_wait
        self.reconciled = ReconcileResult()
        self.refreshed: RefreshResult | None = None
        self.resent = 0
        self._retries: list[IdempotentRetry] | None = None
        self._unread = None if options.settle else UnreadLogs()  # with `settle`, a log is asked until it answers

    async def run(self, stop: asyncio.Event, terms: CanaryTerms | None) -> None:
        """Look up unknown messages, send what is pending, and wait for delivery, until `stop` is set.

        `terms` are those of the run's canary, if it has one. Raises GuardStop and StateError.
        """
        await self._settle_unknowns(stop)
        await self._send(stop, terms)
        await self._wait_for_delivery(stop)

    # -- unknown messages --------------------------------------------------------------------------------------------

    async def _settle_unknowns(self, stop: asyncio.Event) -> None:
        """Look up what an earlier process left unknown, and make pending what is to be sent again."""
        if self._options.settle_unknowns:
            repeated = await self._repeat_requests(stop)
            self._note(await self._reconcile(stop), repeated)
        if self._options.resend_unknown and not stop.is_set():
            self.resent = self._state.ledger.resend_unknown(self._run.run_id)

    def _note(self, result: ReconcileResult, repeated: int) -> None:
        """Keep the newest result, with all that was found in this call, also by repeating requests."""
        self.reconciled = replace(result, found=self.reconciled.found + result.found + repeated)

    async def _repeat_requests(self, stop: asyncio.Event) -> int:
        """Settle unknown messages by repeating their requests, where that makes no second message; return how many."""
        if self._retries is None:
            ways, limit = self._resources.ways, self._options.limit
            self._retries = [IdempotentRetry(way, below_seq=limit, stop=stop) for way in ways]
        return sum([await retry.settle() for retry in self._retries])

    async def _reconcile(self, stop: asyncio.Event) -> ReconcileResult:
        return await reconcile_routes(self._state, self._resources.sessions, stop, self._unread)

    async def _reconcile_at_the_end(self, stop: asyncio.Event) -> ReconcileResult:
        """Look up unknown messages, and again once that makes them decidable: after a moment, or with `settle` ever."""
        return await settle(
            partial(self._reconcile, stop),
            now=lambda: datetime.fromtimestamp(self._state.ledger.now_ms() / 1000, UTC),
            cancel=stop,
            on_wait=self._on_wait,
            most_s=None if self._options.settle else RECONCILE_WAIT_S,
        )

    # -- sending -----------------------------------------------------------------------------------------------------

    async def _send(self, stop: asyncio.Event, terms: CanaryTerms | None) -> None:
        """Send what is pending: the canary first, where there is one, and the others if it lets them go."""
        limit = self._options.limit
        canary = open_canary(self._state, self._run, self._plan, terms)
        if canary is None:
            await self._send_below(limit, stop)
            return
        if canary.holds_others:
            await self._send_below(canary.bound(limit), stop)
            if stop.is_set() or canary.is_last(limit) or not canary.is_sent():
                return  # without the whole canary nothing is decided
            sweep, show = self._sweeps(stop), self._resources.on_progress
            look_up = partial(self._reconcile, stop) if self._options.settle_unknowns else None
            await canary.pass_others(sweep, show, listening=self._options.listening, look_up=look_up)
            if stop.is_set():
                return
        elif canary.is_stopped:  # receipts may have come since
            await self._sweeps(stop).refresh()
        async with canary.watch(stop, self._halt_others), self._refresh_meanwhile():
            await self._send_below(limit, stop)

    def _halt_others(self, failure: CanaryStop) -> None:
        """Stop the senders of other machines, whom this call's own event does not reach."""
        if self._resources.sharing is not None:
            self._resources.sharing.halt(failure)

    def _refresh_meanwhile(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Where no receiver writes reports into the ledger, the provider's log is read while messages leave."""
        if self._options.listening:
            return contextlib.nullcontext()
        return refresh_meanwhile(self._state.where, self._run, self._resources.workers.options.environment)

    async def _send_below(self, below_seq: int | None, stop: asyncio.Event) -> None:
        await self._send_by_workers(below_seq, stop)
        await self._send_here(below_seq, stop)

    async def _send_by_workers(self, below_seq: int | None, stop: asyncio.Event) -> None:
        """Send by several processes. What a lost one had in flight becomes unknown; what it left stays pending."""
        supervisor = self._resources.make_supervisor(below_seq)
        if supervisor is None or stop.is_set():
            return
        try:
            await supervisor.run(stop)
        finally:
            if supervisor.lost:
                self._state.ledger.orphans_to_unknown(self._run.run_id)

    async def _send_here(self, below_seq: int | None, stop: asyncio.Event) -> None:
        """Send what is pending; send again, up to `retries` times, what the log then proves never to have arrived."""
        for _ in range(1 + self._pace.retries):
            await self._resources.make_dispatcher(below_seq).run(stop)
            if not self._options.settle_unknowns or stop.is_set():
                return
            repeated = await self._repeat_requests(stop)
            self._note(await self._reconcile_at_the_end(stop), repeated)
            if not self.reconciled.absent:  # else these are pending again
                return
        raise _never_arrive(self.reconciled.absent)

    # -- afterwards --------------------------------------------------------------------------------------------------

    async def _wait_for_delivery(self, stop: asyncio.Event) -> None:
        wait_s = self._options.wait_s
        if wait_s is None:
            wait_s = WAIT_SIMULATED_S if self._run.simulated else WAIT_LIVE_S
        if stop.is_set() or not wait_s:
            return
        self.refreshed = await self._sweeps(stop).follow(wait_s, listening=self._options.listening)

    def _sweeps(self, stop: asyncio.Event) -> RouteSweeps:
        return RouteSweeps(self._state, self._resources.sessions, cancel=stop)


def _never_arrive(messages: int) -> ProviderRefused:
    do_not = "1 message does not" if messages == 1 else f"{messages:,} messages do not"
    return ProviderRefused(
        f"{do_not} arrive: no answer was conclusive, and the provider's log has no trace",
        fix="check the results and the provider's status page before you send it again",
    )
