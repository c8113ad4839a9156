"""The results of one run, from its plan and its journal in the state."""

from __future__ import annotations

import polars as pl

from sender.reports.results import merge_retries, results_frame
from sender.reports.summary import Summary, summarise
from sender.state.ledger import Run
from sender.state.state import State


def run_results(state: State, run: Run) -> pl.DataFrame:
    """Every input row of the run with its outcome: the columns of `sender.reports.results.results_frame`."""
    return results_frame(state.plan(run), state.ledger.journal(run.run_id), run.run_id)


def latest_results(state: State, run: Run) -> pl.DataFrame:
    """`run_results`, with each row from the newest retry that sent it."""
    return merge_retries([run_results(state, sent) for sent in (run, *state.retries(run))])


def run_summary(state: State, run: Run) -> Summary:
    """The run in numbers, with the totals that must add up."""
    return summarise(state.plan(run), state.ledger.journal(run.run_id))


def results_and_summary(state: State, run: Run) -> tuple[pl.DataFrame, Summary]:
    """`run_results` and `run_summary` of one moment; the journal (4 s for a million rows) is read once for both."""
    plan, journal = state.plan(run), state.ledger.journal(run.run_id)
    return results_frame(plan, journal, run.run_id), summarise(plan, journal)
