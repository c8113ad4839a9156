"""Opens what each route of a run sends with, once its provider is connected and the run is in the ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sender.delivery.route_sessions import RouteSession
from sender.plan.message_reader import MessageReader
from sender.plan.pace import Pace
from sender.plan.plan import Plan
from sender.plan.routes import RouteReader, route_plan
from sender.providers.base import Adapter
from sender.sending.concurrency import Concurrency
from sender.sending.idempotent_retry import request_format
from sender.sending.live_caps import open_caps
from sender.sending.options import SendOptions
from sender.sending.rate_limit import RateLimit, RateLimiter
from sender.sending.send_resources import SendResources, open_rate_limiter, worker_config
from sender.sending.send_windows import open_windows, wall_clock
from sender.sending.throttle import Throttle
from sender.state.heartbeat import OnProgress
from sender.state.ledger import Run
from sender.state.ledger_values import RunRoute
from sender.state.state import State
from sender.suppression.live_check import watch_suppressions
from sender.suppression.number_files import FileWatch, NumberFile
from sender.suppression.suppression_list import SuppressionList


@dataclass(frozen=True, slots=True)
class WayOpener:
    """What the routes of a run have in common while it is sent. Whatever is opened is closed with `stack`."""

    state: State
    run: Run
    plan: Plan
    options: SendOptions
    files: Sequence[NumberFile]
    watch: FileWatch | None
    on_progress: OnProgress
    stack: contextlib.AsyncExitStack

    def open_all(
        self,
        sessions: Sequence[RouteSession],
        paces: Sequence[Pace],
        limits: Sequence[Concurrency],
        callbacks: Sequence[str | None],
        limiter: RateLimiter | None = None,
    ) -> SendResources:
        """The first route's resources, with those of the others; the arguments have an item for each route.

        `limiter` is that of a run with one way to send, where it is not this process's own.
        """
        per_s = self.plan.manifest.overall_per_s
        overall = None if per_s is None else RateLimiter(RateLimit(per_s))
        ways = [
            self._open(session, pace, limit, callback, overall, limiter)
            for session, pace, limit, callback in zip(sessions, paces, limits, callbacks, strict=True)
        ]
        return replace(ways[0], others=tuple(ways[1:]))

    def _open(
        self,
        way: RouteSession,
        pace: Pace,
        limit: Concurrency,
        callback: str | None,
        overall: RateLimiter | None,
        limiter: RateLimiter | None,
    ) -> SendResources:
        state, adapter = self.state, way.provider.adapter
        plan = route_plan(self.plan, way.route or 0)
        run = self.run
        if way.route:
            run = replace(run, **route_record(run, way.run.provider, adapter)._asdict())
        reader = (RouteReader if way.route else MessageReader)(plan, run.run_id, callback=callback)
        written, number = request_format(adapter, callback), None
        if written is not None:
            number = state.ledger.note_request_format(run.run_id, written)
        workers = worker_config(state, run, pace, adapter, self.options, callback, self.files, number)
        if limiter is None:
            limiter = self.stack.enter_context(open_rate_limiter(state, run, reader, workers, overall))
        suppression = watch_suppressions(run, plan, SuppressionList(state.suppressions), self.watch)
        return SendResources(
            ledger=state.ledger,
            run=run,
            plan=plan,
            provider=way.provider,
            reader=reader,
            throttle=Throttle(pace, limiter, limit, suppression.is_paused),
            pool=plan.manifest.sender_pool(),
            suppression=suppression,
            caps=open_caps(state, run, self.plan),
            windows=open_windows(plan, adapter.capabilities, hold=self.options.hold, clock_ms=wall_clock(state)),
            workers=workers,
            on_progress=self.on_progress,
            request_format=number,
        )


def route_record(run: Run, provider: str, adapter: Adapter) -> RunRoute:
    """What the ledger keeps of a route: a sandbox has another address each time."""
    return RunRoute(provider, adapter.account_id or None, None if run.simulated else adapter.base_url)
