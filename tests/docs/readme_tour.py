"""Writes the outputs of the README's tour anew, from real runs: `python -m tests.docs.readme_tour`.

The README's text and commands stay; each `text` block is replaced by what the program prints. It takes about a minute, since
the sandbox delivers at its own rate.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.docs.pages import ROOT, blocks, read

README = ROOT / "README.md"
WRITE = "python -m tests.docs.readme_tour"

LIST = "First Name,Mobile\nAda,(202) 555-0101\nGrace,202-555-0102\n"
# The last three are the sandbox's magic numbers: opted out, a landline, unreachable.
OFFER_LIST = (
    "name,phone\nAda,+12025550101\nGrace,+12025550102\nAlan,+12025550191\nEdsger,+12025550192\nBarbara,+12025550194\n"
)
OFFER = 'name: offer\nprovider: sandbox\nfrom: "+12025550100"\nrecipients: offer.csv\nmessage: "Hi {{ name }}"\n'
SLOW_OFFER = f"{OFFER}rate: 60/s\n"

_NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_IN_DOUBT = re.compile(r"Of the \w+ messages in doubt,\s+\w+\s+had\s+reached\s+the\s+provider\s+and\s+\w+\s+had\s+not")


def commands(block: str) -> dict[str, list[str]]:
    """The lines that a block shows for each of its commands."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
    return {command: output.splitlines() for command, output in zip(parts[1::2], parts[2::2], strict=True)}


def offer_list(rows: int) -> str:
    """A list of `rows` fictional numbers."""
    areas = ("202", "212", "213", "214")
    people = (f"Ada {row},+1{areas[row // 90]}55501{row % 90:02}\n" for row in range(rows))
    return "name,phone\n" + "".join(people)


class Tour:
    """A folder in which the tour's commands run."""

    def __init__(self, folder: Path, **files: str) -> None:
        self.folder = folder
        folder.mkdir()
        for name, text in files.items():
            (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SENDER")}
        self.environment = kept | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}

    def run(self, command: str) -> tuple[list[str], str]:
        """Run `sender ...`; return the lines of its standard output and its log."""
        process = self.start(command)
        output, log = process.communicate(timeout=120)
        return [line.rstrip() for line in output.splitlines()], log

    def start(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *shlex.split(command)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def show(self, block: str) -> list[str]:
        """The block with each of its commands and what the command prints now."""
        return [line for command in commands(block) for line in (f"$ {command}", *self.run(command)[0])]


def welcome(folder: Path) -> list[str]:
    """What the README's first line prints on a terminal; a pipe has no progress bar."""
    tour = Tour(folder)
    for name in ("campaigns", "templates"):
        shutil.copytree(ROOT / name, folder / name)
    lines, _ = tour.run("sender send campaigns/welcome.yaml --yes --again")
    return _with_bar(lines, "47 rows = ", "39/39 11.2/s")


def killed_run(folder: Path, block: str) -> tuple[list[str], int, int]:
    """What the second start of a killed run prints, and how many messages in doubt had arrived and had not."""
    (command,) = commands(block)
    tour = Tour(folder, offer_csv=offer_list(300), offer_yaml=SLOW_OFFER)
    process = tour.start(command)
    while _accepted(tour) < 100:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    lines, log = tour.run(command)
    lookups = [[int(number) for number in pair] for pair in re.findall(r"(\d+) found, (\d+) proved absent", log)]
    resumed = next(number for number, line in enumerate(lines) if line.startswith("resuming"))
    shown = _with_bar(lines[resumed:], "300 rows = ", "300/300")
    return [f"$ {command}", *shown], sum(found for found, _ in lookups), sum(absent for _, absent in lookups)


def write() -> None:
    """Replace the blocks of the README and the numbers of its killed run."""
    text = read(README)
    _, listed, killed, undelivered, opted_out = blocks(text, "text")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outputs = [welcome(folder / "welcome"), Tour(folder / "list", people_csv=LIST).show(listed)]
        for attempt in range(20):  # until both kinds of message were in doubt
            lines, found, absent = killed_run(folder / f"killed{attempt}", killed)
            if found and absent and found + absent < len(_NUMBERS):
                break
        else:
            sys.exit("no run was killed with messages of both kinds in doubt")
        outputs.append(lines)
        tour = Tour(folder / "offer", offer_csv=OFFER_LIST, offer_yaml=OFFER)
        tour.run("sender send offer.yaml --yes")
        outputs += [tour.show(undelivered), tour.show(opted_out)]
    new = iter(outputs)
    text = re.sub(
        r"^```text\n.*?^```$", lambda _: "\n".join(["```text", *next(new), "```"]), text, flags=re.MULTILINE | re.DOTALL
    )
    reached, rest, doubted = (_NUMBERS[number] for number in (found, absent, found + absent))
    sentence = f"Of the {doubted} messages in doubt, {reached} had reached the provider and {rest} had not"
    README.write_text(_IN_DOUBT.sub(sentence.replace("doubt, ", "doubt,\n", 1), text), encoding="utf-8")


def _with_bar(lines: list[str], before: str, rate: str) -> list[str]:
    place = next(number for number, line in enumerate(lines) if line.startswith(before))
    return [*lines[:place], f"sending {'━' * 30} {rate}", *lines[place:]]


def _accepted(tour: Tour) -> int:
    """How many messages of the newest run are accepted; 0 before there is one."""
    lines, _ = tour.run("sender status offer --json")
    return int(json.loads("\n".join(lines))["accepted"]) if lines else 0


if __name__ == "__main__":
    write()
