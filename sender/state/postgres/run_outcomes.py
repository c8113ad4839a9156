"""What people did after a run: a file of the run, in the database and copied to this machine as all are."""

from __future__ import annotations

import polars as pl

from sender.state.files.outcome_files import OUTCOMES_FILE, OutcomeFiles
from sender.state.ledger import Run
from sender.state.postgres.plans import PlanRowsStore


class OutcomesOfRuns:
    """The outcomes of one state. An `OutcomeStore`."""

    def __init__(self, plans: PlanRowsStore, copies: OutcomeFiles) -> None:
        """`copies` are this machine's, in the folders of `plans`."""
        self._plans = plans
        self._copies = copies

    def add(self, run: Run, outcomes: pl.DataFrame) -> int:
        return self._plans.change(run, (OUTCOMES_FILE,), lambda: self._copies.add(run, outcomes))

    def read(self, run: Run) -> pl.DataFrame:
        self._plans.fetch(run, (OUTCOMES_FILE,))
        return self._copies.read(run)
