"""Texts as PostgreSQL can hold them: U+0000, which it cannot, is escaped, and comes back as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

_ESCAPE = "\x1a"  # ASCII's SUBSTITUTE: a text with it is escaped, too


def escape(value: Any) -> Any:
    """`value` with every text in it escaped: a text, or any nesting of lists, tuples and mappings with some."""
    match value:
        case str():
            if "\0" in value or _ESCAPE in value:
                return value.replace(_ESCAPE, _ESCAPE + "1").replace("\0", _ESCAPE + "0")
            return str(value)  # a member of an enumeration as its value
        case list() | tuple():
            return [escape(item) for item in value]
        case Mapping():
            return {name: escape(item) for name, item in value.items()}
    return value


def unescape(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows of a table as they were before they were escaped."""
    if not any(isinstance(value, str) and _ESCAPE in value for row in rows for value in row):
        return rows
    return [tuple(_unescape(value) if isinstance(value, str) else value for value in row) for row in rows]


def unescape_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """A frame of such rows as it was."""
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    odd = [name for name in texts if frame[name].str.contains(_ESCAPE, literal=True).any()]
    return frame.with_columns(pl.col(name).map_elements(_unescape, pl.String) for name in odd) if odd else frame


def _unescape(text: str) -> str:
    return text.replace(_ESCAPE + "0", "\0").replace(_ESCAPE + "1", _ESCAPE)
