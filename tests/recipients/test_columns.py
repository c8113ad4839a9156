"""Files as people have them: read right, or refused with one message that says where and what to do."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import hashlib
import io
import os
import sys
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
import xlsxwriter
from hypothesis import example, given
from hypothesis import strategies as st

from sender.campaign.load import load_campaign
from sender.core.errors import RecipientsError
from sender.recipients import readers
from sender.recipients.columns import Recipients, _identifier, _template_names, load_recipients
from sender.recipients.readers import delimited
from sender.recipients.readers.source import FileSource, TextStream

A, B, C = "+12025550101", "+12025550102", "+12025550103"


def read(tmp_path: Path, content: str | bytes, file: str = "people.csv", **spec) -> Recipients:
    (tmp_path / file).write_bytes(content.encode() if isinstance(content, str) else content)
    return load_recipients(
        load_campaign(name="t", provider="sandbox", recipients={"file": file, **spec}, base=tmp_path)
    )


def rows(recipients: Recipients) -> list[tuple]:
    """Row number first, then the cells."""
    return [(number, *cells) for number, cells in zip(recipients.row_numbers, recipients.cells.rows(), strict=True)]


def workbook(*sheets: tuple[str, list[list]], date: str = "yyyy-mm-dd") -> bytes:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True, "default_date_format": date}) as book:
        for name, grid in sheets:
            sheet = book.add_worksheet(name)
            for r, row in enumerate(grid):
                for c, cell in enumerate(row):
                    if cell is not None:
                        sheet.write(r, c, cell)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(f"phone,name\n{A},Ann\n", [(2, A, "Ann")], id="plain"),
        pytest.param(f"phone,name\n{A},Ann", [(2, A, "Ann")], id="no last line end"),
        pytest.param(f"phone,name\r\n{A},Ann\r\n", [(2, A, "Ann")], id="CRLF"),
        pytest.param(f"phone,name\r{A},Ann\r{B},Bob", [(2, A, "Ann"), (3, B, "Bob")], id="CR only"),
        pytest.param(f"\ufeffphone,name\n{A},Ann\n", [(2, A, "Ann")], id="UTF-8 with mark"),
        pytest.param(f"phone,name\n{A},Zoë\n".encode("utf-16"), [(2, A, "Zoë")], id="UTF-16 with mark"),
        pytest.param(b"\xfe\xff" + f"phone,name\n{A},Zoë".encode("utf-16-be"), [(2, A, "Zoë")], id="UTF-16 BE"),
        pytest.param(f"phone,name\n{A},Zoë\n".encode("utf-32"), [(2, A, "Zoë")], id="UTF-32 with mark"),
        pytest.param(f"phone;name\n{A};Ann, the 1st\n", [(2, A, "Ann, the 1st")], id="semicolons"),
        pytest.param(f"phone\tname\n{A}\tAnn; x\n", [(2, A, "Ann; x")], id="tabs"),
        pytest.param(f"phone|name\n{A}|Ann\n", [(2, A, "Ann")], id="pipes"),
        pytest.param(f"sep=;\nphone;name\n{A};a,b\n", [(2, A, "a,b")], id="sep= line is no row"),
        pytest.param(f'"sep=|"\r\nphone|name\r\n{A}|a,b\r\n', [(2, A, "a,b")], id="sep= line in quotes"),
        pytest.param(f"phone\n{A}\n{B}\n", [(2, A), (3, B)], id="one column"),
        pytest.param(f'phone,"na,me"\n{A},"Ann ""A"""\n', [(2, A, 'Ann "A"')], id="quotes"),
        pytest.param(
            f'phone,note\n{A},"one\ntwo\n\nfour"\n{B},x\n',
            [(2, A, "one\ntwo\n\nfour"), (3, B, "x")],
            id="a quoted line break is no new row",
        ),
        pytest.param(f'phone,note\r\n{A},"one\r\ntwo"\r\n', [(2, A, "one\r\ntwo")], id="a quoted CRLF stays"),
        pytest.param(f"phone,name\n{A},Ann\n\n,\n  \n{B},Bob\n\n", [(2, A, "Ann"), (6, B, "Bob")], id="blank rows"),
        pytest.param(f"\n\nphone,name\n{A},Ann\n", [(4, A, "Ann")], id="blank lines above the header"),
        pytest.param(f'phone,size\n{A},5" pipe\n', [(2, A, '5" pipe')], id="a quote inside a cell without quotes"),
        pytest.param(
            f'phone, size\n{A}, "x, y"\n{B}, z\n', [(2, A, "x, y"), (3, B, "z")], id="a blank before a quoted cell"
        ),
        pytest.param(
            f'phone,size\n{A}, 5" pipe\n', [(2, A, ' 5" pipe')], id="a blank before a cell with a quote inside"
        ),
        pytest.param(
            f'phone,size\n{A},"a, ""b"", c"\n{B}, x\n',
            [(2, A, 'a, "b", c'), (3, B, " x")],
            id="quotes in a quoted cell",
        ),
        pytest.param(f'phone,a\n{A},""\n', [(2, A, "")], id="empty quotes"),
        pytest.param(f'phone,a\n{A},\x02"\n', [(2, A, '\x02"')], id="control characters"),
        pytest.param(f"phone,a\n{A},x\u2028y\x0bz\n", [(2, A, "x\u2028y\x0bz")], id="other line separators are text"),
        pytest.param(
            "phone,a,b,c,d,e\n007,1e5,12345678901234567890,1.50,2024-01-15,NULL\n",
            [(2, "007", "1e5", "12345678901234567890", "1.50", "2024-01-15", "NULL")],
            id="cells stay as written",
        ),
        pytest.param("phone,a,b\n =1+1 ,true,nan\n", [(2, " =1+1 ", "true", "nan")], id="nothing is interpreted"),
        pytest.param(f"phone,name,,\n{A},Ann,,\n", [(2, A, "Ann")], id="columns without name and content"),
    ],
)
def test_delimited(tmp_path, content, expected):
    assert rows(read(tmp_path, content)) == expected


