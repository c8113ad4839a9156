"""A folder with two campaigns, a provider that counts, and a model of who may be texted and who has been.

The provider is a sandbox in a process of its own, spoken to as the real one is: the runs are live. Its record is the
truth. What the command prints and writes is compared with it, never the other way round.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from sender.core.errors import PlanError, SenderError, UnknownRun
from sender.core.outcomes import SubmissionState
from sender.core.refs import read_ref
from sender.sandbox.credentials import environment as credentials
from sender.state.ledger import Run, RunKind
from sender.state.open import open_state
from sender.state.state import State
from tests import local_http, warm
from tests.sequences.launcher import PROVIDER, Setup
from tests.tally import Addable

ROOT = Path(__file__).parents[2]
LAUNCHER = "tests.sequences.launcher"
CAMPAIGNS = ("offer", "news")
SENDERS = ("+12025550150", "+12025550151")
DIALECTS = ("twilio", "signalwire", "signalwire-compat", "telnyx")
HANG_S = 60.0
FAILED = ("undelivered", "failed")  # of a message, for good: it may be sent again by `retry`
CODES = (0, 1, 2, 3, 4, 130)


@dataclass(frozen=True)
class Person:
    number: str
    name: str

    @property
    def never_arrives(self) -> bool:
        """Whether the sandbox accepts a message to this number, and never delivers it."""
        return self.number.endswith("0194")


PEOPLE = (
    *(Person(f"+1202555011{n}", f"Ada{n}") for n in range(8)),
    Person("+12025550194", "Gone"),
)


@dataclass
class CampaignModel:
    """What the files of one campaign say, and what they ever said."""

    people: list[Person]
    version: int = 1
    edition: str = ""
    sender: str = SENDERS[0]
    stopped: list[str] = field(default_factory=list)  # numbers in its suppression file
    unreadable: int = 0  # rows whose number has a typo
    capped: bool = False  # nobody gets a text of this campaign who has had any within a day
    ever: set[Person] = field(default_factory=set)


@dataclass(frozen=True)
class Text:
    """A message that the provider accepted."""

    campaign: str
    edition: str
    person: Person
    sender: str
    ref: str | None
    message_id: str
    status: str


@dataclass(frozen=True)
class Ended:
    """A command that has ended. `code` is negative for a signal."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str


@dataclass
class Tally(Addable):
    """What was done in one sequence, or in many, and what came of it."""

    sequences: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    commands: int = 0
    kills: int = 0
    texts: int = 0
    repeats: int = 0  # texts to somebody who has it, that nobody asked for
    after_opt_out: int = 0
    strangers: int = 0  # texts to a number, or with a name, that the campaign's list never held
    missed: int = 0  # people who may be texted and were not, after everything was finished
    misreports: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        wrong = self.repeats + self.after_opt_out + self.strangers + self.missed + self.misreports
        return not wrong and not self.problems

    def __str__(self) -> str:
        return (
            f"{self.sequences} sequences, {self.steps.total()} steps, {self.commands} commands, {self.kills} kills,"
            f" {self.texts} texts: {self.repeats} repeats, {self.after_opt_out} after an opt-out, {self.strangers} to"
            f" strangers, {self.missed} missed, {self.misreports} misreports\n" + "\n".join(self.problems[:20])
        )


