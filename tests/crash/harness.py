"""Kills the real command in the middle of sending, resumes it until it is done, and counts what came of it.

The provider is a sandbox in a process of its own, with faults; it keeps the truth of what it accepted. The sender is
`sender send` in a process of its own, started by `tests.crash.launcher`. Nothing here asks the sender how it went
without asking the provider too.

A life begins with a fork of a warm parent (`tests.warm`), which takes a fiftieth of a new Python's start; of many lives
every tenth is a new Python all the same.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import phonenumbers

from sender.core.outcomes import SubmissionState
from sender.state.state_dir import StateDir
from tests import local_http, warm
from tests.crash.launcher import POINTS, Trap
from tests.tally import Addable

ROOT = Path(__file__).parents[2]
DIALECTS = ("signalwire", "signalwire-compat", "telnyx", "twilio")
FROM = "+12125550142"
LATENCY_MS = 20
RATE_PER_S = 200  # slow enough that a life ends in the middle of a campaign
TIMEOUT_S = 4.0
HANG_S = 6  # longer than the timeout, so that silence is a timeout and a drip never ends
PATIENT_S = 60.0  # where nothing is slow on purpose, a busy machine must not look like a fault
SETTLE_S = 2.0
MAX_STARTS_WITHOUT_KILL = 30
NAME = "crash"
# Where a message is between intent and record, and so where a crash may hurt: taken more often than the others.
TENDER = ("claim:after", "send:before", "send:in_flight", "send:after", "outcome", "record:before", "record:commit")
RANDOM = "at any moment"  # from outside, also while the program starts
_FIRST = tuple(point for point in POINTS if point.startswith("create_run"))
_LAST = tuple(point for point in POINTS if point.startswith(("finish_run", "results")))
DECK = (*TENDER * 2, *(point for point in POINTS if point not in _FIRST + _LAST), *(RANDOM,) * 8)
# A little of everything, as a bad day has it.
BAD_DAY = (
    "429=0.004,429-date=0.002,429-garbage=0.002,500-before=0.01,502-before=0.005,503-before=0.005,timeout-before=0.002,"
    "reset-before=0.01,outage=0.002,500-after=0.01,502-after=0.005,503-after=0.005,timeout-after=0.003,reset-after=0.01,"
    "half-after=0.01,truncated-json=0.01,html=0.01,drip=0.003,huge=0.003,log-500=0.01,log-reset=0.01"
)


@dataclass
class Tally(Addable):
    """What was done to a campaign, or to many, and what came of it."""

    campaigns: int = 0
    messages: int = 0
    starts: int = 0
    fresh: int = 0  # starts that were a new Python
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
    moved: int = 0  # messages that another route got
    by_second: int = 0  # that the second route got
    exits: Counter[int] = field(default_factory=Counter)
    misnamed: int = 0  # messages that have another's id, because the provider's answer had it
    problems: list[str] = field(default_factory=list)

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

    def __init__(
        self, folder: Path, *, faults: str = "", seed: int = 0, log_lag_s: float = 0.0, keys: bool = True
    ) -> None:
        self._folder = folder
        self._faults: list[str] = []
        self._options = ["--latency", str(LATENCY_MS), "--state", str(folder / "truth.sqlite3"), "--seed", str(seed)]
        self._options += ["--hang", str(HANG_S), "--outage", "1", "--log-lag", str(log_lag_s)]
        self._options += [] if keys else ["--no-keys"]
        self.become(faults)
        self._port = 0
        self.process: warm.Process
        self.url = ""

    def become(self, faults: str) -> None:
        """Have these faults from the next start on."""
        self._faults = ["--faults", faults] if faults else []

    def start(self) -> None:
        self.process = warm.start(
            "sender",
            ["sandbox", "--port", str(self._port), *self._options, *self._faults],
            cwd=self._folder,
            env=environment(),
            stderr=subprocess.DEVNULL,
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
                return local_http.get(f"{self.url}/sandbox/{path}", timeout=10).json()
            except httpx.TransportError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)


def environment() -> dict[str, str]:
    """The environment without anything that would reach a provider, and without measuring coverage: it is slow."""
    unwanted = re.compile(r"SIGNALWIRE|TELNYX|TWILIO|SENDER|CRASH|COV")
    kept = {name: value for name, value in os.environ.items() if not unwanted.match(name)}
    return kept | {"PYTHONPATH": str(ROOT), "SENDER_RULES": "none"}  # at any hour of the day


# ── The sender ──────────────────────────────────────────────────────────────────────────────────────────────────


def numbers(count: int) -> list[str]:
    """Fictional numbers, +1 NPA-555-0100 to 0189, of as many area codes as are needed."""
    areas = (area for area in range(201, 990) if phonenumbers.is_valid_number(phonenumbers.parse(f"+1{area}5550100")))
    return [f"+1{area}55501{i:02}" for area, i in ((a, i) for a in areas for i in range(90))][:count]


class Campaign:
    """A folder with a campaign of its own, a provider, and starts of `sender send` until it is done."""

    def __init__(
        self,
        folder: Path,
        provider: Provider,
        *,
        messages: int,
        dialect: str = "signalwire",
        mutant: str | None = None,
        rate: str = f"{RATE_PER_S}/s",
        timeout_s: float = TIMEOUT_S,
        transport: str = "fast",
        workers: int = 1,
        window: str | None = None,
        zones: Sequence[str] = (),
        day_offset_ms: int | None = None,
    ) -> None:
        """With `window` (the YAML of that key) each row is in one of `zones`, in turn, at another time of day."""
        self.folder = folder
        self.day_offset_ms = day_offset_ms
        self.ends: tuple[int, ...] = (0,) if day_offset_ms is None else (0, 1)  # 1: some have missed their window
        self.workers = workers
        self.provider = provider
        self.messages = messages
        self.mutant = mutant
        self.tally = Tally(campaigns=1, messages=messages)
        self.settle_s = SETTLE_S
        self.longest_s = 120 + messages / 20  # a life that is longer hangs
        self.lease_ms: int | None = None
        self.over = False
        self.zones = [zones[i % len(zones)] if zones else "" for i in range(messages)]
        people = zip(itertools.count(), numbers(messages), self.zones, strict=False)
        rows = "".join(f"Ada {i},{to},{zone}\n" for i, to, zone in people)
        (folder / "people.csv").write_text(f"name,phone,timezone\n{rows}", encoding="utf-8")
        (folder / f"{NAME}.yaml").write_text(
            f"name: {NAME}\nprovider: {dialect}\nfrom: '{FROM}'\nrecipients: people.csv\nmessage: 'Hi {{{{ name }}}}'\n"
            f"rate: {rate}\ntimeout_s: {timeout_s}\nretries: 10\ntransport: {transport}\n"
            "status_callback: https://hooks.example.com/status\n" + ("" if window is None else f"window: {window}\n"),
            encoding="utf-8",
        )

    def launch(self, trap: Trap, *, fresh: bool = False) -> warm.Process:
        settings = vars(trap) | {
            "mutant": self.mutant,
            "lease_ms": self.lease_ms,
            "day_offset_ms": self.day_offset_ms,
            "trail": str(self.folder / "trail"),
        }
        self.tally.starts += 1
        self.tally.fresh += fresh
        with (self.folder / "log").open("a", encoding="utf-8") as log:
            return warm.start(
                "tests.crash.launcher",
                ["send", f"{NAME}.yaml", "--yes", *self.arguments()],
                cwd=self.folder,
                env=environment() | self.addresses() | {"CRASH": Trap(**settings).json()},
                stdout=subprocess.DEVNULL,
                stderr=log,
                fresh=fresh,
            )

    def arguments(self) -> list[str]:
        """What the command is given besides the campaign."""
        return ["--rehearse", "--workers", str(self.workers)]

    def addresses(self) -> dict[str, str]:
        """Where the provider is, in environment variables."""
        return {"SENDER_SANDBOX_URL": self.provider.url, "SENDER_SANDBOX_SETTLE_S": str(self.settle_s)}

    def told(self) -> list[dict[str, Any]]:
        """What was accepted, by whoever did."""
        self.tally.faults.update(self.provider.ask("faults")["faults"])
        messages: list[dict[str, Any]] = self.provider.ask("messages")["messages"]
        return messages

    def live(self, trap: Trap, *, kill_after_s: float | None = None, fresh: bool = False) -> bool:
        """One life of the sender; whether it was killed."""
        began = self._log_size()
        process = self.launch(trap, fresh=fresh)
        try:
            code = process.wait(timeout=kill_after_s if kill_after_s is not None else self.longest_s)
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
        self.over = code in self.ends or "has been sent: run" in self._log(began)
        if code not in (*self.ends, 3, 4, 130):
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
        tally, told = self.tally, self.told()
        truth: dict[str, set[str]] = {to: set() for to in numbers(self.messages)}
        for message in told:
            truth[message["to"]].add(message["message_id"])
        tally.accepted += len(told)
        tally.duplicates += sum(max(0, len(ids) - 1) for ids in truth.values())
        given = {message["message_id"] for message in told}
        rows = self.results()
        tally.unaccounted += abs(len(rows) - self.messages) + len(truth.keys() ^ {row["to"] for row in rows})
        with StateDir(self.folder / ".sender", create=False) as state_dir:
            (run,) = state_dir.runs_of(NAME, state_dir.find(NAME).kind)
            journal = state_dir.ledger.journal(run.run_id)
            law = state_dir.ledger.counts(run.run_id)
            if drift := state_dir.ledger.find_drift(run.run_id):
                tally.problems.append(f"{self.folder.name}: the totals kept are not what the rows say: {drift}")
            recipients = state_dir.plan(run).messages["to"]  # in the order of `seq`
        states = {recipients[seq]: state for seq, state in zip(journal["seq"], journal["state"], strict=True)}
        if law.pending + law.intent + law.accepted + law.rejected + law.canceled + law.unknown != self.messages:
            tally.problems.append(f"{self.folder.name}: the law does not hold: {law}")
        for row in rows:
            state, ids = states.get(row["to"], SubmissionState.PENDING), truth[row["to"]]
            tally.unknown_left += state == SubmissionState.UNKNOWN
            tally.rejected += state == SubmissionState.REJECTED
            tally.unaccounted += not _tells(row, state)
            if state == SubmissionState.ACCEPTED and row["message_id"] not in ids:
                tally.losses += not ids
                if ids and row["message_id"] in given and tally.faults["other-id"] > 1:
                    tally.misnamed += 1  # the answer before it had been distorted as well, so this id was new
                elif ids:
                    tally.problems.append(f"{row['to']}: message id {row['message_id']} is not the provider's {ids}")
            tally.misreported += bool(ids) and state in (
                SubmissionState.PENDING,
                SubmissionState.REJECTED,
                SubmissionState.CANCELED,
            )
            tally.losses += not ids and state in (SubmissionState.PENDING, SubmissionState.INTENT)
        for event in self._trail():
            if event["event"] == "settled":
                tally.unknown_found += event["found"]
                tally.unknown_absent += event["absent"]
        return tally

    def results(self) -> list[dict[str, str]]:
        """The rows of the results file of the run; where its end was cut off, of the one that `sender results` writes."""
        if any(self.tally.exits[code] for code in self.ends):
            (path,) = (self.folder / ".sender" / "runs").glob("*/results.csv")
        else:
            path = self.folder / "told.csv"
            arguments = ["results", NAME, "--output", path.name]
            process = warm.start("sender", arguments, cwd=self.folder, env=environment())
            _, err = process.communicate(timeout=60)
            if process.returncode:
                self.tally.problems.append(f"{self.folder.name}: sender results: {err[-500:]}")
                return []
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

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
    if state == SubmissionState.ACCEPTED:
        return bool(row["message_id"]) and row["status"] not in ("pending", "unknown", "rejected", "skipped")
    return (
        row["status"]
        == {SubmissionState.INTENT: SubmissionState.UNKNOWN}.get(SubmissionState(state), SubmissionState(state)).value
    )


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
    rate: str = f"{RATE_PER_S}/s",
    timeout_s: float = TIMEOUT_S,
    transport: str = "fast",
    workers: int = 1,
    window: str | None = None,
    zones: Sequence[str] = (),
    day_offset_ms: int | None = None,
    keys: bool = True,
) -> Iterator[Campaign]:
    """A campaign with its provider running, which knows the keys of requests where the real one does, unless not `keys`."""
    folder.mkdir(parents=True)
    provider = Provider(folder, faults=faults, seed=seed, log_lag_s=log_lag_s, keys=keys)
    provider.start()
    try:
        yield Campaign(
            folder,
            provider,
            messages=messages,
            dialect=dialect,
            mutant=mutant,
            rate=rate,
            timeout_s=timeout_s,
            transport=transport,
            workers=workers,
            window=window,
            zones=zones,
            day_offset_ms=day_offset_ms,
        )
    finally:
        provider.kill()


# ── Campaigns under fire ────────────────────────────────────────────────────────────────────────────────────────


class Deck:
    """Points to strike at, shuffled, each as often as it should come; one that never came is put back."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._lock = threading.Lock()
        self._piles: dict[tuple[str, ...], list[str]] = {}
        self._lives = itertools.count(1)

    def take(self, cards: tuple[str, ...]) -> str:
        with self._lock:
            pile = self._piles.setdefault(cards, [])
            if not pile:
                pile.extend(self._rng.sample(cards, len(cards)))
            return pile.pop()

    def put_back(self, cards: tuple[str, ...], card: str) -> None:
        with self._lock:
            self._piles[cards].insert(0, card)

    def is_tenth(self) -> bool:
        """Whether this is the tenth, twentieth, ... life."""
        with self._lock:
            return next(self._lives) % 10 == 0


