"""CSV files as programs and people write them: title rows, blanks before quotes, encodings, compression."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import polars as pl
import pytest
import xlsxwriter

from sender.campaign.load import load_campaign
from sender.core.errors import CampaignError, RecipientsError
from sender.recipients.columns import Recipients, load_recipients
from sender.recipients.readers.encodings import propose_encodings
from sender.recipients.readers.source import zstd

A, B = "+12025550101", "+12025550102"
TITLED = f"Customers 2024\n\nphone,name\n{A},Ann\n{B},Bob\n"


def read(tmp_path: Path, content: str | bytes, file: str = "people.csv", **spec) -> Recipients:
    (tmp_path / file).write_bytes(content.encode() if isinstance(content, str) else content)
    return load_recipients(
        load_campaign(name="t", provider="sandbox", recipients={"file": file, **spec}, base=tmp_path)
    )


def rows(recipients: Recipients) -> list[tuple]:
    return [(number, *cells) for number, cells in zip(recipients.row_numbers, recipients.cells.rows(), strict=True)]


def workbook(grid: list[list[str]]) -> bytes:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True}) as book:
        sheet = book.add_worksheet("s")
        for number, row in enumerate(grid):
            sheet.write_row(number, 0, row)
    return buffer.getvalue()


# Title rows


@pytest.mark.parametrize(
    ("content", "header_row", "expected"),
    [
        pytest.param(TITLED, 3, [(4, A, "Ann"), (5, B, "Bob")], id="a title and a blank row"),
        pytest.param(TITLED, 2, [(4, A, "Ann"), (5, B, "Bob")], id="the blank row above it"),
        pytest.param(f'"A title\nof two lines"\nphone,name\n{A},Ann\n', 2, [(3, A, "Ann")], id="a title of two lines"),
        pytest.param(f"\n\nTitle;x\nphone;name\n{A};Ann\n", 4, [(5, A, "Ann")], id="blank rows above the title"),
        pytest.param(f"sep=;\nTitle\nphone;name\n{A};Ann\n", 2, [(3, A, "Ann")], id="a sep= line is no row"),
        pytest.param(f"Title\r\rphone,name\r{A},Ann\r", 3, [(4, A, "Ann")], id="CR only"),
        pytest.param(f"a,b,c,d\nphone,name\n{A},Ann\n", 2, [(3, A, "Ann")], id="a wider row above"),
        pytest.param(f"phone,name\n{A},Ann\n", 1, [(2, A, "Ann")], id="the first row"),
    ],
)
def test_the_header_row_is_named(tmp_path, content, header_row, expected):
    assert rows(read(tmp_path, content, header_row=header_row)) == expected


def test_the_header_row_of_a_workbook(tmp_path):
    book = workbook([["Customers"], [], ["phone", "name"], [A, "Ann"]])
    assert rows(read(tmp_path, book, "p.xlsx", header_row=3)) == [(4, A, "Ann")]
    with pytest.raises(RecipientsError, match=r"row 3 looks like the header .*`phone`, `name`.*header_row: 3"):
        read(tmp_path, book, "p.xlsx")


def test_lines_of_errors_count_from_the_top(tmp_path):
    with pytest.raises(RecipientsError, match=r"people.csv, line 5: 3 cells where the first row has 2"):
        read(tmp_path, f"Title\n\nphone,name\n{A},Ann\n{B},Bob,x\n", header_row=3)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(TITLED, ["line 3", "row 3 looks like it (`phone`, `name`)", "recipients.header_row: 3"], id="ragged"),
        pytest.param(f"Title,\n,\nphone,name\n{A},Ann\n{B},Bob\n", ["row 3 looks like the header", "recipients.header_row: 3"], id="padded"),
        pytest.param(f"Report;2024\nby;Ann\nTel.;Name;Stadt\n{A};Ann;Köln\n", ["row 3 looks like it (`Tel.`, `Name`, `Stadt`)"], id="wider"),
    ],
)  # fmt: skip
def test_rows_above_the_header_are_proposed_as_the_cause(tmp_path, content, says):
    with pytest.raises(RecipientsError) as caught:
        read(tmp_path, content)
    for part in says:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [f"phone,name\n{A},Ann\n{B},Bob,x\n", f"phone,name\n{A},Ann,x\n", f"phone,name\n{A},Ann\nx,y,z\n{B},Bob\n"],
)
def test_a_ragged_row_is_not_taken_for_a_header(tmp_path, content):
    with pytest.raises(RecipientsError) as caught:
        read(tmp_path, content)
    assert "looks like" not in str(caught.value)


def test_a_header_row_that_is_not_there(tmp_path):
    with pytest.raises(RecipientsError, match=r"nothing from row 9 on, where `recipients.header_row`"):
        read(tmp_path, TITLED, header_row=9)
    with pytest.raises(RecipientsError, match="has no header row"):
        read(tmp_path, f'{{"phone": "{A}"}}\n', "p.jsonl", header_row=2)
    frame = io.BytesIO()
    pl.DataFrame({"phone": [A]}).write_parquet(frame)
    with pytest.raises(RecipientsError, match="has no header row"):
        read(tmp_path, frame.getvalue(), "p.parquet", header_row=2)
    with pytest.raises(CampaignError, match="header_row"):
        read(tmp_path, TITLED, header_row=0)


# Blanks before quotes


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(f'phone, name\n{A}, "Doe, Ann"\n', [(2, A, "Doe, Ann")], id="a separator inside"),
        pytest.param(f'"phone", "name"\n"{A}", "Ann"\n"{B}", ""\n', [(2, A, "Ann"), (3, B, "")], id="every cell"),
        pytest.param(f'phone; name\n{A};  "Doe; Ann"\n', [(2, A, "Doe; Ann")], id="semicolons"),
        pytest.param(f'phone, name\n{A}, "An ""A"" Doe"\n', [(2, A, 'An "A" Doe')], id="quotes inside"),
        pytest.param(f'phone, name\n{A}, "one\ntwo"\n', [(2, A, "one\ntwo")], id="a line break inside"),
        pytest.param(f"phone,name\n{A}, Ann\n", [(2, A, " Ann")], id="without quotes a cell stays as it is"),
    ],
)  # fmt: skip
def test_a_blank_before_a_quoted_cell(tmp_path, content, expected):
    assert rows(read(tmp_path, content)) == expected


# Encodings


@pytest.mark.parametrize(
    ("cell", "encoding"),
    [
        ("Zoë", "cp1252"), ("Müller", "cp1252"), ("Peñá", "cp1252"), ("François", "cp1252"), ("Łukasz Żak", "cp1250"),
        ("Dvořák", "cp1250"), ("Иван Петров", "cp1251"), ("don’t", "cp1252"), ("€ 5", "cp1252"), ("MÜLLER", "cp1252"),
        ("Zoë", "mac-roman"), ("Müller", "mac-roman"),
    ],
)  # fmt: skip
def test_the_encoding_is_proposed_with_the_cell_that_shows_it(tmp_path, cell, encoding):
    with pytest.raises(RecipientsError) as caught:
        read(tmp_path, f"phone,name\n{A},Ann\n{B},{cell}\n".encode(encoding))
    assert "line 3" in str(caught.value)
    assert f"`{cell}`" in str(caught.value)
    assert encoding in str(caught.value)
    assert cell in {
        row[2] for row in rows(read(tmp_path, f"phone,name\n{B},{cell}\n".encode(encoding), encoding=encoding))
    }


def test_the_best_reading_comes_first():
    data = "phone,name\n1,Zoë Müller\n".encode("cp1252")
    assert propose_encodings(data, data.index(b"\xeb"))[0] == ("cp1252", "Windows, Western Europe", "Zoë Müller")


def test_bytes_that_are_no_text_in_any_encoding():
    assert propose_encodings(b"a,\x81\x8d\x90\x9d\x01,b", 2) == []


# Compression


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(lambda data: SKIPPED + zstd.compress(data), id="a skippable frame first, as pzstd writes it"),
        pytest.param(
            lambda data: SKIPPED + zstd.compress(data[:20]) + SKIPPED + zstd.compress(data[20:]),
            id="one before each part",
        ),
        pytest.param(lambda data: zstd.compress(data) + SKIPPED, id="one at the end"),
        pytest.param(zstd.compress, id="none"),
        pytest.param(gzip.compress, id="gzip"),
    ],
)
def test_compressed(tmp_path, packed):
    data = f"phone,name\n{A},Ann\n{B},Bob\n".encode()
    assert rows(read(tmp_path, packed(data), "people.csv.zst")) == [(2, A, "Ann"), (3, B, "Bob")]


SKIPPED = struct.pack("<II", 0x184D2A50, 4) + b"size"


def test_a_file_of_nothing_but_a_skippable_frame(tmp_path):
    with pytest.raises(RecipientsError, match=r"there are no recipients|ends in the middle|cannot be unpacked"):
        read(tmp_path, SKIPPED, "people.csv.zst")
