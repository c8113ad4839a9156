"""What one call of `send` works with: provider, suppression list, rate limiter, transport, workers."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sender.core.errors import SenderError
from sender.delivery.provider_session import SANDBOX_URL, ProviderSession
from sender.delivery.route_sessions import RouteSession
from sender.plan.message_reader import MessageReader
from sender.plan.pace import Pace
from sender.plan.plan import Plan
from sender.plan.sender_pool import SenderPool
from sender.providers.base import Adapter
from sender.sending import shared_rate_limit
from sender.sending.circuit_breaker import ALONE, Patience
from sender.sending.dispatcher import Dispatcher
from sender.sending.observer import ProgressObserver
from sender.sending.options import SendOptions
from sender.sending.producer import Assignment, ClaimCheck
from sender.sending.rate_limit import RateLimiter
from sender.sending.route_board import RouteSeat
from sender.sending.route_dispatch import RouteDispatch
from sender.sending.send_windows import SendWindows
from sender.sending.shifts.run_sharing import RunSharing
from sender.sending.shifts.shift_supervisor import ShiftSupervisor
from sender.sending.throttle import Throttle, resume_rate_limiter
from sender.sending.workers.protocol import WorkerConfig
from sender.sending.workers.supervisor import Supervisor
from sender.state.async_ledger import AsyncLedger
from sender.state.heartbeat import OnProgress
from sender.state.ledger import Ledger, Run
from sender.state.open import folder_of
from sender.state.runs import resolve_path
from sender.state.state import State
from sender.suppression.live_check import LiveSuppression
from sender.suppression.number_files import NumberFile


@dataclass(frozen=True, slots=True)
class SendResources:
    """What one call of `send` works with. `workers` is what each worker process is given, all but its number.

    `request_format` is the ledger's number for how this session writes its requests, where they can be repeated. Of a
    run with several routes, these are the first's, and `others` those of the others, in order.
    """

    ledger: Ledger
    run: Run
    plan: Plan
    provider: ProviderSession
    reader: MessageReader
    throttle: Throttle
    pool: SenderPool | None
    suppression: LiveSuppression
    caps: ClaimCheck | None
    windows: SendWindows | None
    workers: WorkerConfig
    on_progress: OnProgress
    request_format: int | None = None
    sharing: RunSharing | None = None
    others: tuple[SendResources, ...] = ()
    left: dict[int, SenderError] = field(default_factory=dict)  # routes that this call has left, and why

    @property
    def ways(self) -> tuple[SendResources, ...]:
        """What each route of the run works with; this alone where there is one way to send."""
        return (self, *self.others)

    @property
    def sessions(self) -> list[RouteSession]:
        """The routes, as whatever reads providers' logs asks for them."""
        if not self.others:
            return [RouteSession(self.run, self.plan, self.provider)]
        return [RouteSession(way.run, way.plan, way.provider, place) for place, way in enumerate(self.ways)]

    def is_waiting(self) -> bool:
        """Whether this process only waits, for a window to open."""
        return self.windows is not None and self.windows.held_until_ms is not None

    def make_dispatcher(self, below_seq: int | None) -> Dispatcher | RouteDispatch:
        """What sends in this process what is below `below_seq` (None: all)."""
        if not self.others:
            return self.open_dispatcher(
                AsyncLedger(self.ledger, self.run, request_format=self.request_format), below_seq
            )
        ways = self.ways

        def make(route: int, of_route: AsyncLedger, seat: RouteSeat, patience: Patience) -> Dispatcher:
            return ways[route].open_dispatcher(of_route, below_seq, seat=seat, patience=patience)

        return RouteDispatch(
            self.ledger,
            self.run,
            formats=tuple(way.request_format for way in ways),
            names=tuple(way.run.provider for way in ways),
            below_seq=below_seq,
            make=make,
            left=self.left,
        )

    def open_dispatcher(
        self, ledger: AsyncLedger, below_seq: int | None, *, seat: RouteSeat | None = None, patience: Patience = ALONE
    ) -> Dispatcher:
        """A dispatcher of this one route."""
        return Dispatcher(
            ledger=ledger,
            reader=self.reader,
            adapter=self.provider.adapter,
            transport=self.provider.transport,
            throttle=self.throttle,
            pool=self.pool,
            assignment=Assignment(below_seq, check=self.caps, windows=self.windows, seat=seat, patience=patience),
            refuses=self.suppression.refuses,
            observer=ProgressObserver(self.on_progress)
            if self.sharing is None
            else self.sharing.make_observer(self.on_progress, self.pool),
        )

    def make_supervisor(self, below_seq: int | None) -> Supervisor | ShiftSupervisor | None:
        """A supervisor of the other senders, bound as the dispatcher; None where this process sends alone."""
        if self.sharing is not None:
            return self.sharing.make_supervisor(below_seq, self.on_progress)
        if self.workers.count == 1:
            return None
        return Supervisor(
            replace(self.workers, options=replace(self.workers.options, limit=below_seq)),
            self.run,
            ledger=self.ledger,
            reader=self.reader,
            rate_limiter=self.throttle.rate_limiter,
            pool=self.pool,
            on_progress=self.on_progress,
        )


def worker_config(
    state: State,
    run: Run,
    pace: Pace,
    adapter: Adapter,
    options: SendOptions,
    callback: str | None,
    files: Sequence[NumberFile] = (),
    request_format: int | None = None,
) -> WorkerConfig:
    """What workers are given; there are never more of them than concurrent requests."""
    env = dict(options.environment)
    if run.simulated:
        env[SANDBOX_URL] = adapter.base_url  # of the sandbox that runs in this process
    return WorkerConfig(
        options=replace(options, state_dir=_absolute(state.where), env=env),
        run_id=run.run_id,
        number=0,
        count=min(options.workers, pace.concurrency or options.workers),
        pace=pace,
        callback=callback,
        suppress=tuple(file.to_manifest() for file in files),
        request_format=request_format,
        slots_file=str(state.workers_folder(run.campaign, run.kind).resolve() / "pace"),
        log_level=logging.getLogger("sender").getEffectiveLevel(),
    )


@contextlib.contextmanager
def open_rate_limiter(
    state: State, run: Run, reader: MessageReader, workers: WorkerConfig, overall: RateLimiter | None = None
) -> Iterator[RateLimiter]:
    """The rate limiter of this process; its limits bind the workers, too. `overall` is what several routes share."""
    if workers.count == 1:
        yield resume_rate_limiter(workers.pace, state.ledger, reader, run.run_id, overall=overall)
        return
    with shared_rate_limit.create_slots(Path(workers.slots_file), workers.pace, workers.count) as shared:
        yield resume_rate_limiter(workers.pace, state.ledger, reader, run.run_id, shared)


def _absolute(where: str) -> str:
    """The state's address for a process that may stand in another folder."""
    return where if folder_of(where) is None else resolve_path(where)