class World:
    """One folder, its campaigns, its provider, and the model."""

    def __init__(self, folder: Path, *, dialect: str, faults: dict[str, list[str]], mutant: str | None) -> None:
        self.folder = folder / "job"
        self.elsewhere = folder / "elsewhere"
        for place in (self.folder, self.elsewhere):
            place.mkdir(parents=True)
        self.dialect = dialect
        self.faults = faults
        self.mutant = mutant
        self.tally = Tally(sequences=1)
        self.campaigns = {name: CampaignModel(list(PEOPLE)) for name in CAMPAIGNS}
        self.by_reply: set[str] = set()  # numbers that said STOP
        self.reply_ids: dict[tuple[str, str], str] = {}  # the provider's id of the first reply, by number and text
        self.stopped_s: dict[str, float] = {}  # when somebody last wrote STOP
        self.by_hand: set[str] = set()  # numbers that a person has listed
        self.extra: Counter[tuple[str, str, str]] = (
            Counter()
        )  # texts that a person asked for, by campaign, edition, number
        self.closing: set[str] = set()  # ids of runs that were closed just now: what is in flight may still arrive
        self.closed: set[str] = set()
        self.paused: set[str] = set()
        self.erased_in_doubt: set[tuple[str, str, str]] = set()  # nobody can look up what became of these any more
        self.seen = 0  # texts that were judged
        self._provider: warm.Process | None = None
        self._url = ""

    # ── The provider ────────────────────────────────────────────────────────────────────────────────────────────

    def start_provider(self) -> None:
        arguments = [PROVIDER, "0", json.dumps(self.faults), str(self.folder.parent / "truth.sqlite3")]
        self._provider = warm.start(
            LAUNCHER, arguments, cwd=self.folder, env=self._environment(), stderr=subprocess.DEVNULL
        )
        assert self._provider.stdout is not None
        self._url = self._provider.stdout.readline().strip()
        assert self._url.startswith("http://127.0.0.1:"), "the sandbox does not start"
        for name in CAMPAIGNS:
            self.write_campaign(name)

    def stop_provider(self) -> None:
        if self._provider is not None:
            self._provider.kill()
            self._provider.communicate()

    def texts(self) -> list[Text]:
        """Everything the provider accepted, oldest first."""
        messages = local_http.get(f"{self._url}/sandbox/messages", timeout=20).json()["messages"]
        return [_read_text(message) for message in messages]

    def post(self, path: str, content: dict[str, Any]) -> Any:
        return local_http.post(f"{self._url}/sandbox/{path}", json=content, timeout=20).json()

    # ── The campaign's files ────────────────────────────────────────────────────────────────────────────────────

    def write_campaign(self, name: str) -> None:
        """Write the campaign's file, its list and its suppression file as the model has them."""
        model = self.campaigns[name]
        model.ever.update(model.people)
        rows = [(person.name, person.number) for person in model.people]
        rows += [(f"Typo{n}", f"555-{n}") for n in range(model.unreadable)]
        with (self.folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("name", "phone"), *rows])
        stopped = "".join(f"{number}\n" for number in ("+12025550199", *model.stopped))
        (self.folder / f"{name}-stop.csv").write_text(f"phone\n{stopped}", encoding="utf-8")
        edition = f"edition: '{model.edition}'\n" if model.edition else ""
        limits = "limits: {per_person: 1/24h}\n" if model.capped else ""
        (self.folder / f"{name}.yaml").write_text(
            f"{limits}name: {name}\nprovider: {self.dialect}\nfrom: '{model.sender}'\nrecipients: {name}.csv\n{edition}suppress: {name}-stop.csv\n"
            f"message: '{name}|{model.edition}|{{{{ name }}}}|version {model.version}'\nrate: none\nretries: 1\n"
            "status_callback: https://hooks.example.com/status\n",
            encoding="utf-8",
        )

    # ── Commands ────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, *arguments: str, setup: Setup | None = None, away: bool = False) -> warm.Process:
        """`sender` with `arguments`, begun in the job's folder or `away` from it."""
        setup = setup or Setup()
        self.tally.commands += 1
        env = (
            self._environment()
            | credentials(self._url)
            | {"SEQUENCE": Setup(**vars(setup) | {"mutant": self.mutant}).json()}
        )
        return warm.start(LAUNCHER, arguments, cwd=self.elsewhere if away else self.folder, env=env)

    def _environment(self) -> dict[str, str]:
        """The environment without anything that would reach a provider, or states that are none of this world's."""
        unwanted = re.compile(r"SIGNALWIRE|TELNYX|TWILIO|SENDER|CRASH|SEQUENCE|COV")
        kept = {name: value for name, value in os.environ.items() if not unwanted.match(name)}
        own = {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(self.folder.parent / "xdg")}
        return kept | own | {"SENDER_RULES": "none"}  # at any hour of the day

    def finish(self, process: warm.Process, *arguments: str, kill_expected: bool = False) -> Ended:
        """Wait for a command, and check what no command may do."""
        out, err = process.communicate(timeout=HANG_S)
        code = process.returncode
        assert code is not None
        with (self.folder.parent / "trail.txt").open("a", encoding="utf-8") as trail:
            trail.write(f"$ sender {' '.join(arguments)}\n{out}{err}[exit {code}, {len(self.texts())} texts]\n\n")
        if code < 0 and kill_expected:
            self.tally.kills += 1
        elif code not in CODES or "Traceback" in err:
            self.tally.problems.append(f"{' '.join(arguments)}: exit {code}: {err[-800:]}")
        return Ended(arguments, code, out, err)

    def run(self, *arguments: str, away: bool = False) -> Ended:
        return self.finish(self.start(*arguments, away=away), *arguments)

    # ── The model ───────────────────────────────────────────────────────────────────────────────────────────────

    def allow_again(self, campaign: str, numbers: Iterable[str]) -> None:
        """One more text to each of `numbers` that has had one: a person has asked for it."""
        edition = self.campaigns[campaign].edition
        counts = Counter((text.campaign, text.edition, text.person.number) for text in self.texts()[: self.seen])
        for number in numbers:
            key = (campaign, edition, number)
            self.extra[key] = max(self.extra[key], counts[key])

    def failed(self, campaign: str) -> set[str]:
        """The numbers whose newest text of the campaign's edition has failed for good, as `retry` sends it again."""
        edition = self.campaigns[campaign].edition
        newest = {
            text.person.number: text for text in self.texts() if (text.campaign, text.edition) == (campaign, edition)
        }
        return {number for number, text in newest.items() if text.status in FAILED}

    def unknown(self, campaign: str) -> set[tuple[str, str]]:
        """Edition and number of the campaign's live messages of whose newest try the ledger does not know the end."""
        newest = {
            (edition, to): state
            for run, rows in self._live_rows()
            if run.campaign == campaign
            for to, edition, state in rows
        }
        return {key for key, state in newest.items() if state in (SubmissionState.UNKNOWN, SubmissionState.INTENT)}

    def newest_run(self, campaign: str) -> str | None:
        """The id of the run that the campaign's name means."""
        try:
            with open_state(self.folder / ".sender", read_only=True) as state:
                return state.find(campaign).run_id
        except SenderError:
            return None

    def _live_rows(self) -> Iterator[tuple[Run, list[tuple[str, str, str]]]]:
        """Each live run with number, edition and state of its messages; not those whose plans were pruned."""
        try:
            with open_state(self.folder / ".sender", read_only=True) as state:
                for run in state.ledger.runs():
                    with suppress(PlanError):  # pruned
                        if run.kind is RunKind.LIVE:
                            yield run, _messages_of(state, run)
        except UnknownRun:  # nothing has been sent
            return

    def held_back(self, campaign: str) -> set[str]:
        """The numbers that may not be texted by this campaign now."""
        return self.by_reply | self.by_hand | set(self.campaigns[campaign].stopped)

    def all_held_back(self) -> dict[str, set[str]]:
        """The numbers that may not be texted now, by campaign."""
        return {name: self.held_back(name) for name in self.campaigns}

    def judge_texts(self, held_before: dict[str, set[str]], *, none_expected: str = "") -> None:
        """Judge what the provider accepted since the last time; `held_before` is who had opted out when it began.

        `none_expected` is the command that must not send, if it must not.
        """
        texts = self.texts()
        counts = Counter((text.campaign, text.edition, text.person.number) for text in texts[: self.seen])
        counts_of_all = Counter(text.person.number for text in texts[: self.seen] if text.status not in FAILED)
        for text in texts[self.seen :]:
            key = (text.campaign, text.edition, text.person.number)
            counts[key] += 1
            if counts[key] > 1 + self.extra[key]:
                self.tally.repeats += 1
                self.tally.problems.append(f"repeat: {text}")
            if self.campaigns[text.campaign].capped and counts_of_all[text.person.number]:
                self.tally.repeats += 1
                self.tally.problems.append(f"over the cap: {text}")
            counts_of_all[text.person.number] += text.status not in FAILED
            if text.person.number in held_before[text.campaign]:
                self.tally.after_opt_out += 1
                self.tally.problems.append(f"after an opt-out: {text}")
            if none_expected:
                self._misreport(f"{none_expected} sent {text}")
            if (read_ref(text.ref) or ("", 0))[0] in self.closed | self.paused:
                self._misreport(f"a run that was closed or paused sent {text}")
            if text.person not in self.campaigns[text.campaign].ever or text.sender not in SENDERS:
                self.tally.strangers += 1
                self.tally.problems.append(f"stranger: {text}")
        self.tally.texts += len(texts) - self.seen
        self.seen = len(texts)

    def settle_closed(self) -> None:
        """From here on, nothing of a closed run may arrive."""
        self.closed |= self.closing
        self.closing.clear()

    def judge_summary(self, ended: Ended) -> None:
        """Compare the totals that a command printed with one another."""
        match = re.search(r"([\d,]+) rows? = ([\d,+ a-z]+)", ended.out)
        if match:
            rows, *parts = (int(number.replace(",", "")) for number in re.findall(r"[\d,]+", match[0]))
            if rows != sum(parts):
                self._misreport(f"{' '.join(ended.arguments)}: {match[0]}")

    def judge_end(self) -> None:
        """After everything was finished: whom we missed, and whether every row of every run says the truth."""
        texts = self.texts()
        reached = {(text.campaign, text.edition, text.person.number) for text in texts}
        texted = {text.person.number for text in texts}
        for name, model in self.campaigns.items():
            doubted = self.unknown(name)
            for person in model.people:
                key = (name, model.edition, person.number)
                if (
                    key in self.erased_in_doubt
                    or key in reached
                    or person.number in self.held_back(name)
                    or key[1:] in doubted
                ):
                    continue
                if model.capped and person.number in texted:
                    continue
                self.tally.missed += 1
                self.tally.problems.append(f"missed: {key}")
        self._judge_results(texts)

    def _judge_results(self, texts: list[Text]) -> None:
        by_ref: dict[str, dict[str, Text]] = defaultdict(dict)
        for text in texts:
            ref = read_ref(text.ref)
            assert ref is not None, text
            by_ref[ref[0]][text.message_id] = text
        for run, _ in self._live_rows():
            truth = by_ref[run.run_id]
            output = self.elsewhere / f"{run.run_id}.csv"
            state = str(self.folder / ".sender")
            done = self.run("results", run.run_id, "--output", str(output), "--state-dir", state)
            if done.code != 0:
                self.tally.problems.append(f"results: exit {done.code}: {done.err[-300:]}")
                continue
            with output.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            numbers = {text.person.number: text for text in truth.values()}
            if len(rows) != run.rows:
                self._misreport(f"{run.run_id}: {len(rows)} rows of {run.rows}")
            for row in rows:
                self._judge_row(run.run_id, row, truth, numbers)

    def _judge_row(self, run_id: str, row: dict[str, str], truth: dict[str, Text], numbers: dict[str, Text]) -> None:
        """One row of a run's results: `truth` is what the provider accepted of that run."""
        text = numbers.get(row["to"])
        if row["message_id"]:
            if row["message_id"] not in truth:
                self._misreport(
                    f"{run_id}: {row['to']} has id {row['message_id']}, which the provider never gave this run"
                )
        elif row["status"] not in ("unknown", "sending") and text is not None and row["status"] != "skipped":
            self._misreport(f"{run_id}: {row['to']} is {row['status']}, and the provider has it")

    def _misreport(self, problem: str) -> None:
        self.tally.misreports += 1
        self.tally.problems.append(f"misreport: {problem}")


def _messages_of(state: State, run: Run) -> list[tuple[str, str, str]]:
    """Number, edition and state of each message of the run; an erased person's number is empty."""
    plan = state.plan(run)
    messages = plan.scan().filter(pl.col("seq").is_not_null()).select("seq", pl.col("to").fill_null("")).collect()
    assert state.ledger.find_drift(run.run_id) == {}
    states = dict(state.ledger.journal(run.run_id).select("seq", "state").iter_rows())
    edition = plan.manifest.edition
    return [(to, edition, states.get(seq, SubmissionState.PENDING)) for seq, to in messages.iter_rows()]


def _read_text(message: dict[str, Any]) -> Text:
    campaign, edition, name, _ = message["body"].split("|")
    person = Person(message["to"], name)
    sender, ref = message["from"], message["ref"]
    return Text(campaign, edition, person, sender, ref, message["message_id"], message["status"])


@contextmanager
def opened(
    folder: Path, *, dialect: str = "twilio", faults: dict[str, list[str]] | None = None, mutant: str | None = None
) -> Iterator[World]:
    """A world with its provider running."""
    world = World(folder, dialect=dialect, faults=faults or {}, mutant=mutant)
    world.start_provider()
    try:
        yield world
    finally:
        world.stop_provider()