@pytest.mark.parametrize(
    ("content", "blank"),
    [(f"phone,a\n{A},\n", 0), (f"phone,a\n\n{A},\n,\n  ,\n\n", 4), (f"\n\nphone,a\n{A},\n", 0)],
    ids=["none", "four", "above the header is none"],
)
def test_blank_rows_are_counted(tmp_path, content, blank):
    assert read(tmp_path, content).blank_rows == blank


def test_options(tmp_path):
    assert rows(read(tmp_path, "phone,name\n1,Zoë\n".encode("cp1252"), encoding="cp1252")) == [(2, "1", "Zoë")]
    assert rows(read(tmp_path, "phone,name\n1,Zoë\n".encode("utf-16-le"), encoding="utf-16-le")) == [(2, "1", "Zoë")]
    assert rows(read(tmp_path, "phone#a,b\n1#2,3\n", separator="#")) == [(2, "1", "2,3")]
    assert rows(read(tmp_path, "phone;x,y\n1;2,3\n", separator=",", phone_column="phone;x")) == [(2, "1;2", "3")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param("", ["nothing"], id="empty"),
        pytest.param(" \n\n", ["nothing"], id="white space"),
        pytest.param("phone,name\n", ["a header but no rows"], id="header only"),
        pytest.param("phone,name\n,\n\n", ["only blank rows"], id="blank rows only"),
        pytest.param(
            f"phone,name\n{A},Ann\n{B},Bob,x\n", ["line 3", "3 cells where the first row has 2"], id="too long"
        ),
        pytest.param(f"phone,name\n{A},Ann\n{B}\n", ["line 3", "1 cell where the first row has 2"], id="too short"),
        pytest.param(f'phone,name\n{A},"a\nb\nc"\n{B}\n', ["line 5"], id="line as an editor counts"),
        pytest.param(
            f'phone,name\n{A},"a\nb"\n{B}\n{A},"x\ny"\n\n{B},x,y\n{B}\n{B},c\n',
            ["line 4", "1 cell", "more ragged rows in lines 8, 9\n"],
            id="all ragged rows",
        ),
        pytest.param(
            "phone,name\n" + f"{A}\n" * 30,
            ["line 2", "in lines 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, ...\n"],
            id="many ragged rows",
        ),
        pytest.param(f"sep=;\n\nphone;name\n{A}\n", ["line 4"], id="sep= and blank lines count for an editor"),
        pytest.param(f"Customers 2024\nphone,name\n{A},Ann\n", ["line 2", "header must be the first"], id="title row"),
        pytest.param(f'phone,name\n{A},"Ann\n{B},Bob\n', ["line 2", "never closed"], id="unclosed quote"),
        pytest.param(f'phone,name\n{A},"An"n\n', ["line 2", "broken quotes"], id="text after a quote"),
        pytest.param(f'phone,name\n{A},"{"x" * 140_000}\n', ["line 2", "never closed"], id="unclosed and long"),
        pytest.param(f"phone,name\n{A},A\0nn\n", ["line 2", "NUL"], id="NUL"),
        pytest.param("phone,name\n1,x\n".encode("utf-16-le"), ["NUL", "utf-16-le"], id="UTF-16 without mark"),
        pytest.param(b"phone,name\n1,Ann\n2,Zo\xeb\n", ["line 3", "0xEB", "recipients.encoding: cp1252"], id="cp1252"),
        pytest.param(b"\xff\xfep\x00h\x00o", ["UTF-16"], id="half a UTF-16 character"),
        pytest.param("<html><table>", ["web page"], id="HTML"),
        pytest.param(gzip.compress(gzip.compress(b"phone\n1\n")), ["gzip", "inside", "unpack"], id="gzip twice"),
        pytest.param(b"%PDF-1.7", ["PDF"], id="PDF"),
        pytest.param(b"PK\x03\x04junk", ["workbook"], id="a zip that is no workbook"),
        pytest.param(b"PAR1junkPAR1", ["Parquet"], id="damaged Parquet"),
        pytest.param(f"phone,mobile\n{A},{B}\n", ["`phone`, `mobile`", "recipients.phone_column"], id="two candidates"),
        pytest.param(f"phone,Phone\n{A},{B}\n", ["`phone`, `Phone`"], id="two that differ in case"),
        pytest.param(f"phone,phone\n{A},{B}\n", ["`phone`, `phone (2)`"], id="the same header twice"),
        pytest.param(f"name,fone\nAnn,{A}\n", ["no column", "recipients.phone_column", "`name`, `fone`"], id="none"),
        pytest.param(f"{A},Ann\n{B},Bob\n", ["header row"], id="no header row"),
        pytest.param(f"phone,text,message\n{A},a,b\n", ["`text`, `message`", "message.body"], id="two bodies"),
        pytest.param(f"phone,media_url,Media URLs\n{A},a,b\n", ["message.media"], id="two media"),
        pytest.param(f"phone,From,from\n{A},a,b\n", ["`From`, `from`"], id="two senders"),
    ],
)
def test_refused(tmp_path, content, says):
    with pytest.raises(RecipientsError) as caught:
        read(tmp_path, content)
    for part in ["people.csv", *says]:
        assert part in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        pytest.param(
            {"phone_column": "fone"}, ["recipients.phone_column", "`fone`", "did you mean `phone`"], id="phone"
        ),
        pytest.param({"phone_column": "zip"}, ["headers here: `phone`, `Name`"], id="nothing like it"),
        pytest.param({"region_column": "land"}, ["recipients.region_column"], id="region"),
        pytest.param({"columns": {"n": "Nme"}}, ["recipients.columns.n", "did you mean `Name`"], id="columns"),
        pytest.param({"columns": {"a b": "Name"}}, ["`a b` cannot be a name"], id="no name"),
        pytest.param({"columns": {"row": "Name"}}, ["`row` cannot be a name"], id="our name"),
        pytest.param({"encoding": "utf-99"}, ["there is no encoding `utf-99`"], id="encoding"),
        pytest.param({"encoding": "rot13"}, ["there is no encoding `rot13`"], id="no text encoding"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, spec, says):
    with pytest.raises(RecipientsError) as caught:
        read(tmp_path, f"phone,Name\n{A},Ann\n", **spec)
    for part in says:
        assert part in str(caught.value)


