"""Files of numbers, written and read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import polars as pl
import xlsxwriter

from sender.suppression.number_list import ListRules, NumberList, read_number_list

A, B, C, D = "+12025550101", "+12025550102", "+12025550103", "+12025550104"
LONDON, MANCHESTER = "+442079460018", "+441614960018"
US = ListRules(regions=("US",))
NO_REGION = ListRules()


def workbook(**sheets: list[list[Any]]) -> bytes:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for place, row in enumerate(rows):
                for column, value in enumerate(row):
                    sheet.write(place, column, value)
            if name.startswith("hidden"):
                sheet.hide()
    return buffer.getvalue()


def read(tmp_path: Path, name: str, content: str | bytes | pl.DataFrame, rules: ListRules = US) -> NumberList:
    path = tmp_path / name
    if isinstance(content, pl.DataFrame):
        content.write_parquet(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_number_list(path, rules)
