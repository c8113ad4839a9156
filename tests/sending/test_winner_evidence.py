"""What was known of an experiment when its winner is sent: which run's comparison is kept, and what it says."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

import sender
from sender.sending.winner_evidence import with_evidence
from sender.state.ledger import Run, RunKind, Settlement
from tests.state.run_history import ACCEPTED, NOON_MS, RunHistory

PEOPLE = [f"+1202555{n:04}" for n in range(100, 160)]
VARIANTS: list[dict[str, Any]] = [{"name": name, "body": f"{name}. STOP ends it"} for name in ("plain", "urgent")]


@cache
def experiment(key: str = "spring", only: str | None = None, is_split: bool = True) -> sender.Plan:
    """The plan of a campaign with an experiment; with `only` that variant is sent to everybody."""
    winner: dict[str, Any] = {} if only is None else {"variant": only}
    campaign = sender.load_campaign(
        name="spring",
        provider="sandbox",
        from_="+12025550199",
        recipients=[{"phone": number} for number in PEOPLE],
        experiment={"key": key, "event": "buy"},
        message={"variants": [VARIANTS[0], VARIANTS[1] | {"weight": int(is_split)}]},
        **winner,
    )
    return sender.build_plan(campaign)


def add(history: RunHistory, plan: sender.Plan, **changes: Any) -> Run:
    """A run of the plan in which all messages were accepted."""
    messages, number = plan.manifest.messages, len(history.runs)
    run = Run(
        *(f"run-{number}", "spring", RunKind.SANDBOX, "sandbox", plan.hash, None),
        *(messages, messages, 0),
        created_at_ms=NOON_MS + number,
        simulated=True,
    )
    run = replace(run, **changes)
    history.now_ms = NOON_MS + 1000
    history.state.ledger.create_run(run)
    history.state.plans.save(run, plan)
    claims = history.state.ledger.claim(run.run_id, limit=messages, lease_ms=1000)
    history.state.ledger.record(run.run_id, [Settlement(claim, ACCEPTED) for claim in claims])
    history.runs.append(run)
    return run


def evidence(history: RunHistory, plan: sender.Plan) -> dict[str, Any] | None:
    """What is kept with a run of the plan; None where nothing is."""
    found = with_evidence(history.state, plan, RunKind.SANDBOX)
    known: dict[str, Any] | None = (found.manifest.experiment or {}).get("evidence")
    assert known is not None or found is plan
    assert found.hash == plan.hash, "it is the same plan"
    return known


def test_the_newest_comparison_of_the_experiment_is_kept(history: RunHistory) -> None:
    plan = experiment()
    add(history, plan)
    newest = add(history, plan)
    known = evidence(history, experiment(only="urgent"))
    assert known is not None
    assert {*known} == {"run_id", "at_ms", "event", "groups", "lines"}
    assert (known["run_id"], known["at_ms"], known["event"]) == (newest.run_id, history.now_ms, "buy")
    shown = {group["name"]: group for group in known["groups"]}
    counted = dict(plan.frame["variant"].value_counts().iter_rows())
    assert {name: group["people"] for name, group in shown.items()} == counted
    assert {*shown} == {"plain", "urgent"}
    assert {(group["successes"], group["opt_outs"]) for group in shown.values()} == {(0, 0)}
    assert any("urgent" in line for line in known["lines"])


@pytest.mark.parametrize(
    ("plan", "changes"),
    [
        pytest.param({"key": "summer"}, {}, id="another experiment"),
        pytest.param({"only": "urgent"}, {}, id="a winner that was sent before"),
        pytest.param({"is_split": False}, {}, id="nothing to compare"),
        pytest.param({}, {"kind": RunKind.REHEARSAL}, id="a run of another kind"),
        pytest.param({}, {"retry_of": "run-0"}, id="a retry"),
    ],
)
def test_other_runs_say_nothing_of_it(history: RunHistory, plan: dict[str, Any], changes: dict[str, Any]) -> None:
    winner = experiment(only="urgent")
    assert evidence(history, winner) is None, "nothing was compared yet"
    if "retry_of" not in changes:  # there is no retry without its run
        add(history, experiment(**plan), **changes)
        assert evidence(history, winner) is None
    first = add(history, experiment())
    add(history, experiment(**plan), **changes)
    known = evidence(history, winner)
    assert known is not None
    assert known["run_id"] == first.run_id, "and the newer one is passed over"


def test_a_run_whose_plan_is_lost_is_passed_over(history: RunHistory) -> None:
    first = add(history, experiment())
    lost = add(history, experiment())
    history.lose_plan(lost)
    known = evidence(history, experiment(only="plain"))
    assert known is not None
    assert known["run_id"] == first.run_id


def test_a_plan_without_a_winner_is_left_as_it_is(history: RunHistory) -> None:
    add(history, experiment())
    assert evidence(history, experiment()) is None
