"""Lists of thousands of columns: time grows with the columns, not with their square."""

from __future__ import annotations

import csv
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sender.campaign.load import load_campaign
from sender.core import frame_buffer
from sender.core.errors import RecipientsError
from sender.plan import canary_order
from sender.plan.plan import Plan
from sender.plan.stored_rows import ROW_GROUP, find_row_group
from sender.planning.build import build_plan
from sender.planning.explain import explain_row
from sender.recipients.readers import delimited
from sender.reports.results import results_frame
from sender.state.files.erasure import erase_from_plan
from sender.state.ledger import JOURNAL_SCHEMA
from sender.state.people import Person

_ROWS = 40


def plan_s(tmp_path: Path, columns: int) -> float:
    """Return the CPU seconds of a plan, the better of two."""
    header = ",".join(["phone", *(f"column {place}" for place in range(columns))])
    rows = [",".join([f"+120255501{row:02}", *["x"] * columns]) for row in range(_ROWS)]
    (tmp_path / "wide.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    taken = []
    for _ in range(2):
        campaign = load_campaign(
            name="t", provider="sandbox", from_="+12025550150", message="Hi", recipients="wide.csv", base=tmp_path
        )
        start_s = time.process_time()
        assert build_plan(campaign).manifest.messages == _ROWS
        taken.append(time.process_time() - start_s)
    return min(taken)


def test_time_grows_with_the_columns(tmp_path):
    """Eight times as many columns: a square would take up to 64 times as long."""
    plan_s(tmp_path, 100)  # what only the first plan of a process has to do
    assert plan_s(tmp_path, 8_000) < 24 * max(plan_s(tmp_path, 1_000), 0.02)


def test_row_groups_of_wide_lists_are_short():
    assert find_row_group(8) == find_row_group(0) == ROW_GROUP
    assert find_row_group(10_000) == 300


# -- cells that are kept as lists --------------------------------------------------------------------------------------

COLUMNS = 1_200
HEADERS = ["Phone", "First Name", *(f"Field {place}" for place in range(2, COLUMNS))]
TEXT = "Hi {{ first_name }}, {{ field_7 }} and {{ row['Field 1199'] }}."


def rows_of(count: int, *, name: str = "Name") -> list[list[str]]:
    return [
        [
            f"(202) 555-01{row:02}",
            f"{name}{row}",
            *("" if place == 5 else f"{row}x{place}" for place in range(2, COLUMNS)),
        ]
        for row in range(count)
    ]


def written_list(path: Path, rows: list[list[str]], **style: Any) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, **style).writerows(rows)
    return path


def planned(path: Path, text: str = TEXT, **settings: Any) -> Plan:
    campaign = load_campaign(
        name="t",
        provider="sandbox",
        from_="+12025550150",
        message=text,
        recipients={"file": str(path), "default_region": "US", **settings},
    )
    return build_plan(campaign)


def cells_of(plan: Plan) -> tuple[list[str], list[list[str]]]:
    cells = plan.frame["recipient"].struct.unnest()
    return cells.columns, [list(row) for row in cells.iter_rows()]


