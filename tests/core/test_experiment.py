"""Which variant a person gets, and who gets none: by the number and the experiment's key alone."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.core.experiment import Experiment, VariantShare, chance_of_split
from tests.profiles import examples

PEOPLE = pl.Series([f"+1{area}5550{line}" for area in range(200, 900) for line in range(100, 200)], dtype=pl.String)
AB = (VariantShare("a", 1), VariantShare("b", 1))
ABC = (VariantShare("a", 1), VariantShare("b", 2), VariantShare("c", 5))
# Fixed for good: a person in a test would change sides otherwise.
SPRING = ["b", "c", "b", "c", "a", "c"]
HELD_OUT = [False, True, True, True, True, False]
LATER = [True, False, True, False, False, True]


def shares(experiment: Experiment) -> dict[str, int]:
    return dict(experiment.assign(PEOPLE).value_counts().iter_rows())


@pytest.mark.parametrize("variants", [AB, ABC, (*AB, VariantShare("never", 0))])
@pytest.mark.parametrize("key", ["spring", "summer", "", "ü" * 100])
def test_people_are_split_by_the_weights(variants: tuple[VariantShare, ...], key: str):
    experiment = Experiment(key, variants)
    assert chance_of_split(shares(experiment), experiment.weights) > 0.001
    assert "never" not in shares(experiment)


def test_a_variant_never_depends_on_the_rest_of_the_list():
    experiment = Experiment("spring", ABC)
    whole = dict(zip(PEOPLE, experiment.assign(PEOPLE), strict=True))
    some = PEOPLE.sample(500, shuffle=True, seed=1)
    assert [whole[number] for number in some] == experiment.assign(some).to_list()
    assert [whole[number] for number in some[:20]] == [experiment.assign(pl.Series([n])).item() for n in some[:20]]


def test_it_is_the_same_on_every_machine_and_in_every_version():
    people = pl.Series(["+12025550100", "+12025550101", "+12025550102", "+447700900123", "+33639980011", "20255"])
    experiment = Experiment("spring", ABC, holdout=0.3, share=0.5)
    assert experiment.assign(people).to_list() == SPRING
    assert experiment.holds_out(people).to_list() == HELD_OUT
    assert experiment.leaves_for_later(people).to_list() == LATER


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_order_of_the_variants_changes_nothing(order: tuple[int, ...]):
    experiment = Experiment("spring", tuple(ABC[n] for n in order))
    assert experiment.assign(PEOPLE).equals(Experiment("spring", ABC).assign(PEOPLE))


def test_a_weight_that_grows_moves_people_only_to_its_variant():
    before = Experiment("spring", ABC).assign(PEOPLE)
    after = Experiment("spring", (VariantShare("a", 3), *ABC[1:])).assign(PEOPLE)
    moved = before != after
    assert moved.any()
    assert set(after.filter(moved)) == {"a"}


@pytest.mark.parametrize(("less", "more"), [(0.01, 0.05), (0.05, 0.1), (0.1, 0.9)])
def test_who_is_held_out_stays_so_when_more_are(less: float, more: float):
    few = Experiment("spring", holdout=less).holds_out(PEOPLE)
    many = Experiment("spring", holdout=more).holds_out(PEOPLE)
    assert not (few & ~many).any()
    for held_out, rate in ((few, less), (many, more)):
        assert abs(held_out.sum() - rate * PEOPLE.len()) < 5 * math.sqrt(PEOPLE.len() * rate)


@pytest.mark.parametrize(("less", "more"), [(0.2, 0.5), (0.5, 1.0)])
def test_a_larger_share_has_the_smaller_one_in_it(less: float, more: float):
    few = ~Experiment("spring", share=less).leaves_for_later(PEOPLE)
    many = ~Experiment("spring", share=more).leaves_for_later(PEOPLE)
    assert not (few & ~many).any()
    assert many.all() or more < 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Experiment("spring", AB).assign(PEOPLE) == "a", Experiment("summer", AB).assign(PEOPLE) == "a"),
        (Experiment("spring", AB).assign(PEOPLE) == "a", Experiment("spring", holdout=0.5).holds_out(PEOPLE)),
        (Experiment("spring", AB).assign(PEOPLE) == "a", Experiment("spring", share=0.5).leaves_for_later(PEOPLE)),
        (
            Experiment("spring", holdout=0.5).holds_out(PEOPLE),
            Experiment("spring", share=0.5).leaves_for_later(PEOPLE),
        ),
    ],
    ids=["two keys", "holdout", "share", "holdout and share"],
)
def test_what_is_drawn_for_one_thing_says_nothing_of_another(first: pl.Series, second: pl.Series):
    both = int((first & second).sum())
    quarter = PEOPLE.len() / 4
    assert abs(both - quarter) < 5 * math.sqrt(quarter)


def test_the_winner_goes_to_everybody():
    assert set(Experiment("spring", ABC, only="b").assign(PEOPLE)) == {"b"}


def test_without_a_number_or_without_variants_there_is_none():
    people = pl.Series([None, "+12025550100"], dtype=pl.String)
    assert Experiment("spring", AB).assign(people)[0] is None
    assert Experiment("spring", AB, only="a").assign(people).to_list() == [None, "a"]
    assert Experiment("spring").assign(people).to_list() == [None, None]
    assert Experiment("spring", AB).assign(people[:0]).to_list() == []


@settings(max_examples=examples(50), deadline=None)
@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=5), st.floats(0.01, 100)),
        min_size=2,
        max_size=6,
        unique_by=lambda v: v[0],
    ),
    st.text(max_size=20),
)
def test_it_survives_the_manifest(variants: list[tuple[str, float]], key: str):
    experiment = Experiment(key, tuple(VariantShare(*v) for v in variants), 0.1, 0.5, None, "buys", 0.03, 0.005)
    counts = pl.DataFrame(
        schema={"variant": pl.String, "messages": pl.UInt32, "segments": pl.UInt32, "cost_micros": pl.Int64}
    )
    assert Experiment.from_manifest(experiment.to_manifest(counts)) == experiment


@pytest.mark.parametrize(
    ("counts", "weights", "likely"),
    [
        ({"a": 500, "b": 500}, {"a": 0.5, "b": 0.5}, True),
        ({"a": 480, "b": 520}, {"a": 0.5, "b": 0.5}, True),
        ({"a": 400, "b": 600}, {"a": 0.5, "b": 0.5}, False),
        ({"a": 400, "b": 600}, {"a": 0.4, "b": 0.6}, True),
        ({"a": 12}, {"a": 0.5, "b": 0.5}, False),
        ({"a": 3}, {"a": 0.5, "b": 0.5}, True),
        ({}, {"a": 0.5, "b": 0.5}, True),
        ({"a": 900}, {"a": 1.0}, True),
        ({"a": 500, "b": 500, "c": 0}, {"a": 0.5, "b": 0.5, "c": 0.0}, True),
    ],
)
def test_an_uneven_split_is_noticed(counts: dict[str, int], weights: dict[str, float], likely: bool):
    assert (chance_of_split(counts, weights) > 0.001) is likely
