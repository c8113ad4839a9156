"""The README's commands and outputs are real: its lines run (in `.ci/run`), and it prints what the program prints.

`python -m tests.docs.readme_tour` writes its outputs anew.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Done, Shell
from tests.docs.readme_tour import LIST, OFFER, OFFER_LIST, SLOW_OFFER, commands, offer_list

README = (ROOT / "README.md").read_text(encoding="utf-8")
BY_CHANCE = ("sending", "delivery:", "results:")  # a busy machine may not see every receipt in five seconds


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def lasting(lines: Iterable[str]) -> list[str]:
    """Lines without what differs from run to run: ids of runs and moments."""
    patterns = {r"\d{8}-\d{6}-[0-9a-f]{8}": "RUN", r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?": "TIME"}
    text = "\n".join(line.rstrip() for line in lines)
    for pattern, name in patterns.items():
        text = re.sub(pattern, name, text)
    return text.splitlines()


def missing(lines: Iterable[str], result: Done, by_chance: tuple[str, ...] = BY_CHANCE) -> list[str]:
    """The lines that the README shows and the program has not printed."""
    printed = set(lasting(result.out.splitlines()))
    return [line for line in lasting(lines) if line not in printed and not line.startswith(by_chance)]


def test_the_two_lines() -> None:
    run, tests = blocks("sh")
    for block in (run, tests):
        assert block.count("\n") == 1, "each block holds one line and nothing else"
        assert block.startswith("python3 -m venv .venv && .venv/bin/python -m pip install ")
    assert run.endswith("&& .venv/bin/python -m sender send campaigns/welcome.yaml --yes --again\n")
    assert tests.endswith("&& .venv/bin/python -m pytest -q -n logical\n")


def test_what_it_does_is_said_first_in_five_lines() -> None:
    title, text, *_ = README.split("\n\n")
    assert title == "# campaign-sender"
    assert len(text.splitlines()) == 5
    assert README.index("```sh") < 700


def test_the_tour_prints_what_the_program_prints(shipped: Shell) -> None:
    result = shipped("send", "campaigns/welcome.yaml", "--yes")
    shown = blocks("text")[0].splitlines()
    assert len(shown) > 15
    assert any(re.fullmatch(r"delivery: (\d+ \w+(, )?)+", line.rstrip()) for line in result.out.splitlines())
    assert missing(shown, result) == []


def test_the_list_alone_prints_what_the_program_prints(sender: Shell) -> None:
    del sender.env["SENDER_RULES"]  # as on a reader's machine
    sender.write("people.csv", LIST)
    by_chance = (*BY_CHANCE, "  when: ")  # the hour decides how many may leave now
    for command, shown in commands(blocks("text")[1]).items():
        assert missing(shown, sender(*shlex.split(command)[1:]), by_chance) == []


def test_the_killed_run_prints_what_the_program_prints(sender: Shell) -> None:
    sender.write("offer.csv", offer_list(300))
    sender.write("offer.yaml", SLOW_OFFER)
    ((command, shown),) = commands(blocks("text")[2]).items()
    process = sender.start(*shlex.split(command)[1:])
    until = time.monotonic() + 60
    while accepted(sender) < 100:
        assert time.monotonic() < until, "the run has not begun"
        time.sleep(0.02)
    process.kill()
    process.communicate()
    result = sender(*shlex.split(command)[1:], "--wait", "60s")
    counts = re.compile(r"\d+")  # where it was killed is chance
    printed = {counts.sub("N", line) for line in lasting(result.out.splitlines())}
    in_doubt = [line for line in lasting(shown) if "in flight" in line or "looked up" in line]
    expected = [line for line in lasting(shown) if not line.startswith(BY_CHANCE) and line not in in_doubt]
    if "unknown messages" in result.out:  # more than one was in doubt
        expected += in_doubt
    assert [line for line in expected if counts.sub("N", line) not in printed] == []
    assert "300 rows = 0 skipped + 300 accepted + 0 rejected + 0 canceled + 0 unknown + 0 pending" in result.out


def test_what_did_not_arrive_and_the_opt_out_print_what_the_program_prints(sender: Shell) -> None:
    sender.write("offer.csv", OFFER_LIST)
    sender.write("offer.yaml", OFFER)
    assert sender("send", "offer.yaml", "--yes", "--wait", "60s").code == 1
    shown = commands(blocks("text")[3]) | commands(blocks("text")[4])
    assert list(shown) == ["sender status offer", "sender retry offer --yes", "sender suppress why +12025550191"]
    for command, lines in shown.items():
        retried = "retry" in command  # its plan is of this run, and so is the plan's hash
        result = sender(*shlex.split(command)[1:], *(["--wait", "60s"] if retried else []))
        assert missing(lines, result, (*BY_CHANCE, "plan ") if retried else BY_CHANCE) == [], command


def accepted(shell: Shell) -> int:
    """How many messages of the newest run are accepted; 0 before there is one."""
    status = shell("status", "--json", "offer")
    return int(status.json["accepted"]) if status.code == 0 and status.out else 0


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
    from sender.cli.entry import ALIASES, COMMANDS

    text = README + "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    named = set(re.findall(r"(?:`|^    |^|\$ )sender ([a-z]+)", text, re.MULTILINE))
    assert named <= COMMANDS.keys() | ALIASES.keys()
    assert len(named) >= 8
