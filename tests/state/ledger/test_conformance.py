"""What every ledger does, whatever keeps it. Runs once for each factory in `conftest.py`."""

from __future__ import annotations

import inspect
import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from sender.core.canary import Canary, CanaryState
from sender.core.errors import UnknownRun
from sender.core.outcomes import (
    Accepted,
    CancelReason,
    DeliveryReport,
    Outcome,
    Reason,
    Rejected,
    Status,
    SubmissionState,
)
from sender.state.ledger import (
    JOURNAL_SCHEMA,
    SENT_SCHEMA,
    Claim,
    Counts,
    Ledger,
    LogFinding,
    ReceivedReport,
    RequestFormat,
    Run,
    RunKind,
    Settlement,
)
from tests.state.conftest import DATABASES
from tests.state.ledger.steps import (
    ACCEPTED,
    CANCELED,
    DEFERRED,
    LEASE_MS,
    OUTCOMES,
    REJECTED,
    RUN,
    UNKNOWN,
    at,
    claim,
    record,
    row,
)


@pytest.fixture(params=["sqlite", *DATABASES])
def store_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# Runs


def test_a_run_reads_back_as_it_was_written(ledger: Ledger, store: Any) -> None:
    older = replace(RUN, run_id="run-0", created_at_ms=RUN.created_at_ms - 1, source=None, kind=RunKind.TEST)
    older = replace(older, finished_at_ms=RUN.created_at_ms, simulated=True)
    ledger.create_run(older)
    assert store.open().run(RUN.run_id) == RUN
    assert store.open().runs() == [older, RUN]


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(RUN, id="the id is taken"),
        pytest.param(replace(RUN, run_id="run-2", rows=13), id="rows are not messages plus skipped"),
        pytest.param(replace(RUN, run_id="run-2", rows=1, messages=-1), id="fewer than no messages"),
    ],
)
def test_a_run_that_cannot_be_is_refused(ledger: Ledger, run: Run) -> None:
    with pytest.raises(ValueError, match=f"{run.run_id} cannot be created"):
        ledger.create_run(run)
    assert ledger.runs() == [RUN]


# What a caller may ask about a run: every method of the protocol that takes one.
USES: dict[str, Callable[[Ledger], object]] = {
    "run": lambda ledger: ledger.run("nope"),
    "finish_run": lambda ledger: ledger.finish_run("nope"),
    "close_run": lambda ledger: ledger.close_run("nope", by="anna"),
    "pause_run": lambda ledger: ledger.pause_run("nope", by="anna"),
    "resume_run": lambda ledger: ledger.resume_run("nope"),
    "claim": lambda ledger: claim(ledger, run_id="nope"),
    "note_request_format": lambda ledger: ledger.note_request_format("nope", RequestFormat(None, "1", "abc")),
    "request_formats": lambda ledger: ledger.request_formats("nope"),
    "repeatable": lambda ledger: ledger.repeatable("nope", SubmissionState.UNKNOWN, since_ms=0),
    "prefetch": lambda ledger: ledger.prefetch("nope", limit=1),
    "claim_prefetched": lambda ledger: ledger.claim_prefetched("nope", [0], lease_ms=LEASE_MS),
    "last_changed": lambda ledger: ledger.last_changed("nope", limit=1),
    "pending_from": lambda ledger: ledger.pending_from("nope"),
    "release": lambda ledger: ledger.release("nope", []),
    "use_senders": lambda ledger: ledger.use_senders("nope", []),
    "record": lambda ledger: ledger.record("nope", []),
    "orphans_to_unknown": lambda ledger: ledger.orphans_to_unknown("nope"),
    "reconcile": lambda ledger: ledger.reconcile("nope", []),
    "resend_unknown": lambda ledger: ledger.resend_unknown("nope"),
    "check": lambda ledger: ledger.check("nope"),
    "totals": lambda ledger: ledger.totals("nope"),
    "pace": lambda ledger: ledger.pace("nope"),
    "without_segments": lambda ledger: ledger.without_segments("nope"),
    "find_drift": lambda ledger: ledger.find_drift("nope"),
    "delivering": lambda ledger: ledger.delivering("nope"),
    "counts": lambda ledger: ledger.counts("nope"),
    "next_due_ms": lambda ledger: ledger.next_due_ms("nope"),
    "journal": lambda ledger: ledger.journal("nope"),
    "refusals": lambda ledger: ledger.refusals("nope", from_seq=0, below_seq=1),
    "reached": lambda ledger: ledger.reached("nope"),
    "cancel": lambda ledger: ledger.cancel("nope", [0], CancelReason.FORGOTTEN),
    "erase_sentences": lambda ledger: ledger.erase_sentences("nope"),
    "outcomes": lambda ledger: ledger.outcomes("nope", from_seq=0, below_seq=1),
    "last_receipt": lambda ledger: ledger.last_receipt("nope"),
    "note_canary": lambda ledger: ledger.note_canary("nope", Canary(1)),
    "sent": lambda ledger: ledger.sent("nope", since_ms=0),
    "typed_numbers": lambda ledger: ledger.typed_numbers("nope"),
    "frontier": lambda ledger: ledger.frontier("nope"),
    "routes": lambda ledger: ledger.routes("nope"),
    "accepted_by_route": lambda ledger: ledger.accepted_by_route("nope"),
    "moves": lambda ledger: ledger.moves("nope"),
    "hold": lambda ledger: ledger.hold("nope", from_seq=0, below_seq=1, until_ms=0),
    "lift": lambda ledger: ledger.lift("nope", from_seq=0, below_seq=1),
    "expire": lambda ledger: ledger.expire("nope", from_seq=0, below_seq=1, reason=CancelReason.EXPIRED),
}


