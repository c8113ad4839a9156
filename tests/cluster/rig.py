"""Several workers, a database and a provider, and what came of a run over them."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import apsw
import httpx
import phonenumbers
import psycopg

from benchmarks.lists import areas
from sender.core.errors import SenderError
from sender.state.database_url import read_database_url
from sender.state.ledger import RunKind
from sender.state.open import open_state
from sender.state.postgres.install import install
from tests import local_http, warm
from tests.cli.conftest import AREAS, ROOT
from tests.cluster.namespaces import Namespace, free_network
from tests.state.postgres_server import BINARIES, Server, free_port

LEASE_MS, LATE_MS, TIMEOUT_S = 3_000, 1_000, 2
MOST_PEOPLE = 90 * len(AREAS)
PATIENT_S = 900
TAKEN_UP_S = 20.0  # a run that nobody sends for longer waits for a person
CAMPAIGN = """\
name: offer
provider: twilio
from: "+12025550100"
recipients: people.csv
message: "Hi {{ name }}"
dedupe: none
rate: RATE
timeout_s: LONGEST
"""


@dataclass
class Outcome:
    """What came of a run. `sent` is how many messages the provider got how often, each told by its text.

    `accepted` and `rows` are the ledger's; `agreed` is how many rows of the results have the provider's own id.
    """

    planned: int
    sent: Counter[int] = field(default_factory=Counter)
    accepted: int = 0
    rows: int = 0
    agreed: int = 0
    took_s: float = 0.0
    disturbances: int = 0
    starts: int = 0
    most_a_second: int = 0

    @property
    def duplicates(self) -> int:
        return sum((times - 1) * count for times, count in self.sent.items())

    @property
    def lost(self) -> int:
        return self.planned - sum(self.sent.values())

    @property
    def is_clean(self) -> bool:
        return (self.duplicates, self.lost) == (0, 0) and {self.accepted, self.rows, self.agreed} == {self.planned}

    def check(self) -> None:
        assert self.is_clean, self


class Rig:
    """One run over several workers of this machine, each in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        *,
        latency_ms: int = 50,
        mutant: str = "",
        delay_s: float = 0.0,
        times_ms: tuple[int, int] = (LEASE_MS, LATE_MS),
        standby: str = "",
        clocks_s: tuple[int, ...] = (0,),
        timeout_s: int = TIMEOUT_S,
    ) -> None:
        """`times_ms` are the lease, and the grace beyond the longest request, which may take `timeout_s`.

        `standby` says that another server may take over: one that has everything (`synchronous`), or a copy that is
        made `later`. `clocks_s` is what the machines' clocks are wrong by, in turn.
        """
        self.folder = folder
        self.commands: list[warm.Process] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        self.namespaces: list[Namespace] = []
        self.server = Server.start(BINARIES[next(iter(BINARIES))], listen_addresses="*")
        self.url, self.copy_port = self.server.url, free_port()
        self.copy: Server | None = None
        if standby:
            self.url = (
                f"postgresql://sender@127.0.0.1:{self.server.port},127.0.0.1:{self.copy_port}/postgres"
                "?target_session_attrs=read-write"
            )
        if standby == "synchronous":
            self.copy = self.server.copy(self.copy_port)
            self.copy.resume()
            self.execute("ALTER SYSTEM SET synchronous_standby_names = 'copy'")
            self.execute("SELECT pg_reload_conf()")
        install(read_database_url(self.url))
        self.port = free_port()
        self.truth = folder / "truth.sqlite3"
        words = ("--port", str(self.port), "--latency", str(latency_ms), "--state", str(self.truth))
        self.provider = self._start("sandbox", *words)
        self.sandbox = f"http://127.0.0.1:{self.port}"
        self.mutant, self.delay_s, self.times_ms = mutant, delay_s, times_ms
        self.clocks_s = clocks_s
        self.timeout_s = timeout_s
        self.over_s = sum(times_ms) / 1000 + timeout_s  # after that, what a sender had claimed is unknown
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

    def _log(self, command: str) -> BinaryIO:
        return (self.folder / f"{command}-{len(self.commands) + len(self.workers)}.log").open("wb")

    def _start(self, *args: str, **env: str) -> warm.Process:
        """`sender` with `args`, as a person runs it."""
        with self._log(args[0]) as log:
            process = warm.start("sender", args, cwd=self.folder, env=self._env("home", **env), stdout=log, stderr=log)
        self.commands.append(process)
        return process

    def _start_worker(self, url: str, inside: Namespace | None, home: str, **env: str) -> None:
        """`sender worker` of a machine, in a Python of its own: it and what it starts meet the traps as they begin."""
        command = [sys.executable, "-m", "sender", "worker", "--state", url]
        with self._log("worker") as log:
            worker = subprocess.Popen(
                command if inside is None else inside.wrap(command),
                cwd=self.folder,
                env=self._env(home, **env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.workers.append(worker)

    def begin_workers(self, count: int, *, namespaces: bool = False) -> None:
        network = ""
        if namespaces:
            network = free_network()
            with (Path(self.server.data) / "pg_hba.conf").open("a") as file:
                file.write(f"host all all {network}.0.0/16 trust\n")
            self.execute("SELECT pg_reload_conf()")
        for number in range(count):
            inside, host = None, "127.0.0.1"
            if namespaces:
                inside = Namespace(network, number, self.port)
                self.namespaces.append(inside)
                host = inside.database_host
            times = {"SENDER_TEST_TIMES": ",".join(map(str, self.times_ms)), "SENDER_TEST_MUTANT": self.mutant}
            times["SENDER_TEST_DELAY_S"] = str(self.delay_s)
            times["SENDER_TEST_CLOCK_S"] = str(self.clocks_s[number % len(self.clocks_s)])
            times["SENDER_SANDBOX_SETTLE_S"] = "0" if self.delay_s else "0.5"  # the sandbox's log never lags
            url = self.url.replace("127.0.0.1", host)
            self._start_worker(url, inside, f"machine{number}", **times)
        with open_state(self.url) as state:
            assert state.sharing is not None
            wait(lambda: len(state.sharing.workers()) >= count)

    def begin_run(self, messages: int, rate: str) -> None:
        """Begin the run, and leave it to the workers. Beyond the numbers that are nobody's, people have several texts."""
        known = _areas_of_people() if messages > MOST_PEOPLE else AREAS
        rows = (f"Ada {i},+1{known[i // 90 % len(known)]}55501{i % 90:02}" for i in range(messages))
        (self.folder / "people.csv").write_text("name,phone\n" + "\n".join(rows) + "\n")
        (self.folder / "offer.yaml").write_text(CAMPAIGN.replace("RATE", rate).replace("LONGEST", str(self.timeout_s)))
        assert self.begin_again("--detach") in (0, 3), self.logs()

    def begin_again(self, *more: str) -> int:
        """Start the same campaign, which goes on if it is unfinished or in doubt; return the exit code."""
        self.begun += 1
        args = ("send", "offer.yaml", "--yes", "--rehearse", "--wait", "0", "--state", self.url)
        env = {"SENDER_SANDBOX_URL": self.sandbox, "SENDER_SANDBOX_SETTLE_S": "0.5"}
        process = self._start(*args, "--shifts", str(max(1, len(self.workers))), *more, **env)
        return process.wait(PATIENT_S)

    def command(self, *args: str) -> int:
        """The exit code of `sender` with `args`."""
        return self._start(*args).wait(PATIENT_S)

    def keep_going(self) -> None:
        """As a person does who looks now and then: start the run again if nobody sends it."""
        if self.is_at_rest() and not self.is_over():
            self.begin_again("--detach")
            self.busy_s = time.monotonic()

    # -- looking -----------------------------------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        recipients: dict[str, int] = local_http.get(f"{self.sandbox}/sandbox/counts").json()["recipients"]
        return recipients

    def shifts(self) -> list[int]:
        """The process ids of the senders that have sent something."""
        with open_state(self.url) as state:
            assert state.sharing is not None
            return [shift.pid for shift in state.sharing.shifts() if shift.sent]

    def steward(self) -> int | None:
        with open_state(self.url) as state:
            holder = state.locks.holder("offer", RunKind.REHEARSAL)
        return None if holder is None else holder.pid

    def unknown(self) -> int:
        with open_state(self.url) as state:
            return state.ledger.counts(state.ledger.runs()[0].run_id).unknown

    def is_over(self) -> bool:
        with open_state(self.url) as state:
            return state.ledger.runs()[0].finished_at_ms is not None

    def is_at_rest(self) -> bool:
        """Whether the run is over, has been stopped by what one of its senders met, or is taken up by nobody."""
        with open_state(self.url) as state:
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
        """What came of the run. The provider ends with it."""
        took_s = time.monotonic() - begun_s
        with open_state(self.url) as state:
            run = state.ledger.runs()[0]
            counts, rows = state.ledger.counts(run.run_id), state.ledger.journal(run.run_id).height
        words = ("results", "offer", "--state", self.url, "--output", "results.csv", "--force")
        assert self.command(*words) == 0, self.logs()
        self.provider.send_signal(signal.SIGINT)
        self.provider.wait(30)
        accepted, most = _accepted(self.truth)
        with (self.folder / "results.csv").open(newline="") as file:
            agreed = sum([row["message_id"]] == accepted.get(f"Hi {row['name']}") for row in csv.DictReader(file))
        sent = Counter(map(len, accepted.values()))
        return Outcome(planned, sent, counts.accepted, rows, agreed, took_s, disturbances, self.begun, most)

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as db:
            db.execute(statement.encode())

    def close(self) -> None:
        with contextlib.suppress(Exception), open_state(self.url) as state:
            assert state.sharing is not None
            for shift in state.sharing.shifts():
                kill(shift.pid)
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        for command in self.commands:
            command.kill()
            command.wait()
        for each in self.namespaces:
            each.close()
        for server in (self.copy, self.server):
            if server is not None:
                server.remove()


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


def _areas_of_people() -> list[str]:
    """Area codes in use, without those that cost the caller nothing or more."""
    person = phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE
    parsed = ((area, phonenumbers.parse(f"+1{area}5550100")) for area in areas())
    return [str(area) for area, number in parsed if phonenumbers.number_type(number) == person]


def _accepted(file: Path) -> tuple[dict[str, list[str]], int]:
    """The ids of what the provider has accepted, by text; and the most that it accepted in any second."""
    found: dict[str, list[str]] = {}
    recent: deque[int] = deque()
    most = 0
    with contextlib.closing(apsw.Connection(str(file))) as db:
        for rest, message_id, at_ms in db.execute(
            "SELECT rest, message_id, created_ms FROM message ORDER BY created_ms"
        ):
            found.setdefault(json.loads(str(rest))[0], []).append(str(message_id))
            recent.append(int(str(at_ms)))
            while recent[0] <= recent[-1] - 1000:
                recent.popleft()
            most = max(most, len(recent))
    return found, most


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
