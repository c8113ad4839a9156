"""A column of texts from a template and a frame of cells, by the fastest way that gives the same texts.

Three ways, each equal to plain jinja2 a row (a law that the tests hold them to):

- *columns*: a template of nothing but text, cells, `default('text')`, `upper`, `lower` and `trim` is a
  concatenation in polars. Cells that are not ASCII take Python's own case mapping, since two Unicode versions
  may differ.
- *block*: the template's tree stands in a loop over a block of rows, so jinja2 starts once a block. A separator
  ends each row, and a block counts only if there are as many separators as rows: then none stood in the data. A
  row that fails ends that rendering; the next one goes on behind it.
- *row*: one at a time, where a loop around the template would change its meaning (`{% block %}`, `loop`).

A blank cell is undefined, also where its column hides one of jinja2's own names. Cells are plain text, never
templates. A text with damaged characters fails.
"""

from __future__ import annotations

import operator
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jinja2
import polars as pl
from jinja2 import nodes

from sender.core.errors import TemplateError, setting
from sender.core.outcomes import SkipReason
from sender.templating.budget import BUDGET, MAX_CHARS, Overspent
from sender.templating.instrument import Lookup, Names, RowCells, filtered, instrumented
from sender.templating.jinja_environment import BEGIN, Blank, TemplateRow, blank, blank_in_row, environment, explained
from sender.templating.template import DAMAGED, TOO_LONG, Template

_BLOCK_ROWS = 5_000  # bounds the Python objects alive at once
_COLUMN_ROWS = 250_000
_SEPARATOR = "\x1e"  # one character, so that it cannot overlap with itself
_SCHEMA = {"text": pl.String, "reason": pl.String, "detail": pl.String}
_RENDER_ERROR = SkipReason.RENDER_ERROR.value

# Python's white space within ASCII, which is more than Unicode's.
_ASCII_BLANKS = " \t\n\x0b\x0c\r\x1c\x1d\x1e\x1f"
_ASCII_WAYS: Mapping[str, Callable[[pl.Series], pl.Series]] = {
    "upper": lambda texts: texts.str.to_uppercase(),
    "lower": lambda texts: texts.str.to_lowercase(),
    "trim": lambda texts: texts.str.strip_chars(_ASCII_BLANKS),
}


def render(template: Template, cells: pl.DataFrame, names: Mapping[str, str], n: int | None = None) -> pl.DataFrame:
    """Columns `text`, `reason`, `detail` (String), a row of `cells` each: a text, or `render_error` and why.

    `names` says which header each name in the template stands for. `n` is the number of rows where `cells`
    may have no columns. Raises TemplateError for a template that takes too much time on too many rows.
    """
    count = cells.height if n is None else n
    wanted = {name: names[name] for name in sorted(template.uses & names.keys()) if name != "row"}
    try:
        with BUDGET.lock:
            BUDGET.open()
            if not cells.width or (not wanted and "row" not in template.uses):
                text = _frame([_attempt(template, {"row": TemplateRow()})] * min(count, 1))
                return _without_damage(text[[0] * count] if count else text)
            frames = list(_frames(template, cells, wanted))
    except Overspent:
        raise TemplateError(
            "takes too much time, over and over",
            where=template.where,
            fix="loop over less: a text has room for some thousand characters",
        ) from None
    return _without_damage(pl.concat(frames) if frames else pl.DataFrame(schema=_SCHEMA))


def verbatim(texts: pl.Series) -> pl.DataFrame:
    """`texts` as they stand, in the columns of `render`: only damaged characters are held."""
    return _without_damage(_whole(texts.cast(pl.String)))