def trap_at(point: str, rng: random.Random, *, fresh: bool = False) -> tuple[Trap, float | None]:
    """The trap for `point`; for a kill from outside the seconds after the start."""
    if point == RANDOM:
        return Trap(), rng.uniform(0.3, 3.0) if fresh else rng.uniform(0.01, 1.8)
    if point.startswith(("claim", "record")):  # groups of some messages
        return Trap(point, rng.randint(1, 5)), None
    if point.startswith(("request", "send", "outcome")):
        delay_s = rng.uniform(0.001, 1.5 * LATENCY_MS / 1000) if point == "send:in_flight" else 0.0
        return Trap(point, rng.randint(1, 50), delay_s), None
    return Trap(point), None


def under_fire(
    folder: Path, rng: random.Random, deck: Deck, *, messages: int, dialect: str, faults: str, kills: int
) -> Tally:
    """One campaign, killed up to `kills` times (fewer if it is over before), then resumed to its end and judged."""
    with campaign(folder, messages=messages, dialect=dialect, faults=faults, seed=rng.randrange(1 << 30)) as target:
        tally = target.tally
        while not target.over and tally.kills.total() < kills and tally.starts < 3 * kills:
            cards = DECK
            if not tally.starts and rng.random() < 0.5:
                cards = _FIRST
            elif tally.kills.total() >= kills - 1:
                cards = _LAST
            point, fresh = deck.take(cards), deck.is_tenth()
            trap, kill_after_s = trap_at(point, rng, fresh=fresh)
            if not target.live(trap, kill_after_s=kill_after_s, fresh=fresh):
                deck.put_back(cards, point)
            if rng.random() < 0.08:
                target.provider.kill()
                target.provider.start()
                tally.provider_kills += 1
        target.finish()
        return target.judge()