@pytest.mark.parametrize("use", USES)
def test_a_run_that_is_not_there_is_named(ledger: Ledger, use: str) -> None:
    with pytest.raises(UnknownRun, match="no run nope"):
        USES[use](ledger)


def test_no_method_that_takes_a_run_is_left_out() -> None:
    methods = inspect.getmembers(Ledger, inspect.isfunction)
    assert USES.keys() == {name for name, method in methods if "run_id" in inspect.signature(method).parameters}


def test_runs_do_not_touch_one_another(ledger: Ledger) -> None:
    other = replace(RUN, run_id="run-2", rows=3, messages=3, skipped=0)
    ledger.create_run(other)
    (mine,) = claim(ledger)
    theirs = claim(ledger, 5, run_id="run-2")
    assert [c.seq for c in theirs] == [0, 1, 2]
    record(ledger, mine, ACCEPTED)
    assert ledger.orphans_to_unknown("run-2") == 3
    assert ledger.counts(RUN.run_id) == Counts(pending=9, intent=0, accepted=1, rejected=0, canceled=0, unknown=0)
    assert ledger.counts("run-2") == Counts(pending=0, intent=0, accepted=0, rejected=0, canceled=0, unknown=3)


# Claims


def test_claims_go_through_the_plan_in_order_and_end_with_it(ledger: Ledger) -> None:
    now = ledger.now_ms()
    assert claim(ledger, 4) == [Claim(seq, 1, now + LEASE_MS, 1) for seq in range(4)]
    assert [c.seq for c in claim(ledger, 100)] == [4, 5, 6, 7, 8, 9]
    assert claim(ledger, 100) == []


@pytest.mark.parametrize("limit", [0, -1])
def test_a_claim_of_nothing_is_nothing(ledger: Ledger, limit: int) -> None:
    assert claim(ledger, limit) == []
    assert ledger.counts(RUN.run_id).pending == RUN.messages


def test_below_seq_bounds_new_and_deferred_messages(ledger: Ledger) -> None:
    deferred = claim(ledger, 2)
    for one in deferred:
        record(ledger, one, DEFERRED)
    assert [c.seq for c in claim(ledger, 10, below_seq=1)] == [0]
    assert [c.seq for c in claim(ledger, 10, below_seq=3)] == [1, 2]
    assert claim(ledger, 10, below_seq=3) == []
    assert [c.seq for c in claim(ledger, 100, below_seq=100)] == [3, 4, 5, 6, 7, 8, 9]


def test_deferred_messages_that_are_due_go_first_and_the_longest_due_before_the_others(
    ledger: Ledger, store: Any
) -> None:
    now = store.clock.ms
    for one, not_before in zip(claim(ledger, 4), [now + 20, now + 10, now + 30, now + 99], strict=True):
        record(ledger, one, DEFERRED, not_before)
    assert ledger.next_due_ms(RUN.run_id) == now + 10
    assert ledger.next_due_ms(RUN.run_id, below_seq=1) == now + 20
    assert [c.seq for c in claim(ledger)] == [4], "nothing is due yet"
    store.clock.ms = now + 30
    assert [(c.seq, c.attempt) for c in claim(ledger, 2)] == [(0, 2), (1, 2)]
    assert [(c.seq, c.attempt) for c in claim(ledger, 2)] == [(2, 2), (5, 1)]
    assert ledger.next_due_ms(RUN.run_id) == now + 99
    assert ledger.next_due_ms(RUN.run_id, below_seq=3) is None


def test_a_deferred_message_without_a_time_is_due_at_once_and_keeps_its_reason(ledger: Ledger) -> None:
    (one,) = claim(ledger)
    assert record(ledger, one, DEFERRED) == 1
    assert ledger.next_due_ms(RUN.run_id) == ledger.now_ms()
    kept = row(ledger)
    assert (kept["state"], kept["attempts"]) == ("pending", 1)
    assert (kept["reason"], kept["error_code"]) == ("rate_limited", "20429")
    (again,) = claim(ledger)
    assert (again.seq, again.attempt) == (0, 2)


def test_the_lease_runs_from_the_ledgers_own_clock(ledger: Ledger, store: Any) -> None:
    store.clock.ms += 5
    (one,) = ledger.claim(RUN.run_id, limit=1, lease_ms=7)
    assert one.deadline_ms == ledger.now_ms() + 7 == store.clock.ms + 7
    assert row(ledger)["intent_at"] == at(store.clock.ms)


