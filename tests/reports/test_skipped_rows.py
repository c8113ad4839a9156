from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from sender.core.errors import InputError
from sender.core.output_files import Protected
from sender.recipients.readers.read import FileSource, read_tables
from sender.reports.skipped_rows import group_skipped, skipped_frame, write_skipped
from tests.reports.runs import make_plan

BLANK = "template line 1: `name` is blank; give it a value, or write {{ name | default('...') }}"


def skipped(reason: str, *details: str | None) -> list[dict[str, str | None]]:
    return [{"reason": reason, "detail": detail} for detail in details]


@pytest.mark.parametrize(
    ("reason", "details", "sentence"),
    [
        pytest.param("invalid_number", ["`555-01` is too short for US", "`5` is too short for US"], "… is too short for US", id="the cell"),
        pytest.param("invalid_number", ["`n/a…` is", "`x` is"], "… is", id="a shortened cell"),
        pytest.param("invalid_number", ["has a `§`, which", "has a `¶`, which"], "has a …, which", id="a character"),
        pytest.param("invalid_number", ["`1` may mean +12025550101 or +4920255501", "`2` may mean +12025550102 or +4920255502"], "… may mean … or …", id="what it may mean"),
        pytest.param("duplicate", ["same number as row 2", "same number as row 1,002"], "same number as …", id="another row"),
        pytest.param("opted_out", ["replied STOP to +12025550100 on 2026-11-21 14:03 UTC", "replied STOP to +12025550100 on 2026-11-22 09:00 UTC"], "replied STOP to … on … UTC", id="a time"),
        pytest.param("too_long", ["3 segments (GSM-7); max_segments is 2", "4 segments (GSM-7); max_segments is 2"], "… (GSM-7); max_segments is 2", id="a size"),
        pytest.param("render_error", ["field `validity_period`: 'soon' should be a whole number", "field `validity_period`: 'x' should be a whole number"], "field `validity_period`: … should be a whole number", id="a field's value"),
        pytest.param("render_error", ["media is not an http or https URL: ftp://x", "media is not an http or https URL: y z"], "media is not an http or https URL: …", id="a URL"),
        pytest.param("render_error", ["ValueError: `b` is not an ISO 8601 date; write it as 2026-03-01 or 2026-03-01T09:30", "ValueError: `c` is not an ISO 8601 date; write it as 2026-03-01 or 2026-03-01T09:30"], "ValueError: … is not an ISO 8601 date; write it as 2026-03-01 or 2026-03-01T09:30", id="an example of a date"),
        pytest.param("invalid_number", ["`1` has no country code; set `recipients.default_region`", "`2` has no country code; set `recipients.default_region`"], "… has no country code; set `recipients.default_region`", id="a setting"),
        pytest.param("render_error", [BLANK, BLANK], BLANK, id="the same"),
        pytest.param("missing_data", [None, None], "", id="none"),
    ],
)  # fmt: skip
def test_what_is_a_rows_own_does_not_make_a_cause(reason: str, details: list[str | None], sentence: str) -> None:
    found = group_skipped(make_plan([{}, *skipped(reason, *details)]))
    assert [(cause.reason, cause.rows, cause.sentence) for cause in found.causes] == [(reason, 2, sentence)]


@pytest.mark.parametrize(
    "details",
    [
        pytest.param([BLANK, BLANK.replace("name", "amount")], id="two columns"),
        pytest.param(["field `a`: 'x' should be text", "field `b`: 'x' should be text"], id="two fields"),
        pytest.param(["`5` is too short for US", "`5` is too long for US"], id="two faults"),
        pytest.param(["`5` is too short for US", "`5` is too short for Germany (+49)"], id="two countries"),
        pytest.param(["the number is in a.csv", "the number is in b.csv"], id="two files"),
    ],
)
def test_two_causes_stay_two(details: list[str]) -> None:
    assert [cause.sentence.count("…") <= 1 for cause in group_skipped(make_plan(skipped("x", *details))).causes] == [
        True
    ] * 2


