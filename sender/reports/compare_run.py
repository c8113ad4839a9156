"""The comparison of a run's groups, from what its state knows: imported outcomes, and opt-outs that were heard."""

from __future__ import annotations

import polars as pl

from sender.core.clock import wall_clock_ms
from sender.core.experiment import REPLY
from sender.core.outcomes import SkipReason
from sender.plan.plan import Plan
from sender.reports.comparison import Comparison, compare_groups
from sender.state.ledger import Run
from sender.state.state import State

_HEARD = ("reply", "provider_error")


def compare_run(state: State, run: Run, plan: Plan, journal: pl.DataFrame) -> Comparison | None:
    """Return the comparison of the run's groups; None for a run without an experiment. Raises StateError."""
    if plan.manifest.experiment is None:
        return None
    heard = [
        (number, at)
        for number, _, reason, source, _, at, _ in state.suppressions.active()
        if reason == SkipReason.OPTED_OUT and source in _HEARD
    ]
    opt_outs = pl.DataFrame(heard, schema={"to": pl.String, "at_ms": pl.Int64}, orient="row")
    outcomes = state.outcomes.read(run)
    if plan.manifest.experiment.get("event") == REPLY:
        from sender.reports.reply_outcomes import find_reply_outcomes  # noqa: PLC0415 (slow to load, and rarely asked)

        outcomes = pl.concat([outcomes, find_reply_outcomes(state, run, plan)])
    return compare_groups(plan, journal, run, outcomes, opt_outs, now_ms=wall_clock_ms()())
