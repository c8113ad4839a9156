"""A message's status for people: what the ledger and the provider know of it, as one of a closed set."""

from __future__ import annotations

from collections.abc import Collection

from sender.core.lazy_modules import pl
from sender.core.outcomes import Status, SubmissionState
from sender.plan.plan import Plan
from sender.state.ledger import Run
from sender.state.state import State


def what_became(plan: Plan, journal: pl.DataFrame) -> pl.DataFrame:
    """`row_number` (UInt32), `status` and `reason` (String) of every message of `plan`, in file order."""
    messages = plan.scan().filter(pl.col("seq").is_not_null()).select("row_number", "seq").collect()
    rows = journal.select("seq", pl.exclude("seq").name.prefix("_"))
    return messages.join(rows, on="seq", how="left", maintain_order="left").select(
        "row_number", status_of(), pl.col("_reason").alias("reason")
    )


def read_journal(state: State, run: Run, *, seqs: Collection[int] | None = None) -> pl.DataFrame:
    """The run's journal as people read it, all of it or of `seqs`: a message under way is pending while a process
    sends the run.

    Without a process it stays an intent, which is shown as unknown: nobody will record its answer.
    """
    is_sent_now = state.locks.holder(run.campaign, run.kind) is not None
    journal = state.ledger.journal(run.run_id, seqs=seqs)
    if not is_sent_now:
        return journal
    under_way = pl.col("state") == SubmissionState.INTENT.value
    return journal.with_columns(state=pl.when(under_way).then(pl.lit(SubmissionState.PENDING.value)).otherwise("state"))


def status_of() -> pl.Expr:
    """`status` of a plan row joined with the journal's `_state` and `_status`."""
    state = pl.col("_state")
    return (
        pl.when(pl.col("seq").is_null())
        .then(pl.lit(Status.SKIPPED.value))
        .when(state == SubmissionState.ACCEPTED)
        .then(pl.coalesce("_status", pl.lit(Status.QUEUED.value)))
        .when(state == SubmissionState.REJECTED)
        .then(pl.lit(Status.REJECTED.value))
        .when(state == SubmissionState.CANCELED)
        .then(pl.lit(Status.CANCELED.value))
        .when(state.is_in([SubmissionState.UNKNOWN.value, SubmissionState.INTENT.value]))
        .then(pl.lit(Status.UNKNOWN.value))
        .otherwise(pl.lit(Status.PENDING.value))
        .alias("status")
    )
