"""What a state knows of one person: every message to a number in every run, what became of it, and its opt-outs.

Reads plans, ledger and suppression list; writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sender.core.errors import PlanError
from sender.core.frame_schema import TEXTS, FrameSchema
from sender.core.lazy_modules import pl
from sender.core.refs import make_ref
from sender.phone.typed import read_number
from sender.plan.manifest import provider_shown, sender_shown
from sender.state.ledger import Run
from sender.state.message_status import join_journal, status_of
from sender.state.state import State
from sender.suppression.entries import SuppressionEntry
from sender.suppression.suppression_list import SuppressionList

_ROW_SCHEMA = FrameSchema(
    {
        "row_number": "UInt32",
        "seq": "UInt32",
        "body": "String",
        "media": TEXTS,
        "reason": "String",
        "detail": "String",
    }
)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One row of one run about the number. `status` is as in the results file, `skipped` for a row without a message.

    `at` is when the message was last submitted, None if it never was; `final_at` when its status became final. `text`
    is None where there is none, or it was erased. `reason` and `error_message` say why a row was skipped, refused or
    not delivered.
    """

    run_id: str
    campaign: str
    edition: str
    kind: str
    provider: str
    row_number: int
    ref: str | None
    at: datetime | None
    final_at: datetime | None
    status: str
    provider_status: str | None
    reason: str | None
    error_code: str | None
    error_message: str | None
    message_id: str | None
    from_number: str | None
    text: str | None
    media: tuple[str, ...]
    attempts: int


@dataclass(frozen=True, slots=True)
class History:
    """What a state knows of `number`: `messages`, oldest run first, and the suppression list's `entries`, oldest first.

    `unread` are the runs whose plan is gone or damaged: whether they texted the number is not known.
    """

    number: str
    messages: tuple[HistoryEntry, ...]
    entries: tuple[SuppressionEntry, ...]
    unread: tuple[str, ...]


def history(state: State, number: str, *, region: str | None = None) -> History:
    """Return what the state knows of `number`, in any form that a person types.

    `region` (two letters) is the country of a number without its country code. Raises InputError when it cannot be
    read, and StateError.
    """
    e164 = read_number(number, region)
    messages: list[HistoryEntry] = []
    unread: list[str] = []
    for run in state.ledger.runs():
        try:
            messages += _find_entries(state, run, e164)
        except PlanError:
            unread.append(run.run_id)
    with SuppressionList.open(state.where, read_only=True) as suppressions:
        entries = tuple(suppressions.why(e164))
    return History(e164, tuple(messages), entries, tuple(unread))


def _find_entries(state: State, run: Run, number: str) -> Iterator[HistoryEntry]:
    """The rows of the run about the number, in file order. Raises PlanError."""
    manifest = state.plans.manifest(run)
    frames = [_erased_rows(state, run, number)]
    if state.plans.pruned_at(run) is None:
        plan = state.plan(run)
        sender = sender_shown(plan.manifest).alias("from_number")
        frames.append(plan.scan().filter(pl.col("to") == number).select(*_ROW_SCHEMA, sender).collect())
    frame = pl.concat(frames, how="diagonal").sort("row_number")
    if frame.is_empty():
        return
    journal = state.ledger.journal(run.run_id, seqs=frame["seq"].drop_nulls().to_list())
    joined = join_journal(frame, journal).with_columns(
        status=status_of(),
        provider=pl.lit(run.provider) if manifest is None else provider_shown(manifest, route="_route"),
        from_number=pl.coalesce("_sender", pl.when(pl.col("_route").fill_null(0) == 0).then("from_number")),
    )
    for row in joined.iter_rows(named=True):
        yield _entry(run, "" if manifest is None else manifest.edition, row)


def _erased_rows(state: State, run: Run, number: str) -> pl.DataFrame:
    """The rows that were the person's before it was erased from the run's plan, or the plan was pruned."""
    erased, key = state.plans.erased(run), state.people.hash(number)
    rows = erased.filter(pl.col("key") == key) if key is not None else erased.clear()
    blank = {name: dtype for name, dtype in _ROW_SCHEMA.items() if name not in erased.columns}
    blank["from_number"] = pl.String()
    return rows.select("row_number", "seq", *(pl.lit(None, dtype).alias(name) for name, dtype in blank.items()))


def _entry(run: Run, edition: str, row: Mapping[str, Any]) -> HistoryEntry:
    is_message = row["seq"] is not None
    claimed = is_message and bool(row["_attempts"])
    return HistoryEntry(
        run_id=run.run_id,
        campaign=run.campaign,
        edition=edition,
        kind=run.kind.value,
        provider=row["provider"],
        row_number=row["row_number"],
        ref=make_ref(run.run_id, row["seq"]) if is_message else None,
        at=_utc(row["_intent_at"]) if claimed else None,
        final_at=_utc(row["_final_at"]),
        status=row["status"],
        provider_status=row["_provider_status"],
        reason=row["_reason"] if is_message else row["reason"],
        error_code=row["_error_code"],
        error_message=row["_error_message"] if is_message else row["detail"],
        message_id=row["_message_id"],
        from_number=row["from_number"] if is_message else None,
        text=row["body"] if is_message else None,
        media=tuple(row["media"] or ()) if is_message else (),
        attempts=row["_attempts"] or 0,
    )


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone(UTC)