def test_a_file_that_cannot_be_opened(tmp_path):
    (tmp_path / "people.csv").write_text("phone\n1\n")
    (tmp_path / "folder").mkdir()

    def opened(file: str) -> None:
        load_recipients(load_campaign(name="t", provider="sandbox", recipients=file, base=tmp_path))

    with pytest.raises(RecipientsError, match=r"(?s)no such file.*did you mean `people\.csv`"):
        opened("peopel.csv")
    with pytest.raises(RecipientsError, match=r"(?s)no such file.*relative paths"):
        opened("nowhere/x.csv")
    with pytest.raises(RecipientsError, match="is a folder"):
        opened("folder")


@pytest.mark.skipif(
    sys.platform == "win32" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything"
)
def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("phone\n1\n")
    path.chmod(0)
    with pytest.raises(RecipientsError, match=r"(?s)cannot be read.*may read"):
        load_recipients(load_campaign(name="t", provider="sandbox", recipients="people.csv", base=tmp_path))


@pytest.mark.parametrize(
    "header",
    ["to", "TO", "phone", "Phone", "PHONE NUMBER", "phone_number", "Phone-Number", "mobile", "Mobile\nNumber", "cell",
     "Cell Phone", "MSISDN", "number", "tel", " Tel ", "telephone"],
)  # fmt: skip
def test_headers_of_the_number(tmp_path, header):
    recipients = read(tmp_path, f'name,"{header}",zip\nAnn,{A},1\n')
    assert recipients.phones == (header,)
    assert recipients.cells.columns == ["name", header, "zip"]


