"""What fastexcel does not say about a sheet of an ODS workbook: times, errors, and formulas without a result.

Times are null there (`findings/fastexcel-ods-times-become-null.sh`), and an error may be 0. The sheet is gone through
only where it has any of these.
"""

from __future__ import annotations

import html
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from sender.recipients.readers.workbook_xml import BROKEN, SHOWN, SheetFacts

_ATTRIBUTE = re.compile(r"""([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_TABLE = re.compile(r"<table:table\b([^>]*)>")
_TABLE_END = "</table:table>"
_TOKEN = re.compile(
    r"<table:table-row\b(?P<row>[^>]*)>"
    r"|<table:(?:covered-)?table-cell\b(?P<cell>(?:[^>/]|/(?!>))*)"
    r"(?:/>|>(?P<content>.*?)</table:(?:covered-)?table-cell>)",
    re.DOTALL,
)
_ERROR_TEXT = r"#N/A|#REF!|#DIV/0!|#VALUE!|#NAME\?|#NUM!|#NULL!|Err:\d{3}"
_ERROR = re.compile(rf"<text:p[^>]*>\s*({_ERROR_TEXT})\s*</text:p>")
_WITHOUT_RESULT = re.compile(
    r"<table:table-cell(?:(?!office:value-type)[^>])* table:formula=(?:(?!office:value-type)[^>])*>"
)
_TIME = re.compile(r"(-?)P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:[.,](\d+))?S)?)?")
_NOTHING = pl.Series(dtype=pl.UInt32)


@dataclass(frozen=True, slots=True)
class _OdsCell:
    row: int  # from 1
    column: int  # from 0
    attributes: dict[str, str]
    content: str


def read_ods_facts(data: bytes, sheet: str, rows: int) -> SheetFacts:
    """Return what is known of a sheet, whose cells with content are in its first `rows` rows.

    Hidden rows and what numbers look like are not.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        text = _find_table(archive.read("content.xml").decode(errors="replace"), sheet)
    times: list[tuple[int, int, str, str]] = []
    broken: list[tuple[int, int, str | None]] = []
    has_times = 'office:value-type="time"' in text
    if has_times or _ERROR.search(text) or _WITHOUT_RESULT.search(text):
        for cell in _cells(text, rows):
            kind = cell.attributes.get("office:value-type")
            error = _ERROR.search(cell.content) if "table:formula" in cell.attributes else None
            if error is not None:
                broken.append((cell.row, cell.column, error[1]))
            elif kind is None and "table:formula" in cell.attributes:
                broken.append((cell.row, cell.column, None))
            elif kind == "time" and (shown := _time_text(cell.attributes.get("office:time-value", ""))) is not None:
                times.append((cell.row, cell.column, shown, shown))
    return SheetFacts(
        hidden_rows=_NOTHING,
        hidden_columns=frozenset(),
        broken=pl.DataFrame(broken, schema=BROKEN, orient="row"),
        shown=pl.DataFrame(times, schema=SHOWN, orient="row"),
        unknown_formats={},
        english=frozenset(),
        has_dates=True,
    )


def _find_table(content: str, sheet: str) -> str:
    for match in _TABLE.finditer(content):
        if html.unescape(_attributes(match[1]).get("table:name", "")) == sheet:
            end = content.find(_TABLE_END, match.end())
            return content[match.end() : end if end >= 0 else len(content)]
    return ""


def _cells(text: str, rows: int) -> Iterator[_OdsCell]:
    """Yield the cells of the first `rows` rows that have attributes, each repeated one as often as it is there."""
    row, row_repeats, column = 0, 1, 0  # before the first row
    for match in _TOKEN.finditer(text):
        if match["row"] is not None:
            row += row_repeats
            row_repeats = int(_attributes(match["row"]).get("table:number-rows-repeated", 1))
            column = 0
            if row > rows:
                return
            continue
        attributes = _attributes(match["cell"])
        repeats = int(attributes.get("table:number-columns-repeated", 1))
        if "office:value-type" in attributes or "table:formula" in attributes:
            for each_row in range(row, min(row + row_repeats, rows + 1)):
                for each in range(column, column + repeats):
                    yield _OdsCell(each_row, each, attributes, match["content"] or "")
        column += repeats


def _attributes(text: str) -> dict[str, str]:
    return {name: double or single for name, double, single in _ATTRIBUTE.findall(text)}


def _time_text(value: str) -> str | None:
    """Return a duration such as `PT26H03M00S` as `26:03:00`; None where it is not one of days, hours and less."""
    match = _TIME.fullmatch(value)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.group(2, 3, 4, 5))
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    fraction = (match[6] or "").rstrip("0")[:6]
    clock = f"{total // 3600:02}:{total // 60 % 60:02}:{total % 60:02}"
    return match[1] + clock + (f".{fraction}" if fraction else "")