def _frames(template: Template, cells: pl.DataFrame, wanted: Mapping[str, str]) -> Iterator[pl.DataFrame]:
    """The texts of `cells`, in order, a frame for some rows."""
    named, columns = tuple(wanted.items()), tuple(cells.columns)
    pieces = _pieces(template, named, columns)
    if pieces is not None:
        yield from (_by_columns(pieces, some) for some in cells.iter_slices(_COLUMN_ROWS))
        return
    block = _block(template, named, columns)
    for some in cells.iter_slices(_BLOCK_ROWS):
        made = _by_block(block, some) if block is not None else None
        yield _by_row(template, some, wanted) if made is None else made


def _filled(cells: pl.DataFrame, headers: Sequence[str]) -> pl.DataFrame:
    """The cells under `headers`, null where they are blank."""
    return cells.select(
        pl.when(pl.col(header).str.strip_chars() != "").then(pl.col(header)).alias(header) for header in headers
    )


def _whole(texts: pl.Series) -> pl.DataFrame:
    nothing = pl.lit(None, dtype=pl.String)
    return texts.alias("text").to_frame().with_columns(reason=nothing, detail=nothing)


# The way of columns


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell put out: its header, what stands for a blank one (None: nothing does), the filters, what a blank says."""

    header: str
    default: str | None
    filters: tuple[str, ...]
    detail: str | None


@lru_cache(32)
def _pieces(
    template: Template, named: tuple[tuple[str, str], ...], columns: tuple[str, ...]
) -> tuple[str | _Cell, ...] | None:
    """The template as texts and cells in a row, or None if it is more than that."""
    tree = environment().parse(template.source)
    names = Names(tree)
    lookup = Lookup({name: header for name, header in named if name in names.only_cells()}, columns, names)
    outputs = [one for one in tree.body if isinstance(one, nodes.Output)]
    if len(outputs) < len(tree.body):
        return None
    pieces: list[str | _Cell] = []
    for node in [one for output in outputs for one in output.nodes]:
        piece = node.data if isinstance(node, nodes.TemplateData) else _cell(template, node, lookup)
        if piece is None:
            return None
        pieces.append(piece)
    return tuple(pieces)


def _cell(template: Template, node: nodes.Expr, lookup: Lookup) -> _Cell | None:
    filters: list[str] = []
    while isinstance(node, nodes.Filter) and node.name in _ASCII_WAYS and node.node is not None and _plain(node, 0):
        filters.insert(0, node.name)
        node = node.node
    default = None
    if isinstance(node, nodes.Filter) and node.name in {"default", "d"} and node.node is not None and _plain(node, 1):
        if not isinstance(node.args[0], nodes.Const) or not isinstance(node.args[0].value, str):
            return None
        default, node = node.args[0].value, node.node
    header = lookup.header(node)
    if header is None:
        return None
    if default is None:  # what the row way says where only this cell is blank
        variables: dict[str, Any] = {name: "x" for name, source in lookup.named.items() if source != header}
        variables["row"] = TemplateRow({source: "x" for source in lookup.columns if source != header})
        return _Cell(header, None, tuple(filters), _attempt(template, variables)[2])
    return _Cell(header, _through(default, filters), tuple(filters), None)


def _plain(node: nodes.Filter, args: int) -> bool:
    return len(node.args) == args and not node.kwargs and node.dyn_args is None and node.dyn_kwargs is None


def _through(text: str, filters: Sequence[str]) -> str:
    for name in filters:
        text = str(environment().filters[name](text))
    return text


def _by_columns(pieces: Sequence[str | _Cell], cells: pl.DataFrame) -> pl.DataFrame:
    filled = _filled(cells, list(dict.fromkeys(piece.header for piece in pieces if isinstance(piece, _Cell))))
    parts: list[pl.Expr] = []
    why: list[pl.Expr] = []
    for piece in pieces:
        if isinstance(piece, str):
            parts.append(pl.lit(piece))
            continue
        texts = filled[piece.header]
        if piece.default is None and texts.has_nulls():
            why.append(pl.when(pl.lit(texts.is_null())).then(pl.lit(piece.detail)))
        texts = _through_column(texts, piece.filters)
        parts.append(pl.lit(texts if piece.default is None else texts.fill_null(piece.default)))
    made = filled.select(text=pl.concat_str(parts))["text"]
    frame = made.to_frame().with_columns(detail=pl.coalesce(why)) if why else _whole(made)
    if (made.str.len_bytes() > MAX_CHARS).any():
        long = pl.col("text").str.len_chars() > MAX_CHARS
        frame = frame.with_columns(
            text=pl.when(~long).then("text"), detail=pl.when(long).then(pl.lit(TOO_LONG)).otherwise("detail")
        )
    return frame.select(
        "text", reason=pl.when(pl.col("detail").is_not_null()).then(pl.lit(_RENDER_ERROR)), detail="detail"
    )


def _through_column(texts: pl.Series, filters: Sequence[str]) -> pl.Series:
    if not filters:
        return texts
    made = texts
    for name in filters:
        made = _ASCII_WAYS[name](made)
    other = (texts.str.len_bytes() != texts.str.len_chars()).fill_null(value=False).arg_true()
    if other.len():
        exact = pl.Series([_through(text, filters) for text in texts.gather(other)], dtype=pl.String)
        made = made.scatter(other, exact)
    return made


# The way of blocks


@dataclass(frozen=True, slots=True)
class _Block:
    """A template inside a loop over rows. `blanks` holds for each variable its header and what a blank is."""

    compiled: jinja2.Template
    rows: str
    blanks: tuple[tuple[str, Blank], ...]
    columns: tuple[str, ...]  # of `row`, if the template takes it whole


@lru_cache(32)
def _block(template: Template, named: tuple[tuple[str, str], ...], columns: tuple[str, ...]) -> _Block | None:
    """The template in a loop over rows, or None where that could change what it means."""
    jinja = environment()
    tree = jinja.parse(template.source)
    names = Names(tree)
    if (
        any(tree.find_all(nodes.Block))
        or names.free & {"loop", "self"}
        or any(name != unicodedata.normalize("NFKC", name) for name, _ in named)  # Python would merge some
    ):
        return None
    prefix = "cell_"
    while prefix in template.source:
        prefix += "_"
    tree, pays = instrumented(tree)
    cells = RowCells(Lookup(dict(named), columns, names), prefix)
    cells.visit(tree)
    whole_row = "row" in Names(tree).free
    blanks = [(name, header, blank(name)) for name, header in named]
    blanks += [(name, header, blank_in_row(header)) for header, name in cells.headers.items()]
    targets: list[nodes.Expr] = [nodes.Name(name, "store") for name, _, _ in blanks]
    if whole_row:
        targets.append(nodes.Name("row", "store"))
    end = nodes.Output([nodes.TemplateData(_SEPARATOR)])
    begin = [nodes.ExprStmt(filtered(BEGIN, nodes.Const(None)))] if pays else []
    rows = f"{prefix}rows"
    loop = nodes.For(
        nodes.Tuple(targets, "store"), nodes.Name(rows, "load"), [*begin, *tree.body, end], [], None, False
    )
    around = nodes.Template([loop])
    around.set_lineno(1).set_environment(jinja)
    try:
        compiled = jinja.from_string(around)
    except (RecursionError, SyntaxError, MemoryError):  # one level more than Python allows
        return None
    return _Block(
        compiled, rows, tuple((header, undefined) for _, header, undefined in blanks), columns if whole_row else ()
    )


def _by_block(block: _Block, cells: pl.DataFrame) -> pl.DataFrame | None:
    """The texts of `cells`, or None if they could not be told apart."""
    headers = list(dict.fromkeys([*(header for header, _ in block.blanks), *block.columns]))
    filled = _filled(cells, headers)
    lists: list[list[Any]] = []
    for header, undefined in block.blanks:
        column: list[Any] = filled[header].to_list()
        if filled[header].has_nulls():
            column = [undefined if cell is None else cell for cell in column]
        lists.append(column)
    if block.columns:
        lists.append([_row(block.columns, row) for row in filled.select(block.columns).iter_rows()])
    waiting = iter(list(zip(*lists, strict=True)))
    texts: list[str | None] = []
    failed: dict[int, str] = {}
    while left := operator.length_hint(waiting):
        parts: list[str] = []
        error: Exception | None = None
        try:
            parts.extend(block.compiled.root_render_func(block.compiled.new_context({block.rows: waiting})))
        except Overspent:
            raise
        except Exception as raised:  # noqa: BLE001 (whatever a template raises belongs to its row)
            error = raised
        made = left - operator.length_hint(waiting) - (error is not None)
        pieces = "".join(parts).split(_SEPARATOR)
        if len(pieces) != made + 1:
            return None
        texts.extend(pieces[:made])
        if error is not None:
            failed[len(texts)] = explained(error)
            texts.append(None)
    return _checked(texts, failed)


def _checked(texts: list[str | None], failed: dict[int, str]) -> pl.DataFrame | None:
    """The texts as a frame, those too long among the failed; None if one is no Unicode text."""
    for place, text in enumerate(texts):
        if text is not None and len(text) > MAX_CHARS:
            texts[place], failed[place] = None, TOO_LONG
    try:
        frame = _whole(pl.Series(texts, dtype=pl.String))
    except UnicodeEncodeError:  # half an emoji: the row way says which
        return None
    if not failed:
        return frame
    details = [failed.get(place) for place in range(len(texts))]
    return _frame([(text, _RENDER_ERROR if why else None, why) for text, why in zip(texts, details, strict=True)])


def _row(columns: Sequence[str], row: Sequence[str | None]) -> TemplateRow:
    return TemplateRow((header, cell) for header, cell in zip(columns, row, strict=True) if cell is not None)


# The way of rows


def _by_row(template: Template, cells: pl.DataFrame, wanted: Mapping[str, str]) -> pl.DataFrame:
    with_row = "row" in template.uses
    headers = cells.columns if with_row else list(dict.fromkeys(wanted.values()))
    places = [(name, headers.index(header)) for name, header in wanted.items()]
    hiding = {name: blank(name) for name in wanted.keys() & environment().globals.keys()}
    made = []
    for row in _filled(cells, headers).iter_rows():
        variables: dict[str, Any] = hiding | {name: row[place] for name, place in places if row[place] is not None}
        if with_row:
            variables["row"] = _row(headers, row)
        made.append(_attempt(template, variables))
    return _frame(made)


def _attempt(template: Template, variables: Mapping[str, Any]) -> tuple[str | None, str | None, str | None]:
    try:
        return template.text(variables), None, None
    except Overspent:
        raise
    except Exception as error:  # noqa: BLE001 (whatever a template raises belongs to its row)
        return None, _RENDER_ERROR, explained(error)


def _frame(rows: Sequence[tuple[str | None, str | None, str | None]]) -> pl.DataFrame:
    """The rows as a frame. Lists for columns: rows handed to polars cost as much as rendering them."""
    return pl.DataFrame(list(zip(*rows, strict=True)) or None, schema=_SCHEMA)


def _without_damage(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with texts that hold damaged characters turned into a `render_error`."""
    damage = frame["text"].str.extract(f"({DAMAGED})")
    if damage.null_count() == frame.height:
        return frame
    sentence = pl.format(
        "the text has damaged characters ({}): mend the cell, or set {} to what the file is in",
        damage,
        pl.lit(setting("recipients.encoding")),
    )
    whole = pl.lit(damage.is_null())
    return frame.with_columns(
        text=pl.when(whole).then("text"),
        reason=pl.when(whole).then("reason").otherwise(pl.lit(_RENDER_ERROR)),
        detail=pl.when(whole).then("detail").otherwise(sentence),
    )