def test_headers_of_everything_else(tmp_path):
    recipients = read(tmp_path, f"To,Message,Media URL,FROM,Country\n{A},hi,https://x.example/a.png,12345,US\n")
    assert (recipients.body, recipients.media, recipients.sender, recipients.countries.headers) == (
        "Message",
        "Media URL",
        "FROM",
        ("Country",),
    )
    recipients = read(tmp_path, f"to,Land,country\n{A},DE,US\n", region_column="land")
    assert (recipients.body, recipients.media, recipients.sender) == (None, None, None)
    assert (recipients.countries.headers, recipients.countries.chosen) == (("Land",), True)


def test_what_the_campaign_has_settled_is_no_longer_ambiguous(tmp_path):
    (tmp_path / "p.csv").write_text(f"phone,mobile,text,message,media_url,mediaurls,from,From\n{A},1,2,3,4,5,6,7\n")
    campaign = load_campaign(
        name="t",
        provider="sandbox",
        from_=A,
        message={"body": "hi", "media": ["https://x.example/a.png"]},
        recipients={"file": "p.csv", "phone_column": "PHONE"},
        base=tmp_path,
    )
    recipients = load_recipients(campaign)
    assert (recipients.phones, recipients.body, recipients.media, recipients.sender) == (("phone",), None, None, None)


@pytest.mark.parametrize(
    ("headers", "columns", "expected"),
    [
        pytest.param(["First Name"], {}, {"first_name": "First Name"}, id="made"),
        pytest.param(["first_name"], {}, {"first_name": "first_name"}, id="a name already"),
        pytest.param(["Name"], {}, {"Name": "Name", "name": "Name"}, id="both spellings"),
        pytest.param(["  Order-No. "], {}, {"order_no": "  Order-No. "}, id="edges"),
        pytest.param(["Prénom d'usage"], {}, {"prénom_d_usage": "Prénom d'usage"}, id="other letters"),
        pytest.param(["名前"], {}, {"名前": "名前"}, id="another script"),
        pytest.param(["1st"], {}, {}, id="a digit first"),
        pytest.param(["??"], {}, {}, id="nothing left"),
        pytest.param(["if", "None", "loop", "row"], {}, {}, id="words of jinja2 and ours"),
        pytest.param(["First Name", "first-name"], {}, {}, id="two that make one name have neither"),
        pytest.param(["First Name", "first_name"], {}, {"first_name": "first_name"}, id="the exact one wins"),
        pytest.param(["Name", "NAME"], {}, {"Name": "Name", "NAME": "NAME"}, id="case alone"),
        pytest.param(["a", "a"], {}, {"a": "a", "a_2": "a (2)"}, id="repeated"),
        pytest.param(
            ["Given"], {"first_name": "given"}, {"Given": "Given", "given": "Given", "first_name": "Given"}, id="chosen"
        ),
        pytest.param(
            ["name", "Given"],
            {"name": "Given"},
            {"name": "Given", "Given": "Given", "given": "Given"},
            id="chosen wins",
        ),
    ],
)
def test_names(tmp_path, headers, columns, expected):
    buffer = io.StringIO()
    csv.writer(buffer).writerows([["phone", *headers], [A] * (len(headers) + 1)])
    names = dict(read(tmp_path, buffer.getvalue(), columns=columns).names)
    assert names.pop("phone") == "phone"
    assert names == expected


