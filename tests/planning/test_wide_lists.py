"""Lists of thousands of columns: time grows with the columns, not with their square."""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl

from sender.campaign.load import load_campaign
from sender.plan.stored_rows import ROW_GROUP, _find_row_group
from sender.planning.build import build_plan

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
    narrow = pl.Schema({"to": pl.String(), "recipient": pl.Struct({"phone": pl.String()})})
    wide = pl.Schema({"recipient": pl.Struct({str(place): pl.String() for place in range(10_000)})})
    assert _find_row_group(narrow) == ROW_GROUP
    assert _find_row_group(wide) == 400
    assert _find_row_group(pl.Schema({"recipient": pl.Null()})) == ROW_GROUP
