"""The canary is spread evenly over what may leave first, and is the same whenever it is chosen."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.plan.canary_order import choose_canary
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
