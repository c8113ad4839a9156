"""Python values as cells of text, and the tables made of them."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import polars as pl

from sender.core.composed_text import compose_text
from sender.core.errors import RecipientsError
from sender.recipients.readers.table import BLOCK_ROWS, Rows, Table, refuse_wide


def table_of_items(items: Iterable[Mapping[str, Any]], where: str | None = None) -> Table:
    """Return the rows in mappings of header to value. A header that a row does not have is blank there."""
    builder = ItemRows(where)
    rows = list(items)
    for start in range(0, len(rows), BLOCK_ROWS):
        part = rows[start : start + BLOCK_ROWS]
        builder.add(part, range(start + 1, start + 1 + len(part)))
    return builder.table()


# Items whose keys differ make a blank table: refused beyond this many cells that are also this many for each value.
_MOST_BLANK = 1_000_000
_MOST_SPARSE = 100
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # control characters, as numbers in bytes have
_DEEPEST = 50  # levels of mappings and lists into which templates can look


class ItemRows:
    """Builds a Table of mappings; the headers have the order in which they are first seen."""

    def __init__(self, where: str | None = None) -> None:
        self.rows = Rows()
        self._narrow: set[str] = set()
        self._where = where
        self._headers: dict[str, str] = {}  # composed, and as it was first written

    def add(self, items: Sequence[Mapping[str, Any]], numbers: Sequence[int]) -> None:
        """Add a row for each item. Raises RecipientsError where their keys differ so much that most cells are blank."""
        written = dict.fromkeys(str(key) for item in items for key in item)
        for key in written:
            self._headers.setdefault(compose_text(key), key)
        if any(key != compose_text(key) for key in written):
            items = [self._with_composed_keys(item) for item in items]
        refuse_wide(len(self._headers), self._where)
        size, values = len(self._headers) * len(items), sum(map(len, items))
        if size > _MOST_BLANK and size > _MOST_SPARSE * values:
            raise RecipientsError(
                f"has {len(self._headers):,} keys, and {values / len(items):.0f} of them in a row",
                where=self._where,
                fix="use the same keys in every row",
            )
        columns = [[item.get(header) for item in items] for header in self._headers]
        kinds = [set(map(type, values)) for values in columns]
        self._narrow.update(
            header for header, of, values in zip(self._headers, kinds, columns, strict=True) if has_narrow(values, of)
        )
        nested = {at: nested_column(columns[at]) for at, of in enumerate(kinds) if has_nested(of)}
        cells = pl.DataFrame(
            [pl.Series(str(at), map(cell_text, values), dtype=pl.String) for at, values in enumerate(columns)]
        )
        if cells.width:
            self.rows.add(cells, pl.Series(numbers, dtype=pl.UInt32), nested=nested)
        else:
            self.rows.blank_rows += len(items)

    def _with_composed_keys(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        composed = {compose_text(str(key)): value for key, value in item.items()}
        if len(composed) < len(item):
            raise RecipientsError("has a key twice in one row", where=self._where, fix="keep one of them")
        return composed

    def table(self) -> Table:
        return replace(self.rows.table(tuple(self._headers.values())), narrow_headers=frozenset(self._narrow))


def cell_text(value: Any) -> str:
    """Return a Python value as a cell: whole numbers as digits, ISO dates, None and NaN blank, a list with spaces.

    A duration is hours, minutes and seconds.
    """
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return str(value).lower()
        case float():
            if math.isnan(value):
                return ""
            return str(int(value)) if value.is_integer() else str(value)
        case dt.datetime():
            return value.isoformat(sep=" ").removesuffix(" 00:00:00")  # midnight is the day, as in a workbook
        case dt.date() | dt.time():
            return value.isoformat()
        case dt.timedelta():
            return _duration_text(value)
        case Decimal():
            return f"{value:f}" if value.is_finite() else ""
        case list() | tuple():
            return " ".join(map(cell_text, value))  # several media URLs, which have no spaces
        case bytes():
            # What is not text becomes damaged characters, which no message may have.
            return _NO_TEXT.sub("\ufffd", value.decode(errors="replace"))
        case Mapping():
            return json.dumps(value, ensure_ascii=False, default=str)
    if type(value).__name__ == "ndarray":
        return cell_text(value.tolist())
    if _is_numpy(value):
        return cell_text(value.item())
    return str(value)


def has_nested(kinds: Iterable[type]) -> bool:
    """Whether a value of one of these types has values in it."""
    return any(issubclass(kind, Mapping | list | tuple) or kind.__name__ == "ndarray" for kind in kinds)


def nested_column(values: Iterable[Any]) -> pl.Series:
    """Return the mappings and lists among the values of a column as JSON (String), null for all others.

    What is in them is text as `cell_text` has it, or null; so is what is deeper than _DEEPEST.
    """
    return pl.Series([_nested_json(value) for value in values], dtype=pl.String)


def _nested_json(value: Any) -> str | None:
    plain = _plain(value)
    return compose_text(json.dumps(plain, ensure_ascii=False)) if isinstance(plain, dict | list) else None


def _plain(value: Any, depth: int = 1) -> Any:
    if type(value).__name__ == "ndarray":
        value = value.tolist()
    if depth <= _DEEPEST and isinstance(value, Mapping):
        return {str(key): _plain(member, depth + 1) for key, member in value.items()}
    if depth <= _DEEPEST and isinstance(value, list | tuple):
        return [_plain(member, depth + 1) for member in value]
    return None if value is None else cell_text(value)


def has_narrow(values: Sequence[Any], kinds: Collection[type] | None = None) -> bool:
    """Whether there is, also inside lists, a floating point number of 16 or 32 bits, which holds no phone number.

    `kinds` are the types of the values, where they are known.
    """
    kinds = set(map(type, values)) if kinds is None else kinds
    if any(kind.__name__ in ("float16", "float32") for kind in kinds):
        return True
    return not {list, tuple}.isdisjoint(kinds) and any(
        has_narrow(value) for value in values if isinstance(value, list | tuple)
    )


def _is_numpy(value: Any) -> bool:
    """Whether a value is a number, time or truth value of numpy, which need not be installed."""
    return type(value).__module__ == "numpy" and hasattr(value, "item") and not getattr(value, "shape", None)


def _duration_text(value: dt.timedelta) -> str:
    seconds, micros = divmod(abs(value) // dt.timedelta(microseconds=1), 1_000_000)
    sign = "-" if value < dt.timedelta(0) else ""
    fraction = f".{micros:06}".rstrip("0") if micros else ""
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}"
