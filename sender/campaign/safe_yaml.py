"""YAML as a person wrote it: scalars stay text, every value has its line, YAML bombs are refused.

To a YAML parser `from: +12025550100` is an integer, `0151…` an octal one and `NO` a boolean; each would change. So
scalars stay the text of the file (only `null`, `~` and an empty value are None), and code that needs a number converts
the text. A tag would change a value, so tags are refused, but for `!!str`, which says what is done anyway. Never
constructs Python objects.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from sender.core.errors import Problem

KeyPath = tuple[str | int, ...]
MAX_DEPTH = 40
MAX_NODES = 5_000_000  # written
MAX_REPEATED = 10_000  # values, and as many times a hundred characters, that aliases may add to what is written
_SIMPLER = "write out only the values you need; put a large list in a CSV file"
_QUOTE = "put the value in quotes if it holds `: `, `#`, `{` or `[`"
_UNTAG = "put the value in quotes if it begins with `!`, or remove the tag"
_SHOWN = 80  # characters of a name in a sentence
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_COMMENT = re.compile(r"[ \t]+(#[^\r\n]*)")
_TEXT_TAG = "tag:yaml.org,2002:str"


class YamlError(ValueError):
    """The text is not YAML that we accept. `problem` says where, and what to do."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Document:
    """`value` is plain dicts, lists, str and None; `lines` maps each key path to its line, from 1.

    `comments` has the comments (`#1 fan`) that follow a value without quotes on its line, by the value's key path.
    """

    value: Any
    lines: dict[KeyPath, int]
    given: set[KeyPath] = field(default_factory=set)  # keys that came from elsewhere, and stand in no line
    comments: dict[KeyPath, str] = field(default_factory=dict)

    def at(self, path: KeyPath) -> Any:
        """Return the value under `path`; None where there is none."""
        value = self.value
        for part in path:
            known: Collection[Any] = value if isinstance(value, dict) else ()
            known = range(len(value)) if isinstance(value, list) else known
            value = value[part] if part in known else None
        return value

    def is_given(self, path: KeyPath) -> bool:
        """Whether the key, or one above it, is not the document's own."""
        return any(path[:length] in self.given for length in range(1, len(path) + 1))

    def line(self, path: KeyPath) -> int | None:
        """Return the line of the longest known prefix of `path`; None for a key from elsewhere."""
        if self.is_given(path):
            return None
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return self.lines.get(())


def load(text: str) -> Document:
    """Return the document in `text`.

    Raises YamlError for bad syntax, tags, duplicate keys, several documents, and too many or too deeply nested values.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    composer = _Composer(yaml.parse(text, Loader=loader))
    try:
        root = composer.root()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        hint = "indent with spaces, not tabs" if "\\t" in str(error.problem) else _QUOTE
        raise YamlError(Problem(line, None, f"not valid YAML: {error.problem}", hint)) from error
    except yaml.YAMLError as error:  # unreadable characters carry no mark
        raise YamlError(
            Problem(None, None, f"not valid YAML: {error}".splitlines()[0], "save the file as UTF-8")
        ) from error
    if root is None:
        return Document(None, {})
    return _Builder(composer.nodes, text).document(root)


class _Composer:
    """Nodes from a parser's events, one after the other: too deep a text is refused where it gets too deep.

    PyYAML's own composer recurses as deep as the text goes, in C, and its parser takes quadratic time for that.
    """

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self.nodes = 0
        self._events = events
        self._anchors: dict[str, yaml.Node] = {}

    def root(self) -> yaml.Node | None:
        """Return the root of the only document; None if there is none. Raises YamlError and yaml.YAMLError."""
        root: yaml.Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise _refuse(event, "not valid YAML: expected a single document", "remove the lines from `---` on")
                root = self._node(next(self._events), 0)
        return root

    def _node(self, event: Any, depth: int) -> yaml.Node:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise _refuse(event, f"not valid YAML: found undefined alias {str(event.anchor)[:_SHOWN]!r}", _QUOTE)
            return self._anchors[event.anchor]
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _refuse(event, f"more than {MAX_NODES:,} values", _SIMPLER)
        if depth > MAX_DEPTH:
            raise _refuse(event, f"nested deeper than {MAX_DEPTH} levels", _SIMPLER)
        if event.tag is not None and not (event.tag == _TEXT_TAG and isinstance(event, yaml.ScalarEvent)):
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:_SHOWN]
            raise _refuse(event, f"the tag `{tag}` has no meaning here: every value is text", _UNTAG)
        start: Any = event.start_mark
        end: Any = event.end_mark
        if isinstance(event, yaml.ScalarEvent):
            return self._keep(event, yaml.ScalarNode("", event.value, start, end, style=event.style))
        children: list[Any] = []
        if isinstance(event, yaml.SequenceStartEvent):
            node = self._keep(event, yaml.SequenceNode("", children, start))
            while not isinstance(child := next(self._events), yaml.SequenceEndEvent):
                children.append(self._node(child, depth + 1))
            return node
        node = self._keep(event, yaml.MappingNode("", children, start))
        while not isinstance(child := next(self._events), yaml.MappingEndEvent):
            key = self._node(child, depth + 1)
            children.append((key, self._node(next(self._events), depth + 1)))
        return node

    def _keep(self, event: Any, node: yaml.Node) -> yaml.Node:
        """Keep a node that has an anchor for its aliases. A repeated anchor stands for the newest, as in YAML 1.2."""
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node


def _refuse(event: Any, what: str, fix: str) -> YamlError:
    return YamlError(Problem(event.start_mark.line + 1, None, what, fix))


class _Builder:
    """Values from the nodes of `text`, of which there are `nodes`; aliases may add MAX_REPEATED values."""

    def __init__(self, nodes: int, text: str) -> None:
        self._left = nodes + MAX_REPEATED
        self._characters_left = len(text) + 100 * MAX_REPEATED
        self._text = text
        self._lines: dict[KeyPath, int] = {}
        self._comments: dict[KeyPath, str] = {}

    def document(self, root: yaml.Node) -> Document:
        return Document(self._value(root, ()), self._lines, comments=self._comments)

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        line = node.start_mark.line + 1
        self._lines.setdefault(path, line)
        self._left -= 1
        if isinstance(node, yaml.ScalarNode):
            self._characters_left -= len(node.value)
        if self._left < 0 or self._characters_left < 0:  # an alias counts each time, which a bomb multiplies
            what = f"aliases add more than {MAX_REPEATED:,} values"
            raise YamlError(Problem(line, None, what, _SIMPLER))
        if len(path) > MAX_DEPTH:
            raise YamlError(Problem(line, None, f"nested deeper than {MAX_DEPTH} levels", _SIMPLER))
        if isinstance(node, yaml.ScalarNode):
            plain = not node.style  # the C parser says '', the Python one None
            if plain and (comment := _COMMENT.match(self._text, node.end_mark.index)):
                self._comments[path] = comment[1].rstrip()
            return None if plain and node.value in _NULLS else node.value
        if isinstance(node, yaml.SequenceNode):
            return [self._value(child, (*path, index)) for index, child in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        raise YamlError(Problem(line, None, f"unexpected YAML node {node.tag}", _SIMPLER))

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlError(Problem(line, None, "a key must be plain text", "quote it if it is text"))
            key = key_node.value
            if key in result:
                first = self._lines.get((*path, key))
                raise YamlError(
                    Problem(line, key[:_SHOWN], f"the key is repeated (first on line {first})", "keep one of them")
                )
            self._lines[(*path, key)] = line
            result[key] = self._value(value_node, (*path, key))
        return result
