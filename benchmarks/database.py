"""What the benchmarks of a state in PostgreSQL share: a server, machines that send, and samples of what they cost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from benchmarks.figures import ROOT
from sender.state.database_url import read_database_url
from sender.state.open import open_state
from sender.state.postgres.install import install
from tests.state.postgres_server import BINARIES, Server

Process = subprocess.Popen[bytes]
SAMPLE_EVERY_S = 0.1
WAIT_S = 120.0
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "30min"}


@contextmanager
def running_server() -> Iterator[Server]:
    """The newest PostgreSQL that is there, with fsync and a new state. What it costs is told without checkpoints."""
    server = Server.start(next(iter(BINARIES.values())), **SETTINGS)
    try:
        install(read_database_url(server.url))
        yield server
    finally:
        server.remove()


@dataclass(frozen=True, slots=True)
class Sample:
    """What has been done and used up to a moment: messages, processor time of senders and database, bytes of WAL."""

    at_s: float
    done: int
    senders_s: float
    database_s: float
    wal: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What a message costs, and how many left in a second; processor time in microseconds."""

    per_s: float
    sender_us: float
    database_us: float
    wal: float

    @staticmethod
    def between(first: Sample, last: Sample) -> Cost:
        done = max(1, last.done - first.done)
        return Cost(
            done / max(last.at_s - first.at_s, SAMPLE_EVERY_S),
            (last.senders_s - first.senders_s) / done * 1e6,
            (last.database_s - first.database_s) / done * 1e6,
            (last.wal - first.wal) / done,
        )


class Sampler:
    """Looks at a run while it is sent: `pids` says which processes send it."""

    def __init__(self, server: Server) -> None:
        self._postmaster = psutil.Process(int((Path(server.data) / "postmaster.pid").read_text().split()[0]))
        self._db = psycopg.connect(server.url, autocommit=True)
        self._used: dict[int, float] = {}

    def close(self) -> None:
        self._db.close()

    def take(self, done: int, pids: list[int]) -> Sample:
        for pid in pids:
            with suppress(psutil.Error):  # it has ended: what was last seen counts
                self._used[pid] = _cpu_s(psutil.Process(pid))
        row = self._db.execute("SELECT pg_current_wal_lsn() - '0/0'").fetchone()
        assert row is not None
        return Sample(time.monotonic(), done, sum(self._used.values()), self._database_s(), int(row[0]))

    def _database_s(self) -> float:
        """With those of its processes that have ended."""
        times = self._postmaster.cpu_times()
        used = times.user + times.system + times.children_user + times.children_system
        for child in self._postmaster.children():
            with suppress(psutil.Error):
                used += _cpu_s(child)
        return float(used)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(server: Server, command: Callable[[], Process], senders: int, *, during: Callable[[], None]) -> Cost:
    """What the run that `command` begins costs, sent by so many shifts (0: by its process), once all of them send."""
    sampler = Sampler(server)
    samples: list[Sample] = []
    try:
        with open_state(server.url) as state:
            assert state.sharing is not None
            known = {run.run_id for run in state.ledger.runs()}
            process = command()
            wait(lambda: process.poll() is not None or len(state.ledger.runs()) > len(known))
            run = next(run for run in state.ledger.runs() if run.run_id not in known)
            is_begun = False
            while True:
                shifts = [shift.pid for shift in state.sharing.shifts(run.run_id)] if senders else [process.pid]
                counts = state.ledger.counts(run.run_id)
                if not is_begun:
                    is_begun = counts.accepted > 0 and len(shifts) >= senders
                    samples = samples[-1:]
                samples.append(sampler.take(counts.accepted, shifts))
                if counts.accepted == run.messages or process.poll() is not None:
                    break
                during()
                time.sleep(SAMPLE_EVERY_S)
            assert process.wait() == 0
    finally:
        sampler.close()
    return Cost.between(samples[1 if len(samples) > 2 else 0], samples[-1])


def begin(command: tuple[str, ...], home: Path, *, url: str | None = None) -> Process:
    """`sender` on a machine of its own, which keeps its copies in `home`; `url` is the provider's."""
    home.mkdir(exist_ok=True)
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    env |= {"XDG_STATE_HOME": str(home), "SENDER_RULES": "none"} | ({"SENDER_SANDBOX_URL": url} if url else {})
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-m", "sender", *command], cwd=ROOT, env=env, **quiet)


@contextmanager
def workers(server: Server, homes: list[Path], places: int) -> Iterator[list[Process]]:
    """`sender worker` on so many machines."""
    command = ("worker", "--state", server.url, "--workers", str(places))
    begun = [begin(command, home) for home in homes]
    try:
        with open_state(server.url) as state:
            assert state.sharing is not None
            sharing = state.sharing
            wait(lambda: len(sharing.workers()) >= len(begun))
        yield begun
    finally:
        for process in begun:
            kill_all(process)


def kill_all(process: Process) -> None:
    """Kill a worker and the processes that it has begun, at once."""
    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
    with suppress(ProcessLookupError):
        process.kill()
    process.wait()


def sending(plan: Path, server: Server, home: Path, url: str, *options: str) -> Process:
    """`sender send` of a written plan, with the state on the server."""
    command = ("send", str(plan), "--yes", "--wait", "0", "--again", "--state", server.url, *options)
    return begin(command, home, url=url)


def wait(holds: Callable[[], object], *, most_s: float = WAIT_S) -> float:
    """How many seconds it takes until `holds`, which may fail while it does not."""
    begun_s = time.monotonic()
    while True:
        with suppress(Exception):
            if holds():
                return time.monotonic() - begun_s
        if time.monotonic() > begun_s + most_s:
            raise RuntimeError(f"it takes more than {most_s:.0f} s")
        time.sleep(0.05)
