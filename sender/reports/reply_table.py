"""The replies that a state keeps, as a table, each with the message that it most probably answers.

That is an estimate: a text message does not say what it answers. The newest message that left for the person before the
reply was heard is named, from the number that was replied to if there is one. Writes nothing but the file it is given.
"""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from pathlib import Path

from sender.core.errors import PlanError
from sender.core.lazy_modules import pl
from sender.core.outcomes import SubmissionState
from sender.core.output_files import NOTHING_PROTECTED, OutputKind, Protected
from sender.phone.typed import read_number
from sender.plan.manifest import sender_shown
from sender.reports.table_files import read_headers, write_table
from sender.state.ledger import Run
from sender.state.people import as_integer
from sender.state.state import State

# The columns of replies, and their types; those of the message that a reply may answer begin with `likely_`.
REPLIES_SCHEMA = {
    "heard_at": pl.Datetime("ms", "UTC"),
    "written_at": pl.Datetime("ms", "UTC"),
    "number": pl.String(),
    "our_number": pl.String(),
    "provider": pl.String(),
    "text": pl.String(),
    "media": pl.String(),
    "meaning": pl.String(),
    "forwarded": pl.String(),
    "simulated": pl.Boolean(),
    "message_id": pl.String(),
    "likely_campaign": pl.String(),
    "likely_run_id": pl.String(),
    "likely_row_number": pl.UInt32(),
    "likely_message_id": pl.String(),
    "likely_sent_at": pl.Datetime("ms", "UTC"),
}
_LIKELY = [name for name in REPLIES_SCHEMA if name.startswith("likely_")]
_SENT = [SubmissionState.ACCEPTED, SubmissionState.UNKNOWN]
_SENT_SCHEMA = {
    "to": pl.String(),
    "from_number": pl.String(),
    "at": pl.Datetime("ms", "UTC"),
    **{name: REPLIES_SCHEMA[name] for name in _LIKELY},
}


def replies(
    state: State,
    *,
    number: str | None = None,
    campaign: str | None = None,
    since: datetime | None = None,
    region: str | None = None,
) -> pl.DataFrame:
    """Return the replies that the state keeps, as REPLIES_SCHEMA, oldest first.

    Of one `number`, in any form that a person types (`region` is the country of one without its country code), of one
    `campaign` by the estimate of what they answer, and heard `since` then (aware). `media` are URLs with a space
    between them. Raises InputError for a number that cannot be read, and StateError.
    """
    e164 = None if number is None else read_number(number, region)
    since_ms = 0 if since is None else round(since.timestamp() * 1000)
    with closing(state.open_replies()) as store:
        kept = store.kept(number=e164, since_ms=since_ms)
    rows = [
        (
            *(reply.heard_at, reply.written_at, reply.number, reply.our_number, reply.dialect, reply.text),
            *(" ".join(reply.media) or None, reply.meaning, forwarded, reply.simulated, reply.message_id),
        )
        for reply, forwarded in kept
    ]
    schema = {name: dtype for name, dtype in REPLIES_SCHEMA.items() if name not in _LIKELY}
    plain = {name: pl.Int64() if isinstance(dtype, pl.Datetime) else dtype for name, dtype in schema.items()}
    frame = pl.DataFrame(rows, schema=plain, orient="row").with_columns(
        pl.col(name).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC") for name in ("heard_at", "written_at")
    )
    linked = _link(state, frame)
    return linked if campaign is None else linked.filter(pl.col("likely_campaign") == campaign)


def write_replies(
    frame: pl.DataFrame, path: str | Path, protected: Protected = NOTHING_PROTECTED, *, force: bool = False
) -> None:
    """Write replies to a CSV, JSONL, Parquet or Excel file, whole or not at all. Raises InputError as `write_table`."""
    write_table(frame, path, _REPLIES_FILE, protected, force=force)


def _link(state: State, frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with the columns of what each reply may answer; null where nothing is known to have left."""
    sent = _find_sent(state, frame)
    replies = frame.with_row_index("_row").with_columns(at="heard_at", to="number").sort("at")
    ours = replies.join_asof(
        sent.drop_nulls("from_number"),
        on="at",
        by_left=["to", "simulated", "our_number"],
        by_right=["to", "_simulated", "from_number"],
        check_sortedness=False,
    )
    others = replies.join_asof(
        sent.drop("from_number"),
        on="at",
        by_left=["to", "simulated"],
        by_right=["to", "_simulated"],
        check_sortedness=False,
    )
    joined = ours.join(others.select("_row", pl.col(_LIKELY).name.suffix("_any")), on="_row", how="left")
    is_ours = pl.col("likely_run_id").is_not_null()
    chosen = [pl.when(is_ours).then(name).otherwise(f"{name}_any").alias(name) for name in _LIKELY]
    return joined.with_columns(chosen).sort("_row").select(*REPLIES_SCHEMA)


def _find_sent(state: State, frame: pl.DataFrame) -> pl.DataFrame:
    """Every message that left for a number in `frame`, sorted by `at`; `_simulated` as its run was."""
    numbers = frame["number"].drop_nulls().unique()
    parts = [pl.DataFrame(schema={**_SENT_SCHEMA, "_simulated": pl.Boolean()})]
    if not numbers.is_empty():
        for run in state.ledger.runs():
            try:
                parts.append(_find_sent_by(state, run, numbers))
            except PlanError:
                continue  # gone or damaged: what it sent is not known any more
    return pl.concat(parts).sort("at")


def _find_sent_by(state: State, run: Run, numbers: pl.Series) -> pl.DataFrame:
    """What the run has sent to these numbers. Raises PlanError."""
    empty = pl.DataFrame(schema={**_SENT_SCHEMA, "_simulated": pl.Boolean()})
    if state.plans.pruned_at(run) is not None:
        return empty
    plan = state.plan(run)
    messages = plan.scan().filter(pl.col("seq").is_not_null())
    indexed = state.plans.recipients(run)
    if indexed is None:
        people = messages.filter(pl.col("to").is_in(numbers.implode()))
    else:
        asked = pl.DataFrame({"to": numbers}).select(number=as_integer(pl.col("to"))).drop_nulls()
        seqs = indexed.join(asked, on="number", how="semi")["seq"]
        if seqs.is_empty():
            return empty
        people = messages.filter(pl.col("seq").is_in(seqs.implode()))
    rows = people.select("seq", "row_number", "to", sender_shown(plan.manifest).alias("from_number")).collect()
    journal = state.ledger.journal(run.run_id, states=_SENT, seqs=rows["seq"].to_list())
    return rows.join(journal.select("seq", "sender", "message_id", "intent_at"), on="seq").select(
        "to",
        pl.coalesce("sender", "from_number").alias("from_number"),
        pl.col("intent_at").dt.convert_time_zone("UTC").cast(pl.Datetime("ms", "UTC")).alias("at"),
        pl.lit(run.campaign).alias("likely_campaign"),
        pl.lit(run.run_id).alias("likely_run_id"),
        pl.col("row_number").cast(pl.UInt32).alias("likely_row_number"),
        pl.col("message_id").alias("likely_message_id"),
        pl.col("intent_at").dt.convert_time_zone("UTC").cast(pl.Datetime("ms", "UTC")).alias("likely_sent_at"),
        pl.lit(run.simulated).alias("_simulated"),
    )


_REPLIES_FILE = OutputKind("an exported list of replies", lambda file: read_headers(file) == list(REPLIES_SCHEMA))
