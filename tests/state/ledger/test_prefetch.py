"""What every ledger does for a feed that looks ahead: sets messages aside, and claims them in an order of its own."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from sender.core.outcomes import Outcome
from sender.state.ledger import Claim, Counts, Ledger
from tests.state.ledger.steps import ACCEPTED, DEFERRED, LEASE_MS, REJECTED, RUN, UNKNOWN, claim, record, row


def prefetch(ledger: Ledger, limit: int, **options: Any) -> list[int]:
    return ledger.prefetch(RUN.run_id, limit=limit, **options)


def claim_prefetched(ledger: Ledger, *seqs: int, run_id: str = RUN.run_id) -> list[Claim]:
    return ledger.claim_prefetched(run_id, seqs, lease_ms=LEASE_MS)


# Set aside


def test_what_is_prefetched_is_pending_and_in_order(ledger: Ledger) -> None:
    assert prefetch(ledger, 3) == [0, 1, 2]
    assert ledger.counts(RUN.run_id) == Counts(pending=10, intent=0, accepted=0, rejected=0, canceled=0, unknown=0)
    assert ledger.journal(RUN.run_id)["attempts"].to_list() == [0, 0, 0]
    assert not ledger.finish_run(RUN.run_id)
    ledger.check(RUN.run_id)


def test_it_is_told_again_until_it_is_claimed_or_the_caller_has_it(ledger: Ledger) -> None:
    assert prefetch(ledger, 3) == [0, 1, 2]
    assert prefetch(ledger, 3) == [0, 1, 2], "a process that died has forgotten them"
    assert prefetch(ledger, 3, exclude={0, 2}) == [1, 3, 4]
    assert prefetch(ledger, 100, exclude={0, 1, 2, 3, 4}) == [5, 6, 7, 8, 9]
    claim_prefetched(ledger, 1, 7)
    assert prefetch(ledger, 100) == [0, 2, 3, 4, 5, 6, 8, 9]


def test_processes_that_ask_for_parts_get_different_ones(ledger: Ledger) -> None:
    assert prefetch(ledger, 2, partition=(0, 2)) == [0, 2]
    assert prefetch(ledger, 100, partition=(1, 2)) == [1, 3, 5, 7, 9], "also those that the other had made room for"
    assert prefetch(ledger, 100, partition=(0, 2), exclude={0, 2}) == [4, 6, 8]
    claim_prefetched(ledger, 1, 4)
    assert prefetch(ledger, 100) == [0, 2, 3, 5, 6, 7, 8, 9], "whoever comes first may have them all the same"
    ledger.check(RUN.run_id)


@pytest.mark.parametrize("limit", [0, -1])
def test_nothing_is_prefetched_for_nothing(ledger: Ledger, limit: int) -> None:
    assert prefetch(ledger, limit) == []
    assert ledger.journal(RUN.run_id).is_empty()


def test_below_seq_bounds_what_is_prefetched(ledger: Ledger) -> None:
    assert prefetch(ledger, 10, below_seq=2) == [0, 1]
    assert prefetch(ledger, 10) == list(range(10))
    assert prefetch(ledger, 10, below_seq=2) == [0, 1]
    assert prefetch(ledger, 10, below_seq=100, exclude=range(10)) == []


def test_deferred_messages_that_are_due_are_prefetched_first(ledger: Ledger, store: Any) -> None:
    now = store.clock.ms
    for one, not_before in zip(claim(ledger, 3), [now + 20, now + 10, now + 30], strict=True):
        record(ledger, one, DEFERRED, not_before)
    assert prefetch(ledger, 1) == [3], "nothing is due yet"
    store.clock.ms = now + 20
    assert prefetch(ledger, 4) == [3, 1, 0, 4], "the longest due before the others; 3 waits for nothing at all"


def test_a_claim_in_order_takes_what_was_prefetched_first(ledger: Ledger) -> None:
    """As a run does whose campaign has lost the limits of its numbers, or another process after a crash."""
    prefetch(ledger, 4)
    claim_prefetched(ledger, 2)
    assert [(one.seq, one.attempt, one.fence) for one in claim(ledger, 5)] == [
        (0, 1, 1),
        (1, 1, 1),
        (3, 1, 1),
        (4, 1, 1),
        (5, 1, 1),
    ]


# Claimed by name


def test_what_was_prefetched_is_claimed_in_any_order(ledger: Ledger, store: Any) -> None:
    prefetch(ledger, 6)
    deadline = ledger.now_ms() + LEASE_MS
    assert claim_prefetched(ledger, 5, 0, 3) == [Claim(seq, 1, deadline, 1) for seq in (0, 3, 5)]
    assert ledger.counts(RUN.run_id).intent == 3
    assert store.open().counts(RUN.run_id).intent == 3, "committed before it returns"
    assert record(ledger, Claim(3, 1, deadline, 1), ACCEPTED) == 1


def test_what_was_never_prefetched_is_not_claimed_by_name(ledger: Ledger) -> None:
    prefetch(ledger, 2)
    assert claim_prefetched(ledger, 2, 9, 10, 4_000_000_000) == []
    assert claim_prefetched(ledger) == []
    assert len(ledger.journal(RUN.run_id)) == 2


@pytest.mark.parametrize(
    "outcome", [None, ACCEPTED, REJECTED, UNKNOWN], ids=["intent", "accepted", "rejected", "unknown"]
)
def test_what_is_under_way_or_settled_is_not_claimed_by_name(ledger: Ledger, outcome: Outcome | None) -> None:
    prefetch(ledger, 2)
    (one,) = claim_prefetched(ledger, 0)
    if outcome:
        record(ledger, one, outcome)
    assert [one.seq for one in claim_prefetched(ledger, 0, 1)] == [1]


def test_a_deferred_message_is_not_claimed_by_name_before_its_time(ledger: Ledger, store: Any) -> None:
    prefetch(ledger, 1)
    (one,) = claim_prefetched(ledger, 0)
    record(ledger, one, DEFERRED, store.clock.ms + 10)
    assert claim_prefetched(ledger, 0) == []
    store.clock.ms += 10
    assert [(again.seq, again.attempt, again.fence) for again in claim_prefetched(ledger, 0)] == [(0, 2, 2)]


def test_a_release_gives_back_what_was_claimed_by_name(ledger: Ledger) -> None:
    prefetch(ledger, 3)
    claims = claim_prefetched(ledger, 1, 2)
    ledger.use_senders(RUN.run_id, [(claims[0], "+12025550101")])
    assert ledger.release(RUN.run_id, claims) == 2
    assert row(ledger, 1)["sender"] is None
    assert prefetch(ledger, 3) == [0, 1, 2]
    assert [(one.attempt, one.fence) for one in claim_prefetched(ledger, 1, 2)] == [(1, 2), (1, 2)]
    assert ledger.release(RUN.run_id, claims) == 0, "an older claim"


def test_other_runs_are_not_touched(ledger: Ledger) -> None:
    ledger.create_run(replace(RUN, run_id="run-2"))
    prefetch(ledger, 5)
    assert claim_prefetched(ledger, 0, 1, run_id="run-2") == []
    assert ledger.prefetch("run-2", limit=2) == [0, 1]
    assert [one.seq for one in claim_prefetched(ledger, 1, run_id="run-2")] == [1]
    assert ledger.counts(RUN.run_id).intent == 0


def test_two_handles_that_want_the_same_never_both_get_it(store: Any) -> None:
    store.open().create_run(replace(RUN, rows=600, messages=600, skipped=0))
    handles = [store.open(), store.open()]
    start = threading.Barrier(len(handles))
    taken: list[list[int]] = [[] for _ in handles]

    def work(ledger: Ledger, mine: list[int]) -> None:
        start.wait()
        while seqs := prefetch(ledger, 20):
            mine.extend(one.seq for one in claim_prefetched(ledger, *seqs))

    threads = [threading.Thread(target=work, args=pair) for pair in zip(handles, taken, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken[0] + taken[1]) == list(range(600))


# What a resumed run begins with


def test_what_changed_last_comes_first_and_what_did_not_leave_not_at_all(ledger: Ledger, store: Any) -> None:
    begun = store.clock.ms
    assert ledger.last_changed(RUN.run_id, limit=9) == []
    prefetch(ledger, 3)
    assert ledger.last_changed(RUN.run_id, limit=9) == [], "what was set aside may not leave"
    store.clock.ms += 5
    claim_prefetched(ledger, 2)
    store.clock.ms += 5
    one, other = claim(ledger, 2)
    assert ledger.last_changed(RUN.run_id, limit=9) == [(1, begun + 10), (0, begun + 10), (2, begun + 5)]
    store.clock.ms += 5
    record(ledger, one, ACCEPTED)
    ledger.release(RUN.run_id, [other])
    assert ledger.last_changed(RUN.run_id, limit=9) == [(0, begun + 15), (2, begun + 5)], "it left before its outcome"
    assert store.open().last_changed(RUN.run_id, limit=1) == [(0, begun + 15)]


def test_an_orphan_may_have_left_until_it_is_found(ledger: Ledger, store: Any) -> None:
    claim(ledger)
    store.clock.ms += 60_000
    ledger.orphans_to_unknown(RUN.run_id)
    assert ledger.last_changed(RUN.run_id, limit=9) == [(0, store.clock.ms)]


def test_what_changed_is_the_runs_own(ledger: Ledger) -> None:
    ledger.create_run(replace(RUN, run_id="run-2"))
    claim(ledger)
    assert ledger.last_changed("run-2", limit=9) == []
    assert ledger.pending_from("run-2") == (0, [])


def test_pending_is_what_was_never_claimed_and_what_came_back(ledger: Ledger) -> None:
    assert ledger.pending_from(RUN.run_id) == (0, [])
    first, second, third = claim(ledger, 3)
    prefetch(ledger, 2)
    assert ledger.pending_from(RUN.run_id) == (5, [3, 4])
    record(ledger, first, ACCEPTED)
    record(ledger, second, DEFERRED, ledger.now_ms() + 60_000)
    ledger.release(RUN.run_id, [third])
    assert ledger.pending_from(RUN.run_id) == (5, [1, 2, 3, 4])
