"""Several workers, a database and a provider, and what may happen to them: for the tests of faults, and by hand.

`python -m tests.cluster.rig kill --messages 5000` runs one scenario at another size and prints what came of it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from sender.core.errors import SenderError
from sender.state.database_url import read_database_url
from sender.state.ledger import RunKind
from sender.state.open import open_state
from sender.state.postgres.install import install
from tests import local_http
from tests.cli.conftest import AREAS, ROOT
from tests.cluster.namespaces import Namespace
from tests.state.postgres_server import BINARIES, Server, free_port

LEASE_MS, LATE_MS, TIMEOUT_S = 3_000, 1_000, 2
MOST_STARTS = 4
TAKEN_UP_S = 20.0  # a run that nobody sends for longer waits for a person
OVER_S = (LEASE_MS + LATE_MS) / 1000 + TIMEOUT_S  # after that, what a sender had claimed is unknown
CAMPAIGN = f"""\
name: offer
provider: twilio
from: "+12025550100"
recipients: people.csv
message: "Hi {{{{ name }}}}"
rate: RATE
timeout_s: {TIMEOUT_S}
"""


@dataclass
class Outcome:
    """What came of a run: how often the provider got each message, what the ledger says, and how long it took."""

    planned: int
    sent: Counter[int] = field(default_factory=Counter)
    accepted: int = 0
    rows: int = 0
    took_s: float = 0.0
    disturbances: int = 0

    @property
    def duplicates(self) -> int:
        return sum(count for times, count in self.sent.items() if times > 1)

    @property
    def lost(self) -> int:
        return self.planned - sum(self.sent.values())

    def check(self) -> None:
        assert (self.duplicates, self.lost) == (0, 0), self
        assert (self.accepted, self.rows) == (self.planned, self.planned), self


class Rig:
    """One run over several workers of this machine, each in a folder of its own."""

    def __init__(self, folder: Path, *, latency_ms: int = 50, mutant: str = "", delay_s: float = 0.0) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        self.namespaces: list[Namespace] = []
        self.server = Server.start(BINARIES[next(iter(BINARIES))], listen_addresses="*")
        with (Path(self.server.data) / "pg_hba.conf").open("a") as file:
            file.write("host all all 10.213.0.0/16 trust\n")
        self.server.halt()
        self.server.resume()
        install(read_database_url(self.server.url))
        self.port = free_port()
        self._start("sandbox", "--port", str(self.port), "--latency", str(latency_ms))
        self.sandbox = f"http://127.0.0.1:{self.port}"
        self.mutant, self.delay_s = mutant, delay_s
        self.begun = 0
        self.busy_s = time.monotonic()  # when somebody was last seen at work
        wait(lambda: local_http.get(f"{self.sandbox}/sandbox/counts").status_code == 200)

    def _env(self, home: str, **more: str) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("SENDER", "TWILIO"))}
        return env | {
            "PYTHONPATH": f"{ROOT / 'tests' / 'cluster' / 'traps'}{os.pathsep}{ROOT}",
            "XDG_STATE_HOME": str(self.folder / home),
            "SENDER_RULES": "none",
            **more,
        }

    def _start(
        self, *args: str, inside: Namespace | None = None, home: str = "home", **env: str
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "sender", *args]
        with (self.folder / f"{args[0]}-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                command if inside is None else inside.wrap(command),
                cwd=self.folder,
                env=self._env(home, **env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def begin_workers(self, count: int, *, namespaces: bool = False) -> None:
        for number in range(count):
            inside, host = None, "127.0.0.1"
            if namespaces:
                inside = Namespace(number, self.port)
                self.namespaces.append(inside)
                host = inside.database_host
            times = {"SENDER_TEST_TIMES": f"{LEASE_MS},{LATE_MS}", "SENDER_TEST_MUTANT": self.mutant}
            times["SENDER_TEST_DELAY_S"] = str(self.delay_s)
            times["SENDER_SANDBOX_SETTLE_S"] = "0" if self.delay_s else "0.5"  # the sandbox's log never lags
            url = self.server.url.replace("127.0.0.1", host)
            home = f"machine{number}"
            self.workers.append(self._start("worker", "--state", url, inside=inside, home=home, **times))
        with open_state(self.server.url) as state:
            assert state.sharing is not None
            wait(lambda: len(state.sharing.workers()) >= count)

    def begin_run(self, messages: int, rate: str) -> None:
        """Begin the run, and leave it to the workers."""
        rows = (f"Ada {i},+1{AREAS[i // 90]}55501{i % 90:02}" for i in range(messages))
        (self.folder / "people.csv").write_text("name,phone\n" + "\n".join(rows) + "\n")
        (self.folder / "offer.yaml").write_text(CAMPAIGN.replace("RATE", rate))
        self.begin_again("--detach")

    def begin_again(self, *more: str) -> None:
        """Start the same campaign: a run that is unfinished, or in doubt, goes on."""
        self.begun += 1
        args = ("send", "offer.yaml", "--yes", "--rehearse", "--wait", "0", "--state", self.server.url)
        env = {"SENDER_SANDBOX_URL": self.sandbox, "SENDER_SANDBOX_SETTLE_S": "0.5"}
        process = self._start(*args, "--shifts", str(max(1, len(self.workers))), *more, **env)
        assert process.wait(120) in (0, 3, 4), self.logs()

    # -- looking -----------------------------------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        recipients: dict[str, int] = local_http.get(f"{self.sandbox}/sandbox/counts").json()["recipients"]
        return recipients

    def shifts(self) -> list[int]:
        """The process ids of the senders that have sent something."""
        with open_state(self.server.url) as state:
            assert state.sharing is not None
            return [shift.pid for shift in state.sharing.shifts() if shift.sent]

    def steward(self) -> int | None:
        with open_state(self.server.url) as state:
            holder = state.locks.holder("offer", RunKind.REHEARSAL)
        return None if holder is None else holder.pid

    def unknown(self) -> int:
        with open_state(self.server.url) as state:
            return state.ledger.counts(state.ledger.runs()[0].run_id).unknown

    def is_over(self) -> bool:
        with open_state(self.server.url) as state:
            return state.ledger.runs()[0].finished_at_ms is not None

    def is_at_rest(self) -> bool:
        """Whether the run is over, has been stopped by what one of its senders met, or is taken up by nobody."""
        with open_state(self.server.url) as state:
            run = state.ledger.runs()[0]
            assert state.sharing is not None
            order, shifts = state.sharing.order(run.run_id), state.sharing.shifts(run.run_id)
        if run.finished_at_ms is not None or (order is not None and order.halted is not None):
            return True
        if shifts or self.steward() is not None:
            self.busy_s = time.monotonic()
        return time.monotonic() - self.busy_s > TAKEN_UP_S

    def logs(self) -> str:
        return "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in sorted(self.folder.glob("*.log")))

    def outcome(self, planned: int, begun_s: float, disturbances: int) -> Outcome:
        with open_state(self.server.url) as state:
            run = state.ledger.runs()[0]
            counts, rows = state.ledger.counts(run.run_id), state.ledger.journal(run.run_id).height
        sent = Counter(self.counts().values())
        return Outcome(planned, sent, counts.accepted, rows, time.monotonic() - begun_s, disturbances)

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.server.url, autocommit=True) as db:
            db.execute(statement.encode())

    def close(self) -> None:
        with contextlib.suppress(Exception), open_state(self.server.url) as state:
            assert state.sharing is not None
            for shift in state.sharing.shifts():
                kill(shift.pid)
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for each in self.namespaces:
            each.close()
        self.server.remove()


@contextlib.contextmanager
def rig(folder: Path, **options: Any) -> Iterator[Rig]:
    """A rig, which is taken apart at the end."""
    made = Rig(folder, **options)
    try:
        yield made
    finally:
        made.close()


def wait(holds: Callable[[], object], *, most_s: float = 120.0) -> None:
    """Return when `holds`, which may fail while it does not."""
    until = time.monotonic() + most_s
    while True:
        with contextlib.suppress(OSError, psycopg.Error, httpx.HTTPError, SenderError):
            if holds():
                return
        if time.monotonic() > until:
            raise AssertionError("it takes too long")
        time.sleep(0.1)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


# -- scenarios: each does something to a run that is under way, until the run is over or `times` are through --------------


def kill_senders(rig: Rig, times: int, dice: random.Random) -> int:
    """Senders and the steward die, with what they have in flight."""
    done = 0
    for number in range(times):
        time.sleep(dice.uniform(0.5, 1.5))
        wait(lambda: rig.is_over() or rig.shifts())
        if rig.is_over():
            break
        pid = rig.steward() if number % 3 == 2 else dice.choice(rig.shifts() or [0])
        if pid:
            kill(pid)
            done += 1
    return done


def freeze_senders(rig: Rig, times: int, dice: random.Random) -> int:
    """A sender sleeps until what it had claimed has been taken for unknown and looked up, and then goes on."""
    for _ in range(times):
        wait(rig.shifts)
        pid = dice.choice(rig.shifts())
        kill(pid, signal.SIGSTOP)
        time.sleep(OVER_S + 12.0)
        kill(pid, signal.SIGCONT)
        time.sleep(4.0)  # for what it sends now
    return times


def restart_database(rig: Rig, times: int, dice: random.Random) -> int:
    """The database crashes and comes back."""
    for _ in range(times):
        time.sleep(dice.uniform(1.0, 2.0))
        rig.server.halt("immediate")
        time.sleep(1.0)
        rig.server.resume()
    return times


def confuse_engine(rig: Rig, times: int, dice: random.Random) -> int:
    """Shifts and stewards are doubled, and the engine's tables are gone."""
    rig.execute(
        "INSERT INTO pgqueuer (priority, entrypoint, payload, status)"
        " SELECT 0, entrypoint, payload, 'queued' FROM pgqueuer, generate_series(1, 2)"
    )
    for _ in range(times):
        time.sleep(dice.uniform(1.0, 2.0))
        rig.execute("DROP TABLE IF EXISTS pgqueuer CASCADE")
    return 1 + times


