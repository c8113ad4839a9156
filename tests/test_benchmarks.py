"""The figures can be measured anew: every part runs, small, and ends in the table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import PARTS
from benchmarks.figures import Figure, table

ROOT = Path(__file__).parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)


def test_every_part_is_in_the_table() -> None:
    done = run("--rows", "300", "--messages", "5")
    assert done.returncode == 0, done.stderr
    machine, headers, *lines = done.stdout.splitlines()
    assert "--rows 300 --messages 5" in machine
    assert headers.split()[:5] == ["part", "what", "ours", "plain", "ratio"]
    assert list(dict.fromkeys(line.split()[0] for line in lines)) == list(PARTS)


def test_parts_can_be_chosen() -> None:
    done = run("start")
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == ["start"]
    unknown = run("sent")
    assert unknown.returncode == 2
    assert "no part sent: choose of start, numbers" in unknown.stderr
    told = run("--help").stdout
    assert all(f"{name} " in told for name in PARTS)


@pytest.mark.parametrize(
    ("figure", "cells"),
    [
        pytest.param(Figure("p", "w", 1_000_000, "/s", 40_000, "x", 20), ("1,000,000/s", "40,000/s", "25.0 x", "20 x"), id="met"),
        pytest.param(Figure("p", "w", 100, "/s", 50, "x", 20), ("100/s", "50/s", "2.0 x", "20 x MISSED"), id="missed"),
        pytest.param(Figure("p", "w", 38.4, " ms", 10, "x"), ("38 ms", "10 ms", "3.8 x", ""), id="nothing wanted"),
        pytest.param(Figure("p", "w", 100, "/s"), ("100/s", "", "", ""), id="no plain way"),
        pytest.param(Figure("p", "w", 5000, "/s", 10, "x"), ("5,000/s", "10/s", "500 x", ""), id="a large ratio"),
    ],
)  # fmt: skip
def test_a_figure_is_told_with_its_ratio(figure: Figure, cells: tuple[str, ...]) -> None:
    assert figure.cells()[2:6] == cells
    assert len(table([figure]).splitlines()) == 2
