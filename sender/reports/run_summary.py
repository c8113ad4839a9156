"""The summary of one run, from the totals that its ledger keeps: it takes as long for a million messages as for ten."""

from __future__ import annotations

from sender.core.lazy_modules import pl
from sender.core.outcomes import Status
from sender.plan.manifest import Manifest
from sender.reports.summary import Summary, summarise_kept
from sender.state.ledger import Run
from sender.state.state import State
from sender.state.tallies import Totals


def run_summary(state: State, run: Run) -> Summary:
    """The run in numbers, with the totals that must add up. Raises PlanError, StateError."""
    manifest = read_manifest(state, run)
    is_sent_now = state.locks.holder(run.campaign, run.kind) is not None
    return summarise_totals(state, run, manifest, state.ledger.totals(run.run_id), is_sent_now=is_sent_now)


def read_manifest(state: State, run: Run) -> Manifest:
    """The manifest of the run's plan. Raises PlanError where there is none."""
    return state.plans.manifest(run) or state.plan(run).manifest


def summarise_totals(state: State, run: Run, manifest: Manifest, totals: Totals, *, is_sent_now: bool) -> Summary:
    """The summary of `totals`: a message under way is pending while a process sends the run, and unknown otherwise."""

    def planned_segments() -> int:
        seqs = state.ledger.without_segments(run.run_id)
        rows = state.plan(run).scan().filter(pl.col("seq").is_in(seqs.implode()))
        return int(rows.select(pl.col("segments").sum()).collect().item())

    under_way = Status.PENDING if is_sent_now else Status.UNKNOWN
    return summarise_kept(manifest, totals, under_way=under_way, planned_segments=planned_segments)