def test_claims_of_two_handles_in_two_threads_never_overlap(store: Any) -> None:
    store.open().create_run(replace(RUN, rows=2000, messages=2000, skipped=0))
    handles = [store.open(), store.open()]
    start = threading.Barrier(len(handles))
    taken: list[list[int]] = [[] for _ in handles]

    def work(ledger: Ledger, mine: list[int]) -> None:
        start.wait()
        while claims := claim(ledger, 7):
            mine.extend(c.seq for c in claims)
            ledger.release(RUN.run_id, [c for c in claims if c.seq % 50 == 0 and c.fence < 3])

    threads = [threading.Thread(target=work, args=pair) for pair in zip(handles, taken, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    released_twice = [seq for seq in range(0, 2000, 50) for _ in range(2)]
    assert sorted(taken[0] + taken[1]) == sorted([*range(2000), *released_twice])
    assert store.open().counts(RUN.run_id).intent == 2000


# Transitions: every state against everything that may happen to it


def into_state(ledger: Ledger, state: str) -> Claim:
    """Message 0 in that state, and the last claim of it (a made-up one for a message that has no row)."""
    if state in ("no row", "set aside"):
        if state == "set aside":
            assert ledger.prefetch(RUN.run_id, limit=1) == [0]
        return Claim(0, 1, ledger.now_ms() + LEASE_MS, 1)
    (one,) = claim(ledger)
    match state:
        case "intent":
            pass
        case "released":
            ledger.release(RUN.run_id, [one])
        case outcome:
            record(ledger, one, OUTCOMES[outcome])
    return one


STATES = ["no row", "set aside", "intent", "released", "deferred", "accepted", "rejected", "unknown"]
CHANGES: dict[str, Callable[[Ledger, Claim], int]] = {
    "record accepted": lambda ledger, one: record(ledger, one, Accepted("SM2", Status.SENT)),
    "record rejected": lambda ledger, one: record(ledger, one, REJECTED),
    "record deferred": lambda ledger, one: record(ledger, one, DEFERRED),
    "record unknown": lambda ledger, one: record(ledger, one, UNKNOWN),
    "release": lambda ledger, one: ledger.release(RUN.run_id, [one]),
    "orphans": lambda ledger, one: ledger.orphans_to_unknown(RUN.run_id),
    "found accepted": lambda ledger, one: ledger.reconcile(RUN.run_id, [LogFinding(0, Accepted("SM3"))]),
    "found rejected": lambda ledger, one: ledger.reconcile(RUN.run_id, [LogFinding(0, REJECTED)]),
    "proved absent": lambda ledger, one: ledger.reconcile(RUN.run_id, [LogFinding(0, None)]),
    "found in doubt": lambda ledger, one: ledger.reconcile(RUN.run_id, [LogFinding(0, UNKNOWN)]),
    "claimed by name": lambda ledger, one: len(ledger.claim_prefetched(RUN.run_id, [0], lease_ms=LEASE_MS)),
    "a sender noted": lambda ledger, one: ledger.use_senders(RUN.run_id, [(one, "+12025550101")]),
    "a person resends": lambda ledger, one: ledger.resend_unknown(RUN.run_id),
}
# Whatever is not here changes nothing.
ALLOWED = {
    ("intent", "record accepted"): "accepted",
    ("intent", "record rejected"): "rejected",
    ("intent", "record deferred"): "pending",
    ("intent", "record unknown"): "unknown",
    ("intent", "release"): "pending",
    ("intent", "orphans"): "unknown",
    ("unknown", "record accepted"): "accepted",  # by the claim that is in doubt: its own answer is proof, however late
    ("unknown", "record rejected"): "rejected",
    ("unknown", "found accepted"): "accepted",
    ("unknown", "found rejected"): "rejected",
    ("unknown", "proved absent"): "pending",
    ("unknown", "a person resends"): "pending",
    ("set aside", "claimed by name"): "intent",
    ("released", "claimed by name"): "intent",
    ("deferred", "claimed by name"): "intent",
    ("intent", "a sender noted"): "intent",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("state", STATES)
def test_transition(ledger: Ledger, state: str, change: str) -> None:
    last = into_state(ledger, state)
    before = ledger.journal(RUN.run_id)
    changed = CHANGES[change](ledger, last)
    after = ledger.journal(RUN.run_id)
    if (state, change) in ALLOWED:
        assert changed == 1
        assert after["state"].to_list() == [ALLOWED[state, change]]
    else:
        assert changed == 0
        assert after.equals(before)


@pytest.mark.parametrize(
    ("state", "claimable"),
    [
        ("no row", True),
        ("set aside", True),
        ("released", True),
        ("deferred", True),
        ("intent", False),
        ("accepted", False),
        ("rejected", False),
        ("unknown", False),
    ],
)
def test_only_a_pending_message_can_be_claimed(ledger: Ledger, state: str, claimable: bool) -> None:
    into_state(ledger, state)
    assert (0 in [c.seq for c in claim(ledger, RUN.messages)]) is claimable


@pytest.mark.parametrize("change", [name for name in CHANGES if name.startswith(("record", "release", "a sender"))])
@pytest.mark.parametrize("between", ["released", "deferred", "unknown"])
def test_an_older_claim_has_no_power_over_a_newer_one(ledger: Ledger, between: str, change: str) -> None:
    """Also after a release, where the attempt has the same number again."""
    old = into_state(ledger, between)
    ledger.reconcile(RUN.run_id, [LogFinding(0, None)])
    (new,) = claim(ledger)
    assert new.seq == old.seq
    assert CHANGES[change](ledger, old) == 0
    assert row(ledger)["state"] == "intent"
    assert CHANGES[change](ledger, new) == 1


@pytest.mark.parametrize("wrong", [{"attempt": 2}, {"attempt": 0}, {"fence": 2}, {"fence": 0}, {"seq": 1}])
def test_a_claim_that_was_never_given_has_no_power(ledger: Ledger, wrong: dict[str, int]) -> None:
    (one,) = claim(ledger)
    forged = one._replace(**wrong)
    assert record(ledger, forged, ACCEPTED) == 0
    assert ledger.release(RUN.run_id, [forged]) == 0
    assert row(ledger)["state"] == "intent"


def test_the_ids_of_all_runs(ledger: Ledger) -> None:
    ids = {ACCEPTED.message_id, FULL.message_id, "another"}
    assert ledger.holders_of(ids) == ledger.holders_of(set()) == []
    assert ledger.recent_ids(limit=9) == []
    for one, outcome in zip(claim(ledger, 3), (ACCEPTED, UNKNOWN, FULL), strict=True):
        record(ledger, one, outcome)
    assert ledger.holders_of(ids) == [(ACCEPTED.message_id, RUN.run_id, 0), (FULL.message_id, RUN.run_id, 2)]
    assert set(ledger.recent_ids(limit=9)) == {ACCEPTED.message_id, FULL.message_id}
    assert ledger.recent_ids(limit=1) == [FULL.message_id]


def test_a_release_does_not_count_the_attempt(ledger: Ledger) -> None:
    for _ in range(3):
        (one,) = claim(ledger)
        assert one.attempt == 1
        assert ledger.release(RUN.run_id, [one]) == 1
        assert row(ledger)["attempts"] == 0
        due_ms = ledger.next_due_ms(RUN.run_id)
        assert due_ms is not None
        assert due_ms < ledger.now_ms() - 3_600_000, "due at once, even if the clock is set back an hour"
    assert ledger.counts(RUN.run_id).pending == RUN.messages


def test_of_two_outcomes_for_one_claim_the_first_counts(ledger: Ledger) -> None:
    (one,) = claim(ledger)
    assert ledger.record(RUN.run_id, [Settlement(one, ACCEPTED), Settlement(one, UNKNOWN)]) == 1
    assert row(ledger)["state"] == "accepted"


def test_a_stale_settlement_does_not_stop_the_others(ledger: Ledger) -> None:
    first, second, third = claim(ledger, 3)
    record(ledger, second, REJECTED)
    assert ledger.record(RUN.run_id, [Settlement(c, ACCEPTED) for c in (first, second, third)]) == 2
    assert ledger.journal(RUN.run_id)["state"].to_list() == ["accepted", "rejected", "accepted"]


def test_a_proof_about_an_earlier_attempt_changes_nothing(ledger: Ledger) -> None:
    first = into_state(ledger, "unknown")
    assert ledger.reconcile(RUN.run_id, [LogFinding(0, None, first.attempt)]) == 1
    (second,) = claim(ledger)
    record(ledger, second, UNKNOWN)
    assert ledger.reconcile(RUN.run_id, [LogFinding(0, None, first.attempt)]) == 0
    assert ledger.reconcile(RUN.run_id, [LogFinding(0, ACCEPTED, second.attempt)]) == 1


def test_orphans_say_what_is_known_of_them(ledger: Ledger) -> None:
    (one,) = claim(ledger)
    record(ledger, one, DEFERRED)
    claim(ledger, 3)
    assert ledger.orphans_to_unknown(RUN.run_id) == 3
    orphan = row(ledger)
    assert (orphan["reason"], orphan["error_code"]) == (None, None), "the earlier try's reason is not this one's"
    assert "may have been sent" in orphan["error_message"]
    assert ledger.orphans_to_unknown(RUN.run_id) == 0


def test_intents_that_somebody_may_still_send_are_no_orphans(ledger: Ledger, store: Any) -> None:
    """Only those whose deadline was long enough ago; a late answer settles what was taken for unknown."""
    late = claim(ledger)
    store.clock.ms += 10_000
    claim(ledger)
    store.clock.ms += LEASE_MS - 5_001
    assert ledger.orphans_to_unknown(RUN.run_id, overdue_ms=5_000) == 0
    store.clock.ms += 2
    assert ledger.orphans_to_unknown(RUN.run_id, overdue_ms=5_000) == 1
    counts = ledger.counts(RUN.run_id)
    assert (counts.unknown, counts.intent) == (1, 1)
    assert record(ledger, late[0], ACCEPTED) == 1
    assert ledger.counts(RUN.run_id).unknown == 0


# The journal


FULL = Accepted(
    message_id="SM0123456789abcdef",
    status=Status.SENT,
    provider_status="sending",
    segments=2,
    price="-0.00750",
    currency="USD",
    created_at="2026-01-01T12:00:00.250Z",
    sent_at="2026-01-01T13:00:01+01:00",
    reason=Reason.OTHER,
    error_code="30003",
    error_message="Größe 1",
    line_type="voip",
    carrier="Größe 2",
    smart_encoded=True,
)


def test_the_journal_holds_all_that_an_acceptance_says(ledger: Ledger, store: Any) -> None:
    (one,) = claim(ledger)
    store.clock.ms += 125
    record(ledger, one, FULL)
    assert row(ledger) == {
        "seq": 0,
        "state": "accepted",
        "attempts": 1,
        "intent_at": at(store.clock.ms - 125),
        "sender": None,
        "message_id": "SM0123456789abcdef",
        "status": "sent",
        "provider_status": "sending",
        "reason": "other",
        "error_code": "30003",
        "error_message": "Größe 1",
        "segments": 2,
        "price": "-0.00750",
        "currency": "USD",
        "line_type": "voip",
        "carrier": "Größe 2",
        "smart_encoded": True,
        "created_at": datetime(2026, 1, 1, 12, 0, 0, 250_000, UTC),
        "sent_at": datetime(2026, 1, 1, 12, 0, 1, tzinfo=UTC),
        "updated_at": at(store.clock.ms),
        "final_at": None,
        "resent": 0,
        "route": 0,
    }


def test_what_answers_and_reports_say_of_numbers(ledger: Ledger, store: Any) -> None:
    """Of each number its own, though outcomes that are alike are written together; mobiles are no news."""
    claims = claim(ledger, 5)
    types = ["fixed_line", "voip", "mobile", None, None]
    said = [Accepted(f"m{n}", line_type=kind, carrier=kind and f"{kind} co") for n, kind in enumerate(types)]
    ledger.record(RUN.run_id, [Settlement(*pair) for pair in zip(claims, said, strict=True)])
    report = DeliveryReport("m4", Status.SENT, line_type="fixed_line", carrier="late")
    ledger.record_reports([ReceivedReport(report, RUN.run_id, 4)])
    at_ms = store.clock.ms
    assert ledger.typed_numbers(RUN.run_id).rows() == [
        (0, "fixed_line", "fixed_line co", at_ms),
        (1, "voip", "voip co", at_ms),
        (4, "fixed_line", "late", at_ms),
    ]
    ledger.erase_sentences(RUN.run_id, seqs=[0])
    assert ledger.typed_numbers(RUN.run_id)["seq"].to_list() == [1, 4]


def test_the_sender_of_a_claim_is_noted_and_forgotten_with_it(ledger: Ledger, store: Any) -> None:
    first, other = claim(ledger, 2)
    assert ledger.use_senders(RUN.run_id, [(first, "+12025550101")]) == 1
    assert store.open().journal(RUN.run_id)["sender"].to_list() == ["+12025550101", None]
    record(ledger, first, DEFERRED)
    assert row(ledger)["sender"] == "+12025550101", "what was tried"
    assert ledger.use_senders(RUN.run_id, [(first, "+12025550102")]) == 0, "no intent any more"
    (again,) = claim(ledger)
    assert row(ledger)["sender"] is None, "the next try begins with the planned one"
    assert ledger.use_senders(RUN.run_id, [(first, "+12025550102")]) == 0, "an older claim"
    ledger.use_senders(RUN.run_id, [(again, "+12025550102")])
    record(ledger, again, UNKNOWN)
    assert row(ledger)["sender"] == "+12025550102"
    ledger.use_senders(RUN.run_id, [(other, "+12025550103")])
    ledger.release(RUN.run_id, [other])
    assert row(ledger, 1)["sender"] is None


def test_a_prefetched_claim_begins_with_the_planned_sender(ledger: Ledger, store: Any) -> None:
    (first,) = claim(ledger)
    ledger.use_senders(RUN.run_id, [(first, "+12025550101")])
    record(ledger, first, DEFERRED)
    store.clock.ms += 10 * LEASE_MS
    assert ledger.prefetch(RUN.run_id, limit=1) == [0]
    assert len(ledger.claim_prefetched(RUN.run_id, [0], lease_ms=LEASE_MS)) == 1
    assert row(ledger)["sender"] is None


def test_the_journal_of_some_states_and_reasons(ledger: Ledger) -> None:
    one, two, three, *_ = claim(ledger, 5)
    record(ledger, one, ACCEPTED)
    record(ledger, two, Rejected(Reason.LANDLINE))
    record(ledger, three, Rejected(Reason.CONTENT))
    asked: dict[tuple[Any, Any], list[int]] = {
        (None, None): [0, 1, 2, 3, 4],
        ((SubmissionState.ACCEPTED,), None): [0],
        ((SubmissionState.INTENT, SubmissionState.ACCEPTED), None): [0, 3, 4],
        (None, (Reason.LANDLINE,)): [1],
        ((SubmissionState.REJECTED,), (Reason.CONTENT, Reason.OTHER)): [2],
        ((SubmissionState.ACCEPTED,), (Reason.CONTENT,)): [],
        ((), None): [],
    }
    for (states, reasons), seqs in asked.items():
        found = ledger.journal(RUN.run_id, states=states, reasons=reasons)
        assert (found["seq"].to_list(), dict(found.schema)) == (seqs, JOURNAL_SCHEMA)


def test_reached_is_whoever_has_the_message_or_may_have_it(ledger: Ledger) -> None:
    accepted, rejected, unknown, deferred, _intent = claim(ledger, 5)
    record(ledger, accepted, ACCEPTED)
    record(ledger, rejected, REJECTED)
    record(ledger, unknown, UNKNOWN)
    record(ledger, deferred, DEFERRED)
    reached = ledger.reached(RUN.run_id)
    assert (reached.to_list(), reached.dtype) == ([0, 2, 4], pl.UInt32())
    assert ledger.reached(RUN.run_id, seqs=[1, 2, 4, 9]).to_list() == [2, 4]


def test_what_was_sent_since_a_time_has_the_time_of_its_last_claim(ledger: Ledger) -> None:
    before_ms = ledger.now_ms()
    accepted, rejected, unknown, deferred, _intent = claim(ledger, 5)
    record(ledger, accepted, ACCEPTED)
    record(ledger, rejected, REJECTED)
    record(ledger, unknown, UNKNOWN)
    record(ledger, deferred, DEFERRED)
    sent = ledger.sent(RUN.run_id, since_ms=before_ms)
    assert (sent["seq"].to_list(), dict(sent.schema)) == ([0, 2, 4], SENT_SCHEMA)
    assert sent["status"].to_list() == [ACCEPTED.status.value, None, None]
    last_ms = max(sent["at_ms"])
    assert ledger.sent(RUN.run_id, since_ms=last_ms + 1).is_empty()
    assert ledger.sent(RUN.run_id, since_ms=before_ms, seqs=[1, 2, 4, 9])["seq"].to_list() == [2, 4]


def test_only_what_is_pending_is_canceled(ledger: Ledger) -> None:
    accepted, unknown, deferred, intent = claim(ledger, 4)
    record(ledger, accepted, ACCEPTED)
    record(ledger, unknown, UNKNOWN)
    record(ledger, deferred, DEFERRED)
    before = ledger.counts(RUN.run_id)
    asked = [accepted.seq, unknown.seq, deferred.seq, intent.seq, 6, RUN.messages + 5]
    assert ledger.cancel(RUN.run_id, asked, CancelReason.FORGOTTEN) == 2, "the deferred one, and one never claimed"
    journal = ledger.journal(RUN.run_id, states=[SubmissionState.CANCELED])
    assert journal.select("seq", "reason").rows() == [(deferred.seq, "forgotten"), (6, "forgotten")]
    after = ledger.counts(RUN.run_id)
    assert (after.canceled, after.pending) == (2, before.pending - 2)
    assert ledger.cancel(RUN.run_id, asked, CancelReason.FORGOTTEN) == 0
    assert ledger.cancel(RUN.run_id, [], CancelReason.FORGOTTEN) == 0
    ledger.check(RUN.run_id)
    later = [other.seq for other in ledger.claim(RUN.run_id, limit=100, lease_ms=1000)]
    assert later == [seq for seq in range(4, RUN.messages) if seq != 6], "those before and behind it are sent"


def test_sentences_of_providers_are_erased_and_nothing_else(ledger: Ledger) -> None:
    first, second, third = claim(ledger, 3)
    for one, text in ((first, "to +12025550101"), (second, "to +12025550102"), (third, "too long")):
        record(ledger, one, Rejected(Reason.OTHER, "7", text))
    assert ledger.erase_sentences(RUN.run_id, seqs=[first.seq]) == 1
    assert ledger.erase_mentions("12025550102") == 1
    ledger.compact()
    journal = ledger.journal(RUN.run_id)
    assert journal.select("reason", "error_code", "error_message").rows() == [
        ("other", "7", None),
        ("other", "7", None),
        ("other", "7", "too long"),
    ]
    assert ledger.erase_sentences(RUN.run_id) == 1


def test_the_journal_of_some_columns(ledger: Ledger) -> None:
    record(ledger, claim(ledger)[0], ACCEPTED)
    whole = ledger.journal(RUN.run_id)
    for columns in (("status", "seq"), ("sent_at", "smart_encoded", "route"), [*whole.columns]):
        named = [name for name in whole.columns if name in columns]
        assert ledger.journal(RUN.run_id, columns=columns).equals(whole.select(named))
        assert ledger.journal(RUN.run_id, columns=columns, seqs=[]).schema == whole.select(named).schema
    with pytest.raises(ValueError, match="no column body"):
        ledger.journal(RUN.run_id, columns=["seq", "body"])


@pytest.mark.parametrize("seqs", [range(1, 3), range(2, 2), range(9, 99), range(0, 3, 2)], ids=str)
def test_the_journal_of_a_range(ledger: Ledger, seqs: range) -> None:
    claim(ledger, 3)
    assert ledger.journal(RUN.run_id, seqs=seqs).equals(ledger.journal(RUN.run_id, seqs=[*seqs]))


def test_the_journal_of_some_messages(ledger: Ledger) -> None:
    record(ledger, claim(ledger, 3)[1], ACCEPTED)
    assert ledger.journal(RUN.run_id, seqs=[2, 1, 7])["seq"].to_list() == [1, 2]
    accepted = ledger.journal(RUN.run_id, states=[SubmissionState.ACCEPTED], seqs=[2, 1])
    assert (accepted["seq"].to_list(), dict(accepted.schema)) == ([1], JOURNAL_SCHEMA)
    assert ledger.journal(RUN.run_id, seqs=[]).is_empty()


@pytest.mark.parametrize("outcome", [ACCEPTED, REJECTED, UNKNOWN], ids=["accepted", "rejected", "unknown"])
def test_an_outcome_and_an_orphan_keep_the_sender(ledger: Ledger, outcome: Outcome) -> None:
    first, orphan = claim(ledger, 2)
    ledger.use_senders(RUN.run_id, [(first, "+12025550101"), (orphan, "+12025550102")])
    record(ledger, first, outcome)
    ledger.orphans_to_unknown(RUN.run_id)
    assert ledger.journal(RUN.run_id)["sender"].to_list() == ["+12025550101", "+12025550102"]


@pytest.mark.parametrize("claimed", [0, 1, 9])
def test_the_journal_has_its_schema_and_one_row_for_each_message_ever_claimed(ledger: Ledger, claimed: int) -> None:
    claim(ledger, claimed)
    journal = ledger.journal(RUN.run_id)
    assert dict(journal.schema) == JOURNAL_SCHEMA
    assert journal["seq"].to_list() == list(range(claimed))


@pytest.mark.parametrize(
    ("oddity", "column", "stored"),
    [
        pytest.param({"created_at": "yesterday"}, "created_at", None, id="a time that is none"),
        pytest.param({"created_at": "9999-12-31T23:59:59-23:59"}, "created_at", None, id="a time past the last"),
        pytest.param({"created_at": "2026-01-01"}, "created_at", datetime(2026, 1, 1, tzinfo=UTC), id="a date"),
        pytest.param(
            {"sent_at": "2026-01-01T00:00:01"},
            "sent_at",
            datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC),
            id="no zone",
        ),
        pytest.param({"segments": -1}, "segments", None, id="fewer than no segments"),
        pytest.param({"segments": 2**70}, "segments", None, id="more segments than a number holds"),
        pytest.param({"error_message": "half \ud83d"}, "error_message", "half ?", id="half an emoji"),
        pytest.param({"provider_status": ""}, "provider_status", "", id="an empty word"),
        pytest.param({"error_message": "a\x00b"}, "error_message", "a\x00b", id="a NUL"),
        pytest.param({"price": "0,0075 €"}, "price", "0,0075 €", id="a price in its own way"),
    ],
)
def test_a_providers_odd_value_never_costs_the_record_of_an_acceptance(
    ledger: Ledger, oddity: dict[str, Any], column: str, stored: object
) -> None:
    (one,) = claim(ledger)
    assert record(ledger, one, ACCEPTED._replace(**oddity)) == 1
    kept = row(ledger)
    assert (kept["state"], kept["message_id"], kept[column]) == ("accepted", "SM1", stored)


@pytest.mark.parametrize(
    "message_id", ["", "a b", "a'b\"c\\d", "Größe 😀", "a\x00b", "a\nb", "0012", "1e3", "null", "[1]", "x" * 5000]
)
def test_an_id_is_kept_as_the_provider_wrote_it(ledger: Ledger, message_id: str) -> None:
    """Whatever it looks like: it is what the message is found by."""
    (one,) = claim(ledger)
    assert record(ledger, one, Accepted(message_id)) == 1
    assert row(ledger)["message_id"] == message_id
    assert ledger.holders_of({message_id, "another"}) == [(message_id, RUN.run_id, 0)]


# The end


def test_a_run_is_finished_when_nothing_is_pending_or_in_flight(ledger: Ledger, store: Any) -> None:
    assert not ledger.finish_run(RUN.run_id)
    claims = claim(ledger, RUN.messages)
    assert not ledger.finish_run(RUN.run_id)
    for one, outcome in zip(claims, itertools.cycle([ACCEPTED, REJECTED, UNKNOWN]), strict=False):
        record(ledger, one, outcome)
    finished_at = store.clock.ms
    assert ledger.finish_run(RUN.run_id)
    store.clock.ms += 1000
    assert ledger.finish_run(RUN.run_id)
    assert ledger.run(RUN.run_id).finished_at_ms == finished_at, "the first end is the end"


def test_a_finished_run_is_open_again_when_a_message_comes_back(ledger: Ledger) -> None:
    record_all = [Settlement(one, UNKNOWN) for one in claim(ledger, RUN.messages)]
    ledger.record(RUN.run_id, record_all)
    assert ledger.finish_run(RUN.run_id)
    ledger.reconcile(RUN.run_id, [LogFinding(3, ACCEPTED)])
    assert ledger.run(RUN.run_id).finished_at_ms is not None
    ledger.reconcile(RUN.run_id, [LogFinding(4, None)])
    assert ledger.run(RUN.run_id).finished_at_ms is None
    assert not ledger.finish_run(RUN.run_id)


def test_everything_is_there_after_reopening(store: Any) -> None:
    ledger = store.open()
    ledger.create_run(RUN)
    claims = claim(ledger, 5)
    record(ledger, claims[0], FULL)
    record(ledger, claims[1], DEFERRED, ledger.now_ms() + 50)
    journal, counts = ledger.journal(RUN.run_id), ledger.counts(RUN.run_id)
    ledger.close()
    again = store.open()
    assert again.journal(RUN.run_id).equals(journal)
    assert again.counts(RUN.run_id) == counts
    assert record(again, claims[2], ACCEPTED) == 1, "a claim outlives the handle that gave it"


# What a person may say, and what nobody may


def test_a_person_may_have_unknown_messages_sent_again(ledger: Ledger, store: Any) -> None:
    """Guarded by the state: what is settled, or under way, stays as it is. How often it was said is kept."""
    claims = claim(ledger, RUN.messages)
    for one, outcome in zip(claims, [ACCEPTED, REJECTED, UNKNOWN, UNKNOWN, DEFERRED], strict=False):
        record(ledger, one, outcome)
    assert ledger.resend_unknown(RUN.run_id) == 2
    assert ledger.resend_unknown(RUN.run_id) == 0
    journal = ledger.journal(RUN.run_id)
    assert journal["resent"].to_list() == [0, 0, 1, 1] + [0] * 6
    assert journal["state"].to_list()[:6] == ["accepted", "rejected", "pending", "pending", "pending", "intent"]
    assert row(ledger, 2)["error_message"] is None
    again = claim(ledger, 3)
    assert [(one.seq, one.attempt) for one in again] == [(2, 2), (3, 2), (4, 2)]
    record(ledger, again[0], UNKNOWN)
    ledger.resend_unknown(RUN.run_id)
    assert row(ledger, 2)["resent"] == 2
    assert record(ledger, claims[2], ACCEPTED) == 0, "the first try's claim is worth nothing any more"


def test_a_finished_run_is_open_again_when_a_person_resends(ledger: Ledger) -> None:
    ledger.record(RUN.run_id, [Settlement(one, UNKNOWN) for one in claim(ledger, RUN.messages)])
    assert ledger.finish_run(RUN.run_id)
    ledger.resend_unknown(RUN.run_id)
    assert ledger.run(RUN.run_id).finished_at_ms is None


def test_a_run_in_any_state_checks(ledger: Ledger) -> None:
    ledger.check(RUN.run_id)
    claims = claim(ledger, 6)
    for one, outcome in zip(claims, OUTCOMES.values(), strict=False):
        record(ledger, one, outcome)
    ledger.check(RUN.run_id)
    ledger.orphans_to_unknown(RUN.run_id)
    ledger.resend_unknown(RUN.run_id)
    ledger.check(RUN.run_id)


# The canary


def test_outcomes_of_a_range_are_counted_by_state_status_and_reason(ledger: Ledger) -> None:
    assert ledger.last_receipt(RUN.run_id) is None
    outcomes = [
        Accepted("SM0", Status.DELIVERED),
        Accepted("SM1", Status.UNDELIVERED, reason=Reason.FILTERED),
        REJECTED,
        ACCEPTED,
        UNKNOWN,
        DEFERRED,
        CANCELED,
    ]
    for one, outcome in zip(claim(ledger, len(outcomes)), outcomes, strict=True):
        record(ledger, one, outcome)
    counted = ledger.outcomes(RUN.run_id, from_seq=0, below_seq=10)
    assert {(entry.state.value, entry.status, entry.reason, entry.messages) for entry in counted} == {
        ("accepted", "delivered", None, 1),
        ("accepted", "undelivered", "filtered", 1),
        ("accepted", "queued", None, 1),
        ("rejected", None, "blocked", 1),
        ("unknown", None, None, 1),
    }
    assert [entry.messages for entry in ledger.outcomes(RUN.run_id, from_seq=1, below_seq=3)] == [1, 1]
    assert ledger.last_receipt(RUN.run_id) == 1
    assert [ledger.last_receipt(RUN.run_id, below_seq=below) for below in (0, 1, 2, 10)] == [None, 0, 1, 1]
    assert [ledger.last_receipt(RUN.run_id, from_seq=first) for first in (0, 1, 2)] == [1, 1, None]


def test_what_a_canary_decided_is_kept_with_its_run(ledger: Ledger, store: Any) -> None:
    begun = replace(RUN, run_id="run-2", canary=Canary(3))
    ledger.create_run(begun)
    assert store.open().run("run-2").canary == Canary(3)
    decided = Canary(3, CanaryState.WAITING, waiting_since_ms=7)
    ledger.note_canary("run-2", decided)
    assert store.open().run("run-2") == replace(begun, canary=decided)
    assert store.open().run(RUN.run_id).canary is None
