"""What real lists do to a sender, a row for each trap: read right, or refused with one message that says where.

The traps and the rules are those the project set out with; `test_recipients.py` and `test_tables.py` go into each kind
of file.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
import xlsxwriter
from backports import zstd

from sender import build_plan, load_campaign
from sender.core.errors import RecipientsError, TemplateError
from sender.plan.plan import Plan
from sender.recipients.columns import load_recipients
from sender.recipients.readers.read import read_table

A, B, C = "+12025550101", "+12025550102", "+12025550103"


def workbook(*rows: list[str]) -> bytes:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)
    return buffer.getvalue()


def archive(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, content)
    return buffer.getvalue()


def parquet(**columns: list[object]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    return buffer.getvalue()


PLAIN = f"phone,name\n{A},Zoë\n"
ZOE = [(2, A, "Zoë")]

# What stands in the file, under which name, read how; and the rows with their numbers.
READ = [
    pytest.param(b"\xef\xbb\xbf" + PLAIN.encode(), "p.csv", {}, ZOE, id="byte order mark"),
    pytest.param(PLAIN.encode("utf-16"), "p.csv", {}, ZOE, id="UTF-16 from a spreadsheet"),
    pytest.param(PLAIN.replace(",", "\t").encode("utf-16"), "p.txt", {}, ZOE, id="Unicode text: UTF-16 with tabs"),
    pytest.param(b"\xfe\xff" + PLAIN.encode("utf-16-be"), "p.csv", {}, ZOE, id="UTF-16, big end first"),
    pytest.param(PLAIN.encode("utf-16-le"), "p.csv", {"encoding": "utf-16-le"}, ZOE, id="UTF-16 without a mark, told"),
    pytest.param(PLAIN.encode("utf-16"), "p.csv", {"encoding": "utf-16-le"}, ZOE, id="told, and with a mark"),
    pytest.param(PLAIN.encode("cp1252"), "p.csv", {"encoding": "cp1252"}, ZOE, id="cp1252, told"),
    pytest.param(PLAIN.replace(",", ";").encode(), "p.csv", {}, ZOE, id="semicolons"),
    pytest.param(PLAIN.replace(",", "\t").encode(), "p.csv", {}, ZOE, id="tabs"),
    pytest.param(PLAIN.replace(",", "|").encode(), "p.csv", {}, ZOE, id="pipes"),
    pytest.param(f"sep=;\nphone;name\n{A};a,b\n".encode(), "p.csv", {}, [(2, A, "a,b")], id="sep= line"),
    pytest.param(f"SEP=\t\r\nphone\tname\r\n{A}\ta\r\n".encode(), "p.csv", {}, [(2, A, "a")], id="sep= with a tab"),
    pytest.param(
        f'phone,name\n{A},"Zo\n\në"\n{B},x\n'.encode(), "p.csv", {}, [(2, A, "Zo\n\në"), (3, B, "x")], id="quoted newlines"
    ),
    pytest.param(f"phone,name\r{A},a\r{B},b".encode(), "p.csv", {}, [(2, A, "a"), (3, B, "b")], id="CR-only lines"),
    pytest.param(f"phone,name\n\n{A},a\n,\n \t,\n{B},b\n\n".encode(), "p.csv", {}, [(3, A, "a"), (6, B, "b")], id="blank rows"),
    pytest.param(
        f"phone,name\n\n\n;\n{A},a\n,,,,\n".encode(), "p.csv", {"separator": ","}, "line 4", id="a row of another shape is not blank"
    ),
    pytest.param(f"phone,name,name\n{A},a,b\n".encode(), "p.csv", {}, [(2, A, "a", "b")], id="duplicate headers"),
    pytest.param(f"phone,name,,\n{A},a,,x\n".encode(), "p.csv", {}, [(2, A, "a", "x")], id="columns without a header"),
    pytest.param(f" PHONE Number ,name\n{A},a\n".encode(), "p.csv", {}, [(2, A, "a")], id="header with case and spaces"),
    pytest.param(f'"Phone\nNumber",name\n{A},a\n'.encode(), "p.csv", {}, [(2, A, "a")], id="header with a newline"),
    pytest.param(f"電話,名前\n{A},a\n".encode(), "p.csv", {"phone_column": "電話"}, [(2, A, "a")], id="headers of another script"),
    pytest.param(workbook(["phone", "name"], [A, "a"]), "p.csv", {}, [(2, A, "a")], id="workbook named .csv"),
    pytest.param(workbook(["phone", "name"], [A, "a"]), "p", {}, [(2, A, "a")], id="workbook without a suffix"),
    pytest.param(parquet(phone=[A], name=["a"]), "p.csv", {}, [(1, A, "a")], id="Parquet named .csv"),
    pytest.param(gzip.compress(PLAIN.encode()), "p.csv.gz", {}, ZOE, id="gzip"),
    pytest.param(gzip.compress(PLAIN.encode("utf-16")), "p.csv", {}, ZOE, id="gzip named .csv, UTF-16"),
    pytest.param(zstd.compress(PLAIN.encode()), "p.csv.zst", {}, ZOE, id="zstd"),
    pytest.param(gzip.compress(f'{{"phone": "{A}", "name": "a"}}'.encode()), "p.jsonl.gz", {}, [(1, A, "a")], id="JSON lines in gzip"),
    pytest.param(
        "phone,a,b,c,d,e\n007,1e5,12345678901234567890,1.50,2024-01-15,1,5\n".replace("1,5", '"1,5"').encode(),
        "p.csv", {}, [(2, "007", "1e5", "12345678901234567890", "1.50", "2024-01-15", "1,5")], id="cells stay as written",
    ),
    pytest.param(
        f"phone,a,b,c\n{A},=1+1,@SUM(A1),|calc\n".encode(), "p.csv", {"separator": ","}, [(2, A, "=1+1", "@SUM(A1)", "|calc")], id="formulas are text"
    ),
    pytest.param(b"- {phone: 015123456712, name: NO}\n- {phone: +12025550101, name: 1_000}\n", "p.yaml", {}, [(1, "015123456712", "NO"), (2, A, "1_000")], id="YAML scalars are text"),
]  # fmt: skip

# What stands in the file, under which name; and what the refusal says besides the file's name.
REFUSED = [
    pytest.param(PLAIN.encode("cp1252"), "p.csv", ["line 2", "0xEB", "recipients.encoding: cp1252"], id="cp1252"),
    pytest.param(f"phone,name\n{A},x\n{B},".encode() + b"\xc3\n", "p.csv", ["line 3", "0xC3"], id="bad UTF-8"),
    pytest.param(PLAIN.encode("utf-16-le"), "p.csv", ["NUL", "utf-16-le"], id="UTF-16 without a mark"),
    pytest.param(f"phone,name\n{A},a\0b\n".encode(), "p.csv", ["line 2", "NUL"], id="NUL"),
    pytest.param(f"phone,name\n{A},a\n{B}\n".encode(), "p.csv", ["line 3", "1 cell where the first row has 2"], id="ragged: too short"),
    pytest.param(f"phone,name\n{A},a,b\n".encode(), "p.csv", ["line 2", "3 cells", "in quotes"], id="ragged: too long"),
    pytest.param(f'phone,name\n{A},"a\nb"\n,{B},x\n'.encode(), "p.csv", ["line 4", "3 cells"], id="shifted row, line as an editor counts"),
    pytest.param(f"People of 2024\nphone,name\n{A},a\n".encode(), "p.csv", ["line 2", "header must be the first row"], id="title row"),
    pytest.param(f'phone,name\n{A},"a\n{B},b\n'.encode(), "p.csv", ["line 2", "never closed"], id="unclosed quote"),
    pytest.param(f"phone,mobile\n{A},{B}\n".encode(), "p.csv", ["`phone`, `mobile`", "recipients.phone_column"], id="two phone columns"),
    pytest.param(f"phone,phone\n{A},{B}\n".encode(), "p.csv", ["`phone`, `phone (2)`", "recipients.phone_column"], id="the number's header twice"),
    pytest.param(f"contact,name\n{A},a\n".encode(), "p.csv", ["no column", "`contact`, `name`"], id="no phone column"),
    pytest.param(b"<!DOCTYPE html><table><tr><td>phone", "p.csv", ["web page", "CSV or XLSX"], id="HTML named .csv"),
    pytest.param(b"<html><table><tr><td>phone", "p.xls", ["named .xls", "web page", "save it as"], id="HTML named .xls"),
    pytest.param(PLAIN.encode(), "p.xlsx", ["named .xlsx", "not a workbook", "text, such as CSV", "name it .csv"], id="CSV named .xlsx"),
    pytest.param(PLAIN.encode(), "p.parquet", ["named .parquet", "not a Parquet file", "text, such as CSV"], id="CSV named .parquet"),
    pytest.param(b'[{"phone": "1"}]', "p.xlsx", ["not a workbook", "JSON", ".jsonl"], id="JSON named .xlsx"),
    pytest.param(b"\x00\xff\xfe\x01\x02", "p.xlsx", ["neither a workbook nor text"], id="rubbish named .xlsx"),
    pytest.param(b"", "p.xlsx", ["is empty"], id="nothing named .xlsx"),
    pytest.param(archive("people.csv", PLAIN.encode()), "p.csv", ["zip archive", "people.csv", "unpack it"], id="CSV in a zip archive"),
    pytest.param(b"BZh91AY&SY", "p.csv.bz2", ["bzip2", "unpack it"], id="bzip2"),
    pytest.param(gzip.compress(PLAIN.encode())[:-12], "p.csv.gz", ["gzip", "ends in the middle", "copy it again"], id="half a gzip file"),
    pytest.param(zstd.compress(PLAIN.encode())[:-3], "p.csv.zst", ["zstd", "ends in the middle"], id="half a zstd file"),
    pytest.param(gzip.compress(PLAIN.encode()) + b"x" * 9, "p.csv.gz", ["gzip", "cannot be unpacked"], id="rubbish behind gzip"),
    pytest.param(lambda: gzip.compress(b"phone\n" + b"+12025550101\n" * 6_000_000), "p.csv.gz", ["200 times its size", "unpack it"], id="decompression bomb"),
    pytest.param(gzip.compress(zstd.compress(PLAIN.encode())), "p.csv.gz", ["inside another"], id="packed twice"),
]  # fmt: skip


def write(folder: Path, name: str, content: bytes | Callable[[], bytes], **spec: object) -> dict[str, object]:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content())
    return {"file": name, **spec}


@pytest.mark.parametrize(("content", "name", "spec", "expected"), READ)
def test_read_right(tmp_path, content, name, spec, expected):
    campaign = load_campaign(
        name="t", provider="sandbox", recipients=write(tmp_path, name, content, **spec), base=tmp_path
    )
    if isinstance(expected, str):
        with pytest.raises(RecipientsError, match=expected):
            load_recipients(campaign)
        return
    people = load_recipients(campaign)
    assert [(number, *cells) for number, cells in zip(people.row_numbers, people.cells.rows(), strict=True)] == expected
    assert people.inputs[0].bytes == len(content)


@pytest.mark.parametrize(("content", "name", "says"), REFUSED)
def test_refused_with_one_message(tmp_path, content, name, says):
    """File, place, what is wrong and the way out: and nothing of the list is planned."""
    campaign = load_campaign(name="t", provider="sandbox", recipients=write(tmp_path, name, content), base=tmp_path)
    with pytest.raises(RecipientsError) as caught:
        load_recipients(campaign)
    for part in [name, *says]:
        assert part in str(caught.value)
    assert caught.value.fix


def plan(folder: Path, content: str, message: str = "Hi {{ name }}", **keys: object) -> Plan:
    spec = write(folder, "p.csv", content.encode(), default_region="US")
    given = {"name": "t", "provider": "sandbox", "from_": "+12025550100", "message": message, "recipients": spec}
    return build_plan(load_campaign(**{**given, **keys}, base=folder))


def test_every_row_is_accounted_for(tmp_path):
    """Rows read are messages, rows skipped by reason, and blank ones; a bad row stops no other."""
    made = plan(tmp_path, f"phone,name\n{A},a\n12,b\n\n{A},c\n,d\n{B},\n{C},e\n,\n").manifest
    assert (made.rows, made.messages, made.blank_rows) == (6, 2, 2)
    assert made.skipped == {"duplicate": 1, "invalid_number": 1, "missing_data": 1, "render_error": 1}
    assert made.rows == made.messages + sum(made.skipped.values())


def test_columns_are_checked_before_the_first_row(tmp_path):
    with pytest.raises(TemplateError, match=r"(?s)no column `nme`.*did you mean `name`"):
        plan(tmp_path, f"phone,name\n{A},a\n", message="Hi {{ nme }}")


@pytest.mark.parametrize(
    ("message", "body"),
    [
        pytest.param("Hi {{ name | default('there') }}!", "Hi there!", id="default acts on a blank"),
        pytest.param("Hi{% if name is defined %} {{ name }}{% endif %}!", "Hi!", id="no doubled blank"),
        pytest.param("Hi {{ name }}!", None, id="without a default it is an error of that row"),
    ],
)
def test_a_blank_cell_is_undefined(tmp_path, message, body):
    rows = plan(tmp_path, f"phone,name\n{A}, \n{B},None\n", message=message).frame
    assert rows["body"][0] == body
    assert rows["reason"][0] == (None if body else "render_error")


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NaT, "", " \u00a0"], ids=repr)
def test_nothing_in_a_frame_is_a_blank_cell(nothing):
    """It never shows as `None`, `nan` or `NaT`."""
    frame = pd.DataFrame({"phone": [A, B], "name": pd.Series(["Ann", nothing], dtype=object)})
    keys = {"name": "t", "provider": "sandbox", "from_": "+12025550100", "recipients": frame}
    made = build_plan(load_campaign(**keys, message="Hi {{ name | default('there') }}"))
    assert made.frame["body"].to_list() == ["Hi Ann", "Hi there"]


@pytest.mark.parametrize("cell", ["Zo\ufffd", "Zo\u00c3\u00ab", "it\u00e2\u20ac\u2122s"], ids=["U+FFFD", "UTF-8 as Latin-1", "UTF-8 as cp1252"])  # fmt: skip
def test_no_damaged_text_is_sent(tmp_path, cell):
    made = plan(tmp_path, f"phone,name\n{A},{cell}\n{B},b\n").frame
    assert made["reason"].to_list() == ["render_error", None]
    assert "damaged" in made["detail"][0]


@pytest.mark.parametrize("cell", ["{{ 7 * 7 }}", "{% raw %}", "=cmd|' /C calc'!A0", "$(reboot)", "`x`", "{# no #}"])
def test_cells_are_plain_text(tmp_path, cell):
    buffer = io.StringIO()
    csv.writer(buffer).writerows([["phone", "name"], [A, cell]])
    assert plan(tmp_path, buffer.getvalue(), message="Hi {{ name }}.").frame["body"].to_list() == [f"Hi {cell}."]


def test_numbered_headers_are_told(tmp_path):
    """A repeated header is numbered and a column without one named; neither in silence."""
    made = plan(tmp_path, f"phone,name,name,,b,b\n{A},a,x,y,z,w\n", message='{{ row["name (2)"] }}')
    assert made.frame["body"].to_list() == ["x"]
    assert made.manifest.notes == (
        "several columns are headed `name`; column 3 is called `name (2)` here",
        "several columns are headed `b`; column 6 is called `b (2)` here",
        "column 4 has no header; it is called `column 4` here",
    )


NESTED = '{"phone": "+12025550101", "x": ' + "[" * 2_000 + "]" * 2_000 + "}"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        pytest.param("list.jsonl", NESTED, "line 1: is not JSON", id="nested JSON"),
        pytest.param("list.yaml", "- {phone: " + "[" * 60 + "]" * 60 + "}", "nested deeper", id="nested YAML"),
        pytest.param("list.csv", "phone" + ",x" * 17_000, "has 17,001 columns", id="columns"),
        pytest.param(
            "list.jsonl", json.dumps({f"k{i}": "" for i in range(17_000)}), "has 17,000 columns", id="keys of a row"
        ),
        pytest.param(
            "list.jsonl", "\n".join(f'{{"k{i}": ""}}' for i in range(1_200)), "1,200 keys, and 1 of them", id="keys"
        ),
        pytest.param("list.yaml", "\n".join(f"- {{k{i}: v}}" for i in range(1_200)), "1,200 keys", id="keys in YAML"),
    ],
)
def test_what_would_cost_more_than_its_size_is_refused(name: str, text: str, says: str) -> None:
    with pytest.raises(RecipientsError) as caught:
        read_table(text.encode(), where=name)
    assert says in str(caught.value)
    assert name in str(caught.value)


def test_a_number_of_any_length_is_its_digits() -> None:
    digits = "9" * 20_000  # more than Python turns into an integer
    for name, text in (("list.jsonl", f'{{"phone": {digits}}}'), ("list.yaml", f"- {{phone: {digits}}}")):
        assert read_table(text.encode(), where=name).cells["phone"].to_list() == [digits]


def test_thousands_of_one_header_are_numbered() -> None:
    table = read_table(("x," * 3_000 + "x (2)\n" + "1," * 3_000 + "1\n").encode(), where="list.csv")
    assert table.headers[:3] == ("x", "x (3)", "x (4)")
    assert len(set(table.headers)) == 3_001


SEPARATE = "Pre\u0301nom"  # `Prénom` as macOS writes it
COMPOSED = "Pr\u00e9nom"


def separate(name: str) -> object:
    """A list with a decomposed header and a decomposed cell, of the kind that `name` says."""
    rows = [{"phone": A, SEPARATE: "Andre\u0301"}, {"phone": B, SEPARATE: "Ada"}]
    match name:
        case "csv":
            return f"phone,{SEPARATE}\n{A},Andre\u0301\n{B},Ada\n".encode()
        case "xlsx":
            return workbook(["phone", SEPARATE], [A, "Andre\u0301"], [B, "Ada"])
        case "parquet":
            return parquet(**{"phone": [A, B], SEPARATE: ["Andre\u0301", "Ada"]})
        case "jsonl":
            return "\n".join(map(json.dumps, rows)).encode()
        case "yaml":
            return f"- phone: '{A}'\n  {SEPARATE}: Andre\u0301\n- phone: '{B}'\n  {SEPARATE}: Ada\n".encode()
        case "polars":
            return pl.DataFrame(rows)
        case "pandas":
            return pd.DataFrame(rows)
    return rows


@pytest.mark.parametrize("name", ["csv", "xlsx", "parquet", "jsonl", "yaml", "polars", "pandas", "rows"])
@pytest.mark.parametrize("text", [f"Hi {{{{ {COMPOSED} }}}}", f'Hi {{{{ row["{SEPARATE}"] }}}}'])
def test_separate_accents_are_joined(name: str, text: str, tmp_path: Path) -> None:
    people = separate(name)
    if isinstance(people, bytes):
        (tmp_path / f"p.{name}").write_bytes(people)
        people = tmp_path / f"p.{name}"
    message = {"body": text, "smart_encoding": True}
    campaign = load_campaign(recipients=people, message=message, provider="sandbox", from_=C)
    plan = build_plan(campaign)
    assert plan.messages["body"].to_list() == ["Hi Andr\u00e9", "Hi Ada"]
    assert set(plan.messages["encoding"]) == {"GSM-7"}
    joined = [note for note in plan.manifest.notes if "separate accents" in note]
    in_text = [SEPARATE in text] * (SEPARATE in text)
    assert [note.split(" were ")[0].split(" was ")[0] for note in joined] == [
        *["the message"] * len(in_text),
        "1 cell and 1 header",
    ]


def test_a_header_by_its_twin(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(f"Te\u0301l,{SEPARATE}\n{A},Ada\n", encoding="utf-8")
    recipients = {
        "file": tmp_path / "p.csv",
        "phone_column": "T\u00e9l",
        "columns": {"pre\u0301nom": COMPOSED},
    }
    plan = build_plan(load_campaign(recipients=recipients, message="{{ pr\u00e9nom }}", provider="sandbox", from_=C))
    assert plan.messages["body"].to_list() == ["Ada"]


def test_twins_in_one_file_are_two_columns(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(f"phone,{COMPOSED},{SEPARATE}\n{A},Ada,Bob\n", encoding="utf-8")
    campaign = load_campaign(recipients=tmp_path / "p.csv", message="Hi", provider="sandbox", from_=C)
    assert load_recipients(campaign).headers == ("phone", COMPOSED, f"{COMPOSED} (2)")


def test_twins_in_one_row_are_refused() -> None:
    rows = [{"phone": A, COMPOSED: "Ada", SEPARATE: "Bob"}]
    with pytest.raises(RecipientsError, match="has a key twice in one row"):
        load_recipients(load_campaign(recipients=rows, message="Hi", provider="sandbox", from_=C))
