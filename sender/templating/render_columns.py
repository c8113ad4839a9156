"""A column of texts from a template and a frame of cells, by the fastest method that gives the same texts.

There are three methods; the tests hold each to what plain jinja2 gives row by row:

- *columns*: a template of only text, cells and simple conditions on cells is evaluated over whole columns in polars
  (`sender.templating.column_pieces`).
- *block*: the template's tree is put into a loop over a block of rows, so jinja2 starts once a block. A separator
  ends each row, and a block is accepted only if it has as many separators as rows: then the data had none. A row that
  fails ends that rendering; the next one starts with the row after it.
- *row*: one row at a time, where a loop around the template would change its meaning (`{% block %}`, `loop`).

A cell without a value (`sender.templating.missing_values`) is undefined, also where its column hides one of jinja2's
own names. Cells are plain text, never templates. A text with damaged characters fails.
"""

from __future__ import annotations

import operator
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jinja2
import polars as pl
from jinja2 import nodes

from sender.core.errors import TemplateError
from sender.core.outcomes import SkipReason
from sender.templating.blanks import Blank, TemplateRow, blank, blank_in_row
from sender.templating.budget import BUDGET, MAX_CHARS, Overspent
from sender.templating.cell_uses import select_looked_into
from sender.templating.column_pieces import ColumnPieces, compile_pieces
from sender.templating.instrument import CellLookup, Names, RowCells, apply_filter, instrumented
from sender.templating.jinja_environment import BEGIN, describe_failure, environment, reason_of
from sender.templating.missing_values import find_missing
from sender.templating.nested_values import read_cells, template_rows
from sender.templating.template import TOO_LONG, Template
from sender.templating.text_column import without_damage, without_failures

_BLOCK_ROWS = 5_000  # bounds the Python objects alive at once
_COLUMN_ROWS = 250_000
_SEPARATOR = "\x1e"  # one character, so that it cannot overlap with itself
_SCHEMA = {"text": pl.String, "reason": pl.String, "detail": pl.String}
_RENDER_ERROR = SkipReason.RENDER_ERROR.value


