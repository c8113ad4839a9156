"""What it costs that people watch a run on the live page: the page's processor time, and what sending loses by it.

Sending with and without viewers takes turns. The viewers are connections that read the run's events, as browsers do.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from benchmarks import stub
from benchmarks.figures import Figure
from benchmarks.plan import COMMAND, people
from sender.core.errors import UnknownRun
from sender.state.open import open_state

VIEWERS, PAIRS = 50, 3
GOAL_CORE, GOAL_SLOWER = 5.0, 3.0  # per cent
MANY = 100_000  # below that, starting the processes is most of it


@dataclass(frozen=True)
class Sent:
    """A run that was sent: seconds, and of processor time; and of the page's, while it was sent."""

    wall_s: float
    cpu_s: float
    page_s: float = 0.0
    events: int = 0


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """`options.messages` messages to a stub without latency, durable, in turn with VIEWERS and without."""
    with tempfile.TemporaryDirectory() as name, stub.running(0) as (url, kind):
        folder = Path(name)
        people(folder / "people.csv", options.messages)
        env = {**os.environ, "SENDER_SANDBOX_URL": url, "SENDER_RULES": "none"}
        plan = ("plan", "people.csv", *COMMAND, "--rate", "none", "--out", "plan")
        _sender(plan, folder, env).wait()
        alone, watched = [], []
        for _ in range(PAIRS if options.messages < 10 * MANY else 1):
            alone.append(_send(folder, env, viewers=0))
            watched.append(_send(folder, env, viewers=VIEWERS))
        ratios = [100 * (after.cpu_s / before.cpu_s - 1) for before, after in zip(alone, watched, strict=True)]
        core = statistics.median(100 * one.page_s / one.wall_s for one in watched)
        events = sum(one.events for one in watched)
        many = options.messages >= MANY
        note = f"{options.messages:,} messages, {VIEWERS} viewers, {events:,} events; {kind}"
        yield Figure("watching", "a core, for the page", core, " %", goal=GOAL_CORE if many else None, note=note)
        pairs = "1 pair" if len(ratios) == 1 else f"{len(ratios)} pairs"
        spread = f"{min(ratios):.1f} to {max(ratios):.1f} in {pairs}, of processor time"
        yield Figure(
            "watching",
            "sending costs more",
            statistics.median(ratios),
            " %",
            goal=GOAL_SLOWER if many else None,
            note=spread,
        )


def _send(folder: Path, env: dict[str, str], *, viewers: int) -> Sent:
    shutil.rmtree(folder / "state", ignore_errors=True)
    began = time.perf_counter()
    sending = _sender(("send", "plan", "--yes", "--wait", "0", "--state", "state", "--init-state"), folder, env)
    if not viewers:
        _, status, usage = os.wait4(sending.pid, 0)
        sending.returncode = os.waitstatus_to_exitcode(status)
        return Sent(time.perf_counter() - began, usage.ru_utime + usage.ru_stime)
    run_id = _first_run(folder / "state")
    with _page(folder, env) as (process, address), _watch(address, run_id, viewers) as seen:
        before = _cpu_s(process)
        watched_from = time.perf_counter()
        _, status, usage = os.wait4(sending.pid, 0)
        sending.returncode = os.waitstatus_to_exitcode(status)
        share = (_cpu_s(process) - before) / (time.perf_counter() - watched_from)
        wall_s = time.perf_counter() - began
        return Sent(wall_s, usage.ru_utime + usage.ru_stime, share * wall_s, seen[0])


def _sender(arguments: tuple[str, ...], folder: Path, env: dict[str, str], **options: int) -> subprocess.Popen[bytes]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | options
    return subprocess.Popen([sys.executable, "-m", "sender", *arguments], cwd=folder, env=env, **quiet)  # type: ignore[call-overload, no-any-return]


def _first_run(state: Path) -> str:
    for _ in range(2_000):
        with suppress(UnknownRun), open_state(state, create=False, read_only=True) as opened:
            if runs := opened.ledger.runs():
                return runs[0].run_id
        time.sleep(0.01)
    raise RuntimeError("no run has begun")


@contextmanager
def _page(folder: Path, env: dict[str, str]) -> Iterator[tuple[psutil.Process, str]]:
    """The page in a process of its own, and the address that admits."""
    child = _sender(("web", "--port", "0", "--state", "state"), folder, env, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        line = child.stdout.readline().decode()
        yield psutil.Process(child.pid), line.split()[1]
    finally:
        child.terminate()
        child.wait()


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def _watch(address: str, run_id: str, viewers: int) -> Iterator[list[int]]:
    """So many connections that read the run's events; the list has how many events they have read."""
    seen = [0]
    loop = asyncio.new_event_loop()
    parts = urlsplit(address)

    async def ask(path: str, headers: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{headers}\r\n".encode())
        return reader, writer

    async def view(cookie: str) -> None:
        reader, _ = await ask(f"/events/{run_id}", f"Cookie: {cookie}\r\n")
        while block := await reader.read(65_536):
            seen[0] += block.count(b"event: parts")

    async def watch() -> None:
        reader, writer = await ask(f"{parts.path}?{parts.query}", "Connection: close\r\n")
        found = re.search(rb"set-cookie: ([^;]+);", await reader.read())
        writer.close()
        assert found is not None
        async with asyncio.TaskGroup() as group:
            for _ in range(viewers):
                group.create_task(view(found[1].decode()))

    task = loop.create_task(watch())

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()
