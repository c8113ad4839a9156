"""A pool of numbers: the laws of who sends to whom, for a column and for one recipient alike."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.plan.sender_pool import SenderPool
from tests.profiles import examples

AREAS = ("202", "212", "415", "416")  # the last is in Canada
NUMBERS = [f"+1{area}55501{n:02}" for area in AREAS for n in range(5)]
RECIPIENTS = [f"+1{area}55501{n:02}" for area in (*AREAS, "305") for n in range(20, 100)]
RECIPIENTS += [f"+4479009001{n:02}" for n in range(20)]

weights = st.dictionaries(st.sampled_from(NUMBERS), st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=1, max_size=6)
matches = st.sampled_from([None, "area_code", "country"])


A, B, C = "+12025550100", "+12025550101", "+14155550100"
GOLDEN = [(B, C, A), (A, C, B), (B, C, A), (B, C, A), (B, C, A), (C, B, A)]


def region_of(number: str) -> str:
    return "GB" if number.startswith("+44") else "CA" if number.startswith("+1416") else "US"


def assigned(pool: SenderPool, recipients: list[str] = RECIPIENTS) -> list[str]:
    return pool.assign(pl.Series(recipients), pl.Series([region_of(one) for one in recipients])).to_list()


@settings(max_examples=examples(40))
@given(weights=weights, match=matches)
def test_the_column_and_the_single_number_say_the_same(weights: dict[str, float], match: str | None) -> None:
    pool = SenderPool(weights, match)
    assert assigned(pool) == [pool.order(one)[0] for one in RECIPIENTS]
    assert all(sorted(pool.order(one)) == sorted(weights) for one in RECIPIENTS[:5])


@settings(max_examples=examples(40))
@given(weights=weights, match=matches, new=st.sampled_from(NUMBERS))
def test_a_number_that_joins_takes_its_share_and_moves_nobody_else(
    weights: dict[str, float], match: str | None, new: str
) -> None:
    before = {number: weight for number, weight in weights.items() if number != new} or {NUMBERS[0]: 1.0}
    old, now = assigned(SenderPool(before, match)), assigned(SenderPool({**before, new: 1.0}, match))
    assert all(after in (earlier, new) for earlier, after in zip(old, now, strict=True))


@settings(max_examples=examples(40))
@given(weights=weights, match=matches, data=st.data())
def test_numbers_that_are_out_are_stood_in_for_as_if_they_had_never_been_there(
    weights: dict[str, float], match: str | None, data: st.DataObject
) -> None:
    pool = SenderPool(weights, match)
    out = data.draw(st.sets(st.sampled_from(sorted(weights)), max_size=len(weights) - 1))
    for number in out:
        assert pool.disable(number, "refused")
    planned = assigned(pool)
    left = SenderPool({number: weight for number, weight in weights.items() if number not in out}, match)
    for recipient, number, without in zip(RECIPIENTS, planned, assigned(left), strict=True):
        assert pool.choose(recipient, number) == (number if number not in out else without)
    assert set(pool.disabled) == out


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        pytest.param({NUMBERS[0]: 1, NUMBERS[1]: 1}, (0.5, 0.5), id="equal"),
        pytest.param({NUMBERS[0]: 3, NUMBERS[1]: 1}, (0.75, 0.25), id="three-to-one"),
        pytest.param({NUMBERS[0]: 0.5, NUMBERS[1]: 4.5}, (0.1, 0.9), id="nine-to-one"),
    ],
)
def test_shares_follow_the_weights(weights: dict[str, float], shares: tuple[float, ...]) -> None:
    many = [f"+1{area}555{n:04}" for area in range(201, 211) for n in range(1000)]
    given = assigned(SenderPool(weights), many)
    for number, share in zip(weights, shares, strict=True):
        assert given.count(number) / len(many) == pytest.approx(share, abs=0.02)  # four standard deviations


def test_who_gets_which_number_never_changes_with_a_version() -> None:
    """Golden values: another hash would text every customer from a number they do not know."""
    pool = SenderPool({A: 1.0, B: 2.0, C: 1.0})
    recipients = ["+12125550107", "+12125550108", "+12125550109", "+12125550110", "+447900900123", "988"]
    assert [pool.order(one) for one in recipients] == GOLDEN


@pytest.mark.parametrize(
    ("match", "to", "expected"),
    [
        pytest.param("area_code", "+12125550123", "+12125550100", id="its-area-code"),
        pytest.param("area_code", "+14165550123", "+14165550100", id="its-area-code-in-Canada"),
        pytest.param("country", "+14165550123", "+14165550100", id="its-country"),
        pytest.param("country", "+447900900123", "+447900900100", id="its-country-abroad"),
        pytest.param("area_code", "+447900900123", "+447900900100", id="no-area-code-so-its-country"),
    ],
)
def test_a_near_number_is_preferred(match: str, to: str, expected: str) -> None:
    pool = SenderPool(dict.fromkeys(["+12125550100", "+12025550100", "+14165550100", "+447900900100"], 1.0), match)
    assert assigned(pool, [to]) == [expected]
    assert pool.order(to)[0] == expected
    assert pool.disable(expected, "gone")
    assert pool.choose(to, expected) != expected


def test_all_near_numbers_come_before_all_others() -> None:
    """For each recipient, and not only for those whose hash happens to say so."""
    pool = SenderPool(dict.fromkeys(NUMBERS, 1.0), "area_code")
    for to in (one for one in RECIPIENTS if one.startswith("+1")):
        order = [number[2:5] for number in pool.order(to)]
        near = [area for area in order if area == to[2:5]]
        at_home = [area for area in order if area != to[2:5] and (area == "416") == (to[2:5] == "416")]
        assert order[: len(near) + len(at_home)] == near + at_home, to


def test_only_a_number_of_north_america_has_an_area_code() -> None:
    """+49 301 234567 is as long as one of +1, and 930 is an area code of Indiana."""
    weights = dict.fromkeys(["+19305550100", "+12125550100", "+14155550100", "+442079460100"], 1.0)
    abroad = ["+49301234567", "+4930123456", "+1930555012", "19305550123", "930"]
    near, plain = SenderPool(weights, "area_code"), SenderPool(weights)
    for to in abroad:
        assert near.order(to) == plain.order(to), to
    nowhere = pl.Series([None] * len(abroad), dtype=pl.String)
    assert near.assign(pl.Series(abroad), nowhere).to_list() == plain.assign(pl.Series(abroad), nowhere).to_list()
    assert near.order("+19305550123")[0] == "+19305550100"


def test_a_sender_without_a_region_is_near_nobody() -> None:
    """A short code; a recipient without a region is not of its country either."""
    weights = dict.fromkeys(["72345", "72346", "72347", *NUMBERS[:3]], 1.0)
    pool, plain = SenderPool(weights, "country"), SenderPool(weights)
    assert all(set(pool.order(to)[:3]) == set(NUMBERS[:3]) for to in RECIPIENTS if region_of(to) == "US")
    assert {number for to in RECIPIENTS for number in assigned(pool, [to])} >= {"72345", "72346", "72347"}
    unknown = [f"98{n}" for n in range(40)]
    nowhere = pl.Series([None] * len(unknown), dtype=pl.String)
    assert pool.assign(pl.Series(unknown), nowhere).to_list() == [plain.order(to)[0] for to in unknown]
    assert [pool.order(to)[0] for to in unknown] == [plain.order(to)[0] for to in unknown]


def test_all_of_a_country_get_a_number_of_it_where_there_is_one() -> None:
    weights = dict.fromkeys([*NUMBERS, "+442079460100"], 1.0)
    pool = SenderPool(weights, "country")
    assert {
        to for to, number in zip(RECIPIENTS, assigned(pool), strict=True) if region_of(to) != region_of(number)
    } == set()


@pytest.mark.parametrize(
    ("match", "number", "nearness"),
    [
        ("area_code", "+12125550100", ", of its area code"),
        ("area_code", "+12025550100", ", of its country"),
        ("area_code", "+442079460100", ""),
        ("country", "+12125550100", ", of its country"),
        ("country", "+442079460100", ""),
        (None, "+12125550100", ""),
    ],
)
def test_how_near_a_number_is_told_where_it_counts(match: str | None, number: str, nearness: str) -> None:
    pool = SenderPool(dict.fromkeys(["+442079460100", "+12125550100", "+12025550100"], 1.0), match)
    assert pool.describe_nearness("+12125550123", number) == nearness


@pytest.mark.parametrize("to", ["", "abc", "\u0661\u0662\u0663", "\u00b2", "-5", " 12"])
def test_what_is_not_a_number_gets_what_a_row_without_one_gets(to: str) -> None:
    pool = SenderPool(dict.fromkeys(NUMBERS, 1.0))
    (nobody,) = pool.assign(pl.Series([None], dtype=pl.String), pl.Series([None], dtype=pl.String))
    assert pool.order(to)[0] == assigned(pool, [to])[0] == nobody


def test_the_last_number_is_never_taken_out() -> None:
    pool = SenderPool({"+12025550100": 1.0, "+12025550101": 1.0})
    assert pool.disable("+12025550100", "refused")
    assert pool.disable("+12025550100", "refused again"), "what was under way from it comes back too"
    assert not pool.disable("+12025550101", "refused")
    assert not pool.disable("+12025550199", "no number of the pool")
    assert not pool.disable(None, "a service")
    assert pool.disabled == {"+12025550100": "refused"}
    assert pool.choose("+12125550123", "+12025550100") == "+12025550101"
    assert pool.choose("+12125550123", "ROWSOWN") == "ROWSOWN"
    assert pool.choose("+12125550123", None) is None


def test_rows_without_a_number_get_some_number_and_an_empty_list_none() -> None:
    pool = SenderPool({"+12025550100": 1.0, "+12025550101": 1.0}, "area_code")
    nobody = pl.Series([None, "988"], dtype=pl.String)
    assert pool.assign(nobody, pl.Series([None, None], dtype=pl.String)).null_count() == 0
    assert pool.assign(nobody.clear(), nobody.clear()).to_list() == []


def test_what_numbers_that_are_out_had_is_spread_by_weight() -> None:
    pool = SenderPool({A: 1.0, B: 3.0, C: 2.0})
    assert pool.redistribute({A: 10.0, B: 4.0, None: 2.0}) == {A: 10.0, B: 4.0, None: 2.0, C: 0.0}
    assert pool.disable(C, "refused")
    assert pool.redistribute({A: 10.0, B: -2.0, C: 8.0, None: 1.0}) == {A: 12.0, B: 4.0, None: 1.0}
