"""Claims that would be one message too many for a person, by what other runs have sent until then."""

from __future__ import annotations

from dataclasses import replace

import pytest

import sender
from sender.core.outcomes import Accepted, CancelReason, Status
from sender.plan.message_reader import MessageReader
from sender.plan.plan import Plan
from sender.sending.live_caps import LiveCaps, open_caps
from sender.state.ledger import Claim, Run, RunKind
from tests.state.run_history import (
    ACCEPTED,
    ADA,
    GRACE,
    INTENT,
    JEAN,
    PENDING,
    REJECTED,
    UNKNOWN,
    Fate,
    RunHistory,
    plan_for,
)

HOUR_MS = 3_600_000
LEASE_MS = 60_000
UNDELIVERED = Accepted("SM1", Status.UNDELIVERED)


def capped(*people: str, cap: str = "1/24h") -> Plan:
    plan = plan_for(*people, campaign="summer")
    return plan.with_manifest(replace(plan.manifest, per_person=(cap,)))


def caps_of(history: RunHistory, run: Run, plan: Plan) -> LiveCaps:
    caps = open_caps(history.state, run, plan)
    assert caps is not None
    return caps


def refused(history: RunHistory, caps: LiveCaps, run: Run, plan: Plan) -> list[str]:
    """The people whose messages are held back where all are claimed now."""
    ledger = history.state.ledger
    claims = ledger.claim(run.run_id, limit=plan.manifest.messages, lease_ms=LEASE_MS)
    messages = [message for message, _ in MessageReader(plan, run.run_id).read([claim.seq for claim in claims])]
    pairs = list(zip(claims, messages, strict=True))
    caps.check(pairs, lease_ms=LEASE_MS)
    outcomes = [(caps.refusal(claim), message.to) for claim, message in pairs]
    assert all(outcome is None or outcome.reason is CancelReason.FREQUENCY_CAP for outcome, _ in outcomes)
    return sorted(to for outcome, to in outcomes if outcome is not None)


@pytest.mark.parametrize("is_over", [False, True], ids=["the other run is unfinished", "the other run is over"])
@pytest.mark.parametrize(
    ("fate", "hours", "held"),
    [
        pytest.param(ACCEPTED, 1, True, id="accepted"),
        pytest.param(UNKNOWN, 1, True, id="unknown"),
        pytest.param(REJECTED, 1, False, id="rejected"),
        pytest.param(UNDELIVERED, 1, False, id="never arrived"),
        pytest.param(ACCEPTED, 23.9, True, id="just within the day"),
        pytest.param(ACCEPTED, 24, False, id="a day ago"),
        pytest.param(ACCEPTED, 50, False, id="long ago"),
    ],
)
def test_what_another_run_has_sent_counts(
    history: RunHistory, fate: Fate, hours: float, held: bool, is_over: bool
) -> None:
    other = history.add({ADA: fate} if is_over else {ADA: fate, JEAN: PENDING})
    if is_over:
        assert history.state.ledger.finish_run(other.run_id)
    history.now_ms += round(hours * HOUR_MS) - 60_000  # the next run is a minute later
    run, plan = history.add({ADA: PENDING, GRACE: PENDING}, campaign="summer"), capped(ADA, GRACE)
    assert refused(history, caps_of(history, run, plan), run, plan) == ([ADA] if held else [])


def test_what_is_sent_while_the_run_is_sent_counts_as_well(history: RunHistory) -> None:
    run, plan = history.add({ADA: PENDING, GRACE: PENDING}, campaign="summer"), capped(ADA, GRACE)
    caps = caps_of(history, run, plan)
    history.add({GRACE: ACCEPTED, JEAN: PENDING})
    assert refused(history, caps, run, plan) == [GRACE]


def test_of_two_that_are_under_way_the_first_one_leaves(history: RunHistory) -> None:
    first = history.add({ADA: INTENT}, campaign="summer")
    claim = Claim(0, 1, history.now_ms + LEASE_MS)
    second = history.add({ADA: PENDING}, campaign="autumn")
    plan = capped(ADA)
    message = next(message for message, _ in MessageReader(plan, first.run_id).read([0]))
    assert refused(history, caps_of(history, second, plan), second, plan) == [ADA]
    caps = caps_of(history, first, plan)
    caps.check([(claim, message)], lease_ms=LEASE_MS)
    assert caps.refusal(claim) is None


@pytest.mark.parametrize(("cap", "held"), [("2/24h", []), ("1/24h", [ADA])])
def test_as_many_as_the_cap_says_may_leave(history: RunHistory, cap: str, held: list[str]) -> None:
    history.add({ADA: ACCEPTED, JEAN: PENDING})
    run, plan = history.add({ADA: PENDING}, campaign="summer"), capped(ADA, cap=cap)
    assert refused(history, caps_of(history, run, plan), run, plan) == held


def test_the_result_names_the_cap_and_what_has_used_it_up(history: RunHistory) -> None:
    other = history.add({ADA: ACCEPTED})
    run, plan = history.add({ADA: PENDING}, campaign="summer"), capped(ADA)
    caps = caps_of(history, run, plan)
    message = next(message for message, _ in MessageReader(plan, run.run_id).read([0]))
    (claim,) = history.state.ledger.claim(run.run_id, limit=1, lease_ms=LEASE_MS)
    caps.check([(claim, message)], lease_ms=LEASE_MS)
    outcome = caps.refusal(claim)
    assert outcome is not None
    for part in ("1/24h", "spring on 2026-01-01 12:00 UTC", other.run_id):
        assert part in str(outcome.detail)


def test_the_cap_of_a_rule_holds_back_only_those_who_may_be_there(
    history: RunHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Florida allows three messages in any 24 hours."""
    monkeypatch.setenv("SENDER_RULES", "us")
    boston, miami, chicago = "+16175550103", "+13055550101", "+13125550102"
    people = [{"phone": number} for number in (boston, miami, chicago)]
    campaign = sender.load_campaign(
        name="summer", provider="twilio", from_="+12025550199", message="Hi", recipients=people
    )
    plan = sender.build_plan(campaign)
    for _ in range(3):
        history.add(dict.fromkeys((boston, miami, chicago), ACCEPTED))
    run = history.add(dict.fromkeys((boston, miami, chicago), PENDING), campaign="summer")
    assert refused(history, caps_of(history, run, plan), run, plan) == [miami]


def test_a_rehearsal_is_capped_by_what_people_have_had_and_a_test_by_nothing(history: RunHistory) -> None:
    history.add({ADA: ACCEPTED})
    plan = capped(ADA)
    run = history.add({ADA: PENDING}, campaign="summer", kind=RunKind.REHEARSAL)
    assert refused(history, caps_of(history, run, plan), run, plan) == [ADA]
    assert open_caps(history.state, replace(run, kind=RunKind.TEST), plan) is None
    assert open_caps(history.state, run, plan_for(ADA)) is None, "and where no cap is set there is nothing to check"
