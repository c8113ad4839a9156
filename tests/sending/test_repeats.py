"""A start that would text somebody twice is refused, by name of the run; who chooses it is told how many."""

from __future__ import annotations

import pytest

from sender.core.errors import RunComplete
from sender.sending.repeats import count_overtaken, count_repeated, explain_overtaken, refuse_repeated
from sender.state.ledger import RunKind
from tests.state.run_history import (
    ACCEPTED,
    ADA,
    GRACE,
    INTENT,
    JEAN,
    MARY,
    PENDING,
    RADIA,
    REJECTED,
    SOPHIE,
    UNKNOWN,
    RunHistory,
    plan_for,
)

LIVE, REHEARSAL = RunKind.LIVE, RunKind.REHEARSAL


def refusal(history: RunHistory, *people: str, kind: RunKind = LIVE, **campaign: str) -> str | None:
    """What a start to these people is refused with; None when it may go on."""
    plan = plan_for(*people, **campaign)
    try:
        refuse_repeated(history.state, plan, kind)
    except RunComplete as error:
        refused = error
    else:
        return None
    assert all(way in str(refused.fix) for way in ("--only-new", "--again", "`edition:`"))
    return refused.what


@pytest.mark.usefixtures("local_zone")
def test_a_start_is_refused_with_how_many_have_had_it_and_from_which_run(history: RunHistory) -> None:
    history.add({ADA: ACCEPTED, GRACE: UNKNOWN, JEAN: INTENT})
    history.add({MARY: ACCEPTED})
    assert refusal(history, ADA, RADIA) == (
        "1 of 2 people has had spring, or may have had it (run run-0 of 2026-01-01 12:00 UTC); 1 is new"
    )
    assert refusal(history, ADA, GRACE, JEAN) == (
        "3 of 3 people have had spring, or may have had it (run run-0 of 2026-01-01 12:00 UTC); 0 are new"
    )
    assert refusal(history, MARY, ADA, RADIA, SOPHIE) == (
        "2 of 4 people have had spring, or may have had it (run run-1 of 2026-01-01 12:01 UTC); 2 are new"
    )


@pytest.mark.parametrize("people", [(RADIA,), (JEAN,), (MARY, RADIA)], ids=["others", "rejected", "pending"])
def test_a_start_to_people_who_have_not_had_it_may_go_on(history: RunHistory, people: tuple[str, ...]) -> None:
    history.add({ADA: ACCEPTED, JEAN: REJECTED, MARY: PENDING})
    assert refusal(history, *people) is None
    assert count_repeated(history.state, plan_for(*people), LIVE) == 0


@pytest.mark.parametrize("kind", list(RunKind))
def test_only_a_rehearsal_reaches_nobody(history: RunHistory, kind: RunKind) -> None:
    history.add({ADA: ACCEPTED}, kind=kind)
    assert (refusal(history, ADA, kind=kind) is None) is (kind is REHEARSAL)
    assert refusal(history, ADA, kind=LIVE if kind is not LIVE else RunKind.TEST) is None, "another kind's run"


def test_another_edition_or_campaign_may_go_to_the_same_people(history: RunHistory) -> None:
    history.add({ADA: ACCEPTED}, edition="w48")
    assert refusal(history, ADA, edition="w49") is None
    assert refusal(history, ADA, campaign="summer", edition="w48") is None
    assert refusal(history, ADA, edition="w48") is not None


def test_how_many_get_it_once_more(history: RunHistory) -> None:
    assert count_repeated(history.state, plan_for(ADA, GRACE), LIVE) == 0
    run = history.add({ADA: ACCEPTED, GRACE: UNKNOWN, JEAN: REJECTED, SOPHIE: ACCEPTED})
    plan = plan_for(ADA, GRACE, JEAN, MARY)
    assert count_repeated(history.state, plan, LIVE) == 2
    assert count_repeated(history.state, plan, REHEARSAL) == 0
    history.lose_plan(run)
    assert count_repeated(history.state, plan, LIVE) == 0, "unknown, and no reason to stop who has chosen to send"


def test_whom_a_later_run_has_reached_since(history: RunHistory) -> None:
    run = history.add(dict.fromkeys((ADA, GRACE, JEAN, MARY), PENDING))
    assert count_overtaken(history.state, run) == 0
    later = history.add({ADA: ACCEPTED, GRACE: UNKNOWN, JEAN: REJECTED, RADIA: ACCEPTED})
    assert count_overtaken(history.state, run) == 2
    assert count_overtaken(history.state, later) == 0, "the earlier run reached nobody, and is not later"


def test_who_has_had_it_from_the_run_itself_is_not_overtaken(history: RunHistory) -> None:
    run = history.add({ADA: ACCEPTED, GRACE: REJECTED, JEAN: INTENT, MARY: PENDING})
    history.add(dict.fromkeys((ADA, GRACE, JEAN), ACCEPTED))
    assert count_overtaken(history.state, run) == 1, "only the one whose request may be made again"


def test_a_rehearsal_and_a_run_without_a_plan_are_not_overtaken(history: RunHistory) -> None:
    rehearsal = history.add({ADA: PENDING}, kind=REHEARSAL)
    history.add({ADA: ACCEPTED}, kind=REHEARSAL)
    assert count_overtaken(history.state, rehearsal) == 0
    run = history.add({ADA: PENDING})
    history.add({ADA: ACCEPTED})
    assert count_overtaken(history.state, run) == 1
    history.lose_plan(run)
    assert count_overtaken(history.state, run) == 0


@pytest.mark.parametrize(("people", "have"), [(1, "1 person has"), (2, "2 people have"), (1200, "1,200 people have")])
def test_an_overtaken_run_is_not_resumed(history: RunHistory, people: int, have: str) -> None:
    error = explain_overtaken(history.add({ADA: PENDING}), people)
    assert error.what == f"run run-0 of spring is unfinished, but {have} had the message from a later run"
    assert "--only-new" in str(error.fix)
