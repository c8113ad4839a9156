"""The README's commands and outputs are real: its lines run (in `.ci/run`), and it prints what the program prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Shell

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_two_lines() -> None:
    run, tests = blocks("sh")
    for block in (run, tests):
        assert block.count("\n") == 1, "each block holds one line and nothing else"
        assert block.startswith("python3 -m venv .venv && .venv/bin/python -m pip install ")
    assert run.endswith("&& .venv/bin/python -m sender send campaigns/welcome.yaml --yes --again\n")
    assert tests.endswith("&& .venv/bin/python -m pytest -q -n logical\n")


def test_what_it_does_is_told_first_in_five_lines() -> None:
    title, text, *_ = README.split("\n\n")
    assert title == "# campaign-sender"
    assert len(text.splitlines()) == 5
    assert README.index("```sh") < 700


def test_the_tour_prints_what_the_program_prints(shipped: Shell) -> None:
    done = shipped("send", "campaigns/welcome.yaml", "--yes")
    printed = {line.rstrip() for line in done.out.splitlines()}
    by_chance = ("sending", "delivery:", "results:")  # a busy machine may not see every receipt in five seconds
    told = [line for line in blocks("text")[0].splitlines() if not line.startswith(by_chance)]
    assert len(told) > 15
    assert any(re.fullmatch(r"delivery: (\d+ \w+(, )?)+", line) for line in printed)
    assert [line for line in told if line not in printed] == []


def test_the_list_alone_prints_what_the_program_prints(sender: Shell) -> None:
    sender.write("people.csv", "First Name,Mobile\nAda,(202) 555-0101\nGrace,202-555-0102\n")
    command, *told = blocks("text")[1].splitlines()
    done = sender(*shlex.split(command)[2:])
    printed = {line.rstrip() for line in done.out.splitlines()}
    assert [line for line in told if line not in printed and not line.startswith("results:")] == []


def test_the_library_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import polars as pl

    monkeypatch.chdir(tmp_path)
    frame = pl.DataFrame({"phone": ["+12025550101"], "name": ["Ada"]})
    exec(compile(blocks("python")[0], "README.md", "exec"), {"frame": frame})
    assert "1 row = 0 skipped + 1 accepted" in capsys.readouterr().out


@pytest.mark.parametrize(
    "page", [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"], ids=lambda page: page.name
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_documented_commands_exist() -> None:
    from sender.cli import ALIASES, COMMANDS

    text = README + "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    named = set(re.findall(r"(?:`|^    |^|\$ )sender ([a-z]+)", text, re.MULTILINE))
    assert named <= COMMANDS.keys() | ALIASES.keys()
    assert len(named) >= 8