def test_a_column_called_row_number_is_a_column(tmp_path):
    recipients = read(tmp_path, f"row_number,phone\n77,{A}\n")
    assert rows(recipients) == [(2, "77", A)]
    assert recipients.row_numbers.dtype == pl.UInt32


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param(["a", "a", "a"], ["a", "a (2)", "a (3)"], id="three"),
        pytest.param(["a", "a (2)", "a"], ["a", "a (2)", "a (3)"], id="a name that is taken"),
        pytest.param(["a", "a", "a (2)"], ["a", "a (3)", "a (2)"], id="taken later"),
        pytest.param(["", "x", " "], ["column 1", "x", "column 3"], id="without a name"),
    ],
)
def test_headers_are_made_distinct(tmp_path, headers, expected):
    recipients = read(tmp_path, ",".join(["phone", *headers]) + "\n" + ",".join([A, *"123"[: len(headers)]]) + "\n")
    if headers[0] == "":
        expected = ["column 2", "x", "column 4"]
    assert recipients.cells.columns == ["phone", *expected]


def test_workbook(tmp_path):
    grid = [
        ["Phone", "Name", "When", "Paid", "Sum", "Note"],
        [12025550101, "Ann", dt.date(2024, 1, 15), True, 1.5, None],
        [],
        ["007", "Bob", dt.datetime(2024, 1, 15, 10, 30), False, 3.0, "x\ny"],
    ]
    data = workbook(("People", grid), date="yyyy-mm-dd hh:mm")
    recipients = read(tmp_path, data, "people.xlsx")
    assert rows(recipients) == [
        (2, "12025550101", "Ann", "2024-01-15", "true", "1.5", ""),
        (4, "007", "Bob", "2024-01-15 10:30:00", "false", "3", "x\ny"),
    ]
    assert recipients.blank_rows == 1
    assert rows(read(tmp_path, data, "people.csv")) == rows(recipients), "known by content, not by name"


def test_workbook_sheets(tmp_path):
    data = workbook(("Notes", [["hello"], ["you"]]), ("People", [[], [None, "Phone"], [None, A]]), ("Empty", []))
    assert rows(read(tmp_path, data, "p.xlsx", sheet="People")) == [(3, A)]
    with pytest.raises(
        RecipientsError, match=r"`hello`; or choose another sheet with `recipients.sheet` \(--sheet\): `People`$"
    ):
        read(tmp_path, data, "p.xlsx")
    with pytest.raises(RecipientsError, match=r"(?s)no sheet `Peeple`.*did you mean `People`.*Notes, People, Empty"):
        read(tmp_path, data, "p.xlsx", sheet="Peeple")
    with pytest.raises(RecipientsError, match="no recipients"):
        read(tmp_path, data, "p.xlsx", sheet="Empty")


def test_a_workbook_is_read_from_the_first_sheet_that_a_person_sees(tmp_path):
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True}) as book:
        for name, cell in (("Lists", B), ("People", A), ("Old", B), ("Empty", None)):
            sheet = book.add_worksheet(name)
            if cell is not None:
                sheet.write_column(0, 0, ["Phone", cell])
            if name == "Lists":
                sheet.hide()
            elif name == "People":
                sheet.activate()
                sheet.set_first_sheet()
        book.add_chartsheet("Chart")
    shown = read(tmp_path, buffer.getvalue(), "p.xlsx")
    assert rows(shown) == [(2, A)]
    assert shown.notes == (
        "the workbook's sheets `Lists`, `Old` are not read; choose one with `recipients.sheet` (--sheet)",
    )
    chosen = read(tmp_path, buffer.getvalue(), "p.xlsx", sheet="Lists")
    assert (rows(chosen), chosen.notes) == ([(2, B)], ())


