"""Processes that are forked from a warm parent are what new ones would be; the tests of the command rest on it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import warm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
PROGRAM = """
import json, os, random, signal, sys, threading
import polars as pl

if __name__ == "__main__":
    frame = pl.DataFrame({"n": range(5000), "of": [f"{n % 7}" for n in range(5000)]})
    frame.write_parquet(file := f"{os.getpid()}.parquet")
    groups = pl.scan_parquet(file).filter(pl.col("n") >= 7).group_by("of").len().collect().height
    told = {
        "arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ), "groups": groups,
        "threads": threading.active_count(), "random": random.random(), "input": sys.stdin.read(), "pid": os.getpid(),
        "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "files": sorted(os.listdir("/proc/self/fd")),
    }
    print(json.dumps(told))
    print("about it", file=sys.stderr)
    threading.Thread(target=lambda: print("joined")).start()
    sys.exit(int(sys.argv[1]))
"""
SLEEPER = "import time\nprint('asleep', flush=True)\ntime.sleep(60)\n"
ENV = {"PATH": "/usr/bin", "HOME": "/nowhere", "LC_CTYPE": "C.UTF-8"}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    return tmp_path


def test_a_forked_process_sees_what_a_new_one_sees(programs: Path) -> None:
    seen = []
    for fresh in (True, False):
        process = warm.start("program", ["3", "four"], cwd=programs, env=ENV, fresh=fresh)
        assert isinstance(process, subprocess.Popen if fresh else warm.Forked)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 3, err
        assert err == "about it\n"
        first, second = out.splitlines()
        assert second == "joined"
        seen.append(json.loads(first))
        assert seen[-1].pop("pid") == process.pid
    new, forked = seen
    assert new.pop("random") != forked.pop("random")
    new["environment"].pop("_RJEM_MALLOC_CONF", None)  # polars leaves it there when it is imported
    assert new == forked
    assert (new["folder"], new["input"]) == (str(programs), "")


def test_each_is_seeded_anew(programs: Path) -> None:
    processes = [warm.start("program", ["0"], cwd=programs, env=ENV) for _ in range(4)]
    told = [json.loads(process.communicate(timeout=60)[0].splitlines()[0]) for process in processes]
    assert len({one["random"] for one in told}) == 4


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_dies_by_a_signal_as_any_other(programs: Path, number: int) -> None:
    process = warm.start("sleeper", [], cwd=programs, env=ENV, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == "asleep\n"
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(number)
    assert process.wait(20) == -number
    process.send_signal(number)  # nobody is there any more
    assert process.communicate() == ("", "")


def test_what_it_prints_can_go_to_a_file(programs: Path) -> None:
    with (programs / "log").open("w") as log:
        process = warm.start("program", ["0"], cwd=programs, env=ENV, stdout=subprocess.DEVNULL, stderr=log)
    assert process.wait(60) == 0
    assert (programs / "log").read_text() == "about it\n"


def test_the_parent_runs_no_pool_that_a_fork_would_lose() -> None:
    code = "from tests import warm; [warm.import_module(name) for name in warm.IMPORTS]; print(*warm.threads())"
    names = subprocess.run(
        [sys.executable, "-c", code], cwd=warm.ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert names
    assert not [name for name in names if warm.POOLS.match(name)]
