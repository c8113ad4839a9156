"""What a delivery report changes in a message's row, in terms every database shares. Performs no I/O, knows no SQL.

The order in which reports arrive does not matter: a status moves forward by rank only, and what comes before the
create's answer has been recorded waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Self

from sender.core.outcomes import FINAL, RANK, DeliveryReport, Reason, Status, SubmissionState
from sender.state.rows import cleaned, epoch_ms, uint32


class ReportEffect(StrEnum):
    """What a report did."""

    APPLIED = "applied"
    SAME = "same"  # it says nothing new
    KEPT = "kept"  # too early, or about a message that is not known here


class MessageRow(NamedTuple):
    """The part of a message's row that reports may change. Times are milliseconds UTC."""

    state: SubmissionState
    attempts: int
    message_id: str | None = None
    status: Status | None = None
    provider_status: str | None = None
    reason: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    segments: int | None = None
    price: str | None = None
    currency: str | None = None
    sent_at: int | None = None
    final_at: int | None = None
    line_type: str | None = None
    carrier: str | None = None
    smart_encoded: int | None = None

    @classmethod
    def read(cls, values: Sequence[Any]) -> Self:
        """The row with these values, in the order of the fields."""
        row = cls(*values)
        return row._replace(state=SubmissionState(row.state), status=row.status and Status(row.status))


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
    line_type: str | None = None
    carrier: str | None = None
    smart_encoded: int | None = None

    @classmethod
    def read(cls, values: Sequence[Any]) -> Self:
        """The report with these values, in the order of the fields."""
        fields = cls(*values)
        return fields._replace(status=fields.status and Status(fields.status))

    @classmethod
    def of(cls, report: DeliveryReport, *, now_ms: int) -> Self:
        """`report`, received at `now_ms`, without what cannot be stored."""
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
            line_type=report.line_type,
            carrier=cleaned(report.carrier),
            smart_encoded=report.smart_encoded,
        )


def apply_report(row: MessageRow, report: ReportFields) -> MessageRow | ReportEffect:
    """The row after `report`; or why it stays as it is.

    - accepted, with this id: the status moves forward by rank; price and segments are taken over.
    - unknown, pending or canceled: a report is about a message the provider has, so it was accepted, and must not
      leave again.
    - intent: a request is on its way, or its process died; its outcome is written first.
    - rejected, or accepted with another id: it contradicts what is known, and changes nothing.
    """
    match row.state:
        case SubmissionState.ACCEPTED if row.message_id == report.message_id:
            new = _move_forward(row, report)
            return ReportEffect.SAME if new == row else new
        case SubmissionState.UNKNOWN | SubmissionState.PENDING | SubmissionState.CANCELED:
            bare = MessageRow(SubmissionState.ACCEPTED, max(1, row.attempts), report.message_id, Status.QUEUED)
            return _move_forward(bare, report)
        case _:
            return ReportEffect.KEPT


def _move_forward(row: MessageRow, report: ReportFields) -> MessageRow:
    if row.status is None:  # cannot be: an accepted row has one
        return row
    known = row._replace(
        segments=report.segments or row.segments,
        price=row.price if report.price is None else report.price,
        currency=row.currency if report.price is None else report.currency,
        sent_at=report.sent_at if row.sent_at is None else row.sent_at,
        line_type=row.line_type or report.line_type,
        carrier=row.carrier or report.carrier,
        smart_encoded=report.smart_encoded if row.smart_encoded is None else row.smart_encoded,
    )
    if report.status is None:  # a status that we do not know
        final = row.status in FINAL or report.provider_status is None
        return known if final else known._replace(provider_status=report.provider_status)
    if report.status is row.status:  # a log may have the text or the code that a callback left out
        return known._replace(
            provider_status=row.provider_status or report.provider_status,
            reason=row.reason or report.reason,
            error_code=row.error_code or report.error_code,
            error_message=row.error_message or report.error_message,
        )
    if RANK[report.status] <= RANK[row.status]:
        return known
    at = _event_time_ms(report)
    if known.sent_at is None and report.status is Status.SENT:
        known = known._replace(sent_at=at)
    return known._replace(
        status=report.status,
        provider_status=report.provider_status or row.provider_status,
        reason=report.reason,
        error_code=report.error_code,
        error_message=report.error_message,
        final_at=at if report.status in FINAL else None,
    )


def _event_time_ms(report: ReportFields) -> int:
    """When the report's event happened.

    Most providers cut times off to whole seconds. Such a second counts as over, or as far as it was when the report
    came: otherwise messages would arrive before they leave.
    """
    if report.reported_at is None:
        return report.received_at
    if report.reported_at % 1000:
        return report.reported_at
    return max(report.reported_at, min(report.received_at, report.reported_at + 999))
