"""Results of a large run are written in blocks of rows, and are what they would be as one."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from sender.reports import run_results
from tests.cli.conftest import Shell
from tests.profiles import pairs

NOTES = ("a;b", "", "=SUM(A1)", "plain")
PHONES = ["n/a" if n % 9 == 4 else f"+1202555{100 + n:04}" for n in range(60)]
PEOPLE = "phone,note\n" + "".join(f"{phone},{NOTES[n % 4]}\n" for n, phone in enumerate(PHONES))


@pytest.mark.parametrize(
    ("arguments", "rows"), pairs([(), ("--status", "skipped"), ("--with-body",), ("--with-retries",)], [7, 30, 1, 61])
)
def test_blocks_are_the_same_results(
    sender: Shell, monkeypatch: pytest.MonkeyPatch, rows: int, arguments: tuple[str, ...]
) -> None:
    sender.write("people.csv", PEOPLE)
    options = ("--body", "Hi", "--from", "+12025550100", "--provider", "sandbox", "--rate", "none")
    assert sender("send", "people.csv", *options, "--yes", "--wait", "0").code == 0
    whole = {form: read(sender, form, arguments) for form in ("csv", "jsonl", "parquet", "xlsx")}
    printed = sender("results", "people", *arguments).out
    monkeypatch.setattr(run_results, "BLOCK_ROWS", rows)
    for form, frame in whole.items():
        assert read(sender, form, arguments).equals(frame), form
    assert sender("results", "people", *arguments).out == printed
    assert printed.count("row_number") == 1


@pytest.mark.parametrize("rows", [1, 7, 61])
def test_what_a_run_writes_at_its_end_is_the_same_too(
    sender: Shell, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    sender.write("people.csv", PEOPLE)
    options = ("--body", "Hi", "--from", "+12025550100", "--provider", "sandbox", "--rate", "none", "--limit", "20")
    with monkeypatch.context() as blocks:
        blocks.setattr(run_results, "BLOCK_ROWS", rows)
        assert sender("send", "people.csv", *options, "--yes", "--wait", "0").code == 0
    (written,) = (sender.folder / ".sender" / "runs").glob("*/results.csv")
    assert sender("results", "people", "--output", "whole.csv").code == 0
    assert written.read_bytes() == (sender.folder / "whole.csv").read_bytes()
    assert written.read_text(encoding="utf-8").count(",pending,") == 53 - 20


def read(sender: Shell, form: str, arguments: tuple[str, ...]) -> pl.DataFrame:
    """What `results` writes in a format: its rows, or its lines."""
    done = sender("results", "people", "--output", f"r.{form}", "--force", *arguments)
    assert done.code == 0
    assert done.err.startswith("wrote ")
    file: Path = sender.folder / f"r.{form}"
    match form:
        case "parquet":
            return pl.read_parquet(file)
        case "xlsx":
            return pl.read_excel(file, infer_schema_length=0)
    return pl.DataFrame({"line": file.read_text(encoding="utf-8").splitlines()})
