"""Templates of texts, cells and conditions on cells, evaluated over whole columns in polars.

Cells may have `default('text')`, `upper`, `lower` and `trim`. Conditions are `{% if %}` and `'a' if test else 'b'`.
Their tests are a cell alone, `==`, `!=`, `in` and `not in` with constant texts, `is defined` and `is undefined`, and
`not`, `and` and `or` of those. Cells that are not ASCII take Python's own case mapping, since the two Unicode versions
may differ.

A branch is evaluated only for the rows that take it, and what jinja2 would not evaluate for a row does not fail it.
A first pass makes the texts, null where a row fails; a second one finds out why, for those rows only. Never runs a
template.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import polars as pl
from jinja2 import nodes

from sender.templating.blanks import Blank, blank, blank_in_row
from sender.templating.instrument import CellLookup, Names
from sender.templating.jinja_environment import describe_failure, environment, reason_of
from sender.templating.missing_values import find_missing
from sender.templating.template import Template
from sender.templating.text_column import without_failures

# Python's white space within ASCII, which is more than Unicode's.
_ASCII_BLANKS = " \t\n\x0b\x0c\r\x1c\x1d\x1e\x1f"
_ASCII_FILTERS: Mapping[str, Callable[[pl.Series], pl.Series]] = {
    "upper": lambda texts: texts.str.to_uppercase(),
    "lower": lambda texts: texts.str.to_lowercase(),
    "trim": lambda texts: texts.str.strip_chars(_ASCII_BLANKS),
}

# What a test gives for a row: one of these, or the number of the cell that fails it.
_OUTCOME = pl.UInt16  # a template has room for 20,000 cells
_FALSE, _TRUE, _FIRST_CELL = 0, 1, 2


class _ChosenRows:
    """Some rows of the columns that cells give."""

    def __init__(self, columns: pl.DataFrame, places: pl.Series) -> None:
        self.places = places
        self._columns = columns

    def of(self, cell: _CellPiece) -> pl.Series:
        """Return what the cell gives for each row (String), null where it fails."""
        column = self._columns[cell.name]
        return column if self.places.len() == column.len() else column.gather(self.places)

    def select(self, chosen: pl.Series) -> _ChosenRows:
        """Return those of the rows for which `chosen` (Boolean) is true."""
        return _ChosenRows(self._columns, self.places.filter(chosen))


class _Piece(Protocol):
    """A part of a text. A series that it returns has a value for each row, or one that holds for all of them."""

    def texts(self, rows: _ChosenRows) -> list[pl.Series]:
        """Return what makes the part of each row when it is joined (String), null where the row fails."""

    def failure(self, rows: _ChosenRows) -> pl.Series:
        """Return the number of the first cell that fails a row, null where none does."""


class _Test(Protocol):
    def outcome(self, rows: _ChosenRows) -> pl.Series:
        """Return what the test gives for each row."""


@dataclass(frozen=True, slots=True)
class _Literal:
    content: str

    def texts(self, _: _ChosenRows) -> list[pl.Series]:
        return [pl.Series([self.content])]

    def failure(self, _: _ChosenRows) -> pl.Series:
        return pl.Series([None], dtype=_OUTCOME)


@dataclass(frozen=True, slots=True, eq=False)
class _CellPiece:
    """A cell, with the default for a blank (None: it fails) and filters. `blank` is its value where it has none."""

    number: int
    line: int
    header: str
    default: str | None
    filters: tuple[str, ...]
    blank: Blank

    @property
    def name(self) -> str:
        """The name of its column, the same for equal cells."""
        return repr((self.header, self.default, self.filters))

    def evaluate(self, cells: pl.Series) -> pl.Series:
        """Return what it gives for the cells under its header (null: no value)."""
        filtered = _filter_column(cells, self.filters)
        return filtered if self.default is None else filtered.fill_null(_filter_text(self.default, self.filters))

    def texts(self, rows: _ChosenRows) -> list[pl.Series]:
        return [rows.of(self)]

    def failure(self, rows: _ChosenRows) -> pl.Series:
        cells = rows.of(self)
        return pl.repeat(self.number, cells.len(), dtype=_OUTCOME, eager=True).set(cells.is_not_null(), None)

    def explain(self, placeholder: str | None) -> tuple[str, str]:
        """Return reason and detail of a row that it fails, with the placeholder in the cell (None: it is blank)."""
        error = (self.blank if placeholder is None else self.blank.holding(placeholder)).error()
        return reason_of(error), describe_failure(error, self.line)


@dataclass(frozen=True, slots=True)
class _Body:
    pieces: tuple[_Piece, ...]

    def texts(self, rows: _ChosenRows) -> list[pl.Series]:
        return [text for piece in self.pieces for text in piece.texts(rows)]

    def failure(self, rows: _ChosenRows) -> pl.Series:
        return pl.select(pl.coalesce([pl.lit(piece.failure(rows)) for piece in self.pieces])).to_series()


@dataclass(frozen=True, slots=True)
class _Failed:
    """What a test leaves of rows that it fails. `numbers` are those of the cells."""

    numbers: pl.Series

    def texts(self, _: _ChosenRows) -> list[pl.Series]:
        return [pl.Series([None], dtype=pl.String)]

    def failure(self, _: _ChosenRows) -> pl.Series:
        return self.numbers


@dataclass(frozen=True, slots=True)
class _Branches:
    """`{% if %}`: the piece of the first test that is true. Each is evaluated only for the rows that come to it."""

    branches: tuple[tuple[_Test, _Piece], ...]
    otherwise: _Piece

    def texts(self, rows: _ChosenRows) -> list[pl.Series]:
        parts = [(part.places, piece.texts(part)) for part, piece in self._split(rows)]
        return parts[0][1] if len(parts) == 1 else [_merge([(places, _join(texts)) for places, texts in parts])]

    def failure(self, rows: _ChosenRows) -> pl.Series:
        return _merge([(part.places, piece.failure(part)) for part, piece in self._split(rows)])

    def _split(self, rows: _ChosenRows) -> Iterator[tuple[_ChosenRows, _Piece]]:
        """Yield rows, at least one, and the piece that they take."""
        for test, piece in self.branches:
            outcome = test.outcome(rows)
            failed = outcome > _TRUE
            for chosen, taken in ((outcome == _TRUE, piece), (failed, _Failed(outcome.filter(failed)))):
                if chosen.any():
                    yield rows.select(chosen), taken
            rows = rows.select(outcome == _FALSE)
            if not rows.places.len():
                return
        yield rows, self.otherwise


def _join(texts: Sequence[pl.Series]) -> pl.Series:
    """Return texts joined row by row, null where one is null."""
    return pl.select(pl.concat_str([pl.lit(text) for text in texts])).to_series()


def _merge(parts: Sequence[tuple[pl.Series, pl.Series]]) -> pl.Series:
    """Return the values of parts in the order of their places. Each part is its places and its values."""
    indexes, start = [], 0  # where each place has its value
    for places, values in parts:
        each = int(values.len() > 1)  # else the one value is for all places
        indexes.append(pl.int_range(places.len(), dtype=pl.UInt32, eager=True) * each + start)
        start += values.len()
    # In one chunk, where looking up takes a tenth of the time.
    order, at, every = (
        pl.concat(series, rechunk=True)
        for series in ([places for places, _ in parts], indexes, [values for _, values in parts])
    )
    return every.gather(at.gather(order.arg_sort()))


@dataclass(frozen=True, slots=True)
class _IsOneOf:
    cell: _CellPiece
    texts: tuple[str, ...]

    def outcome(self, rows: _ChosenRows) -> pl.Series:
        cells = rows.of(self.cell)
        found = cells == self.texts[0] if len(self.texts) == 1 else cells.is_in(self.texts)
        return found.cast(_OUTCOME).fill_null(self.cell.number)


@dataclass(frozen=True, slots=True)
class _IsDefined:
    cell: _CellPiece

    def outcome(self, rows: _ChosenRows) -> pl.Series:
        return rows.of(self.cell).is_not_null().cast(_OUTCOME)


@dataclass(frozen=True, slots=True)
class _Not:
    test: _Test

    def outcome(self, rows: _ChosenRows) -> pl.Series:
        outcome = self.test.outcome(rows)
        return (outcome == _FALSE).cast(_OUTCOME).zip_with(outcome <= _TRUE, outcome)


@dataclass(frozen=True, slots=True)
class _ShortCircuit:
    """`and` and `or`: the right side counts where the left one gives `goes_on`."""

    left: _Test
    right: _Test
    goes_on: int

    def outcome(self, rows: _ChosenRows) -> pl.Series:
        left = self.left.outcome(rows)
        return self.right.outcome(rows).zip_with(left == self.goes_on, left)


@dataclass(frozen=True, slots=True)
class ColumnPieces:
    """A template as pieces. Makes the texts of a frame of cells."""

    body: _Piece
    cells: tuple[_CellPiece, ...]

    def render(self, cells: pl.DataFrame, placeholders: Collection[str]) -> pl.DataFrame:
        """Return `text`, `reason` and `detail` (String) for each row of `cells`."""
        rows, _ = self._rows(cells, placeholders)
        texts = _join(self.body.texts(rows))
        frame = without_failures(texts if texts.len() == cells.height else texts.new_from_index(0, cells.height))
        failing = frame["text"].is_null().arg_true()
        if not failing.len():
            return frame
        why = self._explain(cells[failing], placeholders)
        return frame.with_columns(frame[name].scatter(failing, why[name]) for name in why.columns)

    def _rows(self, cells: pl.DataFrame, placeholders: Collection[str]) -> tuple[_ChosenRows, dict[str, pl.Series]]:
        """Return what each cell gives, and the placeholders by header."""
        headers = list(dict.fromkeys(cell.header for cell in self.cells))
        filled, words = find_missing(cells, headers, placeholders)
        distinct = {cell.name: cell for cell in self.cells}
        columns = pl.DataFrame({name: cell.evaluate(filled[cell.header]) for name, cell in distinct.items()})
        return _ChosenRows(columns, pl.int_range(cells.height, dtype=pl.UInt32, eager=True)), words

    def _explain(self, failing: pl.DataFrame, placeholders: Collection[str]) -> pl.DataFrame:
        """Return `reason` and `detail` of rows that fail."""
        rows, words = self._rows(failing, placeholders)
        failed = pl.DataFrame({"cell": self.body.failure(rows)})
        cells_of = {number: self.cells[number - _FIRST_CELL] for number in failed["cell"].unique()}
        held = [
            pl.when(pl.col("cell") == number).then(pl.lit(words[cell.header]))
            for number, cell in cells_of.items()
            if cell.header in words
        ]
        failed = failed.with_columns(word=pl.coalesce([pl.lit(None, dtype=pl.String), *held]))
        kinds = failed.unique()  # few, each with one sentence
        why = [cells_of[number].explain(word) for number, word in kinds.iter_rows()]
        kinds = kinds.hstack(pl.DataFrame(why, schema={"reason": pl.String, "detail": pl.String}, orient="row"))
        joined = failed.join(kinds, on=["cell", "word"], how="left", nulls_equal=True, maintain_order="left")
        return joined.select("reason", "detail")


def _filter_text(text: str, filters: Sequence[str]) -> str:
    for name in filters:
        text = str(environment().filters[name](text))
    return text


def _filter_column(texts: pl.Series, filters: Sequence[str]) -> pl.Series:
    if not filters:
        return texts
    filtered = texts
    for name in filters:
        filtered = _ASCII_FILTERS[name](filtered)
    other = (texts.str.len_bytes() != texts.str.len_chars()).fill_null(value=False).arg_true()
    if other.len():
        exact = pl.Series([_filter_text(text, filters) for text in texts.gather(other)], dtype=pl.String)
        filtered = filtered.scatter(other, exact)
    return filtered


@lru_cache(32)
def compile_pieces(
    template: Template, named: tuple[tuple[str, str], ...], columns: tuple[str, ...]
) -> ColumnPieces | None:
    """Return the template as pieces, or None if it is more than that.

    `named` has its names and their headers, `columns` all headers.
    """
    names = Names(environment().parse(template.source))  # puts constants together in its tree
    only_cells = names.only_cells()
    compiler = _Compiler(CellLookup({name: header for name, header in named if name in only_cells}, columns, names))
    try:
        body = compiler.body(environment().parse(template.source).body)
    except _NotPiecesError:
        return None
    return ColumnPieces(body, tuple(compiler.cells))


class _NotPiecesError(Exception):
    """A template is more than texts, cells and conditions on cells."""


class _Compiler:
    """Turns a template's tree into pieces. Raises _NotPiecesError where it has something else.

    `line` is the line that jinja2 names where an expression fails: that of its statement.
    """

    def __init__(self, lookup: CellLookup) -> None:
        self.cells: list[_CellPiece] = []
        self._lookup = lookup

    def body(self, statements: Iterable[nodes.Node]) -> _Piece:
        pieces: list[_Piece] = []
        for node in statements:
            match node:
                case nodes.Output():
                    pieces.extend(self._shown(child, child.lineno) for child in node.nodes)
                case nodes.If():
                    branches = [(self._test(one.test, one.lineno), self.body(one.body)) for one in (node, *node.elif_)]
                    pieces.append(_Branches(tuple(branches), self.body(node.else_)))
                case _:
                    raise _NotPiecesError
        return pieces[0] if len(pieces) == 1 else _Body((_Literal(""), *pieces))

    def _shown(self, node: nodes.Expr, line: int) -> _Piece:
        match node:
            case nodes.TemplateData():
                return _Literal(node.data)
            case nodes.Const():
                return _Literal(_text(node))
            case nodes.CondExpr(expr2=nodes.Expr() as no):
                return _Branches(((self._test(node.test, line), self._shown(node.expr1, line)),), self._shown(no, line))
        return self._cell(node, line)

    def _test(self, node: nodes.Node, line: int) -> _Test:
        match node:
            case nodes.Not():
                return _Not(self._test(node.node, line))
            case nodes.And() | nodes.Or():
                goes_on = _TRUE if isinstance(node, nodes.And) else _FALSE
                return _ShortCircuit(self._test(node.left, line), self._test(node.right, line), goes_on)
            case nodes.Test(name="defined" | "undefined") if _has_only_args(node, 0):
                cell = self._cell(node.node, line)
                if cell.default is not None or cell.filters:
                    raise _NotPiecesError
                return _IsDefined(cell) if node.name == "defined" else _Not(_IsDefined(cell))
            case nodes.Compare(ops=[nodes.Operand(op="eq" | "ne" | "in" | "notin") as other]):
                found = _IsOneOf(self._cell(node.expr, line), _texts(other))
                return found if other.op in {"eq", "in"} else _Not(found)
        return _Not(_IsOneOf(self._cell(node, line), ("",)))  # a cell alone

    def _cell(self, node: nodes.Node | None, line: int) -> _CellPiece:
        filters: list[str] = []
        while isinstance(node, nodes.Filter) and node.name in _ASCII_FILTERS and _has_only_args(node, 0):
            filters.insert(0, node.name)
            node = node.node
        default = None
        if isinstance(node, nodes.Filter) and node.name in {"default", "d"} and _has_only_args(node, 1):
            default, node = _text(node.args[0]), node.node
        header = None if node is None else self._lookup.header(node)
        if header is None:
            raise _NotPiecesError
        undefined = blank(node.name) if isinstance(node, nodes.Name) else blank_in_row(header)
        cell = _CellPiece(_FIRST_CELL + len(self.cells), line, header, default, tuple(filters), undefined)
        self.cells.append(cell)
        return cell


def _has_only_args(node: nodes.Filter | nodes.Test, args: int) -> bool:
    return len(node.args) == args and not node.kwargs and node.dyn_args is None and node.dyn_kwargs is None


def _texts(operand: nodes.Operand) -> tuple[str, ...]:
    """Return the texts with which a cell is compared."""
    if operand.op in {"eq", "ne"}:
        return (_text(operand.expr),)
    if not isinstance(operand.expr, nodes.List | nodes.Tuple) or not operand.expr.items:  # `in 'abc'` looks into a text
        raise _NotPiecesError
    return tuple(map(_text, operand.expr.items))


def _text(node: nodes.Expr) -> str:
    """Return the text in a constant."""
    if not isinstance(node, nodes.Const) or not isinstance(node.value, str):
        raise _NotPiecesError
    try:
        node.value.encode()
    except UnicodeEncodeError:  # half an emoji, which polars does not take
        raise _NotPiecesError from None
    return node.value
