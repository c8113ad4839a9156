"""What a campaign makes of the cells of a workbook: shown, computed with, missing, hidden."""

from __future__ import annotations

import datetime as dt
import io
import re
import zipfile
from pathlib import Path

import pytest
import xlsxwriter

from sender.campaign.load import load_campaign
from sender.core.errors import HiddenRows
from sender.planning.build import build_plan
from sender.planning.explain import explain_row

CODES = ["(000) 000-0000", None, '"$"#,##0.00', "dd.mm.yyyy", "00000", "0%"]
HEADERS = ["phone", "name", "sum", "day", "zip", "share"]


def write_list(
    path: Path, *, rows: int = 4, hidden: tuple[int, ...] = (), errors: dict[str, str] | None = None
) -> None:
    """A workbook with a person a row; `errors` are by cell, such as `B3`, and an empty one is a formula."""
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, HEADERS)
        formats = [None if code is None else book.add_format({"num_format": code}) for code in CODES]
        for row in range(1, rows + 1):
            values = [2025550100 + row, f"Name {row}", 1234.5, dt.datetime(2026, 12, 1), 1067, 0.25]
            for column, (value, form) in enumerate(zip(values, formats, strict=True)):
                sheet.write(row, column, value, form)
        for row in hidden:
            sheet.set_row(row - 1, options={"hidden": True})
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w") as new:
        for part in old.namelist():
            text = old.read(part)
            if part == "xl/worksheets/sheet1.xml":
                for cell, error in (errors or {}).items():
                    broken = f'<c r="{cell}" t="e"><v>{error}</v></c>' if error else f'<c r="{cell}"><f>1+1</f></c>'
                    text = re.sub(rf'<c r="{cell}".*?</c>'.encode(), broken.encode(), text)
            new.writestr(part, text)


def make(path: Path, body: str = "Hi {{ name }}", **recipients):
    campaign = load_campaign(
        name="t",
        provider="sandbox",
        message=body,
        from_="+12025550100",
        recipients={"file": path.name, "default_region": "US", **recipients},
        base=path.parent,
    )
    return build_plan(campaign), campaign


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{{ sum }} {{ day }} {{ zip }} {{ share }} {{ phone }}", "$1,234.50 01.12.2026 01067 25% (202) 555-0101"),
        ("{{ sum | currency('EUR', 'de_DE') }}", "1.234,50 €"),
        ("{{ day | date('EEEE') }}", "Tuesday"),
        ("{{ share | float * 100 }}", "25.0"),
        ("{% if sum | float > 1000 %}much{% endif %}", "much"),
        ("{% if day < '2027' %}soon{% endif %}", "soon"),
        ("{{ zip | int }}", "1067"),
        ('{{ row["sum"] }}', "$1,234.50"),
        ("{{ sum | default('none') | upper }}", "$1,234.50"),
    ],
)
def test_a_text_shows_what_the_cell_shows_and_computes_with_what_it_stores(tmp_path, body, text):
    write_list(tmp_path / "people.xlsx", rows=1)
    plan, _ = make(tmp_path / "people.xlsx", body)
    assert plan.frame.select("to", "body").rows() == [("+12025550101", text)]


@pytest.mark.parametrize(
    "where",
    ["sum | float > 1000", "day >= '2026-12-01' and day < '2027'", "share | float < 0.5", "zip == '01067'"],
)
def test_a_filter_computes_with_what_the_cell_stores(tmp_path, where):
    write_list(tmp_path / "people.xlsx", rows=1)
    plan, _ = make(tmp_path / "people.xlsx", "{{ sum }} {{ day }} {{ share }}", where=where)
    assert plan.frame.select("reason", "body").rows() == [(None, "$1,234.50 01.12.2026 25%")]


@pytest.mark.parametrize("error", ["#N/A", "#REF!", ""])
def test_a_row_whose_filter_needs_a_broken_cell_is_held(tmp_path, error):
    write_list(tmp_path / "people.xlsx", errors={"B3": error})
    plan, campaign = make(tmp_path / "people.xlsx", "Hi", where="name != 'Name 3'")
    assert plan.frame["reason"].to_list() == [None, "missing_data", "filtered_out", None]
    assert plan.frame["detail"][1].startswith("the cell `name` is ")
    assert explain_row(plan, 3, campaign).reason == "missing_data"


