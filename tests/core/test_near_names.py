from __future__ import annotations

import time

import pytest

from sender.core.near_names import did_you_mean, find_near, find_near_keys

HERE = ("provider", "rate", "recipients", "message", "edition", "limits")
ELSEWHERE = {
    "recipients": ("file", "default_region", "region_column"),
    "limits": ("queue", "max_messages"),
    "message": ("body", "max_segments"),
}


@pytest.mark.parametrize(
    ("key", "near"),
    [
        pytest.param("providr", ["provider"], id="a letter is missing"),
        pytest.param("Provider", ["provider"], id="a capital"),
        pytest.param("default-region", ["recipients.default_region"], id="a hyphen, another place"),
        pytest.param("defaultRegion", ["recipients.default_region"], id="camel case"),
        pytest.param("Max Segments", ["message.max_segments"], id="a blank"),
        pytest.param(
            "region", ["recipients.default_region", "recipients.region_column"], id="a part, and not `edition`"
        ),
        pytest.param("regoin", ["recipients.default_region", "recipients.region_column"], id="a misspelt part"),
        pytest.param("body", ["message.body"], id="another place"),
        pytest.param("text", ["message"], id="another word"),
        pytest.param("zzz", [], id="nothing"),
        pytest.param("", [], id="blank"),
        pytest.param("_", [], id="no letters"),
    ],
)
def test_near_keys(key: str, near: list[str]) -> None:
    assert find_near_keys(key, HERE, ELSEWHERE, {"text": "message"}) == near


def test_at_most_three_are_near() -> None:
    assert len(find_near("column", [f"column_{n}" for n in "abcdef"])) == 3


def test_a_long_name_takes_no_time() -> None:
    began = time.process_time()
    find_near("a_" * 500_000, [f"key_{n}" for n in range(500)])
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], ""),
        (["a"], "did you mean `a`?"),
        (["a", "b"], "did you mean `a` or `b`?"),
        (["a", "b", "c"], "did you mean `a`, `b` or `c`?"),
    ],
)
def test_the_sentence(names: list[str], sentence: str) -> None:
    assert did_you_mean(names) == sentence
