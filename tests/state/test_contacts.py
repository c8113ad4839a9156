"""Whom a campaign has reached, by all that may have become of a message, and which runs count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from sender.core.errors import PlanError, RunComplete
from sender.core.outcomes import RANK, Accepted, Status
from sender.state import contacts
from sender.state.contacts import (
    CONTACTS_SCHEMA,
    RECENT_SCHEMA,
    Edition,
    find_reached,
    find_recent,
    find_unsettled,
    may_have_sent_since,
)
from sender.state.ledger import Run, RunKind
from tests.state.conftest import SOME_DATABASES
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
    SOPHIE,
    UNKNOWN,
    Fate,
    RunHistory,
    plan_for,
    run_history,
)

SPRING = Edition("spring", RunKind.LIVE)
EVERY_FATE = {ADA: ACCEPTED, GRACE: UNKNOWN, JEAN: INTENT, MARY: REJECTED, RADIA: PENDING}


@pytest.fixture(params=["folder", *SOME_DATABASES])
def history(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunHistory]:
    kind = request.param
    where = tmp_path if kind == "folder" else request.getfixturevalue("new_database")(kind)
    with run_history(where) as runs:
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


# -- people who are asked about ----------------------------------------------------------------------------------------


@pytest.fixture(params=[0, 1_000], ids=["whole runs", "looked up"])
def most_looked_up(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger goes through the whole run, or looks the messages up."""
    monkeypatch.setattr(contacts, "_MOST_LOOKED_UP", request.param)


@pytest.mark.usefixtures("most_looked_up")
def test_only_the_people_who_are_asked_about_are_shown(history: RunHistory) -> None:
    history.add({ADA: ACCEPTED, GRACE: ACCEPTED, JEAN: ACCEPTED, MARY: ACCEPTED})
    history.add({GRACE: ACCEPTED, JEAN: REJECTED, RADIA: ACCEPTED})
    people = pl.Series([MARY, GRACE, None, JEAN, GRACE, SOPHIE])
    frame = find_reached(history.state, SPRING, people)
    assert dict(frame.schema) == CONTACTS_SCHEMA
    assert sorted(frame.rows()) == [
        (GRACE, "run-1", NOON_MS + MINUTE_MS), (JEAN, "run-0", NOON_MS), (MARY, "run-0", NOON_MS),
    ]  # fmt: skip
    assert find_reached(history.state, SPRING, pl.Series([], dtype=pl.String)).is_empty()


@pytest.mark.usefixtures("most_looked_up")
def test_whoever_is_asked_about_a_run_without_its_plan_makes_all_unknown(history: RunHistory) -> None:
    history.lose_plan(history.add({ADA: ACCEPTED}))
    with pytest.raises(RunComplete, match="who has had spring is unknown"):
        find_reached(history.state, SPRING, pl.Series([SOPHIE]))


@pytest.mark.parametrize("fate", [ACCEPTED, PENDING], ids=["reached", "nobody"])
def test_a_damaged_plan_stops_only_where_somebody_was_reached(history: RunHistory, fate: Fate) -> None:
    run = history.add({ADA: fate})
    history.lose_rows(run)
    if fate is ACCEPTED:
        with pytest.raises(PlanError):
            find_reached(history.state, SPRING)
    else:
        assert reached(history) == {}


# -- what people were sent lately --------------------------------------------------------------------------------------

EVERYBODY = pl.Series([ADA, GRACE, JEAN, MARY, RADIA, SOPHIE])


def recent(history: RunHistory, *, since_ms: int = NOON_MS, kind: RunKind = RunKind.LIVE) -> list[tuple[object, ...]]:
    frame = find_recent(history.state, kind, EVERYBODY, since_ms=since_ms)
    assert dict(frame.schema) == RECENT_SCHEMA
    return frame.rows()


@pytest.mark.usefixtures("most_looked_up")
def test_what_may_have_been_sent_counts_unless_it_proved_not_to_arrive(history: RunHistory) -> None:
    history.add(EVERY_FATE)
    assert recent(history) == [
        (number, "spring", "run-0", seq, NOON_MS) for seq, number in enumerate((ADA, GRACE, JEAN))
    ]


@pytest.mark.parametrize("status", list(RANK))
def test_a_message_that_did_not_arrive_does_not_count(history: RunHistory, status: Status) -> None:
    history.add({ADA: Accepted("SM1", status=status)})
    arrived = status not in (Status.FAILED, Status.UNDELIVERED, Status.CANCELED)
    assert len(recent(history)) == arrived


@pytest.mark.usefixtures("most_looked_up")
def test_every_campaign_counts_oldest_first(history: RunHistory) -> None:
    history.add({ADA: ACCEPTED, GRACE: ACCEPTED})
    history.add({GRACE: ACCEPTED, ADA: ACCEPTED}, campaign="summer", edition="w48")
    history.add({ADA: ACCEPTED}, kind=RunKind.REHEARSAL)
    assert recent(history) == [
        (ADA, "spring", "run-0", 0, NOON_MS),
        (GRACE, "spring", "run-0", 1, NOON_MS),
        (GRACE, "summer", "run-1", 0, NOON_MS + MINUTE_MS),
        (ADA, "summer", "run-1", 1, NOON_MS + MINUTE_MS),
    ]
    assert recent(history, kind=RunKind.REHEARSAL) == [(ADA, "spring", "run-2", 0, NOON_MS + 2 * MINUTE_MS)]
    assert recent(history, kind=RunKind.SANDBOX) == []


@pytest.mark.usefixtures("most_looked_up")
def test_only_what_was_sent_since_then_counts(history: RunHistory) -> None:
    history.add({ADA: ACCEPTED})
    history.add({ADA: ACCEPTED})
    assert [row[2] for row in recent(history, since_ms=NOON_MS)] == ["run-0", "run-1"]
    assert [row[2] for row in recent(history, since_ms=NOON_MS + 1)] == ["run-1"]
    assert [row[2] for row in recent(history, since_ms=NOON_MS + MINUTE_MS + 1)] == []


@pytest.mark.usefixtures("most_looked_up")
def test_only_people_who_are_asked_about_count(history: RunHistory) -> None:
    history.add({ADA: ACCEPTED, GRACE: ACCEPTED})
    frame = find_recent(history.state, RunKind.LIVE, pl.Series([GRACE, None, GRACE]), since_ms=0)
    assert frame["to"].to_list() == [GRACE]


def test_a_run_that_was_over_by_then_needs_no_plan(history: RunHistory) -> None:
    run = history.add({ADA: ACCEPTED})
    history.state.ledger.finish_run(run.run_id)
    history.lose_plan(run)
    assert recent(history, since_ms=NOON_MS + 1) == []
    with pytest.raises(PlanError):
        recent(history, since_ms=NOON_MS)


@pytest.mark.parametrize(
    ("finished_at_ms", "may_have"), [(None, True), (NOON_MS - 1, False), (NOON_MS, True), (NOON_MS + 1, True)]
)
def test_a_run_may_have_sent_until_it_was_over(history: RunHistory, finished_at_ms: int | None, may_have: bool) -> None:
    run = replace(history.add({ADA: PENDING}), finished_at_ms=finished_at_ms)
    assert may_have_sent_since(run, NOON_MS) is may_have
