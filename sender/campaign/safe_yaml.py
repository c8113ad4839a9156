"""YAML as a person wrote it: scalars stay text, every value has its line, YAML bombs are refused.

To a YAML parser `from: +12025550100` is an integer, `0151…` an octal one and `NO` a boolean; each would change. So
scalars stay the text of the file (only `null`, `~` and an empty value are None), and code that needs a number converts
the text. Never constructs Python objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from sender.core.errors import Problem

KeyPath = tuple[str | int, ...]
MAX_DEPTH = 40
MAX_NODES = 5_000_000
_SIMPLER = "write out only the values you need; put a large list in a CSV file"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


class YamlError(ValueError):
    """The text is not YAML that we accept. `problem` says where, and what to do."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Document:
    """`value` is plain dicts, lists, str and None; `lines` maps each key path to its line, from 1."""

    value: Any
    lines: dict[KeyPath, int]

    def line(self, path: KeyPath) -> int | None:
        """Return the line of the longest known prefix of `path`."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return self.lines.get(())


def load(text: str) -> Document:
    """Return the document in `text`.

    Raises YamlError for bad syntax, duplicate keys, several documents, and too many or too deeply nested values.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        hint = (
            "indent with spaces, not tabs"
            if "\\t" in str(error.problem)
            else "put the value in quotes if it holds `: `, `#`, `{` or `[`"
        )
        raise YamlError(Problem(line, None, f"not valid YAML: {error.problem}", hint)) from error
    except yaml.YAMLError as error:  # unreadable characters carry no mark
        raise YamlError(
            Problem(None, None, f"not valid YAML: {error}".splitlines()[0], "save the file as UTF-8")
        ) from error
    except RecursionError as error:
        raise YamlError(Problem(None, None, f"nested deeper than {MAX_DEPTH} levels", _SIMPLER)) from error
    if root is None:
        return Document(None, {})
    return _Builder().document(root)


class _Builder:
    def __init__(self) -> None:
        self._left = MAX_NODES
        self._lines: dict[KeyPath, int] = {}

    def document(self, root: yaml.Node) -> Document:
        return Document(self._value(root, ()), self._lines)

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        line = node.start_mark.line + 1
        self._lines.setdefault(path, line)
        self._left -= 1
        if self._left < 0:  # counts values after aliases are expanded, which a bomb multiplies
            raise YamlError(Problem(line, None, f"more than {MAX_NODES:,} values after aliases are expanded", _SIMPLER))
        if len(path) > MAX_DEPTH:
            raise YamlError(Problem(line, None, f"nested deeper than {MAX_DEPTH} levels", _SIMPLER))
        if isinstance(node, yaml.ScalarNode):
            plain = not node.style  # the C parser says '', the Python one None
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
                raise YamlError(Problem(line, key, f"the key is repeated (first on line {first})", "keep one of them"))
            self._lines[(*path, key)] = line
            result[key] = self._value(value_node, (*path, key))
        return result
