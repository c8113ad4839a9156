"""What a delivery report makes of a message's row, in words every database shares. Performs no I/O, knows no SQL.

The order in which reports arrive does not matter: a status moves forward by rank only, and what comes before the
create's answer has been recorded waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Self

from sender.core.outcomes import FINAL, RANK, DeliveryReport, Reason, State, Status
from sender.state.rows import cleaned, epoch_ms, uint32


class ReportEffect(StrEnum):
    """What became of a report."""

    APPLIED = "applied"
    SAME = "same"  # it says nothing new
    KEPT = "kept"  # too early, or about a message that is not known here


class MessageRow(NamedTuple):
    """The part of a message's row that reports may change. Times are milliseconds UTC."""

    state: State
    attempts: int
    message_id: str | None = None
    status: Status | None = None
    provider_status: str | None = None
    reason: Reason | None = None
    error_code: str | None = None
    error_message: str | None = None
    segments: int | None = None
    price: str | None = None
    currency: str | None = None
    sent_at: int | None = None
    final_at: int | None = None

    @classmethod
    def read(cls, values: Sequence[Any]) -> Self:
        """From a row's values in this order."""
        row = cls(*values)
        return row._replace(state=State(row.state), status=row.status and Status(row.status))


class ReportFields(NamedTuple):
    """A report as a ledger keeps it. Times are milliseconds UTC."""

    message_id: str
    status: Status | None
    provider_status: str | None
    reason: Reason | None
    error_code: str | None
    error_message: str | None
    segments: int | None
    price: str | None
    currency: str | None
    sent_at: int | None
    reported_at: int | None
    received_at: int

    @classmethod
    def read(cls, values: Sequence[Any]) -> Self:
        """From a kept report's values in this order."""
        told = cls(*values)
        return told._replace(status=told.status and Status(told.status))

    @classmethod
    def of(cls, report: DeliveryReport, *, now_ms: int) -> Self:
        return cls(
            message_id=cleaned(report.message_id) or "",
            status=report.status if report.status in RANK else None,
            provider_status=cleaned(report.provider_status),
            reason=report.reason,
            error_code=cleaned(report.error_code),
            error_message=cleaned(report.error_message),
            segments=uint32(report.segments),
            price=cleaned(report.price),
            currency=cleaned(report.currency),
            sent_at=epoch_ms(report.sent_at),
            reported_at=epoch_ms(report.reported_at),
            received_at=now_ms,
        )


def apply_report(row: MessageRow, told: ReportFields) -> MessageRow | ReportEffect:
    """The row once `told` has been heard; else why it stays as it is.

    - accepted, with this id: the status moves forward by rank, the price and segments are taken over.
    - unknown, or pending: a report is about a message the provider has, so it was accepted, and must not leave again.
    - intent: a request is on its way, or its process died; its outcome is written first.
    - rejected, or accepted with another id: it contradicts what is known, and changes nothing.
    """
    match row.state:
        case State.ACCEPTED if row.message_id == told.message_id:
            new = _moved(row, told)
            return ReportEffect.SAME if new == row else new
        case State.UNKNOWN | State.PENDING:
            bare = MessageRow(State.ACCEPTED, max(1, row.attempts), told.message_id, Status.QUEUED)
            return _moved(bare, told)
        case _:
            return ReportEffect.KEPT


def _moved(row: MessageRow, told: ReportFields) -> MessageRow:
    if row.status is None:  # an accepted row has one
        return row
    known = row._replace(
        segments=told.segments or row.segments,
        price=row.price if told.price is None else told.price,
        currency=row.currency if told.price is None else told.currency,
        sent_at=told.sent_at if row.sent_at is None else row.sent_at,
    )
    if told.status is None:  # a word we do not know
        final = row.status in FINAL or told.provider_status is None
        return known if final else known._replace(provider_status=told.provider_status)
    if told.status is row.status:  # a log may tell the sentence, or the word, that a callback did not
        return known._replace(
            provider_status=row.provider_status or told.provider_status,
            reason=row.reason or told.reason,
            error_code=row.error_code or told.error_code,
            error_message=row.error_message or told.error_message,
        )
    if RANK[told.status] <= RANK[row.status]:
        return known
    at = _when(told)
    if known.sent_at is None and told.status is Status.SENT:
        known = known._replace(sent_at=at)
    return known._replace(
        status=told.status,
        provider_status=told.provider_status or row.provider_status,
        reason=told.reason,
        error_code=told.error_code,
        error_message=told.error_message,
        final_at=at if told.status in FINAL else None,
    )


def _when(told: ReportFields) -> int:
    """When it happened. Most providers tell whole seconds, cut off: such a second counts as over, or as far as it was
    when the report came, or else messages would have arrived before they left."""
    if told.reported_at is None:
        return told.received_at
    if told.reported_at % 1000:
        return told.reported_at
    return max(told.reported_at, min(told.received_at, told.reported_at + 999))
