"""Scalars stay as written, every value knows its line, and what could hurt is refused."""

from __future__ import annotations

import pytest

from sender.campaign import safe_yaml
from sender.campaign.safe_yaml import YamlError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("a: +12025550100", "+12025550100", id="plus-is-kept"),
        pytest.param("a: 015123456712", "015123456712", id="no-octal"),
        pytest.param("a: 1e5", "1e5", id="no-exponent"),
        pytest.param("a: NO", "NO", id="norway"),
        pytest.param("a: true", "true", id="bool-is-text-here"),
        pytest.param("a: 2026-11-21", "2026-11-21", id="no-date"),
        pytest.param("a: 1_000", "1_000", id="no-underscores"),
        pytest.param("a: 12:30", "12:30", id="no-sexagesimal"),
        pytest.param("a:", None, id="blank"),
        pytest.param("a: ~", None, id="tilde"),
        pytest.param("a: null", None, id="null"),
        pytest.param('a: "null"', "null", id="quoted-null-is-text"),
        pytest.param('a: ""', "", id="quoted-blank-is-text"),
        pytest.param("a: [1, two]", ["1", "two"], id="list"),
        pytest.param("a: {b: 1}", {"b": "1"}, id="mapping"),
    ],
)
def test_values_are_what_stands_in_the_file(text: str, value: object) -> None:
    assert safe_yaml.load(text).value == {"a": value}


def test_every_value_knows_its_line() -> None:
    document = safe_yaml.load("a: 1\nb:\n  - x\n  - c: 2\n")
    assert document.line(("a",)) == 1
    assert document.line(("b", 1, "c")) == 4
    assert document.line(("b", 1, "absent")) == 4  # the nearest that is known
    assert document.line(("absent",)) == 1


def test_an_empty_document_is_none() -> None:
    assert safe_yaml.load("# only a comment\n").value is None


def test_anchors_are_expanded() -> None:
    assert safe_yaml.load("a: &x {k: v}\nb: *x\n").value == {"a": {"k": "v"}, "b": {"k": "v"}}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{this}: &{this} [{', '.join([f'*{last}'] * 10)}]\n" for last, this in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        pytest.param("a: 1\na: 2\n", 2, "repeated (first on line 1)", id="duplicate-key"),
        pytest.param("a: [1\n", 2, "not valid YAML", id="syntax"),
        pytest.param("a:\n\tb: 1\n", 2, "not valid YAML", id="tab"),
        pytest.param("a: 1\n---\nb: 2\n", 2, "not valid YAML", id="two-documents"),
        pytest.param("? [a]\n: 1\n", 1, "plain text", id="key-is-a-list"),
        pytest.param(BOMB, None, "values after aliases are expanded", id="alias-bomb"),
        pytest.param("[" * 60 + "]" * 60, 1, "nested deeper", id="deep"),
        pytest.param("a: \x07\n", None, "not valid YAML", id="control-character"),
        pytest.param("a: &a [*a]\n", 1, "nested deeper", id="alias-of-itself"),
    ],
)
def test_refusals_name_the_line(text: str, line: int | None, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_yaml, "MAX_NODES", 100_000)
    with pytest.raises(YamlError) as caught:
        safe_yaml.load(text)
    assert says in caught.value.problem.what
    if line is not None:
        assert caught.value.problem.line == line


def test_tags_construct_nothing() -> None:
    assert safe_yaml.load("a: !!python/object/apply:os.system [echo]\n").value == {"a": ["echo"]}