@pytest.fixture
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a list has several blocks, of which some are put aside."""
    monkeypatch.setattr(delimited, "BLOCK_CHARS", 60_000)
    monkeypatch.setattr(frame_buffer, "MEMORY_BYTES", 300_000)


LISTS: dict[str, tuple[list[list[str]], dict[str, Any]]] = {
    "plain": (rows_of(30), {}),
    "with line ends of its own": (rows_of(30), {"lineterminator": "\n"}),
    "in quotes": (rows_of(30), {"quoting": csv.QUOTE_ALL}),
    "with other letters": (rows_of(30, name="Zoë"), {}),
    "with blank first cells": ([row if at % 4 else ["", *row[1:]] for at, row in enumerate(rows_of(30))], {}),
}


@pytest.mark.usefixtures("short_blocks")
@pytest.mark.parametrize("kind", LISTS)
def test_cells_of_wide_lists_come_back(kind, tmp_path):
    rows, style = LISTS[kind]
    built = planned(written_list(tmp_path / "wide.csv", [HEADERS, *rows], **style))
    stored = built.write(tmp_path / "plan")
    assert pl.read_parquet_schema(tmp_path / "plan" / "plan.parquet")["recipient"] == pl.List(pl.String)
    assert stored.manifest.headers == tuple(HEADERS)
    assert cells_of(stored) == cells_of(built) == (HEADERS, rows)
    sent = [row for row in rows if row[0]]
    assert stored.messages["body"].to_list() == [f"Hi {row[1]}, {row[7]} and {row[1199]}." for row in sent]
    assert stored.skipped["recipient"].struct.field("Field 9").to_list() == [row[9] for row in rows if not row[0]]
    assert [block.height for block in stored.blocks(20, ["row_number", "recipient"])] == [20, 10]


def test_a_wide_list_of_one_block_is_the_same_plan(tmp_path, monkeypatch):
    path = written_list(tmp_path / "wide.csv", [HEADERS, *rows_of(30)])
    whole = planned(path)
    assert cells_of(whole) == cells_of(whole.write(tmp_path / "plan")) == (HEADERS, rows_of(30))
    monkeypatch.setattr(delimited, "BLOCK_CHARS", 60_000)
    assert planned(path).hash == whole.hash


@pytest.mark.parametrize("change", ["cell", "header", "order"])
def test_the_hash_covers_the_cells_of_a_wide_list(change, tmp_path):
    """Also of columns that no text uses. The messages stay the same, and so does the identity."""
    headers, rows = list(HEADERS), rows_of(3)
    plan = planned(written_list(tmp_path / "wide.csv", [headers, *rows]))
    if change == "cell":
        rows[2][800] = "another"
    elif change == "header":
        headers[800] = "another"
    else:
        for row in (headers, *rows):
            row[800], row[801] = row[801], row[800]
    other = planned(written_list(tmp_path / "other.csv", [headers, *rows]))
    assert other.hash != plan.hash
    assert other.identity == plan.identity


def test_columns_without_a_header_are_left_out_of_a_wide_list(tmp_path):
    rows = rows_of(4)
    rows[3].append("odd")
    wide = [[*HEADERS, "", ""], *([*row, "", ""][: COLUMNS + 2] for row in rows)]
    headers, cells = cells_of(planned(written_list(tmp_path / "wide.csv", wide)))
    assert headers == [*HEADERS, f"column {COLUMNS + 1}"]
    assert cells == [[*row, ""][: COLUMNS + 1] for row in rows]


def test_a_text_may_ask_the_whole_row_of_a_wide_list(tmp_path):
    text = "{% for header in ['Field 3', 'Field 900'] %}{{ row[header] }};{% endfor %}"
    plan = planned(written_list(tmp_path / "wide.csv", [HEADERS, *rows_of(2)]), text)
    assert plan.messages["body"].to_list() == ["0x3;0x900;", "1x3;1x900;"]


def test_a_wide_list_without_numbers_names_the_column_that_has_them(tmp_path):
    rows = [[row[1], row[0], *row[2:]] for row in rows_of(30)]
    headers = ["First Name", "Reach me at", *HEADERS[2:]]
    with pytest.raises(RecipientsError, match="did you mean `Reach me at`"):
        planned(written_list(tmp_path / "wide.csv", [headers, *rows]))


@pytest.mark.usefixtures("short_blocks")
def test_rows_of_a_wide_list_may_be_filtered_and_explained(tmp_path):
    plan = planned(written_list(tmp_path / "wide.csv", [HEADERS, *rows_of(30)]), where="field_9 == '3x9'")
    assert plan.messages["row_number"].to_list() == [5]
    explained = explain_row(plan, 5)
    assert list(explained.cells) == HEADERS
    assert explained.cells["Field 1000"] == "3x1000"


@pytest.mark.parametrize("in_memory", [50_000, 0], ids=["in memory", "in a file"])
def test_a_run_that_puts_some_messages_first_keeps_the_cells_as_lists(tmp_path, monkeypatch, in_memory):
    monkeypatch.setattr(canary_order, "_ROWS_IN_MEMORY", in_memory)
    plan = planned(written_list(tmp_path / "wide.csv", [HEADERS, *rows_of(9)]))
    run = canary_order.put_canary_first(plan.with_manifest(replace(plan.manifest, canary={"first": 3})))
    assert run.messages["row_number"].to_list() == [2, 5, 8, 3, 4, 6, 7, 9, 10]
    assert run.scan_stored().collect_schema()["recipient"] == pl.List(pl.String)
    assert cells_of(run) == cells_of(plan)


def test_somebody_is_erased_from_a_wide_plan(tmp_path):
    rows = rows_of(6)
    rows[4][700] = "call +1 202 555 0102"
    plan = planned(written_list(tmp_path / "wide.csv", [HEADERS, *rows])).write(tmp_path / "plan")
    erase_from_plan(tmp_path / "plan", Person.of("+12025550102"), plan.identity)
    left = Plan.open(tmp_path / "plan")
    headers, cells = cells_of(left)
    assert headers == HEADERS
    assert set(cells[2]) == {""}
    assert cells[4][700] == ""
    assert [cells[1], cells[3]] == [rows[1], rows[3]]
    assert left.identity == plan.identity


def test_results_have_the_cells_of_a_wide_list(tmp_path):
    plan = planned(written_list(tmp_path / "wide.csv", [HEADERS, *rows_of(5)])).write(tmp_path / "plan")
    results = results_frame(plan, pl.DataFrame(schema=JOURNAL_SCHEMA), "run-1")
    assert results["Field 1000"].to_list() == [f"{row}x1000" for row in range(5)]