def test_equal_errors_bury_nothing() -> None:
    """448 rows of one template error and 150 different bad numbers are two causes with three examples each."""
    bad = [f"`555-{n}` is too short for US; check for missing digits" for n in range(150)]
    found = group_skipped(make_plan([{}, *skipped("render_error", *[BLANK] * 448), *skipped("invalid_number", *bad)]))
    first, second = found.causes
    assert (first.rows, first.sentence) == (448, BLANK)
    assert [example.row_number for example in first.examples] == [3, 4, 5]
    assert (second.rows, second.sentence) == (150, "… is too short for US; check for missing digits")
    assert [(example.row_number, example.own) for example in second.examples] == [
        (451, ("`555-0`",)),
        (452, ("`555-1`",)),
        (453, ("`555-2`",)),
    ]
    assert (found.more_causes, found.more_rows) == (0, 0)


def test_the_causes_with_most_rows_are_shown() -> None:
    rows = skipped("suppressed", *[f"the number is in {n}.csv" for n in range(5) for _ in range(n + 1)])
    found = group_skipped(make_plan(rows), most=2)
    assert [cause.rows for cause in found.causes] == [5, 4]
    assert (found.more_causes, found.more_rows) == (3, 6)


def test_every_skipped_row_is_in_one_cause() -> None:
    details = [f"`{n}` is too {'short' if n % 2 else 'long'}" for n in range(100)]
    found = group_skipped(make_plan([{}, {}, *skipped("invalid_number", *details)]), most=1)
    assert sum(cause.rows for cause in found.causes) + found.more_rows == 100


def test_without_skipped_rows_there_is_no_cause() -> None:
    assert group_skipped(make_plan([{}])).causes == ()


CELLS = {"Name": ["Ada", "=1+1", ""], "Tel": ["+12025550101", "555", "007"], "because": ["a", "b", "c"]}
ROWS = [{}, *skipped("invalid_number", "`555` is too short", "`007` is too short")]


def test_skipped_rows_keep_their_columns() -> None:
    frame = skipped_frame(make_plan(ROWS, CELLS))
    assert frame.columns == ["row_number", "Name", "Tel", "because", "skipped_as", "sender_because"]
    assert frame.rows() == [
        (3, "=1+1", "555", "b", "invalid_number", "`555` is too short"),
        (4, "", "007", "c", "invalid_number", "`007` is too short"),
    ]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "xlsx"])
def test_the_file_can_be_corrected_and_read_as_a_list(form: str, tmp_path: Path) -> None:
    file = tmp_path / f"skipped.{form}"
    assert write_skipped(make_plan(ROWS, CELLS), file) == 2
    table = read_tables(FileSource(file.read_bytes(), where=file.name), where=file.name)
    cells = next(iter(table.values())).cells
    assert cells.select("Name", "Tel", "because").rows() == [("=1+1", "555", "b"), ("", "007", "c")]
    assert file.stat().st_mode & 0o077 == 0


def test_a_formula_is_text_in_the_file(tmp_path: Path) -> None:
    write_skipped(make_plan(ROWS, CELLS), tmp_path / "s.csv")
    assert pl.read_csv(tmp_path / "s.csv", infer_schema=False)["Name"].to_list() == ["'=1+1", None]


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "row_number,a,because\n"])
def test_another_file_is_not_replaced(content: str, tmp_path: Path) -> None:
    file = tmp_path / "s.csv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="not a file of skipped rows"):
        write_skipped(make_plan(ROWS, CELLS), file)
    assert file.read_text(encoding="utf-8") == content
    assert write_skipped(make_plan(ROWS, CELLS), file, force=True) == 2
    assert write_skipped(make_plan(ROWS[:2], {k: v[:2] for k, v in CELLS.items()}), file) == 1


def test_the_list_itself_is_not_replaced(tmp_path: Path) -> None:
    people = tmp_path / "people.csv"
    people.write_text("phone\n", encoding="utf-8")
    with pytest.raises(InputError, match="input of the campaign"):
        write_skipped(make_plan(ROWS, CELLS), people, Protected((people,)), force=True)
