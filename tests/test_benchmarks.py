"""The figures can be measured anew: every part runs, small, and ends in the table."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import stub
from benchmarks.__main__ import PARTS
from benchmarks.figures import Figure, table
from benchmarks.pace import busiest_second
from tests import local_http
from tests.state.conftest import DATABASES
from tests.state.postgres_server import require

ROOT = Path(__file__).parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)


LONG = ("workers", "watching", "windows", "contacts")  # they take most of the time
TESTED = ("send", "cluster")  # they have tests of their own


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([name for name in PARTS if name not in LONG + TESTED], id="short parts"),
        pytest.param(list(LONG), marks=pytest.mark.long, id="long parts"),
    ],
)
def test_every_part_is_in_the_table(parts: list[str]) -> None:
    done = run(*parts, "--rows", "300", "--messages", "40")
    assert done.returncode == 0, done.stderr
    machine, headers, *lines = done.stdout.splitlines()
    assert "--rows 300" in machine
    assert headers.split()[:5] == ["part", "what", "ours", "plain", "ratio"]
    assert list(dict.fromkeys(line.split()[0] for line in lines)) == parts


@pytest.mark.long
def test_sending_is_measured_from_plan_to_pace() -> None:
    small = ("--messages", "5", "--latencies", "0", "--contenders", "httpx", "--paces", "20", "--pace-seconds", "0.2")
    done = run("send", *small)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[2:]
    assert [line.split("  ")[1].strip() for line in lines] == [
        "0 ms: durable",
        "0 ms: CPU a message",
        "0 ms: memory",
        "0 ms: durable",
        "resume of 5, half sent",
        "pace 20/s: most in any second",
        "pace 20/s: on average",
    ]
    assert "plain httpx" in lines[3]
    assert "not measured" not in done.stdout


@pytest.mark.long
def test_a_database_is_measured() -> None:
    require(DATABASES[0])
    done = run("cluster", "--messages", "40", "--rows", "300", "--pace-seconds", "0.5")
    assert done.returncode == 0, done.stderr
    found = [line.split("  ")[1].strip() for line in done.stdout.splitlines()[2:]]
    assert found[:2] == ["one sender", "two senders"]
    assert found[-6:-4] == ["a killed worker's shift elsewhere", "sending after a restart"]
    assert all(what.startswith("pace ") for what in found[-4:])


def test_a_stub_that_receives_tells_when(tmp_path: Path) -> None:
    with stub.receiving(tmp_path / "arrivals") as (url, arrivals):
        begun = time.monotonic()
        for _ in range(3):
            local_http.post(url, content=b"x").raise_for_status()
        times = arrivals()
    assert len(times) == 3
    assert begun <= times[0] <= times[-1] <= time.monotonic()


@pytest.mark.parametrize(
    ("times", "most"),
    [([0.0], 1), ([0.0, 0.5, 0.99, 1.0], 3), ([0.0, 1.0, 1.1, 1.2, 1.99, 2.5], 4), ([0.0, 2.0, 4.0], 1)],
)
def test_the_busiest_second_may_begin_anywhere(times: list[float], most: int) -> None:
    assert busiest_second(times) == most


def test_parts_can_be_chosen() -> None:
    done = run("start")
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == ["start"]
    unknown = run("sent")
    assert unknown.returncode == 2
    assert "no part sent: choose of start, plan" in unknown.stderr
    told = run("--help").stdout
    assert all(f"{name} " in told for name in PARTS)


@pytest.mark.parametrize(
    ("figure", "cells"),
    [
        pytest.param(Figure("p", "w", 1_000_000, "/s", 40_000, "x", 20), ("1,000,000/s", "40,000/s", "25.0 x", "20 x"), id="met"),
        pytest.param(Figure("p", "w", 100, "/s", 50, "x", 20), ("100/s", "50/s", "2.0 x", "20 x MISSED"), id="missed"),
        pytest.param(Figure("p", "w", 38.4, " ms", 10, "x"), ("38 ms", "10 ms", "3.8 x", ""), id="nothing wanted"),
        pytest.param(Figure("p", "w", 100, "/s"), ("100/s", "", "", ""), id="no plain way"),
        pytest.param(Figure("p", "w", 12_000, "/s", goal=10_000), ("12,000/s", "", "", "≥ 10,000/s"), id="more than the goal"),
        pytest.param(Figure("p", "w", 98.43, "%", goal=99), ("98.4%", "", "", "≥ 99% MISSED"), id="less than the goal"),
        pytest.param(Figure("p", "w", 0.842, " s", goal=1.5), ("0.842 s", "", "", "≤ 1.5 s"), id="within the bound"),
        pytest.param(Figure("p", "w", 120.7, " us", goal=100), ("121 us", "", "", "≤ 100 us MISSED"), id="above the bound"),
        pytest.param(Figure("p", "w", 5000, "/s", 10, "x"), ("5,000/s", "10/s", "500 x", ""), id="a large ratio"),
    ],
)  # fmt: skip
def test_a_figure_is_told_with_its_ratio(figure: Figure, cells: tuple[str, ...]) -> None:
    assert figure.cells()[2:6] == cells
    assert len(table([figure]).splitlines()) == 2
