"""The status of a run: its totals, its speed, when it will be over, and which process is sending it.

Read from the ledger, the plan and the heartbeat file alone, so that any process may ask while another one sends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sender.core import clock as system_clock
from sender.core.lazy_modules import pl
from sender.plan.plan import Plan
from sender.plan.waves import HeldMessages
from sender.reports.funnel import Stage, count_waiting, make_funnel
from sender.reports.held import find_held
from sender.reports.summary import Summary, summarise
from sender.state.ledger import Counts, Run
from sender.state.locks import Holder
from sender.state.message_status import read_journal
from sender.state.state import State

_WINDOW_S = 15.0  # over which the speed is measured
_FRESH_S = 15.0  # after the last intent, nothing is being sent any more


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The status of a run at one moment.

    `per_s` is messages a second over the last seconds of sending (None: nothing is being sent). `eta_s` is the time
    until the last message has been submitted, as the sending process estimates it, or else at `per_s` or the planned
    rate (None: nothing is pending, or the rate is unlimited and nothing is being sent). `slowed_to_per_s` is the rate
    to which the provider's refusals have slowed the sending process (None: they have not). `waiting` counts accepted
    messages without a final status. `held` are the messages that wait for their window, those that open first first.
    """

    run: Run
    counts: Counts
    summary: Summary
    funnel: tuple[Stage, ...]
    waiting: int
    per_s: float | None
    eta_s: float | None
    slowed_to_per_s: float | None
    holder: Holder | None
    retries: tuple[str, ...]
    resent: int
    held: tuple[HeldMessages, ...] = ()

    @property
    def submitted(self) -> int:
        return self.run.messages - self.counts.pending - self.counts.intent

    @property
    def complete(self) -> bool:
        return not self.counts.pending + self.counts.intent


@dataclass(slots=True)
class StatusMonitor:
    """Reads a run's status again and again: the plan is opened once, and the speed is measured between readings."""

    state: State
    run: Run
    _plan: Plan | None = None
    _readings: deque[tuple[float, int]] = field(default_factory=deque)

    def read(self, clock: Callable[[], float]) -> RunStatus:
        """Return the run's status now. `clock` is a monotonic clock in seconds. Raises PlanError, StateError."""
        self._plan = plan = self._plan or self.state.plan(self.run)
        ledger = self.state.ledger
        self.run = ledger.run(self.run.run_id)  # it may have been paused or closed meanwhile
        journal = read_journal(self.state, self.run)
        summary = summarise(plan, journal)
        counts = ledger.counts(self.run.run_id)
        per_s = self._measure_rate(journal, clock(), ledger.now_ms() / 1000)
        holder = self.state.locks.holder(self.run.campaign, self.run.kind)
        heartbeat = None if holder is None else self.state.heartbeats.read(self.run)
        eta_s = None if heartbeat is None else heartbeat.eta_s
        left = counts.pending + counts.intent
        now_ms = system_clock.time_of_day_ms()
        held = find_held(plan.manifest.waves, journal, now_ms)
        if held:  # nobody knows more than when the last of them may leave
            eta_s = max(eta_s or 0.0, (held[-1].until_ms - now_ms) / 1000)
        return RunStatus(
            run=self.run,
            counts=counts,
            summary=summary,
            funnel=make_funnel(summary),
            waiting=count_waiting(summary),
            per_s=per_s,
            eta_s=eta_s if left and eta_s is not None else _estimate_s(left, per_s, plan),
            slowed_to_per_s=None if heartbeat is None else heartbeat.slowed_to_per_s,
            holder=holder,
            retries=tuple(retry.run_id for retry in self.state.retries(self.run)),
            resent=int(journal["resent"].gt(0).sum()),
            held=held,
        )

    def _measure_rate(self, journal: pl.DataFrame, now_s: float, wall_s: float) -> float | None:
        """Messages a second: between two readings far enough apart, else by the last intents."""
        last = journal["intent_at"].max()
        if not isinstance(last, datetime) or wall_s - last.timestamp() > _FRESH_S:
            self._readings.clear()
            return None
        self._readings.append((now_s, journal.height))
        while self._readings[-1][0] - self._readings[0][0] > _WINDOW_S:
            self._readings.popleft()
        (before_s, before), (after_s, after) = self._readings[0], self._readings[-1]
        if after_s - before_s >= 2:
            return (after - before) / (after_s - before_s) or None
        recent = journal.filter(pl.col("intent_at") > last - pl.duration(seconds=_WINDOW_S))["intent_at"]
        first = recent.min()
        span_s = (last - first).total_seconds() if isinstance(first, datetime) else 0.0
        return int((recent < last).sum()) / span_s if span_s >= 1 else None


def _estimate_s(left: int, per_s: float | None, plan: Plan) -> float | None:
    """Seconds until `left` messages have been submitted, at `per_s` or else the planned rate; None if neither says."""
    if not left:
        return None
    if per_s:
        return left / per_s
    planned_s = plan.manifest.expected_s
    return None if planned_s is None else planned_s * left / plan.manifest.messages
