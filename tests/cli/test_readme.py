"""The README's commands and outputs are real: its lines run (in `.ci/run`), and it prints what the program prints."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Done, Shell

README = (ROOT / "README.md").read_text(encoding="utf-8")
BY_CHANCE = ("sending", "delivery:", "results:")  # a busy machine may not see every receipt in five seconds
OFFER = 'name: offer\nprovider: sandbox\nfrom: "{sender}"\nrecipients: offer.csv\nmessage: "Hi {{{{ name }}}}"\nrate: 60/s\n'


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands(block: str) -> dict[str, list[str]]:
    """The lines that the README shows for each command of a block."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
    return {command: output.splitlines() for command, output in zip(parts[1::2], parts[2::2], strict=True)}


def lasting(lines: Iterable[str]) -> list[str]:
    """Lines without what differs from run to run: ids, hashes of plans, moments."""
    patterns = {
        r"\d{8}-\d{6}-[0-9a-f]{8}": "RUN",
        r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?": "TIME",
        r"\b[0-9a-f]{12}\b": "PLAN",
    }
    text = "\n".join(line.rstrip() for line in lines)
    for pattern, name in patterns.items():
        text = re.sub(pattern, name, text)
    return text.splitlines()


def missing(lines: Iterable[str], result: Done) -> list[str]:
    """The lines that the README shows and the program has not printed."""
    printed = set(lasting(result.out.splitlines()))
    return [line for line in lasting(lines) if line not in printed and not line.startswith(BY_CHANCE)]


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
    sender.write("people.csv", "First Name,Mobile\nAda,(202) 555-0101\nGrace,202-555-0102\n")
    for command, shown in commands(blocks("text")[1]).items():
        assert missing(shown, sender(*shlex.split(command)[1:])) == []


def test_the_killed_run_prints_what_the_program_prints(sender: Shell) -> None:
    sender.people(300, "offer.csv")
    sender.write("offer.yaml", OFFER.format(sender="+12025550199"))
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
    in_doubt = [line for line in lasting(shown) if "under way" in line or "looked up" in line]
    expected = [line for line in lasting(shown) if not line.startswith(BY_CHANCE) and line not in in_doubt]
    if "unknown messages" in result.out:  # more than one was in doubt
        expected += in_doubt
    assert [line for line in expected if counts.sub("N", line) not in printed] == []
    assert "300 rows = 0 skipped + 300 accepted + 0 rejected + 0 unknown + 0 pending" in result.out


def test_what_did_not_arrive_and_the_opt_out_print_what_the_program_prints(sender: Shell) -> None:
    numbers = ("0101", "0102", "0191", "0192", "0194")  # the last three are the sandbox's magic numbers
    names = ("Ada", "Grace", "Alan", "Edsger", "Barbara")
    people = "".join(f"{name},+1202555{number}\n" for name, number in zip(names, numbers, strict=True))
    sender.write("offer.csv", "name,phone\n" + people)
    sender.write("offer.yaml", OFFER.format(sender="+12025550100").replace("rate: 60/s\n", ""))
    assert sender("send", "offer.yaml", "--yes", "--wait", "60s").code == 1
    shown = commands(blocks("text")[3]) | commands(blocks("text")[4])
    assert list(shown) == ["sender status offer", "sender retry offer --yes", "sender suppress why +12025550191"]
    for command, lines in shown.items():
        wait = ["--wait", "60s"] if "retry" in command else []
        assert missing(lines, sender(*shlex.split(command)[1:], *wait)) == [], command


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