def test_json_lines(tmp_path):
    lines = [
        '{"phone": "+12025550101", "n": 1e5, "id": 12345678901234567890, "f": 1.50, "b": true, "x": null}',
        "",
        '{"n": 7, "phone": 12025550102, "tags": ["a", "b"], "deep": {"k": 1}, "f": NaN}',
        '{"phone": ""}',
        "",
    ]
    recipients = read(tmp_path, "\n".join(lines), "people.jsonl")
    assert recipients.cells.columns == ["phone", "n", "id", "f", "b", "x", "tags", "deep"]
    assert rows(recipients) == [
        (1, A, "1e5", "12345678901234567890", "1.50", "true", "", "", ""),
        (3, "12025550102", "7", "", "", "", "", "a b", '{"k": "1"}'),
    ]
    assert recipients.blank_rows == 2
    assert recipients.nested_cells.to_dict(as_series=False) == {
        "tags": [None, '["a", "b"]'],
        "deep": [None, '{"k": "1"}'],
    }


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param('{"phone": "1"}\n{"phone": }\n', ["line 2", "not JSON"], id="broken"),
        pytest.param('{"phone": "1"}\n["1"]\n', ["line 2", "not a JSON object"], id="no object"),
        pytest.param('{"phone": "1", "phone": "2"}\n', ["line 1", "repeated"], id="a key twice"),
        pytest.param("[" * 100_000, ["line 1", "not JSON"], id="deep"),
        pytest.param("", ["no recipients"], id="empty"),
    ],
)
def test_json_lines_refused(tmp_path, content, says):
    with pytest.raises(RecipientsError) as caught:
        read(tmp_path, content, "people.ndjson")
    for part in says:
        assert part in str(caught.value)


def test_yaml(tmp_path):
    recipients = read(
        tmp_path,
        f"- phone: {A}\n  zip: 01234\n  ok: NO\n- {{phone: 015123456712, tags: [a, b]}}\n- {{phone: ~}}\n",
        "p.yaml",
    )
    assert rows(recipients) == [(1, A, "01234", "NO", ""), (2, "015123456712", "", "", "a b")]
    assert recipients.blank_rows == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param("phone: 1\n", ["not a list of rows"], id="mapping"),
        pytest.param("- phone: 1\n- x\n", ["line 2", "item 2"], id="item that is no mapping"),
        pytest.param("- phone: 1\n  phone: 2\n", ["line 2", "twice"], id="a key twice"),
        pytest.param("- [", ["line"], id="broken"),
        pytest.param("", ["no recipients"], id="empty"),
    ],
)
def test_yaml_refused(tmp_path, content, says):
    with pytest.raises(RecipientsError) as caught:
        read(tmp_path, content, "people.yml")
    for part in says:
        assert part in str(caught.value)


TYPED = pl.DataFrame(
    {
        "phone": [12025550101, None],
        "float": [12025550102.0, float("nan")],
        "part": [0.1, -2.5],
        "flag": [True, None],
        "day": [dt.date(2024, 1, 15), None],
        "at": [dt.datetime(2024, 1, 15, 10, 30), dt.datetime(2024, 1, 15, 10, 30, 0, 250_000)],
        "media": [["https://x.example/1", "https://x.example/2"], []],
        "deep": [{"k": 1}, {"k": None}],
        "raw": [b"abc", b"\xff"],
        "kind": pl.Series(["a", "b"], dtype=pl.Categorical),
        "none": [None, None],
    }
)
TYPED_ROWS = [
    (1, "12025550101", "12025550102", "0.1", "true", "2024-01-15", "2024-01-15 10:30:00",
     "https://x.example/1 https://x.example/2", '{"k": 1}', "abc", "a", ""),
    (2, "", "", "-2.5", "", "", "2024-01-15 10:30:00.250000", "", '{"k": null}', "\ufffd", "b", ""),
]  # fmt: skip


def test_parquet(tmp_path):
    buffer = io.BytesIO()
    TYPED.write_parquet(buffer)
    assert rows(read(tmp_path, buffer.getvalue(), "people.parquet")) == TYPED_ROWS
    assert rows(read(tmp_path, buffer.getvalue(), "people.csv")) == TYPED_ROWS, "known by content, not by name"


def test_polars_frame():
    recipients = load_recipients(load_campaign(name="t", provider="sandbox", recipients=TYPED))
    assert rows(recipients) == TYPED_ROWS
    assert [(one.role, one.path) for one in recipients.inputs] == [("recipients", "(frame)")]
    assert readers.table_of_frame(TYPED.lazy()).cells.equals(recipients.cells)


