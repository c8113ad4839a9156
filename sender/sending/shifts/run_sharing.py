"""One run that several machines send, for the process that holds it: what it tells them, and how it leaves them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Mapping

from sender.core.errors import InputError, SenderError, StateError, StateLost
from sender.delivery.provider_session import SANDBOX_URL
from sender.plan.pace import Pace
from sender.plan.sender_pool import SenderPool
from sender.sending.database_rate_limit import DatabaseRateLimiter
from sender.sending.options import SendOptions
from sender.sending.shifts.order import Order
from sender.sending.shifts.shift_observer import ShiftObserver, halt_all
from sender.sending.shifts.shift_supervisor import ShiftSupervisor
from sender.state.heartbeat import OnProgress
from sender.state.ledger import Run
from sender.state.sharing import SharedRun, Sharing
from sender.state.state import State

log = logging.getLogger("sender.sending.shifts.run_sharing")

MOST_SHIFTS = 50


class RunSharing:
    """What the holder of a run shares with the senders of other machines."""

    def __init__(self, state: State, sharing: Sharing, run: Run, pace: Pace, options: SendOptions, shifts: int) -> None:
        self._state = state
        self._sharing = sharing
        self._run = run
        self._pace = pace
        self._options = options
        self._shifts = shifts
        self._order = Order.of(pace, shifts, options, {})
        self._limiter: DatabaseRateLimiter | None = None
        self._shared: SharedRun | None = None

    @classmethod
    def find(
        cls, state: State, run: Run, pace: Pace, options: SendOptions, *, is_needed: bool = False
    ) -> RunSharing | None:
        """How the run is shared; None where this process is to send it alone, and nobody else does.

        `is_needed` says that workers will come, if there are none.
        """
        sharing = state.sharing
        if sharing is None:
            return None
        shifts = options.shifts
        if run.simulated and not options.environment.get(SANDBOX_URL):  # a sandbox of this process
            if shifts != 0 and sharing.workers():
                log.info("only this command sends: %s names no sandbox that the workers can reach", SANDBOX_URL)
            shifts = 0
        if shifts is None:
            shifts = sum(worker.places for worker in sharing.workers() if not worker.is_draining)
            shifts = max(shifts, 1) if is_needed else shifts
        if pace.per_s is not None:  # more of them would only wait for one another
            shifts = min(shifts, max(1, round(pace.per_s)))
        shifts = min(shifts, MOST_SHIFTS, pace.concurrency or MOST_SHIFTS)  # each has a request in flight
        if not shifts and not sharing.is_shared(run):
            return None
        return cls(state, sharing, run, pace, options, shifts)

    def begin(self, run: Run, held: Mapping[str, str]) -> None:
        """Let others send the run from now on; `held` are the people whom this machine's files hold back."""
        self._run = run
        self._order = Order.of(self._pace, self._shifts, self._options, held)
        self._sharing.share(run, self._order.to_json())

    @contextlib.asynccontextmanager
    async def open_rate_limiter(self, *, resumed: bool) -> AsyncIterator[DatabaseRateLimiter]:
        """The rate limiter of all senders. One that goes on waits a second: somebody may just have sent."""
        self._shared = self._sharing.open(self._run)
        self._limiter = DatabaseRateLimiter(self._pace, self._shared, senders=self._shifts + 1)
        async with self._limiter.opened(begins_in_s=1.0 if resumed else 0.0) as limiter:
            yield limiter

    def make_supervisor(self, below_seq: int | None, on_progress: OnProgress) -> ShiftSupervisor:
        return ShiftSupervisor(self._state, self._run, self._order, below_seq, on_progress)

    def make_observer(self, on_progress: OnProgress, pool: SenderPool | None) -> ShiftObserver:
        """Of this process, where it sends what is left."""
        assert self._limiter is not None  # noqa: S101 (it is open while the run is sent)
        assert self._shared is not None  # noqa: S101
        return ShiftObserver(self._limiter, self._shared, pool, on_progress)

    def halt(self, failure: SenderError) -> None:
        """Let no sender claim more: what stops the run is known here alone."""
        if self._limiter is not None and self._shared is not None:
            halt_all(self._limiter, self._shared, failure)

    async def ask_for_steward(self) -> None:
        """Let a worker see the run to its end."""
        await self._sharing.open_queue().enqueue_steward(self._run.run_id)

    async def leave(self, stopped: SenderError | None, *, is_canceled: bool, is_steward: bool) -> bool:
        """Leave the run to the other machines, if it goes on there, or end it; return whether it goes on.

        `stopped` is what stopped this process: a state that it cannot reach does not stop the others. A steward that is
        canceled leaves the run to the next machine that is there, whenever that is.
        """
        if isinstance(stopped, StateError) and not isinstance(stopped, StateLost):
            return bool(self._shifts)
        run = self._state.ledger.run(self._run.run_id)
        counts = self._state.ledger.counts(run.run_id)
        is_left = bool(counts.pending + counts.intent)
        if is_canceled and stopped is None and is_left and not run.is_held:
            if is_steward:
                return True
            if self._shifts and self._sharing.workers():
                await self.ask_for_steward()
                return True
        self._state.ledger.finish_run(run.run_id)  # before nobody sees to it any more
        self._sharing.end(run, is_over=not is_left)
        return False


def not_shared(run: Run) -> InputError:
    """The error for a run that only this machine can send."""
    if run.simulated:
        return InputError(
            "a rehearsal by other machines needs a sandbox that they can reach",
            fix=f"start `sender sandbox`, and set {SANDBOX_URL} to its address",
        )
    return InputError("only a state in a database can be sent by other machines", fix="name one with --state URL")
