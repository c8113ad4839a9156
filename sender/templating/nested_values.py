"""Mappings and lists in cells, as templates see them: `address.city`, `items[0]`, `{% for item in items %}`.

A cell with such a value is text like any other where it is printed, and a mapping or a list where a template looks
into it. Whatever is in it is text, too. What is blank, a placeholder or not there is undefined, as a blank cell is; in
a condition it is an empty text. Changes no value.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex

import polars as pl
from jinja2.utils import missing

from sender.templating.blanks import Blank, TemplateRow, member_path, row_key
from sender.templating.missing_values import MissingValues

_OF_MAPPINGS = frozenset({"items", "keys", "values", "get"})


class Nested:
    """A mapping or a list in a cell."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        """Whether it is the same value, or `other` is its text: templates compare cells with texts."""
        return str(self) == other if isinstance(other, str) else bool(super().__eq__(other))

    def look_up(self, key: Any) -> Any:
        """Return what it has under a key or an index, or undefined; `missing` for the name of a method."""
        raise NotImplementedError


def has_text_method(name: str) -> bool:
    """Whether every text has a method of that name: `upper`, `split`, `replace`."""
    return not name.startswith("_") and hasattr(str, name)


@dataclass(frozen=True, slots=True)
class NestedReader:
    """Reads the values of cells. `placeholders` count as blank; with `lenient` a blank is an empty text."""

    placeholders: Collection[str]
    lenient: bool = False

    def read(self, source: str, text: str, path: str) -> Any:
        """Return the value in `source`, its JSON; `text` is its cell, and `path` how a template writes it."""
        return self._wrap(json.loads(source), path, text)

    def member(self, raw: Any, path: str, parent: Nested, key: str) -> Any:
        """Return what a value has at one place; `raw` is None where it has nothing there."""
        if isinstance(raw, dict | list):
            return self._wrap(raw, path, None)
        text = (raw or "").strip()
        if self.lenient:
            return text if text and text not in self.placeholders else NoValue()
        if not text:
            return Blank(name=path, hint=_near_sentence(path, parent, key))
        return Blank(name=path).holding(text) if text in self.placeholders else raw

    def _wrap(self, raw: dict[str, Any] | list[Any], path: str, text: str | None) -> Nested:
        return MappingValue(raw, self, path, text) if isinstance(raw, dict) else ListValue(raw, self, path, text)


def _near_sentence(path: str, parent: Nested, key: str) -> str | None:
    """Return the sentence for a key that a mapping does not have, but one like it; None where it has none."""
    if not isinstance(parent, MappingValue) or key in parent:
        return None
    near = difflib.get_close_matches(key, parent, n=1)
    if not near:
        return None
    return (
        f"`{path}` is not there; did you mean `{parent.path_of(near[0])}`? Or write {{{{ {path} | default('...') }}}}"
    )


class NoValue(str):
    """What a condition finds where there is nothing: an empty text, also of whatever would be in it."""

    __slots__ = ()


class MappingValue(Nested, dict[str, Any]):
    """A mapping in a cell. Its text is the cell's, or JSON where it is part of one."""

    __slots__ = ("_path", "_reader", "_text")

    def __init__(self, raw: dict[str, Any], reader: NestedReader, path: str, text: str | None) -> None:
        super().__init__(raw)
        self._reader, self._path, self._text = reader, path, text

    def __str__(self) -> str:
        return json.dumps(dict(self), ensure_ascii=False) if self._text is None else self._text

    def path_of(self, key: str) -> str:
        """Return how a template writes the value under `key`."""
        return member_path(self._path, key)

    def look_up(self, key: Any) -> Any:
        name = key if isinstance(key, str) else str(key)
        if name in self or not (has_text_method(name) or name in _OF_MAPPINGS):
            return self._reader.member(dict.get(self, name), self.path_of(name), self, name)
        return missing

    def get(self, key: Any, default: Any = None) -> Any:
        return self.look_up(key) if str(key) in self else default

    def items(self) -> Any:
        return [(key, self.look_up(key)) for key in self]

    def values(self) -> Any:
        return [self.look_up(key) for key in self]


