"""`python -m benchmarks windows`: what windows cost, in planning, in sending, and in waiting.

With and without a window in turn, on the same list. Its people live in 24 zones, one for each hour; at any moment a
window of six hours is open in six of them, and the messages of the 18 others are held.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from benchmarks import stub
from benchmarks.figures import ROOT, Figure
from benchmarks.numbers import AREAS
from benchmarks.plan import NOBODYS

ZONES = tuple(f"Etc/GMT{hours:+}" for hours in range(-11, 13))  # POSIX signs; no clock of theirs ever changes
MANY, MOST = 20, 1_000_000  # times the messages of other parts: so many that each zone has thousands
PAIRS = 7
WAIT_S = 60.0
GOAL_PLAN, GOAL_SEND, GOAL_WAIT = 1.15, 0.95, 0.1
# Twilio's messages have a validity; with another provider the rest would wait for its queue.
CAMPAIGN = """\
name: people
provider: sandbox
sandbox: {dialect: twilio}
from: "+12025550100"
rate: none
recipients: people.csv
message: "Hi {{ name }}"
"""


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """A list of `MANY * options.messages` people, MOST at most."""
    rows = min(MANY * options.messages, MOST)
    pairs, wait_s = (PAIRS, WAIT_S) if rows >= MOST else (1, 1.0)
    open_now = ("--window", hours_around(datetime.now(UTC)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_people(folder / "people.csv", rows)
        yield plan_figure(folder, rows, open_now, pairs)
        with stub.running(0) as (url, kind):
            yield from send_figures(folder, rows, url, kind, min(pairs, 3))
            yield from wait_figures(folder, rows, wait_s, url)


def hours_around(now: datetime) -> str:
    """Six hours of the day that are open now, and for longer than the benchmark takes, in six of the zones.

    They are around noon, when the shipped rules let everything leave, and in six zones it is always noon or nearly so.
    """
    noon = now.replace(hour=12)
    start, end = ((noon + timedelta(minutes=minutes)).strftime("%H:%M") for minutes in (-179, 180))
    return f"{start}-{end}"


def write_people(path: Path, rows: int) -> None:
    """A campaign, and its list of different numbers that belong to nobody, each with a time zone."""
    path.with_suffix(".yaml").write_text(CAMPAIGN, encoding="utf-8")
    with path.open("w", encoding="utf-8") as file:
        file.write("name,phone,timezone\n")
        for i in range(rows):
            exchange, line = NOBODYS[i // 10_000 % 4], i % 10_000
            file.write(f"Name{i},+1{AREAS[i // 40_000]}{exchange}{line:04},{ZONES[i % 24]}\n")


def plan_figure(folder: Path, rows: int, window: Sequence[str], pairs: int) -> Figure:
    """A written plan with a window and the shipped rules, against one without either."""
    # Of which each request has one field more, as those with a window have.
    plain = ("plan", "people.yaml", "--rules", "none", "--set", "validity_period=36000", "--out", "plain")
    timed = ("plan", "people.yaml", "--rules", "us", *window, "--out", "timed")
    both = [(run(folder, timed)[0], run(folder, plain)[0]) for _ in range(pairs)]
    ours, plainly = sorted(both, key=lambda pair: pair[0] / pair[1])[len(both) // 2]
    ratios = sorted(ours / plainly for ours, plainly in both)
    note = f"{rows:,} rows, {pairs} pairs: {ratios[0]:.2f} to {ratios[-1]:.2f}; wanted: at most {GOAL_PLAN}"
    missed = statistics.median(ratios) > GOAL_PLAN and rows >= MOST
    return Figure(
        "windows", "plan, CPU", ours, " s", plainly, "without a window", note=f"MISSED: {note}" if missed else note
    )


def send_figures(folder: Path, rows: int, url: str, kind: str, turns: int) -> Iterator[Figure]:
    """What is open leaves while the rest is held, against as many messages of a plan that holds nothing."""
    env = {"SENDER_SANDBOX_URL": url}
    both, peaks = [], []
    for turn in range(turns):
        states = folder / f"timed{turn}", folder / f"plain{turn}"
        timed = run(folder, ("send", "timed", *SENDING, "--no-hold", "--state", states[0].name), env, 130)
        first = str(sent(states[0])[1])
        plain = run(folder, ("send", "plain", *SENDING, "--limit", first, "--state", states[1].name), env)
        both.append((sent(states[0]), sent(states[1])))
        peaks.append((timed[1], plain[1]))
    (ours, count), (plainly, _) = sorted(both, key=lambda pair: pair[0][0] / pair[1][0])[len(both) // 2]
    ratios = sorted(timed[0] / plain[0] for timed, plain in both)
    note = f"{count:,} messages, {rows - count:,} held; {ratios[0]:.2f} to {ratios[-1]:.2f}; {kind}"
    note += f"; wanted: at least {GOAL_SEND}"
    wanted = GOAL_SEND if rows >= MOST and ratios[-1] < GOAL_SEND else None  # a miss lies outside the spread
    yield Figure("windows", "durable, by due time", ours, "/s", plainly, "without a window", least=wanted, note=note)
    peak, before = (max(column) for column in zip(*peaks, strict=True))
    yield Figure("windows", "peak memory of it", peak, " MiB", before, "without a window")


SENDING = ("--yes", "--wait", "0", "--init-state", "--on-unknown", "hold")


def wait_figures(folder: Path, rows: int, wait_s: float, url: str) -> Iterator[Figure]:
    """A process that only waits, with every message held, over 24 zones."""
    later = datetime.now(UTC) + timedelta(minutes=30)  # in no zone is it this minute, as all are whole hours apart
    end = f"{later + timedelta(minutes=1):%H:%M}".replace("00:00", "24:00")
    window = ("--window", f"{later:%H:%M}-{end}", "--rules", "none")
    run(folder, ("plan", "people.yaml", *window, "--out", "held"))
    command = [sys.executable, "-m", "sender", "send", "held", *SENDING, "--state", "waiting"]
    with (folder / "log").open("wb") as log:
        env = environment(SENDER_SANDBOX_URL=url)
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
    try:
        while b"held until" not in (folder / "log").read_bytes():
            if process.poll() is not None:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.1)
        time.sleep(min(5.0, wait_s))  # it settles down
        measured = psutil.Process(process.pid)
        before = measured.cpu_times()
        time.sleep(wait_s)
        after, held_mib = measured.cpu_times(), measured.memory_info().rss / 1024 / 1024
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    share = 100 * (after.user + after.system - before.user - before.system) / wait_s
    wanted = f"wanted: under {GOAL_WAIT} %"
    note = f"{rows:,} messages held, {wait_s:g} s; {wanted if share < GOAL_WAIT else f'MISSED: {wanted}'}"
    yield Figure("windows", "waiting, % of a core", share, "", note=note)
    yield Figure("windows", "waiting, memory", held_mib, " MiB")


def sent(state: Path) -> tuple[float, int]:
    """Messages a second between the first and the last outcome of the only run there, and how many there are."""
    import apsw

    db = apsw.Connection(str(state / "ledger.sqlite3"), flags=apsw.SQLITE_OPEN_READONLY)
    count, first, last = next(
        iter(db.execute("SELECT count(*), min(updated_at), max(updated_at) FROM message WHERE state = 'accepted'"))
    )
    db.close()
    return count / max((last - first) / 1000, 0.001), count


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "SENDER_RULES": "none", **more}


def run(
    folder: Path, arguments: Sequence[str], env: dict[str, str] | None = None, ends: int = 0
) -> tuple[float, float]:
    """Seconds of processor time, and the peak memory in MiB, of `sender` with these arguments."""
    with (folder / "printed").open("wb") as printed:
        child = subprocess.Popen(
            [sys.executable, "-m", "sender", *arguments],
            cwd=folder,
            env=environment(**(env or {})),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
        )
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != ends:
        raise RuntimeError(f"{' '.join(arguments)}: {child.returncode}: {(folder / 'printed').read_text()[-800:]}")
    kib = 1024 if sys.platform == "darwin" else 1
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / kib / 1024
