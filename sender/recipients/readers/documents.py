"""JSON lines and YAML."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from sender.campaign import safe_yaml
from sender.campaign.cut_texts import note_on_cut_cells
from sender.core.errors import RecipientsError
from sender.recipients.readers.cells import ItemRows, cell_text, table_of_items
from sender.recipients.readers.source import TextStream
from sender.recipients.readers.table import Table

SCALARS = "number"  # the header of rows that are a value alone
_BLOCK_CHARS = 8 * 2**20


def read_json_lines(stream: TextStream, where: str, *, scalars: bool = False) -> Table:
    """Return the rows of a file with a JSON object on each line; with `scalars`, a text or a number is a row, too."""
    builder = ItemRows(where)
    items: list[dict[str, Any]] = []
    numbers: list[int] = []
    chars = 0
    for number, line in enumerate(_lines(stream), 1):
        if not line.strip():
            builder.rows.blank_rows += 1
            continue
        items.append(_json_object(line, f"{where}, line {number}", scalars=scalars))
        numbers.append(number)
        chars += len(line)
        if chars > _BLOCK_CHARS:
            builder.add(items, numbers)
            items, numbers, chars = [], [], 0
    if items:
        builder.add(items, numbers)
    return builder.table()


def _lines(stream: TextStream) -> Iterator[str]:
    """Yield the lines without line ends. Not by splitlines, since U+2028 may be inside a JSON string."""
    while stream.fill(_BLOCK_CHARS):
        end = len(stream.text) if stream.ended else stream.text.rfind("\n") + 1
        if not end:
            stream.more()
            continue
        lines = stream.text[:end].split("\n")
        stream.position = end
        if not lines[-1].strip():
            lines.pop()  # the rest after the last line end
        yield from lines


def _json_object(line: str, place: str, *, scalars: bool) -> dict[str, Any]:
    try:
        # Numbers stay as written: 1e5 and 0.10 are text here.
        row = json.loads(
            line, parse_int=str, parse_float=str, parse_constant=lambda _: None, object_pairs_hook=_refuse_repeated
        )
        if isinstance(row, dict):
            for nested in row.values():
                if isinstance(nested, list | dict):
                    cell_text(nested)  # raises RecursionError here, where the line is known
    except (ValueError, RecursionError) as error:
        raise RecipientsError(
            f"is not JSON: {str(error)[:200]}", where=place, fix="write one JSON object a line"
        ) from None
    if scalars and isinstance(row, str):
        return {SCALARS: row}
    if not isinstance(row, dict):
        raise RecipientsError("is not a JSON object", where=place, fix='write one a line: {"phone": "+12025550100"}')
    return row


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key is repeated")
    return row


def read_yaml(stream: TextStream, where: str, *, scalars: bool = False) -> Table:
    """Return the rows of a YAML list of mappings; values as they are written. With `scalars`, a value is a row, too."""
    try:
        document = safe_yaml.load(stream.all())
    except safe_yaml.YamlError as error:
        line = f", line {error.problem.line}" if error.problem.line else ""
        raise RecipientsError(error.problem.what, where=where + line, fix=error.problem.fix) from None
    if document.value is None:
        return table_of_items([])
    if not isinstance(document.value, list):
        raise RecipientsError("is not a list of rows", where=where, fix="write each row as `- phone: '+12025550100'`")
    rows = [{SCALARS: item} if scalars and isinstance(item, str) else item for item in document.value]
    for index, item in enumerate(rows):
        if not isinstance(item, dict):
            raise RecipientsError(
                f"item {index + 1} is not a mapping",
                where=f"{where}, line {document.line((index,))}",
                fix="write each row as `- phone: '+12025550100'`",
            )
    table = table_of_items(rows, where)
    return replace(table, notes=(*table.notes, *note_on_cut_cells(document, PurePath(where).name)))