@pytest.mark.parametrize(
    ("errors", "body", "held"),
    [
        pytest.param({"B3": "#N/A"}, "Hi {{ name }}", {3: "the cell `name` is an error in the workbook: #N/A"}, id="an error"),
        pytest.param({"B3": "#REF!", "B4": "#DIV/0!"}, "Hi {{ name }}", {3: "#REF!", 4: "#DIV/0!"}, id="several"),
        pytest.param({"B3": ""}, "Hi {{ name }}", {3: "the cell `name` is a formula that has never been calculated"}, id="a formula"),
        pytest.param({"B3": "#N/A"}, "Hi {{ name | default('you') }}", {3: "#N/A"}, id="it is not blank"),
        pytest.param({"B3": "#N/A"}, '{{ row["name"] }}', {3: "#N/A"}, id="by its header"),
        pytest.param({"C3": "#N/A"}, "{{ sum | currency('USD') }}", {3: "#N/A"}, id="computed with"),
        pytest.param({"C3": "#N/A"}, "{% if sum %}x{% endif %}y", {3: "#N/A"}, id="in a condition"),
        pytest.param({"B3": "#N/A"}, "{{ row['na' ~ 'me'] }}", {3: "#N/A"}, id="a whole row"),
        pytest.param({"C3": "#N/A"}, "Hi {{ name }}", {}, id="not used"),
    ],
)  # fmt: skip
def test_a_text_that_needs_a_broken_cell_is_held(tmp_path, errors, body, held):
    write_list(tmp_path / "people.xlsx", errors=errors)
    plan, campaign = make(tmp_path / "people.xlsx", body)
    skipped = plan.frame.filter(plan.frame["reason"].is_not_null()).select("row_number", "reason", "detail").rows()
    assert {row: reason for row, reason, _ in skipped} == dict.fromkeys(held, "missing_data")
    for row, _, detail in skipped:
        assert held[row] in detail
        assert explain_row(plan, row, campaign).steps[-1][0] == "text"
    assert not plan.frame["body"].str.contains(r"#|not calculated").any()


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        ("#N/A", "the cell `phone` is an error in the workbook: #N/A"),
        (
            "",
            "the cell `phone` is a formula that has never been calculated: open the workbook in a spreadsheet program",
        ),
    ],
)
def test_a_number_that_is_broken_is_no_number(tmp_path, error, detail):
    write_list(tmp_path / "people.xlsx", errors={"A3": error})
    plan, campaign = make(tmp_path / "people.xlsx")
    assert plan.frame["reason"].to_list() == [None, "invalid_number", None, None]
    assert plan.frame["detail"][1].startswith(detail)
    assert explain_row(plan, 3, campaign).steps[-1][0] == "number"


@pytest.mark.parametrize(
    ("hidden", "what"),
    [
        ((3,), "1 row is hidden in the workbook, by a filter or by hand, and it would get a message: row 3"),
        ((3, 5), "2 rows are hidden in the workbook, by a filter or by hand, and 2 of them would get a message: rows 3, 5"),
        ((2, 3, 4, 5, 6, 7, 8), "7 of them would get a message: rows 2, 3, 4, 5, 6 and 2 more"),
    ],
)  # fmt: skip
def test_hidden_rows_that_would_be_texted_need_a_word(tmp_path, hidden, what):
    write_list(tmp_path / "people.xlsx", rows=8, hidden=hidden)
    with pytest.raises(HiddenRows) as caught:
        make(tmp_path / "people.xlsx")
    assert what in str(caught.value)
    assert "people.xlsx: " in str(caught.value)
    assert "recipients.hidden_rows: skip" in str(caught.value)
    kept, _ = make(tmp_path / "people.xlsx", hidden_rows="keep")
    assert (kept.manifest.messages, kept.manifest.numbers["hidden_rows"]) == (8, "keep")
    plan, campaign = make(tmp_path / "people.xlsx", hidden_rows="skip")
    assert plan.manifest.skipped == {"hidden_row": len(hidden)}
    assert plan.frame.filter(plan.frame["reason"] == "hidden_row")["row_number"].to_list() == list(hidden)
    assert explain_row(plan, hidden[0], campaign).steps[-1] == (
        "row",
        "skipped as hidden_row: the row is hidden in the workbook",
    )


@pytest.mark.parametrize(
    ("hidden", "choice", "note"),
    [
        ((3,), "skip", "1 row is hidden in the workbook, by a filter or by hand; it gets no message"),
        ((3, 4), "keep", "2 rows are hidden in the workbook, by a filter or by hand; they get 2 of the messages"),
    ],
)
def test_hidden_rows_are_noted(tmp_path, hidden, choice, note):
    write_list(tmp_path / "people.xlsx", hidden=hidden)
    assert make(tmp_path / "people.xlsx", hidden_rows=choice)[0].manifest.notes == (note,)
    write_list(tmp_path / "people.xlsx")
    assert make(tmp_path / "people.xlsx", hidden_rows=choice)[0].manifest.notes == ()