def cut_network(rig: Rig, times: int, dice: random.Random) -> int:
    """A machine loses the database, the provider, or both, without a word; for longer than its claims live, at times."""
    for number in range(times):
        place = dice.choice(rig.namespaces)
        what = ("database", "provider", "both")[number % 3]
        place.cut(what)
        time.sleep((1.0, OVER_S + 3.0)[number % 2])
        place.join(what)
        time.sleep(1.0)
    return times


def kill_steward(rig: Rig, times: int, dice: random.Random) -> int:
    """Whoever sees the run to its end dies, again and again; the next one looks up what is in doubt at once."""
    done = 0
    for _ in range(times):
        time.sleep(dice.uniform(1.0, 2.0))
        if (pid := rig.steward()) is not None:
            kill(pid)
            done += 1
        time.sleep(12.0)
    return done


SCENARIOS: dict[str, Callable[[Rig, int, random.Random], int]] = {
    "kill": kill_senders,
    "steward": kill_steward,
    "freeze": freeze_senders,
    "restart": restart_database,
    "engine": confuse_engine,
    "cut": cut_network,
}


def play(
    folder: Path,
    scenario: str,
    *,
    messages: int,
    rate: str,
    times: int,
    workers: int = 3,
    latency_ms: int = 50,
    mutant: str = "",
    delay_s: float = 0.0,
    most_s: float = 240.0,
) -> Outcome:
    """Send `messages` while `scenario` happens `times`; return what came of it."""
    dice = random.Random(1)
    with rig(folder, latency_ms=latency_ms, mutant=mutant, delay_s=delay_s) as it:
        it.begin_workers(workers, namespaces=scenario == "cut")
        begun_s = time.monotonic()
        it.begin_run(messages, rate)
        wait(lambda: len(it.counts()) >= min(20, messages // 4))
        disturbances = SCENARIOS[scenario](it, times, dice)
        try:
            wait(it.is_at_rest, most_s=most_s)
            while (not it.is_over() or it.unknown()) and it.begun < MOST_STARTS:  # as a person does
                it.begin_again()
                it.busy_s = time.monotonic()
                wait(it.is_at_rest, most_s=most_s)
        except AssertionError:
            raise AssertionError(f"{it.outcome(messages, begun_s, disturbances)}\n{it.logs()}") from None
        return it.outcome(messages, begun_s, disturbances)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", choices=list(SCENARIOS))
    parser.add_argument("--messages", type=int, default=600)
    parser.add_argument("--rate", default="40/s")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--mutant", default="")
    options = vars(parser.parse_args())
    with tempfile.TemporaryDirectory() as folder:
        outcome = play(Path(folder), options.pop("scenario"), **options, most_s=900.0)
    print(json.dumps({**vars(outcome), "duplicates": outcome.duplicates, "lost": outcome.lost}, default=dict))  # noqa: T201


if __name__ == "__main__":
    main()
