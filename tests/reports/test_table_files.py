"""Which headers a file has, whatever its format; anything else is no table."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from sender.reports.table_files import find_format, read_headers

FRAME = pl.DataFrame({"number": ["+12025550101"], "two\nlines": ["x"], 'a "quoted", one': [None], "größe": ["é"]})


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "xlsx"])
def test_headers_of_every_format(tmp_path: Path, form: str, rows: int) -> None:
    path = tmp_path / "table"
    frame = FRAME.head(rows)
    match form:
        case "csv":
            frame.write_csv(path)
        case "jsonl":
            frame.write_ndjson(path)
        case "parquet":
            frame.write_parquet(path)
        case _:
            frame.write_excel(tmp_path / "table.xlsx")
            (tmp_path / "table.xlsx").rename(path)
    expected = [] if form == "jsonl" and not rows else FRAME.columns
    assert read_headers(path) == expected


@pytest.mark.parametrize(
    "content",
    [b"PK\x03\x04 and nothing else", b"PAR1", b"{broken", b'"' + b"x" * 200_000 + b'",'],
    ids=["no workbook", "no parquet", "no object", "a field too long"],
)
def test_what_is_no_table(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "table").write_bytes(content)
    with pytest.raises(ValueError):  # noqa: PT011 (each library's own sentence)
        read_headers(tmp_path / "table")


def test_a_header_that_ends_within_a_character(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sender.reports.table_files._LONGEST_HEAD", 12)
    (tmp_path / "table").write_text("number,größe\n", encoding="utf-8")
    assert read_headers(tmp_path / "table")[0] == "number"


@pytest.mark.parametrize(("name", "form"), [("a.csv", "csv"), ("a.NDJSON", "jsonl"), ("a.b.xlsx", "xlsx")])
def test_a_format_by_the_suffix(name: str, form: str) -> None:
    assert find_format(Path(name)) == form