def test_hidden_rows_that_get_nothing_need_no_word(tmp_path):
    """They are suppressed, or say the same number as a row above, or cannot be read."""
    write_list(tmp_path / "people.xlsx", hidden=(3, 4), errors={"A4": "#N/A"})
    (tmp_path / "stop.csv").write_text("phone\n+12025550102\n")
    campaign = load_campaign(
        name="t",
        provider="sandbox",
        message="Hi",
        from_="+12025550100",
        recipients={"file": "people.xlsx", "default_region": "US"},
        suppress="stop.csv",
        base=tmp_path,
    )
    plan = build_plan(campaign)
    assert plan.manifest.skipped == {"suppressed": 1, "invalid_number": 1}
    assert "2 rows are hidden in the workbook, by a filter or by hand; they get no message" in plan.manifest.notes


def test_a_hidden_row_takes_no_visible_row_s_place(tmp_path):
    buffer = tmp_path / "people.xlsx"
    with xlsxwriter.Workbook(buffer) as book:
        sheet = book.add_worksheet()
        sheet.write_column(0, 0, ["phone", "+12025550101", "+12025550101"])
        sheet.set_row(1, options={"hidden": True})
    plan, _ = make(buffer, "Hi", hidden_rows="skip")
    assert plan.frame["reason"].to_list() == ["hidden_row", None]
    with pytest.raises(HiddenRows):
        make(buffer, "Hi")


def test_a_suppression_file_keeps_its_hidden_rows(tmp_path):
    write_list(tmp_path / "people.xlsx")
    write_list(tmp_path / "stop.xlsx", rows=1, hidden=(2,))
    campaign = load_campaign(
        name="t",
        provider="sandbox",
        message="Hi",
        from_="+12025550100",
        recipients={"file": "people.xlsx", "default_region": "US"},
        suppress={"file": "stop.xlsx", "columns": ["phone"]},
        base=tmp_path,
    )
    assert build_plan(campaign).frame["reason"].to_list() == ["suppressed", None, None, None]


def test_a_test_message_asks_nothing(tmp_path):
    write_list(tmp_path / "people.xlsx", hidden=(2,))
    campaign = load_campaign(
        name="t",
        provider="sandbox",
        message="Hi {{ name }}",
        from_="+12025550100",
        recipients={"file": "people.xlsx", "default_region": "US"},
        base=tmp_path,
    )
    assert build_plan(campaign, test_to="+12025550199").frame["to"][0] == "+12025550199"


def test_the_column_of_the_numbers_may_be_hidden(tmp_path):
    with xlsxwriter.Workbook(tmp_path / "people.xlsx") as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["phone", "name"])
        sheet.write_row(1, 0, ["+12025550101", "Ann"])
        sheet.set_column(0, 1, None, None, {"hidden": True})
    plan, _ = make(tmp_path / "people.xlsx")
    assert plan.manifest.notes == ("the column of the numbers, `phone`, is hidden in the workbook",)


def test_plans_are_recognised_whatever_hidden_rows_says(tmp_path):
    """Nothing is texted again because the key was written down."""
    write_list(tmp_path / "people.xlsx")
    first, second = (make(tmp_path / "people.xlsx", hidden_rows=choice)[0].manifest for choice in (None, "skip"))
    assert (first.identity, first.plan_hash) == (second.identity, second.plan_hash)


@pytest.mark.parametrize("header", ["from", "body", "media_url"])
def test_columns_that_are_used_without_a_template_hold_their_rows_too(tmp_path, header):
    with xlsxwriter.Workbook(tmp_path / "people.xlsx") as book:
        sheet = book.add_worksheet()
        cells = {"from": "+12025550100", "body": "Hi", "media_url": "https://example.com/a.png"}
        sheet.write_row(0, 0, ["phone", *cells])
        for row in (1, 2):
            sheet.write_row(row, 0, [f"+1202555010{row}", *cells.values()])
        sheet.write_formula(2, 1 + list(cells).index(header), "=NA()", None, "#N/A")
    plan = build_plan(
        load_campaign(
            name="t", provider="sandbox", recipients="people.xlsx", base=tmp_path, sandbox={"dialect": "twilio"}
        )
    )
    assert plan.frame.select("reason", "detail").rows() == [
        (None, None),
        ("missing_data", f"the cell `{header}` is an error in the workbook: #N/A"),
    ]
