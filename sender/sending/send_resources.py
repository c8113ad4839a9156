"""What one call of `send` works with: provider, suppression list, rate limiter, transport, workers."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sender.delivery.provider_session import SANDBOX_URL, ProviderSession
from sender.plan.message_reader import MessageReader
from sender.plan.pace import Pace
from sender.plan.sender_pool import SenderPool
from sender.providers.base import Adapter
from sender.sending import shared_rate_limit
from sender.sending.dispatcher import Dispatcher
from sender.sending.observer import ProgressObserver
from sender.sending.options import SendOptions
from sender.sending.producer import Assignment, ClaimCheck
from sender.sending.rate_limit import RateLimiter
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

    `request_format` is the ledger's number for how this session writes its requests, where they can be repeated.
    """

    ledger: Ledger
    run: Run
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

    def is_waiting(self) -> bool:
        """Whether this process only waits, for a window to open."""
        return self.windows is not None and self.windows.held_until_ms is not None

    def make_dispatcher(self, below_seq: int | None) -> Dispatcher:
        """A dispatcher that sends in this process what is below `below_seq` (None: all)."""
        return Dispatcher(
            ledger=AsyncLedger(self.ledger, self.run, request_format=self.request_format),
            reader=self.reader,
            adapter=self.provider.adapter,
            transport=self.provider.transport,
            throttle=self.throttle,
            pool=self.pool,
            assignment=Assignment(below_seq, check=self.caps, windows=self.windows),
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
def open_rate_limiter(state: State, run: Run, reader: MessageReader, workers: WorkerConfig) -> Iterator[RateLimiter]:
    """The rate limiter of this process; its limits bind the workers, too."""
    if workers.count == 1:
        yield resume_rate_limiter(workers.pace, state.ledger, reader, run.run_id)
        return
    with shared_rate_limit.create_slots(Path(workers.slots_file), workers.pace, workers.count) as shared:
        yield resume_rate_limiter(workers.pace, state.ledger, reader, run.run_id, shared)


def _absolute(where: str) -> str:
    """The state's address for a process that may stand in another folder."""
    return where if folder_of(where) is None else resolve_path(where)
