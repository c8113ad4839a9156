"""How a run stands at this moment: the law, how fast it goes, when it will be over, and who is sending it.

Told from the ledger and the plan alone, so that any process may ask while another one sends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from sender.plan.plan import Plan
from sender.reports.figures import Stage, waiting_and_funnel
from sender.reports.results import Summary, summarise
from sender.state.ledger import Counts, Run
from sender.state.locks import Holder
from sender.state.state import State

_WINDOW_S = 15.0  # over which a pace is told
_FRESH_S = 15.0  # after the last message left, the run is no longer under way


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A moment of a run.

    `per_s` is messages a second over the last seconds of sending (None: nothing is being sent). `eta_s` is until the
    last one has been submitted: as the sending process reckons, or else at that pace or the planned one (None: nothing
    is pending, or the pace is unlimited and nothing is being sent). `slowed_to_per_s` is the pace to which the
    provider's refusals hold the sending process (None: to none). `waiting` counts accepted messages without a final
    word.
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

    @property
    def submitted(self) -> int:
        return self.run.messages - self.counts.pending - self.counts.intent

    @property
    def complete(self) -> bool:
        return not self.counts.pending + self.counts.intent


@dataclass(slots=True)
class StatusMonitor:
    """Tells how a run stands, again and again: the plan is opened once, and the pace is that between two looks."""

    state: State
    run: Run
    _plan: Plan | None = None
    _looks: deque[tuple[float, int]] = field(default_factory=deque)

    def look(self, monotonic: Callable[[], float]) -> RunStatus:
        """The run as it stands now. `monotonic` is a clock in seconds. Raises PlanError, StateError."""
        self._plan = plan = self._plan or self.state.plan(self.run)
        ledger = self.state.ledger
        journal = ledger.journal(self.run.run_id)
        summary = summarise(plan, journal)
        counts = ledger.counts(self.run.run_id)
        waiting, funnel = waiting_and_funnel(summary)
        per_s = self._pace(journal, monotonic(), ledger.now_ms() / 1000)
        left = counts.pending + counts.intent
        planned = plan.manifest.expected_s
        holder = self.state.locks.holder(self.run.campaign, self.run.kind)
        told = None if holder is None else self.state.heartbeats.read(self.run)
        eta_s = None
        if left and told is not None and told.eta_s is not None:
            eta_s = told.eta_s
        elif left and per_s:
            eta_s = left / per_s
        elif left and planned is not None:
            eta_s = planned * left / plan.manifest.messages
        return RunStatus(
            run=self.run,
            counts=counts,
            summary=summary,
            funnel=funnel,
            waiting=waiting,
            per_s=per_s,
            eta_s=eta_s,
            slowed_to_per_s=None if told is None else told.slowed_to_per_s,
            holder=holder,
            retries=tuple(one.run_id for one in self.state.retries(self.run)),
            resent=int(journal["resent"].gt(0).sum()),
        )

    def _pace(self, journal: pl.DataFrame, now_s: float, wall_s: float) -> float | None:
        """Messages a second: between looks where there are two apart enough, else by the last intents."""
        last = journal["intent_at"].max()
        if not isinstance(last, datetime) or wall_s - last.timestamp() > _FRESH_S:
            self._looks.clear()
            return None
        self._looks.append((now_s, journal.height))
        while self._looks[-1][0] - self._looks[0][0] > _WINDOW_S:
            self._looks.popleft()
        (before_s, before), (after_s, after) = self._looks[0], self._looks[-1]
        if after_s - before_s >= 2:
            return (after - before) / (after_s - before_s) or None
        recent = journal.filter(pl.col("intent_at") > last - pl.duration(seconds=_WINDOW_S))["intent_at"]
        first = recent.min()
        span_s = (last - first).total_seconds() if isinstance(first, datetime) else 0.0
        return int((recent < last).sum()) / span_s if span_s >= 1 else None
