"""What providers' errors about numbers teach the suppression list."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import polars as pl

from sender.core.outcomes import SubmissionState
from sender.state.ledger import Run
from sender.state.open import open_state
from sender.state.state import State
from sender.suppression.entries import TAUGHT, Refusal
from sender.suppression.live_check import HELD_BACK
from sender.suppression.suppression_list import SuppressionList

_REPORTED_S = 8 * 86_400  # reports about a run may come until so long after it began


def learn_refusals(state: State, run: Run) -> int:
    """Teach the suppression list what the errors of this run say about numbers. Return how many entries were new."""
    refused = state.ledger.journal(run.run_id, reasons=TAUGHT.keys())
    ours = pl.col("error_code").eq_missing(pl.lit(HELD_BACK)) | (pl.col("state") == SubmissionState.CANCELED)
    taught = refused.filter(~ours)
    if taught.is_empty():
        return 0
    rows = (
        state.plan(run)
        .scan()
        .filter(pl.col("seq").is_in(taught["seq"].implode()))
        .filter(pl.col("to").is_not_null())  # else the person was erased
        .select("seq", "to", "from_number")
        .collect()
        .join(taught, on="seq")
        .select(
            *("to", "reason", "error_code", "error_message"),
            pl.coalesce("sender", "from_number"),
            pl.coalesce(
                "final_at", "updated_at"
            ),  # not `updated_at` alone: a price that comes later says nothing about the number
        )
    )
    refusals = (Refusal(*row) for row in rows.iter_rows())
    return SuppressionList(state.suppressions).learn_errors(refusals, provider=run.provider, simulated=run.simulated)


def learn_from_runs(where: str | Path, run_ids: Collection[str | None]) -> None:
    """`learn_refusals` for these runs of the state at `where`; None stands for all that may still be reported on."""
    with open_state(where, create=False) as state:
        since_ms = state.ledger.now_ms() - _REPORTED_S * 1000
        for run in state.ledger.runs():
            if run.run_id in run_ids or (None in run_ids and run.created_at_ms > since_ms):
                learn_refusals(state, run)
