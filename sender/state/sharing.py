"""What several machines that send one run share, where the state is in a database: orders, rates, halts, who is there.

The ledger alone decides who sends which message. Nothing here is needed for the guarantee: it may be late or lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from sender.state.ledger import Run


@dataclass(frozen=True, slots=True)
class SlotRequest:
    """A message that is to leave: its units, its number, and the seconds that it costs the number and the queue."""

    units: float
    number: str | None = None
    number_cost_s: float = 0.0
    queue_cost_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RateState:
    """A run's rate limiter, as the database has it. Times are seconds by the database's clock.

    `per_s` is the account's rate (0: none), `share` the part of it in use since `share_at`; `dues` are by number.
    """

    now_s: float
    per_s: float
    due_s: float
    queue_due_s: float
    paused_until_s: float
    share: float
    share_at_s: float
    cut_at_s: float
    dues_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SharedNews:
    """What the other senders of a run have said: `halted` is the error that stops all, as `SenderError.to_dict`."""

    halted: str | None
    senders_out: Mapping[str, str]
    rate: RateState | None


@dataclass(frozen=True, slots=True)
class ShiftOrder:
    """What the senders of a run are to do. `text` is theirs, `below_seq` bounds what may be claimed now."""

    run_id: str
    text: str
    below_seq: int | None
    halted: str | None
    is_ended: bool


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A machine's `sender worker`. `since_ms` and `seen_ago_s` are by the database's clock."""

    host: str
    pid: int
    places: int
    since_ms: int
    seen_ago_s: float
    is_draining: bool


@dataclass(frozen=True, slots=True)
class ShiftRow:
    """A process that takes part in sending a run; `sent` is what has left it."""

    run_id: str
    host: str
    pid: int
    since_ms: int
    seen_ago_s: float
    sent: int
    in_flight: int


class SharedRun(Protocol):
    """One run as one of its senders sees it, by a connection of its own. May be used by one thread at a time."""

    def begin_rate(self, per_s: float, *, wait_s: float) -> None:
        """Set the account's rate (0: none). Nothing leaves within `wait_s`, for what left before."""
        ...

    def take_slots(
        self, wanted: Sequence[SlotRequest], *, queue_slack_s: float, margin: float
    ) -> tuple[RateState | None, list[float]]:
        """The state, and when each of `wanted` may leave, the next ones first; fewer where the others are far away.

        `margin` is by how much the rate is stretched.
        """
        ...

    def slow_down(self, retry_after_s: float, *, again_after_s: float, observed_per_s: float) -> bool:
        """Pause all, then halve the rate; False where it was halved within `again_after_s`: then only the pause."""
        ...

    def set_queue_due(self, ago_s: float) -> None:
        """Let the provider's queue have room since `ago_s` seconds ago, at least."""
        ...

    def look(self) -> SharedNews:
        """What the others have said."""
        ...

    def halt(self, error: str) -> None:
        """Let nobody claim more, because of that error."""
        ...

    def disable_sender(self, number: str, why: str) -> None:
        """Let nobody send from this number."""
        ...

    def beat(self, *, sent: int, in_flight: int) -> None:
        """Say that this sender is there."""
        ...

    def close(self) -> None:
        """Say goodbye."""
        ...


@dataclass(frozen=True, slots=True)
class Jobs:
    """A run's jobs at the engine: shifts that wait for a worker, shifts at work, and whether it has a steward."""

    waiting: int
    at_work: int
    has_steward: bool


Handler = Callable[[str], Awaitable[None]]


class ShiftQueue(Protocol):
    """The engine that hands out work. It may lose or double anything: then the speed changes, and no more."""

    async def check(self) -> None:
        """Raise StateError where the engine cannot be used: where its tables are of an older version, for one."""
        ...

    async def enqueue_shifts(self, run_id: str, count: int) -> None:
        """Ask for `count` senders of the run."""
        ...

    async def enqueue_steward(self, run_id: str) -> None:
        """Ask for somebody who sees the run to its end; once, however often it is asked for."""
        ...

    async def cancel(self, run_id: str) -> None:
        """Take back what no worker has taken yet."""
        ...

    async def jobs(self, run_id: str) -> Jobs:
        """What there is of the run."""
        ...

    async def run_worker(
        self, on_shift: Handler, on_steward: Handler, *, places: int, is_stopped: Callable[[], bool]
    ) -> None:
        """Take jobs until `is_stopped`, then wait for those at work.

        At once it takes `places` shifts, and a steward. Raises StateError when the connection breaks.
        """
        ...


class Sharing(Protocol):
    """The runs of one state that several machines send."""

    def share(self, run: Run, text: str) -> None:
        """Let others send the run, which this process holds, as `text` says.

        It is a JSON object. Where it has `held`, an object, its keys are numbers of people: `erase` drops them.
        """
        ...

    def erase(self, run: Run, number: str) -> None:
        """Drop a person's number from what the run's senders are to do. Call it only while holding the run's lock.

        Nobody may be able to send to the number any more: it may be there because nobody should.
        """
        ...

    def is_shared(self, run: Run) -> bool:
        """Whether others may be sending the run's campaign."""
        ...

    def join(self, run: Run) -> AbstractContextManager[None]:
        """Send the run with the others. Raises RunLocked where it is not shared."""
        ...

    def set_bound(self, run: Run, below_seq: int | None) -> None:
        """Let only what is below `below_seq` be claimed by those who begin from now on."""
        ...

    def end(self, run: Run, *, is_over: bool) -> None:
        """Note that nobody need see to the run any more; where it is over, forget what its senders shared."""
        ...

    def order(self, run_id: str) -> ShiftOrder | None:
        """What the run's senders are to do; None where it was never shared."""
        ...

    def unattended(self) -> list[str]:
        """The runs that are shared, have not ended, and that no process sees to the end now."""
        ...

    def open(self, run: Run) -> SharedRun:
        """A handle for one sender; the caller closes it."""
        ...

    def open_queue(self) -> ShiftQueue:
        """The engine."""
        ...

    def note_worker(self, worker: str, *, places: int, is_draining: bool) -> None:
        """Say that this machine's worker is there."""
        ...

    def forget_worker(self, worker: str) -> None:
        """It is gone."""
        ...

    def workers(self) -> list[WorkerRow]:
        """The workers seen lately, the one that has been there longest first."""
        ...

    def shifts(self, run_id: str | None = None) -> list[ShiftRow]:
        """The senders seen lately, of one run or of all."""
        ...
