"""What was known of an experiment when a variant was chosen for everybody: kept with the run that sends it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sender.core.experiment import Experiment
from sender.plan.plan import Plan
from sender.reports.compare_run import compare_run
from sender.reports.comparison import comparison_lines
from sender.state.ledger import Run, RunKind
from sender.state.message_status import read_journal
from sender.state.state import State


def with_evidence(state: State, plan: Plan, kind: RunKind) -> Plan:
    """Return the plan with the comparison of the newest run of its experiment, where everybody gets one variant.

    Unchanged for any other plan, and where no run of that kind has compared anything. Raises StateError and PlanError.
    """
    experiment = Experiment.from_manifest(plan.manifest.experiment)
    if experiment is None or experiment.only is None:
        return plan
    for run in reversed(state.ledger.runs()):
        if run.kind is kind and run.retry_of is None and _has_compared(state, run, experiment.key):
            evidence = _read_evidence(state, run)
            known = {**(plan.manifest.experiment or {}), "evidence": evidence}
            return plan.with_manifest(replace(plan.manifest, experiment=known))
    return plan


def _has_compared(state: State, run: Run, key: str) -> bool:
    manifest = None if state.plans.pruned_at(run) is not None else state.plans.manifest(run)
    other = None if manifest is None else Experiment.from_manifest(manifest.experiment)
    return other is not None and other.key == key and other.only is None and len(other.groups) > 1


def _read_evidence(state: State, run: Run) -> dict[str, Any]:
    comparison = compare_run(state, run, state.plan(run), read_journal(state, run))
    groups, event = ((), None) if comparison is None else (comparison.groups, comparison.event)
    return {
        "run_id": run.run_id,
        "at_ms": state.ledger.now_ms(),
        "event": event,
        "groups": [
            {"name": group.name, "people": group.people, "successes": group.successes, "opt_outs": group.opt_outs}
            for group in groups
        ],
        "lines": [] if comparison is None else [*comparison_lines(comparison)],
    }
