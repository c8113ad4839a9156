"""Shares of people, compared: against SciPy, and the laws that hold for all counts."""

from __future__ import annotations

import pytest
import scipy  # its modules are imported when first used
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.core.proportions import (
    Successes,
    chance_of_difference,
    chi_squared_above,
    difference_interval,
    sample_size,
    wilson_interval,
)
from tests.profiles import examples

COUNTS = [(0, 1), (1, 1), (0, 50), (3, 50), (50, 50), (17, 300), (612, 19_740), (691, 19_740), (5_000, 1_000_000)]
GROUPS = [Successes(*counts) for counts in COUNTS]
PAIRS = [(a, b) for a in GROUPS for b in GROUPS]


@pytest.mark.parametrize(
    ("base", "other", "people"), [(0.03, 0.035, 19_740), (0.05, 0.06, 8_155), (0.06, 0.05, 8_155), (0.5, 0.55, 1_562)]
)
def test_how_many_are_needed(base: float, other: float, people: int):
    assert sample_size(base, other) == people


@pytest.mark.parametrize("comparisons", [1, 3, 6, 45])
def test_more_comparisons_need_more_people(comparisons: int):
    assert sample_size(0.03, 0.035, comparisons=comparisons + 1) > sample_size(0.03, 0.035, comparisons=comparisons)


def test_equal_rates_cannot_be_told_apart():
    with pytest.raises(ValueError, match="equal rates"):
        sample_size(0.03, 0.03)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_a_rate_has_wilsons_interval(group: Successes, confidence: float):
    reference = scipy.stats.binomtest(group.events, group.people).proportion_ci(confidence, "wilson")
    assert wilson_interval(group, confidence=confidence) == pytest.approx((reference.low, reference.high), abs=1e-12)


# Newcombe (1998), Statistics in Medicine 17, 873-890, table II, method 10, of p1 - p2 for the pairs as he has them.
@pytest.mark.parametrize(
    ("first", "second", "interval"),
    [
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((6, 7), (2, 7), (0.0582, 0.8062)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((0, 10), (0, 20), (-0.1611, 0.2775)),
        ((0, 10), (0, 10), (-0.2775, 0.2775)),
        ((10, 10), (0, 20), (0.6791, 1.0)),
        ((10, 10), (0, 10), (0.6075, 1.0)),
    ],
)
def test_a_difference_has_newcombes_interval(first, second, interval):
    found = difference_interval(Successes(*second), Successes(*first))
    assert found == pytest.approx(interval, abs=5e-5)


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_the_chance_is_fishers(a: Successes, b: Successes):
    table = [[a.events, a.people - a.events], [b.events, b.people - b.events]]
    assert chance_of_difference(a, b) == pytest.approx(scipy.stats.fisher_exact(table).pvalue, rel=1e-6, abs=1e-12)


@settings(max_examples=examples(100), deadline=None)
@given(st.data())
def test_the_chance_is_fishers_for_any_counts(data: st.DataObject):
    people = data.draw(st.tuples(st.integers(1, 400), st.integers(1, 400)))
    a, b = (Successes(data.draw(st.integers(0, n)), n) for n in people)
    table = [[a.events, a.people - a.events], [b.events, b.people - b.events]]
    assert chance_of_difference(a, b) == pytest.approx(scipy.stats.fisher_exact(table).pvalue, rel=1e-6, abs=1e-12)
    assert chance_of_difference(a, b) == pytest.approx(chance_of_difference(b, a), rel=1e-9)


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(0, 500), st.integers(1, 500), st.integers(0, 500), st.integers(1, 500))
def test_an_interval_holds_what_was_seen_and_turns_with_the_groups(e1: int, n1: int, e2: int, n2: int):
    a, b = Successes(min(e1, n1), n1), Successes(min(e2, n2), n2)
    low, high = difference_interval(a, b)
    assert -1 <= low <= b.rate - a.rate <= high <= 1
    assert difference_interval(b, a) == pytest.approx((-high, -low))


@pytest.mark.parametrize("group", [Successes(0, 0), Successes(3, 9)])
def test_nobody_proves_nothing(group: Successes):
    assert chance_of_difference(Successes(0, 0), group) == 1.0
    assert wilson_interval(Successes(0, 0)) == (0.0, 1.0)
    assert difference_interval(Successes(0, 0), Successes(0, 0)) == (-1.0, 1.0)


@pytest.mark.parametrize("freedom", range(1, 20))
@pytest.mark.parametrize("value", [0.0, 0.01, 0.5, 1.0, 3.84, 10.0, 37.5, 120.0])
def test_chi_squared(value: float, freedom: int):
    assert chi_squared_above(value, freedom) == pytest.approx(scipy.stats.chi2.sf(value, freedom), rel=1e-9)