def test_pandas_frame():
    frame = pd.DataFrame(
        {
            "phone": [12025550101, None, 12025550103],  # a missing value makes floats of them
            "name": ["Ann", None, float("nan")],
            "day": [pd.Timestamp("2024-01-15 10:30"), pd.NaT, pd.NaT],
            "n": pd.array([1, None, 2], dtype="Int64"),
            5: ["x", "", "y"],
        },
        index=[9, 8, 7],
    )
    recipients = load_recipients(load_campaign(name="t", provider="sandbox", recipients=frame))
    assert recipients.cells.columns == ["phone", "name", "day", "n", "5"]
    assert rows(recipients) == [
        (1, "12025550101", "Ann", "2024-01-15 10:30:00", "1", "x"),
        (3, "12025550103", "", "", "2", "y"),
    ]
    assert recipients.blank_rows == 1


def test_rows_in_place():
    given_rows = [{"phone": 12025550101, "name": "Ann"}, {}, {"phone": B, "vip": True, "day": dt.date(2024, 1, 15)}]
    recipients = load_recipients(load_campaign(name="t", provider="sandbox", recipients=given_rows))
    assert rows(recipients) == [(1, "12025550101", "Ann", "", ""), (3, B, "", "true", "2024-01-15")]
    assert (recipients.blank_rows, [one.path for one in recipients.inputs]) == (1, ["(inline rows)"])
    with pytest.raises(RecipientsError, match="no recipients"):
        load_recipients(load_campaign(name="t", provider="sandbox", recipients=[{"phone": ""}]))


def test_inputs(tmp_path):
    content = f"phone\n{A}\n".encode()
    (given_file,) = read(tmp_path, content).inputs
    assert given_file.role == "recipients"
    assert given_file.path == "people.csv"
    assert (given_file.bytes, given_file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    campaign = load_campaign(name="t", provider="sandbox", recipients=str(tmp_path / "people.csv"), base=tmp_path)
    assert load_recipients(campaign).inputs[0].path == "people.csv", "absolute, but inside the campaign's folder"
    campaign = load_campaign(name="t", provider="sandbox", recipients=str(tmp_path / "people.csv"), base=tmp_path / "x")
    assert load_recipients(campaign).inputs[0].path == (tmp_path / "people.csv").as_posix()


RAW = st.text(st.sampled_from('ab,,""\n\n\r\x02 ;'), min_size=1, max_size=30)


@given(RAW.filter(lambda text: text.strip() != "" and not text.startswith(("\n", "\r"))))
@example('a,"b"\n"c"\n')
@example("a,b\nc\nd,e,f\n")
@example("a,b\r\nc,d,e\r\nf\r\n")
@example("a,b\n\nc,d,e")
def test_the_quick_way_never_differs_from_the_strict_one(text):
    """Any text: the quick way gives what the strict one gives, or nothing."""
    quick = delimited._read_quickly(text, ",")
    if quick is not None:
        stream = TextStream(FileSource(text.encode(), where="x"), None)
        strict, lines = delimited._StrictReader(stream, ",", "x", spaced=False).read(0, None, 0)
        assert quick.fill_null("").rows() == strict.rows()
        assert lines == len(text.splitlines()) or "\r" in text or '"' in text


@given(st.binary(max_size=200), st.sampled_from(["x.csv", "x.jsonl", "x.yaml", "x.xlsx", "x.parquet"]),
       st.sampled_from([b"", b"PK\x03\x04", b"PAR1", b"\xff\xfe", b"\xef\xbb\xbf", b'phone,"', b"- "]))  # fmt: skip
def test_any_bytes_are_read_or_refused(data, where, start):
    try:
        table = readers.read_table(start + data, where=where)
    except RecipientsError:
        return
    assert table.cells.height == len(table.row_numbers)
    assert not any(column.null_count() for column in table.cells)


@given(st.lists(st.sampled_from(["Name", "name ", "a", "A b", "a-B", "a_b", "", "1", "if", "é", "a (2)"]), max_size=6))
def test_header_mapping_is_never_ambiguous(headers):
    """Columns keep their order and stay apart; a name leads to the header spelled so, or to the only one that makes it."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows([["phone", *headers], ["1"] * (len(headers) + 1)])
    columns = readers.read_table(buffer.getvalue().encode(), where="x.csv").cells.columns
    assert len(set(columns)) == len(headers) + 1
    for header, column in zip(headers, columns[1:], strict=True):
        assert column.startswith(header or "column ")
    for name, header in _template_names(columns, {}, "x").items():
        assert name.isidentifier()
        assert header == name or (name not in columns and [_identifier(one) for one in columns].count(name) == 1)
