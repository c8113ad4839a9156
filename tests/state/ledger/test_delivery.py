"""What every ledger makes of delivery reports, whatever keeps it."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sender.core.outcomes import Accepted, Deferred, DeliveryReport, Outcome, Reason, Rejected, Status, Unknown
from sender.state.ledger import Claim, Ledger, LogFinding, ReceivedReport, ReportCounts, Run, RunKind, Settlement
from tests.profiles import examples

NOON_MS = 1_767_268_800_000  # 2026-01-01T12:00Z
RUN = Run("run-1", "welcome", RunKind.LIVE, "twilio", "9f86", None, 10, 10, 0, NOON_MS)
QUEUED, SENT, DELIVERED = (
    DeliveryReport("SM0", Status.QUEUED, "sending", segments=2),
    DeliveryReport("SM0", Status.SENT, "sent", price="-0.0075", currency="USD"),
    DeliveryReport("SM0", Status.DELIVERED, "delivered"),
)
FAILED = DeliveryReport(
    "SM0", Status.FAILED, "failed", reason=Reason.UNREACHABLE, error_code="30003", error_message="Unreachable."
)
UNCONFIRMED = DeliveryReport("SM0", Status.UNCONFIRMED)
STRANGE_WORD = DeliveryReport("SM0", None, "teleported")
OUTCOMES: dict[str, Outcome] = {
    "accepted": Accepted("SM0", provider_status="queued"),
    "unknown": Unknown("read timeout"),
    "deferred": Deferred(Reason.RATE_LIMITED, "20429", "too many requests"),
    "rejected": Rejected(Reason.BLOCKED, "21610", "blocked"),
}


@pytest.fixture
def ledger(store: Any) -> Ledger:
    """One handle on a ledger that holds RUN."""
    ledger: Ledger = store.open()
    ledger.create_run(RUN)
    return ledger


def claim(ledger: Ledger, limit: int = 1) -> list[Claim]:
    return ledger.claim(RUN.run_id, limit=limit, lease_ms=60_000)


def settle(ledger: Ledger, outcome: Outcome) -> None:
    (one,) = claim(ledger)
    ledger.record(RUN.run_id, [Settlement(one, outcome)])


def tell(ledger: Ledger, *reports: DeliveryReport, seq: int | None = 0) -> ReportCounts:
    run_id = RUN.run_id if seq is not None else None
    return ledger.record_reports([ReceivedReport(report, run_id, seq) for report in reports])


def row(ledger: Ledger, seq: int = 0) -> dict[str, Any]:
    return ledger.journal(RUN.run_id).row(by_predicate=pl.col("seq") == seq, named=True)


def status(ledger: Ledger, seq: int = 0) -> tuple[str | None, str | None, str | None]:
    found = row(ledger, seq)
    return found["state"], found["status"], found["provider_status"]


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


@pytest.mark.parametrize(
    ("reports", "ends"),
    [
        pytest.param([SENT], ("sent", "sent"), id="forward"),
        pytest.param([DELIVERED], ("delivered", "delivered"), id="a step is missing"),
        pytest.param([DELIVERED, SENT, QUEUED], ("delivered", "delivered"), id="reordered"),
        pytest.param([SENT, SENT, DELIVERED, DELIVERED], ("delivered", "delivered"), id="doubled"),
        pytest.param([DELIVERED, FAILED], ("delivered", "delivered"), id="the first final one holds"),
        pytest.param([FAILED, DELIVERED], ("failed", "failed"), id="whichever it is"),
        pytest.param([SENT, UNCONFIRMED], ("unconfirmed", "sent"), id="no receipt came"),
        pytest.param([UNCONFIRMED, SENT], ("unconfirmed", "queued"), id="and a late word is late"),
        pytest.param([UNCONFIRMED, DELIVERED], ("delivered", "delivered"), id="but a receipt is a receipt"),
        pytest.param([STRANGE_WORD], ("queued", "teleported"), id="an unknown word is kept and changes nothing"),
        pytest.param([DELIVERED, STRANGE_WORD], ("delivered", "delivered"), id="and does not hide the last one"),
        pytest.param([replace(SENT, status=Status.REJECTED)], ("queued", "sent"), id="a word that is no delivery"),
    ],
)
@pytest.mark.parametrize("batched", [True, False], ids=["one commit", "a commit each"])
def test_a_status_moves_forward_only(
    ledger: Ledger, reports: list[DeliveryReport], ends: tuple[str, str], batched: bool
) -> None:
    settle(ledger, OUTCOMES["accepted"])
    for group in [reports] if batched else [[report] for report in reports]:
        tell(ledger, *group)
    assert status(ledger) == ("accepted", *ends)
    assert ledger.kept_reports() == 0


def test_what_a_report_says_is_taken_over(ledger: Ledger, store: Any) -> None:
    settle(ledger, OUTCOMES["accepted"])
    store.clock.ms += 1000
    sent_ms = store.clock.ms
    assert tell(ledger, QUEUED, SENT) == ReportCounts(applied=2)
    store.clock.ms += 1000
    assert tell(ledger, replace(FAILED, price="-0.0080", currency="USD", reported_at="2026-01-01T12:00:01.5Z")) == (
        ReportCounts(applied=1)
    )
    found = row(ledger)
    assert found["segments"] == 2
    assert (found["price"], found["currency"]) == ("-0.0080", "USD")
    assert (found["reason"], found["error_code"], found["error_message"]) == ("unreachable", "30003", "Unreachable.")
    assert found["sent_at"] == at(sent_ms)
    assert found["final_at"] == at(NOON_MS + 1500)
    assert found["updated_at"] == at(store.clock.ms)


@pytest.mark.parametrize(
    ("told", "came_ms", "final_ms"),
    [
        ("12:00:01.250", 1900, 1250),
        ("12:00:01", 1900, 1900),  # cut off: it was somewhere in that second, and no later than the report
        ("12:00:01", 9000, 1999),
        ("12:00:01", 500, 1000),  # the provider's clock is ahead
    ],
)
def test_a_whole_second_is_one_that_was_cut_off(
    ledger: Ledger, store: Any, told: str, came_ms: int, final_ms: int
) -> None:
    settle(ledger, OUTCOMES["accepted"])
    store.clock.ms += came_ms
    tell(ledger, replace(DELIVERED, reported_at=f"2026-01-01T{told}Z"))
    assert row(ledger)["final_at"] == at(NOON_MS + final_ms)


def test_a_report_without_a_time_came_when_it_came(ledger: Ledger, store: Any) -> None:
    settle(ledger, OUTCOMES["accepted"])
    store.clock.ms += 2500
    tell(ledger, DELIVERED)
    assert row(ledger)["final_at"] == at(NOON_MS + 2500)


def test_a_price_may_come_after_the_end(ledger: Ledger) -> None:
    settle(ledger, OUTCOMES["accepted"])
    tell(ledger, DELIVERED)
    assert tell(ledger, DELIVERED) == ReportCounts(same=1)
    assert tell(ledger, replace(DELIVERED, price="0.01", currency="USD", segments=3)) == ReportCounts(applied=1)
    assert (row(ledger)["price"], row(ledger)["segments"]) == ("0.01", 3)
    assert tell(ledger, replace(DELIVERED, price=None)) == ReportCounts(same=1)
    assert row(ledger)["price"] == "0.01"


def test_a_log_may_tell_the_sentence_that_a_callback_did_not(ledger: Ledger) -> None:
    settle(ledger, OUTCOMES["accepted"])
    tell(ledger, replace(FAILED, error_message=None))
    tell(ledger, FAILED)
    assert row(ledger)["error_message"] == "Unreachable."


@pytest.mark.parametrize("name", ["unknown", "deferred"])
def test_a_report_with_our_ref_proves_acceptance(ledger: Ledger, name: str) -> None:
    settle(ledger, OUTCOMES[name])
    assert tell(ledger, SENT) == ReportCounts(applied=1)
    found = row(ledger)
    assert (found["state"], found["message_id"], found["status"]) == ("accepted", "SM0", "sent")
    assert (found["reason"], found["error_code"], found["error_message"]) == (None, None, None)
    assert found["attempts"] == 1
    assert ledger.next_due_ms(RUN.run_id) is None
    assert [one.seq for one in claim(ledger, 2)] == [1, 2]  # it is not sent again


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("accepted", ("accepted", "delivered", "delivered")),
        ("unknown", ("accepted", "delivered", "delivered")),
        ("deferred", ("accepted", "delivered", "delivered")),
        ("rejected", ("rejected", None, None)),
    ],
)
def test_an_early_report_waits_for_the_outcome(
    ledger: Ledger, store: Any, name: str, ends: tuple[str, str | None, str | None]
) -> None:
    (one,) = claim(ledger)
    assert tell(ledger, DELIVERED, SENT, DELIVERED) == ReportCounts(kept=3)
    assert status(ledger) == ("intent", None, None)
    store.clock.ms += 9000
    assert ledger.record(RUN.run_id, [Settlement(one, OUTCOMES[name])]) == 1
    assert status(ledger) == ends
    assert ledger.kept_reports() == (2 if name == "rejected" else 0)
    if name != "rejected":
        assert row(ledger)["final_at"] == at(NOON_MS), "it came then, not when it was applied"


def test_an_early_report_is_about_its_own_message(ledger: Ledger) -> None:
    claims = claim(ledger, 3)
    tell(ledger, replace(DELIVERED, message_id="SM1"), seq=1)
    ledger.record(RUN.run_id, [Settlement(one, Accepted(f"SM{one.seq}")) for one in (claims[0], claims[2])])
    assert [status(ledger, seq)[1] for seq in (0, 2)] == ["queued", "queued"]
    ledger.record(RUN.run_id, [Settlement(claims[1], Accepted("SM1"))])
    assert status(ledger, 1)[1] == "delivered"


def test_a_report_settles_an_orphan(ledger: Ledger) -> None:
    claim(ledger, 2)
    tell(ledger, SENT)  # and the process dies
    assert ledger.orphans_to_unknown(RUN.run_id) == 1
    assert status(ledger) == ("accepted", "sent", "sent")
    assert status(ledger, 1) == ("unknown", None, None)
    tell(ledger, replace(DELIVERED, message_id="SM1"), seq=1)
    assert status(ledger, 1) == ("accepted", "delivered", "delivered")


def test_a_claim_that_was_given_back_and_is_reported_was_sent(ledger: Ledger) -> None:
    (one,) = claim(ledger)
    tell(ledger, SENT)
    assert ledger.release(RUN.run_id, [one]) == 1
    assert status(ledger) == ("accepted", "sent", "sent")
    assert [one.seq for one in claim(ledger)] == [1]


def test_what_was_proved_absent_and_is_reported_is_not_sent_again(ledger: Ledger) -> None:
    settle(ledger, OUTCOMES["unknown"])
    ledger.reconcile(RUN.run_id, [LogFinding(0, None)])
    tell(ledger, SENT)
    assert ledger.counts(RUN.run_id).accepted == 1
    assert [one.seq for one in claim(ledger)] == [1]


def test_another_id_under_our_ref_changes_nothing(ledger: Ledger) -> None:
    settle(ledger, Accepted("SM7"))
    assert tell(ledger, DELIVERED) == ReportCounts(kept=1)
    assert status(ledger) == ("accepted", "queued", None)


@pytest.mark.parametrize("seq", [5, 10, 2**40], ids=["not claimed yet", "no such message", "far off"])
def test_no_row_is_made_up_for_a_report(ledger: Ledger, seq: int) -> None:
    claim(ledger, 2)
    assert tell(ledger, DELIVERED, seq=seq) == ReportCounts(kept=1)
    assert ledger.journal(RUN.run_id).height == 2
    assert [one.seq for one in claim(ledger, 4)] == [2, 3, 4, 5]


def test_a_report_of_another_ledgers_run_is_kept(ledger: Ledger) -> None:
    assert ledger.record_reports([ReceivedReport(SENT, "run-9", 0)]) == ReportCounts(kept=1)
    assert ledger.kept_reports() == 1


def test_a_report_without_a_ref_finds_its_message_by_id(ledger: Ledger) -> None:
    claims = claim(ledger, 2)
    assert tell(ledger, SENT, DELIVERED, seq=None) == ReportCounts(kept=2)
    assert ledger.match_reports() == 0
    ledger.record(RUN.run_id, [Settlement(claims[0], Accepted("SM0")), Settlement(claims[1], Accepted("SM1"))])
    assert ledger.match_reports() == 2
    assert [status(ledger, seq)[1] for seq in (0, 1)] == ["delivered", "queued"]
    assert ledger.kept_reports() == 0
    assert ledger.match_reports() == 0


def test_doubled_strangers_are_kept_once_and_forgotten_in_time(ledger: Ledger, store: Any) -> None:
    for _ in range(3):
        tell(ledger, SENT, seq=None)
    assert ledger.kept_reports() == 1
    store.clock.ms += 1000
    tell(ledger, DELIVERED, seq=None)
    assert ledger.forget_reports(store.clock.ms) == 1
    assert ledger.kept_reports() == 1


def test_a_report_about_a_message_under_way_is_kept_until_its_run_goes_on(ledger: Ledger, store: Any) -> None:
    """Its process died; whenever the run goes on, the report says that the provider has the message."""
    claim(ledger, 2)
    assert tell(ledger, DELIVERED, seq=1) == ReportCounts(kept=1)
    assert tell(ledger, DELIVERED, seq=7) == ReportCounts(kept=1)
    store.clock.ms += 1000
    assert ledger.forget_reports(store.clock.ms) == 1
    assert ledger.orphans_to_unknown(RUN.run_id) == 1
    assert status(ledger, 1)[1] == "delivered"


def test_texts_that_cannot_be_encoded_are_kept_as_well_as_can_be(ledger: Ledger) -> None:
    settle(ledger, OUTCOMES["accepted"])
    tell(ledger, replace(FAILED, error_message="half a \ud83d", segments=2**40, reported_at="tomorrow"))
    assert status(ledger)[1] == "failed"
    assert row(ledger)["error_message"] == "half a ?"


def test_an_outcome_that_is_final_at_once_has_its_time(ledger: Ledger) -> None:
    settle(ledger, Accepted("SM0", status=Status.DELIVERED))
    assert row(ledger)["final_at"] == at(NOON_MS)


def test_two_handles_see_one_truth(ledger: Ledger, store: Any) -> None:
    (one,) = claim(ledger)
    listener: Ledger = store.open()
    tell(listener, SENT)
    ledger.record(RUN.run_id, [Settlement(one, Accepted("SM0"))])
    assert status(listener) == ("accepted", "sent", "sent")


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_order_of_reports_and_outcome_does_not_matter(new_store: Callable[[], Any], data: st.DataObject) -> None:
    """Whatever comes first, doubled or in whatever groups: the end is the highest rank that was told."""
    final = data.draw(st.sampled_from([None, DELIVERED, FAILED]))
    said = [QUEUED, SENT, *([final] if final else [])]
    steps: list[DeliveryReport | None] = [*data.draw(st.permutations([*said, *said])), None]
    steps = data.draw(st.permutations(steps))
    store = new_store()
    try:
        ledger = store.open()
        ledger.create_run(RUN)
        (one,) = claim(ledger)
        outcome = OUTCOMES[data.draw(st.sampled_from(["accepted", "unknown", "deferred"]))]
        for step in steps:
            if step is None:
                ledger.record(RUN.run_id, [Settlement(one, outcome)])
            else:
                tell(ledger, step)
        assert status(ledger) == ("accepted", *((final.status, final.provider_status) if final else ("sent", "sent")))
        assert (row(ledger)["price"], row(ledger)["segments"]) == ("-0.0075", 2)
        assert ledger.kept_reports() == 0
    finally:
        store.close()


def test_ten_thousand_doubled_reordered_and_early_reports_leave_the_right_statuses(store: Any) -> None:
    dice, messages = random.Random(20261121), 2500
    ledger: Ledger = store.open()
    ledger.create_run(replace(RUN, rows=messages, messages=messages))
    ends = {seq: dice.choice([DELIVERED, FAILED, SENT]) for seq in range(messages)}
    said = [
        ReceivedReport(replace(report, message_id=f"SM{seq}"), RUN.run_id if dice.random() < 0.8 else None, seq)
        for seq, end in ends.items()
        for report in itertools.islice(itertools.cycle(dict.fromkeys([QUEUED, SENT, end])), 4)
    ]
    said = [one if one.run_id else replace(one, seq=None) for one in said]
    dice.shuffle(said)
    assert len(said) == 10_000
    fates: Counter[str] = Counter()

    def hear(reports: Sequence[ReceivedReport]) -> None:
        for start in range(0, len(reports), 200):
            counts = ledger.record_reports(reports[start : start + 200])
            fates.update({"applied": counts.applied, "same": counts.same, "kept": counts.kept})

    claims = claim(ledger, messages)
    hear(said[:4000])
    assert fates["kept"] == 4000, "none of them is about a message whose outcome is known"
    ledger.record(RUN.run_id, [Settlement(one, Accepted(f"SM{one.seq}")) for one in claims])
    hear(said[4000:])
    ledger.match_reports()
    journal = ledger.journal(RUN.run_id)
    assert dict(zip(journal["seq"], journal["status"], strict=True)) == {seq: end.status for seq, end in ends.items()}
    assert fates["same"] > 0
    assert ledger.kept_reports() == 0


def test_an_orphan_that_several_reports_settle_is_counted_once(ledger: Ledger) -> None:
    claim(ledger, 3)
    assert tell(ledger, SENT, DELIVERED).kept == 2
    assert ledger.orphans_to_unknown(RUN.run_id) == 2, "three orphans, one of which its reports have settled"
    assert status(ledger)[0] == "accepted"
