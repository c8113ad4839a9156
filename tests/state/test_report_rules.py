"""What one report changes in one row, rule by rule; tests/state/ledger has the laws over any order of reports."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from sender.core.outcomes import FINAL, RANK, DeliveryReport, Reason, Status, SubmissionState
from sender.state.report_rules import MessageRow, ReportEffect, ReportFields, apply_report

SENT_ROW = MessageRow(SubmissionState.ACCEPTED, 1, "SM1", Status.SENT, "sent", sent_at=5)


def report(status: Status | None = None, **values: object) -> ReportFields:
    fields = ReportFields.of(DeliveryReport("SM1", status, status and status.value), now_ms=10_500)
    return fields._replace(**values)  # type: ignore[arg-type]


def changed(row: MessageRow, fields: ReportFields) -> MessageRow:
    new = apply_report(row, fields)
    assert isinstance(new, MessageRow), new
    return new


@pytest.mark.parametrize(("before", "after"), list(itertools.product(RANK, RANK)))
def test_a_status_moves_forward_by_rank_only(before: Status, after: Status) -> None:
    row = SENT_ROW._replace(status=before, provider_status="x")
    new = apply_report(row, report(after))
    if RANK[after] > RANK[before]:
        assert isinstance(new, MessageRow)
        assert (new.status, new.provider_status) == (after, after.value)
        assert new.final_at == (10_500 if after in FINAL else None)
    else:
        assert new is ReportEffect.SAME


@pytest.mark.parametrize("state", [SubmissionState.UNKNOWN, SubmissionState.PENDING])
@pytest.mark.parametrize("attempts", [0, 1, 3])
def test_a_report_proves_that_it_was_accepted(state: SubmissionState, attempts: int) -> None:
    row = MessageRow(state, attempts, reason=Reason.RATE_LIMITED, error_code="1")
    new = changed(row, report(Status.DELIVERED))
    assert new == MessageRow(
        SubmissionState.ACCEPTED, max(1, attempts), "SM1", Status.DELIVERED, "delivered", final_at=10_500
    )


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(MessageRow(SubmissionState.INTENT, 1), id="on its way"),
        pytest.param(MessageRow(SubmissionState.REJECTED, 1, reason=Reason.BLOCKED), id="rejected"),
        pytest.param(SENT_ROW._replace(message_id="SM2"), id="accepted by another id"),
    ],
)
def test_a_report_that_does_not_fit_is_kept(row: MessageRow) -> None:
    assert apply_report(row, report(Status.DELIVERED)) is ReportEffect.KEPT


@pytest.mark.parametrize(
    ("reported_at", "received_at", "at"),
    [
        pytest.param(None, 10_500, 10_500, id="no time: when it came"),
        pytest.param(7_001, 10_500, 7_001, id="milliseconds are taken as they are"),
        pytest.param(7_000, 10_500, 7_999, id="a whole second is over"),
        pytest.param(10_000, 10_500, 10_500, id="as far as it was when the report came"),
        pytest.param(10_000, 10_999, 10_999, id="to its last millisecond"),
        pytest.param(12_000, 10_500, 12_000, id="by a clock that is ahead"),
    ],
)
def test_when_it_happened(reported_at: int | None, received_at: int, at: int) -> None:
    fields = report(Status.DELIVERED, reported_at=reported_at, received_at=received_at)
    assert changed(SENT_ROW, fields).final_at == at
    sent = changed(SENT_ROW._replace(status=Status.QUEUED, sent_at=None), fields._replace(status=Status.SENT))
    assert (sent.sent_at, sent.final_at) == (at, None)


def test_the_first_sent_time_stays() -> None:
    queued = SENT_ROW._replace(status=Status.QUEUED)
    assert changed(queued, report(Status.SENT)).sent_at == 5
    assert changed(queued, report(Status.DELIVERED, sent_at=9)).sent_at == 5
    assert changed(queued._replace(sent_at=None), report(Status.DELIVERED, sent_at=9)).sent_at == 9
    assert changed(queued._replace(sent_at=None), report(Status.DELIVERED)).sent_at is None


def test_price_and_segments_are_taken_over_without_a_status() -> None:
    delivered = SENT_ROW._replace(status=Status.DELIVERED, price="0.01", currency="USD", segments=1)
    new = changed(delivered, report(price="0.02", currency="EUR", segments=2))
    assert (new.price, new.currency, new.segments, new.status) == ("0.02", "EUR", 2, Status.DELIVERED)
    assert apply_report(delivered, report()) is ReportEffect.SAME
    assert apply_report(delivered, report(currency="EUR")) is ReportEffect.SAME, "a currency alone says nothing"
    assert apply_report(delivered, report(segments=0)) is ReportEffect.SAME


def test_a_status_that_we_do_not_know_is_shown_until_one_is_final() -> None:
    assert changed(SENT_ROW, report(provider_status="carrier_held")).provider_status == "carrier_held"
    delivered = SENT_ROW._replace(status=Status.DELIVERED, provider_status="delivered")
    assert apply_report(delivered, report(provider_status="carrier_held")) is ReportEffect.SAME


def test_the_same_status_fills_in_what_was_missing() -> None:
    failed = SENT_ROW._replace(status=Status.FAILED, provider_status=None, error_code="1")
    new = changed(
        failed, report(Status.FAILED, reason=Reason.BLOCKED, error_code="2", error_message="held", provider_status="f")
    )
    assert (new.provider_status, new.reason, new.error_code, new.error_message) == ("f", Reason.BLOCKED, "1", "held")


def test_what_the_same_status_has_already_stays() -> None:
    failed = SENT_ROW._replace(
        status=Status.FAILED, provider_status="failed", reason=Reason.OTHER, error_code="1", error_message="held"
    )
    other = {"provider_status": "f", "reason": Reason.BLOCKED, "error_code": "2", "error_message": "filtered"}
    assert apply_report(failed, report(Status.FAILED, **other)) is ReportEffect.SAME
    new = changed(failed._replace(error_code=None), report(Status.FAILED, **other))
    assert new == failed._replace(error_code="2")


def test_a_new_status_brings_its_own_reason() -> None:
    row = SENT_ROW._replace(reason=Reason.BLOCKED, error_code="1", error_message="x")
    failed = changed(row, report(Status.FAILED, reason=Reason.LANDLINE, error_code="30006", error_message="landline"))
    assert (failed.reason, failed.error_code, failed.error_message) == (Reason.LANDLINE, "30006", "landline")
    new = changed(row, report(Status.DELIVERED, provider_status=None))
    assert (new.reason, new.error_code, new.error_message) == (None, None, None)
    assert new.provider_status == "sent", "the last one that was named"


def test_a_kept_report_comes_back() -> None:
    fields = report(Status.DELIVERED, reason=Reason.BLOCKED, price="0.01")
    again = ReportFields.read([str(value) if isinstance(value, Status) else value for value in fields])
    assert again == fields
    assert again.status is Status.DELIVERED
    row = MessageRow.read(["accepted", 1, "SM1", "sent", *[None] * 9])
    assert row.state is SubmissionState.ACCEPTED
    assert row.status is Status.SENT


def test_what_the_first_answer_says_of_the_number_stays() -> None:
    said = changed(SENT_ROW, report(line_type="mobile", carrier="ACME", smart_encoded=0))
    assert (said.line_type, said.carrier, said.smart_encoded) == ("mobile", "ACME", 0)
    again = report(line_type="voip", carrier="OTHER", smart_encoded=1)
    assert apply_report(said, again) is ReportEffect.SAME


def test_every_field_of_a_report_is_kept() -> None:
    full = DeliveryReport(
        "SM\ud83d",
        Status.FAILED,
        "failed\ud83d",
        ref="our-ref",
        reason=Reason.BLOCKED,
        error_code="30007\ud83d",
        error_message="\ud83d filtered",
        segments=2,
        price="-0.0075\ud83d",
        currency="USD\ud83d",
        sent_at="1970-01-01T00:00:01.5Z",
        reported_at="1970-01-01T00:00:02",
        line_type="voip",
        carrier="ACME\ud83d",
        smart_encoded=True,
    )
    assert ReportFields.of(full, now_ms=3_000) == (
        "SM?", Status.FAILED, "failed?", Reason.BLOCKED, "30007?", "? filtered", 2, "-0.0075?", "USD?", 1_500, 2_000, 3_000,
        "voip", "ACME?", True,
    )  # fmt: skip
    assert ReportFields.of(DeliveryReport("", None), now_ms=3_000) == ("", *[None] * 10, 3_000, *[None] * 3)
    odd = ReportFields.of(replace(full, segments=-1, sent_at="yesterday", reported_at="soon"), now_ms=0)
    assert (odd.segments, odd.sent_at, odd.reported_at) == (None, None, None)


def test_a_status_of_ours_alone_is_none_in_a_report() -> None:
    fields = ReportFields.of(DeliveryReport("SM1", Status.SKIPPED, "odd"), now_ms=1)
    assert (fields.status, fields.provider_status, fields.received_at) == (None, "odd", 1)
