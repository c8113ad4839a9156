"""CSV, TSV and similar, a block at a time. Plain blocks are read by polars, doubtful ones by a strict reader.

The strict reader is Python's csv; it names the line of what it refuses. Both give the same rows.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Iterator
from itertools import chain, islice

import polars as pl

from sender.core.errors import RecipientsError, setting
from sender.core.packed_cells import PACKED_FROM
from sender.recipients.readers.source import TextStream, at_line
from sender.recipients.readers.table import HeadedRows, Table, refuse_wide

SEPARATORS = ",;\t|"
BLOCK_CHARS = 8 * 2**20
_SAMPLE_CHARS = 65_536  # from which the separator and the line ends are guessed
_MOST_LINES_BACK = 1_000  # from a block's end, to find a line end outside quotes
_MOST_LINES_LISTED = 10
_MOST_ROWS_AHEAD = 100_000  # in which more ragged rows are looked for
_MOST_TITLE_ROWS = 20  # above the header
_ROWS_BELOW_HEADER = 5  # that are as wide as it is
_FEWEST_DIGITS = 5  # of a cell that is no header
_MOST_CELLS_SHOWN = 6
_HIDDEN = "\x02"  # replaces a quoted cell while the structure is checked


def read_delimited(stream: TextStream, separator: str | None, where: str, *, header_row: int | None = None) -> Table:
    """Return the rows of `stream`; those above the number `header_row` are left out.

    Raises RecipientsError for a row of another width than the first, or open quotes.
    """
    stream.fill(_SAMPLE_CHARS)
    sample = stream.text[:_SAMPLE_CHARS]
    if "\r" in sample and "\n" not in sample:
        stream.unify_line_ends()
    if stream.text.lstrip()[:9].lower().startswith(("<!doctype", "<html", "<table", "<?xml")):
        raise RecipientsError("is a web page or XML, not a table", where=where, fix="export it as CSV or XLSX")
    hint = re.match(r'"?sep=(.)"?\r?\n', stream.text, re.IGNORECASE)  # a spreadsheet's own line, not shown as a row
    if hint:
        separator, stream.position = separator or hint[1], hint.end()
    above = lines = _skip_blank_lines(stream)
    if header_row is not None and above + 1 < header_row:
        lines += _skip_rows(stream, header_row - 1 - above)
        blank_lines = _skip_blank_lines(stream)
        above, lines = header_row - 1 + blank_lines, lines + blank_lines
    rows = HeadedRows(1 + above)
    if stream.fill(_SAMPLE_CHARS):
        separator = separator or _guess_separator(stream)
        refuse_wide(1 + stream.text[stream.position :].partition("\n")[0].count(separator), where)
        for grid, ascii_only in _read_grids(stream, separator, where, lines=lines + bool(hint), above=above):
            if isinstance(grid, pl.Series):
                rows.add_packed(grid, ascii_only=ascii_only)
            else:
                rows.add(grid, ascii_only=ascii_only)
    return rows.table()


def _skip_blank_lines(stream: TextStream) -> int:
    """Skip blank lines, and return how many there were."""
    skipped = 0
    while stream.fill(_SAMPLE_CHARS):
        leading = re.compile(r"(?:[ \t]*\r?\n)*").match(stream.text)
        end = leading.end() if leading else 0
        skipped += stream.text.count("\n", 0, end)
        stream.position = end
        if end < len(stream.text):
            if stream.text[end:].strip() or not stream.ended:
                break
            stream.position = len(stream.text)
    return skipped


def _skip_rows(stream: TextStream, rows: int) -> int:
    """Skip rows above the header, and return how many lines they had. A line break inside quotes ends no row."""
    skipped = quotes = 0
    for line in _take_lines(stream):
        skipped += 1
        quotes += line.count('"')
        rows -= quotes % 2 == 0
        if rows <= 0:
            break
    return skipped


def _guess_separator(stream: TextStream) -> str:
    """Return the separator that splits the header, and the later rows most evenly; a comma where none does."""
    sample = stream.text[stream.position : stream.position + _SAMPLE_CHARS]
    whole = stream.ended and len(stream.text) - stream.position == len(sample)
    best, best_score = ",", (0.0, 1)
    for candidate in SEPARATORS:
        widths: list[int] = []
        rows = csv.reader(io.StringIO(sample, newline=""), delimiter=candidate, skipinitialspace=True)
        with contextlib.suppress(csv.Error):  # a cell is too long: judge by the rows before it
            widths.extend(len(row) for row in rows if row)
        if not whole:
            widths = widths[:-1] or widths  # the last row is cut off
        if not widths or widths[0] == 1:
            continue
        even = sum(width == widths[0] for width in widths) / len(widths)
        best, best_score = max((best, best_score), (candidate, (even, widths[0])), key=lambda pair: pair[1])
    return best


def _read_grids(
    stream: TextStream, separator: str, where: str, *, lines: int, above: int
) -> Iterator[tuple[pl.DataFrame | pl.Series, bool]]:
    """Yield the rows as grids of one width, each with whether it is known to be all ASCII.

    Those of very many columns may be lists. `lines` and `above` are the numbers of lines and of rows above them.
    """
    width: int | None = None
    spaced = False  # whether cells in quotes have blanks before them; then no cell keeps such blanks
    size = BLOCK_CHARS
    while stream.fill(size):
        text = _whole_rows(stream, size)
        grid = _read_quickly(text, separator, width) if text and not spaced else None
        if grid is None:
            spaced = spaced or _has_spaced_quotes(stream.text[:size], separator)
            strict = _StrictReader(stream, separator, where, spaced=spaced)
            grid, lines = strict.read(lines, width, above)
            ascii_only = False
        else:
            ascii_only = text.isascii()
            stream.position += len(text)
            lines += _count_lines(text) if '"' in text else len(grid)  # without quotes every row is a line
        width = grid.width if isinstance(grid, pl.DataFrame) else width
        yield grid, ascii_only


def _whole_rows(stream: TextStream, size: int) -> str:
    """Return the whole rows in about `size` characters, judged by quotes in pairs; empty where they are unclear."""
    text = stream.text[:size]
    if stream.ended and len(text) == len(stream.text):
        return text
    end = text.rfind("\n") + 1
    if '"' not in text:
        return text[:end]
    quotes = text.count('"', 0, end)
    for _ in range(_MOST_LINES_BACK):
        if quotes % 2 == 0:
            return text[:end]
        before = text.rfind("\n", 0, end - 1) + 1
        quotes -= text.count('"', before, end)
        end = before
    return ""


def _count_lines(text: str) -> int:
    return text.count("\n") + (text.count("\r") - text.count("\r\n") if "\r" in text else 0)


def _read_quickly(text: str, separator: str, width: int | None = None) -> pl.DataFrame | pl.Series | None:
    """Return the grid as polars reads it; None unless every row has the width of the first.

    polars would fill up short rows silently. `width` is that of earlier rows, if there are any.
    """
    quoted = '"' in text
    if width is not None and width >= PACKED_FROM and not quoted:
        return _read_packed(text, separator, width)
    expected = width - 1 if width is not None else None
    height = None if quoted else _even_height(text, separator, expected)
    if height is None:
        lines = _split_lines(text, separator, quoted=quoted)
        if lines is None:
            return None
        separators = lines.str.count_matches(separator, literal=True)
        expected = int(separators[0]) if expected is None else expected
        odd = separators != expected
        if (odd.any() and (odd & (lines.str.strip_chars() != "")).any()) or (
            "\r" in text and lines.str.contains("\r", literal=True).any()
        ):
            return None
        height = len(lines)
    elif expected is None:
        expected = text.partition("\n")[0].count(separator)
    try:
        grid = pl.read_csv(
            text.encode(),
            has_header=False,
            schema={str(index): pl.String for index in range(expected + 1)},
            separator=separator,
            quote_char='"' if quoted else None,
        )
    except pl.exceptions.PolarsError:
        return None
    if grid.height != height:
        return None
    return grid.rechunk() if grid.width >= PACKED_FROM else grid  # polars makes ten pieces of each column


def _read_packed(text: str, separator: str, width: int) -> pl.Series | None:
    """Return the rows of a text without quotes as lists of `width` cells; None where one has another width."""
    if "\r" in text:
        if text.count("\r") != text.count("\r\n"):
            return None
        text = text.replace("\r\n", "\n")
    rows = pl.Series(text.removesuffix("\n").split("\n"), dtype=pl.String).str.split(separator)
    return rows if (rows.list.len() == width).all() else None


def _even_height(text: str, separator: str, expected: int | None) -> int | None:
    """Return how many rows a text without quotes has if each has `expected` separators; None where they do not.

    Only sums are compared. Where a short row makes up for a long one, polars refuses the long one, unless it is the
    last and has no line end, so that one is checked here.
    """
    if "\r" in text and text.count("\r") != text.count("\r\n"):
        return None
    each = text.partition("\n")[0].count(separator) if expected is None else expected
    height = text.count("\n")
    if not text.endswith("\n"):
        height += 1
        if text.count(separator, text.rfind("\n") + 1) != each:
            return None
    return height if text.count(separator) == each * height else None


def _split_lines(text: str, separator: str, *, quoted: bool) -> pl.Series | None:
    """Return the lines of `text` without line ends, quoted cells hidden; None where quotes are doubtful."""
    bare = pl.Series([text])
    if quoted:
        if _HIDDEN in text:
            return None
        bare = bare.str.replace_all('"[^"]*"', _HIDDEN)
        edge = rf"[^{_HIDDEN}\r\n{re.escape(separator)}]"
        if bare.str.contains(rf'"|{_HIDDEN}{edge}|{edge}{_HIDDEN}').item():
            return None
    return bare.str.strip_suffix("\n").str.split("\n").explode().str.strip_suffix("\r")


class _StrictReader:
    """Reads rows as Python's csv does, and names the line of what it refuses."""

    def __init__(self, stream: TextStream, separator: str, where: str, *, spaced: bool) -> None:
        self._stream = stream
        self._separator = separator
        self._where = where
        self._spaced = spaced

    def read(self, lines: int, width: int | None, above: int) -> tuple[pl.DataFrame, int]:
        """Return about a block of rows, and the number of lines down to their end.

        `lines` are above them, and if they are the first (`width` is None), `above` rows. Raises RecipientsError at the
        first row with another width than the first.
        """
        start, known = self._stream.taken, width
        reader = self._number_rows(lines)
        rows: list[list[str]] = []
        try:
            for row, end in reader:
                width = len(row) if width is None else width
                if len(row) != width:
                    if any(map(str.strip, row)):
                        number = above + len(rows) + 1 if known is None else None
                        raise self._ragged(row, reader, width, lines, end, number)
                    row = [*row, *[""] * width][:width]  # noqa: PLW2901 (a blank row, of whatever length)
                rows.append(row)
                lines = end
                if self._stream.taken - start >= BLOCK_CHARS:
                    break
        except csv.Error as error:
            raise self._broken(error, lines) from None
        columns = zip(*rows, strict=True)
        return pl.DataFrame([pl.Series(str(i), cells, dtype=pl.String) for i, cells in enumerate(columns)]), lines

    def _number_rows(self, above: int) -> Iterator[tuple[list[str], int]]:
        """Yield each row and the number of lines down to its end; `above` are before the first. Raises csv.Error."""
        lines = _take_lines(self._stream)
        reader = csv.reader(lines, delimiter=self._separator, strict=True, skipinitialspace=self._spaced)
        for row in reader:
            yield row, above + reader.line_num

    def _ragged(
        self,
        row: list[str],
        reader: Iterator[tuple[list[str], int]],
        width: int,
        lines: int,
        end: int,
        number: int | None,
    ) -> RecipientsError:
        """Return the error for a row of another width, which is the row `number` of the file if it is an early one."""
        what = f"{_count_cells(len(row))} where the first row has {width}"
        below: list[tuple[list[str], int]] = []
        if number is not None and number <= _MOST_TITLE_ROWS and len(row) > width:
            with contextlib.suppress(csv.Error, RecipientsError):
                below.extend(islice(reader, _ROWS_BELOW_HEADER))
        if _looks_like_header(row, [cells for cells, _ in below]):
            return RecipientsError(
                what,
                where=at_line(self._where, lines),
                fix=f"the header must be the first row; row {number} looks like it"
                f" ({', '.join(f'`{cell.strip()}`' for cell in row[:_MOST_CELLS_SHOWN])}):"
                f" set {setting('recipients.header_row', str(number))}",
            )
        return RecipientsError(
            what + _list_more_ragged(chain(below, reader), width, end),
            where=at_line(self._where, lines),
            fix=_fix_for_ragged(len(row), width, self._separator),
        )

    def _broken(self, error: csv.Error, lines: int) -> RecipientsError:
        what = f"broken quotes: {error}"
        if "end of data" in str(error):
            what = "a quote is opened and never closed"
        elif "limit" in str(error):
            what = f"a cell has more than {csv.field_size_limit():,} characters, as if a quote were never closed"
        return RecipientsError(
            what,
            where=at_line(self._where, lines),
            fix='close the quote; one inside a quoted cell is written twice ("")',
        )


