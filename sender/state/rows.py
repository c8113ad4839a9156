"""Between values and a ledger's rows, in terms every database shares. Performs no I/O and knows no SQL.

A provider's odd value must not cost the record of what it accepted: what cannot be stored is left out.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sender.core.canary import Canary, OutcomeCount
from sender.core.lazy_modules import pl
from sender.core.outcomes import (
    FINAL,
    Accepted,
    Canceled,
    CancelReason,
    Deferred,
    Outcome,
    Reason,
    Rejected,
    Status,
    SubmissionState,
    Unknown,
)
from sender.state.ledger import DOUBTS_SCHEMA, JOURNAL_SCHEMA, Refusals, Run, RunKind
from sender.state.ledger_values import MOVES_SCHEMA

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SettledFields(NamedTuple):
    """What an outcome makes of a message's row, in the order in which a ledger names the columns.

    Times are milliseconds UTC. PENDING alone has `not_before`; ACCEPTED alone has `message_id` and `status`.
    """

    state: SubmissionState
    not_before: int | None = None
    message_id: str | None = None
    status: Status | None = None
    provider_status: str | None = None
    reason: Reason | CancelReason | None = None
    error_code: str | None = None
    error_message: str | None = None
    segments: int | None = None
    price: str | None = None
    currency: str | None = None
    created_at: int | None = None
    sent_at: int | None = None
    final_at: int | None = None
    line_type: str | None = None
    carrier: str | None = None
    smart_encoded: bool | None = None


def run_columns(run: Run) -> tuple[Any, ...]:
    """The columns of a run's row, in the order of the fields of `Run`."""
    values = (getattr(run, each.name) for each in fields(run))
    return tuple(
        cleaned(value) if isinstance(value, str) else canary_text(value) if isinstance(value, Canary) else value
        for value in values
    )


def canary_text(canary: Canary) -> str:
    """The canary as the text in its run's row."""
    return json.dumps(canary.to_dict())


def read_run(row: Sequence[Any]) -> Run:
    """The run with these columns, in the order of `run_columns`."""
    *columns, canary = row
    run = Run(*columns)
    return replace(
        run,
        kind=RunKind(run.kind),
        simulated=bool(run.simulated),
        close_reason=None if run.close_reason is None else CancelReason(run.close_reason),
        canary=None if canary is None else Canary.of(json.loads(canary)),
    )


def settled(outcome: Outcome | Canceled | None, *, due_ms: int, now_ms: int) -> SettledFields:
    """The row of a message with that outcome (None: proved absent); a pending one is due at `due_ms`."""
    match outcome:
        case Accepted():
            return SettledFields(
                SubmissionState.ACCEPTED,
                message_id=cleaned(outcome.message_id),
                status=outcome.status,
                provider_status=cleaned(outcome.provider_status),
                reason=outcome.reason,
                error_code=cleaned(outcome.error_code),
                error_message=cleaned(outcome.error_message),
                segments=uint32(outcome.segments),
                price=cleaned(outcome.price),
                currency=cleaned(outcome.currency),
                created_at=epoch_ms(outcome.created_at),
                sent_at=epoch_ms(outcome.sent_at),
                final_at=now_ms if outcome.status in FINAL else None,
                line_type=outcome.line_type,
                carrier=cleaned(outcome.carrier),
                smart_encoded=outcome.smart_encoded,
            )
        case Rejected():
            return SettledFields(
                SubmissionState.REJECTED,
                reason=outcome.reason,
                error_code=cleaned(outcome.error_code),
                error_message=cleaned(outcome.error_message),
            )
        case Canceled():
            return SettledFields(SubmissionState.CANCELED, reason=outcome.reason, error_message=cleaned(outcome.detail))
        case Deferred():
            return SettledFields(
                SubmissionState.PENDING,
                not_before=due_ms,
                reason=outcome.reason,
                error_code=cleaned(outcome.error_code),
                error_message=cleaned(outcome.error_message),
            )
        case Unknown():
            return SettledFields(
                SubmissionState.UNKNOWN,
                error_code=cleaned(outcome.error_code),
                error_message=cleaned(outcome.error_message),
            )
        case None:
            return SettledFields(SubmissionState.PENDING, not_before=due_ms)


def cleaned(text: str | None) -> str | None:
    """`text` with lone surrogates replaced: an echoed body cut inside an emoji has them, UTF-8 cannot."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()


def uint32(value: int | None) -> int | None:
    """`value` if a column of counts can hold it."""
    return value if value is not None and 0 <= value < 2**32 else None


def epoch_ms(text: str | None) -> int | None:
    """Milliseconds UTC of an ISO 8601 time, None if it is none. A time without a zone is UTC."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
        utc = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # not a time, or outside the years that a datetime has
        return None
    return (utc - _EPOCH) // timedelta(milliseconds=1)


def read_refusals(rows: Iterable[Sequence[Any]]) -> list[Refusals]:
    """Rows of a reason, a code and how many messages have both, as values."""
    return [Refusals(Reason(reason), code, messages) for reason, code, messages in rows]


def read_outcomes(rows: Iterable[Sequence[Any]]) -> list[OutcomeCount]:
    """Rows of a state, a status, a reason and how many messages have them, as values."""
    return [
        OutcomeCount(SubmissionState(state), None if status is None else Status(status), reason, messages)
        for state, status, reason, messages in rows
    ]


def doubts_frame(rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    """Rows in the order of DOUBTS_SCHEMA as the frame."""
    return pl.DataFrame(rows, schema=DOUBTS_SCHEMA, orient="row")


def moves_frame(rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    """Rows in the order of MOVES_SCHEMA, the time as milliseconds, as the frame."""
    schema = {name: pl.Int64() if name == "at" else dtype for name, dtype in MOVES_SCHEMA.items()}
    return pl.DataFrame(rows, schema=schema, orient="row").cast({"at": MOVES_SCHEMA["at"]})


def journal_schema(columns: Collection[str] | None) -> dict[str, Any]:
    """The part of JOURNAL_SCHEMA with these columns; None: all of it. Raises ValueError for one that is not in it."""
    if columns is not None and (others := {*columns} - {*JOURNAL_SCHEMA}):
        raise ValueError(f"the journal has no column {min(others)}")
    return {name: dtype for name, dtype in JOURNAL_SCHEMA.items() if columns is None or name in columns}


def journal_frame(rows: Sequence[tuple[Any, ...]], schema: Mapping[str, Any]) -> pl.DataFrame:
    """`rows`, values in the order of `schema` and times as milliseconds, as a frame of that schema."""
    columns = zip(*rows, strict=True)
    return pl.DataFrame(
        [
            # A column of integers becomes times with one cast; polars would look at each value otherwise. Databases
            # without truth values have 0 and 1.
            pl.Series(name, values, pl.Int64 if isinstance(dtype, (pl.Datetime, pl.Boolean)) else dtype).cast(dtype)
            for (name, dtype), values in zip(schema.items(), columns, strict=True)
        ]
    )
