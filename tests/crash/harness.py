"""Kills the real command in the middle of sending, resumes it until it is done, and counts what came of it.

The provider is a sandbox in a process of its own, with faults; it keeps the truth of what it accepted. The sender is
`sender send` in a process of its own, started by `tests.crash.launcher`. Nothing here asks the sender how it went
without asking the provider too.
"""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import phonenumbers

from sender.outcomes import State
from sender.sandbox import FAULTS
from sender.workspace import Workspace
from tests.crash.launcher import POINTS, Trap

ROOT = Path(__file__).parents[2]
DIALECTS = ("signalwire", "signalwire-compat", "telnyx", "twilio")
FROM = "+12125550142"
LATENCY_MS = 20
RATE_PER_S = 200  # slow enough that a life ends in the middle of a campaign
TIMEOUT_S = 2.0
SETTLE_S = 2.0
MAX_STARTS_WITHOUT_KILL = 12
NAME = "crash"
# Where a message is between intent and record, and so where a crash may hurt: drawn more often than the others.
_TENDER = ("claim:after", "send:before", "send:in_flight", "send:after", "outcome", "record:before", "record:commit")
# How often a point is passed at most while 20 messages leave; a trap beyond the last passage never strikes.
_ONCE = ("create_run", "orphans_to_unknown", "finish_run", "results", "log", "reconcile")
RANDOM = "at any moment"
# A little of everything, as a bad day has it.
BAD_DAY = (
    "429=0.004,429-date=0.002,429-garbage=0.002,500-before=0.01,502-before=0.005,503-before=0.005,timeout-before=0.002,"
    "reset-before=0.01,outage=0.002,500-after=0.01,502-after=0.005,503-after=0.005,timeout-after=0.003,reset-after=0.01,"
    "half-after=0.01,truncated-json=0.01,html=0.01,drip=0.003,huge=0.003,log-500=0.01,log-reset=0.01"
)


@dataclass
class Tally:
    """What was done to a campaign, or to many, and what came of it."""

    campaigns: int = 0
    messages: int = 0
    starts: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    provider_kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    duplicates: int = 0  # texts to somebody who has this one already
    losses: int = 0  # the sender says sent, and the provider has none; or nobody is told
    misreported: int = 0  # the provider has it, and the sender says that it was not sent
    unaccounted: int = 0  # rows that are not in the results once, or differ there from the ledger
    unknown_found: int = 0
    unknown_absent: int = 0
    unknown_left: int = 0
    rejected: int = 0
    exits: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def __iadd__(self, other: Tally) -> Self:
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(mine, Counter):
                mine.update(value)
            elif isinstance(mine, list):
                mine.extend(value)
            else:
                setattr(self, name, mine + value)
        return self

    @property
    def clean(self) -> bool:
        return not (self.duplicates or self.losses or self.misreported or self.unaccounted or self.problems)

    def __str__(self) -> str:
        return (
            f"{self.kills.total()} kills, {self.messages} messages, {self.accepted} accepted:"
            f" {self.duplicates} duplicates, {self.losses} lost, {self.misreported} misreported,"
            f" {self.unaccounted} unaccounted, {self.unknown_left} unknown left, {self.rejected} rejected\n"
            + "\n".join(self.problems[:20])
        )


# ── The provider ────────────────────────────────────────────────────────────────────────────────────────────────


class Provider:
    """A sandbox process on a port of its own, which keeps its truth in a file and can be killed as well."""

    def __init__(self, folder: Path, *, faults: str = "", seed: int = 0, log_lag_s: float = 0.0) -> None:
        self._folder = folder
        self._options = ["--latency", str(LATENCY_MS), "--state", str(folder / "truth.sqlite3"), "--seed", str(seed)]
        self._options += ["--hang", "3", "--outage", "1", "--log-lag", str(log_lag_s)]
        self._options += ["--faults", faults] if faults else []
        self._port = 0
        self.process: subprocess.Popen[str]
        self.url = ""

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sender", "sandbox", "--port", str(self._port), *self._options],
            cwd=self._folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        match = re.search(r"http://127\.0\.0\.1:(\d+)", self.process.stdout.readline())
        assert match, "the sandbox does not start"
        self.url, self._port = match[0], int(match[1])

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def ask(self, path: str) -> Any:
        until = time.monotonic() + 20
        while True:  # it may be having an outage
            try:
                return httpx.get(f"{self.url}/sandbox/{path}", trust_env=False, timeout=10).json()
            except httpx.TransportError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)


def environment() -> dict[str, str]:
    """The environment without anything that would reach a provider, and without measuring coverage: it is slow."""
    unwanted = re.compile(r"SIGNALWIRE|TELNYX|TWILIO|SENDER|CRASH|COV")
    return {name: value for name, value in os.environ.items() if not unwanted.match(name)} | {"PYTHONPATH": str(ROOT)}


