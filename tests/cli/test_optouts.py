"""Nobody is texted who is in a suppression file by then, whatever the command: the file is read again, and watched."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sender.suppression import number_files
from sender.suppression.suppression_list import SuppressionList
from tests.cli.conftest import Done, Sandbox, Shell

Start = Callable[..., Sandbox]
CAMPAIGN = """
provider: twilio
from: "+12025550100"
recipients: {file: people.csv, default_region: US}
message: "Hi"
suppress: stop.csv
rate: RATE
"""


def number(n: int) -> str:
    return f"+120255501{n:02}"


class Job:
    """A live campaign of thirty people with a suppression file, and a provider on loopback."""

    def __init__(self, sender: Shell, provider: Sandbox, *, rate: str = "none", people: int = 30) -> None:
        self.sender = sender
        self.provider = provider
        sender.write("offer.yaml", CAMPAIGN.replace("RATE", rate))
        sender.write("people.csv", "phone\n" + "".join(f"{number(n)}\n" for n in range(1, people + 1)))
        self.stop()

    @property
    def file(self) -> Path:
        return self.sender.folder / "stop.csv"

    def stop(self, *numbers: str) -> None:
        """Put numbers into the suppression file, which is then only these."""
        self.file.write_text("phone\n" + "".join(f"{each}\n" for each in numbers))

    def __call__(self, *arguments: str, command: str = "send", target: str = "offer.yaml") -> Done:
        return self.sender(command, target, "--yes", "--wait", "0", *arguments, **self.provider.env)

    @property
    def reached(self) -> set[str]:
        counts = self.provider.counts()
        assert set(counts.values()) <= {1}, counts
        return set(counts)

    def statuses(self) -> dict[str, tuple[str, str]]:
        done = self.sender("results", "offer", "--format", "jsonl", "--output", "r.jsonl", "--force")
        assert done.code == 0, done
        rows = map(json.loads, (self.sender.folder / "r.jsonl").read_text().splitlines())
        return {row["to"] or row["phone"]: (row["status"], row["reason"]) for row in rows}


@pytest.fixture
def job(sender: Shell, sandbox: Start) -> Job:
    return Job(sender, sandbox())


def test_a_start_a_resume_and_a_written_plan_read_the_file_as_it_is_now(job: Job) -> None:
    job.stop(number(1))
    assert job.sender("plan", "offer.yaml", "--out", "written").code == 0
    job.stop(number(1), "202-555-0102")
    first = job("--limit", "4", target="written")
    assert first.code in (1, 130), first
    assert job.reached == {number(n) for n in (3, 4, 5)}
    job.stop(number(1), "202-555-0102", "Tel. 202-555-0106")
    resumed = job()
    assert "inputs changed" not in resumed.err, resumed
    assert job.reached == {number(n) for n in range(1, 31)} - {number(n) for n in (1, 2, 6)}
    statuses = job.statuses()
    assert statuses[number(1)] == ("skipped", "suppressed")
    assert {statuses[number(n)] for n in (2, 6)} == {("canceled", "opted_out")}
    again = job()
    assert again.code == 3, again


@pytest.mark.parametrize("workers", [1, 2])
def test_a_number_that_is_added_while_sending_holds_within_seconds(
    sender: Shell, sandbox: Start, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(number_files, "LOOK_EVERY_S", 0.2)
    job = Job(sender, sandbox(), rate="6/s", people=60)
    late = [number(n) for n in range(50, 61)]

    def add() -> None:
        deadline = time.monotonic() + 60
        while len(job.provider.counts()) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        job.stop(*late)

    thread = threading.Thread(target=add)
    thread.start()
    done = job("--workers", str(workers))
    thread.join()
    assert job.reached == {number(n) for n in range(1, 50)}, done
    assert {job.statuses()[each] for each in late} == {("canceled", "opted_out")}
    assert "60 rows = 0 skipped + 49 accepted + 0 rejected + 11 canceled" in done.out, done


def test_a_file_that_vanishes_pauses_the_run_until_it_is_back(
    sender: Shell, sandbox: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(number_files, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(number_files, "PAUSE_AFTER_S", 0.5)
    job = Job(sender, sandbox(), rate="10/s", people=80)
    job.stop(number(80))
    seen: list[int] = []

    def disturb() -> None:
        deadline = time.monotonic() + 60
        while len(job.provider.counts()) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        job.file.unlink()
        time.sleep(3)
        seen.append(len(job.provider.counts()))
        time.sleep(1.5)
        seen.append(len(job.provider.counts()))
        job.stop(number(80), number(79))

    thread = threading.Thread(target=disturb)
    thread.start()
    done = job("--log-format", "json")
    thread.join()
    assert seen[0] == seen[1] < 78, "nothing leaves while it is away"
    assert job.reached == {number(n) for n in range(1, 79)}, done
    events = [json.loads(line).get("event") for line in done.err.splitlines() if line.startswith("{")]
    expected = ["suppression_file_unreadable", "suppression_paused", "suppression_file_readable", "suppression_resumed"]
    assert [event for event in events if str(event).startswith("suppression_")] == expected, done


def test_a_file_that_is_gone_or_spoilt_refuses_every_start(job: Job) -> None:
    assert job.sender("plan", "offer.yaml", "--out", "written").code == 0
    assert job("--limit", "2").code == 0
    for spoil in (job.file.unlink, lambda: job.file.write_text("phone\nnobody\n")):
        spoil()
        for arguments, target in (((), "offer.yaml"), (("--resume",), "offer.yaml"), ((), "written")):
            done = job(*arguments, target=target)
            assert done.code == 2, done
            assert "stop.csv" in done.err
    assert len(job.reached) == 2
    job.stop()
    assert job().code == 0
    assert len(job.reached) == 30


def test_a_resume_that_does_not_name_the_file_reads_it_all_the_same(job: Job) -> None:
    """The options of the first start may be forgotten; an opt-out may not."""
    offer = (
        "--provider",
        "twilio",
        "--from",
        "+12025550100",
        "--body",
        "Hi",
        "--rate",
        "none",
        "--default-region",
        "US",
    )
    assert job(*offer, "--suppress", "stop.csv", "--limit", "2", target="people.csv").code == 0
    job.stop(number(7))
    done = job(*offer, target="people.csv")
    assert job.reached == {number(n) for n in range(1, 31)} - {number(7)}, done


# -- asked again when claiming, in every path --------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["file", "list"])
def test_a_retry_reads_them_again(sender: Shell, sandbox: Start, source: str) -> None:
    unreachable = ["+12025550194"]
    job = Job(sender, sandbox(), people=3)
    sender.write("people.csv", "phone\n" + "\n".join([number(1), *unreachable]) + "\n")
    job()
    if source == "file":
        job.stop(*unreachable)
    else:
        with SuppressionList.open(sender.folder / ".sender") as listed:
            listed.add(unreachable)
    before = job.provider.counts()
    done = job("--status", "undelivered", "--status", "failed", command="retry", target="offer")
    assert job.provider.counts() == before, done


@pytest.mark.parametrize("source", ["file", "list"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_unknown_messages_that_are_sent_again_are_checked(
    sender: Shell, sandbox: Start, source: str, workers: str
) -> None:
    """The sandbox answers 500 and has accepted nothing, which the sender does not know: it stays in doubt."""
    unknown = "+12025550196"
    job = Job(sender, sandbox(), people=3)
    sender.write("people.csv", f"phone\n{number(1)}\n{unknown}\n")
    first = job("--on-unknown", "hold")
    assert first.code == 4, first
    if source == "file":
        job.stop(unknown)
    else:
        with SuppressionList.open(sender.folder / ".sender") as listed:
            listed.add([unknown])
    before = job.provider.counts().get(unknown, 0)
    done = job("--resend-unknown", "--workers", workers)
    assert job.provider.counts().get(unknown, 0) == before, done
    assert job.statuses()[unknown] == ("unknown", None)
    rows = map(json.loads, (sender.folder / "r.jsonl").read_text().splitlines())
    (said,) = (row["error_message"] for row in rows if row["to"] == unknown)
    assert said.startswith("still in doubt; this time: not sent: ")
