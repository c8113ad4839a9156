"""Sets of digit strings: every law against plain Python sets and `re`, on strings of up to five digits."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.phone.digit_sets import (
    MAX_DIGITS,
    Unreadable,
    after,
    anything,
    continued,
    difference,
    intersection,
    key,
    language,
    length,
    of_lengths,
    parse,
    spelled,
    union,
)

ALL = ["".join(digits) for n in range(6) for digits in itertools.product("0123456789", repeat=n)]
BY_KEY = {key(text): text for text in ALL}

CLASSES = st.sampled_from(["0", "7", "[2-5]", "[013-68]", "\\d", "19"])
PATTERNS = st.recursive(
    CLASSES,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}|{two[1]})?"),
        st.tuples(CLASSES, st.sampled_from(["?", "{2}", "{1,3}", "{0,2}"])).map(lambda two: f"(?:{two[0]}){two[1]}"),
    ),
    max_leaves=4,
)
SETS = st.lists(st.sampled_from(sorted(BY_KEY)), max_size=12).map(lambda keys: union((one, one) for one in keys))


def strings(members) -> set[str]:
    """The members that have up to five digits."""
    return {BY_KEY[one] for low, high in members if length(low) <= 5 for one in range(low, high + 1)}


def test_a_key_keeps_length_and_leading_zeros():
    assert [key(text) for text in ("", "0", "007", "7")] == [1, 10, 1007, 17]
    assert [length(key(text)) for text in ("", "0", "007")] == [0, 1, 3]


@given(PATTERNS)
def test_language_is_what_fullmatch_takes(pattern):
    compiled = re.compile(pattern)
    assert strings(language(pattern)) == {text for text in ALL if compiled.fullmatch(text)}


@given(PATTERNS, st.text("0123456789", max_size=8))
def test_the_first_spelled_is_what_match_takes(pattern, text):
    texts = spelled(parse(pattern))
    found = re.match(pattern, text)
    if texts is not None:
        first = next((one for one in texts if text.startswith(one)), None)
        assert first == (found[0] if found else None)


@given(SETS, SETS)
def test_set_algebra(one, other):
    assert strings(intersection(one, other)) == strings(one) & strings(other)
    assert strings(difference(one, other)) == strings(one) - strings(other)
    assert strings(union((*one, *other))) == strings(one) | strings(other)


SHORT = [text for text in ALL if len(text) <= 3]


@given(st.lists(st.sampled_from(SHORT), max_size=6), st.text("0123456789", max_size=2))
def test_prefixes(texts, prefix):
    members = union((key(text), key(text)) for text in texts)

    def short(found) -> set[str]:
        return strings(of_lengths(found, range(4)))

    assert short(after(prefix, members)) == {prefix + text for text in texts if len(prefix + text) <= 3}
    assert short(continued(members)) == {text for text in SHORT if text.startswith(tuple(texts))}
    assert short(anything(prefix, 2)) == {text for text in SHORT if len(text) >= 2 and text.startswith(prefix)}
    assert strings(of_lengths(members, [0, 2])) == {text for text in texts if len(text) in {0, 2}}


def test_nothing_is_longer_than_a_key_can_be():
    assert after("12", anything("", MAX_DIGITS - 1)) == ()
    assert max(high for _, high in anything()) < 2**63


@pytest.mark.parametrize(
    "pattern",
    ["a", "1*", "1+", "1{2,}", "[^1]", "(?=1)2", "(1", "1)", "[12", "[3-1]", "1??", "$1", "\\w", ".", "(?:1$|2)3"],
)
def test_what_cannot_be_held_exactly_is_refused(pattern):
    with pytest.raises(Unreadable):
        language(pattern)


@pytest.mark.parametrize(
    ("pattern", "filled", "left_out"),
    [
        pytest.param("0?(?:(11|2)15)?", "0?(?:(11|2)15)", "0?", id="may be left out"),
        pytest.param("0(1|2)", "0(1|2)", None, id="always there"),
    ],
)
def test_split_group(pattern, filled, left_out):
    with_group, without_group = parse(pattern).split_group()
    assert spelled(with_group) == spelled(parse(filled))
    assert (spelled(without_group) if without_group else None) == (spelled(parse(left_out)) if left_out else None)
