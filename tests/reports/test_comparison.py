"""The groups of an experiment compared: who counts, what is decided, and how often chance is called a winner."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from sender.core.experiment import Experiment, VariantShare
from sender.core.proportions import CONFIDENCE, Successes, chance_of_difference
from sender.reports.comparison import Comparison, compare_groups, comparison_lines
from sender.state.ledger import Run, RunKind
from sender.state.recorded_outcomes import OUTCOMES_SCHEMA
from tests.reports.runs import AT, RUN, make_journal, make_plan

AB = (VariantShare("a", 1), VariantShare("b", 1))
NONE = pl.DataFrame(
    schema={"variant": pl.String, "messages": pl.UInt32, "segments": pl.UInt32, "cost_micros": pl.Int64}
)
NOBODY = pl.DataFrame(schema={"to": pl.String, "at_ms": pl.Int64})
LAST = AT + timedelta(hours=1)
RUN_ENTRY = Run(
    RUN, "spring", RunKind.LIVE, "twilio", "0" * 64, None, 10, 10, 0, created_at_ms=round(AT.timestamp() * 1000)
)


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def compare(
    experiment: Experiment,
    groups: dict[str, int],
    outcomes: list[tuple[int, str, datetime | None, float | None]],
    *,
    now: datetime = LAST + timedelta(days=9),
    pending: int = 0,
    opt_outs: pl.DataFrame = NOBODY,
) -> Comparison | None:
    """Groups of people, in this order, with row numbers from 2 on."""
    rows: list[dict[str, Any]] = []
    for name, people in groups.items():
        for _ in range(people):
            held = {"seq": None, "reason": "holdout", "detail": "held out"} if name == "holdout" else {}
            rows.append({"variant": None if name in ("holdout", "messages") else name, **held})
    plan = make_plan(rows, experiment=experiment.to_manifest(NONE))
    sent = [seq for seq in plan.frame["seq"] if seq is not None]
    journal = make_journal(
        *(
            {"seq": seq, "state": "pending" if seq < pending else "accepted", "status": "delivered", "intent_at": LAST}
            for seq in sent
        )
    )
    frame = pl.DataFrame(
        [(row, event, None if at is None else ms(at), value) for row, event, at, value in outcomes],
        schema=dict(OUTCOMES_SCHEMA),
        orient="row",
    )
    return compare_groups(plan, journal, RUN_ENTRY, frame, opt_outs, now_ms=ms(now))


def planned(**keys: Any) -> Experiment:
    return Experiment("spring", AB, **{"base": 0.1, "lift": 0.5, "event": "buy", **keys})


def successes(rows: range) -> list[tuple[int, str, datetime | None, float | None]]:
    return [(row, "buy", LAST, 2.5) for row in rows]


def test_everybody_in_the_draw_counts_and_once():
    outcomes = [*successes(range(2, 5)), (2, "buy", AT, 1.0), (3, "visit", LAST, None), (13, "buy", None, None)]
    comparison = compare(planned(holdout=0.1), {"a": 10, "b": 8, "holdout": 4}, outcomes)
    assert comparison is not None
    seen = [(g.name, g.people, g.accepted, g.delivered, g.successes, g.value) for g in comparison.groups]
    assert seen == [("a", 10, 10, 10, 3, 8.5), ("b", 8, 8, 8, 1, 0.0), ("holdout", 4, 0, 0, 0, 0.0)]
    assert [(d.first, d.second) for d in comparison.differences] == [("a", "b"), ("a", "holdout"), ("b", "holdout")]
    assert comparison.differences[0].difference == pytest.approx(1 / 8 - 3 / 10)


def test_one_text_is_compared_with_none():
    experiment = Experiment("spring", holdout=0.1)
    comparison = compare(experiment, {"messages": 5, "holdout": 3}, [(2, "buy", LAST, None), (7, "other", LAST, None)])
    assert comparison is not None
    assert [(g.name, g.people, g.successes) for g in comparison.groups] == [("messages", 5, 1), ("holdout", 3, 1)]


def test_without_groups_there_is_nothing_to_compare():
    assert compare(Experiment("spring", share=0.5), {"messages": 5}, []) is None


@pytest.mark.parametrize(
    ("at", "counts"),
    [
        pytest.param(LAST + timedelta(days=3), True, id="at the end"),
        pytest.param(LAST + timedelta(days=3, seconds=1), False, id="after it"),
        pytest.param(None, True, id="no time"),
    ],
)
def test_outcomes_count_until_the_wait_is_over(at: datetime | None, counts: bool):
    comparison = compare(planned(), {"a": 3, "b": 3}, [(2, "buy", at, None)])
    assert comparison is not None
    assert comparison.ends_at == LAST + timedelta(days=3)
    assert comparison.groups[0].successes == counts


def test_opt_outs_are_those_that_were_heard_after_the_run_began_and_those_imported():
    heard = pl.DataFrame(
        {
            "to": ["+12025550100", "+12025550101", "+12025550104"],
            "at_ms": [ms(LAST), ms(AT - timedelta(days=9)), ms(LAST)],
        }
    )
    comparison = compare(planned(), {"a": 3, "b": 3}, [(4, "opt-out", LAST, None)], opt_outs=heard)
    assert comparison is not None
    assert [group.opt_outs for group in comparison.groups] == [2, 1]
    assert [group.successes for group in comparison.groups] == [0, 0]


def test_any_event_but_an_opt_out_is_a_success_where_none_is_named():
    comparison = compare(planned(event=None), {"a": 3, "b": 3}, [(2, "x", None, None), (3, "opt-out", None, None)])
    assert comparison is not None
    assert comparison.groups[0].successes == 1


@pytest.mark.parametrize(
    ("keys", "groups", "more", "why"),
    [
        ({}, {"a": 30, "b": 30}, {}, None),
        ({"base": None, "lift": None}, {"a": 30, "b": 30}, {}, "no size was planned"),
        ({}, {"a": 30, "b": 10}, {}, "not enough: 10 people in b, and 11 were planned"),
        ({}, {"a": 30, "b": 30}, {"pending": 1}, "not enough yet: the run is not finished"),
        ({}, {"a": 30, "b": 30}, {"now": LAST + timedelta(days=2)}, "not yet: outcomes count until 2025-11-24"),
        ({"only": "b", "holdout": 0.1}, {"b": 30, "holdout": 30}, {}, "everybody got `b` in this run"),
    ],
)
def test_nothing_is_decided_too_early(
    keys: dict[str, Any], groups: dict[str, int], more: dict[str, Any], why: str | None
):
    comparison = compare(planned(**keys), groups, successes(range(2, 28)), **more)
    assert comparison is not None
    assert (comparison.undecided is None) == (why is None)
    assert why is None or (comparison.undecided or "").startswith(why), comparison.undecided
    winners = [each.winner for each in comparison.differences]
    assert winners == (["a"] if why is None else [None] * len(winners))
    assert [*comparison_lines(comparison)][-1].startswith(why or "a is better than b")


def test_a_difference_that_chance_explains_has_no_winner():
    comparison = compare(planned(), {"a": 30, "b": 30}, successes(range(2, 6)))
    assert comparison is not None
    assert comparison.undecided is None
    assert comparison.differences[0].winner is None
    assert [*comparison_lines(comparison)][-1] == "no difference was found that chance does not explain"


@pytest.mark.parametrize(
    ("groups", "rows", "says"),
    [
        ({"a": 1, "b": 1}, range(0), "b less a: +0.00 points ("),
        ({"a": 1, "b": 1}, range(2, 3), "chance alone makes in over 99.9 % of such tests"),
    ],
)
def test_of_tiny_groups_nothing_is_said_that_nobody_knows(groups: dict[str, int], rows: range, says: str):
    comparison = compare(planned(), groups, successes(rows))
    assert comparison is not None
    line = next(comparison_lines(comparison))
    assert says in line
    assert line.endswith(", no difference") == (not rows)
    assert "100.0 %" not in line


def test_a_broken_split_is_said():
    comparison = compare(planned(), {"a": 60, "b": 12}, [])
    assert comparison is not None
    assert any("not split by their weights" in line for line in comparison_lines(comparison))


@pytest.mark.parametrize(("groups", "rate"), [(2, 0.03), (2, 0.3), (3, 0.1), (4, 0.05)])
def test_at_no_effect_at_most_one_in_twenty_has_a_winner(groups: int, rate: float):
    """2,000 experiments of 1,500 people a group, decided as `compare_groups` decides: once, at the planned size."""
    draw = np.random.default_rng(20261129)
    experiment = Experiment("x", tuple(VariantShare(str(n), 1) for n in range(groups)))
    alpha = (1 - CONFIDENCE) / experiment.comparisons
    called = 0
    for successes in draw.binomial(1_500, rate, size=(2_000, groups)).tolist():
        counts = [Successes(number, 1_500) for number in successes]
        pairs = [(a, b) for n, a in enumerate(counts) for b in counts[n + 1 :]]
        called += any(chance_of_difference(a, b) <= alpha for a, b in pairs)
    assert called <= 0.05 * 2_000


def test_with_the_planned_effect_four_in_five_are_found():
    draw = np.random.default_rng(7)
    experiment = Experiment("x", AB, base=0.10, lift=0.05)
    people = experiment.planned_size
    assert people is not None
    found = 0
    for successes in draw.binomial(people, [0.10, 0.15], size=(400, 2)).tolist():
        a, b = (Successes(number, people) for number in successes)
        found += chance_of_difference(a, b) <= 0.05
    assert found >= 0.74 * 400  # Fisher's test is a little stricter than the sample size assumes


def test_times_are_utc():
    comparison = compare(planned(), {"a": 3, "b": 3}, [])
    assert comparison is not None
    assert comparison.ends_at is not None
    assert comparison.ends_at.tzinfo is UTC