def _has_spaced_quotes(text: str, separator: str) -> bool:
    """Whether cells in quotes have blanks before them, as in `Ann, "12 Main St, Rome"`."""
    cell = rf'(?:^|{re.escape(separator)}) +"(?:[^"]|"")*" *(?:{re.escape(separator)}|\r|$)'
    return re.search(cell, text, re.MULTILINE) is not None


def _looks_like_header(row: list[str], below: list[list[str]]) -> bool:
    """Whether a row is the header: filled, without numbers, and as wide as the rows below it."""
    below = [cells for cells in below if any(map(str.strip, cells))]
    filled = sum(bool(cell.strip()) for cell in row)
    numbers = any(sum(map(str.isdigit, cell)) >= _FEWEST_DIGITS for cell in row)
    return bool(below) and all(len(cells) == len(row) for cells in below) and 2 * filled > len(row) and not numbers


def _list_more_ragged(reader: Iterator[tuple[list[str], int]], width: int, end: int) -> str:
    """List the next ragged rows, so that a person can fix all of them at once."""
    ragged: list[int] = []
    with contextlib.suppress(csv.Error, RecipientsError):  # a worse error is shown once these are fixed
        for row, below in islice(reader, _MOST_ROWS_AHEAD):
            if len(row) != width and any(map(str.strip, row)):
                ragged.append(end + 1)
            end = below
            if len(ragged) > _MOST_LINES_LISTED:
                break
    if not ragged:
        return ""
    more = ", ..." if len(ragged) > _MOST_LINES_LISTED else ""
    return (
        f"; more ragged rows in line{'s' * (len(ragged) > 1)} {', '.join(map(str, ragged[:_MOST_LINES_LISTED]))}{more}"
    )


def _take_lines(stream: TextStream) -> Iterator[str]:
    """Yield the lines of `stream` with their ends; its position is after the last one yielded."""
    while stream.fill(_SAMPLE_CHARS):
        text = stream.text
        # A carriage return at the very end may be the first half of a line end.
        end = len(text) if stream.ended else max(text.rfind("\n"), text.rfind("\r", 0, len(text) - 1)) + 1
        if not end:
            stream.more()
            continue
        for line in io.StringIO(text[:end], newline=""):
            stream.position += len(line)
            yield line


def _count_cells(cells: int) -> str:
    return "1 cell" if cells == 1 else f"{cells} cells"


def _fix_for_ragged(cells: int, width: int, separator: str) -> str:
    shown = {"\t": "a tab"}.get(separator, f"`{separator}`")
    if width == 1:
        return (
            f"the header must be the first row; if {shown} is not the separator, set {setting('recipients.separator')}"
        )
    if cells > width:
        return f"put a cell that holds {shown} in quotes, or set {setting('recipients.separator')}"
    return f"write out the missing cells, or set {setting('recipients.separator')}"
