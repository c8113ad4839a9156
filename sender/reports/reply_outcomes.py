"""Replies as outcomes of an experiment: `experiment.event: reply`, from the replies that a receiver keeps."""

from __future__ import annotations

from datetime import UTC, datetime

from sender.core.experiment import REPLY
from sender.core.lazy_modules import pl
from sender.core.outcomes import SkipReason
from sender.plan.plan import Plan
from sender.reports.reply_table import replies
from sender.state.ledger import Run
from sender.state.recorded_outcomes import OUTCOMES_SCHEMA
from sender.state.state import State

_NO_SUCCESS = ("stop", "review")  # an opt-out, and what may be one


def find_reply_outcomes(state: State, run: Run, plan: Plan) -> pl.DataFrame:
    """Return what people of the run have replied since it began, as OUTCOMES_SCHEMA.

    A reply counts unless it was an opt-out, may be one, or answers a message of another run that came after this one
    began. People who are held out count as those who have a message. Raises StateError.
    """
    began = datetime.fromtimestamp(run.created_at_ms / 1000, UTC)
    own = [run.run_id, *(retry.run_id for retry in state.retries(run))]
    heard = replies(state, since=began).filter(
        (pl.col("simulated") == run.simulated)
        & ~pl.col("meaning").is_in(_NO_SUCCESS).fill_null(value=False)
        & (pl.col("likely_run_id").is_null() | pl.col("likely_run_id").is_in(own) | (pl.col("likely_sent_at") < began))
    )
    drawn = pl.col("seq").is_not_null() | (pl.col("reason") == SkipReason.HOLDOUT.value)
    people = plan.scan().filter(drawn & pl.col("to").is_in(heard["number"].drop_nulls().unique().implode()))
    rows = people.select("row_number", "to").collect().unique("to", keep="first", maintain_order=True)
    found = heard.join(rows, left_on="number", right_on="to")
    return found.select(
        pl.col("row_number").cast(pl.UInt32),
        event=pl.lit(REPLY),
        at_ms=pl.col("heard_at").dt.epoch("ms").cast(pl.Int64),
        value=pl.lit(None, pl.Float64),
    ).select(*OUTCOMES_SCHEMA)
