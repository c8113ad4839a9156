"""The canary is spread evenly over what may leave first, and is the same whenever it is chosen."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sender
from sender.core.canary import CanaryTerms
from sender.plan.canary_order import choose_canary, put_canary_first
from sender.plan.plan import Plan
from tests.profiles import examples

NOW, LATER, NEVER = 100, 200, None


def chosen(opens: list[int | None], first: int, limit: int | None = None) -> list[int]:
    """The places of the canary among these messages."""
    canary = choose_canary(pl.Series(opens, dtype=pl.Int64), first=first, limit=limit)
    return [place for place, belongs in enumerate(canary) if belongs]


@pytest.mark.parametrize(
    ("opens", "first", "limit", "places"),
    [
        pytest.param([NOW] * 10, 5, None, [0, 2, 4, 6, 8], id="every second"),
        pytest.param([NOW] * 10, 3, None, [0, 4, 7], id="as even as it goes"),
        pytest.param([NOW] * 10, 1, None, [0], id="one"),
        pytest.param([NOW] * 4, 10, None, [0, 1, 2, 3], id="all of a short list"),
        pytest.param([NOW, LATER] * 5, 5, None, [0, 2, 4, 6, 8], id="what waits for its window is not in it"),
        pytest.param([NOW, NOW, *[LATER] * 8], 5, None, [0, 1], id="fewer where few may leave now"),
        pytest.param([LATER] * 4, 2, None, [0, 2], id="what opens first where nothing may leave now"),
        pytest.param([NEVER, NOW, NEVER, NOW, NOW, NOW], 2, None, [1, 4], id="what never leaves is not in it"),
        pytest.param([NEVER] * 3, 2, None, [], id="nothing ever leaves"),
        pytest.param([NOW] * 10, 2, 4, [0, 2], id="within the limit"),
        pytest.param([NOW] * 10, 4, 4, [0, 1, 2, 3], id="the limit itself"),
        pytest.param([NOW] * 10, 4, 2, [0, 1, 2, 6], id="a limit below it, and others to make up for it"),
        pytest.param([], 3, None, [], id="no messages"),
    ],
)
def test_who_goes_first(opens: list[int | None], first: int, limit: int | None, places: list[int]) -> None:
    assert chosen(opens, first, limit) == places


@settings(max_examples=examples(100))
@given(st.integers(1, 400), st.integers(1, 400))
def test_the_distances_differ_by_one_at_most(messages: int, first: int) -> None:
    places = chosen([NOW] * messages, first)
    assert len(places) == min(first, messages)
    assert places[0] == 0
    distances = [after - before for before, after in pairwise([*places, messages])]
    assert max(distances) - min(distances) <= 1


@settings(max_examples=examples(50))
@given(st.lists(st.sampled_from([NOW, LATER, NEVER]), max_size=60), st.integers(1, 30), st.none() | st.integers(1, 60))
def test_nobody_waits_in_a_canary_while_others_may_leave(
    opens: list[int | None], first: int, limit: int | None
) -> None:
    places = chosen(opens, first, limit)
    assert len(places) <= max(first, 0)
    earliest = min((moment for moment in opens if moment is not None), default=None)
    beyond = [place for place in places if limit is None or place >= limit or limit >= first]
    assert all(opens[place] == earliest for place in beyond)


def plan_of(messages: int, first: int | None, blank: int = 1) -> Plan:
    """A plan of that many rows, of which row `blank` (from 0) has no number, with a canary of `first`."""
    rows = [{"phone": "" if n == blank else f"+1202555{100 + n:04}", "n": n} for n in range(messages)]
    plan = sender.build_plan(
        sender.load_campaign(name="x", provider="sandbox", from_="+12025550100", recipients=rows, message="Hi")
    )
    canary = None if first is None else CanaryTerms(first).to_manifest()
    return plan.with_manifest(replace(plan.manifest, canary=canary))


def test_a_plan_is_numbered_with_its_canary_first_and_stays_the_plan(tmp_path: Path) -> None:
    before = plan_of(10, 3)
    plan = put_canary_first(before)
    assert plan.scan().collect()["row_number"].to_list() == [1, 5, 8, 3, 4, 6, 7, 9, 10, 2]
    assert plan.scan().collect()["seq"].to_list() == [*range(9), None]
    assert plan.manifest.canary == {**CanaryTerms(3).to_manifest(), "size": 3}
    written = plan.write(tmp_path / "plan")
    for each in (plan, written, Plan.open(tmp_path / "plan")):
        assert (each.hash, each.identity) == (before.hash, before.identity)
        assert each.frame["row_number"].to_list() == list(range(1, 11))
        assert each.frame["to"].equals(before.frame["to"])
        assert each.scan().collect()["seq"].to_list() == [*range(9), None]


def test_the_first_of_the_file_stay_the_first_with_a_limit() -> None:
    plan = put_canary_first(plan_of(10, 3), limit=4)
    assert plan.scan().collect()["row_number"].to_list() == [1, 4, 5, 3, 6, 7, 8, 9, 10, 2]


def test_a_plan_without_a_canary_is_left_alone() -> None:
    plan = plan_of(4, None)
    assert put_canary_first(plan) is plan
    short = put_canary_first(plan_of(4, 10))
    assert short.frame["row_number"].to_list() == [1, 2, 3, 4]
    assert short.manifest.canary is not None
    assert short.manifest.canary["size"] == 3  # one row has no number
