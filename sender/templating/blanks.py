"""What a template finds where a cell has no value, and the sentences that say so.

Never decides what has no value: that is for `sender.templating.missing_values` and `sender.templating.nested_values`.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from typing import Any

import jinja2
from jinja2.utils import missing


class TemplateRow(dict[str, Any]):
    """`row` in a template: header to cell, without the blank ones and the placeholders, which it keeps apart."""

    _placeholders: Mapping[str, str] = types.MappingProxyType({})  # by header

    def set_apart(self, placeholders: Mapping[str, str]) -> None:
        """Say which headers hold a placeholder, and which."""
        self._placeholders = placeholders

    def placeholder(self, header: object) -> str | None:
        """Return the placeholder in the cell; None if there is none."""
        return self._placeholders.get(header) if isinstance(header, str) else None


class PlaceholderError(jinja2.UndefinedError):
    """The text needs a cell that holds a placeholder."""


def member_path(path: str, key: str | int) -> str:
    """Return how a template writes what `path` has under a key or an index: `address.city`, `items[0]`."""
    if isinstance(key, str):
        return f"{path}.{key}" if key.isidentifier() else f"{path}[{json.dumps(key, ensure_ascii=False)}]"
    return f"{path}[{key}]"


def row_key(header: str) -> str:
    """Return the column `header` as a template writes it."""
    return f'row["{header}"]'


def is_header(name: str) -> bool:
    """Whether `row.name` can only be a column, not an attribute that every dict has."""
    return not hasattr(TemplateRow, name)


class Blank(jinja2.StrictUndefined):
    """StrictUndefined, with a sentence for the person who fixes the row."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: type[jinja2.TemplateRuntimeError] = jinja2.UndefinedError,
    ) -> None:
        word = obj.placeholder(name) if isinstance(obj, TemplateRow) else None
        if word is not None:
            hint, exc = (
                _placeholder_sentence(row_key(str(name)), f'{row_key(str(name))} | default("...")', word),
                PlaceholderError,
            )
        super().__init__(hint, obj, name, exc)

    def holding(self, word: str) -> Blank:
        """Return the value of the same cell where it holds the placeholder `word`."""
        name = str(self._undefined_name)
        if isinstance(self._undefined_obj, TemplateRow):
            row = TemplateRow()
            row.set_apart({name: word})
            return Blank(obj=row, name=name)
        sentence = _placeholder_sentence(f"`{name}`", f"{name} | default('...')", word)
        return Blank(hint=sentence, name=name, exc=PlaceholderError)

    def inside(self, key: str | int) -> Blank:
        """Return what is in a value that is not there: undefined as well, so that `default` may follow."""
        cell = self._undefined_obj is missing or isinstance(self._undefined_obj, TemplateRow)
        if self._undefined_hint or not cell or not isinstance(self._undefined_name, str) or hasattr(str, str(key)):
            return self
        inner = member_path(self.path, key)
        sentence = f"`{self.path}` is blank; give it a value, or write {{{{ {inner} | default('...') }}}}"
        return Blank(hint=sentence, name=inner)

    def error(self) -> jinja2.TemplateRuntimeError:
        """Return what a text that needs the value raises."""
        return self._undefined_exception(self._undefined_message)

    @property
    def path(self) -> str:
        """How a template writes the cell."""
        name = str(self._undefined_name)
        return row_key(name) if isinstance(self._undefined_obj, TemplateRow) else name

    @property
    def _undefined_message(self) -> str:
        name, owner = self._undefined_name, self._undefined_obj
        if self._undefined_hint or not isinstance(name, str):
            return super()._undefined_message
        if isinstance(owner, TemplateRow):
            return f'{row_key(name)} is blank; give it a value, or write {{{{ {row_key(name)} | default("...") }}}}'
        if owner is missing:
            return f"`{name}` is blank; give it a value, or write {{{{ {name} | default('...') }}}}"
        return super()._undefined_message


def _placeholder_sentence(shown: str, with_default: str, word: str) -> str:
    return (
        f"{shown} holds `{word}`, which stands for a missing value; give it a value, or write {{{{ {with_default} }}}}"
    )


def blank(name: str) -> Blank:
    """Return the value of a blank cell's name."""
    return Blank(name=name)


def blank_in_row(header: str) -> Blank:
    """Return the value of `row["header"]` when the cell is blank."""
    return Blank(obj=TemplateRow(), name=header)
