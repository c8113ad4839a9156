"""Excel workbooks that can be read as they open, and whose texts stay texts."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from typing import IO, Any

from sender.core.errors import InputError
from sender.core.lazy_modules import pl, xlsxwriter
from sender.core.safe_tables import formula_like, guard_table

# Excel's own limits (support.microsoft.com, "Excel specifications and limits", 2025-11); it counts UTF-16 units.
_XLSX_ROWS, _XLSX_COLUMNS, _XLSX_CELL = 1_048_576, 16_384, 32_767
_NARROWEST, _WIDEST = 8, 60  # characters: a longer text is wrapped within its cell
_TYPICAL = 0.95  # of a column's texts fit its width: one long cell does not make the others hard to read
_FILLED = 0.85  # of a line, because words are not broken
_LINE_POINTS, _MOST_LINES = 15, 27  # the height of a line, and the most that Excel's tallest row (409 points) holds
_FILTER_BUTTON = 3  # characters that the button of the filter takes of a heading
_TIME_FORMAT = 'yyyy-mm-dd hh:mm:ss" UTC"'
_TIME_WIDTH = len("2026-11-29 09:00:00 UTC") + 1
_DAY_ZERO, _DAY_MS = 25_569, 86_400_000  # 1970-01-01 in Excel's days


def write_workbook(frame: pl.DataFrame, file: IO[bytes], *, sheet: str, amounts: Collection[str] = ()) -> None:
    """Write `frame` as an Excel workbook with one worksheet, whose heading stays in sight and can be filtered.

    Columns are as wide as they need. Texts are text cells, long ones wrapped; those of the columns `amounts` that read
    as numbers are numbers. Columns of Datetime are dates in UTC, which their format says. Raises InputError when the
    frame does not fit, and OSError.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="sender-") as folder:  # its parts have people's numbers
            _write(frame, file, folder, sheet=sheet, amounts=amounts)
    except xlsxwriter.exceptions.FileCreateError as error:  # what it stands for is its only argument
        raise error.args[0] from None


def _write(frame: pl.DataFrame, file: IO[bytes], folder: str, *, sheet: str, amounts: Collection[str]) -> None:
    amount_indexes = [frame.columns.index(name) for name in amounts]
    times = [index for index, dtype in enumerate(frame.dtypes) if isinstance(dtype, pl.Datetime)]
    frame = guard_table(frame, quotes=False)
    _check_fits(frame)
    with xlsxwriter.Workbook(file, {"constant_memory": True, "tmpdir": folder}) as workbook:
        worksheet = workbook.add_worksheet(sheet)
        heading = workbook.add_format({"bold": True, "valign": "top"})
        worksheet.freeze_panes(1, 0)
        worksheet.repeat_rows(0)  # on each printed page
        worksheet.set_landscape()
        worksheet.autofilter(0, 0, frame.height, max(frame.width - 1, 0))
        worksheet.ignore_errors({"number_stored_as_text": f"A1:XFD{_XLSX_ROWS}"})  # a phone number is meant as text
        widths, longest = _measure(frame)
        formats = [
            _cell_format(workbook, is_time=index in times, is_long=longest[index] > _WIDEST)
            for index in range(frame.width)
        ]
        for index, name in enumerate(frame.columns):
            worksheet.set_column(index, index, widths[index])
            worksheet.write_string(0, index, name, heading)
        heights = _row_lines(frame, longest)
        for number, row in enumerate(_rows(frame, amount_indexes), start=1):
            if (lines := heights[number - 1]) > 1:  # no program fits a row to its text by itself when it opens the file
                worksheet.set_row(number, min(lines, _MOST_LINES) * _LINE_POINTS)
            for index, (value, like_formula) in enumerate(row):
                plain, quoted = formats[index]
                if isinstance(value, str):  # unlike write, write_string never makes a formula, number or link of it
                    worksheet.write_string(number, index, value, quoted if like_formula else plain)
                elif value is not None:
                    worksheet.write_number(number, index, value, plain)


