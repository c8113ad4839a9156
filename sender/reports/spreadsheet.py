"""Excel workbooks whose texts stay texts."""

from __future__ import annotations

from typing import IO

import polars as pl
import xlsxwriter

from sender.core.errors import InputError
from sender.core.safe_tables import formula_like, guard_table

# Excel's own limits (support.microsoft.com, "Excel specifications and limits", 2025-11); it counts UTF-16 units.
_XLSX_ROWS, _XLSX_COLUMNS, _XLSX_CELL = 1_048_576, 16_384, 32_767


def write_workbook(frame: pl.DataFrame, file: IO[bytes], *, price: str) -> None:
    """Write `frame` as an Excel workbook, with numbers in column `price`. Raises InputError when it does not fit."""
    frame = guard_table(frame, quotes=False)
    _check_fits(frame)
    with xlsxwriter.Workbook(file, {"constant_memory": True}) as workbook:
        sheet = workbook.add_worksheet("results")
        quoted = workbook.add_format({"quote_prefix": True})
        heading = workbook.add_format({"bold": True})
        sheet.freeze_panes(1, 0)
        sheet.autofilter(0, 0, frame.height, frame.width - 1)
        for index, name in enumerate(frame.columns):
            sheet.write_string(0, index, name, heading)
        amount = pl.col(price).cast(pl.Float64, strict=False)
        formulas = frame.select(formula_like(name) for name in frame.columns if frame[name].dtype == pl.String)
        texts = [index for index, name in enumerate(frame.columns) if frame[name].dtype == pl.String]
        price_index = frame.columns.index(price)
        rows = zip(frame.iter_rows(), formulas.iter_rows(), frame.select(amount)[:, 0], strict=True)
        for number, (row, row_formulas, cost) in enumerate(rows, start=1):
            like_formula = dict(zip(texts, row_formulas, strict=True))
            for index, value in enumerate(row):
                if index == price_index and cost is not None:
                    sheet.write_number(number, index, cost)
                elif isinstance(value, str):  # unlike write, write_string never makes a formula, number or link of it
                    sheet.write_string(number, index, value, quoted if like_formula[index] else None)
                elif value is not None:
                    sheet.write_number(number, index, value)


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