def many_kills(
    folder: Path,
    *,
    kills: int,
    seed: int,
    messages: int = 300,
    jobs: int = 2,
    tell: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Campaigns under fire, `jobs` at a time, until there have been `kills` kills. `tell` hears of each one's end."""
    deck = Deck(random.Random(f"{seed} deck"))

    def one(number: int, left: int) -> Tally:
        return under_fire(
            folder / str(number),
            random.Random(f"{seed} {number}"),
            deck,
            messages=messages,
            dialect=DIALECTS[number % len(DIALECTS)],
            faults=BAD_DAY,
            kills=min(12, left),
        )

    return until_killed(one, kills=kills, jobs=jobs, tell=tell)


def until_killed(
    one: Callable[[int, int], Tally], *, kills: int, jobs: int, tell: Callable[[Tally], None] = lambda _: None
) -> Tally:
    """Call `one` (a campaign's number, the kills that are left) again and again until there have been `kills` kills."""
    whole, lock, numbered = Tally(), threading.Lock(), itertools.count()

    def work() -> None:
        while True:
            with lock:
                number, left = next(numbered), kills - whole.kills.total()
            if left <= 0:
                return
            tally = one(number, left)
            with lock:
                whole.add(tally)
                tell(whole)

    with ThreadPoolExecutor(jobs) as pool:
        for worker in [pool.submit(work) for _ in range(jobs)]:
            worker.result()
    return whole
