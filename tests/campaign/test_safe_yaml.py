"""Scalars stay as written, every value knows its line, and what could hurt is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

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
        pytest.param(BOMB, None, "aliases add more than 10,000 values", id="alias-bomb"),
        pytest.param("[" * 60 + "]" * 60, 1, "nested deeper", id="deep"),
        pytest.param("a: \x07\n", None, "not valid YAML", id="control-character"),
        pytest.param("a: &a [*a]\n", 1, "nested deeper", id="alias-of-itself"),
        pytest.param("a: &a {b: *a}\n", 1, "nested deeper", id="mapping-of-itself"),
        pytest.param("{a: " * 60 + "1" + "}" * 60, 1, "nested deeper", id="deep-mappings"),
        pytest.param("- " * 60 + "x", 1, "nested deeper", id="deep-in-blocks"),
        pytest.param("a: x\n? " + "- " * 60 + "x\n: 1", 2, "nested deeper", id="deep-key"),
        pytest.param("a: *b\n", 1, "undefined alias 'b'", id="undefined-alias"),
        pytest.param(
            f"a: &a [{', '.join('x' * 100)}]\nb: [{', '.join(['*a'] * 101)}]\n", 1, "aliases add", id="aliases"
        ),
        pytest.param(f"a: &a {'x' * 10_000}\nb: [{', '.join(['*a'] * 105)}]\n", 1, "aliases add", id="long-aliases"),
    ],
)
def test_refusals_name_the_line(text: str, line: int | None, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_yaml, "MAX_NODES", 100_000)
    with pytest.raises(YamlError) as caught:
        safe_yaml.load(text)
    assert says in caught.value.problem.what
    if line is not None:
        assert caught.value.problem.line == line


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("!!python/object/apply:os.system [echo]", "!!python/object/apply:os.system"),
        ("!!int 5", "!!int"),
        ("!!binary aGk=", "!!binary"),
        ("!!set {a, b}", "!!set"),
        ("!vault abc", "!vault"),
        ("! text", "!"),
        ("!!str [a]", "!!str"),
        ("!<tag:example.com,2026:x> y", "tag:example.com,2026:x"),
    ],
)
@pytest.mark.parametrize("place", ["a: {}", "x: 1\na: {}", "a: [{}]", "a:\n  - {}", "? {}\n: 1"])
def test_tags_are_refused(value: str, tag: str, place: str) -> None:
    with pytest.raises(YamlError) as caught:
        safe_yaml.load(place.format(value) + "\n")
    assert f"the tag `{tag}` has no meaning here" in caught.value.problem.what
    assert caught.value.problem.line == place[: place.index("{}")].count("\n") + 1


def test_a_text_may_say_that_it_is_one() -> None:
    assert safe_yaml.load("a: !!str 0151\nb: !!str\n").value == {"a": "0151", "b": None}


@pytest.mark.parametrize(
    ("text", "comments"),
    [
        pytest.param("a: Hi {{ n }} #1 fan", {("a",): "#1 fan"}, id="behind a text"),
        pytest.param("a: Hi {{ n }} # 1 fan  ", {("a",): "# 1 fan"}, id="with a blank"),
        pytest.param("a: Grüße 🎉 #1\r\nb: x", {("a",): "#1"}, id="not ASCII, CRLF"),
        pytest.param("a: #1 fan", {("a",): "#1 fan"}, id="the whole value"),
        pytest.param("a: Hi\n  there #1 fan", {("a",): "#1 fan"}, id="several lines"),
        pytest.param("a:\n  b: [x #1\n  ]", {("a", "b", 0): "#1"}, id="in a list"),
        pytest.param("a: 'Hi' #1", {}, id="quoted"),
        pytest.param('a: "Hi #1"', {}, id="inside quotes"),
        pytest.param("a: |\n  Hi #1\n", {}, id="a block"),
        pytest.param("a: Hi#1", {}, id="within a word"),
        pytest.param("a: https://example.com/#top", {}, id="a fragment"),
        pytest.param("a: x\n# a line of its own", {}, id="on the next line"),
        pytest.param("a: # why\n  b: c", {}, id="behind a key with values"),
    ],
)
def test_comments_behind_a_value(text: str, comments: dict[Any, str]) -> None:
    assert safe_yaml.load(text).comments == comments


def test_what_is_too_deep_is_not_read_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML's parser takes quadratic time for a depth that we refuse anyway."""
    read = 0
    parse = yaml.parse

    def counting(text: str, **options: Any) -> Iterator[Any]:
        nonlocal read
        for event in parse(text, **options):
            read += 1
            yield event

    monkeypatch.setattr(yaml, "parse", counting)
    with pytest.raises(YamlError, match="nested deeper"):
        safe_yaml.load("[" * 200)
    assert read < 50


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("a: &x 1\nb: &x 2\nc: *x\n", {"a": "1", "b": "2", "c": "2"}, id="repeated-anchor"),
        pytest.param("a: {b: &x 1, c: *x, d: [*x, *x]}\n", {"a": {"b": "1", "c": "1", "d": ["1", "1"]}}, id="flow"),
        pytest.param("<<: {a: 1}\n", {"<<": {"a": "1"}}, id="merge-key-is-a-key"),
        pytest.param("---\na: 1\n...\n", {"a": "1"}, id="marked"),
        pytest.param("a: &x\nb: *x\n", {"a": None, "b": None}, id="blank-anchor"),
        pytest.param(f"a: &a [{', '.join('x' * 100)}]\nb: [{', '.join(['*a'] * 90)}]\n", None, id="many-aliases"),
    ],
)
def test_aliases_stand_for_what_they_name(text: str, value: object) -> None:
    loaded = safe_yaml.load(text).value
    assert loaded == (value or {"a": ["x"] * 100, "b": [["x"] * 100] * 90})