def _cell_format(workbook: Any, *, is_time: bool, is_long: bool) -> tuple[Any, Any]:
    """Return the format of a column's cells, and that of those among them that look like a formula."""
    shape: dict[str, Any] = {"valign": "top"}
    if is_time:
        shape |= {"num_format": _TIME_FORMAT, "align": "left"}
    if is_long:
        shape |= {"text_wrap": True}
    return workbook.add_format(shape), workbook.add_format(shape | {"quote_prefix": True})


def _measure(frame: pl.DataFrame) -> tuple[list[int], list[int]]:
    """Return the width of each column, and the length of its longest text (0 for other types), in characters."""
    texts = [name for name in frame.columns if frame[name].dtype == pl.String]
    typical = frame.select(pl.col(texts).str.len_chars().quantile(_TYPICAL, "higher")) if texts else pl.DataFrame()
    longest = frame.select(pl.col(texts).str.len_chars().max()) if texts else pl.DataFrame()
    widths, lengths = [], []
    for name, column in zip(frame.columns, frame, strict=True):
        is_text = name in texts and frame.height > 0
        needed = int(typical[name][0] or 0) + 1 if is_text else 0
        if isinstance(column.dtype, pl.Datetime):
            needed = _TIME_WIDTH
        widths.append(min(max(needed, len(name) + _FILTER_BUTTON, _NARROWEST), _WIDEST))
        lengths.append(int(longest[name][0] or 0) if is_text else 0)
    return widths, lengths


def _row_lines(frame: pl.DataFrame, longest: list[int]) -> list[int]:
    """Return how many lines each row needs, where the texts that are too long for their column are wrapped."""
    wide = r"[\x{1100}-\x{11FF}\x{2E80}-\x{FFEF}\x{1F300}-\x{1FAFF}]"  # letters and signs of double width
    lines = []
    for name, length in zip(frame.columns, longest, strict=True):
        if length > _WIDEST:
            text = pl.col(name).fill_null("")
            units = text.str.len_chars() + text.str.count_matches(wide)
            lines.append((units / (_WIDEST * _FILLED)).ceil() + text.str.count_matches("\n"))
    if not lines:
        return [1] * frame.height
    return frame.select(pl.max_horizontal(lines).cast(pl.Int64)).to_series().to_list()


def _rows(frame: pl.DataFrame, amounts: Collection[int]) -> Iterator[Iterator[tuple[Any, bool | None]]]:
    """Yield each row's cells as text, number or None, each with whether a spreadsheet would take it for a formula."""
    values, formulas, numbers = [], [], []
    for index, (name, dtype) in enumerate(frame.schema.items()):
        column, nothing = pl.col(name), pl.repeat(None, pl.len()).alias(str(index))
        days = (column.dt.epoch("ms") / _DAY_MS + _DAY_ZERO) if isinstance(dtype, pl.Datetime) else column
        values.append(days.alias(str(index)))
        formulas.append(formula_like(name).alias(str(index)) if dtype == pl.String else nothing)
        numbers.append(column.cast(pl.Float64, strict=False).alias(str(index)) if index in amounts else nothing)
    frames = (frame.select(columns) for columns in ([*values], [*formulas], [*numbers]))
    for row, like_formula, amount in zip(*(part.iter_rows() for part in frames), strict=True):
        cells = (text if number is None else number for text, number in zip(row, amount, strict=True))
        yield zip(cells, like_formula, strict=True)


def _check_fits(frame: pl.DataFrame) -> None:
    """Raise InputError for what a worksheet cannot hold: xlsxwriter would leave it out silently."""
    fix = "write csv, jsonl or parquet"
    if frame.height >= _XLSX_ROWS or frame.width > _XLSX_COLUMNS:
        raise InputError(
            f"{frame.height} rows of {frame.width} columns do not fit in a worksheet of {_XLSX_ROWS - 1} rows "
            f"of {_XLSX_COLUMNS} columns under its heading",
            fix=fix,
        )
    utf16_units = pl.col(pl.String).str.len_chars() + pl.col(pl.String).str.count_matches(r"[\x{10000}-\x{10FFFF}]")
    for name, longest in frame.select(utf16_units.max()).row(0, named=True).items() if frame.height else ():
        if longest is not None and longest > _XLSX_CELL:
            raise InputError(
                f"column {name!r} has a text of {longest} characters; a worksheet's cell holds {_XLSX_CELL}", fix=fix
            )