class ListValue(Nested, list[Any]):
    """A list in a cell. Its text is the cell's, or its values with blanks between them where it is part of one."""

    __slots__ = ("_path", "_reader", "_text")

    def __init__(self, raw: Iterable[Any], reader: NestedReader, path: str, text: str | None) -> None:
        super().__init__(raw)
        self._reader, self._path, self._text = reader, path, text

    def __str__(self) -> str:
        return " ".join(map(_plain_text, list.__iter__(self))) if self._text is None else self._text

    def look_up(self, key: Any) -> Any:
        if isinstance(key, slice):
            return ListValue(list.__getitem__(self, key), self._reader, self._path, None)
        if isinstance(key, int):
            inside = -len(self) <= key < len(self)
            raw = list.__getitem__(self, key) if inside else None
            return self._reader.member(raw, member_path(self._path, key), self, "")
        if has_text_method(str(key)) or hasattr(list, str(key)):
            return missing
        path = self._path
        return Blank(
            name=member_path(path, str(key)), hint=f"`{path}` is a list; `{path}[0]` is the first of its values"
        )

    def __iter__(self) -> Iterator[Any]:
        return (self.look_up(index) for index in range(len(self)))

    def __reversed__(self) -> Iterator[Any]:
        return (self.look_up(index) for index in reversed(range(len(self))))

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        return self.look_up(index if isinstance(index, slice) else index.__index__())

    def __add__(self, other: Any) -> Any:
        return str(self) + other if isinstance(other, str) else list(self) + other

    __iadd__ = __add__  # a new value: a cell never changes

    def __radd__(self, other: Any) -> Any:
        return other + str(self) if isinstance(other, str) else other + list(self)


def _plain_text(raw: Any) -> str:
    """Return a value as the text of its list has it."""
    if isinstance(raw, list):
        return " ".join(map(_plain_text, raw))
    return json.dumps(raw, ensure_ascii=False) if isinstance(raw, dict) else raw or ""


def find_example(source: str, path: str) -> str:
    """Return how a template writes the first text in a value, whose JSON is `source`: `order.items[0].name`."""
    value = json.loads(source)
    while value and isinstance(value, dict | list):
        key = next(iter(value)) if isinstance(value, dict) else 0
        path, value = member_path(path, key), value[key]
    return path


def read_cells(
    cells: Iterable[Any], sources: Iterable[str | None], path: str, placeholders: Collection[str]
) -> list[Any]:
    """Return `cells` (texts, or undefined values) with the mappings and lists that `sources` has for some, as JSON."""
    reader = NestedReader(placeholders)
    return [
        reader.read(source, cell, path) if source and isinstance(cell, str) else cell
        for cell, source in zip(cells, sources, strict=True)
    ]


def read_for_condition(
    cells: Mapping[str, str], sources: Mapping[str, str | None], placeholders: Collection[str]
) -> dict[str, Any]:
    """Return the cells of a row, by header, for a condition; `sources` has the JSON of those that may be nested."""
    reader = NestedReader(placeholders, lenient=True)
    read: dict[str, Any] = dict(cells)
    for header, source in sources.items():
        read[header] = reader.read(source, cells[header], header) if source else cells[header] or NoValue()
    return read


def template_rows(
    cells: MissingValues, headers: Sequence[str], nested: pl.DataFrame, placeholders: Collection[str]
) -> list[TemplateRow]:
    """Return the cells under `headers` as the `row` of each row; `nested` has the JSON of those that may be nested."""
    rows = [
        TemplateRow((header, cell) for header, cell in zip(headers, row, strict=True) if cell is not None)
        for row in pl.DataFrame([cells.filled[header] for header in headers]).iter_rows()
    ]
    words = [header for header in headers if header in cells.words]
    for row, held in zip(rows, zip(*[cells.words[header] for header in words], strict=True), strict=False):
        row.set_apart({header: word for header, word in zip(words, held, strict=True) if word is not None})
    for header in nested.columns:
        values = read_cells((row.get(header) for row in rows), nested[header], row_key(header), placeholders)
        for row, cell in zip(rows, values, strict=True):
            if cell is not None:
                row[header] = cell
    return rows
