"""A run that is closed or paused: what may still be claimed, and what becomes of what is under way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sender.core.outcomes import Canceled, CancelReason, DeliveryReport, Outcome, Status
from sender.state.ledger import Counts, Ledger, LogFinding, ReceivedReport, Settlement
from tests.state.ledger.conftest import Store
from tests.state.ledger.steps import ACCEPTED, CANCELED, DEFERRED, LEASE_MS, REJECTED, RUN, UNKNOWN, claim, record, row

CLOSED = {"state": "canceled", "reason": "closed"}


def counts(ledger: Ledger, **states: int) -> bool:
    every = {"pending": 0, "intent": 0, "accepted": 0, "rejected": 0, "canceled": 0, "unknown": 0}
    return ledger.counts(RUN.run_id) == Counts(**{**every, **states})


def shows(ledger: Ledger, seq: int, **expected: Any) -> bool:
    entry = row(ledger, seq)
    return {name: entry[name] for name in expected} == expected


def test_closing_cancels_what_is_pending_and_leaves_the_rest(ledger: Ledger) -> None:
    accepted, rejected, unknown, deferred, intent = claim(ledger, 5)
    for one, outcome in ((accepted, ACCEPTED), (rejected, REJECTED), (unknown, UNKNOWN), (deferred, DEFERRED)):
        record(ledger, one, outcome)
    assert ledger.prefetch(RUN.run_id, limit=2) == [3, 5]
    now = ledger.now_ms()
    assert ledger.close_run(RUN.run_id, by="anna on mail1") == 6
    assert counts(ledger, accepted=1, rejected=1, unknown=1, intent=1, canceled=6)
    assert shows(ledger, 3, **CLOSED, attempts=1, error_message="too many requests")
    assert shows(ledger, 5, **CLOSED, attempts=0)  # prefetched
    assert shows(ledger, 9, **CLOSED, attempts=0)  # never looked at
    run = ledger.run(RUN.run_id)
    assert (run.closed_at_ms, run.closed_by, run.close_reason) == (now, "anna on mail1", CancelReason.CLOSED)
    assert run.finished_at_ms is None, "a message is under way"
    ledger.check(RUN.run_id)
    record(ledger, intent, ACCEPTED)
    assert ledger.finish_run(RUN.run_id)
    assert counts(ledger, accepted=2, rejected=1, unknown=1, canceled=6)


def test_a_run_without_anything_under_way_is_finished_by_closing(ledger: Ledger) -> None:
    assert ledger.close_run(RUN.run_id, by="anna") == 10
    assert ledger.run(RUN.run_id).finished_at_ms == ledger.now_ms()
    assert counts(ledger, canceled=10)


def test_closing_again_changes_nothing(ledger: Ledger) -> None:
    ledger.close_run(RUN.run_id, by="anna")
    before = ledger.run(RUN.run_id)
    assert ledger.close_run(RUN.run_id, by="ben", reason=CancelReason.ABANDONED) == 0
    assert ledger.run(RUN.run_id) == before


def test_nothing_of_a_closed_run_can_be_claimed(ledger: Ledger) -> None:
    claim(ledger, 1)
    aside = ledger.prefetch(RUN.run_id, limit=3)
    ledger.close_run(RUN.run_id, by="anna")
    assert claim(ledger, 10) == []
    assert ledger.prefetch(RUN.run_id, limit=10) == []
    assert ledger.claim_prefetched(RUN.run_id, aside, lease_ms=LEASE_MS) == []
    assert ledger.next_due_ms(RUN.run_id) is None
    assert ledger.pending_from(RUN.run_id) == (10, [])


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        pytest.param(ACCEPTED, {"state": "accepted", "attempts": 1}, id="accepted"),
        pytest.param(REJECTED, {"state": "rejected", "reason": "blocked", "attempts": 1}, id="rejected"),
        pytest.param(UNKNOWN, {"state": "unknown", "attempts": 1}, id="unknown"),
        pytest.param(DEFERRED, {**CLOSED, "attempts": 1, "error_message": "too many requests"}, id="deferred"),
        pytest.param(CANCELED, {"state": "canceled", "reason": "opted_out", "attempts": 0}, id="canceled"),
        pytest.param(None, {**CLOSED, "attempts": 0}, id="released"),
    ],
)
def test_what_is_under_way_is_settled_by_whoever_holds_it(
    ledger: Ledger, outcome: Outcome | Canceled | None, expected: dict[str, Any]
) -> None:
    (one,) = claim(ledger)
    ledger.close_run(RUN.run_id, by="anna")
    changed = ledger.release(RUN.run_id, [one]) if outcome is None else record(ledger, one, outcome)
    assert changed == 1
    assert shows(ledger, 0, **expected)
    ledger.check(RUN.run_id)


@pytest.mark.parametrize("found", [True, False], ids=["found", "absent"])
def test_what_the_log_proves_in_a_closed_run(ledger: Ledger, found: bool) -> None:
    record(ledger, *claim(ledger), UNKNOWN)
    ledger.close_run(RUN.run_id, by="anna")
    assert ledger.reconcile(RUN.run_id, [LogFinding(0, ACCEPTED if found else None, 1)]) == 1
    assert shows(ledger, 0, **({"state": "accepted"} if found else CLOSED))
    assert claim(ledger) == []


def test_a_resend_in_a_closed_run_sends_nothing(ledger: Ledger) -> None:
    record(ledger, *claim(ledger), UNKNOWN)
    ledger.close_run(RUN.run_id, by="anna")
    assert ledger.resend_unknown(RUN.run_id) == 0
    assert shows(ledger, 0, state="unknown", resent=0)
    assert ledger.run(RUN.run_id).finished_at_ms is not None


def test_what_a_dead_process_left_stays_unknown(ledger: Ledger) -> None:
    claim(ledger, 2)
    ledger.close_run(RUN.run_id, by="anna")
    assert ledger.orphans_to_unknown(RUN.run_id) == 2
    assert counts(ledger, unknown=2, canceled=8)


@pytest.mark.parametrize("early", [True, False], ids=["before closing", "after closing"])
@pytest.mark.parametrize("seq", [0, 7], ids=["claimed once", "never claimed"])
def test_a_report_settles_a_canceled_message(ledger: Ledger, seq: int, early: bool) -> None:
    """A provider that has the message is right, whatever we had decided."""
    ledger.release(RUN.run_id, claim(ledger))
    report = ReceivedReport(DeliveryReport("SM7", Status.DELIVERED, "delivered"), RUN.run_id, seq)
    if early:
        ledger.record_reports([report])
    canceled = ledger.close_run(RUN.run_id, by="anna")
    if not early:
        assert ledger.record_reports([report]).applied == 1
    assert canceled == (9 if early else 10)
    assert shows(ledger, seq, state="accepted", status="delivered", message_id="SM7", reason=None, attempts=1)
    assert counts(ledger, accepted=1, canceled=9)
    ledger.check(RUN.run_id)


def test_a_canceled_message_counts_no_attempt(ledger: Ledger) -> None:
    first, second = claim(ledger, 2)
    record(ledger, first, DEFERRED)
    (again,) = claim(ledger)
    assert ledger.record(RUN.run_id, [Settlement(again, CANCELED), Settlement(second, CANCELED)]) == 2
    assert shows(ledger, 0, state="canceled", reason="opted_out", attempts=1, error_message="not sent: replied STOP")
    assert shows(ledger, 1, state="canceled", attempts=0)
    assert {seq for seq, _ in ledger.last_changed(RUN.run_id, limit=9)} == {0}, "the other never left"
    assert ledger.reached(RUN.run_id).to_list() == []


def test_a_run_that_begins_closes_others_in_the_same_commit(store: Store, ledger: Ledger) -> None:
    claim(ledger, 2)
    ledger.create_run(replace(RUN, run_id="run-2"), closes=[RUN.run_id])
    run = ledger.run(RUN.run_id)
    assert (run.closed_by, run.close_reason) == ("run run-2", CancelReason.SUPERSEDED)
    assert counts(ledger, unknown=2, canceled=8), "what a dead process left may have been sent"
    with pytest.raises(ValueError, match="cannot be created"):
        ledger.create_run(replace(RUN, run_id="run-2"), closes=["run-2"], reason=CancelReason.ABANDONED)
    assert store.open().run("run-2").closed_at_ms is None


def test_a_paused_run_waits(ledger: Ledger) -> None:
    (one,) = claim(ledger)
    aside = ledger.prefetch(RUN.run_id, limit=2)
    now = ledger.now_ms()
    assert ledger.pause_run(RUN.run_id, by="anna on mail1")
    assert not ledger.pause_run(RUN.run_id, by="ben")
    run = ledger.run(RUN.run_id)
    assert (run.paused_at_ms, run.paused_by, run.is_held) == (now, "anna on mail1", True)
    assert claim(ledger, 10) == []
    assert ledger.prefetch(RUN.run_id, limit=10) == []
    assert ledger.claim_prefetched(RUN.run_id, aside, lease_ms=LEASE_MS) == []
    assert record(ledger, one, DEFERRED) == 1
    assert ledger.next_due_ms(RUN.run_id) is None
    assert counts(ledger, pending=10)
    assert ledger.resume_run(RUN.run_id)
    assert not ledger.resume_run(RUN.run_id)
    assert not ledger.run(RUN.run_id).is_held
    assert [claimed.seq for claimed in claim(ledger, 3)] == [0, 1, 2]


def test_a_paused_run_can_be_closed_and_a_closed_one_is_not_paused(ledger: Ledger) -> None:
    ledger.pause_run(RUN.run_id, by="anna")
    assert ledger.close_run(RUN.run_id, by="ben") == 10
    assert not ledger.pause_run(RUN.run_id, by="anna")
    assert not ledger.resume_run(RUN.run_id)
    run = ledger.run(RUN.run_id)
    assert (run.closed_by, run.paused_at_ms, run.paused_by) == ("ben", None, None)


def test_what_a_retry_takes_over_is_never_sent_by_its_own_run(ledger: Ledger) -> None:
    for one in claim(ledger, 3):
        record(ledger, one, UNKNOWN)
    retry = replace(RUN, run_id="run-2", retry_of=RUN.run_id)
    ledger.create_run(retry, takes_over={RUN.run_id: [0, 1, 7]})
    assert ledger.resend_unknown(RUN.run_id) == 1
    assert [one.seq for one in claim(ledger, 1)] == [2]
    assert ledger.reconcile(RUN.run_id, [LogFinding(0, None, 1), LogFinding(1, ACCEPTED, 1)]) == 2
    assert shows(ledger, 0, state="canceled", reason="superseded")
    assert shows(ledger, 1, state="accepted")
    ledger.check(RUN.run_id)


def test_a_message_that_is_not_unknown_is_not_taken_over(ledger: Ledger) -> None:
    (one,) = claim(ledger)
    ledger.create_run(replace(RUN, run_id="run-2", retry_of=RUN.run_id), takes_over={RUN.run_id: [0]})
    record(ledger, one, UNKNOWN)
    assert ledger.reconcile(RUN.run_id, [LogFinding(0, None, 1)]) == 1
    assert shows(ledger, 0, state="pending")


OTHER = replace(RUN, run_id="run-2", campaign="another")


def test_another_run_is_not_touched(ledger: Ledger) -> None:
    """Each step of a run that is closed, beside one in which the same messages are in the same states."""
    ledger.create_run(OTHER)
    taken = {run_id: claim(ledger, 4, run_id) for run_id in (RUN.run_id, OTHER.run_id)}
    for run_id, claims in taken.items():
        ledger.record(run_id, [Settlement(claims[2], UNKNOWN), Settlement(claims[3], DEFERRED)])
        ledger.prefetch(run_id, limit=3)
    before, run = ledger.journal(OTHER.run_id), ledger.run(OTHER.run_id)
    assert ledger.close_run(RUN.run_id, by="anna") == 7
    assert ledger.release(RUN.run_id, taken[RUN.run_id][:1]) == 1
    assert ledger.resend_unknown(RUN.run_id) == 0
    assert ledger.record(RUN.run_id, [Settlement(taken[RUN.run_id][1], CANCELED)]) == 1
    assert counts(ledger, canceled=9, unknown=1)
    assert ledger.journal(OTHER.run_id).equals(before)
    assert ledger.run(OTHER.run_id) == run
    assert ledger.pause_run(OTHER.run_id, by="ben")
    assert ledger.run(RUN.run_id).paused_at_ms is None
    assert ledger.resume_run(OTHER.run_id)


def test_what_is_taken_over_or_canceled_in_one_run_is_not_in_another(ledger: Ledger) -> None:
    ledger.create_run(OTHER)
    for run_id in (RUN.run_id, OTHER.run_id):
        claims = claim(ledger, 3, run_id)
        ledger.record(run_id, [Settlement(one, UNKNOWN) for one in claims])
        ledger.prefetch(run_id, limit=4)
    ledger.create_run(replace(RUN, run_id="run-3", retry_of=RUN.run_id), takes_over={RUN.run_id: [0, 1]})
    before = ledger.journal(OTHER.run_id)
    assert ledger.cancel(RUN.run_id, [1, 3, 4], CancelReason.FORGOTTEN) == 2, "not the unknown one"
    assert ledger.journal(OTHER.run_id).equals(before)
    assert ledger.resend_unknown(OTHER.run_id) == 3, "none of these was taken over"
    assert ledger.resend_unknown(RUN.run_id) == 1


def test_only_who_holds_a_message_of_a_closed_run_gives_it_back(ledger: Ledger) -> None:
    old, settled, held = claim(ledger, 3)
    ledger.release(RUN.run_id, [old])
    (new,) = claim(ledger)
    assert (new.seq, new.fence) == (old.seq, old.fence + 1)
    record(ledger, settled, ACCEPTED)
    ledger.close_run(RUN.run_id, by="anna")
    wrong = [old, settled, new._replace(attempt=2), held._replace(fence=7), held._replace(seq=9)]
    assert ledger.release(RUN.run_id, wrong) == 0
    assert counts(ledger, accepted=1, intent=2, canceled=7)
    assert ledger.release(RUN.run_id, [new]) == 1
    assert counts(ledger, accepted=1, intent=1, canceled=8)


def test_what_is_canceled_shows_nothing_of_how_it_would_have_been_sent(ledger: Ledger) -> None:
    (released,) = claim(ledger)
    ledger.use_senders(RUN.run_id, [(released, "+12025550199")])
    ledger.close_run(RUN.run_id, by="anna")
    ledger.release(RUN.run_id, [released])
    assert shows(ledger, 0, **CLOSED, sender=None, error_code=None, error_message=None)


CANCELS: dict[str, Callable[[Ledger], object]] = {
    "the run is closed": lambda ledger: ledger.close_run(RUN.run_id, by="anna"),
    "the window is over": lambda ledger: ledger.expire(
        RUN.run_id, from_seq=0, below_seq=10, reason=CancelReason.EXPIRED
    ),
    "the person is forgotten": lambda ledger: ledger.cancel(RUN.run_id, [0], CancelReason.FORGOTTEN),
    "another run replaces it": lambda ledger: ledger.create_run(replace(RUN, run_id="run-2"), closes=[RUN.run_id]),
    "an opt-out at the claim": lambda ledger: record(ledger, *claim(ledger), CANCELED),
    "closed while claimed, released": lambda ledger: (
        taken := claim(ledger),
        ledger.close_run(RUN.run_id, by="anna"),
        ledger.release(RUN.run_id, taken),
    ),
    "closed while claimed, deferred": lambda ledger: (
        taken := claim(ledger),
        ledger.close_run(RUN.run_id, by="anna"),
        record(ledger, *taken, DEFERRED),
    ),
}


@pytest.mark.parametrize("ends", CANCELS)
@pytest.mark.parametrize("absent", [False, True], ids=["in doubt", "proved absent"])
def test_what_a_person_had_sent_again_is_in_doubt_and_not_canceled(ledger: Ledger, ends: str, absent: bool) -> None:
    """It may have been accepted the first time: nobody may take it for never sent, and text that person once more."""
    record(ledger, *claim(ledger), UNKNOWN)
    ledger.resend_unknown(RUN.run_id)
    assert ledger.reached(RUN.run_id).to_list() == [0]
    CANCELS[ends](ledger)
    assert shows(ledger, 0, state="unknown", reason=None)
    assert ledger.reached(RUN.run_id).to_list() == [0]
    ledger.check(RUN.run_id)
    if absent:
        ledger.reconcile(RUN.run_id, [LogFinding(0, None)])
        assert shows(ledger, 0, state="canceled" if ledger.run(RUN.run_id).is_held else "pending")
