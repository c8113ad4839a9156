"""What the page shows of a state at one moment, as values. Reads totals that the ledger keeps, and manifests.

No number and no text of a person is among them, unless `people` says so: then what providers said is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sender.core.errors import PlanError
from sender.core.experiment import Experiment
from sender.plan.manifest import Manifest, read_manifest
from sender.reports.canary_lines import canary_lines
from sender.reports.labels import LEADS, describe_held
from sender.reports.status import RunStatus, StatusMonitor
from sender.state.ledger import Counts, Run
from sender.state.state import State
from sender.state.tallies import PaceBin

_OTHERS = 10  # runs that are over, in the list
_BINS = 60  # at most, in the plot
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)


@dataclass(frozen=True, slots=True)
class Row:
    """A run in the list. `status` is None where the run is over, or its plan cannot be read."""

    run: Run
    counts: Counts
    state: str
    status: RunStatus | None

    @property
    def done(self) -> int:
        return self.run.messages - self.counts.pending - self.counts.intent


@dataclass(frozen=True, slots=True)
class Bars:
    """What happened in bins of `step_s` seconds from `start_s` (UTC) on: claimed, delivered and failed messages."""

    start_s: int
    step_s: int
    bins: tuple[PaceBin, ...]

    @property
    def highest(self) -> int:
        return max((max(one.claimed, one.delivered, one.failed) for one in self.bins), default=0)


@dataclass(frozen=True, slots=True)
class Detail:
    """One run, as its own page shows it."""

    row: Row
    now: RunStatus
    manifest: Manifest
    reasons: tuple[tuple[str, str, str, int, str], ...]  # status, reason, code, messages, what the provider said
    held: tuple[str, ...]
    canary: tuple[str, ...]
    variants: tuple[Mapping[str, Any], ...]
    bars: Bars | None
    approved_by: tuple[str, ...]
    leads: Mapping[str, str] = field(default_factory=lambda: LEADS)

    @property
    def news(self) -> str:
        """What a screen reader says when it changes: the state, and each tenth of the way."""
        run = self.row.run
        share = 10 * self.row.done // max(1, run.messages) * 10
        by = f" by {run.paused_by}" if run.paused_by else ""
        return f"Run of {run.campaign}: {self.row.state}{by}, {share} % submitted"


@dataclass(frozen=True, slots=True)
class WrittenPlan:
    """A plan that was written into the state, and who has signed it; `manifest` is None where it is damaged."""

    folder: str
    manifest: Manifest | None
    signed_by: tuple[str, ...]


class Viewer:
    """Reads a state for the page, again and again. Not to be used by two threads at a time."""

    def __init__(self, state: State, *, people: bool) -> None:
        self._state = state
        self._people = people
        self._monitors: dict[str, StatusMonitor] = {}
        self._approved: dict[str, tuple[str, ...]] = {}
        self._bars: dict[str, tuple[float, Bars | None]] = {}

    def rows(self) -> list[Row]:
        """The runs under way, and the last of the others, newest first. Raises StateError."""
        rows: list[Row] = []
        others = 0
        for run in reversed(self._state.ledger.runs()):
            is_over = run.closed_at_ms is not None or run.finished_at_ms is not None
            others += is_over
            if is_over and others > _OTHERS:
                continue
            rows.append(self._row(run))
        return rows

    def detail(self, run_id: str) -> Detail:
        """One run. Raises UnknownRun, PlanError and StateError."""
        monitor = self._monitors.get(run_id) or StatusMonitor(self._state, self._state.ledger.run(run_id))
        self._monitors[run_id] = monitor
        now = monitor.read()
        row = Row(now.run, now.counts, _state_of(now.run, now.counts, now), now)
        errors = sorted(now.summary.errors, key=lambda error: -error.count)
        return Detail(
            row=row,
            now=now,
            manifest=monitor.manifest,
            reasons=tuple(
                (
                    error.status,
                    error.reason or "",
                    error.error_code or "",
                    error.count,
                    (error.example or "") if self._people else "",
                )
                for error in errors
            ),
            held=tuple(describe_held(group) for group in now.held),
            canary=() if now.run.canary is None else tuple(canary_lines(now.run.canary)),
            variants=_variants(monitor.manifest),
            bars=self._read_bars(now.run),
            approved_by=self._read_approvals(now.run),
        )

    def plans(self) -> list[WrittenPlan]:
        """The plans that were written into the state and belong to no run. Raises StateError."""
        signed = {approved.plan: approved.approvals for approved in self._state.approvals.read()}
        plans = []
        for folder in self._state.plans.written():
            names = tuple(each.name for each in signed.get(str(folder), ()))
            try:
                plans.append(WrittenPlan(str(folder), read_manifest(folder), names))
            except PlanError:
                plans.append(WrittenPlan(str(folder), None, names))
        return plans

    def _row(self, run: Run) -> Row:
        counts = self._state.ledger.counts(run.run_id)
        status = None
        if run.closed_at_ms is None and counts.pending + counts.intent:
            monitor = self._monitors.setdefault(run.run_id, StatusMonitor(self._state, run))
            try:
                status = monitor.read()
            except PlanError:
                status = None
        return Row(run, counts, _state_of(run, counts, status), status)

    def _read_approvals(self, run: Run) -> tuple[str, ...]:
        if run.run_id not in self._approved:  # what a run began with does not change
            approval = self._state.approvals.of_run(run)
            names = () if approval is None else tuple(each.name for each in approval.approved.approvals)
            self._approved[run.run_id] = names
        return self._approved[run.run_id]

    def _read_bars(self, run: Run) -> Bars | None:
        """The plot's bins; of a long run they are not read each second."""
        again_s, bars = self._bars.get(run.run_id, (0.0, None))
        if time.monotonic() >= again_s:
            bars = self._make_bars(run)
            step_s = 1 if bars is None else bars.step_s
            self._bars[run.run_id] = (time.monotonic() + min(step_s / 2, 30) if step_s > 1 else 0.0, bars)
        return bars

    def _make_bars(self, run: Run) -> Bars | None:
        ledger = self._state.ledger
        hours = ledger.pace(run.run_id, step_s=3600)
        if not hours:
            return None
        exact = ledger.pace(run.run_id) if len(hours) == 1 else hours
        span_s = exact[-1].at_s - exact[0].at_s + (0 if exact is not hours else 3600)
        step_s = next((step for step in _STEPS_S if span_s < step * (_BINS - 1)), _STEPS_S[-1])
        bins = ledger.pace(run.run_id, step_s=step_s)
        by_start = {one.at_s: one for one in bins}
        start_s, end_s = bins[0].at_s, bins[-1].at_s
        filled = (by_start.get(at_s, PaceBin(at_s, 0, 0, 0)) for at_s in range(start_s, end_s + 1, step_s))
        return Bars(start_s, step_s, tuple(filled))


def _state_of(run: Run, counts: Counts, status: RunStatus | None) -> str:
    """The word for a run's state: closed, complete, paused, sending, or unfinished where no process sends it."""
    if run.closed_at_ms is not None:
        return "closed"
    if not counts.pending + counts.intent:
        return "complete"
    if run.paused_at_ms is not None:
        return "paused"
    return "unfinished" if status is None or status.holder is None else "sending"


def _variants(manifest: Manifest) -> tuple[Mapping[str, Any], ...]:
    experiment = Experiment.from_manifest(manifest.experiment)
    if experiment is None or manifest.experiment is None:
        return ()
    return tuple(
        {"name": entry["name"], "messages": entry["messages"], "weight": experiment.weights[entry["name"]]}
        for entry in manifest.experiment["variants"]
    )
