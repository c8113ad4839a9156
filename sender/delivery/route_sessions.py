"""The routes of a run, each with its provider connected: a run with one way to send has one.

Whatever reads a provider's log about a run does so for each route, because each has a log of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sender.delivery import reconcile
from sender.delivery.poll import LIVE, SIMULATED, LogSweep, RefreshResult, merge_refreshed
from sender.delivery.provider_session import (
    SANDBOX_URL,
    ProviderSession,
    log_facts,
    open_adapter,
)
from sender.delivery.reconcile import ReconcileResult
from sender.plan.plan import Plan
from sender.plan.routes import route_plan
from sender.providers.base import Adapter
from sender.state.ledger import Run
from sender.state.ledger_values import RunRoute
from sender.state.state import State
from sender.transport.factory import open_transport


@dataclass(frozen=True, slots=True)
class RouteSession:
    """One route: `run` and `plan` as if it were the only one. `route` is its place; None where there is no other."""

    run: Run
    plan: Plan
    provider: ProviderSession
    route: int | None = None


def runs_by_route(run: Run, plan: Plan, routes: Sequence[RunRoute]) -> list[tuple[int | None, Run, Plan]]:
    """The place, run and plan of each route, as `RouteSession` has them; `routes` is what the ledger has of them."""
    if not plan.manifest.routes:
        return [(None, run, plan)]
    ways: list[tuple[int | None, Run, Plan]] = []
    for place in range(len(plan.manifest.routes)):
        its_plan = route_plan(plan, place)
        known = routes[place] if routes else RunRoute(its_plan.manifest.provider, None, None)
        its_run = replace(run, provider=known.provider, account=known.account, base_url=known.base_url)
        ways.append((place, its_run, its_plan))
    return ways


def routes_of(state: State, run: Run) -> tuple[RunRoute, ...]:
    """What the ledger has of the run's routes; nothing of a run that has not begun."""
    return state.ledger.routes(run.run_id)


@contextlib.contextmanager
def open_adapters(
    state: State, ways: Sequence[tuple[int | None, Run, Plan]], env: Mapping[str, str]
) -> Iterator[list[Adapter]]:
    """The adapter of each route with its credentials; those of a simulated run share one sandbox.

    Raises CredentialsError for a route without credentials, and InputsChanged for those of another account.
    """
    with contextlib.ExitStack() as stack:
        adapters: list[Adapter] = []
        for _, run, plan in ways:
            shared = {**env, SANDBOX_URL: adapters[0].base_url} if adapters and run.simulated else env
            adapters.append(stack.enter_context(open_adapter(run, plan.manifest, shared, state.plans.folder(run))))
        yield adapters


@contextlib.asynccontextmanager
async def open_routes(
    state: State,
    run: Run,
    plan: Plan,
    env: Mapping[str, str],
    *,
    transport: str = "httpx",
    concurrency: Sequence[int] = (),
    begun: bool = True,
) -> AsyncIterator[list[RouteSession]]:
    """Connect the provider of each route, with that many connections at most (default: 1). Asks none anything yet.

    `begun`: the run is in the ledger. Raises what `open_adapters` raises, and InputError.
    """
    ways = runs_by_route(run, plan, routes_of(state, run) if begun and plan.manifest.routes else ())
    async with contextlib.AsyncExitStack() as stack:
        adapters = stack.enter_context(open_adapters(state, ways, env))
        sessions = []
        for number, ((place, its_run, its_plan), adapter) in enumerate(zip(ways, adapters, strict=True)):
            connections = concurrency[number] if concurrency else 1
            opened = await stack.enter_async_context(
                contextlib.aclosing(open_transport(transport, connections, adapter.base_url))
            )
            session = ProviderSession(
                adapter,
                opened,
                log_facts(its_run, its_plan.manifest, adapter, env),
                shares_sandbox=run.simulated and bool(env.get(SANDBOX_URL)),
            )
            sessions.append(RouteSession(its_run, its_plan, session, place))
        yield sessions


class RouteSweeps:
    """Reads the logs of a run's routes side by side, as `LogSweep` reads one."""

    def __init__(self, state: State, ways: Sequence[RouteSession], *, cancel: asyncio.Event | None = None) -> None:
        self._sweeps = [
            LogSweep(
                ledger=state.ledger,
                run=way.run,
                plan=way.plan,
                provider=way.provider,
                schedule=SIMULATED if way.run.simulated else LIVE,
                cancel=cancel,
                route=way.route,
            )
            for way in ways
        ]

    @property
    def is_canceled(self) -> bool:
        """Whether `cancel` is set."""
        return self._sweeps[0].is_canceled

    async def refresh(self) -> RefreshResult:
        """`LogSweep.refresh` of each, as one result."""
        return merge_refreshed(await asyncio.gather(*(sweep.refresh() for sweep in self._sweeps)))

    async def follow(self, wait_s: float, *, listening: bool = False) -> RefreshResult:
        """`LogSweep.follow` of each, as one result."""
        each = (sweep.follow(wait_s, listening=listening) for sweep in self._sweeps)
        return merge_refreshed(await asyncio.gather(*each))


class UnreadLogs:
    """Logs that could not be read: each is left alone for as long as the try has taken.

    The log of a provider that is down takes half a minute to fail, and a run may look several times in that time: also
    for the other route, whose messages would wait for it.
    """

    def __init__(self) -> None:
        self._failures: dict[int | None, tuple[str, float]] = {}  # by route: why, and until when by the loop's clock

    def why(self, route: int | None, now_s: float) -> str | None:
        """Why the log of that route is left alone now; None where it may be asked."""
        failure, until_s = self._failures.get(route, (None, now_s))
        return failure if now_s < until_s else None

    def note(self, route: int | None, failure: str | None, *, began_s: float, now_s: float) -> None:
        """Note how reading the log has ended now."""
        if failure is not None:
            self._failures[route] = failure, now_s + (now_s - began_s)


async def reconcile_routes(
    state: State, ways: Sequence[RouteSession], cancel: asyncio.Event, unread: UnreadLogs | None = None
) -> ReconcileResult:
    """Settle the unknown messages of each route from the log of its own provider; the results as one.

    With `unread`, logs that could not be read a moment ago are not asked.
    """
    results = [await _reconcile_route(state, way, cancel, unread) for way in ways]
    decidable = [result.decidable_at for result in results if result.decidable_at is not None]
    return ReconcileResult(
        found=sum(result.found for result in results),
        absent=sum(result.absent for result in results),
        doubtful=sum(result.doubtful for result in results),
        decidable_at=max(decidable, default=None),
        failure=next((result.failure for result in results if result.failure is not None), None),
        contested=sum(result.contested for result in results),
    )


async def _reconcile_route(
    state: State, way: RouteSession, cancel: asyncio.Event, unread: UnreadLogs | None
) -> ReconcileResult:
    now_s = asyncio.get_running_loop().time
    began_s = now_s()
    unreadable = None if unread is None else unread.why(way.route, began_s)
    result = await reconcile.reconcile(
        ledger=state.ledger,
        run=way.run,
        plan=way.plan,
        provider=way.provider,
        cancel=cancel,
        plan_of=state.plan,
        route=way.route,
        unreadable=unreadable,
    )
    if unread is not None and unreadable is None:
        unread.note(way.route, result.failure, began_s=began_s, now_s=now_s())
    return result
