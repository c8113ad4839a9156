"""Searches the XML of a worksheet for hidden rows and columns, and for cells that need more than their value."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from typing import IO

import polars as pl

_CHUNK_BYTES = 2**18  # as much as a processor keeps close: twice as fast as megabytes
_SAMPLE_BYTES = 2**16
_MOST_COLUMNS = 16_384
_MOST_CELLS_WAITING = 20_000
_TEXTS = ("row", "style", "stored")

_ATTRIBUTE = re.compile(rb"""(?:^|\s)([\w:]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_TRUE = (b"1", b"true", b"on")
_COLUMN = re.compile(rb"<(?:\w+:)?col\b([^>]*)>")
_ROW = re.compile(rb"<(?:\w+:)?row\b([^>]*)>")
_TOKEN = re.compile(
    rb"<(?:\w+:)?row\b(?P<row>[^>]*)>"
    rb"|<(?:\w+:)?c(?=[\s/>])(?P<cell>(?:[^>/]|/(?!>))*)(?:/>|>(?P<content>.*?)</(?:\w+:)?c>)",
    re.DOTALL,
)
_VALUE = re.compile(rb"<(?:\w+:)?v\b[^>]*?(?:/>|>([^<]*)</(?:\w+:)?v>)")
_LARGE = re.compile(r"-?[0-9]{7,}")
_FORMULA = re.compile(rb"<(?:\w+:)?f\b")
_ROOT = re.compile(rb"<(\w+:)?worksheet\b")

# Cells as nearly all writers have them: names without a prefix, attributes in this order, double quotes. Sheets whose
# beginning has other cells are read cell by cell.
_CELL = rb'<c r="([A-Z]{1,3})([0-9]{1,7})"'
_USUAL = re.compile(_CELL + rb'(?: t="\w+")?(?: s="[0-9]+")?(?: t="\w+")?(?: (?:cm|vm|ph)="[0-9]+")*(?:/>|>)')
_EXTRA = rb'(?: (?:cm|vm|ph)="[0-9]+")*'
_FORMULA_PART = rb"\s*<f(?:[^>]*/>|[^>]*>[^<]*</f>)\s*"
_V = rb"\s*<v(?: [^>/]*)?>"
_ERROR = re.compile(_CELL + rb'[^>]*? t="e"[^>]*>(?:' + _FORMULA_PART + rb")?" + _V + rb"([^<]*)</v>")
_OF_NUMBER = rb'(?:(?! t=)[^>])*(?: t="n"[^>]*)?>'
_NO_RESULT = re.compile(_CELL + _OF_NUMBER + _FORMULA_PART + rb"(?:<v ?/>|<v></v>)?\s*</c>")
_TEXT_WITHOUT_RESULT = re.compile(_CELL + rb'[^>]*? t="str"[^>]*>' + _FORMULA_PART + rb"</c>")
_ZERO = re.compile(_CELL + _OF_NUMBER + _FORMULA_PART + _V + rb"0</v>\s*</c>")


@dataclass(frozen=True, slots=True)
class StyledNumbers:
    """The numbers to look for, by the styles of their cells.

    `styles`: all numbers; `fractions`: those that are not whole; `days`: those of seven digits and more, which may be
    too large for the day of a date.
    """

    styles: Collection[int]
    fractions: Collection[int]
    days: Collection[int]

    def has(self, style: int, stored: str) -> bool:
        """Whether a number in a cell of that style is looked for."""
        return (
            style in self.styles
            or (style in self.fractions and not stored.removeprefix("-").isdigit())
            or (style in self.days and _LARGE.match(stored) is not None)
        )


class SheetScan:
    """What was found in a sheet. Rows count from 1, columns from 0.

    `hidden_rows` and `hidden_columns`; `broken` are errors and formulas without a result, as (row, column, error or
    None).

    `zero_is_uncalculated` says that a formula whose result is 0 has not been calculated.
    """

    def __init__(self, wanted: StyledNumbers, *, zero_is_uncalculated: bool) -> None:
        self.hidden_rows: list[int] = []
        self.hidden_columns: set[int] = set()
        self._cells: list[tuple[bytes, bytes, bytes, bytes]] = []  # column, row, style, number
        self._frames: list[pl.DataFrame] = []
        self.broken: list[tuple[int, int, str | None]] = []
        self._wanted = wanted
        self._zero_is_uncalculated = zero_is_uncalculated
        fraction, large = rb"[^<]*[.E][^<]*", rb"-?[0-9]{7,}[^<]*"
        both = frozenset(wanted.fractions) & frozenset(wanted.days)
        searches = (
            _search_for(wanted.styles, rb"[^<]+"),
            _search_for(both, rb"(?:" + large + rb"|" + fraction + rb")"),
            _search_for(frozenset(wanted.fractions) - both, fraction),
            _search_for(frozenset(wanted.days) - both, large),
        )
        self._searches = [search for search in searches if search is not None]
        self._row = 0
        self._has_formulas = False

    def read(self, file: IO[bytes]) -> None:
        """Search a sheet's XML."""
        usual: bool | None = None
        for chunk in _chunks(file):
            if usual is None:
                usual = _is_usual(chunk)
                self._read_columns(chunk)
            if usual:
                self._search(chunk)
            else:
                self._read_cells(chunk)

    def numbers(self) -> pl.DataFrame:
        """Return the numbers in cells of the styles asked for: `row`, `column`, `style` (UInt32), `stored` (String)."""
        return pl.concat([*self._frames, self._gather()])

    def _gather(self) -> pl.DataFrame:
        """Return the cells that were found, in a tenth of the memory that Python takes for them."""
        columns, rows, styles, stored = zip(*self._cells, strict=True) if self._cells else ((), (), (), ())
        self._cells = []
        texts = pl.DataFrame({"row": rows, "style": styles, "stored": stored}, schema=dict.fromkeys(_TEXTS, pl.Binary))
        return texts.select(
            pl.col("row").cast(pl.String).cast(pl.UInt32),
            pl.Series("column", map(_column_index, columns), dtype=pl.UInt32),
            pl.col("style").cast(pl.String).cast(pl.UInt32),
            pl.col("stored").cast(pl.String),
        )

    def _read_columns(self, chunk: bytes) -> None:
        head = chunk[: chunk.find(b"sheetData") + 1]
        for match in _COLUMN.finditer(head):
            attributes = _attributes(match[1])
            if attributes.get(b"hidden") in _TRUE or attributes.get(b"width") == b"0":
                first, last = int(attributes[b"min"]), int(attributes[b"max"])
                self.hidden_columns.update(range(first - 1, min(last, _MOST_COLUMNS)))

    def _search(self, chunk: bytes) -> None:
        if b" hidden=" in chunk:
            for match in _ROW.finditer(chunk):
                attributes = _attributes(match[1])
                if attributes.get(b"hidden") in _TRUE:
                    self.hidden_rows.append(int(attributes[b"r"]))
        for mark, cells in self._searches:
            if mark.search(chunk):
                self._cells += cells.findall(chunk)
        if len(self._cells) > _MOST_CELLS_WAITING:
            self._frames.append(self._gather())
        if b' t="e"' in chunk:
            self.broken += [
                (int(row), _column_index(column), error.decode()) for column, row, error in _ERROR.findall(chunk)
            ]
        self._has_formulas = self._has_formulas or b"</f>" in chunk  # a later `<f/>` refers to one that is written out
        if self._has_formulas:
            patterns = [_NO_RESULT, _TEXT_WITHOUT_RESULT, *([_ZERO] if self._zero_is_uncalculated else [])]
            for pattern in patterns:
                self.broken += [(int(row), _column_index(column), None) for column, row in pattern.findall(chunk)]

    def _read_cells(self, chunk: bytes) -> None:
        """Read rows and cells one by one, in any form that XML allows; a cell without a reference follows the last."""
        column = -1
        for match in _TOKEN.finditer(chunk):
            if match["row"] is not None:
                attributes = _attributes(match["row"])
                self._row = int(attributes.get(b"r", self._row + 1))
                column = -1
                if attributes.get(b"hidden") in _TRUE:
                    self.hidden_rows.append(self._row)
                continue
            attributes = _attributes(match["cell"])
            reference = re.fullmatch(rb"([A-Z]{1,3})[0-9]+", attributes.get(b"r", b""))
            column = _column_index(reference[1]) if reference else column + 1
            self._read_cell(column, attributes, match["content"] or b"")

    def _read_cell(self, column: int, attributes: dict[bytes, bytes], content: bytes) -> None:
        kind = attributes.get(b"t", b"n")
        value = _VALUE.search(content)
        stored = (value[1] or b"").decode() if value else ""
        if kind == b"e":
            self.broken.append((self._row, column, stored))
        elif _FORMULA.search(content) and self._is_uncalculated(kind, stored, has_value=value is not None):
            self.broken.append((self._row, column, None))
        elif kind == b"n" and stored:
            style = int(attributes.get(b"s", b"0"))
            if self._wanted.has(style, stored):
                self._cells.append((_letters(column), b"%d" % self._row, b"%d" % style, stored.encode()))

    def _is_uncalculated(self, kind: bytes, stored: str, *, has_value: bool) -> bool:
        if kind == b"str":
            return not has_value
        return kind == b"n" and (not stored or (stored == "0" and self._zero_is_uncalculated))


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the sheet in parts that end with a row."""
    rest = file.read(_SAMPLE_BYTES)
    root = _ROOT.search(rest)
    end_of_row = b"</" + ((root[1] or b"") if root else b"") + b"row>"
    while True:
        data = file.read(_CHUNK_BYTES)
        rest += data
        if not data:
            yield rest
            return
        end = rest.rfind(end_of_row)
        if end >= 0:
            end += len(end_of_row)
            yield rest[:end]
            rest = rest[end:]


def _is_usual(chunk: bytes) -> bool:
    """Whether the first cells are as the searches expect them."""
    start = max(0, chunk.find(b"sheetData"))
    sample = chunk[start : start + _SAMPLE_BYTES].rpartition(b"<")[0]
    cells = len(re.findall(rb"<(?:\w+:)?c[\s/>]", sample))
    return cells == len(_USUAL.findall(sample)) and b"<row " in sample and b'<row r="' in sample


def _search_for(styles: Collection[int], value: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]] | None:
    """Return what a part of a sheet has where such a number is in it, and the cells with one; None without styles.

    The first is found several times as fast, since it begins with what few cells have.
    """
    if not styles:
        return None
    numbers = b"|".join(str(style).encode() for style in sorted(styles))
    rest = rb'(?: t="n")?' + _EXTRA + rb">(?:" + _FORMULA_PART + rb")?" + _V
    mark = rb' s="(?:' + numbers + rb')"' + rest + value + rb"<"
    cells = _CELL + rb'(?: t="n")? s="(' + numbers + rb')"' + rest + rb"(" + value + rb")</v>"
    return re.compile(mark), re.compile(cells)


def _attributes(text: bytes) -> dict[bytes, bytes]:
    return {name: double or single for name, double, single in _ATTRIBUTE.findall(text)}


@cache
def _column_index(letters: bytes) -> int:
    """Return 0 for A, 26 for AA."""
    index = 0
    for letter in letters:
        index = index * 26 + letter - 64
    return index - 1


def _letters(column: int) -> bytes:
    """Return A for 0, AA for 26."""
    letters = b""
    column += 1
    while column:
        column, letter = divmod(column - 1, 26)
        letters = bytes([65 + letter]) + letters
    return letters
