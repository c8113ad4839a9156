"""A run with several routes: what each may claim, what a move leaves behind, and that doubt never moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sender.core.outcomes import Accepted, CancelReason, Deferred, Outcome, Reason, Rejected, SubmissionState, Unknown
from sender.state.ledger import Claim, LogFinding, Settlement
from sender.state.ledger_values import RouteClaims, RunRoute
from sender.state.sqlite.ledger import SqliteLedger
from tests.state.ledger.steps import LEASE_MS, RUN

R = RUN.run_id
ROUTES = [RunRoute("signalwire", "project", "https://a.example.com"), RunRoute("twilio", "AC1", None)]
FIRST, SECOND = RouteClaims(0), RouteClaims(1, begins=False)
STANDS_IN = RouteClaims(1, also=(0,))
NOT_ALLOWED = Rejected(Reason.SENDER_NOT_ALLOWED, "21408", "not to this region")
NO_FUNDS = Deferred(Reason.INSUFFICIENT_FUNDS, "30002", "no funds", halt=True)


@pytest.fixture
def routed(tmp_path: Path) -> Iterator[SqliteLedger]:
    ledger = SqliteLedger.open(tmp_path / "routes.sqlite3")
    ledger.create_run(RUN, routes=ROUTES)
    yield ledger
    ledger.close()


def claim(ledger: SqliteLedger, routed: RouteClaims, limit: int = 1) -> list[Claim]:
    return ledger.claim(R, limit=limit, lease_ms=LEASE_MS, routed=routed)


def row(ledger: SqliteLedger, seq: int = 0) -> dict[str, Any]:
    return ledger.journal(R, seqs=[seq]).row(0, named=True)


def test_a_run_keeps_where_its_routes_lead(routed: SqliteLedger) -> None:
    assert routed.routes(R) == tuple(ROUTES)
    routed.create_run(replace(RUN, run_id="run-2"))
    assert routed.routes("run-2") == ()


def test_a_refusal_moves_the_message_in_one_commit_with_what_was_refused(routed: SqliteLedger) -> None:
    (mine,) = claim(routed, FIRST)
    routed.use_senders(R, [(mine, "+12025550100")])
    assert routed.record(R, [Settlement(mine, NOT_ALLOWED, moves_to=1)]) == 1
    now = row(routed)
    assert (now["state"], now["route"], now["attempts"], now["sender"], now["reason"]) == ("pending", 1, 1, None, None)
    (moved,) = routed.moves(R).rows(named=True)
    said = ("seq", "attempt", "route", "sender", "outcome", "reason", "error_code", "error_message")
    assert [moved[name] for name in said] == [
        *(0, 1, 0, "+12025550100", "rejected"),
        *("sender_not_allowed", "21408", "not to this region"),
    ]
    assert [one.seq for one in claim(routed, FIRST, 2)] == [1, 2], "what was refused never comes back"
    (theirs,) = claim(routed, SECOND, 5)
    assert (theirs.seq, theirs.attempt, theirs.earlier, theirs.refused_by) == (0, 2, 1, 1)
    routed.check(R)


def test_each_route_has_the_messages_that_it_accepted(routed: SqliteLedger) -> None:
    assert routed.accepted_by_route(R) == {}
    kept, moving, doubtful = claim(routed, FIRST, 3)
    accepted = Accepted("SM1")
    routed.record(
        R,
        [Settlement(kept, accepted), Settlement(moving, NOT_ALLOWED, moves_to=1), Settlement(doubtful, Unknown("cut"))],
    )
    assert routed.accepted_by_route(R) == {0: 1}
    routed.record(R, [Settlement(one, accepted) for one in claim(routed, SECOND, 5)])
    assert routed.accepted_by_route(R) == {0: 1, 1: 1}


def test_what_waits_at_a_route_that_was_left_is_taken_over_with_its_last_answer(routed: SqliteLedger) -> None:
    asked, waiting = claim(routed, FIRST, 2)
    routed.record(R, [Settlement(asked, NO_FUNDS)])
    routed.release(R, [waiting])
    assert claim(routed, SECOND, 9) == []
    taken = claim(routed, STANDS_IN, 3)
    assert [(one.seq, one.attempt, one.earlier) for one in taken] == [(0, 2, 1), (1, 1, 0), (2, 1, 0)]
    assert routed.moves(R).select("seq", "outcome", "reason").rows() == [(0, "deferred", "insufficient_funds")]
    assert [row(routed, seq)["route"] for seq in range(3)] == [1, 1, 1]
    assert claim(routed, FIRST, 1)[0].seq == 3, "and the first may go on with what is new"


def test_prefetched_messages_are_claimed_by_the_same_rules(routed: SqliteLedger) -> None:
    assert routed.prefetch(R, limit=2, routed=FIRST) == [0, 1]
    (mine,) = routed.claim_prefetched(R, [0], lease_ms=LEASE_MS, routed=FIRST)
    routed.record(R, [Settlement(mine, NOT_ALLOWED, moves_to=1)])
    assert routed.claim_prefetched(R, [0], lease_ms=LEASE_MS, routed=FIRST) == []
    assert routed.claim_prefetched(R, [0], lease_ms=LEASE_MS, routed=RouteClaims(0, also=(1,))) == []
    assert routed.moves(R).height == 1, "what may not be had is not noted as moved either"
    assert routed.prefetch(R, limit=5, routed=SECOND) == [0]
    assert routed.next_due_ms(R, routed=SECOND) is not None
    assert routed.next_due_ms(R, routed=FIRST) is not None
    assert routed.prefetch(R, limit=5, exclude=[1], routed=RouteClaims(0, begins=False)) == []


def test_doubt_stays_where_it_is(routed: SqliteLedger) -> None:
    doubted, orphan = claim(routed, FIRST, 2)
    routed.record(R, [Settlement(doubted, Unknown("no answer"))])
    routed.orphans_to_unknown(R)
    assert [one.seq for one in claim(routed, RouteClaims(1, also=(0,), begins=False), 9)] == []
    assert routed.record(R, [Settlement(doubted, NOT_ALLOWED, moves_to=1)]) == 1, "its own answer, late"
    assert (row(routed)["state"], row(routed)["route"]) == ("rejected", 0)
    routed.reconcile(R, [LogFinding(orphan.seq, None)])
    (again,) = claim(routed, RouteClaims(1, also=(0,), begins=False), 9)
    assert (again.seq, row(routed, 1)["route"]) == (1, 1), "proved absent is proved"


def test_what_a_person_has_sent_again_stays_on_its_route(routed: SqliteLedger) -> None:
    """It may have been accepted there the first time."""
    (doubted,) = claim(routed, FIRST)
    routed.record(R, [Settlement(doubted, Unknown("no answer"))])
    routed.resend_unknown(R)
    assert claim(routed, RouteClaims(1, also=(0,), begins=False), 9) == []
    (again,) = claim(routed, RouteClaims(0, begins=False))
    routed.record(R, [Settlement(again, NOT_ALLOWED, moves_to=1)])
    assert (row(routed)["state"], row(routed)["route"]) == ("rejected", 0)
    assert routed.moves(R).is_empty()


def test_in_a_closed_run_nothing_moves(routed: SqliteLedger) -> None:
    (mine,) = claim(routed, FIRST)
    routed.close_run(R, by="anna")
    routed.record(R, [Settlement(mine, NOT_ALLOWED, moves_to=1)])
    assert row(routed)["state"] == "rejected"


def test_an_older_claim_moves_nothing(routed: SqliteLedger) -> None:
    (older,) = claim(routed, FIRST)
    routed.release(R, [older])
    (newer,) = claim(routed, FIRST)
    assert routed.record(R, [Settlement(older, NOT_ALLOWED, moves_to=1)]) == 0
    assert routed.moves(R).is_empty()
    assert routed.record(R, [Settlement(newer, Accepted("id"))]) == 1


def test_what_was_said_before_a_move_is_erased_with_the_person(routed: SqliteLedger) -> None:
    (mine,) = claim(routed, FIRST)
    routed.record(R, [Settlement(mine, NOT_ALLOWED._replace(error_message="+12025550101 is abroad"), moves_to=1)])
    routed.erase_mentions("2025550101")
    assert routed.moves(R)["error_message"].to_list() == [None]
    routed.record(R, [Settlement(claim(routed, FIRST)[0], NOT_ALLOWED, moves_to=1)])
    routed.erase_sentences(R, seqs=[1])
    assert routed.moves(R)["error_message"].to_list() == [None, None]
    assert routed.moves(R)["error_code"].to_list() == ["21408", "21408"]


STEPS = st.lists(
    st.tuples(st.sampled_from(["claim", "stand in", "answer", "release", "die", "absent"]), st.integers(0, 99)),
    max_size=60,
)
ANSWERS: tuple[tuple[Outcome, bool], ...] = (
    (Accepted("id"), False),
    (NOT_ALLOWED, True),
    (NO_FUNDS, False),
    (Unknown("?"), False),
    (Rejected(Reason.INVALID_NUMBER, "21211", "no number"), False),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_happens_no_message_is_under_way_or_accepted_twice(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    ledger = SqliteLedger.open(tmp_path_factory.mktemp("routes") / "ledger.sqlite3")
    ledger.create_run(RUN, routes=ROUTES)
    held: dict[int, tuple[Claim, int]] = {}
    refused: dict[int, set[int]] = {seq: set() for seq in range(RUN.messages)}
    in_doubt: set[int] = set()
    over: set[int] = set()
    for what, number in steps:
        route = number % 2
        if what in ("claim", "stand in"):
            also = (1 - route,) if what == "stand in" else ()
            for one in claim(ledger, RouteClaims(route, also, begins=number % 3 > 0), 1 + number % 3):
                assert one.seq not in held, "claimed while it was under way"
                assert one.seq not in in_doubt | over
                assert route not in refused[one.seq]
                held[one.seq] = (one, route)
        elif what == "answer" and held:
            seq, (one, route) = list(held.items())[number % len(held)]
            outcome, moves = ANSWERS[number % len(ANSWERS)]
            onward = 1 - route if moves and 1 - route not in refused[seq] else None
            ledger.record(R, [Settlement(one, outcome, moves_to=onward)])
            del held[seq]
            if moves:
                refused[seq].add(route)
            if isinstance(outcome, Unknown):
                in_doubt.add(seq)
            elif isinstance(outcome, Accepted) or (isinstance(outcome, Rejected) and onward is None):
                over.add(seq)
        elif what == "release" and held:
            seq, (one, _) = list(held.items())[number % len(held)]
            ledger.release(R, [one])
            del held[seq]
        elif what == "die":
            ledger.orphans_to_unknown(R)
            in_doubt |= held.keys()
            held.clear()
        elif what == "absent" and in_doubt:
            seq = sorted(in_doubt)[number % len(in_doubt)]
            ledger.reconcile(R, [LogFinding(seq, None)])
            in_doubt.discard(seq)
    ledger.check(R)
    assert ledger.find_drift(R) == {}
    counts = ledger.counts(R)
    assert (counts.intent, counts.unknown) == (len(held), len(in_doubt))
    assert counts.accepted + counts.rejected == len(over)
    moves = ledger.moves(R)
    assert moves.filter(outcome="rejected").height <= sum(len(routes) for routes in refused.values())
    ledger.cancel(R, list(range(RUN.messages)), CancelReason.FORGOTTEN)
    assert ledger.journal(R, states=[SubmissionState.PENDING]).is_empty()
    ledger.close()
