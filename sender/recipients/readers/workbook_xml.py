"""What an XLSX workbook says about its cells besides their values: hidden rows, number formats, errors, formulas.

The cells themselves are read by fastexcel, which passes over all of this. A sheet's XML is searched, not parsed: it is
unpacked a few megabytes at a time, and only cells that could matter are looked at.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import polars as pl

from sender.recipients.readers.number_formats import BUILT_IN, NumberFormat, is_day, parse_format
from sender.recipients.readers.sheet_scan import SheetScan, StyledNumbers

SHOWN = {"row": pl.UInt32, "column": pl.UInt32, "text": pl.String, "stored": pl.String}
BROKEN = {"row": pl.UInt32, "column": pl.UInt32, "error": pl.String}
_TRUE = ("1", "true")
_MOST_PART_BYTES = 64 * 2**20  # of styles, names of sheets, relations; a sheet may be larger


@dataclass(frozen=True, slots=True, eq=False)
class SheetFacts:
    """What is known of a sheet besides its cells. Rows count from 1 and columns from 0, as the sheet shows them.

    `hidden_rows` (UInt32); `hidden_columns`. `broken` has the cells that are errors or formulas without a result: `row`
    and `column` (UInt32), and `error`, null for a formula. `shown` has the cells that show something other than what
    they store: `row`, `column`, `text` and `stored`, null for the number itself (`ShownNumber`). `unknown_formats` has
    the first number format of a column that is not understood. `english` are columns with names of months or days in a
    language that is not named. `has_dates` says that there may be dates.
    """

    hidden_rows: pl.Series
    hidden_columns: frozenset[int]
    broken: pl.DataFrame
    shown: pl.DataFrame
    unknown_formats: Mapping[int, str]
    english: frozenset[int]
    has_dates: bool


class XlsxPackage:
    """The parts of an XLSX file. Raises KeyError, ValueError, zipfile.BadZipFile or ParseError where one is odd."""

    def __init__(self, data: bytes) -> None:
        self._archive = zipfile.ZipFile(io.BytesIO(data))
        workbook_path = self._workbook_path()
        workbook = self._part(workbook_path)
        self._targets = self._relations(workbook_path)
        self._sheets = {
            sheet.get("name", ""): self._targets[identifier]
            for sheet in _all(workbook, "sheet")
            if (identifier := _attribute(sheet, "id")) in self._targets
        }
        properties = next(_all(workbook, "workbookPr"), None)
        self._from_1904 = properties is not None and properties.get("date1904") in _TRUE
        calculation = next(_all(workbook, "calcPr"), None)
        # What writers without a calculator set; the result of each formula is then 0 or nothing.
        self._uncalculated = calculation is not None and calculation.get("fullCalcOnLoad") in _TRUE
        self._formats = self._read_styles()

    def read_facts(self, sheet: str) -> SheetFacts:
        """Return what is known of the sheet of that name."""
        looked_at = {style for style, form in self._formats.items() if form is None or not form.is_plain}
        fractions = {style for style in looked_at if (form := self._formats[style]) and form.whole_is_plain}
        days = {style for style, form in self._formats.items() if form is not None and form.is_date}
        wanted = StyledNumbers(looked_at - fractions, fractions, days - (looked_at - fractions))
        scan = SheetScan(wanted, zero_is_uncalculated=self._uncalculated)
        with self._archive.open(self._sheets[sheet]) as file:
            scan.read(file)
        broken = pl.DataFrame(scan.broken, schema=BROKEN, orient="row")
        cells = scan.numbers().join(broken, on=["row", "column"], how="anti", maintain_order="left")
        unknown = {style for style in looked_at if self._formats[style] is None}
        named = {style for style in looked_at if (form := self._formats[style]) and form.is_in_english}
        unread = cells.filter(pl.col("style").is_in(list(unknown))).unique("column", keep="first", maintain_order=True)
        return SheetFacts(
            hidden_rows=pl.Series(scan.hidden_rows, dtype=pl.UInt32),
            hidden_columns=frozenset(scan.hidden_columns),
            broken=broken,
            shown=self._show(cells.filter(~pl.col("style").is_in(list(unknown)))),
            unknown_formats={column: self._codes[style] for column, style in unread.select("column", "style").rows()},
            english=frozenset(cells.filter(pl.col("style").is_in(list(named)))["column"].unique()),
            has_dates=any(form is None or form.is_date for form in self._formats.values()),
        )

    def _show(self, cells: pl.DataFrame) -> pl.DataFrame:
        """Return `row`, `column`, `text`, `stored` of the cells that can be shown.

        A number that is no day is what it is under the format of a date: fastexcel has nothing for it, and it may be a
        phone number.
        """
        parts = [pl.DataFrame(schema=SHOWN)]
        for (style,), part in cells.partition_by("style", as_dict=True).items():
            form = self._formats[int(style)]
            if form is None:
                continue
            numbers = part["stored"].unique()
            texts = form.show_column(numbers, from_1904=self._from_1904).with_columns(number=numbers)
            if form.is_date:
                no_day = pl.col("text").is_null() & ~pl.Series([is_day(number) for number in numbers])
                texts = texts.with_columns(
                    pl.when(no_day).then("number").otherwise(name).alias(name) for name in ("text", "stored")
                )
            joined = part.rename({"stored": "number"}).join(texts, on="number", maintain_order="left")
            parts.append(joined.filter(pl.col("text").is_not_null()).select(*SHOWN))
        return pl.concat(parts)

    def _workbook_path(self) -> str:
        targets = self._relations("")
        return next((path for path in targets.values() if path.endswith("workbook.xml")), "xl/workbook.xml")

    def _relations(self, path: str) -> dict[str, str]:
        """Return the path of each part that the part `path` names, by its id."""
        folder, name = posixpath.split(path)
        related = self._part(posixpath.join(folder, "_rels", f"{name}.rels"))
        targets = {relation.get("Id", ""): relation.get("Target", "") for relation in _all(related, "Relationship")}
        absolute = {name: posixpath.normpath(posixpath.join("/", folder, target)) for name, target in targets.items()}
        return {name: target.lstrip("/") for name, target in absolute.items()}

    def _read_styles(self) -> dict[int, NumberFormat | None]:
        """Return the number format of each cell style; None where it is not understood."""
        path = next((path for path in self._targets.values() if path.endswith("styles.xml")), None)
        self._codes: dict[int, str] = {}
        if path is None:
            return {}
        styles = self._part(path)
        written = {form.get("numFmtId", ""): form.get("formatCode", "") for form in _all(styles, "numFmt")}
        cell_styles = next(_all(styles, "cellXfs"), None)
        formats: dict[int, NumberFormat | None] = {}
        for style, form in enumerate([] if cell_styles is None else cell_styles):
            number = form.get("numFmtId", "0")
            code = written.get(number, BUILT_IN.get(int(number)))
            self._codes[style] = f"number {number}" if code is None else code
            formats[style] = None if code is None else parse_format(code)
        return formats

    def _part(self, path: str) -> ET.Element:
        if self._archive.getinfo(path).file_size > _MOST_PART_BYTES:
            raise ValueError(f"{path} is larger than any list needs")
        # expat loads no external entities and stops where entities expand to much more than the file.
        return ET.fromstring(self._archive.read(path))  # noqa: S314


def _all(element: ET.Element, name: str) -> Iterator[ET.Element]:
    """Yield the elements of that name in any namespace: the strict and the transitional one differ."""
    return (found for found in element.iter() if found.tag.rpartition("}")[2] == name)


def _attribute(element: ET.Element, name: str) -> str:
    """Return an attribute that has a namespace; empty without it."""
    return next((value for key, value in element.items() if key.endswith("}" + name)), "")
