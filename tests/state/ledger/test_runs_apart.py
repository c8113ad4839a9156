"""Two runs of one ledger with the same history: whatever is done to one, the other stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sender.core.outcomes import CancelReason, SubmissionState, Unknown
from sender.state.ledger import Claim, Ledger, LogFinding, Settlement
from tests.state.ledger.steps import ACCEPTED, DEFERRED, LEASE_MS, REJECTED, RUN, UNKNOWN, claim

OTHER = replace(RUN, run_id="run-2", campaign="another")
OUTCOMES = (ACCEPTED, REJECTED, UNKNOWN, DEFERRED)
Step = Callable[[Ledger, str, list[Claim]], Any]


def begin(ledger: Ledger, run_id: str) -> list[Claim]:
    """Messages in every state: four settled ones, two under way, two prefetched, two that nobody has looked at."""
    claims = claim(ledger, 6, run_id)
    ledger.record(run_id, [Settlement(*pair) for pair in zip(claims[:4], OUTCOMES, strict=True)])
    ledger.prefetch(run_id, limit=3)
    return claims


def finish(ledger: Ledger, run_id: str, claims: list[Claim]) -> list[bool]:
    """Whether the run is finished while two messages are under way, and after all have left."""
    before = ledger.finish_run(run_id)
    settled = [Settlement(one, ACCEPTED) for one in [*claims[4:], *claim(ledger, 10, run_id)]]
    ledger.record(run_id, settled)
    return [before, ledger.finish_run(run_id)]


STEPS: dict[str, Step] = {
    "claim": lambda ledger, run_id, claims: [one.seq for one in claim(ledger, 3, run_id)],
    "claim of what is new": lambda ledger, run_id, claims: [one.seq for one in claim(ledger, 9, run_id)],
    "prefetch": lambda ledger, run_id, claims: ledger.prefetch(run_id, limit=9, exclude={6}),
    "claim of what was prefetched": lambda ledger, run_id, claims: [
        one.seq for one in ledger.claim_prefetched(run_id, [3, 6, 7, 8], lease_ms=LEASE_MS)
    ],
    "release": lambda ledger, run_id, claims: ledger.release(run_id, claims),
    "use of another sender": lambda ledger, run_id, claims: ledger.use_senders(
        run_id, [(one, "+12025550199") for one in claims]
    ),
    "record": lambda ledger, run_id, claims: ledger.record(run_id, [Settlement(one, REJECTED) for one in claims]),
    "found in the log": lambda ledger, run_id, claims: ledger.reconcile(run_id, [LogFinding(2, ACCEPTED, 1)]),
    "not in the log": lambda ledger, run_id, claims: ledger.reconcile(run_id, [LogFinding(2, None)]),
    "orphans": lambda ledger, run_id, claims: ledger.orphans_to_unknown(run_id),
    "resend": lambda ledger, run_id, claims: ledger.resend_unknown(run_id),
    "cancel": lambda ledger, run_id, claims: ledger.cancel(run_id, range(10), CancelReason.FORGOTTEN),
    "close": lambda ledger, run_id, claims: ledger.close_run(run_id, by="anna"),
    "pause": lambda ledger, run_id, claims: [ledger.pause_run(run_id, by="anna"), claim(ledger, 1, run_id)],
    "finish": finish,
}


def view(ledger: Ledger, run_id: str) -> list[Any]:
    """All that can be read of a run."""
    return [
        ledger.run(run_id),
        ledger.counts(run_id),
        ledger.journal(run_id).rows(),
        ledger.next_due_ms(run_id),
        ledger.pending_from(run_id),
        ledger.delivering(run_id),
        ledger.last_changed(run_id, limit=20),
        ledger.reached(run_id).to_list(),
        ledger.sent(run_id, since_ms=0).rows(),
    ]


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
def test_whatever_is_done_to_one_run_the_other_stays_as_it_is(ledger: Ledger, step: Step) -> None:
    ledger.create_run(OTHER)
    claims = {run_id: begin(ledger, run_id) for run_id in (RUN.run_id, OTHER.run_id)}
    before = view(ledger, OTHER.run_id)
    first = step(ledger, RUN.run_id, claims[RUN.run_id])
    assert view(ledger, OTHER.run_id) == before
    done = view(ledger, RUN.run_id)
    assert step(ledger, OTHER.run_id, claims[OTHER.run_id]) == first, "the same, whatever became of the first run"
    assert view(ledger, RUN.run_id) == done
    assert view(ledger, OTHER.run_id)[1:] == done[1:]


def test_a_finished_run_is_opened_by_its_own_messages_alone(ledger: Ledger) -> None:
    """Two runs with only doubts left are finished; a third has everything to do."""
    ledger.create_run(OTHER)
    ledger.create_run(replace(RUN, run_id="run-3", campaign="a third"))
    for run_id in (RUN.run_id, OTHER.run_id):
        ledger.record(run_id, [Settlement(one, Unknown("timeout", "504")) for one in claim(ledger, 10, run_id)])
        assert ledger.finish_run(run_id)
    finished = ledger.run(RUN.run_id), ledger.run(OTHER.run_id)
    assert ledger.reconcile(RUN.run_id, [LogFinding(0, ACCEPTED, 1)]) == 1
    assert (ledger.run(RUN.run_id), ledger.run(OTHER.run_id)) == finished, "nothing is pending in it"
    assert ledger.resend_unknown(RUN.run_id) == 9
    assert ledger.run(RUN.run_id).finished_at_ms is None
    assert ledger.run(OTHER.run_id) == finished[1]
    again = ledger.journal(RUN.run_id, states=[SubmissionState.PENDING])
    assert set(again.select("reason", "error_code", "error_message").rows()) == {(None, None, None)}
