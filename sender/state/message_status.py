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
    return join_journal(messages, journal).select("row_number", status_of(), pl.col("_reason").alias("reason"))


def join_journal(rows: pl.DataFrame, journal: pl.DataFrame) -> pl.DataFrame:
    """`rows` of a plan in their order, each with the columns that `journal` has of its message, named `_state` and so
    on. They are null where there is no message, or none of the journal's.
    """
    known = journal.select("seq", pl.exclude("seq").name.prefix("_"))
    seqs = known["seq"].cast(pl.Int64)
    if seqs.is_empty() or not (seqs.diff().drop_nulls() == 1).all():
        return rows.join(known, on="seq", how="left", maintain_order="left")
    # The journal of a whole run, or of a part, has a row for each `seq` between its ends: taking them by place is a
    # quarter of the work of looking each up.
    place = pl.col("seq").cast(pl.Int64) - seqs[0]
    places = rows.select(pl.when(place.is_between(0, seqs.len() - 1)).then(place)).to_series()
    return rows.hstack(known.drop("seq").select(pl.all().gather(places)))


def read_journal(
    state: State, run: Run, *, seqs: Collection[int] | None = None, columns: Collection[str] | None = None
) -> pl.DataFrame:
    """The run's journal as people read it, all of it or of `seqs` and `columns`: a message under way is pending while
    a process sends the run.

    Without a process it stays an intent, which is shown as unknown: nobody will record its answer.
    """
    is_sent_now = state.locks.holder(run.campaign, run.kind) is not None
    journal = state.ledger.journal(run.run_id, seqs=seqs, columns=columns)
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
