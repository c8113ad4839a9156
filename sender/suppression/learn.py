"""What providers say about numbers, in errors and in answers, and the suppression list learns of it."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from sender.core.lazy_modules import pl
from sender.core.outcomes import HELD_BACK, SubmissionState
from sender.state.ledger import Run
from sender.state.number_facts import ANSWER, NumberFacts
from sender.state.open import open_state
from sender.state.state import State
from sender.suppression.entries import FIXED_LINE, TAUGHT, Refusal, known_landline
from sender.suppression.suppression_list import SuppressionList

_REPORTED_S = 8 * 86_400  # reports about a run may come until so long after it began


def learn_refusals(state: State, run: Run) -> int:
    """Teach the suppression list what the answers of this run say about numbers. Return how many entries were new."""
    refused = state.ledger.journal(run.run_id, reasons=TAUGHT.keys())
    ours = pl.col("error_code").eq_missing(pl.lit(HELD_BACK)) | (pl.col("state") == SubmissionState.CANCELED)
    return _learn_errors(state, run, refused.filter(~ours)) + _learn_landlines(state, run)


def _learn_errors(state: State, run: Run, taught: pl.DataFrame) -> int:
    if taught.is_empty():
        return 0
    providers = [route.provider for route in state.ledger.routes(run.run_id)] or [run.provider]
    parts = [(provider, taught.filter(route=place)) for place, provider in enumerate(providers)]
    return sum(_learn_from(state, run, rows, provider) for provider, rows in parts if not rows.is_empty())


def _learn_from(state: State, run: Run, taught: pl.DataFrame, provider: str) -> int:
    planned = pl.when(pl.col("route") == 0).then("from_number")  # the plan's numbers are those of the first route
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
            pl.coalesce("sender", planned),
            pl.coalesce(
                "final_at", "updated_at"
            ),  # not `updated_at` alone: a price that comes later says nothing about the number
        )
    )
    refusals = (Refusal(*row) for row in rows.iter_rows())
    return SuppressionList(state.suppressions).learn_errors(refusals, provider=provider, simulated=run.simulated)


def _learn_landlines(state: State, run: Run) -> int:
    """Enter numbers that the provider calls landlines, though it has accepted a message to them (Telnyx).

    What it says of these and of other numbers that are no mobiles is kept, too, for `recipients.skip_types`.
    """
    typed = state.ledger.typed_numbers(run.run_id)
    if typed.is_empty():
        return 0
    scan = state.plan(run).scan().filter(pl.col("seq").is_in(typed["seq"].implode()))
    people = scan.filter(pl.col("to").is_not_null()).select("seq", "to").collect().join(typed, on="seq")
    with closing(state.open_numbers()) as known:
        known.put(
            NumberFacts(to, run.simulated, ANSWER, run.provider, at_ms, line_type, carrier)
            for to, line_type, carrier, at_ms in people.select("to", "line_type", "carrier", "at_ms").iter_rows()
        )
    people = people.filter(pl.col("line_type") == FIXED_LINE)
    entries = (
        known_landline(to, run.provider, carrier, datetime.fromtimestamp(at_ms / 1000, UTC), simulated=run.simulated)
        for to, carrier, at_ms in people.select("to", "carrier", "at_ms").iter_rows()
    )
    return SuppressionList(state.suppressions).restore(entries)


def learn_from_runs(where: str | Path, run_ids: Collection[str | None]) -> None:
    """`learn_refusals` for these runs of the state at `where`; None stands for all that may still be reported on."""
    with open_state(where, create=False) as state:
        since_ms = state.ledger.now_ms() - _REPORTED_S * 1000
        for run in state.ledger.runs():
            if run.run_id in run_ids or (None in run_ids and run.created_at_ms > since_ms):
                learn_refusals(state, run)