# ── The sender ──────────────────────────────────────────────────────────────────────────────────────────────────


def numbers(count: int) -> list[str]:
    """Fictional numbers, +1 NPA-555-0100 to 0189, of as many area codes as are needed."""
    areas = (area for area in range(201, 990) if phonenumbers.is_valid_number(phonenumbers.parse(f"+1{area}5550100")))
    return [f"+1{area}55501{i:02}" for area, i in ((a, i) for a in areas for i in range(90))][:count]


class Campaign:
    """A folder with a campaign of its own, a provider, and starts of `sender send` until it is done."""

    def __init__(
        self, folder: Path, provider: Provider, *, messages: int, dialect: str = "signalwire", mutant: str | None = None
    ) -> None:
        self.folder = folder
        self.provider = provider
        self.messages = messages
        self.mutant = mutant
        self.tally = Tally(campaigns=1, messages=messages)
        self.settle_s = SETTLE_S
        self.lease_ms: int | None = None
        self.over = False
        rows = "".join(f"Ada {i},{to}\n" for i, to in enumerate(numbers(messages)))
        (folder / "people.csv").write_text(f"name,phone\n{rows}", encoding="utf-8")
        (folder / f"{NAME}.yaml").write_text(
            f"name: {NAME}\nprovider: {dialect}\nfrom: '{FROM}'\nrecipients: people.csv\nmessage: 'Hi {{{{ name }}}}'\n"
            f"rate: {RATE_PER_S}/s\ntimeout_s: {TIMEOUT_S}\nretries: 10\n"
            "status_callback: https://hooks.example.com/status\n",
            encoding="utf-8",
        )

    def launch(self, trap: Trap) -> subprocess.Popen[str]:
        settings = {**vars(trap), "mutant": self.mutant, "lease_ms": self.lease_ms, "trail": str(self.folder / "trail")}
        self.tally.starts += 1
        with (self.folder / "log").open("a", encoding="utf-8") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.crash.launcher", "send", f"{NAME}.yaml", "--yes", "--rehearse"],
                cwd=self.folder,
                env=environment()
                | {
                    "CRASH": Trap(**settings).json(),
                    "SENDER_SANDBOX_URL": self.provider.url,
                    "SENDER_SANDBOX_SETTLE_S": str(self.settle_s),
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                text=True,
            )

    def live(self, trap: Trap, *, kill_after_s: float | None = None) -> bool:
        """One life of the sender; whether it was killed."""
        began = self._log_size()
        process = self.launch(trap)
        try:
            code = process.wait(timeout=kill_after_s if kill_after_s is not None else 120)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
            if kill_after_s is None:
                self.over = True
                self.tally.problems.append(f"{self.folder.name}: the sender hangs")
        if code == -signal.SIGKILL:
            self.tally.kills[trap.point or RANDOM] += 1
            return True
        self.tally.exits[code] += 1
        self.over = code == 0 or "has been sent: run" in self._log(began)
        if code not in (0, 3, 4, 130):
            self.tally.problems.append(f"{self.folder.name}: exit {code}: {self._log(began)[-500:]}")
            self.over = True
        return False

    def finish(self) -> None:
        """Starts without traps until nothing is left to do."""
        for _ in range(MAX_STARTS_WITHOUT_KILL):
            if self.over:
                return
            self.live(Trap())
        log = self._log(0)[-800:]
        self.tally.problems.append(f"{self.folder.name}: not done after {MAX_STARTS_WITHOUT_KILL} more starts: {log}")

    def judge(self) -> Tally:
        """Compares the provider's truth with the ledger and with the results file."""
        tally, told = self.tally, self.provider.ask("messages")["messages"]
        tally.faults.update(self.provider.ask("faults")["faults"])
        truth: dict[str, set[str]] = {to: set() for to in numbers(self.messages)}
        for message in told:
            truth[message["to"]].add(message["message_id"])
        tally.accepted += len(told)
        tally.duplicates += sum(max(0, len(ids) - 1) for ids in truth.values())
        rows = self._results()
        tally.unaccounted += abs(len(rows) - self.messages) + len(truth.keys() ^ {row["to"] for row in rows})
        with Workspace(self.folder / ".sender", create=False) as workspace:
            (run,) = workspace.runs_of(NAME, workspace.find(NAME).kind)
            journal = workspace.ledger.journal(run.run_id)
            law = workspace.ledger.counts(run.run_id)
        states = dict(zip(journal["seq"], journal["state"], strict=True))
        if law.pending + law.intent + law.accepted + law.rejected + law.unknown != self.messages:
            tally.problems.append(f"{self.folder.name}: the law does not hold: {law}")
        for seq, row in enumerate(rows):  # the plan has every row, in file order
            state, ids = states.get(seq, State.PENDING), truth[row["to"]]
            tally.unknown_left += state == State.UNKNOWN
            tally.rejected += state == State.REJECTED
            tally.unaccounted += not _tells(row, state)
            if state == State.ACCEPTED and row["message_id"] not in ids:
                tally.losses += not ids
                if ids:
                    tally.problems.append(f"{row['to']}: message id {row['message_id']} is not the provider's {ids}")
            tally.misreported += bool(ids) and state in (State.PENDING, State.REJECTED)
            tally.losses += not ids and state in (State.PENDING, State.INTENT)
        for event in self._trail():
            if event["event"] == "settled":
                tally.unknown_found += event["found"]
                tally.unknown_absent += event["absent"]
        return tally

    def _results(self) -> list[dict[str, str]]:
        """The rows of the file that `sender results` writes."""
        subprocess.run(
            [sys.executable, "-m", "sender", "results", NAME, "--output", "told.csv"],
            cwd=self.folder,
            env=environment(),
            check=True,
            capture_output=True,
        )
        with (self.folder / "told.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        if self.tally.exits[0]:  # then the run's own file was written at its end, and says the same
            (own,) = (self.folder / ".sender" / "runs").glob("*/results.csv")
            with own.open(encoding="utf-8", newline="") as file:
                self.tally.unaccounted += [row["message_id"] for row in csv.DictReader(file)] != [
                    row["message_id"] for row in rows
                ]
        return rows

    def _trail(self) -> Iterator[dict[str, Any]]:
        path = self.folder / "trail"
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                yield json.loads(line)

    def orphans(self) -> int:
        return sum(event["count"] for event in self._trail() if event["event"] == "orphans")

    def _log_size(self) -> int:
        path = self.folder / "log"
        return path.stat().st_size if path.exists() else 0

    def _log(self, begin: int) -> str:
        return (self.folder / "log").read_bytes()[begin:].decode("utf-8", "replace")


def _tells(row: Mapping[str, str], state: str) -> bool:
    """Whether the row of the results says what the ledger says."""
    if state == State.ACCEPTED:
        return bool(row["message_id"]) and row["status"] not in ("pending", "unknown", "rejected", "skipped")
    return row["status"] == {State.INTENT: State.UNKNOWN}.get(State(state), State(state)).value


@contextmanager
def campaign(
    folder: Path,
    *,
    messages: int,
    dialect: str = "signalwire",
    faults: str = "",
    seed: int = 0,
    log_lag_s: float = 0.0,
    mutant: str | None = None,
) -> Iterator[Campaign]:
    """A campaign with its provider running."""
    folder.mkdir(parents=True)
    provider = Provider(folder, faults=faults, seed=seed, log_lag_s=log_lag_s)
    provider.start()
    try:
        yield Campaign(folder, provider, messages=messages, dialect=dialect, mutant=mutant)
    finally:
        provider.kill()


# ── A campaign under fire ───────────────────────────────────────────────────────────────────────────────────────


def draw(rng: random.Random) -> tuple[Trap, float | None]:
    """A trap, and for a kill from outside the seconds after the start."""
    kind = rng.random()
    if kind < 0.2:
        return Trap(), rng.uniform(0.4, 3.0)
    point = rng.choice(_TENDER if kind < 0.7 else POINTS)
    call = point.partition(":")[0]
    if call in _ONCE:
        passage = 1
    elif call in ("claim", "record"):
        passage = rng.randint(1, 6)
    elif call == "release":
        passage = 1
    else:
        passage = rng.randint(1, 60)
    return Trap(point, passage, rng.uniform(0.001, 1.5 * LATENCY_MS / 1000) if point == "send:in_flight" else 0.0), None


def under_fire(
    folder: Path,
    rng: random.Random,
    *,
    messages: int,
    dialect: str,
    faults: str,
    kills: int,
    keep_going: Callable[[], bool] = lambda: True,
) -> Tally:
    """One campaign, killed up to `kills` times (fewer if it is over before), then resumed to its end and judged."""
    with campaign(folder, messages=messages, dialect=dialect, faults=faults, seed=rng.randrange(1 << 30)) as target:
        attempts = 0
        while not target.over and target.tally.kills.total() < kills and attempts < 3 * kills and keep_going():
            attempts += 1
            trap, kill_after_s = draw(rng)
            target.live(trap, kill_after_s=kill_after_s)
            if rng.random() < 0.08:
                target.provider.kill()
                target.provider.start()
                target.tally.provider_kills += 1
        target.finish()
        return target.judge()


def every_fault(probability: float) -> dict[str, str]:
    """A list of faults for each kind."""
    return {kind: f"{kind}={probability}" for kind in FAULTS}
