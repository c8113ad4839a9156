"""Whom a campaign has reached, by all that may have become of a message, and which runs count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sender.core.errors import RunComplete
from sender.state.contacts import CONTACTS_SCHEMA, Edition, find_reached, find_unsettled
from sender.state.ledger import Run, RunKind
from tests.state.run_history import (
    ACCEPTED,
    ADA,
    GRACE,
    INTENT,
    JEAN,
    MARY,
    MINUTE_MS,
    NOON_MS,
    PENDING,
    RADIA,
    REJECTED,
    UNKNOWN,
    Fate,
    RunHistory,
    plan_for,
    run_history,
)

SPRING = Edition("spring", RunKind.LIVE)
EVERY_FATE = {ADA: ACCEPTED, GRACE: UNKNOWN, JEAN: INTENT, MARY: REJECTED, RADIA: PENDING}


@pytest.fixture
def history(tmp_path: Path) -> Iterator[RunHistory]:
    with run_history(tmp_path) as runs:
        yield runs


def reached(history: RunHistory, edition: Edition = SPRING, *, after: Run | None = None) -> dict[str, str]:
    """The run that reached each number last."""
    frame = find_reached(history.state, edition, after=after)
    assert dict(frame.schema) == CONTACTS_SCHEMA
    return dict(frame.select("to", "run_id").iter_rows())


def test_who_may_have_the_message_counts_as_one_who_has_it(history: RunHistory) -> None:
    run = history.add(EVERY_FATE)
    assert find_reached(history.state, SPRING).sort("to").rows() == [
        (number, "run-0", NOON_MS) for number in (ADA, GRACE, JEAN)
    ]
    assert set(find_unsettled(history.state, run)) == {GRACE, JEAN, RADIA}


def test_nobody_has_been_reached_before_the_first_run(history: RunHistory) -> None:
    assert reached(history) == {}


def test_the_newest_run_that_reached_a_person_is_named(history: RunHistory) -> None:
    history.add({ADA: ACCEPTED, GRACE: ACCEPTED, JEAN: ACCEPTED})
    history.add({JEAN: REJECTED, GRACE: ACCEPTED})
    assert reached(history) == {ADA: "run-0", GRACE: "run-1", JEAN: "run-0"}
    times_ms = dict(find_reached(history.state, SPRING).select("to", "at_ms").iter_rows())
    assert times_ms[GRACE] - times_ms[ADA] == MINUTE_MS


@pytest.mark.parametrize("kind", list(RunKind))
def test_other_campaigns_and_runs_of_another_kind_do_not_count(history: RunHistory, kind: RunKind) -> None:
    for other in RunKind:
        history.add({ADA: ACCEPTED}, kind=other)
    history.add({GRACE: ACCEPTED}, kind=kind, campaign="summer")
    run_id = f"run-{list(RunKind).index(kind)}"
    assert reached(history, Edition("spring", kind)) == {ADA: run_id}


def test_each_edition_goes_to_everybody_once(history: RunHistory) -> None:
    history.add({ADA: ACCEPTED})
    history.add({GRACE: ACCEPTED}, edition="w48")
    history.add({JEAN: ACCEPTED}, edition="w49")
    assert reached(history) == {ADA: "run-0"}
    assert reached(history, replace(SPRING, name="w48")) == {GRACE: "run-1"}
    assert reached(history, replace(SPRING, name="w50")) == {}


@pytest.mark.parametrize(
    ("kind", "reached_by"),
    [
        pytest.param(RunKind.LIVE, ["run-0", "run-1"], id="live: whatever the provider"),
        pytest.param(RunKind.REHEARSAL, ["run-1"], id="rehearsal"),
        pytest.param(RunKind.SANDBOX, ["run-1"], id="sandbox"),
        pytest.param(RunKind.TEST, ["run-1"], id="test"),
    ],
)
def test_a_simulation_knows_those_of_its_dialect_alone(
    history: RunHistory, kind: RunKind, reached_by: list[str]
) -> None:
    history.add({ADA: ACCEPTED}, kind=kind, provider="twilio")
    history.add({GRACE: ACCEPTED}, kind=kind, provider="telnyx")
    edition = Edition.of(plan_for(JEAN, provider="telnyx").manifest, kind)
    assert sorted(reached(history, edition).values()) == reached_by


def test_an_edition_is_that_of_the_plan() -> None:
    manifest = plan_for(ADA, edition="w48").manifest
    assert Edition.of(manifest, RunKind.LIVE) == Edition("spring", RunKind.LIVE, "w48", None)
    assert Edition.of(manifest, RunKind.REHEARSAL) == Edition("spring", RunKind.REHEARSAL, "w48", "twilio")


def test_only_what_came_after_a_run_may_be_asked_for(history: RunHistory) -> None:
    first = history.add({ADA: ACCEPTED})
    second = history.add({GRACE: ACCEPTED})
    history.add({JEAN: ACCEPTED})
    assert reached(history, after=first) == {GRACE: "run-1", JEAN: "run-2"}
    assert reached(history, after=second) == {JEAN: "run-2"}
    assert reached(history, after=history.runs[-1]) == {}


def test_who_was_reached_is_unknown_without_the_plan(history: RunHistory) -> None:
    run = history.add({ADA: ACCEPTED}, edition="w48")
    history.lose_plan(run)
    for edition in (SPRING, replace(SPRING, name="w48"), replace(SPRING, name="w49")):
        with pytest.raises(RunComplete, match="the plan of run run-0 is gone: who has had spring is unknown"):
            find_reached(history.state, edition)


@pytest.mark.parametrize("fate", [PENDING, REJECTED])
def test_a_run_that_reached_nobody_needs_no_plan(history: RunHistory, fate: Fate) -> None:
    history.lose_plan(history.add({ADA: fate}))
    history.add({GRACE: ACCEPTED})
    assert reached(history) == {GRACE: "run-1"}