def render(
    template: Template,
    cells: pl.DataFrame,
    names: Mapping[str, str],
    n: int | None = None,
    *,
    nested: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return `text`, `reason`, `detail` (String) for each row of `cells`: a text, or `render_error` and why.

    The reason is `missing_data` where the text needs a cell that holds one of the template's placeholders.
    `names` maps each name of the template to its header. `n` is the number of rows where `cells` may have no columns.
    `nested` has, under some of the headers, the mappings and lists in cells as JSON (String, null for texts).
    Raises TemplateError for a template that takes too much time on too many rows.
    """
    count = cells.height if n is None else n
    used = {name: names[name] for name in sorted(template.uses & names.keys()) if name != "row"}
    try:
        with BUDGET.lock:
            BUDGET.open()
            if not cells.width or (not used and "row" not in template.uses):
                text = _frame([_render_row(template, {"row": TemplateRow()})] * min(count, 1))
                return without_damage(text[[0] * count] if count else text)
            frames = list(_render_parts(template, cells, used, select_looked_into(template, names, cells, nested)))
    except Overspent:
        raise TemplateError(
            "takes too much time on too many rows",
            where=template.where,
            fix="loop over less: a message has room for a few thousand characters",
        ) from None
    return without_damage(pl.concat(frames) if frames else pl.DataFrame(schema=_SCHEMA))


def _render_parts(
    template: Template, cells: pl.DataFrame, names: Mapping[str, str], nested: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    """Yield the texts of `cells` in order, a frame for some rows at a time."""
    named, columns = tuple(names.items()), tuple(cells.columns)
    pieces = None if nested.width else compile_pieces(template, named, columns)
    if pieces is not None:
        yield from (_render_columns(pieces, part, template.placeholders) for part in cells.iter_slices(_COLUMN_ROWS))
        return
    block = _compile_block(template, named, columns)
    for start in range(0, cells.height, _BLOCK_ROWS):
        part, inside = cells[start : start + _BLOCK_ROWS], nested[start : start + _BLOCK_ROWS]
        frame = _render_block(block, part, template.placeholders, inside) if block is not None else None
        yield _render_rows(template, part, names, inside) if frame is None else frame


# Columns


def _render_columns(pieces: ColumnPieces, cells: pl.DataFrame, placeholders: Collection[str]) -> pl.DataFrame:
    frame = pieces.render(cells, placeholders)
    if (frame["text"].str.len_bytes() > MAX_CHARS).any():
        long = pl.col("text").str.len_chars() > MAX_CHARS
        frame = frame.with_columns(
            text=pl.when(~long).then("text"),
            reason=pl.when(long).then(pl.lit(_RENDER_ERROR)).otherwise("reason"),
            detail=pl.when(long).then(pl.lit(TOO_LONG)).otherwise("detail"),
        )
    return frame


# Blocks


@dataclass(frozen=True, slots=True)
class _Block:
    """A template inside a loop over rows. `blanks` holds each variable's header and its value for a blank cell."""

    compiled: jinja2.Template
    rows: str
    blanks: tuple[tuple[str, Blank], ...]
    columns: tuple[str, ...]  # of `row`, if the template uses it as a whole


@lru_cache(32)
def _compile_block(template: Template, named: tuple[tuple[str, str], ...], columns: tuple[str, ...]) -> _Block | None:
    """Return the template in a loop over rows, or None where that could change its meaning."""
    jinja = environment()
    tree = jinja.parse(template.source)
    names = Names(tree)
    if (
        any(tree.find_all(nodes.Block))
        or names.free & {"loop", "self"}
        or any(name != unicodedata.normalize("NFKC", name) for name, _ in named)  # Python would treat some as one name
    ):
        return None
    prefix = "cell_"
    while prefix in template.source:
        prefix += "_"
    tree, pays = instrumented(tree)
    cells = RowCells(CellLookup(dict(named), columns, names), prefix)
    cells.visit(tree)
    whole_row = "row" in Names(tree).free
    blanks = [(name, header, blank(name)) for name, header in named]
    blanks += [(name, header, blank_in_row(header)) for header, name in cells.headers.items()]
    targets: list[nodes.Expr] = [nodes.Name(name, "store") for name, _, _ in blanks]
    if whole_row:
        targets.append(nodes.Name("row", "store"))
    end = nodes.Output([nodes.TemplateData(_SEPARATOR)])
    begin = [nodes.ExprStmt(apply_filter(BEGIN, nodes.Const(None)))] if pays else []
    rows = f"{prefix}rows"
    loop = nodes.For(
        nodes.Tuple(targets, "store"), nodes.Name(rows, "load"), [*begin, *tree.body, end], [], None, False
    )
    around = nodes.Template([loop])
    around.set_lineno(1).set_environment(jinja)
    try:
        compiled = jinja.from_string(around)
    except (RecursionError, SyntaxError, MemoryError):  # the loop is one level more than Python allows
        return None
    return _Block(
        compiled, rows, tuple((header, undefined) for _, header, undefined in blanks), columns if whole_row else ()
    )


def _render_block(
    block: _Block, cells: pl.DataFrame, placeholders: Collection[str], nested: pl.DataFrame
) -> pl.DataFrame | None:
    """Return the texts of `cells`, or None if the rows' texts could not be told apart."""
    headers = list(dict.fromkeys([*(header for header, _ in block.blanks), *block.columns]))
    missing = find_missing(cells, headers, placeholders)
    filled, words = missing
    lists: list[list[Any]] = []
    for header, undefined in block.blanks:
        column: list[Any] = filled[header].to_list()
        if filled[header].has_nulls():
            column = [undefined if cell is None else cell for cell in column]
        if header in words:
            held = {word: undefined.holding(word) for word in words[header].unique().drop_nulls()}
            column = [cell if word is None else held[word] for cell, word in zip(column, words[header], strict=True)]
        if header in nested.columns:
            column = read_cells(column, nested[header], undefined.path, placeholders)
        lists.append(column)
    if block.columns:
        lists.append(template_rows(missing, block.columns, nested, placeholders))
    waiting = iter(list(zip(*lists, strict=True)))
    texts: list[str | None] = []
    failed: dict[int, tuple[str, str]] = {}
    while left := operator.length_hint(waiting):
        parts: list[str] = []
        error: Exception | None = None
        try:
            parts.extend(block.compiled.root_render_func(block.compiled.new_context({block.rows: waiting})))
        except Overspent:
            raise
        except Exception as raised:  # noqa: BLE001 (whatever a template raises is its row's failure)
            error = raised
        rendered = left - operator.length_hint(waiting) - (error is not None)
        pieces = "".join(parts).split(_SEPARATOR)
        if len(pieces) != rendered + 1:
            return None
        texts.extend(pieces[:rendered])
        if error is not None:
            failed[len(texts)] = reason_of(error), describe_failure(error)
            texts.append(None)
    return _check_texts(texts, failed)


def _check_texts(texts: list[str | None], failed: dict[int, tuple[str, str]]) -> pl.DataFrame | None:
    """Return the texts as a frame, those too long as failures; None if one is not Unicode text.

    `failed` has the reason and the sentence of failures by place.
    """
    for place, text in enumerate(texts):
        if text is not None and len(text) > MAX_CHARS:
            texts[place], failed[place] = None, (_RENDER_ERROR, TOO_LONG)
    try:
        frame = without_failures(pl.Series(texts, dtype=pl.String))
    except UnicodeEncodeError:  # half an emoji: rendering row by row says which
        return None
    if not failed:
        return frame
    return _frame([(text, *failed.get(place, (None, None))) for place, text in enumerate(texts)])


# Rows


def _render_rows(
    template: Template, cells: pl.DataFrame, names: Mapping[str, str], nested: pl.DataFrame
) -> pl.DataFrame:
    with_row = "row" in template.uses
    headers = cells.columns if with_row else list(dict.fromkeys(names.values()))
    places = [(name, headers.index(header)) for name, header in names.items()]
    hiding = {name: blank(name) for name in names.keys() & environment().globals.keys()}
    missing = find_missing(cells, headers, template.placeholders)
    inside = {
        name: read_cells(missing.filled[header], nested[header], name, template.placeholders)
        for name, header in names.items()
        if header in nested.columns
    }
    whole_rows = iter(template_rows(missing, headers, nested, template.placeholders) if with_row else ())
    rows = []
    for at, row in enumerate(missing.filled.iter_rows()):
        variables: dict[str, Any] = hiding | {name: row[place] for name, place in places if row[place] is not None}
        for name, place in places:
            word = missing.words[headers[place]][at] if headers[place] in missing.words else None
            if word is not None:
                variables[name] = blank(name).holding(word)
            elif name in inside and name in variables:
                variables[name] = inside[name][at]
        if with_row:
            variables["row"] = next(whole_rows)
        rows.append(_render_row(template, variables))
    return _frame(rows)


def _render_row(template: Template, variables: Mapping[str, Any]) -> tuple[str | None, str | None, str | None]:
    try:
        return template.render_text(variables), None, None
    except Overspent:
        raise
    except Exception as error:  # noqa: BLE001 (whatever a template raises is its row's failure)
        return None, reason_of(error), describe_failure(error)


def _frame(rows: Sequence[tuple[str | None, str | None, str | None]]) -> pl.DataFrame:
    """Return the rows as a frame, built by column: building it by row costs as much as rendering."""
    return pl.DataFrame(list(zip(*rows, strict=True)) or None, schema=_SCHEMA)
